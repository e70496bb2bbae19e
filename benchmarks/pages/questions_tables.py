"""The tables of the page of questions: a line per case, which is a kind of person with its ideal and noise."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import noise
from benchmarks.experiments import groups
from benchmarks.experiments.sessions import CHECKED
from benchmarks.pages import markdown

_CALIBRATED = ("in_region", "expected_distance", "true_distance")
COLUMNS = (
    *("loss", "regret", "base_regret", "best_known", "harmed", "questions", "rate_bound"),
    *_CALIBRATED,
)
MAIN = (("ideal", "far", "0"), ("weights", "far", "0"), ("ideal", "far", "0.1"))  # person, ideal, noise
RATE_BOUND = "rate bound"
_SHOWN = (1, 3, 5, 8, 10, 20, 30)  # budgets
_LEFT = (10, 20, 30)
_GROUPED = (10, 30)
_MOST = _SHOWN[-1]
_LEAST_REGRET = 1e-3  # of the base; below it there is nothing to be left
_QUANTILE = 0.975  # upper end of a 95 % interval
_COINS = 0.5  # share of flipped answers that say nothing


class Case(NamedTuple):
    """The rows of one kind of person, ideal and noise on one data set."""

    dataset: str
    person: str
    ideal: str
    noise: str
    rows: pd.DataFrame

    @property
    def key(self) -> tuple[str, str, str]:
        """Person, ideal and noise, as in `MAIN`."""
        return self.person, self.ideal, self.noise

    @property
    def name(self) -> str:
        """Person, distance of the ideal unless it is far, and noise."""
        distance = "" if self.ideal == "far" else self.ideal
        return ", ".join(filter(None, (f"{distance} {self.person}".strip(), noise.label(self.noise))))


def cases(rows: pd.DataFrame) -> Iterator[Case]:
    """The cases of each kind of person, those without noise first, by data set."""
    for person in dict.fromkeys(["ideal", "weights", *rows["person"]]):
        of_person = rows[rows["person"] == person]
        for ideal in of_person["ideal"].cat.categories if len(of_person) else ():
            of_ideal = of_person[of_person["ideal"] == ideal]
            for rate in sorted(of_ideal["noise"].unique(), key=noise.order):
                of_noise = of_ideal[of_ideal["noise"] == rate]
                for dataset, part in of_noise.groupby("dataset", observed=True, sort=True):
                    yield Case(str(dataset), person, str(ideal), rate, part)


def by_budget(case: Case, metric: str, budgets: Sequence[int]) -> pd.DataFrame:
    """Mean of a metric over seeds: a row per arm, a column per budget, NaN where there is none."""
    table = case.rows.pivot_table(metric, "arm", "budget", observed=True, sort=True, dropna=False)
    return table.reindex(columns=list(budgets))


def by_seed(case: Case, metric: str) -> pd.Series:
    """Mean of a metric over seeds, by budget, in which each seed counts once, whatever number of arms it has."""
    return case.rows.groupby(["budget", "seed"])[metric].mean().groupby("budget").mean()


def losses(rows: pd.DataFrame) -> list[str]:
    """The loss by number of questions in the main cases, with the references."""
    header = ["data set", "people", "elicitor", *map(str, _SHOWN), "asked"]
    lines = ["## Loss", "", *markdown.header(header)]
    for case in (case for case in cases(rows) if case.key in MAIN):
        asked = by_budget(case, "questions", [_MOST])[_MOST]
        for arm, values in by_budget(case, "loss", _SHOWN).iterrows():
            lines.append(markdown.line([case.dataset, case.name, str(arm), *_texts(values), _text(asked[arm], ".1f")]))
        for name, metric in ((RATE_BOUND, "rate_bound"), ("best known", "best_known")):
            means = by_seed(case, metric).reindex(list(_SHOWN))
            if means.notna().any() and (case.person != "ideal" or metric == "rate_bound"):
                lines.append(markdown.line([case.dataset, case.name, name, *_texts(means), ""]))
    return lines


def regret_left(rows: pd.DataFrame) -> list[str]:
    """The share of the base's regret that is left, by arm."""
    about = (
        f"Regret over that of the base recourse, after {', '.join(map(str, _LEFT))} questions; a dash where the base's "
        f"is below {_LEAST_REGRET}."
    )
    return _by_arm("Regret left", about, rows, _shares_left)


