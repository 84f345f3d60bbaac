"""The same API for threads, without `await`: each method runs the coroutine of the same name on the caller's thread.

Rules of this file:

- Nothing is done twice: an object here holds its counterpart of `socket` or `manager`, and drives its coroutines, which
  never suspend, since the blocking runtime's `wait` blocks the thread.
- Whoever enters client code holds the runtime's lock.
- Every call that may block takes `timeout=`, in seconds: the longest that this call takes. It raises TimeoutError then.
  (`socket.timeout(seconds)` is a view, as in the other drivers: how long the server may take to acknowledge.)
- A socket's gate opens when the thread that made it makes a call that may block, when anybody makes one through that
  socket, or when `SETTLED` seconds have passed since its last handler was registered: a thread that waits for
  something else does not keep its handlers waiting for long.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, ParamSpec, Self, TypeVar, Unpack, cast

from ..protocol.errors import AckTimeout
from ..protocol.packets.socketio import PROTOCOL
from ..protocol.statistics import Statistics
from ..runtime.futures import EventFuture
from ..runtime.interface import BlockingRuntime, BlockingRuntimeScope, Handler, Timer
from . import engine as async_engine
from . import manager as async_manager
from . import scopes as async_scopes
from . import socket as async_socket
from .dispatch import Dispatcher, Event
from .dispatch import EventStream as AsyncEventStream
from .engine import EngineTransport
from .lifetime import Lifetime
from .listeners import Listening, ListeningToAny
from .options import Auth, IOOptions, ManagerOptions, Options, SocketOptions

C = TypeVar("C")
T = TypeVar("T")
P = ParamSpec("P")

SETTLED: Final = 1.0


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    coroutine.close()
    raise RuntimeError("the blocking runtime suspended a coroutine instead of blocking its thread")


async def _until_over(life: Lifetime) -> None:
    """Wait until another thread has ended a life: longer than its runtime, of which that is the end, lets anybody wait."""
    with life.runtime.lock:
        while not life.over.done:
            cast("EventFuture[Any]", life.over).event.wait()


class Gate:
    """What holds the handlers of a socket, or of a Manager, back until they are all registered."""

    _of_this_thread: ClassVar[ContextVar[tuple[Gate, ...]]] = ContextVar("gates", default=())

    def __init__(self, runtime: BlockingRuntime, *dispatchers: Dispatcher) -> None:
        self.runtime = runtime
        self._dispatchers = dispatchers
        self._timer: Timer | None = None
        if not self.is_open:
            self._of_this_thread.set((*self._of_this_thread.get(), self))

    @property
    def is_open(self) -> bool:
        """Whether handlers may be called."""
        return all(dispatcher.is_open for dispatcher in self._dispatchers)

    def open(self) -> None:
        """Let them be called."""
        for dispatcher in self._dispatchers:
            dispatcher.open_gate()
        if self._timer is not None:
            self._timer.set(None)

    def open_soon(self) -> None:
        """Open by itself when nothing more is registered for a while."""
        if not self.is_open:
            if self._timer is None:
                self._timer = self.runtime.timer(self.open)
            self._timer.set(self.runtime.now() + SETTLED)

    @classmethod
    def open_those_of_this_thread(cls, runtime: BlockingRuntime) -> None:
        """Open the gates of what this thread has made on a runtime."""
        gates = cls._of_this_thread.get()
        if gates:
            for gate in gates:
                if gate.runtime is runtime:
                    gate.open()
            cls._of_this_thread.set(tuple(gate for gate in gates if not gate.is_open))


class Caller:
    """How the calling thread enters client code.

    Args:
        lock: The lock of all the lives of the Manager.
    """

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self.runtime: BlockingRuntime | None = None
        self._lock = lock
        self._gate: Gate | None = None
        self._has_handlers = False

    def move_in(self, runtime: BlockingRuntime, *dispatchers: Dispatcher) -> None:
        """A life begins."""
        self.runtime = runtime
        self._gate = Gate(runtime, *dispatchers)
        if self._has_handlers:
            self._gate.open_soon()

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """What whoever enters holds."""
        return self._lock if self.runtime is None else self.runtime.lock  # which refuses a forked child

    def __call__(
        self,
        function: Callable[P, Coroutine[Any, Any, T]],
        timeout: float | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run the coroutine of a call that may block, for at most `timeout` seconds."""
        with self.lock:
            runtime, gate = self.runtime, self._gate
            if runtime is None or gate is None:
                return drive(function(*args, **kwargs))
            with runtime.deadline(timeout):
                gate.open()
                Gate.open_those_of_this_thread(runtime)
                return drive(function(*args, **kwargs))

    @contextmanager
    def changing(self) -> Generator[None, None, None]:
        """Enter to change handlers."""
        with self.lock:
            yield
            self._has_handlers = True
            if self._gate is not None:
                self._gate.open_soon()


