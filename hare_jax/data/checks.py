"""Checks of a DataFrame, and of the numbers of a schema against the rows: are they in the same units?"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data.schema import Feature
from hare_jax.space import GRID_TOLERANCE

MAX_STEPS = 10_000  # float32 resolves a step of 1/10,000 to a thousandth of a step, the grid tolerance of `space`
_FAR = 10.0  # times its training range: a number so far away is probably in other units
_RATIO = 1000.0  # of the widths of `range` and of the training rows, above which their units probably differ


def check_frame(df: pd.DataFrame, columns: list[str], argument: str) -> None:
    """Check that `df` has rows, and each of `columns` once."""
    require(isinstance(df, pd.DataFrame), argument, "must be a pandas DataFrame", type(df).__name__)
    require(len(df) > 0, argument, "must have at least one row", f"{len(df)} rows")
    found = list(df.columns)
    for column in columns:
        require(found.count(column) == 1, f"column {column!r}", f"must be in {argument} once", found)


def check_numbers(column: pd.Series) -> np.ndarray:
    """The values (n,) of `column`, checked to be finite numbers."""
    argument, types = f"column {column.name!r}", pd.api.types
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
        require(
            False, argument, "must hold numbers: convert dates, for example to years before today", str(column.dtype)
        )
    numeric = types.is_numeric_dtype(column) and not types.is_complex_dtype(column)
    require(numeric, argument, 'must hold numbers, or be of type "categorical"', column.dtype)
    values = column.to_numpy(float)
    require(bool(np.isfinite(values).all()), argument, "must be finite", values[~np.isfinite(values)][:3])
    return values


def check_range(argument: str, allowed: tuple[float, float], low: float, high: float) -> None:
    """Check that a range and the training rows, from `low` to `high`, are probably in the same units."""
    lower, upper = allowed
    rows = f"the training rows, from {low:g} to {high:g}"
    require(lower <= high and upper >= low, argument, f"must overlap {rows}", list(allowed))
    if not 1 / _RATIO <= (upper - lower) / (high - low) <= _RATIO:
        warn(f"{argument}: should be in the units of {rows}; got {list(allowed)}")


def check_step(argument: str, step: float, feature: Feature, values: np.ndarray) -> None:
    """Check that a step is neither too small nor too large, and divides the differences of the values (n,)."""
    low, high, (lower, upper) = feature.low, feature.high, feature.range
    rule = (
        f"must give at most {MAX_STEPS} steps from {low:g} to {high:g}: enlarge it, or declare the feature continuous"
    )
    require((high - low) / step <= MAX_STEPS, argument, rule, step)
    widest = max(upper, high) - min(lower, low)
    require(step <= widest, argument, f"must be at most {widest:g}, the width of the range", step)
    off = 1 - _share_on_grid(values / step)
    if off > 1 / 2:
        warn(f"{argument}: should divide the differences of the training rows; got {step:g}, which {off:.0%} miss")


def _share_on_grid(steps: np.ndarray) -> float:
    """The share of `steps` (n,) with the most frequent fractional part."""
    parts = np.rint(steps % 1 / GRID_TOLERANCE) % (1 / GRID_TOLERANCE)
    return float(np.unique(parts, return_counts=True)[1].max() / len(steps))


def warn_if_far(features: Sequence[Feature], rows: np.ndarray, argument: str, units: str) -> None:
    """Warn of encoded numbers (n, d) far outside of the training rows, [0, 1], and of the allowed range."""
    numbers = [feature for feature in features if feature.type != "categorical"]  # the first columns
    if not numbers or not len(rows):
        return
    low, high, lower, upper = np.array([(f.low, f.high, *f.range) for f in numbers]).T
    least = np.minimum(0, (lower - low) / (high - low)) - _FAR
    most = np.maximum(1, (upper - low) / (high - low)) + _FAR
    block = rows[:, : len(numbers)]
    outside = (block.min(axis=0) < least) | (block.max(axis=0) > most)
    if outside.any():
        worst = int(np.argmax(outside))
        found = block[np.abs(block[:, worst]).argmax(), worst]
        column = numbers[worst].name
        warn(f"{argument}: column {column!r} should be in {units}; got {found:.3g} times its training range")


def warn(message: str) -> None:
    """Warn at the line that calls the public function of which the caller is a check."""
    warnings.warn(message, UserWarning, stacklevel=4)
