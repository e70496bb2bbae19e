"""The gradient end to end: base recourse, candidates, boundary, expected choice, and the cost of the choice.

It is taken with respect to the classifier's and the users' weights, and compared with central differences in random
directions. The plan (the base recourse and the directions of the candidates) is held constant in both, and ordered
columns are continuous.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.cohort import training_for
from benchmarks.specs import MODELS, GradientSpec
from benchmarks.timing import timed
from hare_jax import data, models, people
from hare_jax.base import Recourse
from hare_jax.elicit.candidates import Sampling, directions
from hare_jax.evaluate.sharding import map_users
from hare_jax.people.choice import beats_matrix, expected_choice
from hare_jax.people.objective import Objective, column_costs
from hare_jax.recourse import wachter
from hare_jax.recourse.cost import smoothed
from hare_jax.recourse.descent import Descent
from hare_jax.solvers.boundary import boundary, scale_back
from hare_jax.space import ActionSpace, project

_SHARPNESS = 10.0
_STEP = 1e-7  # of the central differences: so small that almost no user crosses a kink
_OVERSHOOT = 1.1  # fraction of the way to the base recourse, so that the segment crosses the boundary
_NUM_DIRECTIONS = 4  # of the central differences
_WEIGHTS = (0, 1)  # differentiated arguments of the cost: the classifier's weights, the users'
_RUNS = 3  # of which the fastest is reported
_QUARTER = 4


class Steps(NamedTuple):
    """Number of steps of each solver."""

    descent: int = 200
    sampling: int = 100
    bisections: int = 48


class Plan(NamedTuple):
    """Target points of one user's recourses, held constant in the classifier."""

    x_cf: Array  # (d,)
    valid: Array  # () bool
    unit: Array  # (N, d)


class Problem(NamedTuple):
    """The arguments of the cost, for n users."""

    params: models.Params
    weights: Array  # (n, d) of the users
    keys: Array  # (n,)
    x: Array  # (n, d)
    space: ActionSpace


