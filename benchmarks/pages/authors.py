"""The page of the authors' results, and ours with the behaviour of their code turned on, switch by switch."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.authors.switches import ALL, NAMES, NONE, SWITCHES
from benchmarks.pages import figures, markdown
from benchmarks.specs import Spec
from benchmarks.store import read_latest

_TABLE = "authors"
_TOLERANCE = 1e-9  # where the authors' s.d. is 0
_SHOWN = ["dataset", "model", "method", "arm", "ideal", "budget", "noise", "boundary", "person", "metric"]
_SIDE = ["mean", "sd"]  # the authors'
_ABOUT = """
The authors' results are means over seeds 1 to 4 of 100 users each, with the s.d. over the seeds
(`benchmarks/original/authors.csv`). *none* is paper mode with the same seeds and as many users; each switch turns on
one more behaviour of the original, alone, and *all* every one of them together. A cell is within one s.d. if our mean
differs from theirs by at most their s.d.; where that is 0, both have to be equal.
`python -m benchmarks authors` computes the cells.
"""


def saved_metrics(spec: Spec) -> list[str]:
    """The metrics that the authors saved for a cell."""
    saved, cell = _saved(), asdict(spec)
    same = (saved[figures.CELL] == pd.Series({name: cell[name] for name in figures.CELL})).all(axis=1)
    return list(dict.fromkeys(saved.loc[same, "metric"]))


def beside(out: Path) -> pd.DataFrame:
    """Each of the authors' results with ours, a column for each bundle of switches; only those of which all were run.

    The column `measured` is the mean of our runs of their code, if there are some.
    """
    saved, rows = _saved(), pd.DataFrame(read_latest(out, _TABLE))
    if rows.empty:
        return saved.iloc[:0].reindex(columns=[*saved, *NAMES, "measured"])
    metrics = [name for name in saved["metric"].unique() if name in rows]
    long = rows.melt([*figures.CELL, "mode"], metrics, var_name="metric").dropna(subset="value")
    long = long.astype({"budget": int, "per_round": int, "noise": str})
    wide = long.pivot_table("value", [*figures.CELL, "metric"], "mode").reindex(columns=list(NAMES)).dropna()
    found = saved.merge(wide.reset_index(), on=[*figures.CELL, "metric"])
    runs = figures.original().query("source == 'measured'").rename(columns={"mean": "measured"})
    return found.merge(runs[[*figures.CELL, "metric", "measured"]], on=[*figures.CELL, "metric"], how="left")


def within(found: pd.DataFrame, bundle: str, num_sd: int = 1) -> pd.Series:
    """Whether our mean with a bundle of switches is within so many of the authors' s.d. of theirs."""
    return (found[bundle] - found["mean"]).abs() <= num_sd * found["sd"] + _TOLERANCE


def legend() -> list[str]:
    """What the names in `enough` mean."""
    return [
        "*Ours* is paper mode, seeds 1 to 5. The last column has the switches of "
        "[authors_switches.md](authors_switches.md) with which our mean is within one s.d. of theirs on their seeds: "
        f"`{NONE}` of them, one of them alone, or `{ALL}`; `no` if neither."
    ]


def enough(found: pd.DataFrame) -> dict[tuple, str]:
    """By cell and metric: `none`, the first switch that alone brings the result within one s.d., `all`, or `no`."""
    reached = pd.DataFrame({name: within(found, name) for name in NAMES}, found.index)
    first = reached.idxmax(axis=1).where(reached.any(axis=1), "no") if len(found) else pd.Series(dtype=str)
    keys = found[[*figures.CELL, "metric"]].itertuples(index=False, name=None)
    return dict(zip(keys, first, strict=True))


def summary(found: pd.DataFrame) -> list[str]:
    """The number of results within one and two s.d., by bundle of switches."""
    lines = markdown.header(["switches", "within one s.d.", "share", "within two", "share"])
    for name in NAMES:
        counts = [within(found, name, num_sd) for num_sd in (1, 2)]
        shares = [cell for each in counts for cell in (f"{each.sum()} of {len(each)}", markdown.share(each.mean()))]
        lines.append(markdown.line([name, *shares]))
    return lines


