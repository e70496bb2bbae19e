"""Judges answers by the metrics of this project, and pairs a library's with those of ours on the same rows.

Ordered columns and categories of an answer are rounded to the nearest step from the factual before anything is
measured, as a person would have to do to act on it; the share that is usable without that is reported beside.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from scipy.spatial.distance import cdist

from hare_jax.evaluate import intervals, metrics
from hare_jax.space import ActionSpace

COMPARED = ("l1", "ratio", "l0", "nearest")  # figures of a recourse, compared where both are usable
OF_SETS = ("diversity", "set_l0")  # mean L1 between the usable members of a set, and their mean L0; NaN if below two


class Judged(NamedTuple):
    """The recourses of n factuals, one for each."""

    raw: np.ndarray  # (n,) bool: usable as returned
    accepted: np.ndarray  # (n,) bool: by the classifier, once rounded
    allowed: np.ndarray  # (n,) bool: by the action space, once rounded
    figures: dict[str, np.ndarray]  # (n,) each of COMPARED
    sets: dict[str, np.ndarray]  # (n,) each of OF_SETS

    @property
    def usable(self) -> np.ndarray:
        """Accepted and allowed: (n,) bool."""
        return self.accepted & self.allowed


class Referee(NamedTuple):
    """What answers are judged by."""

    logit_fn: Partial
    space: ActionSpace
    x: np.ndarray  # (n, d) factuals
    optimum: np.ndarray  # (n,) the least L1; NaN where it is not proved
    accepted_rows: np.ndarray  # (N, d) training rows that the classifier accepts


def judge(referee: Referee, points: np.ndarray, sets: np.ndarray | None = None) -> Judged:
    """Judge `points` (k, m, d) for the first k factuals, m for each, NaN where there is none.

    Of the m points, the usable one that is nearest in L1 counts. `sets` (k, m, d) are those whose diversity counts,
    by default the same.
    """
    x = referee.x[: len(points)]
    rounded, accepted, allowed, raw = _each(referee, x, points)
    cost = np.abs(rounded - x[:, None, :]).sum(axis=2)
    rank = np.lexsort((cost, ~accepted, ~(accepted & allowed)), axis=1)  # usable ones first, then accepted ones
    pick = np.arange(len(x)), rank[:, 0]
    best = rounded[pick]
    figures = {
        "l1": cost[pick],
        "ratio": cost[pick] / np.maximum(referee.optimum[: len(x)], np.finfo(np.float32).tiny),
        "l0": _num_changed(referee.space, x, best),
        "nearest": cdist(best, referee.accepted_rows, "cityblock").min(axis=1, initial=np.inf),
    }
    return Judged(
        raw[pick], accepted[pick], allowed[pick], figures, _of_sets(referee, points if sets is None else sets)
    )


def _each(referee: Referee, x: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """The rounded points (k, m, d); accepted, allowed, and usable as returned: (k, m) bool each."""
    known = np.isfinite(points).all(axis=2)
    filled = np.where(known[..., None], points, x[:, None, :]).astype(np.float32)
    step = np.asarray(referee.space.step)
    moved = filled - x[:, None, :]
    steps = np.round(moved / np.where(step > 0, step, 1))
    ordered = np.where(steps == 0, x[:, None, :], (x[:, None, :] + steps * step).astype(np.float32))
    rounded = np.where(step > 0, ordered, filled)
    accepted, allowed = _check(referee.logit_fn, referee.space, jnp.asarray(x), jnp.asarray(rounded))
    raw_accepted, raw_allowed = _check(referee.logit_fn, referee.space, jnp.asarray(x), jnp.asarray(filled))
    raw = np.asarray(raw_accepted & raw_allowed)
    return rounded, known & np.asarray(accepted), known & np.asarray(allowed), known & raw


@jax.jit
def _check(logit_fn: Partial, space: ActionSpace, x: Array, points: Array) -> tuple[Array, Array]:
    """Whether each of the points (n, m, d) is accepted, and allowed from its factual: (n, m) bool."""

    def one(x: Array, point: Array) -> tuple[Array, Array]:
        return metrics.accepted(logit_fn, point), metrics.feasible(x, point, space).all

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(x, points)


def _num_changed(space: ActionSpace, x: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The number of features in which `points` (n, d) differ from `x` (n, d): (n,)."""
    counts = jax.vmap(metrics.l0, in_axes=(0, 0, None))(jnp.asarray(x), jnp.asarray(points), space)
    return np.asarray(counts, float)


