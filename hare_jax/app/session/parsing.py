"""Numbers that a person enters."""

import math
import re

_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")  # with thousands separators
_MOST_TEXT = 40  # characters


def number(text: str) -> float:
    """A finite number in a text; commas may separate thousands only, so that 3,5 is no number.

    Raises:
        ValueError: it is none.

    >>> number("30,000.5"), number(" -1.5 ")
    (30000.5, -1.5)
    """
    plain = text.strip()
    plain = plain.replace(",", "") if _GROUPED.fullmatch(plain) else plain
    try:
        value = float(plain) if plain.isascii() and len(plain) <= _MOST_TEXT and "_" not in plain else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("must be a number such as 30,000 or 12.5")
    return value
