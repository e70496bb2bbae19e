"""Responses: pages, redirects, and what is said about an error."""

import html
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hare_jax.app.web import pages
from hare_jax.app.web.security import RefusedError

_HEADINGS = {
    400: "This could not be read",
    403: "This is not allowed",
    404: "There is no such page",
    405: "This can't be done here",
    408: "This took too long",
    409: "This was sent before, or from an old page",
    410: "The session is gone",
    413: "This is too large",
    414: "The address is too long",
    415: "This could not be read",
    429: "Too many requests",
    500: "Something went wrong",
    503: "This is not possible now",
}
_TEXTS = {404: "The link may be mistyped, or the session has been deleted.", 405: "Go back, and use the forms."}


def page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """The page of a template."""
    return HTMLResponse(pages.render(template, **context), status)


def redirect(path: str) -> RedirectResponse:
    """To another page of ours, after a form."""
    return RedirectResponse(path, 303)


def worded(status: int, text: str = "") -> tuple[str, str]:
    """The heading and the text of the page of an error."""
    return _HEADINGS.get(status, HTTPStatus(status).phrase), text or _TEXTS.get(status, "")


def failure(status: int, text: str = "", link: str = "/", link_text: str = "Go to the start") -> HTMLResponse:
    """The page of an error."""
    heading, shown = worded(status, text)
    return page("message", status, heading=heading, text=shown, link=link, link_text=link_text)


def last_resort(status: int, text: str) -> Response:
    """The page of an error, also if it can't be rendered."""
    try:
        return failure(status, text)
    except Exception:
        return HTMLResponse(f"<!doctype html><title>Error</title><h1>{html.escape(text)}</h1>", status)


async def on_refused(request: Request, error: Any) -> Response:
    """The page of a request that was refused."""
    assert isinstance(error, RefusedError)
    return failure(error.status, error.text)


async def on_http_error(request: Request, error: Any) -> Response:
    """The page of an error of routing."""
    assert isinstance(error, HTTPException)
    found = failure(error.status_code)
    found.headers.update(error.headers or {})
    return found


async def on_error(request: Request, error: Exception) -> Response:
    """The page of an unexpected error, which says nothing about it."""
    return failure(500, "Nothing that you told us is lost. Go back, and try again.")
