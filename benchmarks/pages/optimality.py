"""The page of optimality: the cost of each method over the least possible one."""

from pathlib import Path

import pandas as pd

from benchmarks.pages import figures, markdown

_ABOUT = (
    "L1 cost of a method's recourses, in encoded units, over that of exact recourse (`recourse.exact`), which is the "
    "least possible: mean over refused rows and seeds. *Within 1 %* is the share of the rows that cost at most 1.01 "
    "times the optimum, *valid* the share with a recourse among those that have any. *Below* counts rows that cost "
    "less than the optimum by more than 1e-4 of it, and recourses for rows that are proved to have none: there should "
    "be none. Rows whose optimum is not proved within the time limit are left out of the ratios."
)
_METHODS = ("mean", "median", "max", "within 1 %", "valid", "below")
_EXACT = ("rows", "no recourse exists", "not proved", "accepted in float32", "ms a row", "ms of CPU")
_CELL = ["dataset", "model"]


def write(out: Path, users: int) -> Path:
    """Render the rows in `out` with this number of `users` to `optimality.md`; return its path."""
    rows = figures.load(out, "optimality")
    rows = rows[rows["users"] == users]
    lines = ["# optimality: cost over the least possible one", "", _ABOUT, "", figures.provenance(rows), ""]
    if len(rows):
        lines += [*_means(rows), "", *_exact(rows), "", *_methods(rows)]
    path = out / "optimality.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _means(rows: pd.DataFrame) -> list[str]:
    """The mean ratios: a line per method, and a column per data set and model."""
    means = rows.pivot_table("ratio", "method", _CELL, observed=True, sort=True)
    header = ["method", *(" ".join(cell) for cell in means.columns)]
    lines = [
        [str(method), *map(markdown.number, values)]
        for method, values in zip(means.index, means.to_numpy(), strict=True)
    ]
    return ["## Mean ratio", "", *markdown.table(header, lines)]


def _exact(rows: pd.DataFrame) -> list[str]:
    """What exact recourse proved, and its time: a line per data set and model."""
    each = rows.drop_duplicates([*_CELL, "seed"]).groupby(_CELL, observed=True)
    totals = each[["rows", "none_exists", "unproved"]].sum()
    means = each[["exact_accepted", "exact_ms", "exact_cpu_ms"]].mean()
    lines = []
    for cell, count in totals.iterrows():
        accepted, ms, cpu_ms = means.loc[cell]
        lines.append(
            [*cell, *(f"{number:.0f}" for number in count), markdown.share(accepted), f"{ms:.0f}", f"{cpu_ms:.0f}"]
        )
    return ["## Exact recourse", "", *markdown.table(["data set", "model", *_EXACT], lines)]


def _methods(rows: pd.DataFrame) -> list[str]:
    """All figures of each method: a line per data set, model and method."""
    lines = []
    for cell, part in rows.groupby([*_CELL, "method"], observed=True, sort=True):
        shares = [markdown.share(part[name].mean()) for name in ("within", "valid")]
        ratios = part["ratio"].mean(), part["ratio_median"].mean(), part["ratio_max"].max()
        lines.append([*cell, *map(markdown.number, ratios), *shares, str(part[["below", "disproved"]].sum().sum())])
    return ["## Methods", "", *markdown.table(["data set", "model", "method", *_METHODS], lines)]
