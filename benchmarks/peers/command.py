"""`python -m benchmarks peers`: other libraries on the same refused rows and the same classifier, against ours."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.cohort import prepare
from benchmarks.experiments import runner
from benchmarks.options import OUT, Datasets, Out, Seeds, Users
from benchmarks.pages import peers as page
from benchmarks.peers import environments, exchange
from benchmarks.peers.judge import Judged, Referee, compare, judge
from benchmarks.peers.table import PEERS, Peer
from benchmarks.specs import Spec, not_empty
from benchmarks.store import Row, Store
from benchmarks.timing import machine
from hare_jax.base import LogitFn, Recourse, choose
from hare_jax.models.network import to_layers
from hare_jax.recourse import exact
from hare_jax.space import ActionSpace

Names = Annotated[tuple[str, ...], tyro.conf.arg(help="Libraries, or all.")]
Limit = Annotated[float, tyro.conf.arg(help="Seconds for a method that takes rows one by one; it is cut after that.")]
Fresh = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help="Make the environments anew.")]
_OURS = "with_hare_jax.py"
_MILLI = 1e3  # milliseconds per second
_NOT_RUN = "none"  # the digest of a row that no code computed, so that the next run tries again


def peers(
    datasets: Datasets = ("adult", "heloc", "compas"),
    libraries: Names = ("all",),
    seeds: Seeds = (1, 2, 3),
    users: Users = 200,
    limit: Limit = 120.0,
    fresh: Fresh = False,
    out: Out = OUT,
) -> int:
    """Compare other libraries with ours, each in a virtual environment of its own; one that can't run says why."""
    return run(PEERS, exchange.DRIVERS, datasets, libraries, seeds, users, limit, fresh, out)


def run(
    table: Mapping[str, Peer],
    drivers: Path,
    datasets: tuple[str, ...],
    libraries: tuple[str, ...],
    seeds: tuple[int, ...],
    users: int,
    limit: float,
    fresh: bool,
    out: Path,
) -> int:
    """As `peers`, for the libraries of a `table` whose drivers are in the folder `drivers`.

    Returns 0, or 1 if a data set is unavailable. A library that can't run is a row, not a failure.
    """
    names = tuple(table) if libraries == ("all",) else libraries
    for name in names:
        choose("libraries", name, table)
    not_empty(datasets=datasets, seeds=seeds, libraries=names)
    unavailable = runner.fetch(datasets)
    store = Store(out)
    pythons = {name: _interpreter(name, table[name], fresh) for name in names}
    for dataset in datasets:
        for seed in () if dataset in unavailable else seeds:
            specs = [
                Spec(
                    table="peers",
                    dataset=dataset,
                    model="mlp",
                    method=ours,
                    arm=f"{name} {theirs}",
                    seed=seed,
                    users=users,
                )
                for name in names
                for theirs, ours in table[name].methods.items()
            ]
            missing = [spec for spec in specs if asdict(spec) not in store]
            for row in _rows(missing, table, pythons, drivers, limit) if missing else ():
                store.append(row)
    store.merge({"peers"})
    print(page.write(out))
    return 1 if unavailable else 0


def _interpreter(name: str, peer: Peer, fresh: bool) -> Path | str:
    """The interpreter of a library, or the reason why there is none."""
    print(f"{name}: environment", file=sys.stderr)
    try:
        return environments.interpreter(name, peer, fresh=fresh)
    except environments.UnavailableError as error:
        return str(error)


def _rows(
    specs: list[Spec],
    table: Mapping[str, Peer],
    pythons: Mapping[str, Path | str],
    drivers: Path,
    limit: float,
) -> Iterator[Row]:
    """A row for each spec of one data set and seed."""
    problem, referee = _task(specs[0])
    about = {"seed": specs[0].seed, "limit_s": limit, "layers": _num_layers(problem)}
    ours: dict[str, tuple[dict[str, np.ndarray], Judged]] = {}
    for spec in specs:
        print(f"{spec.dataset} {spec.seed}: {spec.arm}", file=sys.stderr)
        library, theirs = spec.arm.split(" ", 1)
        python = pythons[library]
        try:
            if isinstance(python, str):
                raise environments.UnavailableError(python)
            if spec.method not in ours:
                mine = _ask_ours(problem, about | {"method": spec.method})
                ours[spec.method] = mine, judge(referee, mine["points"], mine.get("sets"))
            found = exchange.ask(python, drivers / f"with_{library}.py", problem, about | {"method": theirs})
        except environments.UnavailableError as error:
            yield {**asdict(spec), **machine(), "reason": str(error), "digest": _NOT_RUN}
            continue
        mine, judged = ours[spec.method]
        figures = compare(judge(referee, found["points"]), judged) | _run_of({"theirs": found, "ours": mine})
        raised = {"raised": int(found["failed"])} | ({"error": str(found["error"])} if found["failed"] else {})
        version = exchange.version(python, table[library].package)
        yield {**asdict(spec), **figures, **raised, "library": version, **machine()}


def _ask_ours(problem: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The answer of the method of ours, from a process of its own."""
    return exchange.ask(Path(sys.executable), exchange.DRIVERS / _OURS, problem, about)


def _run_of(answers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The times and the memory of both."""
    row: dict[str, Any] = {}
    for name, answer in answers.items():
        warm = float(answer["warm_s"])
        row[f"cold_s_{name}"] = round(float(answer["cold_s"]), 2)
        row[f"warm_ms_{name}"] = float(f"{_MILLI * warm:.4g}") if warm == warm else None
        peak = float(answer["peak_mib"])
        row[f"peak_mib_{name}"] = round(peak) if peak == peak else None
    return row


def _num_layers(problem: Mapping[str, np.ndarray]) -> int:
    return sum(name.startswith("weight_") for name in problem)


def _task(spec: Spec) -> tuple[dict[str, np.ndarray], Referee]:
    """The problem of a data set and seed, as arrays, and what its answers are judged by."""
    setting = prepare(spec, (spec.seed,))
    logit_fn, rows, space = setting.classifier(spec.seed), setting.table, setting.space
    x = np.asarray(rows.x_test)[np.asarray(jax.vmap(logit_fn)(rows.x_test)) < 0][: spec.users]
    problem = {"x": x, "x_train": np.asarray(rows.x_train), "y_train": np.asarray(rows.y_train)}
    names = ("mutable", "lower", "upper", "direction", "group", "step")
    problem |= {name: np.asarray(getattr(space, name)) for name in names}
    for index, layer in enumerate(to_layers(logit_fn.args[0])):
        problem |= {f"weight_{index}": np.asarray(layer.weight), f"bias_{index}": np.asarray(layer.bias)}
    found, status = jax.device_get(_solve_all(jax.random.key(spec.seed), logit_fn, jnp.asarray(x), space))
    cost = np.abs(found.x - x).sum(axis=1)
    optimum = np.where(status == exact.OPTIMAL, cost, np.nan)
    accepted = np.asarray(jax.vmap(logit_fn)(rows.x_train)) >= 0
    return problem, Referee(logit_fn, space, x, optimum, np.asarray(rows.x_train)[accepted])


@jax.jit
def _solve_all(key: jax.Array, logit_fn: LogitFn, x: jax.Array, space: ActionSpace) -> tuple[Recourse, jax.Array]:
    """The exact recourses of rows `x` (n, d), and their status (n,)."""
    solve = partial(exact.solve, exact.Exact())
    return jax.vmap(solve, in_axes=(0, None, 0, None))(jax.random.split(key, len(x)), logit_fn, x, space)
