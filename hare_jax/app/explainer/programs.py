"""The programs of an explainer, each for a chunk of encoded rows; `chunks.map_chunks` compiles them.

Each row uses the same key, so that its recourse depends on the row and the seed alone, and not on the other rows.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from hare_jax import recourse
from hare_jax.base import Generate, LogitFn, Recourse
from hare_jax.evaluate.sharding import map_users
from hare_jax.recourse import BoundMethod, exact
from hare_jax.recourse.reason import Reason
from hare_jax.space import ActionSpace, allows, distance, is_follower, own_change, with_own_change


class Row(NamedTuple):
    """One row; with an axis in front, a chunk."""

    x: Any  # (d,)
    frozen: Any  # (d,) bool: columns that must not change, besides the immutable ones


class Move(NamedTuple):
    """A change of one row; with an axis in front, a chunk."""

    x: Any  # (d,)
    x_cf: Any  # (d,)


class Measures(NamedTuple):
    """What is known of a move."""

    allowed: Array  # () bool
    cost: Array  # ()


def logits(logit_fn: LogitFn, rows: Array) -> Array:
    """The logits (n,) of rows (n, d)."""
    return map_users(lambda x: logit_fn(x), rows)


def recourses(generate: Generate, key: Array, logit_fn: LogitFn, space: ActionSpace, rows: Row) -> Recourse:
    """The recourses of a method, with the frozen columns of each row immutable: (n, d), (n,)."""

    def one(row: Row) -> Recourse:
        return generate(key, logit_fn, row.x, space._replace(mutable=space.mutable & ~row.frozen))

    return map_users(one, rows)


def solutions(hp: exact.Exact, key: Array, logit_fn: Partial, space: ActionSpace, rows: Row) -> tuple[Recourse, Array]:
    """Exact recourses, and whether it is proved that none exists: (n, d), (n,) and (n,) bool."""

    def one(row: Row) -> tuple[Recourse, Array]:
        own = space._replace(mutable=space.mutable & ~row.frozen)
        found, status = exact.solve(hp, key, logit_fn, row.x, own)
        return found, status == exact.NONE_EXISTS

    return map_users(one, rows)


def reasons(generate: BoundMethod, logit_fn: LogitFn, space: ActionSpace, rows: Array) -> Array:
    """The codes (n,) of the `Reason` why a method found no recourse for rows (n, d)."""

    def one(x: Array) -> Array:
        return recourse.why(generate, logit_fn, x, space, Recourse(x, jnp.array(False)))

    return map_users(one, rows)


def unable(space: ActionSpace, rows: Array) -> Array:
    """As `reasons`, of a method that proves nothing."""
    nothing = jnp.asarray(Reason.SEARCH_ENDED)
    return map_users(lambda x: recourse.reason.outcome(x, space, Recourse(x, jnp.array(False)), nothing), rows)


def measures(space: ActionSpace, rows: Move) -> Measures:
    """Whether the action space allows each move, and its cost."""
    return jax.vmap(lambda move: Measures(allows(space, *move), distance(space, *move)))(rows)


def own_changes(space: ActionSpace, rows: Move) -> Array:
    """The changes (n, d) of each move without what only follows other columns."""
    return jax.vmap(lambda move: own_change(space, *move))(rows)


def followed(space: ActionSpace, rows: tuple[Move, Array]) -> Array:
    """The points of moves (n, d), with their own changes to other points (n, d), and what follows from these."""
    linked = is_follower(space)

    def one(move: Move, other: Array) -> Array:
        own = own_change(space, *move)
        return with_own_change(space, move.x, jnp.where((own != 0) & ~linked, other - move.x, own))

    return jax.vmap(one)(*rows)


def undone(space: ActionSpace, rows: tuple[Move, Array]) -> Array:
    """The points of moves (n, d) without their own changes of marked columns (n, d), and what follows from these."""

    def one(move: Move, mark: Array) -> Array:
        return with_own_change(space, move.x, jnp.where(mark, 0, own_change(space, *move)))

    return jax.vmap(one)(*rows)
