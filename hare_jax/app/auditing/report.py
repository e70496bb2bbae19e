"""An audit in a terminal and in files."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hare_jax.app.auditing.plot import plot
from hare_jax.evaluate.audit import EVERYBODY, FIGURES, SMALLEST, Results, Row

_LEAST_SHOWN = 0.001  # p-values
_SIGNIFICANT = 0.05
_DPI = 150


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """An audit, and what it stands on."""

    about: str  # the rows, the classifier and the method in words
    rows: tuple[Row, ...]
    results: Results
    attributes: Mapping[str, np.ndarray]  # labels (n,)
    index: pd.Index  # (n,) of the rows


def show(console: Console, report: Report) -> None:
    """Print a table for each figure, without groups of fewer than `SMALLEST` rows, and what it means."""
    console.print(Text(report.about))
    for name in dict.fromkeys(row.figure for row in report.rows):
        rows = [row for row in report.rows if row.figure == name]
        console.print(_table(name, rows) if _differs(rows) else Text(f"\n{FIGURES[name].label}: {_same(name, rows)}"))
    console.print(Text(_notes(report)))


def write(folder: Path, report: Report) -> list[Path]:
    """Write `audit.csv` (the figures), `rows.csv` (each row) and, with matplotlib, `audit.png`: the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures, rows, picture = (folder / name for name in ("audit.csv", "rows.csv", "audit.png"))
    pd.DataFrame(report.rows).to_csv(figures, index=False)
    known = {name: values for name, values in report.results._asdict().items() if values is not None}
    labels = {f"by {name}" if name in known else name: values for name, values in report.attributes.items()}
    pd.DataFrame({**labels, **known}, report.index).to_csv(rows, index_label="row")
    try:
        canvas = plot(report.rows)
    except ImportError:
        return [figures, rows]
    canvas.savefig(picture, dpi=_DPI)
    return [figures, rows, picture]


def _differs(rows: Sequence[Row]) -> bool:
    """Whether a group of a figure differs from the rest, by more than rounding."""
    return any(math.isfinite(row.difference) and row.difference != 0 for row in rows)


def _same(name: str, rows: Sequence[Row]) -> str:
    """The estimate that all groups have."""
    scale = 100 if FIGURES[name].is_share else 1
    everybody = rows[0]
    if not everybody.n:
        return "no rows"
    unit = " %" if FIGURES[name].is_share else ""
    interval = _interval(scale * everybody.low, scale * everybody.high, scale)
    return f"{_number(scale * everybody.estimate, scale)}{unit} ({interval}) of {everybody.n:,} rows, in every group"


def _table(name: str, rows: Sequence[Row]) -> Table:
    """The table of a figure; groups that are too small are counted below it."""
    shown = [row for row in rows if row.n >= SMALLEST or row.group == EVERYBODY]
    title = FIGURES[name].label + (", %" if FIGURES[name].is_share else "")
    grid = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", caption_justify="left")
    for heading in ("group", "n", "estimate", "95 % interval", "difference", "95 % interval", "p"):
        grid.add_column(heading, justify="left" if heading == "group" else "right")
    for row in shown:
        significant = row.p_value < _SIGNIFICANT
        style = "bold" if significant or row.group == EVERYBODY else ""
        grid.add_row(*_cells(row, 100 if FIGURES[name].is_share else 1), style=style)
    if len(shown) < len(rows):
        grid.caption = f"Groups of fewer than {SMALLEST} rows, left out: {len(rows) - len(shown):,}"
    return grid


def _cells(row: Row, scale: int) -> tuple[Text, ...]:
    """The cells of a row; figures are multiplied by `scale`."""
    interval = _interval(scale * row.low, scale * row.high, scale)
    apart = _interval(scale * row.difference_low, scale * row.difference_high, scale)
    estimate, difference = (_number(scale * value, scale) for value in (row.estimate, row.difference))
    p = "too few" if row.too_small else _p_value(row.p_value)
    return tuple(map(Text, (row.group, f"{row.n:,}", estimate, interval, difference, apart, p)))


def _number(value: float, scale: int) -> str:
    """A figure, empty where unknown."""
    if math.isnan(value):
        return ""
    return f"{value:.1f}" if scale > 1 else f"{value:.3g}"


def _interval(low: float, high: float, scale: int) -> str:
    return "" if math.isnan(low) else f"{_number(low, scale)} to {_number(high, scale)}"


def _p_value(p: float) -> str:
    if math.isnan(p):
        return ""
    return f"< {_LEAST_SHOWN}" if p < _LEAST_SHOWN else f"{p:.3f}"


def _notes(report: Report) -> str:
    proofs = report.results.proved_none
    proved = (
        "Of this classifier nothing is proved: a row without recourse is one for which the search found none."
        if proofs is None
        else f"{proofs.sum()} of {(report.results.refused & ~report.results.found).sum()} rows without recourse are "
        "proved to have none."
    )
    return (
        f"Costs are in encoded units, over the refused rows with a recourse: rows without one are in no cost. {proved} "
        "Intervals: Wilson for shares, Hall for means, order statistics for medians; they are not adjusted. p: of no "
        "difference to all other rows, adjusted by Holm's method over the groups of a figure. Too few: the rest "
        f"has fewer than {SMALLEST} rows, so that the group is not tested. audit.csv (--out) has all groups."
    )
