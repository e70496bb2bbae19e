"""The results of a grid, computed by the workers of a dask cluster: one on this computer, or that of a scheduler.

A worker has one piece at a time, so that what it shares with others of its group stays in the worker (see `todo`), and
a worker that ends loses that piece alone, which goes to another. The workers of this computer end with this process.
"""

import contextlib
import functools
import logging
import os
import pickle
import queue
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from typing import Any, NamedTuple

import dask
import jax
from distributed import Client, Future, LocalCluster, get_worker

from benchmarks import digest
from benchmarks.experiments.grid import Outcome, Piece, Resources, Shared, Work, reason
from benchmarks.experiments.todo import Todo
from benchmarks.timing import compile_quickly
from hare_jax.app import interrupts

_POLL = 1.0  # seconds between looks at which workers there are
_CONNECTING = 10.0  # seconds in which a scheduler must answer
_MOST_LOSSES = 3  # of workers that ended with the same piece; it fails with the next
_LOST = f"its worker ended, {_MOST_LOSSES + 1} times; it may need more memory"
_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application")
_CONFIG = {
    "logging": dict.fromkeys(_LOGGERS, "critical"),
    "distributed.nanny.pre-spawn-environ": {},  # workers have the environment of this process
    "distributed.worker.profile.enabled": False,  # this and the following take processor time from the rows
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.work-stealing": False,
}
_QUIET = "ignore:resource_tracker"  # of a process that is interrupted: its semaphores are removed without a warning


class Setup(NamedTuple):
    """What a worker is told with each piece."""

    run: str  # differs between runs
    code: str  # digest of the code
    cache: bool  # keep compiled programs in the user's cache folder


def outcomes(work: Work, pieces: Sequence[Piece], resources: Resources) -> Iterator[Outcome]:
    """Each spec with its result, as soon as a worker has computed it.

    Raises:
        OSError: the scheduler can't be reached, or no longer.
    """
    setup = Setup(uuid.uuid4().hex, digest.code(), resources.cache)
    with _connected(resources) as client:
        run = _Run(client, work, setup, Todo(pieces))
        try:
            yield from run.outcomes()
        except (CancelledError, OSError) as error:
            raise OSError(f"scheduler: the connection to {resources.scheduler} was lost") from error


@contextlib.contextmanager
def _connected(resources: Resources) -> Iterator[Client]:
    """A client of the scheduler, or of a cluster on this computer that ends with the context."""
    with dask.config.set(_CONFIG), contextlib.ExitStack() as stack:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if resources.scheduler is not None:
            yield stack.enter_context(_remote(resources.scheduler))
            return
        os.environ.setdefault("PYTHONWARNINGS", _QUIET)
        resource_tracker.ensure_running()  # the first call ends the block of SIGINT in Python 3.11
        with interrupts.held():  # workers, and threads that start more of them, never receive SIGINT
            cluster = stack.enter_context(_local(resources.processes or 1))
            client = stack.enter_context(Client(cluster, set_as_default=False))
        yield client


def _remote(address: str) -> Client:
    """A client of the scheduler at an address."""
    client = Client(address, timeout=_CONNECTING, set_as_default=False)
    if not client.nthreads():
        print(f"benchmarks: no worker at {address} yet; waiting for the first", file=sys.stderr)
    return client


def _local(processes: int) -> LocalCluster:
    """A cluster of `processes` that share the cores, without a limit of memory and without a web page."""
    return LocalCluster(
        n_workers=processes,
        threads_per_worker=max(1, (os.cpu_count() or 1) // processes),
        memory_limit=0,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},  # any free port
        silence_logs=logging.CRITICAL,
    )


@dataclass
class _Run:
    """The pieces that workers are computing, and those that are done or left."""

    client: Client
    work: Work
    setup: Setup
    todo: Todo
    running: dict[Future, tuple[str, Piece]] = field(default_factory=dict)  # with the address of the worker
    done: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)  # of futures
    losses: Counter = field(default_factory=Counter)  # by piece

    def outcomes(self) -> Iterator[Outcome]:
        """All specs with their results; each once."""
        while self.todo or self.running:
            workers = self.client.nthreads()
            yield from self._recover(workers)
            self._assign(workers)
            with contextlib.suppress(queue.Empty):
                yield from self._collect(self.done.get(timeout=_POLL))

    def _recover(self, workers: dict[str, int]) -> Iterator[Outcome]:
        """Put back the pieces of workers that have ended; a piece that has ended too many fails."""
        for future, (worker, piece) in list(self.running.items()):
            if worker in workers:
                continue
            del self.running[future]
            future.release()
            self.losses[piece] += 1
            if self.losses[piece] > _MOST_LOSSES:
                self.todo.forget(worker)
                yield piece.spec, _LOST
            else:
                self.todo.put_back(worker, piece)

    def _assign(self, workers: dict[str, int]) -> None:
        """Submit a piece to each worker that has none."""
        for worker in sorted(workers.keys() - {worker for worker, _ in self.running.values()}):
            if (piece := self.todo.take(worker)) is not None:
                call = pickle.dumps(_Call(_result, (self.setup, self.work, piece)))
                future = self.client.submit(pickle.loads, call, key=f"row-{uuid.uuid4()}", workers=[worker])
                self.running[future] = worker, piece
                future.add_done_callback(self.done.put)

    def _collect(self, future: Future) -> Iterator[Outcome]:
        """The outcome of a future that is done, unless its worker has ended or ends before it has handed it over."""
        if future not in self.running:
            return
        try:
            result = future.result(timeout=_POLL)
        except TimeoutError:  # the worker has ended
            future.add_done_callback(self.done.put)
            return
        except CancelledError:
            raise
        except Exception as error:  # the worker can't import the code, for example
            result = reason(error)
        _, piece = self.running.pop(future)
        future.release()
        yield piece.spec, result


@dataclass(frozen=True)
class _Call:
    """A call that is made where its pickle is loaded: the scheduler, which would load it, need not know the code."""

    fn: Callable
    args: tuple

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self.fn, self.args


_shared = Shared()  # of this worker


def _result(setup: Setup, work: Work, piece: Piece) -> Any:
    """Compute the result of one piece, in a worker."""
    _start(setup)
    return _shared.result(work, piece, setup.run)


@functools.cache
def _start(setup: Setup) -> None:
    """Configure this process once, before JAX is used: as many CPU devices as the worker has threads.

    Raises:
        RuntimeError: the worker has other code than the process that asks for results.
    """
    if digest.code() != setup.code:
        raise RuntimeError(f"the worker {get_worker().address} has other code: {digest.code()}, not {setup.code}")
    compile_quickly(setup.cache)
    with contextlib.suppress(RuntimeError):  # of an earlier run of this process
        jax.config.update("jax_num_cpu_devices", get_worker().state.nthreads)
