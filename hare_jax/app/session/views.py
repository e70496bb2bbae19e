"""What a session shows, in original units: plain values of Python and pandas."""

from typing import Any, NamedTuple

import pandas as pd

CANNOT_TELL = "can't tell"


class AcceptedError(ValueError):
    """The model accepts the row already: it needs no recourse."""


class Event(NamedTuple):
    """What was told: `details` can be written as JSON."""

    kind: str  # "answer", "rate", "veto", "range", "importance", "explore" or "accept"
    details: dict[str, Any]


class Change(NamedTuple):
    """The change of one feature."""

    feature: str
    label: str
    unit: str
    before: Any
    after: Any
    text: str  # "raise income from 20,000 to 35,000 $"


class Option(NamedTuple):
    """A recourse."""

    label: str  # "A", "B", ... of a question; otherwise what it is, such as "recommendation"
    row: pd.Series  # the whole row
    changes: tuple[Change, ...]
    sentence: str  # all changes


class Difference(NamedTuple):
    """A feature in which options differ."""

    feature: str
    label: str
    unit: str
    values: tuple[Any, ...]  # one for each option


class Asked(NamedTuple):
    """A question: which option is preferred?"""

    number: int  # from 1
    of: int  # the budget
    options: tuple[Option, ...]
    differences: tuple[Difference, ...]


class Best(NamedTuple):
    """The recommendation."""

    option: Option
    valid: bool  # the model accepts it, and the action space with all vetoes and ranges allows it
    sure: float | None  # posterior probability that nothing shown so far is preferred to it; None without a posterior
    region: tuple[str, ...]  # where the ideal lies with 90 % probability, a text for each feature that can move
    stop: bool  # the session suggests to stop
    reason: str  # why, or why not
    num_answers: int


class Exploration(NamedTuple):
    """What the model and the action space say to a proposal."""

    accepted: bool  # by the model
    probability: float | None  # of acceptance, of a model that gives one
    allowed: bool  # by the action space, vetoes and ranges
    problems: tuple[str, ...]  # what they forbid in it
    nearest: Option | None  # the nearest valid recourse found
    sentence: str
