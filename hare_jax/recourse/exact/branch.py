"""Exact recourse of one row with relations between columns: spatial branch and bound over boxes of the columns.

A formula that is not affine is relaxed over a box (`relaxation`), so the optimum of the program is a lower bound of
the cost there, and no solution proves that there is no recourse. From the solution a recourse is searched: the integers
are fixed, and the box around the continuous columns is narrowed until the formulas are as good as affine. Then the box
is split in a cause of the formula that is relaxed most. Without such a formula there is only one box.
"""

import heapq
import itertools
import time
from typing import NamedTuple

import numpy as np

from hare_jax import formula
from hare_jax.recourse.exact import relations
from hare_jax.recourse.exact.moves import relations_of
from hare_jax.recourse.exact.problem import (
    NONE_EXISTS,
    OPTIMAL,
    UNPROVED,
    Answer,
    Search,
    cost,
    decode,
    program,
    related_of,
    run,
    shortfall,
)
from hare_jax.recourse.exact.relaxation import Interval
from hare_jax.solvers import milp

_GAP = 1e-4  # by which a recourse may cost more than the cheapest one, as a share of its cost
_LOOSE = 1e-5  # of the size of an inequality: by which lower bounds may break it, more than `allows` permits
_INSIDE_ULPS = 50  # by which recourses stay below its limit, so that no projection moves them
_SOLVER = 6e-6  # likewise, where the solver keeps it only to its own tolerance
_ROUNDING_ULPS = 2  # by which a point may break it by rounding
_WIDTHS = (1.0, 0.2, 0.02, 2e-3, 2e-4, 2e-4)  # of the box around a solution, as a share of the whole box
_FIRST_EXACT = 3  # from this width on formulas count as affine: what the logit lacks is added to the target
_NUM_TRIES = 4  # of a program, each with a higher target
_NARROWEST = 1e-9  # a box that is not split
_EDGE = 0.1  # of the width of a box: splits stay that far away from its ends


class _Node(NamedTuple):
    """A box that has not been searched."""

    bound: float  # of the cost
    order: int  # makes the order of nodes unique
    box: Interval  # (d,)


class _Best(NamedTuple):
    """The cheapest recourse so far."""

    point: np.ndarray | None  # (d,)
    cost: float


def cheapest(search: Search) -> Answer:
    """The cheapest recourse of the row; `OPTIMAL` is to within 1e-4 of its cost."""
    nodes = [_Node(0.0, 0, related_of(search).box)]
    best, proved = _Best(None, np.inf), not search.moved.cut.any()
    for order in itertools.count(1):
        if not nodes or nodes[0].bound >= _cutoff(best) or time.perf_counter() >= search.end:
            break
        node = heapq.heappop(nodes)
        best, parts, done = _visit(search, node, best)
        proved &= done
        for part, box in enumerate(parts.boxes):
            heapq.heappush(nodes, _Node(parts.bound, 2 * order + part, box))
    proved &= not nodes or nodes[0].bound >= _cutoff(best)
    return _answer(search, best, proved)


class _Parts(NamedTuple):
    """The parts of a box that are left to search, and a lower bound of their costs."""

    bound: float
    boxes: list[Interval]


def _visit(search: Search, node: _Node, best: _Best) -> tuple[_Best, _Parts, bool]:
    """The cheapest recourse with that of a box, the parts of the box, and whether they contain all that is cheaper."""
    solution = run(search, _relaxation(search, node.box))
    if solution.values is None:
        return best, _Parts(np.inf, []), solution.status == milp.INFEASIBLE
    bound = _cost_of(search, solution.values)
    if bound < _cutoff(best):
        best = _cheaper(search, best, _recourse(search, node.box, solution.values))
    if bound >= _cutoff(best):
        return best, _Parts(np.inf, []), solution.status == milp.OPTIMAL
    parts = _split(search, node.box, solution.values)
    if not parts:
        best, closed = _solve_affine(search, node.box, best)
        return best, _Parts(np.inf, []), closed
    return best, _Parts(bound, parts), solution.status == milp.OPTIMAL


