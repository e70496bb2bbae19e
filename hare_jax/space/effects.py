"""What follows from a change: columns that follow others, and the part of a change that is a person's own.

Own changes are what costs, and what is counted; a space without relations has no others.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import ActionSpace
from hare_jax.space import relations as related
from hare_jax.space.columns import bounds, weighted_l1


def is_follower(space: ActionSpace) -> np.ndarray:
    """Which columns (d,) follow others by a link; a NumPy array of bool, known at trace time."""
    width = len(space.mutable)
    return np.zeros(width, bool) if space.relations is None else related.followers(space.relations, width)


def causes(space: ActionSpace) -> np.ndarray:
    """Which columns j move column i, directly or through others: (d, d) bool, a NumPy array known at trace time."""
    width = len(space.mutable)
    return np.zeros((width, width), bool) if space.relations is None else related.causes(space.relations, width)


def own_change(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """The change (d,) from `x` to `x_cf`, both (d,), without what only follows other columns."""
    return own_values(space, x, x_cf) - x


def with_own_change(space: ActionSpace, x: Array, change: Array) -> Array:
    """The inverse of `own_change`: the point (d,) after an own `change` (d,) from `x` (d,), and what follows it."""
    return follow(space, x, x + change)


def own_values(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`x` plus the own changes to `x_cf`, all (d,): coordinates in which columns that follow stay where they are."""
    if space.relations is None:
        return x_cf
    return related.own_values(space.relations, space.mutable, space.step, x, x_cf)


def own_bounds(space: ActionSpace, x: Array) -> tuple[Array, Array]:
    """The `bounds` (d,), (d,) of own values: a mutable column that follows may make up for all that it follows."""
    lower, upper = bounds(space, x)
    if space.relations is None:
        return lower, upper
    width = jnp.where(is_follower(space) & space.mutable, upper - lower, 0)
    return lower - width, upper + width


def follow(space: ActionSpace, x: Array, own: Array, *, smooth: bool = False) -> Array:
    """The inverse of `own_values`: the point (d,) after `own` (d,). `smooth`: nothing is rounded to steps."""
    if space.relations is None:
        return own
    return related.shifted(space.relations, jnp.zeros_like(x) if smooth else space.step, x, own)


def complete(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """`x_cf` (d,) with columns that follow others where they follow, unless they have been acted on.

    Differentiable: methods that evaluate the classifier at a point with moved causes call this first.
    """
    if space.relations is None:
        return x_cf
    return related.follow(space.relations, space.mutable, space.step, x, x_cf)


def costs(space: ActionSpace, x: Array) -> Array:
    """The cost (d,) of a unit of change of each column, of the dtype of `x` (d,)."""
    return jnp.ones_like(x) if space.cost is None else space.cost.astype(x.dtype)


def distance(space: ActionSpace, x: Array, x_cf: Array) -> Array:
    """The cost () of the change from `x` to `x_cf`, both (d,): the `norm` of the own changes."""
    return norm(space, own_change(space, x, x_cf))


def norm(space: ActionSpace, change: Array) -> Array:
    """The L1 norm () of an own `change` (d,), weighted by `costs`."""
    change = jnp.abs(change)
    return jnp.sum(change if space.cost is None else space.cost.astype(change.dtype) * change)


def moved(space: ActionSpace, x: Array, point: Array, change: Array) -> Array:
    """`point` (d,) after a further own `change` (d,), and what follows it."""
    if space.relations is None:
        return point + change
    return with_own_change(space, x, own_change(space, x, point) + change)


def own_slope(space: ActionSpace, x: Array, point: Array, slope: Array) -> Array:
    """The slope (d,) in the own changes at `point` (d,) of a function with this `slope` (d,) in all columns.

    Columns that follow in steps count as continuous. For descents, whose variable is a point in which some columns
    follow others.
    """
    if space.relations is None:
        return slope
    return jax.vjp(lambda own: follow(space, x, own, smooth=True), own_values(space, x, point))[1](slope)[0]


def weighted_cost(space: ActionSpace, weights: Array, x: Array, x_cf: Array) -> Array:
    """`sum_j weights_j |own change_j|`: (), the cost of the change from `x` to `x_cf`, all (d,)."""
    return weighted_l1(weights, x, own_values(space, x, x_cf))
