"""The order of categories that are ranges of numbers, such as "lt $1000", "$1000 to 2999" and "$3000 or more"."""

import math
import re
from collections.abc import Sequence

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_WORDS = re.compile(r"[a-z]+|<=?|>=?|[^\s\w]")
_UP_TO = {"lt", "le", "<", "<=", "less", "under", "below", "fewer"}
_FROM = {"gt", "ge", ">", ">=", "more", "over", "above", "+", "older"}
_OTHERS = {"to", "than", "or", "and", "from", "up", "$", "-", "\u2013", "€", "£", "%", "(", ")", "[", "]", ",", "years"}
_ENDS = 2  # of a range


def in_order(categories: Sequence[str]) -> list[str] | None:
    """The `categories` by their numbers, or None if one is no number or range of numbers.

    >>> in_order(["$1000 to 2999", "$25,000 or more", "$3000 to 24999", "lt $1000"])
    ['lt $1000', '$1000 to 2999', '$3000 to 24999', '$25,000 or more']
    >>> in_order(["1-2", "3+", "none"])
    """
    ranges = {category: _range(category) for category in categories}
    known = {category: ends for category, ends in ranges.items() if ends is not None}
    return sorted(known, key=known.__getitem__) if len(known) == len(ranges) else None


def _range(text: str) -> tuple[float, float] | None:
    """The ends of the range that `text` names, or None."""
    plain = _THOUSANDS.sub("", text.lower())
    ends = [float(number) for number in _NUMBER.findall(plain)]
    words = set(_WORDS.findall(_NUMBER.sub(" ", plain)))
    below, above = bool(words & _UP_TO), bool(words & _FROM)
    if plain.lstrip().startswith("-"):  # negative numbers
        return None
    if not 1 <= len(ends) <= _ENDS or words - _UP_TO - _FROM - _OTHERS or (len(ends) == _ENDS and (below or above)):
        return None
    if below == above:
        return (ends[0], ends[-1]) if not below else None
    return (-math.inf, ends[0]) if below else (ends[0], math.inf)
