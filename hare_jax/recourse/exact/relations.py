"""Relations between columns in the program of one row, and the points that satisfy them, in NumPy.

The moves (`moves`) contain what follows; this module adds the constraints: the inequalities, the ties between
the shift of a follower and its causes, what an own change of a stepped follower has to differ from, and one binary
variable for each feature if their number is limited. A formula that is not affine is relaxed over a *box* of the
columns, so that the optimum of the program is a lower bound of the cost.
"""

from typing import NamedTuple

import numpy as np

from hare_jax import formula
from hare_jax.base import Link
from hare_jax.recourse.exact.draft import Draft, add_row, add_variable
from hare_jax.recourse.exact.moves import Moves, limits, links_of, relations_of
from hare_jax.recourse.exact.relaxation import Interval, Term, relaxed
from hare_jax.space import HALF_STEP, OWN_ROUNDING, ActionSpace

_STRICT = 1e-6  # of a step: the lower end of what is rounded to a step is not part of it
_CLEAR = 2  # times the rounding: a change of a follower that is certainly acted on
_LEAST_MOVE = 1e-6  # a shorter move of a continuous column is a rounding error of the solver


class Related(NamedTuple):
    """What a program has to know of the relations of one row."""

    x: np.ndarray  # (d,)
    space: ActionSpace
    box: Interval  # (d,) of the columns
    coefficients: np.ndarray  # (m, d) of the inequalities
    limits: np.ndarray  # (m,)
    size: np.ndarray  # (m,) sum of the absolute terms


def add(draft: Draft, moved: Moves, related: Related) -> None:
    """Add the constraints of the relations to a `draft` whose first variables are the moves.

    The integer variables are the same for all boxes, and those of relaxed formulas are the last ones.
    """
    own = np.flatnonzero(~moved.follows)
    _add_inequalities(draft, moved, related)
    for column in np.unique(moved.column[moved.follows & moved.integer]):
        if related.space.mutable[column]:
            _add_difference(draft, moved, own[moved.column[own] == column], column)
    most_changes = relations_of(related.space).max_changes
    if most_changes is not None:
        _add_count(draft, moved, own, float(most_changes))
    for link in links_of(related.space):
        _add_follower(draft, moved, related, link)


def _add_inequalities(draft: Draft, moved: Moves, related: Related) -> None:
    """The inequalities, each scaled to terms of the order of 1, and the box of the causes of followers."""
    by_move = related.coefficients @ moved.effect
    room = related.limits - products(related.coefficients, related.x)
    for row, size, upper in zip(by_move, related.size, room, strict=True):
        if np.isfinite(upper):
            _add_dense(draft, row / size, -np.inf, upper / size)
    causes = {k for link in links_of(related.space) for k in formula.columns(link.formula)}
    for column in sorted(causes):
        low, high = (end[column] - related.x[column] for end in related.box)
        _add_dense(draft, moved.effect[column], low, high)


def _add_dense(draft: Draft, by_move: np.ndarray, lower: float, upper: float) -> None:
    used = np.flatnonzero(by_move)
    add_row(draft, dict(zip(used.tolist(), by_move[used], strict=True)), lower, upper)


def _add_follower(draft: Draft, moved: Moves, related: Related, link: Link) -> None:
    """The tie between the shift of a follower, where it is a move of its own, and its causes."""
    index = np.flatnonzero(moved.follows & (moved.column == link.column))
    if not len(index):
        return
    relations = relations_of(related.space)
    scale, offset = relations.scale, relations.offset
    columns = {k: _column(moved, related, k, float(offset[k]), float(scale[k])) for k in formula.columns(link.formula)}
    unit = moved.effect[link.column, index[0]] * scale[link.column]
    before = formula.evaluate(link.formula, offset + scale * related.x)
    term = _affine(link, columns) or relaxed(draft, link.formula, columns)
    below, above = (1 - HALF_STEP - _STRICT, HALF_STEP) if moved.integer[index[0]] else (0.0, 0.0)
    tie = {key: slope / unit for key, slope in term.slopes.items()}
    tie[int(index[0])] = tie.get(int(index[0]), 0.0) - 1
    if np.isfinite([*tie.values(), term.constant]).all():
        middle = (before - term.constant) / unit
        draft_row = {key: slope for key, slope in tie.items() if slope != 0}
        add_row(draft, draft_row, middle - above, middle + below)


def _affine(link: Link, columns: dict[int, Term]) -> Term | None:
    """The term of a formula that is affine once the columns with a fixed value are substituted, otherwise None."""
    known = {k: term.span.low for k, term in columns.items() if term.span.low >= term.span.high}
    found = formula.affine(link.formula, known)
    if found is None:
        return None
    sums: dict[int, float] = {}
    constant = found[1]
    for key in columns:
        coefficient = found[0].get(key, 0.0)
        for variable, slope in columns[key].slopes.items():
            sums[variable] = sums.get(variable, 0.0) + coefficient * slope
        constant += coefficient * columns[key].constant
    return Term(sums, constant, Interval(-np.inf, np.inf))


def _column(moved: Moves, related: Related, column: int, offset: float, scale: float) -> Term:
    """A column in original units, as a term over the moves."""
    by_move = scale * moved.effect[column]
    used = np.flatnonzero(by_move)
    low, high = (offset + scale * end[column] for end in related.box)
    slope = dict(zip(used.tolist(), by_move[used].tolist(), strict=True))
    return Term(slope, float(offset + scale * related.x[column]), Interval(float(low), float(high)))


