"""What each form of a person leads to, in a thread of its own: every method blocks."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.responses import Response

from hare_jax.app.session import AcceptedError
from hare_jax.app.study import items
from hare_jax.app.study.conduct import Conduct
from hare_jax.app.study.design import AFTER, BEFORE, ENTERED
from hare_jax.app.study.site.tokens import Tokens
from hare_jax.app.study.site.walk import Walk
from hare_jax.app.study.steps import step_of
from hare_jax.app.study.store import QUESTIONS, RATING, ROW, Record
from hare_jax.app.web import pages
from hare_jax.app.web.app import replies
from hare_jax.app.web.pages import FormError
from hare_jax.app.web.security import RefusedError

_ACCEPTED = "With these details the application would be accepted: nothing needs to change. Please enter others."
_NOTHING = "No change was found with which this application would be accepted. Please enter other details."


class Sent(NamedTuple):
    """A form of one of our pages."""

    link: str
    record: Record
    step: str  # of the page
    fields: Mapping[str, str]
    seconds: float  # since the page was sent


class Desk(Walk):
    """The pages of a study, and their forms."""

    def __init__(self, conduct: Conduct, tokens: Tokens) -> None:
        super().__init__(conduct, tokens)
        self._actions: dict[str, Callable[[Sent], Response | None]] = {
            BEFORE: self._items,
            AFTER: self._items,
            ROW: self._row,
            "answer": self._answer,
            "stop": self._stop,
            RATING: self._rating,
            "withdraw": self._withdraw,
        }

    def act(self, link: str, action: str, form: dict[str, str]) -> Response:
        """Take a form; one that is out of date changes nothing, and leads to the page of the present step.

        Raises:
            RefusedError: there is no such person or action, or the form is none of theirs.
        """
        record, step = self.record(link), form.get("step", "")
        if action not in self._actions:
            raise RefusedError(404, "There is no such form.")
        seconds = self.tokens.seconds(link, step, form.get("csrf", ""))
        return self._actions[action](Sent(link, record, step, form, seconds)) or replies.redirect(f"/p/{link}")

    def _is_current(self, sent: Sent, step: str) -> bool:
        """Whether the person is still at the step of the form."""
        return sent.step == step == step_of(self.study, sent.record)

    def _items(self, sent: Sent) -> Response | None:
        if sent.step not in (BEFORE, AFTER) or not self._is_current(sent, sent.step):
            return None
        values, errors = {}, {}
        for index, item in enumerate(self.study.items(sent.step)):
            try:
                values[item.name] = items.value_of(item, sent.fields.get(f"i{index}", ""))
            except ValueError as error:
                errors[f"i{index}"] = str(error)
        if errors:
            return self.with_items(sent.link, sent.step, sent.fields, errors)
        self.conduct.questionnaire(sent.link, sent.step, values)
        return None

    def _row(self, sent: Sent) -> Response | None:
        if not self._is_current(sent, ROW) or not self.conduct.sessions.ready:
            return None
        if self.study.row == ENTERED:
            return self._entered(sent)
        self.conduct.start(sent.link, self.conduct.assigned(sent.record))
        return None

    def _entered(self, sent: Sent) -> Response | None:
        """Take a row that was entered, or say what is wrong with it."""
        explainer = self.explainer(sent.record)
        try:
            self.conduct.start(sent.link, pages.row_in(explainer, sent.fields))
            return None
        except FormError as wrong:
            errors = wrong.errors
        except ValueError as error:
            errors = {"": _ACCEPTED if isinstance(error, AcceptedError) else _NOTHING}
        fields = tuple(
            one._replace(value=sent.fields.get(one.name, ""), error=errors.get(one.name, ""))
            for one in pages.fields_of(explainer)
        )
        return self.with_row(sent.link, fields, tuple(errors.values()))

    def _is_asked(self, sent: Sent) -> bool:
        """Whether the form is of the question to answer."""
        at_questions = step_of(self.study, sent.record) == QUESTIONS
        return at_questions and sent.step == str(sent.record.num_answers + 1) and self.conduct.sessions.ready

    def _answer(self, sent: Sent) -> Response | None:
        if not self._is_asked(sent):
            return None
        try:
            self.conduct.answer(sent.link, int(sent.step), sent.fields.get("choice", ""), sent.seconds)
        except ValueError:
            turn, told = self.conduct.turn(sent.link), ("Choose one of the options.",)
            return None if turn is None else self.with_question(sent.link, sent.record, turn, told)
        return None

    def _stop(self, sent: Sent) -> Response | None:
        if self._is_asked(sent):
            self.conduct.stop(sent.link, int(sent.step))
        return None

    def _rating(self, sent: Sent) -> Response | None:
        if not self._is_current(sent, RATING) or self.study.rating is None:
            return None
        points = {str(point): point for point in range(1, self.study.rating.points + 1)}
        point = points.get(sent.fields.get("point", ""))
        if point is None:
            return self.with_rating(sent.link, sent.record, ("Choose one of the points.",))
        self.conduct.rate(sent.link, point)
        return None

    def _withdraw(self, sent: Sent) -> Response | None:
        self.conduct.withdraw(sent.link)
        return None
