"""A failing network: a TCP proxy in its own thread, whose connections can all be cut at once.

Rules of this file:

- It forwards bytes as they arrive, and the end of a connection. It does not parse the bytes.
- A cut closes both sides of every connection and loses what is in flight. New connections are accepted as before.
- When the context ends, everything is closed and the thread has ended.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_BY_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


class CuttingProxy:
    """A proxy for the server at the URL `target`, listening while the context lasts.

    Attributes:
        url: Where it listens.
        broken: How many connections have been cut.
    """

    def __init__(self, target: str) -> None:
        self.url = ""
        self.broken = 0
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._sides: set[_Side] = set()
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="peer's cutting proxy", daemon=True)

    def cut(self, *, reset: bool) -> None:
        """Close every connection, by RST or by FIN. Returns when that is done."""
        asyncio.run_coroutine_threadsafe(self._cut(reset), self._loop).result()

    async def _cut(self, reset: bool) -> None:
        self.broken += sum(side.dials for side in self._sides)
        for side in list(self._sides):
            side.cut(reset=reset)
        await asyncio.sleep(0)  # an aborted connection is closed in the next iteration of the event loop

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await self._loop.create_server(lambda: _Side(self._sides, self._dial), "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._listens.set()
            await self._over.wait()
            await self._cut(reset=True)

    async def _dial(self, near: _Side) -> None:
        """Connect to the server for a connection that was accepted."""
        try:
            _, far = await self._loop.create_connection(lambda: _Side(self._sides), *self._target)
        except OSError:
            near.close()
        else:
            near.join(far)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


class _Side(asyncio.Protocol):
    """One side of a connection through the proxy: the client's, which dials the server, or the server's."""

    _transport: asyncio.Transport

    def __init__(self, sides: set[_Side], dial: _Dial | None = None) -> None:
        self.dials = dial is not None
        self._sides = sides
        self._dial = dial
        self._dialling: asyncio.Task[None] | None = None
        self._other: _Side | None = None

    def join(self, other: _Side) -> None:
        """Forward data between both sides."""
        self._other, other._other = other, self
        if self._transport.is_closing():
            other.close()
        elif other._transport.is_closing():
            self.close()
        else:
            self._transport.resume_reading()
            other._transport.resume_reading()

    def close(self) -> None:
        """Close after sending all buffered data."""
        self._transport.close()

    def cut(self, *, reset: bool) -> None:
        """Close at once, without sending buffered data."""
        if reset:
            stream: socket.socket = self._transport.get_extra_info("socket")
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BY_RESET)
        self._transport.abort()

    # Callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sides.add(self)
        transport.pause_reading()  # until the other side is connected
        if self._dial is not None:
            self._dialling = asyncio.ensure_future(self._dial(self))

    def data_received(self, data: bytes) -> None:
        assert self._other is not None
        self._other._transport.write(data)

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sides.discard(self)
        if self._other is not None:
            self._other.close()


_Dial = Callable[[_Side], Coroutine[Any, Any, None]]
