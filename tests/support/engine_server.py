"""An Engine.IO server in memory, and the network between it and a state machine, in virtual time.

`EngineServer` speaks HTTP (h11) and WebSocket (wsproto) on streams of bytes and holds one session. A test changes what
it does by its attributes, and makes it act by its methods. `Network` carries out a state machine's actions, in an order
and in chunks that a test may choose, and checks after each step what always holds:

- a stream is opened once, used while it is open, and nothing is fed to it after it was closed,
- while work is pending there is a deadline or a stream,
- `EngineClosed` is the last event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage

from sansio_socketio.protocol.actions import CloseStream, OpenStream, Send
from sansio_socketio.protocol.engine_protocol import EngineProtocol
from sansio_socketio.protocol.events import EngineClosed, MachineEvent
from sansio_socketio.protocol.packets.engineio import (
    CLOSE,
    MESSAGE,
    NOOP,
    PING,
    PONG,
    UPGRADE,
    Packet,
    decode_frame,
    decode_payload,
    encode_frame,
    encode_payload,
)

SID = "the-session"


@dataclass
class _Exchange:
    """A request on a keep-alive stream."""

    method: str
    query: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class _Stream:
    """A stream from the server's side: HTTP, until a request upgrades it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.start: bytearray | None = bytearray()
        self.http = h11.Connection(h11.SERVER)
        self.websocket: WSConnection | None = None
        self.exchange: _Exchange | None = None


