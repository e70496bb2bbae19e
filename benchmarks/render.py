"""Tables of results in Markdown, our figures beside the original's."""

import statistics
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.specs import ARMS
from benchmarks.store import read_rows

_CELL = ["dataset", "model", "method", "mode"]
_SHOWN = [
    "success",
    "valid",
    "feasible",
    "ideal_cosine",
    "l0",
    "l1",
    "weighted_cost",
    "redundancy",
    "violations",
    "questions",
]


def write(table: str, out: Path) -> Path:
    """Render the rows of `table` in `out` to a Markdown file there, and return its path."""
    rows = pd.DataFrame([row for row in read_rows(out / "rows.jsonl") if row["table"] == table])
    lines = [
        f"# {table}",
        "",
        "Distance is L2 from the recourse to the hidden ideal, mean over users and then seeds, +- the s.d. over seeds;",
        "ratio is an arm's distance over its base's. `original` columns are our runs of the authors' code",
        "(`benchmarks/original.csv`; fewer seeds and users); Delta is the difference of the ratios. Other columns are",
        "means over users and seeds; rates are shares.",
    ]
    if len(rows):
        for mode, part in rows.groupby("mode"):
            lines += ["", f"## {mode} mode", "", *_markdown(part)]
    path = out / f"{table}.md"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _markdown(rows: pd.DataFrame) -> list[str]:
    header = ["data set", "model", "method", "arm", "distance", "ratio", "original", "original ratio", "Delta", "users"]
    lines = [
        _line([*header, *(name.replace("_", " ") for name in _SHOWN)]),
        _line(["---"] * (len(header) + len(_SHOWN))),
    ]
    original = _original()
    for cell, part in rows.groupby(_CELL, sort=False):
        for arm in ARMS:
            if len(chosen := part[part["arm"] == arm]):
                lines.append(
                    _line([*cell[:3], arm, *_distances(part, arm, original.get(cell[:3], {})), *_means(chosen)])
                )
    return lines


def _distances(cell: pd.DataFrame, arm: str, original: dict[str, float]) -> list[str]:
    """Our distance with its s.d. over seeds and its ratio to the base, the original's two, and their difference."""
    ours = {name: part["ideal_l2"].dropna().tolist() for name, part in cell.groupby("arm")}
    mean = statistics.fmean(ours[arm]) if ours[arm] else float("nan")
    spread = statistics.stdev(ours[arm]) if len(ours[arm]) > 1 else float("nan")
    ratio = mean / statistics.fmean(ours["base"]) if ours.get("base") else float("nan")
    theirs, theirs_base = original.get(arm, float("nan")), original.get("base", float("nan"))
    gap = ratio - theirs / theirs_base
    users = int(cell.loc[cell["arm"] == arm, "ideal_l2_n"].sum())
    figures = [f"{mean:.3f} +- {spread:.3f}", *(f"{v:.3f}" for v in (ratio, theirs, theirs / theirs_base, gap))]
    return [*(figure.replace("nan", "-") for figure in figures), str(users)]


def _means(rows: pd.DataFrame) -> list[str]:
    return [f"{rows[name].mean():.3g}" for name in _SHOWN]


def _original() -> dict[tuple[str, str, str], dict[str, float]]:
    """Mean distance over the cells that we measured of the original, by data set, model and method, then arm."""
    path = Path(__file__).parent / "original.csv"
    far = pd.read_csv(path).query("ideal == 'far' and budget == 30 and per_round == 5")
    means: dict[tuple[str, str, str], dict[str, float]] = {}
    for (dataset, model, method, arm), mean in (
        far.groupby(["dataset", "model", "method", "arm"])["ideal_l2"].mean().items()
    ):
        means.setdefault((dataset, model, method), {})[arm] = mean
    return means


def _line(cells: list[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
