"""Where a person's ideal is: draws from its posterior after some answers, and the region that holds most of them.

The Gaussians of `belief` choose questions well, but know neither steps and categories nor that a careless answer leaves
two places to look in. Here both count: a draw is an allowed point, and sequential Monte Carlo leads many of them from
the prior to the posterior of the very answers, by elliptical slice sampling at rising temperatures. Del Moral, Doucet
and Jasra (2006), "Sequential Monte Carlo samplers"; Murray, Adams and MacKay (2010), https://arxiv.org/abs/1001.0175.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

from hare_jax.base import holds, hyperparams, require
from hare_jax.elicit.bayesian.posterior import NUM_PERSONS, Belief, root
from hare_jax.space import ActionSpace, project

_LEAST_VARIANCE = 1e-6  # of a column in which all draws agree


@hyperparams
class MonteCarlo:
    """How hard to sample."""

    num_draws: int = 256
    num_temperatures: int = 12
    num_moves: int = 2  # of each draw at each temperature
    num_trials: int = 6  # points tried in a move, until one is likely enough


class Region(NamedTuple):
    """An ellipsoid. What can't change is left out."""

    mean: Array  # (d,)
    whiten: Array  # (d, d): a point is inside where the squared length of `whiten @ (point - mean)` is at most `radius`
    radius: Array  # ()


def draw_ideals(
    hp: MonteCarlo, key: Array, belief: Belief, prior: tuple[Array, Array], x: Array, space: ActionSpace
) -> Array:
    """Draws (n, d) of the ideal of the person at `x` (d,), if they hide one, given all that they answered.

    The `prior` of the ideal is a Gaussian, mean (d,) and covariance (d, d), brought into the `space`.
    """
    lower = root(prior[1], space.mutable)
    num, width = hp.num_draws, len(x)

    def place(latent: Array) -> Array:
        return project(space, x, prior[0] + lower @ latent)

    def log_likelihood(latent: Array) -> Array:
        return _log_likelihood(belief, place(latent))

    def move(carry: tuple[Array, Array], key: Array, temperature: Array) -> tuple[Array, Array]:
        """One slice of an ellipse through each draw, narrowed around it until a point on it is likely enough."""
        latent, likelihood = carry
        key_other, key_least, key_angle = jax.random.split(key, 3)
        other = jax.random.normal(key_other, latent.shape, latent.dtype)
        least = temperature * likelihood + jnp.log(jax.random.uniform(key_least, (num,), latent.dtype))
        share = jax.random.uniform(key_angle, (hp.num_trials + 1, num), latent.dtype)

        def narrow(carry: tuple, share: Array) -> tuple[tuple, None]:
            low, high, angle, moved, found, value = carry
            trial = latent * jnp.cos(angle)[:, None] + other * jnp.sin(angle)[:, None]
            likely = jax.vmap(log_likelihood)(trial)
            accepted = ~moved & (temperature * likely > least)
            found = jnp.where(accepted[:, None], trial, found)
            value = jnp.where(accepted, likely, value)
            low, high = jnp.where(angle < 0, angle, low), jnp.where(angle < 0, high, angle)
            return (low, high, low + share * (high - low), moved | accepted, found, value), None

        angle = 2 * jnp.pi * share[0]
        start = angle - 2 * jnp.pi, angle, angle, jnp.zeros(num, bool), latent, likelihood
        (_, _, _, _, latent, likelihood), _ = jax.lax.scan(narrow, start, share[1:])
        return latent, likelihood

    def warm(carry: tuple[Array, Array], step: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        """Raise the temperature's inverse: draw anew by how much likelier that makes each, and move them apart."""
        (latent, likelihood), (before, after, key) = carry, step
        key_draw, key_moves = jax.random.split(key)
        total = jnp.cumsum(jax.nn.softmax((after - before) * likelihood))
        at = (jnp.arange(num) + jax.random.uniform(key_draw, dtype=latent.dtype)) / num * total[-1]
        drawn = jnp.minimum(jnp.searchsorted(total, at), num - 1)
        carry = latent[drawn], likelihood[drawn]
        return jax.lax.scan(lambda c, k: (move(c, k, after), None), carry, jax.random.split(key_moves, hp.num_moves))

    key_first, key_steps = jax.random.split(key)
    latent = jax.random.normal(key_first, (num, width), x.dtype)
    rise = (jnp.arange(hp.num_temperatures + 1, dtype=x.dtype) / hp.num_temperatures) ** 2
    steps = rise[:-1], rise[1:], jax.random.split(key_steps, hp.num_temperatures)
    (latent, _), _ = jax.lax.scan(warm, (latent, jax.vmap(log_likelihood)(latent)), steps)
    return jax.vmap(place)(latent)


def _log_likelihood(belief: Belief, ideal: Array) -> Array:
    """Log of how likely all answers are, given the ideal (d,), up to a constant; each rate of lapses as likely."""
    lapse = belief.lapse[: belief.lapse.shape[0] // NUM_PERSONS, None]
    gap = belief.plane[0] @ ideal + belief.offset[0]
    ratio = gap / jnp.sqrt(belief.noise[0] + 1e-12)
    said = jnp.log(lapse + (1 - 2 * lapse) * norm.cdf(ratio)[None, :])
    said = jnp.where(belief.tied[None, :], -(ratio**2)[None, :] / 2, said)
    told = jnp.any(belief.plane[0] != 0, axis=1)
    return jax.nn.logsumexp(jnp.sum(jnp.where(told[None, :], said, 0), axis=1))


def credible_region(draws: Array, mutable: Array, level: Array | float) -> Region:
    """The ellipsoid around the mean of the `draws` (n, d) that holds the share `level` of them.

    It is as wide in each of the `mutable` (d,) columns as they are.

    Raises:
        ValueError: the level is no share between 0 and 1.
    """
    require(holds(lambda share: (share > 0) & (share < 1), level), "level", "must be above 0 and below 1", level)
    mean = jnp.mean(draws, axis=0)
    centred = draws - mean[None, :]
    cov = centred.T @ centred / len(draws) + _LEAST_VARIANCE * jnp.eye(len(mean), dtype=draws.dtype)
    whiten = whitening(cov, mutable)
    return Region(mean, whiten, jnp.quantile(jnp.sum((centred @ whiten.T) ** 2, axis=1), level, method="higher"))


def inside(region: Region, point: Array) -> Array:
    """Whether `point` (d,) is in the region: () bool."""
    return jnp.sum((region.whiten @ (point - region.mean)) ** 2) <= region.radius


def whitening(cov: Array, mutable: Array) -> Array:
    """The matrix (d, d) that makes what varies with the `mutable` (d,) part of `cov` (d, d) standard normal."""
    lower = root(cov, mutable)

    def row(known: Array, at: Array) -> tuple[Array, None]:
        pivot = lower[at, at]
        unit = (jnp.arange(len(cov)) == at).astype(cov.dtype)
        found = jnp.where(pivot > 0, (unit - lower[at] @ known) / jnp.where(pivot > 0, pivot, 1), 0)
        return known.at[at].set(found), None

    return jax.lax.scan(row, jnp.zeros_like(cov), jnp.arange(len(cov)))[0]
