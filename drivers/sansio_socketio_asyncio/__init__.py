"""Socket.IO client and server for asyncio.

A whole program::

    import asyncio

    from sansio_socketio_asyncio import connect

    async def main():
        async with connect("http://localhost:3000") as socket:

            @socket.on("news")
            async def news(article):
                print(article)

            print(await socket.emit_with_ack("hello", "world"))

    asyncio.run(main())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from sansio_socketio import names
from sansio_socketio.client import IO, Emitter, Engine, EventStream, Scopes, Socket
from sansio_socketio.client import Manager as _Manager
from sansio_socketio.names import *  # noqa: F403
from sansio_socketio.protocol.packets.socketio import PROTOCOL
from sansio_socketio.runtime import RuntimeScope

from ._runtime import open_runtime


class Manager(_Manager):
    """A connection to a server, which the sockets of several namespaces share. See the base class."""

    runtime_scope: ClassVar[RuntimeScope] = open_runtime
    can_be_held: ClassVar[bool] = True


_scopes = Scopes(Manager)
connect = _scopes.connect
open_io = _scopes.open_io
protocol: Final = PROTOCOL
"""The version of the Socket.IO protocol."""

if TYPE_CHECKING:
    from ._listen import serve
else:

    def __getattr__(name: str) -> Any:
        """Import `serve` on first use (PEP 562), because most programs are clients only."""
        if name != "serve":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from ._listen import serve  # noqa: PLC0415

        return serve


__all__ = ["IO", "Emitter", "Engine", "EventStream", "Manager", "Socket", "connect", "open_io", "protocol"]
__all__ += ["serve"]
__all__ += names.__all__
