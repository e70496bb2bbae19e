"""A schema proposed from the columns of a DataFrame: a dict to be edited, and then given to `from_frame`."""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.base import choose, require
from hare_jax.data import bands
from hare_jax.data.checks import MAX_STEPS, check_frame, warn
from hare_jax.data.schema import check_schema
from hare_jax.data.target import first_values, labels, listed

_MOST_CATEGORIES = 50
_LARGEST = 2.0**53  # up to which float64 holds each whole number
_NUM_TRIED = 1000  # distinct texts that are tried as dates
_ID = re.compile(r"(.*[\W_])?(ID|Id|id|Index|index)|.*[a-z]I[Dd]|Unnamed: \d+")  # `paid` is none
_DATE = r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ].*)?"  # 2020-01-31, 31/1/2020, 31.1.20, with a time or without
_DATES = {"date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"}  # of pandas' infer_dtype
_CODES = {0, 1}  # values of a target of which 1 is the favourable one


class _Proposal(NamedTuple):
    """What is proposed for a column."""

    spec: dict[str, Any] | None  # of its feature; None leaves it out
    reason: str = ""  # to leave it out


def infer(
    df: pd.DataFrame,
    target: str,
    *,
    positive: Any = None,
    audit: Collection[str] = (),
    immutable: Collection[str] = (),
    exclude: Collection[str] = (),
    missing: str | None = None,
) -> dict[str, Any]:
    """Propose a schema for the columns of `df`: a dict to be edited, for `from_frame` (see `hare_jax.data.schema`).

    Floats become continuous; whole numbers ordered, with the greatest step that divides their differences, or
    continuous where that gives more than 10,000 steps; truth values, text, and numbers with two values categorical. An
    ordered dtype keeps its order, and texts that are ranges of numbers, such as "1000 to 2999", are in the order of the
    numbers. Columns that are constant, identify a row, or have more than 50 categories, are left out. Every change is
    allowed, except of the `immutable` columns: list there what an applicant can't change, such as the year of birth or
    that of the application, and edit `direction`, `range` and `mutable`.

    `positive` is the favourable value of the `target`, a list of them, or a condition such as ">= 6"; it is known only
    of a target of 0 and 1, or of truth values. `audit` columns are kept apart, `exclude` columns ignored. Missing
    values are filled where they are numbers, and a category otherwise; or `missing` is "drop" or "fill" for all. Rows
    without a target are dropped by `from_frame`.

    Raises:
        ValueError: a column is not in `df`, a column holds dates, `positive` is not known or doesn't fit the target, or
            no feature is left.

    Warns:
        UserWarning: columns are left out.

    >>> rows = pd.DataFrame({"income": [20, 40, 60, 30], "job": ["b", "a", None, "a"], "ok": [0, 1, 1, 0]})
    >>> for name, spec in infer(rows, "ok", immutable=["job"])["features"].items():
    ...     print(name, spec)
    income {'type': 'ordered', 'step': 10}
    job {'type': 'categorical', 'categories': ['a', 'b'], 'missing': 'category', 'mutable': False}
    """
    require(isinstance(df, pd.DataFrame), "df", "must be a pandas DataFrame", type(df).__name__)
    check_frame(df, [*map(_text, df.columns)], "df")
    if missing is not None:
        choose("missing", missing, ("drop", "fill"))
    kept = _names("audit", audit, df)
    others = [target, *kept, *_names("exclude", exclude, df)]
    names = [name for name in df.columns if name not in others]
    fixed = _names("immutable", immutable, df[names])
    keys = _target(df, target, positive, kept, missing)
    _refuse_dates(df[names])
    proposals = {name: _propose(df[name], missing) for name in names}
    _warn_if_left_out(proposals)
    features = {name: found.spec for name, found in proposals.items() if found.spec is not None}
    require(len(features) > 0, "df", "must have a column that can be a feature", names)
    for name in features.keys() & {*fixed}:
        features[name]["mutable"] = False
    return check_schema(keys | {"features": features})


def _text(name: Any) -> str:
    require(isinstance(name, str), "df", "must have text as the names of its columns", name)
    return name


def _names(argument: str, names: Collection[str], df: pd.DataFrame) -> list[str]:
    """The `names` of columns of `df`, checked, as a list."""
    require(isinstance(names, Collection) and not isinstance(names, str), argument, "must be a list of columns", names)
    unknown = [name for name in names if name not in df.columns]
    require(not unknown, argument, f"must be among the columns {list(df.columns)}", unknown)
    return list(names)


