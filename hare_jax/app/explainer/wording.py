"""Changes in words, and numbers with as many decimals as the training rows have."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.app.explainer.cells import Decimals, most_decimals, noise_of
from hare_jax.data import missing
from hare_jax.data.schema import Feature


def number(feature: Feature, digits: int, value: float, other: float | None = None) -> str:
    """A number of a feature, with thousands separators, and as many decimals as `value` and an `other` number need.

    >>> income = Feature("income", "continuous", True, 0, "$", "income", low=0.0, high=1e5)
    >>> number(income, 0, 52000.0), number(income, 1, -0.0), number(income, 1, 2.0, 0.5)
    ('52,000', '0', '2.0')
    """
    shown = value if other is None else other
    needed = max(_decimals(feature, digits, one) for one in (value, shown))
    return f"{round(value, needed) + 0.0:,.{needed}f}"  # no -0


def _decimals(feature: Feature, digits: int, value: float) -> int:
    """More decimals than usual if a number has them, none if it is whole."""
    if abs(round(value, digits) - value) > noise_of(feature):
        digits = max(digits, most_decimals(feature))
    return 0 if float(round(value, digits)).is_integer() else digits


def text(feature: Feature, digits: Decimals, value: Any) -> str:
    """A value of a feature; a number without its unit."""
    if pd.isna(value):
        return missing.LEVEL
    if feature.type == "categorical":
        return str(next((category for category in feature.categories if category == value), value))  # 1, not 1.0
    return number(feature, digits[feature.name], float(value))


def sentence(feature: Feature, digits: Decimals, before: Any, after: Any, follows: bool) -> str:
    """One change.

    >>> income = Feature("income", "continuous", True, 0, "$", "income", low=0.0, high=1e5)
    >>> sentence(income, {"income": 0}, 48000, 52000, False)
    'raise income from 48,000 to 52,000 $'
    """
    shown, unit = text(feature, digits, after), f" {feature.unit}" if feature.unit else ""
    if follows:
        return f"so that {feature.label} becomes {shown}{unit}"
    if pd.isna(before) and feature.missing == missing.FILL:
        return _of_missing(feature, digits, after)
    if feature.type == "categorical" or pd.isna(before):
        return f"change {feature.label} from {text(feature, digits, before)} to {shown}{unit}"
    verb = "raise" if after > before else "lower"
    start, end = float(before), float(after)
    num = digits[feature.name]
    return f"{verb} {feature.label} from {number(feature, num, start, end)} to {number(feature, num, end, start)}{unit}"


def _of_missing(feature: Feature, digits: Decimals, after: Any) -> str:
    """The change of a value that is missing, and that the search takes as the fill value.

    >>> income = Feature("income", "continuous", True, 0, "$", "income", "fill", 54.4, low=0.0, high=100.0)
    >>> _of_missing(income, {"income": 1}, 80.0), _of_missing(income, {"income": 1}, 54.4)
    ('income was missing (taken as 54.4): raise to 80 $', 'income was missing: it must be 54.4 $')
    """
    taken, shown = (text(feature, digits, value) for value in (feature.fill, after))
    unit = f" {feature.unit}" if feature.unit else ""
    if taken == shown:
        return f"{feature.label} was missing: it must be {shown}{unit}"
    verb = "change" if feature.type == "categorical" else "raise" if after > feature.fill else "lower"
    return f"{feature.label} was missing (taken as {taken}): {verb} to {shown}{unit}"


def sentences(
    features: Mapping[str, Feature], digits: Decimals, rows: np.ndarray, changes: pd.DataFrame, otherwise: np.ndarray
) -> np.ndarray:
    """The changes of each of n rows in one text; `otherwise` (n,) for a row without changes."""
    parts: list[list[str]] = [[] for _ in otherwise]
    wanted = (changes[name].tolist() for name in ("feature", "before", "after", "consequence"))
    for row, name, *cell in sorted(zip(rows.tolist(), *wanted, strict=True), key=lambda item: (item[0], item[-1])):
        parts[row].append(sentence(features[name], digits, *cell))
    return np.array(["; ".join(some) or text for some, text in zip(parts, otherwise, strict=True)], object)
