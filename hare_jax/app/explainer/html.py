"""An explanation as an HTML table: changed cells are bold, and their title is the value before."""

from html import escape
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.app.explainer.cells import Decimals
from hare_jax.app.explainer.changes import differs
from hare_jax.app.explainer.wording import text
from hare_jax.data.schema import Feature

MOST_ROWS = 50  # shown


def page(
    features: dict[str, Feature], digits: Decimals, before: pd.DataFrame, after: pd.DataFrame, reason: pd.Series
) -> str:
    """The first rows of `after`, and how many rows there are."""
    shown_before, shown, reasons = before[:MOST_ROWS], after[:MOST_ROWS], reason[:MOST_ROWS]
    columns = [
        _column(features.get(name), digits, shown_before.iloc[:, index], shown.iloc[:, index])
        for index, name in enumerate(shown.columns)
    ]
    columns.append([f"<td>{escape(str(one))}</td>" for one in reasons])
    labels = [f"<th>{escape(str(label))}</th>" for label in shown.index]
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in zip(labels, *columns, strict=True))
    head = "".join(f"<th>{escape(str(name))}</th>" for name in ("", *shown.columns, "recourse"))
    note = f"<p>{len(shown):,} of {len(after):,} rows; changed cells are bold</p>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _column(feature: Feature | None, digits: Decimals, before: pd.Series, after: pd.Series) -> list[str]:
    """The cells of a column."""
    changed: Any = differs(before, after) if feature else np.zeros(len(after), bool)
    return [_cell(feature, digits, *each) for each in zip(before, after, changed, strict=True)]


def _cell(feature: Feature | None, digits: Decimals, before: Any, after: Any, changed: bool) -> str:
    shown = escape(text(feature, digits, after) if feature else str(after))
    if not changed or feature is None:
        return f"<td>{shown}</td>"
    return f'<td title="was {escape(text(feature, digits, before))}"><b>{shown}</b></td>'
