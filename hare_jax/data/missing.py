"""Missing values: their rows are dropped, or they are filled, or they are a category of their own.

The way is "drop", "fill" or "category", the schema's `missing`; "" is none, and a missing value an error. Only
`from_frame` drops rows. A fill value is fixed by the training rows: the median, or the most frequent category. The
category is the last one, "missing"; it is closed to all rows that are not in it, and decodes to NaN.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data.checks import warn
from hare_jax.data.schema import MISSING_LEVEL, Feature

DROP, FILL, CATEGORY = "drop", "fill", "category"

_NUM_SHOWN = 5  # row labels in a message
_MEDIAN = 0.5


def ways(schema: Mapping[str, Any], frames: Iterable[pd.DataFrame]) -> dict[str, str]:
    """The way of the target and of each feature, by name, with the schema's default where a feature has no own one.

    The default "category" applies to the categorical features with a missing value in one of the `frames`, and the
    default of the target is "drop" or none.

    Raises:
        ValueError: numbers are to have a category of missing values.
    """
    default = schema.get("missing", "")
    found = {schema["target"]: default if default == DROP else ""}
    for name, spec in schema["features"].items():
        way, categorical = spec.get("missing", ""), spec["type"] == "categorical"
        argument = f"schema features.{name}.missing"
        require(categorical or way != CATEGORY, argument, "must be drop or fill for numbers", way)
        applies = default != CATEGORY or (categorical and any(frame[name].isna().any() for frame in frames))
        found[name] = way or (default if applies else "")
    return found


def drop(df: pd.DataFrame, by_name: Mapping[str, str], argument: str) -> pd.DataFrame:
    """The rows of `df` without a missing value where the way, by name of the column, is "drop".

    Raises:
        ValueError: there is no such row, or a column without a way has a missing value.

    Warns:
        UserWarning: rows are dropped.
    """
    for name, way in by_name.items():
        if not way:
            _check_complete(df[name], _advice(name, by_name))
    absent = df[[name for name, way in by_name.items() if way == DROP]].isna()
    dropped = absent.any(axis=1).to_numpy(bool)
    require(not dropped.all(), argument, "must have a row without missing values", f"{len(df)} rows")
    if dropped.any():
        counts = ", ".join(f"{name!r} ({num})" for name, num in absent.sum().items() if num)
        warn(f"{argument}: {dropped.sum()} of {len(df)} rows have missing values and are dropped: {counts}")
    return df[~dropped]


def _advice(name: str, by_name: Mapping[str, str]) -> str:
    """What to do about a missing value of the column `name`, of which the target is the first."""
    if name == next(iter(by_name)):
        return 'drop their rows, or set missing = "drop" in the schema'
    return 'set missing = "drop", "fill" or, of a categorical feature, "category" in the schema'


def _check_complete(column: pd.Series, advice: str) -> None:
    absent = column.isna().to_numpy(bool)
    shown, num = column.index[absent][:_NUM_SHOWN].tolist(), int(absent.sum())
    more = ", ..." if num > len(shown) else ""
    found = f"{num} missing, in rows {', '.join(map(str, shown))}{more}"
    require(num == 0, f"column {column.name!r}", f"must have no missing values: {advice}", found)


def known(column: pd.Series, way: str) -> pd.Series:
    """The values of a `column` (n,) that its feature is fitted to: those that are not missing, or a level for these."""
    return _with_level(column) if way == CATEGORY else column.dropna()


def fit(feature: Feature, rows: pd.Series, way: str) -> Feature:
    """A `feature` fitted to known values, with its way, and with what replaces missing values by the training `rows`.

    Raises:
        ValueError: a feature with a category of missing values has a direction, or that category has another use.
    """
    feature = feature._replace(missing=way)
    if way == CATEGORY:
        argument = f"schema features.{feature.name}"
        require(feature.direction == 0, f"{argument}.direction", 'must be free with missing = "category"', "up or down")
        taken = bool((rows.astype(object) == MISSING_LEVEL).any())
        require(not taken, f"column {feature.name!r}", 'must have no value "missing" of its own', MISSING_LEVEL)
        others = (category for category in feature.categories if category != MISSING_LEVEL)
        return feature._replace(categories=(*others, MISSING_LEVEL))
    return feature._replace(fill=_fill_value(feature, rows.dropna())) if way == FILL else feature


def _fill_value(feature: Feature, rows: pd.Series) -> Any:
    """The most frequent category, or the median; of an ordered feature the lower one, which is a value of the rows."""
    rule = "must have a value in the training rows, to fill missing ones"
    require(len(rows) > 0, f"column {feature.name!r}", rule, "none")
    if feature.categories:
        return rows.mode().tolist()[0]
    method = "linear" if feature.type == "continuous" else "inverted_cdf"
    return float(np.quantile(rows.to_numpy(float), _MEDIAN, method=method))  # type: ignore[call-overload]


def complete(feature: Feature, column: pd.Series) -> pd.Series:
    """A `column` (n,) of `feature` with each missing value replaced.

    Raises:
        ValueError: a value is missing, and the way is "drop" or none.
    """
    absent = column.isna()
    if not absent.any():
        return column
    if feature.missing == CATEGORY:
        return _with_level(column)
    if feature.missing != FILL:
        dropped = 'only the rows of from_frame are dropped, set missing = "fill" or "category" in the schema'
        _check_complete(column, dropped if feature.missing else 'set missing = "fill" or "category" in the schema')
    if not feature.categories and pd.api.types.is_numeric_dtype(column):
        return pd.Series(column.to_numpy(float, na_value=np.nan), name=column.name).fillna(feature.fill)
    filled = column.astype(object).where(~absent, feature.fill)
    return filled.astype(float) if not feature.categories and absent.all() else filled


def _with_level(column: pd.Series) -> pd.Series:
    """A `column` (n,) with the level "missing", the last one of an ordered dtype, for its missing values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories
        return (column if MISSING_LEVEL in levels else column.cat.add_categories(MISSING_LEVEL)).fillna(MISSING_LEVEL)
    return column.astype(object).where(column.notna(), MISSING_LEVEL)


def decoded(feature: Feature) -> list[Any]:
    """The categories in original units: NaN for the level "missing"."""
    closed = feature.missing == CATEGORY
    return [*feature.categories[:-1], np.nan] if closed else list(feature.categories)
