"""Named arrays in one file of NumPy's `.npz` format. Nothing is pickled, so that a file can't run code."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from hare_jax.base import require

_PART = ".part"  # suffix of a file that is being written
_NUM_SHOWN = 5  # names of arrays in a message

File = str | os.PathLike[str] | IO[bytes]


def name_of(file: File) -> str:
    """The name of a path or an open file, for messages."""
    return str(file) if isinstance(file, str | os.PathLike) else str(getattr(file, "name", "file"))


def write(file: File, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to a path or an open binary file; a file of that name is replaced once the new one is complete.

    Raises:
        OSError: the file can't be written.
    """
    if not isinstance(file, str | os.PathLike):
        np.savez(file, **arrays)  # type: ignore[arg-type]
        return
    path = Path(file)
    part = path.with_name(path.name + _PART)
    with part.open("wb") as opened:
        write(opened, arrays)
    part.replace(path)


def read(file: File, names: Collection[str], rule: str) -> dict[str, np.ndarray]:
    """All arrays of a path or an open binary file, those of the given `names` among them.

    Raises:
        ValueError: the file is damaged, or lacks a name; the message gives the `rule`.
        OSError: the file can't be read.
    """
    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as opened:
            return read(opened, names, rule)
    try:
        content = np.load(file, allow_pickle=False)
        arrays = dict(content.items()) if isinstance(content, np.lib.npyio.NpzFile) else {}
    except Exception as error:  # damaged files raise errors of many types
        raise ValueError(f"{name_of(file)}: {rule}; got {error}") from None
    require(set(names) <= arrays.keys(), name_of(file), rule, sorted(arrays)[:_NUM_SHOWN])
    return arrays
