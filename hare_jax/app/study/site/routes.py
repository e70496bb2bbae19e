"""The routes of a study. A form is stored before it leads to the next page; what can't be stored is a page of 503."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hare_jax.app.study.conduct import Conduct
from hare_jax.app.study.database import UnavailableError
from hare_jax.app.study.pages import STATIC, render
from hare_jax.app.study.site.desk import Desk
from hare_jax.app.study.site.tokens import Tokens
from hare_jax.app.web.app import replies
from hare_jax.app.web.app.routes import HANDLERS
from hare_jax.app.web.security import Guard, Limits, Rates, RefusedError, is_link, read_form

_NUM_THREADS, _NUM_OPENING = 8, 1
_STATIC_SECONDS = 3600
_RETRY_SECONDS = 5
_STARTS = 2.0, 200  # people of a client, per second and at once: a class behind one address may begin together
_FORMS = 5.0, 60  # of a person
_LIMITS = Limits(per_second=200.0, burst=2000)
_FULL = "This could not be stored just now. Nothing of what you told us before is lost: wait a moment, and try again."


def build(conduct: Conduct, tokens: Tokens, hosts: Sequence[str], limits: Limits = _LIMITS) -> ASGIApp:
    """The application; `hosts` are the names under which it is reached."""
    site = _Site(Desk(conduct, tokens))
    handlers = HANDLERS | {RefusedError: site.on_refused, HTTPException: site.on_http_error}
    handlers[UnavailableError] = site.on_unavailable
    app = Starlette(routes=site.routes(), exception_handlers=handlers, lifespan=site.lifespan)
    return Guard(app, hosts, replies.last_resort, limits)


class _Site:
    """The handlers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.starts, self.forms = Rates(*_STARTS), Rates(*_FORMS)
        self.pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="study")
        self.opening = ThreadPoolExecutor(_NUM_OPENING, thread_name_prefix="opening")

    def routes(self) -> list[Route]:
        link = "/p/{link}"
        return [
            Route("/", self.consent),
            Route("/begin", self.begin, methods=["POST"]),
            Route("/static/{name}", self.static),
            Route(link, self.page),
            Route(f"{link}/summary", self.summary),
            Route(f"{link}/{{action}}", self.act, methods=["POST"]),
        ]

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Compile while the server runs."""
        threading.Thread(target=self.desk.conduct.sessions.prepare, name="prepare", daemon=True).start()
        yield
        for pool in (self.pool, self.opening):
            pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, fn: Callable, *args: Any, pool: ThreadPoolExecutor | None = None) -> Any:
        """`fn(*args)` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(pool or self.pool, fn, *args)

    async def serve(self, fn: Callable, link: str, *args: Any) -> Response:
        """`fn(link, *args)` in a thread; sessions are opened in others, so that no answer waits for them."""
        opens = await self.run(self.desk.opens, link)
        return await self.run(fn, link, *args, pool=self.opening if opens else None)

    async def static(self, request: Request) -> Response:
        file = STATIC.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return Response(file.content, headers={"cache-control": f"max-age={_STATIC_SECONDS}"}, media_type=file.type)

    async def consent(self, request: Request) -> Response:
        return self._consent_page()

    def _consent_page(self, errors: tuple[str, ...] = ()) -> Response:
        study, ticket = self.desk.study, self.desk.tokens.ticket()
        return HTMLResponse(render("consent", study=study, ticket=ticket, errors=errors), 400 if errors else 200)

    async def begin(self, request: Request) -> Response:
        form = await read_form(request)
        link = self.desk.tokens.link_of(form.get("csrf", ""))
        if form.get("consent") != "yes":
            return self._consent_page(("To take part, please agree below.",))
        if not self.starts.allows(request.client.host if request.client else ""):
            raise RefusedError(429, "Many people begin just now. Wait a little, and try again.")
        await self.run(self.desk.conduct.begin, link)
        return replies.redirect(f"/p/{link}")

    async def page(self, request: Request) -> Response:
        return await self.serve(self.desk.page, self._link(request))

    async def summary(self, request: Request) -> Response:
        return await self.run(self.desk.summary, self._link(request))

    async def act(self, request: Request) -> Response:
        link, form = self._link(request), await read_form(request)
        if not self.forms.allows(link):
            raise RefusedError(429, "Too many forms were sent. Wait a little, and try again.")
        return await self.serve(self.desk.act, link, request.path_params["action"], form)

    def _link(self, request: Request) -> str:
        link = request.path_params["link"]
        if not is_link(link):
            raise HTTPException(404)
        return link

    async def on_refused(self, request: Request, error: Any) -> Response:
        """The page of a form that was refused, with the way back to the page of the person: not to a new beginning."""
        if error.status == HTTPStatus.NOT_FOUND:
            return self._failure(error.status, error.text)
        return self._failure(error.status, error.text, self._way_back(request), "Go on")

    async def on_http_error(self, request: Request, error: Any) -> Response:
        """The page of an error of routing."""
        found = self._failure(error.status_code)
        found.headers.update(error.headers or {})
        return found

    def _failure(self, status: int, text: str = "", link: str = "/", link_text: str = "Go to the start") -> Response:
        return self.desk.message(*replies.worded(status, text), status, link, link_text)

    def _way_back(self, request: Request) -> str:
        link = request.path_params.get("link")
        return f"/p/{link}" if link else "/"

    async def on_unavailable(self, request: Request, error: Exception) -> Response:
        """The page of what could not be stored."""
        found = self.desk.message("This could not be stored", _FULL, 503, self._way_back(request))
        found.headers["retry-after"] = str(_RETRY_SECONDS)
        return found
