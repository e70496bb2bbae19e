"""The items of a questionnaire: how a TOML file declares them, and what a form's value of one must be."""

import math
from collections.abc import Mapping
from typing import Any

from hare_jax.app.session.parsing import number
from hare_jax.app.study.design import CHOICE, NUMBER, SCALE, TEXT, Item
from hare_jax.app.study.rules import Key, Required, check_names, checked, flag, is_name, is_number, text, texts, whole
from hare_jax.base import choose, require

_FEWEST, _MOST_POINTS, _LONGEST = 2, 11, 1_000
_NUM_ENDS = 2


def _is_range(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == _NUM_ENDS and all(map(is_number, value))
    return is_pair and value[0] < value[1]


_SHARED = {
    "name": Key(Required, "must be 1 to 40 letters, digits, _ and -, a letter first", is_name),
    "text": text(),
    "type": text(),
    "required": flag(True),
}
_TYPES: dict[str, dict[str, Key]] = {
    SCALE: {
        "points": whole(Required, _FEWEST, _MOST_POINTS),
        "labels": texts([], "must be different texts: of the two ends, or of each point", lambda num: True),
    },
    CHOICE: {"choices": texts(Required, "must be two or more different texts", lambda num: num >= _FEWEST)},
    NUMBER: {
        "range": Key(None, "must be [lowest, highest]", _is_range),
        "whole": flag(False),
    },
    TEXT: {"longest": whole(_LONGEST, 1, _LONGEST)},
}


def read(part: str, tables: list[Any]) -> tuple[Item, ...]:
    """The items of a questionnaire.

    Raises:
        ValueError: a key is unknown or missing, or a value is against its rule.
    """
    found = tuple(_item(f"{part}.{index}", table) for index, table in enumerate(tables, 1))
    check_names(part, [item.name for item in found])
    return found


def _item(argument: str, table: Any) -> Item:
    require(isinstance(table, Mapping), argument, "must be a table of keys and values", table)
    choose(f"{argument}.type", table.get("type"), _TYPES)
    given = checked(argument, table, _SHARED | _TYPES[table["type"]])
    given |= {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    item = Item(**given)
    rule = f"must be two texts, for its ends, or {item.points}, one for each point"
    require(len(item.labels) in (0, _NUM_ENDS, item.points), f"{argument}.labels", rule, list(item.labels))
    return item


def value_of(item: Item, given: str) -> Any:
    """The value of an item as a form gives it: a number, a text, or None where nothing was given.

    A form gives a choice as its position, so that any text can be one.

    Raises:
        ValueError: something is required, or the value is against the rule of the item; to be shown beside it.
    """
    given = given.strip()
    if not given:
        if item.required:
            raise ValueError("Please answer this.")
        return None
    return _VALUES[item.type](item, given)


def _of_scale(item: Item, given: str) -> int:
    points = {str(point): point for point in range(1, item.points + 1)}
    _expect(given in points, "Please choose one of the points.")
    return points[given]


def _of_choice(item: Item, given: str) -> str:
    choices = {str(position): choice for position, choice in enumerate(item.choices)}
    _expect(given in choices, "Please choose one of the answers.")
    return choices[given]


def _of_number(item: Item, given: str) -> float:
    try:
        found = number(given)
    except ValueError:
        raise ValueError("Please enter a number.") from None
    _expect(not item.whole or found.is_integer(), "Please enter a whole number.")
    low, high = item.range or (-math.inf, math.inf)
    _expect(low <= found <= high, f"Please enter a number from {low:g} to {high:g}.")
    return int(found) if item.whole else found


def _of_text(item: Item, given: str) -> str:
    given = given.replace("\r\n", "\n")  # as the browser counts
    _expect(len(given) <= item.longest, f"Please use at most {item.longest} characters.")
    return given


def _expect(ok: bool, text: str) -> None:
    if not ok:
        raise ValueError(text)


_VALUES: Any = {SCALE: _of_scale, CHOICE: _of_choice, NUMBER: _of_number, TEXT: _of_text}
