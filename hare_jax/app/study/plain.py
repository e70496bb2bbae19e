"""Questions and options as plain values that JSON can hold, and back."""

import math
from typing import Any

import pandas as pd

from hare_jax.app.explainer.changes import differs
from hare_jax.app.session import Asked, Change, Difference, Option
from hare_jax.app.session.saving import scalar


def row(series: pd.Series, names: list[str]) -> dict[str, Any]:
    """The values of a row by name of feature; those that it lacks are left out."""
    return {name: scalar(series[name]) for name in names if name in series}


def option(given: Option, names: list[str]) -> dict[str, Any]:
    """An option, with the features of its row that are in `names`."""
    changes = [{key: scalar(value) for key, value in change._asdict().items()} for change in given.changes]
    return {"label": given.label, "sentence": given.sentence, "changes": changes, "row": row(given.row, names)}


def asked(given: Asked, names: list[str]) -> dict[str, Any]:
    """A question."""
    different = [
        {
            "feature": one.feature,
            "label": one.label,
            "unit": one.unit,
            "values": [scalar(value) for value in one.values],  # noqa: PD011
        }
        for one in given.differences
    ]
    options = [option(one, names) for one in given.options]
    return {"number": given.number, "of": given.of, "options": options, "differences": different}


def _missing(value: Any) -> Any:
    return math.nan if value is None else value


def to_option(found: dict[str, Any]) -> Option:
    """The option of plain values."""
    changes = tuple(Change(**{key: _missing(value) for key, value in change.items()}) for change in found["changes"])
    values = {name: _missing(value) for name, value in found["row"].items()}
    return Option(found["label"], pd.Series(values, dtype=object), changes, found["sentence"])


def to_asked(found: dict[str, Any], *, swapped: bool, number: int, of: int) -> Asked:
    """The question of plain values, under another number; with its options on the other side if `swapped`."""
    turn = -1 if swapped else 1
    options = tuple(map(to_option, found["options"]))
    options = tuple(one._replace(label=place.label) for one, place in zip(options[::turn], options, strict=True))
    different = tuple(
        Difference(**one | {"values": tuple(map(_missing, one["values"]))[::turn]}) for one in found["differences"]
    )
    return Asked(number, of, options, different)


def same(one: Option, other: Option) -> bool:
    """Whether two options are equal in original units."""
    names = [name for name in one.row.index if name in other.row.index]
    values = (pd.Series([given.row[name] for name in names], dtype=object) for given in (one, other))
    return not bool(differs(*values).any())
