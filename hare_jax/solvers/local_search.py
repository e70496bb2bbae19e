"""Local search on the decision boundary for the recourse of least cost, for any cost and any classifier.

A *ray* is the segment from the factual to an allowed target point; casting it bisects it to the boundary. The first
round casts rays in random directions, half of them sparse and half dense, from several starts side by side, and keeps
the cheapest recourse of each start, the *incumbent*. Each further round perturbs the incumbents' directions in one or
two columns and casts the new rays. Every incumbent is allowed and accepted, and its cost never increases. The search
uses no gradient: categories have none. For a classifier on the host (`calls_host`) a round is one call: each ray is
evaluated at equidistant points in place of a bisection, and only the last incumbents are moved to the boundary.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hare_jax.base import LogitFn, Recourse, check_row, pytree_dataclass
from hare_jax.hyperparams import Count, Natural, NonNegative, check_fields
from hare_jax.solvers.boundary import MARGIN, boundary
from hare_jax.solvers.directions import (
    NUM_PERTURBED,
    NUM_SPARSE,
    DenseDraw,
    PerturbationDraw,
    Region,
    SparseDraw,
    dense_target,
    perturbed_target,
    region_around,
    sparse_target,
)
from hare_jax.solvers.host import calls_host
from hare_jax.space import ActionSpace, allows, along, follow, own_values, project

_OVERSHOOT = 1.5  # of a refused target's direction: the ray is extended this far and bisected
_NUM_BEFORE, _NUM_BEYOND = 16, 8  # points on a ray, up to its target and beyond it, for a classifier on the host


@pytree_dataclass
class LocalSearch:
    """The compute budget of a local search."""

    num_first: Count = 32  # rays of the first round, for each start
    num_starts: Count = 4  # searches side by side
    num_rounds: Natural = 20  # after the first
    num_rays: Count = 16  # per round, for each start
    num_steps: Natural = 10  # bisections of a ray
    margin: NonNegative = MARGIN  # the least logit of a recourse


class _Incumbent(NamedTuple):
    """A recourse with its cost: the cheapest one so far, or that of a ray; several have an axis in front."""

    recourse: Recourse
    cost: Array  # () infinite where the recourse is not valid


class _Problem(NamedTuple):
    """What the search minimises and over which points; constant during the search."""

    hp: LocalSearch
    cost_fn: Callable[[Array], Array]
    logit_fn: LogitFn
    x: Array  # (d,)
    space: ActionSpace
    region: Region  # of the targets
    cast: Callable[[Any, Array], _Incumbent]  # of the problem and a target


class _Draws(NamedTuple):
    """All uniform numbers of a search."""

    sparse: SparseDraw  # fields (num_starts, num_sparse, ...)
    dense: DenseDraw  # fields (num_starts, num_dense, ...)
    perturbations: PerturbationDraw  # fields (num_rounds, num_starts, num_rays, ...)


def local_search(
    hp: LocalSearch,
    key: Array,
    cost_fn: Callable[[Array], Array],
    logit_fn: LogitFn,
    x: Array,
    recourse: Recourse,
    space: ActionSpace,
) -> Recourse:
    """The cheapest valid recourse for `x` (d,) by `cost_fn: (d,) -> ()`: `recourse`, or a cheaper one that is found.

    Raises:
        ValueError: `hp` is not a `LocalSearch`, or a row has the wrong width.
    """
    check_fields(hp, LocalSearch)
    check_row(x, space, recourse_x=recourse.x)
    on_host, draws = calls_host(logit_fn, x), _draw(hp, key, x)
    cast = _sample_ray if on_host else _cast_ray
    problem = _Problem(hp, cost_fn, logit_fn, x, space, region_around(x, space), cast)
    start = _with_given(problem, _first_round(problem, draws), recourse)
    incumbents, _ = jax.lax.scan(partial(_one_round, problem), start, draws.perturbations)
    incumbents = _refined(problem, incumbents) if on_host else incumbents
    cheapest = jnp.argmin(incumbents.cost)
    found = jnp.isfinite(incumbents.cost[cheapest])
    point = jnp.where(found, incumbents.recourse.x[cheapest], recourse.x)
    return Recourse(point, jnp.where(found, True, recourse.valid))


def _draw(hp: LocalSearch, key: Array, x: Array) -> _Draws:
    """All uniform numbers of the search in a single random call, as each call is expensive to compile."""
    sparse_shape = (hp.num_starts, (hp.num_first + 1) // 2, 2 * NUM_SPARSE + 1)
    dense_shape = (hp.num_starts, hp.num_first // 2, 2, len(x))
    perturbation_shape = (hp.num_rounds, hp.num_starts, hp.num_rays, 3 * NUM_PERTURBED)
    ends = np.cumsum([math.prod(shape) for shape in (sparse_shape, dense_shape, perturbation_shape)])
    sparse, dense, perturbations = jnp.split(jax.random.uniform(key, (ends[-1],), x.dtype), ends[:-1])
    return _Draws(
        SparseDraw(*jnp.split(sparse.reshape(sparse_shape), (NUM_SPARSE, 2 * NUM_SPARSE), axis=-1)),
        DenseDraw(*jnp.unstack(dense.reshape(dense_shape), axis=-2)),
        PerturbationDraw(*jnp.split(perturbations.reshape(perturbation_shape), 3, axis=-1)),
    )


def _first_round(problem: _Problem, draws: _Draws) -> _Incumbent:
    """The cheapest recourse of each start on rays in random directions."""
    sparse = jax.vmap(jax.vmap(partial(sparse_target, problem.region)))(draws.sparse)
    dense = jax.vmap(jax.vmap(partial(dense_target, problem.region)))(draws.dense)
    rays = jax.vmap(jax.vmap(partial(problem.cast, problem)))(jnp.concatenate([sparse, dense], axis=1))
    return jax.vmap(_best_of)(rays)


def _with_given(problem: _Problem, incumbents: _Incumbent, recourse: Recourse) -> _Incumbent:
    """`incumbents` with `recourse` in place of the first one, if it costs less."""
    given = _Incumbent(recourse, _cost(problem, recourse))
    cheaper = given.cost < incumbents.cost[0]
    return jax.tree.map(lambda old, new: old.at[0].set(jnp.where(cheaper, new, old[0])), incumbents, given)


def _one_round(problem: _Problem, incumbents: _Incumbent, draws: PerturbationDraw) -> tuple[_Incumbent, None]:
    """Cast rays in perturbed directions (num_starts, num_rays); keep for each start whatever is cheaper."""

    def cast(draw: PerturbationDraw, z: Array) -> _Incumbent:
        return problem.cast(problem, perturbed_target(problem.region, draw, z))

    old = incumbents.recourse
    own = jax.vmap(partial(own_values, problem.space, problem.x))(old.x)
    rays = jax.vmap(jax.vmap(cast, in_axes=(0, None)))(draws, own)
    return _cheaper(incumbents, jax.vmap(_best_of)(rays)), None


def _cheaper(old: _Incumbent, new: _Incumbent) -> _Incumbent:
    """The cheaper one of the incumbents of each start."""
    cheaper = new.cost < old.cost
    x = jnp.where(cheaper[:, None], new.recourse.x, old.recourse.x)
    return _Incumbent(Recourse(x, old.recourse.valid | cheaper), jnp.minimum(new.cost, old.cost))


def _cost(problem: _Problem, recourse: Recourse) -> Array:
    return jnp.where(recourse.valid, problem.cost_fn(recourse.x), jnp.inf)


def _best_of(found: _Incumbent) -> _Incumbent:
    """The cheapest of several, with an axis in front."""
    best = jnp.argmin(found.cost)
    return jax.tree.map(lambda leaf: leaf[best], found)


def _cast_ray(problem: _Problem, target: Array) -> _Incumbent:
    """The cheaper of the `target` (d,) and the boundary before it; if it is refused, the boundary beyond it."""
    hp, _, logit_fn, x, space, *_ = problem
    near, far = jax.lax.optimization_barrier(
        _ends(x, space, target)
    )  # so that the point returned is the one that was evaluated
    given = Recourse(near, logit_fn(near) >= hp.margin)
    end = jnp.where(given.valid, near, far)
    found = _if_allowed(problem, boundary(logit_fn, x, end, space, margin=hp.margin, num_steps=hp.num_steps))
    costs = jnp.stack([_cost(problem, given), _cost(problem, found)])
    x_cf = jnp.where(costs[0] < costs[1], given.x, found.x)
    return _Incumbent(Recourse(x_cf, given.valid | found.valid), jnp.min(costs))


def _sample_ray(problem: _Problem, target: Array) -> _Incumbent:
    """The cheapest accepted point of some on the ray to the `target` (d,) and beyond it, from one call."""
    hp, _, logit_fn, x, space, *_ = problem
    near, far = _ends(x, space, target)
    before = jnp.arange(1, _NUM_BEFORE + 1, dtype=x.dtype) / _NUM_BEFORE
    beyond = 1 - (1 - 1 / _OVERSHOOT) * jnp.arange(_NUM_BEYOND, dtype=x.dtype) / _NUM_BEYOND
    parts = [jax.vmap(partial(along, space, x, end))(t) for end, t in ((near, before), (far, beyond))]
    points = jnp.concatenate(parts)
    accepted = jax.vmap(logit_fn)(points) >= hp.margin
    recourses = jax.vmap(partial(_if_allowed, problem))(Recourse(points, accepted))
    return _best_of(_Incumbent(recourses, jax.vmap(partial(_cost, problem))(recourses)))


def _if_allowed(problem: _Problem, recourse: Recourse) -> Recourse:
    """`recourse`, not valid where a point on the way to an allowed one contradicts a relation."""
    if problem.space.relations is None:
        return recourse
    return Recourse(recourse.x, recourse.valid & allows(problem.space, problem.x, recourse.x))


def _ends(x: Array, space: ActionSpace, target: Array) -> tuple[Array, Array]:
    """The allowed points (d,) at the own values `target` (d,), and beyond them, with what follows."""
    own = target, x + _OVERSHOOT * (target - x)
    near, far = (project(space, x, follow(space, x, values)) for values in own)
    return near, far


def _refined(problem: _Problem, incumbents: _Incumbent) -> _Incumbent:
    """Move each incumbent back to the boundary where that costs less."""
    hp, _, logit_fn, x, space, *_ = problem
    to_boundary = partial(boundary, logit_fn, x, space=space, margin=hp.margin, num_steps=hp.num_steps)
    found = jax.vmap(lambda end: _if_allowed(problem, to_boundary(end)))(incumbents.recourse.x)
    return _cheaper(incumbents, _Incumbent(found, jax.vmap(partial(_cost, problem))(found)))
