"""The scopes that a driver offers: `connect` and `open_io`, over the driver's runtime.

Rules of this file:

- Written once for all drivers: a driver makes a `Scopes` of its Manager, and exports its methods as functions.
- Handlers are held back until the last moment before the body runs. So those that the body registers before its first
  `await` miss nothing. (With threads, `blocking` decides when they are called.)
- Managers are shared within one `open_io`, and end with it. Nothing is kept for the process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Final, Generic, TypeVar, Unpack

from ..protocol.errors import StateError
from ..protocol.packets.socketio import PROTOCOL
from ..protocol.url import URL
from .core.connect import Connection, server_url
from .core.io import IOCore
from .core.manager import ManagerCore
from .manager import Manager, Socket, around, face_of, new_core
from .options import IOOptions, Options
from .run.scope import Scope

T = TypeVar("T")


class EnteredOnce(Generic[T]):
    """A scope that is made when it is entered, which may happen once."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]], call: str) -> None:
        self._make = make
        self._call = call
        self._scope: AbstractAsyncContextManager[T] | None = None

    async def __aenter__(self) -> T:
        if self._scope is not None:
            raise StateError(f"what {self._call} returned can be entered once; call {self._call} again")
        self._scope = self._make()
        return await self._scope.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._scope is not None
        return await self._scope.__aexit__(kind, error, traceback)


class IO:
    """JavaScript's `io()`: sockets by URL, which share connections. Made by `open_io`.

    Attributes:
        protocol: The version of the Socket.IO protocol.
        Manager: The driver's class. A Manager that is made by it runs on its own, as `Manager` describes.
        Socket: The class of sockets.
    """

    protocol: Final = PROTOCOL

    def __init__(self, core: IOCore, manager_class: type[Manager]) -> None:
        self.Manager: Final = manager_class
        self.Socket: Final = Socket
        self._core = core
        self._managers: dict[ManagerCore, Manager] = {}

    def __call__(self, url: str | None = None, **options: Unpack[IOOptions]) -> Socket:
        """Return the Socket of a URL, whose path is the namespace. It connects in the background.

        Sockets for the same scheme, host, port and `path` option share a Manager, and so a connection. If the Manager has a
        socket for the namespace already, a new Manager is made, which is not shared.

        Args:
            url: The server's URL with the namespace, such as "http://localhost:3000/chat". What is missing is taken from
                the URL that `open_io` was given: "/chat" is a namespace of that server, None its main namespace.
            options: See `IOOptions`. Those of the Manager apply when it is made.

        Raises:
            OptionError: The URL or an option is invalid.
        """
        manager, socket = self._core.socket(url, options)
        if manager not in self._managers:
            self._managers[manager] = around(self.Manager, manager)
        return face_of(socket, self._managers[manager])

    connect = __call__


class Scopes:
    """The scopes of one driver.

    Args:
        manager_class: The driver's Manager, which has the driver's runtime.
    """

    def __init__(self, manager_class: type[Manager]) -> None:
        self._manager_class = manager_class

    def connect(
        self, url: str, *, retry: bool = False, **options: Unpack[Options]
    ) -> AbstractAsyncContextManager[Socket]:
        """Connect to a namespace::

            async with connect("http://localhost:3000/chat") as socket: ...

        The body starts when the server has accepted. At its end the socket is disconnected.

        Args:
            url: The server's URL; its path is the namespace.
            retry: Whether to keep trying, as the `reconnection` options say, when the first attempt fails.
            options: See `Options`.

        Raises:
            ConnectError: The first attempt failed (the failure is the cause), or the server refused; on entering.
            OptionError: The URL or an option is invalid; at the call.
        """
        connection = Connection(url, options, partial(new_core, self._manager_class), retry=retry)
        return EnteredOnce(lambda: self._connect(connection), "connect()")

    def open_io(self, url: str | None = None) -> AbstractAsyncContextManager[IO]:
        """Open a scope in which sockets are made by URL, as JavaScript's `io()` does::

            async with open_io("http://localhost:3000") as io:
                main, chat = io(), io("/chat")

        Sockets of the same server share a connection. At the end of the scope all are disconnected.

        Args:
            url: The server that is meant if `io` is called with a path, or with nothing; `location` in a browser.

        Raises:
            OptionError: The URL is invalid; at the call.
        """
        base = None if url is None else server_url(url)
        return EnteredOnce(lambda: self._open_io(base), "open_io()")

    @asynccontextmanager
    async def _connect(self, connection: Connection) -> AsyncGenerator[Socket, None]:
        manager = around(self._manager_class, connection.manager)
        async with Scope(connection.manager.runtime_scope) as scope:
            core, run = await connection.start(scope)
            run.release_handlers()
            yield face_of(core, manager)

    @asynccontextmanager
    async def _open_io(self, base: URL | None) -> AsyncGenerator[IO, None]:
        async with Scope(self._manager_class.runtime_scope) as scope:
            yield IO(IOCore(scope, base, partial(new_core, self._manager_class)), self._manager_class)
