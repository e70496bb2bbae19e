"""The moves of one row: the variables of its program that change the input of the classifier.

An *own move* is the whole steps by which an ordered column rises or falls, the length by which a continuous column
does, or the switch of a one-hot group to another level. What can't change is no move. With links between columns, a
unit of a move also changes the columns that follow by an affine formula. Where the formula is not affine, or what
follows is rounded to whole steps, the shift of the follower is a move of its own, without a cost, that
`relations` ties to its causes. The input is `x + effect @ moves`. Everything is NumPy, in float64.
"""

from typing import Any, NamedTuple, cast

import numpy as np

from hare_jax import formula
from hare_jax.base import Link, Relations
from hare_jax.recourse.exact.relaxation import Interval, interval
from hare_jax.space import FURTHEST, GRID_TOLERANCE, HALF_STEP, ActionSpace, is_one


class Moves(NamedTuple):
    """The n moves of a row."""

    effect: np.ndarray  # (d, n) change of each column by a unit of each move
    cost: np.ndarray  # (n,) of a unit
    least: np.ndarray  # (n,) 0, below 0 for the shift of a follower
    most: np.ndarray  # (n,)
    integer: np.ndarray  # (n,) bool
    group: np.ndarray  # (n,) id of the one-hot group whose level is switched, -1 for other moves
    cut: np.ndarray  # (n,) bool: it has no bound, and `most` is a limit of the program
    column: np.ndarray  # (n,) that moves itself
    follows: np.ndarray  # (n,) bool: the shift of a follower, no own move


def moves(x: np.ndarray, space: ActionSpace, weights: np.ndarray, budget: float) -> Moves:
    """The moves of the row `x` (d,) that cost at most `budget`, which is infinite or the cost of a known recourse."""
    parts = _changes(x, space, weights, 1), _changes(x, space, weights, -1), _switches(x, space, weights)
    found = _affordable(Moves(*(np.concatenate(fields, axis=-1) for fields in zip(*parts, strict=True))), budget)
    for link in links_of(space):
        found = _affordable(_with_follower(found, link, x, space), budget)
    kept = (found.most > 0) | (found.least < 0) | found.follows
    return Moves(*(field[..., kept] for field in found))


def _affordable(moved: Moves, budget: float) -> Moves:
    """`moved` without the units that cost more than `budget`."""
    affordable = np.divide(budget, moved.cost, out=np.full(len(moved.cost), np.inf), where=moved.cost > 0)
    whole = np.floor(affordable * (1 + GRID_TOLERANCE))
    most = np.minimum(moved.most, np.where(moved.integer, whole, affordable))
    return moved._replace(most=most, cut=moved.cut & (most >= moved.most))


def _changes(x: np.ndarray, space: ActionSpace, weights: np.ndarray, sign: int) -> Moves:
    """The own moves of continuous and ordered columns in one direction: +1 or -1."""
    mutable, lower, upper, direction, group, step = map(np.asarray, space[:6])
    end = np.maximum(upper, x) if sign > 0 else np.minimum(lower, x)
    free = mutable & (group < 0) & (direction * sign >= 0)
    ordered = step > 0
    unit = np.where(ordered, step, 1)
    endless = free & np.isinf(end)
    reach = np.where(endless, FURTHEST, np.where(free, sign * (end - x), 0)) / unit
    most = np.where(ordered, np.floor(reach + GRID_TOLERANCE), reach)
    ids, never = np.full(len(x), -1), np.zeros(len(x), bool)
    columns = np.arange(len(x))
    return Moves(sign * np.diag(unit), weights * unit, np.zeros(len(x)), most, ordered, ids, endless, columns, never)