def _solve_affine(search: Search, box: Interval, best: _Best) -> tuple[_Best, bool]:
    """The cheapest recourse with that of a `box` with affine formulas, and whether it is the optimum: without room."""
    related = related_of(search)
    free = related._replace(box=box, limits=_inner_limits(search, np.zeros(len(related.limits), bool)))
    for index in range(_NUM_TRIES):
        solution = run(search, program(search, _target(search) + index * 2 * search.rounding, free))
        if solution.values is None:
            return best, solution.status == milp.INFEASIBLE and _is_empty(search, box)
        point = _recourse(search, box, solution.values)
        if point is not None:
            return _cheaper(search, best, point), solution.status == milp.OPTIMAL
    return best, False


def _is_empty(search: Search, box: Interval) -> bool:
    """Whether a `box` with affine formulas contains no point that could count as a recourse."""
    related = related_of(search)
    at_most = related.limits + _ROUNDING_ULPS * _eps(search) * related.size
    least = float(search.precise.margin) - 2 * search.rounding
    return run(search, program(search, least, related._replace(box=box, limits=at_most))).status == milp.INFEASIBLE


def _target(search: Search) -> float:
    return float(search.precise.margin) + 2 * search.rounding


def _answer(search: Search, best: _Best, proved: bool) -> Answer:
    if best.point is None:
        return Answer(search.problem.x, NONE_EXISTS if proved else UNPROVED)
    return Answer(best.point, OPTIMAL if proved else UNPROVED)


def _cutoff(best: _Best) -> float:
    """The lower bound from which on a box contains nothing that is much cheaper."""
    return best.cost * (1 - _GAP) if np.isfinite(best.cost) else np.inf


def _cost_of(search: Search, values: np.ndarray) -> float:
    return float(search.moved.cost @ values[: len(search.moved.cost)])


def _cheaper(search: Search, best: _Best, point: np.ndarray | None) -> _Best:
    if point is None:
        return best
    found = _Best(point, cost(search.problem, point))
    return found if found.cost < best.cost else best


def _relaxation(search: Search, box: Interval) -> milp.Program:
    """The program of a lower bound: everything that rounding may let pass."""
    related = related_of(search)
    loose = related._replace(box=box, limits=related.limits + _LOOSE * related.size)
    return program(search, float(search.precise.margin) - 2 * search.rounding, loose)


def _recourse(search: Search, box: Interval, values: np.ndarray) -> np.ndarray | None:
    """An allowed and accepted point (d,) near a solution of the relaxation, with the same integers."""
    related = related_of(search)
    point = decode(search, values)
    tight, target = np.zeros(len(related.limits), bool), _target(search)
    for index, width in enumerate(_WIDTHS):
        short, over = shortfall(search, point), _over(search, point)
        if short <= 0 and not over.any():
            return point
        tight |= over
        target += 2 * max(short, 0) if index >= _FIRST_EXACT else 0
        limits = _inner_limits(search, tight, _SOLVER if index >= _FIRST_EXACT else 0.0)
        nearby = related._replace(box=_narrowed(search, box, values, width), limits=limits)
        solution = run(search, _with_integers(program(search, target, nearby), values))
        if solution.values is None:
            return None
        values = solution.values
        point = decode(search, values)
    accepted = shortfall(search, point) <= 0 and not _over(search, point).any()
    return point if accepted else None


def _with_integers(free: milp.Program, values: np.ndarray) -> milp.Program:
    """The linear program with the integers of a solution for another box, in which other formulas may be affine."""
    num = min(len(values), len(free.cost))
    return milp.fixed(free, np.append(values[:num], np.zeros(len(free.cost) - num)))


def _eps(search: Search) -> float:
    """A unit of rounding of the row."""
    return float(np.finfo(search.problem.x.dtype).eps)


