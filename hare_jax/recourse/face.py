"""FACE: the end of the cheapest path through the training rows, where short moves between near neighbours are cheap.

The rows are the nodes of a directed graph: row i leads to its neighbour j if somebody at i may move to j. One search
backwards from all targets (accepted rows in dense places) tells each row its cheapest way to any of them, and so serves
every person: `generate` only has to find the best of the rows that the person can enter by. Along the way a person
takes over the mutable columns of the rows, and keeps their own immutable ones: they are at `project(space, x, row)`.

Two kinds of immutable column are told apart. Rows of one `kind` share all immutable categories, and no edge leaves a
kind. Immutable numbers, which hardly two people share, may differ a little from row to row.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from hare_jax.base import LogitFn, Recourse, choose, hyperparams, require
from hare_jax.recourse import nnce
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, allows, bounds, is_category, project

_MOST_PAIRS = 5_000_000  # of neighbours in an epsilon graph; more would take gigabytes
_NUM_OTHERS = 16  # refused people in whose place a target is tried
_DENSE = 0.1  # share of the edges that count as the densest


@hyperparams
class Face:
    """How FACE builds its graph, and how a person enters it. Lengths are Euclidean, over all encoded columns."""

    num_rows: int = 10_000  # training rows in the graph, drawn by the key where there are more
    graph: str = "knn"  # who are neighbours: "knn" a row and its nearest, "epsilon" all rows within a radius
    num_neighbours: int = 50  # nearest rows, in a knn graph
    epsilon: float = 0.3  # radius of an epsilon graph; nobody enters by a row that is further away
    num_switches: int = 8  # further neighbours: for each mutable category, the nearest rows that have another value
    density_weight: float = 1.0  # of the density in the cost of an edge; with 0 the cost is the edge's length
    density_quantile: float = 0.25  # share of the accepted rows of a kind that are no targets, for lying too sparsely
    immutable_tolerance: float = 0.2  # how far an immutable number may differ along an edge
    num_tiers: int = 6  # sets of targets: tier t holds the 1/2^t of them that refused people would best be accepted on
    num_entries: int = 32  # nearest rows that a person may enter by
    max_path: int = 32  # moves of a path, at most
    margin: float = MARGIN  # the least logit of a recourse


class Graph(NamedTuple):
    """A fitted graph of m rows, each with its cheapest way to a target."""

    hp: Face
    rows: Array  # (m, d)
    nearest: nnce.Fitted  # the same rows, for those that have no way
    cost: Array  # (t m,) of the way to the target, infinite where there is none; a node is tier * m + row
    following: Array  # (t m,) int32: the next node on the way; the node itself at a target, or where there is no way
    target: Array  # (t m,) int32: a node
    dense_length: Array  # () length below which an edge is as dense as any


class Path(NamedTuple):
    """The moves from a factual, which is not among them, to its recourse."""

    x: Array  # (max_path, d), each allowed from the factual; the recourse fills what is left
    length: Array  # () int32: moves, so that x[length - 1] is the recourse; 0 where the factual is accepted
    valid: Array  # () bool: that of the recourse


def fit(hp: Face, key: Array, logit_fn: LogitFn, rows: Array, space: ActionSpace) -> Graph:
    """Build the graph on at most `num_rows` of `rows` (n, d), and search it backwards from the targets.

    The targets are rows that the classifier itself accepts. As their immutable columns may have helped them there, the
    search is done for several tiers of them, of which the last are accepted on their mutable columns above all.

    Raises:
        ValueError: a hyperparameter is out of its range, or `epsilon` makes too many rows neighbours.
    """
    _check(hp)
    rows = jnp.asarray(rows)[jax.random.permutation(key, len(rows))[: hp.num_rows]]
    accepted = np.asarray(_logits(logit_fn, rows) >= hp.margin)
    others = rows[np.argsort(accepted, kind="stable")[:_NUM_OTHERS]]  # refused, as long as there are any
    sureness = np.asarray(_mean_logits(logit_fn, rows, others, space))
    kinds = _kinds(np.asarray(rows), space)
    backwards, log_density, dense_length = _graph(hp, rows, kinds, space)
    tiers = [_search(hp, backwards, targets) for targets in _targets(hp, kinds, accepted, log_density, sureness)]
    cost, following, target = (np.stack(columns) for columns in zip(*tiers, strict=True))
    first = len(rows) * np.arange(hp.num_tiers)[:, None]
    return Graph(
        hp=hp,
        rows=rows,
        nearest=nnce.Fitted(nnce.Nnce(margin=hp.margin), rows.T, jnp.asarray(accepted)),
        cost=jnp.asarray(cost.ravel(), rows.dtype),
        following=jnp.asarray((first + following).ravel(), jnp.int32),
        target=jnp.asarray((first + target).ravel(), jnp.int32),
        dense_length=jnp.asarray(dense_length, rows.dtype),
    )


def generate(fitted: Graph, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,): `x` itself where it is accepted. Poyiadzi et al. (2020), https://arxiv.org/abs/1909.09369.

    The person enters by one of the `num_entries` nearest rows that they may move to and that have a way, and goes to
    that row's target: of all tiers, the cheapest whose target is accepted with the person's own immutable columns.
    Where there is none, they get what `nnce` finds among the rows, in a single move that no data supports. Where no
    single row will do, nor will FACE. There is no boundary search: the answer is a place where many people are.

    Ours are the edges with a direction, those that switch a category (near neighbours never do, so the graph would fall
    apart), the tiers and the last resort. As published, each person has a search of their own.
    """
    return _plan(fitted, key, logit_fn, x, space)[0]


