"""Socket.IO over asyncio's streams: an example of a driver."""

from __future__ import annotations

from typing import ClassVar

from sansio_socketio.client import IO, Emitter, EventStream, RuntimeScope, Scopes, Socket, names
from sansio_socketio.client import Manager as _Manager
from sansio_socketio.client.names import *  # noqa: F403  # the same in every driver

from ._runtime import open_runtime


class Manager(_Manager):
    """A connection to a server, which the sockets of several namespaces share. See its base class."""

    runtime_scope: ClassVar[RuntimeScope] = open_runtime
    can_be_held: ClassVar[bool] = True


_scopes = Scopes(Manager)
connect = _scopes.connect
open_io = _scopes.open_io

__all__ = ["IO", "Emitter", "EventStream", "Manager", "Socket", "connect", "open_io"]
__all__ += names.__all__
