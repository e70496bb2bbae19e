"""The paper's claims, each asked of the rows of one mode: in how many cells it surely holds, or surely doesn't.

A cell is a data set, classifier and base method. Two things are compared on the same users, seed by seed or user by
user; a difference is sure if its 95 % interval leaves out 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.pages import figures

_BY = ["dataset", "model", "method"]


class Count(NamedTuple):
    """In how many cells a claim is sure, in how many its opposite is, and in how many it was asked."""

    sure: int
    opposite: int
    cells: int

    def __str__(self) -> str:
        but = f", opposite in {self.opposite}" if self.opposite else ""
        return f"{self.sure} of {self.cells}{but}" if self.cells else ""


class Claim(NamedTuple):
    """A sentence, the table that it is about, and how to count its cells."""

    text: str
    table: str
    ask: Callable[[pd.DataFrame], Count]


def gains(metric: str, **where: Any) -> Callable[[pd.DataFrame], Count]:
    """Count the cells in which the rows `where` have less of `metric` than the base method, user by user."""

    def count(rows: pd.DataFrame) -> Count:
        found = figures.summarise(_where(rows, where), _BY, f"{metric}_gain")
        return _count(found["mean"], found["half"]) if len(found) else Count(0, 0, 0)

    return count


def less(metric: str, ours: dict[str, Any], theirs: dict[str, Any]) -> Callable[[pd.DataFrame], Count]:
    """Count the cells in which the rows `ours` have less of `metric` than the rows `theirs`, seed by seed."""

    def count(rows: pd.DataFrame) -> Count:
        each = [_where(rows, where).groupby([*_BY, "seed"], observed=True)[metric].mean() for where in (ours, theirs)]
        gap = (each[1] - each[0]).dropna().groupby(_BY, observed=True)
        size = gap.size()
        half = gap.std() / np.sqrt(size) * stats.t.ppf(0.975, size - 1)
        return _count(gap.mean(), half)

    return count


def _where(rows: pd.DataFrame, where: dict[str, Any]) -> pd.DataFrame:
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def _count(gap: pd.Series, half: pd.Series) -> Count:
    return Count(int((gap - half > 0).sum()), int((gap + half < 0).sum()), len(gap))


CLAIMS = (
    Claim(
        "many rounds of questions end nearer to the hidden ideal than the base method",
        "table1",
        gains("ideal_l2", arm="multi"),
    ),
    Claim("one round does", "table1", gains("ideal_l2", arm="single")),
    Claim(
        "so does a random choice of the same candidates, without a question", "table1", gains("ideal_l2", arm="random")
    ),
    Claim("many rounds end nearer than one", "table1", less("ideal_l2", {"arm": "multi"}, {"arm": "single"})),
    Claim("500 questions in a round end nearer than 30", "table2", less("ideal_l2", {"budget": 500}, {"budget": 30})),
    Claim(
        "five candidates a round end nearer than ten", "table3", less("ideal_l2", {"per_round": 5}, {"per_round": 10})
    ),
    Claim(
        "one candidate a round ends nearer than five", "table3", less("ideal_l2", {"per_round": 1}, {"per_round": 5})
    ),
    Claim(
        "all candidates on the boundary end nearer than the winner alone",
        "table5",
        less("ideal_l2", {"boundary": "all"}, {"boundary": "winner"}),
    ),
    Claim(
        "with near ideals, many rounds end nearer than the base method",
        "table6",
        gains("ideal_l2", arm="multi", ideal="near"),
    ),
    Claim("with ideals in between", "table6", gains("ideal_l2", arm="multi", ideal="intermediate")),
    Claim(
        "with hidden cost weights, many rounds end cheaper than the base method",
        "table7",
        gains("weighted_cost", arm="multi"),
    ),
    Claim(
        "with one answer in five flipped, many rounds still end nearer than the base method",
        "table8",
        gains("ideal_l2", noise="0.2"),
    ),
    Claim("with logistic noise", "table9", gains("ideal_l2", noise="logistic")),
    Claim("three questions in one round end nearer than the base method", "table10", gains("ideal_l2", budget=3)),
)
