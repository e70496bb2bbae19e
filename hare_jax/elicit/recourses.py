"""Recourses for elicitors with a parametric cost: a pool on the decision boundary, and the search for the cheapest.

Costs are functions of the own change `z - x` (d,), so that columns that merely follow others cost nothing.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.elicit import pool
from hare_jax.solvers.boundary import boundary
from hare_jax.solvers.directions import uniform_moves
from hare_jax.solvers.local_search import LocalSearch, local_search
from hare_jax.space import ActionSpace, own_change, project

SEARCH = LocalSearch(num_first=8, num_starts=1, num_rounds=6, num_rays=8)  # of the recommendation, after each answer
SHORT = LocalSearch(num_first=4, num_starts=1, num_rounds=2, num_rays=4)  # of an alternative to it
_BOUNDARY_STEPS = 10  # bisections


def changes(space: ActionSpace, x: Array, z: Array) -> Array:
    """The own change (n, d) from `x` (d,) to each recourse `z` (n, d)."""
    return jax.vmap(partial(own_change, space, x))(z)


def draw(
    key: Array, logit_fn: LogitFn, x: Array, base: Recourse, space: ActionSpace, num: int, reach: float, margin: float
) -> Recourse:
    """Recourses (num, d) on the boundary in random directions from `x` (d,); see `pool.draw`."""
    drawn = pool.draw(key, logit_fn, x, base, space, pool.distances(num, (reach,)), margin)
    return _on_boundary(logit_fn, x, drawn, space, margin)


def draw_around(
    key: Array, logit_fn: LogitFn, x: Array, best: Recourse, space: ActionSpace, num: int, spread: float, margin: float
) -> Recourse:
    """Recourses (num, d) on the boundary for random target points around the recourse `best` (d,).

    Their distances from it are uniform, up to `spread ||best - x||`.
    """
    length = spread * jnp.linalg.norm(best.x - x) * (jnp.arange(num, dtype=x.dtype) + 1) / num
    moves = uniform_moves(key, length, space)
    targets = jax.vmap(lambda move: project(space, x, best.x + move))(moves)
    anchors = jax.tree.map(lambda leaf: leaf[None], best)
    found = pool.to_accepted(logit_fn, x, targets, anchors, space, margin)
    return _on_boundary(logit_fn, x, found, space, margin)


def _on_boundary(logit_fn: LogitFn, x: Array, found: Recourse, space: ActionSpace, margin: float) -> Recourse:
    """The accepted recourses (n, d), moved back towards `x` (d,) to the boundary."""
    move = partial(boundary, logit_fn, x, space=space, margin=margin, num_steps=_BOUNDARY_STEPS)
    moved = jax.vmap(move)(found.x)
    usable = found.valid & moved.valid
    return Recourse(jnp.where(usable[:, None], moved.x, found.x), usable)


def cheapest(
    hp: LocalSearch,
    key: Array,
    cost: Callable[[Array], Array],
    logit_fn: LogitFn,
    x: Array,
    best: Recourse,
    known: Recourse,
    space: ActionSpace,
) -> Recourse:
    """The recourse of least `cost: (d,) -> ()` of its own change: a local search from `best` or the `known` (m, d).

    Where `best` is not valid, it is returned as it is.
    """

    def cost_of(z: Array) -> Array:
        return cost(own_change(space, x, z))

    costs = jnp.where(known.valid, jax.vmap(cost_of)(known.x), jnp.inf)
    near = jnp.argmin(costs)
    start = Recourse(jnp.where(cost_of(best.x) <= costs[near], best.x, known.x[near]), best.valid)
    found = local_search(hp, key, cost_of, logit_fn, x, start, space)
    return Recourse(jnp.where(best.valid, found.x, best.x), best.valid)


def members(*parts: Recourse) -> Recourse:
    """The recourses (m, d) of all parts; one without an axis in front is a row."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(_rows(part) for part in parts))


def _rows(part: Recourse) -> Recourse:
    return jax.tree.map(lambda leaf: leaf[None], part) if part.x.ndim == 1 else part
