"""Connections to the server: without a request in time, and too many of one client."""

import asyncio
import contextlib

import uvicorn
from starlette.responses import PlainTextResponse

from hare_jax.app.web import connections, serve

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TIMEOUT = 20


async def received(connection):
    """What a connection receives until it is closed."""
    try:
        return await asyncio.wait_for(connection[0].read(), TIMEOUT)
    finally:
        connection[1].close()
        await connection[1].wait_closed()


async def with_three_connections(port):
    """Two that send nothing or half a request, and a third one with a whole request; then one that is used."""
    silent, half, third = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    half[1].write(REQUEST[:-2])
    third[1].write(REQUEST)
    with contextlib.suppress(ConnectionError):  # reset, for what it sent
        assert not await received(third)
    assert [await received(one) for one in (silent, half)] == [b"", b""]
    used = await asyncio.open_connection("127.0.0.1", port)
    used[1].write(REQUEST)
    assert b"hello" in await received(used)


async def served():
    server = uvicorn.Server(serve.config_of(PlainTextResponse("hello")))
    server.capture_signals = contextlib.nullcontext
    opened = serve.listening("127.0.0.1", 0)
    running = asyncio.create_task(server.serve(sockets=[opened]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        await with_three_connections(opened.getsockname()[1])
    finally:
        server.should_exit = True
        await running


def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(connections, "_FIRST", 0.3)
    monkeypatch.setattr(connections, "IDLE", 0.1)
    monkeypatch.setattr(connections, "_MOST_OF_CLIENT", 2)
    asyncio.run(served())
