"""What the file of a session must look like: its keys, and the type of each value."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from hare_jax.app.session.telling import CHOICES, is_finite
from hare_jax.base import require
from hare_jax.elicit import ELICITORS

FORMAT, VERSION = "hare_jax session", 7
NAME = "session file"
MOST_BYTES = 32 * 2**20
MOST_EVENTS = 2_000
MOST_QUESTIONS = 1_000
COUNTERS = ("slot", "proposals", "num_answers", "num_asked", "still")

_MOST_COUNT = 2**31 - 1
_MOST_SLOTS = 100_000
_TYPES = {"float32", "float64", "int32", "int64", "int8", "uint32", "bool"}
_NUM_LOGITS = 2


def parsed(text: str) -> dict[str, Any]:
    """The parts of a file, with their types checked.

    Raises:
        ValueError: it is no session, or a part is missing, unknown or of another type.
    """
    require(isinstance(text, str), NAME, "must be a text", type(text).__name__)
    require(len(text) <= MOST_BYTES, NAME, f"must have at most {MOST_BYTES:,} characters", f"{len(text):,}")
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except _ConstantError as error:
        raise ValueError(f"{NAME}: must not hold {error}") from None
    except (ValueError, RecursionError) as error:  # no JSON, or a whole number of too many digits
        raise ValueError(f"{NAME}: must be JSON; got {error}") from None
    require(isinstance(found, dict), NAME, "must be a JSON object", type(found).__name__)
    require(found.get("format") == FORMAT, NAME, f"must be of the format {FORMAT!r}", found.get("format"))
    require(found.get("version") == VERSION, NAME, f"must have version {VERSION}", found.get("version"))
    _check_parts("", found, _PARTS)
    _check_parts("turn.", found["turn"], dict.fromkeys(COUNTERS, _is_turn_count) | {"due": _is_bool})
    _check_events(found["events"], found["turn"]["num_answers"])
    return found


class _ConstantError(Exception):
    """NaN or an infinity."""


@contextlib.contextmanager
def as_of_file() -> Iterator[None]:
    """Raise errors of types as a `ValueError`: values within hyperparameters are not checked before."""
    try:
        yield
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{NAME}: must have valid hyperparameters; got {error}") from None


def _no_constant(text: str) -> None:
    raise _ConstantError(text)


def _check_parts(prefix: str, found: dict[str, Any], parts: dict[str, Callable[[Any], bool]]) -> None:
    """Check that the keys of `found` are those of `parts`, and each value by its rule."""
    other = sorted(map(str, found.keys() ^ parts.keys()))
    require(not other, NAME, f"must have exactly the keys {', '.join(prefix + name for name in parts)}", other)
    for name, is_right in parts.items():
        require(is_right(found[name]), NAME, f"must have a valid {prefix}{name}", found[name])


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_COUNT


def _is_turn_count(value: Any) -> bool:
    return _is_count(value) and value <= _MOST_SLOTS


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | bool) or is_finite(value)


def _is_bound(value: Any) -> bool:
    return value is None or is_finite(value)


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_scalar, value.values()))


def _is_features(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_text, value))


def _is_array(value: Any) -> bool:
    if not (isinstance(value, dict) and value.keys() == {"dtype", "shape", "data"}):
        return False
    shape, known = value["shape"], isinstance(value["dtype"], str) and value["dtype"] in _TYPES
    return known and _is_text(value["data"]) and isinstance(shape, list) and all(map(_is_count, shape))


def _is_arrays(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_array, value.values()))


_PARTS: dict[str, Callable[[Any], bool]] = {
    "format": _is_text,
    "version": _is_count,
    "elicitor": lambda value: _is_text(value) and value in ELICITORS,
    "hyperparameters": lambda value: isinstance(value, dict),
    "questions": lambda value: _is_count(value) and value <= MOST_QUESTIONS,
    "seed": _is_count,
    "method": lambda value: value is None or _is_text(value),
    "table": _is_text,
    "row": _is_row,
    "logits": lambda value: isinstance(value, list) and len(value) == _NUM_LOGITS and all(map(is_finite, value)),
    "events": lambda value: isinstance(value, list) and len(value) <= MOST_EVENTS,
    "turn": lambda value: isinstance(value, dict),
    "base": _is_array,
    "state": _is_arrays,
}
_EVENTS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "answer": {"choice": lambda value: _is_text(value) and value in CHOICES},
    "rate": {"value": is_finite, "option": lambda value: value in (None, "A", "B")},
    "veto": {"features": _is_features},
    "range": {"feature": _is_text, "lower": _is_bound, "upper": _is_bound},
    "importance": {"feature": _is_text, "over": _is_text},
    "explore": {"changes": _is_row},
    "accept": {},
}


def _check_events(events: list[Any], num_answers: int) -> None:
    for number, event in enumerate(events):
        _check_event(f"events.{number}", event)
    kinds = [event["kind"] for event in events]
    require("accept" not in kinds[:-1], NAME, "must have no events after accept", kinds[-1:])
    require(kinds.count("answer") == num_answers, NAME, "must have turn.num_answers answers in events", num_answers)


def _check_event(name: str, event: Any) -> None:
    known = isinstance(event, dict) and event.keys() == {"kind", "details"} and isinstance(event["details"], dict)
    known = known and _is_text(event["kind"])
    require(known and event["kind"] in _EVENTS, NAME, f"must have {name} with a kind of {', '.join(_EVENTS)}", event)
    _check_parts(f"{name}.", event["details"], _EVENTS[event["kind"]])
