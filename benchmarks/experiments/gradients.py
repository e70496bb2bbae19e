"""Accuracy, run time and use of gradients through the pipeline: `python -m benchmarks gradients`.

Each method (`methods_gradient`): time, memory and errors of the gradient of the mean cost.
Repeated search, in float64 (`resolved`): the derivative of the least cost, against searches at both ends of a step.
End to end, in float64 (`pipeline`): the gradient of the cost of the expected choice, against central differences.
Training: accuracy and mean cost of recourse of classifiers trained with and without that cost in the loss, measured
with growing spheres.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import training_for
from benchmarks.experiments import cells, methods_gradient, pipeline, resolved
from benchmarks.options import OUT, SEEDS, Methods, Out, Seeds
from benchmarks.pages import terminal
from benchmarks.specs import MODELS, GradientSpec, named_methods, not_empty
from benchmarks.store import Row, Store
from benchmarks.timing import compiling_anew, machine, timed
from hare_jax import data, models
from hare_jax.base import choose, require
from hare_jax.data import SOURCES
from hare_jax.recourse import growing_spheres
from hare_jax.recourse.cost import penalty as cost_penalty

_REPEATED_USERS = 200  # at most, of the repeated search
_USERS_EACH = 100  # at most, of each of many classifiers


@compiling_anew()
def gradients(
    dataset: str = "adult",
    methods: Methods = ("all",),
    repeated: tuple[str, ...] = ("heloc", "adult"),
    training: tuple[str, ...] = ("adult", "mortgage"),
    seeds: Seeds = SEEDS,
    recourse_weights: tuple[float, ...] = (0.2, 0.3),
    users: int = 1_000,
    candidates: int = 10,
    classifiers: int = 32,
    out: Out = OUT,
) -> int:
    """Check and time the gradients of the methods and end to end, and train with the cost of recourse.

    Args:
        dataset: Data set of the gradients of the methods and end to end.
        methods: Base methods, or all.
        repeated: Data sets of the derivative of the least cost, against the repeated search.
        training: Data sets to train on.
        seeds: Seeds of training; the first is also that of the other gradients.
        recourse_weights: Weights of the cost of recourse in the training loss.
        users: Refused rows.
        candidates: Candidates that each user compares.
        classifiers: Classifiers of the second gradient end to end, with at most 100 users each.
        out: Folder of the results.
    """
    methods = named_methods(methods)
    not_empty(seeds=seeds)
    for name in (dataset, *repeated, *training):
        choose("datasets", name, SOURCES)
    numbers = users, candidates, classifiers
    require(min(numbers) > 0, "users, candidates, classifiers", "must be at least 1", numbers)
    shared: dict[str, Any] = {"users": users, "device": machine()["device"]}
    single: dict[str, Any] = {"dataset": dataset, "seed": seeds[0], **shared}
    through = [
        *_through_methods(methods, single),
        *_repeated_searches(repeated, single),
        *_end_to_end(candidates, classifiers, single),
    ]
    wanted = [
        GradientSpec(experiment="training", dataset=name, seed=seed, recourse_weight=weight, **shared)
        for name in training
        for weight in (0.0, *recourse_weights)
        for seed in seeds
    ]
    store = Store(out)
    missing = [spec for spec in wanted if asdict(spec) not in store]
    for spec in (spec for spec in through if asdict(spec) not in store):
        store.append(asdict(spec) | _figures(spec) | machine())
    for row in _training_rows(missing):
        store.append(row)
    store.merge({"gradients"})
    terminal.show_gradients(out, [asdict(spec) for spec in (*through, *wanted)])
    return 0


def _through_methods(methods: tuple[str, ...], shared: dict[str, Any]) -> list[GradientSpec]:
    return [GradientSpec(experiment="method", method=name, **shared) for name in methods]


def _repeated_searches(datasets: tuple[str, ...], shared: dict[str, Any]) -> list[GradientSpec]:
    """The specs of the methods of least cost: `ar` is exact for linear classifiers alone."""
    settings = ("ar", "linear"), ("least_cost", "linear"), ("least_cost", "mlp")
    shared = shared | {"users": min(shared["users"], _REPEATED_USERS)}
    return [
        GradientSpec(experiment="repeated search", method=method, model=model, **shared | {"dataset": name})
        for name in datasets
        for method, model in settings
    ]


def _end_to_end(candidates: int, classifiers: int, shared: dict[str, Any]) -> list[GradientSpec]:
    """The specs of one classifier with all users, and of several with fewer users each."""
    one = GradientSpec(experiment="end to end", candidates=candidates, **shared)
    return [one, replace(one, classifiers=classifiers, users=min(one.users, _USERS_EACH))]


def _figures(spec: GradientSpec) -> Row:
    if spec.experiment == "method":
        return methods_gradient.figures(spec)
    with jax.enable_x64(True):
        return resolved.figures(spec) if spec.experiment == "repeated search" else pipeline.figures(spec)


def _training_rows(missing: list[GradientSpec]) -> Iterator[Row]:
    """A row for each spec; all seeds of a data set and weight are trained at once."""
    groups: dict[tuple[str, float], list[GradientSpec]] = {}
    for spec in missing:
        groups.setdefault((spec.dataset, spec.recourse_weight), []).append(spec)
    for (dataset, weight), specs in groups.items():
        table = data.load(dataset)
        penalty = cost_penalty(weight, table.space) if weight > 0 else None
        keys = jax.vmap(jax.random.key)(jnp.array([spec.seed for spec in specs]))
        timing = timed(_fit_all, training_for(table, MODELS["mlp"]), keys, table.x_train, table.y_train, penalty)
        for index, spec in enumerate(specs):
            logit_fn = models.classifier(jax.tree.map(lambda leaf, index=index: leaf[index], timing.value))
            figures = _accuracies(logit_fn, table) | _spheres_cost(logit_fn, table, spec.users)
            yield asdict(spec) | figures | {"fit_s": round(timing.run_s / len(specs), 3)} | machine()


@jax.jit
def _fit_all(hp: models.Training, keys: Array, x: Array, y: Array, penalty: Partial | None) -> models.Params:
    return jax.vmap(lambda key: models.fit(hp, key, x, y, penalty))(keys)


def _accuracies(logit_fn: Partial, table: data.Table) -> Row:
    measures = models.accuracy, models.balanced_accuracy
    return {measure.__name__: cells.rounded(measure(logit_fn, table.x_test, table.y_test)) for measure in measures}


def _spheres_cost(logit_fn: Partial, table: data.Table, num_users: int) -> Row:
    """Mean L1 cost of growing spheres for the first refused test rows."""
    refused = table.x_test[jax.vmap(logit_fn)(table.x_test) < 0]
    num = min(num_users, len(refused))
    rows = jnp.resize(refused, (num_users, refused.shape[1]))
    generate = Partial(growing_spheres.generate, growing_spheres.GrowingSpheres())
    found = cells.generate_all(generate, jax.random.key(0), logit_fn, rows, table.space)
    cost = np.asarray(jnp.sum(jnp.abs(found.x - rows), axis=1))[:num]
    valid = np.asarray(found.valid)[:num]
    return {"cost": cells.rounded(cost[valid].mean()), "cost_n": int(valid.sum()), "refused": len(refused)}
