"""The page of all results: the paper's claims, the comparison with the authors' results, and links to the tables."""

from pathlib import Path

import pandas as pd

from benchmarks.pages import authors, figures, markdown
from benchmarks.pages.findings import CLAIMS
from benchmarks.specs import BASE, MODES
from benchmarks.tables import TABLES

_PAGES = {
    "authors_switches": "the authors' results, switch by switch",
    "optimality": "the cost of each method over the least possible one",
    "robustness": "the recourses that retrained classifiers accept",
    "peers": "other libraries on the same rows and the same classifier",
    "questions": "the loss by number of questions",
}  # besides the tables


def write(out: Path, users: int) -> Path:
    """Write `README.md` of the rows with this number of `users`, and `authors.md` with each of the authors' results and
    ours; the path of the former.
    """
    rows = figures.load(out)
    rows = rows[rows["table"].isin(TABLES) & (rows["users"] == users)]
    beside, switched = figures.against_authors(rows), authors.beside(out)
    lines = ["# Results", "", _what_was_run(rows), "", figures.provenance(rows), ""]
    lines += [*_claims(rows), "", *_authors(beside, switched), "", *_tables(out)]
    (out / "authors.md").write_text("\n".join(_every_figure(beside, switched)) + "\n", "utf-8")
    path = out / "README.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _claims(rows: pd.DataFrame) -> list[str]:
    lines = [
        "## The paper's claims",
        "",
        "Number of cells (data set x classifier x base method) in which a claim holds significantly: the 95 % interval "
        "of the paired difference on the same users excludes 0. *Paper* reproduces the paper's code; in *feasible* "
        "mode every recourse and every hidden ideal is valid and allowed.",
        "",
        "| claim | table | paper | feasible |",
        "|---|---|---|---|",
    ]
    for claim in CLAIMS if len(rows) else ():
        about = rows[rows["table"] == claim.table]
        counts = {mode: claim.count_cells(about[about["mode"] == mode]) for mode in MODES}
        link = f"[{claim.table}]({claim.table}.md)"
        lines.append(f"| {claim.text} | {link} | {counts['paper']} | {counts['feasible']} |")
    return lines


def _what_was_run(rows: pd.DataFrame) -> str:
    paper = (rows["mode"] == "paper").sum()
    sessions = rows.loc[rows["arm"] != BASE, "valid_n"].sum() if len(rows) else 0
    memory = f"at most {rows['peak_mib'].max():.0f} MiB of memory per process" if len(rows) else "nothing was run"
    return (
        f"{paper} experiments in paper mode (`python -m benchmarks all`) and {len(rows) - paper} in feasible mode "
        f"(with `--feasible`, or one table); {sessions:.0f} simulated sessions, {memory}. Empty cells were not run."
    )


def _authors(beside: pd.DataFrame, switched: pd.DataFrame) -> list[str]:
    """Number of the authors' results within one s.d. of ours, by metric, and with their code's behaviour turned on."""
    lines = ["## Comparison with the authors' results", ""]
    if not len(beside):
        return [*lines, "None of their cells was run."]
    within = beside["within"]
    lines += [
        f"Our mean in paper mode is within one s.d. (theirs, over four seeds) of {within.sum()} of the {len(beside)} "
        f"results saved by the authors ({within.mean():.0%}), and within two of "
        f"{(beside['gap'].abs() <= 2 * beside['sd'] + 1e-9).mean():.0%}. All are listed in [authors.md](authors.md).",
        "",
        *markdown.header(["metric", "cells", "within one s.d."]),
        *(
            markdown.line([name, len(part), part["within"].sum()])
            for name, part in beside.groupby("metric", sort=False)
        ),
    ]
    if not len(switched):
        return lines
    return [
        *lines,
        "",
        f"Causes, by switches that turn on the behaviour of the authors' code one by one, for {len(switched)} of the "
        "results, on their four seeds; see [authors_switches.md](authors_switches.md):",
        "",
        *authors.summary(switched),
    ]


def _every_figure(beside: pd.DataFrame, switched: pd.DataFrame) -> list[str]:
    names = ["dataset", "model", "method", "arm", "ideal", "budget", "noise", "boundary", "person", "metric"]
    header = [*names, "authors", "ours", "(ours - authors) / s.d.", "within one s.d. with"]
    lines = ["# The authors' results and ours", "", *authors.legend(), "", *markdown.header(header)]
    enough = authors.enough(switched)
    for _, row in beside.iterrows():
        gap = f"{row['gap'] / row['sd']:+.2f}" if row["sd"] > 0 else ""
        both = [f"{row['mean']:.4g} +- {row['sd']:.2g}", f"{row['ours']:.4g} +- {row['ours_sd']:.2g}"]
        with_them = enough.get(tuple(row[[*figures.CELL, "metric"]]), "")
        lines.append(markdown.line([*(row[name] for name in names), *both, gap, with_them]))
    return lines


def _tables(out: Path) -> list[str]:
    lines = ["## Tables", ""]
    for name, table in TABLES.items():
        if (out / f"{name}.md").is_file():
            plots = [f"[{mode}]({name}_{mode}.png)" for mode in MODES if (out / f"{name}_{mode}.png").is_file()]
            lines.append(f"- [{name}]({name}.md): {table.title}; plots: {', '.join(plots) or 'none'}")
    lines += [f"- [{name}]({name}.md): {about}" for name, about in _PAGES.items() if (out / f"{name}.md").is_file()]
    plot = out / "table1_feasible.png"
    return [*lines, "", f"![Distance to the hidden ideal]({plot.name})"] if plot.is_file() else lines
