"""The routes of `hare-jax serve`. A form is taken once, and leads to a page that can be loaded again.

Heavy work runs in a pool of threads, one call at a time for each session.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hare_jax.app.web import pages
from hare_jax.app.web.app import replies
from hare_jax.app.web.app.service import Service, stage_text
from hare_jax.app.web.app.talk import ACTIONS, Talk
from hare_jax.app.web.app.visits import Taken, Visit, Visits
from hare_jax.app.web.pages import Form, FormError
from hare_jax.app.web.security import DEFAULTS, Guard, Limits, Rates, RefusedError, Signer, is_link, new_link, read_form

_START, _SESSION = "start", "session"  # purposes of tokens
_MOST_THREADS = 4
_PATIENCE = 0.5  # seconds before a page says that it is not ready
_TICKET_SECONDS = 24 * 3600
_TICKET = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)
_STEP = re.compile(r"[0-9]{1,9}", re.ASCII)
_PAGES = ("best", "summary")
_STATIC_SECONDS = 3600
_STARTS = 1.0, 100  # of sessions of a client, per second and at once
_FORMS = 5.0, 60  # of a session
_ACCEPTED = "With these details the application would be accepted: nothing needs to change."
_NOTHING = "No change was found with which this application would be accepted."


def build(service: Service, *, hosts: Sequence[str], sessions: int = 200, limits: Limits = DEFAULTS) -> ASGIApp:
    """The application; `hosts` are the names under which it is reached, and `sessions` the most that are kept."""
    site = _Site(service, sessions)
    handlers: dict[Any, Any] = {
        RefusedError: replies.on_refused,
        HTTPException: replies.on_http_error,
        Exception: replies.on_error,
    }
    app = Starlette(routes=site.routes(), exception_handlers=handlers, lifespan=site.lifespan)
    return Guard(app, hosts, replies.last_resort, limits)


class _Site:
    """The handlers, with the sessions."""

    def __init__(self, service: Service, sessions: int) -> None:
        self.service, self.visits, self.signer = service, Visits(sessions), Signer()
        self.starts, self.forms = Rates(*_STARTS), Rates(*_FORMS)
        self.pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="session")

    def routes(self) -> list[Route]:
        link = "/s/{link}"
        return [
            Route("/", self.start),
            Route("/enter", self.enter),
            Route("/enter", self.entered, methods=["POST"]),
            Route("/example", self.example, methods=["POST"]),
            Route("/static/{name}", self.static),
            Route(link, self.question),
            Route(f"{link}/best", self.best),
            Route(f"{link}/try", self.proposal),
            Route(f"{link}/summary", self.summary),
            Route(f"{link}/delete", self.delete, methods=["POST"]),
            Route(f"{link}/{{action}}", self.act, methods=["POST"]),
        ]

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Compile while the server runs."""
        self.service.start()
        yield
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, fn: Callable, *args: Any) -> Any:
        """`fn(*args)` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, fn, *args)

    async def static(self, request: Request) -> Response:
        file = pages.STATIC.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return Response(file.content, headers={"cache-control": f"max-age={_STATIC_SECONDS}"}, media_type=file.type)

    async def start(self, request: Request) -> Response:
        return self._start_page()

    def _start_page(self, errors: tuple[str, ...] = (), status: int = 200) -> Response:
        service = self.service
        context = {"questions": service.questions, "about": service.about, "rows": service.examples()}
        return replies.page("start", status, ticket=self._ticket(), errors=errors, **context)

    async def enter(self, request: Request) -> Response:
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
        form = await read_form(request)
        if (known := self._started(request, form)) is not None:
            return known
        try:
            row = pages.row_in(self.service.explainer, form)
        except FormError as wrong:
            return self._enter_page(form, wrong.errors)
        return await self._begin(form, row)

    async def example(self, request: Request) -> Response:
        form = await read_form(request)
        if (known := self._started(request, form)) is not None:
            return known
        chosen = form.get("example", "")
        if chosen not in map(str, range(len(self.service.rows))):
            return self._start_page(("Choose one of the examples.",), 400)
        return await self._begin(form, self.service.rows.iloc[[int(chosen)]])

    def _ticket(self) -> str:
        """A token of a start form."""
        text = f"{new_link()}.{int(time.time())}"
        return f"{text}.{self.signer.sign(_START, text)}"

    def _started(self, request: Request, form: dict[str, str]) -> Response | None:
        """The way to the session that a start form has begun already; None if it is new.

        Raises:
            RefusedError: the form has no valid ticket, or the client starts too many sessions.
        """
        found = _TICKET.fullmatch(form.get("csrf", ""))
        text = f"{found[1]}.{found[2]}" if found else ""
        fresh = found is not None and time.time() - int(found[2]) < _TICKET_SECONDS
        if found is None or not self.signer.checks(_START, text, found[3]) or not fresh:
            raise RefusedError(403, "The form is not from this page, or it is too old. Load the page again.")
        link = self.visits.started(found[1])
        if link is not None:
            return replies.redirect(f"/s/{link}")
        if not self.starts.allows(request.client.host if request.client else ""):
            raise RefusedError(429, "Too many sessions were started. Wait a little, and try again.")
        return None

    async def _begin(self, form: dict[str, str], row: Any) -> Response:
        """Start a session for a row."""
        try:
            session = await self.run(self.service.session, row)
        except ValueError as error:
            text = _ACCEPTED if "already accepted" in str(error) else "These details could not be taken."
            return replies.page("message", heading="No session was started", text=text, link="/", link_text="Back")
        visit = self.visits.add(Talk(session), form["csrf"].partition(".")[0])
        visit.opening = asyncio.create_task(self._open(visit))
        return replies.redirect(f"/s/{visit.link}")

    async def _open(self, visit: Visit) -> None:
        """Prepare the first question, after what all sessions share."""

        def note(share: float, stage: str) -> None:
            visit.progress = (share, stage_text(stage))

        while not self.service.first.is_set():
            visit.progress = self.service.progress
            await asyncio.sleep(_PATIENCE / 5)
        try:
            async with visit.lock:
                await self.run(visit.talk.prepare, note)
        except ValueError:
            visit.problem = _NOTHING

    async def visit(self, request: Request) -> Visit:
        """The session of a request."""
        link = request.path_params["link"]
        visit = self.visits.get(link) if is_link(link) else None
        if visit is None:
            raise HTTPException(404)
        return visit

    async def _waiting(self, visit: Visit) -> Response | None:
        """The page of a session without a first question; None if it has one."""
        if visit.opening is not None and not visit.opening.done():
            await asyncio.wait({visit.opening}, timeout=_PATIENCE)
            if not visit.opening.done():
                share, stage = visit.progress
                return replies.page("waiting", stage=stage, percent=round(100 * share), here=f"/s/{visit.link}")
        if visit.opening is not None:
            visit.opening.result()  # an error is one of this request
        if visit.problem:
            heading = "No way to be accepted was found"
            return replies.page("message", heading=heading, text=visit.problem, link="/", link_text="Back to the start")
        return None

    def form(self, visit: Visit) -> Form:
        """What the forms of a session's pages carry."""
        return Form(f"/s/{visit.link}", self.signer.sign(_SESSION, visit.link), visit.step)

    async def question(self, request: Request) -> Response:
        visit = await self.visit(request)
        if (waiting := await self._waiting(visit)) is not None:
            return waiting
        async with visit.lock:
            return await self._question_page(visit)

    async def _question_page(self, visit: Visit, errors: tuple[str, ...] = (), status: int = 200) -> Response:
        """The question, or the recommendation if none is left."""
        talk = visit.talk
        asked, stop = await self.run(lambda: (talk.question(), talk.can_stop()))
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
            best=await self.run(talk.best),
            form=self.form(visit),
            errors=errors,
            ended=talk.session.ended,
            more=await self.run(talk.question) is not None,
            can_undo=bool(talk.session.events),
        )

    async def proposal(self, request: Request) -> Response:
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
        visit = await self.visit(request)
        if (waiting := await self._waiting(visit)) is not None:
            return waiting
        async with visit.lock:
            talk = visit.talk
            best = await self.run(talk.best)
            context: dict[str, Any] = {"ended": talk.session.ended, "fields": talk.fields(), "told": talk.told()}
            return replies.page("summary", best=best, back=f"/s/{visit.link}/best", **context)

    async def _checked(self, request: Request) -> tuple[Visit, dict[str, str], int]:
        """The session of a form, its fields, and its step.

        Raises:
            RefusedError: the form is not one of this session, or there are too many.
        """
        visit = await self.visit(request)
        form = await read_form(request)
        if not self.signer.checks(_SESSION, visit.link, form.pop("csrf", "")):
            raise RefusedError(403, "The form is not one of this session. Nothing was changed.")
        step = form.pop("step", "")
        if not _STEP.fullmatch(step):
            raise RefusedError(400, "The form could not be read. Nothing was changed.")
        if not self.forms.allows(visit.link):
            raise RefusedError(429, "Too many forms were sent. Wait a little, and try again.")
        return visit, form, int(step)

    async def delete(self, request: Request) -> Response:
        visit, _, _ = await self._checked(request)
        self.visits.remove(visit)
        text = "Your details and answers were removed."
        return replies.page("message", heading="Deleted", text=text, link="/", link_text="Go to the start")

    async def act(self, request: Request) -> Response:
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
            following = await self.run(visit.talk.act, action, form)
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
