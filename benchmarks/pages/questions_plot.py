"""The plot of the page of questions: the loss in the main cases, a row per case and a column per data set."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.experiments.arms import OBSERVER
from benchmarks.pages import figures
from benchmarks.pages.plots import pyplot
from benchmarks.pages.questions_tables import MAIN, RATE_BOUND, Case, by_seed, cases
from hare_jax.elicit import ELICITORS

_LEFT_OUT = ("bayes_ideal", "bayes_weights", "bayes_set3", "bayes_set4", "bayes_rating")  # in the tables alone
_LEGEND_COLUMNS = 2  # per data set
_LEGEND_HEIGHT = 0.1  # of a line of the legend, relative to a panel
_HEADROOM = 1.3  # of the axis of losses, over the worst elicitor


def draw(rows: pd.DataFrame, path: Path) -> Path | None:
    """Plot the main cases against the number of questions; None without matplotlib or such cases."""
    plt = pyplot()
    found = sorted((case for case in cases(rows) if case.key in MAIN), key=lambda case: MAIN.index(case.key))
    if plt is None or not found:
        return None
    datasets = [name for name in rows["dataset"].cat.categories if any(case.dataset == name for case in found)]
    names = list(dict.fromkeys(case.name for case in found))
    size = (3 * len(datasets), 2.5 * len(names))
    figure, axes = plt.subplots(len(names), len(datasets), figsize=size, squeeze=False)
    colours = _colours(found)
    for case in found:
        axis = axes[names.index(case.name)][datasets.index(case.dataset)]
        _draw_case(axis, case, colours)
        if case.dataset == datasets[0]:
            axis.set_ylabel(figures.person_label(case.person), fontsize=8)
    shown = [axis.get_legend_handles_labels() for axis in axes.flat]
    legend = {label: line for lines, labels in shown for line, label in zip(lines, labels, strict=True)}
    columns = min(len(legend), _LEGEND_COLUMNS * len(datasets))
    figure.legend(legend.values(), legend.keys(), loc="lower center", ncol=columns, fontsize=8)
    height = _LEGEND_HEIGHT * math.ceil(len(legend) / columns)
    figure.tight_layout(rect=(0, height / len(names), 1, 1))
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path


def _colours(found: list[Case]) -> dict[str, str]:
    """A colour per arm, the same in all panels."""
    present = {arm for case in found for arm in case.rows["arm"].unique()}
    arms = [arm for arm in found[0].rows["arm"].cat.categories if arm in present and arm not in _LEFT_OUT]
    colours = {arm: f"C{index}" for index, arm in enumerate(arms)}
    return colours | ({OBSERVER: "0.3"} if OBSERVER in colours else {})


def _draw_case(axis: Any, case: Case, colours: dict[str, str]) -> None:
    """A curve with a 95 % band per elicitor, the rate bound of ideals, and the best known loss of other people."""
    found = figures.summarise(case.rows, ["arm", "budget"], "loss").reset_index()
    for arm, curve in found.groupby("arm", observed=True, sort=False):
        if arm in colours:
            axis.plot(curve["budget"], curve["mean"], color=colours[arm], label=figures.arm_label(str(arm)))
            low, high = curve["mean"] - curve["half"], curve["mean"] + curve["half"]
            axis.fill_between(curve["budget"], low, high, color=colours[arm], alpha=0.2)
    axis.set_title(f"{case.dataset}: {case.name}", fontsize=8)
    axis.set_xlabel("questions", fontsize=7)
    if case.person == "ideal":
        bound = by_seed(case, "rate_bound").dropna()
        if len(bound):
            axis.plot(bound.index, bound, ":", color="0.3", label=RATE_BOUND)
        axis.set_ylim(0, None)
        return
    controls = [name for name, entry in ELICITORS.items() if not entry.asks]
    worst = found.loc[~found["arm"].isin(controls), "mean"].max()  # a control's loss would compress the others
    axis.set_ylim(0, _HEADROOM * worst if worst > 0 else None)
    axis.axhline(by_seed(case, "best_known").mean(), color="0.3", linestyle="--", label="best known")
