"""Mixed-integer linear programs, solved by branch and bound (HiGHS) on the host, in float64.

A program is `min cost . v` subject to `lower <= matrix v <= upper` and `least <= v <= most`, where some of the `v` are
integers. HiGHS keeps constraints and integers to 1e-6, so the caller has to evaluate a solution itself; `fixed` is the
linear program that remains once the integers are known.
"""

from typing import NamedTuple

import numpy as np
import scipy  # loads a subpackage at its first use

OPTIMAL, INFEASIBLE, UNFINISHED = 0, 1, 2  # the status of a solution
_HIGHS_OPTIMAL, _HIGHS_INFEASIBLE = 0, 2  # as SciPy numbers them; all others count as unfinished


class Program(NamedTuple):
    """A program of n variables and m constraints; bounds may be infinite."""

    cost: np.ndarray  # (n,)
    matrix: np.ndarray  # (m, n)
    lower: np.ndarray  # (m,)
    upper: np.ndarray  # (m,)
    least: np.ndarray  # (n,)
    most: np.ndarray  # (n,)
    integer: np.ndarray  # (n,) bool


class Solution(NamedTuple):
    """The best point found, and what is known of it."""

    values: np.ndarray | None  # (n,) integers are whole; None if there is no such point
    status: int  # OPTIMAL, to within the gap; INFEASIBLE: there is no point; UNFINISHED: neither is proved


def solve(program: Program, *, time_limit: float, gap: float) -> Solution:
    """Solve a program to within the relative `gap` of the cost, in at most `time_limit` seconds.

    Presolve is off: it takes as long, and in HiGHS 1.12 it has called feasible programs of networks infeasible, and
    points optimal that cost 0.1 % more than the optimum.

    >>> cover = Program(np.ones(1), np.ones((1, 1)), np.array([1.5]), np.array([9.0]), np.zeros(1), np.full(1, 5.0),
    ...                 np.ones(1, bool))
    >>> solve(cover, time_limit=1.0, gap=1e-6)
    Solution(values=array([2.]), status=0)
    >>> solve(cover._replace(most=np.ones(1)), time_limit=1.0, gap=1e-6)
    Solution(values=None, status=1)
    """
    result = scipy.optimize.milp(
        program.cost,
        integrality=program.integer.astype(int),
        bounds=scipy.optimize.Bounds(program.least, program.most),
        constraints=scipy.optimize.LinearConstraint(program.matrix, program.lower, program.upper),
        options={"time_limit": time_limit, "mip_rel_gap": gap, "presolve": False},
    )
    values = None if result.x is None else np.where(program.integer, np.round(result.x), result.x)
    if result.status == _HIGHS_OPTIMAL:
        return Solution(values, OPTIMAL)
    return Solution(values, INFEASIBLE if result.status == _HIGHS_INFEASIBLE and values is None else UNFINISHED)


def fixed(program: Program, values: np.ndarray) -> Program:
    """The linear program in which the integers have the given `values` (n,)."""
    least, most = (np.where(program.integer, values, bound) for bound in (program.least, program.most))
    return program._replace(least=least, most=most, integer=np.zeros_like(program.integer))
