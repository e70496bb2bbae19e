"""Factors of covariance matrices in which some columns are fixed.

Written out as scans: JAX's own factorisations, in a batch on a CPU, wait for threads that other devices of the same CPU
may hold.
"""

import jax
import jax.numpy as jnp
from jax import Array

_LEAST_PIVOT = 1e-12  # a smaller one counts as zero: the column has no variance left


def root(cov: Array, mutable: Array) -> Array:
    """Lower-triangular root (d, d) of the `mutable` (d,) part of `cov` (d, d), by Cholesky; zeros elsewhere."""
    rest = jnp.where(mutable[:, None] & mutable[None, :], cov, 0)

    def column(rest: Array, at: Array) -> tuple[Array, Array]:
        pivot = rest[at, at]
        scale = jax.lax.rsqrt(jnp.maximum(pivot, _LEAST_PIVOT))
        factor = jnp.where(pivot > _LEAST_PIVOT, rest[:, at] * scale, 0)
        factor = jnp.where(jnp.arange(len(factor)) < at, 0, factor)
        return rest - factor[:, None] * factor[None, :], factor

    return jax.lax.scan(column, rest, jnp.arange(len(cov)))[1].T


def whitening(cov: Array, mutable: Array) -> Array:
    """Inverse (d, d) of `root(cov, mutable)` on the columns with variance, by forward substitution; zeros elsewhere."""
    lower = root(cov, mutable)

    def row(inverse: Array, at: Array) -> tuple[Array, None]:
        pivot = lower[at, at]
        unit = (jnp.arange(len(cov)) == at).astype(cov.dtype)
        solved = jnp.where(pivot > 0, (unit - lower[at] @ inverse) / jnp.where(pivot > 0, pivot, 1), 0)
        return inverse.at[at].set(solved), None

    return jax.lax.scan(row, jnp.zeros_like(cov), jnp.arange(len(cov)))[0]
