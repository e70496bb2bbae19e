"""Tables of results in Markdown, our figures beside the original's."""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.specs import ARMS, MODELS, MODES, PAPER_METHODS
from benchmarks.store import read_rows
from hare_jax.data import SOURCES
from hare_jax.recourse import METHODS

_CELL = ["dataset", "model", "method"]
_FOLDER = Path(__file__).parent
_ABOUT = """
Means over users and then seeds; +- is the s.d. over seeds. Distance is L2 from the recourse to the hidden ideal, and a
ratio is an arm's distance over its base method's. *Original* is our runs of the authors' code
(`benchmarks/original.csv`, most of them one seed with 8 to 100 users) or, in italics, what they saved themselves
(`benchmarks/authors.csv`, seeds 1 to 4). Rates are shares; *users* counts those with a recourse.
"""


def write(table: str, out: Path) -> Path:
    """Render the rows of `table` in `out` to a Markdown file there, and return its path."""
    rows = pd.DataFrame([row for row in read_rows(out / "rows.jsonl") if row["table"] == table])
    lines = [f"# {table}", _ABOUT]
    for mode, part in _sorted(rows).groupby("mode", sort=False) if len(rows) else ():
        lines += [f"## {mode} mode", "", *_comparison(part), ""]
        lines += ["### Distance to the ideal", "", *_distances(part), ""]
        lines += ["### The base recourses", "", *_base_quality(part), ""]
        lines += ["### Every arm", "", *_every_arm(part), ""]
    path = out / f"{table}.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    """In the order of the catalogues, whatever the order in which the rows were run."""
    orders = {"mode": list(MODES[::-1]), "dataset": list(SOURCES), "model": list(MODELS), "method": list(METHODS)}
    orders["method"].sort(key=lambda name: PAPER_METHODS.index(name) if name in PAPER_METHODS else len(PAPER_METHODS))
    places = [rows[column].map(order.index) for column, order in orders.items()]
    return rows.iloc[pd.concat(places, axis=1).sort_values(list(orders), kind="stable").index]


def _comparison(rows: pd.DataFrame) -> list[str]:
    """In how many of the cells that the original has a figure of ours is as good, and by how much the others miss."""
    slack: dict[str, dict[str, float]] = {
        "success of the base method at least the original's": {},
        "L1 length of the base recourse at most 1.1 times the original's": {},
        "one round cuts the distance by at least as large a share as the original's": {},
        "many rounds cut the distance by at least as large a share as the original's": {},
    }
    for cell, part in rows.groupby(_CELL, sort=False):
        theirs = {name: _original(cell, "base", name)[0] for name in ("success", "l1")}
        gaps = [
            _mean(part, "base", "success") - theirs["success"],
            1.1 * theirs["l1"] - _mean(part, "base", "l1"),
            *(_original_ratio(cell, arm) - _ratio(part, arm) for arm in ("single", "multi")),
        ]
        for claim, gap in zip(slack, gaps, strict=True):
            if gap == gap:
                slack[claim][" ".join(cell)] = gap
    lines = []
    for claim, cells in slack.items():
        missed = [f"{cell} ({gap:.3f})" for cell, gap in cells.items() if gap < -1e-9]
        lines.append(f"- {claim}: {len(cells) - len(missed)} of {len(cells)} cells" + "; not " * bool(missed))
        lines[-1] += ", ".join(missed)
    return [*lines, f"- immutable columns that a recourse changes: {rows['violations'].max():.3g} in the worst row"]


def _distances(rows: pd.DataFrame) -> list[str]:
    header = [*_CELL, "base", "original"]
    for name in ("random", "one round", "many rounds"):
        header += [name, "ratio", "original ratio"]
    lines = _header([*header, "users"])
    for cell, part in rows.groupby(_CELL, sort=False):
        figures = [_spread(part, "base", "ideal_l2"), _shown(_original(cell, "base", "ideal_l2"))]
        for arm in ("random", "single", "multi"):
            theirs = _original_ratio(cell, arm)
            figures += [_spread(part, arm, "ideal_l2"), _number(_ratio(part, arm)), _number(theirs)]
        lines.append(_line([*cell, *figures, int(part.loc[part["arm"] == "base", "ideal_l2_n"].sum())]))
    return lines


def _base_quality(rows: pd.DataFrame) -> list[str]:
    names = {"success": "success", "violations": "immutables changed", "l1": "L1", "l0": "features changed"}
    header = [heading for name in names.values() for heading in (name, "original")]
    lines = _header([*_CELL, *header, "redundant", "valid", "feasible", "fit, s"])
    for cell, part in rows.groupby(_CELL, sort=False):
        figures = []
        for name in names:
            figures += [_number(_mean(part, "base", name)), _shown(_original(cell, "base", name))]
        others = [_number(_mean(part, "base", name)) for name in ("redundancy", "valid", "feasible", "fit_s")]
        lines.append(_line([*cell, *figures, *others]))
    return lines


def _every_arm(rows: pd.DataFrame) -> list[str]:
    shown = ["success", "valid", "feasible", "ideal_l2", "ideal_cosine", "l0", "l1", "weighted_cost", "redundancy"]
    shown += ["violations", "questions"]
    lines = _header([*_CELL, "arm", *(name.replace("_", " ") for name in shown)])
    for cell, part in rows.groupby(_CELL, sort=False):
        for arm in ARMS:
            if (part["arm"] == arm).any():
                lines.append(_line([*cell, arm, *(_number(_mean(part, arm, name)) for name in shown)]))
    return lines


def _mean(cell: pd.DataFrame, arm: str, name: str) -> float:
    return float(cell.loc[cell["arm"] == arm, name].astype(float).mean())


def _ratio(cell: pd.DataFrame, arm: str) -> float:
    return _mean(cell, arm, "ideal_l2") / _mean(cell, "base", "ideal_l2")


def _spread(cell: pd.DataFrame, arm: str, name: str) -> str:
    values = cell.loc[cell["arm"] == arm, name].astype(float)
    return f"{_number(values.mean())} +- {_number(values.std())}"


@cache
def _originals() -> dict[tuple, tuple[float, bool]]:
    """Mean figures by data set, model, method, arm and metric of the main table, and whether they are the authors'."""
    setting = "ideal == 'far' and budget == 30 and per_round == 5"
    key = [*_CELL, "arm", "metric"]
    main = "boundary == 'all' and label_certainty == 'certain' and noise in ('0', 0)"
    saved = pd.read_csv(_FOLDER / "authors.csv").query(setting).query(main)
    saved = saved[~saved["file"].str.startswith("preferences")]
    measured = pd.read_csv(_FOLDER / "original.csv").query(setting)
    measured = measured.drop(columns=["seed", "users", "n_factuals"])
    long = measured.melt(id_vars=[*_CELL, "arm", "ideal", "budget", "per_round"], var_name="metric", value_name="mean")
    figures = {name: (float(mean), True) for name, mean in saved.groupby(key)["mean"].mean().items()}
    return figures | {name: (float(mean), False) for name, mean in long.groupby(key)["mean"].mean().dropna().items()}


def _original(cell: Any, arm: str, metric: str) -> tuple[float, bool]:
    return _originals().get((*cell, arm, metric), (float("nan"), False))


def _original_ratio(cell: Any, arm: str) -> float:
    return _original(cell, arm, "ideal_l2")[0] / _original(cell, "base", "ideal_l2")[0]


def _shown(figure: tuple[float, bool]) -> str:
    mean, by_authors = figure
    return f"*{_number(mean)}*" if by_authors else _number(mean)


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}".rstrip("0").rstrip(".")


def _header(names: list[str]) -> list[str]:
    return [_line([name.replace("dataset", "data set") for name in names]), _line(["---"] * len(names))]


def _line(cells: list[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
