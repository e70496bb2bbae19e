"""Reductions over the columns of points, as loops at trace time: a reduction over few columns is slow on a CPU."""

import operator
from functools import reduce

import jax.numpy as jnp
from jax import Array


def equal(a: Array, b: Array) -> Array:
    """Whether each of `a` (n, d) is each of `b` (m, d): (n, m) bool."""
    return reduce(operator.and_, (a[:, None, at] == b[None, :, at] for at in range(a.shape[1])))


def squares(matrices: Array, points: Array) -> Array:
    """The quadratic form (n, m) of each of n symmetric `matrices` (n, d, d) at each of the `points` (m, d)."""
    mapped = jnp.einsum("nde,me->ndm", matrices, points)
    return reduce(operator.add, (mapped[:, at] * points[None, :, at] for at in range(points.shape[1])))
