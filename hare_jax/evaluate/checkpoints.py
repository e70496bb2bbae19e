"""Checkpoints of streamed summaries: one small file for each process, replaced as a whole.

A file holds a digest of its run: of the program of one user, all of its arrays, the key, the population, the batch size
and the number of processes. Sizes of chunks and numbers of devices are not part of it.
"""

import hashlib
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from hare_jax import archive
from hare_jax.base import require
from hare_jax.evaluate.sketch import Sketch, pack, unpack

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of functions that a program names
_RULE = "must be a checkpoint written by stream"
_SAME = "must be of a run with the same function, arrays, key, population, batch_size and processes"


class Progress(NamedTuple):
    """The summary of the first users of a process."""

    blocks: int  # of users that are done
    users: int
    crc: int  # checksum of their rows; 0 without rows
    sketches: dict[str, Sketch]


class File(NamedTuple):
    """The checkpoint of a process."""

    path: Path
    digest: str

    def save(self, progress: Progress) -> None:
        """Replace the file.

        Raises:
            OSError: it can't be written.
        """
        names = np.array(list(progress.sketches))
        numbers = np.array(progress[:3], np.int64)
        digest, packed = np.array(self.digest), pack(progress.sketches)
        archive.write(self.path, {"digest": digest, "names": names, "numbers": numbers, "packed": packed})

    def load(self, start: Progress) -> Progress:
        """The saved progress; if there is no file, the `start`, which is saved.

        Raises:
            ValueError: the file is none, or of another run.
            OSError: it can't be read or written.
        """
        if not self.path.exists():
            self.save(start)
            return start
        arrays = archive.read(self.path, ("digest", "names", "numbers", "packed"), _RULE)
        require(str(arrays["digest"]) == self.digest, "checkpoint", _SAME, str(self.path))
        blocks, users, crc = arrays["numbers"].tolist()
        return Progress(blocks, users, crc, unpack(arrays["packed"], arrays["names"].tolist()))


def file_for(path: str | PathLike[str] | None, fn: Partial, args: tuple, about: Mapping[str, Any]) -> File | None:
    """The file of this process for a run of `fn`, with `args` such as those of one user, and what else it is `about`.

    One of P > 1 processes has the file PATH.p-of-P.
    """
    if path is None:
        return None
    index, num = jax.process_index(), jax.process_count()
    own = Path(path)
    own = own if num == 1 else own.with_name(f"{own.name}.{index}-of-{num}")
    return File(own, digest(fn, args, {**about, "process": index, "processes": num}))


def digest(fn: Partial, args: tuple, about: Mapping[str, Any]) -> str:
    """The digest of the program of `fn`, its arrays and its first argument, a key; of the others only shapes count."""
    traced = jax.make_jaxpr(lambda fn, args: fn(*args))(fn, args)
    sha = hashlib.sha256(_ADDRESS.sub("", str(traced.jaxpr)).encode())
    for leaf in jax.tree.leaves((fn, args[0], traced.consts)):
        sha.update(_bytes(leaf))
    sha.update(repr(sorted(about.items())).encode())
    return sha.hexdigest()


def _bytes(leaf: Any) -> bytes:
    """Type, shape and content of an array, a key or a number."""
    is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    return f"{array.dtype} {array.shape} ".encode() + array.tobytes()
