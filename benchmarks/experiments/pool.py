"""Parallel work in several processes, with results as soon as they are available."""

import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import jax

from hare_jax.app import interrupts

_QUIET = "ignore:resource_tracker"  # of a process that is interrupted: its semaphores are removed without a warning


def side_by_side(work: Callable[[Any], Iterable[Any]], pieces: list[Any], processes: int) -> Iterator[Any]:
    """The results that `work`, a module-level function, yields for each of the `pieces`, in parallel processes."""
    processes = min(processes, len(pieces))
    if processes <= 1:
        for piece in pieces:
            yield from work(piece)
        return
    os.environ.setdefault("PYTHONWARNINGS", _QUIET)
    context = multiprocessing.get_context("spawn")
    results, stopped = context.Queue(), context.Event()
    num_devices = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, context, _start_process, (results, stopped, num_devices)) as pool:
        with interrupts.held():  # a process that is only half started would print an error
            futures = [pool.submit(_run, work, piece) for piece in pieces]
        try:
            yield from _collect(results, futures)
        finally:  # after an error, the processes stop at the end of the results in flight
            stopped.set()


def _collect(results: Any, futures: list[Future]) -> Iterator[Any]:
    """The items of the queue `results`, until each piece has put None; raises the error of a failed piece."""
    running = len(futures)
    while running:
        try:
            result = results.get(timeout=1)
        except queue.Empty:
            for future in futures:
                if future.done():
                    future.result()
            continue
        if result is None:
            running -= 1
        else:
            yield result


_results: Any = None  # in a child process: the queue of its results
_stopped: Any = None  # in a child process: the event after which no more results are wanted


def _start_process(results: Any, stopped: Any, num_devices: int) -> None:
    global _results, _stopped
    _results, _stopped = results, stopped
    jax.config.update("jax_num_cpu_devices", num_devices)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this process when its parent process has ended for any reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _run(work: Callable[[Any], Iterable[Any]], piece: Any) -> None:
    for result in () if _stopped.is_set() else work(piece):
        _results.put(result)
        if _stopped.is_set():
            break
    _results.put(None)
