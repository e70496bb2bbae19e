"""Actionable recourse: the cheapest action on the grid of what may change, exact for linear classifiers.

A linear classifier makes it a knapsack: which columns to move, by how many units, for the least L1 and a logit that is
high enough. A unit is a step of an ordered column, the switch of a one-hot group to its best level, or 1 of a
continuous column. Branch and bound chooses the units, with the fractional knapsack as its bound.

The linear classifier is fitted to logits of random allowed points, so that black boxes will do and dead units hide
nothing: exactly, if the classifier is linear, and else again and again around the last action.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.space import ActionSpace, allows, bounds, is_category, project, same_feature

_ROUNDING = 1e-5  # of a number: what float32 may lose on the way to an action
_LINEAR = 1e-3  # of the largest change of the logit: a fit that misses no point by more is that of a linear classifier
_RIDGE = 1e-4  # of a column's mean square; needed by columns that never move, and by groups, whose columns sum to 1


@hyperparams
class Ar:
    """How the linear classifier is fitted, and how long its cheapest action is looked for."""

    num_samples: int = 128  # points that a linear classifier is fitted to, or 4 d if that is more
    num_rounds: int = 8  # fits, each around the last one's action; a linear classifier needs one
    num_nodes: int = 2000  # of branch and bound, a round
    gap: float = 1e-4  # L1 that an action may cost more than the cheapest one
    radius: float = 1.0  # of the first round's points, in encoded units: half the width of their box
    shrink: float = 0.5  # of the radius, after an accepted action
    num_boundary_steps: int = 20  # bisections back towards the factual; 0 leaves the action as it is
    margin: float = MARGIN  # the least logit of a recourse


class Items(NamedTuple):
    """A knapsack: what each column has to offer."""

    gain: Array  # (d,) of a unit: what it adds to the logit; at least 0
    cost: Array  # (d,) of a unit; positive
    most: Array  # (d,) units there are, finite; 0 where a change would not help
    whole: Array  # (d,) bool: only whole units


class _Rounds(NamedTuple):
    tried: Array  # () int: rounds so far
    centre: Array  # (d,) the last action
    radius: Array  # () of the points around it
    extra: Array  # () logit to aim at beyond the margin
    best: Array  # (d,) the accepted point of least L1 so far
    least: Array  # () its L1
    done: Array  # () bool


class _Search(NamedTuple):
    level: Array  # () int: how many columns are decided
    units: Array  # (d,) of these columns
    fewer: Array  # (d,) the next lower number of units to try
    more: Array  # (d,) the next higher one
    best: Array  # (d,)
    least: Array  # () cost of the best
    nodes: Array  # () int


def generate(hp: Ar, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Ustun, Spangher and Liu (2019), https://arxiv.org/abs/1809.06514.

    For a linear classifier no allowed action costs less by more than `gap`, unless branch and bound used up its nodes.
    The paper hands this program to a solver, and has costs by percentile, too; here the cost is L1. The paper is about
    linear classifiers. What is found for others is the cheapest accepted point of all rounds, those that the fits stand
    on among them: accepted and allowed, but with no proof that it is the cheapest of all. The boundary search that
    comes last is ours.
    """
    hp = jax.tree.map(lambda value: jnp.asarray(value, x.dtype), hp)

    def score(point: Array) -> Array:
        return logit_fn(point).astype(x.dtype)

    present = score(x)
    cushion = hp.margin / 10 + _ROUNDING * jnp.abs(present)

    def attempt(s: _Rounds) -> _Rounds:
        points = _points(hp, jax.random.fold_in(key, s.tried), s.centre, x, s.radius, space)
        logits, anchor = jax.vmap(score)(points), score(s.centre)
        weight, error = _fit(points - s.centre[None, :], logits - anchor)
        need = hp.margin + s.extra - anchor - jnp.dot(weight, x - s.centre, precision="highest")
        action = _cheapest(hp, weight, need, x, space)
        reached = score(action)
        accepted = reached >= hp.margin
        best, least = _nearest(s, jnp.append(points, action[None, :], 0), jnp.append(logits, reached) >= hp.margin, x)
        extra = jnp.where(accepted, cushion, s.extra + 2 * (hp.margin - reached))
        radius = jnp.where(accepted, hp.shrink * s.radius, s.radius)
        return _Rounds(s.tried + 1, action, radius, extra, best, least, accepted & (error <= _LINEAR))

    done = present >= hp.margin
    least = jnp.where(done, 0, jnp.full((), jnp.inf, x.dtype))
    start = _Rounds(jnp.zeros((), jnp.int32), x, jnp.asarray(hp.radius, x.dtype), cushion, x, least, done)
    s = jax.lax.while_loop(lambda s: ~s.done & (s.tried < hp.num_rounds), attempt, start)
    best = jnp.where(jnp.isfinite(s.least), s.best, s.centre)
    found = boundary(logit_fn, x, best, space, margin=hp.margin, num_steps=hp.num_boundary_steps)
    return Recourse(found.x, found.valid & allows(space, x, found.x))


