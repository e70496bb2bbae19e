"""FACE: the end of the cheapest path through the training rows, where short moves between near neighbours are cheap.

The fit builds a directed graph of the rows and searches it backwards from all targets (`face_graph`), once for all
factuals. `generate` only has to find the best of the rows that a factual can enter by. Along a path the factual takes
the mutable columns of the rows and keeps its own immutable ones: its points are `project(space, x, row)`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse
from hare_jax.hyperparams import check_fields
from hare_jax.recourse import face_graph, nnce
from hare_jax.recourse.derivative import constant
from hare_jax.recourse.face_graph import Face
from hare_jax.space import ActionSpace, allows

_NUM_OTHERS = 16  # refused rows on whose immutable columns the targets are ranked
_BATCH_SIZE = 1000  # rows that the classifier evaluates at once during the fit


class Graph(NamedTuple):
    """A fitted graph of m rows and t tiers, with the cheapest path to a target from each node `tier * m + row`."""

    hp: Face
    rows: Array  # (m, d)
    nearest: nnce.Fitted  # the same rows, for factuals that have no path
    cost: Array  # (t m,) of the path, infinite where there is none
    following: Array  # (t m,) int32: the next node; the node itself at a target, or where there is no path
    target: Array  # (t m,) int32: the last node
    dense_length: Array  # () edges that are shorter count as equally dense


class Path(NamedTuple):
    """The moves from a factual, which is not among them, to its recourse."""

    x: Array  # (max_path, d), each allowed from the factual; padded with the recourse
    length: Array  # () int32: moves, so that x[length - 1] is the recourse; 0 where the factual is accepted
    valid: Array  # () bool: that of the recourse


class _Plan(NamedTuple):
    recourse: Recourse
    entry: Array  # () int32: the node to enter by; -1 where none is needed or there is none


def fit(hp: Face, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Graph:
    """Build the graph on at most `num_rows` of `rows` (n, d), and search it backwards from the targets.

    The targets are rows that the classifier itself accepts. Their immutable columns may be the reason, so the search is
    repeated for several tiers of targets; the last ones are accepted for their mutable columns above all.

    Raises:
        ValueError: a hyperparameter is out of its range, or `epsilon` makes too many rows neighbours.
    """
    check_fields(hp, Face)
    rows = jnp.asarray(rows)[jax.random.permutation(key, len(rows))[: hp.num_rows]]
    accepted = np.asarray(_logits(logit_fn, rows) >= hp.margin)
    others = rows[np.argsort(accepted, kind="stable")[:_NUM_OTHERS]]  # refused rows first
    transfer_logits = np.asarray(_transfer_logits(logit_fn, rows, others, space))
    kinds = face_graph.kinds(np.asarray(rows), space)
    edges = face_graph.edges(hp, rows, kinds, space)
    tiers = [
        face_graph.cheapest_paths(hp, edges.backwards, targets)
        for targets in face_graph.targets(hp, kinds, accepted, edges.log_density, transfer_logits)
    ]
    nearest = nnce.Fitted(nnce.Nnce(margin=hp.margin), rows.T, jnp.asarray(accepted))
    return Graph(hp, rows, nearest, *_stack_tiers(tiers, rows), jnp.asarray(edges.dense_length, rows.dtype))


def _stack_tiers(tiers: list[face_graph.Paths], rows: Array) -> tuple[Array, Array, Array]:
    """`cost`, `following` and `target` of a `Graph`, (t m,) each: the paths of all tiers, of nodes in place of rows."""
    cost, following, target = (np.stack(columns) for columns in zip(*tiers, strict=True))
    first = len(rows) * np.arange(len(tiers))[:, None]
    return (
        jnp.asarray(cost.ravel(), rows.dtype),
        jnp.asarray((first + following).ravel(), jnp.int32),
        jnp.asarray((first + target).ravel(), jnp.int32),
    )


@jax.jit
def _logits(logit_fn: LogitFn, rows: Array) -> Array:
    return jax.lax.map(logit_fn, rows, batch_size=min(_BATCH_SIZE, rows.shape[0]))


@jax.jit
def _transfer_logits(logit_fn: LogitFn, rows: Array, others: Array, space: ActionSpace) -> Array:
    """For each of the rows (m, d), the mean logit (m,) of its mutable columns with the immutables of others (o, d)."""

    def mean_logit(row: Array) -> Array:
        return jnp.mean(jax.vmap(lambda other: logit_fn(jnp.where(space.mutable, row, other)))(others))

    return jax.lax.map(mean_logit, rows, batch_size=min(_BATCH_SIZE, rows.shape[0]))


@constant
def generate(fitted: Graph, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,): `x` itself where it is accepted. Poyiadzi et al. (2020), https://arxiv.org/abs/1909.09369.

    The candidates to enter by are the `num_entries` nearest rows that `x` may move to and that have a path. The answer
    is the target, on `x`, of the cheapest path of all tiers whose target is accepted with the immutable columns of `x`.
    If there is none, it is that of `nnce` on the rows, in a single move that no edge supports; where `nnce` fails, so
    does FACE. There is no boundary search: the answer stays in a dense region.

    Ours are the directed edges, those that switch a category (near neighbours never do, so the graph would be
    disconnected), the tiers and the fallback. The paper runs a search for each factual.
    """
    return _plan(fitted, key, logit_fn, x, space).recourse


