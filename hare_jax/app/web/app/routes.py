"""The application: its routes, behind the guard."""

from collections.abc import AsyncIterator, Sequence
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
from hare_jax.app.web.app.service import Service
from hare_jax.app.web.app.sessions import SessionPages
from hare_jax.app.web.app.starting import Starting
from hare_jax.app.web.app.visits import Visits
from hare_jax.app.web.app.workers import Workers
from hare_jax.app.web.security import DEFAULTS, Guard, Limits, RefusedError, Signer

_STATIC_SECONDS = 3600  # that a browser keeps a file
HANDLERS: dict[Any, Any] = {
    RefusedError: replies.on_refused,
    HTTPException: replies.on_http_error,
    Exception: replies.on_error,
}


def build(service: Service, *, hosts: Sequence[str], sessions: int = 200, limits: Limits = DEFAULTS) -> ASGIApp:
    """The application; `hosts` are the names under which it is reached, and `sessions` the most that are kept."""
    visits, signer, workers = Visits(sessions), Signer(), Workers()
    starting = Starting(service, visits, signer, workers)
    routes = [
        Route("/", starting.start),
        Route("/enter", starting.enter),
        Route("/enter", starting.entered, methods=["POST"]),
        Route("/example", starting.example, methods=["POST"]),
        Route("/static/{name}", static),
        *SessionPages(visits, signer, workers).routes(),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        yield
        workers.close()

    app = Starlette(routes=routes, exception_handlers=HANDLERS, lifespan=lifespan)
    return Guard(app, hosts, replies.last_resort, limits)


async def static(request: Request) -> Response:
    """One of the two files that pages link to."""
    file = pages.STATIC.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404)
    return Response(file.content, headers={"cache-control": f"max-age={_STATIC_SECONDS}"}, media_type=file.type)
