"""Particles of the posterior of the cost weights, given choices from sets.

A particle is the vector (d,) of the weights before they are clipped to their support, where their prior is a mixture of
Gaussians and has a density.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import Recourse
from hare_jax.elicit import recourses
from hare_jax.elicit.pear.state import Pear, State
from hare_jax.solvers.resampling import systematic

_LEAST, _MOST = 0.1, 5.0  # support of a weight, as of `people.cost_weights`
_JUMP = 2.38  # of a jump along the difference of two particles, over sqrt(2 d); ter Braak (2006)
_JITTER = 0.05  # s.d. of the noise of a jump, relative to the prior's
_LEAST_SCALE = 1e-6  # of utilities


def draw_prior(hp: Pear, key: Array, width: int, dtype: Any) -> Array:
    """Particles (N, d) of the weights before they are clipped."""
    key_component, key_normal = jax.random.split(key)
    means = jnp.atleast_1d(jnp.asarray(hp.mean, dtype))
    component = jax.random.randint(key_component, (hp.num_particles, width), 0, len(means))
    return means[component] + hp.sd * jax.random.normal(key_normal, component.shape, dtype)


def utility_scale(state: State, known: Recourse) -> Array:
    """The s.d. () of the utility of the valid recourses about their mean under each particle, averaged."""
    share = known.valid.astype(state.x.dtype) / jnp.maximum(jnp.sum(known.valid), 1)
    utility = utilities(state, known)
    centred = utility - (utility @ share)[:, None]
    return jnp.maximum(jnp.mean(jnp.sqrt(centred**2 @ share)), _LEAST_SCALE)


def utilities(state: State, known: Recourse) -> Array:
    """The utility (N, m) of recourses under each particle."""
    return -clipped(state.particles) @ _features(state, known.x).T


def clipped(particles: Array) -> Array:
    """The weights (N, d) of particles (N, d)."""
    return jnp.clip(particles, _LEAST, _MOST)


def _features(state: State, z: Array) -> Array:
    """The absolute own changes (n, d) of recourses (n, d)."""
    return jnp.abs(recourses.changes(state.space, state.x, z))


def updated(hp: Pear, key: Array, state: State, given: Array) -> Array:
    """Particles (N, d) of the posterior: resampled by the likelihood of the last answer, and then moved.

    A jump of Metropolis' algorithm is along the difference of two of the resampled particles; ter Braak (2006), "A
    Markov chain Monte Carlo version of the genetic algorithm differential evolution".
    """
    shape = hp.num_moves, hp.num_particles, len(state.x) + 2
    uniform = jax.random.uniform(key, (1 + math.prod(shape),), state.x.dtype)
    gaps = _gaps(state)
    newest = jnp.arange(len(gaps)) == state.told.num_told - given
    last = _log_likelihood(hp, jnp.where(newest[:, None, None], gaps, 0), state.told.known, state.particles)
    drawn = state.particles[systematic(uniform[0], jnp.where(given, last, 0), hp.num_particles)]
    log_density = partial(_log_density, hp, gaps, state.told.known, state.space.mutable)
    move = partial(_move, hp, log_density, state.space.mutable, drawn)
    (moved, _), _ = jax.lax.scan(move, (drawn, log_density(drawn)), uniform[1:].reshape(shape))
    return moved


def _gaps(state: State) -> Array:
    """What the weights are multiplied with for the utility of each option minus that of the chosen one: (n, k, d)."""
    features = jax.vmap(partial(_features, state))(state.told.options)
    return state.sharpness * (features[:, :1] - features)


def _log_likelihood(hp: Pear, gaps: Array, known: Array, particles: Array) -> Array:
    """Log-probability (N,) of all answers under each particle (N, d): `(1 - lapse) p + lapse / k` of each."""
    num, size, width = gaps.shape
    utility = (clipped(particles) @ gaps.reshape(num * size, width).T).reshape(-1, num, size)
    log_p = -jax.nn.logsumexp(jnp.where(known[None], utility, -jnp.inf), axis=2)
    at_random = hp.lapse / jnp.maximum(jnp.sum(known, axis=1), 1)
    log_p = jnp.logaddexp(jnp.log1p(-hp.lapse) + log_p, jnp.log(at_random)[None, :])
    return jnp.sum(jnp.where(known[None, :, 0], log_p, 0), axis=1)


def _log_density(hp: Pear, gaps: Array, known: Array, mutable: Array, particles: Array) -> Array:
    """Log-density (N,) of particles (N, d) under the posterior, up to a constant."""
    means = jnp.atleast_1d(jnp.asarray(hp.mean, particles.dtype))
    each = -(((particles[..., None] - means[None, None, :]) / hp.sd) ** 2) / 2
    prior = jnp.where(mutable[None, :], jax.nn.logsumexp(each, axis=2), 0)
    return _log_likelihood(hp, gaps, known, particles) + jnp.sum(prior, axis=1)


def _move(
    hp: Pear, log_density: Any, mutable: Array, reference: Array, carry: tuple[Array, Array], uniform: Array
) -> tuple[tuple[Array, Array], None]:
    """One Metropolis step of each particle, with numbers `uniform` (N, d + 2), along differences of `reference`."""
    particles, density = carry
    num, width = particles.shape
    shift = jnp.floor(uniform[:2, width] * num).astype(jnp.int32)
    one, other = (reference[(jnp.arange(num) + by) % num] for by in shift)
    jitter = _JITTER * hp.sd * (2 * uniform[:, :width] - 1)
    length = _JUMP / jnp.sqrt(2 * jnp.maximum(jnp.sum(mutable), 1))
    proposed = particles + jnp.where(mutable[None, :], length * (one - other) + jitter, 0)
    proposed_density = log_density(proposed)
    accepted = jnp.log(uniform[:, width + 1]) < proposed_density - density
    particles = jnp.where(accepted[:, None], proposed, particles)
    return (particles, jnp.where(accepted, proposed_density, density)), None
