"""The action space: which columns may change, and how far.

One rule covers every kind of feature. From a factual `x`, column j may move within `bounds(space, x)`, an interval that
always contains `x` and is only `x` for an immutable column; an ordered column moves in whole steps from `x`; the
columns of a one-hot group contain a single 1. A two-level category is one ordered column with step 1. `project` returns
the nearest such point, and `allows` tests whether a point equals its own projection, so the two agree by construction.

The kinds of columns, the columns of one feature and the weighted cost of a change are defined only here:
`is_category`, `is_coarse`, `same_feature`, `weighted_l1`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from hare_jax.base import ActionSpace as ActionSpace
from hare_jax.base import check_row, require

_HALF = 0.5
_BOUND_ULPS = 8  # a column this many units of rounding from a bound is at the bound
GRID_TOLERANCE = 1e-3  # in steps: float32 can't hold a step such as 1/15 exactly
FURTHEST = 1e3  # encoded units: the longest move that a search considers where there is no bound


def action_space(
    mutable: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    direction: ArrayLike | None = None,
    group: ArrayLike | None = None,
    step: ArrayLike | None = None,
) -> ActionSpace:
    """Build an action space from its checked columns, each (d,).

    The defaults are `direction` 0, `group` -1 and `step` 0; bounds may be infinite. One-hot columns get step 1, and an
    upper bound of 0 closes a level to all factuals that are not already in it.

    Raises:
        ValueError: a column has the wrong width, a bound is NaN or crossed, a direction is not -1, 0 or +1, a step is
            negative, or a one-hot group has one column, a direction, mixed mutability or bounds outside {0, 1}.

    >>> space = action_space(mutable=[True, False], lower=[0, 0], upper=[1, 1], step=[0.25, 0])
    >>> project(space, jnp.array([0.5, 0.125]), jnp.array([0.9, 0.8])).tolist()
    [1.0, 0.125]
    """
    raw_mutable = np.asarray(mutable)
    require(raw_mutable.ndim == 1, "mutable", "must have shape (d,)", raw_mutable.shape)
    require(raw_mutable.dtype == bool, "mutable", "must be boolean", raw_mutable.dtype.name)
    given = {
        "lower": lower,
        "upper": upper,
        "direction": np.zeros(raw_mutable.shape) if direction is None else direction,
        "group": np.full(raw_mutable.shape, -1) if group is None else group,
        "step": np.zeros(raw_mutable.shape) if step is None else step,
    }
    columns = {name: np.asarray(value, dtype=float) for name, value in given.items()}
    _check_columns(columns, raw_mutable.shape)
    ids = columns["group"]
    for one in np.unique(ids[ids >= 0]):
        _check_group(f"group {int(one)}", columns, raw_mutable, ids == one)
    return ActionSpace(
        mutable=jnp.asarray(raw_mutable),
        lower=jnp.asarray(columns["lower"], dtype=float),
        upper=jnp.asarray(columns["upper"], dtype=float),
        direction=jnp.asarray(columns["direction"], jnp.int8),
        group=jnp.asarray(ids, jnp.int32),
        step=jnp.asarray(np.where(ids >= 0, 1.0, columns["step"]), dtype=float),
    )


def _check_columns(columns: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
    for name, column in columns.items():
        require(column.shape == shape, name, f"must have shape {shape}, as mutable has", column.shape)
        require(not np.isnan(column).any(), name, "must not be NaN", column.tolist())
    low, high, direction, step, ids = (columns[name] for name in ("lower", "upper", "direction", "step", "group"))
    require(bool((low <= high).all()), "lower", "must not exceed upper", (low.tolist(), high.tolist()))
    known = bool(np.isin(direction, (-1, 0, 1)).all())
    require(known, "direction", "must be -1, 0 or +1", direction.tolist())
    finite = bool((np.isfinite(step) & (step >= 0)).all())
    require(finite, "step", "must be finite and not negative", step.tolist())
    require(bool((ids == np.round(ids)).all()), "group", "must hold whole numbers", ids.tolist())


def _check_group(label: str, columns: dict[str, np.ndarray], mutable: np.ndarray, inside: np.ndarray) -> None:
    """Check the columns of one one-hot group, given by the mask `inside` (d,)."""
    rule = "must have at least two columns (a two-level category is one column with step 1)"
    require(int(inside.sum()) > 1, label, rule, 1)
    fixed = mutable[inside]
    require(len(set(fixed)) == 1, label, "must be mutable in all its columns or in none", fixed.tolist())
    low, high, direction = (columns[name][inside] for name in ("lower", "upper", "direction"))
    require(not direction.any(), label, "must have direction 0", direction.tolist())
    require(bool((low == 0).all()), label, "must have lower bounds of 0", low.tolist())
    require(bool(np.isin(high, (0, 1)).all()), label, "must have upper bounds of 0 or 1", high.tolist())


def bounds(space: ActionSpace, x: Array) -> tuple[Array, Array]:
    """Lowest and highest allowed value (d,), (d,) of each column from the factual `x` (d,), which is always allowed."""
    check_row(x, space)
    lower = jnp.minimum(space.lower.astype(x.dtype), x)
    upper = jnp.maximum(space.upper.astype(x.dtype), x)
    falls, rises = space.mutable & (space.direction <= 0), space.mutable & (space.direction >= 0)
    return jnp.where(falls, lower, x), jnp.where(rises, upper, x)


def is_category(space: ActionSpace) -> Array:
    """Which columns (d,) encode a category: those of one-hot groups, and those with two values within the bounds.

    >>> space = action_space([True] * 4, [0] * 4, [1] * 4, group=[-1, -1, 0, 0], step=[0.25, 1, 1, 1])
    >>> is_category(space).tolist(), is_coarse(space).tolist()
    ([False, True, True, True], [False, True, True, True])
    """
    return _num_steps_at_most(space, 1, space.lower, space.upper)


def is_coarse(space: ActionSpace, x: Array | None = None) -> Array:
    """Which columns (d,) are coarse: categories, and columns with at most two steps between their bounds.

    The bounds are those of the space, or, if `x` (d,) is given, those from that factual.
    """
    lower, upper = (space.lower, space.upper) if x is None else bounds(space, x)
    return _num_steps_at_most(space, 2, lower, upper)


def is_one(levels: Any) -> Any:
    """Which values, or upper bounds, of the levels of one-hot groups are 1, not 0; arrays of NumPy or JAX."""
    return levels > _HALF


def is_held(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Which columns (d,) of an allowed `x_cf` (d,) keep their value when `x` (d,) moves a little.

    They are the categories that change and the columns that change to a bound, by more than rounding.
    """
    check_row(x, space, x_cf=x_cf)
    lower, upper = bounds(space, x)
    rounding = _BOUND_ULPS * jnp.finfo(x.dtype).eps * (1 + jnp.abs(x_cf))
    at_bound = (x_cf <= lower + rounding) | (x_cf >= upper - rounding)
    return (jnp.abs(x_cf - x) > rounding) & (is_category(space) | at_bound)


