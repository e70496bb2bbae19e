"""Plots of the tables: curves where a table varies a number, bars with intervals otherwise."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.pages import figures
from benchmarks.tables import Table

_ARMS = {
    "base": ("base", "0.6"),
    "random": ("random", "0.8"),
    "single": ("one round", "C0"),
    "multi": ("many rounds", "C1"),
}
_ELICITORS = {
    "multi": "HARE, many rounds",
    "bayes": "Bayes",
    "bayes_ideal": "Bayes, sure of ideals",
    "bayes_weights": "Bayes, sure of weights",
}
_LABELS = {"ideal_l2": "distance to the hidden ideal", "weighted_cost": "weighted cost"}


def draw(name: str, table: Table, rows: pd.DataFrame, path: Path) -> Path | None:
    """Plot `rows` of one mode to `path`: a panel for each data set, the mlp alone; None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = rows[rows["model"] == "mlp"] if (rows["model"] == "mlp").any() else rows
    metric = "ideal_l2" if table.person == "ideal" else "weighted_cost"
    datasets = rows["dataset"].unique()
    figure, axes = plt.subplots(1, len(datasets), figsize=(3.6 * len(datasets), 3.2), squeeze=False, sharey=False)
    for axis, dataset in zip(axes[0], datasets, strict=True):
        part = rows[rows["dataset"] == dataset]
        if table.varies in ("budget", "per_round", "noise") and "logistic" not in table.levels:
            _curves(axis, table, part, metric)
        else:
            _bars(axis, table, part, metric)
        axis.set_title(dataset)
    axes[0][0].set_ylabel(_LABELS[metric])
    axes[0][-1].legend(fontsize=7)
    figure.suptitle(f"{name}: {table.title}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def questions(
    cases: list[tuple[tuple[str, str], pd.DataFrame]], metric: Callable[[str], str], path: Path
) -> Path | None:
    """Plot each case, ((data set, people), rows), against the number of questions; None without matplotlib.

    *k bits* is what k answers may at best bring: they halve the volume of where the ideal may be, each, or less if some
    are flipped; a length shrinks by the root of the volume in the number of columns that may change.
    """
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = list(dict.fromkeys(dataset for (dataset, _), _ in cases))
    people = list(dict.fromkeys(case for (_, case), _ in cases))
    size = (3 * len(columns), 2.5 * len(people))
    figure, axes = plt.subplots(len(people), len(columns), figsize=size, squeeze=False)
    for (dataset, case), part in cases:
        axis = axes[people.index(case)][columns.index(dataset)]
        found = figures.summarise(part, ["arm", "budget"], metric(case)).reset_index()
        for index, (arm, curve) in enumerate(found.groupby("arm", observed=True, sort=False)):
            axis.plot(curve["budget"], curve["mean"], color=f"C{index}", label=_ELICITORS.get(str(arm), str(arm)))
            low, high = curve["mean"] - curve["half"], curve["mean"] + curve["half"]
            axis.fill_between(curve["budget"], low, high, color=f"C{index}", alpha=0.2)
        worst = found.loc[found["arm"] != "random", "mean"].max()  # costs at random would leave no room for the others
        axis.set_ylim(0, 1.3 * worst if case == "weights" and worst > 0 else None)
        axis.set_title(f"{dataset}: {case}", fontsize=8)
        axis.set_xlabel("questions", fontsize=7)
        if case == "weights":
            axis.axhline(part["best_known_cost"].mean(), color="0.3", linestyle=":", label="best known")
        else:
            k = np.arange(1, found["budget"].max() + 1)
            start = (part["ideal_l2"] + part["ideal_l2_gain"]).mean()
            flip = float(part["noise"].iloc[0])
            bits = 1 + sum(p * math.log2(p) for p in (flip, 1 - flip) if p > 0)
            axis.plot(k, start * 2 ** (-k * bits / part["num_mutable"].iloc[0]), ":", color="0.3", label="k bits")
    for row, case in zip(axes, people, strict=True):
        row[0].set_ylabel("weighted cost" if case == "weights" else "distance to the ideal", fontsize=8)
    shown = [axis.get_legend_handles_labels() for axis in axes.flat]
    legend = {label: line for lines, labels in shown for line, label in zip(lines, labels, strict=True)}
    figure.legend(legend.values(), legend.keys(), loc="lower center", ncol=len(legend), fontsize=8)
    figure.tight_layout(rect=(0, 0.1 / len(people), 1, 1))
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path


def _curves(axis, table: Table, rows: pd.DataFrame, metric: str) -> None:  # type: ignore[no-untyped-def]
    """A line for each method, with a band of 95 %."""
    found = figures.summarise(rows, ["method", table.varies], metric).reset_index()
    for index, (method, part) in enumerate(found.groupby("method", observed=True, sort=False)):
        part = part.assign(at=part[table.varies].astype(float)).sort_values("at")
        axis.plot(part["at"], part["mean"], marker="o", markersize=3, color=f"C{index}", label=str(method))
        low, high = part["mean"] - part["half"], part["mean"] + part["half"]
        axis.fill_between(part["at"], low, high, color=f"C{index}", alpha=0.2)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(table.varies.replace("_", " "))
    if table.varies == "budget" and found[table.varies].max() > 100:
        axis.set_xscale("log")


def _bars(axis, table: Table, rows: pd.DataFrame, metric: str) -> None:  # type: ignore[no-untyped-def]
    """A group of bars for each method (and value), a bar for each arm, whiskers of 95 %."""
    varies = [] if table.varies == "arm" else [table.varies]
    found = figures.summarise(rows, ["method", *varies, "arm"], metric).reset_index()
    found["group"] = found[["method", *varies]].astype(str).agg(" ".join, axis=1)
    groups, arms = list(dict.fromkeys(found["group"])), [arm for arm in _ARMS if (found["arm"] == arm).any()]
    for index, arm in enumerate(arms):
        part = found[found["arm"] == arm].set_index("group").reindex(groups)
        places = [place + (index - (len(arms) - 1) / 2) * 0.8 / len(arms) for place in range(len(groups))]
        label, colour = _ARMS[arm]
        axis.bar(places, part["mean"], 0.8 / len(arms), yerr=part["half"], color=colour, label=label, capsize=1.5)
    axis.set_xticks(range(len(groups)), groups, rotation=60, ha="right", fontsize=7)
