"""Allowed points of an action space: projections onto it, the test for one, and the way to one.

A row that is not as wide as the space is a `ValueError` that names it.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import ActionSpace, check_row
from hare_jax.space import inequalities
from hare_jax.space import relations as related
from hare_jax.space.columns import GRID_TOLERANCE, bounds, is_category, is_one, limits, same_feature
from hare_jax.space.effects import complete, is_follower, own_change, with_own_change

_BOUND_ULPS = 8  # a column this many units of rounding from a bound is at the bound
_NO_SLACK = -1  # units of slack at which projected points satisfy the inequalities
_ALLOWED_SLACKS = 4  # units of slack by which `allows` lets a point break an inequality: rounding
_ROUNDING = 1e-6  # relative distance from the nearest allowed point that is rounding
_NUM_BISECTIONS = 12  # of the way back to a point that satisfies the inequalities


def is_held(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Which columns (d,) of an allowed `x_cf` (d,) keep their value when `x` (d,) moves a little.

    They are the categories that change and the columns that change to a bound, by more than rounding.
    """
    check_row(x, space, x_cf=x_cf)
    lower, upper = bounds(space, x)
    rounding = _BOUND_ULPS * jnp.finfo(x.dtype).eps * (1 + jnp.abs(x_cf))
    at_bound = (x_cf <= lower + rounding) | (x_cf >= upper - rounding)
    return (jnp.abs(x_cf - x) > rounding) & (is_category(space) | at_bound)


