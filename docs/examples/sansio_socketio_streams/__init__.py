"""Socket.IO over asyncio's streams: an example of a driver."""

from __future__ import annotations

from typing import ClassVar

from sansio_socketio.client import Manager as _Manager
from sansio_socketio.client import RuntimeScope, Scopes, Socket
from sansio_socketio.protocol.errors import AckTimeout, ConnectError, DisconnectedError, SocketIOError

from ._runtime import open_runtime


class Manager(_Manager):
    """A connection to a server, which the sockets of several namespaces share."""

    runtime_scope: ClassVar[RuntimeScope] = open_runtime


_scopes = Scopes(Manager)
connect = _scopes.connect
open_io = _scopes.open_io

__all__ = [
    "AckTimeout",
    "ConnectError",
    "DisconnectedError",
    "Manager",
    "Socket",
    "SocketIOError",
    "connect",
    "open_io",
]
