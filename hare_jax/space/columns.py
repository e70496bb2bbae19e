"""The columns of an action space: their bounds, their kinds, and which of them are one feature."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from hare_jax.base import ActionSpace, check_row

_HALF = 0.5
GRID_TOLERANCE = 1e-3  # in steps: float32 can't hold a step such as 1/15 exactly
FURTHEST = 1e3  # encoded units: the longest move that a search considers where there is no bound


def bounds(space: ActionSpace, x: Array) -> tuple[Array, Array]:
    """Lowest and highest allowed value (d,), (d,) of each column from the factual `x` (d,), which is always allowed.

    Columns that only follow others, which are immutable, have the bounds of immutable columns.

    Raises:
        ValueError: `x` is not as wide as the space.
    """
    check_row(x, space)
    lower, upper = limits(space, x)
    return jnp.where(space.mutable, lower, x), jnp.where(space.mutable, upper, x)


def limits(space: ActionSpace, x: Array) -> tuple[Array, Array]:
    """The `bounds` (d,), (d,) as if all columns were mutable."""
    lower = jnp.minimum(space.lower.astype(x.dtype), x)
    upper = jnp.maximum(open_levels(space, x).astype(x.dtype), x)
    return jnp.where(space.direction <= 0, lower, x), jnp.where(space.direction >= 0, upper, x)


def open_levels(space: ActionSpace, x: Array) -> Array:
    """The upper bounds (d,), 0 for the levels that are forbidden from those of `x` (d,)."""
    if space.relations is None or space.relations.forbidden is None:
        return space.upper
    closed = jnp.any(space.relations.forbidden & is_one(x)[:, None], axis=0)
    return jnp.where(closed & (space.group >= 0), 0, space.upper)


def is_category(space: ActionSpace) -> Array:
    """Which columns (d,) encode a category: those of one-hot groups, and those with two values within the bounds.

    >>> from hare_jax.space import action_space
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


def same_feature(space: ActionSpace) -> Array:
    """Whether columns i and j belong to the same feature; a one-hot group is one feature: (d, d) bool."""
    group = space.group
    grouped = (group[:, None] == group[None, :]) & (group >= 0)[:, None]
    return grouped | jnp.eye(group.shape[0], dtype=bool)


def weighted_l1(weights: Array, x: Array, x_cf: Array) -> Array:
    """`sum_j weights_j |x'_j - x_j|`: (), the cost of the change from `x` to `x_cf` with `weights`, all (d,)."""
    return jnp.sum(weights * jnp.abs(x_cf - x))


def _num_steps_at_most(space: ActionSpace, num: int, lower: Array, upper: Array) -> Array:
    ordered = (space.step > 0) & (num * space.step >= (upper - lower) * (1 - GRID_TOLERANCE))
    return (space.group >= 0) | ordered
