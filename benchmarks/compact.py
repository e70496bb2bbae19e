"""The committed format of results: one sorted CSV file per table, small enough to review.

Two comment lines of JSON precede the header: the constant columns with their values, or those by mode if they depend on
it alone, and the columns that equal another one, with its name. Neither is repeated in the rows. Columns that no page
shows are in the working rows alone. Rows of one session, which differ in the number of questions, and those of one of
the authors' results, which differ in the mode, are one line, whose cells hold a value for each.
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
    "error",
    "jax",
    "library",
    "reason",
    "version",
    "weights_others",
)  # columns of text besides those of the specs
_DIGITS = 5  # precision; the pages show up to four
_NO_SD = ("success", "valid", "feasible", "ideal_cosine", "l0", "l1", "linf", "redundancy", "violations", "questions")
_AS_LOSS = ("ideal_l2", "weighted_cost")  # their s.d. and gain are shown as those of the loss
_NOT_SHOWN = {f"{name}_sd" for name in _NO_SD + _AS_LOSS} | {
    f"{name}_gain{of}" for name in _AS_LOSS for of in ("", "_sd", "_n")
}
_NOT_SHOWN_OF = {
    "questions": {"ideal_l2", "weighted_cost", "ideal_cosine", "l0", "l1", "l2", "l2_sd", "linf", "redundancy"}
    | {"loss_gain", "loss_gain_sd", "compile_s", "run_s", "peak_mib"}
}  # by table
_SERIES = {"authors": "mode", "questions": "budget"}  # the column in which the rows of a line differ, by table
_MODE = "mode"
_BETWEEN = ";"  # the values of a cell


def write(path: Path, table: str, rows: list[Row]) -> None:
    """Write the rows of one table, sorted by spec; the columns are those of the spec, then the others by name."""
    names = [field.name for field in spec_fields(table)]
    rows = sorted(rows, key=spec_values)
    known = {column for row in rows for column, value in row.items() if not _missing(value)}
    columns = [*names, *sorted(known - {*names, *_NOT_SHOWN, *_NOT_SHOWN_OF.get(table, ())})]
    values = {column: tuple(_text(row.get(column)) for row in rows) for column in columns}
    constant = {column: _rounded(rows[0][column]) for column in columns if len(set(values[column])) == 1}
    constant |= _by_mode(rows, {column: values[column] for column in columns if column not in constant})
    first: dict[tuple[str, ...], str] = {}
    for column in columns:
        if column not in constant:
            first.setdefault(values[column], column)
    kept = list(first.values()) or columns[:1]  # of a single row, every column is constant
    same = {column: first[values[column]] for column in columns if column not in (*constant, *kept)}
    frame = pd.DataFrame({column: values[column] for column in kept}, index=range(len(rows)))
    content = _folded(frame, table).to_csv(index=False, lineterminator="\n")
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
    if path.stem in _SERIES:
        content = _unfolded(pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)).to_csv(index=False)
    frame = pd.read_csv(io.StringIO(content), dtype=dtypes, keep_default_na=False, na_values=[""])
    constant = {name: frame[_MODE].map(each) if isinstance(each, dict) else each for name, each in constant.items()}
    frame = frame.assign(**constant, **{column: frame[of] for column, of in same.items()})
    return [{name: value for name, value in row.items() if not _missing(value)} for row in frame.to_dict("records")]


def _by_mode(rows: list[Row], values: dict[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    """The columns of texts `values` with one value in each mode: that value of the `rows`, by mode."""
    if _MODE not in values:
        return {}
    found = {}
    for column in values.keys() - {_MODE}:
        of = dict(zip(values[_MODE], values[column], strict=True))
        if all(of[mode] == text != "" for mode, text in zip(values[_MODE], values[column], strict=True)):
            found[column] = {row[_MODE]: _rounded(row[column]) for row in rows}
    return dict(sorted(found.items()))


def _folded(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """A line for the rows whose specs differ in the column of the series alone, if the table has one."""
    series = _SERIES.get(table)
    if series not in frame:
        return frame
    names = {field.name for field in spec_fields(table)} - {series}
    spec = [column for column in frame if column in names]
    parts = [part for _, part in frame.groupby(spec, sort=False, dropna=False)] if spec else [frame]
    return pd.DataFrame([{column: _joined(part[column]) for column in frame} for part in parts], columns=frame.columns)


def _joined(values: pd.Series) -> str:
    """The texts of a column; one that is always the same is not repeated."""
    return _BETWEEN.join(values if len(set(values)) > 1 else values[:1])


def _unfolded(frame: pd.DataFrame) -> pd.DataFrame:
    """The inverse of `_folded`."""
    cells = {column: [text.split(_BETWEEN) for text in frame[column]] for column in frame}
    nums = [max(map(len, line)) for line in zip(*cells.values(), strict=True)]
    return pd.DataFrame(
        {
            column: [
                text for each, num in zip(lines, nums, strict=True) for text in (each * num if len(each) == 1 else each)
            ]
            for column, lines in cells.items()
        }
    )


def _missing(value: Any) -> bool:
    return value is None or value != value


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _text(value: Any) -> str:
    if _missing(value):
        return ""
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
