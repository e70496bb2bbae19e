"""Connections of uvicorn that are bounded: in the time until a request, and in the number of one client's."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE = 75  # seconds that a connection is kept for the next form
MOST = 900  # connections
_FIRST = 20  # seconds until the first request has arrived, without its body
_MOST_OF_CLIENT = MOST // 2


class Connection(H11Protocol):
    """One connection; without a whole request in time it is closed, whatever has arrived of one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless its client has as many as one may have."""
        super().connection_made(transport)
        if sum(_address(one) == _address(self) for one in self.connections) > _MOST_OF_CLIENT:
            transport.close()
        self._expect(_FIRST)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        last = self.cycle
        super().on_response_complete()
        self._expect(IDLE, last)

    def _expect(self, seconds: float, last: Any = None) -> None:
        """Close the connection if no request follows the `last` one in time."""
        self.loop.call_later(seconds, self._close_unless_used, last)

    def _close_unless_used(self, last: Any) -> None:
        if self.cycle is last and not self.transport.is_closing():
            self.transport.close()


def _address(connection: Any) -> str | None:
    """The address of the client, without its port."""
    return connection.client[0] if connection.client else None
