"""Compilation of the programs of the shell."""

import contextlib
import functools
import gc
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pooch

_QUICK = {"xla_backend_optimization_level": 1}
_QUICKEST = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
_FOLDER = "compiled"  # in the user's cache folder
_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_GC_THRESHOLDS = 50_000, 20, 100


def keep_compiled() -> None:
    """Keep all programs that this process compiles in the user's cache folder, for the next process.

    Where the environment names another folder, JAX uses that; a folder that can't be written is not used.
    """
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")  # compiled again
    if os.environ.get(_VARIABLE):
        return
    folder = Path(pooch.os_cache("hare_jax")) / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Trace without garbage collections, and with few afterwards: it makes many objects, few of which are garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.freeze()
        gc.enable()


def quick_jit(fn: Callable) -> Any:
    """Jit `fn` with fewer passes on a CPU: two thirds of the compile time, at no loss of speed for these programs."""
    return jax.jit(fn, compiler_options=_QUICK if jax.default_backend() == "cpu" else None)


def quickest_jit(fn: Callable) -> Any:
    """Jit `fn` for few runs: on a CPU without passes, a fifth of the compile time at half the speed."""
    return jax.jit(fn, compiler_options=_quickest())


@functools.cache
def _quickest() -> dict[str, Any] | None:
    """The options that this version of XLA knows."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(_nothing, compiler_options=_QUICKEST).lower().compile()
    except Exception:  # an unknown option is an error of the runtime
        return {"xla_backend_optimization_level": 0}
    return _QUICKEST


def _nothing() -> int:
    return 0