def same_feature(space: ActionSpace) -> Array:
    """Whether columns i and j belong to the same feature; a one-hot group is one feature: (d, d) bool."""
    group = space.group
    grouped = (group[:, None] == group[None, :]) & (group >= 0)[:, None]
    return grouped | jnp.eye(group.shape[0], dtype=bool)


def weighted_l1(weights: Array, x: Array, x_cf: Array) -> Array:
    """`sum_j weights_j |x'_j - x_j|`: (), the cost of the change from `x` to `x_cf` with `weights`, all (d,)."""
    return jnp.sum(weights * jnp.abs(x_cf - x))


def relax(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Nearest point (d,) to `x_cf` (d,) within the bounds, with fractional categories and steps; NaN becomes `x`."""
    check_row(x, space, x_cf=x_cf)
    lower, upper = bounds(space, x)
    return jnp.clip(jnp.where(jnp.isnan(x_cf), x, x_cf), lower, upper)


def project(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Nearest point (d,) to `x_cf` (d,) that is allowed from `x` (d,). Idempotent."""
    check_row(x, space, x_cf=x_cf)
    score = jnp.where(jnp.isnan(x_cf), x, x_cf)
    one_hot = _to_one_hot(space.group, score, bounds(space, x)[1])
    return jnp.where(space.mutable & (space.group >= 0), one_hot, settle(space, x, x_cf))


def settle(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`project` for an `x_cf` (d,) with intact one-hot groups; much cheaper."""
    check_row(x, space, x_cf=x_cf)
    lower, upper = bounds(space, x)
    point = jnp.clip(jnp.where(jnp.isnan(x_cf), x, x_cf), lower, upper)
    return jnp.where(space.step > 0, _to_grid(space.step.astype(x.dtype), x, point, lower, upper), point)


def snap(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`project`, with the gradient of `relax` (straight-through), for descent over categories and steps."""
    relaxed = relax(space, x, x_cf)
    return relaxed + jax.lax.stop_gradient(project(space, x, x_cf) - relaxed)


def allows(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """Whether the move from `x` (d,) to `x_cf` (d,) is allowed: () bool. Immutable columns must be bit-identical."""
    check_row(x, space, x_cf=x_cf)
    nearest = project(space, x, x_cf)
    near = jnp.abs(x_cf - nearest) <= 1e-6 * (1 + jnp.maximum(jnp.abs(x), jnp.abs(nearest)))
    return jnp.all(jnp.where(space.mutable, near, x_cf == x))


def along(space: ActionSpace, x: Array, x_cf: Array, fraction: Array) -> Array:
    """The point (d,) at `fraction` () of the way from `x` to an allowed `x_cf`, itself allowed.

    Continuous columns move in proportion, ordered ones by whole steps, and a category switches half-way. At 1 the value
    is `x_cf` itself, and the derivative with respect to the fraction is that just before 1.
    """
    check_row(x, space, x_cf=x_cf)
    change = fraction * (x_cf - x)
    step = jnp.where(space.step > 0, space.step, 1).astype(x.dtype)
    point = x + jnp.where(space.step > 0, jnp.round(change / step) * step, change)
    rounding = jnp.clip(point, jnp.minimum(x, x_cf), jnp.maximum(x, x_cf)) - point
    beyond = (fraction - jax.lax.stop_gradient(fraction)) * jnp.where(space.step > 0, 0, x_cf - x)
    return jnp.where(fraction >= 1, x_cf + beyond, point + jax.lax.stop_gradient(rounding))


def _num_steps_at_most(space: ActionSpace, num: int, lower: Array, upper: Array) -> Array:
    ordered = (space.step > 0) & (num * space.step >= (upper - lower) * (1 - GRID_TOLERANCE))
    return (space.group >= 0) | ordered


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
    beaten = jnp.any(ahead & (group[:, None] == group[None, :]), axis=0)
    return jnp.where(beaten, 0, 1).astype(score.dtype)
