"""Rounding errors that the original counts: it compares results that went through float32 with rows in float64."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.specs import BASE
from hare_jax.base import LogitFn
from hare_jax.data import Table, encoding

_IN_FLOAT64 = ("growing_spheres", "face")  # base methods of the original that leave unchanged columns as they are


def inexact(table: Table, x: Array) -> Array:
    """Whether float32 can't hold each encoded value of the rows `x` (n, d) of a table: (n, d) bool."""
    exact = encoding.encode(table.features, table.decode(x), "x")
    return jnp.asarray(exact.astype(np.float32) != exact)


def of_result(method: str, arm: str, table: Table, x: Array) -> Array:
    """The columns (n, d) in which the original's result differs from the row by rounding alone, if it was unchanged."""
    exact = arm == BASE and method in _IN_FLOAT64
    return jnp.zeros(x.shape, bool) if exact else inexact(table, x)


@jax.jit
def redundancy(logit_fn: LogitFn, x: Array, x_cf: Array, rounded: Array) -> Array:
    """Number (n,) of columns, changed or `rounded` (n, d), that can be reset one at a time with the result accepted."""

    def one(x: Array, x_cf: Array, rounded: Array) -> Array:
        reset = jnp.where(jnp.eye(len(x), dtype=bool), x[None, :], x_cf[None, :])
        return jnp.sum(((x_cf != x) | rounded) & (jax.vmap(logit_fn)(reset) >= 0))

    return jax.vmap(one)(x, x_cf, rounded)
