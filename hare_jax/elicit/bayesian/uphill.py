"""Recourses along the classifier's gradient: near a target point, with its categories where relations allow it.

The way to the nearest recourse known (`pool.to_accepted`) changes categories, where all recourses known have others.
Here a refused target point climbs the classifier in its continuous and ordered columns alone.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace, bounds, is_category, moved, own_slope, project

_NUM_CLIMBS = 4  # Newton steps towards the margin
_OVERSHOOT = 1.3  # of a step, so that a concave logit is accepted beyond it
_MOST_LENGTH = 1.0  # L2 norm of a step, in encoded units
_BOUNDARY_STEPS = 10  # bisections between a target point and where its climb ends
_LEAST_SQUARE = 1e-12  # of a slope, to divide by


def recourses(logit_fn: LogitFn, x: Array, targets: Array, space: ActionSpace, margin: float) -> Recourse:
    """For each target point (n, d), allowed from `x` (d,), the first accepted point on the way to where its climb ends.

    The climb takes Newton steps on the logit, in the own changes of columns that are no category and are not at the
    bound ahead. A recourse is not valid where no point reached is accepted, as where the gradient is 0 or NaN.
    """
    search = partial(boundary, logit_fn, space=space, margin=margin, num_steps=_BOUNDARY_STEPS, factual=x)

    def one(target: Array) -> Recourse:
        end = jax.lax.fori_loop(0, _NUM_CLIMBS, lambda _, z: _climb(logit_fn, x, z, space, margin), target)
        target, end = jax.lax.optimization_barrier((target, end))  # the point returned is the one evaluated
        found, accepted = search(target, end), logit_fn(target) >= margin
        return Recourse(jnp.where(accepted, target, found.x), accepted | found.valid)

    return jax.vmap(one)(targets)


def nearer(targets: Array, one: Recourse, other: Recourse) -> Recourse:
    """Of two recourses (n, d) for each target point (n, d) the valid one that is nearer to it in L2."""

    def distance(recourse: Recourse) -> Array:
        return jnp.where(recourse.valid, jnp.sum((recourse.x - targets) ** 2, axis=1), jnp.inf)

    second = distance(other) < distance(one)
    return Recourse(jnp.where(second[:, None], other.x, one.x), one.valid | other.valid)


def _climb(logit_fn: LogitFn, x: Array, z: Array, space: ActionSpace, margin: float) -> Array:
    """The allowed point (d,) after one step from `z` (d,), which is `z` itself where it is accepted."""
    logit, slope = jax.value_and_grad(logit_fn)(z)
    slope = own_slope(space, x, z, jnp.where(jnp.isfinite(slope), slope, 0))
    lower, upper = bounds(space, x)
    blocked = jnp.where(slope > 0, z >= upper, z <= lower)
    slope = jnp.where(space.mutable & ~is_category(space) & ~blocked, slope, 0)
    square = jnp.sum(slope**2)
    share = _OVERSHOOT * (margin - logit) / jnp.maximum(square, _LEAST_SQUARE)
    share = jnp.minimum(share, _MOST_LENGTH / jnp.sqrt(jnp.maximum(square, _LEAST_SQUARE)))
    rises = (logit < margin) & (square > _LEAST_SQUARE)
    end = jax.lax.optimization_barrier(moved(space, x, z, share * slope))  # else it is evaluated once for each column
    return jnp.where(rises, project(space, x, end), z)
