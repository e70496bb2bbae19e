"""A population of any size, streamed through a method and an elicitor: `python -m benchmarks stream`.

Several processes, each with devices of its own, share a population if they are given the address of a coordinator.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import tyro
from jax import Array
from jax.tree_util import Partial
from rich.console import Console
from rich.progress import Progress as ProgressBar

from benchmarks import noise as noises
from benchmarks.cohort import Setting, prepare
from benchmarks.experiments import cells
from benchmarks.options import OUT, Out
from benchmarks.pages import terminal
from benchmarks.specs import BASE, QUANTILES, Spec, StreamSpec, check
from benchmarks.store import Row, Store
from benchmarks.timing import machine, peak_mib
from hare_jax import people, recourse
from hare_jax.base import require
from hare_jax.evaluate import stream as streaming
from hare_jax.evaluate.checkpoints import Progress
from hare_jax.evaluate.processes import merged
from hare_jax.evaluate.sharding import default_batch_size
from hare_jax.evaluate.sketch import Sketch
from hare_jax.evaluate.trial import Trial, run_resampled
from hare_jax.hyperparams import Count, Natural, check_values

_AUTO = "auto"
_USERS = 100_000

Coordinator = Annotated[
    str | None,
    tyro.conf.arg(help="HOST:PORT of process 0; auto: found by JAX, as under SLURM, MPI or in a TPU's cloud."),
]


class Cluster(NamedTuple):
    """The processes that share a population; by default this one alone."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None
    devices: int | None


def stream(
    dataset: str = "adult",
    model: str = "mlp",
    method: str = "wachter",
    arm: str = "multi",
    users: int = _USERS,
    person: str = "ideal",
    ideal: str = "far",
    noise: str = "0",
    budget: int = 30,
    per_round: int = 5,
    seed: int = 1,
    chunk: int | None = None,
    checkpoint: Path | None = None,
    coordinator: Coordinator = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    devices: int | None = None,
    out: Out = OUT,
) -> int:
    """Simulate a population of any size chunk by chunk, on all devices of all processes, in the memory of two chunks.

    Args:
        dataset: Data set; each user has a row drawn from its refused test rows.
        model: `mlp` or `linear`.
        method: Base method.
        arm: `base` or an elicitor.
        users: Number of users.
        person: Kind of person.
        ideal: Distance of ideals: near, intermediate or far.
        noise: Noise of answers: a probability of flips, logistic, bt:TEMPERATURE or tie:WIDTH.
        budget: Number of questions, K.
        per_round: Candidates per round of many.
        seed: Seed of training, users and sampling.
        chunk: Users of each process between two checkpoints; by default 100 batches for each of its devices.
        checkpoint: File that a killed run continues from; each of several processes has one of its own.
        coordinator: Address of process 0.
        num_processes: Number of processes.
        process_id: Number of this process, from 0.
        devices: Devices of this process, on a CPU; by default one per core.
        out: Folder of the results.
    """
    cell = Spec(
        table=StreamSpec.table,
        dataset=dataset,
        model=model,
        method=method,
        arm=arm,
        person=person,
        ideal=ideal,
        budget=budget,
        per_round=per_round,
        noise=noise,
        seed=seed,
        users=users,
    )
    check(cell)
    check_values(chunk=(1 if chunk is None else chunk, Count))
    _join(Cluster(coordinator, num_processes, process_id, devices))
    chunk = streaming.default_chunk(default_batch_size()) if chunk is None else chunk
    about = {"chunk": chunk, "processes": jax.process_count(), "devices": jax.local_device_count()}
    spec = StreamSpec(**asdict(cell), **about, device=machine()["device"])
    _stored(spec, checkpoint, out)
    return 0


def _join(cluster: Cluster) -> None:
    """Create the devices of this process, and connect it with the others if there is a coordinator.

    Raises:
        ValueError: an option lacks another one, or is out of its range.
        RuntimeError: the processes can't be connected.
    """
    if cluster.devices is not None:
        check_values(devices=(cluster.devices, Count))
        jax.config.update("jax_num_cpu_devices", cluster.devices)
    address, num, index = cluster.coordinator, cluster.num_processes, cluster.process_id
    if address in (None, _AUTO):
        require(num is None and index is None, "coordinator", "must be HOST:PORT for several processes", address)
    elif num is None or index is None:
        require(False, "coordinator", "needs num_processes and process_id", address)
    else:
        check_values(num_processes=(num, Count), process_id=(index, Natural))
        require(index < num, "process_id", f"must be below num_processes, {num}", index)
    if address is not None:
        jax.distributed.initialize(None if address == _AUTO else address, num, index)


