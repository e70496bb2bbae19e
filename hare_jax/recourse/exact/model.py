"""The cheapest recourse of one row as a mixed-integer linear program, for a network of rectified linear units.

The first variables are the moves of the row (`moves`): the input of the network is `x + effect @ moves`, and the
cost is linear in them. With relations between columns, `relations` adds its constraints.

A unit is `a = max(z, 0)` with `z` between `low` and `high`, which interval arithmetic gives. If both have one sign, the
unit is linear; otherwise it has a binary variable `on`, and `a >= z`, `a <= z - low (1 - on)`, `a <= high on`. Here
everything is NumPy, in float64.
"""

from typing import NamedTuple

import numpy as np

from hare_jax.models.network import Layer
from hare_jax.recourse.exact import relations
from hare_jax.recourse.exact.draft import Draft, Row, Variable, assemble
from hare_jax.recourse.exact.moves import Moves
from hare_jax.recourse.exact.relations import Related
from hare_jax.solvers.milp import Program


class Range(NamedTuple):
    """Bounds of the inputs of the units of a layer."""

    low: np.ndarray  # (units,)
    high: np.ndarray  # (units,)


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
    each = np.maximum(np.maximum(gain * moved.most, 0), gain * moved.least)
    switched = [each[:, moved.group == one].max(axis=1) for one in np.unique(moved.group[moved.group >= 0])]
    return each[:, moved.group < 0].sum(axis=1) + sum(switched)


def program(
    layers: list[Layer],
    moved: Moves,
    x: np.ndarray,
    bounds: list[Range],
    target: float,
    budget: float,
    related: Related | None = None,
) -> Program:
    """The program of the cheapest recourse with a logit of at least `target`, for at most `budget`.

    Its first variables are the moves.
    """
    scale = max(moved.cost.max(initial=0), np.finfo(float).tiny)  # the solver's tolerances are absolute
    given = zip(moved.cost / scale, moved.least, moved.most, moved.integer, strict=True)
    draft = Draft([Variable(*fields) for fields in given], [])
    inputs = np.arange(len(moved.cost))
    bias, weight = _first_layer(layers, moved, x)
    for layer, bound in zip(layers[1:], bounds[:-1], strict=True):
        alive = np.flatnonzero(bound.high > 0)
        outputs = [
            _add_unit(draft, inputs, weight[unit], bias[unit], bound.low[unit], bound.high[unit]) for unit in alive
        ]
        inputs, weight, bias = np.array(outputs, int), np.asarray(layer.weight)[:, alive], np.asarray(layer.bias)
    draft.rows.append(Row(inputs, weight[0], target - bias[0], np.inf))
    for one in np.unique(moved.group[moved.group >= 0]):
        draft.rows.append(Row(np.flatnonzero(moved.group == one), np.ones(1), -np.inf, 1.0))
    if np.isfinite(budget):
        draft.rows.append(Row(np.arange(len(moved.cost)), moved.cost / scale, -np.inf, budget / scale))
    if related is not None:
        relations.add(draft, moved, related)
    return assemble(draft)


def _add_unit(draft: Draft, inputs: np.ndarray, weight: np.ndarray, bias: float, low: float, high: float) -> int:
    """Add a unit `a = max(weight . inputs + bias, 0)`, where the input is in [low, high] and `high > 0`; its index."""
    output = len(draft.variables)
    draft.variables.append(Variable(0.0, max(low, 0.0), high, False))
    columns, coefficients = np.append(inputs, output), np.append(-weight, 1.0)  # of a - z, without the bias
    if low >= 0:
        draft.rows.append(Row(columns, coefficients, bias, bias))
        return output
    on = len(draft.variables)
    draft.variables.append(Variable(0.0, 0.0, 1.0, True))
    draft.rows.append(Row(columns, coefficients, bias, np.inf))
    draft.rows.append(Row(np.append(columns, on), np.append(coefficients, -low), -np.inf, bias - low))
    draft.rows.append(Row(np.array([output, on]), np.array([1.0, -high]), -np.inf, 0.0))
    return output