def _switches(x: np.ndarray, space: ActionSpace, weights: np.ndarray) -> Moves:
    """The switches of one-hot groups from the level of `x` to each other open level."""
    mutable, _, upper, _, group, _ = map(np.asarray, space[:6])
    possible = mutable & (group >= 0) & is_one(upper) & ~is_one(x)
    left = (group[:, None] == group[None, :]) & is_one(x)[:, None]  # (d, d) whether the switch to j leaves level i
    cost, never = weights + left.T @ weights, np.zeros(len(x), bool)
    most, columns = possible.astype(float), np.arange(len(x))
    every = Moves(np.eye(len(x)) - left, cost, np.zeros(len(x)), most, possible, group, never, columns, never)
    return Moves(*(field[..., possible] for field in every))


def limits(x: np.ndarray, space: ActionSpace) -> Interval:
    """The bounds (d,), (d,) of all columns from `x` (d,), as if they were mutable."""
    lower, upper, direction = np.minimum(space.lower, x), np.maximum(space.upper, x), np.asarray(space.direction)
    return Interval(np.where(direction <= 0, lower, x), np.where(direction >= 0, upper, x))


def spans(moved: Moves, x: np.ndarray, space: ActionSpace) -> Interval:
    """The least and the largest value (d,), (d,) of each column after the moves: whole steps of ordered columns."""
    ends = moved.effect * moved.least, moved.effect * moved.most
    low, high = (end - x for end in limits(x, space))
    fall, rise = (np.clip(end.sum(axis=1), low, high) for end in (np.minimum(*ends), np.maximum(*ends)))
    ordered = np.asarray(space.step) > 0
    unit = np.where(ordered, space.step, 1)
    up, down = np.ceil(fall / unit - GRID_TOLERANCE), np.floor(rise / unit + GRID_TOLERANCE)
    return Interval(x + np.where(ordered, unit * up, fall), x + np.where(ordered, unit * down, rise))


def at_factual(link: Link, x: np.ndarray, space: ActionSpace) -> float:
    """The value of the formula of a `link` at the factual `x` (d,), in original units."""
    relations = relations_of(space)
    with np.errstate(all="ignore"):
        return float(formula.evaluate(link.formula, relations.offset + relations.scale * x))


def without_undefined(x: np.ndarray, space: ActionSpace) -> ActionSpace:
    """`space` in which no column moves that a formula needs which is not finite at the factual `x` (d,)."""
    held = _undefined(x, space)
    lower, upper = (np.where(held, x, end) for end in (space.lower, space.upper))
    bounds: dict[str, Any] = {"lower": lower, "upper": upper}
    return space._replace(mutable=space.mutable & ~held, **bounds)


def _undefined(x: np.ndarray, space: ActionSpace) -> np.ndarray:
    """Which columns (d,) have to stay at the factual `x` (d,), or a formula is not finite before a change.

    A continuous follower among them holds its causes too; a stepped one stays where they move it by less than a step.
    """
    fixed = np.zeros(len(x), bool)
    for link in reversed(links_of(space)):  # effects before causes
        moves_with_causes = fixed[link.column] and space.step[link.column] == 0
        if moves_with_causes or not np.isfinite(at_factual(link, x, space)):
            fixed[list(formula.columns(link.formula))] = True
    return fixed


def holds_causes(x: np.ndarray, space: ActionSpace) -> bool:
    """Whether `without_undefined` holds the causes of a continuous follower, which could also cancel out."""
    held = _undefined(x, space)
    return any(held[link.column] and space.step[link.column] == 0 for link in links_of(space))


def links_of(space: ActionSpace) -> tuple[Link, ...]:
    """The links of a space, causes before effects."""
    return () if space.relations is None else space.relations.links


def relations_of(space: ActionSpace) -> Relations:
    """The relations of a space that has some."""
    return cast(Relations, space.relations)


def slopes(link: Link, x: np.ndarray, space: ActionSpace, span: Interval) -> np.ndarray | None:
    """The slopes (d,) of a follower by each column, in encoded units; None if its formula is not affine in them."""
    relations = relations_of(space)
    fixed = span.low >= span.high
    original = relations.offset + relations.scale * span.low
    found = formula.affine(link.formula, {k: original[k] for k in formula.columns(link.formula) if fixed[k]})
    if found is None:
        return None
    slope = np.zeros(len(x))
    for column in formula.columns(link.formula):
        slope[column] = found[0].get(column, 0.0) * relations.scale[column] / relations.scale[link.column]
    return slope


