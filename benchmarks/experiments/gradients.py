"""Whether gradients through the pipeline are right and cheap, and what they buy: `python -m benchmarks gradients`.

End to end, in float64: base recourse, candidates, boundary, expected choice; the gradient of what the choice costs, in
the classifier's and in the users' weights, against central differences in random directions. The plan (where the base
method and the candidates head for) is held constant in both, and ordered columns are continuous. Training: accuracy
and mean cost of recourse of classifiers that were trained with and without that cost in the loss, measured with growing
spheres.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.table import Table

import hare_jax
from benchmarks.cohort import training_for
from benchmarks.specs import MODELS
from benchmarks.store import append_row
from benchmarks.timing import timed
from hare_jax import data, models, people
from hare_jax.base import require
from hare_jax.elicit.candidates import Sampling, directions
from hare_jax.evaluate.sharding import map_users
from hare_jax.people.choice import beats_matrix, expected_choice
from hare_jax.people.objective import Objective, column_costs
from hare_jax.recourse import growing_spheres, wachter
from hare_jax.recourse.cost import on_boundary, smoothed
from hare_jax.recourse.cost import penalty as cost_penalty
from hare_jax.recourse.descent import Descent
from hare_jax.solvers.boundary import boundary
from hare_jax.space import ActionSpace, project

_SHARPNESS = 10.0
_STEP = 1e-7  # of the differences: so short that next to nobody crosses a kink
_NUM_DIRECTIONS = 4  # of the differences


class Steps(NamedTuple):
    """How long each solver runs."""

    descent: int = 200
    sampling: int = 100
    bisections: int = 48


class Plan(NamedTuple):
    """Where one person heads for; it does not depend on the classifier any more."""

    x_cf: Array  # (d,)
    valid: Array  # () bool
    unit: Array  # (N, d)


def gradients(
    dataset: str = "adult",
    training: tuple[str, ...] = ("adult", "mortgage"),
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5),
    recourse_weights: tuple[float, ...] = (0.2,),
    users: int = 1_000,
    candidates: int = 10,
    out: Path = Path("benchmarks/results"),
) -> int:
    """Check and time the gradient end to end, train with the cost of recourse, and append to `gradients.jsonl`.

    Args:
        dataset: Data set of the gradient end to end.
        training: Data sets to train on.
        seeds: Seeds of training; the first is that of the gradient.
        recourse_weights: Of the cost of recourse in the training loss.
        users: Refused people.
        candidates: Candidates that each of them compares.
        out: Folder of the results.
    """
    require(len(seeds) > 0, "seeds", "must hold at least one", seeds)
    machine = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "version": hare_jax.__version__}
    with jax.enable_x64(True):
        row = _end_to_end(dataset, seeds[0], users, candidates)
    append_row(out / "gradients.jsonl", row | machine)
    shown = Table("figure", "value", title=f"Gradient end to end, {dataset}, {users} users, float64")
    for name, value in row.items():
        shown.add_row(name, str(value))
    console = Console(width=110)
    console.print(shown)
    for name in training:
        rows = _training(name, seeds, recourse_weights, users)
        for row in rows:
            append_row(out / "gradients.jsonl", row | machine)
        console.print(_training_table(name, rows))
    return 0


def _end_to_end(dataset: str, seed: int, num_users: int, num_candidates: int) -> dict[str, Any]:
    table = data.load(dataset)
    hp = training_for(table, MODELS["mlp"])
    params = jax.jit(models.fit)(hp, jax.random.key(seed), table.x_train, table.y_train)
    refused = table.x_test[jax.vmap(models.classifier(params))(table.x_test) < 0]
    x = jnp.resize(refused, (num_users, refused.shape[1]))
    key_weights, key_plan = jax.random.split(jax.random.key(seed))
    weights = jax.vmap(people.cost_weights)(jax.random.split(key_weights, num_users), x)
    keys = jax.random.split(key_plan, num_users)
    space, steps = smoothed(table.space), Steps()
    args = params, weights, keys, x, space
    plans = jax.jit(_plans, static_argnums=(4, 5))(params, keys, x, space, num_candidates, steps)
    cost = partial(_choice_cost, plans=plans, x=x, space=space, steps=steps)
    slope = jax.jit(jax.grad(cost, argnums=(0, 1)))(params, weights)
    errors = [_difference_error(jax.jit(cost), (params, weights), slope, index) for index in (0, 1)]

    def whole(params: Any, weights: Array, keys: Array, x: Array, space: ActionSpace, steps: Steps = steps) -> Array:
        plans = _plans(params, keys, x, space, num_candidates, steps)
        return _choice_cost(params, weights, plans, x, space, steps)

    part_s = [_seconds(jax.jit(fn), params, weights) for fn in (cost, jax.value_and_grad(cost, argnums=(0, 1)))]
    whole_s = [_seconds(jax.jit(fn), *args) for fn in (whole, jax.value_and_grad(whole, argnums=(0, 1)))]
    short, long = (_memory_mib(partial(whole, steps=Steps(*(n // 4 for n in steps))), args), _memory_mib(whole, args))
    return {
        "experiment": "end to end",
        "dataset": dataset,
        "seed": seed,
        "users": num_users,
        "candidates": num_candidates,
        "valid": float(jnp.mean(plans.valid)),
        "cost": float(cost(params, weights)),
        "finite": bool(all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slope))),
        "error_classifier": errors[0],
        "error_users": errors[1],
        "forward_s": part_s[0],
        "reverse_ratio": round(part_s[1] / part_s[0], 2),
        "whole_forward_s": whole_s[0],
        "whole_reverse_ratio": round(whole_s[1] / whole_s[0], 2),
        "memory_mib": round(long, 1),
        "memory_mib_quarter_steps": round(short, 1),
    }


def _plans(params: Any, keys: Array, x: Array, space: ActionSpace, num_candidates: int, steps: Steps) -> Plan:
    logit_fn = models.classifier(jax.lax.stop_gradient(params))
    method, sampling = wachter.Wachter(descent=Descent(num_steps=steps.descent)), Sampling(num_steps=steps.sampling)

    def one(row: tuple[Array, Array]) -> Plan:
        key_base, key_candidates = jax.random.split(row[0])
        base = wachter.generate(method, key_base, logit_fn, row[1], space)
        noise = jax.random.normal(key_candidates, (num_candidates, row[1].shape[0]), row[1].dtype)
        return Plan(base.x, base.valid, directions(sampling, noise, logit_fn, row[1], base.x, space))

    return jax.lax.stop_gradient(map_users(one, (keys, x)))


def _choice_cost(params: Any, weights: Array, plans: Plan, x: Array, space: ActionSpace, steps: Steps) -> Array:
    """Mean over the people with a recourse of what they choose in the end costs them: ()."""
    logit_fn, hp = models.classifier(params), Objective()

    def one(row: tuple[Array, Array, Plan]) -> Array:
        x, weights, plan = row
        base = on_boundary(logit_fn, x, plan.x_cf, space, num_steps=steps.bisections)
        ends = jax.vmap(lambda unit: project(space, x, base + unit))(plan.unit)
        found = jax.vmap(lambda end: boundary(logit_fn, x, end, space, num_steps=steps.bisections))(ends)
        offered = jnp.concatenate([base[None, :], found.x])
        cost = jax.vmap(lambda point: jnp.sum(weights * column_costs(hp, x, point)))(offered)
        valid = jnp.concatenate([plan.valid[None], found.valid])
        chosen = expected_choice(beats_matrix(cost, jnp.asarray(_SHARPNESS, x.dtype), valid))
        return jnp.where(plan.valid, chosen @ cost, 0)

    return jnp.sum(map_users(one, (x, weights, plans))) / jnp.sum(plans.valid)


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
        found = sum(
            float(jnp.sum(a * b)) for a, b in zip(jax.tree.leaves(slope[index]), jax.tree.leaves(way), strict=True)
        )
        errors.append(abs(found - expected) / abs(expected))
    return max(errors)


def _seconds(fn: Callable, *args: Any) -> float:
    return round(min(timed(fn, *args).run_s for _ in range(3)), 4)


def _memory_mib(fn: Callable, args: tuple) -> float:
    """Working memory of the gradient's program; 0 where the platform does not tell."""
    compiled = jax.jit(jax.grad(fn, argnums=(0, 1))).lower(*args).compile()
    return getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) / 1024**2