def harmed(rows: pd.DataFrame) -> list[str]:
    """The share of users worse off than with the base recourse, by arm."""
    about = f"Share of users whose loss is above that of the base recourse after {' and '.join(map(str, _GROUPED))} "
    return _by_arm("Harm", about + "questions, in %, beyond rounding.", rows, _shares_harmed)


def asked(rows: pd.DataFrame) -> list[str]:
    """The mean number of questions asked, by data set and arm."""
    last = rows[rows["budget"] == _MOST]
    table = last.pivot_table("questions", "dataset", "arm", observed=True, sort=True)
    lines = ["## Questions asked", "", f"Mean over all cases, of a budget of {_MOST}.", ""]
    lines += markdown.header(["data set", *map(str, table.columns)])
    return lines + [markdown.line([str(name), *_texts(values, ".1f")]) for name, values in table.iterrows()]


def region(rows: pd.DataFrame) -> list[str]:
    """The share of ideals in the 90 % region, by arm."""
    about = f"Share of ideals in the 90 % credible region after {', '.join(map(str, CHECKED))} questions, in %."
    return _by_arm("Credible region", about, rows[rows["in_region"].notna()], _shares_inside)


def expected(rows: pd.DataFrame) -> list[str]:
    """The expected distance over the true one, by arm."""
    about = (
        "`elicit.expected_distance` over the true mean distance from the recommendation to the ideal after "
        f"{', '.join(map(str, CHECKED))} questions."
    )
    return _by_arm("Expected distance", about, rows[rows["expected_distance"].notna()], _ratios_expected)


def calibration(rows: pd.DataFrame) -> list[str]:
    """Both over all ideals and rates of flips below that of coin tosses, as a posterior is calibrated over its prior.

    Each data set, ideal and rate counts once.
    """
    known = rows[rows["in_region"].notna() & rows["noise"].map(_is_informative).astype(bool)]
    lines = [
        "## Calibration over people",
        "",
        "Mean over the distances of ideals and the rates of flips (below 50 %) in the tables of the region and the "
        f"expected distance, after {', '.join(map(str, CHECKED))} questions: the share of ideals in the region in %, "
        "and the ratio of the mean expected distance to the true mean.",
        "",
        *markdown.header(["data set", "elicitor", "cases", "in the region", "expected distance"]),
    ]
    parts = [*known.groupby(["dataset", "arm"], observed=True, sort=True)]
    parts += [(("all", arm), part) for arm, part in known.groupby("arm", observed=True, sort=True)]
    for (dataset, arm), part in parts:
        case = ["dataset", "ideal", "noise"]
        mean = part.groupby(["budget", *case], observed=True)[list(_CALIBRATED)].mean().groupby("budget").mean()
        mean, num = mean.reindex(list(CHECKED)), len(part[case].drop_duplicates())
        inside = _texts(100 * mean["in_region"], ".0f", "-")
        ratios = _texts(mean["expected_distance"] / mean["true_distance"], ".2f", "-")
        lines.append(markdown.line([dataset, arm, num, " ".join(inside), " ".join(ratios)]))
    return lines if len(known) else []


