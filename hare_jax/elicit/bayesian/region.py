"""Draws of a hidden ideal from its posterior by sequential Monte Carlo, and credible regions.

The Gaussians of `posterior` are cheap enough to choose questions, but have one mode each even where the error rate
makes the posterior multimodal. Here a draw is an allowed point, the likelihood of the answers is exact, with the error
rate integrated out, and the classifier is evaluated at each draw: particles are moved from the prior to the posterior
by resampling and elliptical slice sampling at increasing inverse temperatures. Del Moral, Doucet and Jasra (2006),
"Sequential Monte Carlo samplers"; Murray, Adams and MacKay (2010), https://arxiv.org/abs/1001.0175. The ellipses are
those of a normal distribution with the moments of the particles, after Nishihara, Murray and Adams (2014),
https://arxiv.org/abs/1210.7477; as it is fitted to the particles that it moves, moves are exact as n grows.

Notation: n particles; a *latent* point (d + 1,) is standard normal a priori. Its last coordinate gives the reach, and
the others a change of the mutable columns, of that L2 norm in expectation; the ideal is the factual with that change,
projected onto the action space.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr

from hare_jax.base import LogitFn, exact_products, holds, pytree_dataclass, require
from hare_jax.elicit.bayesian.belief import Belief
from hare_jax.elicit.bayesian.manner import error_grid, log_likelihood, without_errors
from hare_jax.elicit.bayesian.posterior import ages
from hare_jax.elicit.bayesian.propagation import TINY
from hare_jax.hyperparams import Count, Share
from hare_jax.solvers import linalg
from hare_jax.solvers.resampling import systematic
from hare_jax.space import ActionSpace, follow, project

_LEAST_VARIANCE = 1e-6  # of a column in which all draws agree
_SHRINKAGE = 0.1  # of the correlations of particles, in the reference of their moves
_LEAST_SHARE = 1e-3  # of a draw's covariance that is not its own
_TEMPERATURE_POWER = 2  # inverse temperatures are (i / T)^2: denser near the prior


@pytree_dataclass
class MonteCarlo:
    """Compute budget of the sampler, and its prior of the error rates."""

    num_draws: Count = 128  # particles
    num_temperatures: Count = 12
    num_moves: Count = 2  # slice moves of each particle at each temperature
    num_trials: Count = 4  # points tried in a move, until one lies on the slice
    rate_power: Share = 0.5  # power of the prior of error rates; 1 is that of the questions, which favours few errors


class Region(NamedTuple):
    """An ellipsoid in the mutable columns."""

    mean: Array  # (d,)
    whiten: Array  # (d, d): a point is inside where the squared length of `whiten @ (point - mean)` is at most `radius`
    radius: Array  # ()


class Answers(NamedTuple):
    """T answers about an ideal; the fields are those of `belief.Belief`."""

    plane: Array  # (T, d)
    offset: Array  # (T,)
    noise: Array  # (T,)
    width: Array  # (T,)
    tied: Array  # (T,) bool
    rates: Array  # (T, E) error rates
    log_prior: Array  # (E,) of each of them


class Target(NamedTuple):
    """The posterior to sample from."""

    answers: Answers
    reaches: Array  # (r,) equally probable
    slack: Array  # () logits; how far from the decision boundary ideals are supposed to be. Infinite: anywhere
    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace


class Particles(NamedTuple):
    """Latent points with their log likelihoods."""

    latent: Array  # (n, d + 1)
    log_likelihood: Array  # (n,)


class Reference(NamedTuple):
    """A normal distribution of latent points, from which the ellipses of slice moves are drawn."""

    mean: Array  # (d + 1,)
    root: Array  # (d + 1, d + 1) of the covariance
    whiten: Array  # (d + 1, d + 1) the inverse of that root


class Bracket(NamedTuple):
    """A slice move of each particle under way: the angles still possible, and the state of the particle."""

    low: Array  # (n,)
    high: Array  # (n,)
    angle: Array  # (n,) to try next
    accepted: Array  # (n,) bool
    particles: Particles  # the accepted point, or the point before the move


@exact_products
def draw_ideals(hp: MonteCarlo, key: Array, target: Target) -> Array:
    """Draws (n, d) of the ideal from the posterior given all answers."""
    key_first, key_steps = jax.random.split(key)
    latent = jax.random.normal(key_first, (hp.num_draws, len(target.x) + 1), target.x.dtype)
    particles = Particles(latent, _log_likelihoods(target, latent))
    rise = (jnp.arange(hp.num_temperatures + 1, dtype=latent.dtype) / hp.num_temperatures) ** _TEMPERATURE_POWER
    steps = rise[:-1], rise[1:], jax.random.split(key_steps, hp.num_temperatures)
    particles, _ = jax.lax.scan(lambda carry, step: (_temper(hp, target, carry, *step), None), particles, steps)
    return jax.vmap(partial(_ideal, target))(particles.latent)


def answers_of(belief: Belief, rate_power: Array | float) -> Answers:
    """The answers of a session, about ideals; the prior of error rates is raised to the `rate_power`.

    Raises:
        ValueError: the posterior does not cover ideals.
    """
    at = belief.kinds.span("ideal").start  # planes and offsets are the same for each reach, and noise almost
    likely = belief.kinds.span("ideal")
    best = jnp.argmax(belief.log_weight[likely])
    errors = error_grid(belief.grid, ages(belief), rate_power)
    width = belief.manner.width[likely][best] * belief.slope[likely][best]
    noise = belief.noise[likely][best]
    return Answers(belief.plane[at], belief.offset[at], noise, width, belief.tied, errors.rate, errors.log_prior)


@exact_products
def credible_region(draws: Array, mutable: Array, level: Array | float) -> Region:
    """The ellipsoid around the mean of the `draws` (n, d) that contains another with about the probability `level`.

    Its axes are those of the covariance of the draws in the `mutable` (d,) columns. Each draw is measured by the mean
    and the covariance of the others (Cook and Weisberg, 1982, "Residuals and influence in regression").

    Raises:
        ValueError: the level is not between 0 and 1.
    """
    require(holds(lambda share: (share > 0) & (share < 1), level), "level", "must be above 0 and below 1", level)
    mean = jnp.mean(draws, axis=0)
    centred = draws - mean[None, :]
    cov = centred.T @ centred / len(draws) + _LEAST_VARIANCE * jnp.eye(len(mean), dtype=draws.dtype)
    whiten = linalg.whitening(cov, mutable)
    squares = _by_others(jnp.sum((centred @ whiten.T) ** 2, axis=1))
    return Region(mean, whiten, jnp.quantile(squares, level, method="higher"))


@exact_products
def inside(region: Region, point: Array) -> Array:
    """Whether `point` (d,) is in the region: () bool."""
    return jnp.sum((region.whiten @ (point - region.mean)) ** 2) <= region.radius


def _by_others(squares: Array) -> Array:
    """The squared lengths (n,) of whitened draws by the mean and the covariance of the others, from those of all."""
    num = len(squares) - 1
    return (num + 1) / num * squares / jnp.maximum(1 - squares / num, _LEAST_SHARE)


def _temper(hp: MonteCarlo, target: Target, particles: Particles, before: Array, after: Array, key: Array) -> Particles:
    """Raise the inverse temperature from `before` to `after`: resample, then move each particle."""
    key_resample, key_moves = jax.random.split(key)
    particles = _resample(key_resample, particles, after - before)
    reference = _reference(particles.latent)

    def move(particles: Particles, key: Array) -> tuple[Particles, None]:
        return _slice_move(hp, target, reference, particles, key, after), None

    return jax.lax.scan(move, particles, jax.random.split(key_moves, hp.num_moves))[0]


def _reference(latent: Array) -> Reference:
    """The normal distribution with the moments of the points (n, d), correlations shrunk."""
    mean = jnp.mean(latent, axis=0)
    centred = latent - mean[None, :]
    cov = (1 - _SHRINKAGE) * (centred.T @ centred) / len(latent)
    cov += jnp.diag(_SHRINKAGE * jnp.mean(centred**2, axis=0) + _LEAST_VARIANCE)
    everywhere = jnp.ones(len(mean), bool)
    return Reference(mean, linalg.root(cov, everywhere), linalg.whitening(cov, everywhere))


def _resample(key: Array, particles: Particles, rise: Array) -> Particles:
    """Systematic resampling with weights `likelihood ** rise`."""
    num, dtype = len(particles.log_likelihood), particles.latent.dtype
    drawn = systematic(jax.random.uniform(key, dtype=dtype), rise * particles.log_likelihood, num)
    return Particles(particles.latent[drawn], particles.log_likelihood[drawn])


def _slice_move(
    hp: MonteCarlo, target: Target, reference: Reference, particles: Particles, key: Array, temperature: Array
) -> Particles:
    """One elliptical slice move of each particle, with at most `num_trials` points: Murray et al. (2010), figure 2.

    The ellipses are around the mean of the `reference`, whose density divides that of the target.
    """
    latent = particles.latent
    num, dtype = len(latent), latent.dtype
    key_other, key_level, key_angle = jax.random.split(key, 3)
    centred = latent - reference.mean[None, :]
    other = jax.random.normal(key_other, latent.shape, dtype) @ reference.root.T  # 1. the ellipse
    level = _height(reference, particles, temperature) + jnp.log(jax.random.uniform(key_level, (num,), dtype))  # 2.
    share = jax.random.uniform(key_angle, (hp.num_trials + 1, num), dtype)
    angle = 2 * jnp.pi * share[0]  # 3. the bracket, after 2. the slice
    bracket = Bracket(angle - 2 * jnp.pi, angle, angle, jnp.zeros(num, bool), particles)

    def shrink(bracket: Bracket, share: Array) -> tuple[Bracket, None]:
        trial = centred * jnp.cos(bracket.angle)[:, None] + other * jnp.sin(bracket.angle)[:, None]
        trial += reference.mean[None, :]
        moved = Particles(trial, _log_likelihoods(target, trial))
        return _shrink(bracket, moved, _height(reference, moved, temperature) > level, share), None

    return jax.lax.scan(shrink, bracket, share[1:])[0].particles


def _height(reference: Reference, particles: Particles, temperature: Array) -> Array:
    """Log density (n,) of the particles at an inverse temperature, relative to that of the reference."""
    latent = particles.latent
    white = (latent - reference.mean[None, :]) @ reference.whiten.T
    return temperature * particles.log_likelihood + (jnp.sum(white**2, axis=1) - jnp.sum(latent**2, axis=1)) / 2


def _shrink(bracket: Bracket, trial: Particles, on_slice: Array, share: Array) -> Bracket:
    """Accept the `trial` particles that are `on_slice` (n,); shrink the others' brackets towards the particle."""
    accepted = ~bracket.accepted & on_slice
    old, angle = bracket.particles, bracket.angle
    particles = Particles(
        jnp.where(accepted[:, None], trial.latent, old.latent),
        jnp.where(accepted, trial.log_likelihood, old.log_likelihood),
    )
    low, high = jnp.where(angle < 0, angle, bracket.low), jnp.where(angle < 0, bracket.high, angle)
    return Bracket(low, high, low + share * (high - low), bracket.accepted | accepted, particles)