class _Run(NamedTuple):
    """A finished run."""

    sketches: dict[str, Sketch]  # of all processes
    compile_s: float
    run_s: float
    users: int  # computed by this run, not by those before its checkpoint


def _row(spec: StreamSpec, checkpoint: Path | None) -> Row:
    """The summary of the population of `spec`, and the figures of the run; memory is that of this process."""
    run = _run(spec, checkpoint)
    return {
        **asdict(spec),
        **_statistics(run.sketches),
        "compile_s": round(run.compile_s, 2),
        "run_s": round(run.run_s, 2),
        "users_per_s": round(run.users / run.run_s, 1),
        "peak_mib": round(peak_mib()),
        **machine(),
    }


def _run(spec: StreamSpec, checkpoint: Path | None) -> _Run:
    setting = prepare(spec, (spec.seed,))
    key_fit, key_users = jax.random.split(jax.random.key(spec.seed))
    fn = _user(setting, spec, key_fit)
    start = time.perf_counter()
    streaming.summarise(fn, key_users, default_batch_size() * spec.devices * spec.processes)  # a block of each device
    warm = time.perf_counter()
    steps = streaming.chunks(fn, key_users, spec.users, chunk=spec.chunk, checkpoint=checkpoint)
    first, last = _shown(steps, -(-spec.users // spec.processes))
    sketches = merged(last.sketches)
    done = time.perf_counter()
    return _Run(sketches, warm - start, done - warm, (last.users - first.users) * spec.processes)


def _user(setting: Setting, spec: StreamSpec, key: Array) -> Partial:
    """The figures of one user as a function of a key."""
    logit_fn, rows = setting.classifier(spec.seed), setting.table.x_test
    refused = rows[jax.vmap(logit_fn)(rows) < 0]
    require(len(refused) > 0, "dataset", "must have test rows that the classifier refuses", spec.dataset)
    trial = Trial(
        logit_fn=logit_fn,
        space=setting.space,
        generate=recourse.bind(spec.method, key, logit_fn, setting.table.x_train, setting.space),
        elicitor=None if spec.arm == BASE else cells.bind_elicitor(spec),
        population=people.Population(distance=people.DISTANCES[spec.ideal]),
        person=spec.person,
        noise=noises.parse(spec.noise),
    )
    return Partial(run_resampled, trial, refused)


def _shown(steps: Iterator[Progress], total: int) -> tuple[Progress, Progress]:
    """The progress before the first chunk and after the last one; it is shown on stderr."""
    first = last = next(steps)
    with ProgressBar(console=Console(stderr=True)) as bar:
        task = bar.add_task("users", total=total, completed=first.users)
        for last in steps:
            bar.update(task, completed=last.users)
    return first, last


def _statistics(sketches: Mapping[str, Sketch]) -> Row:
    """Mean, s.d., count and quantiles of each metric; None where nothing is counted."""
    row: Row = {}
    for name, sketch in sketches.items():
        figures = {name: sketch.mean, f"{name}_sd": sketch.sd}
        figures |= {f"{name}_{label}": sketch.quantile(q) for label, q in QUANTILES.items()}
        row |= {key: cells.rounded(value) if math.isfinite(value) else None for key, value in figures.items()}
        row[f"{name}_n"] = sketch.n
    return row


def _stored(spec: StreamSpec, checkpoint: Path | None, out: Path) -> None:
    """Run `spec`, which all processes do, and store its row, which process 0 does."""
    if jax.process_index() > 0:
        _run(spec, checkpoint)
        return
    store = Store(out)
    if spec.processes > 1 or asdict(spec) not in store:
        store.append(_row(spec, checkpoint))
    store.merge({spec.table})
    terminal.show_stream(out, asdict(spec))
