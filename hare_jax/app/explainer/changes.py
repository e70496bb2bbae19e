"""The changes of an explanation in long form: one row for each cell that differs."""

from typing import Any

import numpy as np
import pandas as pd

from hare_jax.app.explainer import programs
from hare_jax.app.explainer.cells import blocks, most_decimals
from hare_jax.app.explainer.chunks import map_chunks
from hare_jax.data import Table
from hare_jax.data.schema import Feature

COLUMNS = ("feature", "label", "unit", "before", "after", "difference", "consequence")


def differs(before: pd.Series, after: pd.Series) -> np.ndarray:
    """In which rows (n,) two columns differ; missing values are equal."""
    old, new = before.to_numpy(object), after.to_numpy(object)
    found, known = pd.isna(old) != pd.isna(new), _are_known(old, new)
    found[known] = old[known] != new[known]
    return found


def _are_known(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Where (n,) neither value is missing; pandas' NA can't be compared."""
    return ~(pd.isna(old) | pd.isna(new))


def long_form(
    table: Table, before: pd.DataFrame, after: pd.DataFrame, x: np.ndarray, x_cf: np.ndarray
) -> tuple[np.ndarray, pd.DataFrame]:
    """Positions (m,) of the rows of m changed cells, and a frame of these cells, in the order of rows and schema."""
    follows = consequences(table, x, x_cf)
    order = {name: index for index, name in enumerate(table.schema["features"])}
    parts = []
    for feature, columns in blocks(table.features):
        rows = np.flatnonzero(differs(before[feature.name], after[feature.name]))
        pair = [frame[feature.name].iloc[rows].to_numpy(object) for frame in (before, after)]
        numeric = feature.type != "categorical"
        change, known = np.full(len(rows), np.nan), _are_known(*pair)
        if numeric:
            change[known] = (pair[1][known] - pair[0][known]).astype(float)
        if feature.type == "derived":
            pair, change = [_shortened(feature, values) for values in pair], _shortened(feature, change)
        texts = (feature.name, feature.label, feature.unit)
        parts.append((rows, order[feature.name], *texts, *pair, change, follows[rows, columns.start]))
    return _sorted(parts)


def _shortened(feature: Feature, values: np.ndarray) -> np.ndarray:
    """The computed `values` (n,) of a feature with as many decimals as are shown."""
    return np.where(pd.isna(values), np.nan, values).astype(float).round(most_decimals(feature))


def _sorted(parts: list[tuple]) -> tuple[np.ndarray, pd.DataFrame]:
    """The parts of all features, each (rows (m,), position of the feature, cells ...), as one frame."""
    rows = np.concatenate([part[0] for part in parts])
    spread = [[np.broadcast_to(np.asarray(item, _dtype(item)), part[0].shape) for item in part[1:]] for part in parts]
    position, *columns = (np.concatenate(column) for column in zip(*spread, strict=True))
    by_row = np.lexsort((position, rows))
    return rows[by_row], pd.DataFrame({name: column[by_row] for name, column in zip(COLUMNS, columns, strict=True)})


def _dtype(item: Any) -> Any:
    return object if isinstance(item, str) else None


def consequences(table: Table, x: np.ndarray, x_cf: np.ndarray) -> np.ndarray:
    """Which columns (n, d) only follow others in the move from `x` to `x_cf`, both (n, d)."""
    return (own(table, x, x_cf) == 0) & (x != x_cf)


def own(table: Table, x: np.ndarray, x_cf: np.ndarray) -> np.ndarray:
    """The changes (n, d) from `x` to `x_cf`, both (n, d), without what only follows other columns."""
    if table.space.relations is None or not len(x):
        return x_cf - x
    return map_chunks(programs.own_changes, table.space, rows=programs.Move(x, x_cf))
