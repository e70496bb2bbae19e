"""Fields of forms for the features of a table, and the values that come back in them.

The name of a field is its position, `x0`, `x1`, ..., and the value of a category is its position, so that no text of a
table is a name. Values are checked here, with a text for a person; an empty field is a missing value.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.app.explainer import Explainer, wording
from hare_jax.app.explainer.cells import blocks
from hare_jax.app.session.parsing import number
from hare_jax.data import missing
from hare_jax.data.schema import Feature
from hare_jax.space import is_follower


class Field(NamedTuple):
    """An input for a feature."""

    name: str
    feature: str
    label: str
    unit: str
    numeric: bool
    low: str  # bounds of a number; "" of a category
    high: str
    step: str
    choices: tuple[str, ...]  # of a category
    needed: bool
    mutable: bool
    value: str  # as it is in the input
    shown: str  # in words
    error: str = ""

    @property
    def hint(self) -> str:
        """The unit and the bounds of a number."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.low} to {self.high}{unit}" if self.numeric else ""


class FormError(Exception):
    """Values that can't be taken: a text for each field, by its name."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = errors


def fields_of(explainer: Explainer, row: Mapping[str, Any] | None = None) -> tuple[Field, ...]:
    """The fields of the features that are not computed from others, with the values of a `row` or empty."""
    table, followers, found = explainer.table, is_follower(explainer.table.space), []
    start = {feature.name: columns.start for feature, columns in blocks(table.features)}
    for position, name in enumerate(table.schema["features"]):
        feature = explainer.features[name]
        if feature.type != "derived":
            own = feature.mutable and not bool(followers[start[name]])
            found.append(_field(explainer, feature, f"x{position}", own, None if row is None else row[name]))
    return tuple(found)


def _field(explainer: Explainer, feature: Feature, name: str, mutable: bool, value: Any) -> Field:
    numeric = feature.type != "categorical"
    low, high = _bounds(feature) if numeric else (0.0, 0.0)
    return Field(
        name=name,
        feature=feature.name,
        label=feature.label,
        unit=feature.unit,
        numeric=numeric,
        low=_plain(low) if numeric else "",
        high=_plain(high) if numeric else "",
        step=("1" if feature.whole else "any") if numeric else "",
        choices=tuple(map(str, feature.categories)),
        needed=feature.missing not in (missing.FILL, missing.CATEGORY),
        mutable=mutable,
        value=_input(feature, value),
        shown="" if value is None else wording.text(feature, explainer.digits, value),
    )


def _bounds(feature: Feature) -> tuple[float, float]:
    """The bounds of what a person may enter: the values of the training rows, and those that are allowed."""
    lower, upper = feature.range
    return min(lower, feature.low), max(upper, feature.high)


def _plain(number: float) -> str:
    """A number as an input takes it."""
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def _input(feature: Feature, value: Any) -> str:
    """A value as the input of its feature has it."""
    if value is None or (feature.missing != missing.CATEGORY and pd.isna(value)):
        return ""
    if feature.type == "categorical":
        text = missing.LEVEL if pd.isna(value) else str(value)
        shown = list(map(str, feature.categories))
        return str(shown.index(text)) if text in shown else ""
    return _plain(float(value))


def row_in(explainer: Explainer, form: Mapping[str, str]) -> dict[str, Any]:
    """The row in a form, by feature.

    Raises:
        FormError: a value is missing or can't be taken.
    """
    return _values(explainer, fields_of(explainer), form)


def changes_in(explainer: Explainer, row: Mapping[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """What a form changes of a `row`, by feature.

    Raises:
        FormError: a value can't be taken, or nothing is changed.
    """
    fields = [one for one in fields_of(explainer, row) if one.mutable]
    moved = [one for one in fields if form.get(one.name, one.value).strip() not in (one.value, "")]
    changes = _values(explainer, moved, form)
    if not changes:
        raise FormError({"": "Change at least one value."})
    return changes


def _values(explainer: Explainer, fields: Sequence[Field], form: Mapping[str, str]) -> dict[str, Any]:
    found, errors = {}, {}
    for one in fields:
        try:
            found[one.feature] = _value(explainer.features[one.feature], one, form.get(one.name, "").strip())
        except ValueError as error:
            errors[one.name] = f"{one.label}: {error}"
    if errors:
        raise FormError(errors)
    return found


def _value(feature: Feature, one: Field, text: str) -> Any:
    if not text:
        if one.needed:
            raise ValueError("a value is needed")
        return np.nan
    if one.numeric:
        low, high = _bounds(feature)
        value = number(text)
        if not low <= value <= high:
            raise ValueError(f"must be {one.hint}")
        if feature.whole and not value.is_integer():
            raise ValueError("must be a whole number")
        return int(value) if feature.whole else value
    if text not in map(str, range(len(one.choices))):
        raise ValueError("choose one from the list")
    category = feature.categories[int(text)]
    return np.nan if feature.missing == missing.CATEGORY and category == missing.LEVEL else category
