"""NNCE, the nearest accepted neighbour: the mutable values of an accepted training row.

The mutable columns of each accepted training row are copied to the factual. The recourse is the nearest such point that
the classifier accepts together with the factual's immutable columns. Rows are evaluated nearest first, in blocks.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.hyperparams import Count, NonNegative
from hare_jax.recourse.derivative import constant
from hare_jax.recourse.reason import Reason
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import (
    ActionSpace,
    allows,
    bounds,
    complete,
    costs,
    distance,
    project,
    same_feature,
)


@pytree_dataclass
class Nnce:
    """The compute budget of the search for the nearest neighbour."""

    block_size: Count = 128  # rows evaluated at once
    num_blocks: Count = 128  # at most: accepted rows beyond them are not evaluated
    margin: NonNegative = MARGIN  # the least logit of a recourse


class Fitted(NamedTuple):
    """The training rows, and which of them are accepted."""

    hp: Nnce
    columns: Array  # (d, n): the rows, transposed
    accepted: Array  # (n,) bool


class _Search(NamedTuple):
    """The state after a number of blocks."""

    num_done: Array  # () int32: blocks so far
    last: Array  # () int32: the furthest row so far
    highest: Array  # () logit of any point so far
    best: Recourse  # the nearest accepted point; while there is none, the point of the highest logit


def fit(hp: Nnce, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted:
    """Keep the training `rows` (n, d), and evaluate the classifier on each: its own decisions are the labels."""
    rows = jnp.asarray(rows)
    return Fitted(hp, rows.T, _accepted(logit_fn, rows, hp.margin))


@jax.jit
def _accepted(logit_fn: LogitFn, rows: Array, margin: float) -> Array:
    return jax.lax.map(logit_fn, rows, batch_size=min(1000, rows.shape[0])) >= margin


@constant
def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Brughmans, Leyman and Martens (2023), https://arxiv.org/abs/2104.07411.

    `x` itself where it is accepted, else the nearest neighbour's values: the first step of the paper's method, and a
    baseline in many papers. Keane and Smyth (2020), https://arxiv.org/abs/2005.13997, argue for the values of observed
    rows. Ours are the rules of the space: immutable columns stay, values are clipped to the bounds of `x`, and where a
    neighbour's category is closed to `x`, that of `x` stays. Distances are measured after that, in L1 weighted by
    `space.costs`, exact except for the rounding of ordered columns. There is no boundary search, which would return
    values that no row has.

    With relations, columns that follow others do, so that values that no row has are possible; of the features of a
    row, those are copied that raise the logit the most, if not all may change; and the rows are in the order of their
    distance without the inequalities: the nearest accepted point of the first block that has any is returned.
    """
    hp, logit = fitted.hp, logit_fn(x)
    num_accepted = jnp.sum(fitted.accepted)
    block_size = min(hp.block_size, fitted.accepted.shape[0])
    num_blocks = jnp.minimum(hp.num_blocks, (num_accepted + block_size - 1) // block_size)
    distances = jnp.where(fitted.accepted, _distances(fitted.columns, x, space), jnp.inf)

    def next_block(s: _Search) -> _Search:
        block = _nearest_left(distances, s, block_size)
        points = _most_useful_values_on(fitted.columns[:, block].T, logit_fn, x, space)
        is_accepted_row = (
            s.num_done * block_size + jnp.arange(block_size) < num_accepted
        )  # in the last block, not all are
        logits = jnp.where(is_accepted_row, jax.vmap(logit_fn)(points), -jnp.inf)
        return _with_block(s, block, points, logits, _sort_keys(points, x, space), hp.margin)

    zero = jnp.zeros((), jnp.int32)
    start = _Search(zero, zero, logit, Recourse(x, logit >= hp.margin))
    best = jax.lax.while_loop(lambda s: ~s.best.valid & (s.num_done < num_blocks), next_block, start).best
    return Recourse(best.x, best.valid & allows(space, x, best.x))


def failure(fitted: Fitted, logit_fn: LogitFn, x: Array, space: ActionSpace, recourse: Recourse) -> Array:
    """The code () of the `Reason` why `generate` finds nothing for `x` (d,)."""
    num_accepted, num_seen = jnp.sum(fitted.accepted), fitted.hp.block_size * fitted.hp.num_blocks
    none_fits = jnp.where(num_accepted > num_seen, Reason.SEARCH_ENDED, Reason.NO_ROW_FITS)
    return jnp.where(num_accepted > 0, none_fits, Reason.NO_ACCEPTED_ROW)


def values_on(rows: Array, x: Array, space: ActionSpace) -> Array:
    """The points (k, d) allowed from `x` (d,) that are nearest to the rows (k, d).

    Where a row's category is closed to `x`, the half of `x` that is added keeps the category of `x`.
    """
    scores = jnp.where((space.group >= 0)[None, :], rows + x[None, :] / 2, rows)
    return jax.vmap(lambda row: project(space, x, row))(scores)


def _most_useful_values_on(rows: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Array:
    """`values_on` rows (k, d); with a limit on the number of changes, of the features that raise the logit the most."""
    if space.relations is None or space.relations.max_changes is None:
        return values_on(rows, x, space)
    useful = jax.vmap(partial(_most_useful, logit_fn, x, space, space.relations.max_changes))(rows)
    return values_on(jnp.where(useful, rows, x[None, :]), x, space)


def _most_useful(logit_fn: LogitFn, x: Array, space: ActionSpace, num: Array, row: Array) -> Array:
    """Which columns (d,) belong to the `num` () features of `row` (d,) that raise the logit of `x` (d,) the most."""
    same, values = same_feature(space), jnp.clip(row, *bounds(space, x))
    alone = jax.vmap(lambda feature: complete(space, x, jnp.where(feature, values, x)))(same)
    first = jnp.arange(len(x)) == jnp.argmax(same, axis=1)
    gain = jnp.where(first & space.mutable, jax.vmap(logit_fn)(alone), -jnp.inf)
    rank = jnp.argsort(jnp.argsort(-gain))
    return (rank < num)[jnp.argmax(same, axis=1)]


def _sort_keys(points: Array, x: Array, space: ActionSpace) -> Array:
    """Numbers (k,) that sort the `points` (k, d) of a block, nearest first.

    With relations they are distances. Without, the rows of a block are sorted already, and they are their positions.
    """
    if space.relations is None:
        return jnp.arange(len(points))
    return jax.vmap(partial(distance, space, x))(points)


def _nearest_left(distance: Array, s: _Search, num: int) -> Array:
    """The `num` nearest rows, of n at the `distance` (n,), that no block so far contains: (num,) int32."""
    last, position = distance[s.last], jnp.arange(distance.shape[0])
    seen = (distance < last) | ((distance == last) & (position <= s.last))
    left = jnp.where(seen & (s.num_done > 0), -jnp.inf, -distance)
    return jax.lax.optimization_barrier(jax.lax.top_k(left, num)[1])  # without the barrier XLA sorts all rows


def _with_block(
    s: _Search, block: Array, points: Array, logits: Array, sort_keys: Array, margin: float | Array
) -> _Search:
    """The state after a `block` (k,) of rows, whose `points` (k, d) have these `logits` (k,) and `sort_keys` (k,)."""
    accepted = logits >= margin
    nearest = jnp.argmin(jnp.where(accepted, sort_keys, jnp.inf))
    chosen = jnp.where(jnp.any(accepted), nearest, jnp.argmax(logits))
    x = jnp.where(logits[chosen] > s.highest, points[chosen], s.best.x)
    return _Search(s.num_done + 1, block[-1], jnp.maximum(logits[chosen], s.highest), Recourse(x, jnp.any(accepted)))


def _distances(columns: Array, x: Array, space: ActionSpace) -> Array:
    """Cost (n,) of the change from `x` (d,) to its point for each row, column by column, as (n, d) exceeds the cache.

    In a one-hot group the column that rises counts for the one that falls, too; if its level is closed, none rises.
    With relations it is that of the row within the bounds, without the inequalities.
    """
    lower, upper = bounds(space, x)
    if space.relations is not None:
        return jax.vmap(lambda row: distance(space, x, jnp.clip(row, lower, upper)))(columns.T)
    cost, grouped = costs(space, x), space.group >= 0
    switch = cost + jnp.sum(
        jnp.where(same_feature(space), (cost * x)[None, :], 0), axis=1
    )  # of the level that is 1 at x

    def add(total: Array, column: tuple[Array, ...]) -> tuple[Array, None]:
        values, origin, lower, upper, cost, switch, grouped = column
        change = jnp.clip(values, lower, upper) - origin
        return total + jnp.where(grouped, switch * jnp.maximum(change, 0), cost * jnp.abs(change)), None

    return jax.lax.scan(add, jnp.zeros_like(columns[0]), (columns, x, lower, upper, cost, switch, grouped))[0]
