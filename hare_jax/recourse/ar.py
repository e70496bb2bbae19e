"""Actionable recourse: the cheapest action on the grid of allowed changes, exact for linear classifiers.

For a linear classifier it is a knapsack: which columns to move, by how many units, for the least cost and a logit that
reaches the margin. A unit is a step of an ordered column, the switch of a one-hot group to its best level, or 1 of a
continuous column. Branch and bound (`linear_action`, `knapsack`) chooses the units.

The linear classifier is fitted to logits of random allowed points, so it works for black boxes, and dead hidden units
do not matter. If the classifier is linear, the fit is exact; otherwise it is repeated around the last action.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.knapsack import ROUNDING
from hare_jax.recourse.linear_action import linear_action
from hare_jax.solvers import linalg
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, allows, bounds, distance, is_category, own_values, project

_LINEAR = 1e-3  # largest relative error of a fit that counts as exact, so that the classifier counts as linear
_RIDGE = 1e-4  # of a column's mean square; needed by columns that never move, and by groups, whose columns sum to 1
_NUM_REFITS = 4  # of the residuals, which removes the effect of the ridge
_SAMPLES_PER_COLUMN = 4  # at least
_EXTRA_PART = 10  # an action aims at a tenth of the margin beyond the margin


@pytree_dataclass
class Ar:
    """How the linear classifier is fitted, and the compute budget of the knapsack."""

    num_samples: Count = 128  # points that a linear classifier is fitted to, or 4 d if that is more
    num_rounds: Count = 8  # fits, each around the last one's action; a linear classifier needs one
    num_nodes: Count = 2000  # of branch and bound, a round
    gap: NonNegative = 1e-4  # by which an action may cost more than the cheapest one
    radius: Positive = 1.0  # of the first round's points, in encoded units: half the width of their box
    shrink: Positive = 0.5  # of the radius, after an accepted action
    num_boundary_steps: Natural = 20  # bisections back towards the factual; 0 leaves the action as it is
    margin: NonNegative = MARGIN  # the least logit of a recourse


class _Rounds(NamedTuple):
    """The state after a number of rounds."""

    num_done: Array  # () int32: rounds so far
    centre: Array  # (d,) the last action
    radius: Array  # () of the points around it
    extra: Array  # () logit to aim at beyond the margin
    best: Array  # (d,) the accepted point of least cost so far
    least: Array  # () its cost
    done: Array  # () bool


@on_boundary
def generate(hp: Ar, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Ustun, Spangher and Liu (2019), https://arxiv.org/abs/1809.06514.

    For a linear classifier no allowed action costs less by more than `gap`, unless branch and bound visited `num_nodes`
    nodes. For other classifiers, which the paper does not treat, it is the cheapest accepted point of all rounds, among
    actions and the points of the fits; it is allowed, but not proven to be the cheapest. The paper passes the
    program to an integer programming solver, and also has costs by percentile; here the cost is L1, weighted by the
    costs of the space. With relations, the classifier is fitted to own changes and all that follows them, and
    inequalities are kept by projection. The boundary search at the end, which keeps columns at their bounds, is ours.
    """
    hp = jax.tree.map(lambda value: jnp.asarray(value, x.dtype), hp)

    def cast_logit_fn(point: Array) -> Array:
        return logit_fn(point).astype(x.dtype)

    start = _start(hp, cast_logit_fn(x), x)
    one_round = partial(_one_round, hp, key, cast_logit_fn, x, space, start.extra)
    end = jax.lax.while_loop(lambda s: ~s.done & (s.num_done < hp.num_rounds), one_round, start)
    best = jnp.where(jnp.isfinite(end.least), end.best, end.centre)
    return Recourse(best, (logit_fn(best) >= hp.margin) & allows(space, x, best))


def _start(hp: Ar, logit: Array, x: Array) -> _Rounds:
    """The state before the first round; `logit` () is that of `x` (d,)."""
    accepted = logit >= hp.margin
    extra = hp.margin / _EXTRA_PART + ROUNDING * jnp.abs(logit)
    least = jnp.where(accepted, 0, jnp.full((), jnp.inf, x.dtype))
    return _Rounds(jnp.zeros((), jnp.int32), x, jnp.asarray(hp.radius, x.dtype), extra, x, least, accepted)


