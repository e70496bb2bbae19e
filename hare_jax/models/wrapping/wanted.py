"""What is wanted of a model, by the names of its classes or by a condition on a number, as a `Decision`."""

import re
from collections.abc import Collection, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from hare_jax.base import require
from hare_jax.models.wrapping.decision import ByClass, ByValue, Decision

_CONDITION = re.compile(r"\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")
_CODES = [0, 1], [-1, 1]  # classes of encoded labels: 1 stands for the table's positive value


class Wanted(NamedTuple):
    """A decision, and what is known of it."""

    decision: Decision
    name: Any  # of the wanted class or classes, or the condition
    labelled: bool  # the table's labels say which rows it accepts


def by_class(
    wanted: Any, outputs: str, classes: Sequence[Any], positive: Any, threshold: float | None = None
) -> Wanted:
    """The decision for `wanted`: a class, a collection of classes, or a condition on numeric classes.

    None is, of two classes, the class `positive` of the table, or the second one of the classes 0 and 1.

    Raises:
        ValueError: a class is unknown, or none or all of the classes are wanted; or the threshold is not in (0, 1).
    """
    in_range = threshold is None or (isinstance(threshold, int | float | np.floating) and 0 < threshold < 1)
    require(in_range, "threshold", "must lie between 0 and 1, both excluded", threshold)
    classes = [_plain(one) for one in classes]
    inside = _inside(wanted, classes, positive)
    outside = tuple(index for index in range(len(classes)) if index not in inside)
    require(0 < len(inside) < len(classes), "wanted", f"must be some of the classes {classes}, not all", wanted)
    chosen = [classes[index] for index in inside]
    labelled = len(classes) == 2 and chosen == [_default(classes, positive)]
    name = chosen if len(chosen) > 1 else chosen[0]
    return Wanted(ByClass(outputs, inside, outside, threshold), name, labelled)


def by_value(wanted: Any, scale: float) -> Wanted:
    """The decision for a condition such as ">= 6", or for a range (low, high), on a predicted number.

    Raises:
        ValueError: `wanted` is neither.

    >>> by_value("<= 3", 2.0).decision
    ByValue(low=-inf, high=3.0, strict=False, scale=2.0)
    """
    rule = "must be a condition such as '>= 6', or a range (low, high), as the model predicts a number"
    if isinstance(wanted, tuple | list) and len(wanted) == 2 and all(isinstance(end, Real) for end in wanted):
        low, high = map(float, wanted)
        require(low < high, "wanted", "must be a range (low, high), low below high", wanted)
        return Wanted(ByValue(low, high, scale=scale), tuple(wanted), labelled=False)
    condition = _parse(wanted)
    require(condition is not None, "wanted", rule, wanted)
    return Wanted(ByValue(**condition, scale=scale), wanted, labelled=False)  # type: ignore[arg-type]


def is_condition(wanted: Any) -> bool:
    """Whether `wanted` is a text such as ">= 6"."""
    return _parse(wanted) is not None


def _parse(wanted: Any) -> dict[str, Any] | None:
    match = _CONDITION.fullmatch(wanted) if isinstance(wanted, str) else None
    if match is None:
        return None
    above, bound = match[1].startswith(">"), float(match[2])
    low, high = (bound, np.inf) if above else (-np.inf, bound)
    return {"low": low, "high": high, "strict": len(match[1]) == 1}


def _inside(wanted: Any, classes: list, positive: Any) -> tuple[int, ...]:
    """The indices of the wanted classes, in order."""
    if wanted is None:
        wanted = _default(classes, positive) if len(classes) == len(_CODES[0]) else None
        require(wanted is not None, "wanted", f"must name one of the classes {classes}", wanted)
    several = isinstance(wanted, Collection) and not isinstance(wanted, str)
    chosen = [_plain(one) for one in (wanted if several else (wanted,))]
    if chosen == [positive]:
        chosen = [_default(classes, positive)]
    unknown = [one for one in chosen if one not in classes]
    if not unknown:
        return tuple(sorted({classes.index(one) for one in chosen}))
    numeric = all(isinstance(one, int | float) for one in classes)
    condition = _parse(wanted) if numeric else None
    require(condition is not None, "wanted", f"must be one of the classes {classes}, or some of them", wanted)
    accepted = ByValue(**(condition or {})).accepts(np.array(classes, float)[:, None])
    return tuple(np.flatnonzero(accepted).tolist())


def _default(classes: list, positive: Any) -> Any:
    """The class that stands for the table's `positive` value; None if there is none."""
    return positive if positive in classes else 1 if classes in _CODES else None


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's."""
    return value.item() if isinstance(value, np.generic) else value
