"""Posterior of the hidden parameters of a person, given answers: a mixture of Gaussians, by expectation propagation.

Notation: theta (d,) are the hidden parameters. The utility of a recourse z is linear in them,
`u(z) = phi(z) . theta + c(z)`, with `phi` and `c` from `Person.features` of each kind of person. "a rather than b" has
the likelihood `lapse + (1 - 2 lapse) Phi((u(a) - u(b) - width) / noise)`; a tie says that the difference lies within
the width (`propagation`, `manner`). A *hypothesis* is a kind of person with one scale of its prior, such as how far
target points are from the factual; there are h of them. Each has a Gaussian over theta, with sites for the answers, for
the prior of each column (`people.marginals`) and, for target points, for the decision boundary near the
recommendation. Its probability is its prior probability times the marginal likelihood of the answers.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr

from hare_jax.base import choose
from hare_jax.elicit.bayesian import manner
from hare_jax.elicit.bayesian.manner import Grid, Manner
from hare_jax.elicit.bayesian.propagation import (
    Plane,
    Site,
    held_out,
    replace_site,
    sweep,
    sweep_columns,
    update_site,
)
from hare_jax.people import PERSONS, in_space
from hare_jax.people.base import Prior
from hare_jax.people.marginals import Marginal, moments
from hare_jax.solvers import linalg
from hare_jax.solvers.resampling import systematic
from hare_jax.space import ActionSpace

_MIDDLE = 0.5  # of each of the equal parts of the probabilities
_LEAST_GAP = 1e-6  # of losses, to divide by
_LEAST_VARIANCE = 1e-12


@jax.tree_util.register_static
@dataclass(frozen=True)
class Kinds:
    """The kind of person of each hypothesis, rows of `PERSONS`, those of one kind side by side: a static leaf."""

    names: tuple[str, ...]

    def span(self, kind: str) -> slice:
        """The hypotheses of a `kind`.

        Raises:
            ValueError: the posterior does not cover it.
        """
        choose("kind", kind, self.names)
        first = self.names.index(kind)
        return slice(first, first + self.names.count(kind))


class Columns(NamedTuple):
    """The sites of the prior of each column."""

    prior: Marginal  # (h, d, ...)
    varies: Array  # (h, d) bool: the column has a site
    precision: Array  # (h, d)
    shift: Array  # (h, d)


class Belief(NamedTuple):
    """The posterior under h hypotheses after at most T answers."""

    kinds: Kinds
    grid: Grid
    mean: Array  # (h, d) of theta
    cov: Array  # (h, d, d)
    log_weight: Array  # (h,) log of prior probability times marginal likelihood, up to a constant
    manner: Manner  # (h,)
    columns: Columns
    boundary: Plane  # (h, ...) near the recommendation, for target points
    plane: Array  # (h, T, d) phi(a) - phi(b) of each answer "a rather than b"; zeros where there is none yet
    offset: Array  # (h, T) c(a) - c(b)
    noise: Array  # (h, T) variance
    slope: Array  # (h, T) difference of utilities over difference of losses
    tied: Array  # (T,) bool: the answer is a tie
    precision: Array  # (h, T) of each answer's Gaussian site, along its plane
    shift: Array  # (h, T) that precision times the site's mean
    num_told: Array  # () int: answers so far


def features(kinds: Kinds, x: Array, z: Array, space: ActionSpace | None = None) -> tuple[Array, Array]:
    """Return phi (h, d) and c (h,) of the recourse `z` (d,) for the factual `x` (d,), for each hypothesis.

    In a `space` with relations they are those of own changes for the kinds that weigh them (`people.in_space`).
    """
    persons = [PERSONS[kind] for kind in kinds.names]
    phi, c = zip(*(in_space(person, person.features, space)(x, z) for person in persons), strict=True)  # type: ignore
    return jnp.stack(phi), jnp.stack(c)


def init(kinds: Kinds, prior: Prior, log_prior: Array, grid: Grid, num_answers: int) -> Belief:
    """Posterior before any answer, from the `prior` (h, ...) and the `log_prior` (h,) of each hypothesis."""
    num, width = prior.mean.shape
    dtype = prior.mean.dtype
    none, zero = jnp.zeros((num, num_answers), dtype), jnp.zeros(num, dtype)
    column_mean, variance = moments(prior.marginals)
    precision = jnp.where(prior.varies, 1 / jnp.maximum(variance, _LEAST_VARIANCE), 0)
    return Belief(
        kinds=kinds,
        grid=grid,
        mean=prior.mean,
        cov=prior.cov,
        log_weight=log_prior,
        manner=jax.tree.map(lambda leaf: jnp.full(num, leaf, dtype), manner.prior_mean(grid)),
        columns=Columns(prior.marginals, prior.varies, precision, precision * column_mean),
        boundary=Plane(jnp.zeros_like(prior.mean), zero, zero),
        plane=jnp.zeros((num, num_answers, width), dtype),
        offset=none,
        noise=none,
        slope=none,
        tied=jnp.zeros(num_answers, bool),
        precision=none,
        shift=none,
        num_told=jnp.zeros((), jnp.int32),
    )


def weight(belief: Belief) -> Array:
    """Posterior probability (h,) of each hypothesis."""
    return jax.nn.softmax(belief.log_weight)


def update(
    belief: Belief,
    x: Array,
    a: Array,
    b: Array,
    noise: Array,
    num_sweeps: int = 1,
    tied: Array | bool = False,
    space: ActionSpace | None = None,
) -> Belief:
    """Condition on the answer that `a` (d,) is preferred to `b` (d,) for the factual `x` (d,), or that they are `tied`.

    `noise` (h,) is the s.d. of the noise of the difference of utilities. After the new site, the manner of answering
    is fitted, and `num_sweeps` update all sites again. Answers beyond the T that there is room for are ignored.
    `space` is that of `features`.
    """
    (phi_a, c_a), (phi_b, c_b) = (features(belief.kinds, x, z, space) for z in (a, b))
    at = belief.num_told
    told = belief._replace(
        plane=belief.plane.at[:, at].set(phi_a - phi_b),
        offset=belief.offset.at[:, at].set(c_a - c_b),
        noise=belief.noise.at[:, at].set(noise**2),
        slope=belief.slope.at[:, at].set(_slopes(belief, x, a, b, space)),
        tied=belief.tied.at[at].set(tied),
        num_told=at + 1,
    )
    new = _with_manner(_add_answer(told, at))
    new = jax.lax.fori_loop(0, num_sweeps, lambda _, belief: _sweep(belief), new)
    return jax.tree.map(lambda new, old: jnp.where(at < belief.offset.shape[1], new, old), new, belief)


def on_boundary(belief: Belief, normal: Array, level: Array, variance: Array, applies: Array) -> Belief:
    """Replace the site of the boundary where it `applies` (h,): `normal . theta` is `level` () with a `variance` ()."""
    precision = jnp.where(applies, 1 / variance, 0)
    new = Plane(jnp.broadcast_to(normal, belief.mean.shape), precision, precision * level)
    mean, cov, boundary = jax.vmap(replace_site)(belief.mean, belief.cov, belief.boundary, new)
    return belief._replace(mean=mean, cov=cov, boundary=boundary)


def utilities(belief: Belief, x: Array, z: Array, space: ActionSpace | None = None) -> Array:
    """Expected utility (h,) of `z` (d,) for the factual `x` (d,), up to a constant of each hypothesis."""
    phi, c = features(belief.kinds, x, z, space)
    return jnp.sum(phi * belief.mean, axis=1) + c


def worse(belief: Belief, x: Array, z: Array, base: Array, space: ActionSpace | None = None) -> Array:
    """Posterior probability () that `z` (d,) has a lower utility than `base` (d,)."""
    (phi_z, c_z), (phi_b, c_b) = (features(belief.kinds, x, point, space) for point in (z, base))
    change = phi_z - phi_b
    gap = jnp.sum(change * belief.mean, axis=1) + c_z - c_b
    variance = jnp.sum(jnp.einsum("hd,hde->he", change, belief.cov) * change, axis=1)
    below = ndtr(-gap / jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE)))
    return jnp.where(jnp.all(z == base), 0, jnp.sum(weight(belief) * below))


def clip_kind(kind: str, theta: Array) -> Array:
    """Move `theta` (..., d) into the support of a `kind`, where it has one (`Person.clip`)."""
    clip = PERSONS[kind].clip
    return theta if clip is None else clip(theta)


def clipped(belief: Belief) -> Belief:
    """The posterior with the mean of each hypothesis moved into the support of its kind."""
    means = [clip_kind(kind, mean) for kind, mean in zip(belief.kinds.names, belief.mean, strict=True)]
    return belief._replace(mean=jnp.stack(means))


def draw_hidden(belief: Belief, mutable: Array, normal: dict[str, Array]) -> dict[str, Array]:
    """Draws (n, d) of theta of some kinds from standard `normal` draws (n, d), stratified by hypothesis.

    Only the `mutable` (d,) columns vary.
    """
    roots = jax.vmap(linalg.root, in_axes=(0, None))(belief.cov, mutable)
    return {kind: _draws(belief, roots, belief.kinds.span(kind), draws) for kind, draws in normal.items()}


def _draws(belief: Belief, roots: Array, span: slice, normal: Array) -> Array:
    """Draws (n, d) from the hypotheses of a `span`, as many of each as its probability says."""
    at = systematic(_MIDDLE, belief.log_weight[span], len(normal))
    return belief.mean[span][at] + jnp.einsum("nde,ne->nd", roots[span][at], normal)


def ages(belief: Belief) -> Array:
    """The number of later answers (T,) of each answer."""
    return jnp.maximum(belief.num_told - 1 - jnp.arange(len(belief.tied)), 0).astype(belief.mean.dtype)


def _slopes(belief: Belief, x: Array, a: Array, b: Array, space: ActionSpace | None) -> Array:
    """Difference of utilities over difference of losses (h,), at the mean of each hypothesis."""
    return jnp.stack([
        _slope(kind, mean, x, a, b, space) for kind, mean in zip(belief.kinds.names, belief.mean, strict=True)
    ])  # fmt: skip


def _slope(kind: str, theta: Array, x: Array, a: Array, b: Array, space: ActionSpace | None) -> Array:
    person = PERSONS[kind]
    loss, utility = (in_space(person, partial(fn, theta), space) for fn in (person.loss, person.utility))
    gap = loss(x, b) - loss(x, a)
    known = jnp.abs(gap) > _LEAST_GAP
    return jnp.where(known, (utility(x, a) - utility(x, b)) / jnp.where(known, gap, 1), 1)


def _sites(belief: Belief) -> Site:
    """The sites of all answers: leaves (h, T, ...)."""
    shape = belief.offset.shape
    lapse, width, memory = (leaf[:, None] for leaf in belief.manner)
    return Site(
        plane=belief.plane,
        offset=belief.offset,
        noise=belief.noise,
        width=width * belief.slope,
        lapse=manner.error_rate(lapse, memory, ages(belief)[None, :]),
        tied=jnp.broadcast_to(belief.tied[None, :], shape),
        precision=belief.precision,
        shift=belief.shift,
    )


def _add_answer(belief: Belief, at: Array) -> Belief:
    """Fit the site of answer number `at`, and multiply the hypotheses' weights by its marginal likelihood."""
    site = jax.tree.map(lambda leaf: leaf[:, at], _sites(belief))
    mean, cov, fitted = jax.vmap(update_site)(belief.mean, belief.cov, site)
    return belief._replace(
        mean=mean,
        cov=cov,
        log_weight=belief.log_weight + fitted.log_likelihood,
        precision=belief.precision.at[:, at].set(fitted.precision),
        shift=belief.shift.at[:, at].set(fitted.shift),
    )


def _sweep(belief: Belief) -> Belief:
    """Update the sites of all columns and answers once."""
    columns = belief.columns
    mean, cov, precision, shift = jax.vmap(sweep_columns)(belief.mean, belief.cov, *columns)
    mean, cov, sites = jax.vmap(sweep)(mean, cov, _sites(belief))
    return belief._replace(
        mean=mean,
        cov=cov,
        columns=columns._replace(precision=precision, shift=shift),
        precision=sites.precision,
        shift=sites.shift,
    )


def _with_manner(belief: Belief) -> Belief:
    """Fit the manner of answering of each hypothesis."""
    since = ages(belief)

    def one(mean: Array, cov: Array, slope: Array, sites: Site) -> Manner:
        gap = jax.vmap(held_out, in_axes=(None, None, 0))(mean, cov, sites)
        told = jnp.any(sites.plane != 0, axis=1)
        return manner.fit(belief.grid, manner.Answered(gap, slope, sites.tied, told, since))

    return belief._replace(manner=jax.vmap(one)(belief.mean, belief.cov, belief.slope, _sites(belief)))
