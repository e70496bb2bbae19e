"""The server: uvicorn on one address, without a log of links."""

import socket
from typing import Any

import uvicorn

from hare_jax.app.web.connections import IDLE, MOST, Connection

_MOST_HEADERS = 16 * 1024  # bytes
_SECONDS = 5  # that requests may take at the end


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address.

    Raises:
        OSError: it can't be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"host and port: can't serve on {host!r}, {port}: {reason}") from error


def serve(app: Any, opened: socket.socket) -> None:
    """Serve until interrupted."""
    uvicorn.Server(config_of(app)).run(sockets=[opened])


def config_of(app: Any) -> uvicorn.Config:
    """The configuration of the server."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        http=Connection,
        limit_concurrency=MOST,
        h11_max_incomplete_event_size=_MOST_HEADERS,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=_SECONDS,
    )
