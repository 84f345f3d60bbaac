"""`Manager` and `Socket`: the API of a connection and of its namespaces, as in the JavaScript client.

The classes delegate to `core`. The blocking classes are generated from this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar, Unpack

from ..handlers.event_type import EventType
from ..protocol.options import RunningOptions
from ..protocol.statistics import Statistics
from ..protocol.url import redacted
from ..running.context import AsyncContext
from ..running.event_stream import Event
from ..running.flags import PLAIN
from ..running.options import options_by_name
from ..running.unawaited import must_be_awaited
from ..runtime.interface import RuntimeScope
from .core.manager import ManagerCore
from .core.socket import SocketCore
from .emitter import Emitter, EventStream
from .engine import Engine
from .options import Auth, ManagerOptions, SocketOptions
from .registration import AnyHandlerRegistration, HandlerRegistration
from .run.disconnection import Disconnection
from .run.scope import Host
from .run.session import SessionRun


class Socket(Emitter, AnyHandlerRegistration):
    """One namespace of a connection. Created by `connect`, `io` and `Manager.socket`.

    The events of a Socket that the client itself emits are connect(), connect_error(error), disconnect(reason, details). Their
    handlers may be called late. One that requires one parameter more receives a `SocketState`, the state at the event.
    """

    _flags = PLAIN

    def __init__(self, core: SocketCore, manager: Manager) -> None:
        self._manager = manager
        self._core = core
        self._handlers = core.spec.handlers

    def __repr__(self) -> str:
        state = "connected" if self.connected else "active" if self.active else "inactive"
        return f"<Socket {self.nsp} of {redacted(self.io.url)}, {state}>"

    @property
    def io(self) -> Manager:
        """The Manager of the connection, which the sockets of all its namespaces share."""
        return self._manager

    @property
    def nsp(self) -> str:
        """The namespace's name, such as "/" or "/chat"."""
        return self._core.spec.name

    @property
    def connected(self) -> bool:
        """Whether the namespace is connected."""
        return self._core.spec.namespace.connected

    @property
    def disconnected(self) -> bool:
        """Whether the namespace is not connected."""
        return not self._core.spec.namespace.connected

    @property
    def active(self) -> bool:
        """Whether the application wants the socket connected. `close_reason` says whether the client still tries to.

        It becomes False by `disconnect`, at the end of the Manager's block, and when the server refuses or disconnects the
        socket. It stays True when the client gives up: with `reconnection=False`, after the last attempt, and after
        `Manager.close` or a cancellation.
        """
        return self._core.spec.namespace.active

    @property
    def close_reason(self) -> Disconnection | None:
        """How the socket was disconnected. None while it is connected, or connects for the first time or after `connect`.

        It has a `reason`, `details` (an exception or None), and `final`: whether the client has stopped trying to connect.
        """
        return self._core.close_reason

    @property
    def id(self) -> str | None:
        """The id that the server assigned to the socket. None while disconnected; usually a new id after each reconnection."""
        return self._core.spec.namespace.sid

    @property
    def recovered(self) -> bool:
        """Whether the server has restored the previous session, so that no events were missed (connection state recovery)."""
        return self._core.spec.namespace.recovered

    @property
    def auth(self) -> Auth:
        """The credentials to send when connecting: a mapping, or a function that returns it.

        A new value is used from the next connection on.
        """
        return self._core.spec.auth

    @auth.setter
    def auth(self, value: Auth) -> None:
        self._core.set_auth(value)

    @must_be_awaited
    async def connect(self) -> Self:
        """Connect the namespace, and wait until it is connected. Retry according to the `reconnection` options.

        Raises:
            ConnectError: The server refused the namespace, or no attempts are left.
            DisconnectedError: `disconnect` was called meanwhile, or the Manager has been stopped.
            StateError: The Manager is not running.
        """
        await self._core.connect()
        return self

    open = connect

    def connect_nowait(self) -> Self:
        """Connect the namespace in the background, without waiting. For handlers that are plain functions.

        Raises:
            DisconnectedError: The Manager has been stopped.
            StateError: The Manager is not running.
        """
        with self._core.link.lock:
            self._core.begin()
        return self

    @must_be_awaited
    async def disconnect(self) -> Self:
        """Disconnect the namespace, without waiting. The connection is closed if no other namespace is active."""
        return self.disconnect_nowait()

    close = disconnect

    def disconnect_nowait(self) -> Self:
        """Disconnect the namespace like `disconnect`. For handlers that are plain functions."""
        with self._core.link.lock:
            self._core.disconnect()
        return self

    @must_be_awaited
    async def wait_connected(self) -> None:
        """Wait until the namespace is connected. Return at once if it is.

        Raises:
            ConnectError: The server refused the namespace, or no attempts are left.
            DisconnectedError: The socket is neither connected nor connecting. `reason` and `__cause__` are those of its end.
            StateError: The Manager is not running.
        """
        await self._core.wait_connected()

    @must_be_awaited
    async def wait_closed(self) -> None:
        """Wait until the socket is disconnected and the client does not reconnect it.

        Return if the application has disconnected the socket or closed the Manager, also if that was before the call, and if
        the socket has never tried to connect.

        Raises:
            DisconnectedError: The socket was disconnected for another reason: by the server, because the server refused it,
                because no attempts to connect are left, or because the handlers are too slow. `reason` says why, `__cause__`
                is the error that caused it, if any.
            StateError: The Manager is not running, and connects the socket when it is started.
        """
        await self._core.wait_closed()

    @must_be_awaited
    async def wait_for(self, event: EventType[Any, Any] | str | float, *, timeout: float | None = None) -> Event:
        """Wait for the next event of this name, and return it. Its values are `args`; it is acknowledged by `ack(*values)`.

        It returns as soon as the event is received, before the handlers of this and of earlier events are called. Several
        callers that wait for the same event all receive it. An event that arrives while nobody waits is not kept: to miss
        none, receive them by `events()`. If the server requested an acknowledgement, no empty one is sent.

        Args:
            event: The event's name.
            timeout: How many seconds to wait, or None for no limit.

        Raises:
            TimeoutError: The event did not arrive within `timeout` seconds.
            ConnectError: The server refused the namespace, or no attempts are left.
            DisconnectedError: The socket was disconnected, and the client does not reconnect; or it is not connecting.
            OptionError: The name or the timeout is invalid.
            StateError: The Manager is not running.
        """
        return await self._core.wait_for(event, timeout)

    def drop_buffered(self) -> int:
        """Drop the events that have not been sent, and return how many: JavaScript's `socket.sendBuffer = []`.

        These are the events that were emitted while the socket was not connected, and with `retries` also those behind the
        event in flight. An event that has been sent is still retried. `emit_with_ack` raises DisconnectedError for a dropped
        event; a callback with a time limit receives it.
        """
        return self._core.drop_buffered()

    def events(self) -> EventStream:
        """Return a stream of the server's events: `async with socket.events() as events: async for event in events: …`.

        An event has a `name`, `args`, and `ack(*values)`. While a stream is open, no empty acknowledgements are sent: the
        consumer of the stream acknowledges the events that no handler has acknowledged.

        The stream and the queue of the handlers together hold at most `inbox_events` events, or `inbox_bytes`. If the
        consumer does not keep up, the connection is closed with an `InboxOverflow`, as with handlers that are too slow.

        Raises:
            DisconnectedError: The Manager has been stopped.
            StateError: The Manager is not running.
        """
        return EventStream(
            self._core.events("write `async with socket.events() as events: async for event in events: …`")
        )

    def _registering(self) -> AbstractContextManager[Any]:
        self._core.link.check_caller()
        return self._core.link.lock


