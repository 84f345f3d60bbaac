"""One Engine.IO session: handshake, heartbeat, write buffer, upgrade, close (Engine.IO protocol 4).

Rules of this file:

- A session is opened once. `states.SESSION_TRANSITIONS` lists its states and transitions.
- Packets are sent in the order of `send`, over the current transport, one batch at a time: the next batch is sent when
  the transport has drained. Nothing is sent between the response to the probe and the switch of transports.
- The handshake and each ping restart the ping timeout. Other packets do not.
- A session notifies its observer by calling it, in order. `on_engine_close` is called once, as the last notification.
- Closing takes at most `close_timeout`. A transport may use the remaining time to complete its close handshake after the
  session has ended.

`ClientProtocol` embeds sessions. `EngineProtocol` is a machine for a single session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from random import Random
from types import MappingProxyType
from typing import Final, Protocol

from .actions import Outbox
from .engine_options import transport_classes, transport_options
from .errors import PacketError, TransportError
from .events import (
    Data,
    DisconnectReason,
    EngineFlushed,
    EnginePacket,
    EnginePacketCreated,
    EnginePacketReceived,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
)
from .options import EngineOptions
from .packets.engineio import MESSAGE, OPEN, PING, PONG, TYPES, UPGRADE, Packet, decode_handshake, encoded_size
from .states import SESSION_TRANSITIONS, UPGRADE_TRANSITIONS, SessionState, UpgradeState, transition
from .timers import Timers
from .transports.base import CloseReason, Endpoint, Transport
from .transports.cookies import CookieJar
from .url import URL

_OPENING: Final = SessionState.OPENING
_OPEN: Final = SessionState.OPEN
_CLOSED: Final = SessionState.CLOSED
_PAUSING: Final = UpgradeState.PAUSING
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_PROBE: Final = "probe"
_PACKET_SIZE: Final = 100
"""The memory that a buffered packet takes in addition to its data, in bytes."""


class EngineObserver(Protocol):
    """The notifications of a session. It delivers its other events (upgrades, packets, flushes) to the outbox itself."""

    def on_engine_open(self, engine: EngineSession, now: float) -> None: ...
    def on_engine_message(self, engine: EngineSession, data: Data, now: float) -> None: ...
    def on_engine_ping(self, engine: EngineSession, now: float) -> None: ...
    def on_engine_drain(self, engine: EngineSession, now: float) -> None: ...
    def on_engine_close(
        self, engine: EngineSession, reason: DisconnectReason, details: Exception | None, now: float
    ) -> None: ...


class Memory:
    """State that outlives a session: the cookies, and whether WebSocket worked the last time (`remember_upgrade`)."""

    __slots__ = ("cookies", "websocket_worked")

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self.websocket_worked = False


class EngineSession:
    """An Engine.IO session, from its handshake to its close. It implements `Session` for its transports.

    Attributes:
        number: The number of the session in its machine, counted from 1.
        url: The server.
        options: The options of the session.
        state: The state of the session.
        sid: The id that the server assigned, or None before the handshake.
        max_payload: The size of the largest HTTP body that the server accepts, in bytes, or None.
        buffered_bytes: The size of the packets that are buffered or in flight: text in characters, binary in bytes.
        buffer_size: The approximate memory that these packets take, in bytes.
        report_packets: Whether to deliver an event for each packet that is received or created, and for each flush.
    """

    def __init__(
        self,
        url: URL,
        options: EngineOptions,
        observer: EngineObserver,
        *,
        number: int = 1,
        memory: Memory,
        outbox: Outbox,
        timers: Timers,
        random: Random,
    ) -> None:
        self.number = number
        self.state = SessionState.NEW
        self.sid: str | None = None
        self.max_payload: int | None = None
        self.buffered_bytes = 0
        self.buffer_size = 0
        self.report_packets = False
        self.url = url
        self.options = options
        self._observer = observer
        self._query = _NONE
        self._headers = _NONE
        self._memory = memory
        self._outbox = outbox
        self._counters = outbox.counters
        self._timers = timers
        self._random = random
        self._candidates = list(transport_classes(options))
        self._upgrades: list[str] = []
        self._transport: Transport | None = None
        self._probe: Transport | None = None
        self._upgrade = UpgradeState.NONE
        self._buffer: list[Packet] = []
        self._pong_buffered = False
        self._in_flight = False
        self._bytes_in_flight = 0
        self._ping_wait = 0.0
        self._close_by = inf

    @property
    def transport(self) -> str | None:
        """The name of the transport in use."""
        return None if self._transport is None else self._transport.name

    @property
    def progress(self) -> str:
        """How far opening the session has come, for the error if it takes too long."""
        return "" if self._transport is None else self._transport.progress

    @property
    def sends_at_once(self) -> bool:
        """Whether a message would be sent immediately."""
        transport = self._transport
        return (
            self.state is _OPEN
            and transport is not None
            and transport.writable
            and self._upgrade is not _PAUSING
            and not self._buffer
        )

    # Commands

    def open(self, now: float, *, query: Mapping[str, str] = _NONE, headers: Mapping[str, str] = _NONE) -> None:
        """Begin the handshake on the first transport, or on WebSocket if that worked the last time.

        The application's `query` and `headers` are sent with each request.
        """
        self._change(SessionState.OPENING)
        self._query, self._headers = query, headers
        remembered = self.options.remember_upgrade and self._memory.websocket_worked
        self._memory.websocket_worked = False  # set again when WebSocket has opened
        name = "websocket" if remembered and "websocket" in self._candidates else self._candidates[0]
        self._open_on(name, now)

    def send(self, messages: Sequence[Data], now: float, *, compress: bool = True) -> None:
        """Send messages in one batch. While the session is closing or closed they are dropped."""
        if self.state is _OPEN or self.state is _OPENING:
            self._write([Packet(MESSAGE, data, compress) for data in messages], now)

    def close(self, now: float) -> None:
        """Close when the write buffer has drained and an upgrade in progress has completed, within `close_timeout`."""
        if self.state is _OPEN:
            self._change(SessionState.CLOSING)
            self._close_by = now + self.options.close_timeout
            self._timers.set(self, "close", self._close_by)
            self._continue_closing(now)
        elif self.state in {SessionState.NEW, SessionState.OPENING}:
            self._end("forced close", None, now)

    def abort(self, now: float) -> None:
        """Close at once. Buffered packets are dropped."""
        if self.state is not _CLOSED:
            if self._transport is not None:
                self._transport.abort()
            self._end("forced close", None, now, notify_peer=False)

    def fail(self, error: Exception, now: float) -> None:
        """Close with a transport error that the user of the session has detected."""
        self._end("transport error", error, now)

    # Notifications of transports (transports.base.Session)

    def on_open(self, transport: Transport, now: float) -> None:
        if transport is self._probe:
            self._counters.packets_sent += 1
            transport.send([Packet(PING, _PROBE)], now)

    def on_packet(self, transport: Transport, packet: Packet, now: float) -> None:
        self._counters.packets_received += 1
        if transport is not self._transport:
            self._probe_answered(transport, packet, now)
            return
        if self.report_packets:
            self._outbox.deliver(EnginePacketReceived(_named(packet), session=self.number))
        if self.state is _OPENING:
            self._handshake(transport, packet, now)
        elif packet.type == MESSAGE:
            self._observer.on_engine_message(self, packet.data, now)
        elif packet.type == PING:
            self._pinged(now)
        elif packet.type == OPEN:
            self._fail("the server sent a second handshake", now)

    def on_drain(self, transport: Transport, now: float) -> None:
        if transport is not self._transport:
            return
        self.buffered_bytes -= self._bytes_in_flight
        self.buffer_size -= self._bytes_in_flight
        self._bytes_in_flight = 0
        self._in_flight = False
        if self._buffer:
            self._flush(now)
        else:
            self._observer.on_engine_drain(self, now)
            self._continue_closing(now)

    def on_pause(self, transport: Transport, now: float) -> None:
        if self._probe is not None:
            self._switch(transport, self._probe, now)

    def on_close(self, transport: Transport, reason: CloseReason, details: TransportError, now: float) -> None:
        if transport is not self._transport:
            self._probe_failed(transport, f"probe error: {details}", now, details)
            return
        if reason == "transport error":
            self._memory.websocket_worked = False
        self._candidates = [name for name in self._candidates if name != transport.name]
        if self.state is _OPENING and self.options.try_all_transports and self._candidates:
            self._open_on(self._candidates[0], now)
        else:
            self._end(reason, details, now, notify_peer=False)

    def timer_fired(self, name: str | int, now: float) -> None:
        if name != "ping":
            self.abort(now)
        elif self._outbox.backlog:  # a ping may be among the packets that are not handled yet
            self._restart_ping_timeout(now)
        else:
            self._end("ping timeout", None, now)

    # The handshake and the heartbeat

    def _open_on(self, name: str, now: float) -> None:
        self._transport = self._create(name)
        self._transport.open(now)

    def _create(self, name: str) -> Transport:
        options = transport_options(self.options, name)
        own = self.options.transport_options.get(name, {})
        endpoint = Endpoint(
            url=self.url,
            options=options,
            random=self._random,
            query={**self._query, **own.get("query", {})},
            headers={**self._headers, **own.get("extra_headers", {})},
            sid=self.sid,
            cookies=self._memory.cookies if options.with_credentials else None,
        )
        return transport_classes(self.options)[name](endpoint, self, self._outbox, self._timers)

    def _handshake(self, transport: Transport, packet: Packet, now: float) -> None:
        if packet.type != OPEN:
            self._fail(f"{self.url.address} sent {_show(packet)} before the handshake", now)
            return
        try:
            handshake = decode_handshake(str(packet.data))
        except PacketError as error:
            self._fail(f"the handshake of {self.url.address} is invalid: {error}", now, error)
            return
        self._change(SessionState.OPEN)
        self.sid = transport.endpoint.sid = handshake.sid
        self._ping_wait = handshake.ping_interval + handshake.ping_timeout
        self.max_payload = handshake.max_payload
        self._memory.websocket_worked = transport.name == "websocket"
        self._restart_ping_timeout(now)
        self._observer.on_engine_open(self, now)
        self._flush(now)
        self._begin_probe(transport.name, handshake.upgrades, now)

    def _pinged(self, now: float) -> None:
        self._restart_ping_timeout(now)
        if not self._pong_buffered:  # a peer that pings and never reads must not fill the buffer
            self._pong_buffered = True
            self._write([Packet(PONG)], now)
        if self.state is not _CLOSED:  # writing may have closed the session
            self._observer.on_engine_ping(self, now)

    def _restart_ping_timeout(self, now: float) -> None:
        self._timers.set(self, "ping", now + self._ping_wait)

    # The upgrade

    def _begin_probe(self, current: str, offered: Sequence[str], now: float) -> None:
        """Probe the transports that client and server support, one after the other, until one works."""
        if self.options.upgrade:
            self._upgrades = [name for name in self._candidates if name in offered and name != current]
            self._probe_next(now)

    def _probe_next(self, now: float) -> None:
        if self._upgrades and self.state is _OPEN:
            self._change_upgrade(UpgradeState.PROBING)
            self._probe = self._create(self._upgrades.pop(0))
            self._probe.open(now)

    def _probe_answered(self, probe: Transport, packet: Packet, now: float) -> None:
        if self._upgrade is _PAUSING or packet.type != PONG or packet.data != _PROBE:
            probe.close(now)
            self._probe_failed(probe, f"probe error: the server answered the probe with {_show(packet)}", now)
            return
        self._change_upgrade(UpgradeState.PAUSING)
        self._outbox.deliver(EngineUpgrading(probe.name, session=self.number))
        if self._transport is not None and self._probe is probe:
            self._transport.pause(now)

    def _switch(self, old: Transport, new: Transport, now: float) -> None:
        self._transport, self._probe = new, None
        self._change_upgrade(UpgradeState.NONE)
        self._memory.websocket_worked = new.name == "websocket"
        old.abort()
        self._buffer.insert(0, Packet(UPGRADE))
        self.buffer_size += _PACKET_SIZE
        self._outbox.deliver(EngineUpgraded(new.name, session=self.number))
        self._flush(now)

    def _probe_failed(self, probe: Transport, message: str, now: float, cause: TransportError | None = None) -> None:
        was_pausing = self._upgrade is _PAUSING
        self._probe = None
        self._change_upgrade(UpgradeState.NONE)
        error = TransportError(
            message,
            transport=probe.name,
            status=cause.status if cause else None,
            body=cause.body if cause else None,
            close_code=cause.close_code if cause else None,
        )
        error.__cause__ = cause
        self._outbox.deliver(EngineUpgradeFailed(error, session=self.number))
        if was_pausing and self._transport is not None and self.state is not _CLOSED:
            self._transport.resume(now)
            self._flush(now)
            self._continue_closing(now)
        self._probe_next(now)

    # The write buffer

    def _write(self, packets: Sequence[Packet], now: float) -> None:
        if self.report_packets:
            for packet in packets:
                self._outbox.deliver(EnginePacketCreated(_named(packet), session=self.number))
        for packet in packets:
            size = len(packet.data)
            self._buffer.append(packet)
            self.buffered_bytes += size
            self.buffer_size += size + _PACKET_SIZE
        self._flush(now)

    def _flush(self, now: float) -> None:
        transport = self._transport
        if transport is None or not transport.writable or self._upgrade is _PAUSING or self.state is _OPENING:
            return
        if self._buffer:
            packets = self._buffer
            if self.max_payload is not None and len(packets) > 1 and transport.name == "polling":
                packets = self._take_batch(self.max_payload)
            else:
                self._buffer = []
                self._pong_buffered = False
                self._bytes_in_flight = self.buffered_bytes
            self._in_flight = True
            self.buffer_size -= _PACKET_SIZE * len(packets)
            self._counters.packets_sent += len(packets)
            transport.send(packets, now)
            # The JavaScript client sends its UPGRADE packet directly, without a flush.
            if self.report_packets and self.state is not _CLOSED and packets[-1].type != UPGRADE:
                self._outbox.deliver(EngineFlushed(session=self.number))

    def _take_batch(self, max_payload: int) -> list[Packet]:
        """Remove and return the packets of the next POST request: as many as `maxPayload` allows, but at least one."""
        packets = self._buffer
        count, size = 1, encoded_size(packets[0])
        for packet in packets[1:]:
            size += 1 + encoded_size(packet)  # with the separator
            if size > max_payload:
                break
            count += 1
        self._buffer = packets[count:]
        self._pong_buffered = any(packet.type == PONG for packet in self._buffer)
        self._bytes_in_flight = sum([len(packet.data) for packet in packets[:count]])
        return packets[:count]

    # The end

    def _change(self, state: SessionState) -> None:
        self.state = transition(SESSION_TRANSITIONS, self.state, state)

    def _change_upgrade(self, state: UpgradeState) -> None:
        self._upgrade = transition(UPGRADE_TRANSITIONS, self._upgrade, state)

    def _continue_closing(self, now: float) -> None:
        is_drained = not self._buffer and not self._in_flight and self._upgrade is not _PAUSING
        if self.state is SessionState.CLOSING and is_drained:
            self._end("forced close", None, now)

    def _fail(self, message: str, now: float, cause: Exception | None = None) -> None:
        """End the session because the server violated the protocol."""
        error = TransportError(message, transport=self.transport)
        error.__cause__ = cause
        self._end("transport error", error, now)

    def _end(
        self, reason: DisconnectReason, details: Exception | None, now: float, *, notify_peer: bool = True
    ) -> None:
        if self.state is _CLOSED:
            return
        self._change(SessionState.CLOSED)
        self._timers.cancel(self, "ping")
        self._timers.cancel(self, "close")
        probe, transport = self._probe, self._transport
        self._probe = None
        self._change_upgrade(UpgradeState.NONE)
        self._buffer = []
        self.buffered_bytes = self.buffer_size = self._bytes_in_flight = 0
        if probe is not None:
            probe.abort()
            error = TransportError(f"probe error: the session ended: {reason}", transport=probe.name)
            error.__cause__ = details
            self._outbox.deliver(EngineUpgradeFailed(error, session=self.number))
        if transport is not None:
            transport.endpoint.close_by = self._close_by
            if notify_peer:
                transport.close(now)
        self._observer.on_engine_close(self, reason, details, now)


def _named(packet: Packet) -> EnginePacket:
    return EnginePacket(TYPES[packet.type], packet.data, packet.compress)


def _show(packet: Packet) -> str:
    """Describe a packet from the server without its contents, for an error message."""
    data = packet.data
    unit = "characters" if isinstance(data, str) else "bytes"
    return f"a packet of type {packet.type} ({TYPES[packet.type]}) with {len(data)} {unit}"
