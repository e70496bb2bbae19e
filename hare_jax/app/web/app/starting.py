"""The pages that start a session: details are entered, or an example is chosen.

The ticket of a form is taken once: sent again, the form leads to the session that it has begun.
"""

import asyncio
import re
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hare_jax.app.session import AcceptedError
from hare_jax.app.web import pages
from hare_jax.app.web.app import replies
from hare_jax.app.web.app.service import SHARE_FIRST, Service, stage_text
from hare_jax.app.web.app.talk import Talk
from hare_jax.app.web.app.visits import Visit, Visits
from hare_jax.app.web.app.workers import Workers
from hare_jax.app.web.pages import FormError
from hare_jax.app.web.security import Rates, RefusedError, Signer, new_link, read_form

_PURPOSE = "start"  # of a ticket
_PAUSE = 0.1  # seconds between two looks at the preparation
_SECONDS = 24 * 3600  # that a ticket is valid
_TICKET = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)
_STARTS = 1.0, 100  # of sessions of a client, per second and at once
_MOST_OPENING = 100  # sessions that wait for their first question
_ACCEPTED = "With these details the application would be accepted: nothing needs to change."
_NOTHING = "No change was found with which this application would be accepted."


class Starting:
    """The handlers."""

    def __init__(self, service: Service, visits: Visits, signer: Signer, workers: Workers) -> None:
        self.service, self.visits, self.signer, self.workers = service, visits, signer, workers
        self.starts = Rates(*_STARTS)
        self.lock = asyncio.Lock()  # one form at a time, so that a ticket is taken once

    async def start(self, request: Request) -> Response:
        """What this is, and the two ways to begin."""
        return self._start_page()

    def _start_page(self, errors: tuple[str, ...] = (), status: int = 200) -> Response:
        service = self.service
        context = {"questions": service.questions, "about": service.about, "rows": service.examples}
        return replies.page("start", status, ticket=self._ticket(), errors=errors, **context)

    async def enter(self, request: Request) -> Response:
        """A form for a row."""
        return self._enter_page({})

    def _enter_page(self, form: dict[str, str], errors: dict[str, str] | None = None) -> Response:
        errors = errors or {}
        fields = tuple(
            one._replace(value=form.get(one.name, ""), error=errors.get(one.name, ""))
            for one in pages.fields_of(self.service.explainer)
        )
        texts = tuple(errors.values())
        context = {"action": "/enter", "ticket": self._ticket(), "fields": fields, "errors": texts}
        return replies.page("enter", 400 if errors else 200, **context)

    async def entered(self, request: Request) -> Response:
        """Begin with the row of a form."""
        form = await read_form(request)
        async with self.lock:
            if (known := self._started(request, form)) is not None:
                return known
            try:
                return await self._begin(form, pages.row_in(self.service.explainer, form))
            except FormError as wrong:
                return self._enter_page(form, wrong.errors)
            except ValueError as error:
                return self._enter_page(form, {"": _refused(error)})

    async def example(self, request: Request) -> Response:
        """Begin with a refused row of the data."""
        form = await read_form(request)
        async with self.lock:
            if (known := self._started(request, form)) is not None:
                return known
            chosen = form.get("example", "")
            if chosen not in map(str, range(len(self.service.rows))):
                return self._start_page(("Choose one of the examples.",), 400)
            try:
                return await self._begin(form, self.service.rows.iloc[[int(chosen)]])
            except ValueError as error:
                return self._start_page((_refused(error),), 400)

    def _ticket(self) -> str:
        """A token of a start form."""
        text = f"{new_link()}.{int(time.time())}"
        return f"{text}.{self.signer.sign(_PURPOSE, text)}"

    def _started(self, request: Request, form: dict[str, str]) -> Response | None:
        """The way to the session that a start form has begun already; None if it is new.

        Raises:
            RefusedError: the form has no valid ticket, the client starts too many sessions, or too many are opening.
        """
        found = _TICKET.fullmatch(form.get("csrf", ""))
        text = f"{found[1]}.{found[2]}" if found else ""
        fresh = found is not None and time.time() - int(found[2]) < _SECONDS
        if found is None or not self.signer.checks(_PURPOSE, text, found[3]) or not fresh:
            raise RefusedError(403, "The form is not from this page, or it is too old. Load the page again.")
        link = self.visits.started(found[1])
        if link is not None:
            return replies.redirect(f"/s/{link}")
        if not self.starts.allows(request.client.host if request.client else ""):
            raise RefusedError(429, "Too many sessions were started. Wait a little, and try again.")
        if self.visits.num_opening() >= _MOST_OPENING:
            raise RefusedError(503, "Many people are starting now. Wait a minute, and try again.")
        return None

    async def _begin(self, form: dict[str, str], row: Any) -> Response:
        """Start a session for a row, a `ValueError` if it can't be."""
        session = await self.workers.run(self.service.session, row)
        visit = self.visits.add(Talk(session), form["csrf"].partition(".")[0])
        visit.opening = asyncio.create_task(self._open(visit))
        return replies.redirect(f"/s/{visit.link}")

    async def _open(self, visit: Visit) -> None:
        """Prepare the first question, after what all sessions share."""

        def note(share: float, stage: str) -> None:
            visit.progress = (SHARE_FIRST + (1 - SHARE_FIRST) * share, stage_text(stage))

        while not self.service.first.is_set():
            visit.progress = self.service.progress
            await asyncio.sleep(_PAUSE)
        try:
            async with visit.lock:
                await self.workers.open(visit.talk.prepare, note)
        except ValueError:
            visit.problem = _NOTHING


def _refused(error: ValueError) -> str:
    """Why no session was started."""
    return _ACCEPTED if isinstance(error, AcceptedError) else f"These details could not be taken. {error}."