class Emitter:
    """What sends events: a Socket, or a view of one that sends with flags."""

    _core: async_socket.Emitter
    _call: Caller

    @property
    def volatile(self) -> Emitter:
        """A view whose events are dropped where the connection cannot take them at once."""
        return _View(self._core.volatile, self._call)

    def compress(self, value: bool) -> Emitter:
        """A view whose events may be compressed, or not (where the transport compresses at all)."""
        return _View(self._core.compress(value), self._call)

    def timeout(self, seconds: float | None) -> Emitter:
        """A view whose acknowledgements are awaited for so many seconds; None for no limit.

        It takes the place of the option `ack_timeout`.
        """
        return _View(self._core.timeout(seconds), self._call)

    def emit(self, event: str | float, *values: Any, ack: Handler | None = None, timeout: float | None = None) -> None:
        """Send an event, or have it sent as soon as the namespace is joined.

        Waits while too much is on its way already; an emit that is interrupted then was not sent.

        Args:
            event: The event's name.
            values: What JSON can hold, dataclasses and pydantic models, and bytes, bytearray and memoryview anywhere in it.
            ack: Called with the server's acknowledgement: `ack(*values)`, or `ack(error, *values)` where there is a
                timeout for it; `error` is None, AckTimeout or DisconnectedError. It gets as many as it can take.
            timeout: How many seconds to wait until there is room. (For how long to wait for the acknowledgement, see
                the method `timeout`.)

        Raises:
            TimeoutError: There was no room within `timeout` seconds; nothing was sent.
            OptionError: The name is reserved.
            PacketError: A value cannot be sent.
            BufferFullError: Too much waits for the connection already.
            DisconnectedError: The scope is over.
        """
        self._call(self._core.emit, timeout, event, *values, ack=ack)

    def emit_nowait(self, event: str | float, *values: Any, ack: Handler | None = None) -> None:
        """As `emit`, but however much is on its way already."""
        with self._call.lock:
            self._core.emit_nowait(event, *values, ack=ack)

    def send(self, *values: Any, ack: Handler | None = None, timeout: float | None = None) -> None:
        """Send the event "message": `emit("message", *values)`."""
        self._call(self._core.send, timeout, *values, ack=ack)

    def emit_with_ack(self, event: str | float, *values: Any, timeout: float | None = None) -> Any:
        """Send an event, and wait for the server's acknowledgement.

        It may return before events that the server sent earlier have been handled: those wait for their turn. If it is
        interrupted, the event is withdrawn if it has not been sent yet.

        Args:
            event: The event's name.
            values: As in `emit`.
            timeout: How many seconds the call may take, besides the timeout for the acknowledgement.

        Returns:
            The value that the server gave; None if it gave none, a tuple if it gave several.

        Raises:
            AckTimeout: It did not come in time.
            DisconnectedError: The connection ended before it came.
            OptionError, PacketError, BufferFullError: As in `emit`.
        """
        try:
            return self._call(self._core.emit_with_ack, timeout, event, *values)
        except AckTimeout:
            raise
        except TimeoutError:
            raise AckTimeout(f"event {event!r} was not acknowledged within {timeout} seconds") from None


class _View(Emitter):
    """A Socket, seen with flags."""

    def __init__(self, core: async_socket.Emitter, call: Caller) -> None:
        self._core = core
        self._call = call


