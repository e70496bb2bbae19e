"""Candidates: spread and valid points on a sphere around a recourse (the paper's actionable sampling).

Notation: N directions; `unit` (N, d) are their unit vectors. The objective over them is
`mean_i BCE(logit(centre + radius * unit_i), 1) + spread_weight * mean_i max_{j != i} unit_i . unit_j`.
Its second part touches, for each i, only the pair of i and its nearest j. So the gradient is one product with a 0/1
matrix, and nothing of size (N, N, d) is ever formed.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, hyperparams
from hare_jax.space import ActionSpace, bounds, project


@hyperparams
class Sampling:
    """How candidates are drawn around a recourse; the defaults are the paper's."""

    num_directions: int = 30  # candidates a round, N
    num_steps: int = 100  # Adam steps
    learning_rate: float = 0.1  # of Adam
    spread_weight: float = 10.0  # weight of the largest cosine against the validity loss
    radius: float = 1.0  # of the sphere, in encoded units
    validity_gradient: bool = True  # False spreads the directions alone: the classifier may be a black box


def sample(hp: Sampling, key: Array, logit_fn: LogitFn, x: Array, centre: Array, space: ActionSpace) -> Array:
    """Draw N candidates (N, d) around `centre` (d,), each allowed from `x` (d,); some may be refused.

    HARE (TMLR 2025), algorithm 1. Directions move the mutable columns alone and the points are projected onto the
    action space, where the original masks after the fact and projects nothing.
    """
    noise = jax.random.normal(key, (hp.num_directions, x.shape[0]), x.dtype)
    unit = directions(hp, noise, logit_fn, x, centre, space)
    return jax.vmap(lambda point: project(space, x, point))(centre[None, :] + hp.radius * unit)


def directions(hp: Sampling, noise: Array, logit_fn: LogitFn, x: Array, centre: Array, space: ActionSpace) -> Array:
    """Optimise unit vectors (N, d), from `noise` (N, d), to be far apart and to lead from `centre` to accepted points.

    Columns that `space` holds fixed stay 0. The validity's slope is taken at the nearest point within bounds, and
    passed on as if it had been taken at the point itself. Differentiable, with the nearest pairs held constant.
    """
    noise = jnp.where(space.mutable[None, :], noise, 0)
    lower, upper = (bound[None, :] for bound in bounds(space, x))
    optimiser = optax.adam(hp.learning_rate)

    def loss(point: Array) -> Array:
        return hp.radius * jax.nn.softplus(-logit_fn(point)) / noise.shape[0]

    def step(carry: tuple[Array, optax.OptState], _: None) -> tuple[tuple[Array, optax.OptState], None]:
        free, state = carry
        scale = _inverse_norm(free)
        unit = free * scale
        slope = hp.spread_weight * _spread_gradient(unit)
        if hp.validity_gradient:
            points = jnp.clip(centre[None, :] + hp.radius * unit, lower, upper)
            slope += jax.vmap(jax.grad(loss))(points)
        tangent = scale * (slope - unit * jnp.sum(slope * unit, axis=1, keepdims=True))
        updates, state = optimiser.update(jnp.where(space.mutable[None, :], tangent, 0), state)
        return (free + updates, state), None

    (free, _), _ = jax.lax.scan(step, (noise, optimiser.init(noise)), length=hp.num_steps)
    return free * _inverse_norm(free)


def _inverse_norm(rows: Array) -> Array:
    return jax.lax.rsqrt(jnp.maximum(jnp.sum(rows * rows, axis=1, keepdims=True), jnp.finfo(rows.dtype).tiny))


def _spread_gradient(unit: Array) -> Array:
    """Gradient (N, d) of `mean_i max_{j != i} unit_i . unit_j`; a nearest pair pulls on both of its ends."""
    num = unit.shape[0]
    cosine = unit @ unit.T - 2 * jnp.eye(num, dtype=unit.dtype)
    nearest = jnp.max(cosine, axis=1)  # as symmetric as the matrix, and faster than along its columns
    pairs = (cosine == nearest[None, :]).astype(unit.dtype) + (cosine == nearest[:, None]).astype(unit.dtype)
    return pairs @ unit / num
