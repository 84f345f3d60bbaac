"""The Manager: a connection as an application holds it (JavaScript's Manager).

Rule of this file: a Manager is a face. What it does is done by its `Connection`, and how long it lives is a matter of its
`Lease`, unless it lives in the scope of `connect` or `open_io`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, Unpack

from ..protocol.errors import StateError
from ..protocol.statistics import Statistics
from ..runtime.interface import RuntimeScope
from .connection import Connection
from .engine import Engine
from .lifetime import Lease, Lifetime
from .listeners import Listeners, Listening
from .options import ManagerOptions, SocketOptions, manager_settings, socket_settings, warn_of_ignored
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


class TaskStatus(Protocol):
    """What `Nursery.start` of trio and `TaskGroup.start` of anyio give to what they start."""

    def started(self, value: Any, /) -> None: ...


class _NobodyWaits:
    """The `TaskStatus` of a task that was started without waiting."""

    def started(self, value: Any, /) -> None:
        pass


_NOBODY_WAITS: Final = _NobodyWaits()


class Manager(Listening):
    """A connection to a server, which the sockets of several namespaces share.

    It lives

    - in a scope, `async with Manager(url, **options) as manager`;
    - or in a nursery or task group of yours, `await nursery.start(manager.run)`, until it is cancelled or closed;
    - or, with asyncio, from `await manager.open()` to `await manager.close()`, which may be in different tasks.

    When it ends everything is disconnected, and nothing is left. It may live again after that. Sockets can be made, and
    handlers registered, before it lives; they stay when it ends.

    In a scope or a task the connection is opened in the background, unless `auto_connect` is False.

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

    can_be_held: ClassVar[bool] = False
    """Whether `open` may begin a life, and `close` end it in another task: not so where tasks belong to a scope."""

    _gated = False
    _scope: Lifetime | None = None

    def __init__(self, url: str, **options: Unpack[ManagerOptions]) -> None:
        settings = manager_settings(options)
        self._options: Mapping[str, Any] = options
        self._listeners = Listeners(MANAGER_EVENTS)
        self._connection = Connection(url, settings, self._listeners)
        self._lease = Lease(f"the Manager of {url}", type(self).runtime_scope)
        if settings.local.ssl is False:
            warnings.warn("ssl=False: the server is not verified; anybody may answer in its place", stacklevel=2)

    def __repr__(self) -> str:
        return f"<Manager of {self.url}, {self._connection.machine.state}>"

    # Its lives

    async def __aenter__(self) -> Self:
        self._scope = await self._begin(self._connection.begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._scope is not None
        return await self._lease.end(self._scope, error)

    async def run(self, *, task_status: TaskStatus = _NOBODY_WAITS) -> None:
        """Live in the present task, until `close` is called; if it is cancelled, end at once.

        With trio `await nursery.start(manager.run)`, with anyio `await task_group.start(manager.run)`: they return the
        Manager when it lives.

        Raises:
            StateError: It lives already.
        """
        life = await self._begin(self._connection.begin, ends_on_close=True)
        try:
            task_status.started(self)
            await life.runtime.wait(life.asked_to_end)
        except BaseException as error:
            await self._lease.end(life, error)
            raise
        await self._lease.end(life)

    async def connect(self) -> Self:
        """Open the connection and wait until it is open. A failure starts no reconnection.

        With asyncio a Manager that does not live yet begins to, until `close` is called. If it cannot be opened, or this
        is cancelled, it ends again, and nothing is left.

        Raises:
            ConnectError: It could not be opened; the failure is its cause.
            DisconnectedError: It was closed meanwhile.
            StateError: It does not live, and the driver's runtime wants it to live in a scope or a task.
        """
        connection = self._connection
        if connection.lives:
            await connection.opened()
            return self
        if not self.can_be_held:
            raise StateError(
                "here a Manager lives in a scope or in a task: `async with manager`, or `await nursery.start(manager.run)` "
                "(task_group.start, with anyio); open() is for one that lives already"
            )
        life = await self._hold()
        try:
            await connection.opened()
        except BaseException as error:
            await self._lease.end(life, error)
            raise
        return self

    open = connect

    async def close(self) -> Self:
        """Close the connection, and wait until all that was sent has left, at most `close_timeout`.

        If it is opened again meanwhile, as by a handler of `disconnect` that connects, the wait ends there.
        In its scope the Manager can be opened again. One that `open` or `run` gave life to ends: what has been received is
        still handled, then nothing is left. A handler that calls this does not wait for that, of which it is a part
        itself. To close what does not live is no error.
        """
        connection = self._connection
        connection.check_caller()
        if not await self._lease.close() and connection.lives:
            with connection.hub.runtime.lock:
                await connection.closed()
        return self

    async def _hold(self) -> Lifetime:
        """Begin a life that only `close` ends."""
        return await self._begin(lambda: None, is_held=True, ends_on_close=True)

    async def _begin(
        self, start: Callable[[], None], *, is_held: bool = False, ends_on_close: bool = False
    ) -> Lifetime:
        """Begin a life, with what `start` does."""
        connection = self._connection
        connection.check_whole()
        if connection.lives and not self._lease.is_taken:
            raise StateError(f"the Manager of {self.url} lives in the scope of connect() or open_io()")

        def move_in(life: Lifetime) -> None:
            connection.move_in(life, gated=self._gated)
            start()

        return await self._lease.begin(move_in, is_held=is_held, ends_on_close=ends_on_close)

    # The connection

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

    def socket(self, nsp: str = "/", **options: Unpack[SocketOptions]) -> Socket:
        """The Socket of a namespace. It connects in the background, unless `auto_connect` is False.

        The first call for a namespace makes it, with these options; later ones give the same, and connect it again if
        it is not active any more. Before the Manager lives, and after, it is connected as soon as that lives (again).

        Raises:
            OptionError: The name or an option cannot be used.
        """
        settings = socket_settings(options)
        connection = self._connection
        connection.check_caller()
        namespace = connection.machine.namespace(nsp, settings)
        socket = connection.sockets.get(namespace.name)
        if socket is None:
            socket = Socket(self, connection, namespace, settings, options)
            connection.add(socket)
        else:
            warn_of_ignored(f"the socket of {socket.nsp}", options, socket._options)
        if connection.auto_connect and not socket.active:
            socket._want()
        return socket

    # The options that may be set while running

    @property
    def reconnection(self) -> bool:
        """Whether to connect again by itself. Setting it to False also ends a wait for the next attempt."""
        return self._connection.machine.reconnection

    @reconnection.setter
    def reconnection(self, value: bool) -> None:
        self._connection.set("reconnection", value)

    @property
    def reconnection_attempts(self) -> float:
        """How often to try to connect again before giving up: a whole number, or `math.inf`."""
        return self._connection.machine.reconnection_attempts

    @reconnection_attempts.setter
    def reconnection_attempts(self, value: float) -> None:
        self._connection.set("reconnection_attempts", value)

    @property
    def reconnection_delay(self) -> float:
        """How many seconds to wait before the first attempt to connect again; each further wait is twice as long."""
        return self._connection.machine.reconnection_delay

    @reconnection_delay.setter
    def reconnection_delay(self, value: float) -> None:
        self._connection.set("reconnection_delay", value)

    @property
    def reconnection_delay_max(self) -> float:
        """The longest such wait, in seconds."""
        return self._connection.machine.reconnection_delay_max

    @reconnection_delay_max.setter
    def reconnection_delay_max(self, value: float) -> None:
        self._connection.set("reconnection_delay_max", value)

    @property
    def randomization_factor(self) -> float:
        """How far a wait may deviate from that, as a fraction of it."""
        return self._connection.machine.randomization_factor

    @randomization_factor.setter
    def randomization_factor(self, value: float) -> None:
        self._connection.set("randomization_factor", value)

    @property
    def timeout(self) -> float | None:
        """How many seconds opening the connection may take; None for no limit."""
        return self._connection.machine.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._connection.set("timeout", value)

    def _changing(self) -> AbstractContextManager[None]:
        self._connection.check_caller()
        return nullcontext()