def _training(
    dataset: str, seeds: tuple[int, ...], recourse_weights: tuple[float, ...], num_users: int
) -> list[dict[str, Any]]:
    table = data.load(dataset)
    plain = training_for(table, MODELS["mlp"])
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    fit = jax.jit(jax.vmap(models.fit, in_axes=(None, 0, None, None, None)))
    rows = []
    for weight in (None, *recourse_weights):
        penalty = None if weight is None else cost_penalty(weight, table.space)
        timing = timed(fit, plain, keys, table.x_train, table.y_train, penalty)
        for index, seed in enumerate(seeds):
            logit_fn = models.classifier(jax.tree.map(lambda leaf, index=index: leaf[index], timing.value))
            row = {"experiment": "training", "dataset": dataset, "seed": seed, "recourse_weight": weight or 0.0}
            for measure in (models.accuracy, models.balanced_accuracy):
                row[measure.__name__] = float(measure(logit_fn, table.x_test, table.y_test))
            row |= _spheres_cost(logit_fn, table, num_users)
            rows.append(row | {"fit_s": round(timing.run_s / len(seeds), 3)})
    return rows


def _spheres_cost(logit_fn: Partial, table: data.Table, num_users: int) -> dict[str, Any]:
    """Mean L1 cost of growing spheres for the first refused test rows."""
    refused = table.x_test[jax.vmap(logit_fn)(table.x_test) < 0]
    num = min(num_users, len(refused))
    rows = jnp.resize(refused, (num_users, refused.shape[1]))
    found = _spheres(logit_fn, jax.random.split(jax.random.key(0), num_users), rows, table.space)
    cost = np.asarray(jnp.sum(jnp.abs(found.x - rows), axis=1))[:num]
    valid = np.asarray(found.valid)[:num]
    return {"cost": float(cost[valid].mean()), "cost_n": int(valid.sum()), "users": num, "refused": len(refused)}


@jax.jit
def _spheres(logit_fn: Partial, keys: Array, x: Array, space: ActionSpace) -> Any:
    hp = growing_spheres.GrowingSpheres()
    return map_users(lambda row: growing_spheres.generate(hp, row[0], logit_fn, row[1], space), (keys, x))


def _training_table(dataset: str, rows: list[dict[str, Any]]) -> Table:
    names = "recourse weight", "accuracy", "balanced accuracy", "cost", "cut", "refused"
    shown = Table(*names, title=f"Training, {dataset}, mean over seeds")

    def mean(name: str, weight: float) -> float:
        return float(np.mean([row[name] for row in rows if row["recourse_weight"] == weight]))

    for weight in dict.fromkeys(row["recourse_weight"] for row in rows):
        cut = 1 - mean("cost", weight) / mean("cost", 0.0)
        accuracies = f"{mean('accuracy', weight):.4f}", f"{mean('balanced_accuracy', weight):.4f}"
        figures = f"{mean('cost', weight):.4f}", f"{cut:.0%}", f"{mean('refused', weight):.0f}"
        shown.add_row(str(weight), *accuracies, *figures)
    return shown
