"""Several processes of `jax.distributed`: which users each of them computes, and the summary of all.

Each process computes users of its own on its own devices, without waiting for the others. They exchange messages once,
to merge their summaries, through JAX's coordinator: collectives of devices fail where a process is half a minute late.
"""

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import jax
import numpy as np

from hare_jax.evaluate.sketch import Sketch, pack, unpack

T = TypeVar("T")
_PATIENCE_MS = 7 * 24 * 3600 * 1000  # for the last process; where one dies, JAX ends all of them
_rounds = itertools.count()  # of messages; the same in all processes


def share(items: Iterable[T]) -> Iterator[T]:
    """The `items` of this process: of P processes, process p has the items p, p + P, p + 2 P, ..."""
    return itertools.islice(items, jax.process_index(), None, jax.process_count())


def merged(sketches: Mapping[str, Sketch]) -> dict[str, Sketch]:
    """The `sketches` of all processes, merged; every process has to call it, with the same names."""
    if jax.process_count() == 1:
        return dict(sketches)
    return {name: _merged(name, sketch) for name, sketch in sketches.items()}


def _merged(name: str, own: Sketch) -> Sketch:
    """The sketch of all processes, with one message from each."""
    messages = _gathered(zlib.compress(pack({name: own}).tobytes()))
    packed = np.concatenate([np.frombuffer(zlib.decompress(each), np.int64) for each in messages])
    return unpack(packed.reshape(-1, 2), [name])[name]


def _gathered(message: bytes) -> list[bytes]:
    """The messages of all processes, once the last one has sent its own."""
    from jax._src.distributed import global_state  # private: JAX has no public access to its coordinator

    client, prefix = global_state.client, f"hare_jax/{next(_rounds)}"
    assert client is not None, "there are several processes, so that there is a coordinator"
    client.key_value_set_bytes(f"{prefix}/{jax.process_index()}", message)
    keys = [f"{prefix}/{index}" for index in range(jax.process_count())]
    return [client.blocking_key_value_get_bytes(key, _PATIENCE_MS) for key in keys]
