"""One Engine.IO session on the server: handshake, heartbeat, write buffer, upgrade, close (Engine.IO protocol 4).

Rules of this file:

- Packets are sent in the order of `send`, over the current transport, one batch at a time.
- A PING is sent `ping_interval` after the handshake and after each PONG. The session ends if no PONG comes in `ping_timeout`. A
  late tick does not extend that, but leaves the client at least half of it.
- While received packets are still to be handled, what is awaited from the client may be among them. So it is awaited longer.
- While a client probes a WebSocket, packets are still sent over polling. After the probe each GET is answered, so that the
  client can switch: with a NOOP if there is nothing to send, at most one per `_NOOP_DELAY`.
- A session whose write buffer exceeds `max_buffered_bytes` ends.
- A session notifies its observer by calling it. `on_session_close` is called once, as the last notification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, Protocol

from ..actions import Outbox
from ..errors import BufferFullError, TransportError
from ..events import Data
from ..packets.engineio import CLOSE, MESSAGE, NOOP, OPEN, PING, PONG, UPGRADE, Packet
from ..states import transition
from ..timers import Timers
from .events import ServerDisconnectReason, SessionDrained, SessionUpgraded
from .options import EXTENSION, EngineServerOptions
from .polling import ServerPolling
from .states import (
    SERVER_SESSION_TRANSITIONS,
    SERVER_UPGRADE_TRANSITIONS,
    ServerSessionState,
    ServerUpgradeState,
)
from .websocket import ServerWebSocket

ServerTransport = ServerPolling | ServerWebSocket

_OPEN: Final = ServerSessionState.OPEN
_CLOSED: Final = ServerSessionState.CLOSED
_PROBE: Final = "probe"
_NOOP_DELAY: Final = 0.1
_PACKET_SIZE: Final = 100
"""The memory that a buffered packet takes in addition to its data, in bytes."""
_HIGH_WATER: Final = 64 * 1024
"""The size of the write buffer from which on `SessionDrained` is delivered when it has drained."""


class SessionObserver(Protocol):
    """The notifications of a session."""

    def on_session_open(self, session: ServerSession, now: float) -> None: ...
    def on_session_message(self, session: ServerSession, data: Data, now: float) -> None: ...
    def on_session_close(
        self, session: ServerSession, reason: ServerDisconnectReason, details: Exception | None, now: float
    ) -> None: ...


class ServerSession:
    """An Engine.IO session on the server.

    Attributes:
        number: The number of the session in its machine, counted from 1.
        sid: The id of the session. Whoever knows it can send in its name.
        peer: The address of the peer that opened it.
        tls: Whether the stream of the first request is encrypted.
        headers: The headers of the first request, with names in lower case.
        query: Its query parameters.
        state: The state of the session.
        buffered_bytes: The approximate memory for the packets that are buffered or in flight.
    """

    def __init__(
        self,
        number: int,
        sid: str,
        observer: SessionObserver,
        options: EngineServerOptions,
        outbox: Outbox,
        timers: Timers,
        *,
        peer: str,
        tls: bool,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> None:
        self.number = number
        self.sid = sid
        self.peer = peer
        self.tls = tls
        self.headers = headers
        self.query = query
        self.state = ServerSessionState.ASKING
        self.buffered_bytes = 0
        self._observer = observer
        self._options = options
        self._outbox = outbox
        self._counters = outbox.counters
        self._timers = timers
        self._transport: ServerTransport | None = None
        self._probe: ServerWebSocket | None = None
        self._upgrade = ServerUpgradeState.NONE
        self._last_noop = -inf
        self._buffer: list[Packet] = []
        self._bytes_in_flight = 0
        self._is_congested = False
        self._ping_due = 0.0
        self._awaits_pong = False
        self._reason: ServerDisconnectReason = "forced server close"  # of closing

    @property
    def transport(self) -> str:
        """The name of the transport in use."""
        return "" if self._transport is None else self._transport.name

    @property
    def polling(self) -> ServerPolling | None:
        """The polling transport, or None if the session uses another."""
        return self._transport if isinstance(self._transport, ServerPolling) else None

    @property
    def can_upgrade(self) -> bool:
        """Whether a WebSocket may be opened for an upgrade."""
        return self.state is _OPEN and self.polling is not None and self._upgrade is ServerUpgradeState.NONE

    @property
    def sends_at_once(self) -> bool:
        """Whether a message would be sent immediately."""
        transport = self._transport
        return self.state is _OPEN and transport is not None and transport.writable and not self._buffer

    @property
    def writable(self) -> bool:
        """Whether the write buffer is below the high-water mark, or has drained since it was above it."""
        return not self._is_congested

    # Commands

    def open(self, transport: ServerTransport, handshake: str, now: float) -> None:
        """Open the session: send the OPEN packet first."""
        self._change(_OPEN)
        self._transport = transport
        self._schedule_ping(now)
        self._write([Packet(OPEN, handshake)], now)
        self._observer.on_session_open(self, now)

    def refuse(self) -> None:
        """End the session before it was opened."""
        self._change(_CLOSED)

    def send(self, packets: Sequence[Packet], now: float) -> None:
        """Send MESSAGE packets in one batch. While the session is closing or closed they are dropped."""
        if self.state is _OPEN:
            self._write(packets, now)

    def close(self, now: float, reason: ServerDisconnectReason = "forced server close") -> None:
        """Close when the write buffer has drained, within `close_timeout`."""
        if self.state is not _OPEN:
            return
        self._change(ServerSessionState.CLOSING)
        self._reason = reason
        self._timers.set(self, "close", now + self._options.close_timeout)
        self._end_upgrade()
        if self.polling is not None:
            self._write([Packet(CLOSE)], now)
        self._continue_closing(now)

    def abort(self, reason: ServerDisconnectReason, details: Exception | None, now: float) -> None:
        """Close at once. Buffered packets are dropped."""
        self._end(reason, details, now)

    def begin_upgrade(self, probe: ServerWebSocket, now: float) -> None:
        """Await the client's probe on a WebSocket that is about to be opened."""
        self._change_upgrade(ServerUpgradeState.OPENED)
        self._probe = probe
        self._timers.set(self, "upgrade", now + self._options.upgrade_timeout)

    # Notifications of transports

    def on_packet(self, transport: ServerTransport, packet: Packet, now: float) -> None:
        self._counters.packets_received += 1
        kind = packet.type
        if transport is not self._transport:
            if transport is self._probe and isinstance(transport, ServerWebSocket):
                self._probed(transport, packet, now)
        elif kind == MESSAGE:
            if self.state is _OPEN:
                self._observer.on_session_message(self, packet.data, now)
        elif kind == PONG:
            self._ponged(now)
        elif kind == CLOSE:
            details = TransportError("the client closed the session", transport=transport.name)
            self._end("transport close", details, now, last=NOOP)
        elif kind != NOOP:
            what = f"the client sent a packet of type {kind}, which only servers send or only a probe has"
            self._end("transport error", TransportError(what, transport=transport.name), now)

    def on_drain(self, transport: ServerTransport, now: float) -> None:
        if transport is not self._transport:
            return
        self.buffered_bytes -= self._bytes_in_flight
        self._bytes_in_flight = 0
        self._flush(now)
        if not self.buffered_bytes and self._is_congested:
            self._is_congested = False
            self._outbox.deliver(SessionDrained(self.number))
        self._let_switch(now)
        self._continue_closing(now)

    def on_pause(self, transport: ServerTransport, now: float) -> None:
        """Do nothing: a server does not pause transports."""

    def on_close(
        self, transport: ServerTransport, reason: ServerDisconnectReason, details: TransportError, now: float
    ) -> None:
        if transport is self._probe:
            self._end_upgrade()
        elif transport is self._transport:
            self._end(reason, details, now)

    def timer_fired(self, name: str | int, now: float) -> None:
        if name == "ping":
            self._ping(now)
        elif name == "pong":
            if self._outbox.backlog:
                self._timers.set(self, "pong", now + EXTENSION)
            else:
                self._end("ping timeout", None, now)
        elif name == "upgrade":
            if self._probe in self._outbox.backlog:
                self._timers.set(self, "upgrade", now + EXTENSION)
            else:
                self._end_upgrade()
        elif name == "noop":
            self._let_switch(now)
        else:
            self._end(self._reason, None, now)

    # The heartbeat

    def _ponged(self, now: float) -> None:
        if self._awaits_pong:
            self._awaits_pong = False
            self._timers.cancel(self, "pong")
            self._schedule_ping(now)

    def _schedule_ping(self, now: float) -> None:
        self._ping_due = now + self._options.ping_interval
        self._timers.set(self, "ping", self._ping_due)

    def _ping(self, now: float) -> None:
        self._awaits_pong = True
        timeout = self._options.ping_timeout
        self._timers.set(self, "pong", max(self._ping_due + timeout, now + timeout / 2))
        self._write([Packet(PING)], now)

    # The upgrade

    def _probed(self, probe: ServerWebSocket, packet: Packet, now: float) -> None:
        if self._upgrade is ServerUpgradeState.OPENED and packet.type == PING and packet.data == _PROBE:
            self._change_upgrade(ServerUpgradeState.PROBED)
            self._counters.packets_sent += 1
            probe.send([Packet(PONG, _PROBE)], now)
            self._let_switch(now)
        elif self._upgrade is ServerUpgradeState.PROBED and packet.type == UPGRADE:
            self._switch(probe, now)
        else:
            self._end_upgrade()

    def _let_switch(self, now: float) -> None:
        """Answer the GET request that waits, because the client waits for its response to switch to WebSocket."""
        polling = self.polling
        if self._upgrade is ServerUpgradeState.PROBED and polling is not None and polling.writable:
            if now >= self._last_noop + _NOOP_DELAY:
                self._last_noop = now
                polling.send([Packet(NOOP)], now)
            else:
                self._timers.set(self, "noop", self._last_noop + _NOOP_DELAY)

    def _switch(self, probe: ServerWebSocket, now: float) -> None:
        polling = self.polling
        self._change_upgrade(ServerUpgradeState.DONE)
        self._transport, self._probe = probe, None
        self._timers.cancel(self, "upgrade")
        self._timers.cancel(self, "noop")
        if polling is not None:
            polling.close(now, NOOP)
        self.buffered_bytes -= self._bytes_in_flight
        self._bytes_in_flight = 0
        self._outbox.deliver(SessionUpgraded(self.number, probe.name))
        self._flush(now)

    def _end_upgrade(self) -> None:
        """Close the WebSocket of an upgrade that has not been completed."""
        probe, self._probe = self._probe, None
        if probe is not None:
            self._change_upgrade(ServerUpgradeState.NONE)
            self._timers.cancel(self, "upgrade")
            self._timers.cancel(self, "noop")
            probe.abort()

    # The write buffer

    def _write(self, packets: Sequence[Packet], now: float) -> None:
        self._buffer += packets
        self.buffered_bytes += sum([len(packet.data) + _PACKET_SIZE for packet in packets])
        if self.buffered_bytes > self._options.max_buffered_bytes:
            self._overflow(now)
            return
        if self.buffered_bytes > _HIGH_WATER:
            self._is_congested = True
        self._flush(now)

    def _flush(self, now: float) -> None:
        transport = self._transport
        if transport is None or not transport.writable or not self._buffer:
            return
        packets, self._buffer = self._buffer, []
        self._bytes_in_flight = self.buffered_bytes
        self._counters.packets_sent += len(packets)
        transport.send(packets, now)

    def _overflow(self, now: float) -> None:
        bound = self._options.max_buffered_bytes
        error = BufferFullError(f"the client does not read: more than {bound} bytes (max_buffered_bytes) are buffered")
        self._end("transport error", error, now)

    # The end

    def _change(self, state: ServerSessionState) -> None:
        self.state = transition(SERVER_SESSION_TRANSITIONS, self.state, state)

    def _change_upgrade(self, state: ServerUpgradeState) -> None:
        self._upgrade = transition(SERVER_UPGRADE_TRANSITIONS, self._upgrade, state)

    def _continue_closing(self, now: float) -> None:
        is_drained = not self._buffer and (self.polling is not None or not self._bytes_in_flight)
        if self.state is ServerSessionState.CLOSING and is_drained:
            self._end(self._reason, None, now)

    def _end(self, reason: ServerDisconnectReason, details: Exception | None, now: float, *, last: str = CLOSE) -> None:
        if self.state is _CLOSED:
            return
        self._change(_CLOSED)
        for name in ("ping", "pong", "close"):
            self._timers.cancel(self, name)
        self._end_upgrade()
        self._buffer = []
        self.buffered_bytes = self._bytes_in_flight = 0
        transport = self._transport
        if isinstance(transport, ServerPolling):
            transport.close(now, last)
        elif transport is not None:
            transport.close(now)
        self._observer.on_session_close(self, reason, details, now)
