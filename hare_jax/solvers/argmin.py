"""The minimiser of a smooth objective within bounds, as a differentiable function of everything the objective holds.

The search is projected Newton (Bertsekas 1982): a column at a bound whose gradient points out of the box is *active*
and stays; the other columns take a Newton step, damped until the objective decreases. The derivative is that of a root
of the stationarity residual `z - clip(z - gradient(z), lower, upper)`, independent of the steps that found it. It costs
one (d, d) linear system, and an active column moves with its bound and with nothing else.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import check_shapes, exact_products

Objective = Callable[[Array], Array]  # (d,) -> ()
VectorFn = Callable[[Array], Array]  # (d,) -> (d,)

_DAMPINGS = (0.0, *(4.0**power for power in range(-8, 4)))  # of the largest curvature: the last is a gradient step
_ROUNDING_ULPS = 8  # of the objective; smaller differences between its values are rounding errors


def argmin(objective: Objective, start: Array, lower: Array, upper: Array, *, num_steps: int = 20) -> Array:
    """Minimise `objective: (d,) -> ()` from `start` (d,) within `lower` and `upper` (d,), which may be infinite: (d,).

    The minimum is a local one near `start`, where `objective` must be twice differentiable. Differentiable to any
    order, forward and reverse, in the arrays bound to `objective` and in both bounds; constant in `start`. The
    derivative is exact at a stationary point only: set `num_steps` so high that the search has converged.

    Raises:
        ValueError: `start` is not a vector, or a bound has another shape.

    >>> best = lambda centre: argmin(lambda z: jnp.sum((z - centre) ** 2), jnp.zeros(2), jnp.zeros(2), jnp.ones(2))
    >>> value, slope = jax.jvp(best, (jnp.array([0.25, 3.0]),), (jnp.ones(2),))
    >>> value.tolist(), jnp.abs(slope).tolist()
    ([0.25, 1.0], [1.0, 0.0])
    """
    check_shapes(start=(start, (None,)), lower=(lower, start.shape), upper=(upper, start.shape))
    gradient_fn = jax.grad(objective)

    def residual(z: Array) -> Array:
        return z - jnp.clip(z - gradient_fn(z), lower, upper)

    def solve(_: object, z: Array) -> Array:
        step = partial(_step, objective, gradient_fn, lower, upper)
        return jax.lax.fori_loop(0, num_steps, lambda _, z: step(z), z)

    start = jax.lax.stop_gradient(jnp.clip(start, lower, upper))
    return jax.lax.custom_root(residual, start, solve, _solve_tangent)


def _step(objective: Objective, gradient_fn: VectorFn, lower: Array, upper: Array, z: Array) -> Array:
    """One projected Newton step from `z` (d,); `z` itself if no damping decreases the objective."""
    gradient, hessian = gradient_fn(z), jax.jacfwd(gradient_fn)(z)
    active = ((z <= lower) & (gradient >= 0)) | ((z >= upper) & (gradient <= 0))
    free_hessian = jnp.where(active[:, None] | active[None, :], 0, hessian)
    directions = jnp.where(active[None, :], 0, _newton(free_hessian, jnp.where(active, 0, gradient)))
    candidates = jnp.clip(z[None, :] - directions, lower[None, :], upper[None, :])
    values, current = jax.vmap(objective)(candidates), objective(z)
    values = jnp.where(jnp.isnan(values), jnp.inf, values)
    rounding = _ROUNDING_ULPS * jnp.finfo(z.dtype).eps * jnp.abs(current)
    least_damped = jnp.argmax(values <= jnp.min(values) + rounding)  # of the candidates that decrease it the most
    return jnp.where(values[least_damped] <= current + rounding, candidates[least_damped], z)


@exact_products
def _newton(hessian: Array, gradient: Array) -> Array:
    """`(|H| + damping I)^-1 gradient` for each damping: (k, d), with `|H|` of the absolute eigenvalues of H (d, d).

    The absolute values make each of them an ascent direction at a saddle, too.
    """
    eigenvalues, eigenvectors = jnp.linalg.eigh(hessian)
    limits, curvature = jnp.finfo(gradient.dtype), jnp.abs(eigenvalues)
    damping = jnp.asarray(_DAMPINGS, gradient.dtype)[:, None] * jnp.max(curvature)
    smallest = jnp.maximum(limits.eps * jnp.max(curvature), np.sqrt(limits.tiny))
    coordinates = (eigenvectors.T @ gradient)[None, :] / jnp.maximum(curvature[None, :] + damping, smallest)
    return coordinates @ eigenvectors.T


@exact_products
def _solve_tangent(tangent: VectorFn, value: Array) -> Array:
    """Solve the linear system `tangent(z) = value` for `z` (d,); a row of zeros gives 0.

    The rows of active columns are those of the identity. They are substituted first, so that they stay exact.
    """
    matrix, identity = jax.jacfwd(tangent)(jnp.zeros_like(value)), jnp.eye(value.shape[0], dtype=value.dtype)
    empty = jnp.all(matrix == 0, axis=1)
    known = empty | jnp.all(matrix == identity, axis=1)
    known_values = jnp.where(known & ~empty, value, 0)
    remainder = jnp.where(known, known_values, value - matrix @ known_values)
    return jnp.linalg.solve(jnp.where(known[:, None] | known[None, :], identity, matrix), remainder)
