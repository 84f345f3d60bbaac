"""One namespace on a connection: joining, events, acknowledgements, buffers, retries, recovery (Socket.IO protocol 5).

Rules of this file:

- `active` says whether the application wants the namespace; `join` says how far the server is. They meet in `_advance`.
- At most one CONNECT is unanswered. The answer to one that nobody wants any more is consumed, and undone by DISCONNECT.
- An emit is encoded when it is made, so that a value that cannot be sent is an error there, and then waits in exactly
  one place: `_unsent` while offline, `_queue` under retries, `_sent` when an acknowledgement is to come.
- On connect, in this order: events received early, events buffered to send, the retry queue, then `Connected`.
- On disconnect: `Disconnected` first, then the acknowledgements that will not come any more.
- Nothing but CONNECT is sent to a namespace that is not joined: the server would close the whole connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, Protocol

from .actions import Outbox
from .errors import AckTimeout, BufferFullError, ConnectError, DisconnectedError, OptionError, PacketError
from .events import (
    AckFailed,
    AckId,
    Acknowledged,
    Asked,
    Connected,
    ConnectFailed,
    Disconnected,
    DisconnectReason,
    EventReceived,
    EventSent,
)
from .options import ASK, Ask, NamespaceOptions, check_option
from .packets.socketio import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, RESERVED_EVENTS, Packet
from .timers import Timers

Frames = Sequence[str | bytes]

_V2_SERVER: Final = (
    "the server joined the namespace without a session id, as one of Socket.IO 2 does; this client speaks to version 3 "
    "and later (or to a version 4 server that serves older clients by allowEIO3, which this client has no need of)"
)


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class Join(Enum):
    """How far the join of a namespace is, on the connection as it is now."""

    NONE = "none"
    ASKING = "asking"
    """The application is asked for `auth`."""
    SENT = "sent"
    """CONNECT was sent, its answer is awaited."""
    ABANDONED = "abandoned"
    """As SENT, but nobody wants the answer any more."""
    JOINED = "joined"


class Connection(Protocol):
    """What a namespace needs of the connection that it shares with others."""

    outbox: Outbox
    timers: Timers
    epoch: int
    """A number that each new connection changes."""
    timeout: float | None

    @property
    def is_open(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    def encode(self, packet: Packet) -> Frames: ...
    def send_frames(self, frames: Frames, now: float, *, compress: bool) -> None: ...
    def ensure_open(self, now: float) -> None: ...
    def release(self, now: float) -> None: ...
    def ask(self, namespace: Namespace, about: Asked, now: float) -> None: ...
    def has_space(self, size: int) -> bool: ...
    def buffered(self, events: int, size: int) -> None: ...
    def protocol_error(self, error: PacketError, now: float) -> None: ...


class Emit:
    """An event of ours from the call to its end."""

    __slots__ = (
        "ack",
        "args",
        "compress",
        "frames",
        "handle",
        "in_flight",
        "queued",
        "size",
        "timeout",
        "tries",
        "wire_id",
    )

    def __init__(self, handle: int, args: list[Any], *, ack: bool, timeout: float | None, compress: bool) -> None:
        self.handle = handle
        self.args = args
        self.ack = ack
        self.timeout = timeout
        self.compress = compress
        self.frames: Frames = ()
        self.size = 0
        self.wire_id: int | None = None
        self.tries = 0
        self.queued = False
        self.in_flight = False


class Namespace:
    """A namespace of a `ClientProtocol`; made by `ClientProtocol.namespace`. JavaScript's Socket, as a state machine.

    Attributes:
        name: The namespace's name, such as `"/"` or `"/chat"`.
        active: Whether it is wanted: connected, or connecting as soon as the connection lets it.
        sid: The id that the server gave it for this connection, or None.
        recovered: Whether the last join restored the session before (connection state recovery).
        auth: What is sent when joining; may be set at any time.
        report_sent: Whether `EventSent` is delivered for each event that leaves.
    """

    def __init__(self, name: str, options: NamespaceOptions, connection: Connection) -> None:
        self.name = name
        self.active = False
        self.sid: str | None = None
        self.recovered = False
        self.report_sent = False
        self._auth = options.auth
        self._options = options
        self._connection = connection
        self._join = Join.NONE
        self._pid: str | None = None
        self._offset: str | None = None
        self._next_handle = 1
        self._next_wire_id = 0
        self._emits: dict[int, Emit] = {}
        self._unsent: dict[int, Emit] = {}
        self._queue: deque[Emit] = deque()
        self._sent: dict[int, Emit] = {}
        self._early: list[EventReceived] = []

    @property
    def connected(self) -> bool:
        """Whether the server has joined us."""
        return self._join is Join.JOINED

    @property
    def auth(self) -> Mapping[str, Any] | Literal[Ask.ASK] | None:
        """What is sent when joining; ASK to be asked each time."""
        return self._auth

    @auth.setter
    def auth(self, value: Mapping[str, Any] | Literal[Ask.ASK] | None) -> None:
        check_option("auth", value)
        self._auth = value

    # Commands

    def connect(self, now: float) -> None:
        """Join, opening the connection if need be. During a wait for the next attempt it waits as well."""
        self._connection.timers.fire_due(now)
        if not self.connected:
            self.active = True
            self._connection.ensure_open(now)
            self._advance(now)

    def disconnect(self, now: float) -> None:
        """Leave. The connection closes when no namespace on it is active any more."""
        self._connection.timers.fire_due(now)
        if not self.active:
            return
        was_connected = self.connected
        if was_connected:
            self._send(Packet(DISCONNECT, self.name), now)
        self._deactivate(now)
        if was_connected:
            self._left("io client disconnect", None)

    def emit(
        self,
        args: Sequence[Any],
        now: float,
        *,
        ack: bool = False,
        timeout: float | Literal[Unset.UNSET] | None = UNSET,
        volatile: bool = False,
        compress: bool = True,
    ) -> int:
        """Send an event, or buffer it until the namespace is joined.

        Args:
            args: The event's name (a str or a number) and its values.
            now: The time.
            ack: Whether to ask for an acknowledgement; it comes as `Acknowledged` or `AckFailed`.
            timeout: How many seconds to wait for it; by default the option `ack_timeout`; None for no limit.
            volatile: Drop the event where the transport cannot take it at once.
            compress: Whether the transport may compress it.

        Returns:
            A handle, which the events about this emit carry.

        Raises:
            OptionError: The name is reserved or missing.
            PacketError: A value cannot be encoded.
            BufferFullError: Too much waits to be sent already.
        """
        connection = self._connection
        connection.timers.fire_due(now)
        args = list(args)
        _check_name(args)
        limit = self._options.ack_timeout if timeout is UNSET else timeout
        emit = Emit(self._next_handle, args, ack=ack, timeout=limit, compress=compress)
        if self._options.retries and not volatile:
            self._enqueue(emit, now)
        else:
            self._emit_once(emit, now, volatile=volatile)
        self._next_handle += 1
        return emit.handle

    def acknowledge(self, ack_id: AckId, args: Sequence[Any], now: float, *, compress: bool = True) -> None:
        """Acknowledge an event that wanted it. It is dropped when the event's connection is gone.

        Raises:
            PacketError: A value cannot be encoded.
        """
        connection = self._connection
        connection.timers.fire_due(now)
        epoch, wire_id = ack_id
        frames = connection.encode(Packet(ACK, self.name, list(args), wire_id))
        if self.connected and epoch == self._epoch():
            connection.send_frames(frames, now, compress=compress)

    def forget(self, handle: int, now: float) -> None:
        """Withdraw an emit that was not sent; of one that was, never hear again."""
        self._connection.timers.fire_due(now)
        emit = self._emits.get(handle) or self._unsent.get(handle)
        if emit is None:
            return
        emit.ack = False
        if emit.handle in self._unsent:
            self._withdraw(emit)
            self._settle(emit)
        elif not emit.queued:
            self._settle(emit)
        elif emit.tries == 0:
            self._dequeue(emit)

    # What the connection tells

    def on_open(self, now: float) -> None:
        """The connection is open."""
        self._advance(now)

    def on_failed(self, error: Exception) -> None:
        """The connection could not be opened, or an error is about to close it."""
        if self.active and not self.connected:
            self._deliver_connect_failed(error)

    def on_closed(self, reason: DisconnectReason, details: Exception | None) -> None:
        """The connection is gone."""
        if self.active:
            self._left(reason, details)
        else:
            self._reset()

    def on_answer(self, value: Any, now: float) -> None:
        """The application's answer to the question for `auth`."""
        if self._join is not Join.ASKING:
            return
        self._connection.timers.cancel(self, "auth")
        error = value if isinstance(value, Exception) else _auth_error(value)
        if error is not None:
            self._refused(_chained(ConnectError(f"auth failed: {error}"), error), now)
        else:
            self._send_connect(value, now)

    def on_packet(self, packet: Packet, now: float) -> None:
        """A packet for this namespace arrived."""
        kind = packet.type
        if kind == EVENT:
            self._event_received(packet, now)
        elif kind == ACK:
            self._ack_received(packet, now)
        elif kind == CONNECT:
            self._connect_received(packet, now)
        elif kind == DISCONNECT:
            self._disconnect_received(now)
        elif kind == CONNECT_ERROR:
            self._connect_error_received(packet, now)

    def timer_fired(self, name: str | int, now: float) -> None:
        if name == "auth":
            self._refused(ConnectError("auth failed: no answer within the timeout"), now)
        elif isinstance(name, int):
            self._ack_timed_out(self._emits[name], now)

    # Joining and leaving

    def _advance(self, now: float) -> None:
        """Do what brings the server nearer to what the application wants."""
        if not (self.active and self._join is Join.NONE and self._connection.is_open):
            return
        if self._auth is ASK:
            self._join = Join.ASKING
            limit = self._connection.timeout
            if limit is not None:
                self._connection.timers.set(self, "auth", now + limit)
            self._connection.ask(self, "auth", now)
        else:
            self._send_connect(self._auth, now)

    def _send_connect(self, auth: Mapping[str, Any] | None, now: float) -> None:
        payload: dict[str, Any] | None = None if auth is None else dict(auth)
        if self._pid is not None:
            # The session to recover; keys of the application's own win, as in the reference.
            payload = {"pid": self._pid, "offset": self._offset, **(payload or {})}
            if payload["offset"] is None:
                del payload["offset"]
        try:
            frames = self._connection.encode(Packet(CONNECT, self.name, payload))
        except PacketError as error:
            self._refused(_chained(ConnectError(f"auth cannot be sent: {error}"), error), now)
            return
        self._join = Join.SENT
        self._connection.send_frames(frames, now, compress=True)

    def _connect_received(self, packet: Packet, now: float) -> None:
        if self._join is Join.ABANDONED:
            self._join = Join.NONE
            if _session_id(packet) is not None:
                self._send(Packet(DISCONNECT, self.name), now)
            self._advance(now)
        elif self._join is Join.SENT:
            sid = _session_id(packet)
            if sid is None:
                self._join = Join.NONE
                self._deliver_connect_failed(ConnectError(_V2_SERVER))
            else:
                self._joined(sid, packet.data.get("pid"), now)

    def _joined(self, sid: str, pid: Any, now: float) -> None:
        pid = pid if isinstance(pid, str) else None
        self.sid = sid
        self.recovered = pid is not None and pid == self._pid
        if not self.recovered:
            self._offset = None
        self._pid = pid
        self._join = Join.JOINED
        for event in self._take_early():
            self._deliver_event(event)
        self._send_unsent(now)
        self._drain_queue(now, again=True)
        self._connection.outbox.deliver(Connected(self.name, sid, self.recovered))

    def _connect_error_received(self, packet: Packet, now: float) -> None:
        if self._join is Join.ABANDONED:
            self._join = Join.NONE
            self._advance(now)
        elif self._join is Join.SENT:
            self._refused(_refusal(packet.data), now)

    def _refused(self, error: ConnectError, now: float) -> None:
        self._join = Join.NONE
        self._deactivate(now)
        self._deliver_connect_failed(error)

    def _disconnect_received(self, now: float) -> None:
        if self._join is Join.JOINED:
            self._join = Join.NONE
            self._deactivate(now)
            self._left("io server disconnect", None)

    def _deactivate(self, now: float) -> None:
        self.active = False
        self._connection.timers.cancel(self, "auth")
        if self._join is Join.SENT:
            self._join = Join.ABANDONED
        elif self._join is Join.ASKING:
            self._join = Join.NONE
        self._connection.release(now)

    def _left(self, reason: DisconnectReason, details: Exception | None) -> None:
        self._reset()
        self._connection.outbox.deliver(Disconnected(self.name, reason, details, self.active))
        self._fail_sent(reason)

    def _reset(self) -> None:
        """Forget what was true of the connection that is gone."""
        self._connection.timers.cancel(self, "auth")
        self._join = Join.NONE
        self.sid = None
        self._take_early()

    def _deliver_connect_failed(self, error: Exception) -> None:
        self._connection.outbox.deliver(ConnectFailed(self.name, error, self.active))

    # Events from the server

    def _event_received(self, packet: Packet, now: float) -> None:
        ack_id = None if packet.id is None else (self._epoch(), packet.id)
        event = EventReceived(self.name, packet.data, ack_id, packet.size)
        if self._join is Join.JOINED:
            self._deliver_event(event)
        elif self._join is Join.SENT and self._connection.has_space(packet.size):
            self._early.append(event)
            self._connection.buffered(1, packet.size)
        elif self._join is Join.SENT:
            self._connection.protocol_error(PacketError("too many events before the namespace was joined"), now)

    def _take_early(self) -> list[EventReceived]:
        early, self._early = self._early, []
        for event in early:
            self._connection.buffered(-1, -event.size)
        return early

    def _deliver_event(self, event: EventReceived) -> None:
        self._connection.outbox.deliver(event)
        if self._pid is not None and event.ack_id is None and len(event.args) > 1:
            last = event.args[-1]
            if isinstance(last, str):
                self._offset = last

    def _epoch(self) -> int:
        return self._connection.epoch

    # Events to the server

    def _emit_once(self, emit: Emit, now: float, *, volatile: bool) -> None:
        connection = self._connection
        wire_id = self._next_wire_id if emit.ack else None
        frames = connection.encode(Packet(EVENT, self.name, emit.args, wire_id))
        if volatile and not connection.writable:
            self._expect_ack(emit, wire_id, now)
        elif self.connected:
            if not connection.has_space(0):
                raise _full()
            self._expect_ack(emit, wire_id, now)
            self._transmit(emit, frames, now)
        else:
            self._buffer(emit, frames)
            self._expect_ack(emit, wire_id, now)

    def _buffer(self, emit: Emit, frames: Frames) -> None:
        size = sum([len(frame) for frame in frames])
        if not self._connection.has_space(size):
            raise _full()
        emit.frames, emit.size = frames, size
        self._unsent[emit.handle] = emit
        self._connection.buffered(1, size)

    def _withdraw(self, emit: Emit) -> None:
        """Take an emit out of `_unsent`."""
        del self._unsent[emit.handle]
        self._connection.buffered(-1, -emit.size)

    def _send_unsent(self, now: float) -> None:
        for emit in list(self._unsent.values()):
            self._withdraw(emit)
            frames, emit.frames = emit.frames, ()
            self._transmit(emit, frames, now)

    def _transmit(self, emit: Emit, frames: Frames, now: float) -> None:
        if self.report_sent:
            self._connection.outbox.deliver(EventSent(self.name, emit.args))
        self._connection.send_frames(frames, now, compress=emit.compress)

    def _send(self, packet: Packet, now: float) -> None:
        self._connection.send_frames(self._connection.encode(packet), now, compress=True)

    # Acknowledgements

    def _expect_ack(self, emit: Emit, wire_id: int | None, now: float) -> None:
        if wire_id is None:
            return
        self._next_wire_id += 1
        emit.wire_id = wire_id
        self._emits[emit.handle] = emit
        self._sent[wire_id] = emit
        if emit.timeout is not None:
            self._connection.timers.set(self, emit.handle, now + emit.timeout)

    def _expect_no_more(self, emit: Emit) -> None:
        """Forget the number that an acknowledgement would carry, and the timeout."""
        if emit.wire_id is not None:
            self._sent.pop(emit.wire_id, None)
            emit.wire_id = None
        self._connection.timers.cancel(self, emit.handle)

    def _ack_received(self, packet: Packet, now: float) -> None:
        emit = self._sent.get(packet.id) if packet.id is not None and self.connected else None
        if emit is None or emit.handle in self._unsent:
            return
        self._settle(emit)
        if emit.ack:
            self._connection.outbox.deliver(Acknowledged(self.name, emit.handle, packet.data))
        if emit.in_flight:
            self._dequeue(emit)
            self._drain_queue(now)

    def _settle(self, emit: Emit) -> None:
        self._expect_no_more(emit)
        self._emits.pop(emit.handle, None)

    def _ack_timed_out(self, emit: Emit, now: float) -> None:
        if emit.in_flight:
            self._try_failed(emit, _timed_out(emit))
            self._drain_queue(now)
            return
        if emit.handle in self._unsent:
            self._withdraw(emit)
        self._settle(emit)
        self._connection.outbox.deliver(AckFailed(self.name, emit.handle, _timed_out(emit)))

    def _fail_sent(self, reason: DisconnectReason) -> None:
        """The acknowledgements of what went out on the connection that is gone will not come."""
        for emit in list(self._sent.values()):
            if emit.handle in self._unsent:
                continue
            error = DisconnectedError(f"disconnected before the acknowledgement came: {reason}", reason)
            if emit.in_flight:
                # Without a timeout the reference does not count this as a failed try: it waits for the next connection.
                if emit.timeout is not None:
                    self._try_failed(emit, error)
                else:
                    self._expect_no_more(emit)
            else:
                self._settle(emit)
                self._connection.outbox.deliver(AckFailed(self.name, emit.handle, error))

    # Retries: one packet in flight, the next only when it is acknowledged or given up

    def _enqueue(self, emit: Emit, now: float) -> None:
        frames = self._connection.encode(Packet(EVENT, self.name, emit.args))
        emit.size = sum([len(frame) for frame in frames])
        if not self._connection.has_space(emit.size):
            raise _full()
        emit.queued = True
        self._queue.append(emit)
        self._emits[emit.handle] = emit
        self._connection.buffered(1, emit.size)
        self._drain_queue(now)

    def _dequeue(self, emit: Emit) -> None:
        self._queue.remove(emit)
        self._connection.buffered(-1, -emit.size)
        self._settle(emit)

    def _drain_queue(self, now: float, *, again: bool = False) -> None:
        """Send the first of the queue, unless it is under way already (`again`: even then, on a new connection)."""
        if not self._queue or not self.connected:
            return
        emit = self._queue[0]
        if emit.in_flight and not again:
            return
        self._expect_no_more(emit)
        emit.in_flight = True
        emit.tries += 1
        frames = self._connection.encode(Packet(EVENT, self.name, emit.args, self._next_wire_id))
        self._expect_ack(emit, self._next_wire_id, now)
        self._transmit(emit, frames, now)

    def _try_failed(self, emit: Emit, error: Exception) -> None:
        """A try got no acknowledgement: give the emit up after the last, else leave it at the head of the queue."""
        self._expect_no_more(emit)
        emit.in_flight = False
        if emit.tries > self._options.retries:
            self._dequeue(emit)
            if emit.ack:
                self._connection.outbox.deliver(AckFailed(self.name, emit.handle, error))