def _points(hp: Ar, key: Array, centre: Array, x: Array, radius: Array, space: ActionSpace) -> Array:
    """Random points (n, d), each allowed from `x` (d,): in a box around `centre`, with half of its columns moved.

    Categories, which have nothing nearby, are drawn from all of their levels.
    """
    num = max(hp.num_samples, 4 * x.shape[0])
    lower, upper = bounds(space, x)
    categories = is_category(space)
    box_lower = jnp.where(categories, lower, jnp.maximum(lower, centre - radius))
    box_upper = jnp.where(categories, upper, jnp.minimum(upper, centre + radius))
    drawn = jax.random.uniform(key, (num, x.shape[0]), x.dtype, -1, 1)
    moved = box_lower[None, :] + jnp.abs(drawn) * (box_upper - box_lower)[None, :]
    number = jnp.where(drawn > 0, moved, centre[None, :])
    wishes = jnp.where((space.group >= 0)[None, :], drawn + centre[None, :], number)
    return jax.vmap(lambda wish: project(space, x, wish))(wishes)


def _nearest(s: _Rounds, points: Array, accepted: Array, x: Array) -> tuple[Array, Array]:
    cost = jnp.where(accepted, jnp.sum(jnp.abs(points - x[None, :]), axis=1), jnp.inf)
    index = jnp.argmin(cost)
    better = cost[index] < s.least
    return jnp.where(better, points[index], s.best), jnp.where(better, cost[index], s.least)


def _fit(moves: Array, changes: Array) -> tuple[Array, Array]:
    """Weights (d,) of the logit's `changes` (n,) by `moves` (n, d), and the largest relative error () of the fit.

    Least squares with a ridge, whose effect is taken back by fitting what is left, a few times.
    """
    num, width = moves.shape
    size = jnp.sqrt(jnp.mean(moves * moves, axis=0))
    size = jnp.where(size > 0, size, 1)
    design = moves / size[None, :]
    height = jnp.max(jnp.abs(changes))
    height = jnp.where(height > 0, height, 1)
    square = jnp.matmul(design.T, design, precision="highest") / num + _RIDGE * jnp.eye(width, dtype=moves.dtype)
    factor = jax.scipy.linalg.cho_factor(square)

    def left(weight: Array) -> Array:
        return changes / height - jnp.matmul(design, weight, precision="highest")

    def refit(_: int, weight: Array) -> Array:
        slope = jnp.matmul(design.T, left(weight), precision="highest") / num
        return weight + jax.scipy.linalg.cho_solve(factor, slope)

    weight = jax.lax.fori_loop(0, 4, refit, jnp.zeros_like(moves[0]))
    return height * weight / size, jnp.max(jnp.abs(left(weight)))


def _cheapest(hp: Ar, weight: Array, need: Array, x: Array, space: ActionSpace) -> Array:
    """The allowed point (d,) of least L1 from `x` (d,) at which a linear logit of `weight` (d,) is higher by `need` ().

    Where there is none, nearly all is done that helps.
    """
    lower, upper = bounds(space, x)
    grouped, ordered = space.group >= 0, (space.group < 0) & (space.step > 0)
    same = same_feature(space) & grouped[:, None]
    switch = weight - jnp.matmul(same.astype(x.dtype), weight * x, precision="highest")  # from the present level
    switch = jnp.where(space.mutable & (upper > 0.5), switch, -jnp.inf)
    switch = jnp.where(jnp.any(same & _ahead(switch), axis=1), 0, jnp.maximum(switch, 0))  # a group's best level alone
    unit = jnp.where(ordered, space.step, 1).astype(x.dtype)
    gain = jnp.where(grouped, switch, jnp.abs(weight) * unit)
    reach = jnp.where(weight > 0, upper - x, x - lower) / unit
    limits = jnp.finfo(x.dtype)
    enough = jnp.ceil(jnp.maximum(need, 0) / jnp.maximum(gain, limits.eps * jnp.abs(need) + limits.tiny)) + 1  # finite
    most = jnp.minimum(jnp.where(ordered, jnp.floor(reach + 1e-3), reach), enough)  # what float32 has of a step
    most = jnp.where(gain > 0, jnp.where(grouped, 1, most), 0)
    cost = jnp.where(grouped, 2, unit)
    within = jnp.minimum(need, (1 - _ROUNDING) * jnp.sum(gain * most))
    units = knapsack(Items(gain, cost, most, grouped | ordered), within, gap=hp.gap, num_nodes=hp.num_nodes)
    switched = jnp.any(same & (units > 0)[None, :], axis=1)
    moved = x + jnp.sign(weight) * unit * units
    return project(space, x, jnp.where(grouped, jnp.where(switched, units, x), moved))


