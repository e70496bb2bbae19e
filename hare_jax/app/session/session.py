"""`Session`: a person answers questions about recourses for their own row, in original units."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hare_jax.app.session import exploring, file_rules, outlook, saving, showing, telling, turns
from hare_jax.app.session.dialogue import Dialogue, pair
from hare_jax.app.session.views import Asked, Best, Event, Exploration
from hare_jax.base import require
from hare_jax.data import Table
from hare_jax.elicit.bayesian.learn import compared_with

_RECOMMENDATION = "recommendation"  # label


class Session(Dialogue):
    """A dialogue with one person whom a model refuses, about the recourse that suits them best.

    `model` is an `Explainer`, or what it takes with its `table`; None trains the built-in classifier. `row` is one row
    in original units: a DataFrame, a Series or a dict. `elicitor` is a name of `elicit.ELICITORS` with its
    `hyperparameters`, for `questions` questions, and `base` a name of `recourse.METHODS` for the first recourse.

    The same seed and answers give the same recourse as `elicit.run` from `base_recourse`.

    Raises:
        AcceptedError: the model accepts the row already.
        ValueError: an argument is wrong, or the row can't be encoded.
    """

    def question(self) -> Asked | None:
        """The question to answer; None if none is left, or the session has ended."""
        turn = self._turn
        if self.ended or not turn.question.asked:
            return None
        options = showing.options(self.person, turn.shown)
        different = showing.differences(self.person, options)
        return Asked(turn.num_asked, self.questions, options, different)

    def answer(self, choice: str) -> None:
        """Answer the question: the label of the preferred option, or `CANNOT_TELL`.

        Raises:
            ValueError: another choice, no question is shown, or the session has ended.
        """
        self._check_open()
        answer, turn = telling.choice(choice), self._turn
        require(bool(turn.question.asked), "choice", "must be the answer to a question; none is left", choice)
        self._record("answer", {"choice": choice}, turns.told(self.problem, turn, answer))

    def rate(self, value: float, option: str | None = None) -> None:
        """Rate an option of the question by its label, or else the recommendation; any scale, higher is better.

        Raises:
            ValueError: the elicitor takes no ratings, or an argument is wrong.
        """
        self._check_open()
        telling.check_takes(self.elicitor, "ratings")
        turn = self._turn
        labels = ["A", "B"] if turn.question.asked else []
        rule = f"must be None or one of {', '.join(labels)}" if labels else "must be None: no question is shown"
        require(option is None or option in labels, "option", rule, option)
        x = turn.best.x if option is None else pair(turn)[labels.index(option)]
        rating = telling.rating(x, value)
        telling.check_room(turn, int(compared_with(turn.state.rated, rating.value).sum()))
        self._record("rate", {"value": float(value), "option": option}, turns.informed(self.problem, turn, rating))

    def veto(self, *features: str) -> None:
        """Rule out changes of features, by their names.

        Raises:
            ValueError: the elicitor takes no vetoes, or an unknown feature.
        """
        self._check_open()
        telling.check_takes(self.elicitor, "vetoes")
        answer = telling.veto(self.explainer.table, features)
        self._record("veto", {"features": list(features)}, turns.informed(self.problem, self._turn, answer))

    def range(self, feature: str, lower: float | None = None, upper: float | None = None) -> None:
        """Restrict a number to an interval in original units, or to its present value.

        Raises:
            ValueError: the elicitor takes no ranges, an unknown feature or a category, or a wrong interval.
        """
        self._check_open()
        telling.check_takes(self.elicitor, "ranges")
        answer = telling.interval(self.explainer.table, self.person.x[0], feature, lower, upper)
        details = {"feature": feature, "lower": _float(lower), "upper": _float(upper)}
        self._record("range", details, turns.informed(self.problem, self._turn, answer))

    def importance(self, feature: str, over: str) -> None:
        """Tell that changing `feature` is harder than changing `over` by the same share of its range.

        Raises:
            ValueError: the elicitor does not take it, or a feature is unknown or can't change.
        """
        self._check_open()
        telling.check_takes(self.elicitor, "importance")
        answer = telling.harder(self.problem, self.explainer.table, feature, over)
        turn = self._turn
        telling.check_room(turn, 1)
        details = {"feature": feature, "over": over}
        self._record("importance", details, turns.informed(self.problem, turn, answer))

    def explore(self, changes: Mapping[str, Any], *, counts: bool = True) -> Exploration:
        """What the model says to a proposal in original units, and the nearest valid recourse to it.

        With `counts`, that recourse is told to the elicitor as preferred to the recommendation, if it can take it.

        Raises:
            ValueError: an unknown feature, or a value of it that is none.
        """
        turn = self._turn
        result, near = exploring.explore(self.problem, self.person, turn, changes)
        takes = "explorations" in telling.takes(self.elicitor)
        if not (counts and takes and near is not None and not self.ended and turn.best.valid):
            return result
        if bool((near != turn.best.x).any()) and telling.room(turn) != 0:
            answer = telling.preferred(near, turn.best.x)
            details = {"changes": {name: saving.scalar(value) for name, value in changes.items()}}
            self._record("explore", details, turns.informed(self.problem, turn, answer))
        return result

    def accept(self) -> Best:
        """End the session with the recommendation."""
        self._check_open()
        self._append(Event("accept", {}), self._turn)
        self.ended = True
        return self.best()

    def save(self, path: str | Path) -> None:
        """Write the session to a JSON file, without the model and the table.

        Raises:
            ValueError: a hyperparameter can't be written.
            OSError: the file can't be written.
        """
        saving.write(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path, model: Any, table: Table | None = None) -> "Session":
        """The session in a file of `save`, with its model and, if that needs one, its table: it goes on as before.

        Raises:
            ValueError: the file is damaged, or of another table or model.
            OSError: the file can't be read.
        """
        return cls.from_json(saving.read(path), model, table)

    def to_json(self) -> str:
        """The text that `save` writes."""
        turn, base = self._turn, self.base_recourse
        assert base is not None
        return saving.to_text(saving.Saved(self._given, self.person, self.events, turn, base.x))

    @classmethod
    def from_json(cls, text: str, model: Any, table: Table | None = None) -> "Session":
        """The session in a text of `to_json`; see `load`."""
        found = file_rules.parsed(text)
        given = saving.given_of(found, model, table)
        with file_rules.as_of_file():
            session = cls(given.model, given.table, given.row, given.elicitor, **saving.keywords(given))
        session._events, turn, session.base_recourse = saving.restored(found, session.problem, session.person)
        session._turns = [None] * len(session._events) + [session._with_question(turn)]
        session.ended = bool(session._events) and session._events[-1].kind == "accept"
        return session

    def best(self) -> Best:
        """The recommendation, how sure it is, and whether to stop."""
        turn = self._turn
        found = showing.written(self.person, turn.best.x[None])
        (option,) = showing.options(self.person, found, (_RECOMMENDATION,))
        valid = bool(turn.best.valid) and bool(found.logit[0] >= 0)
        sure, region = outlook.of(self.person, turn) if hasattr(turn.state, "belief") else (None, ())
        stop, reason = outlook.advice(sure, turn, valid=valid, ended=self.ended)
        return Best(option, valid, sure, region, stop, reason, turn.num_answers)


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
