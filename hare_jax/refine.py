"""Search on the decision boundary for the recourse of least cost, whatever the cost and the classifier.

A *ray* leads from the factual to an allowed point, and is bisected to the boundary. The search throws rays in random
sparse directions, keeps the cheapest few, and changes their directions in one or two columns, round after round. Each
point that it keeps is allowed and accepted, and the cost never rises. No gradient is asked for: categories have none.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, bounds, project

_REACH = 1.5  # of the changed direction's length, so that a ray has room to be bisected


@hyperparams
class Refine:
    """How long to search."""

    num_first: int = 128  # rays of the first round, for each start
    num_starts: int = 4  # searched from, side by side
    num_rounds: int = 20
    num_rays: int = 16  # a round, for each start
    num_steps: int = 10  # bisections of a ray
    margin: float = MARGIN  # the least logit of a recourse


def refine(
    hp: Refine,
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
    num_mutable = jnp.sum(space.mutable)
    movable = jnp.argsort(~space.mutable)

    def costs(found: Recourse) -> Array:
        return jnp.where(found.valid, cost_fn(found.x), jnp.inf)

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
        value = jnp.where(draw[4:] < 0.3, x[column], jnp.where(draw[4:] < 0.65, out, scaled))
        moved = z.at[column[0]].set(value[0])
        moved = jnp.where(draw[0] * 7 % 1 < 0.5, moved, moved.at[column[1]].set(value[1]))
        return throw(moved)

    def sparse(draw: Array) -> Recourse:
        """A ray in a random direction of one to three columns; `draw` (7,) is uniform."""
        column = movable[jnp.floor(draw[:3] * num_mutable).astype(jnp.int32)]
        side = draw[3:6] < 0.5
        end = jnp.where(side, lower[column], upper[column])
        share = jnp.where(side, 2 * draw[3:6], 2 * draw[3:6] - 1)
        length = jnp.minimum(2 * draw[6], 1) / jnp.max(share)  # half of them go all the way
        return throw(x.at[column].set(x[column] + length * share * (end - x[column])))

    def best_of(found: Recourse, num: int) -> tuple[Recourse, Array]:
        value, index = jax.lax.top_k(-jax.vmap(costs)(found), num)
        return jax.tree.map(lambda leaf: leaf[index], found), -value

    def one_round(carry: tuple[Recourse, Array], draws: Array) -> tuple[tuple[Recourse, Array], None]:
        now, cost = carry
        thrown = jax.vmap(lambda draws, z: jax.vmap(bend, in_axes=(0, None))(draws, z))(draws, now.x)
        nearest, value = jax.vmap(lambda found: best_of(found, 1))(thrown)
        better = value[:, 0] < cost
        found = Recourse(jnp.where(better[:, None], nearest.x[:, 0], now.x), now.valid | better)
        return (found, jnp.minimum(value[:, 0], cost)), None

    shape = hp.num_rounds, hp.num_starts, hp.num_rays, 6
    draws = jax.random.uniform(key, (7 * hp.num_first + math.prod(shape),), x.dtype)  # each call is dear to compile
    first = jax.vmap(sparse)(draws[: 7 * hp.num_first].reshape(hp.num_first, 7))
    given = jax.tree.map(lambda leaf: leaf[None], recourse)
    every = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), given, first)
    start = best_of(every, hp.num_starts)
    (found, cost), _ = jax.lax.scan(one_round, start, draws[7 * hp.num_first :].reshape(shape))
    cheapest = jnp.argmin(cost)
    known = jnp.isfinite(cost[cheapest])
    return Recourse(jnp.where(known, found.x[cheapest], recourse.x), jnp.where(known, True, recourse.valid))
