"""FACE's graph of training rows: which moves between rows are edges, what they cost, and the cheapest paths to targets.

Everything here runs on the host, once for each fit. An edge leads from row i to its neighbour j if the action space
allows the move from i to j. Rows of one *kind* share all immutable categories, and no edge leaves a kind. Immutable
numbers, which hardly two rows share, may differ by a tolerance along an edge. One backward Dijkstra search from a set
of targets (accepted rows in dense regions) gives every row its cheapest path to any of them.
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # loads a subpackage at its first use
from jax import Array

from hare_jax.base import pytree_dataclass, require
from hare_jax.hyperparams import Count, Natural, NonNegative, Positive, Share, below, one_of
from hare_jax.solvers.boundary import MARGIN
from hare_jax.space import ActionSpace, bounds, is_category, is_follower

_MAX_PAIRS = 5_000_000  # of neighbours in an epsilon graph; more would take gigabytes
_DENSE = 0.1  # quantile of the edge lengths: shorter edges count as equally dense

_Graph = Annotated[str, one_of("knn", "epsilon")]
_Quantile = Annotated[Share, below(1)]


@pytree_dataclass
class Face:
    """How FACE builds its graph, and how a factual enters it. Lengths are Euclidean, over all encoded columns."""

    num_rows: Count = 10_000  # training rows in the graph, drawn by the key where there are more
    graph: _Graph = "knn"  # neighbours: "knn" a row and its nearest, "epsilon" all rows within a radius
    num_neighbours: Count = 50  # nearest rows, in a knn graph
    epsilon: Positive = 0.3  # radius of an epsilon graph, and the largest distance of a factual from its first row
    num_switches: Natural = 8  # further neighbours: for each mutable category, the nearest rows that have another value
    density_weight: NonNegative = 1.0  # of the density in the cost of an edge; with 0 the cost is the edge's length
    density_quantile: _Quantile = 0.25  # share of the accepted rows of a kind that are too sparse for targets
    immutable_tolerance: NonNegative = 0.2  # how far an immutable number may differ along an edge
    num_tiers: Count = 6  # sets of targets: tier t holds the 1/2^t with the highest logit on other rows' immutables
    num_entries: Count = 32  # nearest rows that a factual may enter by
    max_path: Count = 32  # moves of a path, at most
    margin: NonNegative = MARGIN  # the least logit of a recourse


class Edges(NamedTuple):
    """The graph of m rows, as arrays of NumPy."""

    backwards: "scipy.sparse.csr_array"  # (m, m) costs of the edges, from end to start
    log_density: np.ndarray  # (m,) of the rows, up to a constant
    dense_length: np.ndarray  # () edges that are shorter count as equally dense


class Paths(NamedTuple):
    """The cheapest path of each of m rows to any target, as arrays of NumPy."""

    cost: np.ndarray  # (m,) infinite where there is no path
    following: np.ndarray  # (m,) the next row; the row itself at a target, or where there is no path
    target: np.ndarray  # (m,) the last row


class _Near(NamedTuple):
    """Near rows in a set of c rows."""

    pairs: np.ndarray  # (2, p) of neighbours
    num: np.ndarray  # (c,) neighbours of each row
    radius: np.ndarray  # (c,) of the ball that holds them; infinite where there are none


def edge_cost(hp: Face, length: Any, dense_length: Any, width: int) -> Any:
    """Cost (e,) of edges of this `length` (e,), arrays of NumPy or JAX: the paper's -log(density) * length, shifted.

    The density at an edge is that of k rows in a ball whose radius is the edge, ~ 1 / length^width. In the paper the
    cost of most edges is negative; here it is the length for the densest edges, and more for all others.
    """
    xp = length.__array_namespace__()
    sparsity = width * xp.log(xp.maximum(length / dense_length, 1))
    return length * (1 + hp.density_weight * sparsity)


def reach(hp: Face, space: ActionSpace, x: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Lowest and highest values (d,), (d,) of a row that an edge from `x` (d,) may lead to.

    `lower` and `upper` (d,) apply to mutable columns, and the tolerance to immutable numbers, but for those that follow
    other columns, which may be anywhere.
    """
    tolerance = jnp.where(is_category(space), 0, hp.immutable_tolerance).astype(x.dtype)
    tolerance = jnp.where(is_follower(space), jnp.inf, tolerance)
    return jnp.where(space.mutable, lower, x - tolerance), jnp.where(space.mutable, upper, x + tolerance)


def kinds(points: np.ndarray, space: ActionSpace) -> list[np.ndarray]:
    """Indices of the `points` (m, d) of each combination of immutable categories."""
    fixed = points[:, np.asarray(is_category(space) & ~space.mutable)]
    kind = np.unique(fixed, axis=0, return_inverse=True)[1]
    return np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind))[:-1])


def edges(hp: Face, rows: Array, members_of_kinds: list[np.ndarray], space: ActionSpace) -> Edges:
    """The edges between `rows` (m, d): neighbours of one kind, in the directions that the space allows."""
    points = np.asarray(rows)
    pairs, log_density = _neighbours(hp, points, members_of_kinds, space)
    lengths = np.sqrt(sum((column[pairs[0]] - column[pairs[1]]) ** 2 for column in points.T))
    dense_length = np.quantile(lengths[lengths > 0], _DENSE) if np.any(lengths > 0) else np.ones(())
    start, end = np.concatenate([pairs, pairs[::-1]], axis=1)  # both directions
    allowed = np.ones(len(start), bool)
    lower, upper = jax.device_get(_reach_of_each(hp, space, rows))
    for low, high, value in zip(lower.T, upper.T, points.T, strict=True):  # column by column, to save memory
        allowed &= (low[start] <= value[end]) & (value[end] <= high[start])
    costs = np.tile(edge_cost(hp, lengths, dense_length, points.shape[1]), 2)
    size = len(points), len(points)
    backwards = scipy.sparse.csr_array((costs[allowed], (end[allowed], start[allowed])), shape=size)
    return Edges(backwards, log_density, dense_length)


