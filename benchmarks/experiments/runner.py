"""Runs the experiments of tables: base method, arm and metrics, one row per spec.

The specs of one data set, model and mode form a group: they share data and classifiers, and those of a base method
most compiled programs.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.cohort import prepare
from benchmarks.experiments import cells, grid
from benchmarks.experiments.grid import HERE, Piece, Resources
from benchmarks.specs import BASE, Spec
from benchmarks.store import Store
from benchmarks.timing import run_fields
from hare_jax import data
from hare_jax.app.options import one_line

Outcome = tuple[Spec, dict[str, Any] | str]  # a spec with its results, or with an error message
_Group = tuple[Spec, tuple[int, ...]]  # one of its specs, and the seeds of all


def run(specs: Sequence[Spec], out: Path, resources: Resources = HERE) -> int:
    """Run the specs without a row of the running code in `out`, and merge the rows into the committed files.

    Returns 0 on success, 1 if a spec failed.
    """
    store = Store(out)
    missing = [spec for spec in specs if asdict(spec) not in store]
    unavailable = fetch({spec.dataset for spec in missing})
    missing = [spec for spec in missing if spec.dataset not in unavailable]
    start, rows, failed = time.perf_counter(), [], bool(unavailable)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(missing))
        for spec, row in outcomes(missing, resources):
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


def outcomes(specs: Iterable[Spec], resources: Resources = HERE) -> Iterator[Outcome]:
    """Each spec with its outcome, as soon as it is available; specs that differ in the table alone run once."""
    named: dict[Spec, list[Spec]] = {}
    for spec in specs:
        named.setdefault(replace(spec, table=""), []).append(spec)
    for first, found in grid.outcomes(WORK, pieces(same[0] for same in named.values()), resources):
        yield from ((spec, found) for spec in named[replace(first, table="")])


def pieces(specs: Iterable[Spec]) -> list[Piece]:
    """The specs, group by group."""
    groups: dict[tuple, list[Spec]] = {}
    for spec in specs:
        groups.setdefault((spec.dataset, spec.model, spec.mode), []).append(spec)
    found = []
    for members in groups.values():
        group = members[0], tuple(sorted({spec.seed for spec in members}))
        found += [Piece(group, spec.method, spec) for spec in members]
    return found


def _prepare(group: _Group) -> cells.Group:
    """The data and the classifiers of a group."""
    return cells.Group(prepare(*group))


def _row(group: cells.Group, spec: Spec) -> dict[str, Any]:
    """The metrics of one spec, and the fields of its run."""
    cohort, base = group.cohort(spec), group.base(spec)
    timing = cells.run_arm(group.setting, spec, cohort, base.recourse)
    figures = cells.figures(group.setting, spec, cohort, timing.value, base.recourse.value)
    return {**figures, **run_fields(timing, base.fit_s)}


WORK = grid.Work(_prepare, _row)
