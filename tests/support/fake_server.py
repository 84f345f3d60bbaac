"""A Socket.IO server that a test controls step by step, around a `ClientProtocol` in virtual time.

The test gives the client its commands (`socket.connect(server.now)`), has the server act (`server.accept()`,
`server.join()`, `server.emit("news")`, `server.lose()`) and lets time pass (`server.advance(5)`). The
application's events since the last call are `server.events()`; the packets that the server received are `server.sent()`.

Below the session is a `Wire`: a transport without HTTP and WebSocket, on which each chunk of bytes is one packet.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, ClassVar
from unittest import mock

from sansio_socketio.protocol import engine_options
from sansio_socketio.protocol.actions import CloseStream, OpenStream, Outbox, Send, SetTimer
from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.errors import TransportError
from sansio_socketio.protocol.events import EngineEvent, MachineEvent
from sansio_socketio.protocol.namespace import Namespace
from sansio_socketio.protocol.options import ClientOptions, NamespaceOptions
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.packets.socketio import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Decoder,
    JSONParser,
    Packet,
    Parser,
)
from sansio_socketio.protocol.timers import Timers
from sansio_socketio.protocol.transports.base import CloseReason, Endpoint, Session, Transport

_MOST_TICKS = 20_000


class Wire(Transport):
    """A transport that closes with a CLOSE packet, and waits for the end of the stream within `close_timeout`."""

    name: ClassVar[str] = "polling"
    breaks_on_send: ClassVar[bool] = False

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        super().__init__(endpoint, session, outbox, timers)
        self._is_open = False
        self._is_closing = False

    def open(self, now: float) -> None:
        url = self.endpoint.url
        self._stream = self.outbox.open_stream(self, url.host, url.port, tls=url.secure, transport=self.name)

    def send(self, packets: Sequence[engineio.Packet], now: float) -> None:
        assert self.writable, "sent while not writable"
        self.writable = False
        if self.breaks_on_send:
            self.abort()
            self.session.on_close(self, "transport error", TransportError("the stream broke"), now)
            return
        for packet in packets:
            self.outbox.send(self._stream, _to_wire(packet))

    def pause(self, now: float) -> None:
        self.session.on_pause(self, now)

    def resume(self, now: float) -> None:
        pass

    def close(self, now: float) -> None:
        if self._is_open:
            self._is_closing = True
            self.outbox.send(self._stream, _to_wire(engineio.Packet(engineio.CLOSE)))
            self.timers.set(self, "close", now + self.endpoint.options.close_timeout)
        else:
            self.abort()

    def abort(self) -> None:
        self.timers.cancel(self, "close")
        self.outbox.close_stream(self._stream, abort=True)

    def timer_fired(self, name: str | int, now: float) -> None:
        self.abort()

    def stream_opened(self, stream: int, now: float) -> None:
        self.writable = self._is_open = True
        self.session.on_open(self, now)

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        self.session.on_close(self, "transport error", TransportError(f"could not connect: {error}"), now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        if not self._is_closing:
            self.session.on_packet(self, _from_wire(bytes(data)), now)

    def data_sent(self, stream: int, now: float) -> None:
        if not self._is_closing and not self.writable:
            self.writable = True
            self.session.on_drain(self, now)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        self.timers.cancel(self, "close")
        if not self._is_closing:
            details = error if isinstance(error, TransportError) else TransportError(f"the stream ended: {error}")
            reason: CloseReason = "transport close" if error is None or details is error else "transport error"
            self.session.on_close(self, reason, details, now)


class BetterWire(Wire):
    """The transport that a `Wire` can be upgraded to."""

    name: ClassVar[str] = "websocket"


@contextmanager
def wires() -> Generator[None]:
    """Let sessions use wires."""
    with mock.patch.object(engine_options, "TRANSPORT_CLASSES", {"polling": Wire, "websocket": BetterWire}):
        yield


def kinds(events: Sequence[MachineEvent]) -> list[type[MachineEvent]]:
    """Return the classes of events, for tests in which the order matters."""
    return [type(event) for event in events]


class FakeServer:
    """A client, and the server that the test controls.

    Attributes:
        client: The client.
        now: The time.
        is_reading: Whether what the client sends is read; otherwise its transport is not writable after one write.
        closes_streams: Whether the server ends its side of a stream that the client closes.
        engine_events: The events of the session.
        streams: The streams that are open or opening, the latest last.
        deadline: When the client's timer is set to fire.
    """

    def __init__(self, url: str = "http://localhost", *, settings: ClientOptions | None = None, **options: Any) -> None:
        self.client = ClientProtocol(url, settings or ClientOptions(**options), random=Random(1))
        self.now = 100.0
        self.is_reading = True
        self.closes_streams = True
        self.engine_events: list[EngineEvent] = []
        self.streams: list[int] = []
        self.deadline: float | None = None
        self._parser: Parser = options.get("parser") or JSONParser()
        self._encoder = self._parser.encoder()
        self._decoders: dict[int, Decoder] = {}
        self._unread: list[int] = []
        self._closing: list[int] = []
        self._events: list[MachineEvent] = []
        self._sent: list[Packet] = []
        self._last_id: int | None = None

    # For the test: the record

    def events(self) -> list[MachineEvent]:
        """Return the events since the last call, without those of the session."""
        self.run()
        events, self._events = self._events, []
        return events

    def sent(self) -> list[Packet]:
        """Return the Socket.IO packets that the server has received since the last call."""
        self.run()
        sent, self._sent = self._sent, []
        return sent

    # For the test: actions of the server

    def accept(self, *, upgrades: Sequence[str] = (), max_payload: int | None = None) -> None:
        """Open the stream that the client asked for, and send the handshake, unless it is too late for that."""
        self.run()
        stream = self.streams[-1]
        self.open_stream()
        self.run()
        if stream not in self.streams:
            return
        handshake = {"sid": "e1", "upgrades": upgrades, "pingInterval": 3_600_000, "pingTimeout": 3_600_000}
        if max_payload is not None:
            handshake["maxPayload"] = max_payload
        self.feed(engineio.Packet(engineio.OPEN, json.dumps(handshake)))

    def open_stream(self) -> None:
        """Open the stream that the client asked for, and send nothing."""
        self.run()
        self.client.stream_opened(self.streams[-1], self.now)

    def refuse(self, error: str = "refused") -> None:
        """Refuse the stream that the client asked for."""
        self.run()
        self.client.stream_failed(self.streams.pop(), OSError(error), self.now)

    def join(self, namespace: str = "/", *, sid: str = "s1", pid: str | None = None) -> None:
        """Answer CONNECT."""
        self.send(Packet(CONNECT, namespace, {"sid": sid} if pid is None else {"sid": sid, "pid": pid}))

    def deny(self, data: Any, namespace: str = "/") -> None:
        """Answer CONNECT with CONNECT_ERROR."""
        self.send(Packet(CONNECT_ERROR, namespace, data))

    def emit(self, *args: Any, namespace: str = "/", id: int | None = None) -> None:  # noqa: A002  # the packet's term
        self.send(Packet(EVENT, namespace, list(args), id))

    def ack(self, *values: Any, namespace: str = "/", id: int | None = None) -> None:  # noqa: A002  # the packet's term
        """Acknowledge the latest event that requests it, or that of this id."""
        self.run()
        self.send(Packet(ACK, namespace, list(values), self._last_id if id is None else id))

    def kick(self, namespace: str = "/") -> None:
        """Disconnect the client from a namespace."""
        self.send(Packet(DISCONNECT, namespace))

    def send(self, packet: Packet) -> None:
        for message in self._encoder.encode(packet):
            self.say(message)

    def say(self, message: str | bytes) -> None:
        """Send one message, such as a part of a packet, or an invalid one."""
        self.feed(engineio.Packet(engineio.MESSAGE, message))

    def feed(self, packet: engineio.Packet) -> None:
        """Send one packet of the session, on the latest stream."""
        self.run()
        self.client.data_received(self.streams[-1], _to_wire(packet), self.now)

    def lose(self, error: Exception | None = None) -> None:
        """End the latest stream, with a TransportError as the server's reason, or break it with another error."""
        self.run()
        self.client.stream_closed(self.streams.pop(), error, self.now)

    # Time

    def advance(self, seconds: float) -> None:
        """Let time pass. The client's timer fires whenever it is due."""
        end = self.now + seconds
        for _ in range(_MOST_TICKS):
            self.run()
            if self.deadline is None or self.deadline > end:
                self.now = end
                return
            self.now = max(self.now, self.deadline)
            self.deadline = None
            self.client.tick(self.now)
        raise AssertionError(f"more than {_MOST_TICKS} ticks in {seconds} seconds")

    def run(self) -> None:
        """Carry out the client's actions."""
        while True:
            while (output := self.client.next_output()) is not None:
                if isinstance(output, MachineEvent):
                    self._deliver(output)
                elif isinstance(output, Send):
                    self._receive(output.stream, bytes(output.data))
                elif isinstance(output, OpenStream):
                    self.streams.append(output.stream)
                elif isinstance(output, CloseStream):
                    self._closed(output.stream)
                else:
                    assert isinstance(output, SetTimer)
                    self.deadline = output.deadline
            if self._closing:
                stream = self._closing[0]
                self._closed(stream)
                self.client.stream_closed(stream, None, self.now)
            elif self._unread and self.is_reading:
                self.client.data_sent(self._unread.pop(0), self.now)
            else:
                return

    def _deliver(self, event: MachineEvent) -> None:
        if isinstance(event, EngineEvent):
            self.engine_events.append(event)
        else:
            self._events.append(event)

    def _receive(self, stream: int, data: bytes) -> None:
        assert stream in self.streams, "sent on a stream that is closed"
        if stream not in self._unread:
            self._unread.append(stream)
        packet = _from_wire(data)
        if packet.type == engineio.MESSAGE:
            decoder = self._decoders.setdefault(stream, self._parser.decoder(100))
            message = decoder.feed(packet.data)
            if message is not None:
                self.got(stream, message)
        elif packet.type == engineio.CLOSE and self.closes_streams:
            self._closing.append(stream)

    def _closed(self, stream: int) -> None:
        self.streams.remove(stream)
        self._unread = [unread for unread in self._unread if unread != stream]
        if stream in self._closing:
            self._closing.remove(stream)

    def got(self, stream: int, packet: Packet) -> None:
        """Record a Socket.IO packet of the client."""
        self._sent.append(packet)
        if packet.type == EVENT and packet.id is not None:
            self._last_id = packet.id

    # Shortcuts for the start of most tests

    def socket(self, name: str = "/", **options: Any) -> Namespace:
        return self.client.namespace(name, NamespaceOptions(**options))

    def opened(self, name: str = "/", **options: Any) -> Namespace:
        """Return a namespace that has sent CONNECT on an open connection."""
        socket = self.socket(name, **options)
        socket.connect(self.now)
        if not self.client.is_open:
            self.accept()
        self.events()
        return socket

    def joined(self, name: str = "/", *, pid: str | None = None, **options: Any) -> Namespace:
        """Return a namespace that is connected."""
        socket = self.opened(name, **options)
        self.join(name, pid=pid)
        self.events()
        self.sent()
        return socket


def _to_wire(packet: engineio.Packet) -> bytes:
    frame = engineio.encode_frame(packet)
    return frame.encode() if isinstance(frame, str) else b"\0" + frame


def _from_wire(data: bytes) -> engineio.Packet:
    return engineio.decode_frame(data[1:] if data[:1] == b"\0" else data.decode())
