"""The committed format of results: one sorted CSV file per table, small enough to review.

Two comment lines of JSON precede the header: the constant columns with their values, and the columns that equal another
one, with its name. Neither is repeated in the rows. Standard deviations that no page shows are in the working rows
alone.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.specs import spec_fields, spec_values

Row = dict[str, Any]
_TEXT = (
    "classifier_others",
    "device",
    "digest",
    "jax",
    "version",
    "weights_others",
)  # columns of text besides those of the specs
_DIGITS = 6  # precision of a float32
_NO_SD = ("success", "valid", "feasible", "ideal_cosine", "l0", "l1", "linf", "redundancy", "violations", "questions")
_LEFT_OUT = {f"{name}_sd" for name in _NO_SD}


def write(path: Path, table: str, rows: list[Row]) -> None:
    """Write the rows of one table, sorted by spec; the columns are those of the spec, then the others by name."""
    names = [field.name for field in spec_fields(table)]
    rows = sorted(rows, key=spec_values)
    known = {column for row in rows for column, value in row.items() if not _missing(value)}
    columns = [*names, *sorted(known - {*names, *_LEFT_OUT})]
    values = {column: tuple(_text(row.get(column)) for row in rows) for column in columns}
    constant = {column: _rounded(rows[0][column]) for column in columns if len(set(values[column])) == 1}
    first: dict[tuple[str, ...], str] = {}
    for column in columns:
        if column not in constant:
            first.setdefault(values[column], column)
    kept = list(first.values()) or columns[:1]  # of a single row, every column is constant
    same = {column: first[values[column]] for column in columns if column not in (*constant, *kept)}
    frame = pd.DataFrame({column: values[column] for column in kept}, index=range(len(rows)))
    content = frame.to_csv(index=False, lineterminator="\n")
    text = f"# {json.dumps(constant)}\n# {json.dumps(same)}\n{content}"
    new = path.with_suffix(".csv.new")
    new.write_text(text, "utf-8")
    os.replace(new, path)


def read(path: Path) -> list[Row]:
    """The rows of a file written by `write`; none if it does not exist."""
    if not path.is_file():
        return []
    comments, same_comment, content = path.read_text("utf-8").split("\n", 2)
    constant, same = json.loads(comments[2:]), json.loads(same_comment[2:])
    texts = [*_TEXT, *(field.name for field in spec_fields(path.stem) if field.type is str)]
    dtypes = dict.fromkeys(texts, str)
    frame = pd.read_csv(io.StringIO(content), dtype=dtypes, keep_default_na=False, na_values=[""])
    frame = frame.assign(**constant, **{column: frame[of] for column, of in same.items()})
    return [{name: value for name, value in row.items() if not _missing(value)} for row in frame.to_dict("records")]


def _missing(value: Any) -> bool:
    return value is None or value != value


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _text(value: Any) -> str:
    if _missing(value):
        return ""
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
