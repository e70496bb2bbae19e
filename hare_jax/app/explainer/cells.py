"""Encoded recourses written into rows in original units: only the cells of changed features differ from the rows given.

Continuous numbers are rounded to the decimals of the training rows, away from the present value, so that the rounded
point lies beyond the decision boundary, not before it.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.data import Table
from hare_jax.data.schema import Feature

_LEAST_CHANGE = 1e-6  # encoded: below it a difference is rounding, as in `space.allows`
_NOISE = 1e-6  # of the span of a feature: what encoding in float32 may change
_DIGITS = 5  # shown of a number, relative to the span of its feature, at most

Decimals = dict[str, int]


def decimals(table: Table) -> Decimals:
    """The decimals of each numeric feature: as many as the training rows have, at most five digits of its span."""
    frame = table.decode(table.x_train)
    numbers = [feature for feature in table.features if feature.type != "categorical"]
    return {feature.name: _decimals_of(feature, frame[feature.name].to_numpy(float)) for feature in numbers}


def _decimals_of(feature: Feature, values: np.ndarray) -> int:
    most = most_decimals(feature)
    exact = (num for num in range(most) if np.abs(values.round(num) - values).max() <= noise_of(feature))
    return next(exact, most)


def most_decimals(feature: Feature) -> int:
    """The most decimals of a number that are shown."""
    return max(0, _DIGITS - math.ceil(math.log10(feature.high - feature.low)))


def rounded(table: Table, given: pd.DataFrame, x: np.ndarray, x_cf: np.ndarray, digits: Decimals) -> np.ndarray:
    """The points (n, d) near `x_cf` (n, d) at which each changed continuous number has its decimals."""
    after, point = table.decode(x_cf), x_cf.astype(float)
    for feature, columns in blocks(table.features):
        if feature.type == "continuous":
            changed, before = moved(x, x_cf)[:, columns.start], given[feature.name].to_numpy(float)
            values = outward(feature, digits[feature.name], before, after[feature.name].to_numpy(float))
            encoded = (values - feature.low) / (feature.high - feature.low)
            point[:, columns.start] = np.where(changed, encoded, point[:, columns.start])
    return point.astype(x_cf.dtype)


def write(table: Table, given: pd.DataFrame, x: np.ndarray, x_cf: np.ndarray, digits: Decimals) -> pd.DataFrame:
    """The rows `given`, whose encoding is `x` (n, d), with the cells of the features that `x_cf` (n, d) changes."""
    after, frame = table.decode(x_cf), given.copy()
    for feature, columns in blocks(table.features):
        changed = np.asarray(moved(x, x_cf)[:, columns].any(axis=1))
        if not changed.any():
            continue
        values = after[feature.name].array
        if feature.type == "continuous":
            values = tidy(feature, digits[feature.name], np.asarray(values, float))
        frame[feature.name] = put(given[feature.name], changed, pd.Series(values, index=given.index))
    return frame


def moved(x: np.ndarray, x_cf: np.ndarray) -> np.ndarray:
    """Which columns (n, d) change by more than rounding."""
    return np.abs(x_cf - x) > _LEAST_CHANGE * (1 + np.abs(x))


def blocks(features: tuple[Feature, ...]) -> Iterator[tuple[Feature, slice]]:
    """Each feature with its encoded columns."""
    start = 0
    for feature in features:
        end = start + len(feature.columns)
        yield feature, slice(start, end)
        start = end


def outward(feature: Feature, num: int, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`after` (n,) rounded to `num` decimals, away from `before` (n,), within the feature's range.

    >>> income = Feature("income", "continuous", True, 0, "", "income", low=0.0, high=100.0, range=(0.0, 90.0))
    >>> outward(income, 0, np.array([20.0, 20.0, 20.0]), np.array([31.2, 11.7, 89.9])).tolist()
    [32.0, 11.0, 90.0]
    """
    factor = 10.0**num
    noise, scaled = min(1 / 2, noise_of(feature) * factor), after * factor
    rounded = np.where(after > before, np.ceil(scaled - noise), np.floor(scaled + noise)) / factor
    lower, upper = feature.range
    return np.clip(rounded, np.minimum(lower, before), np.maximum(upper, before))


def tidy(feature: Feature, num: int, values: np.ndarray) -> np.ndarray:
    """`values` (n,) rounded to `num` decimals where that changes no more than encoding does."""
    near = values.round(num) + 0.0  # no -0
    return np.where(np.abs(near - values) <= noise_of(feature), near, values)


def noise_of(feature: Feature) -> float:
    """What encoding in float32 may change of a number."""
    return _NOISE * (feature.high - feature.low)


def one_row(frame: pd.DataFrame, index: int) -> pd.Series:
    """A row by its position, each value in the type of its own column."""
    return frame.astype(object).iloc[index]


def put(column: pd.Series, changed: np.ndarray, values: pd.Series) -> pd.Series:
    """`column` with the `values` where it is `changed` (n,), in its own dtype wherever that can hold them."""
    new = values[changed].infer_objects()
    if isinstance(column.dtype, pd.CategoricalDtype):
        more = pd.Index(new.unique()).difference(column.cat.categories)
        column = column.cat.add_categories(more) if len(more) else column
    elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numeric = pd.api.types.is_numeric_dtype(new)
        column = column.astype(_holding(column, new.to_numpy()) if numeric else object)
    else:
        return _put_objects(column, changed, values)
    filled = column.copy()
    filled[changed] = new.to_numpy()
    return filled


def _holding(column: pd.Series, new: np.ndarray) -> Any:
    """The dtype of a column of numbers, or if that can't hold the `new` ones (m,) a larger one."""
    if _holds(column.dtype, new):
        return column.dtype
    whole, real = ("int64", "float64") if isinstance(column.dtype, np.dtype) else ("Int64", "Float64")
    both = np.concatenate([column.dropna().to_numpy(), new])
    larger = pd.api.types.pandas_dtype(whole)
    return larger if column.dtype.kind in "iu" and _holds(larger, both) else pd.api.types.pandas_dtype(real)


def _holds(dtype: Any, numbers: np.ndarray) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array_equal(numbers.astype(getattr(dtype, "numpy_dtype", dtype)), numbers)


def _put_objects(column: pd.Series, changed: np.ndarray, values: pd.Series) -> pd.Series:
    """Text and other objects: through objects, back in the dtype of the column."""
    filled = column.astype(object)
    filled[changed] = values[changed].to_numpy(object)
    return filled.astype(column.dtype)
