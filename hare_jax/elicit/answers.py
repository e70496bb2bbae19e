"""What can be told to an elicitor besides a comparison, and the checks of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import Recourse, holds, is_known, require
from hare_jax.elicit.base import check_comparison, is_index
from hare_jax.hyperparams import is_number
from hare_jax.space import ActionSpace, is_follower

_ROUNDING = 1e-6  # of a column on a grid, relative to 1 + |value|


class Veto(NamedTuple):
    """Fixes columns from now on, and with any level of a category the whole category.

    A column that follows others but could be acted on merely follows from now on. One that could only follow is kept at
    its factual value: all the columns that move it are fixed.
    """

    columns: Array  # (d,) bool


class Range(NamedTuple):
    """Restricts each column to an interval from now on, or to its factual value.

    Intervals are intersected with earlier ones; where the intersection is empty only the factual value is left. That of
    a column that follows others holds for where it ends.
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
        ValueError: no such answer, an array of the wrong shape, an interval that is crossed or has NaN, a value that is
            not finite, or an option that is not there or not valid.
    """
    _CHECK.get(type(answer), _check_comparison)(answer, width)


def check_units(answer: Range, ranges: Range, x: Array, space: ActionSpace) -> None:
    """Check that the first interval of each column that may move meets its bounds: original units often do not.

    `ranges` are the intervals so far, infinite where a column has none.

    Raises:
        ValueError: an interval lies outside of the bounds of its column.
    """
    if not is_known(answer, ranges, x, space):
        return
    lower, upper = np.minimum(space.lower, x), np.maximum(space.upper, x)
    first = (np.asarray(space.mutable) | is_follower(space)) & np.isinf(ranges.lower) & np.isinf(ranges.upper)
    slack = _ROUNDING * (1 + np.abs(x))
    outside = first & ((np.asarray(answer.lower) > upper + slack) | (np.asarray(answer.upper) < lower - slack))
    column = int(np.argmax(outside))
    rule = f"must meet the bounds of column {column}, {lower[column]:g} to {upper[column]:g} in encoded units"
    require(not outside.any(), "range", rule, (float(answer.lower[column]), float(answer.upper[column])))


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
        require(is_number(bound), name, "must hold numbers", bound)
        require(holds(lambda bound: ~np.isnan(bound), bound), name, "must not be NaN", bound)
    if is_known(answer):
        crossed = np.flatnonzero(np.asarray(answer.lower) > np.asarray(answer.upper)).tolist()
        require(not crossed, "lower", "must not exceed upper", f"columns {crossed} that do")


def _check_choice(answer: Choice, width: int) -> None:
    require(isinstance(answer.options, Recourse), "options", "must be a Recourse", answer.options)
    shape = jnp.shape(answer.options.x)
    require(len(shape) == 2 and shape[1] == width, "options", f"must have shape (k, {width})", shape)
    require(jnp.shape(answer.options.valid) == shape[:1], "options", f"must have valid of shape {shape[:1]}", answer)
    within = is_index(answer.chosen) and holds(lambda at: (at >= 0) & (at < shape[0]), answer.chosen)
    require(within, "chosen", f"must be an integer from 0 to {shape[0] - 1}", answer.chosen)
    if is_known(answer):
        offered = np.flatnonzero(answer.options.valid).tolist()
        require(int(answer.chosen) in offered, "chosen", f"must be a valid option, one of {offered}", answer.chosen)


def _check_rating(answer: Rating, width: int) -> None:
    _check_row("x", answer.x, width)
    require(is_number(answer.value) and np.shape(answer.value) == (), "value", "must be a number", answer.value)
    require(holds(np.isfinite, answer.value), "value", "must be finite", answer.value)
    require(holds(np.isfinite, answer.x), "x", "must be finite", answer.x)


def _check_comparison(answer: Any, width: int) -> None:
    check_comparison(answer, ", or a Veto, Range, Choice or Rating")


def _check_row(name: str, row: Array, width: int) -> None:
    require(isinstance(row, np.ndarray | Array), name, "must be an array", row)
    require(jnp.shape(row) == (width,), name, f"must have shape ({width},)", jnp.shape(row))


_CHECK: dict[type, Callable[[Any, int], None]] = {
    Veto: _check_veto,
    Range: _check_range,
    Choice: _check_choice,
    Rating: _check_rating,
}
