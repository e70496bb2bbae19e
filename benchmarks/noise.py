"""Names of the noise of answers, as in the field `noise` of a spec: the only place that reads them.

A number is the probability of a flipped answer, `logistic` the noise of HARE's table 9, `bt:T` Bradley and Terry's at
temperature T, and `tie:W` a person that can't tell below a difference of W.
"""

from dataclasses import fields, replace
from typing import Any

from hare_jax import people
from hare_jax.base import require

LOGISTIC = "logistic"
_TIE = "tie"
_FIELDS = {"bt": "temperature", "tie": _TIE}  # of `people.Noise`, by prefix
_RULE = f"must be a probability, {LOGISTIC}, " + " or ".join(f"{prefix}:NUMBER" for prefix in _FIELDS)


def parse(text: str) -> people.Noise:
    """The noise of this name.

    Raises:
        ValueError: there is no such noise, or a number is out of its range.

    >>> parse("0.1").flip
    0.1
    """
    if text == LOGISTIC:
        return people.Noise(logistic=True)
    prefix, colon, number = text.rpartition(":")
    if not colon:
        flip = _number(text, text)
        require(0 <= flip <= 1, "noise", _RULE, text)
        return people.Noise(flip=flip)
    require(prefix in _FIELDS, "noise", _RULE, text)
    name, value = _FIELDS[prefix], _number(number, text)
    require(value > 0, "noise", f"must be above 0 after {prefix}:", text)
    known = [field.name for field in fields(people.Noise)]
    require(name in known, "noise", f"{prefix}: needs the field {name!r} of people.Noise, which has {known}", text)
    given: dict[str, Any] = {name: value}
    return people.Noise(**given)


def shared(text: str) -> people.Noise:
    """As `parse`, so that one program serves flips and ties: without ties their width is 0."""
    noise = parse(text)
    none: dict[str, Any] = {_TIE: 0.0}
    return replace(noise, **none) if getattr(noise, _TIE, 0.0) is None else noise


def is_flips(text: str) -> bool:
    """Whether the noise of this name is a constant probability of flips."""
    return text != LOGISTIC and ":" not in text


def label(text: str) -> str:
    """The noise of this name for pages; empty without noise."""
    if not is_flips(text):
        return text
    return "" if float(text) == 0 else f"{float(text):.0%} flipped".replace("%", " %")


def order(text: str) -> tuple[bool, float, str]:
    """Sort key of names: flips by their probability, then the others."""
    return (False, float(text), text) if is_flips(text) else (True, 0.0, text)


def _number(number: str, text: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise ValueError(f"noise: {_RULE}; got {text!r}") from None
