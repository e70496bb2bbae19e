"""Posterior of the hidden parameters of a person, given answers: a mixture of Gaussians, by expectation propagation.

Notation: theta (d,) are the hidden parameters. The utility of a recourse z is linear in them,
`u(z) = phi(z) . theta + c(z)`, with `phi` and `c` from `Person.features` of each kind of person. "a rather than b" has
the likelihood `lapse + (1 - 2 lapse) Phi((u(a) - u(b)) / noise)`, a probit with lapse rate `lapse`; a tie says that the
difference is 0 with a normal error of s.d. `noise`. A *hypothesis* is one of the k kinds with one of the L lapse rates;
there are h = k L of them, kind by kind. Each has a Gaussian over theta (`propagation`), and its probability is its
prior probability times the marginal likelihood of the answers.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr

from hare_jax.base import choose
from hare_jax.elicit.bayesian.propagation import Site, along_plane, held_out, sweep, sweep_columns, update_site
from hare_jax.people import PERSONS, in_space
from hare_jax.people.base import Prior
from hare_jax.people.marginals import Marginal, moments
from hare_jax.solvers import linalg
from hare_jax.space import ActionSpace


@jax.tree_util.register_static
@dataclass(frozen=True)
class Kinds:
    """The kinds of persons that a posterior covers, rows of `PERSONS`: a static leaf."""

    names: tuple[str, ...]

    def span(self, kind: str) -> tuple[int, int]:
        """The first and the last position, plus one, of a `kind`, which may occur with several scales of its prior.

        Raises:
            ValueError: the posterior does not cover it.
        """
        choose("kind", kind, self.names)
        first = self.names.index(kind)
        return first, first + self.names.count(kind)


class Answering(NamedTuple):
    """Prior of the error rate and of the width of ties, on a grid."""

    lapses: Array  # (L,)
    lapse_log_prior: Array  # (L,)
    widths: Array  # (W,)
    width_log_prior: Array  # (W,)


class Plane(NamedTuple):
    """The decision boundary near the recommendation, as a site that all target points share."""

    normal: Array  # (d,)
    precision: Array  # (h,)
    shift: Array  # (h,)


_LEAST_GAP = 1e-6  # of losses


class Belief(NamedTuple):
    """The posterior under h hypotheses after at most T answers."""

    kinds: Kinds
    mean: Array  # (h, d) of theta
    cov: Array  # (h, d, d)
    log_weight: Array  # (h,) log of prior probability times marginal likelihood, up to a constant
    lapse: Array  # (h,)
    width: Array  # (h,) in units of the loss
    slope: Array  # (h, T) utility over loss, of each answer
    answering: Answering
    marginals: Marginal  # (h, d, ...) of the prior
    varies: Array  # (h, d) bool: the column has a site of its prior
    column_precision: Array  # (h, d)
    column_shift: Array  # (h, d)
    boundary: Plane
    plane: Array  # (h, T, d) phi(a) - phi(b) of each answer "a rather than b"; zeros where there is none yet
    offset: Array  # (h, T) c(a) - c(b)
    noise: Array  # (h, T) variance
    tied: Array  # (T,) bool: the answer is a tie
    precision: Array  # (h, T) of each answer's Gaussian site, along its plane
    shift: Array  # (h, T) that precision times the site's mean
    num_told: Array  # () int: answers so far

    @property
    def num_manners(self) -> int:
        return 1


_SHARED = ("kinds", "tied", "num_told", "boundary", "marginals", "answering")  # fields without a leading axis of hypotheses


def features(kinds: Kinds, x: Array, z: Array, space: ActionSpace | None = None) -> tuple[Array, Array]:
    """Return phi (k, d) and c (k,) of the recourse `z` (d,) for the factual `x` (d,), for each kind.

    In a `space` with relations they are those of own changes for the kinds that weigh them (`people.in_space`).
    """
    persons = [PERSONS[kind] for kind in kinds.names]
    phi, c = zip(*(in_space(person, person.features, space)(x, z) for person in persons), strict=True)  # type: ignore
    return jnp.stack(phi), jnp.stack(c)


def init(kinds: Kinds, prior: Prior, log_prior: Array, answering: Answering, num_answers: int) -> Belief:
    """Posterior before any answer, from the `prior` (k, ...) and the `log_prior` (k,) of each kind."""
    mean, cov, marginals, varies = prior
    lapse, width = jnp.sum(jnp.exp(answering.lapse_log_prior) * answering.lapses), answering.widths[0]
    lapse, width = jnp.full(len(mean), lapse, mean.dtype), jnp.full(len(mean), width, mean.dtype)
    none = jnp.zeros((len(mean), num_answers), mean.dtype)
    column_mean, variance = moments(marginals)
    precision = jnp.where(varies, 1 / variance, 0)
    zero = jnp.zeros(len(mean), mean.dtype)
    return Belief(
        kinds=kinds,
        mean=mean,
        cov=cov,
        log_weight=log_prior,
        lapse=lapse,
        width=width,
        marginals=marginals,
        varies=varies,
        column_precision=precision,
        column_shift=precision * column_mean,
        boundary=Plane(jnp.zeros(mean.shape[1], mean.dtype), zero, zero),
        plane=jnp.zeros((*none.shape, mean.shape[1]), mean.dtype),
        offset=none,
        noise=none,
        slope=none,
        answering=answering,
        tied=jnp.zeros(num_answers, bool),
        precision=none,
        shift=none,
        num_told=jnp.zeros((), jnp.int32),
    )


def weight(belief: Belief) -> Array:
    """Posterior probability (h,) of each hypothesis."""
    return jax.nn.softmax(belief.log_weight)


def by_hypothesis(belief: Belief, leaf: Array) -> Array:
    """Repeat an array with one entry for each kind, (k, ...), for all hypotheses: (h, ...)."""
    return jnp.repeat(leaf, belief.num_manners, axis=0)


def of_kind(belief: Belief, kind: str) -> Belief:
    """The posterior given that the person is of a `kind`: its L hypotheses alone.

    Raises:
        ValueError: the posterior does not cover that kind.
    """
    start, stop = (at * belief.num_manners for at in belief.kinds.span(kind))
    hypotheses = slice(start, stop)
    parts = {name: getattr(belief, name)[hypotheses] for name in Belief._fields if name not in _SHARED}
    boundary = belief.boundary
    return belief._replace(
        kinds=Kinds((kind,) * belief.kinds.names.count(kind)),
        marginals=jax.tree.map(lambda leaf: leaf[hypotheses], belief.marginals),
        boundary=Plane(boundary.normal, boundary.precision[hypotheses], boundary.shift[hypotheses]),
        **parts,
    )


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

    `noise` (k,) is the s.d. of the noise of the difference of utilities. After the new site, `num_sweeps` update all
    sites again. Answers beyond the T that there is room for are ignored. `space` is that of `features`.
    """
    (phi_a, c_a), (phi_b, c_b) = (features(belief.kinds, x, z, space) for z in (a, b))
    at = belief.num_told
    told = belief._replace(
        plane=belief.plane.at[:, at].set(by_hypothesis(belief, phi_a - phi_b)),
        offset=belief.offset.at[:, at].set(by_hypothesis(belief, c_a - c_b)),
        noise=belief.noise.at[:, at].set(by_hypothesis(belief, noise**2)),
        slope=belief.slope.at[:, at].set(_slope(belief, x, a, b, space)),
        tied=belief.tied.at[at].set(tied),
        num_told=at + 1,
    )
    new = jax.lax.fori_loop(0, num_sweeps, lambda _, belief: _sweep(belief), _add_site(told, at))
    new = _answering(new)
    return jax.tree.map(lambda new, old: jnp.where(at < belief.offset.shape[1], new, old), new, belief)