def _check_name(args: Sequence[Any]) -> None:
    name = args[0] if args else None
    if not isinstance(name, (str, int, float)) or isinstance(name, bool):
        raise OptionError(f"an event needs a name, a str or a number, not {name!r}")
    if name in RESERVED_EVENTS:
        raise OptionError(f"{name!r} is a reserved event name; choose another")


def _auth_error(value: Any) -> Exception | None:
    if value is None or isinstance(value, Mapping):
        return None
    return OptionError(f"auth takes a mapping, or None, not {type(value).__name__}")


def _session_id(packet: Packet) -> str | None:
    sid = packet.data.get("sid") if isinstance(packet.data, dict) else None
    return sid if isinstance(sid, str) and sid else None


def _refusal(data: Any) -> ConnectError:
    """The error of a CONNECT_ERROR, whose payload is an object, or (from older servers) a bare string."""
    if isinstance(data, dict):
        return ConnectError(str(data.get("message", "")), data.get("data"))
    return ConnectError(str(data))


def _chained(error: ConnectError, cause: Exception) -> ConnectError:
    error.__cause__ = cause
    return error


def _timed_out(emit: Emit) -> AckTimeout:
    return AckTimeout(f"event {emit.args[0]!r} was not acknowledged within {emit.timeout:g} seconds")


def _full() -> BufferFullError:
    return BufferFullError(
        "too much waits to be sent; wait for the connection, or raise max_buffered_events or max_buffered_bytes"
    )
