"""The design of a study from its TOML file."""

import tomllib
from pathlib import Path
from typing import Any

from hare_jax.app import tables
from hare_jax.app.session.setup import Given, bound
from hare_jax.app.study import items
from hare_jax.app.study.design import AFTER, ASSIGNED, BEFORE, ENTERED, Arm, Consent, Rating, Study, Texts
from hare_jax.app.study.rules import (
    Key,
    Required,
    check_names,
    checked,
    flag,
    is_number,
    is_text,
    is_texts,
    one_of,
    text,
    whole,
)
from hare_jax.app.tables import TableOptions
from hare_jax.base import choose, require
from hare_jax.elicit import ELICITORS
from hare_jax.recourse import METHODS

EXAMPLE = Path(__file__).with_name("example.toml")
_MOST_SEED, _MOST_QUESTIONS, _MOST_BLOCK, _MOST_POINTS = 2**31 - 1, 100, 20, 11
_NUM_ENDS = 2

_LISTS = Key([], "must be a list of tables, as [[before]]", lambda value: isinstance(value, list))
_TABLE = Key({}, "must be a table", lambda value: isinstance(value, dict))
_PATH = Key(None, "must be the path of a file", is_text)
_STUDY = {
    "title": text(),
    "seed": whole(Required, 0, _MOST_SEED),
    "block": whole(2, 1, _MOST_BLOCK),
    "row": one_of(ASSIGNED, ASSIGNED, ENTERED),
    "repeat": whole(0, 0, _MOST_QUESTIONS),
    "stop": flag(False),
    "data": _TABLE,
    "texts": _TABLE,
    "consent": Key(Required, "must be a table with text and statement", lambda value: isinstance(value, dict)),
    "arms": Key(
        Required, "must have a table for each arm, as [arms.NAME]", lambda v: isinstance(v, dict) and len(v) > 0
    ),
    BEFORE: _LISTS,
    AFTER: _LISTS,
    "rating": Key(None, "must be a table", lambda value: isinstance(value, dict)),
}
_DATA = {
    "file": text("mortgage"),
    "schema": _PATH,
    "train": _PATH,
    "model": _PATH,
    "allow_pickle": flag(False),
    "wanted": text(None),
    "threshold": Key(None, "must be above 0 and below 1", lambda value: is_number(value) and 0 < value < 1),
    "classes": Key([], "must be a list of texts", is_texts),
    "seed": whole(0, 0, _MOST_SEED),
}
_FILES = ("schema", "train", "model")
_TEXTS = {
    "intro": text("You will see an application that was refused, and say which changes you would rather make."),
    "row": text("This is the application. The decision was: refused."),
    "thanks": text("Thank you. Your answers have been stored."),
}
_CONSENT = {"text": text(), "statement": text()}
_ARM = {
    "elicitor": text(),
    "base": text(None),
    "questions": whole(10, 1, _MOST_QUESTIONS),
    "hyperparameters": _TABLE,
}
_RATING = {
    "text": text("Which of the two would you rather do?"),
    "points": Key(
        7,
        f"must be an odd number from 3 to {_MOST_POINTS}",
        lambda value: value in range(3, _MOST_POINTS + 1, 2) and not isinstance(value, bool | float),
    ),
    "labels": Key(
        ["{first}, certainly", "{second}, certainly"],
        "must be two texts",
        lambda value: is_texts(value) and len(value) == _NUM_ENDS,
    ),
}


def read(path: str | Path) -> Study:
    """The study in a TOML file; the paths in it are relative to its folder.

    Raises:
        ValueError: no TOML file, an unknown or missing key, or a value against its rule.
        OSError: there is no such file.
    """
    path = Path(path)
    require(path.suffix == ".toml", "study", "must be a TOML file", str(path))
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"study {str(path)!r}: must be a TOML file in UTF-8; got {str(error)!r}") from error
    return of(found, path.parent)


def of(found: dict[str, Any], folder: Path) -> Study:
    """The study of a dict, as a TOML file has it; the paths in it are relative to `folder`."""
    given = checked("", found, _STUDY)
    given["data"] = _data(checked("data", given["data"], _DATA), folder)
    given["texts"] = Texts(**checked("texts", given["texts"], _TEXTS))
    given["consent"] = Consent(**checked("consent", given["consent"], _CONSENT))
    given["arms"] = _arms(given["arms"])
    for part in (BEFORE, AFTER):
        given[part] = items.read(part, given[part])
    given["rating"] = None if given["rating"] is None else _rating(given["rating"])
    study = Study(**given)
    fewest = min(arm.questions for arm in study.arms)
    require(study.repeat <= fewest, "repeat", f"must be at most {fewest}, the questions of an arm", study.repeat)
    return study


def _data(given: dict[str, Any], folder: Path) -> TableOptions:
    """The data, as the options of a command line."""
    for name in _FILES:
        given[name] = None if given[name] is None else folder / given[name]
    if (folder / given["file"]).is_file():
        given["file"] = str(folder / given["file"])
    options = TableOptions(**given | {"classes": tuple(given["classes"])})
    try:
        tables.check(options)
    except ValueError as error:
        raise ValueError(f"data: {error}") from None
    return options


def _arms(given: dict[str, Any]) -> tuple[Arm, ...]:
    check_names("arms", list(given))
    return tuple(_arm(name, table) for name, table in given.items())


def _arm(name: str, table: Any) -> Arm:
    """An arm, with its hyperparameters checked by the elicitor."""
    argument = f"arms.{name}"
    given = checked(argument, table, _ARM)
    choose(f"{argument}.elicitor", given["elicitor"], ELICITORS)
    if given["base"] is not None:
        choose(f"{argument}.base", given["base"], METHODS)
    options = given["hyperparameters"]
    try:
        bound(Given(None, None, None, given["elicitor"], 0, given["questions"], given["base"], options), [])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{argument}.hyperparameters: {error}") from None
    return Arm(name=name, **given)


def _rating(table: dict[str, Any]) -> Rating:
    given = checked("rating", table, _RATING)
    return Rating(given["text"], given["points"], (given["labels"][0], given["labels"][1]))