class EngineServer:
    """An Engine.IO server in memory with one session. Attributes control how it behaves, methods make it act."""

    def __init__(self) -> None:
        # For the test: how the server behaves
        self.upgrades = '["websocket"]'
        self.max_payload: int | None = 1_000_000
        self.ping_interval = 25.0
        self.ping_timeout = 20.0
        self.handshake: bytes | None = None
        self.probe_answer: str | bytes | None = "3probe"
        self.release_poll = True  # answer the waiting GET once the probe was answered
        self.answer_posts = True
        self.answer_close = True  # over WebSocket: with a close frame
        self.echo = False
        self.greeting: list[str | bytes] = []
        self.status = 200
        self.response_headers: list[tuple[str, str]] = []
        # For the test: the record
        self.open = False
        self.messages: list[tuple[str, str | bytes]] = []
        self.bodies: list[bytes] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.closed_session = False
        self.pongs = 0
        # For the network
        self.feed: Callable[[int, bytes | None], None] = lambda stream, data: None
        self._streams: dict[int, _Stream] = {}
        self._queue: list[Packet] = []
        self._poll: _Stream | None = None
        self._websocket: _Stream | None = None
        self._held: list[_Stream] = []

    # For the test: actions of the server

    def send(self, *messages: str | bytes) -> None:
        self.send_packets(*[Packet(MESSAGE, message) for message in messages])

    def ping(self) -> None:
        self.send_packets(Packet(PING))

    def send_packets(self, *packets: Packet) -> None:
        self._queue += packets
        self._flush()

    def end(self) -> None:
        """End the session from the server's side."""
        websocket = self._websocket
        if websocket is not None and websocket.websocket is not None:
            self._websocket = None
            self.feed(websocket.number, websocket.websocket.send(CloseConnection(1000)))
            self.feed(websocket.number, None)
        else:
            self.send_packets(Packet(CLOSE))

    def answer_held_posts(self) -> None:
        self.answer_posts = True
        for stream in self._held:
            self._respond(stream, b"ok")
        self._held.clear()

    def close_streams(self, *, websocket: bool) -> None:
        """Close the streams that carry a WebSocket, or those that do not."""
        for stream in list(self._streams.values()):
            if (stream.websocket is not None) is websocket:
                self.feed(stream.number, None)

    # Notifications of the network

    def opened(self, stream: int) -> None:
        self._streams[stream] = _Stream(stream)

    def closed(self, stream: int) -> None:
        gone = self._streams.pop(stream, None)
        if gone is self._poll:
            self._poll = None
        if gone is self._websocket:
            self._websocket = None
        self._held = [held for held in self._held if held is not gone]

    def received(self, number: int, data: bytes) -> None:
        stream = self._streams[number]
        if stream.start is not None:
            stream.start += data
            if b"\r\n\r\n" not in stream.start:
                return
            data = bytes(stream.start)
            stream.start = None
            if b"upgrade: websocket" in data.lower():
                stream.websocket = WSConnection(ConnectionType.SERVER)
        if stream.websocket is not None:
            self._read_websocket(stream, stream.websocket, data)
        else:
            self._read_http(stream, data)

    # HTTP

    def _read_http(self, stream: _Stream, data: bytes) -> None:
        stream.http.receive_data(data)
        while not isinstance(event := stream.http.next_event(), type(h11.NEED_DATA) | type(h11.PAUSED)):
            if isinstance(event, h11.Request):
                target = event.target.decode()
                headers = {name.decode(): value.decode() for name, value in event.headers}
                self.requests.append((event.method.decode(), target, headers))
                stream.exchange = _Exchange(event.method.decode(), dict(parse_qsl(urlsplit(target).query)))
            elif isinstance(event, h11.Data) and stream.exchange is not None:
                stream.exchange.body += event.data
            elif isinstance(event, h11.EndOfMessage) and stream.exchange is not None:
                self._requested(stream, stream.exchange)

    def _requested(self, stream: _Stream, exchange: _Exchange) -> None:
        if self.status != 200:
            self._respond(stream, b'{"code":3,"message":"Bad request"}', self.status)
        elif exchange.method == "GET" and "sid" not in exchange.query:
            self._respond(stream, self._handshake())
        elif not self.open:
            self._respond(stream, b'{"code":1,"message":"Session ID unknown"}', 400)
        elif exchange.method == "GET":
            assert self._poll is None, "two polls at once"
            self._poll = stream
            self._flush()
        else:
            self.bodies.append(bytes(exchange.body))
            packets = list(decode_payload(bytes(exchange.body)))
            if self.answer_posts:
                self._respond(stream, b"ok")
            else:
                self._held.append(stream)
            for packet in packets:
                self._take("polling", packet)

    def _respond(self, stream: _Stream, body: bytes, status: int = 200) -> None:
        headers = [("Content-Length", str(len(body))), ("Keep-Alive", "timeout=5"), *self.response_headers]
        sent = [
            stream.http.send(h11.Response(status_code=status, headers=headers)),
            stream.http.send(h11.Data(data=body)),
            stream.http.send(h11.EndOfMessage()),
        ]
        stream.http.start_next_cycle()
        self.feed(stream.number, b"".join(data for data in sent if data))

    # WebSocket

    def _read_websocket(self, stream: _Stream, websocket: WSConnection, data: bytes) -> None:
        websocket.receive_data(data)
        for event in list(websocket.events()):
            if isinstance(event, Request):
                self.requests.append(
                    ("WS", event.target, {name.decode(): value.decode() for name, value in event.extra_headers})
                )
                self.feed(stream.number, websocket.send(AcceptConnection()))
                if "sid=" not in event.target:
                    self._websocket = stream
                    self._write_frame(stream, next(decode_payload(self._handshake())))
                    self._flush()
            elif isinstance(event, (TextMessage, BytesMessage)):
                assert event.message_finished
                self._got_frame(stream, decode_frame(event.data if isinstance(event.data, str) else bytes(event.data)))
            elif isinstance(event, Ping):
                self.feed(stream.number, websocket.send(event.response()))
            elif isinstance(event, CloseConnection) and websocket.state is ConnectionState.REMOTE_CLOSING:
                if stream is self._websocket:
                    self.closed_session = True
                    self.open = False
                if self.answer_close:
                    self.feed(stream.number, websocket.send(event.response()))
                    self.feed(stream.number, None)

    def _got_frame(self, stream: _Stream, packet: Packet) -> None:
        if packet == Packet(PING, "probe"):
            if self.probe_answer is not None:
                self._write_frame(stream, decode_frame(self.probe_answer))
                if self.release_poll:
                    self.send_packets(Packet(NOOP))
        elif packet.type == UPGRADE:
            assert self._poll is None, "upgraded while a poll waits"
            self._websocket = stream
            self._flush()
        else:
            self._take("websocket", packet)

    def _write_frame(self, stream: _Stream, packet: Packet) -> None:
        if stream.websocket is not None:
            data = encode_frame(packet)
            self.feed(stream.number, stream.websocket.send(_message(data)))

    # The session

    def _handshake(self) -> bytes:
        self.open = True
        if self.handshake is not None:
            return self.handshake
        limit = "" if self.max_payload is None else f',"maxPayload":{self.max_payload}'
        times = f'"pingInterval":{self.ping_interval * 1000:g},"pingTimeout":{self.ping_timeout * 1000:g}'
        text = f'0{{"sid":"{SID}","upgrades":{self.upgrades},{times}{limit}}}'
        self._queue += [Packet(MESSAGE, data) for data in self.greeting]
        return text.encode()

    def _take(self, transport: str, packet: Packet) -> None:
        assert self.open, f"{packet} after the session was closed"
        if packet.type == MESSAGE:
            self.messages.append((transport, packet.data))
            if self.echo:
                self.send(packet.data)
        elif packet.type == CLOSE:
            self.closed_session = True
            self.open = False
            self._queue = [Packet(NOOP)]
            self._flush()
        else:
            assert packet == Packet(PONG)
            self.pongs += 1

    def _flush(self) -> None:
        if not self._queue:
            return
        if self._websocket is not None:
            for packet in self._queue:
                self._write_frame(self._websocket, packet)
            self._queue.clear()
        elif self._poll is not None:
            poll, self._poll = self._poll, None
            body = encode_payload(self._queue)
            self._queue.clear()
            self._respond(poll, body)


