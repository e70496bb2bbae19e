"""Derived columns of a DataFrame: computed by their formulas, and compared with those that it holds."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data.checks import check_numbers
from hare_jax.data.schema import Feature
from hare_jax.formula import Expression, columns, complete, evaluate, in_causal_order

_TOLERANCE = 1e-2  # of the span of a column: a difference between a given and a computed value that is rounding
_COARSEST = 1 / 4  # of the span of a column: the coarsest rounding that is recognised
_MOST_DECIMALS = 6  # of a column that is rounded
_EXACT = 1e-9  # a difference that is none


def with_derived(
    df: pd.DataFrame, formulas: Mapping[str, Expression], derived: Collection[str], numeric: Collection[str]
) -> pd.DataFrame:
    """`df` with the columns `derived` as their formulas give them; its other numeric columns are `numeric`.

    Raises:
        ValueError: a formula, also one of a feature that is not derived, is not finite in a row; or a numeric column
            does not hold finite numbers.
    """
    for name in derived:
        count = list(df.columns).count(name)
        require(count <= 1, f"column {name!r}", "must be in the rows once at most", count)
    known = {name: check_numbers(df[name]) for name in numeric}
    for name, formula in in_causal_order(formulas).items():
        with np.errstate(all="ignore"):
            computed = np.broadcast_to(evaluate(formula, known), len(df))
        _check_finite(name, formula, computed, known, df.index)
        if name in derived:
            known[name] = computed
    return df.assign(**{name: known[name] for name in derived})


def derive(features: Sequence[Feature], df: pd.DataFrame) -> pd.DataFrame:
    """`df` with the columns of the derived `features` computed.

    Raises:
        ValueError: see `with_derived`; or a value that `df` holds differs from its formula by more than rounding.
    """
    formulas = {feature.name: feature.formula for feature in features if feature.formula is not None}
    if not formulas:
        return df
    derived = [feature for feature in features if feature.type == "derived"]
    numeric = [feature.name for feature in features if feature.type in ("continuous", "ordered")]
    full = with_derived(df, formulas, [feature.name for feature in derived], numeric)
    for feature in derived:
        if _holds(df, feature):
            _check_given(feature, df[feature.name], full[feature.name])
    return full


def tolerance(feature: Feature, df: pd.DataFrame) -> float:
    """Largest difference to the formula of a derived `feature` that is rounding in its column of the training rows."""
    span = feature.high - feature.low
    given = check_numbers(df[feature.name].dropna()) if _holds(df, feature) else np.zeros(0)
    decimals = [num for num in range(_MOST_DECIMALS + 1) if np.allclose(given, given.round(num), rtol=0, atol=_EXACT)]
    unit = 10.0 ** -decimals[0] if len(given) and decimals else 0.0
    return max(_TOLERANCE * span, min(unit, _COARSEST * span))


def decode_derived(features: Sequence[Feature], decoded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values (n,) of the derived features from `decoded` columns (n,); unchanged where a formula is not finite."""
    formulas = {f.name: f.formula for f in features if f.type == "derived" and f.formula is not None}
    completed = complete(formulas, {f.name: np.asarray(decoded[f.name], float) for f in features if not f.categories})
    return {name: completed[name] for name in formulas}


def _holds(df: pd.DataFrame, feature: Feature) -> bool:
    return feature.name in df and bool(df[feature.name].notna().any())


def _check_given(feature: Feature, given: pd.Series, computed: pd.Series) -> None:
    known = given.notna().to_numpy(bool)
    values, expected, index = check_numbers(given[known]), computed[known].to_numpy(), given.index[known]
    off = np.abs(values - expected) > feature.tolerance
    if off.any():
        row = int(off.argmax())
        rule = f"must be {expected[row]:g} by its formula, up to {feature.tolerance:.3g}, in row {index[row]!r}"
        require(False, f"column {feature.name!r}", rule, float(values[row]))


def _check_finite(
    name: str, formula: Expression, computed: np.ndarray, values: Mapping[str, np.ndarray], index: pd.Index
) -> None:
    bad = ~np.isfinite(computed)
    if bad.any():
        row = int(bad.argmax())
        causes = ", ".join(f"{cause} = {values[cause][row]:g}" for cause in columns(formula))
        rule = f"must be finite by its formula; in row {index[row]!r} {causes}"
        require(False, f"column {name!r}", rule, float(computed[row]))
