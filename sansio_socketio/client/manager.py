"""The Manager: a connection as an application holds it (JavaScript's Manager).

Rule of this file: a Manager is a face. What it does is done by its `Connection`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, ClassVar, Final, Self, Unpack

from ..protocol.statistics import Statistics
from .connection import Connection
from .engine import Engine
from .listeners import Listeners, Listening
from .options import ManagerOptions, SocketOptions, manager_settings, socket_settings, warn_of_ignored
from .runtime import RuntimeScope
from .socket import Socket

MANAGER_EVENTS: Final = frozenset(
    {
        "open",
        "error",
        "ping",
        "close",
        "reconnect",
        "reconnect_attempt",
        "reconnect_error",
        "reconnect_failed",
    }
)


class Manager(Listening):
    """A connection to a server, which the sockets of several namespaces share.

    It is a scope, `async with Manager(url, **options) as manager`, at whose end everything is disconnected. The
    connection is opened in the background, unless `auto_connect` is False.

    Its events: open(), error(error), close(reason, details), ping(), reconnect_attempt(number), reconnect(number),
    reconnect_error(error), reconnect_failed().

    Args:
        url: Where the server is, such as "http://localhost:3000".
        options: See `ManagerOptions`.

    Raises:
        OptionError: The URL or an option cannot be used.
    """

    runtime_scope: ClassVar[RuntimeScope]
    """Each driver's subclass has its own."""

    def __init__(self, url: str, **options: Unpack[ManagerOptions]) -> None:
        settings = manager_settings(options)
        self._options: Mapping[str, Any] = options
        self._listeners = Listeners(MANAGER_EVENTS)
        self._connection = Connection(url, settings, self._listeners)
        self._scope: AbstractAsyncContextManager[None] | None = None
        if settings.local.ssl is False:
            warnings.warn("ssl=False: the server is not verified; anybody may answer in its place", stacklevel=2)

    def __repr__(self) -> str:
        return f"<Manager of {self.url}, {self._connection.machine.state}>"

    async def __aenter__(self) -> Self:
        self._scope = self._connection.living(type(self).runtime_scope)
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._scope is not None
        return await self._scope.__aexit__(kind, error, traceback)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._connection.url

    @property
    def engine(self) -> Engine | None:
        """The Engine.IO session beneath; None while there is none. Each session has an object of its own."""
        return self._connection.engine

    def statistics(self) -> Statistics:
        """What has been counted since the Manager was made, and how much is pending now."""
        return self._connection.statistics()

    async def connect(self) -> Self:
        """Open the connection and wait until it is open. A failure starts no reconnection.

        Raises:
            ConnectError: It could not be opened; the failure is its cause.
            DisconnectedError: It was closed meanwhile, or the scope is over.
        """
        await self._connection.opened()
        return self

    open = connect

    async def close(self) -> Self:
        """Close the connection, and wait until all that was sent has left, at most `close_timeout`."""
        await self._connection.closed()
        return self

    def socket(self, nsp: str = "/", **options: Unpack[SocketOptions]) -> Socket:
        """The Socket of a namespace. It connects in the background, unless `auto_connect` is False.

        The first call for a namespace makes it, with these options; later ones give the same, and connect it again if
        it is not active any more.

        Raises:
            OptionError: The name or an option cannot be used.
            DisconnectedError: The scope is over.
        """
        settings = socket_settings(options)
        connection = self._connection
        hub = connection.open_hub
        namespace = connection.machine.namespace(nsp, settings)
        socket = connection.sockets.get(namespace.name)
        if socket is None:
            socket = Socket(self, connection, hub, namespace, settings, options)
            connection.add(socket)
        else:
            warn_of_ignored(f"the socket of {socket.nsp}", options, socket._options)
        if connection.auto_connect and not socket.active:
            socket._begin()
        return socket

    # The options that may be set while running

    @property
    def reconnection(self) -> bool:
        """Whether to connect again by itself. Setting it to False also ends a wait for the next attempt."""
        return self._connection.machine.reconnection

    @reconnection.setter
    def reconnection(self, value: bool) -> None:
        self._connection.machine.reconnection = value
        self._connection.reconnection_changed()

    @property
    def reconnection_attempts(self) -> float:
        """How often to try to connect again before giving up: a whole number, or `math.inf`."""
        return self._connection.machine.reconnection_attempts

    @reconnection_attempts.setter
    def reconnection_attempts(self, value: float) -> None:
        self._connection.machine.reconnection_attempts = value

    @property
    def reconnection_delay(self) -> float:
        """How many seconds to wait before the first attempt to connect again; each further wait is twice as long."""
        return self._connection.machine.reconnection_delay

    @reconnection_delay.setter
    def reconnection_delay(self, value: float) -> None:
        self._connection.machine.reconnection_delay = value

    @property
    def reconnection_delay_max(self) -> float:
        """The longest such wait, in seconds."""
        return self._connection.machine.reconnection_delay_max

    @reconnection_delay_max.setter
    def reconnection_delay_max(self, value: float) -> None:
        self._connection.machine.reconnection_delay_max = value

    @property
    def randomization_factor(self) -> float:
        """How far a wait may deviate from that, as a fraction of it."""
        return self._connection.machine.randomization_factor

    @randomization_factor.setter
    def randomization_factor(self, value: float) -> None:
        self._connection.machine.randomization_factor = value

    @property
    def timeout(self) -> float | None:
        """How many seconds opening the connection may take; None for no limit."""
        return self._connection.machine.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._connection.machine.timeout = value
