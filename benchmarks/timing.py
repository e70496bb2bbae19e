"""Timing of programs: compile time and warm run time, with the memory of the process and the machine."""

import contextlib
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.compilation_cache import compilation_cache

import hare_jax
from benchmarks import digest
from hare_jax.app.compiling import keep_compiled


class Timed(NamedTuple):
    """A program's result, its compile time and the time of one warm run, in seconds."""

    value: Any
    compile_s: float | None  # None if it was not compiled, but loaded from JAX's persistent compilation cache
    run_s: float


class Program(NamedTuple):
    """A compiled program, its compile time in seconds and the size of its working memory in MiB."""

    run: Callable
    compile_s: float
    memory_mib: float  # 0 if the platform does not report it


_LEVEL = "xla_backend_optimization_level"
_compilations: list[str] = []  # compilation events reported by JAX
_loads: list[str] = []  # of programs from its persistent compilation cache, which are compilation events, too


def _listen(event: str, duration_secs: float, **kwargs: Any) -> None:
    if event.startswith("/jax/core/compile"):
        _compilations.append(event)


def _listen_to_loads(event: str, **kwargs: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _loads.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)
jax.monitoring.register_event_listener(_listen_to_loads)


def timed(fn: Callable, *args: Any, **kwargs: Any) -> Timed:
    """Call a jitted function and wait for its result; if that compiled, call it again to subtract the run time.

    There is no second call if the first was warm, which halves the time of a table with many seeds.
    """
    seconds: list[float] = []
    known, loaded = len(_compilations), len(_loads)
    while not seconds or (len(seconds) == 1 and len(_compilations) > known):
        start = time.perf_counter()
        value = jax.block_until_ready(fn(*args, **kwargs))
        seconds.append(time.perf_counter() - start)
    compile_s = max(seconds[0] - seconds[-1], 0.0) if len(_loads) == loaded else None
    return Timed(value, compile_s, seconds[-1])


def best_of(fn: Callable, *args: Any, runs: int = 3) -> Timed:
    """As `timed`, with the run time of the fastest of `runs` warm runs."""
    first = timed(fn, *args)
    seconds = [first.run_s]
    for _ in range(runs - 1):
        start = time.perf_counter()
        jax.block_until_ready(fn(*args))
        seconds.append(time.perf_counter() - start)
    return first._replace(run_s=min(seconds))


def compiled(fn: Callable, *args: Any) -> Program:
    """Compile `fn` for `args`, without running it."""
    start = time.perf_counter()
    run = jax.jit(fn).lower(*args).compile()
    compile_s = time.perf_counter() - start
    return Program(run, compile_s, getattr(run.memory_analysis(), "temp_size_in_bytes", 0) / 1024**2)


def best_of_each(programs: Sequence[Callable], *args: Any, runs: int = 3) -> list[float]:
    """Seconds of the fastest warm run of each of the compiled programs, which are run in turn."""
    rounds = [_one_run_each(programs, args) for _ in range(runs + 1)]  # the first one is cold
    return [min(seconds) for seconds in zip(*rounds, strict=True)]


def _one_run_each(programs: Sequence[Callable], args: tuple) -> list[float]:
    seconds = []
    for run in programs:
        start = time.perf_counter()
        jax.block_until_ready(run(*args))
        seconds.append(time.perf_counter() - start)
    return seconds


def matmul_gflops(size: int = 2048, dtype: Any = jnp.float32) -> float:
    """The machine's peak rate for a product of square matrices, in 1e9 floating-point operations per second."""
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    timing = best_of(jax.jit(lambda a: jnp.dot(a, a, precision="highest")), a, runs=5)
    return 2 * size**3 / timing.run_s / 1e9


def compile_quickly(keep: bool) -> None:
    """Halve the compile time on a CPU: tables consist of many programs that run for milliseconds.

    The flag is read at the first compilation, in this process and in its child processes; a level that is set already
    is left. If `keep`, compiled programs are kept in the user's cache folder, for the next process.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _LEVEL not in flags:
        os.environ["XLA_FLAGS"] = f"--{_LEVEL}=1 {flags}".strip()
    if keep:
        keep_compiled()


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Without JAX's persistent compilation cache, so that compile times are those of compilations."""
    before = jax.config.values["jax_enable_compilation_cache"]
    _use_cache(False)
    try:
        yield
    finally:
        _use_cache(before)


def _use_cache(use: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", use)
    compilation_cache.reset_cache()  # otherwise the first compilation of a process decides


def peak_mib() -> float:
    """Peak memory so far, in MiB: that of the device where it is reported, as on a GPU, otherwise of this process."""
    if stats := jax.devices()[0].memory_stats():
        return stats["peak_bytes_in_use"] / 1024**2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def round_if_known(seconds: float | None, digits: int) -> float | None:
    """A time in seconds, rounded, or None."""
    return None if seconds is None else round(seconds, digits)


def machine() -> dict[str, str]:
    """The fields of a row about the machine and the code."""
    return {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "version": hare_jax.__version__,
        "digest": digest.code(),
    }


def run_fields(timing: Timed, fit_s: float = 0.0) -> dict[str, Any]:
    """The fields of a row about its run."""
    return {
        "fit_s": round(fit_s, 3),
        "compile_s": round_if_known(timing.compile_s, 3),
        "run_s": round(timing.run_s, 4),
        "peak_mib": round(peak_mib()),
        **machine(),
    }
