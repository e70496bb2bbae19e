"""Features fitted to the rows of a DataFrame: the scaling of numbers, the order of categories, formulas."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.base import require
from hare_jax.data.checks import check_numbers, check_range, check_step
from hare_jax.data.derived import tolerance, with_derived
from hare_jax.data.formulas import schema_formulas
from hare_jax.data.schema import DIRECTIONS, Feature


def fit(schema: dict[str, Any], source: pd.DataFrame) -> tuple[Feature, ...]:
    """The features of a schema, fitted to rows, in column order."""
    formulas, specs = schema_formulas(schema), schema["features"]
    derived = [name for name, spec in specs.items() if spec["type"] == "derived"]
    numeric = [name for name, spec in specs.items() if spec["type"] in ("continuous", "ordered")]
    full = with_derived(source, formulas, derived, numeric)
    fitted = {name: _fit_feature(name, spec, full[name]) for name, spec in specs.items()}
    for name in formulas:
        fitted[name] = fitted[name]._replace(formula=formulas[name])
    for name in derived:
        fitted[name] = fitted[name]._replace(tolerance=tolerance(fitted[name], source))
    return tuple(sorted(fitted.values(), key=lambda feature: feature.type == "categorical"))


def _fit_feature(name: str, spec: Mapping[str, Any], column: pd.Series) -> Feature:
    distinct = column.unique().tolist()
    require(len(distinct) > 1, f"column {name!r}", f"is constant: leave {name!r} out of the schema", distinct)
    given = spec.get("direction", "free")
    texts = {"unit": spec.get("unit", ""), "label": spec.get("label", name)}
    mutable, cost = spec.get("mutable", spec["type"] != "derived"), float(spec.get("cost", 1))
    feature = Feature(name, spec["type"], mutable, DIRECTIONS[str(given)], **texts, cost=cost)
    if feature.type != "categorical":
        return _fit_numbers(feature, spec, check_numbers(column))
    categories = tuple(spec.get("categories", _in_order(column, distinct)))
    ordered = feature.direction == 0 or len(categories) == 2 or "categories" in spec or _has_order(column)
    rule = "must be free for three or more categories without an order: list them under categories"
    require(ordered, f"schema features.{name}.direction", rule, given)
    return feature._replace(categories=categories)


def _in_order(column: pd.Series, distinct: list) -> list:
    """The `distinct` values of `column` in the order of its dtype, if that has one; otherwise sorted."""
    if _has_order(column):
        return [value for value in column.dtype.categories.tolist() if value in distinct]
    return sorted(distinct, key=lambda value: (type(value).__name__, value))


def _has_order(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) and bool(column.dtype.ordered)


def _fit_numbers(feature: Feature, spec: Mapping[str, Any], values: np.ndarray) -> Feature:
    low, high = float(values.min()), float(values.max())
    lower, upper = map(float, spec.get("range", (low, high)))
    check_range(f"schema features.{feature.name}.range", (lower, upper), low, high)
    feature = feature._replace(low=low, high=high, range=(lower, upper))
    if feature.type != "ordered":
        return feature
    step = float(spec.get("step", 1))
    check_step(f"schema features.{feature.name}.step", step, feature, values)
    return feature._replace(step=step, whole=step.is_integer() and bool((values % 1 == 0).all()))
