"""A schema as TOML, the file format that `from_frame` and the command line read."""

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hare_jax.base import require
from hare_jax.data.schema import check_schema

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(schema: Mapping[str, Any] | str | Path) -> str:
    """The text of a TOML file with the content of `schema`, one line for each feature.

    Raises:
        ValueError: `schema` is invalid, or a value has no form in TOML.

    >>> print(to_toml({"target": "ok", "features": {"income": {"type": "ordered", "step": 10}}}))
    target = "ok"
    <BLANKLINE>
    [features]
    income = { type = "ordered", step = 10 }
    <BLANKLINE>
    """
    known = check_schema(schema)
    features = known.pop("features")
    lines = [*_lines(known), "", "[features]", *_lines(features), ""]
    return "\n".join(lines)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(name, value)}" for name, value in table.items()]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quote(name)


def _value(name: str, value: Any) -> str:
    """The form of `value`, of the key `name`."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_lines(value))} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(name, inner) for inner in value)}]"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    require(isinstance(value, bool | int | float), f"schema {name}", "must be text, a number, a date or a list", value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _quote(text: str) -> str:
    """A basic string: the escapes of JSON, and of the one control character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007F")
