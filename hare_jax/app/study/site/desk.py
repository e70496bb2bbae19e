"""The answer to each request of a person, in a thread of its own: the page of their step, or what a form leads to."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import HTMLResponse, Response

from hare_jax.app.explainer import Explainer
from hare_jax.app.study import items
from hare_jax.app.study.conduct import Conduct, Turn
from hare_jax.app.study.design import AFTER, BEFORE, ENTERED
from hare_jax.app.study.pages import Form, render
from hare_jax.app.study.site import showing
from hare_jax.app.study.site.tokens import Tokens
from hare_jax.app.study.steps import DONE, WITHDRAWN, step_of
from hare_jax.app.study.store import QUESTIONS, RATING, ROW, Record
from hare_jax.app.web import pages
from hare_jax.app.web.app import replies
from hare_jax.app.web.pages import FormError
from hare_jax.app.web.security import RefusedError

_HEADINGS = {BEFORE: "Before we begin", AFTER: "At the end"}
_PERCENT = 100
_ACCEPTED = "With these details the application would be accepted: nothing needs to change. Please enter others."
_NOTHING = "No change was found with which this application would be accepted. Please enter other details."
_GONE = "You no longer take part, and your answers are deleted."
_BROKEN = "The study can't go on now. What you have told us is stored: please come back later."


class Desk:
    """The pages of a study and their forms; every method blocks."""

    def __init__(self, conduct: Conduct, tokens: Tokens) -> None:
        self.conduct, self.study, self.tokens = conduct, conduct.study, tokens
        self._pages: dict[str, Callable[[str, Record], Response]] = {
            BEFORE: self._items_page,
            AFTER: self._items_page,
            ROW: self._row_page,
            QUESTIONS: self._question_page,
            RATING: self._rating_page,
            DONE: self._thanks_page,
            WITHDRAWN: self._gone_page,
        }
        self._actions: dict[str, Callable[[str, Record, Mapping[str, str], str, float], Response | None]] = {
            BEFORE: self._items,
            AFTER: self._items,
            ROW: self._row,
            "answer": self._answer,
            "stop": self._stop,
            RATING: self._rating,
            "withdraw": self._withdraw,
        }

    def page(self, link: str) -> Response:
        """The page of the step at which a person is."""
        record = self._record(link)
        return self._pages[step_of(self.study, record)](link, record)

    def summary(self, link: str) -> Response:
        """The page to print, once there is a recommendation."""
        record = self._record(link)
        if QUESTIONS not in record.steps:
            return replies.redirect(f"/p/{link}")
        shown = showing.way(self._explainer(record), self.conduct.store.outcome(record.number).recommendation)
        return self._show("summary", form=self._form(link, DONE), way=shown, answers=record.num_answers)

    def act(self, link: str, action: str, form: dict[str, str]) -> Response:
        """Take a form; what is out of date changes nothing, and leads to the page of the present step.

        Raises:
            RefusedError: there is no such person or action, or the form is none of theirs.
        """
        record, step = self._record(link), form.get("step", "")
        if action not in self._actions:
            raise RefusedError(404, "There is no such form.")
        seconds = self.tokens.seconds(link, step, form.get("csrf", ""))
        return self._actions[action](link, record, form, step, seconds) or replies.redirect(f"/p/{link}")

    def _record(self, link: str) -> Record:
        record = self.conduct.store.find(link)
        if record is None:
            raise RefusedError(404, "The link may be mistyped.")
        return record

    def _explainer(self, record: Record) -> Explainer:
        return self.conduct.sessions.setting.explainers[self.study.arm(record.arm).base]

    def _form(self, link: str, step: str) -> Form:
        return Form(f"/p/{link}", self.tokens.form(link, step), step)

    def _show(self, template: str, status: int = 200, **context: Any) -> Response:
        return HTMLResponse(render(template, study=self.study, **context), status)

    def message(self, heading: str, text: str, status: int = 200, link: str = "") -> Response:
        """A page that says one thing."""
        return self._show("message", status, heading=heading, text=text, link=link, link_text="Try again")

    def _items_page(self, link: str, record: Record) -> Response:
        return self._with_items(link, step_of(self.study, record), {}, {})

    def _with_items(self, link: str, part: str, values: Mapping[str, str], errors: dict[str, str]) -> Response:
        context = {"items": self.study.items(part), "heading": _HEADINGS[part], "values": values, "errors": errors}
        return self._show("items", 400 if errors else 200, form=self._form(link, part), **context)

    def _items(self, link: str, record: Record, form: Mapping[str, str], step: str, seconds: float) -> Response | None:
        if step != step_of(self.study, record):
            return None
        values, errors = {}, {}
        for index, item in enumerate(self.study.items(step)):
            try:
                values[item.name] = items.value_of(item, form.get(f"i{index}", ""))
            except ValueError as error:
                errors[f"i{index}"] = str(error)
        if errors:
            return self._with_items(link, step, form, errors)
        self.conduct.questionnaire(link, step, values)
        return None

    def _waiting(self, link: str) -> Response | None:
        """The page of a study whose programs are not compiled yet; None if they are."""
        sessions = self.conduct.sessions
        if sessions.failed:
            return self.message("This study has a problem", _BROKEN, 503, f"/p/{link}")
        share, stage = sessions.progress
        if sessions.ready:
            return None
        return self._show("waiting", stage=stage, percent=round(_PERCENT * share), here=f"/p/{link}")

    def _row_page(self, link: str, record: Record) -> Response:
        if (waiting := self._waiting(link)) is not None:
            return waiting
        explainer = self._explainer(record)
        if self.study.row == ENTERED:
            return self._with_row(link, pages.fields_of(explainer), ())
        return self._with_row(link, pages.fields_of(explainer, self.conduct.assigned(record)), ())

    def _with_row(self, link: str, fields: tuple[pages.Field, ...], errors: tuple[str, ...]) -> Response:
        context = {"entered": self.study.row == ENTERED, "fields": fields, "errors": errors}
        return self._show("row", 400 if errors else 200, form=self._form(link, ROW), **context)

    def _row(self, link: str, record: Record, form: Mapping[str, str], step: str, seconds: float) -> Response | None:
        if step_of(self.study, record) != ROW or not self.conduct.sessions.ready:
            return None
        if self.study.row != ENTERED:
            self.conduct.start(link, self.conduct.assigned(record))
            return None
        explainer, errors = self._explainer(record), {}
        try:
            self.conduct.start(link, pages.row_in(explainer, form))
            return None
        except FormError as wrong:
            errors = wrong.errors
        except ValueError as error:
            errors = {"": _ACCEPTED if "already accepted" in str(error) else _NOTHING}
        fields = tuple(
            one._replace(value=form.get(one.name, ""), error=errors.get(one.name, ""))
            for one in pages.fields_of(explainer)
        )
        return self._with_row(link, fields, tuple(errors.values()))

    def _question_page(self, link: str, record: Record) -> Response:
        if (waiting := self._waiting(link)) is not None:
            return waiting
        turn = self.conduct.turn(link)
        return replies.redirect(f"/p/{link}") if turn is None else self._with_question(link, record, turn, ())

    def _with_question(self, link: str, record: Record, turn: Turn, errors: tuple[str, ...]) -> Response:
        explainer = self._explainer(record)
        asked = pages.compared(explainer, turn.asked, turn.row)
        context = {"asked": asked, "fields": pages.fields_of(explainer, turn.row), "errors": errors, "stop": False}
        form = self._form(link, str(turn.asked.number))
        return self._show("question", 400 if errors else 200, form=form, **context)

    def _answer(self, link: str, record: Record, form: Mapping[str, str], step: str, seconds: float) -> Response | None:
        current = step_of(self.study, record) == QUESTIONS and step == str(record.num_answers + 1)
        if not current or not self.conduct.sessions.ready:
            return None
        try:
            self.conduct.answer(link, int(step), form.get("choice", ""), seconds)
        except ValueError:
            turn = self.conduct.turn(link)
            return None if turn is None else self._with_question(link, record, turn, ("Choose one of the options.",))
        return None

    def _stop(self, link: str, record: Record, form: Mapping[str, str], step: str, seconds: float) -> Response | None:
        if self.conduct.sessions.ready:
            self.conduct.stop(link)
        return None

    def _rating_page(self, link: str, record: Record) -> Response:
        return self._with_rating(link, record, ())

    def _with_rating(self, link: str, record: Record, errors: tuple[str, ...]) -> Response:
        assert self.study.rating is not None
        ways = showing.both(self._explainer(record), self.conduct.store.outcome(record.number))
        context = {"ways": ways, "labels": showing.labels(self.study.rating), "errors": errors}
        return self._show("rating", 400 if errors else 200, form=self._form(link, RATING), **context)

    def _rating(self, link: str, record: Record, form: Mapping[str, str], step: str, seconds: float) -> Response | None:
        if step_of(self.study, record) != RATING or self.study.rating is None:
            return None
        points = {str(point): point for point in range(1, self.study.rating.points + 1)}
        if form.get("point") not in points:
            return self._with_rating(link, record, ("Choose one of the points.",))
        self.conduct.rate(link, points[form["point"]])
        return None

    def _withdraw(
        self, link: str, record: Record, form: Mapping[str, str], step: str, seconds: float
    ) -> Response | None:
        self.conduct.withdraw(link)
        return None

    def _thanks_page(self, link: str, record: Record) -> Response:
        shown = showing.way(self._explainer(record), self.conduct.store.outcome(record.number).recommendation)
        return self._show("thanks", form=self._form(link, DONE), way=shown)

    def _gone_page(self, link: str, record: Record) -> Response:
        return self.message("Your answers are deleted", _GONE)
