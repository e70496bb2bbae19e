"""Plots of the tables: curves where a table varies a number, bars with intervals otherwise."""

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.noise import is_flips
from benchmarks.pages import figures
from benchmarks.tables import Table
from hare_jax.elicit import ELICITORS

_BARS_WIDTH = 0.8  # of the bars of one group
_BASE_COLOUR, _CONTROL_COLOUR = "0.6", "0.8"  # of the base method, of arms without questions


def draw(name: str, table: Table, rows: pd.DataFrame, path: Path) -> Path | None:
    """Plot `rows` of one mode to `path`: a panel per data set, for the mlp if present.

    Returns None without matplotlib, or where no row has a loss.
    """
    plt, rows = pyplot(), rows[rows["loss"].notna()]
    if plt is None or rows.empty:
        return None
    rows = rows[rows["model"] == "mlp"] if (rows["model"] == "mlp").any() else rows
    datasets = rows["dataset"].unique()
    figure, axes = plt.subplots(1, len(datasets), figsize=(3.6 * len(datasets), 3.2), squeeze=False, sharey=False)
    for axis, dataset in zip(axes[0], datasets, strict=True):
        part = rows[rows["dataset"] == dataset]
        if table.varies in ("budget", "per_round") or (table.varies == "noise" and all(map(is_flips, part["noise"]))):
            _curves(axis, table, part)
        else:
            _bars(axis, table, part)
        axis.set_title(dataset)
    axes[0][0].set_ylabel(figures.person_label(table.person))
    axes[0][-1].legend(fontsize=7)
    figure.suptitle(f"{name}: {table.title}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def pyplot() -> Any:
    """`matplotlib.pyplot` with a file backend; None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def _colour(arm: str) -> str:
    asking = [name for name, entry in ELICITORS.items() if entry.asks]
    if arm in asking:
        return f"C{asking.index(arm)}"
    return _CONTROL_COLOUR if arm in ELICITORS else _BASE_COLOUR


def _curves(axis: Any, table: Table, rows: pd.DataFrame) -> None:
    """A line per method, with a 95 % band."""
    found = figures.summarise(rows, ["method", table.varies], "loss").reset_index()
    for index, (method, part) in enumerate(found.groupby("method", observed=True, sort=False)):
        part = part.assign(at=part[table.varies].astype(float)).sort_values("at")
        axis.plot(part["at"], part["mean"], marker="o", markersize=3, color=f"C{index}", label=str(method))
        low, high = part["mean"] - part["half"], part["mean"] + part["half"]
        axis.fill_between(part["at"], low, high, color=f"C{index}", alpha=0.2)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(table.varies.replace("_", " "))
    if table.varies == "budget" and found[table.varies].max() > 100:
        axis.set_xscale("log")


def _bars(axis: Any, table: Table, rows: pd.DataFrame) -> None:
    """A group of bars per method (and value), a bar per arm, 95 % whiskers."""
    varies = [] if table.varies == "arm" else [table.varies]
    found = figures.summarise(rows, ["method", *varies, "arm"], "loss").reset_index()
    found["group"] = found[["method", *varies]].astype(str).agg(" ".join, axis=1)
    groups, arms = (
        list(dict.fromkeys(found["group"])),
        [arm for arm in found["arm"].cat.categories if (found["arm"] == arm).any()],
    )
    for index, arm in enumerate(arms):
        part = found[found["arm"] == arm].set_index("group").reindex(groups)
        places = [place + (index - (len(arms) - 1) / 2) * _BARS_WIDTH / len(arms) for place in range(len(groups))]
        look = {"color": _colour(arm), "label": figures.arm_label(arm), "capsize": 1.5}
        axis.bar(places, part["mean"], _BARS_WIDTH / len(arms), yerr=part["half"], **look)
    axis.set_xticks(range(len(groups)), groups, rotation=60, ha="right", fontsize=7)
