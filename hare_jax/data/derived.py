"""Derived columns of a DataFrame: computed by their formulas, and compared with those that it holds."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data.schema import Feature
from hare_jax.formula import Expression, columns, complete, evaluate, in_causal_order

_TOLERANCE = 1e-2  # of the span of a column: a difference between a given and a computed value that is rounding
_COARSEST = 1 / 4  # of the span of a column: the coarsest rounding that is recognised
_MOST_DECIMALS = 6  # of a column that is rounded


def with_derived(
    df: pd.DataFrame, formulas: Mapping[str, Expression], derived: Collection[str], values: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """`df` with the columns `derived` as their formulas give them; `values` (n,) are its other numeric columns.

    Raises:
        ValueError: a formula, also one of a feature that is not derived, is not finite in a row.
    """
    for name in derived:
        columns_of_name = list(df.columns).count(name)
        require(columns_of_name <= 1, f"column {name!r}", "must be in the rows once at most", columns_of_name)
    known = dict(values)
    for name, formula in in_causal_order(formulas).items():
        with np.errstate(all="ignore"):
            computed = np.broadcast_to(evaluate(formula, known), len(df))
        _check_finite(name, formula, computed, known, df.index)
        if name in derived:
            known[name] = computed
    return df.assign(**{name: known[name] for name in derived})


def check_derived(feature: Feature, given: np.ndarray, computed: np.ndarray, index: pd.Index) -> None:
    """Check that `given` values (n,) of a derived feature are the `computed` ones (n,), up to rounding."""
    off = np.abs(given - computed) > feature.tolerance
    if off.any():
        row = int(off.argmax())
        rule = f"must be {computed[row]:g} by its formula, up to {feature.tolerance:.3g}, in row {index[row]!r}"
        require(False, f"column {feature.name!r}", rule, float(given[row]))


def tolerance(feature: Feature, given: np.ndarray) -> float:
    """Largest difference to the formula that is rounding in the training rows' values (n,); (0,) if there are none."""
    span = feature.high - feature.low
    decimals = range(_MOST_DECIMALS + 1)
    units = [10.0**-num for num in decimals if len(given) and np.allclose(given, given.round(num), rtol=0, atol=1e-9)]
    return max(_TOLERANCE * span, min(max(units, default=0.0), _COARSEST * span))


def decode_derived(features: Sequence[Feature], decoded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values (n,) of the derived features from `decoded` columns (n,); unchanged where a formula is not finite."""
    formulas = {f.name: f.formula for f in features if f.type == "derived" and f.formula is not None}
    completed = complete(formulas, {f.name: np.asarray(decoded[f.name], float) for f in features if not f.categories})
    return {name: completed[name] for name in formulas}


def _check_finite(
    name: str, formula: Expression, computed: np.ndarray, values: Mapping[str, np.ndarray], index: pd.Index
) -> None:
    bad = ~np.isfinite(computed)
    if bad.any():
        row = int(bad.argmax())
        causes = ", ".join(f"{cause} = {values[cause][row]:g}" for cause in columns(formula))
        rule = f"must be finite by its formula; in row {index[row]!r} {causes}"
        require(False, f"column {name!r}", rule, float(computed[row]))