def figures(spec: GradientSpec) -> dict[str, Any]:
    """The results of a row: cost, errors of its gradient, run times and memory; to be called in x64."""
    problem = _problem(spec)
    steps, weights = Steps(), (problem.params, problem.weights)
    plans = jax.jit(_plans, static_argnums=(1, 2))(problem, spec.candidates, steps)
    part = partial(_choice_cost, plans=plans, x=problem.x, space=problem.space, steps=steps)
    whole = partial(_whole_cost, num_candidates=spec.candidates, steps=steps)
    short = partial(_whole_cost, num_candidates=spec.candidates, steps=Steps(*(n // _QUARTER for n in steps)))
    slope = jax.jit(jax.grad(part, argnums=_WEIGHTS))(*weights)
    errors = [_difference_error(jax.jit(part), weights, slope, index) for index in _WEIGHTS]
    part_s, whole_s = _forward_and_reverse(part, weights), _forward_and_reverse(whole, problem)
    return {
        "valid": float(jnp.mean(plans.valid)),
        "cost": float(part(*weights)),
        "finite": all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slope)),
        "error_classifier": errors[0],
        "error_users": errors[1],
        "forward_s": part_s[0],
        "reverse_ratio": round(part_s[1] / part_s[0], 2),
        "whole_forward_s": whole_s[0],
        "whole_reverse_ratio": round(whole_s[1] / whole_s[0], 2),
        "memory_mib": round(_memory_mib(whole, problem), 1),
        "memory_mib_quarter_steps": round(_memory_mib(short, problem), 1),
    }


def _problem(spec: GradientSpec) -> Problem:
    table = data.load(spec.dataset)
    hp = training_for(table, MODELS["mlp"])
    params = jax.jit(models.fit)(hp, jax.random.key(spec.seed), table.x_train, table.y_train)
    refused = table.x_test[jax.vmap(models.classifier(params))(table.x_test) < 0]
    x = jnp.resize(refused, (spec.users, refused.shape[1]))
    key_weights, key_plan = jax.random.split(jax.random.key(spec.seed))
    weights = jax.vmap(people.cost_weights)(jax.random.split(key_weights, spec.users), x)
    return Problem(params, weights, jax.random.split(key_plan, spec.users), x, smoothed(table.space))


def _plans(problem: Problem, num_candidates: int, steps: Steps) -> Plan:
    logit_fn, space = models.classifier(jax.lax.stop_gradient(problem.params)), problem.space
    method, sampling = wachter.Wachter(descent=Descent(num_steps=steps.descent)), Sampling(num_steps=steps.sampling)

    def one(row: tuple[Array, Array]) -> Plan:
        key_base, key_candidates = jax.random.split(row[0])
        base = wachter.generate(method, key_base, logit_fn, row[1], space)
        noise = jax.random.normal(key_candidates, (num_candidates, row[1].shape[0]), row[1].dtype)
        beyond = project(space, row[1], row[1] + _OVERSHOOT * (base.x - row[1]))
        return Plan(beyond, base.valid, directions(sampling, noise, logit_fn, row[1], base.x, space))

    return jax.lax.stop_gradient(map_users(one, (problem.keys, problem.x)))


def _choice_cost(
    params: models.Params, weights: Array, plans: Plan, x: Array, space: ActionSpace, steps: Steps
) -> Array:
    """Mean cost of the expected choice over the users with a recourse: ()."""
    logit_fn = models.classifier(params)

    def one(row: tuple[Array, Plan, Array]) -> Array:
        weights, plan, x = row
        return _user_cost(logit_fn, weights, plan, x, space, steps)

    cost = map_users(one, (weights, plans, x))
    return jnp.sum(cost) / jnp.sum(plans.valid)


def _user_cost(logit_fn: Any, weights: Array, plan: Plan, x: Array, space: ActionSpace, steps: Steps) -> Array:
    """Cost of one user's expected choice among the base recourse and the candidates: (), 0 without a recourse."""
    base = scale_back(logit_fn, x, Recourse(plan.x_cf, plan.valid), space, num_steps=steps.bisections).x
    ends = jax.vmap(lambda unit: project(space, x, base + unit))(plan.unit)
    found = jax.vmap(lambda end: boundary(logit_fn, x, end, space, num_steps=steps.bisections))(ends)
    offered = jnp.concatenate([base[None, :], found.x])
    cost = jax.vmap(lambda point: jnp.sum(weights * column_costs(Objective(), x, point)))(offered)
    valid = jnp.concatenate([plan.valid[None], found.valid])
    chosen = expected_choice(beats_matrix(cost, jnp.asarray(_SHARPNESS, x.dtype), valid))
    return jnp.where(plan.valid, chosen @ cost, 0)


def _whole_cost(
    params: models.Params,
    weights: Array,
    keys: Array,
    x: Array,
    space: ActionSpace,
    *,
    num_candidates: int,
    steps: Steps,
) -> Array:
    """As `_choice_cost`, including the computation of the plans: ()."""
    plans = _plans(Problem(params, weights, keys, x, space), num_candidates, steps)
    return _choice_cost(params, weights, plans, x, space, steps)


def _difference_error(fn: Callable, args: tuple, slope: tuple, index: int) -> float:
    """The largest relative error of the slope in argument `index`, against central differences in random directions."""
    leaves, shape = jax.tree.flatten(args[index])
    rng, errors = np.random.default_rng(index), []
    for _ in range(_NUM_DIRECTIONS):
        way = jax.tree.unflatten(shape, [jnp.asarray(rng.normal(size=leaf.shape)) for leaf in leaves])
        ends = []
        for size in (-_STEP, _STEP):
            moved = jax.tree.map(lambda leaf, way, size=size: leaf + size * way, args[index], way)
            ends.append(fn(*args[:index], moved, *args[index + 1 :]))
        expected = float(ends[1] - ends[0]) / (2 * _STEP)
        products = jax.tree.map(lambda a, b: float(jnp.sum(a * b)), slope[index], way)
        errors.append(abs(sum(jax.tree.leaves(products)) - expected) / abs(expected))
    return max(errors)


def _forward_and_reverse(fn: Callable, args: tuple) -> tuple[float, float]:
    """Seconds of a function alone, and together with its gradient."""
    forward, reverse = jax.jit(fn), jax.jit(jax.value_and_grad(fn, argnums=_WEIGHTS))
    return _seconds(forward, *args), _seconds(reverse, *args)


def _seconds(fn: Callable, *args: Any) -> float:
    return round(min(timed(fn, *args).run_s for _ in range(_RUNS)), 4)


def _memory_mib(fn: Callable, args: tuple) -> float:
    """Working memory of the gradient's program; 0 if the platform does not report it."""
    compiled = jax.jit(jax.grad(fn, argnums=_WEIGHTS)).lower(*args).compile()
    return getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) / 1024**2
