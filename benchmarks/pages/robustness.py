"""The page of robustness: the share of recourses that retrained classifiers still accept, and what it costs."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pages import figures, markdown
from benchmarks.specs import BASE
from hare_jax.models import CHANGES

_Z = 1.96  # of a 95 % interval
_ABOUT = (
    "Share of the recourses that retrained classifiers still accept: mean over refused rows with a recourse, over "
    "seeds of the classifier, and over retrained classifiers of each kind. *Seeds* are trained on the same rows, "
    "*bootstrap* on rows drawn with replacement, *shift* on rows drawn under a covariate shift by exponential "
    "tilting (`models.fit_many`). *Robust* recourses are accepted by an ensemble of the classifier and others, "
    "trained on bootstrap samples that are not those of the judges (`models.ensemble`); of several sizes the largest "
    "counts. *Price* is the mean L1 cost of robust recourses over that of the others, for rows that have both. "
    "Intervals (95 %) are for other rows and other retrained classifiers; they are the larger of the mean interval "
    "of a seed and that between seeds. Recourses are feasible; `exact` has no robust row, as it reads the weights of "
    "one classifier."
)
_LABELS = {"seeds": "new seeds", "bootstrap": "bootstrap", "shift": "shift"}
_FIGURES = ("valid", "L1", "price", *(_LABELS[change] for change in CHANGES), "n")


def write(out: Path, users: int) -> Path:
    """Render the rows in `out` with this number of `users` to `robustness.md`; return its path.

    Of robust recourses those of the largest ensemble count.
    """
    rows = figures.load(out, "robustness")
    rows = rows[rows["users"] == users]
    rows = rows[rows["others"].isin({0, rows["others"].max()})]
    lines = ["# robustness: recourses that retrained classifiers accept", "", _ABOUT, "", figures.provenance(rows), ""]
    if len(rows):
        lines += [*_overview(rows), "", *_all(rows), "", *_judges(rows)]
    path = out / "robustness.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the name of their method or elicitor, and whether they are robust, in the order of the tables."""
    names = [
        str(method) if arm == BASE else figures.arm_label(str(arm))
        for method, arm in zip(rows["method"], rows["arm"], strict=True)
    ]
    order = list(dict.fromkeys(sorted(names, key=lambda name: name not in set(rows["method"].astype(str)))))
    return rows.assign(name=pd.Categorical(names, order, ordered=True), robust=rows["others"] > 0)


def _overview(rows: pd.DataFrame) -> list[str]:
    """The mean share over all kinds of retraining: a line per method and elicitor, and two columns per data set."""
    rows = named(rows).assign(share=rows[list(CHANGES)].mean(axis=1))
    means = rows.pivot_table("share", "name", ["dataset", "model", "robust"], observed=True, sort=True)
    header = ["method", *(" ".join([data, model, "robust" * robust]).strip() for data, model, robust in means.columns)]
    lines = [
        [str(name), *map(markdown.share, values)] for name, values in zip(means.index, means.to_numpy(), strict=True)
    ]
    return ["## Mean of the three kinds", "", *markdown.table(header, lines)]


def _all(rows: pd.DataFrame) -> list[str]:
    """All figures: a line per data set, model, method or elicitor, robust or not."""
    keys = ["dataset", "model", "name", "robust"]
    lines = []
    for cell, part in named(rows).groupby(keys, observed=True, sort=True):
        *names, robust = cell
        price = part["both_l1"].mean() / part["plain_l1"].mean() if robust else np.nan
        costs = (part["l1"].mean(), price)
        shares = [interval(part, change) for change in CHANGES]
        counted = f"{part['l1_n'].sum():.0f}"
        lines.append(
            [
                *names,
                "yes" * robust,
                markdown.share(part["valid"].mean()),
                *map(markdown.number, costs),
                *shares,
                counted,
            ]
        )
    return ["## All figures", "", *markdown.table(["data set", "model", "method", "robust", *_FIGURES], lines)]


def interval(part: pd.DataFrame, change: str) -> str:
    """The mean share and the half-width of its interval over the rows `part`, one per seed."""
    known = part[part[change].notna()]
    if known.empty:
        return ""
    within = ((known[f"{change}_high"] - known[f"{change}_low"]) / 2).mean()
    between = _Z * known[change].std() / np.sqrt(len(known)) if len(known) > 1 else 0.0
    return f"{known[change].mean():.1%} ± {max(within, between):.1%}".replace("%", " %")


def _judges(rows: pd.DataFrame) -> list[str]:
    """The accuracy of the retrained classifiers: a line per data set and model."""
    each = rows.drop_duplicates(["dataset", "model"])
    lines = [
        [
            row["dataset"],
            row["model"],
            row["retrained"],
            *(markdown.share(row[f"{change}_accuracy"]) for change in CHANGES),
        ]
        for _, row in each.iterrows()
    ]
    header = ["data set", "model", "of each kind", *(_LABELS[change] for change in CHANGES)]
    return ["## Accuracy of the retrained classifiers on the test rows", "", *markdown.table(header, lines)]
