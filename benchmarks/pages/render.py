"""Tables of results in Markdown, with the original's results; for the plots see `plots`."""

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.pages import figures, markdown, plots
from benchmarks.specs import BASE, Spec
from benchmarks.tables import TABLES, Table

_BASE_CELL = ["dataset", "model", "method"]
_BESIDE_LOSS = ("s.d. of users", "original", "(ours - original) / s.d.", "gain", "users")
_OTHERS = ("success", "valid", "feasible", "ideal_cosine", "l0", "l1", "l2", "redundancy", "violations", "questions")
_ABOUT = """
Means over users, then over seeds; +- is the s.d. over seeds. Distances are L2 from the recourse to the hidden ideal.
*Original* are results saved by the authors (`benchmarks/original/authors.csv`, seeds 1 to 4) or, marked (m), our runs
of their code (`benchmarks/original/measured.csv`, mostly one seed with 8 to 100 users). *Gain* is the decrease from the
same user's base recourse, with a 95 % interval over users. Rates are between 0 and 1; *users* is the number of users
with a recourse.
"""


def write(name: str, out: Path, users: int) -> Path:
    """Render the rows of table `name` in `out` with this number of `users` to Markdown and plots; the former's path."""
    table = TABLES[name]
    rows = figures.load(out, table.runs_of or name)
    rows = rows[rows["users"] == users]
    lines = [f"# {name}: {table.title}", _ABOUT, figures.provenance(rows), ""]
    for mode, part in rows.groupby("mode", observed=True, sort=False) if len(rows) else ():
        lines += [f"## {mode} mode", ""]
        plot = plots.draw(name, table, part, out / f"{name}_{mode}.png")
        lines += [f"![{table.title}]({plot.name})", ""] if plot else []
        lines += [*_main_table(part), ""] if table.main else []
        lines += [*_cells(table, part), ""]
    path = out / f"{name}.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _main_table(rows: pd.DataFrame) -> list[str]:
    """The additional parts of the main table: the comparison with the original, and the base recourses."""
    return [*_comparison(rows), "", "### Base recourses", "", *_base_quality(rows), "", "### All arms", ""]


def _comparison(rows: pd.DataFrame) -> list[str]:
    """Number of the original's cells in which our result is at least as good, and the shortfall in the others."""
    slack: dict[str, dict[str, float]] = {
        "success of the base method at least the original's": {},
        "L1 cost of the base recourse at most 1.1 times the original's": {},
        "relative reduction of the distance by one round at least the original's": {},
        "relative reduction of the distance by many rounds at least the original's": {},
    }
    for cell, part in rows.groupby(_BASE_CELL, observed=True, sort=False):
        gaps = [
            _mean(part, "base", "success") - _theirs(cell, "base", "success"),
            1.1 * _theirs(cell, "base", "l1") - _mean(part, "base", "l1"),
            *(_their_ratio(cell, arm) - _ratio(part, arm) for arm in ("single", "multi")),
        ]
        for claim, gap in zip(slack, gaps, strict=True):
            if gap == gap:
                slack[claim][" ".join(cell)] = gap
    lines = []
    for claim, cells in slack.items():
        if not cells:  # nothing of the original to compare with
            continue
        missed = [f"{cell} ({gap:.3f})" for cell, gap in cells.items() if gap < -1e-9]
        but = f"; not {', '.join(missed)}" if missed else ""
        lines.append(f"- {claim}: {len(cells) - len(missed)} of {len(cells)} cells{but}")
    return [
        *lines,
        f"- largest mean number of immutable columns changed, over all rows: {rows['violations'].max():.3g}",
    ]


def _base_quality(rows: pd.DataFrame) -> list[str]:
    names = {"success": "success", "violations": "immutables changed", "l1": "L1", "l0": "features changed"}
    header = [heading for name in names.values() for heading in (name, "original")]
    lines = _header([*_BASE_CELL, *header, "redundant", "valid", "feasible", "fit, s"])
    for cell, part in rows.groupby(_BASE_CELL, observed=True, sort=False):
        shown = []
        for name in names:
            shown += [_number(_mean(part, "base", name)), _original(name, cell, arm="base")]
        others = [_number(_mean(part, "base", name)) for name in ("redundancy", "valid", "feasible", "fit_s")]
        lines.append(markdown.line([*cell, *shown, *others]))
    return lines


def _cells(table: Table, rows: pd.DataFrame) -> list[str]:
    """One line per cell: its key, our loss and the original's, and the other metrics."""
    keys = [*_BASE_CELL, *([] if table.varies == "arm" else [table.varies]), "arm"]
    loss = [figures.person_label(table.person), *_BESIDE_LOSS]
    lines = _header([*keys, *loss, *(other.replace("_", " ") for other in _OTHERS)])
    ours = figures.summarise(rows, keys, "loss")
    gains = figures.summarise(rows, keys, "loss_gain").reindex(ours.index)  # NaN where the base method found nothing
    means = rows.groupby(keys, observed=True, sort=False)[list(_OTHERS)].mean()
    for key, figure in ours.iterrows():
        assert isinstance(key, tuple)
        cell = dict(zip(keys, key, strict=True))
        labels = [*key[:-1], figures.arm_label(key[-1])]
        shown = _loss(cell | {"person": table.person}, figure, gains.loc[[key]].iloc[0])
        lines.append(markdown.line([*labels, *shown, *(_number(value) for value in means.loc[key])]))
    return lines


def _loss(cell: dict[str, Any], ours: pd.Series, gains: pd.Series) -> list[str]:
    """Our loss in a cell, the original's, and our gain over the base recourse."""
    if "budget" in cell:
        cell["per_round"] = min(cell["budget"], Spec.per_round)
    theirs = figures.find_original("loss", **cell)
    mean = f"{ours['mean']:.3f} +- {_number(ours['sd_seeds'])}"
    gain = "" if cell["arm"] == BASE or gains.isna().all() else f"{gains['mean']:.3f} +- {gains['half']:.3f}"
    beside = [_figure(theirs), _gap(ours["mean"], theirs)]
    return [mean, _number(ours["sd_users"]), *beside, gain, f"{ours['users']:.0f}"]


def _mean(cell: pd.DataFrame, arm: str, name: str) -> float:
    return float(cell.loc[cell["arm"] == arm, name].astype(float).mean())


def _ratio(cell: pd.DataFrame, arm: str) -> float:
    return _mean(cell, arm, "loss") / _mean(cell, "base", "loss")


def _theirs(cell: Any, arm: str, metric: str) -> float:
    found = figures.find_original(metric, **dict(zip(_BASE_CELL, cell, strict=True)), arm=arm)
    return float("nan") if found is None else found["mean"]


def _their_ratio(cell: Any, arm: str) -> float:
    return _theirs(cell, arm, "loss") / _theirs(cell, "base", "loss")


def _original(metric: str, cell: Any, arm: str) -> str:
    return _figure(figures.find_original(metric, **dict(zip(_BASE_CELL, cell, strict=True)), arm=arm))


def _figure(found: pd.Series | None) -> str:
    if found is None:
        return ""
    spread = "" if found["sd"] != found["sd"] else f" +- {_number(found['sd'])}"
    return f"{_number(found['mean'])}{spread}" + (" (m)" if found["source"] == "measured" else "")


def _gap(mean: float, found: pd.Series | None) -> str:
    return "" if found is None or not found["sd"] > 0 else f"{(mean - found['mean']) / found['sd']:+.2f}"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}".rstrip("0").rstrip(".")


def _header(names: list[str]) -> list[str]:
    return [markdown.line([name.replace("dataset", "data set") for name in names]), markdown.line(["---"] * len(names))]