def knapsack(items: Items, need: Array, *, gap: float | Array, num_nodes: int) -> Array:
    """Units (d,) of `items` that gain at least `need` () and cost the least, to within `gap` and a rounding error.

    Depth-first branch and bound: columns of whole units are decided one after the other, those of the dearest unit
    first, and of each the numbers nearest to the relaxed problem's. The cost is convex in a number, so that a side may
    be left with the first number that costs too much. `need` must not exceed all there is to gain.

    >>> one = jnp.ones(2)
    >>> items = Items(gain=jnp.array([1.0, 0.6]), cost=one, most=2 * one, whole=jnp.array([True, False]))
    >>> knapsack(items, jnp.array(1.3), gap=1e-4, num_nodes=100).round(4).tolist()
    [1.0, 0.5]
    """
    gain, cost, most, whole = items
    first = _ahead(gain / cost)
    branching = whole & (most > 0)
    count = jnp.sum(branching)
    sooner = (cost[None, :] > cost[:, None]) | ((cost[None, :] == cost[:, None]) & first)
    rank = jnp.sum(sooner & branching[None, :], axis=1)

    def relaxed(most: Array, need: Array) -> tuple[Array, Array]:
        """The cheapest units (d,), some of them fractional, and their cost ()."""
        ahead = jnp.matmul(first.astype(gain.dtype), gain * most, precision="highest")
        take = jnp.clip((need - ahead) / jnp.where(gain > 0, gain, 1), 0, most)
        return take, jnp.where(jnp.sum(gain * most) >= need, jnp.sum(cost * take), jnp.inf)

    def rounded(units: Array) -> Array:
        return jnp.where(whole, jnp.ceil(units - _ROUNDING * (1 + units)), units)

    def step(s: _Search) -> _Search:
        here, after = branching & (rank == s.level), branching & (rank == s.level + 1)
        decided = jnp.where(branching & (rank < s.level), s.units, 0)
        open_most = jnp.where(branching & (rank <= s.level), 0, most)

        def child(number: Array) -> tuple[Array, Array]:
            units = jnp.where(here, number, decided)
            take, rest = relaxed(open_most, need - jnp.sum(gain * units))
            within = (number >= 0) & (number <= jnp.sum(jnp.where(here, most, 0)))
            return units + take, jnp.where(within, jnp.sum(cost * units) + rest, jnp.inf)

        numbers = jnp.stack([jnp.sum(jnp.where(here, s.fewer, 0)), jnp.sum(jnp.where(here, s.more, 0))])
        children, costs = jax.vmap(child)(numbers)
        up = jnp.argmin(costs)
        units, enter = children[up], costs[up] < s.least - gap
        whole_units = rounded(units)
        price = jnp.sum(cost * whole_units)
        better = enter & (price < s.least)
        deeper = jnp.minimum(s.level + 1, count - 1)
        fewer = jnp.where(enter & here & (up == 0), s.fewer - 1, s.fewer)
        more = jnp.where(enter & here & (up == 1), s.more + 1, s.more)
        return _Search(
            jnp.where(enter, deeper, s.level - 1),
            jnp.where(enter & here, units, s.units),
            jnp.where(enter & after, jnp.floor(units), fewer),
            jnp.where(enter & after, jnp.floor(units) + 1, more),
            jnp.where(better, whole_units, s.best),
            jnp.where(better, price, s.least),
            s.nodes + 1,
        )

    root, _ = relaxed(most, need)
    best, zero = rounded(root), jnp.zeros((), count.dtype)
    start = _Search(zero, root, jnp.floor(root), jnp.floor(root) + 1, best, jnp.sum(cost * best), zero)
    return jax.lax.while_loop(lambda s: (s.level >= 0) & (s.nodes < num_nodes), step, start).best


def _ahead(score: Array) -> Array:
    """Whether, for row i and column j, item j comes before item i: (d, d) bool. Higher scores first, then position."""
    order = jnp.arange(score.shape[0])
    same = score[None, :] == score[:, None]
    return (score[None, :] > score[:, None]) | (same & (order[None, :] < order[:, None]))
