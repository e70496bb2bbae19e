"""The recourses of refused rows: by the method, and for what it leaves by the methods that it falls back on."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jax import Array

from hare_jax import recourse
from hare_jax.app.explainer import cells, programs
from hare_jax.app.explainer.choice import is_exact, name_of
from hare_jax.app.explainer.chunks import Tick, map_chunks, no_tick
from hare_jax.app.explainer.judging import judge
from hare_jax.base import LogitFn, as_partial
from hare_jax.data import Table
from hare_jax.recourse import BoundMethod, Reason, exact

ACCEPTED = "already accepted"
_NONE = "no recourse: "
_REFUSED = "the model refuses the recourse found once it is in original units"


class Setting(NamedTuple):
    """What all searches share."""

    logit_fn: LogitFn
    table: Table
    generate: BoundMethod
    key: Array
    digits: cells.Decimals


class Rows(NamedTuple):
    """n rows."""

    frame: pd.DataFrame
    x: np.ndarray  # (n, d)
    frozen: np.ndarray  # (n, d) bool: columns that must not change, besides the immutable ones

    def take(self, chosen: np.ndarray) -> "Rows":
        """The `chosen` rows, by a mask or by positions."""
        return Rows(self.frame.iloc[chosen], self.x[chosen], self.frozen[chosen])


class Found(NamedTuple):
    """The recourses of n rows; a row without one is unchanged."""

    frame: pd.DataFrame
    x: np.ndarray  # (n, d)
    valid: np.ndarray  # (n,) bool
    cost: np.ndarray  # (n,) NaN where there is none
    logit: np.ndarray  # (n,) of the recourse, or of the row where there is none
    reason: np.ndarray  # (n,) of texts


def search(setting: Setting, rows: Rows, logits: np.ndarray, tick: Tick = no_tick) -> Found:
    """The recourses of refused `rows` with `logits` (n,): each method is tried on the rows that are left."""
    num = len(rows.x)
    found = Found(
        rows.frame, rows.x.copy(), np.zeros(num, bool), np.full(num, np.nan), logits.copy(), np.full(num, "", object)
    )
    proved, refused = np.zeros(num, bool), np.zeros(num, bool)
    for name in fallbacks(setting):
        left = np.flatnonzero(~found.valid & ~proved)
        if not len(left):
            break
        tried = _try(setting, name, rows.take(left), tick if name is None else no_tick)
        found = _merge(found, left, tried, "found" if name is None else f"found by {name}")
        proved[left], refused[left] = tried.proved, refused[left] | tried.refused
    failed = ~found.valid
    if failed.any():
        found.reason[failed] = _reasons(setting, rows.x[failed], proved[failed], refused[failed])
    return found


def fallbacks(setting: Setting) -> tuple[str | None, ...]:
    """The methods in the order in which they are tried: None is the method chosen."""
    last = "exact" if is_exact(setting.logit_fn) else "nnce"
    others = [name for name in ("growing_spheres", last) if name != name_of(setting.generate) or name == "exact"]
    return (None, *others)


class _Tried(NamedTuple):
    """What one method returned for n rows."""

    frame: pd.DataFrame
    x: np.ndarray  # (n, d)
    accepted: np.ndarray  # (n,) bool
    cost: np.ndarray  # (n,)
    logit: np.ndarray  # (n,)
    proved: np.ndarray  # (n,) bool: no recourse exists
    refused: np.ndarray  # (n,) bool: the model accepts the encoded recourse, and refuses it in original units


def _try(setting: Setting, name: str | None, rows: Rows, tick: Tick) -> _Tried:
    """One method on all `rows`, judged in original units: rounded, or as it is where the model refuses it rounded."""
    point, valid, proved = _points(setting, name, rows, tick)
    written, logit = _judged(setting, rows, point, setting.digits)
    again = np.flatnonzero(valid & ~(logit >= 0))
    if len(again):
        plain, logit_again = _judged(setting, rows.take(again), point[again], None)
        written = _replaced(written, again, plain)
        logit[again] = logit_again
    cost = np.asarray(map_chunks(programs.measures, setting.table.space, rows=programs.Move(rows.x, written.x)).cost)
    accepted = valid & (logit >= 0)
    return _Tried(written.frame, written.x, accepted, cost, logit, proved, valid & ~accepted)


def _points(setting: Setting, name: str | None, rows: Rows, tick: Tick) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The encoded points (n, d) of a method, whether they are valid (n,), and whether it is proved that none exists."""
    space, given = setting.table.space, programs.Row(rows.x, rows.frozen)
    logit_fn = as_partial(setting.logit_fn)
    if name == "exact":
        found, proved = map_chunks(programs.solutions, exact.Exact(), setting.key, logit_fn, space, rows=given)
        return found.x, found.valid, proved
    generate = setting.generate if name is None else bind(setting, name)
    found = map_chunks(programs.recourses, generate, setting.key, logit_fn, space, rows=given, tick=tick)
    return found.x, found.valid, np.zeros(len(rows.x), bool)


