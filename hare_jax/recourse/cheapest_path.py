"""A local minimum of the weighted L1 cost on the decision boundary, by sequential linear programming.

The free columns are those that are not coarse (`space.is_coarse`): continuous ones, and ordered ones of many steps.
Notation: `slope` (d,) are differences of the logit per unit of each free column at the incumbent, and `radius` is
that of the trust region around it, a box. On the tangent plane the cheapest point of a given logit is that of a
continuous knapsack: the columns start as near to the factual as the box permits, and move in the order of their slope
per cost, each to the edge of the box before the next one. These points form a path as the logit rises. Each round
bisects this path to the decision boundary, for the classifier itself and with ordered columns in whole steps, and keeps
the point if it costs less; otherwise the radius shrinks. For a linear classifier and continuous columns the result is
the global minimum, given the categories.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.recourse.knapsack import ranks_before
from hare_jax.space import FURTHEST, ActionSpace, is_coarse, own_bounds, settle, weighted_cost, weighted_l1

_NUM_BISECTIONS = 30
_SHRINK = 0.25  # of the radius, after a round without a cheaper point


class Problem(NamedTuple):
    """What is minimised; constant during the search."""

    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    weights: Array  # (d,)
    lower: Array  # (d,) bounds of the own changes of columns that may move, plus x; of the others, nothing
    upper: Array  # (d,)
    free: Array  # (d,) bool: mutable and not coarse; the others keep the value of the incumbent
    margin: float | Array


class Incumbent(NamedTuple):
    """The cheapest point so far."""

    z: Array  # (d,)
    cost: Array  # ()
    radius: Array  # ()


Round = Callable[[Problem, Incumbent], Incumbent]


class Path(NamedTuple):
    """Points in the order of their linear logit: column j moves while the gain is in [before_j, before_j + gain_j]."""

    base: Array  # (d,) the first point
    room: Array  # (d,) signed length of each column's move
    gain: Array  # (d,) of the linear logit by the whole move
    before: Array  # (d,) gain of the columns that move earlier


def descend(problem: Problem, recourse: Recourse, num_rounds: int, round_fn: Round | None = None) -> Recourse:
    """A recourse that costs no more than `recourse`, and is a local minimum of `sum_j w_j |x'_j - x_j|`.

    Coarse columns keep their values. It evaluates `d + 30` logits a round and uses no gradients. An
    invalid recourse is returned unchanged. The default of `round_fn` is `one_round`.
    """
    radius = 2 * jnp.max(jnp.where(problem.free, jnp.abs(recourse.x - problem.x), 0))
    return improve(problem, partial(round_fn or one_round, problem), recourse, radius, num_rounds)


def improve(
    problem: Problem, step: Callable[[Incumbent], Incumbent], recourse: Recourse, radius: Array, num_rounds: int
) -> Recourse:
    """The recourse after `num_rounds` of `step` from a trust region of `radius` (); unchanged if it is not valid."""
    start = Incumbent(recourse.x, weighted_cost(problem.space, problem.weights, problem.x, recourse.x), radius)
    end = jax.lax.fori_loop(0, num_rounds, lambda _, now: step(now), start)
    return Recourse(jnp.where(recourse.valid, end.z, recourse.x), recourse.valid)


def bounded(logit_fn: LogitFn, x: Array, space: ActionSpace, weights: Array, margin: float | Array) -> Problem:
    """The problem of the row `x` (d,) with cost `weights` (d,)."""
    lower, upper = own_bounds(space, x)
    bound = jnp.maximum(lower, x - FURTHEST), jnp.minimum(upper, x + FURTHEST)
    free = space.mutable & ~is_coarse(space, x)
    return Problem(logit_fn, x, space, weights.astype(x.dtype), *bound, free, margin)


def one_round(problem: Problem, now: Incumbent) -> Incumbent:
    """The end of the path through the trust region, if it is accepted and costs less than the incumbent."""
    found = _bisect(problem, _path_through_box(problem, now, _slope(problem, now.z)))
    cost = weighted_l1(problem.weights, problem.x, found.x)
    cheaper = found.valid & (cost < now.cost)
    return Incumbent(
        jnp.where(cheaper, found.x, now.z),
        jnp.where(cheaper, cost, now.cost),
        jnp.where(cheaper, now.radius, _SHRINK * now.radius),
    )


def _slope(problem: Problem, z: Array) -> Array:
    """Forward difference (d,) of the logit by each free column at `z` (d,), away from the nearer bound."""
    size = jnp.asarray(jnp.finfo(z.dtype).eps ** (1 / 3), z.dtype)
    step = jnp.where(z + z < problem.lower + problem.upper, size, -size)
    moved = z[None, :] + jnp.diag(step)
    slope = (jax.vmap(problem.logit_fn)(moved) - problem.logit_fn(z)) / step
    return jnp.where(problem.free, slope, 0)


def path(base: Array, room: Array, slope: Array, weights: Array) -> Path:
    """The path from `base` (d,) on which each column moves by `room` (d,), those of most `slope` per weight first."""
    gain = (slope * room).astype(base.dtype)  # a classifier may return another dtype
    first = ranks_before(jnp.abs(slope) / weights)  # comparing all pairs is faster than sorting
    return Path(base, room, gain, jnp.sum(jnp.where(first, gain[None, :], 0), axis=1))


def at_gain(path: Path, gain: Array) -> Array:
    """The point (d,) of the path at a `gain` () of the linear logit."""
    share = (gain - path.before) / jnp.maximum(path.gain, jnp.finfo(path.gain.dtype).tiny)
    return path.base + jnp.clip(share, 0, 1) * path.room


def _path_through_box(problem: Problem, now: Incumbent, slope: Array) -> Path:
    """The path from the point of the trust region that is nearest to the factual."""
    low = jnp.maximum(problem.lower, now.z - now.radius)
    high = jnp.minimum(problem.upper, now.z + now.radius)
    base = jnp.where(problem.free, jnp.clip(problem.x, low, high), now.z)
    room = jnp.where(problem.free, jnp.where(slope > 0, high - base, low - base), 0)
    return path(base, room, slope, problem.weights)


def _bisect(problem: Problem, path: Path) -> Recourse:
    """The first accepted point (d,) on the path; not valid if its last point is refused."""

    def halve(_: int, bracket: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, end = bracket
        middle = (low + high) / 2
        point = _settled(problem, at_gain(path, middle))
        accepted = problem.logit_fn(point) >= problem.margin
        return jnp.where(accepted, low, middle), jnp.where(accepted, middle, high), jnp.where(accepted, point, end)

    whole = jnp.sum(path.gain)
    base, last = _settled(problem, path.base), _settled(problem, at_gain(path, whole))
    *_, end = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, (jnp.zeros_like(whole), whole, last))
    enough = problem.logit_fn(base) >= problem.margin
    return Recourse(jnp.where(enough, base, end), enough | (problem.logit_fn(last) >= problem.margin))


def _settled(problem: Problem, point: Array) -> Array:
    """`point` (d,) with ordered columns in whole steps; the point returned is the one that is evaluated."""
    return jax.lax.optimization_barrier(settle(problem.space, problem.x, point))