def _of_sets(referee: Referee, sets: np.ndarray) -> dict[str, np.ndarray]:
    """The figures OF_SETS of each set (k, m, d): (k,) each."""
    num_sets, num_members, width = sets.shape
    x = referee.x[:num_sets]
    rounded, accepted, allowed, _ = _each(referee, x, sets)
    usable = accepted & allowed
    num = usable.sum(axis=1)
    apart = np.abs(rounded[:, :, None, :] - rounded[:, None, :, :]).sum(axis=3)  # (k, m, m), for a few members
    pairs = usable[:, :, None] & usable[:, None, :]
    changed = _num_changed(referee.space, np.repeat(x, num_members, axis=0), rounded.reshape(-1, width))
    totals = {
        "diversity": np.sum(apart * pairs, axis=(1, 2)) / np.maximum(num * (num - 1), 1),
        "set_l0": np.sum(changed.reshape(num_sets, num_members) * usable, axis=1) / np.maximum(num, 1),
    }
    return {name: np.where(num > 1, total, np.nan) for name, total in totals.items()}


def compare(theirs: Judged, ours: Judged) -> dict[str, Any]:
    """The figures of both on the rows of `theirs`.

    Over the rows where both are usable, the differences theirs - ours have the mean of the one less that of the other,
    and the second and third central moments `_m2` and `_m3`.
    """
    n = len(theirs.usable)
    row: dict[str, Any] = {"rows": n}
    for name, judged in (("theirs", theirs), ("ours", ours)):
        for share in ("raw", "accepted", "allowed", "usable"):
            row[f"{share}_{name}"] = int(getattr(judged, share)[:n].sum())
        for figure in OF_SETS:
            known = judged.sets[figure][:n][np.isfinite(judged.sets[figure][:n])]
            row[f"{figure}_{name}"] = float(known.mean()) if len(known) else None
    both = theirs.usable & ours.usable[:n]
    for name in COMPARED:
        row |= _moments(name, theirs.figures[name][both], ours.figures[name][:n][both])
    return row


def _moments(name: str, theirs: np.ndarray, ours: np.ndarray) -> dict[str, Any]:
    """The means of a figure of both (k,), and the moments of the differences, where both are known."""
    known = np.isfinite(theirs) & np.isfinite(ours)
    if not known.any():
        return {f"{name}_n": 0}
    row: dict[str, Any] = {f"{name}_n": int(known.sum())}
    row |= {f"{name}_theirs": float(theirs[known].mean())}
    row |= {f"{name}_ours": float(ours[known].mean())}
    apart = theirs[known] - ours[known]
    central = apart - apart.mean()
    return row | {f"{name}_m{power}": float((central**power).mean()) for power in (2, 3)}


def pooled(n: np.ndarray, mean: np.ndarray, second: np.ndarray, third: np.ndarray) -> intervals.Mean:
    """The sample of several seeds, from the size, mean, and central moments of each: all (s,).

    >>> import numpy as np
    >>> pooled(np.array([2, 2]), np.array([0.0, 1.0]), np.array([0.25, 0.25]), np.zeros(2)).estimate
    0.5
    """
    total = n.sum()
    centre = (n * mean).sum() / total
    off = mean - centre
    spread = float(np.sqrt((n * (second + off**2)).sum() / total))
    cube = float((n * (third + 3 * off * second + off**3)).sum() / total)
    if total <= 2 or spread == 0:
        return intervals.Mean(float(centre), np.nan if total <= 2 else 0.0, 0.0, int(total))
    skewness = cube / spread**3 * np.sqrt(total * (total - 1)) / (total - 2)
    return intervals.Mean(float(centre), spread * np.sqrt(total / (total - 1)), float(skewness), int(total))
