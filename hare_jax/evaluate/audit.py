"""Audit by group: who is refused, who has no recourse, what recourse costs, and the difference to everybody else.

A *group* is a value of an attribute, or an intersection of values of several attributes. A *figure* is a share, a mean
or a median over some of the rows, and never mixes them: rows without a recourse are in no cost, so the cost is that
among the rows with a recourse. Read it together with the share without one: a group whose most expensive rows have no
recourse has a low cost.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hare_jax.base import require
from hare_jax.evaluate.intervals import (
    Interval,
    Sample,
    change,
    difference,
    holm,
    mean_of,
    median_of,
    p_value,
    share_of,
)

SMALLEST = 10  # rows: a figure of fewer is returned, but neither tested nor printed
LEAST = 3  # rows: the interval of a mean needs as many
EVERYBODY = "all"
_JOIN = ", "
_NO_INTERVAL = Interval(np.nan, np.nan)


class Results(NamedTuple):
    """The outcome of a method for n rows."""

    refused: np.ndarray  # (n,) bool
    found: np.ndarray  # (n,) bool: there is a recourse; of refused rows
    cost: np.ndarray  # (n,) of the recourse; of rows with a recourse
    proved_none: np.ndarray | None = None  # (n,) bool: no allowed point is accepted; None if nothing can be proved
    price: np.ndarray | None = None  # (n,) derivative of the cost in the margin, NaN if it has none; None if not known


class Figure(NamedTuple):
    """A figure of a group."""

    label: str
    sample: Callable[[np.ndarray], Sample]
    values: Callable[[Results], np.ndarray | None]  # (n,)
    mask: Callable[[Results], np.ndarray]  # (n,) bool: the rows that the figure is over
    is_share: bool


class Group(NamedTuple):
    """A group of rows."""

    name: str  # "sex=female, race=black"
    mask: np.ndarray  # (n,) bool


class Row(NamedTuple):
    """A figure of a group, and its difference to the rest; NaN is unknown."""

    figure: str  # a name of `FIGURES`
    group: str  # the name of the group, or "all"
    n: int  # rows that the figure is over
    estimate: float
    low: float  # of the confidence interval
    high: float
    num_rest: int  # rows outside of the group that the figure is over
    rest: float  # the figure of these
    difference: float  # estimate - rest; 0 within rounding
    difference_low: float  # of its confidence interval
    difference_high: float
    p_value: float  # of no difference, adjusted for all groups of the figure; NaN if not tested
    too_small: bool  # fewer than the smallest number of rows, in the group or in the rest


def _is_refused(results: Results) -> np.ndarray:
    return results.refused


def _is_found(results: Results) -> np.ndarray:
    return results.refused & results.found


def _has_price(results: Results) -> np.ndarray:
    return _is_found(results) & np.isfinite(np.asarray(results.price, float))


FIGURES: dict[str, Figure] = {
    "refused": Figure("refused", share_of, _is_refused, lambda r: np.ones_like(r.refused), True),
    "no_recourse": Figure("without recourse, of the refused", share_of, lambda r: ~r.found, _is_refused, True),
    "proved_none": Figure("proved to have none, of the refused", share_of, lambda r: r.proved_none, _is_refused, True),
    "mean_cost": Figure("mean cost, where there is a recourse", mean_of, lambda r: r.cost, _is_found, False),
    "median_cost": Figure("median cost, where there is a recourse", median_of, lambda r: r.cost, _is_found, False),
    "mean_price": Figure("mean price of a logit", mean_of, lambda r: r.price, _has_price, False),
}


def audit(
    attributes: Mapping[str, ArrayLike], results: Results, *, level: float = 0.95, smallest: int = SMALLEST
) -> tuple[Row, ...]:
    """The figures of all rows and of each group: `FIGURES` in their order, in each the groups of `groups`.

    `attributes` holds the labels (n,) of each attribute. Each figure has a confidence interval over people: Wilson's
    for a share, Hall's for a mean, interpolated order statistics for a median (`evaluate.intervals`). The difference
    is that to all other rows, with the interval of Newcombe and of Zou and Donner, and a test whose p-values are
    adjusted by Holm's method over all groups of a figure; groups that split the rows in the same way, such as the
    values of a binary attribute, are one test. The intervals are not adjusted. A figure over fewer than `smallest` rows
    has no test, and a mean or a median none of the intervals either.

    A figure that is not known is left out: `proved_none` of a black box, `mean_price` without prices.

    Raises:
        ValueError: no attribute, labels or results of another length, or a level or number out of its range.

    >>> results = Results(np.arange(40) < 30, np.arange(40) < 25, np.linspace(1, 2, 40))
    >>> rows = audit({"sex": ["f", "m"] * 20}, results)
    >>> [(row.figure, row.group, row.n, row.estimate) for row in rows[:3]]
    [('refused', 'all', 40, 0.75), ('refused', 'sex=f', 20, 0.75), ('refused', 'sex=m', 20, 0.75)]
    """
    _check(attributes, results, level, smallest)
    found = groups(attributes)
    known = {name: figure for name, figure in FIGURES.items() if figure.values(results) is not None}
    return tuple(row for name in known for row in _rows(name, found, results, level, smallest))


def groups(attributes: Mapping[str, ArrayLike]) -> tuple[Group, ...]:
    """The groups of rows by their labels (n,): the values of each attribute, then the intersections of two, and so on.

    The groups without rows are left out.

    >>> [group.name for group in groups({"sex": ["f", "m"], "race": ["a", "b"]})]
    ['sex=f', 'sex=m', 'race=a', 'race=b', 'sex=f, race=a', 'sex=m, race=b']
    """
    labels = {name: np.asarray(values).astype(str) for name, values in attributes.items()}
    sizes = range(1, len(labels) + 1)
    return tuple(group for size in sizes for chosen in combinations(labels, size) for group in _crossed(labels, chosen))


def _crossed(labels: Mapping[str, np.ndarray], chosen: Sequence[str]) -> Iterator[Group]:
    """The groups by the values of the `chosen` attributes."""
    for values in product(*(np.unique(labels[name]) for name in chosen)):
        pairs = list(zip(chosen, values, strict=True))
        mask = np.all([labels[name] == value for name, value in pairs], axis=0)
        if mask.any():
            yield Group(_JOIN.join(f"{name}={value}" for name, value in pairs), mask)


def _rows(name: str, found: Sequence[Group], results: Results, level: float, smallest: int) -> list[Row]:
    """The rows of a figure, with adjusted p-values."""
    everybody = Group(EVERYBODY, np.ones_like(results.refused))
    rows = [_row(name, group, results, level, smallest) for group in (everybody, *found)]
    splits = [_split_of(group.mask & FIGURES[name].mask(results), FIGURES[name].mask(results)) for group in found]
    tested = {split: row.p_value for split, row in zip(splits, rows[1:], strict=True) if np.isfinite(row.p_value)}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    pairs = zip(splits, rows[1:], strict=True)
    return rows[:1] + [row._replace(p_value=float(adjusted.get(split, np.nan))) for split, row in pairs]


def _split_of(inside: np.ndarray, mask: np.ndarray) -> bytes:
    """A key of the split of the rows of `mask` (n,) into those `inside` (n,) and the others, in either order."""
    members = inside[mask]
    return (members ^ members[:1]).tobytes()


def _row(name: str, group: Group, results: Results, level: float, smallest: int) -> Row:
    """The row of a figure and a group, with the p-value of a single test."""
    one, other = (_sample(name, mask, results) for mask in (group.mask, ~group.mask))
    estimates = [np.nan if sample is None else sample.estimate for sample in (one, other)]
    sizes = [0 if sample is None else sample.n for sample in (one, other)]
    interval, change_interval, p = _NO_INTERVAL, _NO_INTERVAL, np.nan
    if one is not None and (one.n >= smallest or FIGURES[name].is_share):
        interval = one.interval(level)
    if one is not None and other is not None and min(sizes) >= smallest:
        change_interval, p = difference(one, other, level), p_value(one, other)
    too_small = group.name != EVERYBODY and min(sizes) < smallest
    apart = np.nan if one is None or other is None else change(one, other)
    first, rest = (sizes[0], estimates[0], *interval), (sizes[1], estimates[1])
    return Row(name, group.name, *first, *rest, apart, *change_interval, p, too_small)


def _sample(name: str, mask: np.ndarray, results: Results) -> Sample | None:
    """The sample of a figure over the rows of `mask` (n,), None if there are none."""
    figure = FIGURES[name]
    values = np.asarray(figure.values(results))[mask & figure.mask(results)]
    return figure.sample(values) if len(values) else None


def _check(attributes: Mapping[str, ArrayLike], results: Results, level: float, smallest: int) -> None:
    require(isinstance(attributes, Mapping) and len(attributes) > 0, "attributes", "must name one or more", attributes)
    require(isinstance(results, Results), "results", "must be Results", type(results).__name__)
    num = len(results.refused)
    for name, values in (*attributes.items(), *results._asdict().items()):
        fits = values is None or np.shape(values) == (num,)
        require(fits, name, f"must have one value for each of the {num} rows", np.shape(values))
    for name in ("refused", "found", "proved_none"):
        mask = getattr(results, name)
        require(mask is None or np.asarray(mask).dtype == bool, name, "must be boolean", np.asarray(mask).dtype)
    require(0 < level < 1, "level", "must be above 0 and below 1", level)
    require(smallest >= LEAST, "smallest", f"must be at least {LEAST}, which the interval of a mean needs", smallest)
    lost = ~np.isfinite(np.asarray(results.cost, float)[_is_found(results)])
    require(not lost.any(), "cost", "must be finite where there is a recourse", f"{lost.sum()} values that are not")
