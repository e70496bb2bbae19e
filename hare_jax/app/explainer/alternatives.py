"""Diverse recourses: the method is asked again with some features frozen, and the most different answers are kept.

Each candidate is a recourse of the explainer's own method, which changes as little as it can: one in which a feature
that the first recourse changes is frozen, or a random half of all features. The answers are chosen greedily: each has
the largest distance to the nearest one of those before it (maximin), relative to the cost of both, which is 1 for two
recourses that change different features. A cheaper one is preferred among equals.
"""

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.app.explainer.cells import moved
from hare_jax.app.explainer.search import attempt
from hare_jax.app.explainer.writing import Rows, Setting
from hare_jax.base import require

if TYPE_CHECKING:
    from hare_jax.app.explainer.explanation import Explanation

_CANDIDATES = 6  # for each alternative
_FROZEN = 0.5  # probability of a feature
_DIFFERENT = 1e-4  # least distance between two alternatives, in encoded units
_THRIFT = 0.1  # by which a unit of cost counts against a relative distance
_NONE = -1  # in place of the position of a candidate
_LEVEL = "alternative"
_SEED = 0  # of the random halves


class _Pool(NamedTuple):
    """Recourses in original units, the known ones of n rows and then the candidates of each row: n (1 + m) in all."""

    frame: pd.DataFrame
    x: np.ndarray  # (n (1 + m), d)
    logit: np.ndarray  # (n (1 + m),)
    cost: np.ndarray  # (n (1 + m),)
    accepted: np.ndarray  # (n (1 + m),) bool


def alternatives(explanation: "Explanation", k: int) -> "Explanation":
    """An explanation of the rows that have a recourse, each up to `k` times.

    Raises:
        ValueError: `k` is below 1.
    """
    require(isinstance(k, int) and k >= 1, "k", "must be a whole number from 1", k)
    rows = np.flatnonzero(explanation.found)
    if not len(rows):
        none = explanation.frame[:0]
        pool = _Pool(none, explanation.x_cf[:0], np.zeros(0), np.zeros(0), np.zeros(0, bool))
        return _explanation(explanation, pool, rows, rows, rows)
    num = _CANDIDATES * (k - 1) + 1
    pool = _pool(explanation, rows, num)
    members = np.concatenate([np.arange(len(rows))[:, None], _members(len(rows), num)], axis=1)
    chosen = _most_different(pool.x[members], pool.cost[members], pool.accepted[members], k)
    owner, order = np.nonzero(chosen != _NONE)
    return _explanation(explanation, pool, rows[owner], members[owner, chosen[owner, order]], order + 1)


def _pool(explanation: "Explanation", rows: np.ndarray, num: int) -> _Pool:
    """The recourses of the `rows` (n,), and `num` candidates of each."""
    setting, repeated = explanation.explainer.setting, np.repeat(rows, num)
    frozen = _frozen(setting, moved(explanation.x, explanation.x_cf)[rows], num)
    asked = Rows(explanation.before.iloc[repeated], explanation.x[repeated], frozen.reshape(len(repeated), -1))
    tried = attempt(setting, None, asked)
    known = explanation.x_cf, explanation.score["after"].to_numpy(), explanation.cost.to_numpy(), explanation.found
    new = tried.written.x, tried.written.logit, tried.written.cost, tried.accepted
    both = (np.concatenate([old[rows], more]) for old, more in zip(known, new, strict=True))
    return _Pool(pd.concat([explanation.frame.iloc[rows], tried.written.frame]), *both)


def _members(num_rows: int, num: int) -> np.ndarray:
    """The positions (n, m) of the candidates of each row in the pool."""
    return num_rows + np.arange(num_rows * num).reshape(num_rows, num)


def _frozen(setting: Setting, changed: np.ndarray, num: int) -> np.ndarray:
    """The frozen columns (n, m, d) of `num` candidates of rows of which columns are `changed` (n, d)."""
    features = setting.table.features
    names = np.concatenate([[index] * len(feature.columns) for index, feature in enumerate(features)])
    by_feature = np.stack([changed[:, names == index].any(axis=1) for index in range(len(features))], axis=1)
    draws = np.random.default_rng(_SEED).random((num, len(features))) < _FROZEN
    rank = np.cumsum(by_feature, axis=1) * by_feature  # 1, 2, ... of the changed features of a row
    count = by_feature.sum(axis=1)
    each = np.arange(num)[None, :]
    one = rank[:, None, :] == (each % np.maximum(count, 1)[:, None] + 1)[:, :, None]
    alone = (each < count[:, None])[:, :, None]
    return (one | (draws[None] & ~alone))[:, :, names]


def _most_different(x: np.ndarray, cost: np.ndarray, valid: np.ndarray, k: int) -> np.ndarray:
    """The candidates (n, k) of x (n, m, d) with a cost (n, m), the first and then by maximin; -1 where none is left."""
    everyone, chosen = np.arange(len(x)), np.zeros((len(x), k), int)
    nearest = np.where(valid, np.inf, -np.inf)
    for order in range(1, k):
        last = everyone, chosen[:, order - 1]
        distance = np.abs(x - x[last][:, None]).sum(axis=2)
        both = np.maximum(cost + cost[last][:, None], _DIFFERENT)
        relative = np.where(distance > _DIFFERENT, distance / both, -np.inf)
        nearest = np.minimum(nearest, relative)
        chosen[:, order] = np.argmax(nearest - _THRIFT * cost, axis=1)
        chosen[np.isneginf(nearest[everyone, chosen[:, order]]), order] = _NONE
    return chosen


def _explanation(
    explanation: "Explanation", pool: _Pool, rows: np.ndarray, members: np.ndarray, number: np.ndarray
) -> "Explanation":
    """The explanation of the chosen `members` (m,) of the pool, of the `rows` (m,), with a `number` (m,) each."""
    index = _numbered(explanation.frame.index[rows], number)
    before, score = explanation.before.iloc[rows].set_axis(index), explanation.score["before"].to_numpy()[rows]
    reason = np.where(number == 1, explanation.reason.to_numpy()[rows], "found")
    return dataclasses.replace(
        explanation,
        frame=pool.frame.iloc[members].set_axis(index),
        valid=pd.Series(pool.accepted[members], index, name="valid"),
        cost=pd.Series(pool.cost[members], index, name="cost"),
        reason=pd.Series(reason, index, name="reason"),
        score=pd.DataFrame({"before": score, "after": pool.logit[members]}, index),
        before=before,
        x=explanation.x[rows],
        x_cf=pool.x[members],
    )


def _numbered(index: pd.Index, number: np.ndarray) -> pd.MultiIndex:
    """`index` with one more level."""
    levels = [index.get_level_values(level) for level in range(index.nlevels)]
    return pd.MultiIndex.from_arrays([*levels, number], names=[*index.names, _LEVEL])
