"""A cheaper recourse in a space with relations, by sequential linear programming with all of its inequalities.

It takes the place of a round of `cheapest_path`, whose knapsack has no further constraints. The variables are the own
values of the free columns: `x` plus their own changes, from which all other columns follow. The program is the tangent
plane of the classifier and those of the inequalities at the incumbent, within a trust region, and its optimum is a
vertex (`solvers.simplex`). Ordered columns are rounded to whole steps, and the program is solved again for the others.
With a limit on the number of changes, the columns that change most in a first solution join those that have changed.
The way from the incumbent to the vertex is bisected, for the classifier itself, to the last accepted point.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.recourse.cheapest_path import Incumbent, Problem, Round
from hare_jax.recourse.knapsack import ranks_before
from hare_jax.solvers.simplex import simplex
from hare_jax.space import follow, own_values, rows_from, same_feature, settle, weighted_cost
from hare_jax.space.inequalities import linearised, num_changes

_NUM_BISECTIONS = 8
_SHRINK = 0.25  # of the radius, after a round without a cheaper point
_PIVOTS_PER_COLUMN = 4  # of the simplex method, at most
_BEYOND = 1e-5  # of a logit: the program aims that far beyond the margin, which rounding costs
_INSIDE = 2  # units of slack by which the program stays below an inequality
_PENALTY = 1e3  # for what a logit lacks of the margin, in costs of the most expensive way to gain it


class _Plane(NamedTuple):
    """The classifier and the inequalities, linearised at own values."""

    own: Array  # (d,)
    logit: Array  # () what it exceeds the target by
    slope: Array  # (d,)
    room: Array  # (m,) of the inequalities
    gradient: Array  # (m, d)
    radius: Array  # () of the trust region


def one_round(problem: Problem, now: Incumbent) -> Incumbent:
    """The cheapest accepted point on the ways to two vertices, if it costs less than the incumbent."""
    plane = _plane(problem, now)
    ends = _vertices(problem, plane)
    found, accepted = jax.vmap(partial(_last_accepted, problem, plane.own))(ends)
    cost = jax.vmap(partial(weighted_cost, problem.space, problem.weights, problem.x))(found)
    cost = jnp.where(accepted, cost, jnp.inf)
    best = jnp.argmin(cost)
    cheaper = cost[best] < now.cost
    return Incumbent(
        jnp.where(cheaper | ~jnp.isfinite(now.cost), found[best], now.z),
        jnp.minimum(cost[best], now.cost),
        jnp.where(cheaper, now.radius, _SHRINK * now.radius),
    )


def two_rounds(problem: Problem, now: Incumbent) -> Incumbent:
    """From a point that may be refused: the second program is linearised where the first one ends."""
    return jax.lax.fori_loop(0, 2, lambda _, z: one_round(problem, z._replace(radius=now.radius)), now)


ROUNDS: tuple[Round, Round] = one_round, two_rounds  # of descent, and after a switch


def _plane(problem: Problem, now: Incumbent) -> _Plane:
    """The tangent planes at the incumbent; differences of the logit include what follows, without its steps."""
    x, space = problem.x, problem.space
    z = settle(space, x, now.z)
    own = own_values(space, x, z)
    smooth = partial(follow, space, x, smooth=True)
    size = jnp.asarray(jnp.finfo(x.dtype).eps ** (1 / 3), x.dtype)
    step = jnp.where(own + own < problem.lower + problem.upper, size, -size)
    moved = jax.vmap(smooth)(own[None, :] + jnp.diag(step))
    slope = (jax.vmap(problem.logit_fn)(moved) - problem.logit_fn(smooth(own))) / step
    slope = jnp.where(problem.free & jnp.isfinite(slope), slope, 0).astype(x.dtype)
    logit = problem.logit_fn(z).astype(x.dtype)
    rows = rows_from(space, x)
    assert rows is not None
    value, gradient = linearised(rows, smooth, own)
    room = jnp.maximum(rows.limits - _INSIDE * rows.slack - value, 0)
    target = problem.margin + _BEYOND * (1 + jnp.abs(logit))
    return _Plane(own, logit - target, slope, room, gradient, now.radius)


def _vertices(problem: Problem, plane: _Plane) -> Array:
    """The own values (2, d) of the cheapest vertices: with ordered columns in whole steps, and with those as they are.

    If the number of changes is limited, only so many columns change.
    """
    x, step = problem.x, problem.space.step.astype(problem.x.dtype)
    free = _free(problem, plane)
    whole = jnp.where(step > 0, step, 1)
    moved = plane.own + _move(problem, plane, free)
    rounded = x + jnp.round((moved - x) / whole) * whole
    change = jnp.where(free & (step > 0), rounded - plane.own, 0)
    near = plane._replace(
        own=plane.own + change,
        logit=plane.logit + jnp.sum(plane.slope * change),
        room=jnp.maximum(plane.room - jnp.sum(plane.gradient * change[None, :], axis=1), 0),
    )
    continuous = free & (step == 0)
    planes = jax.tree.map(lambda *leaves: jnp.stack(leaves), near, plane)
    return planes.own + jax.vmap(lambda plane: _move(problem, plane, continuous))(planes)


def _free(problem: Problem, plane: _Plane) -> Array:
    """The columns (d,) that may move: with a limit on changes, those that have changed and the most promising ones."""
    relations = problem.space.relations
    assert relations is not None
    if relations.max_changes is None:
        return problem.free
    changed = plane.own != problem.x
    left = relations.max_changes - num_changes(same_feature(problem.space), plane.own - problem.x)
    first = _move(problem, plane, problem.free & (changed | (left > 0)))
    score = jnp.where(changed, 0, problem.weights * jnp.abs(first))
    chosen = (score > 0) & (jnp.sum(ranks_before(score), axis=1) < left)
    return problem.free & (changed | chosen)


def _move(problem: Problem, plane: _Plane, free: Array) -> Array:
    """The change (d,) of the `free` columns (d,) to the cheapest vertex of the trust region.

    Each column has three variables: towards the factual, beyond it, and away from it. One more is what the logit gains
    of what it lacks, so that the program has a feasible start.
    """
    width, weights = len(plane.own), problem.weights
    gap = problem.x - plane.own
    heading = jnp.where(gap >= 0, 1, -1).astype(gap.dtype)
    low = jnp.maximum(plane.own - jnp.maximum(problem.lower, plane.own - plane.radius), 0)
    high = jnp.maximum(jnp.minimum(problem.upper, plane.own + plane.radius) - plane.own, 0)
    ahead, behind = jnp.where(gap >= 0, high, low), jnp.where(gap >= 0, low, high)
    back = jnp.minimum(jnp.abs(gap), ahead)
    most = jnp.where(free[None, :], jnp.stack([back, ahead - back, behind]), 0).ravel()
    effect = jnp.stack([heading, heading, -heading])
    lacks = jnp.maximum(-plane.logit, 0)
    steepest = jnp.maximum(jnp.max(jnp.where(free, jnp.abs(plane.slope), 0)), jnp.finfo(gap.dtype).tiny)
    rows = jnp.concatenate([-plane.slope[None, :] / steepest, plane.gradient])
    matrix = (rows[:, None, :] * effect[None, :, :]).reshape(len(rows), 3 * width)
    size = jnp.maximum(jnp.max(jnp.abs(matrix), axis=1), jnp.finfo(gap.dtype).tiny)
    limits = jnp.append(jnp.maximum(plane.logit, 0) / steepest, plane.room) / size
    missing = (jnp.arange(len(rows)) == 0) / size[0]
    heaviest = jnp.maximum(jnp.max(weights), jnp.finfo(gap.dtype).tiny)
    cost = jnp.append(jnp.stack([-weights, weights, weights]).ravel() / heaviest, -_PENALTY)
    matrix = jnp.append(matrix / size[:, None], missing[:, None].astype(gap.dtype), axis=1)
    units = simplex(cost, matrix, limits, jnp.append(most, lacks / steepest), num_pivots=_PIVOTS_PER_COLUMN * width)
    return jnp.sum(effect * units[:-1].reshape(3, width), axis=0)


def _last_accepted(problem: Problem, start: Array, end: Array) -> tuple[Array, Array]:
    """The last accepted point (d,) on the way between own values (d,), and whether there is one: () bool.

    If the classifier refuses both ends, it is the point at `end`.
    """

    def at(fraction: Array) -> Array:
        own = start + fraction * (end - start)
        point = settle(problem.space, problem.x, follow(problem.space, problem.x, own))
        return jax.lax.optimization_barrier(point)

    def halve(_: int, bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, best = bracket
        middle = (low + high) / 2
        point = at(middle)
        accepted = problem.logit_fn(point) >= problem.margin
        return jnp.where(accepted, middle, low), jnp.where(accepted, high, middle), jnp.where(accepted, point, best)

    zero, one = jnp.zeros((), start.dtype), jnp.ones((), start.dtype)
    edges = jax.vmap(at)(jnp.stack([zero, one]))  # one copy of the projection, which is most of the program
    begins, ends = jax.vmap(problem.logit_fn)(edges) >= problem.margin
    *_, best = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, (zero, one, edges[0]))
    return jnp.where(ends | ~begins, edges[1], best), begins | ends
