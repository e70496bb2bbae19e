"""Runs the experiments of tables: base method, arm and metrics, one row per spec.

The specs of one data set, model and mode form a group: they share data, classifiers and compiled programs. Groups run
in parallel processes.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import Progress

from benchmarks.cohort import prepare
from benchmarks.experiments import cells
from benchmarks.experiments.pool import side_by_side
from benchmarks.specs import BASE, Spec
from benchmarks.store import Store
from benchmarks.timing import run_fields
from hare_jax import data
from hare_jax.app.options import one_line

Outcome = tuple[Spec, dict[str, Any] | str]  # a spec with its results, or with an error message


def run(specs: Sequence[Spec], out: Path, processes: int | None = None) -> int:
    """Run the specs without a row of the running code in `out`, and merge the rows into the committed files.

    Returns 0 on success, 1 if a spec failed. The default of `processes` is one per core on a CPU, and one on an
    accelerator.
    """
    store = Store(out)
    missing = [spec for spec in specs if asdict(spec) not in store]
    unavailable = fetch({spec.dataset for spec in missing})
    missing = [spec for spec in missing if spec.dataset not in unavailable]
    start, rows, failed = time.perf_counter(), [], bool(unavailable)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(missing))
        for spec, row in outcomes(missing, processes):
            progress.update(task, advance=1, description=f"{spec.dataset} {spec.model} {spec.method} {spec.arm}")
            if isinstance(row, str):
                failed = True
                print(f"failed: {asdict(spec)}: {row}", file=sys.stderr)
            else:
                rows.append({**asdict(spec), **row})
                store.append(rows[-1])
    store.merge({spec.table for spec in specs})
    print(_summary(len(missing), rows, time.perf_counter() - start), file=sys.stderr)
    return int(failed)


def fetch(names: Iterable[str]) -> set[str]:
    """Download the data sets of these names, and return those that are unavailable, each with a line on stderr."""
    unavailable = set()
    for name in sorted(names):
        try:
            data.fetch(name)
        except OSError as error:
            unavailable.add(name)
            print(f"failed: all experiments on {name}: {one_line(error)}", file=sys.stderr)
    return unavailable


def _summary(num: int, rows: list[dict[str, Any]], seconds: float) -> str:
    sessions = sum(row["valid_n"] for row in rows if row["arm"] != BASE)
    peak_mib = max((row["peak_mib"] for row in rows), default=0)
    return f"{num} experiments, {sessions} sessions, {seconds / 60:.1f} minutes, {peak_mib} MiB a process"


def outcomes(specs: Iterable[Spec], processes: int | None = None) -> Iterator[Outcome]:
    """Each spec with its outcome, as soon as it is available; groups are distributed over `processes`."""
    groups: dict[tuple, list[Spec]] = {}
    for spec in specs:
        groups.setdefault((spec.dataset, spec.model, spec.mode), []).append(spec)
    if processes is None:
        processes = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    return side_by_side(group_outcomes, list(groups.values()), processes)


def group_outcomes(specs: list[Spec]) -> Iterator[Outcome]:
    """The outcomes of the specs of one group."""
    try:
        group = cells.Group(prepare(specs[0], sorted({spec.seed for spec in specs})))
    except Exception as error:  # the other groups continue
        yield from ((spec, reason(error)) for spec in specs)
        return
    rows: dict[Spec, dict[str, Any]] = {}  # tables share many of their experiments
    for spec in specs:
        shared = replace(spec, table="")
        try:
            if shared not in rows:
                rows[shared] = _row(group, spec)
            yield spec, rows[shared]
        except Exception as error:  # the other specs continue
            yield spec, reason(error)


def _row(group: cells.Group, spec: Spec) -> dict[str, Any]:
    """The metrics of one spec, and the fields of its run."""
    cohort, base = group.cohort(spec), group.base(spec)
    timing = cells.run_arm(group.setting, spec, cohort, base.recourse)
    figures = cells.figures(group.setting, spec, cohort, timing.value, base.recourse.value)
    return {**figures, **run_fields(timing, base.fit_s)}


def reason(error: Exception) -> str:
    """The type and the message of an error, in one line."""
    return f"{type(error).__name__}: {one_line(error)}"