class EventStream:
    """The events of a namespace as a stream: a context manager that is also the iterator.

    It has the events that are dispatched while it is entered, before the handlers get them. It ends when the socket is
    closed, or nothing tries to connect it any more.
    """

    def __init__(self, core: AsyncEventStream, call: Caller, timeout: float | None) -> None:
        self._core = core
        self._call = call
        self._timeout = timeout

    def __enter__(self) -> Self:
        self._call(self._core.__aenter__, None)
        return self

    def __exit__(self, *exception: object) -> None:
        self._call(self._core.__aexit__, None, *exception)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return self._call(self._core.__anext__, self._timeout)
        except StopAsyncIteration:
            raise StopIteration from None


class Socket(Emitter, ListeningToAny):
    """A namespace of the connection. Made by `connect`, `io` and `Manager.socket`.

    Its handlers are plain functions. They are called by a thread of the socket, one after the other.

    Attributes:
        io: The Manager, whose connection the socket shares with those of other namespaces.
    """

    def __init__(self, core: async_socket.Socket, manager: Manager) -> None:
        self.io = manager
        self._core = self._socket = core
        self._listeners = core._listeners
        self._call = Caller(manager._lock)
        if core._connection.lives:
            self._moved_in()

    def __repr__(self) -> str:
        return repr(self._socket)

    @property
    def nsp(self) -> str:
        """The namespace's name, such as "/" or "/chat"."""
        return self._socket.nsp

    @property
    def connected(self) -> bool:
        """Whether the server has joined us."""
        return self._socket.connected

    @property
    def disconnected(self) -> bool:
        """Whether it has not."""
        return self._socket.disconnected

    @property
    def active(self) -> bool:
        """Whether the namespace is wanted: joined, or to be joined as soon as the connection is there."""
        return self._socket.active

    @property
    def id(self) -> str | None:
        """The id that the server knows this namespace's session by; None while disconnected. A new one each time."""
        return self._socket.id

    @property
    def recovered(self) -> bool:
        """Whether the last join restored the session before, so that nothing was missed (connection state recovery)."""
        return self._socket.recovered

    @property
    def auth(self) -> Auth:
        """What is sent when joining: a mapping, or a function that is asked each time. What is set counts from then on."""
        return self._socket.auth

    @auth.setter
    def auth(self, value: Auth) -> None:
        with self._call.lock:
            self._socket.auth = value

    def connect(self, *, timeout: float | None = None) -> Self:
        """Connect, and wait until the server has joined us. Failed attempts are repeated as `reconnection` says.

        Args:
            timeout: How many seconds to wait; the attempts go on in the background after that.

        Raises:
            TimeoutError: It took longer.
            ConnectError: The server refused, or there are no more attempts.
            DisconnectedError: `disconnect` was called meanwhile, or the scope is over.
        """
        self._call(self._socket.connect, timeout)
        return self

    open = connect

    def disconnect(self) -> Self:
        """Leave the namespace. The connection closes when no other needs it. Waits for nothing, handlers included."""
        self._call(self._socket.disconnect, None)
        return self

    close = disconnect

    def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until the server has joined us; return at once if it has.

        Raises:
            TimeoutError: It took longer than `timeout` seconds.
            ConnectError: The server refused, or there are no more attempts.
            DisconnectedError: Nothing tries to connect.
        """
        self._call(self._socket.wait_connected, timeout)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the socket is disconnected and nothing tries to connect it again; return at once if it is so.

        Raises:
            TimeoutError: It took longer than `timeout` seconds.
        """
        self._call(self._socket.wait_closed, timeout)

    def events(self, *, timeout: float | None = None) -> EventStream:
        """The server's events as a stream: `with socket.events() as events: for event in events: …`.

        Each has a `name`, `args`, and `ack(*values)`. While a stream is open, an event that no handler acknowledges with
        a value is the stream's consumer's to acknowledge: no empty acknowledgement is sent.

        Args:
            timeout: How many seconds to wait for each event, before TimeoutError is raised; the stream goes on if it
                is iterated again.
        """
        return EventStream(self._socket.events(), self._call, timeout)

    def _changing(self) -> AbstractContextManager[None]:
        return self._call.changing()

    def _moved_in(self) -> None:
        """A life of the Manager begins."""
        connection = self._socket._connection
        runtime = cast("BlockingRuntime", connection.hub.runtime)
        self._call.move_in(runtime, connection.dispatcher, self._socket._dispatcher)