def _add_difference(draft: Draft, moved: Moves, own: np.ndarray, column: int) -> None:
    """A stepped follower that is acted on does not end at its factual value: it moves by a step up, or one down."""
    if not len(own):
        return
    most = {int(index): float(moved.most[index]) for index in own}
    acted, up = (add_variable(draft, 0, 1, integer=True) for _ in range(2))
    for index, units in most.items():
        add_row(draft, {index: 1.0, acted: -units}, -np.inf, 0.0)
    unit = np.abs(moved.effect[column, own[0]])
    used = np.flatnonzero(moved.effect[column])
    change = dict(zip(used.tolist(), moved.effect[column, used] / unit, strict=True))
    far = 1 + sum(abs(slope) * max(-moved.least[key], moved.most[key]) for key, slope in change.items())
    add_row(draft, change | {up: -far, acted: -far}, 1 - 2 * far, np.inf)  # change >= 1, unless it is down or none
    add_row(draft, change | {up: -far, acted: far}, -np.inf, far - 1)  # change <= -1, unless it is up or none


def _add_count(draft: Draft, moved: Moves, own: np.ndarray, most_changes: float) -> None:
    """At most so many features with an own move."""
    numeric = own[moved.group[own] < 0]
    count = {int(index): 1.0 for index in own[moved.group[own] >= 0]}
    features = np.unique(moved.column[numeric])
    if len(features) + len(np.unique(moved.group[own][moved.group[own] >= 0])) <= most_changes:
        return
    for column in features:
        changed = add_variable(draft, 0, 1, integer=True)
        count[changed] = 1.0
        for index in numeric[moved.column[numeric] == column]:
            add_row(draft, {int(index): 1.0, changed: -float(moved.most[index])}, -np.inf, 0.0)
    add_row(draft, count, -np.inf, most_changes)


def products(coefficients: np.ndarray, point: np.ndarray) -> np.ndarray:
    """`coefficients @ point` (m,), in which a coefficient of 0 makes any value 0."""
    return np.where(coefficients == 0, 0, coefficients * np.where(np.isfinite(point), point, 0)).sum(axis=1)


def after(moved: Moves, values: np.ndarray, x: np.ndarray, space: ActionSpace) -> np.ndarray:
    """The point (d,) after the own moves of `values` (n, ...), and what follows, in the precision of `x` (d,)."""
    units = np.where(moved.follows, 0, values[: len(moved.cost)])
    units = np.where(~moved.integer & (units < _LEAST_MOVE), 0, units)
    own = np.sum(_own_effect(moved, x, space) * units, axis=1)
    point = (x + own).astype(x.dtype)
    numeric = ~np.isin(np.arange(len(x)), [link.column for link in links_of(space)])
    point = np.where(numeric, np.clip(point, np.minimum(space.lower, x), np.maximum(space.upper, x)), point)
    for link in links_of(space):
        shift = _shift(link, x, point, space)
        point[link.column] = _acted_value(link.column, x, point[link.column] - x[link.column], shift, space)
    return point


def _acted_value(column: int, x: np.ndarray, own: float, shift: float, space: ActionSpace) -> float:
    """The value of a follower after its `own` change and its `shift`.

    At its factual value a mutable follower counts as not acted on. So an own change that would return a continuous one
    there ends next to it: on the side of the shift, which is cheaper, or else on the other side.
    """
    rounding, start = _rounding(column, x), float(x[column])
    value = x[column] + own + shift
    if space.step[column] > 0 or abs(own) <= rounding or abs(float(value) - start) > rounding:
        return value
    low, high = (float(end[column]) for end in limits(x, space))
    side = np.sign(shift) * _CLEAR * rounding
    return start + (side if low <= start + side <= high else -side)


def _rounding(column: int, x: np.ndarray) -> float:
    """The change of a follower below which it is rounding."""
    return float(OWN_ROUNDING * (1 + abs(x[column])))


def _own_effect(moved: Moves, x: np.ndarray, space: ActionSpace) -> np.ndarray:
    """The effect (d, n) of the moves without what follows."""
    linked = np.isin(np.arange(len(x)), [link.column for link in links_of(space)])
    itself = np.arange(len(x))[:, None] == moved.column[None, :]
    return np.where(linked[:, None] & ~itself, 0, moved.effect)


def own_change(x: np.ndarray, point: np.ndarray, space: ActionSpace) -> np.ndarray:
    """The change (d,) from `x` to `point`, both (d,), without what only follows, in float64."""
    change = point.astype(float) - x.astype(float)
    for link in links_of(space):
        c, rounding = link.column, _rounding(link.column, x)
        own = change[c] - _shift(link, x, point, space)
        follows = not space.mutable[c] or abs(change[c]) <= rounding or abs(own) <= rounding
        change[c] = 0 if follows else own
    return change


def _shift(link: Link, x: np.ndarray, point: np.ndarray, space: ActionSpace) -> float:
    """By how much, in encoded units, the causes at `point` (d,) move the column of `link`."""
    relations = relations_of(space)
    causes = list(formula.columns(link.formula))
    if (point[causes] == x[causes]).all():
        return 0.0
    offset, scale = relations.offset.astype(x.dtype), relations.scale.astype(x.dtype)
    with np.errstate(all="ignore"):
        before, now = (formula.evaluate(link.formula, offset + scale * z) for z in (x, point))
    shift, step = float(now - before) / float(scale[link.column]), float(space.step[link.column])
    return step * float(np.floor(shift / step + HALF_STEP)) if step > 0 else shift


def broken(related: Related, point: np.ndarray) -> np.ndarray:
    """By how much (m,) a `point` (d,) exceeds the limits, in units of their size."""
    value = products(related.coefficients, point.astype(float))
    return np.where(np.isfinite(related.limits), (value - related.limits) / related.size, -np.inf)
