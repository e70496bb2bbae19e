"""Inequalities from one factual, a limit on the number of changes, and how a point is made to keep both.

The bounds of columns that follow others are inequalities too, as nothing else keeps such a column within them.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import Relations
from hare_jax.space.relations import follow, followers, own_values

_SLACK_ULPS = 16  # units of rounding of its terms that a row of inequalities is kept away from its limit
_BOUND_SLACKS = 1.5  # units of slack added to the bounds of columns that follow
_ACTIVE_SLACKS = 8  # units of slack within which a row of inequalities counts as without slack
_PARALLEL = 1e-10  # squared length of a gradient, without its part along others, that is rounding
_NUM_SWEEPS = 2  # of a repair over all rows of inequalities


class Rows(NamedTuple):
    """Linear inequalities `coefficients @ x_cf <= limits` from one factual, which satisfies them."""

    coefficients: Array  # (m, d)
    limits: Array  # (m,)
    slack: Array  # (m,) by which searches stay below the limits


class Moves(NamedTuple):
    """What the columns of a space may do from one factual."""

    x: Array  # (d,) factual
    lower: Array  # (d,) bounds of own changes
    upper: Array  # (d,)
    mutable: Array  # (d,) bool
    step: Array  # (d,) 0 = continuous
    numeric: Array  # (d,) bool: no column of a one-hot group
    same: Array  # (d, d) bool: columns of the same feature
    rows: Rows


def rows_from(relations: Relations, x: Array, lower: Array, upper: Array) -> Rows:
    """The inequalities from the factual `x` (d,), and the bounds (d,) of the linked columns as further ones."""
    columns = np.flatnonzero(followers(relations, len(x)))
    unit = jnp.eye(len(x), dtype=x.dtype)[columns]
    coefficients = jnp.concatenate([relations.coefficients.astype(x.dtype), unit, -unit])
    limits = jnp.concatenate([relations.limits.astype(x.dtype), upper[columns], -lower[columns]])
    size = jnp.sum(jnp.abs(coefficients) * (1 + jnp.abs(x))[None, :], axis=1)
    slack = _SLACK_ULPS * jnp.finfo(x.dtype).eps * size
    at_bound = np.arange(len(limits)) >= len(relations.limits)  # which columns may reach, unlike the other limits
    limits += jnp.where(at_bound, _BOUND_SLACKS * slack, 0)
    return Rows(coefficients, jnp.maximum(limits, _products(coefficients, x) + slack), slack)


def fits(rows: Rows, point: Array, tolerance: Array | float = -1.0) -> Array:
    """Whether `point` (d,) satisfies all `rows`: () bool; `tolerance` is in units of their slack."""
    return jnp.all(_products(rows.coefficients, point) <= rows.limits + tolerance * rows.slack)


def _products(coefficients: Array, point: Array) -> Array:
    """`coefficients @ point`, in which a coefficient of 0 makes any value 0, infinite ones too."""
    return jnp.sum(jnp.where(coefficients == 0, 0, coefficients * point[None, :]), axis=1)


def tightening(rows: Rows, effect: Callable[[Array], Array], own: Array, change: Array) -> Array:
    """The part (d,) of `change` (d,) in the span of the gradients of the `rows` without slack at `effect(own)`.

    `effect` maps own changes (d,) to points (d,). By Gram-Schmidt, on the columns that `change` moves.
    """
    if len(rows.limits) == 0:
        return jnp.zeros_like(change)
    value, gradient = linearised(rows, effect, own)
    active = value >= rows.limits - _ACTIVE_SLACKS * rows.slack
    gradient = jnp.where(active[:, None] & (change != 0)[None, :], gradient, 0)

    def remove(index: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, gradient = state
        one = gradient[index]
        length = jnp.sum(one**2)
        one = jnp.where(length > _PARALLEL, one / jnp.sqrt(jnp.maximum(length, _PARALLEL)), 0)
        others = gradient - jnp.sum(gradient * one[None, :], axis=1, keepdims=True) * one[None, :]
        return rest - jnp.sum(rest * one) * one, others

    rest, _ = jax.lax.fori_loop(0, len(value), remove, (change, gradient))
    return change - rest


def linearised(rows: Rows, effect: Callable[[Array], Array], own: Array) -> tuple[Array, Array]:
    """The values (m,) of the `rows` at `effect(own)`, and their derivatives (m, d) by `own` (d,), 0 where infinite."""
    gradient = jax.jacrev(lambda own: _products(rows.coefficients, effect(own)))(own)
    return _products(rows.coefficients, effect(own)), jnp.where(jnp.isfinite(gradient), gradient, 0)


def sizes(same: Array, change: Array) -> Array:
    """The size (d,) of the change of each column's whole feature, from the changes (d,) of the columns."""
    return jnp.sum(jnp.where(same, jnp.abs(change)[None, :], 0), axis=1)


def num_changes(same: Array, change: Array) -> Array:
    """The number () of features with a change (d,)."""
    first = ~jnp.any(jnp.tril(same, -1), axis=1)
    return jnp.sum(first & (sizes(same, change) > 0))


def largest(same: Array, change: Array, num: Array) -> Array:
    """Which columns (d,) belong to the `num` () features of the largest changes (d,)."""
    size, index = sizes(same, change), jnp.argmax(same, axis=1)
    first = jnp.arange(len(index)) == index
    ahead = (size[:, None] > size[None, :]) | ((size[:, None] == size[None, :]) & (index[:, None] < index[None, :]))
    return jnp.sum(ahead & first[:, None], axis=0) < num


def keep_largest(relations: Relations, moves: Moves, point: Array) -> Array:
    """`point` (d,) with all but the `max_changes` features of the largest own changes at their factual values."""
    if relations.max_changes is None:
        return point
    own = own_values(relations, moves.mutable, moves.step, moves.x, point)
    return jnp.where(largest(moves.same, own - moves.x, relations.max_changes), point, moves.x)


def repair(relations: Relations, moves: Moves, point: Array, grid: Callable[[Array], Array]) -> Array:
    """`point` (d,) moved towards satisfying the inequalities, one by one, by the nearest change of numeric columns.

    With a limit on the number of changes only columns that have changed move. `grid` puts ordered columns on their
    grid; rows are corrected by what this may add to them. The result may still break some of them.
    """
    movable = moves.mutable & moves.numeric
    if relations.max_changes is not None:
        movable &= point != moves.x
    complete = partial(follow, relations, moves.mutable, jnp.zeros_like(moves.step), moves.x)  # smooth

    def correct(point: Array, row: Rows) -> tuple[Array, None]:
        value, pull = jax.value_and_grad(lambda z: _products(row.coefficients[None], complete(z))[0])(point)
        pull = jnp.where(movable & jnp.isfinite(pull), pull, 0)
        excess = value - (row.limits - 2 * row.slack)
        wanted, strength = excess + jnp.sum(jnp.abs(pull) * moves.step) / 2, jnp.sum(pull**2)
        broken = (excess > 0) & jnp.isfinite(wanted) & (strength > 0)
        move = jnp.where(broken, wanted / jnp.where(strength > 0, strength, 1), 0) * pull
        return jnp.where(broken, grid(jnp.clip(point - move, moves.lower, moves.upper)), point), None

    sweeps = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * _NUM_SWEEPS), moves.rows)
    return jax.lax.scan(correct, point, sweeps)[0]
