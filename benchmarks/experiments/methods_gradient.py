"""The gradient through a method of METHODS: run time, compile time, memory, and errors.

The function is the mean L1 cost of the recourses of all rows, `mean sum |x_cf - x|` over the rows with a recourse, as
one program; its gradient is in the classifier's parameters and in the rows. The errors are those of the gradient of
single rows against central differences, in float64, with the result of the search held (`differences`).
"""

from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import training_for
from benchmarks.experiments import cells, differences
from benchmarks.specs import MODELS, GradientSpec
from benchmarks.store import Row
from benchmarks.timing import best_of_each, compiled
from hare_jax import data, models
from hare_jax.base import LogitFn, Recourse
from hare_jax.evaluate import simulate
from hare_jax.evaluate.sharding import map_users
from hare_jax.recourse import METHODS, roar
from hare_jax.space import ActionSpace

_WEIGHTS = (0, 1)  # differentiated arguments: the classifier's parameters, the rows
_RUNS = 5  # of which the fastest is reported
_MICRO = 1e6  # microseconds per second
_QUARTER = 4
_LOOPS = ("num_steps", "num_attempts", "num_rounds", "num_nodes", "num_shrinks", "num_blocks", "num_boundary_steps")
_NUM_CHECKED = 200  # rows that are compared with central differences, at most
_LEAST = 1e-3  # central differences below it are inexact by rounding: errors are relative to at least this
_SCORES = {"roar": roar.robust_score}  # what reaches the margin at the recourse; the logit for all other methods


class Problem(NamedTuple):
    """The arguments of the mean cost, for n rows."""

    params: models.Params
    x: Array  # (n, d)
    generate: Partial  # the fitted method
    key: Array  # ()
    space: ActionSpace


class Slopes(NamedTuple):
    """Derivatives of a row's cost in a random direction of the classifier's parameters and one of the row."""

    gradient: Array  # (2,) by jax.grad
    difference: Array  # (2,) central differences


def figures(spec: GradientSpec) -> Row:
    """The results of a row."""
    problem = _problem(spec)
    both = jax.value_and_grad(mean_cost, argnums=_WEIGHTS)
    programs = [compiled(fn, *problem) for fn in (mean_cost, both)]
    seconds = best_of_each([program.run for program in programs], *problem, runs=_RUNS)
    shorter = problem._replace(generate=Partial(problem.generate.func, quarter_steps(problem.generate.args[0])))
    cost, (slope_params, slope_x) = programs[1].run(*problem)
    return {
        "cost": cells.rounded(cost),
        "value_us": round(seconds[0] / spec.users * _MICRO, 2),
        "gradient_us": round(seconds[1] / spec.users * _MICRO, 2),
        "ratio": round(seconds[1] / seconds[0], 2),
        "value_compile_s": round(programs[0].compile_s, 2),
        "gradient_compile_s": round(programs[1].compile_s, 2),
        "value_memory_mib": round(programs[0].memory_mib, 1),
        "memory_mib": round(programs[1].memory_mib, 1),
        "memory_mib_quarter_steps": round(compiled(both, *shorter).memory_mib, 1),
        "finite_share": _finite_share(slope_params, slope_x),
        **_errors(spec.method, problem),
    }


def mean_cost(params: models.Params, x: Array, generate: Partial, key: Array, space: ActionSpace) -> Array:
    """Mean L1 cost () of the recourses of the rows `x` (n, d) with one; 0 if there is none."""
    found = simulate.generate_all(generate, key, models.classifier(params), x, space)
    cost = jnp.where(found.valid, jnp.sum(jnp.abs(found.x - x), axis=1), 0)
    return jnp.sum(cost) / jnp.maximum(jnp.sum(found.valid), 1)


