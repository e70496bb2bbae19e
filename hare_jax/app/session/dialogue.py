"""The state of a session: it is prepared, takes events, and goes back."""

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pandas as pd

from hare_jax.app.explainer import Explainer
from hare_jax.app.explainer.cells import one_row
from hare_jax.app.explainer.judging import complete, judge
from hare_jax.app.explainer.writing import Written
from hare_jax.app.session import setup, showing, telling, turns
from hare_jax.app.session.file_rules import MOST_EVENTS
from hare_jax.app.session.showing import Person
from hare_jax.app.session.turns import Problem, Turn
from hare_jax.app.session.views import AcceptedError, Event
from hare_jax.base import Recourse, require
from hare_jax.data import Table
from hare_jax.elicit.answers import in_ranges

Progress = Callable[[float, str], None]
_NUM_KEPT = 17  # turns: the present one, and one for each of 16 undos; others are found by telling all events again


class Dialogue:
    """The events of a session, and the turn before and after each."""

    def __init__(
        self,
        model: Any,
        table: Table | None,
        row: Any,
        elicitor: str = "bayes",
        *,
        seed: int = 0,
        questions: int = 30,
        base: str | None = None,
        **hyperparameters: Any,
    ) -> None:
        given = setup.Given(model, table, row, elicitor, seed, questions, base, hyperparameters)
        self._given = given
        self._frame = setup.row_of(setup.check(given), row)
        self.seed, self.elicitor, self.questions = seed, elicitor, questions
        self.ended = False
        self._events: list[Event] = []
        self._turns: list[Turn | None] = []  # one more than events; None of those that are not kept
        self._ready = False
        self._compiling: Future[list[Future[Any]]] | None = None  # what the first question and its answer need
        self._person: Person | None = None
        self._problem: Problem | None = None
        self.base_recourse: Recourse | None = None  # encoded
        if model is not None:
            self._meet(setup.explainer(given))

    def _meet(self, explainer: Explainer) -> None:
        """Judge the row."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            x = np.asarray(explainer.table.encode(self._frame))
            frame = complete(explainer.table, self._frame, x)
            logit = judge(explainer.logit_fn, explainer.table, frame)
        refused, rule = not bool(logit[0] >= 0), "is already accepted: it needs no recourse"
        try:
            require(refused, "row", rule, self._frame.iloc[0].to_dict())
        except ValueError as error:
            raise AcceptedError(str(error)) from None
        self._person = Person(explainer, frame, x)

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything told so far, in order."""
        return tuple(self._events)

    @property
    def num_answers(self) -> int:
        """How many questions have been answered."""
        return sum(event.kind == "answer" for event in self._events)

    @property
    def row(self) -> pd.Series:
        """The person's row in original units."""
        return one_row(self._frame if self._person is None else self._person.row, 0)

    @property
    def explainer(self) -> Explainer:
        """The model with its table."""
        return self.person.explainer

    @property
    def person(self) -> Person:
        """The row, with what judges its changes."""
        if self._person is None:
            self._meet(setup.explainer(self._given))
        assert self._person is not None
        return self._person

    @property
    def problem(self) -> Problem:
        """The elicitor, its keys and what is constant."""
        if self._problem is None:
            self._problem = setup.problem(self._given, self.person)
        return self._problem

    def prepare(self, progress: Progress | None = None, *, wait: bool = True) -> None:
        """Compile what the first question and its answer need, and find the first recourse; `progress(share, stage)`.

        What vetoes, ranges, ratings and explorations need is compiled in the background afterwards; without `wait`,
        what the first answer needs, too. An earlier call waits for it.

        Raises:
            ValueError: the model accepts the row, or there is no recourse for it.
        """
        if not self._turns or not self._ready:
            self._open(progress or _silent)
        if wait and self._compiling is not None:
            for program in self._compiling.result():
                program.result()

    def _open(self, tell: Progress) -> None:
        tell(0.0, "reading the model")
        shown = threading.Event()
        self._compiling = setup.compile_first(self.problem, shown, opens=not self._turns)
        try:
            if not self._turns:
                self._begin(tell)
        finally:
            shown.set()
        self._ready = True
        tell(1.0, "ready")
        setup.compile_rest(self.elicitor, self.problem, self._turn, self._compiling)

    def _begin(self, tell: Progress) -> None:
        tell(setup.SHARE_READ, "searching for a first recourse")
        self.base_recourse = setup.base_recourse(self._given, self.person)
        tell(setup.SHARE_FOUND, "preparing the questions")
        self._turns = [self._first_turn()]

    def _first_turn(self) -> Turn:
        assert self.base_recourse is not None
        return self._with_question(turns.opened(self.problem, self.base_recourse))

    @property
    def _turn(self) -> Turn:
        self.prepare(wait=False)
        turn = self._turns[-1]
        assert turn is not None
        return turn

    def _with_question(self, turn: Turn) -> Turn:
        """The turn with the next question whose options can be shown, and differ in original units."""
        turn = turns.with_question(self.problem, turn)
        if telling.room(turn) == 0:
            return turns.without_question(turn)
        without: tuple[np.ndarray, ...] = ()
        while turn.question.asked:
            found = showing.written(self.person, pair(turn))
            unfit = self._unfit(found)
            if not unfit:
                return turn._replace(shown=found)
            without += (turns.left_out(turn, unfit),)
            turn = turns.with_question(self.problem, turns.hidden(self.problem, turn, without))
        return turn

    def _unfit(self, found: Written) -> tuple[int, ...]:
        """The options that can't be shown, by position: a refused one, or either of two that look the same."""
        refused = np.flatnonzero(~(found.logit >= 0))
        if len(refused):
            return (int(refused[0]),)
        names = list(self.explainer.table.schema["features"])
        return (1, 0) if bool(found.frame[names].duplicated().any()) else ()

    def _within_reach(self, turn: Turn) -> Turn:
        """The turn, from a new base where a veto or a range has left no recourse that the elicitor knows."""
        if turn.best.valid or not hasattr(turn.state, "ranges"):
            return turn
        base = setup.base_within(self.person, turn.state.space)
        inside = bool(base.valid) and bool(in_ranges(turn.state.ranges, self.problem.x, base.x))
        return turns.rebased(turn, base) if inside else turn

    def _record(self, kind: str, details: dict[str, Any], turn: Turn) -> None:
        rule = f"must have at most {MOST_EVENTS:,} events: undo, or accept the recommendation"
        require(len(self._events) < MOST_EVENTS - 1, "session", rule, len(self._events))  # one is left for accept
        self._append(Event(kind, details), self._with_question(self._within_reach(turn)))

    def _append(self, event: Event, turn: Turn) -> None:
        self._turns.append(turn)
        self._events.append(event)
        if len(self._turns) > _NUM_KEPT:
            self._turns[-_NUM_KEPT - 1] = None

    def _check_open(self) -> None:
        require(not self.ended, "session", "has ended: undo goes back", "ended")

    def undo(self) -> bool:
        """Take back the last event; False if there is none."""
        if not self._events:
            return False
        before = self._events, self._turns, self.ended
        self._events, self._turns, self.ended = self._events[:-1], self._turns[:-1], False
        try:
            if self._turns[-1] is None:
                self._replay()
        except BaseException:
            self._events, self._turns, self.ended = before
            raise
        return True

    def _replay(self) -> None:
        """Tell all events again, where no turn after them is kept."""
        events, self._events, self._turns = self._events, [], [self._first_turn()]
        for event in events:
            self._tell_again(event)
        same = [event.kind for event in self._events] == [event.kind for event in events]
        require(same, "undo", "must find the events of the session again", self._events)

    def _tell_again(self, event: Event) -> None:
        details = dict(event.details)
        getattr(self, event.kind)(*details.pop("features", ()), **details)


def _silent(share: float, stage: str) -> None:
    """Report nothing."""


def pair(turn: Turn) -> np.ndarray:
    """The options (2, d) of the question."""
    return np.stack([turn.question.a, turn.question.b])
