"""The page of other libraries: their figures and ours on the same rows, with paired intervals."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pages import figures, markdown
from benchmarks.peers.judge import COMPARED, pooled
from benchmarks.store import read_latest
from hare_jax.evaluate import intervals

_LEVEL = 0.95
_KEYS = ["dataset", "arm", "method"]
_ABOUT = (
    "Other libraries and ours, with the same refused test rows, the same classifier and the same action space, "
    "judged by `hare_jax.evaluate.metrics`. Each cell is *theirs / ours*. *Usable*: accepted by the classifier "
    "and allowed by the action space, after ordered columns and categories are rounded to whole steps; *as "
    "returned*: without rounding. Of several recourses for a row, the nearest usable one counts. *L1*, *L1 / "
    "optimum* (that of exact recourse), *L0* and *nearest* (L1 to the nearest accepted training row) are over the"
    " rows for which both are usable, with the 95 % interval of the paired difference theirs - ours in brackets: "
    "above 0, ours is better. *Diversity*: mean L1 between the usable members of a set. *Cold*: from the start of"
    " the process to the first result, in seconds, with imports, fits and compilation; *warm*: milliseconds a row"
    " after that; *memory*: peak of the process, in MiB. Libraries that take rows one by one are cut at the limit"
    " of time, and both are judged on the rows done."
)
_SHARES = ("usable", "raw")
_HEADER = (
    "library, method", "ours", "rows", "usable", "as returned", "L1", "L1 / optimum", "L0", "nearest", "diversity",
    "cold, s", "warm, ms", "memory",
)  # fmt: skip


def write(out: Path) -> Path:
    """Render the rows in `out` to `peers.md`; return its path."""
    rows = pd.DataFrame(read_latest(out, "peers"))
    lines = ["# peers: other libraries of recourse", "", _ABOUT, ""]
    if len(rows):
        lines += [figures.provenance(rows), ""]
        measured = rows[rows["rows"].notna()] if "rows" in rows else rows.iloc[:0]
        for dataset, part in measured.groupby("dataset", sort=True):
            lines += [f"## {dataset}", "", *markdown.header(_HEADER)]
            lines += [markdown.line(_cells(cell)) for _, cell in part.groupby(_KEYS, sort=True)]
            lines.append("")
        lines += _faults(rows, measured)
    path = out / "peers.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _cells(cell: pd.DataFrame) -> list[str]:
    """The line of one method on one data set, all seeds pooled."""
    first, n = cell.iloc[0], int(cell["rows"].sum())
    shares = [f"{cell[f'{name}_theirs'].sum() / n:.1%} / {cell[f'{name}_ours'].sum() / n:.1%}" for name in _SHARES]
    samples = [intervals.share_of(np.arange(n) < cell[f"usable_{name}"].sum()) for name in ("theirs", "ours")]
    shares[0] += _interval(intervals.difference(samples[0], samples[1], _LEVEL), ".2f")
    library, theirs = first["arm"].split(" ", 1)
    about = [f"{library} {first['library']}, {theirs}", f"`{first['method']}`", str(n)]
    runs = [_pair(cell, name, form) for name, form in (("cold_s", ".1f"), ("warm_ms", ".3g"), ("peak_mib", ".0f"))]
    return [*about, *shares, *(_compared(cell, name) for name in COMPARED), _pair(cell, "diversity", ".2f"), *runs]


def _compared(cell: pd.DataFrame, name: str) -> str:
    """Both means of a figure, and the interval of the paired difference."""
    known = cell[cell[f"{name}_n"] > 0]
    if known.empty:
        return ""
    n = known[f"{name}_n"].to_numpy(float)
    means = [np.average(known[f"{name}_{side}"], weights=n) for side in ("theirs", "ours")]
    sample = pooled(n, *(known[f"{name}_{moment}"].to_numpy(float) for moment in ("m1", "m2", "m3")))
    shown = f"{means[0]:.3f} / {means[1]:.3f}"
    return shown + (_interval(sample.interval(_LEVEL), ".3f") if sample.n > 2 else "") + f" n={sample.n}"


def _pair(cell: pd.DataFrame, name: str, form: str) -> str:
    values = [cell[f"{name}_{side}"].mean() if f"{name}_{side}" in cell else np.nan for side in ("theirs", "ours")]
    return "" if np.isnan(values[0]) else " / ".join("-" if np.isnan(value) else f"{value:{form}}" for value in values)


def _interval(found: intervals.Interval, form: str) -> str:
    return f" [{found.low:{form}}, {found.high:{form}}]"


def _faults(rows: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """What could not run, and what raised, each once."""
    done = set(map(tuple, measured[_KEYS].to_numpy()))
    lines = ["## Not run, or not for all rows", ""]
    for key, part in rows.groupby(_KEYS, sort=True):
        about = f"- {key[0]}, {key[1]}"
        if tuple(key) not in done:
            lines.append(f"{about}: {part['reason'].iloc[-1]}")
            continue
        ran = measured[(measured[_KEYS] == list(key)).all(axis=1)]
        wanted, got = int(ran["users"].sum()), int(ran["rows"].sum())
        if got < wanted:
            lines.append(f"{about}: {got} of at most {wanted} rows")
        if ran["raised"].sum() > 0:
            lines.append(
                f"{about}: raised for {int(ran['raised'].sum())} rows, first `{ran['error'].dropna().iloc[0]}`"
            )
    return lines
