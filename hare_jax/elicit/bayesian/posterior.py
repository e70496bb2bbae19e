"""Posterior of the hidden parameters of a person, given answers: a mixture of Gaussians, by expectation propagation.

Notation: theta (d,) are the hidden parameters. The utility of a recourse z is linear in them,
`u(z) = phi(z) . theta + c(z)`, with `phi` and `c` from `Person.features` of each kind of person. "a rather than b" has
the likelihood `lapse + (1 - 2 lapse) Phi((u(a) - u(b) - width) / noise)`; a tie says that the difference lies within
the width (`propagation`, `manner`). A *hypothesis* is a kind of person with one scale of its prior, such as how far
target points are from the factual; there are h of them. Each has a Gaussian over theta, with sites for the answers, for
the prior of each column (`people.marginals`) and of each category (`categories`) and, for target points, for the
decision boundary near the recommendation. Its probability is its prior probability times the marginal likelihood of
the answers: the product of the probabilities of each given those before it. All of this assumes that the answers
are not coin tosses, which choose either recourse with equal probability unless the pair is tied; the probability that
they are is `belief.by_coins`.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr

from hare_jax.elicit.bayesian import categories, manner
from hare_jax.elicit.bayesian.belief import (
    Belief,
    expected_utility,
    features,
    features_by_kind,
    features_of_points,
    weight,
)
from hare_jax.elicit.bayesian.losses import Compared, Foci, foci_of, in_utilities
from hare_jax.elicit.bayesian.manner import Manner
from hare_jax.elicit.bayesian.propagation import (
    Plane,
    Site,
    add_site,
    held_out,
    log_likelihood,
    prior_sites,
    replace_site,
    sweep,
    sweep_columns,
)
from hare_jax.elicit.bayesian.reductions import equal_rows, quadratic_forms
from hare_jax.people import PERSONS
from hare_jax.people.base import Prior
from hare_jax.solvers import linalg
from hare_jax.solvers.resampling import systematic
from hare_jax.space import ActionSpace

_MIDDLE = 0.5  # of each of the equal parts of the probabilities
_LEAST_VARIANCE = 1e-12
_SHARE_OF_WIDTH = 0.5  # of ties, by which a recourse must beat the base; 0 harms many who can't tell
_LOG_COIN = math.log(0.5)  # of one side of a coin


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

    `noise` (h,) is the s.d. of the noise of the difference of utilities. The manner of answering is fitted; then all
    sites are fitted again, in a pass over the answers and `num_sweeps` over all sites. Answers beyond the T that there
    is room for are ignored. `space` is that of `features`.
    """
    (phi_a, c_a), (phi_b, c_b) = (features(belief.kinds, x, z, space) for z in (a, b))
    at = belief.num_told
    told = belief._replace(
        plane=belief.plane.at[:, at].set(phi_a - phi_b),
        offset=belief.offset.at[:, at].set(c_a - c_b),
        noise=belief.noise.at[:, at].set(noise**2),
        pair=belief.pair.at[at].set(jnp.stack([a, b])),
        tied=belief.tied.at[at].set(tied),
        num_told=at + 1,
    )
    told = told._replace(foci=_foci(told, x, space))
    new = _fitted(_with_manner(_weighed(told, at)), num_sweeps)
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


def not_better(belief: Belief, x: Array, z: Array, base: Array, space: ActionSpace | None = None) -> Array:
    """Posterior probability (n,) that each `z` (n, d) does not beat `base` (d,) by half the width of ties or more.

    It is 0 for the base itself. The width is 0 until a person can't tell; the result is then the probability of harm,
    given that the answers are not coin tosses.
    """
    known, known_base = features_of_points(belief.kinds, x, z, space), features_by_kind(belief.kinds, x, base, space)

    def below(kind: int, span: slice) -> Array:
        mean, cov = belief.mean[span], belief.cov[span]
        value, of_base = expected_utility(known, kind, mean), expected_utility(known_base, kind, mean)[:, None]
        change = known.phi[kind] - known_base.phi[kind][None, :]
        variance = quadratic_forms(cov, change)
        compared = Compared(value, of_base, variance, jnp.sum(change**2, axis=1))
        foci = foci_of(belief.kinds.distinct[kind], mean, cov, compared)
        lead = in_utilities(foci, _SHARE_OF_WIDTH * belief.manner.width[span, None])
        return ndtr((of_base + lead - value) / jnp.sqrt(jnp.maximum(variance, _LEAST_VARIANCE)))

    is_base = equal_rows(z, base[None, :])[:, 0]
    return jnp.where(is_base, 0, weight(belief) @ belief.kinds.concatenated(below))


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

    def of_kind(kind: str, normal: Array) -> Array:
        span = belief.kinds.span(kind)
        return draw_mixture(_MIDDLE, belief.log_weight[span], belief.mean[span], roots[span], normal)

    return {kind: of_kind(kind, draws) for kind, draws in normal.items()}


def draw_mixture(offset: Array | float, log_share: Array, mean: Array, root: Array, normal: Array) -> Array:
    """Draws (n, d) of a mixture of k normal distributions from standard `normal` draws (n, d).

    Each has a `mean` (k, d) and the `root` (k, d, d) of its covariance, and as many draws as `log_share` (k,) says;
    `offset` is that of `systematic`.
    """
    at = systematic(offset, log_share, len(normal))
    return mean[at] + jnp.einsum("nde,ne->nd", root[at], normal)


