"""What the searches for the exact recourse of one row share: its program, and its points as the classifier sees them.

HiGHS keeps constraints to 1e-6, and the classifier rounds in the precision of the row. So the program asks for a little
more than the margin, and a solution counts only if the network, evaluated in this precision, reaches the margin.
"""

import time
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from hare_jax.base import ActionSpace
from hare_jax.models.network import Layer
from hare_jax.recourse.exact import model, moves, relations
from hare_jax.recourse.exact.model import Range
from hare_jax.recourse.exact.moves import Moves
from hare_jax.recourse.exact.relations import Related
from hare_jax.solvers import milp

OPTIMAL, NONE_EXISTS, UNPROVED = 0, 1, 2  # the status of an answer

_AT_LIMIT = 1.1  # units of slack from its limit at which a row of inequalities has none
_ROUNDING_ULPS = 1  # of the sum of all absolute terms of a logit, which is far more than it loses


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
    rows: Any = None  # `space.relations.Rows` of inequalities, if the space has relations


class Answer(NamedTuple):
    """A point, and what is known of it."""

    x: np.ndarray  # (d,) the factual if there is no recourse
    status: int  # OPTIMAL; NONE_EXISTS; UNPROVED: the best point found, if any


class Search(NamedTuple):
    """What the tries for one row and budget share."""

    problem: Problem  # in its own precision
    precise: Problem  # in float64
    moved: Moves
    bounds: list[Range]  # of the inputs of all units
    budget: float  # the most that a recourse may cost
    rounding: float  # of a logit
    end: float  # the time of `time.perf_counter` at which the search stops
    related: Related | None  # the relations of the row; its limits are those that a point keeps


def start(problem: Problem, budget: float, end: float) -> Search:
    """The search for a recourse that costs at most `budget`, until the time `end`."""
    precise = jax.tree.map(_precise, problem)
    precise = precise._replace(space=moves.without_undefined(precise.x, precise.space))
    sizes = jax.tree.map(np.abs, precise.layers)
    rounding = _ROUNDING_ULPS * float(np.finfo(problem.x.dtype).eps) * logit(sizes, np.abs(precise.x))
    moved = moves.moves(precise.x, precise.space, precise.weights, budget)
    moved = moved._replace(cut=moved.cut | moves.holds_causes(precise.x, precise.space))
    bounds = model.ranges(precise.layers, moved, precise.x)
    related = None if precise.space.relations is None else _related(precise, moved)
    return Search(problem, precise, moved, bounds, budget, rounding, end, related)


def _precise(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(float) if np.issubdtype(leaf.dtype, np.floating) else leaf


def _related(precise: Problem, moved: Moves) -> Related:
    """The relations of the row, with the limits (m,) of the space, or the values that the factual has beyond them."""
    x, space, rows = precise.x, precise.space, precise.rows
    value = relations.products(rows.coefficients, x)
    beyond = rows.limits - value <= _AT_LIMIT * rows.slack
    size = (np.abs(rows.coefficients) * (1 + np.abs(x))).sum(axis=1)
    limits = np.where(beyond, value, rows.limits)
    return Related(x, space, moves.spans(moved, x, space), rows.coefficients, limits, size)


def related_of(search: Search) -> Related:
    """The relations of a row that has some."""
    return cast(Related, search.related)


def program(search: Search, target: float, related: Related | None = None) -> milp.Program:
    """The program for a logit of at least `target`, within the limits and the box of `related`."""
    precise = search.precise
    return model.program(
        precise.layers, search.moved, precise.x, search.bounds, target, search.budget, related or search.related
    )


def run(search: Search, program: milp.Program) -> milp.Solution:
    """The solution of a program, within the time that is left."""
    left = search.end - time.perf_counter()
    if left <= 0:
        return milp.Solution(None, milp.UNFINISHED)
    return milp.solve(program, time_limit=left, gap=float(search.precise.gap))


def decode(search: Search, values: np.ndarray) -> np.ndarray:
    """The point (d,) of a solution, in the precision of the row."""
    x, space = search.problem.x, search.problem.space
    if space.relations is not None:
        return relations.after(search.moved, values, x, space)
    moved = search.precise.x + search.moved.effect @ values[: len(search.moved.cost)]
    lower, upper = np.minimum(space.lower, x), np.maximum(space.upper, x)
    return np.clip(moved.astype(x.dtype), lower, upper)


def shortfall(search: Search, point: np.ndarray) -> float:
    """What the logit of `point` (d,) lacks of the margin, and of its own rounding."""
    problem = search.problem
    return float(problem.margin) + search.rounding - float(logit(problem.layers, point))


def logit(layers: list[Layer], x: np.ndarray) -> Any:
    """The logit () of the network at `x` (d,), in its precision."""
    *hidden, last = layers
    for layer in hidden:
        x = np.maximum(layer.weight @ x + layer.bias, 0)
    return (last.weight @ x + last.bias)[0]


def cost(problem: Problem, point: np.ndarray) -> float:
    """The cost of the change from the row to `point` (d,)."""
    change = relations.own_change(problem.x, point, problem.space)
    return float(problem.weights.astype(float) @ np.abs(change))
