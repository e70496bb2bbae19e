"""The reasons why a method found no recourse for a row, as integer codes that cross `jit` and `vmap`."""

from enum import IntEnum

import jax.numpy as jnp
from jax import Array

from hare_jax.base import Recourse
from hare_jax.space import ActionSpace, bounds


class Reason(IntEnum):
    """The outcome of a method for one row; `text` says it in words."""

    FOUND = 0
    NOTHING_MAY_CHANGE = 1
    NO_ACCEPTED_ROW = 2
    NO_ROW_FITS = 3
    IMPOSSIBLE = 4
    SEARCH_ENDED = 5

    @property
    def text(self) -> str:
        """The reason in words, to follow "no recourse: "."""
        return _TEXTS[self]


_TEXTS = {
    Reason.FOUND: "found",
    Reason.NOTHING_MAY_CHANGE: "no column may change from this row",
    Reason.NO_ACCEPTED_ROW: "the classifier accepts no training row",
    Reason.NO_ROW_FITS: "the classifier accepts no training row with the immutable values and relations of this row",
    Reason.IMPOSSIBLE: "proved that no allowed point reaches the margin",
    Reason.SEARCH_ENDED: "the search ended without an accepted point",
}


def outcome(x: Array, space: ActionSpace, recourse: Recourse, failure: Array) -> Array:
    """The code () of a `recourse` for the row `x` (d,): `failure` () unless it is valid, or no column may change."""
    lower, upper = bounds(space, x)
    failure = jnp.where(jnp.all(lower == upper), Reason.NOTHING_MAY_CHANGE, failure)
    return jnp.where(recourse.valid, Reason.FOUND, failure).astype(jnp.int32)
