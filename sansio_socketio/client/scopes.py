"""The context managers that each driver exports: `connect` and `open_io`.

Rules of this file:

- A driver creates a `Scopes` with its Manager class, and exports its methods as functions.
- Handlers are held back until just before the body runs. So handlers that the body registers before its first `await` miss
  no events. (The blocking driver holds them back until the first blocking call.)
- Managers are shared within one `open_io` block and stop at its end. There is no global state.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, Unpack

from ..protocol.packets.socketio import PROTOCOL
from ..protocol.url import URL
from ..running.context import EnteredOnce
from ..running.options import options_by_name
from .core.connect import Connection, server_url
from .core.io import IOCore
from .core.manager import ManagerCore
from .manager import Manager, Socket, new_core, public_socket, wrap_core
from .options import IOOptions, Options
from .run.scope import Scope


class IO:
    """JavaScript's `io()`: creates sockets by URL, which share connections. Created by `open_io`.

    Attributes:
        protocol: The version of the Socket.IO protocol.
        Manager: The driver's Manager class. Its instances are independent of the `open_io` block.
        Socket: The class of the sockets.
    """

    protocol: Final = PROTOCOL

    def __init__(self, core: IOCore, manager_class: type[Manager]) -> None:
        self.Manager: Final = manager_class
        self.Socket: Final = Socket
        self._core = core
        self._managers: dict[ManagerCore, Manager] = {}

    @options_by_name
    def __call__(self, url: str | None = None, **options: Unpack[IOOptions]) -> Socket:
        """Return the Socket of a URL, whose path is the namespace. It connects in the background.

        Sockets with the same scheme, host, port and `path` option share a Manager and its connection. If that Manager
        already has a socket for the namespace, a new Manager is created, which is not shared.

        Args:
            url: The server's URL with the namespace, such as "http://localhost:3000/chat". It may be relative to the URL
                of `open_io`: "/chat" is a namespace of that server, None its main namespace.
            options: See `IOOptions`. Options of the Manager apply when the Manager is created.

        Raises:
            DisconnectedError: The `open_io` block has ended.
            OptionError: The URL or an option is invalid.
        """
        manager, socket = self._core.socket(url, options)
        if manager not in self._managers:
            self._managers[manager] = wrap_core(self.Manager, manager)
        return public_socket(socket, self._managers[manager])

    connect = __call__


class Scopes:
    """The functions `connect` and `open_io` of one driver.

    Args:
        manager_class: The driver's Manager class.
    """

    def __init__(self, manager_class: type[Manager]) -> None:
        self._manager_class = manager_class

    @options_by_name
    def connect(
        self, url: str, *, retry: bool = False, **options: Unpack[Options]
    ) -> AbstractAsyncContextManager[Socket]:
        """Connect to a namespace::

            async with connect("http://localhost:3000/chat") as socket: ...

        The body starts when the socket is connected. At the end of the block the client disconnects.

        Args:
            url: The server's URL; its path is the namespace.
            retry: Whether to retry, according to the `reconnection` options, if the first attempt fails.
            options: See `Options`.

        Raises:
            ConnectError: The server refused the namespace, or the first attempt failed (then `__cause__` is the failure).
                Raised when the block is entered.
            OptionError: The URL or an option is invalid. Raised by the call itself.
        """
        connection = Connection(url, options, partial(new_core, self._manager_class), retry=retry)
        return EnteredOnce(lambda: self._connect(connection), "connect(url)")

    def open_io(self, url: str | None = None) -> AbstractAsyncContextManager[IO]:
        """Open a block in which sockets are created by URL, like JavaScript's `io()`::

            async with open_io("http://localhost:3000") as io:
                main, chat = io(), io("/chat")

        Sockets of the same server share a connection. At the end of the block all sockets are disconnected.

        Args:
            url: The base of relative URLs, like `location` in a browser. None if `io` is only called with full URLs.

        Raises:
            OptionError: The URL is invalid. Raised by the call itself.
        """
        base = None if url is None else server_url(url)
        return EnteredOnce(lambda: self._open_io(base), "open_io(url)")

    @asynccontextmanager
    async def _connect(self, connection: Connection) -> AsyncGenerator[Socket, None]:
        manager = wrap_core(self._manager_class, connection.manager)
        async with Scope(connection.manager.runtime_scope) as scope:
            core, run = await connection.start(scope)
            run.release_handlers()
            yield public_socket(core, manager)

    @asynccontextmanager
    async def _open_io(self, base: URL | None) -> AsyncGenerator[IO, None]:
        async with Scope(self._manager_class.runtime_scope) as scope:
            yield IO(IOCore(scope, base, partial(new_core, self._manager_class)), self._manager_class)