def quarter_steps(given: Any) -> Any:
    """A fitted method, or its hyperparameters, with a quarter of the steps of each loop."""
    if is_dataclass(given) and not isinstance(given, type):
        values = {field.name: getattr(given, field.name) for field in fields(given)}
        quarters = {name: max(value // _QUARTER, 1) for name, value in values.items() if name in _LOOPS}
        return replace(given, **{name: quarter_steps(value) for name, value in values.items()} | quarters)
    return type(given)(*map(quarter_steps, given)) if hasattr(given, "_fields") else given


def _problem(spec: GradientSpec) -> Problem:
    table, key, method = data.load(spec.dataset), jax.random.key(spec.seed), METHODS[spec.method]
    params = jax.jit(models.fit)(training_for(table, MODELS["mlp"]), key, table.x_train, table.y_train)
    logit_fn = models.classifier(params)
    refused = table.x_test[jax.vmap(logit_fn)(table.x_test) < 0]
    fitted = method.fit(method.hyperparams(), key, logit_fn, table.x_train, table.space)
    x = jnp.resize(refused, (spec.users, refused.shape[1]))
    return Problem(params, x, Partial(method.generate, fitted), key, table.space)


def _finite_share(slope_params: models.Params, slope_x: Array) -> float:
    """Share of the rows with a finite gradient; 0 if that in the parameters, a sum over the rows, is not finite."""
    shared = all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slope_params))
    return float(jnp.mean(jnp.all(jnp.isfinite(slope_x), axis=1))) if shared else 0.0


def _errors(method: str, problem: Problem) -> Row:
    """Largest relative errors of the rows' gradients, and the share of the rows with a recourse, in float64."""
    with jax.enable_x64(True):
        wide: Problem = jax.tree.map(_widened, problem._replace(x=problem.x[:_NUM_CHECKED]))
        slopes, valid = jax.jit(_all_slopes, static_argnums=0)(method, wide)
        scale = jnp.maximum(jnp.abs(slopes.difference), _LEAST)
        worst = np.max(np.abs(slopes.gradient - slopes.difference) / scale, axis=0)
        return {
            "valid": cells.rounded(jnp.mean(valid)),
            "error_classifier": cells.rounded(worst[0]),
            "error_x": cells.rounded(worst[1]),
        }


def _widened(leaf: Any) -> Any:
    return leaf.astype(jnp.float64) if isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _all_slopes(method: str, problem: Problem) -> tuple[Slopes, Array]:
    keys = jax.random.split(problem.key, len(problem.x))
    return map_users(lambda row: _slopes(method, problem, *row), (keys, problem.x))


def _slopes(method: str, problem: Problem, key: Array, x: Array) -> tuple[Slopes, Array]:
    """The derivatives for the row `x` (d,), and whether it has a recourse: () bool."""
    key_search, key_direction = jax.random.split(key)
    at, fitted = (problem.params, x), problem.generate.args[0]
    hp = getattr(fitted, "hp", fitted)
    cost = partial(_cost, problem.generate, key_search, problem.space)
    slope, found = jax.grad(cost, argnums=_WEIGHTS, has_aux=True)(*at)
    score_fn = _score(method, hp, problem.params, found.x)
    result = differences.hold(hp, score_fn, x, found, problem.space)

    def held_cost(params: models.Params, x: Array) -> Array:
        point = differences.resolve(result, _score(method, hp, params, found.x), x)
        return jnp.sum(jnp.abs(point - x))

    way = differences.random_direction(key_direction, at)
    gradient = jnp.stack([differences.inner(slope[index], way[index]) for index in _WEIGHTS])
    return Slopes(
        gradient, jnp.stack([differences.central(held_cost, at, way, index) for index in _WEIGHTS])
    ), found.valid


def _cost(generate: Partial, key: Array, space: ActionSpace, params: models.Params, x: Array) -> tuple[Array, Recourse]:
    found = generate(key, models.classifier(params), x, space)
    return jnp.sum(jnp.abs(found.x - x)), found


def _score(method: str, hp: Any, params: models.Params, x_cf: Array) -> LogitFn:
    logit_fn = models.classifier(params)
    return _SCORES[method](hp, logit_fn, x_cf) if method in _SCORES else logit_fn
