"""Draws of a hidden ideal from its posterior by sequential Monte Carlo, and credible regions.

The Gaussians of `posterior` are cheap enough to choose questions, but ignore steps and categories, and have one mode
even where lapses make the posterior multimodal. Here a draw is an allowed point, and the likelihood of the answers is
exact: particles are moved from the prior to the posterior by resampling and elliptical slice sampling at increasing
inverse temperatures. Del Moral, Doucet and Jasra (2006), "Sequential Monte Carlo samplers"; Murray, Adams and MacKay
(2010), https://arxiv.org/abs/1001.0175.

Notation: n particles; a *latent* point (d,) is standard normal a priori, and `mean + root @ latent`, projected onto the
action space, is the ideal.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

from hare_jax.base import exact_products, holds, pytree_dataclass, require
from hare_jax.elicit.bayesian.posterior import Belief
from hare_jax.elicit.bayesian.propagation import TINY
from hare_jax.hyperparams import Count
from hare_jax.people.base import Prior as Gaussian
from hare_jax.solvers import linalg
from hare_jax.space import ActionSpace, project

_LEAST_VARIANCE = 1e-6  # of a column in which all draws agree
_TEMPERATURE_POWER = 2  # inverse temperatures are (i / T)^2: denser near the prior


@pytree_dataclass
class MonteCarlo:
    """Compute budget of the sampler."""

    num_draws: Count = 256  # particles
    num_temperatures: Count = 12
    num_moves: Count = 2  # slice moves of each particle at each temperature
    num_trials: Count = 6  # points tried in a move, until one lies on the slice


class Region(NamedTuple):
    """An ellipsoid in the mutable columns."""

    mean: Array  # (d,)
    whiten: Array  # (d, d): a point is inside where the squared length of `whiten @ (point - mean)` is at most `radius`
    radius: Array  # ()


class Target(NamedTuple):
    """The posterior to sample from."""

    belief: Belief  # of ideals alone: the answers
    mean: Array  # (d,) of the prior
    root: Array  # (d, d) of the prior's covariance, lower-triangular
    x: Array  # (d,)
    space: ActionSpace


class Particles(NamedTuple):
    """Latent points with their log likelihoods."""

    latent: Array  # (n, d)
    log_likelihood: Array  # (n,)


class Bracket(NamedTuple):
    """A slice move of each particle under way: the angles still possible, and the state of the particle."""

    low: Array  # (n,)
    high: Array  # (n,)
    angle: Array  # (n,) to try next
    accepted: Array  # (n,) bool
    particles: Particles  # the accepted point, or the point before the move


@exact_products
def draw_ideals(hp: MonteCarlo, key: Array, belief: Belief, prior: Gaussian, x: Array, space: ActionSpace) -> Array:
    """Draws (n, d) of the ideal for the factual `x` (d,), from the posterior given all answers.

    `belief` holds the answers, for ideals alone (`posterior.of_kind`). The `prior` is a Gaussian, (d,) and (d, d),
    projected onto the `space`.
    """
    target = Target(belief, prior.mean, linalg.root(prior.cov, space.mutable), x, space)
    key_first, key_steps = jax.random.split(key)
    latent = jax.random.normal(key_first, (hp.num_draws, len(x)), x.dtype)
    particles = Particles(latent, jax.vmap(partial(_latent_log_likelihood, target))(latent))
    rise = (jnp.arange(hp.num_temperatures + 1, dtype=x.dtype) / hp.num_temperatures) ** _TEMPERATURE_POWER
    steps = rise[:-1], rise[1:], jax.random.split(key_steps, hp.num_temperatures)
    particles, _ = jax.lax.scan(lambda carry, step: (_temper(hp, target, carry, *step), None), particles, steps)
    return jax.vmap(partial(_ideal, target))(particles.latent)


@exact_products
def credible_region(draws: Array, mutable: Array, level: Array | float) -> Region:
    """The ellipsoid around the mean of the `draws` (n, d) that contains the share `level` of them.

    Its axes are those of the covariance of the draws in the `mutable` (d,) columns.

    Raises:
        ValueError: the level is not between 0 and 1.
    """
    require(holds(lambda share: (share > 0) & (share < 1), level), "level", "must be above 0 and below 1", level)
    mean = jnp.mean(draws, axis=0)
    centred = draws - mean[None, :]
    cov = centred.T @ centred / len(draws) + _LEAST_VARIANCE * jnp.eye(len(mean), dtype=draws.dtype)
    whiten = linalg.whitening(cov, mutable)
    return Region(mean, whiten, jnp.quantile(jnp.sum((centred @ whiten.T) ** 2, axis=1), level, method="higher"))


@exact_products
def inside(region: Region, point: Array) -> Array:
    """Whether `point` (d,) is in the region: () bool."""
    return jnp.sum((region.whiten @ (point - region.mean)) ** 2) <= region.radius


def _temper(hp: MonteCarlo, target: Target, particles: Particles, before: Array, after: Array, key: Array) -> Particles:
    """Raise the inverse temperature from `before` to `after`: resample, then move each particle."""
    key_resample, key_moves = jax.random.split(key)
    particles = _resample(key_resample, particles, after - before)

    def move(particles: Particles, key: Array) -> tuple[Particles, None]:
        return _slice_move(hp, target, particles, key, after), None

    return jax.lax.scan(move, particles, jax.random.split(key_moves, hp.num_moves))[0]


def _resample(key: Array, particles: Particles, rise: Array) -> Particles:
    """Systematic resampling with weights `likelihood ** rise`."""
    num = len(particles.log_likelihood)
    total = jnp.cumsum(jax.nn.softmax(rise * particles.log_likelihood))
    at = (jnp.arange(num) + jax.random.uniform(key, dtype=total.dtype)) / num * total[-1]
    drawn = jnp.minimum(jnp.searchsorted(total, at), num - 1)
    return Particles(particles.latent[drawn], particles.log_likelihood[drawn])


def _slice_move(hp: MonteCarlo, target: Target, particles: Particles, key: Array, temperature: Array) -> Particles:
    """One elliptical slice move of each particle, with at most `num_trials` points: Murray et al. (2010), figure 2."""
    latent, log_likelihood = particles
    num, dtype = len(log_likelihood), latent.dtype
    key_other, key_level, key_angle = jax.random.split(key, 3)
    other = jax.random.normal(key_other, latent.shape, dtype)  # 1. the ellipse
    level = temperature * log_likelihood + jnp.log(jax.random.uniform(key_level, (num,), dtype))  # 2. the slice
    share = jax.random.uniform(key_angle, (hp.num_trials + 1, num), dtype)
    angle = 2 * jnp.pi * share[0]  # 3. the bracket
    bracket = Bracket(angle - 2 * jnp.pi, angle, angle, jnp.zeros(num, bool), particles)

    def shrink(bracket: Bracket, share: Array) -> tuple[Bracket, None]:
        trial = latent * jnp.cos(bracket.angle)[:, None] + other * jnp.sin(bracket.angle)[:, None]
        return _shrink(target, bracket, trial, level, temperature, share), None

    return jax.lax.scan(shrink, bracket, share[1:])[0].particles


def _shrink(target: Target, bracket: Bracket, trial: Array, level: Array, temperature: Array, share: Array) -> Bracket:
    """Accept the `trial` points (n, d) that lie on the slice; shrink the others' brackets towards the particle."""
    log_likelihood = jax.vmap(partial(_latent_log_likelihood, target))(trial)
    accepted = ~bracket.accepted & (temperature * log_likelihood > level)
    old, angle = bracket.particles, bracket.angle
    particles = Particles(
        jnp.where(accepted[:, None], trial, old.latent), jnp.where(accepted, log_likelihood, old.log_likelihood)
    )
    low, high = jnp.where(angle < 0, angle, bracket.low), jnp.where(angle < 0, bracket.high, angle)
    return Bracket(low, high, low + share * (high - low), bracket.accepted | accepted, particles)


def _ideal(target: Target, latent: Array) -> Array:
    """The ideal (d,) of a `latent` point (d,)."""
    return project(target.space, target.x, target.mean + target.root @ latent)


def _latent_log_likelihood(target: Target, latent: Array) -> Array:
    return _log_likelihood(target.belief, _ideal(target, latent))


def _log_likelihood(belief: Belief, ideal: Array) -> Array:
    """Log likelihood () of all answers given the ideal (d,), up to a constant; lapse rates are equally probable."""
    plane, offset, noise = belief.plane[0], belief.offset[0], belief.noise[0]  # the same for each lapse rate
    lapse = belief.lapse[:, None]
    ratio = (plane @ ideal + offset) / jnp.sqrt(noise + TINY)
    answers = jnp.log(lapse + (1 - 2 * lapse) * norm.cdf(ratio)[None, :])
    answers = jnp.where(belief.tied[None, :], -(ratio**2)[None, :] / 2, answers)
    told = jnp.any(plane != 0, axis=1)
    return jax.nn.logsumexp(jnp.sum(jnp.where(told[None, :], answers, 0), axis=1))
