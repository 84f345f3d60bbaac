"""One namespace on a connection: joining, events, acknowledgements, buffers, retries, recovery (Socket.IO protocol 5).

Rules of this file:

- `active` is what the application wants; the join state is what the server knows. `_advance` reconciles them.
- If the application provides no valid `auth`, it is asked again after the reconnection delay. The connection stays open
  meanwhile, because other namespaces may need it.
- After DISCONNECT, the namespace joins again in a later write, at least `_REJOIN_DELAY` later: a server for Node that reads
  DISCONNECT and CONNECT at once closes the connection.
- At most one CONNECT awaits its response. If the namespace is disconnected before the response arrives, the join is
  abandoned: a DISCONNECT follows the response.
- A join, including the question about `auth`, that takes longer than the option `timeout` has failed. If no other
  namespace has joined, the connection has failed, too. Otherwise the failure is reported each time that `timeout` has
  passed, and a late response is accepted. CONNECT is not sent again, because the server would answer both.
- `emit` encodes the event, so that it raises for a value that cannot be sent. The event is kept in `_unsent` until it is
  sent. With retries it is kept in `_queue` until it is acknowledged, and each try encodes it again with a new id.
- `_emits` has all emits whose outcome may still be reported, by handle. `_sent` has those that await an acknowledgement,
  by the id of the acknowledgement.
- After a join, in this order: deliver the events that arrived early, send the buffered events, send the first event of
  the retry queue, deliver `Connected`.
- After a disconnection, deliver `Disconnected` first, then `AckFailed` for each acknowledgement that was awaited.
- Before the join, only CONNECT is sent: for any other packet the server would close the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from .actions import Outbox
from .answers import V2_SERVER, auth_error, refusal, session_id
from .emit import UNSET, Emit, Frames, Unset, check_event
from .errors import AckTimeout, BufferFullError, ConnectError, DisconnectedError, OpenTimeout, PacketError, chained
from .events import (
    AckFailed,
    AckId,
    Acknowledged,
    Asked,
    Connected,
    ConnectFailed,
    Disconnected,
    DisconnectReason,
    EventBuffered,
    EventDropped,
    EventReceived,
    EventSent,
)
from .limits import MOST_FRAMES, Limits, is_too_large
from .options import ASK, Ask, ClientOptions, NamespaceOptions, check_option
from .packets.socketio import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from .states import JOIN_TRANSITIONS, JoinState, transition
from .timers import Timers
from .url import URL

_JOINED: Final = JoinState.JOINED
_REJOIN_DELAY: Final = 0.05
"""How long after DISCONNECT the namespace joins again at the earliest, in seconds."""
_SHORTEST_RENEWAL: Final = 1.0  # seconds between two reports of a join that takes too long
_MAX_EARLY: Final = 10_000
"""The maximum number of events that are buffered until the server has accepted the namespace."""
_MAX_OFFSET: Final = 1024
"""The maximum length of the id of an event, for recovery. A longer text is a value of the event."""


class NamespaceConnection(Protocol):
    """The part of the connection that its namespaces use."""

    options: ClientOptions
    outbox: Outbox
    timers: Timers
    url: URL
    limits: Limits

    @property
    def is_open(self) -> bool: ...
    @property
    def is_opening(self) -> bool: ...
    @property
    def sends_at_once(self) -> bool: ...
    def advance(self, now: float) -> None: ...
    def handle_received(self) -> None: ...
    def encode(self, packet: Packet) -> Frames: ...
    def send_frames(self, frames: Frames, now: float, *, compress: bool) -> None: ...
    def ensure_open(self, now: float) -> None: ...
    def release(self, now: float) -> None: ...
    def join_failed(self, error: OpenTimeout, now: float) -> bool: ...
    def ask(self, about: Asked, namespace: str) -> None: ...
    def retry_delay(self, attempts: int) -> float | None: ...
    def has_space(self, size: int) -> bool: ...
    def buffered(self, events: int, size: int) -> None: ...
    def protocol_error(self, error: PacketError, now: float) -> None: ...


_NONE_QUEUED: Final = deque[Emit](maxlen=0)
"""The queue of a namespace that has not queued an event. (An empty deque takes 760 bytes.)"""


class Namespace:
    """One namespace of a `ClientProtocol`, created by `ClientProtocol.namespace` (JavaScript's Socket).

    Attributes:
        name: The name of the namespace, such as `"/"` or `"/chat"`.
        active: Whether the application wants the namespace connected: it has joined, or joins when the connection is open.
        sid: The id that the server assigned on this connection, or None.
        recovered: Whether the last join restored the previous session (connection state recovery).
        report_sent: Whether to deliver `EventSent`, `EventBuffered` and `EventDropped`.
    """

    def __init__(self, name: str, options: NamespaceOptions, connection: NamespaceConnection) -> None:
        self.name = name
        self.active = False
        self.sid: str | None = None
        self.recovered = False
        self.report_sent = False
        self._auth = options.auth
        self._options = options
        self._connection = connection
        self._counters = connection.outbox.counters
        self._join = JoinState.NONE
        self._join_limit: float | None = None  # the timeout that the timer "join" was set with
        self._pid: str | None = None
        self._offset: str | None = None
        self._auth_failures = 0  # consecutive ones
        self._epoch = 0
        self._next_handle = 1
        self._next_wire_id = 0
        self._emits: dict[int, Emit] = {}
        self._unsent: dict[int, Emit] = {}
        self._queue = _NONE_QUEUED
        self._sent: dict[int, Emit] = {}
        self._early: list[EventReceived] = []
        self._early_bytes = 0

    @property
    def connected(self) -> bool:
        """Whether the namespace has joined."""
        return self._join is _JOINED

    @property
    def acks_pending(self) -> int:
        """The number of acknowledgements that are awaited."""
        return sum([emit.ack for emit in self._emits.values()])

    @property
    def auth(self) -> Mapping[str, Any] | Literal[Ask.ASK] | None:
        """The credentials to send when joining; ASK to be asked each time. Can be set at any time."""
        return self._auth

    @auth.setter
    def auth(self, value: Mapping[str, Any] | Literal[Ask.ASK] | None) -> None:
        check_option("auth", value)
        self._auth = value

    # Commands

    def connect(self, now: float) -> None:
        """Join the namespace, and open the connection if it is closed (section "Connection to a namespace").

        During a delay before the next attempt to reconnect, that attempt does not begin earlier.
        """
        self._connection.handle_received()
        if not self._connection.is_opening:  # otherwise the namespace is notified if the attempt fails
            self._connection.advance(now)
        if not self.active:
            self.active = True
            if self._join is JoinState.ABANDONED:
                self._limit_join(self._connection.options.timeout, now)
        if not self.connected:
            self._connection.ensure_open(now)
            self._advance(now)

    def disconnect(self, now: float) -> None:
        """Leave the namespace. The connection is closed if no other namespace is active."""
        self._connection.advance(now)
        if not self.active:
            return
        was_connected = self.connected and self._send_disconnect(now)
        self._deactivate(now)
        if was_connected:
            self._left("io client disconnect", None)

    def announce_close(self, now: float) -> None:
        """Tell the server that the namespace leaves, before `ClientProtocol.close`. The namespace stays active.

        The server then knows at once that the client has not lost the connection.
        """
        self._connection.advance(now)
        if self.connected:
            self._send_disconnect(now)

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
        """Send an event, or buffer it until the namespace has joined (section "Sending and receiving data").

        Args:
            args: The event's name (a str or a number) and its values.
            now: The time.
            ack: Whether to request an acknowledgement. Its outcome is delivered as `Acknowledged` or `AckFailed`.
            timeout: The time limit for the acknowledgement in seconds, or None. The default is `ack_timeout`.
            volatile: Whether to drop the event if it cannot be sent at once.
            compress: Whether the transport may compress the event.

        Returns:
            A handle, by which the events `Acknowledged` and `AckFailed` refer to this emit.

        Raises:
            OptionError: The name is reserved or missing, or the timeout is invalid.
            PacketError: A value cannot be encoded, or the event exceeds `maxPayload` and the transport is polling.
            BufferFullError: `max_buffered_events` or `max_buffered_bytes` would be exceeded.
        """
        if isinstance(args, str):
            raise TypeError(f"args must be a list of the event's name and its values, not a str: write [{args!r}]")
        connection = self._connection
        connection.advance(now)
        args = list(args)
        check_event(args)
        if timeout is UNSET:
            timeout = self._options.ack_timeout
        else:
            check_option("timeout", timeout)
        emit = Emit(self._next_handle, args, ack=ack, timeout=timeout, compress=compress)
        if self._options.retries and not volatile:
            self._enqueue(emit, now)
        else:
            self._emit_once(emit, now, volatile=volatile)
        self._next_handle += 1
        return emit.handle

    def acknowledge(self, ack_id: AckId, args: Sequence[Any], now: float, *, compress: bool = True) -> None:
        """Acknowledge an event. The acknowledgement is dropped if the connection of the event has ended.

        Raises:
            PacketError: A value cannot be encoded.
        """
        if not isinstance(ack_id, tuple):
            raise TypeError(f"ack_id must be that of an EventReceived that requests an acknowledgement, not {ack_id!r}")
        if isinstance(args, str):
            raise TypeError(f"args must be a list of values, not a str: write [{args!r}]")
        connection = self._connection
        connection.advance(now)
        epoch, wire_id = ack_id
        frames = connection.encode(Packet(ACK, self.name, list(args), wire_id))
        if self.connected and epoch == self._epoch:
            connection.send_frames(frames, now, compress=compress)

    def forget(self, handle: int, now: float) -> None:
        """Withdraw an emit that has not been sent. If it has been sent, only stop reporting its outcome."""
        self._connection.advance(now)
        emit = self._emits.get(handle) or self._unsent.get(handle)
        if emit is None:
            return
        emit.ack = False
        if not (emit.queued and emit.tries):  # an event that has been sent once is still retried
            self._remove(emit)

    def drop_buffered(self, now: float) -> int:
        """Drop all events that have not been sent, and return how many. Awaited acknowledgements fail.

        An event that has been sent is still retried.
        """
        self._connection.advance(now)
        dropped = [*self._unsent.values(), *(emit for emit in self._queue if not emit.tries)]
        for emit in dropped:
            self._fail(
                emit, DisconnectedError(f"event {emit.args[0]!r} was dropped by drop_buffered() before it was sent")
            )
        return len(dropped)

    # Notifications of the connection

    def on_open(self, now: float) -> None:
        """Join the namespace: the connection is open."""
        self._advance(now)

    def on_failed(self, error: Exception) -> None:
        """Report that the connection could not be opened, or that an error is about to close it."""
        if self.active and not self.connected:
            self._deliver_connect_failed(error)

    def on_closed(self, reason: DisconnectReason, details: Exception | None) -> None:
        """Report that the connection is closed."""
        self._end_join()
        if self.active:
            self._left(reason, details)

    def on_aborted(self) -> None:
        """Drop all buffered events, because the connection was aborted."""
        error = DisconnectedError("aborted before the event was acknowledged", "forced close")
        for emit in [*(self._unsent | self._emits).values()]:
            self._fail(emit, error)

    def on_answer(self, value: Any, now: float) -> None:
        """Send CONNECT with the application's answer to the question about `auth`."""
        if self._join is not JoinState.ASKING:
            return
        error = auth_error(value)
        if error is not None:
            self._auth_failed(error, now)
        else:
            self._send_connect(value, now)

    def on_packet(self, packet: Packet, now: float) -> None:
        """Handle a received packet of this namespace."""
        kind = packet.type
        if kind == EVENT:
            ack_id = None if packet.id is None else (self._epoch, packet.id)
            event = EventReceived(self.name, packet.data, ack_id, packet.size)
            if self._join is _JOINED:
                self._deliver_event(event)
            elif self._join is JoinState.SENT:
                self._buffer_early(event, now)
        elif kind == ACK:
            self._ack_received(packet, now)
        elif kind == CONNECT:
            self._connect_received(packet, now)
        elif kind == DISCONNECT:
            self._disconnect_received(now)
        elif kind == CONNECT_ERROR:
            self._connect_error_received(packet, now)

    def timer_fired(self, name: str | int, now: float) -> None:
        if name == "join":
            self._join_due(now)
        elif name == "left":
            self._rejoin_due(now)
        elif isinstance(name, int):
            self._ack_timed_out(self._emits[name], now)

    # Joining and leaving

    def _change(self, join: JoinState) -> None:
        self._join = transition(JOIN_TRANSITIONS, self._join, join)

    def _advance(self, now: float) -> None:
        """Begin to join if the namespace is active, has not joined and the connection is open."""
        if self.active and self._join is JoinState.NONE and self._connection.is_open:
            self._begin_join(now)

    def _begin_join(self, now: float) -> None:
        self._limit_join(self._connection.options.timeout, now)
        if self._auth is ASK:
            self._change(JoinState.ASKING)
            self._connection.ask("auth", self.name)
        else:
            self._send_connect(self._auth, now)

    def _limit_join(self, limit: float | None, now: float) -> None:
        self._join_limit = limit
        if limit is None:
            self._connection.timers.cancel(self, "join")
        else:
            self._connection.timers.set(self, "join", now + limit)

    def _join_due(self, now: float) -> None:
        if self._join is JoinState.WAITING:
            self._begin_join(now)
        elif self._join is JoinState.ASKING:
            limit = self._join_limit or 0.0
            error = OpenTimeout(f"the question about auth was not answered within {limit:g} seconds")
            self._auth_failed(chained(ConnectError(f"auth failed: {error}"), error), now)
        else:
            limit = self._join_limit or 0.0
            server = f"the server {self._connection.url.address}"
            error = OpenTimeout(
                f"{server} did not answer CONNECT for {self.name} within {limit:g} seconds: the session is open, but the "
                "namespace was neither accepted nor refused; check the server's middleware"
            )
            if not self._connection.join_failed(error, now):
                self._deliver_connect_failed(error)
                self._limit_join(max(limit, _SHORTEST_RENEWAL), now)

    def _auth_failed(self, error: ConnectError, now: float) -> None:
        """Ask the application again after a delay, or give up."""
        delay = self._connection.retry_delay(self._auth_failures)
        if delay is None:
            self._refused(error, now)
        else:
            self._auth_failures += 1
            self._change(JoinState.WAITING)
            self._connection.timers.set(self, "join", now + delay)
            self._deliver_connect_failed(error)

    def _send_connect(self, auth: Mapping[str, Any] | None, now: float) -> None:
        recovery = {"pid": self._pid, "offset": self._offset}
        payload: dict[str, Any] = {key: value for key, value in recovery.items() if value is not None}
        payload.update(auth or {})  # keys of the application take precedence
        try:
            frames = self._connection.encode(Packet(CONNECT, self.name, payload or auth))
        except PacketError as error:
            # Ask again only if the value can change: the application may answer differently.
            fail = self._auth_failed if self._join is JoinState.ASKING else self._refused
            fail(chained(ConnectError(f"auth cannot be sent: {error}"), error), now)
            return
        self._change(JoinState.SENT)
        self._auth_failures = 0
        self._epoch += 1
        self._connection.send_frames(frames, now, compress=True)

    def _connect_received(self, packet: Packet, now: float) -> None:
        if self._join is JoinState.ABANDONED:
            if session_id(packet) is not None:
                self._send_disconnect(now)
            else:
                self._change(JoinState.NONE)
                self._advance(now)
        elif self._join is JoinState.SENT:
            sid = session_id(packet)
            if sid is None:
                self._end_join()
                self._deliver_connect_failed(ConnectError(V2_SERVER))
            else:
                self._joined(sid, packet.data.get("pid"), now)

    def _joined(self, sid: str, pid: Any, now: float) -> None:
        pid = pid if isinstance(pid, str) else None
        self.sid = sid
        self.recovered = pid is not None and pid == self._pid
        if not self.recovered:
            self._offset = None
        self._pid = pid
        self._connection.timers.cancel(self, "join")
        self._change(JoinState.JOINED)
        for event in self._take_early():
            self._deliver_event(event)
        self._send_unsent(now)
        self._send_next_queued(now)
        if self.connected:  # sending may have closed the connection
            self._connection.outbox.deliver(Connected(self.name, sid, self.recovered))

    def _connect_error_received(self, packet: Packet, now: float) -> None:
        if self._join is JoinState.ABANDONED:
            self._change(JoinState.NONE)
            self._advance(now)
        elif self._join is JoinState.SENT:
            self._refused(refusal(self.name, packet.data), now)

    def _refused(self, error: ConnectError, now: float) -> None:
        self._change(JoinState.NONE)
        self._deactivate(now)
        self._deliver_connect_failed(error)

    def _disconnect_received(self, now: float) -> None:
        if self._join is _JOINED:
            self._deactivate(now)
            self._left("io server disconnect", None)

    def _deactivate(self, now: float) -> None:
        self.active = False
        self._auth_failures = 0
        if self._join in {JoinState.SENT, JoinState.ABANDONED}:
            self._end_join(JoinState.ABANDONED)
        elif self._join is not JoinState.LEFT:
            self._end_join()
        self._connection.release(now)

    def _send_disconnect(self, now: float) -> bool:
        """Leave the namespace. Return False if that has closed the connection."""
        try:
            frames = self._connection.encode(Packet(DISCONNECT, self.name))
        except PacketError as error:  # a custom parser may refuse any packet
            self._connection.protocol_error(error, now)
            return False
        self._end_join(JoinState.LEFT)
        self._connection.timers.set(self, "left", now + _REJOIN_DELAY)
        self._connection.send_frames(frames, now, compress=True)
        return self._join is JoinState.LEFT

    def _rejoin_due(self, now: float) -> None:
        """Join again if the namespace is active, and DISCONNECT has been written."""
        if self._connection.sends_at_once:
            self._change(JoinState.NONE)
            self._advance(now)
        else:
            self._connection.timers.set(self, "left", now + _REJOIN_DELAY)

    def _end_join(self, join: JoinState = JoinState.NONE) -> None:
        """Reset the state of the join, which has ended."""
        self._connection.timers.cancel(self, "join")
        self._connection.timers.cancel(self, "left")
        self._change(join)
        self.sid = None
        self._take_early()

    def _left(self, reason: DisconnectReason, details: Exception | None) -> None:
        self._connection.outbox.deliver(Disconnected(self.name, reason, details, self.active))
        self._fail_awaited_acks(reason, details)

    def _deliver_connect_failed(self, error: Exception) -> None:
        self._connection.outbox.deliver(ConnectFailed(self.name, error, self.active))

    # Events from the server

    def _buffer_early(self, event: EventReceived, now: float) -> None:
        """Buffer an event that arrived before the response to CONNECT."""
        self._early.append(event)
        self._early_bytes += event.size
        options = self._connection.options
        most = min(options.max_buffered_bytes, options.max_message_size // 16)  # decoded, they are larger
        is_large = len(self._early) > 1 and self._early_bytes > most
        if is_large or len(self._early) > min(_MAX_EARLY, options.max_buffered_events):
            error = PacketError("the server sent too many events before it accepted the namespace")
            self._connection.protocol_error(error, now)

    def _take_early(self) -> list[EventReceived]:
        early, self._early, self._early_bytes = self._early, [], 0
        return early

    def _deliver_event(self, event: EventReceived) -> None:
        self._counters.events_received += 1
        self._connection.outbox.deliver(event)
        if self._pid is not None and event.ack_id is None and len(event.args) > 1:
            last = event.args[-1]
            if isinstance(last, str) and len(last) <= _MAX_OFFSET:
                self._offset = last

    # Events to the server

    def _emit_once(self, emit: Emit, now: float, *, volatile: bool) -> None:
        connection = self._connection
        wire_id = self._next_wire_id if emit.ack else None
        frames = connection.encode(Packet(EVENT, self.name, emit.args, wire_id))
        is_dropped = volatile and not connection.sends_at_once
        if not is_dropped:
            self._check_space(emit, frames, sends=self._join is _JOINED)
        if emit.ack:
            self._expect_ack(emit, now)
        if is_dropped:
            if self.report_sent:
                connection.outbox.deliver(EventDropped(self.name, emit.args))
            return
        if self._join is _JOINED:
            self._transmit(emit, frames, now)
        else:
            emit.frames = frames
            self._unsent[emit.handle] = emit
            self._buffered(emit)

    def _buffered(self, emit: Emit) -> None:
        self._connection.buffered(1, emit.size)
        if self.report_sent:
            self._connection.outbox.deliver(EventBuffered(self.name, emit.args, emit.size))

    def _check_space(self, emit: Emit, frames: Frames, *, sends: bool) -> None:
        """Raise an error if an event cannot be sent or buffered."""
        count = len(frames)
        emit.size = len(frames[0]) if count == 1 else sum(map(len, frames))
        limits = self._connection.limits
        if emit.size > limits.sure_size or count > MOST_FRAMES:
            limits.check(emit, frames, sends=sends)
        if not self._connection.has_space(emit.size):
            raise BufferFullError(
                f"the send buffer is full: no space for an event of {emit.size} bytes; wait for the connection, or raise "
                "max_buffered_events or max_buffered_bytes"
            )

    def _send_unsent(self, now: float) -> None:
        for emit in list(self._unsent.values()):
            if not self.connected:
                return
            try:
                self._connection.limits.check(emit, emit.frames, sends=True)
            except PacketError as error:
                self._drop(emit, error)
                continue
            del self._unsent[emit.handle]
            self._connection.buffered(-1, -emit.size)
            frames, emit.frames = emit.frames, ()
            self._transmit(emit, frames, now)

    def _transmit(self, emit: Emit, frames: Frames, now: float) -> None:
        emit.tries += 1
        self._counters.events_sent += 1
        if self.report_sent:
            wire_id = emit.wire_id if emit.ack else None
            self._connection.outbox.deliver(EventSent(self.name, emit.args, emit.size, wire_id, emit.tries))
        self._connection.send_frames(frames, now, compress=emit.compress)

    def _remove(self, emit: Emit) -> None:
        """Remove an emit from all containers, without reporting its outcome."""
        self._forget_ack(emit)
        self._emits.pop(emit.handle, None)
        if self._unsent.pop(emit.handle, None) is not None:
            self._connection.buffered(-1, -emit.size)
        elif emit.queued:
            self._queue.remove(emit)
            self._connection.buffered(-1, -emit.size)

    def _fail(self, emit: Emit, error: Exception) -> None:
        wire_id = emit.wire_id
        self._remove(emit)
        if emit.ack:
            self._connection.outbox.deliver(AckFailed(self.name, emit.handle, error, emit.args[0], wire_id))

    def _drop(self, emit: Emit, error: Exception) -> None:
        """Give up an event that the server cannot receive. Report that, also if no acknowledgement was requested."""
        if not emit.ack:
            self._connection.outbox.deliver(EventDropped(self.name, emit.args, error))
        self._fail(emit, error)

    # Acknowledgements

    def _expect_ack(self, emit: Emit, now: float) -> None:
        emit.wire_id = self._next_wire_id
        self._next_wire_id += 1
        self._emits[emit.handle] = emit
        self._sent[emit.wire_id] = emit
        if emit.timeout is not None:
            self._connection.timers.set(self, emit.handle, now + emit.timeout)

    def _forget_ack(self, emit: Emit) -> None:
        """Stop waiting for the acknowledgement of an emit: drop its id and its timeout."""
        if emit.wire_id is not None:
            del self._sent[emit.wire_id]
            emit.wire_id = None
            self._connection.timers.cancel(self, emit.handle)

    def _ack_received(self, packet: Packet, now: float) -> None:
        emit = self._sent.get(packet.id) if packet.id is not None and self.connected else None
        if emit is None:
            return
        self._remove(emit)
        if emit.ack:
            self._connection.outbox.deliver(Acknowledged(self.name, emit.handle, packet.data, emit.args[0], packet.id))
        self._send_next_queued(now)

    def _ack_timed_out(self, emit: Emit, now: float) -> None:
        error = AckTimeout(f"event {emit.args[0]!r} was not acknowledged within {emit.timeout:g} seconds")
        if emit.queued:
            self._try_failed(emit, error)
            self._send_next_queued(now)
        else:
            self._fail(emit, error)

    def _fail_awaited_acks(self, reason: DisconnectReason, details: Exception | None) -> None:
        """Fail the acknowledgements that were awaited on the connection that has ended."""
        error = DisconnectedError(f"disconnected before the acknowledgement arrived: {reason}", reason)
        was_too_large = is_too_large(details)
        for emit in list(self._sent.values()):
            if was_too_large and emit.excess is not None and emit.tries:
                self._drop(emit, chained(PacketError(emit.excess), error))
            elif emit.queued and emit.timeout is None:
                # The JavaScript client does not count this as a failed try: the event waits for the next connection.
                self._forget_ack(emit)
            elif emit.queued:
                self._try_failed(emit, error)
            elif emit.handle not in self._unsent:
                self._fail(emit, error)

    # Retries: one event is in flight; the next is sent when it is acknowledged or given up

    def _enqueue(self, emit: Emit, now: float) -> None:
        self._check_space(emit, self._connection.encode(Packet(EVENT, self.name, emit.args)), sends=False)
        emit.queued = True
        if self._queue is _NONE_QUEUED:
            self._queue = deque()
        self._queue.append(emit)
        self._emits[emit.handle] = emit
        self._buffered(emit)
        self._send_next_queued(now)

    def _send_next_queued(self, now: float) -> None:
        """Send the first event of the queue, unless it is in flight."""
        while self.connected and self._queue and self._queue[0].wire_id is None:
            emit = self._queue[0]
            try:
                frames = self._connection.encode(Packet(EVENT, self.name, emit.args, self._next_wire_id))
                self._connection.limits.check(emit, frames, sends=True)
            except PacketError as error:  # it is too large, or the application has modified a list or a dict in it
                self._drop(emit, error)
            else:
                self._expect_ack(emit, now)
                self._transmit(emit, frames, now)

    def _try_failed(self, emit: Emit, error: Exception) -> None:
        """Give up an emit after its last try. Otherwise leave it at the head of the queue."""
        self._forget_ack(emit)
        if emit.tries > self._options.retries:
            self._fail(emit, error)
