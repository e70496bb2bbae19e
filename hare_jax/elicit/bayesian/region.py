"""Credible regions of a hidden point, from draws of its posterior."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hare_jax.base import exact_products, holds, require
from hare_jax.solvers import linalg

_LEAST_VARIANCE = 1e-6  # of a column in which all draws agree
_LEAST_SHARE = 1e-3  # of a draw's covariance that is not its own


class Region(NamedTuple):
    """An ellipsoid in the mutable columns."""

    mean: Array  # (d,)
    whiten: Array  # (d, d): a point is inside where the squared length of `whiten @ (point - mean)` is at most `radius`
    radius: Array  # ()


@exact_products
def credible_region(draws: Array, mutable: Array, level: Array | float) -> Region:
    """The ellipsoid around the mean of the `draws` (n, d) that contains another with about the probability `level`.

    Its axes are those of the covariance of the draws in the `mutable` (d,) columns. Each draw is measured by the mean
    and the covariance of the others (Cook and Weisberg, 1982, "Residuals and influence in regression").

    Raises:
        ValueError: there are fewer than two draws, or the level is not between 0 and 1.
    """
    require(len(draws) > 1, "draws", "must be at least two", len(draws))
    require(holds(lambda share: (share > 0) & (share < 1), level), "level", "must be above 0 and below 1", level)
    mean = jnp.mean(draws, axis=0)
    centred = draws - mean[None, :]
    cov = centred.T @ centred / len(draws) + _LEAST_VARIANCE * jnp.eye(len(mean), dtype=draws.dtype)
    whiten = linalg.whitening(cov, mutable)
    squares = _by_others(jnp.sum((centred @ whiten.T) ** 2, axis=1))
    return Region(mean, whiten, jnp.quantile(squares, level, method="higher"))


@exact_products
def inside(region: Region, point: Array) -> Array:
    """Whether `point` (d,) is in the region: () bool."""
    return jnp.sum((region.whiten @ (point - region.mean)) ** 2) <= region.radius


def _by_others(squares: Array) -> Array:
    """The squared lengths (n,) of whitened draws by the mean and the covariance of the others, from those of all."""
    num = len(squares) - 1
    return (num + 1) / num * squares / jnp.maximum(1 - squares / num, _LEAST_SHARE)
