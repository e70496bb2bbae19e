"""Reductions over the columns of points.

A reduction over few columns is slow on a CPU: up to 32 of them it is written out as a loop at trace time.
"""

import operator
from functools import reduce

import jax.numpy as jnp
from jax import Array

_MOST_WRITTEN_OUT = 32  # columns


def equal_rows(a: Array, b: Array) -> Array:
    """Whether each of `a` (n, d) equals each of `b` (m, d) in all columns: (n, m) bool."""
    if a.shape[1] > _MOST_WRITTEN_OUT:
        return jnp.all(a[:, None, :] == b[None, :, :], axis=2)
    return reduce(operator.and_, (a[:, None, at] == b[None, :, at] for at in range(a.shape[1])))


def quadratic_forms(matrices: Array, points: Array) -> Array:
    """The quadratic form (n, m) of each of n `matrices` (n, d, d) at each of the `points` (m, d)."""
    mapped = jnp.einsum("nde,me->ndm", matrices, points)
    if points.shape[1] > _MOST_WRITTEN_OUT:
        return jnp.sum(mapped * points.T[None, :, :], axis=1)
    return reduce(operator.add, (mapped[:, at] * points[None, :, at] for at in range(points.shape[1])))
