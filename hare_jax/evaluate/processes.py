"""Several processes of `jax.distributed`: which users each of them computes, and the summary of all.

Each process computes users of its own on its own devices, without waiting for the others. They exchange messages once,
to merge their summaries, by a mesh with one device of each process.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hare_jax.evaluate.sketch import Sketch, pack, unpack

T = TypeVar("T")
_PROCESSES = "processes"


def share(items: Iterable[T]) -> Iterator[T]:
    """The `items` of this process: of P processes, process p has the items p, p + P, p + 2 P, ..."""
    return itertools.islice(items, jax.process_index(), None, jax.process_count())


def merged(sketches: Mapping[str, Sketch]) -> dict[str, Sketch]:
    """The `sketches` of all processes, merged; every process has to call it, with the same names."""
    if jax.process_count() == 1:
        return dict(sketches)
    packed = pack(sketches)
    longest = int(np.max(_gathered(np.array([len(packed)], np.int32))))
    padded = np.zeros((longest, 2), np.int64)
    padded[: len(packed)] = packed
    halves = _gathered(padded.view(np.int32))  # JAX has no int64 by default
    return unpack(np.ascontiguousarray(halves).view(np.int64).reshape(-1, 2), list(sketches))


def _gathered(own: np.ndarray) -> np.ndarray:
    """The arrays of all P processes, of one shape: (P, ...)."""
    firsts = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([firsts[index] for index in range(jax.process_count())]), (_PROCESSES,))
    spread = jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec(_PROCESSES)), own[None])
    everywhere = jax.jit(_same, out_shardings=NamedSharding(mesh, PartitionSpec()))(spread)
    return np.asarray(everywhere.addressable_data(0))


def _same(array: jax.Array) -> jax.Array:
    return array
