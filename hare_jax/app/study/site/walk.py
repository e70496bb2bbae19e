"""The page of each step of a person, in a thread of its own: every method blocks."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import HTMLResponse, Response

from hare_jax.app.explainer import Explainer
from hare_jax.app.study.conduct import Conduct, Turn
from hare_jax.app.study.design import AFTER, BEFORE, ENTERED
from hare_jax.app.study.pages import Form, render
from hare_jax.app.study.site import showing
from hare_jax.app.study.site.tokens import Tokens
from hare_jax.app.study.steps import DONE, WITHDRAWN, step_of
from hare_jax.app.study.store import QUESTIONS, RATING, ROW, Record
from hare_jax.app.web import pages
from hare_jax.app.web.app import replies
from hare_jax.app.web.security import RefusedError

_HEADINGS = {BEFORE: "Before we begin", AFTER: "At the end"}
_PERCENT = 100
_GONE = "You no longer take part, and your answers are deleted."
_BROKEN = "The study can't go on now. What you have told us is stored: please come back later."


class Walk:
    """The pages of a study."""

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

    def page(self, link: str) -> Response:
        """The page of the step at which a person is."""
        record = self.record(link)
        return self._pages[step_of(self.study, record)](link, record)

    def summary(self, link: str) -> Response:
        """The page to print, at the end: before, it would tell which of the rated two is the recommendation."""
        record = self.record(link)
        if step_of(self.study, record) != DONE:
            return replies.redirect(f"/p/{link}")
        return self._show("summary", form=self._form(link, DONE), way=self._led_to(record), answers=record.num_answers)

    def opens(self, link: str) -> bool:
        """Whether the next request of a person opens their session, which takes longer than an answer."""
        record = self.record(link)
        step = step_of(self.study, record)
        return step == ROW or (step == QUESTIONS and not self.conduct.sessions.is_live(record.number))

    def message(
        self, heading: str, text: str, status: int = 200, link: str = "", link_text: str = "Try again"
    ) -> Response:
        """A page that says one thing."""
        return self._show("message", status, heading=heading, text=text, link=link, link_text=link_text)

    def record(self, link: str) -> Record:
        """The person of a link.

        Raises:
            RefusedError: there is none.
        """
        found = self.conduct.store.find(link)
        if found is None:
            raise RefusedError(404, "The link may be mistyped.")
        return found

    def explainer(self, record: Record) -> Explainer:
        """The model, with the base method of a person's arm."""
        return self.conduct.sessions.setting.explainers[self.study.arm(record.arm).base]

    def _form(self, link: str, step: str) -> Form:
        return Form(f"/p/{link}", self.tokens.form(link, step), step)

    def _show(self, template: str, status: int = 200, **context: Any) -> Response:
        return HTMLResponse(render(template, study=self.study, **context), status)

    def _waiting(self, link: str) -> Response | None:
        """The page of a study whose programs are not compiled yet; None if they are."""
        sessions = self.conduct.sessions
        if sessions.failed:
            return self.message("This study has a problem", _BROKEN, 503, f"/p/{link}")
        share, stage = sessions.progress
        if sessions.ready:
            return None
        return self._show("waiting", stage=stage, percent=round(_PERCENT * share), here=f"/p/{link}")

    def _items_page(self, link: str, record: Record) -> Response:
        return self.with_items(link, step_of(self.study, record), {}, {})

    def with_items(self, link: str, part: str, values: Mapping[str, str], errors: dict[str, str]) -> Response:
        """A questionnaire, with what is wrong in its `values`."""
        context = {"items": self.study.items(part), "heading": _HEADINGS[part], "values": values, "errors": errors}
        return self._show("items", 400 if errors else 200, form=self._form(link, part), **context)

    def _row_page(self, link: str, record: Record) -> Response:
        if (waiting := self._waiting(link)) is not None:
            return waiting
        row = None if self.study.row == ENTERED else self.conduct.assigned(record)
        return self.with_row(link, pages.fields_of(self.explainer(record), row), ())

    def with_row(self, link: str, fields: tuple[pages.Field, ...], errors: tuple[str, ...]) -> Response:
        """The row of a person, or the form for it."""
        context = {"entered": self.study.row == ENTERED, "fields": fields, "errors": errors}
        return self._show("row", 400 if errors else 200, form=self._form(link, ROW), **context)

    def _question_page(self, link: str, record: Record) -> Response:
        if (waiting := self._waiting(link)) is not None:
            return waiting
        turn = self.conduct.turn(link)
        return replies.redirect(f"/p/{link}") if turn is None else self.with_question(link, record, turn, ())

    def with_question(self, link: str, record: Record, turn: Turn, errors: tuple[str, ...]) -> Response:
        """A question."""
        explainer = self.explainer(record)
        asked = pages.compared(explainer, turn.asked, turn.row)
        context = {"asked": asked, "fields": pages.fields_of(explainer, turn.row), "errors": errors, "stop": False}
        form = self._form(link, str(turn.asked.number))
        return self._show("question", 400 if errors else 200, form=form, **context)

    def _rating_page(self, link: str, record: Record) -> Response:
        return self.with_rating(link, record, ())

    def with_rating(self, link: str, record: Record, errors: tuple[str, ...]) -> Response:
        """The recommendation beside the base."""
        assert self.study.rating is not None
        ways = showing.both(self.explainer(record), self.conduct.store.outcome(record.number))
        context = {"ways": ways, "labels": showing.labels(self.study.rating), "errors": errors}
        return self._show("rating", 400 if errors else 200, form=self._form(link, RATING), **context)

    def _led_to(self, record: Record) -> showing.Way:
        """The recommendation."""
        return showing.way(self.explainer(record), self.conduct.store.outcome(record.number).recommendation)

    def _thanks_page(self, link: str, record: Record) -> Response:
        return self._show("thanks", form=self._form(link, DONE), way=self._led_to(record))

    def _gone_page(self, link: str, record: Record) -> Response:
        return self.message("Your answers are deleted", _GONE)
