"""Socket.IO for trio.

import trio

from sansio_socketio_trio import connect

async def main():
    async with connect("http://localhost:3000") as socket:

        @socket.on("news")
        async def news(article):
            print(article)

        print(await socket.emit_with_ack("hello", "world"))

trio.run(main)
"""

from __future__ import annotations

from typing import ClassVar

from sansio_socketio.client import IO, Emitter, Event, EventStream, InboxOverflow, RuntimeScope, Scopes, Socket
from sansio_socketio.client import Manager as _Manager
from sansio_socketio.protocol.errors import (
    AckTimeout,
    BufferFullError,
    ConnectError,
    DisconnectedError,
    OpenTimeout,
    OptionError,
    PacketError,
    SocketIOError,
    StateError,
    TransportError,
)

from ._runtime import open_runtime


class Manager(_Manager):
    """A connection to a server, which the sockets of several namespaces share. See its base class."""

    runtime_scope: ClassVar[RuntimeScope] = open_runtime


_scopes = Scopes(Manager)
connect = _scopes.connect
open_io = _scopes.open_io

__all__ = [
    "IO",
    "AckTimeout",
    "BufferFullError",
    "ConnectError",
    "DisconnectedError",
    "Emitter",
    "Event",
    "EventStream",
    "InboxOverflow",
    "Manager",
    "OpenTimeout",
    "OptionError",
    "PacketError",
    "Socket",
    "SocketIOError",
    "StateError",
    "TransportError",
    "connect",
    "open_io",
]