def relax(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Nearest point (d,) to `x_cf` (d,) within the bounds, with fractional categories and steps; NaN becomes `x`."""
    check_row(x, space, x_cf=x_cf)
    point = _released(space, x, x_cf)
    relaxed = jnp.clip(jnp.where(jnp.isnan(point), x, point), *bounds(space, x))
    if space.relations is None:
        return relaxed
    moves = _moves(space, x)._replace(step=jnp.zeros_like(x))
    near = inequalities.keep_largest(space.relations, moves, relaxed)
    if len(moves.rows.limits) > 0:
        near = inequalities.repair(space.relations, moves, near, lambda z: z)
    return complete(space, x, near)


def project(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Nearest point (d,) to `x_cf` (d,) that is allowed from `x` (d,). Idempotent.

    With inequalities or a limit on the number of changes it is near, not nearest: the largest changes are kept, the
    inequalities are repaired one after the other, and what they still break is undone on the way back to `x`.
    """
    check_row(x, space, x_cf=x_cf)
    return _restrained(space, x, _project_columns(space, x, _released(space, x, x_cf)))


def settle(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`project` for an `x_cf` (d,) with intact one-hot groups; much cheaper."""
    check_row(x, space, x_cf=x_cf)
    return _restrained(space, x, _settle_columns(space, x, _released(space, x, x_cf)))


@jax.jit  # one trace for all programs of a process
def _project_columns(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`x_cf` (d,) with intact one-hot groups, within the bounds and on the grid, feature by feature."""
    score = jnp.where(jnp.isnan(x_cf), x, x_cf)
    one_hot = _to_one_hot(space.group, score, bounds(space, x)[1])
    return jnp.where(space.mutable & (space.group >= 0), one_hot, _settle_columns(space, x, score))


def _settle_columns(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`x_cf` (d,) within the bounds and on the grid, column by column."""
    lower, upper = bounds(space, x)
    point = jnp.clip(jnp.where(jnp.isnan(x_cf), x, x_cf), lower, upper)
    return jnp.where(space.step > 0, _to_grid(space.step.astype(x.dtype), x, point, lower, upper), point)


def _released(space: ActionSpace, x: Array, point: Array) -> Array:
    """`point` (d,) with NaN, and the columns that only follow others, reset to `x` (d,)."""
    if space.relations is None:
        return point
    return related.release(space.relations, space.mutable, space.step, x, jnp.where(jnp.isnan(point), x, point))


def rows_from(space: ActionSpace, x: Array) -> inequalities.Rows | None:
    """The inequalities from the factual `x` (d,), with the bounds of columns that follow; None without relations."""
    return None if space.relations is None else inequalities.rows_from(space.relations, x, *limits(space, x))


def _moves(space: ActionSpace, x: Array) -> inequalities.Moves:
    rows: Any = rows_from(space, x)
    step, numeric = space.step.astype(x.dtype), space.group < 0
    return inequalities.Moves(x, *bounds(space, x), space.mutable, step, numeric, same_feature(space), rows)


def _restrained(space: ActionSpace, x: Array, point: Array) -> Array:
    """A point (d,) that keeps the relations of the space, near `point` (d,), which is allowed without them."""
    if space.relations is None:
        return point
    moves = _moves(space, x)
    near = inequalities.keep_largest(space.relations, moves, point)
    if len(moves.rows.limits) == 0:
        return near
    repaired = inequalities.repair(space.relations, moves, near, partial(_settle_columns, space, x))
    return _back_to_fitting(space, moves.rows, x, complete(space, x, repaired))


def _back_to_fitting(space: ActionSpace, rows: inequalities.Rows, x: Array, point: Array) -> Array:
    """`point` (d,) if it satisfies the `rows`, otherwise a point that does, on the way back to `x` (d,)."""
    change = own_change(space, x, point)

    def halve(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, nearest = state
        middle = (low + high) / 2
        own = _along_columns(space, x, x + change, middle)
        trial = with_own_change(space, x, own - x)
        good = inequalities.fits(rows, trial) & _follows(space, x, trial)
        return jnp.where(good, middle, low), jnp.where(good, high, middle), jnp.where(good, trial, nearest)

    zero, one = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    *_, nearest = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, (zero, one, x))
    return jnp.where(inequalities.fits(rows, point), point, nearest)


def restore(space: ActionSpace, x: Array, x_cf: Array, columns: Array) -> Array:
    """An allowed point (d,): `x_cf` (d,), itself allowed from `x` (d,), without the own changes of `columns` (d,)."""
    if space.relations is None:
        return jnp.where(columns, x, x_cf)
    return settle(space, x, with_own_change(space, x, jnp.where(columns, 0, own_change(space, x, x_cf))))


def snap(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`project`, with the gradient of `relax` (straight-through), for descent over categories and steps."""
    relaxed, point = relax(space, x, x_cf), jax.lax.stop_gradient(project(space, x, x_cf))
    if space.relations is None:
        return relaxed + (point - jax.lax.stop_gradient(relaxed))
    return point + (relaxed - jax.lax.stop_gradient(relaxed))  # exact: a change by rounding would count as one


def allows(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Whether the move from `x` (d,) to `x_cf` (d,) is allowed: () bool. Immutable columns must be bit-identical."""
    check_row(x, space, x_cf=x_cf)
    nearest, fixed = _project_columns(space, x, x_cf), ~space.mutable
    follows = is_follower(space) & fixed
    right = jnp.where(fixed, x_cf == x, _is_near(x, x_cf, nearest))
    return keeps_relations(space, x, x_cf) & jnp.all(follows | right)


def keeps_relations(space: ActionSpace, x: Array, x_cf: Array, strict: Array | bool = False) -> Array:
    """Whether `x_cf` (d,) satisfies links, inequalities and the limit on the number of changes: () bool.

    If `strict` () the inequalities hold without tolerance, as at projected points: a bisection ends at the edge of it.
    """
    if space.relations is None:
        return jnp.array(True)
    rows: Any = rows_from(space, x)
    within = inequalities.fits(rows, x_cf, jnp.where(strict, _NO_SLACK, _ALLOWED_SLACKS)) & _follows(space, x, x_cf)
    most = space.relations.max_changes
    if most is None:
        return within
    return within & (inequalities.num_changes(same_feature(space), own_change(space, x, x_cf)) <= most)


def _is_near(x: Array, x_cf: Array, nearest: Array) -> Array:
    """Which columns (d,) of `x_cf` (d,) are at the `nearest` (d,) allowed values but for rounding."""
    return jnp.abs(x_cf - nearest) <= _ROUNDING * (1 + jnp.maximum(jnp.abs(x), jnp.abs(nearest)))


def _follows(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Whether each column of `x_cf` (d,) with a link is where it follows, or is mutable and acted on: () bool."""
    return jnp.all(~is_follower(space) | _is_near(x, x_cf, complete(space, x, x_cf)))


def tightening(space: ActionSpace, x: Array, x_cf: Array, change: Array) -> Array:
    """The part (d,) of an own `change` (d,) at `x_cf` (d,) along the inequalities that have no slack there.

    Without it, the change moves along them. Only columns that `change` moves are considered.
    """
    if space.relations is None:
        return jnp.zeros_like(change)
    rows: Any = rows_from(space, x)
    return inequalities.tightening(rows, partial(with_own_change, space, x), own_change(space, x, x_cf), change)


def along(space: ActionSpace, x: Array, x_cf: Array, fraction: Array) -> Array:
    """The point (d,) at `fraction` () of the way from `x` to an allowed `x_cf`, itself allowed.

    Continuous columns move in proportion, ordered ones by whole steps, and a category switches half-way. At 1 the value
    is `x_cf` itself, and the derivative with respect to the fraction is that just before 1.
    """
    check_row(x, space, x_cf=x_cf)
    if space.relations is None:
        return _along_columns(space, x, x_cf, fraction)
    own = _along_columns(space, x, x + own_change(space, x, x_cf), fraction)
    point = with_own_change(space, x, own - x)
    return point + jax.lax.stop_gradient(jnp.where(fraction >= 1, x_cf - point, 0))


def between(space: ActionSpace, x: Array, start: Array, end: Array, fraction: Array) -> Array:
    """The point (d,) at `fraction` () of the way from `start` to `end`, both allowed from `x` (d,).

    Without relations the way does not depend on `x`, and is that of `along`. With them it is that of the own changes,
    of which the largest are kept where their number is limited; some of its points may break them (`keeps_relations`).
    At 1 the value is `end` itself.
    """
    if space.relations is None:
        return along(space, start, end, fraction)
    first, last = (x + own_change(space, x, point) for point in (start, end))
    change = _along_columns(space, first, last, fraction) - x
    if space.relations.max_changes is not None:
        change = jnp.where(inequalities.largest(same_feature(space), change, space.relations.max_changes), change, 0)
    point = with_own_change(space, x, change)
    return point + jax.lax.stop_gradient(jnp.where(fraction >= 1, end - point, 0))


@jax.jit
def _along_columns(space: ActionSpace, x: Array, x_cf: Array, fraction: Array) -> Array:
    """The point (d,) at `fraction` () of the way from `x` to `x_cf`, column by column."""
    change = fraction * (x_cf - x)
    step = jnp.where(space.step > 0, space.step, 1).astype(x.dtype)
    point = x + jnp.where(space.step > 0, jnp.round(change / step) * step, change)
    rounding = jnp.clip(point, jnp.minimum(x, x_cf), jnp.maximum(x, x_cf)) - point
    beyond = (fraction - jax.lax.stop_gradient(fraction)) * jnp.where(space.step > 0, 0, x_cf - x)
    return jnp.where(fraction >= 1, x_cf + beyond, point + jax.lax.stop_gradient(rounding))


def _to_grid(step: Array, x: Array, point: Array, lower: Array, upper: Array) -> Array:
    step = jnp.where(step > 0, step, 1)
    fewest = jnp.ceil((lower - x) / step - GRID_TOLERANCE)
    most = jnp.floor((upper - x) / step + GRID_TOLERANCE)
    steps = jnp.clip(jnp.round((point - x) / step), fewest, most)
    return jnp.clip(x + steps * step, lower, upper)


def _to_one_hot(group: Array, score: Array, upper: Array) -> Array:
    score = jnp.where(is_one(upper), score, -jnp.inf)  # a closed level is never chosen
    order = jnp.arange(score.shape[0])
    ahead = (score[:, None] > score[None, :]) | ((score[:, None] == score[None, :]) & (order[:, None] < order[None, :]))
    others = (group[:, None] == group[None, :]) & ~jnp.eye(len(order), dtype=bool)  # XLA may evaluate a score twice
    beaten = jnp.any(ahead & others, axis=0)
    return jnp.where(beaten, 0, 1).astype(score.dtype)
