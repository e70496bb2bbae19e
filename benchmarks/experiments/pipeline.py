"""The gradient end to end, as one program: base recourse, candidates, boundary, expected choice, cost of the choice.

It is taken for several classifiers and their users at once, with respect to the classifiers' and the users' weights,
and compared with central differences in random directions. The directions of the base recourse and of the candidates
are held constant in both, and ordered columns are continuous.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import training_for
from benchmarks.experiments import differences
from benchmarks.experiments.methods_gradient import quarter_steps
from benchmarks.specs import MODELS, GradientSpec
from benchmarks.store import Row
from benchmarks.timing import best_of_each, compiled
from hare_jax import data, models, people
from hare_jax.base import LogitFn, Recourse, pytree_dataclass
from hare_jax.elicit.candidates import Sampling, directions
from hare_jax.evaluate.sharding import map_users
from hare_jax.people.choice import beats_matrix, expected_choice
from hare_jax.people.objective import Objective, column_costs
from hare_jax.recourse import wachter
from hare_jax.recourse.cost import smoothed
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace, project

_SHARPNESS = 10.0
_NUM_DIRECTIONS = 4  # of the central differences
_WEIGHTS = (0, 1)  # differentiated arguments of the cost: the classifiers' weights, the users'
_BATCH = (0, 0, 0, 0, None)  # axes of the arguments of the cost for several classifiers
_RUNS = 3  # of which the fastest is reported


@pytree_dataclass
class Searches:
    """The three searches of the program."""

    base: wachter.Wachter = wachter.Wachter()
    candidates: Sampling = Sampling()
    num_steps: int = 48  # bisections from a candidate to the boundary


class Problem(NamedTuple):
    """The arguments of the cost, for c classifiers with n users each."""

    params: models.Params  # leaves (c, ...)
    weights: Array  # (c, n, d) of the users
    keys: Array  # (c, n)
    x: Array  # (c, n, d)
    space: ActionSpace


class Plan(NamedTuple):
    """The results of the first two searches for one user."""

    base: Recourse  # (d,), ()
    unit: Array  # (N, d) directions of the candidates from it


class Results(NamedTuple):
    """Figures of c classifiers."""

    valid: Array  # (c,) share of the users with a recourse
    errors: Array  # (c, 2) largest relative errors of the derivatives, in the classifier's and the users' weights


def figures(spec: GradientSpec) -> Row:
    """The results of a row: cost, errors of its gradient, run times and memory; to be called in x64."""
    problem = _problem(spec)
    searches = Searches(candidates=Sampling(num_directions=spec.candidates))
    value, both = _batched(mean_cost, searches), _batched(_value_and_grad, searches)
    programs = [compiled(fn, *problem) for fn in (value, both)]
    seconds = best_of_each([program.run for program in programs], *problem, runs=_RUNS)
    quarter = compiled(_batched(_value_and_grad, quarter_steps(searches)), *problem)
    cost, slope = programs[1].run(*problem)
    results: Results = jax.jit(jax.vmap(partial(_check, searches), in_axes=(0, *_BATCH)))(slope, *problem)
    return {
        "valid": float(jnp.mean(results.valid)),
        "cost": float(jnp.mean(cost)),
        "finite": all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slope)),
        "error_classifier": float(jnp.max(results.errors[:, 0])),
        "error_users": float(jnp.max(results.errors[:, 1])),
        "whole_forward_s": round(seconds[0], 4),
        "whole_reverse_ratio": round(seconds[1] / seconds[0], 2),
        "value_compile_s": round(programs[0].compile_s, 2),
        "gradient_compile_s": round(programs[1].compile_s, 2),
        "memory_mib": round(programs[1].memory_mib, 1),
        "memory_mib_quarter_steps": round(quarter.memory_mib, 1),
    }


def mean_cost(
    searches: Searches, params: models.Params, weights: Array, keys: Array, x: Array, space: ActionSpace
) -> Array:
    """Mean cost () of the expected choice over the users with a recourse, for one classifier and its users."""
    logit_fn = models.classifier(params)

    def one(row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        weights, key, x = row
        plan = plan_for(searches, key, logit_fn, x, space)
        return choice_cost(searches, plan, logit_fn, weights, x, space), plan.base.valid

    cost, valid = map_users(one, (weights, keys, x))
    return jnp.sum(cost) / jnp.maximum(jnp.sum(valid), 1)


def plan_for(searches: Searches, key: Array, logit_fn: Partial, x: Array, space: ActionSpace) -> Plan:
    """The base recourse of `x` (d,), and directions of candidates from it, which are constant."""
    key_base, key_candidates = jax.random.split(key)
    base = wachter.generate(searches.base, key_base, logit_fn, x, space)
    noise = jax.random.normal(key_candidates, (searches.candidates.num_directions, len(x)), x.dtype)
    return Plan(base, directions(searches.candidates, noise, *jax.lax.stop_gradient((logit_fn, x, base.x)), space))


def choice_cost(
    searches: Searches, plan: Plan, logit_fn: LogitFn, weights: Array, x: Array, space: ActionSpace
) -> Array:
    """Cost () of the expected choice among the base recourse and the candidates; 0 without a recourse."""
    base = plan.base
    ends = jax.vmap(lambda unit: project(space, x, base.x + unit))(plan.unit)
    found = jax.vmap(lambda end: boundary(logit_fn, x, end, space, num_steps=searches.num_steps))(ends)
    offered = jnp.concatenate([base.x[None, :], found.x])
    cost = jax.vmap(lambda point: jnp.sum(weights * column_costs(Objective(), x, point)))(offered)
    valid = jnp.concatenate([base.valid[None], found.valid])
    chosen = expected_choice(beats_matrix(cost, jnp.asarray(_SHARPNESS, x.dtype), valid))
    return jnp.where(base.valid, chosen @ cost, 0)


def _value_and_grad(searches: Searches, *problem: Any) -> tuple[Array, tuple]:
    return jax.value_and_grad(partial(mean_cost, searches), argnums=_WEIGHTS)(*problem)


def _batched(fn: Callable, searches: Searches) -> Callable:
    """`fn` for several classifiers, as a function of the leaves of `Problem`."""
    return jax.vmap(partial(fn, searches), in_axes=_BATCH)


def _problem(spec: GradientSpec) -> Problem:
    """Classifiers of as many training seeds, from that of `spec`, and the first rows that each of them refuses."""
    table = data.load(spec.dataset)
    seeds = jnp.arange(spec.seed, spec.seed + spec.classifiers)
    keys = jax.vmap(jax.random.key)(seeds)
    fit = jax.jit(jax.vmap(models.fit, in_axes=(None, 0, None, None)))
    params = fit(training_for(table, MODELS["mlp"]), keys, table.x_train, table.y_train)
    x = jax.jit(jax.vmap(_refused, in_axes=(0, None, None)), static_argnums=2)(params, table.x_test, spec.users)
    key_weights, key_search = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    each = jax.vmap(partial(jax.random.split, num=spec.users))
    weights = jax.vmap(jax.vmap(people.cost_weights))(each(key_weights), x)
    return Problem(params, weights, each(key_search), x, smoothed(table.space))


def _refused(params: models.Params, rows: Array, num: int) -> Array:
    """The first refused `rows` (num, d), repeated if there are fewer."""
    refused = jax.vmap(models.classifier(params))(rows) < 0
    order = jnp.argsort(~refused, stable=True)
    return rows[order[jnp.arange(num) % jnp.maximum(jnp.sum(refused), 1)]]


def _check(
    searches: Searches,
    slope: tuple,
    params: models.Params,
    weights: Array,
    keys: Array,
    x: Array,
    space: ActionSpace,
) -> Results:
    """The errors of the `slope` of one classifier's cost, with the results of both searches held."""
    logit_fn, at = models.classifier(params), (params, weights)

    def search(row: tuple[Array, Array]) -> tuple[Plan, differences.Held]:
        plan = plan_for(searches, row[0], logit_fn, row[1], space)
        return plan, differences.hold(searches.base, logit_fn, row[1], plan.base, space)

    plans, held = map_users(search, (keys, x))
    held_cost = partial(_held_cost, searches, plans, held, x, space)

    def error(key: Array) -> Array:
        way = differences.random_direction(key, at)
        expected = jnp.stack([differences.central(held_cost, at, way, index) for index in _WEIGHTS])
        found = jnp.stack([differences.inner(slope[index], way[index]) for index in _WEIGHTS])
        return jnp.abs(found - expected) / jnp.abs(expected)

    errors = jax.lax.map(error, jax.random.split(keys[0], _NUM_DIRECTIONS))
    return Results(jnp.mean(plans.base.valid), jnp.max(errors, axis=0))


def _held_cost(
    searches: Searches,
    plans: Plan,
    held: differences.Held,
    x: Array,
    space: ActionSpace,
    params: models.Params,
    weights: Array,
) -> Array:
    """As `mean_cost`, with the base recourses moved by `differences.resolve`."""
    logit_fn = models.classifier(params)

    def one(row: tuple[Array, Plan, differences.Held, Array]) -> Array:
        weights, plan, held, x = row
        base = plan.base._replace(x=differences.resolve(held, logit_fn, x))
        return choice_cost(searches, plan._replace(base=base), logit_fn, weights, x, space)

    return jnp.sum(map_users(one, (weights, plans, held, x))) / jnp.maximum(jnp.sum(plans.base.valid), 1)
