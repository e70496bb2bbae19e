"""The page of all results: what holds, how near we are to the authors, and where to look further."""

from pathlib import Path

import pandas as pd

from benchmarks.pages import figures
from benchmarks.pages.findings import CLAIMS
from benchmarks.specs import BASE, MODES
from benchmarks.tables import TABLES

_COUNTS = ("redundancy", "l0", "violations")
_REASONS = {
    "redundancy": "the original counts columns that float noise changed; we count changes of more than 1e-5",
    "tight": "the authors' s.d. is below 1 % of their mean: it is a count or a share that hardly varies",
    "count": "a count of columns, which moves with how the base recourse gets to the boundary",
    "draws": "all of the authors' users of a seed share their random numbers: four seeds are four draws",
}


def write(out: Path) -> Path:
    """Write `README.md`, and `authors.md` with each of the authors' figures beside ours; the path of the former."""
    rows = figures.load(out)
    rows = rows[rows["table"].isin(TABLES)]
    beside = figures.against_authors(rows)
    lines = ["# Results", "", _what_was_run(rows), "", figures.provenance(rows), ""]
    lines += [*_claims(rows), "", *_authors(beside), "", *_tables(out)]
    (out / "authors.md").write_text("\n".join(_every_figure(beside)) + "\n", "utf-8")
    path = out / "README.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _claims(rows: pd.DataFrame) -> list[str]:
    lines = [
        "## What holds of the paper's claims",
        "",
        "In how many cells (data set x classifier x base method) a claim is sure: the 95 % interval of the difference "
        "on the same users leaves out 0. *Paper* does as the paper's code did; *feasible* keeps every recourse and "
        "every hidden ideal valid and allowed.",
        "",
        "| claim | table | paper | feasible |",
        "|---|---|---|---|",
    ]
    for claim in CLAIMS if len(rows) else ():
        about = rows[rows["table"] == claim.table]
        counts = {mode: claim.ask(about[about["mode"] == mode]) for mode in MODES}
        link = f"[{claim.table}]({claim.table}.md)"
        lines.append(f"| {claim.text} | {link} | {counts['paper']} | {counts['feasible']} |")
    return lines


def _what_was_run(rows: pd.DataFrame) -> str:
    paper = (rows["mode"] == "paper").sum()
    sessions = rows.loc[rows["arm"] != BASE, "valid_n"].sum() if len(rows) else 0
    memory = f"at most {rows['peak_mib'].max():.0f} MiB of memory a process" if len(rows) else "nothing was run"
    return (
        f"{paper} experiments in paper mode (`python -m benchmarks all`) and {len(rows) - paper} in feasible mode "
        f"(with `--feasible`, or one table); {sessions:.0f} simulated sessions, {memory}. What is empty was not run."
    )


def _authors(beside: pd.DataFrame) -> list[str]:
    """How many of the authors' figures ours are within one s.d. of, by metric."""
    lines = ["## Beside the authors' figures", ""]
    if not len(beside):
        return [*lines, "None of their cells was run."]
    within = beside["within"]
    lines += [
        f"Our mean in paper mode is within one s.d. (theirs, over four seeds) of {within.sum()} of the {len(beside)} "
        f"figures that the authors saved ({within.mean():.0%}), and within two of "
        f"{(beside['gap'].abs() <= 2 * beside['sd'] + 1e-9).mean():.0%}. Each one is in [authors.md](authors.md).",
        "",
        "| figure | cells | within one s.d. | why not the others |",
        "|---|---|---|---|",
    ]
    for metric, part in beside.groupby("metric", sort=False):
        missed = part[~part["within"]].apply(_reason, axis=1) if not part["within"].all() else pd.Series(dtype=str)
        why = "; ".join(f"{number} x {reason}" for reason, number in missed.value_counts().items())
        lines.append(f"| {metric} | {len(part)} | {part['within'].sum()} | {why} |")
    return lines


def _reason(miss: pd.Series) -> str:
    if miss["metric"] == "redundancy":
        return _REASONS["redundancy"]
    if miss["sd"] <= 0.01 * abs(miss["mean"]):
        return _REASONS["tight"]
    return _REASONS["count" if miss["metric"] in _COUNTS else "draws"]


def _every_figure(beside: pd.DataFrame) -> list[str]:
    names = ["dataset", "model", "method", "arm", "ideal", "budget", "noise", "boundary", "person", "metric"]
    header = [*names, "authors", "ours", "(ours - authors) / s.d.", "why"]
    lines = ["# Each of the authors' figures beside ours", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for _, row in beside.iterrows():
        gap = f"{row['gap'] / row['sd']:+.2f}" if row["sd"] > 0 else ""
        both = [f"{row['mean']:.4g} +- {row['sd']:.2g}", f"{row['ours']:.4g} +- {row['ours_sd']:.2g}"]
        cells = [*(str(row[name]) for name in names), *both, gap, "" if row["within"] else _reason(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _tables(out: Path) -> list[str]:
    lines = ["## Tables", ""]
    for name, table in TABLES.items():
        if (out / f"{name}.md").is_file():
            plots = [f"[{mode}]({name}_{mode}.png)" for mode in MODES if (out / f"{name}_{mode}.png").is_file()]
            lines.append(f"- [{name}]({name}.md): {table.title}; plots: {', '.join(plots) or 'none'}")
    if (out / "questions.md").is_file():
        lines.append("- [questions](questions.md): the loss after how many questions")
    plot = out / "table1_feasible.png"
    return [*lines, "", f"![Distance to the hidden ideal]({plot.name})"] if plot.is_file() else lines
