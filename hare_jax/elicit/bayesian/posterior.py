"""What is believed about a person, after some answers: Gaussians, by expectation propagation.

What a recourse z is worth to a person is linear in what they hide, theta (d,): `u(z) = phi(z) . theta + c(z)`. If they
hide an ideal, `u(z) = -||z - theta||^2` without the part that all recourses share; if they hide cost weights,
`u(z) = -sum_j theta_j |z_j - x_j|`. So "a rather than b" says on which side of a plane theta lies, but for noise:
`P(a rather than b) = lapse + (1 - 2 lapse) Phi((u(a) - u(b)) / noise)`; who can't tell says that the difference is
`noise` times a standard normal. A *hypothesis* is one of the two persons with one rate of lapses; each has a Gaussian
of its own over theta, and is weighed by how well it foretold the answers. Minka (2001),
https://arxiv.org/abs/1301.2294.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

NUM_PERSONS = 2  # who hides an ideal, and who hides weights, in this order
_TINY = 1e-12


class Belief(NamedTuple):
    """Beliefs under h hypotheses after at most T answers: the ideal's with each lapse rate, then the weights'."""

    mean: Array  # (h, d) of theta
    cov: Array  # (h, d, d)
    evidence: Array  # (h,) log of the hypothesis's probability, up to a constant
    lapse: Array  # (h,)
    plane: Array  # (h, T, d) phi(a) - phi(b) of each answer "a rather than b"; zeros where there is none yet
    offset: Array  # (h, T) c(a) - c(b)
    noise: Array  # (h, T) variance
    tied: Array  # (T,) bool: not "a rather than b", but "I can't tell"
    precision: Array  # (h, T) of what each answer says of theta along its plane
    shift: Array  # (h, T) that precision times the mean that goes with it
    num_told: Array  # () int: answers so far


def features(x: Array, z: Array) -> tuple[Array, Array]:
    """Return phi (2, d) and c (2,) of the recourse `z` (d,) for someone at `x` (d,), for both kinds of person."""
    zero = jnp.zeros((), z.dtype)
    return jnp.stack([2 * z, -jnp.abs(z - x)]), jnp.stack([-jnp.sum(z * z), zero])


def init(mean: Array, cov: Array, log_prior: Array, lapses: tuple[float, ...], num_answers: int) -> Belief:
    """Belief before any answer, from `mean` (2, d), `cov` (2, d, d) and `log_prior` (2,) of both kinds of person."""
    num = len(lapses)
    mean, cov, log_prior = (jnp.repeat(leaf, num, axis=0) for leaf in (mean, cov, log_prior))
    none = jnp.zeros((len(mean), num_answers), mean.dtype)
    planes = jnp.zeros((*none.shape, mean.shape[1]), mean.dtype)
    lapse = jnp.tile(jnp.array(lapses, mean.dtype), NUM_PERSONS)
    tied, num_told = jnp.zeros(num_answers, bool), jnp.zeros((), jnp.int32)
    return Belief(mean, cov, log_prior, lapse, planes, none, none, tied, none, none, num_told)


def weight(belief: Belief) -> Array:
    """Probability (h,) of each hypothesis."""
    return jax.nn.softmax(belief.evidence)


def by_hypothesis(belief: Belief, leaf: Array) -> Array:
    """Repeat what there is for both kinds of person, (2, ...), for all hypotheses: (h, ...)."""
    return jnp.repeat(leaf, belief.evidence.shape[0] // NUM_PERSONS, axis=0)


def update(
    belief: Belief, x: Array, a: Array, b: Array, noise: Array, num_sweeps: int = 1, tied: Array | bool = False
) -> Belief:
    """Learn that the person at `x` (d,) would rather do `a` (d,) than `b` (d,), or, if `tied`, can't tell.

    `noise` (2,) is the s.d. of the difference of utilities that such an answer stands on. Answers past the T that there
    is room for are ignored.
    """
    (phi_a, c_a), (phi_b, c_b) = features(x, a), features(x, b)
    at = belief.num_told
    told = belief._replace(
        plane=belief.plane.at[:, at].set(by_hypothesis(belief, phi_a - phi_b)),
        offset=belief.offset.at[:, at].set(by_hypothesis(belief, c_a - c_b)),
        noise=belief.noise.at[:, at].set(by_hypothesis(belief, noise**2)),
        tied=belief.tied.at[at].set(tied),
        num_told=at + 1,
    )
    learnt = jax.lax.fori_loop(0, num_sweeps, lambda _, now: _sweep(now), _add(told, at))
    return jax.tree.map(lambda new, old: jnp.where(at < belief.offset.shape[1], new, old), learnt, belief)


class _Site(NamedTuple):
    """One answer of one hypothesis; see `Belief`."""

    plane: Array  # (d,)
    offset: Array  # ()
    noise: Array  # ()
    tied: Array  # () bool
    precision: Array  # ()
    shift: Array  # ()


def _sites(belief: Belief) -> _Site:
    tied = jnp.broadcast_to(belief.tied[None, :], belief.offset.shape)
    return _Site(belief.plane, belief.offset, belief.noise, tied, belief.precision, belief.shift)


def _add(belief: Belief, at: Array) -> Belief:
    """Take in the answer number `at`, and what it says of the hypotheses."""
    site = jax.tree.map(lambda leaf: leaf[:, at], _sites(belief))
    mean, cov, site, foretold = jax.vmap(_refit)(belief.mean, belief.cov, belief.lapse, site)
    return belief._replace(
        mean=mean,
        cov=cov,
        evidence=belief.evidence + foretold,
        precision=belief.precision.at[:, at].set(site.precision),
        shift=belief.shift.at[:, at].set(site.shift),
    )


def _sweep(belief: Belief) -> Belief:
    """Fit what each answer says once more, in the light of all the others."""

    def hypothesis(mean: Array, cov: Array, lapse: Array, sites: _Site) -> tuple[Array, Array, _Site]:
        def step(carry: tuple[Array, Array], site: _Site) -> tuple[tuple[Array, Array], _Site]:
            mean, cov, site, _ = _refit(*carry, lapse, site)
            return (mean, cov), site

        (mean, cov), sites = jax.lax.scan(step, (mean, cov), sites)
        return mean, (cov + cov.T) / 2, sites

    mean, cov, sites = jax.vmap(hypothesis)(belief.mean, belief.cov, belief.lapse, _sites(belief))
    return belief._replace(mean=mean, cov=cov, precision=sites.precision, shift=sites.shift)


def _refit(mean: Array, cov: Array, lapse: Array, site: _Site) -> tuple[Array, Array, _Site, Array]:
    """Match the moments of all other answers times this one; also the log of how likely this one was ()."""
    along = cov @ site.plane
    var, gap = jnp.maximum(site.plane @ along, _TINY), site.plane @ mean
    keep = jnp.maximum(1 - site.precision * var, 1e-3)
    var_others, gap_others = var / keep, (gap - site.shift * var) / keep
    var_answer = var_others + site.noise + _TINY
    sd = jnp.sqrt(var_answer)
    t = (gap_others + site.offset) / sd
    chance = jnp.maximum(lapse + (1 - 2 * lapse) * norm.cdf(t), 1e-8)
    slope = (1 - 2 * lapse) * norm.pdf(t) / (chance * sd)
    curve = jnp.clip(slope * (slope + t / sd), 0, 0.999 / var_others)
    exact = 1 / (site.noise + _TINY)
    precision = jnp.where(site.tied, exact, curve / (1 - curve * var_others))
    shift = jnp.where(site.tied, -site.offset * exact, (slope + gap_others * curve) / (1 - curve * var_others))
    foretold = jnp.where(site.tied, -(t**2 + jnp.log(var_answer * exact)) / 2, jnp.log(chance))
    told = jnp.any(site.plane != 0)
    precision, shift, foretold = (jnp.where(told, leaf, 0) for leaf in (precision, shift, foretold))
    up, up_shift = precision - site.precision, shift - site.shift
    scale = 1 / (1 + up * var)
    mean = mean + along * ((up_shift - up * gap) * scale)
    cov = cov - along[:, None] * along[None, :] * (up * scale)
    return mean, cov, site._replace(precision=precision, shift=shift), foretold


def utilities(belief: Belief, x: Array, z: Array) -> Array:
    """Expected utility (h,) of `z` (d,) for the person at `x` (d,), up to a constant of each hypothesis."""
    phi, c = features(x, z)
    phi, c = by_hypothesis(belief, phi), by_hypothesis(belief, c)
    return jnp.sum(phi * belief.mean, axis=1) + c


def root(cov: Array, mutable: Array) -> Array:
    """Lower-triangular root (d, d) of the `mutable` (d,) part of `cov` (d, d), by Cholesky; zeros elsewhere.

    Written out: JAX's own, in a batch on a CPU, waits for threads that other devices of the same CPU may hold.
    """
    rest = jnp.where(mutable[:, None] & mutable[None, :], cov, 0)

    def column(rest: Array, at: Array) -> tuple[Array, Array]:
        pivot = rest[at, at]
        found = jnp.where(pivot > _TINY, rest[:, at] * jax.lax.rsqrt(jnp.maximum(pivot, _TINY)), 0)
        found = jnp.where(jnp.arange(len(found)) < at, 0, found)
        return rest - found[:, None] * found[None, :], found

    return jax.lax.scan(column, rest, jnp.arange(len(cov)))[1].T
