"""Tests of the paper's claims on the rows of one mode: the number of cells in which each holds, or its opposite does.

A cell is a data set, classifier and base method. Comparisons are paired, by seed or by user; a difference is
significant if its 95 % interval excludes 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.pages import figures

_BY = ["dataset", "model", "method"]


class Count(NamedTuple):
    """Numbers of cells: in which a claim holds significantly, in which its opposite does, and in all."""

    holds: int
    opposite: int
    cells: int

    def __str__(self) -> str:
        but = f", opposite in {self.opposite}" if self.opposite else ""
        return f"{self.holds} of {self.cells}{but}" if self.cells else ""


class Claim(NamedTuple):
    """A claim, the table that it is about, and the function that counts its cells."""

    text: str
    table: str
    count_cells: Callable[[pd.DataFrame], Count]


def gains(**where: Any) -> Callable[[pd.DataFrame], Count]:
    """Count the cells in which the loss is lower in the rows `where` than for the base method, paired by user."""

    def count(rows: pd.DataFrame) -> Count:
        found = figures.summarise(_where(rows, where), _BY, "loss_gain")
        return _count(found["mean"], found["half"]) if len(found) else Count(0, 0, 0)

    return count


def less(ours: dict[str, Any], theirs: dict[str, Any]) -> Callable[[pd.DataFrame], Count]:
    """Count the cells in which the loss is lower in the rows `ours` than in the rows `theirs`, paired by seed."""

    def count(rows: pd.DataFrame) -> Count:
        each = [_where(rows, where).groupby([*_BY, "seed"], observed=True)["loss"].mean() for where in (ours, theirs)]
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
        "many rounds end nearer to the hidden ideal than the base method",
        "table1",
        gains(arm="multi"),
    ),
    Claim("one round ends nearer than the base method", "table1", gains(arm="single")),
    Claim(
        "a random candidate of one round, without questions, ends nearer than the base method",
        "table1",
        gains(arm="random"),
    ),
    Claim("many rounds end nearer than one round", "table1", less({"arm": "multi"}, {"arm": "single"})),
    Claim("500 questions in one round end nearer than 30", "table2", less({"budget": 500}, {"budget": 30})),
    Claim("five candidates per round end nearer than ten", "table3", less({"per_round": 5}, {"per_round": 10})),
    Claim("one candidate per round ends nearer than five", "table3", less({"per_round": 1}, {"per_round": 5})),
    Claim(
        "boundary search for all candidates ends nearer than only for the winner",
        "table5",
        less({"boundary": "all"}, {"boundary": "winner"}),
    ),
    Claim(
        "with near ideals, many rounds end nearer than the base method",
        "table6",
        gains(arm="multi", ideal="near"),
    ),
    Claim(
        "with intermediate ideals, many rounds end nearer than the base method",
        "table6",
        gains(arm="multi", ideal="intermediate"),
    ),
    Claim(
        "with hidden cost weights, many rounds end at a lower cost than the base method",
        "table7",
        gains(arm="multi"),
    ),
    Claim(
        "with 20 % of the answers flipped, many rounds end nearer than the base method",
        "table8",
        gains(noise="0.2"),
    ),
    Claim(
        "with logistic noise, many rounds end nearer than the base method",
        "table9",
        gains(noise="logistic"),
    ),
    Claim("three questions in one round end nearer than the base method", "table10", gains(budget=3)),
)
