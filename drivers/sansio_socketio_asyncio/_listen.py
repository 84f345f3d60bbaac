"""Accept streams on asyncio, for servers.

Rules of this file:

- `asyncio.Server` is not used, and `loop.sock_accept` only on Windows: if they are ended while they accept a stream, the
  stream stays open (in Python 3.11).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

from sansio_socketio.runtime.calls import call_back
from sansio_socketio.runtime.clock import total_suspension
from sansio_socketio.runtime.interface import StreamAcceptor
from sansio_socketio.runtime.listening import bind, peer_name
from sansio_socketio.server import Servers

from ._runtime import AsyncioRuntime, AsyncioStream, AsyncioTask, RuntimeScope

log = logging.getLogger("sansio_socketio.runtime")

_RETRY: Final = 0.1
"""Seconds to wait when no stream can be accepted, most likely because the process has too many open files."""


class AcceptedStream(AsyncioStream):
    """A stream that was accepted."""

    def __init__(self, runtime: AsyncioRuntime, listener: AsyncioListener, accept: StreamAcceptor) -> None:
        super().__init__(runtime, None)
        self._listener = listener
        self._accept = accept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Report that the stream is open."""
        if not self._listener.is_closed:
            self.receiver = self._accept(self, peer_name(transport.get_extra_info("peername")))
        super().connection_made(transport)  # aborts it if there is no receiver
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)
        call_back(self._runtime, self.notify_opened)


class AsyncioListener:
    """Listening sockets."""

    def __init__(self, runtime: AsyncioRuntime, sockets: Sequence[socket.socket], accept: StreamAcceptor) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self.is_closed = False
        self.opening: set[asyncio.Task[Any]] = set()  # the tasks that open accepted streams
        self._loop = runtime.loop
        self._sockets = sockets
        self._make_stream = partial(AcceptedStream, runtime, self, accept)
        self._tasks: list[AsyncioTask] = []
        for sock in sockets:
            try:
                self._watch(sock)
            except NotImplementedError:  # Windows
                self._tasks.append(runtime.spawn(partial(self._run, sock), f"accept streams on port {self.port}"))

    def close(self) -> None:
        """Accept no more streams."""
        if not self.is_closed:
            self.is_closed = True
            for task in self._tasks:
                task.cancel()
            for sock in self._sockets:
                if not self._tasks:
                    self._loop.remove_reader(sock)
                sock.close()

    def _watch(self, listening: socket.socket) -> None:
        if not self.is_closed:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the peer has closed the stream already
            return
        except OSError as error:
            self._report(error)
            self._loop.remove_reader(listening)
            self._loop.call_later(_RETRY, self._watch, listening)
        else:
            self._open(sock)

    async def _run(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(listening)
            except OSError as error:
                self._report(error)
                await asyncio.sleep(_RETRY)
            else:
                self._open(sock)

    def _report(self, error: Exception) -> None:
        log.warning("cannot accept a stream on port %d: %s", self.port, error)

    def _open(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        # Not a task of the runtime, which would cancel it: a task that has not started yet would not close its socket.
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make_stream, sock))
        self.opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[Any]) -> None:
        self.opening.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._report(error)


class ListeningAsyncioRuntime(AsyncioRuntime):
    """The runtime, with `listen`."""

    def __init__(self, suspension: Callable[[], float] = total_suspension) -> None:
        super().__init__(suspension)
        self._listeners: list[AsyncioListener] = []

    async def listen(self, host: str, port: int, accept: StreamAcceptor) -> AsyncioListener:
        """Listen on all addresses of a host."""
        addresses: list[Any] = await self.loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = AsyncioListener(self, bind(addresses), accept)
        self._listeners.append(listener)
        return listener

    async def end(self) -> None:
        """End everything that was started."""
        for listener in self._listeners:
            listener.close()
        opening = [task for listener in self._listeners for task in listener.opening]
        try:
            if opening:
                await asyncio.wait(opening)
        finally:
            await super().end()


def open_listening_runtime(
    *, suspension: Callable[[], float] = total_suspension
) -> AbstractAsyncContextManager[ListeningAsyncioRuntime]:
    """Create a runtime that can accept streams on the running event loop. On exit, everything that it started ends."""
    return RuntimeScope(ListeningAsyncioRuntime, suspension)


serve = Servers(open_listening_runtime).serve
