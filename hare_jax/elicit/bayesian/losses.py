"""Differences of losses as differences of utilities, for the kinds of persons that the posterior covers.

The utility of such a kind is minus its loss, or, of those in `SQUARED`, minus the square of its loss, which is the
distance to theta. Then two recourses at a distance `2 c` have losses that differ by `w < 2 c` where theta lies on a
hyperboloid with them as its foci. At the distance r from the line through them, the difference of utilities there is
`2 w sqrt(c^2 + r^2 / (1 - (w / 2 c)^2))`. Losses never differ by more than `2 c`. Where theta is not known, r^2 is
replaced by its mean.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_LINEAR = 0.25  # square of half the distance where the utility is minus the loss: both differences are then the same
_LEAST_SEPARATION = 1e-5  # squared, of recourses or of their phi, to divide by: nearer ones are one in float32
_LEAST_ACROSS = 1e-6  # squared, so that recourses are tied that are nearer than the width, also on one line with theta
_LEAST_ROOM = 1e-9  # of 1 - (w / 2 c)^2: beyond any other difference of utilities of these recourses


class Compared(NamedTuple):
    """Two recourses, or pairs of them, under each of n hypotheses of one kind."""

    one: Array  # (n, ...) expected utility
    other: Array  # (n, ...)
    variance: Array  # (n, ...) of the difference of utilities, of which the others are broadcast to the shape
    separation: Array  # (...) square of the L2 distance of their phi


class Foci(NamedTuple):
    """Where two recourses are, and theta from them; all that relates differences of their losses to utilities."""

    half_square: Array  # (...) of half their distance, c^2
    across_square: Array  # (...) of the distance of theta from the line through them, r^2, or its mean


def _squared_distance(mean: Array, cov: Array, utility: Array) -> Array:
    """The utility of an ideal leaves out `-||ideal||^2`."""
    return jnp.sum(mean**2) + jnp.trace(cov) - utility


# by kind, whose phi is twice the recourse: mean (d,) and cov (d, d) of theta, expected utility phi . mean + c (...) ->
# expected square of the loss (...)
SQUARED: dict[str, Callable[[Array, Array, Array], Array]] = {"ideal": _squared_distance}


def foci_of(kind: str, mean: Array, cov: Array, compared: Compared) -> Foci:
    """Two recourses (n, ...) under n hypotheses of a `kind` with the means (n, d) and covariances (n, d, d)."""
    squared = SQUARED.get(kind)
    if squared is None:
        none = jnp.zeros_like(compared.variance)
        return Foci(none + _LINEAR, none)
    one, other = (jax.vmap(squared)(mean, cov, each) for each in (compared.one, compared.other))
    separation = jnp.broadcast_to(compared.separation[None], compared.variance.shape)
    middle_square = (one + other) / 2 - separation / 16
    return from_middle(separation, middle_square, (compared.one - compared.other) ** 2 + compared.variance)


def from_middle(separation: Array, middle_square: Array, gap_square: Array) -> Foci:
    """Two recourses (...) from the square of the distance of their phi, which is `4 c` as `phi = 2 z`.

    `middle_square` is that of the distance of theta from the point halfway between them, and `gap_square` that of the
    difference of utilities, which is `4 c` times the distance along the line; or their means.
    """
    along_square = gap_square / jnp.maximum(separation, _LEAST_SEPARATION)
    return Foci(separation / 16, jnp.maximum(middle_square - along_square, _LEAST_ACROSS))


def in_utilities(foci: Foci, difference: Array) -> Array:
    """The difference of utilities (...) where that of the losses is `difference` (...)."""
    room = 1 - difference**2 / jnp.maximum(4 * foci.half_square, _LEAST_SEPARATION)
    return 2 * difference * jnp.sqrt(foci.half_square + foci.across_square / jnp.maximum(room, _LEAST_ROOM))
