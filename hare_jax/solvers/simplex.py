"""The simplex method for small linear programs whose variables have bounds, from a feasible start.

A program is `min cost . v` subject to `matrix v <= limits` and `0 <= v <= most`, with limits of at least 0, so that
`v = 0` is feasible. Each row has a slack variable, and these are the first basis. A variable that rises to its bound is
*flipped*: it is replaced by what it lacks of the bound. So all variables outside of the basis are 0, as in the method
for variables without bounds (Dantzig 1963, chapter 18).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_TOLERANCE_ULPS = 32  # units of rounding below which a reduced cost or a pivot is 0


class _Tableau(NamedTuple):
    """The program in terms of the variables outside of the basis; N = n + m variables, slacks last."""

    rows: Array  # (m, N)
    value: Array  # (m,) of the basic variables
    reduced: Array  # (N,) cost of a unit
    basis: Array  # (m,) int32: the basic variable of each row
    flipped: Array  # (N,) bool
    num_pivots: Array  # () int32


def simplex(cost: Array, matrix: Array, limits: Array, most: Array, *, num_pivots: int) -> Array:
    """The cheapest `v` (n,) for `cost` (n,), `matrix` (m, n), `limits` (m,) >= 0 and `most` (n,) >= 0.

    It is feasible, and the optimum unless the search stops after `num_pivots`.

    >>> one = jnp.ones(2)
    >>> simplex(jnp.array([-1.0, -2.0]), one[None, :], jnp.array([1.5]), one, num_pivots=10).tolist()
    [0.5, 1.0]
    """
    num_rows, width = matrix.shape
    slacks = jnp.eye(num_rows, dtype=matrix.dtype)
    reduced = jnp.append(cost, jnp.zeros(num_rows, cost.dtype))
    basis = width + jnp.arange(num_rows)
    flipped = jnp.zeros(width + num_rows, bool)
    upper = jnp.append(most, jnp.full(num_rows, jnp.inf, most.dtype))
    count = jnp.zeros((), jnp.int32)
    start = _Tableau(jnp.concatenate([matrix, slacks], axis=1), limits, reduced, basis, flipped, count)
    tolerance = _TOLERANCE_ULPS * float(jnp.finfo(matrix.dtype).eps)

    def unfinished(t: _Tableau) -> Array:
        return (jnp.min(_prices(t, upper, tolerance)) < -tolerance) & (t.num_pivots < num_pivots)

    end = jax.lax.while_loop(unfinished, lambda t: _pivot(t, upper, tolerance), start)
    value = jnp.zeros_like(upper).at[end.basis].set(end.value)
    return jnp.clip(jnp.where(end.flipped, upper - value, value)[:width], 0, most)


def _prices(t: _Tableau, upper: Array, tolerance: float) -> Array:
    """The reduced costs (N,) of variables that may rise; 0 for basic ones and those with a bound of 0."""
    basic = jnp.zeros(len(upper), bool).at[t.basis].set(True)
    return jnp.where(basic | (upper <= tolerance), 0, t.reduced)


def _pivot(t: _Tableau, upper: Array, tolerance: float) -> _Tableau:
    """Raise the variable of the lowest reduced cost until it, or a basic variable, is at a bound."""
    enters = jnp.argmin(_prices(t, upper, tolerance))
    column = t.rows[:, enters]
    falls, rises = column > tolerance, column < -tolerance
    size = jnp.where(falls | rises, jnp.abs(column), 1)
    room = jnp.where(falls, t.value, jnp.where(rises, upper[t.basis] - t.value, jnp.inf))
    ratio = jnp.maximum(room, 0) / size
    leaves = jnp.argmin(ratio)
    to_bound = upper[enters] <= ratio[leaves]
    t = t._replace(num_pivots=t.num_pivots + 1)
    exchanged = _exchange(_flip_basic(t, leaves, rises[leaves], upper), enters, leaves)
    return jax.tree.map(lambda one, other: jnp.where(to_bound, one, other), _flip(t, enters, upper), exchanged)


def _flip(t: _Tableau, index: Array, upper: Array) -> _Tableau:
    """Replace a variable outside of the basis by what it lacks of its bound."""
    far = jnp.where(jnp.isfinite(upper[index]), upper[index], 0)
    return t._replace(
        value=t.value - t.rows[:, index] * far,
        rows=t.rows.at[:, index].multiply(-1),
        reduced=t.reduced.at[index].multiply(-1),
        flipped=t.flipped.at[index].set(~t.flipped[index]),
    )


def _flip_basic(t: _Tableau, row: Array, needed: Array, upper: Array) -> _Tableau:
    """If `needed` (), replace the basic variable of a row, which is at its bound, by what it lacks of it: 0."""
    index = t.basis[row]
    far = jnp.where(jnp.isfinite(upper[index]), upper[index], 0)
    sign = jnp.where(needed, -1, 1).astype(t.rows.dtype)
    return t._replace(
        rows=t.rows.at[row].multiply(sign).at[row, index].set(1),
        value=t.value.at[row].set(jnp.where(needed, far - t.value[row], t.value[row])),
        flipped=t.flipped.at[index].set(t.flipped[index] ^ needed),
    )


def _exchange(t: _Tableau, enters: Array, row: Array) -> _Tableau:
    """The variable `enters` replaces the basic variable of the `row`."""
    pivot = t.rows[row, enters]
    pivot = jnp.where(pivot == 0, 1, pivot)
    line, value = t.rows[row] / pivot, jnp.maximum(t.value[row] / pivot, 0)
    others = jnp.where(jnp.arange(len(t.value)) == row, 0, t.rows[:, enters])
    return t._replace(
        rows=(t.rows - others[:, None] * line[None, :]).at[row].set(line),
        value=(t.value - others * value).at[row].set(value),
        reduced=t.reduced - t.reduced[enters] * line,
        basis=t.basis.at[row].set(enters),
    )
