"""Exact recourse: the recourse of least weighted L1, or the proof that none exists, by mixed-integer programming.

It is for linear classifiers and networks of rectified linear units, whose parameters it reads from a
`models.Classifier`. The program (`model`) is solved on the host (`search`), in one callback for all rows of a `vmap`.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from hare_jax.base import LogitFn, Recourse, holds, pytree_dataclass, require
from hare_jax.hyperparams import Natural, NonNegative, Positive
from hare_jax.models.network import Layer, to_layers
from hare_jax.models.perceptron import logit
from hare_jax.recourse import growing_spheres
from hare_jax.recourse.derivative import on_boundary
from hare_jax.recourse.exact import search
from hare_jax.recourse.exact.problem import NONE_EXISTS, UNPROVED, Problem
from hare_jax.recourse.reason import Reason
from hare_jax.solvers.boundary import MARGIN
from hare_jax.solvers.host import on_host
from hare_jax.space import ActionSpace, allows, complete, costs, open_levels, project, rows_from


@pytree_dataclass
class Exact:
    """The cost weights, and when the search stops."""

    weights: Array | None = None  # (d,) cost of a unit of change of each column; None is that of the space
    time_limit: Positive = 10.0  # seconds a row
    gap: NonNegative = 1e-6  # by which a recourse may cost more than the cheapest one, as a share of its cost
    spheres: growing_spheres.GrowingSpheres = growing_spheres.GrowingSpheres()  # their cost is the first upper bound
    num_boundary_steps: Natural = 20  # bisections back towards the factual, from the solution
    margin: NonNegative = MARGIN  # the least logit of a recourse


@on_boundary
def generate(hp: Exact, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> Recourse:
    """Recourse for `x` (d,). Tjeng, Xiao and Tedrake (2019), https://arxiv.org/abs/1711.07356.

    It has the least weighted cost `sum_j w_j |x'_j - x_j|` of all allowed points with a logit above the margin. Their
    encoding of a network is for the nearest adversarial example; the moves by steps and one-hot groups are those of
    Ustun, Spangher and Liu (2019), https://arxiv.org/abs/1809.06514. `solve` also returns what is proved. With
    relations, the cost is that of the own changes, and all relations are constraints of the program.

    Raises:
        ValueError: `logit_fn` is no `models.Classifier`, or weights of another shape, or negative ones.
    """
    return solve(hp, key, logit_fn, x, space)[0]


def solve(hp: Exact, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> tuple[Recourse, Array]:
    """The recourse for `x` (d,), not scaled back to the boundary, and its status () int32.

    The status is `OPTIMAL`: no allowed point with a logit above the margin costs less, up to the gap and to rounding;
    `NONE_EXISTS`: no allowed point reaches the margin; `UNPROVED`: the cheapest recourse found within the time limit,
    if any. A column without a bound moves by at most 1,000, unless the cost of a known recourse bounds it, and nothing
    is proved then, nor where causes of a formula that is not finite at the factual could cancel out. With relations,
    `OPTIMAL` is to within 1e-4 of the cost: formulas that are not affine take a branch and bound over boxes of their
    columns (McCormick 1976).

    Raises:
        ValueError: those of `generate`.
    """
    return _solve_within(hp.time_limit, hp, key, logit_fn, x, space)


def _solve_within(
    time_limit: Array | float, hp: Exact, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace
) -> tuple[Recourse, Array]:
    layers = _layers(logit_fn)
    weights = costs(space, x) if hp.weights is None else jnp.asarray(hp.weights, x.dtype)
    require(jnp.shape(weights) == x.shape, "weights", f"must have shape {x.shape}, as x has", jnp.shape(weights))
    fits = holds(lambda weights: (weights >= 0) & np.isfinite(weights), weights)
    require(fits, "weights", "must be finite and not negative", weights)
    spheres = dataclasses.replace(hp.spheres, margin=hp.margin)
    known = growing_spheres.search(spheres, key, logit_fn, x, x, space)
    margin, limit, gap = (jnp.asarray(number, float) for number in (hp.margin, time_limit, hp.gap))
    given = space._replace(upper=open_levels(space, x))
    rows = rows_from(space, x)
    found, status = _solve(Problem(layers, x, given, weights, known.x, known.valid, margin, limit, gap, rows))
    point = jax.lax.optimization_barrier(_allowed(space, x, found))  # the point returned is the one that is evaluated
    accepted = (logit_fn(point) >= hp.margin) & allows(space, x, point)
    best = Recourse(jnp.where(accepted | ~known.valid, point, known.x), accepted | known.valid)
    return best, jnp.where(accepted | (status == NONE_EXISTS), status, UNPROVED)


def _allowed(space: ActionSpace, x: Array, found: Array) -> Array:
    """`found` (d,) without what the arithmetic of the host rounds differently."""
    if space.relations is None:
        return project(space, x, found)
    followed = complete(space, x, found)
    return jnp.where(allows(space, x, followed), followed, project(space, x, found))


def failure(hp: Exact, logit_fn: LogitFn, x: Array, space: ActionSpace, recourse: Recourse) -> Array:
    """The code () of the `Reason` why the `recourse` for `x` (d,) failed: it is solved again, unless it is valid."""
    time_limit = jnp.where(recourse.valid, 0, hp.time_limit)
    status = _solve_within(time_limit, hp, jax.random.key(0), logit_fn, x, space)[1]
    return jnp.where(status == NONE_EXISTS, Reason.IMPOSSIBLE, Reason.SEARCH_ENDED)


def _layers(logit_fn: LogitFn) -> list[Layer]:
    known = isinstance(logit_fn, Partial) and logit_fn.func is logit and len(logit_fn.args) == 1
    require(known, "logit_fn", "must be a models.Classifier, whose parameters exact recourse reads", logit_fn)
    return to_layers(logit_fn.args[0])  # type: ignore[attr-defined]


def _solve(problem: Problem) -> tuple[Array, Array]:
    """The points (d,) and statuses () of `search.solve`, from one callback for all rows."""
    result = jax.ShapeDtypeStruct(problem.x.shape, problem.x.dtype), jax.ShapeDtypeStruct((), jnp.int32)
    return on_host(_solve_rows, result, problem, vmap_method="expand_dims")


def _solve_rows(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The points (..., d) and statuses (...) of rows (..., d); leaves that all rows share have axes of length 1."""
    num_axes = problem.x.ndim - 1  # of the batch, which all leaves have
    batch = np.broadcast_shapes(*(leaf.shape[:num_axes] for leaf in jax.tree.leaves(problem)))
    points, statuses = np.empty((*batch, problem.x.shape[-1]), problem.x.dtype), np.empty(batch, np.int32)
    for index in np.ndindex(statuses.shape):
        answer = search.solve(jax.tree.map(partial(_row, index), problem))
        points[index], statuses[index] = answer
    return points, statuses


def _row(index: tuple[int, ...], leaf: np.ndarray) -> np.ndarray:
    """The row at `index` of a leaf."""
    return leaf[tuple(min(at, size - 1) for at, size in zip(index, leaf.shape, strict=False))]
