"""What can be told to the Bayesian elicitor besides a comparison, and the checks of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import Recourse, holds, require
from hare_jax.elicit.base import CANNOT_TELL, PREFERS_A, PREFERS_B

_ROUNDING = 1e-6  # of a column on a grid, relative to 1 + |value|


class Veto(NamedTuple):
    """Fixes columns from now on, and with any level of a category the whole category."""

    columns: Array  # (d,) bool


class Range(NamedTuple):
    """Restricts each column to an interval from now on, or to its factual value.

    Intervals are intersected with earlier ones; where the intersection is empty only the factual value is left.
    """

    lower: Array  # (d,)
    upper: Array  # (d,)


class Choice(NamedTuple):
    """The best of some valid options. It counts as one comparison with each of the others."""

    options: Recourse  # (k, d)
    chosen: Array  # () int


class Rating(NamedTuple):
    """The value of a recourse, on any scale; for accept and reject, 1 and 0.

    It counts as a comparison with the best and with the worst recourse rated before, where the values differ. So the
    first rating, or equal ratings alone, carry no information.
    """

    x: Array  # (d,)
    value: Array  # ()


Answer = Array | Veto | Range | Choice | Rating


class Rated(NamedTuple):
    """The extremes of the recourses rated so far."""

    any: Array  # () bool: there is one
    worst: Rating
    best: Rating


def check(answer: Any, width: int) -> None:
    """Check an answer for a row of `width` columns.

    Raises:
        ValueError: no such answer, an array of the wrong shape, an interval with NaN, a value that is NaN, or an option
            that is not there.
    """
    _CHECK.get(type(answer), _check_comparison)(answer, width)


def in_ranges(ranges: Range, x: Array, z: Array) -> Array:
    """Whether each column of `z` (d,) is in its interval or equal to that of `x` (d,): () bool."""
    slack = _ROUNDING * (1 + jnp.abs(z))
    return jnp.all((z == x) | ((z >= ranges.lower - slack) & (z <= ranges.upper + slack)))


def _check_veto(answer: Veto, width: int) -> None:
    _check_row("columns", answer.columns, width)
    dtype = jnp.result_type(answer.columns)
    require(jnp.issubdtype(dtype, bool), "columns", "must be boolean", dtype.name)


def _check_range(answer: Range, width: int) -> None:
    for name, bound in answer._asdict().items():
        _check_row(name, bound, width)
        require(holds(lambda bound: ~np.isnan(bound), bound), name, "must not be NaN", bound)


def _check_choice(answer: Choice, width: int) -> None:
    shape = jnp.shape(answer.options.x)
    require(len(shape) == 2 and shape[1] == width, "options", f"must have shape (k, {width})", shape)
    within = holds(lambda at: (at >= 0) & (at < shape[0]), answer.chosen)
    require(within, "chosen", f"must be from 0 to {shape[0] - 1}", answer.chosen)


def _check_rating(answer: Rating, width: int) -> None:
    _check_row("x", answer.x, width)
    require(holds(lambda value: ~np.isnan(value), answer.value), "value", "must not be NaN", answer.value)


def _check_comparison(answer: Any, width: int) -> None:
    require(not isinstance(answer, tuple), "answer", "must be a Veto, Range, Choice, Rating or number", answer)
    known = holds(lambda value: np.isin(value, (PREFERS_A, PREFERS_B, CANNOT_TELL)), answer)
    require(known, "answer", f"must be {PREFERS_A}, {PREFERS_B} or {CANNOT_TELL}", answer)


def _check_row(name: str, row: Array, width: int) -> None:
    require(jnp.shape(row) == (width,), name, f"must have shape ({width},)", jnp.shape(row))


_CHECK: dict[type, Callable[[Any, int], None]] = {
    Veto: _check_veto,
    Range: _check_range,
    Choice: _check_choice,
    Rating: _check_rating,
}
