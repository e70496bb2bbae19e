"""Conditions on a number, as text: ">= 6", "> 3", "<= 2" and "< 10"."""

import re
from typing import Any, NamedTuple

import numpy as np

_CONDITION = re.compile(r"\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


class Condition(NamedTuple):
    """The interval that a condition describes."""

    low: float  # may be -inf
    high: float  # may be inf
    strict: bool  # the bounds are excluded

    def accepts(self, values: np.ndarray) -> np.ndarray:
        """Whether each of `values` (n,) is in the interval: (n,) bool; False for NaN."""
        if self.strict:
            return (values > self.low) & (values < self.high)
        return (values >= self.low) & (values <= self.high)


def parse(text: Any) -> Condition | None:
    """The condition that `text` states, or None if it states none.

    >>> parse("<= 3"), parse("> 1e3"), parse("approved")
    (Condition(low=-inf, high=3.0, strict=False), Condition(low=1000.0, high=inf, strict=True), None)
    """
    match = _CONDITION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    bound, strict = float(match[2]), len(match[1]) == 1
    return Condition(bound, np.inf, strict) if match[1].startswith(">") else Condition(-np.inf, bound, strict)