class Engine(Listening):
    """The Engine.IO session beneath a connection. The Manager has it: `manager.engine`.

    Its events: open(), upgrading(transport), upgrade(transport), upgrade_error(error), packet(packet),
    packet_create(packet), flush(), drain(), close(reason, details). A packet has a `type` ("open", "close", "ping",
    "pong", "message", "upgrade" or "noop") and `data`; a transport has a `name`. Those that come or go with each packet
    (packet, packet_create, flush, drain) cost nothing as long as nobody listens to them.
    """

    def __init__(self, core: async_engine.Engine, manager: Manager) -> None:
        self._core = core
        self._listeners = core._listeners
        self._manager = manager

    def __repr__(self) -> str:
        return repr(self._core)

    @property
    def id(self) -> str | None:
        """The session's id; None before its handshake is done, and when it is closed."""
        return self._core.id

    @property
    def transport(self) -> EngineTransport:
        """The transport in use, by its `name`."""
        return self._core.transport

    def close(self, *, timeout: float | None = None) -> Self:
        """Close the session once all that was sent has left, and wait for that, at most `close_timeout`.

        The connection ends for the reason "forced close". If `reconnection` is on, the Manager opens another one; to
        close it for good, close the Manager. What is sent while the session closes is lost.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; it goes on in the background.
        """
        self._manager._call(self._core.close, timeout)
        return self

    @contextmanager
    def _changing(self) -> Generator[None, None, None]:
        with self._manager._changing(), self._core._changing():
            yield