def ages(belief: Belief) -> Array:
    """The number of later answers (T,) of each answer."""
    return jnp.maximum(belief.num_told - 1 - jnp.arange(len(belief.tied)), 0).astype(belief.mean.dtype)


def _foci(belief: Belief, x: Array, space: ActionSpace | None) -> Foci:
    """Where the recourses of each answer (h, T) are."""
    known = features_of_points(belief.kinds, x, belief.pair.reshape(-1, len(x)), space)

    def of_kind(kind: int, span: slice) -> Foci:
        mean, cov, plane = belief.mean[span], belief.cov[span], belief.plane[span.start]
        value = expected_utility(known, kind, mean)
        one, other = jnp.unstack(value.reshape(len(value), -1, 2), axis=2)
        compared = Compared(one, other, quadratic_forms(cov, plane), jnp.sum(plane**2, axis=1))
        return foci_of(belief.kinds.distinct[kind], mean, cov, compared)

    return belief.kinds.concatenated(of_kind)


def _sites(belief: Belief) -> Site:
    """The sites of all answers: leaves (h, T, ...)."""
    shape = belief.offset.shape
    lapse, width, memory = (leaf[:, None] for leaf in belief.manner)
    return Site(
        plane=belief.plane,
        offset=belief.offset,
        noise=belief.noise,
        width=in_utilities(belief.foci, width),
        lapse=manner.error_rate(lapse, memory, ages(belief)[None, :], belief.tied[None, :]),
        tied=jnp.broadcast_to(belief.tied[None, :], shape),
        precision=belief.precision,
        shift=belief.shift,
    )


def _weighed(belief: Belief, at: Array) -> Belief:
    """Multiply the hypotheses' weights by the marginal likelihood of answer number `at`, which has no site yet.

    Coin tosses are assumed to leave ties as probable as the hypotheses do, so that a tie is no evidence either way. Any
    other answer then has, as a toss, the mean of its own probability and that of the opposite answer.
    """
    site = jax.tree.map(lambda leaf: leaf[:, at], _sites(belief))
    likelihood = jax.vmap(log_likelihood)
    of_answer = likelihood(belief.mean, belief.cov, site)
    of_opposite = likelihood(belief.mean, belief.cov, site._replace(plane=-site.plane, offset=-site.offset))
    of_toss = jnp.where(belief.tied[at], of_answer, _LOG_COIN + jnp.logaddexp(of_answer, of_opposite))
    log_coins = belief.log_coins + jax.nn.logsumexp(belief.log_weight + of_toss) - jax.nn.logsumexp(belief.log_weight)
    return belief._replace(log_weight=belief.log_weight + of_answer, log_coins=log_coins)


def _fitted(belief: Belief, num_sweeps: int) -> Belief:
    """Fit all sites again, from those of the prior, so that no earlier answer has locked a column."""
    fit = partial(_fit_all, num_sweeps)
    mean, cov, sites = jax.vmap(fit)(belief.prior, belief.manner.lapse, belief.boundary, _sites(belief))
    return belief._replace(mean=mean, cov=cov, precision=sites.precision, shift=sites.shift)


def _fit_all(num_sweeps: int, prior: Prior, lapse: Array, boundary: Plane, sites: Site) -> tuple[Array, Array, Site]:
    """The posterior's `mean` (d,) and `cov` (d, d) of one hypothesis, and the sites (T, ...) of the answers."""
    none = jnp.zeros_like(sites.precision)
    columns, levels = prior_sites(prior.marginals, prior.varies), categories.prior_sites(prior.levels)
    first = *add_site(prior.mean, prior.cov, boundary), columns, levels, sites._replace(precision=none, shift=none)

    def of_prior(fitted: tuple[Any, ...]) -> tuple[Any, ...]:
        mean, cov, columns, levels = fitted
        mean, cov, columns = sweep_columns(mean, cov, prior.marginals, prior.varies, columns, lapse)
        mean, cov, levels = categories.sweep(mean, cov, prior.levels, levels)
        return mean, cov, columns, levels

    def once(at: Array, fitted: tuple[Any, ...]) -> tuple[Any, ...]:
        mean, cov, columns, levels = jax.lax.cond(at > 0, of_prior, lambda same: same, fitted[:-1])
        mean, cov, sites = sweep(mean, cov, fitted[-1])
        return mean, cov, columns, levels, sites

    mean, cov, *_, sites = jax.lax.fori_loop(0, num_sweeps + 1, once, first)
    return mean, cov, sites


def _with_manner(belief: Belief) -> Belief:
    """Fit the manner of answering of each hypothesis."""
    since = ages(belief)

    def one(mean: Array, cov: Array, foci: Foci, sites: Site) -> Manner:
        gap = jax.vmap(held_out, in_axes=(None, None, 0))(mean, cov, sites)
        told = jnp.any(sites.plane != 0, axis=1)
        return manner.fit(belief.grid, manner.Answered(gap, foci, sites.tied, told, since))

    return belief._replace(manner=jax.vmap(one)(belief.mean, belief.cov, belief.foci, _sites(belief)))