def _with_follower(moved: Moves, link: Link, x: np.ndarray, space: ActionSpace) -> Moves:
    """`moved` with what follows in the column of `link`, from moves that contain its causes."""
    if not np.isfinite(at_factual(link, x, space)):  # its causes do not move
        still = Interval(0.0, 0.0)
        return _with_own_reach(moved, link.column, still, x, space) if space.mutable[link.column] else moved
    span, step = spans(moved, x, space), float(space.step[link.column])
    slope = slopes(link, x, space, span)
    shift = _shifts(link, slope, x, space, span)
    if slope is not None and step == 0:
        effect = moved.effect.copy()
        effect[link.column] += slope @ moved.effect
        moved = moved._replace(effect=effect)
    else:
        moved, shift = _with_shift(moved, link.column, shift, x, space)
    return _with_own_reach(moved, link.column, shift, x, space) if space.mutable[link.column] else moved


def _shifts(link: Link, slope: np.ndarray | None, x: np.ndarray, space: ActionSpace, span: Interval) -> Interval:
    """By how much a follower may move with its causes, in encoded units; perhaps infinite."""
    if slope is not None:
        ends = slope * (span.low - x), slope * (span.high - x)
        return Interval(np.minimum(*ends).sum(), np.maximum(*ends).sum())
    relations = relations_of(space)
    original = Interval(*(relations.offset + relations.scale * end for end in span))
    before = at_factual(link, x, space)
    found = interval(link.formula, original)
    return Interval(*((end - before) / relations.scale[link.column] for end in found))


def _with_shift(
    moved: Moves, column: int, shift: Interval, x: np.ndarray, space: ActionSpace
) -> tuple[Moves, Interval]:
    """`moved` with the shift of a follower as a move of its own, and its range."""
    low, high = (end[column] - x[column] for end in limits(x, space))
    if not space.mutable[column]:  # no own change keeps it within its bounds
        shift = Interval(max(shift.low, low), min(shift.high, high))
    cut = not (shift.low > -FURTHEST and shift.high < FURTHEST)
    shift = Interval(max(shift.low, -FURTHEST), min(shift.high, FURTHEST)) if cut else shift
    step = float(space.step[column])
    unit = step if step > 0 else 1.0
    if step > 0:
        shift = Interval(*(step * np.floor(end / step + HALF_STEP) for end in shift))
    effect = unit * (np.arange(len(x)) == column)[:, None]
    ends = (np.round(end / unit) if step > 0 else end for end in shift)
    new = (effect, 0.0, *ends, step > 0, -1, cut, column, True)
    added = Moves(*(np.append(old, np.reshape(value, (*old.shape[:-1], 1)), axis=-1)
                    for old, value in zip(moved, new, strict=True)))  # fmt: skip
    return added, shift


def _with_own_reach(moved: Moves, column: int, shift: Interval, x: np.ndarray, space: ActionSpace) -> Moves:
    """`moved` with own moves of a follower as long as its bounds permit, whatever it follows."""
    low, high = (end[column] for end in limits(x, space))
    step = float(space.step[column])
    reach = {1.0: high - x[column] - shift.low, -1.0: x[column] + shift.high - low}
    most, cut = moved.most.copy(), moved.cut.copy()
    for index in np.flatnonzero((moved.column == column) & ~moved.follows):
        units = min(reach[np.sign(moved.effect[column, index])], FURTHEST) / (step if step > 0 else 1)
        most[index] = max(np.floor(units + GRID_TOLERANCE) if step > 0 else units, 0)
        cut[index] = most[index] * (step if step > 0 else 1) >= FURTHEST
    return moved._replace(most=most, cut=cut)