def utilities(belief: Belief, x: Array, z: Array, space: ActionSpace | None = None) -> Array:
    """Expected utility (h,) of `z` (d,) for the factual `x` (d,), up to a constant of each hypothesis."""
    phi, c = (by_hypothesis(belief, leaf) for leaf in features(belief.kinds, x, z, space))
    return jnp.sum(phi * belief.mean, axis=1) + c


def clip_kind(kind: str, theta: Array) -> Array:
    """Move `theta` (..., d) into the support of a `kind`, where it has one (`Person.clip`)."""
    clip = PERSONS[kind].clip
    return theta if clip is None else clip(theta)


def clipped(belief: Belief) -> Belief:
    """The posterior with the mean of each hypothesis moved into the support of its kind."""
    names = belief.kinds.names
    means = jnp.split(belief.mean, len(names))
    clipped_means = [clip_kind(kind, mean) for kind, mean in zip(names, means, strict=True)]
    return belief._replace(mean=jnp.concatenate(clipped_means))


def draw_hidden(belief: Belief, mutable: Array, normal: dict[str, Array]) -> dict[str, Array]:
    """Draws (n, d) of theta of some kinds, each from its most probable hypothesis, from standard `normal` draws (n, d).

    Only the `mutable` (d,) columns vary.
    """
    found = {}
    for kind, draws in normal.items():
        part = of_kind(belief, kind)
        best = part.log_weight.reshape(-1, part.num_manners)
        likeliest = jnp.argmax(best, axis=1) + part.num_manners * jnp.arange(len(best))
        mean, cov = part.mean[likeliest], part.cov[likeliest]
        roots = jax.vmap(linalg.root, in_axes=(0, None))(cov, mutable)
        share = jnp.cumsum(jax.nn.softmax(jax.nn.logsumexp(best, axis=1)))
        at = jnp.searchsorted(share, (jnp.arange(len(draws)) + 0.5) / len(draws) * share[-1])
        found[kind] = mean[at] + jnp.einsum("nde,ne->nd", roots[at], draws)
    return found


