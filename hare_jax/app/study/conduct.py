"""How a person goes through a study: each method reads where they are, and stores the next answer before it returns.

A page that was sent twice, or is out of date, changes nothing: its step or its number tells.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hare_jax.app.explainer.cells import one_row
from hare_jax.app.session import CANNOT_TELL, Asked, Option, Session, showing
from hare_jax.app.study import assigning, plain
from hare_jax.app.study import setting as settings
from hare_jax.app.study.database import AlreadyStoredError
from hare_jax.app.study.design import Study
from hare_jax.app.study.sessions import Sessions
from hare_jax.app.study.steps import step_of
from hare_jax.app.study.store import QUESTIONS, RATING, ROW, Answer, Outcome, Record, Store
from hare_jax.base import choose

_BASE = "base"  # label


class Turn(NamedTuple):
    """The question to answer."""

    asked: Asked
    repeats: int | None  # the number of the question that it repeats
    row: pd.Series  # of the person


class Conduct:
    """The way of people through a study."""

    def __init__(self, study: Study, store: Store, sessions: Sessions) -> None:
        self.study, self.store, self.sessions = study, store, sessions
        self._names = [feature.name for feature in sessions.setting.table.features]

    def begin(self, token: str) -> None:
        """A new person, who has agreed, with the `token` of their link; one that is there already is no other."""
        with contextlib.suppress(AlreadyStoredError):
            self.store.begin(token, lambda number: assigning.arm_of(self.study, number).name)

    def assigned(self, record: Record) -> pd.Series:
        """The row that a person is assigned."""
        rows = self.sessions.rows
        return one_row(rows, assigning.row_of(self.study, record.number, len(rows)))

    def questionnaire(self, token: str, part: str, values: dict[str, Any]) -> None:
        """Store a questionnaire."""
        with self._at(token, part) as record:
            if record is not None:
                self.store.save_items(record.number, part, values)

    def start(self, token: str, row: Any) -> None:
        """Begin the session of a row, and store both.

        Raises:
            ValueError: the row can't be encoded, is accepted, or has no recourse.
        """
        with self._at(token, ROW) as record:
            if record is None:
                return
            arm = self.study.arm(record.arm)
            session = settings.session(self.sessions.setting, arm, row, assigning.seed_of(self.study, record.number))
            asked = session.question()
            outcome = None if asked is not None else self._outcome(record, session)
            values = plain.row(session.row, self._names)
            self.store.save_row(record.number, values, session.to_json(), outcome)
            self.sessions.keep(record.number, session)

    def turn(self, token: str) -> Turn | None:
        """The question of a person; None at another step."""
        with self._at(token, QUESTIONS) as record:
            return None if record is None else self._turn(record, self.sessions.get(record))

    def _turn(self, record: Record, session: Session) -> Turn:
        """The next question of the session, or else the repeated one."""
        number, asked = record.num_answers + 1, session.question()
        of = self.study.arm(record.arm).questions + bool(self.study.repeat)
        if asked is not None:
            return Turn(asked._replace(number=number, of=of), None, session.row)
        shown = self.store.shown(record.number, self.study.repeat)
        swapped = assigning.swaps(self.study, record.number)
        return Turn(plain.to_asked(shown, swapped=swapped, number=number, of=of), self.study.repeat, session.row)

    def answer(self, token: str, number: int, choice: str, seconds: float) -> None:
        """Store the answer to the question of this number, if it is the one to answer.

        Raises:
            ValueError: no choice of the question.
        """
        with self._at(token, QUESTIONS) as record:
            if record is None or number != record.num_answers + 1:
                return
            session = self.sessions.get(record)
            turn = self._turn(record, session)
            labels = [option.label for option in turn.asked.options]
            choose("choice", choice, [*labels, CANNOT_TELL])
            if turn.repeats is None:
                session.answer(choice)
            text = session.to_json() if turn.repeats is None else None
            last = turn.repeats is not None or (session.question() is None and not self._repeats(record.num_told + 1))
            outcome = self._outcome(record, session) if last else None
            shown = plain.asked(turn.asked, self._names)
            self.store.save_answer(record.number, Answer(number, turn.repeats, choice, shown, seconds), text, outcome)

    def _repeats(self, num_told: int) -> bool:
        """Whether a question is repeated after so many."""
        return 0 < self.study.repeat <= num_told

    def stop(self, token: str, number: int) -> None:
        """End the questions at that of this `number`, if it is the one to answer and the study allows it."""
        with self._at(token, QUESTIONS) as record:
            if record is None or number != record.num_answers + 1 or not self.study.stop:
                return
            session = self.sessions.get(record)
            if not session.ended:
                session.accept()
            self.store.save_end(record.number, session.to_json(), self._outcome(record, session))

    def _outcome(self, record: Record, session: Session) -> Outcome:
        best, base = session.best().option, _base(session)
        first = assigning.base_is_first(self.study, record.number)
        return Outcome(plain.option(best, self._names), plain.option(base, self._names), plain.same(best, base), first)

    def rate(self, token: str, point: int) -> None:
        """Store the point of the scale between the recommendation and the base."""
        with self._at(token, RATING) as record:
            if record is not None:
                self.store.save_rating(record.number, point)

    def withdraw(self, token: str) -> None:
        """Delete what a person has told."""
        record = self.store.find(token)
        if record is not None and not record.withdrawn:
            with self.sessions.of(record.number):
                self.store.withdraw(record.number)
                self.sessions.drop(record.number)

    @contextlib.contextmanager
    def _at(self, token: str, step: str) -> Iterator[Record | None]:
        """The person, if they are at this `step`; what is not stored is forgotten, too."""
        record = self.store.find(token)
        if record is None:
            yield None
            return
        with self.sessions.of(record.number):
            record = self.store.find(token)
            at_step = record is not None and step_of(self.study, record) == step
            try:
                yield record if at_step else None
            except AlreadyStoredError:
                self.sessions.drop(record.number)  # type: ignore[union-attr]
            except Exception:
                self.sessions.drop(record.number)  # type: ignore[union-attr]
                raise


def _base(session: Session) -> Option:
    """The base recourse in original units."""
    assert session.base_recourse is not None
    found = showing.written(session.person, np.asarray(session.base_recourse.x)[None])
    return showing.options(session.person, found, (_BASE,))[0]
