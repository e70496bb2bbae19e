"""Rounding errors that the original counts: it compares results that went through float32 with rows in float64."""

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.original import paper
from benchmarks.specs import BASE
from hare_jax.base import LogitFn
from hare_jax.data import Table

_IN_FLOAT64 = ("growing_spheres", "face")  # base methods of the original that leave unchanged columns as they are
_EVEN = 0.5
_DENOMINATOR = 2**12  # of the ratios that float32 is taken to hold: far below the precision of other ratios near 1


def inexact(table: Table, x: Array) -> Array:
    """Whether float32 can't hold the encoded value of each column of the rows `x` (n, d): (n, d) bool.

    A category is 0 or 1. A number is a ratio, which float32 holds only if its denominator is a power of 2.
    """
    return ~paper.is_categorical(table)[None, :] & (x * _DENOMINATOR % 1 != 0)


def of_result(method: str, arm: str, table: Table, x: Array) -> Array:
    """The columns (n, d) in which the original's result differs from the row by rounding alone, if it was unchanged."""
    exact = arm == BASE and method in _IN_FLOAT64
    return jnp.zeros(x.shape, bool) if exact else inexact(table, x)


@jax.jit
def redundancy(logit_fn: LogitFn, x: Array, x_cf: Array, rounded: Array) -> Array:
    """Number (n,) of columns, changed or `rounded` (n, d), that can be reset one at a time with the result accepted.

    The result has to be more probable than not in float32: the original takes the first of two equal outputs, refusal.
    """

    def one(x: Array, x_cf: Array, rounded: Array) -> Array:
        reset = jnp.where(jnp.eye(len(x), dtype=bool), x[None, :], x_cf[None, :])
        return jnp.sum(((x_cf != x) | rounded) & (jax.nn.sigmoid(jax.vmap(logit_fn)(reset)) > _EVEN))

    return jax.vmap(one)(x, x_cf, rounded)
