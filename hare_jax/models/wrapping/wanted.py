"""What is wanted of a model, by the names of its classes or by a condition on a number, as a `Decision`."""

from collections.abc import Collection, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from hare_jax import conditions
from hare_jax.base import require
from hare_jax.models.wrapping.decision import ByClass, ByValue, Decision

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

    None is the table's `positive`: a class of two, a list of classes, or a condition on numeric classes; or, of the
    classes 0 and 1, the second one.

    Raises:
        ValueError: a class is unknown, or none or all of the classes are wanted; or the threshold is not in (0, 1).
    """
    in_range = threshold is None or (isinstance(threshold, int | float | np.floating) and 0 < threshold < 1)
    require(in_range, "threshold", "must lie between 0 and 1, both excluded", threshold)
    classes = [_plain(one) for one in classes]
    default = _default(classes, positive)
    inside = _inside(wanted, classes, positive, default)
    outside = tuple(index for index in range(len(classes)) if index not in inside)
    require(0 < len(inside) < len(classes), "wanted", f"must be some of the classes {classes}, not all", wanted)
    chosen = [classes[index] for index in inside]
    name = chosen if len(chosen) > 1 else chosen[0]
    return Wanted(ByClass(outputs, inside, outside, threshold), name, labelled=inside == default)


def by_value(wanted: Any, scale: float, positive: Any = None) -> Wanted:
    """The decision for a condition such as ">= 6", or for a range (low, high), on a predicted number.

    None is the condition `positive` of the table.

    Raises:
        ValueError: it is neither.

    >>> by_value("<= 3", 2.0).decision
    ByValue(low=-inf, high=3.0, strict=False, scale=2.0)
    """
    rule = "must be a condition such as '>= 6', or a range (low, high), as the model predicts a number"
    if isinstance(wanted, tuple | list) and len(wanted) == 2 and all(isinstance(end, Real) for end in wanted):
        low, high = map(float, wanted)
        require(low < high, "wanted", "must be a range (low, high), low below high", wanted)
        return Wanted(ByValue(low, high, scale=scale), tuple(wanted), labelled=False)
    favourable = conditions.parse(positive)
    text, condition = (positive, favourable) if wanted is None else (wanted, conditions.parse(wanted))
    require(condition is not None, "wanted", rule, wanted)
    decision = ByValue(**condition._asdict(), scale=scale)  # type: ignore[union-attr]
    return Wanted(decision, text, labelled=condition == favourable)


def is_condition(wanted: Any) -> bool:
    """Whether `wanted` is a text such as ">= 6"."""
    return conditions.parse(wanted) is not None


def _inside(wanted: Any, classes: list, positive: Any, default: tuple[int, ...]) -> tuple[int, ...]:
    """The indices of the wanted classes, in order; `default` are those of the table's `positive` values."""
    if wanted is None:
        require(len(default) > 0, "wanted", f"must name one of the classes {classes}", wanted)
        return default
    chosen = _as_list(wanted)
    if chosen == _as_list(positive) and default:
        return default
    unknown = [one for one in chosen if one not in classes]
    if not unknown:
        return tuple(sorted({classes.index(one) for one in chosen}))
    accepted = _by_condition(wanted, classes)
    require(accepted is not None, "wanted", f"must be one of the classes {classes}, or some of them", wanted)
    return accepted or ()


def _default(classes: list, positive: Any) -> tuple[int, ...]:
    """The indices of the classes that the table's `positive` value, values or condition accept; () if there are none.

    A single value is a default for two classes only: of more, it may be the code of another one.
    """
    if isinstance(positive, list):
        named = tuple(index for index, one in enumerate(classes) if one in positive)
    elif len(classes) == len(_CODES[0]) and positive in classes:
        named = (classes.index(positive),)
    else:
        named = _by_condition(positive, classes) or ()
    if 0 < len(named) < len(classes):
        return named
    return (classes.index(1),) if classes in _CODES else ()


def _by_condition(text: Any, classes: list) -> tuple[int, ...] | None:
    """The indices of the numeric `classes` that a condition accepts; None if `text` is none, or a class no number."""
    condition = conditions.parse(text) if all(isinstance(one, int | float) for one in classes) else None
    if condition is None:
        return None
    return tuple(np.flatnonzero(condition.accepts(np.array(classes, float))).tolist())


def _as_list(wanted: Any) -> list:
    """The members of a collection, or a single value, as Python's values."""
    several = isinstance(wanted, Collection) and not isinstance(wanted, str)
    return [_plain(one) for one in (wanted if several else (wanted,))]


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's."""
    return value.item() if isinstance(value, np.generic) else value