class TaskStatus(Protocol):
    """The type of the `task_status` that `Nursery.start` of trio and `TaskGroup.start` of anyio pass."""

    def started(self, value: Any, /) -> None: ...


class _Ignored:
    """The default `task_status` of `Manager.run`, which ignores the notification."""

    def started(self, value: Any, /) -> None:
        pass


_IGNORED: Final = _Ignored()


class ManagerBase(RunningOptions, HandlerRegistration):
    """Base class of `Manager`: the core, the handlers and the options that can be set while running."""

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


class Manager(ManagerBase, AsyncContext):
    """A connection to a server, which the sockets of several namespaces share.

    There are several ways to run a Manager:

    - in a block: `async with Manager(url, **options) as manager`;
    - in your nursery or task group: `await nursery.start(manager.run)`, until it is cancelled or closed;
    - with asyncio, from `await manager.open()` to `await manager.close()`, which different tasks may call.

    When a Manager stops, it disconnects, and all of its tasks, threads and streams end. It can be started again. Sockets can
    be created and handlers registered before it is started; they are kept when it stops.

    With `async with` or `run` the connection is opened in the background, unless `auto_connect` is False.

    The events of a Manager are open(), error(error), close(reason, details), ping(), reconnect_attempt(number),
    reconnect(number), reconnect_error(error), reconnect_failed(). Their handlers start in order and then run concurrently,
    so they may wait for anything.

    Args:
        url: The server's URL, such as "http://localhost:3000".
        options: See `ManagerOptions`.

    Raises:
        OptionError: The URL or an option is invalid.
    """

    runtime_scope: ClassVar[RuntimeScope]
    """Creates the runtime of each run. Set by the driver."""

    _usage = "Manager(url)"

    can_be_held: ClassVar[bool] = False
    """Whether `open` can start the Manager and `close` stop it, even in another task. False if tasks belong to a nursery."""

    @options_by_name
    def __init__(self, url: str, **options: Unpack[ManagerOptions]) -> None:
        super().__init__(new_core(type(self), url, options))

    def __repr__(self) -> str:
        return f"<Manager of {self._core.blueprint.url}, {self._core.blueprint.machine.state}>"

    async def __aenter__(self) -> Self:
        await self._core.start(Host.BLOCK)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._core.end(error)

    async def run(self, *, task_status: TaskStatus = _IGNORED) -> None:
        """Run the Manager in the current task until `close` is called or the task is cancelled.

        Use it with `await nursery.start(manager.run)` in trio, with `await task_group.start(manager.run)` in anyio. Both
        return the Manager when it is running.

        Raises:
            StateError: The Manager is already running.
        """
        await self._core.run(lambda: task_status.started(self))

    @must_be_awaited
    async def connect(self) -> Self:
        """Open the connection and wait until it is open. If the attempt fails, the client does not retry.

        With asyncio, a Manager that is not running is started, and runs until `close` is called. If the connection cannot
        be opened, or the call is cancelled, the Manager is stopped again.

        Raises:
            ConnectError: The connection could not be opened. `__cause__` is the failure.
            DisconnectedError: The connection was closed meanwhile.
            StateError: The Manager is not running, and in this runtime it must run in a block or a task.
        """
        await self._core.open()
        return self

    open = connect

    @must_be_awaited
    async def close(self) -> Self:
        """Send what is buffered, close the connection, and wait until it is closed, for at most `close_timeout`.

        If the connection is opened again meanwhile, for example by a `disconnect` handler, `close` returns. A Manager that
        runs as a context manager stays running and can be opened again. A Manager that was started by `open` or `run` is
        stopped after all received events have been handled. If a handler calls `close`, the call does not wait for the stop,
        which itself waits for the handler. Do nothing if the Manager is not running.
        """
        await self._core.close()
        return self

    @property
    def url(self) -> str:
        """The server's URL."""
        return self._core.url

    @property
    def engine(self) -> Engine | None:
        """The current Engine.IO session, or else the last one; None before the first one. Each session has its own object."""
        session = self._core.session()
        if session is None:
            return None
        if self._engine is None or self._engine[0] is not session:
            self._engine = (session, Engine(session, self._core))
        return self._engine[1]

    def statistics(self) -> Statistics:
        """Return the counters since the Manager was created, and the current sizes of its queues."""
        return self._core.statistics()

    def socket(self, nsp: str = "/", **options: Unpack[SocketOptions]) -> Socket:
        """Return the Socket of a namespace. It connects in the background, unless `auto_connect` is False.

        The first call for a namespace creates the Socket with these options. Later calls return the same Socket, and connect
        it if it is not active. If the Manager is not running, the Socket connects when the Manager is started.

        Raises:
            OptionError: The name or an option is invalid.
        """
        return public_socket(self._core.socket(nsp, options), self)


M = TypeVar("M", bound=Manager)


def new_core(manager_class: type[Manager], url: str, options: Mapping[str, Any]) -> ManagerCore:
    """Create the core of a Manager."""
    return ManagerCore(
        url,
        options,
        runtime_scope=manager_class.runtime_scope,
        lock=nullcontext(),
        can_be_held=manager_class.can_be_held,
    )


def public_socket(core: SocketCore, manager: Manager) -> Socket:
    """Return the Socket of a core. Each core has one Socket."""
    if core.public is None:
        core.public = Socket(core, manager)
    socket: Socket = core.public
    return socket


def wrap_core(manager_class: type[M], core: ManagerCore) -> M:
    """Create a Manager that delegates to an existing core."""
    manager = manager_class.__new__(manager_class)
    ManagerBase.__init__(manager, core)
    return manager
