"""The cheapest recourse of one row as a mixed-integer linear program, for a network of rectified linear units.

A *move* is a variable of the program: the whole steps by which an ordered column rises or falls, the length by which a
continuous column does, or the switch of a one-hot group to another level. What can't change is no variable. The input
of the network is `x + effect @ moves`, and the cost is linear in the moves.

A unit is `a = max(z, 0)` with `z` between `low` and `high`, which interval arithmetic gives. If both have one sign, the
unit is linear; otherwise it has a binary variable `on`, and `a >= z`, `a <= z - low (1 - on)`, `a <= high on`. Here
everything is NumPy, in float64.
"""

from typing import NamedTuple

import numpy as np

from hare_jax.models.network import Layer
from hare_jax.solvers.milp import Program
from hare_jax.space import FURTHEST, GRID_TOLERANCE, ActionSpace, is_one


class Moves(NamedTuple):
    """The n moves of a row, each at least 0."""

    effect: np.ndarray  # (d, n) change of each column by a unit of each move
    cost: np.ndarray  # (n,) of a unit
    most: np.ndarray  # (n,)
    integer: np.ndarray  # (n,) bool
    group: np.ndarray  # (n,) id of the one-hot group whose level is switched, -1 for other moves
    cut: np.ndarray  # (n,) bool: it has no bound, and `most` is a limit of the program


class Range(NamedTuple):
    """Bounds of the inputs of the units of a layer."""

    low: np.ndarray  # (units,)
    high: np.ndarray  # (units,)


def moves(x: np.ndarray, space: ActionSpace, weights: np.ndarray, budget: float) -> Moves:
    """The moves of the row `x` (d,) that cost at most `budget`, which is infinite or the cost of a known recourse."""
    parts = _changes(x, space, weights, 1), _changes(x, space, weights, -1), _switches(x, space, weights)
    found = Moves(*(np.concatenate(fields, axis=-1) for fields in zip(*parts, strict=True)))
    affordable = np.divide(budget, found.cost, out=np.full(len(found.cost), np.inf), where=found.cost > 0)
    whole = np.floor(affordable * (1 + GRID_TOLERANCE))
    most = np.minimum(found.most, np.where(found.integer, whole, affordable))
    kept, cut = most > 0, found.cut & (most >= found.most)
    columns = found.cost, most, found.integer, found.group, cut
    return Moves(found.effect[:, kept], *(column[kept] for column in columns))


def _changes(x: np.ndarray, space: ActionSpace, weights: np.ndarray, sign: int) -> Moves:
    """The moves of continuous and ordered columns in one direction: +1 or -1."""
    mutable, lower, upper, direction, group, step, *_ = map(np.asarray, space)
    end = np.maximum(upper, x) if sign > 0 else np.minimum(lower, x)
    free = mutable & (group < 0) & (direction * sign >= 0)
    ordered = step > 0
    unit = np.where(ordered, step, 1)
    endless = free & np.isinf(end)
    reach = np.where(endless, FURTHEST, np.where(free, sign * (end - x), 0)) / unit
    most = np.where(ordered, np.floor(reach + GRID_TOLERANCE), reach)
    return Moves(sign * np.diag(unit), weights * unit, most, ordered, np.full(len(x), -1), endless)


def _switches(x: np.ndarray, space: ActionSpace, weights: np.ndarray) -> Moves:
    """The switches of one-hot groups from the level of `x` to each other open level."""
    mutable, _, upper, _, group, *_ = map(np.asarray, space)
    possible = mutable & (group >= 0) & is_one(upper) & ~is_one(x)
    left = (group[:, None] == group[None, :]) & is_one(x)[:, None]  # (d, d) whether the switch to j leaves level i
    cost, never = weights + left.T @ weights, np.zeros(len(x), bool)
    return Moves(np.eye(len(x)) - left, cost, possible.astype(float), possible, group, never)


def ranges(layers: list[Layer], moved: Moves, x: np.ndarray) -> list[Range]:
    """Bounds of the inputs of all units, layer by layer; the last one's is that of the logit."""
    centre, gain = _first_layer(layers, moved, x)
    found = [Range(centre - _largest_gain(-gain, moved), centre + _largest_gain(gain, moved))]
    for layer in layers[1:]:
        low, high = np.maximum(found[-1].low, 0), np.maximum(found[-1].high, 0)
        up, down = np.maximum(layer.weight, 0), np.minimum(layer.weight, 0)
        found.append(Range(up @ low + down @ high + layer.bias, up @ high + down @ low + layer.bias))
    return found


