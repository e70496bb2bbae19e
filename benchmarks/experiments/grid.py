"""A grid of specs whose results are computed one by one, here or by the workers of a cluster (see `cluster`).

The specs of a group share data and classifiers, those of a program most of what is compiled.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from hare_jax.app.options import one_line

Outcome = tuple[Any, Any]  # a spec with its result, or with the reason of its failure as a str
_MISSING = "one process computes all rows; for a process per core: pip install 'hare-jax[cluster]'"


class Work(NamedTuple):
    """The computation of a result; module-level functions, which other processes import."""

    prepare: Callable[[Any], Any]  # a group -> what its specs share
    compute: Callable[[Any, Any], Any]  # what they share, and a spec -> its result


class Piece(NamedTuple):
    """A spec, with the keys of what it shares with others."""

    group: Hashable
    program: Hashable
    spec: Any


class Resources(NamedTuple):
    """The processes that compute results."""

    processes: int | None = None  # on this computer; by default one per core on a CPU, and one on an accelerator
    scheduler: str | None = None  # address of a dask cluster to use instead
    cache: bool = False  # keep compiled programs in the user's cache folder


HERE = Resources()


class Shared:
    """What the specs of a group share, prepared once; that of the last group alone is kept."""

    def __init__(self) -> None:
        """Nothing is prepared yet."""
        self._key: Any = None
        self._value: Any = None

    def result(self, work: Work, piece: Piece, run: Hashable = None) -> Any:
        """The result of one piece, or the reason of its failure; a failed preparation is repeated in another `run`."""
        key = work, piece.group, run
        if self._key != key:
            self._key = self._value = None  # its memory is free before the next group is prepared
            self._key, self._value = key, _attempt(work.prepare, piece.group)
        return self._value if isinstance(self._value, str) else _attempt(work.compute, self._value, piece.spec)


def _attempt(fn: Callable, *args: Any) -> Any:
    try:
        return fn(*args)
    except Exception as error:  # the other specs continue
        return reason(error)


def reason(error: BaseException) -> str:
    """The type and the message of an error, in one line."""
    return f"{type(error).__name__}: {one_line(error)}"


def outcomes(work: Work, pieces: Sequence[Piece], resources: Resources) -> Iterator[Outcome]:
    """Each spec with its result, as soon as it is available."""
    processes = _num_processes(pieces, resources.processes)
    if resources.scheduler is None and processes > 1 and importlib.util.find_spec("distributed") is None:
        print(f"benchmarks: {_MISSING}", file=sys.stderr)
        processes = 1
    if resources.scheduler is None and processes <= 1:
        shared = Shared()
        yield from ((piece.spec, shared.result(work, piece)) for piece in pieces)
        return
    from benchmarks.experiments import cluster  # knows dask

    yield from cluster.outcomes(work, pieces, resources._replace(processes=processes))


def _num_processes(pieces: Sequence[Piece], wanted: int | None) -> int:
    """The number of processes wanted, by default one per core on a CPU; at most one per group."""
    if wanted is None:
        wanted = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    return min(wanted, len({piece.group for piece in pieces}))
