"""The cheapest action on the grid of allowed changes for a linear classifier: a knapsack over the columns.

One unit of a column is a step of an ordered column, the switch of a one-hot group to its best level, or 1 of a
continuous column. Its gain is what it adds to the logit, its cost is its L1.
"""

import jax.numpy as jnp
from jax import Array

from hare_jax.recourse.knapsack import ROUNDING, Items, knapsack, ranks_before
from hare_jax.space import GRID_TOLERANCE, ActionSpace, bounds, is_one, project, same_feature

_SWITCH_COST = 2  # L1 of a one-hot group's change of level


def linear_action(
    weight: Array, need: Array, x: Array, space: ActionSpace, *, gap: float | Array, num_nodes: int
) -> Array:
    """The allowed point (d,) of least L1 from `x` (d,) at which a linear logit of `weight` (d,) is higher by `need` ().

    Exact to within `gap` in L1, unless branch and bound stops at `num_nodes`. If no allowed point suffices, the need is
    lowered to just below the largest possible increase.
    """
    grouped, unit = space.group >= 0, _unit(x, space)
    items = _items(weight, need, x, space)
    within = jnp.minimum(need, (1 - ROUNDING) * jnp.sum(items.gain * items.most))
    units = knapsack(items, within, gap=gap, num_nodes=num_nodes)
    switched = jnp.any(_same_group(space) & (units > 0)[None, :], axis=1)
    moved = x + jnp.sign(weight) * unit * units
    return project(space, x, jnp.where(grouped, jnp.where(switched, units, x), moved))


def _items(weight: Array, need: Array, x: Array, space: ActionSpace) -> Items:
    """The knapsack's items: one unit moves a column towards a higher logit, or switches a group to this level."""
    lower, upper = bounds(space, x)
    grouped, unit = space.group >= 0, _unit(x, space)
    ordered = ~grouped & (space.step > 0)
    gain = jnp.where(grouped, _switch_gain(weight, upper, x, space), jnp.abs(weight) * unit)
    reach = jnp.where(weight > 0, upper - x, x - lower) / unit
    limits = jnp.finfo(x.dtype)
    smallest_gain = limits.eps * jnp.abs(need) + limits.tiny
    enough = jnp.ceil(jnp.maximum(need, 0) / jnp.maximum(gain, smallest_gain)) + 1  # finite, unlike the bounds
    most = jnp.minimum(jnp.where(ordered, jnp.floor(reach + GRID_TOLERANCE), reach), enough)
    most = jnp.where(gain > 0, jnp.where(grouped, 1, most), 0)
    return Items(gain, jnp.where(grouped, _SWITCH_COST, unit), most, grouped | ordered)


def _switch_gain(weight: Array, upper: Array, x: Array, space: ActionSpace) -> Array:
    """What the logit gains by a switch to each level (d,) of a one-hot group; 0 for all but the group's best level."""
    same = _same_group(space)
    gain = weight - jnp.matmul(same.astype(x.dtype), weight * x, precision="highest")  # from the present level
    gain = jnp.where(space.mutable & is_one(upper), gain, -jnp.inf)
    return jnp.where(jnp.any(same & ranks_before(gain), axis=1), 0, jnp.maximum(gain, 0))


def _unit(x: Array, space: ActionSpace) -> Array:
    """Length (d,) of a unit of change: the step of an ordered column, otherwise 1."""
    return jnp.where((space.group < 0) & (space.step > 0), space.step, 1).astype(x.dtype)


def _same_group(space: ActionSpace) -> Array:
    """Whether columns i and j are levels of one one-hot group: (d, d) bool."""
    return same_feature(space) & (space.group >= 0)[:, None]
