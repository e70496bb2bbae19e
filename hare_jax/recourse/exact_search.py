"""Exact recourse of one row on the host: solve its program, and evaluate the solution as the classifier itself would.

HiGHS keeps constraints to 1e-6, and the classifier rounds in the precision of the row. So the program asks for a little
more than the margin, and a solution counts only if the network, evaluated in this precision, reaches the margin. If it
does not, the linear program of the same integers is solved for a higher logit, and then the whole program.
"""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from hare_jax.base import ActionSpace
from hare_jax.models.network import Layer
from hare_jax.recourse import exact_model
from hare_jax.recourse.exact_model import Moves, Range
from hare_jax.solvers import milp

OPTIMAL, NONE_EXISTS, UNPROVED = 0, 1, 2  # the status of an answer

_ROUNDING_ULPS = 1  # of the sum of all absolute terms of a logit, which is far more than it loses
_NUM_TRIES = 4  # each with a higher target
_ROOM = 1e-3  # of the budget above the cost of the known recourse, so that rounding does not exclude the optimum


class Problem(NamedTuple):
    """One row: NumPy arrays, in the precision of the row."""

    layers: list[Layer]  # of the classifier
    x: Any  # (d,)
    space: ActionSpace
    weights: Any  # (d,) of the cost
    known: Any  # (d,) a recourse, whose cost is a bound
    is_known: Any  # () bool: whether there is one
    margin: Any  # ()
    time_limit: Any  # () seconds
    gap: Any  # () relative


class Answer(NamedTuple):
    """A point, and what is known of it."""

    x: np.ndarray  # (d,) the factual if there is no recourse
    status: int  # OPTIMAL; NONE_EXISTS; UNPROVED: the best point found, if any


class _Search(NamedTuple):
    """What the tries for one row and budget share."""

    problem: Problem  # in its own precision
    precise: Problem  # in float64
    moved: Moves
    bounds: list[Range]  # of the inputs of all units
    budget: float  # the most that a recourse may cost
    rounding: float  # of a logit
    end: float  # the time of `time.perf_counter` at which the search stops


def solve(problem: Problem) -> Answer:
    """The cheapest recourse of a row.

    The cost of the known recourse, with some room, bounds the moves and so the inputs of all units, which makes the
    program small. If the solver calls this program infeasible, it is wrong, and the one without the bound is solved.
    """
    if _logit(problem.layers, problem.x) >= problem.margin:
        return Answer(problem.x, OPTIMAL)
    end = time.perf_counter() + float(problem.time_limit)
    if not problem.is_known:
        return _cheapest(_search(problem, np.inf, end))
    known_cost = _cost(problem, problem.known)
    room = _ROOM * max(known_cost, float(problem.weights.max()))
    answer = _cheapest(_search(problem, known_cost + room, end))
    if answer.status == NONE_EXISTS:
        answer = _cheapest(_search(problem, np.inf, end))
    better = _logit(problem.layers, answer.x) >= problem.margin and _cost(problem, answer.x) <= known_cost
    return answer if better else Answer(problem.known, OPTIMAL if answer.status == OPTIMAL else UNPROVED)


def _search(problem: Problem, budget: float, end: float) -> _Search:
    precise = jax.tree.map(_precise, problem)
    sizes = jax.tree.map(np.abs, precise.layers)
    rounding = _ROUNDING_ULPS * float(np.finfo(problem.x.dtype).eps) * _logit(sizes, np.abs(precise.x))
    moved = exact_model.moves(precise.x, precise.space, precise.weights, budget)
    bounds = exact_model.ranges(precise.layers, moved, precise.x)
    return _Search(problem, precise, moved, bounds, budget, rounding, end)


def _precise(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(float) if np.issubdtype(leaf.dtype, np.floating) else leaf


def _cheapest(search: _Search) -> Answer:
    """The cheapest recourse within the budget."""
    target = float(search.precise.margin) + 2 * search.rounding
    nothing = search.problem.x
    least = float(search.precise.margin) - 2 * search.rounding
    if search.bounds[-1].high[0] < least:
        return Answer(nothing, _none(search))
    for index in range(_NUM_TRIES):
        solution = _solve(search, _program(search, target))
        if solution.values is None:
            infeasible = solution.status == milp.INFEASIBLE and index == 0
            proved = infeasible and _solve(search, _program(search, least)).status == milp.INFEASIBLE
            return Answer(nothing, _none(search) if proved else UNPROVED)
        point = _accepted_point(search, solution.values, target)
        if point is not None:
            proved = solution.status == milp.OPTIMAL and not search.moved.cut.any()
            return Answer(point, OPTIMAL if proved else UNPROVED)
        target += 2 * max(_shortfall(search, _decode(search, solution.values)), search.rounding)
    return Answer(nothing, UNPROVED)


def _none(search: _Search) -> int:
    """The status where the program has no solution: a proof, unless it limits a move that has no bound."""
    return UNPROVED if search.moved.cut.any() else NONE_EXISTS


def _accepted_point(search: _Search, values: np.ndarray, target: float) -> np.ndarray | None:
    """The point (d,) of a solution, or one of a slightly higher logit with the same integers; None if it is refused."""
    point = _decode(search, values)
    shortfall = _shortfall(search, point)
    if shortfall <= 0:
        return point
    raised = _solve(search, milp.fixed(_program(search, target + 2 * shortfall), values))
    if raised.values is None:
        return None
    point = _decode(search, raised.values)
    return point if _shortfall(search, point) <= 0 else None


def _program(search: _Search, target: float) -> milp.Program:
    precise = search.precise
    return exact_model.program(precise.layers, search.moved, precise.x, search.bounds, target, search.budget)


def _solve(search: _Search, program: milp.Program) -> milp.Solution:
    left = search.end - time.perf_counter()
    if left <= 0:
        return milp.Solution(None, milp.UNFINISHED)
    return milp.solve(program, time_limit=left, gap=float(search.precise.gap))


def _decode(search: _Search, values: np.ndarray) -> np.ndarray:
    """The point (d,) of a solution, in the precision of the row."""
    x, space = search.problem.x, search.problem.space
    moved = search.precise.x + search.moved.effect @ values[: len(search.moved.cost)]
    lower, upper = np.minimum(space.lower, x), np.maximum(space.upper, x)
    return np.clip(moved.astype(x.dtype), lower, upper)


def _shortfall(search: _Search, point: np.ndarray) -> float:
    """What the logit of `point` (d,) lacks of the margin, and of its own rounding."""
    problem = search.problem
    return float(problem.margin) + search.rounding - float(_logit(problem.layers, point))


def _logit(layers: list[Layer], x: np.ndarray) -> Any:
    *hidden, last = layers
    for layer in hidden:
        x = np.maximum(layer.weight @ x + layer.bias, 0)
    return (last.weight @ x + last.bias)[0]


def _cost(problem: Problem, point: np.ndarray) -> float:
    return float(problem.weights.astype(float) @ np.abs(point.astype(float) - problem.x.astype(float)))
