"""Accept streams on trio, for servers."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from sansio_socketio.runtime.clock import total_suspension
from sansio_socketio.runtime.interface import StreamAcceptor
from sansio_socketio.runtime.listening import bind, peer_name
from sansio_socketio.runtime.structured import StructuredStream
from sansio_socketio.server import Servers
from sansio_socketio.server.entry_points import entry_points

from ._runtime import TrioRuntime, open_in_trio

for _entry_point in entry_points():
    enable_ki_protection(_entry_point)


class TrioListener:
    """Listening sockets, and the task that accepts their streams."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._scope = trio.CancelScope()

    def close(self) -> None:
        """Accept no more streams."""
        self._scope.cancel()

    async def run(
        self, listeners: list[trio.SocketListener], handle: Callable[[trio.SocketStream], Awaitable[None]], nursery: Any
    ) -> None:
        """Accept streams until `close`, and call `handle` for each of them in a task. Run this in a task."""
        with self._scope:
            await trio.serve_listeners(handle, listeners, handler_nursery=nursery)


class ListeningTrioRuntime(TrioRuntime):
    """The runtime, with `listen`."""

    async def listen(self, host: str, port: int, accept: StreamAcceptor) -> TrioListener:
        """Listen on all addresses of a host."""
        addresses = await trio.socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sockets = bind(addresses)
        listener = TrioListener(sockets[0].getsockname()[1])
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]

        async def handle(plain: trio.SocketStream) -> None:
            await self.task(self._serve, plain, accept)

        name = f"accept streams on port {listener.port}"
        self.start(self._nursery, name, listener.run, listeners, handle, self._nursery)
        return listener

    async def _serve(self, plain: trio.SocketStream, accept: StreamAcceptor) -> None:
        try:
            peer = peer_name(plain.socket.getpeername())
        except OSError:  # the peer has closed the stream already
            return
        await StructuredStream(self, None).run_accepted(plain, accept, peer)


def open_listening_runtime(
    *, suspension: Callable[[], float] = total_suspension
) -> AbstractAsyncContextManager[ListeningTrioRuntime]:
    """Create a runtime that can accept streams, in a nursery of its own. On exit, everything that it started ends."""
    return open_in_trio(ListeningTrioRuntime, suspension)


serve = Servers(open_listening_runtime).serve