def _target(df: pd.DataFrame, target: str, positive: Any, audit: list[str], missing: str | None) -> dict[str, Any]:
    """The keys of the schema that are no features."""
    check_frame(df, [target], "df")
    require(target not in audit, "audit", "must not hold the target", target)
    keys: dict[str, Any] = {"target": target, "positive": _favourable(df[target].dropna(), positive)}
    if audit:
        keys["audit"] = audit
    if missing == "drop" or df[target].isna().any():
        keys["missing"] = "drop"
    return keys


def _favourable(column: pd.Series, positive: Any) -> Any:
    """`positive` as a schema has it, for a target `column` without missing values."""
    values = column.unique().tolist()
    if positive is None:
        rule = "must be the favourable value of the target, a list of values, or a condition such as '>= 6'"
        require(set(values) == _CODES, "positive", f"{rule}; its values are {first_values(column)}", None)
        return True if isinstance(values[0], bool) else 1
    if isinstance(positive, Collection) and not isinstance(positive, str):
        positive = list(positive)
    positive = listed(column, positive)
    labels(column, column, positive)
    return positive


def _refuse_dates(df: pd.DataFrame) -> None:
    dates = [name for name in df.columns if _is_date(df[name])]
    rule = "must hold no dates: exclude them, or convert them to numbers, for example to years before today"
    require(not dates, "df", rule, dates)


def _is_date(column: pd.Series) -> bool:
    """Whether `column` holds dates, times or durations, or text that looks like dates."""
    kind = _kind(column)
    if kind == "string":
        texts = pd.Series(column.dropna().unique()[:_NUM_TRIED]).astype(str)
        return len(texts) > 0 and bool(texts.str.fullmatch(_DATE).all())
    return kind in _DATES


def _kind(column: pd.Series) -> str:
    """The kind of the values, or of the categories, by the names of pandas' `infer_dtype`."""
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    return pd.api.types.infer_dtype(values, skipna=True)


def _propose(column: pd.Series, missing: str | None) -> _Proposal:
    known, kind = column.dropna(), _kind(column)
    if kind not in ("string", "boolean", "integer", "floating"):
        return _Proposal(None, f"neither numbers nor text, but {kind}")
    if known.nunique() < 2:
        return _Proposal(None, "constant")
    numeric = pd.api.types.is_numeric_dtype(column) and kind != "boolean"
    found = _propose_numbers(known) if numeric else _propose_categories(known)
    if found.spec is None or missing == "drop" or len(known) == len(column):
        return found
    way = "category" if found.spec["type"] == "categorical" and missing is None else "fill"
    return _Proposal(found.spec | {"missing": way})


def _propose_numbers(column: pd.Series) -> _Proposal:
    values = column.to_numpy(float)
    distinct = np.unique(values)
    span = float(distinct[-1] - distinct[0])
    whole = span < _LARGEST and bool((values % 1 == 0).all())
    if len(distinct) == len(_CODES):
        return _Proposal({"type": "categorical", "categories": (distinct.astype(int) if whole else distinct).tolist()})
    if not whole:
        return _Proposal({"type": "continuous"})
    monotonic = column.is_monotonic_increasing or column.is_monotonic_decreasing
    if _ID.fullmatch(str(column.name)) and len(distinct) == len(values) and monotonic:
        return _Proposal(None, "an identifier")
    step = int(np.gcd.reduce(np.diff(distinct).astype(np.int64)))
    return _Proposal({"type": "ordered", "step": step} if span / step <= MAX_STEPS else {"type": "continuous"})


def _propose_categories(column: pd.Series) -> _Proposal:
    dtype, distinct = column.dtype, column.unique().tolist()
    if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        categories = [category for category in dtype.categories.tolist() if category in distinct]
    else:
        categories = sorted(distinct)
        if all(isinstance(category, str) for category in categories):
            categories = bands.in_order(categories) or categories
    if len(categories) == len(column) and isinstance(categories[0], str):
        return _Proposal(None, "an identifier: each value once")
    if len(categories) > _MOST_CATEGORIES:
        return _Proposal(None, f"{len(categories)} categories, more than {_MOST_CATEGORIES}")
    return _Proposal({"type": "categorical", "categories": categories})


def _warn_if_left_out(proposals: dict[str, _Proposal]) -> None:
    reasons = [f"{name!r} ({found.reason})" for name, found in proposals.items() if found.spec is None]
    if reasons:
        warn(f"df: leaves out {', '.join(reasons)}")
