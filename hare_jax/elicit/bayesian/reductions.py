"""Reductions over the columns of points.

A reduction over few columns is slow on a CPU: up to 32 of them it is written out as a loop at trace time.
"""

import operator
from functools import reduce

import jax.numpy as jnp
from jax import Array

_MOST_WRITTEN_OUT = 32  # columns


def equal_rows(a: Array, b: Array, tolerance: float = 0.0) -> Array:
    """Whether each of `a` (n, d) equals each of `b` (m, d) in all columns, within a `tolerance`: (n, m) bool."""
    if a.shape[1] > _MOST_WRITTEN_OUT:
        return jnp.all(jnp.abs(a[:, None, :] - b[None, :, :]) <= tolerance, axis=2)
    columns = zip(a.T, b.T, strict=True)
    return reduce(operator.and_, (jnp.abs(one[:, None] - other[None, :]) <= tolerance for one, other in columns))


def quadratic_forms(matrices: Array, points: Array) -> Array:
    """The quadratic form (n, m) of each of n `matrices` (n, d, d) at each of the `points` (m, d)."""
    mapped = jnp.einsum("nde,me->ndm", matrices, points)
    if points.shape[1] > _MOST_WRITTEN_OUT:
        return jnp.sum(mapped * points.T[None, :, :], axis=1)
    return reduce(operator.add, (mapped[:, at] * points[None, :, at] for at in range(points.shape[1])))
