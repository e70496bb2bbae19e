"""Results on disk: working rows, one JSON object per line, and the committed files that they are merged into.

A working row is appended as soon as it is computed; several runs may write at once. The key of a row is its spec and
the digest of the code; a run skips rows whose key is in either place. Pages show one row per spec, see `latest`.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks import compact, digest
from benchmarks.specs import spec_values

Row = dict[str, Any]
WORKING = "working.jsonl"


def spec_key(row: Row) -> str:
    """The spec of a row."""
    return json.dumps(spec_values(row))


def row_key(row: Row) -> str:
    """The spec of a row and the digest of its code, by default that of the running code."""
    return f"{spec_key(row)} {row.get('digest', digest.code_of(row))}"


def latest(rows: Iterable[Row]) -> list[Row]:
    """One row per spec: that of the running code, otherwise the last one."""
    found: dict[str, Row] = {}
    for row in rows:
        key = spec_key(row)
        present = digest.code_of(row)
        if row["digest"] == present or found.get(key, row)["digest"] != present:
            found[key] = row
    return list(found.values())


def read_rows(path: Path) -> list[Row]:
    """Rows of a JSONL file, none if it does not exist; an incomplete last line is ignored."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in _whole_lines(path.read_bytes())]


def read_latest(out: Path, table: str | None = None) -> list[Row]:
    """The latest rows in the folder `out`, committed or working, of one table or all."""
    paths = sorted(out.glob("*.csv")) if table is None else [out / f"{table}.csv"]
    committed = [row for path in paths for row in compact.read(path)]
    working = [row for row in read_rows(out / WORKING) if table in (None, row["table"])]
    return latest([*committed, *working])


class Store:
    """The rows in a folder, unique by `row_key`."""

    def __init__(self, out: Path) -> None:
        """Open the folder `out`, which is created if it does not exist.

        Raises:
            OSError: it can't be created or written to.
        """
        _make_writable(out)
        self.out = out
        self.path = out / WORKING
        self._keys = {row_key(row) for path in out.glob("*.csv") for row in compact.read(path)}
        self._seen = 0  # bytes, up to the end of a line
        if self.path.is_file():
            with self.path.open("rb") as file:
                self._catch_up(file)

    def __contains__(self, row: Row) -> bool:
        return row_key(row) in self._keys

    def append(self, row: Row) -> bool:
        """Write a row to disk, unless another run has written it; returns whether it was written.

        A row of the running code gets the digest of what it depends on. An incomplete last line of an interrupted run
        is removed first.

        Raises:
            OSError: the row can't be written, as the disk is full; those before it are kept.
        """
        if row.get("digest") == digest.code():
            row = row | {"digest": digest.code_of(row)}
        try:
            with self.path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                return self._append(file, row)
        except OSError as error:
            raise OSError(f"out: must have space for a row; got {str(self.path)!r}, {error.strerror}") from error

    def _append(self, file: BinaryIO, row: Row) -> bool:
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

    def merge(self, tables: Iterable[str]) -> None:
        """Write the latest rows of each of the `tables` to its committed file."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for table in sorted(set(tables)):
                if rows := read_latest(self.out, table):
                    compact.write(self.out / f"{table}.csv", table, rows)

    def _catch_up(self, file: BinaryIO) -> None:
        """Read the keys of the lines written since the last call."""
        file.seek(self._seen)
        for line in _whole_lines(file.read()):
            self._keys.add(row_key(json.loads(line)))
            self._seen += len(line)


def _make_writable(out: Path) -> None:
    """Create the folder `out` if it does not exist, and raise an `OSError` if it can't be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(out, os.W_OK | os.X_OK) else "it is read-only"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise OSError(f"out: must be a folder that can be written to; got {str(out)!r}, {reason}")


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
