"""Rules for the values of a TOML file: each table has its keys, and each key a default, a rule in words and a check."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hare_jax.base import require

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_MOST_CHARACTERS = 20_000


class Required:
    """The default of a key that must be given."""


class Key(NamedTuple):
    """A key of a table."""

    default: Any
    rule: str
    ok: Callable[[Any], bool]


def checked(argument: str, table: Any, keys: Mapping[str, Key]) -> dict[str, Any]:
    """The values of a `table` by its `keys`, with defaults for those that are not given.

    Raises:
        ValueError: it is no table, a key is unknown or missing, or a value is against its rule.
    """
    require(isinstance(table, Mapping), argument or "study", "must be a table of keys and values", table)
    prefix = f"{argument}." if argument else ""
    unknown = [key for key in table if key not in keys]
    require(not unknown, argument or "study", f"unknown key; may hold {', '.join(keys)}", unknown)
    for name, key in keys.items():
        require(name in table or key.default is not Required, prefix + name, "must be given", None)
        require(name not in table or key.ok(table[name]), prefix + name, key.rule, table.get(name))
    return {name: table.get(name, key.default) for name, key in keys.items()}


def text(default: Any = Required) -> Key:
    """Text that is not empty."""
    return Key(default, "must be text, not empty", is_text)


def flag(default: bool) -> Key:
    """True or false."""
    return Key(default, "must be true or false", lambda value: isinstance(value, bool))


def whole(default: Any, least: int, most: int) -> Key:
    """A whole number from `least` to `most`."""
    return Key(default, f"must be a whole number from {least} to {most}", lambda v: is_whole(v) and least <= v <= most)


def one_of(default: Any, *known: str) -> Key:
    """One of some words."""
    return Key(default, f"must be one of {', '.join(known)}", lambda value: value in known)


def texts(default: Any, rule: str, ok: Callable[[int], bool]) -> Key:
    """A list of different texts, by its length."""
    return Key(default, rule, lambda value: is_texts(value) and len({*value}) == len(value) and ok(len(value)))


def is_text(value: Any) -> bool:
    """Whether it is text with something in it."""
    return isinstance(value, str) and 0 < len(value.strip()) <= _MOST_CHARACTERS


def is_texts(value: Any) -> bool:
    """Whether it is a list of texts."""
    return isinstance(value, list) and all(map(is_text, value))


def is_name(value: Any) -> bool:
    """Whether it can name an arm, an item or a column."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_whole(value: Any) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def check_names(argument: str, names: list[Any]) -> None:
    """Raise a `ValueError` unless the names are letters, digits, _ and -, and different."""
    for name in names:
        require(is_name(name), argument, "must be named by 1 to 40 letters, digits, _ and -, a letter first", name)
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(not repeated, argument, "must have different names", repeated)