def _first_layer(layers: list[Layer], moved: Moves, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inputs (units,) of the first units at `x` (d,), and their change (units, n) by each move."""
    weight, bias = map(np.asarray, layers[0])
    return weight @ x + bias, weight @ moved.effect


def _largest_gain(gain: np.ndarray, moved: Moves) -> np.ndarray:
    """The largest sum (units,) of the gains (units, n) of moves, of which at most one switches a group."""
    each = np.maximum(gain * moved.most, 0)
    switched = [each[:, moved.group == one].max(axis=1) for one in np.unique(moved.group[moved.group >= 0])]
    return each[:, moved.group < 0].sum(axis=1) + sum(switched)


def program(
    layers: list[Layer], moved: Moves, x: np.ndarray, bounds: list[Range], target: float, budget: float
) -> Program:
    """The program of the cheapest recourse with a logit of at least `target`, for at most `budget`.

    Its first variables are the moves.
    """
    scale = max(moved.cost.max(initial=0), np.finfo(float).tiny)  # the solver's tolerances are absolute
    given = zip(moved.cost / scale, moved.most, moved.integer, strict=True)
    draft = _Draft([_Variable(cost, 0.0, most, integer) for cost, most, integer in given], [])
    inputs = np.arange(len(moved.cost))
    bias, weight = _first_layer(layers, moved, x)
    for layer, bound in zip(layers[1:], bounds[:-1], strict=True):
        alive = np.flatnonzero(bound.high > 0)
        outputs = [
            _add_unit(draft, inputs, weight[unit], bias[unit], bound.low[unit], bound.high[unit]) for unit in alive
        ]
        inputs, weight, bias = np.array(outputs, int), np.asarray(layer.weight)[:, alive], np.asarray(layer.bias)
    draft.rows.append(_Row(inputs, weight[0], target - bias[0], np.inf))
    for one in np.unique(moved.group[moved.group >= 0]):
        draft.rows.append(_Row(np.flatnonzero(moved.group == one), np.ones(1), -np.inf, 1.0))
    if np.isfinite(budget):
        draft.rows.append(_Row(np.arange(len(moved.cost)), moved.cost / scale, -np.inf, budget / scale))
    return _assemble(draft)


class _Variable(NamedTuple):
    """A variable of a program under construction."""

    cost: float
    least: float
    most: float
    integer: bool


class _Row(NamedTuple):
    """A constraint: `lower <= coefficients . variables[columns] <= upper`."""

    columns: np.ndarray  # (k,) int
    coefficients: np.ndarray  # (k,)
    lower: float
    upper: float


class _Draft(NamedTuple):
    """A program under construction."""

    variables: list[_Variable]
    rows: list[_Row]


def _add_unit(draft: _Draft, inputs: np.ndarray, weight: np.ndarray, bias: float, low: float, high: float) -> int:
    """Add a unit `a = max(weight . inputs + bias, 0)`, where the input is in [low, high] and `high > 0`; its index."""
    output = len(draft.variables)
    draft.variables.append(_Variable(0.0, max(low, 0.0), high, False))
    columns, coefficients = np.append(inputs, output), np.append(-weight, 1.0)  # of a - z, without the bias
    if low >= 0:
        draft.rows.append(_Row(columns, coefficients, bias, bias))
        return output
    on = len(draft.variables)
    draft.variables.append(_Variable(0.0, 0.0, 1.0, True))
    draft.rows.append(_Row(columns, coefficients, bias, np.inf))
    draft.rows.append(_Row(np.append(columns, on), np.append(coefficients, -low), -np.inf, bias - low))
    draft.rows.append(_Row(np.array([output, on]), np.array([1.0, -high]), -np.inf, 0.0))
    return output


def _assemble(draft: _Draft) -> Program:
    matrix = np.zeros((len(draft.rows), len(draft.variables)))
    for index, row in enumerate(draft.rows):
        matrix[index, row.columns] = row.coefficients
    lower, upper = (np.array([getattr(row, side) for row in draft.rows]) for side in ("lower", "upper"))
    cost, least, most, integer = map(np.array, zip(*draft.variables, strict=True))
    return Program(cost, matrix, lower, upper, least, most, integer)
