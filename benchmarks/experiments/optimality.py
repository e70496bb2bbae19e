"""The cost of each method's recourses over the least possible one: `python -m benchmarks optimality`.

The rows are refused ones, the cost is L1 in encoded units, recourses are feasible, and the least cost is that of exact
recourse (`recourse.exact`), or its proof that there is none.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.progress import track

from benchmarks.cohort import prepare
from benchmarks.experiments import cells, runner
from benchmarks.options import OUT, Datasets, Methods, Models, Out, Seeds, Users
from benchmarks.pages import optimality as page
from benchmarks.specs import BASE, Spec, check, named_methods, not_empty
from benchmarks.store import Row, Store
from benchmarks.tables import DATASETS
from benchmarks.timing import compile_quickly, compiled, run_fields
from hare_jax.app.options import Cache
from hare_jax.base import LogitFn, Recourse
from hare_jax.recourse import exact
from hare_jax.solvers.boundary import scale_back
from hare_jax.space import ActionSpace

ROUNDING = 1e-4  # relative, of a cost: both costs are those of points whose logit is rounded in float32
_NEAR = 1.01  # times the least cost
_MILLI = 1e3  # milliseconds per second
_CARLA = tuple(name for name in DATASETS if name != "give_me_some_credit")


class Optimum(NamedTuple):
    """Exact recourses of n rows, and the time that they took."""

    cost: np.ndarray  # (n,) the least L1
    status: np.ndarray  # (n,) of `recourse.exact`
    valid: np.ndarray  # (n,) bool
    ms: float  # of wall time, a row
    cpu_ms: float  # of processor time, a row


def optimality(
    datasets: Datasets = (*_CARLA, "mortgage"),
    models: Models = ("mlp",),
    methods: Methods = ("all",),
    seeds: Seeds = (1, 2, 3),
    users: Users = 100,
    out: Out = OUT,
    cache: Cache = True,
) -> int:
    """Compare the cost of each method with the least one, and write a row per method and seed, and a table."""
    methods = named_methods(methods)
    not_empty(datasets=datasets, models=models, seeds=seeds)
    todo = {
        (dataset, model): [_spec(dataset, model, method, seed, users) for seed in seeds for method in methods]
        for dataset in datasets
        for model in models
    }
    unavailable = runner.fetch(datasets)
    compile_quickly(cache)
    store = Store(out)
    for names, specs in todo.items():
        if names[0] in unavailable:
            continue
        missing = [spec for spec in specs if asdict(spec) not in store]
        rows = _rows(missing) if missing else iter(())
        for row in track(rows, " ".join(names), len(missing), console=Console(stderr=True)):
            store.append(row)
    store.merge({"optimality"})
    print(page.write(out, users))
    return 1 if unavailable else 0


def _spec(dataset: str, model: str, method: str, seed: int, users: int) -> Spec:
    spec = Spec(table="optimality", dataset=dataset, model=model, method=method, arm=BASE, seed=seed, users=users)
    return check(spec)


def _rows(missing: Sequence[Spec]) -> Iterator[Row]:
    """A row for each spec of one data set and model."""
    group = cells.Group(prepare(missing[0], sorted({spec.seed for spec in missing})))
    optima: dict[int, Optimum] = {}
    for spec in missing:
        if spec.seed not in optima:
            optima[spec.seed] = _optimum(group, spec)
        cohort, base = group.cohort(spec), group.base(spec)
        found = jax.device_get(base.recourse.value)
        costs = np.abs(found.x - np.asarray(cohort.x)).sum(axis=1)
        figures = compare(costs, found.valid, np.asarray(cohort.present), optima[spec.seed])
        yield asdict(spec) | figures | run_fields(base.recourse, base.fit_s)


def _optimum(group: cells.Group, spec: Spec) -> Optimum:
    """Exact recourses for the rows of a spec; compiled first, and run once."""
    x = group.cohort(spec).x
    args = jax.random.key(spec.seed), group.setting.classifier(spec.seed), x, group.setting.space
    program = compiled(_exact_all, *args)
    wall, processor = time.perf_counter(), time.process_time()
    found, status = jax.block_until_ready(program.run(*args))
    seconds = np.array([time.perf_counter() - wall, time.process_time() - processor]) / len(x)
    cost = jnp.sum(jnp.abs(found.x - x), axis=1)
    ms, cpu_ms = (_MILLI * seconds).tolist()
    return Optimum(np.asarray(cost), np.asarray(status), np.asarray(found.valid), ms, cpu_ms)


@jax.jit
def _exact_all(key: Array, logit_fn: Partial, x: Array, space: ActionSpace) -> tuple[Recourse, Array]:
    keys = jax.random.split(key, len(x))
    return jax.vmap(partial(_exact, exact.Exact()), in_axes=(0, None, 0, None))(keys, logit_fn, x, space)


def _exact(hp: exact.Exact, key: Array, logit_fn: LogitFn, x: Array, space: ActionSpace) -> tuple[Recourse, Array]:
    """The exact recourse, as its `generate` scales it back, and its status."""
    found, status = exact.solve(hp, key, logit_fn, x, space)
    scaled = scale_back(logit_fn, x, found, space, margin=hp.margin, num_steps=hp.num_boundary_steps)
    return Recourse(scaled.x, scaled.valid & (logit_fn(scaled.x) >= 0)), status


def compare(costs: np.ndarray, valid: np.ndarray, present: np.ndarray, optimum: Optimum) -> dict[str, Any]:
    """The figures of a method with `costs` and `valid` (n,) for the rows `present` (n,).

    The ratios are over the rows with a recourse of the method and a proved optimum; `below` is the number of those that
    cost less than the optimum by more than rounding, `disproved` of those with a recourse where none exists.
    """
    exists = present & (optimum.status != exact.NONE_EXISTS)
    proved = present & (optimum.status == exact.OPTIMAL)
    compared = proved & valid
    ratio = costs[compared] / np.maximum(optimum.cost[compared], np.finfo(float).tiny)
    return {
        "rows": int(present.sum()),
        "none_exists": int((present & ~exists).sum()),
        "unproved": int((exists & ~proved).sum()),
        "disproved": int((present & ~exists & valid).sum()),
        "exact_accepted": _mean(optimum.valid[proved]),
        "exact_ms": cells.rounded(optimum.ms),
        "exact_cpu_ms": cells.rounded(optimum.cpu_ms),
        "valid": _mean(valid[exists]),
        "optimum": _mean(optimum.cost[compared]),
        "ratio": _mean(ratio),
        "ratio_n": len(ratio),
        "ratio_median": cells.rounded(np.median(ratio)) if len(ratio) else None,
        "ratio_max": cells.rounded(ratio.max()) if len(ratio) else None,
        "ratio_min": cells.rounded(ratio.min()) if len(ratio) else None,
        "within": _mean(ratio <= _NEAR),
        "below": int((ratio < 1 - ROUNDING).sum()),
    }


def _mean(values: np.ndarray) -> float | None:
    """The mean of values; None if there are none."""
    return cells.rounded(np.mean(values)) if len(values) else None
