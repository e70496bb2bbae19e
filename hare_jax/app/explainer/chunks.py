"""Rows in chunks of a fixed size: one compiled program serves any number of rows."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hare_jax.app.compiling import quick_jit, quickest_jit

FEW = 8  # rows whose programs run so briefly that they are compiled as fast as can be
SIZES = FEW, 64, 1000  # rows of a chunk: the least size that holds all rows, or else the largest

Tick = Callable[[int], None]  # called with the number of rows that are done


def no_tick(num: int) -> None:
    """Report nothing."""


@functools.cache
def compiled(program: Callable, *, few: bool = False) -> Any:
    """A function of module level, jitted once, or once more for a chunk of a few rows."""
    return quickest_jit(program) if few else quick_jit(program)


def map_chunks(program: Callable, *args: Any, rows: Any, tick: Tick = no_tick) -> Any:
    """`program(*args, chunk)` for all `rows`, a pytree with leaves (n, ...), n > 0; the results are NumPy's (n, ...).

    The last chunk is filled with copies of the last row.
    """
    num = len(jax.tree.leaves(rows)[0])
    size = next((size for size in SIZES if num <= size), SIZES[-1])
    starts = range(0, num, size)
    jitted = compiled(program, few=size <= FEW)
    running = [jitted(*args, _chunk(rows, start, size, num)) for start in starts]
    parts = [_finished(part, min(size, num - start), tick) for part, start in zip(running, starts, strict=True)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _chunk(rows: Any, start: int, size: int, num: int) -> Any:
    chosen = np.minimum(np.arange(start, start + size), num - 1)
    return jax.tree.map(lambda leaf: leaf[chosen], rows)


def _finished(part: Any, num: int, tick: Tick) -> Any:
    """The first `num` results of a chunk, once they are there."""
    found = jax.tree.map(lambda leaf: np.asarray(leaf)[:num], part)
    tick(num)
    return found
