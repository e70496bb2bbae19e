"""The pages of a session. A form is taken once, and leads to a page that can be loaded again.

Heavy work runs in threads, one call at a time for each session.
"""

import asyncio
import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hare_jax.app.session.texts import NOTHING_LEFT
from hare_jax.app.web.app import replies
from hare_jax.app.web.app.talk import ACTIONS
from hare_jax.app.web.app.visits import Taken, Visit, Visits
from hare_jax.app.web.app.workers import Workers
from hare_jax.app.web.pages import Form, FormError
from hare_jax.app.web.security import Rates, RefusedError, Signer, is_link, read_form

_PURPOSE = "session"  # of a token
_PATIENCE = 0.5  # seconds before a page says that it is not ready
_STEP = re.compile(r"[0-9]{1,9}", re.ASCII)
_PAGES = ("best", "summary")
_FORMS = 5.0, 60  # of a session, per second and at once
_PERCENT = 100


class SessionPages:
    """The handlers."""

    def __init__(self, visits: Visits, signer: Signer, workers: Workers) -> None:
        self.visits, self.signer, self.workers = visits, signer, workers
        self.forms = Rates(*_FORMS)

    def routes(self) -> list[Route]:
        """The routes, below the link of a session."""
        link = "/s/{link}"
        return [
            Route(link, self.question),
            Route(f"{link}/best", self.best),
            Route(f"{link}/try", self.proposal),
            Route(f"{link}/summary", self.summary),
            Route(f"{link}/delete", self.delete, methods=["POST"]),
            Route(f"{link}/{{action}}", self.act, methods=["POST"]),
        ]

    async def visit(self, request: Request) -> Visit:
        """The session of a request."""
        link = request.path_params["link"]
        visit = self.visits.get(link) if is_link(link) else None
        if visit is None:
            raise HTTPException(404)
        return visit

    async def _waiting(self, visit: Visit) -> Response | None:
        """The page of a session without a first question; None if it has one."""
        if visit.opening is not None:
            await asyncio.wait({visit.opening}, timeout=_PATIENCE)
            if visit.is_opening:
                share, stage = visit.progress
                return replies.page("waiting", stage=stage, percent=round(_PERCENT * share), here=f"/s/{visit.link}")
            if visit.opening.cancelled():  # dropped meanwhile
                raise HTTPException(404)
            visit.opening.result()  # an error is one of this request
        if visit.problem:
            heading = "No way to be accepted was found"
            return replies.page("message", heading=heading, text=visit.problem, link="/", link_text="Back to the start")
        return None

    def form(self, visit: Visit) -> Form:
        """What the forms of a session's pages carry."""
        return Form(f"/s/{visit.link}", self.signer.sign(_PURPOSE, visit.link), visit.step)

    async def question(self, request: Request) -> Response:
        """The question."""
        visit = await self.visit(request)
        if (waiting := await self._waiting(visit)) is not None:
            return waiting
        async with visit.lock:
            return await self._question_page(visit)

    async def _question_page(self, visit: Visit, errors: tuple[str, ...] = (), status: int = 200) -> Response:
        """The question, or the recommendation if none is left."""
        talk = visit.talk
        asked, stop = await self.workers.run(lambda: (talk.question(), talk.can_stop()))
        if asked is None:
            return await self._best_page(visit, errors, status) if errors else replies.redirect(f"/s/{visit.link}/best")
        movable = talk.movable()
        return replies.page(
            "question",
            status,
            asked=asked,
            stop=stop,
            form=self.form(visit),
            errors=errors,
            takes=talk.takes,
            movable=movable,
            numbers=tuple(one for one in movable if one.numeric),
            can_undo=bool(talk.session.events),
            told=talk.told(),
        )

    async def best(self, request: Request) -> Response:
        """The recommendation."""
        visit = await self.visit(request)
        if (waiting := await self._waiting(visit)) is not None:
            return waiting
        async with visit.lock:
            return await self._best_page(visit)

    async def _best_page(self, visit: Visit, errors: tuple[str, ...] = (), status: int = 200) -> Response:
        talk = visit.talk
        return replies.page(
            "best",
            status,
            best=await self.workers.run(talk.best),
            form=self.form(visit),
            nothing_left=NOTHING_LEFT,
            errors=errors,
            ended=talk.session.ended,
            more=await self.workers.run(talk.question) is not None,
            can_undo=bool(talk.session.events),
        )

    async def proposal(self, request: Request) -> Response:
        """The answer to a proposal, and a form for another."""
        visit = await self.visit(request)
        if (waiting := await self._waiting(visit)) is not None:
            return waiting
        async with visit.lock:
            return self._try_page(visit, visit.talk.tried)

    def _try_page(self, visit: Visit, form: dict[str, str], errors: dict[str, str] | None = None) -> Response:
        talk, errors = visit.talk, errors or {}
        fields = tuple(
            one._replace(value=form.get(one.name, one.value), error=errors.get(one.name, ""))
            for one in talk.fields()
            if one.mutable
        )
        return replies.page(
            "try",
            400 if errors else 200,
            fields=fields,
            form=self.form(visit),
            errors=tuple(errors.values()),
            response=talk.response,
            counted=talk.counted,
            can_undo=bool(talk.session.events),
        )

    async def summary(self, request: Request) -> Response:
        """A summary to print."""
        visit = await self.visit(request)
        if (waiting := await self._waiting(visit)) is not None:
            return waiting
        async with visit.lock:
            talk = visit.talk
            best = await self.workers.run(talk.best)
            context: dict[str, Any] = {"ended": talk.session.ended, "fields": talk.fields(), "told": talk.told()}
            return replies.page("summary", best=best, back=f"/s/{visit.link}/best", **context)

    async def _checked(self, request: Request) -> tuple[Visit, dict[str, str], int]:
        """The session of a form, its fields, and its step.

        Raises:
            RefusedError: the form is not one of this session, or there are too many.
        """
        visit = await self.visit(request)
        form = await read_form(request)
        if not self.signer.checks(_PURPOSE, visit.link, form.pop("csrf", "")):
            raise RefusedError(403, "The form is not one of this session. Nothing was changed.")
        step = form.pop("step", "")
        if not _STEP.fullmatch(step):
            raise RefusedError(400, "The form could not be read. Nothing was changed.")
        if not self.forms.allows(visit.link):
            raise RefusedError(429, "Too many forms were sent. Wait a little, and try again.")
        return visit, form, int(step)

    async def delete(self, request: Request) -> Response:
        """Forget the session."""
        visit, _, _ = await self._checked(request)
        self.visits.remove(visit)
        text = "Your details and answers were removed."
        return replies.page("message", heading="Deleted", text=text, link="/", link_text="Go to the start")

    async def act(self, request: Request) -> Response:
        """Take a form."""
        action = request.path_params["action"]
        if action not in ACTIONS:
            raise HTTPException(405 if action in _PAGES else 404)
        visit, form, step = await self._checked(request)
        if (waiting := await self._waiting(visit)) is not None:
            return waiting
        async with visit.lock:
            return await self._act(visit, action, form, step)

    async def _act(self, visit: Visit, action: str, form: dict[str, str], step: int) -> Response:
        """Take a form, unless it was taken before."""
        base, fields = f"/s/{visit.link}", frozenset(form.items())
        taken = visit.taken
        if step != visit.step:
            if taken is not None and (step, action, fields) == taken[:3]:
                return replies.redirect(base + taken.following)
            text = "It was not taken a second time, and nothing was changed."
            return replies.failure(409, text, base, "Go on")
        try:
            following = await self.workers.run(visit.talk.act, action, form)
        except FormError as wrong:
            return await self._wrong_page(visit, action, form, wrong)
        visit.taken = Taken(step, action, fields, following)
        visit.step += 1
        return replies.redirect(base + following)

    async def _wrong_page(self, visit: Visit, action: str, form: dict[str, str], wrong: FormError) -> Response:
        """The page of a form with what is wrong in it."""
        if action == "try":
            return self._try_page(visit, form, wrong.errors)
        return await self._question_page(visit, tuple(wrong.errors.values()), 400)