def by_group(rows: pd.DataFrame) -> list[str]:
    """The loss by sex and race, with 95 % intervals, for far ideals without noise."""
    lines = [
        "## Groups",
        "",
        "Mean distance to the ideal by sex and race, 95 % interval, number of users; far ideals, no noise.",
        "",
    ]
    for case in (case for case in cases(rows) if case.key == MAIN[0]):
        names = [name for name in case.rows if name.startswith(groups.PREFIX) and not name.endswith(("_sd", "_n"))]
        names = [name for name in names if case.rows[name].notna().any()]
        if not names:
            continue
        lines += markdown.header(
            ["data set", "elicitor", "questions", *(name.removeprefix(groups.PREFIX) for name in names)]
        )
        for (arm, budget), part in case.rows.groupby(["arm", "budget"], observed=True, sort=True):
            if budget in _GROUPED and part[names].notna().any(axis=None):
                lines.append(markdown.line([case.dataset, arm, budget, *(_interval(part, name) for name in names)]))
        lines.append("")
    return lines if len(lines) > 4 else []


SECTIONS: tuple[Callable[[pd.DataFrame], list[str]], ...] = (
    losses,
    regret_left,
    harmed,
    asked,
    region,
    expected,
    calibration,
    by_group,
)


def _by_arm(title: str, about: str, rows: pd.DataFrame, cells: Callable[[Case], dict[str, str]]) -> list[str]:
    """A table with a line per case and a column per arm."""
    found = [(case, cells(case)) for case in cases(rows)]
    names = [arm for arm in rows["arm"].cat.categories if any(values.get(arm) for _, values in found)]
    if not names:
        return []
    lines = [f"## {title}", "", about, "", *markdown.header(["people", "data set", *names])]
    return lines + [
        markdown.line([case.name, case.dataset, *(values.get(arm, "") for arm in names)]) for case, values in found
    ]


def _shares_left(case: Case) -> dict[str, str]:
    before = by_budget(case, "base_regret", _LEFT)
    share = by_budget(case, "regret", _LEFT) / before.where(before > _LEAST_REGRET)
    return {str(arm): " ".join(_texts(values, ".2f", "-")) for arm, values in share.iterrows()}


def _shares_harmed(case: Case) -> dict[str, str]:
    return _percents(by_budget(case, "harmed", _GROUPED))


def _shares_inside(case: Case) -> dict[str, str]:
    return _percents(by_budget(case, "in_region", CHECKED))


def _ratios_expected(case: Case) -> dict[str, str]:
    ratio = by_budget(case, "expected_distance", CHECKED) / by_budget(case, "true_distance", CHECKED)
    return {str(arm): " ".join(_texts(values, ".2f", "-")) for arm, values in ratio.iterrows()}


def _is_informative(name: str) -> bool:
    return noise.is_flips(name) and float(name) < _COINS


def _percents(table: pd.DataFrame) -> dict[str, str]:
    known = table[table.notna().any(axis=1)]
    return {str(arm): " ".join(_texts(100 * values, ".0f", "-")) for arm, values in known.iterrows()}


def _interval(part: pd.DataFrame, name: str) -> str:
    """Mean over all users of the seeds, half-width of its 95 % interval (Student's t), and number of users."""
    part = part[part[name].notna()]
    if not len(part):
        return ""
    sizes, means = part[f"{name}_n"].to_numpy(float), part[name].to_numpy(float)
    sd = part[f"{name}_sd"].fillna(0).to_numpy(float)  # of a single user there is none
    num, mean = sizes.sum(), np.average(means, weights=sizes)
    if num < 2:
        return f"{mean:.3f} (1)"
    variance = np.sum((sizes - 1) * sd**2 + sizes * (means - mean) ** 2) / (num - 1)
    half = stats.t.ppf(_QUANTILE, num - 1) * math.sqrt(variance / num)
    return f"{mean:.3f} +- {half:.3f} ({num:.0f})"


def _texts(values: Any, spec: str = ".3f", missing: str = "") -> list[str]:
    return [_text(value, spec, missing) for value in values]


def _text(value: float, spec: str = ".3f", missing: str = "") -> str:
    return missing if value != value or math.isinf(value) else format(value, spec)
