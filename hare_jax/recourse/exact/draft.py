"""A mixed-integer linear program under construction."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hare_jax.solvers.milp import Program


class Variable(NamedTuple):
    """A variable of a program."""

    cost: float
    least: float
    most: float
    integer: bool


class Row(NamedTuple):
    """A constraint: `lower <= coefficients . variables[columns] <= upper`."""

    columns: np.ndarray  # (k,) int
    coefficients: np.ndarray  # (k,)
    lower: float
    upper: float


class Draft(NamedTuple):
    """The variables and constraints so far."""

    variables: list[Variable]
    rows: list[Row]


def add_variable(draft: Draft, least: float, most: float, *, integer: bool = False) -> int:
    """Add a variable without a cost; its index."""
    draft.variables.append(Variable(0.0, float(least), float(most), integer))
    return len(draft.variables) - 1


def add_row(draft: Draft, coefficients: Mapping[int, float], lower: float, upper: float) -> None:
    """Add a constraint on the variables that are the keys, scaled to a largest coefficient of 1."""
    size = max(map(abs, coefficients.values()), default=0.0)
    if size > 0:
        values = np.array(list(coefficients.values()), float) / size
        draft.rows.append(Row(np.array(list(coefficients), int), values, lower / size, upper / size))


def assemble(draft: Draft) -> Program:
    """The program of all variables and constraints."""
    matrix = np.zeros((len(draft.rows), len(draft.variables)))
    for index, row in enumerate(draft.rows):
        matrix[index, row.columns] = row.coefficients
    lower, upper = (np.array([getattr(row, side) for row in draft.rows]) for side in ("lower", "upper"))
    cost, least, most, integer = map(np.array, zip(*draft.variables, strict=True))
    return Program(cost, matrix, lower, upper, least, most, integer)