def bind(setting: Setting, name: str) -> BoundMethod:
    """A method with its default hyperparameters."""
    table = setting.table
    return recourse.bind(name, setting.key, setting.logit_fn, table.x_train, table.space)


def _judged(
    setting: Setting, rows: Rows, points: np.ndarray, digits: cells.Decimals | None
) -> tuple[cells.Written, np.ndarray]:
    """The `rows` with their `points` (n, d), and the model's logits (n,) of them; -inf of what is not allowed."""
    table = setting.table
    written = cells.write(table, rows.frame, rows.x, points, digits)
    allowed = map_chunks(programs.measures, table.space, rows=programs.Move(rows.x, written.x)).allowed
    logit = judge(setting.logit_fn, table, written.frame)
    return written, np.where(allowed, logit, -np.inf)


def _replaced(written: cells.Written, chosen: np.ndarray, others: cells.Written) -> cells.Written:
    """`written`, with `others` in place of the `chosen` rows."""
    return cells.Written(put_rows(written.frame, chosen, others.frame), _put(written.x, chosen, others.x))


def put_rows(frame: pd.DataFrame, chosen: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """`frame` with `rows` in place of those at the positions `chosen`: the index may hold anything."""
    order = np.arange(len(frame))
    order[chosen] = len(frame) + np.arange(len(chosen))
    merged = pd.concat([frame, rows]).iloc[order]
    merged.index = frame.index
    return merged


def _put(values: np.ndarray, chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
    values[chosen] = others
    return values


def _merge(found: Found, left: np.ndarray, tried: _Tried, text: str) -> Found:
    """`found`, with what a method found for the rows `left`."""
    new, taken = left[tried.accepted], np.flatnonzero(tried.accepted)
    for name in ("x", "cost", "logit"):
        getattr(found, name)[new] = getattr(tried, name)[taken]
    found.valid[new], found.reason[new] = True, text
    return found._replace(frame=put_rows(found.frame, new, tried.frame.iloc[taken]))


def _reasons(setting: Setting, x: np.ndarray, proved: np.ndarray, refused: np.ndarray) -> np.ndarray:
    """Why no method found a recourse for rows `x` (n, d): texts (n,)."""
    space = setting.table.space
    if name_of(setting.generate) == "exact":
        codes = map_chunks(programs.unable, space, rows=x)
    else:
        logit_fn = as_partial(setting.logit_fn)
        codes = map_chunks(programs.reasons, setting.generate, logit_fn, space, rows=x)
    codes = np.where(proved & (codes != Reason.NOTHING_MAY_CHANGE), Reason.IMPOSSIBLE, codes)
    texts = np.array([_NONE + Reason(int(code)).text for code in codes], object)
    return np.where(refused & ~proved, _NONE + _REFUSED, texts)
