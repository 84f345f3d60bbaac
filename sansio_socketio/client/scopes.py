"""The scopes that a driver gives to its users: `connect` and `open_io`, over the driver's runtime.

Rules of this file:

- Written once for all drivers: a driver makes a `Scopes` of its runtime, and gives its methods away as functions.
- The gate opens as the last thing before the body gets its turn, so handlers that the body registers before its first
  `await` miss nothing. (Where there are threads, `blocking` opens it.)
- The cache of Managers is the `IO`'s, and ends with it. Nothing is kept for the process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, Unpack

from ..protocol.client import namespace_name
from ..protocol.errors import OptionError, StateError
from ..protocol.packets.socketio import PROTOCOL
from ..protocol.url import URL, parse_url, resolve_url
from .lifetime import Lifetime
from .manager import Manager
from .options import (
    CONNECT_OPTIONS,
    IO_OPTIONS,
    IOOptions,
    Options,
    manager_settings,
    socket_settings,
    split_options,
    warn_of_ignored,
)
from .socket import Socket

T = TypeVar("T")


class Once(Generic[T]):
    """A scope that is made when it is entered, which may happen once."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]], call: str) -> None:
        self._make = make
        self._call = call
        self._scope: AbstractAsyncContextManager[T] | None = None

    async def __aenter__(self) -> T:
        if self._scope is not None:
            raise StateError(f"what {self._call} returned is a scope that is entered once; call {self._call} again")
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
        Manager: The driver's class. One that is made by it lives by itself, as `Manager` tells.
        Socket: The class of sockets.
    """

    protocol: Final = PROTOCOL

    def __init__(self, life: Lifetime, manager_class: type[Manager], base: URL | None, *, gated: bool) -> None:
        self.Manager: Final = manager_class
        self.Socket: Final = Socket
        self._life = life
        self._base = base
        self._gated = gated
        self._managers: dict[tuple[str, str, int, str], Manager] = {}

    def __call__(self, url: str | None = None, **options: Unpack[IOOptions]) -> Socket:
        """The Socket of a URL, whose path is the namespace. It connects in the background.

        Sockets for the same scheme, host, port and `path` option share a Manager, and so a connection. A namespace that
        the Manager has a socket for already gets a Manager of its own, which is not shared.

        Args:
            url: Where the server is, and the namespace, such as "http://localhost:3000/chat". What is not in it is
                taken from the URL that `open_io` was given: "/chat" is a namespace of that server, None its main one.
            options: See `IOOptions`. Those of the Manager count when it is made.

        Raises:
            OptionError: The URL or an option cannot be used.
        """
        force_new, multiplex = options.get("force_new", False), options.get("multiplex", True)
        _check_flag("force_new", force_new)
        _check_flag("multiplex", multiplex)
        manager_options, socket_options = split_options(options, IO_OPTIONS)
        socket_settings(socket_options)
        whole = resolve_url(url, self._base)
        nsp = namespace_name(parse_url(whole).path)
        manager = self._manager(whole, manager_options, nsp, share=multiplex and not force_new)
        return manager.socket(nsp, **socket_options)

    connect = __call__

    def _manager(self, url: str, options: dict[str, Any], nsp: str, *, share: bool) -> Manager:
        settings = manager_settings(options)
        place = parse_url(url)
        key = (place.scheme, place.host, place.port, settings.machine.path)
        manager = self._managers.get(key)
        if share and manager is not None and nsp not in manager._connection.sockets:
            kept = _with_query(manager._connection.machine.url, manager._options)
            warn_of_ignored(f"the Manager of {manager.url}", _with_query(place, options), kept)
            return manager
        new = self.Manager(url, **options)
        new._connection.move_in(self._life, gated=self._gated)
        if share and manager is None:
            self._managers[key] = new
        new._connection.begin()
        return new


def _with_query(url: URL, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options as they count: a query in the URL takes the place of the option."""
    return {**options, "query": dict(url.query)} if url.query else options


class Scopes:
    """The scopes of one driver.

    Args:
        manager_class: The driver's Manager, which has the driver's runtime.
        gated: Whether the gates of sockets stay closed, to be opened by somebody else.
    """

    def __init__(self, manager_class: type[Manager], *, gated: bool = False) -> None:
        self._manager_class = manager_class
        self._gated = gated

    def connect(
        self, url: str, *, retry: bool = False, **options: Unpack[Options]
    ) -> AbstractAsyncContextManager[Socket]:
        """Connect to a namespace::

            async with connect("http://localhost:3000/chat") as socket: ...

        The body starts when the server has joined us. At its end the socket is disconnected.

        Args:
            url: Where the server is, and (as its path) the namespace.
            retry: Whether to go on trying, as `reconnection` and its like say, when the first attempt fails.
            options: See `Options`.

        Raises:
            ConnectError: The first attempt failed (the failure is its cause), or the server refused; on entering.
            OptionError: The URL or an option cannot be used; at the call.
        """
        _check_flag("retry", retry)
        manager_options, socket_options = split_options(options, CONNECT_OPTIONS)
        if "auto_connect" in manager_options:
            raise OptionError("auto_connect is for Manager and io(); connect() always connects")
        manager_settings(manager_options)
        socket_settings(socket_options)
        nsp = namespace_name(parse_url(url).path)
        return Once(lambda: self._connect(url, nsp, manager_options, socket_options, retry=retry), "connect()")

    def open_io(self, url: str | None = None) -> AbstractAsyncContextManager[IO]:
        """JavaScript's `io()`, as a scope::

            async with open_io("http://localhost:3000") as io:
                main, chat = io(), io("/chat")

        Sockets of the same server share a connection. At the end of the scope all are disconnected.

        Args:
            url: What `location` is in a browser: the server that is meant where `io` is given a path, or nothing.

        Raises:
            OptionError: The URL cannot be used; at the call.
        """
        base = None if url is None else _server(url)
        return Once(lambda: self._open_io(base), "open_io()")

    @asynccontextmanager
    async def _connect(
        self, url: str, nsp: str, manager_options: dict[str, Any], socket_options: dict[str, Any], *, retry: bool
    ) -> AsyncGenerator[Socket, None]:
        manager = self._manager_class(url, **manager_options)
        async with Lifetime(self._manager_class.runtime_scope) as life:
            with life.runtime.lock:
                manager._connection.move_in(life, gated=True)
                socket = manager.socket(nsp, **socket_options)
                await (socket.wait_connected() if retry else socket._wait_first_attempt())
                if not self._gated:
                    manager._connection.open_gates()
            yield socket

    @asynccontextmanager
    async def _open_io(self, base: URL | None) -> AsyncGenerator[IO, None]:
        async with Lifetime(self._manager_class.runtime_scope) as life:
            yield IO(life, self._manager_class, base, gated=self._gated)


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise OptionError(f"{name} takes True or False, not {value!r}")


def _server(url: str) -> URL:
    place = parse_url(url)
    if place.path != "/" or place.query:
        raise OptionError(f"open_io takes a server's URL, and {url!r} has a path or a query: give those to io()")
    return place
