"""`python -m benchmarks peers`: other libraries on the same refused rows and the same classifier, against ours.

The spec of a row has our method as `method`, and as `arm` the library and its method that ours is compared with.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro

from benchmarks.experiments import runner
from benchmarks.options import OUT, Datasets, Out, Seeds, Users
from benchmarks.pages import peers as page
from benchmarks.peers import environments, exchange, task
from benchmarks.peers.judge import Judged, compare, judge
from benchmarks.peers.table import PEERS, Peer
from benchmarks.specs import Spec, not_empty
from benchmarks.store import Row, Store
from benchmarks.timing import machine
from hare_jax.base import choose

Names = Annotated[tuple[str, ...], tyro.conf.arg(help="Libraries, or all.")]
Limit = Annotated[float, tyro.conf.arg(help="Seconds for a method that takes rows one by one; it is cut after that.")]
Fresh = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Make the environments anew.")]
_OURS = exchange.DRIVERS / "with_hare_jax.py"
_MILLI = 1e3  # milliseconds per second
_NOT_RUN = "none"  # the digest of a row that no code computed, so that the next run tries again


class Work(NamedTuple):
    """What is asked of all libraries."""

    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    users: int  # refused rows per seed, at most
    limit_s: float  # of a method that takes rows one by one


class Library(NamedTuple):
    """A library, and the interpreter that runs it, or the reason why there is none."""

    driver: Path
    python: Path | None
    version: str
    reason: str

    def ask(self, problem: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> exchange.Answer:
        """Its answer to a problem, as `exchange.ask`.

        Raises:
            UnavailableError: it has no interpreter, or fails.
        """
        if self.python is None:
            raise environments.UnavailableError(self.reason)
        return exchange.ask(self.python, self.driver, problem, about)


def peers(
    datasets: Datasets = ("adult", "heloc", "compas"),
    libraries: Names = ("all",),
    seeds: Seeds = (1, 2, 3),
    users: Users = 200,
    limit: Limit = 60.0,
    fresh: Fresh = False,
    out: Out = OUT,
) -> int:
    """Compare other libraries with ours, each in a virtual environment of its own; one that can't run says why."""
    names = tuple(PEERS) if libraries == ("all",) else libraries
    for name in names:
        choose("libraries", name, PEERS)
    not_empty(datasets=datasets, seeds=seeds, libraries=names)
    table = {name: PEERS[name] for name in names}
    return run(table, exchange.DRIVERS, Work(datasets, seeds, users, limit), out, fresh=fresh)


def run(table: Mapping[str, Peer], drivers: Path, work: Work, out: Path, *, fresh: bool = False) -> int:
    """As `peers`, for the libraries of a `table` whose drivers are in the folder `drivers`.

    Returns 0, or 1 if a data set is unavailable. A library that can't run is a row, not a failure.
    """
    unavailable = runner.fetch(work.datasets)
    store = Store(out)
    libraries = {name: _library(name, peer, drivers, fresh) for name, peer in table.items()}
    for specs in _specs(table, work):
        missing = [spec for spec in specs if spec.dataset not in unavailable and asdict(spec) not in store]
        for row in _rows(missing, libraries, work.limit_s):
            store.append(row)
    store.merge({"peers"})
    print(page.write(out))
    return 1 if unavailable else 0


def _specs(table: Mapping[str, Peer], work: Work) -> Iterator[list[Spec]]:
    """The specs of each task: those with the same rows and the same classifier."""
    models = sorted({peer.model for peer in table.values()}, reverse=True)
    for dataset, seed, model in product(work.datasets, work.seeds, models):
        yield [
            Spec(
                table="peers",
                dataset=dataset,
                model=model,
                method=ours,
                arm=f"{name} {method}",
                seed=seed,
                users=work.users,
            )
            for name, peer in table.items()
            if peer.model == model
            for method, ours in peer.methods.items()
        ]


def _library(name: str, peer: Peer, drivers: Path, fresh: bool) -> Library:
    """The library with its environment, which is made if it does not exist."""
    print(f"{name}: environment", file=sys.stderr)
    driver = drivers / f"with_{name}.py"
    try:
        python = environments.interpreter(name, peer, fresh=fresh)
    except environments.UnavailableError as error:
        return Library(driver, None, "", str(error))
    return Library(driver, python, exchange.version(python, peer.package), "")


def _rows(specs: list[Spec], libraries: Mapping[str, Library], limit_s: float) -> Iterator[Row]:
    """A row for each spec of one task."""
    able = [spec for spec in specs if libraries[_names(spec)[0]].python]
    yield from (_failure(spec, libraries[_names(spec)[0]].reason) for spec in specs if spec not in able)
    if not able:
        return
    given = task.make(able[0])
    if not len(given.problem["x"]):
        yield from (_failure(spec, "the classifier refuses no test row") for spec in able)
        return
    ours: dict[str, tuple[exchange.Answer, Judged]] = {}
    for spec in able:
        print(f"{spec.dataset} {spec.seed}: {spec.arm}", file=sys.stderr)
        about = {"seed": spec.seed, "limit_s": limit_s, "layers": given.num_layers}
        if spec.method not in ours:
            mine = exchange.ask(Path(sys.executable), _OURS, given.problem, about | {"method": spec.method})
            ours[spec.method] = mine, judge(given.referee, mine["points"], mine.get("sets"))
        name, method = _names(spec)
        try:
            found = libraries[name].ask(given.problem, about | {"method": method})
        except environments.UnavailableError as error:
            yield _failure(spec, str(error))
            continue
        figures = compare(judge(given.referee, found["points"]), ours[spec.method][1])
        run = _run_of({"theirs": found, "ours": ours[spec.method][0]}) | {"library": libraries[name].version}
        yield {**asdict(spec), **figures, **run, "limit_s": limit_s, **machine()}


def _names(spec: Spec) -> tuple[str, str]:
    """The library of a spec, and its method."""
    name, _, method = spec.arm.partition(" ")
    return name, method


def _failure(spec: Spec, reason: str) -> Row:
    """The row of a method that did not run."""
    print(f"{spec.dataset} {spec.seed}: {spec.arm} did not run: {reason}", file=sys.stderr)
    return {**asdict(spec), "reason": reason, **machine(), "digest": _NOT_RUN}


def _run_of(answers: Mapping[str, exchange.Answer]) -> dict[str, Any]:
    """The times and the memory of both, and the rows for which theirs raised an exception."""
    row: dict[str, Any] = {}
    for name, answer in answers.items():
        row[f"cold_s_{name}"] = round(float(answer["cold_s"]), 1)
        warm, peak = float(answer["warm_s"]), float(answer["peak_mib"])
        row[f"warm_ms_{name}"] = None if np.isnan(warm) else float(f"{_MILLI * warm:.3g}")
        row[f"peak_mib_{name}"] = None if np.isnan(peak) else round(peak)
    raised = str(answers["theirs"]["error"])
    return row | {"raised": int(answers["theirs"]["failed"])} | ({"error": raised} if raised else {})