def write(out: Path) -> Path:
    """Render the rows in `out` to `authors_switches.md`; return its path."""
    found = beside(out)
    lines = ["# The authors' results, switch by switch", _ABOUT]
    lines += [f"- `{name}`: {switch.does}." for name, switch in SWITCHES.items()]
    if len(found):
        rows = pd.DataFrame(read_latest(out, _TABLE))
        seeds = f"{len(rows)} means over {rows['seeds'].max():.0f} seeds of {rows['users'].max():.0f} users."
        lines += ["", f"{figures.provenance(rows)} They are {seeds}", "", *summary(found)]
        lines += ["", "Results within one s.d., by metric, data set and base method:", ""]
        lines += _counts(found, ("metric", "dataset", "method"))
        lines += [
            "",
            "Results outside one s.d. with none, by the switches that alone bring them within; the last column has",
        ]
        lines += ["those that neither a switch nor all of them explain:", "", *_causes(found)]
        lines += ["", "Median over results of ours / the authors', distance to the ideal:", ""]
        lines += [*_ratios(found), "", *_remaining(found)]
    path = out / "authors_switches.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _saved() -> pd.DataFrame:
    saved = figures.original().query("source == 'authors'")
    return saved[[*figures.CELL, "metric", *_SIDE]].reset_index(drop=True)


def _counts(found: pd.DataFrame, keys: Iterable[str]) -> list[str]:
    lines = markdown.header(["", "results", *NAMES])
    for key in keys:
        for value, part in found.groupby(key, sort=False):
            lines.append(markdown.line([value, len(part), *(within(part, name).sum() for name in NAMES)]))
    return lines


def _causes(found: pd.DataFrame) -> list[str]:
    lines = markdown.header(["metric", "outside", *SWITCHES, "only all together", "unexplained"])
    for metric, part in found[~within(found, NONE)].groupby("metric", sort=False):
        alone = pd.DataFrame({name: within(part, name) for name in SWITCHES})
        together = within(part, ALL) & ~alone.any(axis=1)
        unexplained = ~within(part, ALL) & ~alone.any(axis=1)
        lines.append(markdown.line([metric, len(part), *alone.sum(), together.sum(), unexplained.sum()]))
    return lines


def _ratios(found: pd.DataFrame) -> list[str]:
    lines = markdown.header(["data set", "results", *NAMES])
    for dataset, part in found[found["metric"] == "ideal_l2"].groupby("dataset", sort=False):
        ratios = [f"{(part[name] / part['mean']).median():.2f}" for name in NAMES]
        lines.append(markdown.line([dataset, len(part), *ratios]))
    return lines


def _remaining(found: pd.DataFrame) -> list[str]:
    """The results that are not within one s.d. with all switches, with our runs of the original."""
    missed = found[~within(found, ALL)]
    nearer = _side(missed)
    lines = [
        "## The others",
        "",
        f"{len(missed)} results are not within one s.d. with all switches. Our runs of the original (on fewer users "
        f"and seeds, see `benchmarks/original/measured.csv`) have {nearer.notna().sum()} of them: "
        f"{(nearer == 'ours').sum()} are nearer to ours, {(nearer == 'authors').sum()} to the authors' results.",
        "",
    ]
    header = [*_SHOWN, "authors", NONE, ALL, "(all - authors) / s.d.", "our runs of the original"]
    lines += markdown.header([name.replace("dataset", "data set") for name in header])
    for _, row in missed.iterrows():
        gap = f"{(row[ALL] - row['mean']) / row['sd']:+.2f}" if row["sd"] > 0 else ""
        ours = [f"{row[name]:.4g}" for name in (NONE, ALL)]
        runs = "" if row["measured"] != row["measured"] else f"{row['measured']:.4g}"
        cells = [*(row[name] for name in _SHOWN), f"{row['mean']:.4g} +- {row['sd']:.2g}", *ours, gap, runs]
        lines.append(markdown.line(cells))
    return lines


def _side(found: pd.DataFrame) -> pd.Series:
    """Whether the run of the original is nearer to `ours`, with all switches, or to the `authors`; NaN without one."""
    to_ours, to_authors = ((found["measured"] - found[name]).abs() for name in (ALL, "mean"))
    names = pd.Series(np.where(to_ours < to_authors, "ours", "authors"), found.index, dtype=object)
    return names.where(found["measured"].notna())
