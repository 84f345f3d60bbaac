"""The Manager and its Sockets: a connection and its namespaces, as an application uses them (JavaScript's Manager and Socket).

The classes are faces of `core`. The blocking ones are generated from this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar, Unpack

from ..protocol.options import RunningOptions
from ..protocol.statistics import Statistics
from ..runtime.interface import RuntimeScope
from .core.manager import Host, ManagerCore
from .core.socket import SocketCore
from .emitter import Emitter, EventStream
from .engine import Engine
from .handlers.registration import AnyHandlerRegistration, HandlerRegistration
from .options import Auth, ManagerOptions, SocketOptions
from .run.namespace import PLAIN
from .run.session import SessionRun
from .run.unawaited import must_be_awaited


class Socket(Emitter, AnyHandlerRegistration):
    """One namespace of a connection. Made by `connect`, `io` and `Manager.socket`.

    Attributes:
        io: The Manager, whose connection the socket shares with those of other namespaces.
    """

    _flags = PLAIN

    def __init__(self, core: SocketCore, manager: Manager) -> None:
        self.io = manager
        self._core = core
        self._handlers = core.spec.handlers

    def __repr__(self) -> str:
        state = "connected" if self.connected else "active" if self.active else "inactive"
        return f"<Socket {self.nsp} of {self.io.url}, {state}>"

    @property
    def nsp(self) -> str:
        """The namespace's name, such as "/" or "/chat"."""
        return self._core.spec.name

    @property
    def connected(self) -> bool:
        """Whether the server has accepted the namespace."""
        return self._core.spec.namespace.connected

    @property
    def disconnected(self) -> bool:
        """The opposite of `connected`."""
        return not self._core.spec.namespace.connected

    @property
    def active(self) -> bool:
        """Whether the namespace is connected, or will be as soon as there is a connection."""
        return self._core.spec.namespace.active

    @property
    def id(self) -> str | None:
        """The id that the server gave this connection of the namespace; None while disconnected. A new one each time."""
        return self._core.spec.namespace.sid

    @property
    def recovered(self) -> bool:
        """Whether the server restored the previous session, so that no event was missed (connection state recovery)."""
        return self._core.spec.namespace.recovered

    @property
    def auth(self) -> Auth:
        """What is sent when connecting: a mapping, or a function that is called each time. Setting it affects the next time."""
        return self._core.spec.auth

    @auth.setter
    def auth(self, value: Auth) -> None:
        self._core.set_auth(value)

    @must_be_awaited
    async def connect(self) -> Self:
        """Connect, and wait until the server has accepted. Failed attempts are repeated as the `reconnection` options say.

        Raises:
            ConnectError: The server refused, or there are no more attempts.
            DisconnectedError: `disconnect` was called meanwhile, or the connection has been stopped.
            StateError: The Manager is not running.
        """
        await self._core.connect()
        return self

    open = connect

    def connect_nowait(self) -> Self:
        """Connect in the background. For handlers that are plain functions.

        Raises:
            DisconnectedError: The connection has been stopped.
            StateError: The Manager is not running.
        """
        with self._core.link.lock:
            self._core.begin()
        return self

    @must_be_awaited
    async def disconnect(self) -> Self:
        """Disconnect from the namespace. The connection is closed when no other namespace needs it. Does not wait."""
        return self.disconnect_nowait()

    close = disconnect

    def disconnect_nowait(self) -> Self:
        """Disconnect as `disconnect` does. For handlers that are plain functions."""
        with self._core.link.lock:
            self._core.disconnect()
        return self

    @must_be_awaited
    async def wait_connected(self) -> None:
        """Wait until the server has accepted; return at once if it has.

        Raises:
            ConnectError: The server refused, or there are no more attempts.
            DisconnectedError: Nothing tries to connect.
            StateError: The Manager is not running.
        """
        await self._core.wait_connected()

    @must_be_awaited
    async def wait_closed(self) -> None:
        """Wait until the socket is disconnected and nothing tries to reconnect it; return at once if that is so."""
        await self._core.wait_closed()

    def events(self) -> EventStream:
        """Return the server's events as a stream: `async with socket.events() as events: async for event in events: …`.

        Each has a `name`, `args`, and `ack(*values)`. While a stream is open, no empty acknowledgement is sent for an event
        that no handler acknowledges with a value: that is up to the consumer of the stream.

        Raises:
            DisconnectedError: The connection has been stopped.
            StateError: The Manager is not running.
        """
        return EventStream(
            self._core.events("write `async with socket.events() as events: async for event in events: …`")
        )

    def _registering(self) -> AbstractContextManager[Any]:
        self._core.link.check_caller()
        return self._core.link.lock


class TaskStatus(Protocol):
    """What `Nursery.start` of trio and `TaskGroup.start` of anyio pass to the function that they start."""

    def started(self, value: Any, /) -> None: ...


class _Ignored:
    """The `TaskStatus` of a task that nobody waits for."""

    def started(self, value: Any, /) -> None:
        pass


_IGNORED: Final = _Ignored()


