"""The minimiser of a smooth objective within bounds, as a differentiable function of everything the objective holds.

The search is projected Newton (Bertsekas 1982): a column that is at a bound, and that the gradient presses against it,
is *active* and stays; the others take a Newton step, damped until the objective falls. The derivative is that of a root
of the stationarity residual `z - clip(z - gradient(z), lower, upper)`, whatever the steps that found it. It costs one
(d, d) system, and an active column moves with its bound and nothing else.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

_DAMPINGS = (0.0, *(4.0**power for power in range(-8, 4)))  # of the largest curvature: the last is a gradient step


def argmin(
    objective: Callable[[Array], Array], start: Array, lower: Array, upper: Array, *, num_steps: int = 20
) -> Array:
    """Minimise `objective: (d,) -> ()` from `start` (d,) within `lower` and `upper` (d,), which may be infinite: (d,).

    The minimum is a local one, near `start`, and `objective` twice differentiable there. Differentiable to any order,
    forward and reverse, in the arrays bound to `objective` and in both bounds; constant in `start`. The derivative
    stands on the last step: take so many that another one moves nothing.

    >>> best = lambda centre: argmin(lambda z: jnp.sum((z - centre) ** 2), jnp.zeros(2), jnp.zeros(2), jnp.ones(2))
    >>> value, slope = jax.jvp(best, (jnp.array([0.25, 3.0]),), (jnp.ones(2),))
    >>> value.tolist(), jnp.abs(slope).tolist()
    ([0.25, 1.0], [1.0, 0.0])
    """
    slope_fn = jax.grad(objective)

    def residual(z: Array) -> Array:
        return z - jnp.clip(z - slope_fn(z), lower, upper)

    def solve(_: object, z: Array) -> Array:
        step = partial(_step, objective, slope_fn, lower, upper)
        return jax.lax.fori_loop(0, num_steps, lambda _, z: step(z), z)

    start = jax.lax.stop_gradient(jnp.clip(start, lower, upper))
    return jax.lax.custom_root(residual, start, solve, _solve_tangent)


def _step(
    objective: Callable[[Array], Array], slope_fn: Callable[[Array], Array], lower: Array, upper: Array, z: Array
) -> Array:
    """One projected Newton step from `z` (d,), or none where no damping makes it lower the objective."""
    slope, curvature = slope_fn(z), jax.jacfwd(slope_fn)(z)
    active = ((z <= lower) & (slope >= 0)) | ((z >= upper) & (slope <= 0))
    free = jnp.where(active[:, None] | active[None, :], 0, curvature)
    directions = jnp.where(active[None, :], 0, _newton(free, jnp.where(active, 0, slope)))
    tried = jnp.clip(z[None, :] - directions, lower[None, :], upper[None, :])
    value, now = jax.vmap(objective)(tried), objective(z)
    value = jnp.where(jnp.isnan(value), jnp.inf, value)
    rounding = 8 * jnp.finfo(z.dtype).eps * jnp.abs(now)  # near the minimum the slope tells where to go, the value not
    boldest = jnp.argmax(value <= jnp.min(value) + rounding)
    return jnp.where(value[boldest] <= now + rounding, tried[boldest], z)


def _newton(curvature: Array, slope: Array) -> Array:
    """`slope` (d,) over `curvature` (d, d) at each damping, (k, d); from a saddle, too, they lead down."""
    value, vector = jnp.linalg.eigh(curvature)
    limits, size = jnp.finfo(slope.dtype), jnp.abs(value)
    damping = jnp.asarray(_DAMPINGS, slope.dtype)[:, None] * jnp.max(size)
    least = jnp.maximum(limits.eps * jnp.max(size), limits.tiny**0.5)
    return ((vector.T @ slope)[None, :] / jnp.maximum(size[None, :] + damping, least)) @ vector.T


def _solve_tangent(tangent: Callable[[Array], Array], value: Array) -> Array:
    """Solve the linear system `tangent(z) = value` (d,); a row of zeros, on which nothing depends, gives 0.

    The rows of active columns are those of the identity. They are put in first, so that no rounding reaches them.
    """
    matrix, identity = jax.jacfwd(tangent)(jnp.zeros_like(value)), jnp.eye(value.shape[0], dtype=value.dtype)
    empty = jnp.all(matrix == 0, axis=1)
    known = empty | jnp.all(matrix == identity, axis=1)
    first = jnp.where(known & ~empty, value, 0)
    rest = jnp.where(known, first, value - matrix @ first)
    return jnp.linalg.solve(jnp.where(known[:, None] | known[None, :], identity, matrix), rest)
