"""What is stored of people: each method is one transaction, and stores all of it once, or nothing."""

import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from hare_jax.app.study.database import AlreadyStoredError, Database
from hare_jax.base import require

ROW, QUESTIONS, RATING = "row", "questions", "rating"  # steps, besides the two questionnaires
_NUM_BYTES = 32  # of a token, and of the secret


class Record(NamedTuple):
    """What is stored of a person, without the session."""

    number: int  # from 0
    arm: str
    steps: frozenset[str]  # that are done
    num_answers: int  # repeated ones included
    num_told: int  # to the session
    withdrawn: bool


class Answer(NamedTuple):
    """One answer."""

    number: int  # from 1
    repeats: int | None
    choice: str
    shown: Any  # plain values
    seconds: float


class Outcome(NamedTuple):
    """What the questions led to."""

    recommendation: Any  # plain values of an option
    base: Any
    same: bool
    base_first: bool


class Store:
    """The people of a study in a file."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def facts(self, given: dict[str, str]) -> dict[str, str]:
        """The facts of the study; those `given` are stored if the file has none yet, with a secret."""
        with self.database.transaction() as connection:
            known = dict(connection.execute("SELECT name, value FROM facts"))
            if not known:
                known = given | {"secret": secrets.token_hex(_NUM_BYTES)}
                connection.executemany("INSERT INTO facts VALUES (?, ?)", known.items())
        return known

    def begin(self, token: str, arm_of: Callable[[int], str]) -> None:
        """A new person, who has agreed; only the hash of the `token` of their link is stored."""
        with self.database.transaction() as connection:
            (number,) = connection.execute("SELECT count(*) FROM people").fetchone()
            new = (number, _hash(token), arm_of(number), time.time())
            connection.execute("INSERT INTO people (number, token_hash, arm, consented_at) VALUES (?, ?, ?, ?)", new)

    def find(self, token: str) -> Record | None:
        """The person of a link; None if there is none."""
        with self.database.reading() as connection:
            query = "SELECT number, arm, withdrawn_at FROM people WHERE token_hash = ?"
            found = connection.execute(query, (_hash(token),)).fetchone()
            if found is None:
                return None
            number, arm, withdrawn = found
            steps = connection.execute("SELECT name FROM steps WHERE person = ?", (number,))
            done = frozenset(name for (name,) in steps)
            counts = "SELECT count(*), count(*) - count(repeats) FROM answers WHERE person = ?"
            answers, told = connection.execute(counts, (number,)).fetchone()
        return Record(number, arm, done, answers, told, withdrawn is not None)

    def session(self, number: int) -> str | None:
        """The session of a person, as `Session.to_json` wrote it."""
        (text,) = self._one("SELECT session FROM people WHERE number = ?", number)
        return text

    def shown(self, number: int, question: int) -> Any:
        """The question as it was shown."""
        (text,) = self._one("SELECT shown FROM answers WHERE person = ? AND number = ?", number, question)
        return json.loads(text)

    def outcome(self, number: int) -> Outcome:
        """What the questions of a person led to."""
        query = "SELECT recommendation, base, same, base_first FROM outcomes WHERE person = ?"
        best, base, same, first = self._one(query, number)
        return Outcome(json.loads(best), json.loads(base), bool(same), bool(first))

    def save_items(self, number: int, part: str, values: dict[str, Any]) -> None:
        """Store a questionnaire; items without a value are left out."""
        rows = [(number, part, name, _json(value)) for name, value in values.items() if value is not None]
        with self.database.transaction() as connection:
            _finish(connection, number, part)
            connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)

    def save_row(self, number: int, row: dict[str, Any], session: str, outcome: Outcome | None) -> None:
        """Store the row with the session that begins; with an `outcome` if it has no question."""
        with self.database.transaction() as connection:
            _finish(connection, number, ROW)
            connection.execute("UPDATE people SET row = ? WHERE number = ?", (_json(row), number))
            _save_session(connection, number, session, outcome)

    def save_answer(self, number: int, answer: Answer, session: str | None, outcome: Outcome | None) -> None:
        """Store an answer with the session after it; with an `outcome` if it was the last."""
        with self.database.transaction() as connection:
            _check(connection, number)
            (count,) = connection.execute("SELECT count(*) FROM answers WHERE person = ?", (number,)).fetchone()
            if answer.number != count + 1:
                raise AlreadyStoredError(f"answer {answer.number} after {count}")
            given = (answer.number, answer.repeats, answer.choice, _json(answer.shown), answer.seconds, time.time())
            connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *given))
            _save_session(connection, number, session, outcome)

    def save_end(self, number: int, session: str, outcome: Outcome) -> None:
        """Store that a person has ended the questions."""
        with self.database.transaction() as connection:
            _check(connection, number)
            _save_session(connection, number, session, outcome)

    def save_rating(self, number: int, point: int) -> None:
        """Store the point of the scale between the two recourses."""
        with self.database.transaction() as connection:
            _finish(connection, number, RATING)
            connection.execute("UPDATE outcomes SET point = ? WHERE person = ?", (point, number))

    def withdraw(self, number: int) -> None:
        """Delete all that a person has told. What is left: that a person of this arm has withdrawn."""
        with self.database.transaction() as connection:
            for table in ("answers", "items", "outcomes", "steps"):
                connection.execute(f"DELETE FROM {table} WHERE person = ?", (number,))
            cleared = "UPDATE people SET row = NULL, session = NULL, withdrawn_at = ? WHERE number = ?"
            connection.execute(cleared, (time.time(), number))
        self.database.purge()

    def _one(self, query: str, *values: Any) -> tuple:
        """The row of a query that has one."""
        with self.database.reading() as connection:
            found = connection.execute(query, values).fetchone()
        require(found is not None, "db", "must have what was stored", values)
        return found


def _check(connection: sqlite3.Connection, number: int) -> None:
    """Raise `AlreadyStoredError` if the person has withdrawn."""
    query = "SELECT withdrawn_at FROM people WHERE number = ?"
    if connection.execute(query, (number,)).fetchone()[0] is not None:
        raise AlreadyStoredError("withdrawn")


def _finish(connection: sqlite3.Connection, number: int, step: str) -> None:
    """Store that a step is done; `AlreadyStoredError` if it was."""
    _check(connection, number)
    connection.execute("INSERT INTO steps VALUES (?, ?, ?)", (number, step, time.time()))


def _save_session(connection: sqlite3.Connection, number: int, session: str | None, outcome: Outcome | None) -> None:
    if session is not None:
        connection.execute("UPDATE people SET session = ? WHERE number = ?", (session, number))
    if outcome is not None:
        _finish(connection, number, QUESTIONS)
        if outcome.same:  # there is nothing to rate
            _finish(connection, number, RATING)
        given = _json(outcome.recommendation), _json(outcome.base), int(outcome.same), int(outcome.base_first)
        connection.execute("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, NULL)", (number, *given))


def _hash(token: str) -> bytes:
    """The hash of a token, which is random and long enough for a single SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