def _message(data: str | bytes) -> TextMessage | BytesMessage:
    return TextMessage(data) if isinstance(data, str) else BytesMessage(data)


@dataclass
class Delivery:
    """Data that is about to arrive on a stream. `data` is None for the end of the stream."""

    stream: int
    what: str
    data: bytes | None = None


class Network:
    """The network between a state machine and a server. `choose(n)` picks one of n deliveries, `cut(data)` divides data into chunks."""

    def __init__(
        self,
        machine: EngineProtocol,
        server: EngineServer,
        *,
        choose: Callable[[int], int] = lambda count: 0,
        cut: Callable[[bytes], list[bytes]] = lambda data: [data],
    ) -> None:
        self.machine = machine
        self.server = server
        self.now = 0.0
        self.deadline: float | None = None
        self.events: list[MachineEvent] = []
        self.refused: set[str] = set()
        self.opened: list[OpenStream] = []
        self.closed: list[CloseStream] = []
        self._choose = choose
        self._cut = cut
        self._streams: dict[int, bool] = {}
        self._lanes: dict[tuple[int, str], deque[tuple[int, Delivery]]] = {}
        self._order = count()
        server.feed = self._feed

    @property
    def streams(self) -> list[int]:
        """The streams that are open or opening."""
        return list(self._streams)

    def event_names(self) -> list[str]:
        """The names of the events so far."""
        return [type(event).__name__ for event in self.events]

    def settle(self) -> None:
        """Deliver everything that is in flight."""
        self.drain()
        for _ in range(100_000):
            if not self.deliver():
                return
        raise AssertionError("it never settles")

    def wait(self, seconds: float) -> None:
        """Let time pass. The timer fires whenever it is due."""
        end = self.now + seconds
        self.settle()
        while self.deadline is not None and self.deadline <= end:
            self.now = max(self.now, self.deadline)
            self.tick()
            self.settle()
        self.now = end

    def tick(self) -> None:
        self.deadline = None
        self.machine.tick(self.now)
        self.drain()

    def deliver(self) -> bool:
        """Deliver one thing to the state machine, and carry out its actions. Returns False if nothing is in flight."""
        lanes = sorted(self._lanes, key=lambda key: self._lanes[key][0][0])
        if not lanes:
            return False
        key = lanes[self._choose(len(lanes))]
        _, delivery = self._lanes[key].popleft()
        if not self._lanes[key]:
            del self._lanes[key]
        self._tell(delivery)
        self.drain()
        return True

    def drain(self) -> None:
        while (output := self.machine.next_output()) is not None:
            if isinstance(output, OpenStream):
                assert output.stream not in {opened.stream for opened in self.opened}
                self.opened.append(output)
                self._streams[output.stream] = False
                what = "failed" if output.transport in self.refused else "opened"
                self._queue(Delivery(output.stream, what))
            elif isinstance(output, Send):
                assert self._streams[output.stream], "sent on a stream that is not open"
                self._queue(Delivery(output.stream, "sent"))
                self.server.received(output.stream, bytes(output.data))
            elif isinstance(output, CloseStream):
                self.closed.append(output)
                self._forget(output.stream)
            elif isinstance(output, MachineEvent):
                assert "EngineClosed" not in self.event_names(), f"{output} after the end"
                self.events.append(output)
            else:
                self.deadline = output.deadline
        self._check()

    def _check(self) -> None:
        assert set(self.machine._outbox.owners) == set(self._streams)
        state = self.machine.state
        if state in {"opening", "open", "closing"} or not self.machine.idle:
            assert self.deadline is not None or self._streams, f"{state}, and nothing to wait for"
        assert (state == "closed") is any(isinstance(event, EngineClosed) for event in self.events)

    def _feed(self, stream: int, data: bytes | None) -> None:
        if stream in self._streams:
            if data is None:
                self._queue(Delivery(stream, "closed"))
            else:
                for piece in self._cut(data):
                    self._queue(Delivery(stream, "data", piece))

    def _queue(self, delivery: Delivery) -> None:
        lane = "sent" if delivery.what == "sent" else "in"
        self._lanes.setdefault((delivery.stream, lane), deque()).append((next(self._order), delivery))

    def _tell(self, delivery: Delivery) -> None:
        stream, machine, now = delivery.stream, self.machine, self.now
        if delivery.what == "opened":
            self._streams[stream] = True
            self.server.opened(stream)
            machine.stream_opened(stream, now)
        elif delivery.what == "failed":
            self._forget(stream)
            machine.stream_failed(stream, OSError("connection refused"), now)
        elif delivery.what == "sent":
            machine.data_sent(stream, now)
        elif delivery.what == "closed":
            self._forget(stream)
            machine.stream_closed(stream, None, now)
        else:
            machine.data_received(stream, delivery.data or b"", now)

    def _forget(self, stream: int) -> None:
        del self._streams[stream]
        self._lanes = {key: lane for key, lane in self._lanes.items() if key[0] != stream}
        self.server.closed(stream)