def path(fitted: Graph, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Path:
    """The moves from `x` (d,) to what `generate` answers: the feasible path of the paper.

    Each point is a row of the graph but for what the person can't change. It can be moved to from `x`, and from the
    point before where `space` is that of the fit. Where `generate` needs its last resort, there is one move.
    """
    hp = fitted.hp
    recourse, entry = _plan(fitted, key, logit_fn, x, space)
    _, way = jax.lax.scan(lambda node, _: (fitted.following[node], node), entry, length=hp.max_path)
    before = (entry >= 0) & (way != fitted.target[entry])
    points = jnp.where(before[:, None], _on(fitted, way, x, space), recourse.x[None, :])
    moved = jnp.any(points != jnp.concatenate([x[None, :], points[:-1]]), axis=1)
    points = points[jnp.argsort(~moved)]  # neighbours may differ in nothing that the person can change
    length = jnp.sum(moved, dtype=jnp.int32)
    return Path(
        jnp.where((jnp.arange(hp.max_path) < length)[:, None], points, recourse.x[None, :]), length, recourse.valid
    )


def _plan(fitted: Graph, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> tuple[Recourse, Array]:
    """The recourse, and the node () to enter by: -1 where there is no need or no way."""
    hp, num_rows = fitted.hp, fitted.rows.shape[0]
    distance = _distances(hp, fitted.rows.astype(x.dtype), x, space)
    reachable = jnp.any(jnp.isfinite(fitted.cost.reshape(hp.num_tiers, num_rows)), axis=0)
    _, entries = jax.lax.top_k(-jnp.where(reachable, distance, jnp.inf), min(hp.num_entries, num_rows))
    nodes = (num_rows * jnp.arange(hp.num_tiers)[:, None] + entries[None, :]).ravel()
    points = _on(fitted, fitted.target[nodes], x, space)
    first_move = _weight(hp, jnp.tile(distance[entries], hp.num_tiers), fitted.dense_length, x.shape[0])
    accepted = jax.vmap(logit_fn)(points) >= hp.margin
    cost = jnp.where(accepted, first_move + fitted.cost[nodes], jnp.inf)
    best = jnp.argmin(cost)
    enter = (logit_fn(x) < hp.margin) & jnp.isfinite(cost[best])
    start = jnp.where(enter, points[best], x)
    found = nnce.generate(fitted.nearest, key, logit_fn, start, space)  # `start` itself, where that is accepted
    return Recourse(found.x, found.valid & allows(space, x, found.x)), jnp.where(enter, nodes[best], -1)


def _on(fitted: Graph, nodes: Array, x: Array, space: ActionSpace) -> Array:
    """What `x` (d,) would get of the rows of the nodes (k,): (k, d)."""
    rows = fitted.rows[nodes % fitted.rows.shape[0]].astype(x.dtype)
    rows = jnp.where((space.group >= 0)[None, :], rows + x[None, :] / 2, rows)  # a closed level doesn't win over x's
    return jax.vmap(lambda row: project(space, x, row))(rows)


def _distances(hp: Face, rows: Array, x: Array, space: ActionSpace) -> Array:
    """Distances (m,) of `x` (d,) from the rows (m, d) that it may enter by, infinite for the others.

    A loop over the columns takes a third of the time of the norm of a difference (m, d), and less memory.
    """

    def add(square: Array, column: tuple[Array, ...]) -> tuple[Array, None]:
        values, here, lowest, highest = column
        return jnp.where((lowest <= values) & (values <= highest), square + (values - here) ** 2, jnp.inf), None

    reach = _reach(hp, space, x, jnp.full_like(x, -jnp.inf), jnp.full_like(x, jnp.inf))
    square, _ = jax.lax.scan(add, jnp.zeros_like(rows[:, 0]), (rows.T, x, *reach))
    distance = jnp.sqrt(square)
    return jnp.where(distance <= hp.epsilon, distance, jnp.inf) if hp.graph == "epsilon" else distance


def _weight(hp: Face, length: Any, dense_length: Any, width: int) -> Any:
    """Cost (e,) of edges of this `length` (e,), arrays of NumPy or JAX: the paper's -log(density) * length, shifted.

    The density at an edge is that of k rows in a ball as wide as the edge, ~ 1 / length^width. As published, the cost
    of most edges is negative; here it is the length for the densest edges, and more for all others.
    """
    xp = length.__array_namespace__()
    sparsity = width * xp.log(xp.maximum(length / dense_length, 1))
    return length * (1 + hp.density_weight * sparsity)


def _reach(hp: Face, space: ActionSpace, x: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Lowest and highest value (d,), (d,) of the rows that come next to `x` (d,): within its bounds, where mutable."""
    slack = jnp.where(is_category(space), 0, hp.immutable_tolerance).astype(x.dtype)
    return jnp.where(space.mutable, lower, x - slack), jnp.where(space.mutable, upper, x + slack)


@jax.jit
def _reach_of_each(hp: Face, space: ActionSpace, rows: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda row: _reach(hp, space, row, *bounds(space, row)))(rows)


@jax.jit
def _logits(logit_fn: LogitFn, rows: Array) -> Array:
    return jax.lax.map(logit_fn, rows, batch_size=min(1000, rows.shape[0]))


@jax.jit
def _mean_logits(logit_fn: LogitFn, rows: Array, others: Array, space: ActionSpace) -> Array:
    """For each of the rows (m, d), the mean logit (m,) of other people (o, d) on its mutable columns."""

    def mean(row: Array) -> Array:
        return jnp.mean(jax.vmap(lambda other: logit_fn(jnp.where(space.mutable, row, other)))(others))

    return jax.lax.map(mean, rows, batch_size=min(1000, rows.shape[0]))


def _check(hp: Face) -> None:
    choose("graph", hp.graph, ("knn", "epsilon"))
    for name in ("num_rows", "num_neighbours", "num_tiers", "num_entries", "max_path"):
        require(getattr(hp, name) >= 1, name, "must be at least 1", getattr(hp, name))
    for name in ("num_switches", "density_weight", "immutable_tolerance"):
        require(0 <= getattr(hp, name) < np.inf, name, "must be finite and not negative", getattr(hp, name))
    require(0 < hp.epsilon < np.inf, "epsilon", "must be finite and positive", hp.epsilon)
    require(0 <= hp.density_quantile < 1, "density_quantile", "must be at least 0 and below 1", hp.density_quantile)


def _kinds(points: np.ndarray, space: ActionSpace) -> list[np.ndarray]:
    """The rows of each combination of immutable categories."""
    fixed = points[:, np.asarray(is_category(space) & ~space.mutable)]
    kind = np.unique(fixed, axis=0, return_inverse=True)[1]
    return np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind))[:-1])


def _graph(
    hp: Face, rows: Array, kinds: list[np.ndarray], space: ActionSpace
) -> tuple[csr_array, np.ndarray, np.ndarray]:
    """The costs of the edges from end to start, the log of each row's density (m,), and the length of dense edges."""
    points = np.asarray(rows)
    pairs, log_density = _neighbours(hp, points, kinds, space)
    lengths = np.sqrt(sum((column[pairs[0]] - column[pairs[1]]) ** 2 for column in points.T))
    dense_length = np.quantile(lengths[lengths > 0], _DENSE) if np.any(lengths > 0) else np.ones(())
    start, end = np.concatenate([pairs, pairs[::-1]], axis=1)  # there and back
    kept = np.ones(len(start), bool)
    lower, upper = jax.device_get(_reach_of_each(hp, space, rows))
    for low, high, value in zip(lower.T, upper.T, points.T, strict=True):  # column by column, to save memory
        kept &= (low[start] <= value[end]) & (value[end] <= high[start])
    costs = np.tile(_weight(hp, lengths, dense_length, points.shape[1]), 2)
    size = len(points), len(points)
    return csr_array((costs[kept], (end[kept], start[kept])), shape=size), log_density, dense_length


def _neighbours(
    hp: Face, points: np.ndarray, kinds: list[np.ndarray], space: ActionSpace
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (2, p) of neighbours, each once, and the log of each row's density (m,) up to a constant."""
    switchable = np.flatnonzero(is_category(space) & space.mutable)
    pairs, log_density = [], np.empty(len(points))
    for members in kinds:
        inside = points[members]
        near, count, radius = _near(hp, cKDTree(inside))
        low, high = np.sort(np.concatenate([near, *_switches(hp, inside, switchable)], axis=1), axis=0)
        codes = np.unique((len(members) * low + high)[low < high])
        pairs.append(members[np.stack(np.divmod(codes, len(members)))])
        log_density[members] = np.log(np.maximum(count, 1)) - points.shape[1] * np.log(radius)
    return np.concatenate(pairs, axis=1), log_density


def _near(hp: Face, tree: cKDTree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (2, p) of near rows in a tree of c, and how many each row has (c,) within which radius (c,)."""
    if hp.graph == "epsilon":
        num_pairs = tree.count_neighbors(tree, hp.epsilon) // 2
        require(num_pairs <= _MOST_PAIRS, "epsilon", f"must join no more than {_MOST_PAIRS} pairs of rows", hp.epsilon)
        pairs = tree.query_pairs(hp.epsilon, output_type="ndarray").T
        count = np.bincount(pairs.ravel(), minlength=tree.n)
        return pairs, count, np.where(count > 0, hp.epsilon, np.inf)
    num = min(hp.num_neighbours, tree.n - 1)
    distance, nearest = tree.query(tree.data, k=range(1, num + 2))  # a row is its own nearest
    radius = np.maximum(distance[:, -1], np.finfo(float).tiny) if num else np.array([np.inf])
    return np.stack([np.repeat(np.arange(tree.n), num + 1), nearest.ravel()]), np.full(tree.n, num), radius


def _switches(hp: Face, points: np.ndarray, columns: np.ndarray) -> list[np.ndarray]:
    """Pairs (2, p) of each of the rows (c, d) with its nearest on the other side of each of the `columns`."""
    pairs = []
    for column in columns:
        for value in (0, 1):
            start, end = (np.flatnonzero((points[:, column] > 0.5) == side) for side in (value, 1 - value))
            num = min(hp.num_switches, len(end))
            if num and len(start):
                _, nearest = cKDTree(points[end]).query(points[start], k=range(1, num + 1))
                pairs.append(np.stack([np.repeat(start, num), end[nearest.ravel()]]))
    return pairs


def _targets(
    hp: Face, kinds: list[np.ndarray], accepted: np.ndarray, log_density: np.ndarray, sureness: np.ndarray
) -> list[np.ndarray]:
    """The targets of each tier: of each kind the surest of the accepted rows, less the sparsest of those.

    Kind by kind, or the small ones would have no targets.
    """
    tiers: list[list[np.ndarray]] = [[] for _ in range(hp.num_tiers)]
    for members in kinds:
        candidates = members[accepted[members]]
        surest = candidates[np.argsort(-sureness[candidates], kind="stable")]
        for tier, targets in enumerate(tiers):
            chosen = surest[: -(-len(surest) // 2**tier)]
            by_density = chosen[np.argsort(log_density[chosen], kind="stable")]
            targets.append(by_density[int(hp.density_quantile * len(chosen)) :])
    return [np.concatenate(targets) for targets in tiers]


def _search(hp: Face, backwards: csr_array, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of m rows, (m,) each: the cost of its cheapest way to any target, the next row on it, and its target.

    A way of more than `max_path` moves, the one to enter by among them, counts as none.
    """
    cost, *way = dijkstra(backwards, indices=targets, min_only=True, return_predecessors=True)
    following, target = (np.where(row < 0, np.arange(len(row)), row) for row in way)
    arrived = np.arange(len(cost))
    for _ in range(hp.max_path - 1):
        arrived = following[arrived]
    return np.where(arrived == target, cost, np.inf), following, target