def _ideal(target: Target, latent: Array) -> Array:
    """The ideal (d,) of a `latent` point (d + 1,)."""
    x, space = target.x, target.space
    num = len(target.reaches)
    at = jnp.clip((ndtr(latent[-1]) * num).astype(jnp.int32), 0, num - 1)
    scale = jnp.asarray(target.reaches)[at] / jnp.sqrt(jnp.maximum(jnp.sum(space.mutable), 1).astype(x.dtype))
    return project(space, x, follow(space, x, x + jnp.where(space.mutable, scale * latent[:-1], 0)))


def _log_likelihoods(target: Target, latent: Array) -> Array:
    """Log likelihood (n,) of `latent` points (n, d + 1): of all answers, and of the distance from the boundary."""
    ideals = jax.vmap(partial(_ideal, target))(latent)
    depth = jax.vmap(target.logit_fn)(ideals) / target.slack
    return _of_answers(target.answers, ideals) - jnp.log1p(depth**2)


def _of_answers(answers: Answers, ideals: Array) -> Array:
    """Log likelihood (n,) of all answers given each of the `ideals` (n, d), up to a constant."""
    sd = jnp.sqrt(answers.noise + TINY)[:, None]
    gap = answers.plane @ ideals.T + answers.offset[:, None]
    probability = without_errors(gap, sd, answers.width[:, None], answers.tied[:, None])  # (T, n)
    told = jnp.any(answers.plane != 0, axis=1)
    log_p = log_likelihood(answers.rates[:, :, None], probability[:, None, :], told)
    return jax.nn.logsumexp(answers.log_prior[:, None] + log_p, axis=0)