class Manager(Listening):
    """A connection to a server, which the sockets of several namespaces share.

    It lives in a scope, `with Manager(url, **options) as manager`; or from `manager.open()` to `manager.close()`, which may
    be called from different threads. When it ends everything is disconnected, and nothing is left. It may live again after
    that. Sockets can be made, and handlers registered, before it lives; they stay when it ends.

    In a scope the connection is opened in the background, unless `auto_connect` is False.

    Its events: open(), error(error), close(reason, details), ping(), reconnect_attempt(number), reconnect(number),
    reconnect_error(error), reconnect_failed().

    Args:
        url: Where the server is, such as "http://localhost:3000".
        options: See `ManagerOptions`.

    Raises:
        OptionError: The URL or an option cannot be used.
    """

    counterpart: ClassVar[type[async_manager.Manager]]
    """The driver's subclass has it: the class that does the work, with the driver's runtime, a `BlockingRuntimeScope`."""

    @staticmethod
    def make_lock() -> AbstractContextManager[Any]:
        """Make the lock that all lives of a Manager have, so that a thread may enter whichever it finds. It has this, too."""
        return nullcontext()

    def __init__(self, url: str, **options: Unpack[ManagerOptions]) -> None:
        self._wrap(self.counterpart(url, **options), self.make_lock())

    def _wrap(self, core: async_manager.Manager, lock: AbstractContextManager[Any]) -> None:
        self._core = core
        self._listeners = core._listeners
        self._sockets: dict[async_socket.Socket, Socket] = {}
        self._engine: Engine | None = None
        self._lock = lock
        self._call = Caller(lock)
        core._gated = True
        core._lease.runtime_scope = partial(cast("BlockingRuntimeScope", self.counterpart.runtime_scope), lock)
        core._lease.drive = drive
        core._lease.until_over = _until_over
        core._connection.moved_in = self._moved_in

    @classmethod
    def _around(cls, core: async_manager.Manager) -> Self:
        """The Manager for its counterpart, which lives already."""
        manager = cls.__new__(cls)
        manager._wrap(core, core._connection.hub.runtime.lock)
        manager._moved_in()
        return manager

    def __repr__(self) -> str:
        return repr(self._core)

    # Its lives

    def __enter__(self) -> Self:
        drive(self._core.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._open_gates()
        return drive(self._core.__aexit__(kind, error, traceback))

    def connect(self, *, timeout: float | None = None) -> Self:
        """Open the connection and wait until it is open. A failure starts no reconnection.

        A Manager that does not live yet begins to, until `close` is called. If it cannot be opened, or this is interrupted,
        it ends again, and nothing is left.

        Raises:
            TimeoutError: It took longer than `timeout` seconds (which the attribute `timeout` bounds as well).
            ConnectError: It could not be opened; the failure is its cause.
            DisconnectedError: It was closed meanwhile.
        """
        core = self._core
        life = None if core._connection.lives else drive(core._hold())
        try:
            self._call(core._connection.opened, timeout)
        except BaseException as error:
            if life is not None:
                drive(core._lease.end(life, error))
            raise
        return self

    open = connect

    def close(self, *, timeout: float | None = None) -> Self:
        """Close the connection, and wait until all that was sent has left, at most `close_timeout`.

        If it is opened again meanwhile, as by a handler of `disconnect` that connects, the wait ends there.
        In its scope the Manager can be opened again. One that `open` gave life to ends: what has been received is still
        handled, then nothing is left. A handler that calls this does not wait for that, of which it is a part itself. To
        close what does not live is no error.

        Raises:
            TimeoutError: It took longer than `timeout` seconds. In a scope it goes on in the background; a life that
                `open` began is over.
        """
        runtime = self._call.runtime
        if runtime is not None:
            with runtime.deadline(timeout):
                self._open_gates()
                drive(self._core.close())
        return self

    def _moved_in(self) -> None:
        """A life begins."""
        connection = self._core._connection
        runtime = cast("BlockingRuntime", connection.hub.runtime)
        self._call.move_in(runtime, connection.dispatcher)
        for socket in self._sockets.values():
            socket._moved_in()

    def _open_gates(self) -> None:
        """Let all handlers be called: it ends."""
        with self._call.lock:
            for dispatcher in self._core._connection.dispatchers():
                dispatcher.open_gate()

    # The connection

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._core.url

    @property
    def engine(self) -> Engine | None:
        """The Engine.IO session beneath; None while there is none. Each session has an object of its own."""
        with self._call.lock:
            core = self._core.engine
            if core is None:
                return None
            if self._engine is None or self._engine._core is not core:
                self._engine = Engine(core, self)
            return self._engine

    def statistics(self) -> Statistics:
        """What has been counted since the Manager was made, and how much is pending now."""
        with self._call.lock:
            return self._core.statistics()

    def socket(self, nsp: str = "/", **options: Unpack[SocketOptions]) -> Socket:
        """The Socket of a namespace. It connects in the background, unless `auto_connect` is False.

        The first call for a namespace makes it, with these options; later ones give the same, and connect it again if
        it is not active any more. Before the Manager lives, and after, it is connected as soon as that lives (again).

        Raises:
            OptionError: The name or an option cannot be used.
        """
        with self._call.lock:
            return self._facade(self._core.socket(nsp, **options))

    def _facade(self, core: async_socket.Socket) -> Socket:
        """The Socket for its counterpart; the same one each time."""
        if core not in self._sockets:
            self._sockets[core] = Socket(core, self)
        return self._sockets[core]

    # The options that may be set while running

    @property
    def reconnection(self) -> bool:
        """Whether to connect again by itself. Setting it to False also ends a wait for the next attempt."""
        return self._core.reconnection

    @reconnection.setter
    def reconnection(self, value: bool) -> None:
        with self._call.lock:
            self._core.reconnection = value

    @property
    def reconnection_attempts(self) -> float:
        """How often to try to connect again before giving up: a whole number, or `math.inf`."""
        return self._core.reconnection_attempts

    @reconnection_attempts.setter
    def reconnection_attempts(self, value: float) -> None:
        self._core.reconnection_attempts = value

    @property
    def reconnection_delay(self) -> float:
        """How many seconds to wait before the first attempt to connect again; each further wait is twice as long."""
        return self._core.reconnection_delay

    @reconnection_delay.setter
    def reconnection_delay(self, value: float) -> None:
        self._core.reconnection_delay = value

    @property
    def reconnection_delay_max(self) -> float:
        """The longest such wait, in seconds."""
        return self._core.reconnection_delay_max

    @reconnection_delay_max.setter
    def reconnection_delay_max(self, value: float) -> None:
        self._core.reconnection_delay_max = value

    @property
    def randomization_factor(self) -> float:
        """How far a wait may deviate from that, as a fraction of it."""
        return self._core.randomization_factor

    @randomization_factor.setter
    def randomization_factor(self, value: float) -> None:
        self._core.randomization_factor = value

    @property
    def timeout(self) -> float | None:
        """How many seconds opening the connection may take; None for no limit."""
        return self._core.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._core.timeout = value

    # Handlers

    def _changing(self) -> AbstractContextManager[None]:
        return self._call.changing()


class IO:
    """JavaScript's `io()`: sockets by URL, which share connections. Made by `open_io`.

    Attributes:
        protocol: The version of the Socket.IO protocol.
        Manager: The driver's class. One that is made by it lives by itself, as `Manager` tells.
        Socket: The class of sockets.
    """

    protocol: Final = PROTOCOL

    def __init__(self, core: async_scopes.IO, manager_class: type[Manager]) -> None:
        self.Manager: Final = manager_class
        self.Socket: Final = Socket
        self._core = core
        self._managers: dict[async_manager.Manager, Manager] = {}

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
        with self._core._life.runtime.lock:
            core = self._core(url, **options)
            if core.io not in self._managers:
                self._managers[core.io] = self.Manager._around(core.io)
            return self._managers[core.io]._facade(core)

    connect = __call__

    def _open_gates(self) -> None:
        """Let all handlers be called: the scope ends."""
        for manager in self._managers.values():
            manager._open_gates()


class Scopes:
    """The scopes of the blocking driver.

    Args:
        manager_class: The driver's Manager, whose counterpart has the driver's runtime, a `BlockingRuntime`.
    """

    def __init__(self, manager_class: type[Manager]) -> None:
        self._manager_class = manager_class
        self._scopes = async_scopes.Scopes(manager_class.counterpart, gated=True)

    def connect(self, url: str, *, retry: bool = False, **options: Unpack[Options]) -> AbstractContextManager[Socket]:
        """Connect to a namespace::

            with connect("http://localhost:3000/chat") as socket: ...

        The body starts when the server has joined us. At its end the socket is disconnected.

        Args:
            url: Where the server is, and (as its path) the namespace.
            retry: Whether to go on trying, as `reconnection` and its like say, when the first attempt fails.
            options: See `Options`. (`timeout` among them bounds each attempt.)

        Raises:
            ConnectError: The first attempt failed (the failure is its cause), or the server refused; on entering.
            OptionError: The URL or an option cannot be used; at the call.
        """
        return _Plain(self._scopes.connect(url, retry=retry, **options), self._socket)

    def open_io(self, url: str | None = None) -> AbstractContextManager[IO]:
        """JavaScript's `io()`, as a scope::

            with open_io("http://localhost:3000") as io:
                main, chat = io(), io("/chat")

        Sockets of the same server share a connection. At the end of the scope all are disconnected.

        Args:
            url: What `location` is in a browser: the server that is meant where `io` is given a path, or nothing.

        Raises:
            OptionError: The URL cannot be used; at the call.
        """
        return _Plain(self._scopes.open_io(url), self._io)

    def _socket(self, core: async_socket.Socket) -> tuple[Socket, Callable[[], None]]:
        manager = self._manager_class._around(core.io)
        return manager._facade(core), manager._open_gates

    def _io(self, core: async_scopes.IO) -> tuple[IO, Callable[[], None]]:
        io = IO(core, self._manager_class)
        return io, io._open_gates


class _Plain(Generic[C, T]):
    """A scope without `async`: its coroutines never suspend.

    Args:
        scope: The scope.
        face: Gives, for what it gives, the object without `async`, and what lets all handlers be called at the end.
    """

    def __init__(
        self, scope: AbstractAsyncContextManager[C, bool | None], face: Callable[[C], tuple[T, Callable[[], None]]]
    ) -> None:
        self._scope = scope
        self._face = face

    def __enter__(self) -> T:
        face, self._open_gates = self._face(drive(self._scope.__aenter__()))
        return face

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._open_gates()
        return drive(self._scope.__aexit__(kind, error, traceback))
