"""`python -m benchmarks authors`: the cells that the authors saved results of, with none of the switches, each, all."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Annotated

import numpy as np
import tyro

from benchmarks.authors import sessions
from benchmarks.authors.switches import NAMES, bundle
from benchmarks.cohort import prepare
from benchmarks.experiments import runner
from benchmarks.experiments.cells import rounded
from benchmarks.options import OUT, USERS, Datasets, Out, Users
from benchmarks.pages import authors as page
from benchmarks.pages import figures
from benchmarks.specs import Spec, check, not_empty
from benchmarks.store import Row, Store
from benchmarks.tables import DATASETS
from benchmarks.timing import compile_quickly, machine
from hare_jax.app.options import Cache

TABLE = "authors"
SEEDS = (1, 2, 3, 4)  # those of the authors' results
_LONG = 300  # questions
Switches = Annotated[tuple[str, ...], tyro.conf.arg(help="Switches turned on alone, `none` of them, or `all`.")]
Largest = Annotated[int, tyro.conf.arg(help="Cells with more questions are left out.")]


def authors(
    switches: Switches = NAMES,
    datasets: Datasets = DATASETS,
    users: Users = USERS,
    largest: Largest = 500,
    out: Out = OUT,
    cache: Cache = True,
) -> int:
    """The authors' results, and ours with the behaviour of their code turned on, switch by switch."""
    not_empty(switches=switches, datasets=datasets)
    compile_quickly(cache)
    wanted = [spec for spec in cells(switches, users) if spec.dataset in datasets and spec.budget <= largest]
    unavailable = runner.fetch(datasets)
    store = Store(out)
    for row in rows(spec for spec in wanted if spec.dataset not in unavailable and asdict(spec) not in store):
        store.append(row)
    store.merge({TABLE})
    print(page.write(out))
    return 1 if unavailable else 0


def cells(switches: Iterable[str], users: int) -> list[Spec]:
    """A spec for each cell of the authors' results and each bundle of switches, whose name is its mode.

    Those of one data set and classifier are neighbours, and those of one program; the longest sessions come last.

    Raises:
        ValueError: there is no such bundle.
    """
    modes = {name: bundle(name) for name in switches}
    saved = figures.original().query("source == 'authors'")[figures.CELL].drop_duplicates()
    found = [check(Spec(table=TABLE, mode="paper", users=users, **cell)) for cell in saved.to_dict("records")]
    found.sort(key=lambda spec: (spec.budget >= _LONG, spec.dataset, *_program(spec)))
    return [replace(spec, mode=name) for spec in found for name in modes]


def rows(specs: Iterable[Spec]) -> Iterator[Row]:
    """A row for each spec: means over users, then over `SEEDS`, of the metrics that the authors saved for its cell."""
    group, of = None, ("", "")
    for spec in specs:
        start = time.perf_counter()
        if group is None or of != (spec.dataset, spec.model):
            group, of = sessions.Group(prepare(replace(spec, mode="paper"), SEEDS)), (spec.dataset, spec.model)
        metrics = page.saved_metrics(spec)
        by_seed = [group.figures(replace(spec, seed=seed), bundle(spec.mode), metrics) for seed in SEEDS]
        known = {name: [each[name] for each in by_seed if name in each] for name in metrics}
        means = {name: rounded(np.mean(values)) for name, values in known.items() if values}
        seconds = time.perf_counter() - start
        print(f"{spec.dataset} {spec.model} {spec.method} {spec.arm} {spec.mode} {seconds:.1f} s", file=sys.stderr)
        yield {**asdict(spec), **means, "seeds": len(SEEDS), **machine()}


def _program(spec: Spec) -> tuple:
    return spec.model, spec.budget, spec.arm, spec.method
