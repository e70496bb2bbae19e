"""The figures of a study by arm, each with a 95 % interval: Wilson's for shares, the bootstrap's for means and medians.

The unit is the person: a person's time is the median of their answers. The bootstrap (Efron 1979) draws people with
replacement, and takes the percentiles of the resampled figures; its seed is fixed, so that the same file gives the same
intervals.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.app.study.exporting import Tables
from hare_jax.evaluate.intervals import Interval, share_of

LEVEL = 0.95
SEED, NUM_RESAMPLES = 0, 5_000
_FEWEST = 2  # values of a bootstrap
COLUMNS = ("arm", "figure", "n", "value", "low", "high", "interval")
NOTE = (
    f"{LEVEL:.0%} intervals over people, not adjusted for the number of figures: Wilson for shares, percentile "
    f"bootstrap ({NUM_RESAMPLES} resamples, seed {SEED}) for means and medians. The rating is above 0 for the "
    "recommendation, below 0 for the base, and 0 where the two are equal."
)


class Figure(NamedTuple):
    """A figure: the values of the people it is over, and how it summarises them."""

    name: str
    values: Callable[[Tables], pd.Series]  # by person, missing where it does not apply
    statistic: Callable[..., Any] | None  # (values, axis) of a bootstrap; None is a share


def analyse(found: Tables) -> pd.DataFrame:
    """Every figure by arm, in long form."""
    arms = sorted(set(found.people["arm"]))
    rows = [_row(arm, figure, _values(figure, found, arm)) for arm in arms for figure in FIGURES]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _values(figure: Figure, found: Tables, arm: str) -> np.ndarray:
    """The values (n,) of a figure for the people of an arm."""
    values = figure.values(found)
    return values[found.people["arm"] == arm].dropna().to_numpy(float)


def _row(arm: str, figure: Figure, values: np.ndarray) -> tuple:
    """A row of the table; without people there is no value, and with fewer than two no bootstrap."""
    num, statistic = len(values), figure.statistic
    value, ends = np.nan, Interval(np.nan, np.nan)
    if num and statistic is not None:
        value = float(statistic(values, axis=0))
        ends = bootstrap(values, statistic) if num >= _FEWEST else ends
    elif num:
        value, ends = share_of(values).estimate, share_of(values).interval(LEVEL)
    return arm, figure.name, num, value, *ends, "Wilson" if statistic is None else "bootstrap"


def bootstrap(values: np.ndarray, statistic: Callable[..., Any]) -> Interval:
    """The percentile interval of a statistic of `values` (n,)."""
    drawn = np.random.default_rng(SEED).integers(len(values), size=(NUM_RESAMPLES, len(values)))
    resampled = statistic(values[drawn], axis=1)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _finished(found: Tables) -> pd.Series:
    return found.people["finished_at"].notna()


def _withdrawn(found: Tables) -> pd.Series:
    return found.people["withdrawn"]


def _column(name: str) -> Callable[[Tables], pd.Series]:
    return lambda found: found.people[name]


def _seconds(found: Tables) -> pd.Series:
    """The median time of a person's answers."""
    return found.people["person"].map(found.answers.groupby("person")["seconds"].median())


def _undecided(found: Tables) -> pd.Series:
    """The share of a person's answers that choose neither option."""
    neither = found.answers["chosen"].isna()
    return found.people["person"].map(neither.groupby(found.answers["person"]).mean())


def _preferred(found: Tables) -> pd.Series:
    """Whether the recommendation was rated above the base."""
    rating = found.people["rating"]
    return (rating > 0).astype("Int64").where(rating.notna())


FIGURES = (
    Figure("finished", _finished, None),
    Figure("withdrawn", _withdrawn, None),
    Figure("answers, mean", _column("answers"), np.mean),
    Figure("seconds an answer, median", _seconds, np.median),
    Figure("can't tell, mean share", _undecided, np.mean),
    Figure("agreement of the repeated question", _column("agreement"), None),
    Figure("rating against the base, mean", _column("rating"), np.mean),
    Figure("recommendation rated above the base", _preferred, None),
)
