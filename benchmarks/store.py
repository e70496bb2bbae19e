"""Results on disk: one JSON object a line, appended as soon as it is there, however many runs write at once."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import hare_jax
from benchmarks.specs import Spec


def row_key(row: dict[str, Any]) -> str:
    """The spec within a row, with the version of the code: what makes two rows the same."""
    spec = {field: row.get(field) for field in Spec.__dataclass_fields__}
    return json.dumps({**spec, "version": row.get("version", hare_jax.__version__)}, sort_keys=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file, none if it isn't there; a last line that was cut off is left out."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in _whole_lines(path.read_bytes())]


class Store:
    """The rows of a JSONL file, by `row_key`; each is there once."""

    def __init__(self, path: Path) -> None:
        """Open the file, or the one that the first row will make."""
        self.path = path
        self._keys: set[str] = set()
        self._seen = 0  # bytes, up to the end of a line
        if path.is_file():
            with path.open("rb") as file:
                self._catch_up(file)

    def __contains__(self, row: dict[str, Any]) -> bool:
        return row_key(row) in self._keys

    def append(self, row: dict[str, Any]) -> bool:
        """Add a row and have it on disk before coming back, unless another run has added it already.

        A line that an earlier run was cut off in is removed first.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._catch_up(file)
            file.truncate(self._seen)
            if row in self:
                return False
            line = (json.dumps(row) + "\n").encode()
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            self._keys.add(row_key(row))
            self._seen += len(line)
            return True

    def _catch_up(self, file: BinaryIO) -> None:
        """Take in the lines that were written since the last look."""
        file.seek(self._seen)
        for line in _whole_lines(file.read()):
            self._keys.add(row_key(json.loads(line)))
            self._seen += len(line)


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Write one row to the end of a JSONL file, however often it is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
