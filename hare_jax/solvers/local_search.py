"""Search on the decision boundary for the recourse of least cost, whatever the cost and the classifier.

A *ray* leads from the factual to an allowed point, and is bisected to the boundary. The search throws rays in random
directions, half of them sparse, keeps the cheapest few, and changes their directions in one or two columns, round after
round. Each point that it keeps is allowed and accepted, and the cost never rises. No gradient is asked for: categories
have none.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, bounds, is_category, project

_REACH = 1.5  # of the changed direction's length, so that a ray has room to be bisected


@hyperparams
class LocalSearch:
    """How long to search."""

    num_first: int = 32  # rays of the first round, for each start
    num_starts: int = 4  # searched from, side by side
    num_rounds: int = 20
    num_rays: int = 16  # a round, for each start
    num_steps: int = 10  # bisections of a ray
    margin: float = MARGIN  # the least logit of a recourse


def local_search(
    hp: LocalSearch,
    key: Array,
    cost_fn: Callable[[Array], Array],
    logit_fn: LogitFn,
    x: Array,
    recourse: Recourse,
    space: ActionSpace,
) -> Recourse:
    """The cheapest valid recourse for `x` (d,) by `cost_fn: (d,) -> ()`: `recourse`, or what the search finds."""
    lower, upper = bounds(space, x)
    lower, upper = jnp.maximum(lower, x - 1e3), jnp.minimum(upper, x + 1e3)  # where there is no bound
    num_mutable, columns = jnp.sum(space.mutable), jnp.arange(len(x))
    movable, categories = jnp.argsort(~space.mutable), is_category(space)

    def costs(found: Recourse) -> Array:
        return jnp.where(found.valid, cost_fn(found.x), jnp.inf)

    def put(z: Array, column: Array, value: Array, back: Array) -> Array:
        """`z` with this `value` in a `column`; a category switches to that column's level, or `back` to that of `x`."""
        in_group = (space.group == space.group[column]) & (space.group[column] >= 0)
        two_levels = categories[column]
        value = jnp.where(two_levels & ~back, (lower + upper - x)[column], value)
        return jnp.where(in_group, jnp.where(back, x, columns == column), z.at[column].set(value))

    def throw(aim: Array) -> Recourse:
        """The better of what is aimed at and the boundary on the way there; if that is refused, on the way beyond."""
        aims = project(space, x, aim), project(space, x, x + _REACH * (aim - x))
        near, far = jax.lax.optimization_barrier(aims)  # what is kept is what was evaluated
        inside = Recourse(near, logit_fn(near) >= hp.margin)
        end = jnp.where(inside.valid, near, far)
        found = boundary(logit_fn, x, end, space, margin=hp.margin, num_steps=hp.num_steps)
        better = costs(inside) < costs(found)
        return Recourse(jnp.where(better, inside.x, found.x), inside.valid | found.valid)

    def bend(draw: Array, z: Array) -> Recourse:
        """A ray with the direction of `z` but for two columns at most; `draw` (6,) is uniform."""
        column = movable[jnp.floor(draw[:2] * num_mutable).astype(jnp.int32)]
        end = jnp.where(draw[2:4] < 0.5, lower[column], upper[column])
        share = (2 * jnp.where(draw[2:4] < 0.5, draw[2:4], draw[2:4] - 0.5)) ** 3
        out = x[column] + share * (end - x[column])
        scaled = x[column] + 2 * share * (z[column] - x[column])
        back = draw[4:] < 0.3
        value = jnp.where(back, x[column], jnp.where(draw[4:] < 0.65, out, scaled))
        moved = put(z, column[0], value[0], back[0])
        moved = jnp.where(draw[0] * 7 % 1 < 0.5, moved, put(moved, column[1], value[1], back[1]))
        return throw(moved)

    def sparse(draw: Array) -> Array:
        """Where a ray in a random direction of one to three columns leads; `draw` (7,) is uniform."""
        column = movable[jnp.floor(draw[:3] * num_mutable).astype(jnp.int32)]
        side = draw[3:6] < 0.5
        end = jnp.where(side, lower[column], upper[column])
        share = jnp.where(side, 2 * draw[3:6], 2 * draw[3:6] - 1)
        length = jnp.minimum(2 * draw[6], 1) / jnp.max(share)  # half of them go all the way
        value = x[column] + length * share * (end - x[column])
        away = jnp.array(False)
        aim = put(x, column[0], value[0], away)
        return put(put(aim, column[1], value[1], away), column[2], value[2], away)

    def dense(draw: Array) -> Array:
        """Where a ray in a random direction of about half of the columns leads; `draw` (2, d) is uniform."""
        side = draw[0] < 0.5
        share = jnp.where(side, 2 * draw[0], 2 * draw[0] - 1)
        return jnp.where(draw[1] < 0.5, x + share * (jnp.where(side, lower, upper) - x), x)

    def best_of(found: Recourse) -> tuple[Recourse, Array]:
        every = jax.vmap(costs)(found)
        best = jnp.argmin(every)
        return jax.tree.map(lambda leaf: leaf[best], found), every[best]

    def one_round(carry: tuple[Recourse, Array], draws: Array) -> tuple[tuple[Recourse, Array], None]:
        now, cost = carry
        thrown = jax.vmap(lambda draws, z: jax.vmap(bend, in_axes=(0, None))(draws, z))(draws, now.x)
        nearest, value = jax.vmap(best_of)(thrown)
        better = value < cost
        found = Recourse(jnp.where(better[:, None], nearest.x, now.x), now.valid | better)
        return (found, jnp.minimum(value, cost)), None

    num_sparse, num_dense = (hp.num_first + 1) // 2, hp.num_first // 2
    firsts = (hp.num_starts, num_sparse, 7), (hp.num_starts, num_dense, 2, len(x))
    shapes = *firsts, (hp.num_rounds, hp.num_starts, hp.num_rays, 6)
    ends = np.cumsum([0, *map(math.prod, shapes)])
    drawn = jax.random.uniform(key, (ends[-1],), x.dtype)  # all at once: each call is dear to compile
    draws = [drawn[a:b].reshape(shape) for a, b, shape in zip(ends[:-1], ends[1:], shapes, strict=True)]
    aims = jnp.concatenate([jax.vmap(jax.vmap(sparse))(draws[0]), jax.vmap(jax.vmap(dense))(draws[1])], axis=1)
    start = jax.vmap(best_of)(jax.vmap(jax.vmap(throw))(aims))
    given = costs(recourse) < start[1][0]
    start = jax.tree.map(
        lambda old, new: old.at[0].set(jnp.where(given, new, old[0])), start, (recourse, costs(recourse))
    )
    (found, cost), _ = jax.lax.scan(one_round, start, draws[2])
    cheapest = jnp.argmin(cost)
    known = jnp.isfinite(cost[cheapest])
    return Recourse(jnp.where(known, found.x[cheapest], recourse.x), jnp.where(known, True, recourse.valid))
