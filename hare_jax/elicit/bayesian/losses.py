"""Differences of losses as differences of utilities, for the kinds of persons that the posterior covers.

The utility of such a kind is minus its loss, or, of those in `SQUARED`, minus the square of its loss, which is the
distance to theta. Then two recourses at a distance `2 c` have losses that differ by `w < 2 c` where theta lies on a
hyperboloid with them as its foci. At the distance r from the line through them, the difference of utilities there is
`2 w sqrt(c^2 + r^2 / (1 - (w / 2 c)^2))`. Losses never differ by more than `2 c`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_LINEAR = 0.25  # square of half the distance where the utility is minus the loss: both differences are then the same
_LEAST_SQUARE = 1e-12  # of a distance, to divide by
_LEAST_ROOM = 1e-6  # of 1 - (w / 2 c)^2; below it the difference of utilities is beyond any


class Pair(NamedTuple):
    """Two recourses, or pairs of them, under each of n hypotheses of one kind."""

    one: Array  # (n, ...) expected utility
    other: Array  # (n, ...)
    variance: Array  # (n, ...) of the difference of utilities
    separation: Array  # (...) square of the L2 distance of their phi


class Gauge(NamedTuple):
    """Where two recourses are, and theta from them; all that relates differences of their losses to utilities."""

    half: Array  # (...) square of half their distance, c^2
    across: Array  # (...) expected square of the distance r of theta from the line through them


def _squared_distance(mean: Array, cov: Array, utility: Array) -> Array:
    """The utility of an ideal leaves out `-||ideal||^2`."""
    return jnp.sum(mean**2) + jnp.trace(cov) - utility


# by kind, whose phi is twice the recourse: mean (d,) and cov (d, d) of theta, expected utility phi . mean + c (...) ->
# expected square of the loss (...)
SQUARED: dict[str, Callable[[Array, Array, Array], Array]] = {"ideal": _squared_distance}


def gauge_of(kind: str, mean: Array, cov: Array, pair: Pair) -> Gauge:
    """The gauge (n, ...) of a `pair` under n hypotheses of a `kind` with the means (n, d) and covariances (n, d, d)."""
    squared, shape = SQUARED.get(kind), jnp.broadcast_shapes(pair.one.shape, pair.variance.shape)
    if squared is None:
        none = jnp.zeros(shape, mean.dtype)
        return Gauge(none + _LINEAR, none)
    one, other = (jax.vmap(squared)(mean, cov, each) for each in (pair.one, pair.other))
    half = jnp.broadcast_to(pair.separation[None] / 16, shape)
    return from_middle(half, (one + other) / 2 - half, (pair.one - pair.other) ** 2 + pair.variance)


def from_middle(half: Array, middle: Array, difference: Array) -> Gauge:
    """The gauge (...) of two points, from the square of `half` their distance.

    `middle` is the expected square of the distance of theta from the point halfway between them, and `difference` that
    of the difference of utilities, which is `4 c` times the distance along the line.
    """
    return Gauge(half, jnp.maximum(middle - difference / jnp.maximum(16 * half, _LEAST_SQUARE), 0))


def in_utilities(gauge: Gauge, difference: Array) -> Array:
    """The difference of utilities (...) where that of the losses is `difference` (...)."""
    room = 1 - difference**2 / jnp.maximum(4 * gauge.half, _LEAST_SQUARE)
    return 2 * difference * jnp.sqrt(gauge.half + gauge.across / jnp.maximum(room, _LEAST_ROOM))
