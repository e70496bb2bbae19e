"""Candidates: valid points, far apart from each other, on a sphere around a recourse (HARE's actionable sampling).

Notation: N directions; `unit` (N, d) are their unit vectors. The objective over them is
`mean_i BCE(logit(centre + radius * unit_i), 1) + spread_weight * mean_i max_{j != i} unit_i . unit_j`.
The second term depends, for each i, only on the pair of i and its nearest j. So its gradient is one product with a 0/1
matrix, and no array of size (N, N, d) is formed.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hare_jax.base import LogitFn, check_key, check_logit, check_row, check_shapes, exact_products, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive, check_fields
from hare_jax.space import ActionSpace, bounds, complete, project


@pytree_dataclass
class Sampling:
    """Hyperparameters of the candidates around a recourse; the defaults are the paper's."""

    num_directions: Count = 30  # candidates per round, N
    num_steps: Natural = 100  # Adam steps
    learning_rate: Positive = 0.1  # of Adam
    spread_weight: NonNegative = 10.0  # weight of the largest cosine against the validity loss
    radius: Positive = 1.0  # of the sphere, in encoded units
    validity_gradient: bool = True  # False: the spread alone is optimised, and the classifier may be a black box


def sample(hp: Sampling, key: Array, logit_fn: LogitFn, x: Array, centre: Array, space: ActionSpace) -> Array:
    """Draw N candidates (N, d) around `centre` (d,), each allowed from `x` (d,); they need not be accepted.

    HARE (TMLR 2025), algorithm 1. Directions vary in the mutable columns alone and the points are projected onto the
    action space, where the original masks the result and does not project it.
    """
    check_fields(hp, Sampling)
    check_key(key)
    check_row(x, space, centre=centre)
    check_logit(logit_fn, x)
    noise = jax.random.normal(key, (hp.num_directions, x.shape[0]), x.dtype)
    unit = directions(hp, noise, logit_fn, x, centre, space)
    return jax.vmap(lambda point: project(space, x, point))(centre[None, :] + hp.radius * unit)


def directions(hp: Sampling, noise: Array, logit_fn: LogitFn, x: Array, centre: Array, space: ActionSpace) -> Array:
    """Optimise unit vectors (N, d), from `noise` (N, d), to be far apart and to lead from `centre` to accepted points.

    Immutable columns stay 0. The gradient of the validity loss is taken at the nearest point within the bounds
    (straight-through), and includes the columns that follow others. Differentiable, with the nearest pairs held
    constant.
    """
    check_fields(hp, Sampling)
    check_row(x, space, centre=centre)
    check_shapes(noise=(noise, (None, len(x))))
    noise = jnp.where(space.mutable[None, :], noise, 0)
    validity = partial(_validity_gradient, hp, logit_fn, x, centre, space, bounds(space, x))
    optimiser = optax.adam(hp.learning_rate)

    def step(carry: tuple[Array, optax.OptState], _: None) -> tuple[tuple[Array, optax.OptState], None]:
        free, state = carry
        scale = _inverse_norm(free)
        unit = free * scale
        slope = hp.spread_weight * _spread_gradient(unit)
        if hp.validity_gradient:
            slope += validity(unit)
        tangent = scale * (slope - unit * jnp.sum(slope * unit, axis=1, keepdims=True))
        updates, state = optimiser.update(jnp.where(space.mutable[None, :], tangent, 0), state)
        return (free + updates, state), None

    (free, _), _ = jax.lax.scan(step, (noise, optimiser.init(noise)), length=hp.num_steps)
    return free * _inverse_norm(free)


def _validity_gradient(
    hp: Sampling,
    logit_fn: LogitFn,
    x: Array,
    centre: Array,
    space: ActionSpace,
    box: tuple[Array, Array],
    unit: Array,
) -> Array:
    """Gradient (N, d) of `mean_i BCE(logit(centre + radius * unit_i), 1)`, at points clipped to the `box`."""
    lower, upper = (bound[None, :] for bound in box)
    num = unit.shape[0]

    def loss(point: Array) -> Array:
        return hp.radius * jax.nn.softplus(-logit_fn(complete(space, x, point))) / num

    return jax.vmap(jax.grad(loss))(jnp.clip(centre[None, :] + hp.radius * unit, lower, upper))


def _inverse_norm(rows: Array) -> Array:
    """Inverse Euclidean norm (N, 1) of each row (N, d)."""
    return jax.lax.rsqrt(jnp.maximum(jnp.sum(rows * rows, axis=1, keepdims=True), jnp.finfo(rows.dtype).tiny))


@exact_products
def _spread_gradient(unit: Array) -> Array:
    """Gradient (N, d) of `mean_i max_{j != i} unit_i . unit_j`; a nearest pair contributes to both of its rows."""
    num = unit.shape[0]
    cosine = unit @ unit.T - 2 * jnp.eye(num, dtype=unit.dtype)
    nearest = jnp.max(cosine, axis=1)  # the matrix is symmetric, and a reduction along rows is faster
    pairs = (cosine == nearest[None, :]).astype(unit.dtype) + (cosine == nearest[:, None]).astype(unit.dtype)
    return pairs @ unit / num
