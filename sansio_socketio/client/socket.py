"""The Socket: one namespace, as an application holds it (JavaScript's Socket).

Rules of this file:

- The namespace's state is the machine's. Here is only what waits for it: acknowledgements, connections, closes.
- A socket outlives the lives of its Manager. Each life brings it a dispatcher and waiters; before the first it has none,
  and no call that needs one.
- Waiters are woken when the machine's event is routed here; what has a handler goes into the dispatcher's inbox.
- After an emit has found room nothing is awaited until it is with the machine, so a cancelled one was not sent.
- Flags make a view; they never stay with the socket.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from ..protocol.errors import ConnectError, DisconnectedError, OptionError
from ..protocol.events import (
    AckFailed,
    AckId,
    Acknowledged,
    Connected,
    ConnectFailed,
    Disconnected,
    EventReceived,
    EventSent,
    NamespaceEvent,
)
from ..protocol.namespace import UNSET, Namespace, Unset
from ..protocol.options import ASK, NamespaceOptions, check_option
from ..runtime.interface import Future, Handler
from .connection import Connection
from .dispatch import Callback, Dispatcher, EventStream, InboxOverflow, Signal, StreamsEnd
from .hub import Hub, Waiters
from .listeners import Listener, Listeners, ListeningToAny
from .options import Auth, SocketOptions, check_askable

if TYPE_CHECKING:
    from .manager import Manager

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flags:
    """How an event is to be sent."""

    timeout: float | Literal[Unset.UNSET] | None = UNSET
    volatile: bool = False
    compress: bool = True


_PLAIN: Final = Flags()


class Emitter:
    """What sends events: a Socket, or a view of one that sends with flags."""

    _socket: Socket
    _flags: Flags

    @property
    def volatile(self) -> Emitter:
        """A view whose events are dropped where the connection cannot take them at once."""
        return _View(self._socket, replace(self._flags, volatile=True))

    def compress(self, value: bool) -> Emitter:
        """A view whose events may be compressed, or not (where the transport compresses at all)."""
        if not isinstance(value, bool):
            raise OptionError(f"compress takes True or False, not {value!r}")
        return _View(self._socket, replace(self._flags, compress=value))

    def timeout(self, seconds: float | None) -> Emitter:
        """A view whose acknowledgements are awaited for so many seconds; None for no limit.

        It takes the place of the option `ack_timeout`.
        """
        check_option("timeout", seconds)
        return _View(self._socket, replace(self._flags, timeout=seconds))

    async def emit(self, event: str | float, *values: Any, ack: Handler | None = None) -> None:
        """Send an event, or have it sent as soon as the namespace is joined.

        Waits while too much is on its way already. After that nothing is waited for: an emit that is cancelled was
        not sent, and one that returns is on its way (or was dropped, where it is volatile).

        Args:
            event: The event's name.
            values: What JSON can hold, dataclasses and pydantic models, and bytes, bytearray and memoryview anywhere in it.
            ack: Called with the server's acknowledgement: `ack(*values)`, or `ack(error, *values)` where there is a
                timeout; `error` is None, AckTimeout or DisconnectedError. It gets as many of these as it can take.

        Raises:
            OptionError: The name is reserved.
            PacketError: A value cannot be sent.
            BufferFullError: Too much waits for the connection already.
            DisconnectedError: The scope is over.
        """
        socket, flags = self._socket, self._flags
        if not (socket._has_room or flags.volatile):
            await socket._wait_room()
        socket._send_with_callback((event, *values), flags, ack)

    def emit_nowait(self, event: str | float, *values: Any, ack: Handler | None = None) -> None:
        """As `emit`, but however much is on its way already."""
        self._socket._send_with_callback((event, *values), self._flags, ack)

    async def send(self, *values: Any, ack: Handler | None = None) -> None:
        """Send the event "message": `emit("message", *values)`."""
        await self.emit("message", *values, ack=ack)

    async def emit_with_ack(self, event: str | float, *values: Any) -> Any:
        """Send an event, and wait for the server's acknowledgement.

        It may return before events that the server sent earlier have been handled: those wait for their turn. If it is
        cancelled, the event is withdrawn if it has not been sent yet.

        Returns:
            The value that the server gave; None if it gave none, a tuple if it gave several.

        Raises:
            AckTimeout: It did not come within the timeout (`timeout`, or the option `ack_timeout`).
            DisconnectedError: The connection ended before it came.
            OptionError, PacketError, BufferFullError: As in `emit`.
        """
        socket, flags = self._socket, self._flags
        if not (socket._has_room or flags.volatile):
            await socket._wait_room()
        return await socket._send_and_wait((event, *values), flags)


class _View(Emitter):
    """A Socket, seen with flags."""

    __slots__ = ("_flags", "_socket")

    def __init__(self, socket: Socket, flags: Flags) -> None:
        self._socket = socket
        self._flags = flags


class Socket(Emitter, ListeningToAny):
    """A namespace of the connection. Made by `connect`, `io` and `Manager.socket`.

    Attributes:
        io: The Manager, whose connection the socket shares with those of other namespaces.
    """

    _flags = _PLAIN
    _hub: Hub | None = None
    _dispatcher: Dispatcher
    _connections: Waiters
    _first_attempts: Waiters
    _closings: Waiters

    def __init__(
        self,
        manager: Manager,
        connection: Connection,
        namespace: Namespace,
        settings: NamespaceOptions,
        options: SocketOptions,
    ) -> None:
        self.io = manager
        self._options: Mapping[str, Any] = options
        self._connection = connection
        self._socket = self
        self._namespace = namespace
        self._auth: Auth = options.get("auth")
        self._ack_timeout = settings.ack_timeout
        self._failure: ConnectError | None = None  # of the last attempt
        self._acks: dict[int, Future] = {}
        self._callbacks: dict[int, tuple[Listener, str, bool]] = {}
        self._wanted = False  # to be connected when a connection is opened, though it is not active
        self._listeners = Listeners(outgoing_changed=self._outgoing_changed)
        self._routes = {
            EventReceived: self._event_received,
            Acknowledged: self._acknowledged,
            AckFailed: self._ack_failed,
            Connected: self._connected,
            ConnectFailed: self._connect_failed,
            Disconnected: self._disconnected,
            EventSent: self._event_sent,
        }

    def __repr__(self) -> str:
        state = "connected" if self.connected else "active" if self.active else "inactive"
        return f"<Socket {self.nsp} of {self.io.url}, {state}>"

    # Attributes

    @property
    def nsp(self) -> str:
        """The namespace's name, such as "/" or "/chat"."""
        return self._namespace.name

    @property
    def connected(self) -> bool:
        """Whether the server has joined us."""
        return self._namespace.connected

    @property
    def disconnected(self) -> bool:
        """Whether it has not."""
        return not self._namespace.connected

    @property
    def active(self) -> bool:
        """Whether the namespace is wanted: joined, or to be joined as soon as the connection is there."""
        return self._namespace.active

    @property
    def id(self) -> str | None:
        """The id that the server knows this namespace's session by; None while disconnected. A new one each time."""
        return self._namespace.sid

    @property
    def recovered(self) -> bool:
        """Whether the last join restored the session before, so that nothing was missed (connection state recovery)."""
        return self._namespace.recovered

    @property
    def auth(self) -> Auth:
        """What is sent when joining: a mapping, or a function that is asked each time. What is set counts from then on."""
        return self._auth

    @auth.setter
    def auth(self, value: Auth) -> None:
        check_askable("auth", value)
        self._connection.check_caller()
        self._namespace.auth = ASK if callable(value) else value
        self._auth = value

    # The lives of its Manager

    def _move_in(self, hub: Hub) -> None:
        """A life begins."""
        connection = self._connection
        self._hub = hub
        self._acks.clear()
        self._callbacks.clear()
        self._connections = Waiters(hub.runtime)
        self._first_attempts = Waiters(hub.runtime)
        self._closings = Waiters(hub.runtime)
        self._dispatcher = Dispatcher(
            f"handlers of {self.nsp}",
            hub.runtime,
            self._listeners,
            report=connection.report,
            finished=connection.check_left,
            broken=connection.broken,
            acknowledge=self._acknowledge,
            overflow=self._overflow,
            bounds=connection.inbox_bounds,
        )

    def _rest(self, hub: Hub) -> None:
        """The life ends: leave, to come back with the next connection."""
        self._wanted = self._wanted or self.active
        self._namespace.disconnect(hub.now())

    def _resume(self) -> None:
        """A connection opens: connect, if that is wanted."""
        if self._wanted:
            self._begin()

    # Connecting

    async def connect(self) -> Self:
        """Connect, and wait until the server has joined us. Failed attempts are repeated as `reconnection` says.

        Raises:
            ConnectError: The server refused, or there are no more attempts.
            DisconnectedError: `disconnect` was called meanwhile, or the scope is over.
        """
        self._begin()
        await self.wait_connected()
        return self

    open = connect

    async def disconnect(self) -> Self:
        """Leave the namespace. The connection closes when no other needs it. Waits for nothing, handlers included."""
        self._leave()
        return self

    close = disconnect

    async def wait_connected(self) -> None:
        """Wait until the server has joined us; return at once if it has.

        Raises:
            ConnectError: The server refused, or there are no more attempts.
            DisconnectedError: Nothing tries to connect.
        """
        if not self.connected:
            self._open_hub()
            if not self._trying:
                raise self._failure or DisconnectedError(f"nothing connects {self.nsp}; call connect()")
            await self._connections.wait()

    async def _wait_first_attempt(self) -> None:
        """As `wait_connected`, but raise ConnectError when the first attempt fails, whatever follows it."""
        if self._failure is not None:
            raise self._failure
        if not self.connected:
            await self._first_attempts.wait()

    async def wait_closed(self) -> None:
        """Wait until the socket is disconnected and nothing tries to connect it again; return at once if it is so."""
        if self._wanted and self._hub is None:
            self._open_hub()  # which says that it will have to live first
        if self._trying:
            await self._closings.wait()

    @property
    def _trying(self) -> bool:
        """Whether the socket is connected, or may become so by itself."""
        return self.active and self._connection.trying

    def _want(self) -> None:
        """Connect in the background; before the Manager lives, as soon as it does."""
        if self._connection.lives:
            self._begin()
        else:
            self._wanted = True

    def _begin(self) -> None:
        """Connect in the background."""
        hub = self._connection.open_hub
        now = hub.now()
        self._wanted = False
        self._failure = None
        self._namespace.connect(now)
        hub.drain()

    def _leave(self) -> None:
        """Disconnect."""
        self._connection.check_caller()
        self._wanted = False
        self._failure = None
        hub = self._hub
        if hub is not None and not hub.ended:
            self._namespace.disconnect(hub.now())
            hub.drain()
            self._settle(DisconnectedError(f"disconnect() was called before {self.nsp} was connected"))

    def _settle(self, error: Exception) -> None:
        """Tell those who wait, if nothing tries to connect any more, because of `error`."""
        if self._trying:
            return
        self._connections.fail(error)
        self._first_attempts.fail(error)
        self._closings.wake()
        if self._dispatcher.streams:
            self._dispatcher.put(StreamsEnd())

    def _end(self, error: Exception) -> None:
        """The scope is over: nobody waits any longer."""
        self._settle(error)
        acks, self._acks = self._acks, {}
        for cell in acks.values():
            cell.fail(error)
        self._dispatcher.cancel()

    # Events

    def events(self) -> EventStream:
        """The server's events as a stream: `async with socket.events() as events: async for event in events: …`.

        Each has a `name`, `args`, and `ack(*values)`. While a stream is open, an event that no handler acknowledges with
        a value is the stream's consumer's to acknowledge: no empty acknowledgement is sent.
        """
        self._open_hub()
        return EventStream(self._dispatcher)

    # Sending

    @property
    def _has_room(self) -> bool:
        """Whether more should be sent now."""
        return self._connection.machine.writable

    async def _wait_room(self) -> None:
        """Wait while too much is on its way already."""
        await self._connection.wait_room()

    def _send_with_callback(self, args: Sequence[Any], flags: Flags, ack: Handler | None) -> None:
        """Hand an event to the machine, and remember who is to be called with its acknowledgement."""
        hub = self._open_hub()
        if ack is None:
            self._emit(hub, args, flags, ack=False)
        else:
            listener = Listener(ack)
            timeout = self._ack_timeout if flags.timeout is UNSET else flags.timeout
            handle = self._emit(hub, args, flags, ack=True)
            self._callbacks[handle] = (listener, str(args[0]), timeout is not None)
        hub.drain()

    async def _send_and_wait(self, args: Sequence[Any], flags: Flags) -> Any:
        """Hand an event to the machine, and wait for its acknowledgement."""
        hub = self._open_hub()
        handle = self._emit(hub, args, flags, ack=True)
        self._acks[handle] = cell = hub.runtime.future()
        hub.drain()
        try:
            values = await hub.runtime.wait(cell)
        except BaseException:
            if self._acks.pop(handle, None) is not None and not hub.ended:
                self._namespace.forget(handle, hub.now())
                hub.drain()
            raise
        return values[0] if len(values) == 1 else tuple(values) if values else None

    def _emit(self, hub: Hub, args: Sequence[Any], flags: Flags, *, ack: bool) -> int:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: emitting %r with %d values%s", self.nsp, args[0], len(args) - 1, ", ack wanted" * ack)
        return self._namespace.emit(
            args, hub.now(), ack=ack, timeout=flags.timeout, volatile=flags.volatile, compress=flags.compress
        )

    def _acknowledge(self, ack_id: AckId, values: Sequence[Any]) -> None:
        hub = self._hub
        if hub is not None and not hub.ended:
            self._namespace.acknowledge(ack_id, values, hub.now())
            hub.drain()

    def _open_hub(self) -> Hub:
        """What runs the machine now. Raises StateError before the Manager's first life, DisconnectedError after one."""
        hub = self._hub
        return self._connection.open_hub if hub is None or hub.ended else hub

    def _changing(self) -> AbstractContextManager[None]:
        self._connection.check_caller()
        return nullcontext()

    def _outgoing_changed(self) -> None:
        self._namespace.report_sent = bool(self._listeners.outgoing.listeners)  # nobody pays for what nobody hears

    # What the machine tells

    def _route(self, event: NamespaceEvent) -> None:
        """Wake who waits for what happened, and put it into the inbox for the handlers."""
        self._routes[type(event)](event)  # type: ignore[operator]  # the table pairs each type with its method

    def _event_received(self, event: EventReceived) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: received %r, %d bytes", self.nsp, event.args[0], event.size)
        self._dispatcher.received(event)

    def _acknowledged(self, event: Acknowledged) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: acknowledged, %d values", self.nsp, len(event.args))
        cell = self._acks.pop(event.handle, None)
        if cell is not None:
            cell.resolve(event.args)
            return
        waiting = self._callbacks.pop(event.handle, None)
        if waiting is not None:
            listener, name, with_error = waiting
            values = [None, *event.args] if with_error else event.args
            self._dispatcher.put(Callback(f"{name} (acknowledgement)", listener, values))

    def _ack_failed(self, event: AckFailed) -> None:
        cell = self._acks.pop(event.handle, None)
        if cell is not None:
            cell.fail(event.error)
            return
        waiting = self._callbacks.pop(event.handle, None)
        if waiting is not None:
            listener, name, with_error = waiting
            if with_error:
                self._dispatcher.put(Callback(f"{name} (acknowledgement)", listener, [event.error]))

    def _connected(self, event: Connected) -> None:
        log.info("%s: connected%s", self.nsp, ", session recovered" * event.recovered)
        self._failure = None
        self._dispatcher.accept_again()
        self._connections.wake()
        self._first_attempts.wake()
        self._signal("connect")

    def _connect_failed(self, event: ConnectFailed) -> None:
        error = _connect_error(event.error)
        log.info("%s: cannot connect: %s", self.nsp, error)
        self._failure = error
        self._first_attempts.fail(error)
        self._settle(error)
        self._signal("connect_error", error)

    def _disconnected(self, event: Disconnected) -> None:
        details = self._connection.overflow or event.details
        why = event.reason if details is None else f"{event.reason}: {details}"
        log.info("%s: disconnected: %s", self.nsp, why)
        error = DisconnectedError(f"{self.nsp} was disconnected: {why}", event.reason)
        error.__cause__ = details
        self._signal("disconnect", event.reason, details)
        self._first_attempts.fail(_connect_error(error))
        self._settle(error)

    def _event_sent(self, event: EventSent) -> None:
        self._dispatcher.sent(event)

    def _signal(self, name: str, *args: Any) -> None:
        self._dispatcher.put(Signal(name, args, after=self._connection.last_signal))

    def _overflow(self, error: InboxOverflow) -> None:
        self._connection.overflowed(error)


def _connect_error(error: Exception) -> ConnectError:
    """What `connect_error` tells: always a ConnectError, with the failure beneath it as its cause."""
    if isinstance(error, ConnectError):
        return error
    wrapped = ConnectError(str(error))
    wrapped.__cause__ = error
    return wrapped
