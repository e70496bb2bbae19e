"""The recourses of refused rows: by the method, and for what it leaves by the methods that it falls back on."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from hare_jax import recourse
from hare_jax.app.explainer import cells, changes, programs
from hare_jax.app.explainer.choice import is_exact, name_of
from hare_jax.app.explainer.chunks import Tick, map_chunks, no_tick
from hare_jax.app.explainer.writing import Rows, Setting, Written, put_rows, replaced, rows_at, write
from hare_jax.base import as_partial
from hare_jax.recourse import BoundMethod, Reason, exact

ACCEPTED = "already accepted"
_NONE = "no recourse: "
_REFUSED = "the model refuses the recourse found once it is in original units"

_MEANING = {
    "growing_spheres": "random points ever farther away",
    "exact": "the nearest of all accepted points",
    "nnce": "a similar accepted training row",
}  # of the methods that are fallbacks


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
        tried = attempt(setting, name, rows.take(left), tick if name is None else no_tick)
        own = name_of(setting.generate)
        text = "found" if name in (None, own) else f"found by {name} ({_MEANING[name]}), after {own} found none"
        found = _merge(found, left, tried, text)
        proved[left], refused[left] = tried.proved, refused[left] | tried.refused
    failed = ~found.valid
    if failed.any():
        found.reason[failed] = _reasons(setting, rows.x[failed], proved[failed], refused[failed])
    return found


def fallbacks(setting: Setting) -> tuple[str | None, ...]:
    """The methods in the order in which they are tried: None is the method chosen."""
    last = "exact" if is_exact(setting.logit_fn) else "nnce"
    spheres = () if setting.has_tried_spheres else ("growing_spheres",)
    return (None, *spheres, last)


class _Tried(NamedTuple):
    """What one method returned for n rows."""

    written: Written
    accepted: np.ndarray  # (n,) bool
    proved: np.ndarray  # (n,) bool: no recourse exists
    refused: np.ndarray  # (n,) bool: the method's recourse is valid, and refused in original units


def attempt(setting: Setting, name: str | None, rows: Rows, tick: Tick = no_tick) -> _Tried:
    """One method on all `rows`, judged in original units: rounded, or else as it is, or else with no value missing."""
    point, valid, proved = _points(setting, name, rows, tick)
    written = rows_at(setting, rows, point, valid)
    written = _spared(setting, rows, written, valid & (written.logit >= 0))
    accepted = valid & (written.logit >= 0)
    return _Tried(written, accepted, proved, valid & ~accepted)


def _spared(setting: Setting, rows: Rows, written: Written, accepted: np.ndarray) -> Written:
    """`written` without the changes that the `accepted` (n,) recourses do not need.

    The features are undone one after another, the smallest change first, each in one call of the model for all rows.
    """
    features = setting.table.features
    names = np.concatenate([[index] * len(feature.columns) for index, feature in enumerate(features)])
    own = changes.own(setting.table, rows.x, written.x) * cells.moved(rows.x, written.x)
    size = np.stack([np.abs(own[:, names == index]).max(axis=1) for index in range(len(features))], axis=1)
    count = (size > 0).sum(axis=1) * accepted
    order = np.argsort(np.where(size > 0, size, np.inf), axis=1, kind="stable")
    for turn in range(count.max(initial=0)):
        chosen = np.flatnonzero((count > turn) & (count > 1))
        if len(chosen):
            undone = names == order[chosen, turn][:, None]
            written = _undone(setting, rows, written, chosen, undone)
    return written


def _undone(setting: Setting, rows: Rows, written: Written, chosen: np.ndarray, undone: np.ndarray) -> Written:
    """`written`, at `chosen` (m,) without the changes of the columns `undone` (m, d) where it stays valid."""
    some, space = rows.take(chosen), setting.table.space
    points = np.where(undone, some.x, written.x[chosen])
    if space.relations is not None:
        moves = programs.Move(some.x, written.x[chosen])
        points = map_chunks(programs.undone, space, rows=(moves, undone))
    tried = write(setting, some, points)
    better = np.flatnonzero((tried.logit >= 0) & (tried.cost <= written.cost[chosen]))
    taken = Written(tried.frame.iloc[better], *(values[better] for values in tried[1:]))
    return replaced(written, chosen[better], taken)


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


def _merge(found: Found, left: np.ndarray, tried: _Tried, text: str) -> Found:
    """`found`, with what a method found for the rows `left`."""
    new, taken = left[tried.accepted], np.flatnonzero(tried.accepted)
    for name in ("x", "cost", "logit"):
        getattr(found, name)[new] = getattr(tried.written, name)[taken]
    found.valid[new], found.reason[new] = True, text
    return found._replace(frame=put_rows(found.frame, new, tried.written.frame.iloc[taken]))


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
