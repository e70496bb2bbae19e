"""The page of questions: the loss by number of questions and elicitor, as a table and a plot."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks import noise
from benchmarks.pages import figures
from benchmarks.pages.plots import pyplot
from hare_jax.elicit import ELICITORS

_SHOWN = (1, 3, 5, 8, 10, 20, 30)  # budgets
_SHARES = (8, 30)  # budgets whose losses are divided by HARE's after all questions
_MOST = _SHOWN[-1]
_HARE = "multi"
_ABOUT = (
    "Mean over users and seeds of the loss (distance to the hidden ideal, or weighted cost) after the given number of "
    "questions, and its ratio to HARE's loss after 30 questions without flips. *asked* is the mean number of questions "
    "asked, out of 30: HARE skips candidates that are refused or equal to the best recourse. *region* is the share of "
    "ideals in the 90 % credible region after 30 questions. "
    " *random* asks no questions; "
    "its loss may exceed the range of the plots. *best known* is the loss of exact recourse with the true hidden "
    "parameters, the least possible one."
)


class Case(NamedTuple):
    """The rows of one data set, kind of person and noise."""

    dataset: str
    person: str
    noise: str
    rows: pd.DataFrame

    @property
    def name(self) -> str:
        """The kind of person, and the share of flipped answers."""
        return ", ".join(filter(None, (self.person, noise.label(self.noise))))


def write(out: Path, users: int) -> Path:
    """Render the rows in `out` with this number of `users` to `questions.md` and `questions.png`; the former's path."""
    rows = figures.load(out, "questions")
    rows = rows[rows["users"] == users]
    found = list(_cases(rows))
    plot = _draw(found, out / "questions.png") if found else None
    shares = [f"{_SHARES[0]} / HARE's {_MOST}", f"{_SHARES[1]} / {_MOST}"]
    header = ["data set", "people", "elicitor", *map(str, _SHOWN), *shares, "asked", "region"]
    lines = ["# questions: the loss by number of questions", ""]
    lines += [f"![{plot.stem}]({plot.name})", ""] if plot else []
    lines += [_ABOUT, "", figures.provenance(rows), "", _line(header), "|" + "---|" * len(header)]
    reference = {(case.dataset, case.person): _reference(case) for case in found if case.noise == "0"}
    for case in found:
        lines += _lines(case, reference.get((case.dataset, case.person), math.nan))
    path = out / "questions.md"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _cases(rows: pd.DataFrame) -> Iterator[Case]:
    """The cases of each data set, those without noise first for each kind of person."""
    for dataset in rows["dataset"].unique() if len(rows) else ():
        part = rows[rows["dataset"] == dataset]
        for person in dict.fromkeys(["ideal", *part["person"]]):
            of_person = part[part["person"] == person]
            for rate in sorted(of_person["noise"].unique(), key=noise.order):
                yield Case(str(dataset), person, rate, of_person[of_person["noise"] == rate])


def _losses(case: Case) -> Any:
    """Mean loss: a row per arm and a column per budget, NaN where an interrupted run has left no row."""
    return case.rows.pivot_table("loss", "arm", "budget", observed=True, sort=True).reindex(columns=list(_SHOWN))


def _reference(case: Case) -> float:
    losses = _losses(case)
    return losses.loc[_HARE, _MOST] if _HARE in losses.index else math.nan


def _lines(case: Case, reference: float) -> list[str]:
    """The lines of one case; `reference` is HARE's loss after all questions without flips."""
    last = case.rows[case.rows["budget"] == _MOST]
    end = last.groupby("arm", observed=True)[[name for name in ("in_region", "questions") if name in last]].mean()
    lines, losses = [], _losses(case)
    end = end.reindex(losses.index)
    for arm, values in losses.iterrows():
        shown = [f"{values[budget]:.3f}" for budget in _SHOWN]
        share = [f"{values[budget] / reference:.2f}" for budget in _SHARES]
        held = end["in_region"].get(arm, math.nan) if "in_region" in end else math.nan
        ending = [f"{end['questions'][arm]:.1f}", "" if held != held else f"{held:.2f}"]
        lines.append(_line([case.dataset, case.name, str(arm), *shown, *share, *ending]))
    if case.person != "ideal":
        known = f"{case.rows['best_known'].mean():.3f}"
        lines.append(_line([case.dataset, case.name, "best known", *[known] * len(_SHOWN), "", "", "", ""]))
    return lines


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _draw(cases: list[Case], path: Path) -> Path | None:
    """Plot each case against the number of questions; None without matplotlib."""
    plt = pyplot()
    if plt is None:
        return None
    columns = list(dict.fromkeys(case.dataset for case in cases))
    names = list(dict.fromkeys(case.name for case in cases))
    size = (3 * len(columns), 2.5 * len(names))
    figure, axes = plt.subplots(len(names), len(columns), figsize=size, squeeze=False)
    for case in cases:
        axis = axes[names.index(case.name)][columns.index(case.dataset)]
        _draw_case(axis, case)
        if case.dataset == columns[0]:
            axis.set_ylabel(figures.person_label(case.person), fontsize=8)
    shown = [axis.get_legend_handles_labels() for axis in axes.flat]
    legend = {label: line for lines, labels in shown for line, label in zip(lines, labels, strict=True)}
    figure.legend(legend.values(), legend.keys(), loc="lower center", ncol=len(legend), fontsize=8)
    figure.tight_layout(rect=(0, 0.1 / len(names), 1, 1))
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path


def _draw_case(axis: Any, case: Case) -> None:
    """A curve with a 95 % band per elicitor, and the best known loss."""
    found = figures.summarise(case.rows, ["arm", "budget"], "loss").reset_index()
    for index, (arm, curve) in enumerate(found.groupby("arm", observed=True, sort=False)):
        axis.plot(curve["budget"], curve["mean"], color=f"C{index}", label=figures.arm_label(str(arm)))
        low, high = curve["mean"] - curve["half"], curve["mean"] + curve["half"]
        axis.fill_between(curve["budget"], low, high, color=f"C{index}", alpha=0.2)
    axis.set_title(f"{case.dataset}: {case.name}", fontsize=8)
    axis.set_xlabel("questions", fontsize=7)
    if case.person == "ideal":
        axis.set_ylim(0, None)
        return
    controls = [name for name, entry in ELICITORS.items() if not entry.asks]
    worst = found.loc[~found["arm"].isin(controls), "mean"].max()  # a control's loss would compress the others
    axis.set_ylim(0, 1.3 * worst if worst > 0 else None)
    axis.axhline(case.rows["best_known"].mean(), color="0.3", linestyle=":", label="best known")
