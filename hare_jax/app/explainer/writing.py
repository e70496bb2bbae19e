"""Encoded points written into the rows of a DataFrame, and how the model judges these rows."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jax import Array

from hare_jax.app.explainer import cells, programs
from hare_jax.app.explainer.chunks import map_chunks
from hare_jax.app.explainer.judging import encode, filled, judge, unfilled
from hare_jax.base import LogitFn
from hare_jax.data import Table
from hare_jax.recourse import BoundMethod


class Setting(NamedTuple):
    """What all searches share."""

    logit_fn: LogitFn
    table: Table
    generate: BoundMethod
    key: Array
    digits: cells.Decimals
    has_tried_spheres: bool  # the method is growing spheres, as the fallback


class Rows(NamedTuple):
    """n rows."""

    frame: pd.DataFrame
    x: np.ndarray  # (n, d)
    frozen: np.ndarray  # (n, d) bool: columns that must not change, besides the immutable ones

    def take(self, chosen: np.ndarray) -> "Rows":
        """The `chosen` rows, by a mask or by positions."""
        return Rows(self.frame.iloc[chosen], self.x[chosen], self.frozen[chosen])


class Written(NamedTuple):
    """Recourses of n rows in original units."""

    frame: pd.DataFrame
    x: np.ndarray  # (n, d)
    logit: np.ndarray  # (n,) of the rows of `frame`; -inf where the action space does not allow the change
    cost: np.ndarray  # (n,)


def rows_at(setting: Setting, rows: Rows, points: np.ndarray, valid: np.ndarray) -> Written:
    """The rows moved to `points` (n, d): rounded, and where that is refused as they are, or with no value missing.

    A point that is not `valid` (n,) is rounded at once.
    """
    near = rounded(setting, rows, points)
    written = write(setting, rows, near)
    absent = unfilled(setting.table, rows.frame).any(axis=1).to_numpy(bool)
    for tried, where in ((points, valid), (near, valid & absent), (points, valid & absent)):
        again = np.flatnonzero(where & ~(written.logit >= 0))
        if len(again):
            fill = where is not valid
            written = replaced(written, again, write(setting, rows.take(again), tried[again], fill=fill))
    return written


def replaced(written: Written, chosen: np.ndarray, others: Written) -> Written:
    """`written` with `others` in place of the rows at the positions `chosen`."""
    frame = put_rows(written.frame, chosen, others.frame)
    return Written(frame, *(_put(*pair, chosen) for pair in zip(written[1:], others[1:], strict=True)))


def rounded(setting: Setting, rows: Rows, points: np.ndarray) -> np.ndarray:
    """The `points` (n, d) with the decimals of the training rows."""
    space = setting.table.space
    near = cells.rounded(setting.table, filled(setting.table, rows.frame), rows.x, points, setting.digits)
    if space.relations is None:
        return near
    return map_chunks(programs.followed, space, rows=(programs.Move(rows.x, points), near))


def write(setting: Setting, rows: Rows, points: np.ndarray, *, fill: bool = False) -> Written:
    """The `rows` moved to `points` (n, d), with missing values filled or not, and how the model judges them."""
    table = setting.table
    frame = cells.write(table, rows.frame, rows.x, points, setting.digits)
    frame = filled(table, frame) if fill else frame
    returned = encode(table, frame).astype(rows.x.dtype)
    measured = map_chunks(programs.measures, table.space, rows=programs.Move(rows.x, returned))
    logit = np.where(measured.allowed, judge(setting.logit_fn, table, frame), -np.inf)
    return Written(frame, points, logit, measured.cost)


def put_rows(frame: pd.DataFrame, chosen: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """`frame` with `rows` in place of those at the positions `chosen`: the index may hold anything."""
    order = np.arange(len(frame))
    order[chosen] = len(frame) + np.arange(len(chosen))
    merged = pd.concat([frame, rows]).iloc[order]
    merged.index = frame.index
    return merged


def _put(values: np.ndarray, others: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """`values` with `others` in place of the `chosen` ones."""
    filled = np.array(values)
    filled[chosen] = others
    return filled