def _slope(belief: Belief, x: Array, a: Array, b: Array, space: ActionSpace | None) -> Array:
    """Difference of utilities over the difference of losses (h,), at the mean of each hypothesis."""
    names = [name for name in belief.kinds.names for _ in range(belief.num_manners)]
    slopes = []
    for at, name in enumerate(names):
        loss_fn = in_space(PERSONS[name], partial(PERSONS[name].loss, belief.mean[at]), space)
        utility_fn = in_space(PERSONS[name], partial(PERSONS[name].utility, belief.mean[at]), space)
        gap, apart = loss_fn(x, b) - loss_fn(x, a), utility_fn(x, a) - utility_fn(x, b)
        slopes.append(jnp.where(jnp.abs(gap) > _LEAST_GAP, apart / jnp.where(gap == 0, 1, gap), 1))
    return jnp.stack(slopes)


def _sites(belief: Belief) -> Site:
    """The sites of all answers: leaves (h, T, ...)."""
    tied = jnp.broadcast_to(belief.tied[None, :], belief.offset.shape)
    lapse = jnp.broadcast_to(belief.lapse[:, None], belief.offset.shape)
    return Site(
        belief.plane, belief.offset, belief.noise, belief.width[:, None] * belief.slope, lapse, tied, belief.precision, belief.shift
    )


def _add_site(belief: Belief, at: Array) -> Belief:
    """Fit the site of answer number `at`, and multiply the hypotheses' weights by its marginal likelihood."""
    site = jax.tree.map(lambda leaf: leaf[:, at], _sites(belief))
    mean, cov, fit = jax.vmap(update_site)(belief.mean, belief.cov, site)
    return belief._replace(
        mean=mean,
        cov=cov,
        log_weight=belief.log_weight + fit.log_likelihood,
        precision=belief.precision.at[:, at].set(fit.precision),
        shift=belief.shift.at[:, at].set(fit.shift),
    )


def _sweep(belief: Belief) -> Belief:
    """Update the sites of all columns and answers once."""
    mean, cov, column_precision, column_shift = jax.vmap(sweep_columns)(
        belief.mean, belief.cov, belief.marginals, belief.column_precision, belief.column_shift, belief.varies
    )
    mean, cov, sites = jax.vmap(sweep)(mean, cov, _sites(belief))
    return belief._replace(
        mean=mean,
        cov=cov,
        column_precision=column_precision,
        column_shift=column_shift,
        precision=sites.precision,
        shift=sites.shift,
    )


def on_boundary(belief: Belief, normal: Array, level: Array, variance: Array, has: Array) -> Belief:
    """Replace the site of the decision boundary: `normal . theta` is `level` () with this `variance` ()."""
    old = belief.boundary
    mean, cov = jax.vmap(along_plane, in_axes=(0, 0, None, 0, 0))(
        belief.mean, belief.cov, old.normal, -old.precision, -old.shift
    )
    precision = jnp.where(has, 1 / variance, 0)
    shift = precision * level
    mean, cov = jax.vmap(along_plane, in_axes=(0, 0, None, 0, 0))(mean, cov, normal, precision, shift)
    return belief._replace(mean=mean, cov=cov, boundary=Plane(normal, precision, shift))


def worse(belief: Belief, x: Array, z: Array, base: Array, space: ActionSpace | None = None) -> Array:
    """Posterior probability (h,) that `z` (d,) has a lower utility than `base` (d,), by hypothesis."""
    (phi_z, c_z), (phi_b, c_b) = (features(belief.kinds, x, point, space) for point in (z, base))
    change, offset = by_hypothesis(belief, phi_z - phi_b), by_hypothesis(belief, c_z - c_b)
    gap = jnp.sum(change * belief.mean, axis=1) + offset
    sd = jnp.sqrt(jnp.maximum(jnp.einsum("hd,hde,he->h", change, belief.cov, change), 1e-12))
    return jnp.where(jnp.all(z == base), 0, jax.scipy.special.ndtr(-gap / sd))


def _answering(belief: Belief) -> Belief:
    """Posterior means of the error rate and of the width of ties, from each answer given all others."""
    grid, sites = belief.answering, _sites(belief)

    def one(mean: Array, cov: Array, slope: Array, site: Site) -> tuple[Array, Array]:
        gap = jax.vmap(held_out, in_axes=(None, None, 0))(mean, cov, site)
        sd = jnp.sqrt(gap.variance)
        width = grid.widths[:, None] * slope[None, :]
        above, below = ndtr((gap.mean - width) / sd), ndtr((-gap.mean - width) / sd)
        probability = jnp.where(site.tied, 1 - above - below, above)  # (W, T)
        rate = grid.lapses[:, None, None]
        log_p = jnp.log(rate + (1 - 2 * rate) * probability)
        told = jnp.any(site.plane != 0, axis=1)
        score = jnp.sum(jnp.where(told, log_p, 0), axis=2) + grid.lapse_log_prior[:, None] + grid.width_log_prior
        weight = jnp.exp(score - jax.nn.logsumexp(score))
        return jnp.sum(weight * grid.lapses[:, None]), jnp.sum(weight * grid.widths)

    lapse, width = jax.vmap(one)(belief.mean, belief.cov, belief.slope, sites)
    return belief._replace(lapse=lapse, width=width)
