"""Missing values: their rows are dropped, or they are filled, or they are a category of their own.

The way is "drop", "fill" or "category", the schema's `missing`; "" is none, and a missing value an error. Only
`from_frame` drops rows. A fill value is fixed by the training rows: the median, or the most frequent category. The
category is the last one, "missing"; it is closed to all rows that are not in it, has no place in an order of the
categories, and decodes to NaN.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data.checks import warn
from hare_jax.data.schema import Feature
from hare_jax.space import ActionSpace

DROP, FILL, CATEGORY = "drop", "fill", "category"
LEVEL = "missing"  # the name of the category

_NUM_SHOWN = 5  # row labels in a message
_MEDIAN = 0.5


def ways(schema: Mapping[str, Any], names: Sequence[str], frames: Iterable[pd.DataFrame]) -> dict[str, str]:
    """The way of the target and of the features, `names` in this order, with the schema's default where it applies.

    The default "category" applies to the categorical features with a missing value in one of the `frames`, and the
    default of the target is "drop" or none.

    Raises:
        ValueError: numbers are to have a category of missing values.
    """
    default = schema.get("missing", "")
    found = {names[0]: default if default == DROP else ""}
    for name in names[1:]:
        spec = schema["features"][name]
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
    target = next(iter(by_name))
    for name, way in by_name.items():
        own = 'drop their rows, or set missing = "drop" in the schema'
        others = 'set missing = "drop", "fill" or, of a categorical feature, "category" in the schema'
        check_complete(df[[] if way else [name]], own if name == target else others)
    absent = df[[name for name, way in by_name.items() if way == DROP]].isna()
    dropped = absent.any(axis=1).to_numpy(bool)
    require(not dropped.all(), argument, "must have a row without missing values", f"{len(df)} rows")
    if dropped.any():
        counts = ", ".join(f"{name!r} ({num})" for name, num in absent.sum().items() if num)
        warn(f"{argument}: {dropped.sum()} of {len(df)} rows have missing values and are dropped: {counts}")
    return df[~dropped]


def check_complete(df: pd.DataFrame, advice: str) -> None:
    """Check that no value of `df` is missing; the message names the rows, and gives the `advice`."""
    for name in df.columns:
        absent = df[name].isna().to_numpy(bool)
        shown, num = df.index[absent][:_NUM_SHOWN].tolist(), int(absent.sum())
        found = f"{num} missing, in rows {', '.join(map(str, shown))}{', ...' if num > len(shown) else ''}"
        require(num == 0, f"column {name!r}", f"must have no missing values: {advice}", found)


def replacements(rows: pd.DataFrame, schema: Mapping[str, Any], by_name: Mapping[str, str]) -> dict[str, Any]:
    """What replaces the missing values of each feature that keeps their rows: of the training `rows`, or "missing".

    Raises:
        ValueError: the training rows have no value, or "missing" is one of their categories.
    """
    found: dict[str, Any] = {}
    for name, way in by_name.items():
        argument, known = f"column {name!r}", rows[name].dropna()
        if way == CATEGORY:
            taken = bool((known.astype(object) == LEVEL).any())
            require(not taken, argument, f"must have no category {LEVEL!r} beside missing values", LEVEL)
            found[name] = LEVEL
        elif way == FILL:
            rule = "must have a value in the training rows, to fill the missing ones"
            require(len(known) > 0, argument, rule, "none")
            found[name] = _fill_value(known, schema["features"][name]["type"])
    return found


def _fill_value(known: pd.Series, kind: str) -> Any:
    """The most frequent category, or the median; of an ordered feature the lower one, which is a value of the rows."""
    if kind == "categorical":
        return known.mode().tolist()[0]
    if not pd.api.types.is_numeric_dtype(known) or pd.api.types.is_complex_dtype(known):
        return None  # an error of the column, which names its type
    method = "inverted_cdf" if kind == "ordered" else "linear"
    return float(np.quantile(known.to_numpy(float), _MEDIAN, method=method))  # type: ignore[call-overload]


def replace(df: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """A copy of `df` with the missing values of each column in `values` replaced."""
    return df.assign(**{name: _replaced(df[name], value) for name, value in values.items() if df[name].isna().any()})


def _replaced(column: pd.Series, value: Any) -> pd.Series:
    """A `column` (n,) with `value` for its missing values; as a new category it is the last one."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories
        return (column if value in levels else column.cat.add_categories(value)).fillna(value)
    if pd.api.types.is_float_dtype(column) and isinstance(value, float):
        return column.fillna(value)
    return column.astype(object).where(column.notna(), value).infer_objects()


def record(features: Iterable[Feature], by_name: Mapping[str, str], values: Mapping[str, Any]) -> tuple[Feature, ...]:
    """Fitted `features` with the way and the replacement of their missing values, and "missing" as last category."""
    return tuple(_record(one, by_name.get(one.name, ""), values.get(one.name)) for one in features)


def _record(feature: Feature, way: str, value: Any) -> Feature:
    feature = feature._replace(missing=way, fill=value)
    if way != CATEGORY:
        return feature
    return feature._replace(categories=(*(one for one in feature.categories if one != LEVEL), LEVEL))


def complete(features: Sequence[Feature], df: pd.DataFrame) -> pd.DataFrame:
    """`df` with the missing values of the `features` replaced as in the training rows.

    Raises:
        ValueError: a value is missing, and the way is "drop" or none.
    """
    features = [feature for feature in features if feature.type != "derived"]  # computed where missing
    values = {feature.name: feature.fill for feature in features if feature.missing in (FILL, CATEGORY)}
    dropped = [feature.name for feature in features if feature.missing == DROP and feature.name in df]
    strict = [feature.name for feature in features if not feature.missing and feature.name in df]
    advice = 'set missing = "fill" or, of a categorical feature, "category" in the schema'
    check_complete(df[dropped], f"rows are dropped by from_frame only, {advice}")
    check_complete(df[strict], advice)
    return replace(df, values)


def close(space: ActionSpace, features: Sequence[Feature]) -> ActionSpace:
    """`space` without moves to the category of missing values, the last column of a feature that has it."""
    closed = [
        feature.missing == CATEGORY and column == feature.columns[-1]
        for feature in features
        for column in feature.columns
    ]
    return space._replace(upper=jnp.where(np.array(closed), 0, space.upper))


def categories(feature: Feature) -> list[Any]:
    """The categories in original units: NaN for the one of missing values."""
    return [*feature.categories[:-1], np.nan] if feature.missing == CATEGORY else list(feature.categories)
