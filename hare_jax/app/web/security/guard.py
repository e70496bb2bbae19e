"""An ASGI layer around an application: it checks and bounds each request, and completes each response.

It answers without the application if the host is not one of ours (400), the address is too long (414), a client sends
too many requests (429), or a body is too large (413) or too slow (408). What fails in the application is a page of
status 500 that shows nothing of the error.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hare_jax.app.web.security.rates import Rates

ErrorPage = Callable[[int, str], Response]  # status, text for a person

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_LOG = logging.getLogger("hare_jax.web")


class Limits(NamedTuple):
    """Bounds on the requests of a client."""

    body: int = 64 * 1024  # bytes
    path: int = 512  # bytes
    seconds: float = 10.0  # for a body to arrive
    per_second: float = 50.0  # requests of a client, in the long run
    burst: int = 500  # at once


DEFAULTS = Limits()


class Guard:
    """`app` behind the checks; `hosts` are the names that a request may be addressed to, without a port."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str], page: ErrorPage, limits: Limits = DEFAULTS) -> None:
        self._app, self._page, self._limits = app, page, limits
        self._hosts = frozenset(host.lower() for host in hosts)
        self._rates = Rates(limits.per_second, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of ASGI events are those of the application."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        sending = _Sending(send)
        refusal = self._refusal(scope)
        body = b"" if refusal else await self._body(scope, receive)
        if isinstance(body, tuple):
            refusal, body = body, b""
        if refusal:
            await self._page(*refusal)(scope, receive, sending)
            return
        await self._answer(scope, _receiving(body, receive), sending)

    async def _answer(self, scope: Scope, receive: Receive, sending: "_Sending") -> None:
        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            _LOG.error("%s in %s", type(error).__name__, scope["method"], exc_info=error)
            if not sending.started:
                text = "Something went wrong. Nothing that you told us is lost: go back, and try again."
                await self._page(500, text)(scope, receive, sending)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the text for a request that is not to be answered."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        found = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if found is None or found["name"] not in self._hosts:
            return 400, "This server does not know the name by which it was called."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self._limits.path:
            return 414, "The address is too long."
        client = scope.get("client")
        if not self._rates.allows(client[0] if client else ""):
            return 429, "Too many requests. Wait a little, and try again."
        return None

    async def _body(self, scope: Scope, receive: Receive) -> bytes | tuple[int, str]:
        """The body of a request, or the status and the text if it is too large or too slow."""
        too_large = 413, "The form is too large."
        length = Headers(scope=scope).get("content-length", "0")
        if not _LENGTH.fullmatch(length):
            return 400, "The request could not be read."
        if int(length) > self._limits.body:
            return too_large
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await _collected(receive, self._limits.body)
        except TimeoutError:
            return 408, "The form took too long to arrive."
        except OverflowError:
            return too_large
        except ConnectionAbortedError:
            return 400, "The form did not arrive as a whole."


async def _collected(receive: Receive, most: int) -> bytes:
    """The body of a request.

    Raises:
        OverflowError: it has more than `most` bytes.
        ConnectionAbortedError: the client has gone.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionAbortedError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            raise OverflowError
    return bytes(body)


def _receiving(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the `body` first."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return parts.pop() if parts else await receive()

    return again


class _Sending:
    """A `send` that adds the headers, and knows whether a response has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.started = send, False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
