"""The cheapest action on the grid of allowed changes for a linear classifier: a knapsack over the columns.

One unit of a column is a step of an ordered column, the switch of a one-hot group to its best level, or 1 of a
continuous column. Its gain is what it adds to the logit, its cost is its L1, weighted by the costs of the space. With
relations, columns are own values, and the gain of a column contains that of what follows it.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jax import Array

from hare_jax.recourse.knapsack import ROUNDING, Items, knapsack, ranks_before
from hare_jax.space import GRID_TOLERANCE, ActionSpace, costs, follow, is_one, own_bounds, project, same_feature


def linear_action(
    weight: Array, need: Array, x: Array, space: ActionSpace, *, gap: float | Array, num_nodes: int
) -> Array:
    """The cheapest allowed point (d,) from `x` (d,) at which a linear logit of `weight` (d,) is higher by `need` ().

    Exact to within `gap` in cost, unless branch and bound stops at `num_nodes`. If no allowed point suffices, the need
    is lowered to just below the largest possible increase. With a limit on the number of changes or inequalities it is
    not exact: see `_limited`.
    """
    grouped, unit = space.group >= 0, _unit(x, space)
    solve = partial(_solve, need, gap=gap, num_nodes=num_nodes)
    units = _limited(space, solve, _items(weight, need, x, space), need)
    switched = jnp.any(_same_group(space) & (units > 0)[None, :], axis=1)
    moved = x + jnp.sign(weight) * unit * units
    return project(space, x, follow(space, x, jnp.where(grouped, jnp.where(switched, units, x), moved)))


def _solve(need: Array, items: Items, *, gap: float | Array, num_nodes: int) -> Array:
    """The units (d,) of the items, for as much of the `need` () as they have."""
    within = jnp.minimum(need, (1 - ROUNDING) * jnp.sum(items.gain * items.most))
    return knapsack(items, within, gap=gap, num_nodes=num_nodes)


def _limited(space: ActionSpace, solve: Callable[[Items], Array], items: Items, need: Array) -> Array:
    """The units (d,) of `solve`; with a limit on the number of changes, those of at most so many items.

    Where the cheapest solution has more, it is that of its items of most gain, or if these lack some of the `need` (),
    of those that may gain most.
    """
    units = solve(items)
    if space.relations is None or space.relations.max_changes is None:
        return units
    most_items, capacity = space.relations.max_changes, jnp.minimum(items.gain * items.most, need)

    def largest(gain: Array) -> Array:
        return (gain > 0) & (jnp.sum(ranks_before(gain), axis=1) < most_items)

    used = largest(items.gain * units)
    kept = jnp.where(jnp.sum(jnp.where(used, capacity, 0)) >= need, used, largest(capacity))
    fewer = solve(items._replace(most=jnp.where(kept, items.most, 0)))
    return jnp.where(jnp.sum(units > 0) <= most_items, units, fewer)


def _items(weight: Array, need: Array, x: Array, space: ActionSpace) -> Items:
    """The knapsack's items: one unit moves a column towards a higher logit, or switches a group to this level."""
    lower, upper = own_bounds(space, x)
    grouped, unit = space.group >= 0, _unit(x, space)
    ordered = ~grouped & (space.step > 0)
    gain = jnp.where(grouped, _switch_gain(weight, upper, x, space), jnp.abs(weight) * unit)
    reach = jnp.where(weight > 0, upper - x, x - lower) / unit
    limits = jnp.finfo(x.dtype)
    smallest_gain = limits.eps * jnp.abs(need) + limits.tiny
    enough = jnp.ceil(jnp.maximum(need, 0) / jnp.maximum(gain, smallest_gain)) + 1  # finite, unlike the bounds
    most = jnp.minimum(jnp.where(ordered, jnp.floor(reach + GRID_TOLERANCE), reach), enough)
    most = jnp.where(gain > 0, jnp.where(grouped, 1, most), 0)
    cost = costs(space, x)
    left = jnp.sum(jnp.where(_same_group(space), (cost * x)[None, :], 0), axis=1)  # cost of leaving the present level
    return Items(gain, jnp.where(grouped, cost + left, cost * unit), most, grouped | ordered)


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
