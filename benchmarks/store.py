"""Results on disk: one JSON object a line, appended as soon as it is there."""

import json
import os
from pathlib import Path
from typing import Any

import hare_jax
from benchmarks.specs import Spec


def row_key(row: dict[str, Any]) -> str:
    """The spec within a row, with the version of the code: what makes two rows the same."""
    spec = {field: row[field] for field in Spec.__dataclass_fields__}
    return json.dumps({**spec, "version": row.get("version", hare_jax.__version__)}, sort_keys=True)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file, none if it isn't there; a last line that was cut off is left out."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Write one row to the end of a JSONL file and have it on disk before coming back.

    A line that an earlier run was cut off in is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_cut_line(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _drop_cut_line(path: Path) -> None:
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)