@constant
def path(fitted: Graph, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Path:
    """The moves from `x` (d,) to the answer of `generate`: the feasible path of the paper.

    Each point is a row of the graph with the immutable columns of `x`. It is allowed from `x`, and from the point
    before if `space` is that of the fit and has no relations. The fallback of `generate` is a single move.
    """
    max_path = fitted.hp.max_path
    recourse, entry = _plan(fitted, key, logit_fn, x, space)
    _, nodes = jax.lax.scan(lambda node, _: (fitted.following[node], node), entry, length=max_path)
    before_target = (entry >= 0) & (nodes != fitted.target[entry])
    points = jnp.where(before_target[:, None], _points_on(fitted, nodes, x, space), recourse.x[None, :])
    moved = jnp.any(points != jnp.concatenate([x[None, :], points[:-1]]), axis=1)
    points = points[jnp.argsort(~moved)]  # neighbours that differ in immutable columns only give equal points
    length = jnp.sum(moved, dtype=jnp.int32)
    points = jnp.where((jnp.arange(max_path) < length)[:, None], points, recourse.x[None, :])
    return Path(points, length, recourse.valid)


def failure(fitted: Graph, logit_fn: LogitFn, x: Array, space: ActionSpace, recourse: Recourse) -> Array:
    """The code () of the `Reason` why `generate` finds nothing for `x` (d,): that of `nnce`, its last resort."""
    return nnce.failure(fitted.nearest, logit_fn, x, space, recourse)


def _plan(fitted: Graph, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> _Plan:
    """Choose the node to enter by, and evaluate its target on `x` (d,)."""
    hp, nodes, distance = fitted.hp, *_entries(fitted, x, space)
    points = _points_on(fitted, fitted.target[nodes], x, space)
    first_move = face_graph.edge_cost(hp, distance, fitted.dense_length, x.shape[0])
    accepted = jax.vmap(logit_fn)(points) >= hp.margin
    cost = jnp.where(accepted, first_move + fitted.cost[nodes], jnp.inf)
    best = jnp.argmin(cost)
    enter = (logit_fn(x) < hp.margin) & jnp.isfinite(cost[best])
    start = jnp.where(enter, points[best], x)
    found = nnce.generate(fitted.nearest, key, logit_fn, start, space)  # `start` itself, where that is accepted
    return _Plan(Recourse(found.x, found.valid & allows(space, x, found.x)), jnp.where(enter, nodes[best], -1))


def _entries(fitted: Graph, x: Array, space: ActionSpace) -> tuple[Array, Array]:
    """The nodes (e,) of the nearest rows that have a path, in every tier, and their distances (e,) from `x` (d,)."""
    hp, num_rows = fitted.hp, fitted.rows.shape[0]
    distance = _distances(hp, fitted.rows.astype(x.dtype), x, space)
    has_path = jnp.any(jnp.isfinite(fitted.cost.reshape(hp.num_tiers, num_rows)), axis=0)
    _, nearest = jax.lax.top_k(-jnp.where(has_path, distance, jnp.inf), min(hp.num_entries, num_rows))
    nodes = (num_rows * jnp.arange(hp.num_tiers, dtype=jnp.int32)[:, None] + nearest[None, :]).ravel()
    return nodes, jnp.tile(distance[nearest], hp.num_tiers)


def _points_on(fitted: Graph, nodes: Array, x: Array, space: ActionSpace) -> Array:
    """The points (k, d) allowed from `x` (d,) that are nearest to the rows of the nodes (k,)."""
    rows = fitted.rows[nodes % fitted.rows.shape[0]].astype(x.dtype)
    return nnce.values_on(rows, x, space)


def _distances(hp: Face, rows: Array, x: Array, space: ActionSpace) -> Array:
    """Distances (m,) of `x` (d,) from the rows (m, d) that it may enter by, infinite for the others.

    A loop over the columns takes a third of the time of the norm of a difference (m, d), and less memory.
    """

    def add(square: Array, column: tuple[Array, ...]) -> tuple[Array, None]:
        values, origin, lowest, highest = column
        return jnp.where((lowest <= values) & (values <= highest), square + (values - origin) ** 2, jnp.inf), None

    infinite = jnp.full_like(x, jnp.inf)
    reach = face_graph.reach(hp, space, x, -infinite, infinite)
    square, _ = jax.lax.scan(add, jnp.zeros_like(rows[:, 0]), (rows.T, x, *reach))
    distance = jnp.sqrt(square)
    return jnp.where(distance <= hp.epsilon, distance, jnp.inf) if hp.graph == "epsilon" else distance
