"""Encoded recourses as options in original units: what changes, in words, and in what options differ.

What is shown is accepted by the model itself in original units: numbers are rounded away from the present value, with
the decimals of the training rows or else with more of them, and a recourse that is refused so is shown as it is.
"""

import string
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.app.explainer import Explainer, wording
from hare_jax.app.explainer.cells import most_decimals, one_row
from hare_jax.app.explainer.changes import differs, long_form
from hare_jax.app.explainer.writing import Rows, Written, replaced, rows_at
from hare_jax.app.session.views import Change, Difference, Option

_NOTHING = "nothing changes"


class Person(NamedTuple):
    """One row, with what judges and words its changes."""

    explainer: Explainer
    row: pd.DataFrame  # one row, with derived columns
    x: np.ndarray  # (1, d)


def written(person: Person, points: np.ndarray) -> Written:
    """The row moved to encoded `points` (n, d); a logit below 0 says that the result can't be shown."""
    num, explainer = len(points), person.explainer
    frame = person.row.iloc[np.zeros(num, int)].reset_index(drop=True)
    rows = Rows(frame, np.repeat(person.x, num, axis=0), np.zeros((num, points.shape[1]), bool))
    found = rows_at(explainer.setting, rows, points, np.ones(num, bool))
    refused = np.flatnonzero(~(found.logit >= 0))
    if len(refused):
        finer = {name: most_decimals(explainer.features[name]) for name in explainer.digits}
        setting, some = explainer.setting._replace(digits=finer), points[refused]
        found = replaced(found, refused, rows_at(setting, rows.take(refused), some, np.ones(len(refused), bool)))
    return found


def options(person: Person, found: Written, labels: tuple[str, ...] | None = None) -> tuple[Option, ...]:
    """The options of the rows that were `written`, with the `labels` A, B, ... or others."""
    explainer, num = person.explainer, len(found.frame)
    before = person.row.iloc[np.zeros(num, int)].reset_index(drop=True)
    x = np.repeat(person.x, num, axis=0)
    rows, cells = long_form(explainer.table, before, found.frame, x, found.x)
    own = [_changes(explainer, cells[rows == index]) for index in range(num)]
    names = labels or tuple(string.ascii_uppercase[:num])
    given = person.row.index[0]
    return tuple(
        Option(label, one_row(found.frame, index).rename(given), changes, _sentence(changes))
        for index, (label, changes) in enumerate(zip(names, own, strict=True))
    )


def differences(person: Person, shown: tuple[Option, ...]) -> tuple[Difference, ...]:
    """The features in which the options that are `shown` differ."""
    found = []
    for name in person.explainer.table.schema["features"]:
        feature = person.explainer.features[name]
        values = tuple(plain(option.row[name]) for option in shown)
        first = pd.Series([values[0]] * len(values), dtype=object)
        if differs(first, pd.Series(values, dtype=object)).any():
            found.append(Difference(name, feature.label, feature.unit, values))
    return tuple(found)


def plain(value: Any) -> Any:
    """A value as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _changes(explainer: Explainer, cells: pd.DataFrame) -> tuple[Change, ...]:
    """The changes of one row, those that only follow others last."""
    found = []
    for cell in cells.sort_values("consequence", kind="stable").itertuples():
        before, after = plain(cell.before), plain(cell.after)
        feature = explainer.features[cell.feature]
        text = wording.sentence(feature, explainer.digits, before, after, bool(cell.consequence))
        found.append(Change(feature.name, feature.label, feature.unit, before, after, text))
    return tuple(found)


def _sentence(changes: tuple[Change, ...]) -> str:
    return "; ".join(change.text for change in changes) or _NOTHING
