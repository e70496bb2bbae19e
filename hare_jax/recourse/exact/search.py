"""Exact recourse of one row on the host: solve its program, and evaluate the solution as the classifier itself would.

If the network refuses a solution, by rounding, the linear program of the same integers is solved for a higher logit,
and then the whole program. With relations between columns, `branch` searches instead.
"""

import time

import numpy as np

from hare_jax.recourse.exact import branch
from hare_jax.recourse.exact.problem import (
    NONE_EXISTS,
    OPTIMAL,
    UNPROVED,
    Answer,
    Problem,
    Search,
    cost,
    decode,
    logit,
    program,
    run,
    shortfall,
    start,
)
from hare_jax.solvers import milp

_NUM_TRIES = 4  # each with a higher target
_ROOM = 1e-3  # of the budget above the cost of the known recourse, so that rounding does not exclude the optimum


def solve(problem: Problem) -> Answer:
    """The cheapest recourse of a row.

    The cost of the known recourse, with some room, bounds the moves and so the inputs of all units, which makes the
    program small. If the solver calls this program infeasible, it is wrong, and the one without the bound is solved.
    """
    if logit(problem.layers, problem.x) >= problem.margin:
        return Answer(problem.x, OPTIMAL)
    end = time.perf_counter() + float(problem.time_limit)
    if not problem.is_known:
        return _cheapest(start(problem, np.inf, end))
    known_cost = cost(problem, problem.known)
    room = _ROOM * max(known_cost, float(problem.weights.max()))
    answer = _cheapest(start(problem, known_cost + room, end))
    if answer.status == NONE_EXISTS:
        answer = _cheapest(start(problem, np.inf, end))
    better = logit(problem.layers, answer.x) >= problem.margin and cost(problem, answer.x) <= known_cost
    return answer if better else Answer(problem.known, OPTIMAL if answer.status == OPTIMAL else UNPROVED)


def _cheapest(search: Search) -> Answer:
    """The cheapest recourse within the budget."""
    if search.related is not None:
        return branch.cheapest(search)
    target = float(search.precise.margin) + 2 * search.rounding
    nothing = search.problem.x
    least = float(search.precise.margin) - 2 * search.rounding
    if search.bounds[-1].high[0] < least:
        return Answer(nothing, _none(search))
    for index in range(_NUM_TRIES):
        solution = run(search, program(search, target))
        if solution.values is None:
            infeasible = solution.status == milp.INFEASIBLE and index == 0
            proved = infeasible and run(search, program(search, least)).status == milp.INFEASIBLE
            return Answer(nothing, _none(search) if proved else UNPROVED)
        point = _accepted_point(search, solution.values, target)
        if point is not None:
            proved = solution.status == milp.OPTIMAL and not search.moved.cut.any()
            return Answer(point, OPTIMAL if proved else UNPROVED)
        target += 2 * max(shortfall(search, decode(search, solution.values)), search.rounding)
    return Answer(nothing, UNPROVED)


def _none(search: Search) -> int:
    """The status where the program has no solution: a proof, unless it limits a move that has no bound."""
    return UNPROVED if search.moved.cut.any() else NONE_EXISTS


def _accepted_point(search: Search, values: np.ndarray, target: float) -> np.ndarray | None:
    """The point (d,) of a solution, or one of a slightly higher logit with the same integers; None if it is refused."""
    point = decode(search, values)
    short = shortfall(search, point)
    if short <= 0:
        return point
    raised = run(search, milp.fixed(program(search, target + 2 * short), values))
    if raised.values is None:
        return None
    point = decode(search, raised.values)
    return point if shortfall(search, point) <= 0 else None
