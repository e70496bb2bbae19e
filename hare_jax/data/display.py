"""A table in a notebook: its sizes and its features, as HTML."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from jax import Array

from hare_jax.data.schema import Feature

_NUM_SHOWN = 6  # categories
_HEADINGS = ("feature", "type", "may change", "values", "unit", "missing values")
_CHANGES = {0: "freely", 1: "up", -1: "down"}  # by the direction of a mutable feature


def summary(name: str, labels: Mapping[str, Array], num_columns: int, features: Sequence[Feature]) -> str:
    """HTML of a table: the sizes and favourable shares of its `labels` (n,) by name of the rows, and its `features`."""
    sizes = [f"{len(y):,} {rows} rows ({_share(y)} favourable)" for rows, y in labels.items()]
    head = f"<b>{escape(name)}</b>: {', '.join(sizes)}; {num_columns} encoded columns"
    body = "".join(_row("td", map(escape, _cells(feature))) for feature in features)
    return f"<p>{head}</p><table><thead>{_row('th', _HEADINGS)}</thead><tbody>{body}</tbody></table>"


def _share(y: Array) -> str:
    return f"{float(np.mean(y)):.0%}" if len(y) else "none"


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _cells(feature: Feature) -> list[str]:
    """The texts of the row of a feature, one for each heading."""
    name = feature.name if feature.label == feature.name else f"{feature.label} ({feature.name})"
    fixed = "no" if feature.formula is None else "with others"
    changes = _CHANGES[feature.direction] if feature.mutable else fixed
    return [name, feature.type, changes, _values(feature), feature.unit, feature.missing]


def _values(feature: Feature) -> str:
    """The first categories, or the allowed range and the step."""
    if feature.categories:
        shown: list[Any] = [str(category) for category in feature.categories[:_NUM_SHOWN]]
        more = len(feature.categories) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    low, high = feature.range
    return f"{low:g} to {high:g}" + (f" by {feature.step:g}" if feature.step else "")
