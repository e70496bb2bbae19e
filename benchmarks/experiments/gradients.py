"""Accuracy, run time and use of gradients through the pipeline: `python -m benchmarks gradients`.

End to end, in float64 (`pipeline`): the gradient of the cost of the expected choice, against central differences.
Training: accuracy and mean cost of recourse of classifiers trained with and without that cost in the loss, measured
with growing spheres.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from benchmarks.cohort import training_for
from benchmarks.experiments import cells, pipeline
from benchmarks.options import OUT, SEEDS, Out, Seeds
from benchmarks.pages import terminal
from benchmarks.specs import MODELS, GradientSpec, not_empty
from benchmarks.store import Row, Store
from benchmarks.timing import machine, timed
from hare_jax import data, models
from hare_jax.base import choose, require
from hare_jax.data import SOURCES
from hare_jax.recourse import growing_spheres
from hare_jax.recourse.cost import penalty as cost_penalty


def gradients(
    dataset: str = "adult",
    training: tuple[str, ...] = ("adult", "mortgage"),
    seeds: Seeds = SEEDS,
    recourse_weights: tuple[float, ...] = (0.3,),
    users: int = 1_000,
    candidates: int = 10,
    out: Out = OUT,
) -> int:
    """Check and time the gradient end to end, and train with the cost of recourse.

    Args:
        dataset: Data set of the gradient end to end.
        training: Data sets to train on.
        seeds: Seeds of training; the first is also that of the gradient end to end.
        recourse_weights: Weights of the cost of recourse in the training loss.
        users: Refused rows.
        candidates: Candidates that each user compares.
        out: Folder of the results.
    """
    not_empty(seeds=seeds)
    for name in (dataset, *training):
        choose("datasets", name, SOURCES)
    require(min(users, candidates) > 0, "users, candidates", "must be at least 1", (users, candidates))
    shared: dict[str, Any] = {"users": users, "device": machine()["device"]}
    whole = GradientSpec(experiment="end to end", dataset=dataset, seed=seeds[0], candidates=candidates, **shared)
    wanted = [
        GradientSpec(experiment="training", dataset=name, seed=seed, recourse_weight=weight, **shared)
        for name in training
        for weight in (0.0, *recourse_weights)
        for seed in seeds
    ]
    store = Store(out)
    missing = [spec for spec in wanted if asdict(spec) not in store]
    if asdict(whole) not in store:
        with jax.enable_x64(True):
            store.append(asdict(whole) | pipeline.figures(whole) | machine())
    for row in _training_rows(missing):
        store.append(row)
    store.merge({"gradients"})
    terminal.show_gradients(out, [asdict(spec) for spec in (whole, *wanted)])
    return 0


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