def _over(search: Search, point: np.ndarray) -> np.ndarray:
    """Which inequalities (m,) a point (d,) breaks by more than rounding."""
    return relations.broken(related_of(search), point) > _ROUNDING_ULPS * _eps(search)


def _inner_limits(search: Search, tight: np.ndarray, inside_share: float = 0.0) -> np.ndarray:
    """Limits (m,) a little inside: not where whole moves decide, nor, unless `tight` (m,), where the factual is."""
    related, moved = related_of(search), search.moved
    inside = related.limits - max(inside_share, _INSIDE_ULPS * _eps(search)) * related.size
    whole = (related.coefficients @ moved.effect[:, ~moved.integer] == 0).all(axis=1)
    at_factual = relations.products(related.coefficients, related.x)
    limits = np.maximum(inside, np.where(tight, -np.inf, at_factual))
    return np.where(whole, related.limits + _ROUNDING_ULPS * _eps(search) * related.size, limits)


def _moved_to(search: Search, values: np.ndarray) -> np.ndarray:
    """The columns (d,) of a solution as the program has them, where formulas are relaxed."""
    moved = search.moved
    return search.precise.x + moved.effect @ values[: len(moved.cost)]


def _narrowed(search: Search, box: Interval, values: np.ndarray, width: float) -> Interval:
    """The part of the `box` around a solution; columns that only whole moves change are fixed."""
    centre = _moved_to(search, values)
    whole = (search.moved.effect[:, ~search.moved.integer] == 0).all(axis=1)
    radius = np.where(whole, 0, width * (box.high - box.low))
    return Interval(np.clip(centre - radius, box.low, box.high), np.clip(centre + radius, box.low, box.high))


def _split(search: Search, box: Interval, values: np.ndarray) -> list[Interval]:
    """The halves of the `box` by a cause of the formula whose relaxation is furthest from its value; or nothing."""
    at = _moved_to(search, values)
    column = _most_relaxed(search, box, at)
    if column is None:
        return []
    low, high = box.low[column], box.high[column]
    edge = _EDGE * (high - low)
    split = float(np.clip(at[column], low + edge, high - edge))
    ends = split, split
    step = float(search.precise.space.step[column])
    if step > 0:
        below = low + step * min(np.floor((split - low) / step), np.round((high - low) / step) - 1)
        ends = below, below + step
    upper, lower = box.high.copy(), box.low.copy()
    upper[column], lower[column] = ends
    return [Interval(box.low, upper), Interval(lower, box.high)]


def _most_relaxed(search: Search, box: Interval, at: np.ndarray) -> int | None:
    """The widest cause of the formula, not affine in the box, whose follower is furthest from where it should be."""
    given, moved = relations_of(search.precise.space), search.moved
    original, scale = given.offset + given.scale * at, given.scale
    worst, found = -1.0, None
    for link in given.links:
        causes = [k for k in formula.columns(link.formula) if box.high[k] - box.low[k] > _NARROWEST]
        fixed = {k: float(original[k]) for k in formula.columns(link.formula) if k not in causes}
        shifts = np.flatnonzero(moved.follows & (moved.column == link.column))
        if not len(shifts) or not causes or formula.affine(link.formula, fixed) is not None:
            continue
        whole = related_of(search).box
        error = _error(search, link.column, link.formula, at) / float(scale[link.column])
        if error > worst:
            share = [(box.high[k] - box.low[k]) / (whole.high[k] - whole.low[k]) for k in causes]
            worst, found = error, causes[int(np.argmax(share))]
    return found


def _error(search: Search, column: int, expression: formula.Expression, at: np.ndarray) -> float:
    """The distance of the shift of a follower in the program, at the columns `at` (d,), from that of its formula."""
    given, x = relations_of(search.precise.space), search.precise.x
    with np.errstate(all="ignore"):
        before, after = (formula.evaluate(expression, given.offset + given.scale * z) for z in (x, at))
    error = abs(float(after - before) - given.scale[column] * (at[column] - x[column]))
    return error if np.isfinite(error) else np.inf