def _one_round(
    hp: Ar, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace, first_extra: Array, s: _Rounds
) -> _Rounds:
    """Fit the linear classifier around the centre, and take its cheapest action as the next centre."""
    points = _points(hp, jax.random.fold_in(key, s.num_done), s.centre, x, s.radius, space)
    logits, centre_logit = jax.vmap(logit_fn)(points), logit_fn(s.centre)
    centre = own_values(space, x, s.centre)
    moves = jax.vmap(partial(own_values, space, x))(points) - centre[None, :]
    weight, error = _fit(moves, logits - centre_logit)
    need = hp.margin + s.extra - centre_logit - jnp.dot(weight, x - centre, precision="highest")
    action = linear_action(weight, need, x, space, gap=hp.gap, num_nodes=hp.num_nodes)
    logit = logit_fn(action)
    accepted = logit >= hp.margin
    best, least = _nearest(s, jnp.append(points, action[None, :], 0), jnp.append(logits, logit) >= hp.margin, x, space)
    shortfall = hp.margin - logit
    extra = jnp.where(accepted, first_extra, s.extra + 2 * shortfall)
    radius = jnp.where(accepted, hp.shrink * s.radius, s.radius)
    return _Rounds(s.num_done + 1, action, radius, extra, best, least, accepted & (error <= _LINEAR))


def _points(hp: Ar, key: Array, centre: Array, x: Array, radius: Array, space: ActionSpace) -> Array:
    """Random points (n, d), each allowed from `x` (d,): in a box around `centre`, with half of its columns moved.

    Categories are drawn from all of their levels.
    """
    num = max(hp.num_samples, _SAMPLES_PER_COLUMN * x.shape[0])
    lower, upper = bounds(space, x)
    categories = is_category(space)
    box_lower = jnp.where(categories, lower, jnp.maximum(lower, centre - radius))
    box_upper = jnp.where(categories, upper, jnp.minimum(upper, centre + radius))
    uniform = jax.random.uniform(key, (num, x.shape[0]), x.dtype, -1, 1)
    moved = box_lower[None, :] + jnp.abs(uniform) * (box_upper - box_lower)[None, :]
    number = jnp.where(uniform > 0, moved, centre[None, :])
    targets = jnp.where((space.group >= 0)[None, :], uniform + centre[None, :], number)
    return jax.vmap(partial(project, space, x))(targets)


def _nearest(s: _Rounds, points: Array, accepted: Array, x: Array, space: ActionSpace) -> tuple[Array, Array]:
    """The accepted point (d,) of least cost from `x` (d,), of `points` (n, d) and the best so far, and its cost ()."""
    cost = jnp.where(accepted, jax.vmap(partial(distance, space, x))(points), jnp.inf)
    index = jnp.argmin(cost)
    better = cost[index] < s.least
    return jnp.where(better, points[index], s.best), jnp.where(better, cost[index], s.least)


def _fit(moves: Array, changes: Array) -> tuple[Array, Array]:
    """Weights (d,) of the logit's `changes` (n,) by `moves` (n, d), and the largest relative error () of the fit.

    Least squares with a ridge on standardised columns, then refitted to the residuals.
    """
    num, width = moves.shape
    column_scale = _positive(jnp.sqrt(jnp.mean(moves * moves, axis=0)))
    change_scale = _positive(jnp.max(jnp.abs(changes)))
    design = moves / column_scale[None, :]
    gram = jnp.matmul(design.T, design, precision="highest") / num + _RIDGE * jnp.eye(width, dtype=moves.dtype)
    whitening = linalg.whitening(gram, jnp.ones(width, bool))

    def residual(weight: Array) -> Array:
        return changes / change_scale - jnp.matmul(design, weight, precision="highest")

    def refit(_: int, weight: Array) -> Array:
        correlation = jnp.matmul(design.T, residual(weight), precision="highest") / num
        whitened = jnp.matmul(whitening, correlation, precision="highest")
        return weight + jnp.matmul(whitening.T, whitened, precision="highest")

    weight = jax.lax.fori_loop(0, _NUM_REFITS, refit, jnp.zeros_like(moves[0]))
    return change_scale * weight / column_scale, jnp.max(jnp.abs(residual(weight)))


def _positive(scale: Array) -> Array:
    return jnp.where(scale > 0, scale, 1)
