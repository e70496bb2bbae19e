"""What a person enters: commands, features, limits and proposals, as text."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hare_jax.app.session.parsing import number
from hare_jax.data.schema import Feature

_WORDS = {
    "a": ("option a", "1"),
    "b": ("option b", "2"),
    "?": ("can't tell", "cannot tell", "both", "none"),
    "v": ("veto", "rule out"),
    "r": ("range", "limit"),
    "i": ("harder",),
    "t": ("rate",),
    "w": ("what if", "what-if", "try"),
    "u": ("undo", "back"),
    "y": ("yes", "accept", "take"),
    "s": ("save",),
    "q": ("quit", "exit"),
    "h": ("help",),
}  # besides the key itself
_WITH_MORE = "vritwsq"  # keys that text can follow
_NO_LIMIT = ("-", "*", "any", "none")
_BETWEEN = re.compile(r"(.+?)\s+(\S+?)(?:\s+to\s+|\s*\.\.\s*|\s+)(\S+)")  # a name and two limits
_BEYOND = re.compile(r"(.+?)\s*([<>])=?\s*(\S+)")  # a name and one limit
_HARDER = re.compile(r"(.+?)\s*(?:>|\bthan\b)\s*(.+)")  # two names
_RATING = re.compile(r"(?:([ab])\s+)?(\S+)", re.IGNORECASE)  # an option, or none, and a number
_CHANGE = re.compile(r"[;,]\s*(?=[^;,=]+=)")  # between two changes; not the comma in 30,000


class Command(NamedTuple):
    """A key, and what was entered after it."""

    key: str
    rest: str = ""


def command(text: str) -> Command:
    """The command of a key or a line.

    >>> command("A"), command("veto savings"), command("w income = 40")
    (Command(key='a', rest=''), Command(key='v', rest='savings'), Command(key='w', rest='income = 40'))

    Raises:
        ValueError: there is none.
    """
    lower = text.strip().lower()
    for key, words in _WORDS.items():
        for word in (key, *words):
            if lower == word or (lower.startswith(f"{word} ") and key in _WITH_MORE):
                return Command(key, text.strip()[len(word) :].strip())
    raise ValueError(f"{text.strip()!r} is none of the keys {' '.join(_WORDS)}; h explains them")


def feature(text: str, features: Iterable[Feature]) -> Feature:
    """The feature of a number in the list from 1, a name, a label, or the start of one that no other has.

    Raises:
        ValueError: there is none, or several.
    """
    known = list(features)
    wanted = _plain(text)
    if wanted.isdigit() and 1 <= int(wanted) <= len(known):
        return known[int(wanted) - 1]
    exact = [one for one in known if wanted in (_plain(one.name), _plain(one.label))]
    begun = [one for one in known if wanted and any(_plain(part).startswith(wanted) for part in (one.name, one.label))]
    found = exact or begun
    if len(found) != 1:
        labels = ", ".join(one.label for one in found or known)
        raise ValueError(f"{text.strip()!r} {'can be one of' if found else 'is none of'}: {labels}")
    return found[0]


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def names(text: str, features: Iterable[Feature]) -> list[str]:
    """The names of one or more features, with commas between them."""
    known = list(features)
    parts = [part for part in re.split(r"[;,]", text) if part.strip()] or [text]
    return [feature(part, known).name for part in parts]


class Limits(NamedTuple):
    """The least and the greatest value of a feature."""

    name: str
    lower: float | None
    upper: float | None


def limits(text: str, features: Iterable[Feature]) -> Limits:
    """A feature and its limits: `income 20 60`, `income 20 to 60`, `income - 60`, `income <= 60`, `income >= 20`.

    Raises:
        ValueError: no such feature, or no limits.
    """
    text = text.strip()
    if bound := _BEYOND.fullmatch(text):
        name, sign, value = bound.groups()
        lower, upper = (value, "-") if sign == ">" else ("-", value)
    elif both := _BETWEEN.fullmatch(text):
        name, lower, upper = both.groups()
    else:
        raise ValueError(f"{text!r} is not a name and two limits, as in: income 20 60")
    chosen = feature(name, features)
    return Limits(chosen.name, *(None if one.lower() in _NO_LIMIT else _number(one) for one in (lower, upper)))


def _number(text: str) -> float:
    try:
        return number(text)
    except ValueError as error:
        raise ValueError(f"{text.strip()!r} {error}") from None


class Harder(NamedTuple):
    """One feature is harder to change than another."""

    name: str
    over: str


def harder(text: str, features: Iterable[Feature]) -> Harder:
    """Two features, of which the first is harder to change: `job > income`, `job than income`.

    Raises:
        ValueError: no such features.
    """
    known, found = list(features), _HARDER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text.strip()!r} is not two names with > between them, as in: job > income")
    return Harder(*(feature(part, known).name for part in found.groups()))


class Rating(NamedTuple):
    """A rating of an option, or of the best so far."""

    value: float
    option: str | None


def rating(text: str) -> Rating:
    """An option and a number, or a number: `A 7`, `7`.

    Raises:
        ValueError: no number.
    """
    found = _RATING.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text.strip()!r} is not a or b and a number, as in: a 7")
    option, value = found.groups()
    return Rating(_number(value), option and option.upper())


def changes(text: str, features: Mapping[str, Feature]) -> dict[str, Any]:
    """A proposal, by name of feature: `income = 40, job = full`.

    Raises:
        ValueError: a part of it is no change of a feature.
    """
    found: dict[str, Any] = {}
    for part in _CHANGE.split(text.strip()):
        name, equals, value = part.partition("=")
        if not (equals and value.strip()):
            raise ValueError(f"{part.strip()!r} is not a name, = and a value, as in: income = 40")
        chosen = feature(name, features.values())
        found[chosen.name] = value.strip() if chosen.type == "categorical" else _number(value)
    return found
