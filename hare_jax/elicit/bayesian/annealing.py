"""Draws from a density that is known up to a constant, by sequential Monte Carlo.

Particles are moved from a density that can be drawn from to the target by resampling and elliptical slice sampling, at
densities between the two: `start ** (1 - t) * target ** t` for increasing inverse temperatures t. Neal (2001),
https://arxiv.org/abs/physics/9803008; Del Moral, Doucet and Jasra (2006), "Sequential Monte Carlo samplers"; Murray,
Adams and MacKay (2010), https://arxiv.org/abs/1001.0175. The ellipses are those of a normal distribution with the
moments of the particles, after Nishihara, Murray and Adams (2014), https://arxiv.org/abs/1210.7477. It is fitted to the
particles that it moves, so that moves are exact only in the limit of many.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.solvers import linalg
from hare_jax.solvers.resampling import systematic

_LEAST_VARIANCE = 1e-6  # of a column in which all particles agree
_SHRINKAGE = 0.1  # of the correlations of particles, in the reference of their moves

LogDensity = Callable[[Array], Array]  # of points (n, d): (n,), up to a constant


class Schedule(NamedTuple):
    """The steps from the start to the target."""

    num_temperatures: int
    num_moves: int  # slice moves of each particle at each temperature
    num_trials: int  # points tried in a move, until one lies on the slice


class Path(NamedTuple):
    """The densities between the start and the target."""

    start: LogDensity
    target: LogDensity
    varies: Array  # (d,) bool: the columns in which particles move


class Particles(NamedTuple):
    """Points with their log densities."""

    point: Array  # (n, d)
    log_start: Array  # (n,)
    log_target: Array  # (n,)


class Reference(NamedTuple):
    """A normal distribution, from which the ellipses of slice moves are drawn."""

    mean: Array  # (d,)
    root: Array  # (d, d) of the covariance
    whiten: Array  # (d, d) the inverse of that root


class Bracket(NamedTuple):
    """A slice move of each particle under way: the angles still possible, and the state of the particle."""

    low: Array  # (n,)
    high: Array  # (n,)
    angle: Array  # (n,) to try next
    accepted: Array  # (n,) bool
    particles: Particles  # the accepted point, or the point before the move


def anneal(key: Array, schedule: Schedule, path: Path, points: Array) -> Array:
    """Draws (n, d) from the target, from draws of the start, the `points` (n, d)."""
    num = schedule.num_temperatures
    inverse = jnp.arange(num + 1, dtype=points.dtype) / num  # temperatures

    def step(particles: Particles, at: tuple[Array, Array, Array]) -> tuple[Particles, None]:
        return _temper(schedule, path, particles, *at), None

    steps = inverse[:-1], inverse[1:], jax.random.split(key, num)
    return jax.lax.scan(step, _evaluated(path, points), steps)[0].point


def _evaluated(path: Path, points: Array) -> Particles:
    return Particles(points, path.start(points), path.target(points))


def _temper(schedule: Schedule, path: Path, particles: Particles, before: Array, after: Array, key: Array) -> Particles:
    """Raise the inverse temperature from `before` to `after`: resample, then move each particle."""
    key_resample, key_moves = jax.random.split(key)
    particles = _resample(key_resample, particles, after - before)
    reference = _reference(particles.point, path.varies)

    def move(particles: Particles, key: Array) -> tuple[Particles, None]:
        return _slice_move(schedule.num_trials, path, reference, particles, key, after), None

    return jax.lax.scan(move, particles, jax.random.split(key_moves, schedule.num_moves))[0]


def _reference(points: Array, varies: Array) -> Reference:
    """The normal distribution with the moments of the `points` (n, d), correlations shrunk."""
    mean = jnp.mean(points, axis=0)
    centred = points - mean[None, :]
    cov = (1 - _SHRINKAGE) * (centred.T @ centred) / len(points)
    cov += jnp.diag(_SHRINKAGE * jnp.mean(centred**2, axis=0) + _LEAST_VARIANCE)
    return Reference(mean, linalg.root(cov, varies), linalg.whitening(cov, varies))


def _resample(key: Array, particles: Particles, rise: Array) -> Particles:
    """Systematic resampling with weights `(target / start) ** rise`."""
    log_weight = rise * (particles.log_target - particles.log_start)
    drawn = systematic(jax.random.uniform(key, dtype=log_weight.dtype), log_weight, len(log_weight))
    return jax.tree.map(lambda leaf: leaf[drawn], particles)


def _slice_move(
    num_trials: int, path: Path, reference: Reference, particles: Particles, key: Array, temperature: Array
) -> Particles:
    """One elliptical slice move of each particle, with at most `num_trials` points: Murray et al. (2010), figure 2.

    The ellipses are around the mean of the `reference`, whose density divides that of the path.
    """
    point = particles.point
    num, dtype = len(point), point.dtype
    key_other, key_level, key_angle = jax.random.split(key, 3)
    centred = point - reference.mean[None, :]
    other = jax.random.normal(key_other, point.shape, dtype) @ reference.root.T  # 1. the ellipse
    level = _height(reference, particles, temperature) + jnp.log(jax.random.uniform(key_level, (num,), dtype))  # 2.
    share = jax.random.uniform(key_angle, (num_trials + 1, num), dtype)
    angle = 2 * jnp.pi * share[0]  # 3. the bracket, after 2. the slice
    bracket = Bracket(angle - 2 * jnp.pi, angle, angle, jnp.zeros(num, bool), particles)

    def shrink(bracket: Bracket, share: Array) -> tuple[Bracket, None]:
        trial = centred * jnp.cos(bracket.angle)[:, None] + other * jnp.sin(bracket.angle)[:, None]
        moved = _evaluated(path, jnp.where(path.varies[None, :], trial + reference.mean[None, :], point))
        return _shrink(bracket, moved, _height(reference, moved, temperature) > level, share), None

    return jax.lax.scan(shrink, bracket, share[1:])[0].particles


def _height(reference: Reference, particles: Particles, temperature: Array) -> Array:
    """Log density (n,) of the path at an inverse temperature, relative to that of the reference."""
    white = (particles.point - reference.mean[None, :]) @ reference.whiten.T
    log_density = (1 - temperature) * particles.log_start + temperature * particles.log_target
    return log_density + jnp.sum(white**2, axis=1) / 2


def _shrink(bracket: Bracket, trial: Particles, on_slice: Array, share: Array) -> Bracket:
    """Accept the `trial` particles that are `on_slice` (n,); shrink the others' brackets towards the particle."""
    accepted = ~bracket.accepted & on_slice
    angle = bracket.angle

    def chosen(new: Array, old: Array) -> Array:
        return jnp.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    particles = jax.tree.map(chosen, trial, bracket.particles)
    low, high = jnp.where(angle < 0, angle, bracket.low), jnp.where(angle < 0, bracket.high, angle)
    return Bracket(low, high, low + share * (high - low), bracket.accepted | accepted, particles)
