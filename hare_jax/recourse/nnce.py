"""NNCE, the nearest accepted neighbour: the values of a real person who was accepted, and is accepted on these too.

Of each accepted training row, the mutable columns are put on the factual. The nearest such point that the classifier
accepts as well, immutable columns and all, is the recourse. Rows are looked up nearest first, a block at a time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hare_jax.base import LogitFn, Recourse, hyperparams
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, allows, bounds, project


@hyperparams
class Nnce:
    """How the nearest neighbour is looked for."""

    block_size: int = 128  # rows that the classifier is asked about at once
    num_blocks: int = 128  # at most: accepted rows beyond them count as too far away
    margin: float = MARGIN  # the least logit of a recourse


class Fitted(NamedTuple):
    """The training rows, and which of them are accepted."""

    hp: Nnce
    columns: Array  # (d, n): the rows, one column after the other
    accepted: Array  # (n,) bool


def fit(hp: Nnce, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Fitted:
    """Keep the training `rows` (n, d), and ask the classifier about each. The labels are its own decisions."""
    rows = jnp.asarray(rows)
    return Fitted(hp, rows.T, _accepted(logit_fn, rows, hp.margin))


@jax.jit
def _accepted(logit_fn: LogitFn, rows: Array, margin: float) -> Array:
    return jax.lax.map(logit_fn, rows, batch_size=min(1000, rows.shape[0])) >= margin


def generate(fitted: Fitted, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Brughmans, Leyman and Martens (2023), https://arxiv.org/abs/2104.07411.

    `x` itself where it is accepted, else the nearest neighbour's values: the start of theirs, and a baseline of many
    papers. Keane and Smyth (2020), https://arxiv.org/abs/2005.13997, say what speaks for the values of real people.
    Ours are the rules of the space: immutable columns stay, values are clipped to what `x` may reach, and where a
    neighbour's category is closed to `x`, that of `x` stays. Distances are taken after that, in L1, exact but for the
    rounding of ordered columns. There is no boundary search, which would give values that nobody has.
    """
    hp, num = fitted.hp, fitted.accepted.shape[0]
    block_size = min(hp.block_size, num)
    num_accepted = jnp.sum(fitted.accepted)
    num_blocks = jnp.minimum(hp.num_blocks, (num_accepted + block_size - 1) // block_size)
    distance = jnp.where(fitted.accepted, _distances(fitted.columns, x, space), jnp.inf)
    position = jnp.arange(num)

    def point(row: Array) -> Array:
        return project(space, x, jnp.where(space.group >= 0, row + x / 2, row))  # a closed level doesn't win over x's

    def look(carry: tuple[Array, Array, Array, Recourse]) -> tuple[Array, Array, Array, Recourse]:
        index, last, highest, best = carry
        seen = (distance < distance[last]) | ((distance == distance[last]) & (position <= last))
        left = jnp.where(seen & (index > 0), -jnp.inf, -distance)
        block = jax.lax.optimization_barrier(jax.lax.top_k(left, block_size)[1])  # without the barrier XLA sorts it all
        points = jax.vmap(point)(fitted.columns[:, block].T)
        counts = index * block_size + position[:block_size] < num_accepted  # the last block may hold refused rows, too
        logits = jnp.where(counts, jax.vmap(logit_fn)(points), -jnp.inf)
        accepted = logits >= hp.margin
        chosen = jnp.where(jnp.any(accepted), jnp.argmax(accepted), jnp.argmax(logits))  # the first, or the likeliest
        nearer = jnp.where(logits[chosen] > highest, points[chosen], best.x)
        return index + 1, block[-1], jnp.maximum(logits[chosen], highest), Recourse(nearer, jnp.any(accepted))

    present, zero = logit_fn(x), jnp.zeros((), jnp.int32)
    start = zero, zero, present, Recourse(x, present >= hp.margin)
    *_, best = jax.lax.while_loop(lambda carry: ~carry[3].valid & (carry[0] < num_blocks), look, start)
    return Recourse(best.x, best.valid & allows(space, x, best.x))


def _distances(columns: Array, x: Array, space: ActionSpace) -> Array:
    """Distance (n,) of `x` (d,) from what it would get of each row, a column at a time: (n, d) would not stay in cache.

    In a one-hot group, the column that rises counts for the one that falls, too: where the level is closed, none rises.
    """

    def add(total: Array, column: tuple[Array, ...]) -> tuple[Array, None]:
        values, now, lower, upper, grouped = column
        change = jnp.clip(values, lower, upper) - now
        return total + jnp.where(grouped, 2 * jnp.maximum(change, 0), jnp.abs(change)), None

    return jax.lax.scan(add, jnp.zeros_like(columns[0]), (columns, x, *bounds(space, x), space.group >= 0))[0]
