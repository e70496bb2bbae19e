"""The answers and the people of a study as tidy tables: a row an answer, a row a person. Tokens are in neither."""

import collections
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hare_jax.app.session import CANNOT_TELL
from hare_jax.app.study.database import Database
from hare_jax.app.study.design import AFTER, BEFORE, SCALE
from hare_jax.app.study.store import QUESTIONS
from hare_jax.base import require

_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # what a spreadsheet may run at the start; last, in full width
_PEOPLE = {
    "person": "Int64",
    "arm": "object",
    "consented_at": "object",
    "finished_at": "object",
    "withdrawn": "bool",
    "answers": "Int64",
    "agreement": "Int64",
    "same": "Int64",
    "base_first": "Int64",
    "rating": "Int64",
    "recommendation": "object",
    "base": "object",
}
_ANSWERS = (
    "person",
    "arm",
    "number",
    "repeats",
    "choice",
    "chosen",
    "seconds",
    "at",
    "a",
    "b",
    "changes_a",
    "changes_b",
)


class Tables(NamedTuple):
    """A study in long form."""

    answers: pd.DataFrame  # a row an answer
    people: pd.DataFrame  # a row a person


_Rows = dict[int, list[dict[str, Any]]]  # by the number of their person


class _Stored(NamedTuple):
    """The rows of the file."""

    facts: dict[str, str]
    people: list[dict[str, Any]]
    steps: _Rows
    answers: _Rows
    items: _Rows
    outcomes: _Rows


def tables(database: Database) -> Tables:
    """The tables of the study in a file, as they are at one moment."""
    stored = _stored(database)
    require(bool(stored.facts), "db", "must have been opened by `hare-jax study run` with a study", str(database.path))
    rows = [_answer(one, person["arm"]) for person in stored.people for one in stored.answers[person["number"]]]
    answers = pd.DataFrame(rows, columns=list(_ANSWERS)).astype({"repeats": "Int64"})
    return Tables(answers, _people(stored, answers))


def _stored(database: Database) -> _Stored:
    people = "SELECT number, arm, consented_at, withdrawn_at, row FROM people ORDER BY number"
    queries = {
        "steps": "SELECT * FROM steps",
        "answers": "SELECT * FROM answers ORDER BY person, number",
        "items": "SELECT * FROM items",
        "outcomes": "SELECT * FROM outcomes",
    }
    with database.reading() as connection:
        facts = dict(connection.execute("SELECT name, value FROM facts"))
        found = {name: _by_person(connection.execute(query)) for name, query in queries.items()}
        return _Stored(facts, _dicts(connection.execute(people)), **found)


def _dicts(cursor: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _by_person(cursor: Any) -> _Rows:
    found = collections.defaultdict(list)
    for row in _dicts(cursor):
        found[row["person"]].append(row)
    return found


def _answer(found: dict[str, Any], arm: str) -> dict[str, Any]:
    """The row of an answer."""
    options = {option["label"]: option for option in json.loads(found["shown"])["options"]}
    chosen = options.get(found["choice"])
    texts = {name.lower(): safe(option["sentence"]) for name, option in options.items()}
    changes = {f"changes_{name.lower()}": _changes(option) for name, option in options.items()}
    return {
        "person": found["person"] + 1,
        "arm": arm,
        "number": found["number"],
        "repeats": found["repeats"],
        "choice": found["choice"],
        "chosen": None if chosen is None else _changes(chosen),
        "seconds": round(found["seconds"], 3),
        "at": _time(found["at"]),
        **texts,
        **changes,
    }


def _changes(option: dict[str, Any]) -> str:
    """The new values of what an option changes, as JSON."""
    return json.dumps({change["feature"]: change["after"] for change in option["changes"]}, ensure_ascii=False)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _people(stored: _Stored, answers: pd.DataFrame) -> pd.DataFrame:
    own, none = dict(iter(answers.groupby("person"))), answers.iloc[:0]
    frame = pd.DataFrame([_person(one, stored, own.get(one["number"] + 1, none)) for one in stored.people])
    items = _items(stored)
    names = dict.fromkeys(name for person in stored.people for name in json.loads(person["row"] or "{}"))
    columns = [*_PEOPLE, *(f"row_{name}" for name in names), *items]
    whole = {name: "Int64" for name, item in items.items() if item["type"] == SCALE or item["whole"]}
    return frame.reindex(columns=columns).astype(_PEOPLE | whole)


def _items(stored: _Stored) -> dict[str, dict[str, Any]]:
    """The items of the questionnaires in their order, by their columns."""
    study = json.loads(stored.facts["design"])
    return {f"{part}_{item['name']}": item for part in (BEFORE, AFTER) for item in study[part]}


def _person(found: dict[str, Any], stored: _Stored, own: pd.DataFrame) -> dict[str, Any]:
    """The row of a person with their `own` answers; of one who has withdrawn, only the arm."""
    number = found["number"]
    steps = {step["name"]: step["at"] for step in stored.steps[number]}
    outcome = next(iter(stored.outcomes[number]), None)
    last = json.loads(stored.facts["steps"])[-1]
    return {
        "person": number + 1,
        "arm": found["arm"],
        "consented_at": _time(found["consented_at"]) if found["withdrawn_at"] is None else None,
        "finished_at": _time(steps.get(last)),
        "withdrawn": found["withdrawn_at"] is not None,
        "answers": int(own["repeats"].isna().sum()) if QUESTIONS in steps else None,
        "agreement": agreement(own),
        **(_rated(outcome, json.loads(stored.facts["design"])) if outcome else {}),
        **{f"row_{name}": _cell(value) for name, value in json.loads(found["row"] or "{}").items()},
        **{f"{one['part']}_{one['name']}": _cell(json.loads(one["value"])) for one in stored.items[number]},
    }


def agreement(answers: pd.DataFrame) -> int | None:
    """Whether the repeated question of a person was answered as before, 1 or 0; None if none was repeated."""
    repeated = answers[answers["repeats"].notna()]
    if repeated.empty:
        return None
    again = repeated.iloc[0]
    first = answers[answers["number"] == again["repeats"]].iloc[0]
    if CANNOT_TELL in (first["choice"], again["choice"]):
        return int(first["choice"] == again["choice"])
    return int(first["chosen"] == again["chosen"])


def _rated(outcome: dict[str, Any], design: dict[str, Any]) -> dict[str, Any]:
    """The rating is above 0 for the recommendation, below it for the base, and 0 where the two are equal."""
    point, rating = outcome["point"], None
    if design["rating"] is not None and outcome["same"]:
        rating = 0
    elif point is not None:
        rating = point - (design["rating"]["points"] + 1) // 2
        rating = rating if outcome["base_first"] else -rating
    sentences = {name: safe(json.loads(outcome[name])["sentence"]) for name in ("recommendation", "base")}
    return {"same": outcome["same"], "base_first": outcome["base_first"], "rating": rating, **sentences}


def _cell(value: Any) -> Any:
    return safe(value) if isinstance(value, str) else value


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that could be has an apostrophe in front."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def write(folder: str | Path, frames: dict[str, pd.DataFrame]) -> list[Path]:
    """Write each frame to a CSV file of its name.

    Raises:
        ValueError: the folder is a file.
        OSError: a file can't be written.
    """
    folder = Path(folder)
    require(not folder.is_file(), "out", "must be a folder", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.csv" for name in frames]
    for path, frame in zip(paths, frames.values(), strict=True):
        frame.to_csv(path, index=False)
    return paths
