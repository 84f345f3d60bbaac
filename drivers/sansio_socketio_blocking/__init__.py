"""Socket.IO client for threads, without `await`.

A whole program::

    from sansio_socketio_blocking import connect

    with connect("http://localhost:3000") as socket:

        @socket.on("news")
        def news(article):
            print(article)

        print(socket.emit_with_ack("hello", "world"))
"""

from __future__ import annotations

from threading import RLock
from typing import ClassVar, Final

from sansio_socketio import names
from sansio_socketio.client.blocking import IO, Emitter, Engine, EventStream, Scopes, Socket
from sansio_socketio.client.blocking import Manager as _Manager
from sansio_socketio.names import *  # noqa: F403
from sansio_socketio.protocol.packets.socketio import PROTOCOL
from sansio_socketio.runtime import BlockingRuntimeScope

from ._interrupts import shield
from ._runtime import open_runtime


class Manager(_Manager):
    """A connection to a server, which the sockets of several namespaces share. See the base class."""

    runtime_scope: ClassVar[BlockingRuntimeScope] = open_runtime
    make_lock = staticmethod(RLock)
    shield = staticmethod(shield)


_scopes = Scopes(Manager)
connect, open_io = _scopes.connect, _scopes.open_io
protocol: Final = PROTOCOL
"""The version of the Socket.IO protocol."""

__all__ = ["IO", "Emitter", "Engine", "EventStream", "Manager", "Socket", "connect", "open_io", "protocol"]
__all__ += names.__all__
