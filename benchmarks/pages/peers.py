"""The page of other libraries: their figures and ours on the same rows, with paired intervals."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pages import figures, markdown
from benchmarks.peers.judge import COMPARED, OF_SETS, pooled
from benchmarks.store import read_latest
from hare_jax.evaluate import intervals

_LEVEL = 0.95
_KEYS = ["dataset", "arm", "method"]
_SHARES = ("usable", "raw")
_RUNS = (("cold_s", ".1f"), ("warm_ms", ".3g"), ("peak_mib", ".0f"))  # with the formats of their cells
_ABOUT = (
    "Other libraries and ours, with the same refused test rows, the same classifier and the same action space, judged "
    "by `hare_jax.evaluate.metrics`; the classifier is the mlp, except for `ar`, where it is linear. Each cell is "
    "*theirs / ours*. *Usable*: accepted by the classifier and allowed by the action space, after ordered columns and "
    "categories are rounded to whole steps; *as returned*: without rounding. Of several recourses for a row, the "
    "nearest usable one counts. *L1*, *L1 / optimum* (that of exact recourse), *L0* and *nearest* (L1 to the nearest "
    "accepted training row) are over the rows for which both are usable, with the 95 % interval of the paired "
    "difference theirs - ours in brackets: above 0, ours is better. *Diversity* and *L0 of sets*: mean L1 between the "
    "usable members of a set, and their mean L0. *Cold*: from the start of the process to the first result, in "
    "seconds, with imports, fits and compilation; *warm*: milliseconds a row after that, of all rows at once where the "
    "library takes them so, as ours does; *memory*: peak of the process, in MiB; each is the least over the seeds, as "
    "other programs of the computer only add to it. Libraries that take rows one by one are cut at the limit of time, "
    "and both are judged on the rows done."
)
_HEADER = (
    "library, method", "ours", "rows", "usable", "as returned", "L1", "L1 / optimum", "L0", "nearest", "diversity",
    "L0 of sets", "cold, s", "warm, ms", "memory",
)  # fmt: skip


def write(out: Path) -> Path:
    """Render the rows in `out` to `peers.md`; return its path.

    Of the rows of a method on a data set those with the most `users` count.
    """
    rows = pd.DataFrame(read_latest(out, "peers"))
    if len(rows):
        rows = rows[rows["users"] == rows.groupby(_KEYS)["users"].transform("max")]
    measured = rows[rows["rows"].notna()] if "rows" in rows else pd.DataFrame()
    lines = ["# peers: other libraries of recourse", "", _ABOUT, ""]
    if len(measured):
        lines += [figures.provenance(measured), "", *_tables(measured)]
    lines += ["## Not run, or not for all rows", "", *_failures(rows)]
    if len(measured):
        lines += [*_cut(measured), *_raised(measured)]
    path = out / "peers.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _tables(measured: pd.DataFrame) -> list[str]:
    """A table for each data set, with a line for each method."""
    lines = []
    for dataset, part in measured.groupby("dataset", sort=True):
        lines += [f"## {dataset}", "", *markdown.header(_HEADER)]
        lines += [*(markdown.line(_cells(cell)) for _, cell in part.groupby(_KEYS, sort=True)), ""]
    return lines


def _cells(cell: pd.DataFrame) -> list[str]:
    """The line of one method on one data set, all seeds pooled."""
    first, n = cell.iloc[0], int(cell["rows"].sum())
    shares = [f"{cell[f'{name}_theirs'].sum() / n:.1%} / {cell[f'{name}_ours'].sum() / n:.1%}" for name in _SHARES]
    samples = [intervals.share_of(np.arange(n) < cell[f"usable_{name}"].sum()) for name in ("theirs", "ours")]
    shares[0] += _interval(intervals.difference(samples[0], samples[1], _LEVEL), ".2f")
    library, _, method = first["arm"].partition(" ")
    about = [f"{library} {first['library']}, {method}", f"`{first['method']}`", str(n)]
    runs = [_pair(cell, "min", name, form) for name, form in _RUNS]
    of_sets = [_pair(cell, "mean", name, ".2f") for name in OF_SETS]
    return [*about, *shares, *(_compared(cell, name) for name in COMPARED), *of_sets, *runs]


def _compared(cell: pd.DataFrame, name: str) -> str:
    """Both means of a figure, and the interval of the paired difference."""
    known = cell[cell[f"{name}_n"] > 0]
    if known.empty:
        return ""
    n = known[f"{name}_n"].to_numpy(float)
    means = [np.average(known[f"{name}_{side}"], weights=n) for side in ("theirs", "ours")]
    apart = (known[f"{name}_theirs"] - known[f"{name}_ours"]).to_numpy(float)
    sample = pooled(n, apart, *(known[f"{name}_{moment}"].to_numpy(float) for moment in ("m2", "m3")))
    shown = f"{means[0]:.3f} / {means[1]:.3f}"
    return shown + (_interval(sample.interval(_LEVEL), ".3f") if sample.n > 2 else "") + f" n={sample.n}"


def _pair(cell: pd.DataFrame, statistic: str, name: str, form: str) -> str:
    """The statistic over the seeds of a figure of both; empty if theirs is unknown."""
    names = [f"{name}_{side}" for side in ("theirs", "ours")]
    values = [getattr(cell[column], statistic)() if column in cell else np.nan for column in names]
    return "" if np.isnan(values[0]) else " / ".join("-" if np.isnan(value) else f"{value:{form}}" for value in values)


def _interval(found: intervals.Interval, form: str) -> str:
    return f" [{found.low:{form}}, {found.high:{form}}]"


def _failures(rows: pd.DataFrame) -> list[str]:
    """The methods that did not run, each with its reason."""
    failed = rows[rows["reason"].notna()] if "reason" in rows else rows.iloc[:0]
    return [
        f"- {arm}: {reason} ({', '.join(sorted(set(part['dataset'])))}; seeds {_seeds(part)})"
        for (arm, reason), part in failed.groupby(["arm", "reason"], sort=True)
    ]


def _cut(measured: pd.DataFrame) -> list[str]:
    """The methods that have fewer rows than others of the same task, as the limit of time cut them."""
    most = measured["rows"].groupby([measured[name] for name in ("dataset", "model", "seed", "users")]).transform("max")
    cut = measured.assign(most=most)[measured["rows"] < most]
    return [
        f"- {arm}, {dataset}: {part['rows'].sum():.0f} of {part['most'].sum():.0f} rows "
        f"within {part['limit_s'].max():.0f} s a seed (seeds {_seeds(part)})"
        for (arm, dataset), part in cut.groupby(["arm", "dataset"], sort=True)
    ]


def _raised(measured: pd.DataFrame) -> list[str]:
    """The methods that raised exceptions for some rows."""
    raised = measured[measured["raised"] > 0]
    return [
        f"- {arm}, {dataset}: raised for {int(part['raised'].sum())} rows, first `{part['error'].dropna().iloc[0]}`"
        for (arm, dataset), part in raised.groupby(["arm", "dataset"], sort=True)
    ]


def _seeds(rows: pd.DataFrame) -> str:
    return ", ".join(map(str, sorted(set(rows["seed"]))))
