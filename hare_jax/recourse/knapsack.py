"""A knapsack of least cost with whole and fractional units, by depth-first branch and bound.

Minimise `sum_j cost_j u_j` subject to `sum_j gain_j u_j >= need`, `0 <= u_j <= most_j`, and `u_j` integral where
`whole_j`. The bound is the linear relaxation (Dantzig 1957): take items in the order of `gain / cost` until the need is
met. The branching items, those of whole units, are decided one after the other, the most expensive unit first; level k
of the tree decides the k-th of them. A *node* is a partial solution: the units of the items decided so far.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

ROUNDING = 1e-5  # relative error that float32 may accumulate in a sum over the items


class Items(NamedTuple):
    """What each of the d items offers."""

    gain: Array  # (d,) of a unit; at least 0
    cost: Array  # (d,) of a unit; positive
    most: Array  # (d,) units available, finite
    whole: Array  # (d,) bool: only whole units


class _Problem(NamedTuple):
    """The knapsack and the order of its items; constant during the search."""

    items: Items
    need: Array  # () gain
    before: Array  # (d, d) bool: whether item j comes before item i in the relaxation
    branching: Array  # (d,) bool: whether an item is decided by branching
    level: Array  # (d,) int32: the level that decides it


class _Child(NamedTuple):
    """A node one level down."""

    units: Array  # (d,) of the decided items, and of the others those of the relaxation
    bound: Array  # () the least cost of any solution below the node; infinite where there is none


class _Search(NamedTuple):
    level: Array  # () int32: the level being decided; -1 when the search has finished
    units: Array  # (d,) of the items decided at the levels above
    fewer: Array  # (d,) the next lower number of units to try at an item's level
    more: Array  # (d,) the next higher one
    best: Array  # (d,) the incumbent: the cheapest solution so far
    least: Array  # () its cost
    num_nodes: Array  # () int32: visited so far


def knapsack(items: Items, need: Array, *, gap: float | Array, num_nodes: int) -> Array:
    """Units (d,) of `items` that gain at least `need` () at the least cost, to within `gap` and a rounding error.

    Each level starts with the two numbers of units next to the relaxation's and moves outwards, the lower bound first.
    The bound is convex in that number, so the first number that costs too much on a side ends that side. If the search
    stops at `num_nodes`, the solution may cost more. `need` must not exceed what all units gain together.

    >>> one = jnp.ones(2)
    >>> items = Items(gain=jnp.array([1.0, 0.6]), cost=one, most=2 * one, whole=jnp.array([True, False]))
    >>> knapsack(items, jnp.array(1.3), gap=1e-4, num_nodes=100).round(4).tolist()
    [1.0, 0.5]
    """
    problem = _problem(items, need)
    step = partial(_step, problem, gap)
    return jax.lax.while_loop(lambda s: (s.level >= 0) & (s.num_nodes < num_nodes), step, _root(problem)).best


def ranks_before(score: Array) -> Array:
    """Whether item j ranks before item i: (d, d) bool at [i, j]. Higher scores (d,) first, then position.

    >>> ranks_before(jnp.array([1.0, 2.0, 1.0])).astype(int).tolist()
    [[0, 1, 0], [0, 0, 0], [1, 1, 0]]
    """
    order = jnp.arange(score.shape[0])
    tied = score[None, :] == score[:, None]
    return (score[None, :] > score[:, None]) | (tied & (order[None, :] < order[:, None]))


def _problem(items: Items, need: Array) -> _Problem:
    cost, before = items.cost, ranks_before(items.gain / items.cost)
    branching = items.whole & (items.most > 0)
    sooner = (cost[None, :] > cost[:, None]) | ((cost[None, :] == cost[:, None]) & before)
    return _Problem(items, need, before, branching, jnp.sum(sooner & branching[None, :], axis=1))


def _root(problem: _Problem) -> _Search:
    """The search at the root of the tree, with the rounded relaxation as the incumbent."""
    units, _ = _relaxation(problem, problem.items.most, problem.need)
    best = _rounded_up(problem.items, units)
    zero, lower = jnp.zeros((), problem.level.dtype), jnp.floor(units)
    return _Search(zero, units, lower, lower + 1, best, jnp.sum(problem.items.cost * best), zero)


def _step(problem: _Problem, gap: float | Array, s: _Search) -> _Search:
    """Visit the cheaper child of the current node; if its bound prunes it, return to the level above."""
    child, is_more = _cheaper_child(problem, s)
    enter = child.bound < s.least - gap
    solution = _rounded_up(problem.items, child.units)
    cost = jnp.sum(problem.items.cost * solution)
    better = enter & (cost < s.least)
    s = s._replace(best=jnp.where(better, solution, s.best), least=jnp.where(better, cost, s.least))
    return _move(problem, s, child, is_more, enter)


def _relaxation(problem: _Problem, most: Array, need: Array) -> tuple[Array, Array]:
    """The cheapest units (d,) up to `most` (d,), some of them fractional, and their cost (); infinite if too few."""
    gain = problem.items.gain
    gain_before = jnp.matmul(problem.before.astype(gain.dtype), gain * most, precision="highest")
    units = jnp.clip((need - gain_before) / jnp.where(gain > 0, gain, 1), 0, most)
    return units, jnp.where(jnp.sum(gain * most) >= need, jnp.sum(problem.items.cost * units), jnp.inf)


def _rounded_up(items: Items, units: Array) -> Array:
    """A solution (d,) that gains at least what `units` (d,) do, to within a rounding error."""
    return jnp.where(items.whole, jnp.ceil(units - ROUNDING * (1 + units)), units)


def _cheaper_child(problem: _Problem, s: _Search) -> tuple[_Child, Array]:
    """The child of lower bound, of the next lower and the next higher number of units, and whether it is the latter."""
    here = problem.branching & (problem.level == s.level)
    fewer, more = jnp.sum(jnp.where(here, s.fewer, 0)), jnp.sum(jnp.where(here, s.more, 0))
    children = jax.vmap(partial(_child, problem, s))(jnp.stack([fewer, more]))
    cheaper = jnp.argmin(children.bound)
    return _Child(children.units[cheaper], children.bound[cheaper]), cheaper == 1


def _child(problem: _Problem, s: _Search, number: Array) -> _Child:
    """The child with this `number` () of units of the item at the current level."""
    (gain, cost, most, _), need, _, branching, level = problem
    here = branching & (level == s.level)
    decided = jnp.where(here, number, jnp.where(branching & (level < s.level), s.units, 0))
    undecided_most = jnp.where(branching & (level <= s.level), 0, most)
    undecided, undecided_cost = _relaxation(problem, undecided_most, need - jnp.sum(gain * decided))
    available = (number >= 0) & (number <= jnp.sum(jnp.where(here, most, 0)))
    return _Child(decided + undecided, jnp.where(available, jnp.sum(cost * decided) + undecided_cost, jnp.inf))


def _move(problem: _Problem, s: _Search, child: _Child, is_more: Array, enter: Array) -> _Search:
    """Enter the `child`, so that the next level starts from its relaxation; otherwise go one level up."""
    here, next_item = (problem.branching & (problem.level == level) for level in (s.level, s.level + 1))
    last = jnp.sum(problem.branching) - 1
    fewer = jnp.where(enter & here & ~is_more, s.fewer - 1, s.fewer)
    more = jnp.where(enter & here & is_more, s.more + 1, s.more)
    lower = jnp.floor(child.units)
    return s._replace(
        level=jnp.where(enter, jnp.minimum(s.level + 1, last), s.level - 1),
        units=jnp.where(enter & here, child.units, s.units),
        fewer=jnp.where(enter & next_item, lower, fewer),
        more=jnp.where(enter & next_item, lower + 1, more),
        num_nodes=s.num_nodes + 1,
    )