@jax.jit
def _reach_of_each(hp: Face, space: ActionSpace, rows: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda row: reach(hp, space, row, *bounds(space, row)))(rows)


def _neighbours(
    hp: Face, points: np.ndarray, members_of_kinds: list[np.ndarray], space: ActionSpace
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (2, p) of neighbours, each once, and the log of each row's density (m,) up to a constant."""
    switchable = np.flatnonzero(is_category(space) & space.mutable)
    pairs, log_density = [], np.empty(len(points))
    for members in members_of_kinds:
        inside = points[members]
        near = _near(hp, scipy.spatial.cKDTree(inside))
        low, high = np.sort(np.concatenate([near.pairs, *_switches(hp, inside, switchable)], axis=1), axis=0)
        codes = np.unique((len(members) * low + high)[low < high])
        pairs.append(members[np.stack(np.divmod(codes, len(members)))])
        log_density[members] = np.log(np.maximum(near.num, 1)) - points.shape[1] * np.log(near.radius)
    return np.concatenate(pairs, axis=1), log_density


def _near(hp: Face, tree: "scipy.spatial.cKDTree") -> _Near:
    return _within_epsilon(hp.epsilon, tree) if hp.graph == "epsilon" else _nearest(hp.num_neighbours, tree)


def _within_epsilon(epsilon: float, tree: "scipy.spatial.cKDTree") -> _Near:
    num_pairs = tree.count_neighbors(tree, epsilon) // 2
    require(num_pairs <= _MAX_PAIRS, "epsilon", f"must join no more than {_MAX_PAIRS} pairs of rows", epsilon)
    pairs = tree.query_pairs(epsilon, output_type="ndarray").T
    num = np.bincount(pairs.ravel(), minlength=tree.n)
    return _Near(pairs, num, np.where(num > 0, epsilon, np.inf))


def _nearest(num_neighbours: int, tree: "scipy.spatial.cKDTree") -> _Near:
    num = min(num_neighbours, tree.n - 1)
    distance, nearest = tree.query(tree.data, k=range(1, num + 2))  # a row is its own nearest
    radius = np.maximum(distance[:, -1], np.finfo(float).tiny) if num else np.array([np.inf])
    pairs = np.stack([np.repeat(np.arange(tree.n), num + 1), nearest.ravel()])
    return _Near(pairs, np.full(tree.n, num), radius)


def _switches(hp: Face, points: np.ndarray, columns: np.ndarray) -> list[np.ndarray]:
    """Pairs (2, p) of each of the `points` (c, d) and its nearest with another value in each of the `columns`."""
    pairs = []
    for column in columns:
        for value in (0, 1):
            start, end = (np.flatnonzero((points[:, column] > 0.5) == side) for side in (value, 1 - value))
            num = min(hp.num_switches, len(end))
            if num and len(start):
                _, nearest = scipy.spatial.cKDTree(points[end]).query(points[start], k=range(1, num + 1))
                pairs.append(np.stack([np.repeat(start, num), end[nearest.ravel()]]))
    return pairs


def targets(
    hp: Face,
    members_of_kinds: list[np.ndarray],
    accepted: np.ndarray,
    log_density: np.ndarray,
    transfer_logits: np.ndarray,
) -> list[np.ndarray]:
    """The targets of each tier: of each kind the accepted rows of the highest `transfer_logits`, less the sparsest.

    `accepted`, `log_density` and `transfer_logits` are (m,). Chosen by kind, so that small kinds have targets, too.
    """
    tiers: list[list[np.ndarray]] = [[] for _ in range(hp.num_tiers)]
    for members in members_of_kinds:
        candidates = members[accepted[members]]
        ranked = candidates[np.argsort(-transfer_logits[candidates], kind="stable")]
        for tier, chosen_by_kind in enumerate(tiers):
            chosen = ranked[: -(-len(ranked) // 2**tier)]
            by_density = chosen[np.argsort(log_density[chosen], kind="stable")]
            chosen_by_kind.append(by_density[int(hp.density_quantile * len(chosen)) :])
    return [np.concatenate(chosen_by_kind) for chosen_by_kind in tiers]


def cheapest_paths(hp: Face, backwards: "scipy.sparse.csr_array", targets: np.ndarray) -> Paths:
    """The cheapest path of each row to any of the `targets`; one of more than `max_path` moves counts as none.

    The move from a factual to the path's first row counts as one of them.
    """
    cost, *links = scipy.sparse.csgraph.dijkstra(backwards, indices=targets, min_only=True, return_predecessors=True)
    following, target = (np.where(row < 0, np.arange(len(row)), row) for row in links)
    arrived = np.arange(len(cost))
    for _ in range(hp.max_path - 1):
        arrived = following[arrived]
    return Paths(np.where(arrived == target, cost, np.inf), following, target)
