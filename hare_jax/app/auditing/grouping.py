"""Attributes of the rows of a DataFrame, by which an audit groups them."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hare_jax.base import require

MISSING = "missing"
_MOST_VALUES = 12  # of an attribute; numbers with more are for cut points, other values for fewer of them


def attributes(frame: pd.DataFrame, by: Sequence[str]) -> dict[str, np.ndarray]:
    """The labels (n,) of the rows by each column in `by`; a missing value is a group of its own.

    `"age"` groups by the values of the column `age`, `"age:40,65"` by the ranges below 40, from 40 to below 65, and
    from 65.

    Raises:
        ValueError: no column, or one that the frame lacks, that has too many values or a single one, or cut points that
            are no rising numbers.
    """
    require(len(by) > 0, "by", "must name one or more columns", by)
    parsed = [_parse(one, frame) for one in by]
    names = [name for name, _ in parsed]
    require(len(set(names)) == len(names), "by", "must name each column once", names)
    return {name: _labels(frame[name], cuts) for name, cuts in parsed}


def _parse(text: str, frame: pd.DataFrame) -> tuple[str, list[float]]:
    """The name of a column and its cut points."""
    if text in frame.columns:
        return text, []
    name, colon, points = text.rpartition(":")
    name = name if colon else text
    require(name in frame.columns, "by", f"must be among the columns {', '.join(map(str, frame.columns))}", name)
    try:
        cuts = [float(point) for point in points.split(",")]
    except ValueError:
        cuts = []
    rising = len(cuts) > 0 and bool(np.all(np.diff(cuts) > 0))
    require(rising, "by", f"must be rising numbers after the colon, as in {name}:40,65", text)
    return name, cuts


def _labels(column: pd.Series, cuts: Sequence[float]) -> np.ndarray:
    """The labels (n,) of a column."""
    known = column.dropna()
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if cuts:
        require(numeric, "by", "must be a column of numbers to have cut points", column.name)
        labels = _ranges(known.to_numpy(float), cuts)
    else:
        num = known.nunique()
        advice = f"cut it into ranges, as in {column.name}:40,65" if numeric else "merge some of them"
        rule = f"must have at most {_MOST_VALUES} values; {advice}"
        require(num <= _MOST_VALUES, f"by {column.name!r}", rule, f"{num} values")
        labels = np.array([_text(value) for value in (known.to_numpy() if numeric else known)], object)
    found = np.full(len(column), MISSING, object)
    found[column.notna().to_numpy()] = labels
    require(len(set(found)) > 1, f"by {column.name!r}", "must have more than one group among these rows", set(found))
    return found


def _ranges(values: np.ndarray, cuts: Sequence[float]) -> np.ndarray:
    """The labels (n,) of the ranges between `cuts` in which `values` (n,) lie."""
    ends = [_text(cut) for cut in cuts]
    between = [f"{low} to below {high}" for low, high in itertools.pairwise(ends)]
    return np.array([f"below {ends[0]}", *between, f"from {ends[-1]}"], object)[np.digitize(values, cuts)]


def _text(value: object) -> str:
    """The label of a value; whole numbers without a decimal point.

    >>> _text(1234567.0), _text(0.1), _text("urban")
    ('1234567', '0.1', 'urban')
    """
    if not isinstance(value, float | np.floating):
        return str(value)
    return str(int(value)) if float(value).is_integer() else str(value)
