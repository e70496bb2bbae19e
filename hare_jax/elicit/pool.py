"""The pool: valid recourses from which questions are chosen, some drawn once, some again after each answer."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.solvers.boundary import boundary
from hare_jax.solvers.directions import uniform_moves
from hare_jax.space import ActionSpace, project

_NEAR_EVERY = 3  # of so many target points, one is within any of the reaches, the others within the largest
_NUM_PASSES = 2  # over the drawn target points
_BOUNDARY_STEPS = 10  # bisections between a target point and its anchor


class Pool(NamedTuple):
    """The parts of the pool."""

    base: Recourse  # (d,)
    best: Recourse  # (d,) the recommendation
    drawn: Recourse  # (num_pool, d) for random target points, at the start
    local: Recourse  # (., d) for target points drawn from the posterior, after each answer
    cheap: Recourse  # (., d) of a local search for each of some utilities drawn from the posterior, after each answer


def members(pool: Pool) -> Recourse:
    """All recourses of the pool: (m, d)."""
    return _concatenate(lasting(pool), pool.local, pool.cheap)


def lasting(pool: Pool) -> Recourse:
    """The recourses that do not change with an answer but for the recommendation: (2 + num_pool, d)."""
    return _prepend(pool.base, _prepend(pool.best, pool.drawn))


def with_members(pool: Pool, moved: Recourse) -> Pool:
    """The pool with other `members` (m, d) in the place of its own."""
    sizes = [len(part.valid) for part in (pool.drawn, pool.local, pool.cheap)]
    ends = [2, 2 + sizes[0], 2 + sizes[0] + sizes[1]]

    def rows(part: int | slice) -> Recourse:
        return Recourse(moved.x[part], moved.valid[part])

    drawn, local, cheap = (rows(slice(a, b)) for a, b in zip(ends, [*ends[1:], None], strict=True))
    return Pool(rows(0), rows(1), drawn, local, cheap)


def start(base: Recourse, best: Recourse, drawn: Recourse, num_local: int, num_cheap: int) -> Pool:
    """The pool before the first answer: the parts that are drawn after an answer are not valid yet."""
    return Pool(base, best, drawn, _invalid(base, num_local), _invalid(base, num_cheap))


def draw(
    key: Array,
    logit_fn: LogitFn,
    x: Array,
    base: Recourse,
    space: ActionSpace,
    distance: Array,
    margin: float,
) -> Recourse:
    """Recourses (m, d) for target points in uniform directions, at a `distance` (m,) from `x` (d,).

    The anchors of the first pass are accepted target points, those of the second one what the first has found.
    """
    moves = uniform_moves(key, distance.astype(x.dtype), space)
    targets = jax.vmap(lambda move: project(space, x, x + move))(moves)

    def once(_: Array, found: Recourse) -> Recourse:
        return to_accepted(logit_fn, x, targets, _prepend(base, found), space, margin)

    given = Recourse(targets, jax.vmap(logit_fn)(targets) >= margin)
    return jax.lax.fori_loop(0, _NUM_PASSES, once, given)


def distances(num: int, reaches: Sequence[Array | float]) -> Array:
    """Distances (num,) of target points, evenly up to the largest reach; one of three is up to any of them."""
    share, at = (np.arange(num) + 0.5) / num, np.arange(num)
    reach = jnp.stack([jnp.asarray(each) for each in reaches])
    return jnp.where(at % _NEAR_EVERY == 0, reach[at % len(reaches)], jnp.max(reach)) * share


def to_accepted(
    logit_fn: LogitFn, x: Array, targets: Array, anchors: Recourse, space: ActionSpace, margin: float
) -> Recourse:
    """For each target point (n, d), the first accepted point on the way to the nearest valid anchor (m, d).

    Targets and anchors are allowed from `x` (d,), and so are the points found.
    """
    search = partial(boundary, logit_fn, space=space, margin=margin, num_steps=_BOUNDARY_STEPS, factual=x)

    def one(target: Array) -> Recourse:
        distance = jnp.where(anchors.valid, jnp.sum((anchors.x - target[None, :]) ** 2, axis=1), jnp.inf)
        near = jnp.argmin(distance)
        found = search(target, anchors.x[near])
        target = jax.lax.optimization_barrier(target)  # the point returned is the one evaluated
        accepted = logit_fn(target) >= margin
        return Recourse(jnp.where(accepted, target, found.x), accepted | (found.valid & anchors.valid[near]))

    return jax.vmap(one)(targets)


def _concatenate(*parts: Recourse) -> Recourse:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _prepend(one: Recourse, others: Recourse) -> Recourse:
    """The recourse `one` (d,) before the `others` (m, d): (m + 1, d)."""
    return _concatenate(jax.tree.map(lambda leaf: leaf[None], one), others)


def _invalid(base: Recourse, num: int) -> Recourse:
    return Recourse(jnp.tile(base.x, (num, 1)), jnp.zeros(num, bool))