class ManagerFace(RunningOptions, HandlerRegistration):
    """What a Manager has before its run is of any concern."""

    def __init__(self, core: ManagerCore) -> None:
        self._core = core
        self._handlers = core.blueprint.handlers
        self._engine: tuple[SessionRun, Engine] | None = None

    def _get_option(self, name: str) -> Any:
        return self._core.get_option(name)

    def _set_option(self, name: str, value: Any) -> None:
        self._core.set_option(name, value)

    def _registering(self) -> AbstractContextManager[Any]:
        self._core.link.check_caller()
        return self._core.link.lock


class Manager(ManagerFace):
    """A connection to a server, which the sockets of several namespaces share.

    It runs

    - in a block: `async with Manager(url, **options) as manager`;
    - in a nursery or task group of yours: `await nursery.start(manager.run)`, until it is cancelled or closed;
    - with asyncio also from `await manager.open()` to `await manager.close()`, which may be in different tasks.

    When it stops, everything is disconnected and nothing is left behind. It may be started again. Sockets can be made and
    handlers registered before it is started; they stay when it stops.

    In a block or a task the connection is opened in the background, unless `auto_connect` is False.

    Its events: open(), error(error), close(reason, details), ping(), reconnect_attempt(number), reconnect(number),
    reconnect_error(error), reconnect_failed(). Their handlers start in order and run concurrently after that, so they may
    wait for anything.

    Args:
        url: The server's URL, such as "http://localhost:3000".
        options: See `ManagerOptions`.

    Raises:
        OptionError: The URL or an option is invalid.
    """

    runtime_scope: ClassVar[RuntimeScope]
    """Makes the runtime of each run. Each driver's subclass has its own."""

    can_be_held: ClassVar[bool] = False
    """Whether `open` may start a run that `close` ends, also in another task. Not where tasks belong to a scope."""

    def __init__(self, url: str, **options: Unpack[ManagerOptions]) -> None:
        super().__init__(new_core(type(self), url, options))

    def __repr__(self) -> str:
        return f"<Manager of {self.url}, {self._core.blueprint.machine.state}>"

    async def __aenter__(self) -> Self:
        await self._core.start(Host.BLOCK)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._core.end(error)

    async def run(self, *, task_status: TaskStatus = _IGNORED) -> None:
        """Run in the present task until `close` is called. If the task is cancelled, end at once.

        With trio `await nursery.start(manager.run)`, with anyio `await task_group.start(manager.run)`: they return the
        Manager when it has been started.

        Raises:
            StateError: It is running already.
        """
        await self._core.run(lambda: task_status.started(self))

    @must_be_awaited
    async def connect(self) -> Self:
        """Open the connection and wait until it is open. A failure starts no reconnection.

        With asyncio a Manager that is not running is started, and runs until `close` is called. If the connection cannot
        be opened, or this is cancelled, it is stopped again.

        Raises:
            ConnectError: The connection could not be opened; the failure is the cause.
            DisconnectedError: It was closed meanwhile.
            StateError: The Manager is not running, and the driver's runtime wants it to run in a block or a task.
        """
        await self._core.open()
        return self

    open = connect

    @must_be_awaited
    async def close(self) -> Self:
        """Close the connection, and wait until all that was emitted has been sent, for at most `close_timeout`.

        If it is opened again meanwhile, for example by a handler of `disconnect`, the wait ends there. In a block the
        connection can be opened again. A Manager that was started by `open` or `run` is stopped: what has been received is
        still handled, then nothing is left. A handler that calls this does not wait for that, because it is a part of it.
        Closing a Manager that is not running does nothing.
        """
        await self._core.close()
        return self

    @property
    def url(self) -> str:
        """The server's URL."""
        return self._core.url

    @property
    def engine(self) -> Engine | None:
        """The Engine.IO session; None if there is none. Each session has an object of its own."""
        session = self._core.session()
        if session is None:
            return None
        if self._engine is None or self._engine[0] is not session:
            self._engine = (session, Engine(session, self._core))
        return self._engine[1]

    def statistics(self) -> Statistics:
        """Return what has been counted since the Manager was made, and how much is pending now."""
        return self._core.statistics()

    def socket(self, nsp: str = "/", **options: Unpack[SocketOptions]) -> Socket:
        """Return the Socket of a namespace. It connects in the background, unless `auto_connect` is False.

        The first call for a namespace makes it, with these options. Later calls return the same one, and connect it again
        if it is not active. If the Manager is not running, it is connected as soon as it is started.

        Raises:
            OptionError: The name or an option is invalid.
        """
        return face_of(self._core.socket(nsp, options), self)


M = TypeVar("M", bound=Manager)


def new_core(manager_class: type[Manager], url: str, options: Mapping[str, Any]) -> ManagerCore:
    """Return the core of a new Manager of a driver."""
    return ManagerCore(
        url,
        options,
        runtime_scope=manager_class.runtime_scope,
        lock=nullcontext(),
        can_be_held=manager_class.can_be_held,
    )


def face_of(core: SocketCore, manager: Manager) -> Socket:
    """Return the Socket of a core; the same one each time."""
    if core.face is None:
        core.face = Socket(core, manager)
    face: Socket = core.face
    return face


def around(manager_class: type[M], core: ManagerCore) -> M:
    """Return a Manager that is the face of an existing core."""
    manager = manager_class.__new__(manager_class)
    ManagerFace.__init__(manager, core)
    return manager
