"""The properties of the whole machine, with any behaviour of the application, the server, the network and time, in any order.

An input is a sequence of steps, each a byte that selects it and the bytes of its decisions (`choices`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from random import Random
from typing import Any, Final

from fuzz.choices import Choices
from fuzz.driver import Driver, Split, Stream, check_scenario
from fuzz.peer import accept_websocket, http_response, websocket_frame
from sansio_socketio.protocol import ASK, UNSET, ClientOptions, ClientProtocol, Namespace, NamespaceOptions
from sansio_socketio.protocol.errors import BufferFullError, OptionError, PacketError
from sansio_socketio.protocol.events import (
    AckFailed,
    AckId,
    Acknowledged,
    Connected,
    Disconnected,
    EventReceived,
    MachineEvent,
    Question,
    ReconnectAttempt,
)
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    JSONDecoder,
    JSONParser,
    Packet,
    Parser,
)

_CLOSE_TIMEOUT: Final = 3.0
_MAX_STEPS: Final = 60
_NAMES: Final = ("/", "/retries", "/auth")
_SECONDS: Final = (0.001, 0.5, 1, 5, 30, 1e4, 1e9)
_TIMEOUTS: Final = (UNSET, None, 0, 1, 4)
_VALUES: Final[Sequence[list[Any]]] = (
    [],
    ["text"],
    [b"bytes", {"deep": [b"more"]}],
    ["x" * 300],
    ["\x1e4\ud800"],
    [object()],
)
_ANSWERS: Final[Sequence[Any]] = ({}, {"token": "t"}, None, LookupError("no token"), 5, {"\r": "\n"})
_RUNNING_OPTIONS: Final[dict[str, Sequence[Any]]] = {
    "reconnection": (True, False),
    "reconnection_attempts": (0, 1, 3, inf),
    "reconnection_delay": (0, 1, 1e9),
    "reconnection_delay_max": (0, 5, 1e9),
    "randomization_factor": (0, 0.5, 1),
    "timeout": (None, 0, 0.5, 20, 1e9),
}
_HANDSHAKES: Final[Sequence[dict[str, Any]]] = (
    {"upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000},
    {"upgrades": [], "pingInterval": 25000, "pingTimeout": 20000},
    {"upgrades": [], "pingInterval": 300, "pingTimeout": 200},
    {
        "upgrades": ["websocket", "webtransport", "polling"],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 5,
    },
    {"upgrades": [], "pingInterval": 1e300, "pingTimeout": 1e300},
    {"upgrades": [], "pingInterval": 0, "pingTimeout": 1},
)


class _FaultyParser:
    """A parser of the application that fails for some packets, with undocumented exceptions."""

    def encoder(self) -> _FaultyParser:
        return self

    def decoder(self, max_attachments: int) -> _FaultyDecoder:
        return _FaultyDecoder(max_attachments)

    def encode(self, packet: Packet) -> list[str | bytes]:
        if (packet.type, packet.namespace) in {(CONNECT, "/auth"), (DISCONNECT, "/retries")} or packet.id == 1:
            raise LookupError(packet.type)
        return JSONParser().encoder().encode(packet)


class _FaultyDecoder(JSONDecoder):
    """Fails for messages of some lengths."""

    __slots__ = ()

    def feed(self, data: str | bytes) -> Packet | None:
        if len(data) % 16 == 15:
            raise LookupError(len(data))
        return super().feed(data)


_PARSERS: Final[Sequence[Parser]] = (JSONParser(), JSONParser(), JSONParser(), MessagePackParser(), _FaultyParser())


def check_client(data: bytes) -> None:
    """Check that a client raises nothing, never stalls and ends cleanly, in every chunking and replay."""
    check_scenario(partial(_play, data))


def _play(data: bytes, split: Split) -> Driver:
    scenario = _Scenario(Choices(data), split)
    for _ in range(_MAX_STEPS):
        if not scenario.choices.are_left:
            break
        scenario.choices.one_of(_STEPS)(scenario)
        scenario.check()
    scenario.finish()
    return scenario.driver


class _Scenario:
    """A client and everything around it."""

    def __init__(self, choices: Choices, split: Split) -> None:
        self.choices = choices
        self.parser = choices.one_of(_PARSERS)
        self.client = ClientProtocol("http://localhost:3000", self._options(), random=Random(1))
        self.driver = Driver(self.client, split, self._notice)
        self.namespaces = {
            "/": self.client.namespace("/"),
            "/retries": self.client.namespace("/retries", NamespaceOptions(retries=2, ack_timeout=4)),
            "/auth": self.client.namespace("/auth", NamespaceOptions(auth=ASK)),
        }
        self.questions: list[int] = []
        self.ack_ids: list[tuple[str, AckId]] = []
        self.handles: list[tuple[str, int]] = []
        self.unacknowledged: set[tuple[str, int]] = set()
        self.timed: set[tuple[str, int]] = set()
        """Those that time out by themselves."""
        self.joined: set[str] = set()
        self.is_reading = True

    def _options(self) -> ClientOptions:
        choices = self.choices
        return ClientOptions(
            parser=None if isinstance(self.parser, JSONParser) else self.parser,
            transports=choices.one_of((["polling", "websocket"], ["websocket"], ["websocket", "polling"], ["polling"])),
            try_all_transports=choices.flag(),
            remember_upgrade=choices.flag(),
            with_credentials=choices.flag(),
            query=choices.one_of(({}, {"a": "é"}, ASK)),
            extra_headers=choices.one_of(({}, {"A": "b"}, ASK)),
            force_base64=choices.flag(),
            per_message_deflate=choices.one_of((True, False, 1)),
            timeout=choices.one_of((20, None, 5, 0)),
            reconnection_attempts=choices.one_of((inf, 2, 0)),
            reconnection_delay=choices.one_of((1, 0)),
            max_buffered_events=choices.one_of((100, 3)),
            max_buffered_bytes=choices.one_of((100_000, 400)),
            max_message_size=choices.one_of((100_000, 300)),
            max_attachments=3,
            close_timeout=_CLOSE_TIMEOUT,
        )

    # Notifications of the application

    def _notice(self, event: MachineEvent) -> None:
        if isinstance(event, Question):
            assert event.question not in self.questions
            self.questions.append(event.question)
        elif isinstance(event, ReconnectAttempt):
            if event.question is not None:
                self.questions.append(event.question)
        elif isinstance(event, EventReceived):
            if event.ack_id is not None:
                self.ack_ids.append((event.namespace, event.ack_id))
        elif isinstance(event, Acknowledged | AckFailed):
            self.unacknowledged.remove((event.namespace, event.handle))  # once, and only if requested
            self.timed.discard((event.namespace, event.handle))
        elif isinstance(event, Connected):
            assert event.namespace not in self.joined, "no Disconnected between two Connected"
            self.joined.add(event.namespace)
        elif isinstance(event, Disconnected):
            self.joined.discard(event.namespace)

    # The application

    @property
    def namespace(self) -> Namespace:
        return self.namespaces[self.choices.one_of(_NAMES)]

    def connect(self) -> None:
        self.namespace.connect(self.driver.now)

    def disconnect(self) -> None:
        self.namespace.disconnect(self.driver.now)

    def emit(self) -> None:
        namespace, choices = self.namespace, self.choices
        name = choices.one_of(("event", 1, "connect"))
        values = choices.one_of(_VALUES)
        ack = choices.flag()
        timeout, volatile, compress = choices.one_of(_TIMEOUTS), choices.flag(), choices.flag()
        now = self.driver.now
        try:
            handle = namespace.emit(
                [name, *values], now, ack=ack, timeout=timeout, volatile=volatile, compress=compress
            )
        except (BufferFullError, OptionError, PacketError):
            pass
        else:
            self.handles.append((namespace.name, handle))
            if ack:
                self.unacknowledged.add((namespace.name, handle))
            if namespace.name != "/retries":
                times_out = timeout not in {UNSET, None}
            else:  # where a timeout counts from each sending, and has a default
                times_out = volatile and timeout is not None
            if ack and times_out:
                self.timed.add((namespace.name, handle))
        self.driver.run()

    def acknowledge(self) -> None:
        if self.ack_ids:
            name, ack_id = self.choices.one_of(self.ack_ids)
            with suppress(PacketError):
                self.namespaces[name].acknowledge(ack_id, self.choices.one_of(_VALUES), self.driver.now)

    def forget(self) -> None:
        if self.handles:
            self.driver.tick()  # an acknowledgement that is due by now is notified before
            name, handle = self.choices.one_of(self.handles)
            self.namespaces[name].forget(handle, self.driver.now)
            self.unacknowledged.discard((name, handle))
            self.timed.discard((name, handle))

    def answer(self) -> None:
        """Answer a question, often the latest, sometimes one that was answered before."""
        if self.questions:
            question = self.choices.one_of((self.questions[-1], *self.questions))
            self.client.answer(question, self.choices.one_of(_ANSWERS), self.driver.now)

    def open(self) -> None:
        self.client.open(self.driver.now, reconnect=self.choices.flag())

    def close(self) -> None:
        self.client.close(self.driver.now)

    def close_session(self) -> None:
        self.client.close_session(self.choices.number(4), self.driver.now)

    def abort(self) -> None:
        self.client.abort(self.driver.now)
        self.driver.run()
        self._check_aborted()

    def set_option(self) -> None:
        name = self.choices.one_of(list(_RUNNING_OPTIONS))
        setattr(self.client, name, self.choices.one_of(_RUNNING_OPTIONS[name]))

    def set_other(self) -> None:
        what = self.choices.number(4)
        if what == 0:
            self.client.asks_before_reconnecting = self.choices.flag()
        elif what == 1:
            self.namespace.auth = self.choices.one_of((None, {"token": 1}, ASK, {"token": object()}))
        elif what == 2:
            self.namespace.report_sent = self.choices.flag()
        elif self.client.engine is not None:
            self.client.engine.report_packets = self.choices.flag()

    # The network

    def _stream(self, *, is_open: bool) -> Stream | None:
        streams = [stream for stream in self.driver.streams.values() if stream.is_open is is_open]
        return self.choices.one_of(streams) if streams else None

    def open_stream(self) -> None:
        stream = self._stream(is_open=False)
        if stream is not None:
            self.driver.open(stream)
            self._flush(stream)

    def fail_stream(self) -> None:
        stream = self._stream(is_open=False)
        if stream is not None:
            self.driver.fail(stream, OSError("refused"))

    def end_stream(self) -> None:
        stream = self._stream(is_open=True)
        if stream is not None:
            self.driver.end(stream, self.choices.one_of((None, ConnectionResetError("reset"))))
            self.driver.feed_stale(stream.number)

    def stop_reading(self) -> None:
        self.is_reading = not self.is_reading

    def _flush(self, stream: Stream) -> None:
        while self.is_reading and stream.has_unsent and stream.number in self.driver.streams:
            self.driver.flush(stream)

    # The server

    def serve_raw(self) -> None:
        """Send bytes unchanged."""
        data, stream = self.choices.raw(), self._stream(is_open=True)
        if stream is not None:
            self.driver.receive(stream, data)

    def serve_text(self) -> None:
        """Send packets unchanged, in an HTTP response or a WebSocket message."""
        self._serve([self.choices.raw().decode(errors="replace")])

    def serve_binary(self) -> None:
        self._serve([self.choices.raw()])

    def serve_handshake(self) -> None:
        handshake = self.choices.one_of(_HANDSHAKES)
        self._serve(["0" + json.dumps({"sid": "s", **handshake})])

    def serve_engine_packet(self) -> None:
        self._serve([self.choices.one_of(("2", "6", "3probe", "1", "3", "5", "2probe", "7"))])

    def serve_packet(self) -> None:
        """Send a packet of Socket.IO."""
        kind, name, choices = self.choices.number(5), self.choices.one_of((*_NAMES, "/other")), self.choices
        packet = Packet(kind, name)
        if kind == CONNECT:
            packet.data = choices.one_of(({"sid": "a"}, {"sid": "a", "pid": "p"}, {}, {"sid": "a", "pid": 1}))
        elif kind in {EVENT, ACK}:
            values = choices.one_of(_VALUES[:-2])
            packet.data = values if kind == ACK else ["news", *values, *choices.one_of(([], ["offset"]))]
            packet.id = choices.one_of((0, 1, 2, 3, 4, None))
        elif kind == CONNECT_ERROR:
            packet.data = choices.one_of(({"message": "no"}, {"message": 1, "data": 2}, {}))
        else:
            assert kind == DISCONNECT
        parser = MessagePackParser() if isinstance(self.parser, MessagePackParser) else JSONParser()
        messages = parser.encoder().encode(packet)
        self._serve([engineio.encode_frame(engineio.Packet(engineio.MESSAGE, message)) for message in messages])

    def respond(self) -> None:
        """Send an HTTP response, such as to a POST, or a refusal of a handshake."""
        stream = self._stream(is_open=True)
        status = self.choices.one_of((b"200 OK", b"400 Bad", b"403 No", b"101 Go", b"204 None", b"500 Error"))
        header = self.choices.one_of((b"A: b", b"Connection: close", b"Set-Cookie: a=b", b"Keep-Alive: timeout=9"))
        if stream is not None:
            self.driver.receive(stream, http_response(self.choices.one_of((b"ok", b"")), header, status=status))

    def _serve(self, messages: Sequence[str | bytes]) -> None:
        stream = self._stream(is_open=True)
        if stream is None:
            return
        if stream.transport == "polling":
            packets = [engineio.decode_frame(each) if isinstance(each, bytes) else each for each in messages]
            body = b"\x1e".join(
                each.encode() if isinstance(each, str) else engineio.encode_payload([each]) for each in packets
            )
            self.driver.receive(stream, http_response(body))
        else:
            if not stream.is_websocket:
                stream.is_websocket = True
                self.driver.receive(stream, accept_websocket(stream.received))
            if stream.number in self.driver.streams:
                self.driver.receive(stream, b"".join(map(websocket_frame, messages)))
        self._flush(stream)

    # Time

    def wait(self) -> None:
        self.driver.advance(self.choices.one_of(_SECONDS))

    def wait_until_due(self) -> None:
        self.driver.tick()  # the machine may have asked to be called earlier than it needs, depending on the chunks
        if self.driver.deadline is not None:
            self.driver.jump(max(self.driver.deadline - self.driver.now, 0))
            if self.choices.flag():
                self.driver.tick()

    def jump(self) -> None:
        self.driver.jump(self.choices.one_of(_SECONDS))

    def tick(self) -> None:
        self.driver.tick()

    # Checks

    def check(self) -> None:
        """Check what holds after every step."""
        client, driver = self.client, self.driver
        driver.run()
        for stream in list(driver.streams.values()):
            self._flush(stream)
        assert self.joined == {name for name, each in self.namespaces.items() if each.connected}
        is_waited_for = driver.deadline is not None
        if client.state in {"open", "waiting"}:
            assert is_waited_for, f"nothing ends the state {client.state}"
        elif client.state != "closed":
            assert is_waited_for or driver.streams or self.questions, f"nothing ends the state {client.state}"
        elif not client.idle:
            assert is_waited_for, "nothing ends the close handshake"
        assert is_waited_for or not self.timed, "nothing ends the wait for an acknowledgement"
        statistics = client.statistics()
        assert statistics.queued_bytes >= 0
        assert 0 <= statistics.queued_events <= client.options.max_buffered_events
        assert statistics.acks_pending == len(self.unacknowledged)

    def finish(self) -> None:
        """Close the client, which must end in time, and abort it, which must leave nothing open."""
        self.close()
        self.check()
        self.driver.advance(_CLOSE_TIMEOUT)
        self.driver.tick()
        assert self.client.idle, "the client is not closed after close_timeout"
        assert self.driver.deadline is None or self.timed, "a deadline is left after the end"
        self.abort()

    def _check_aborted(self) -> None:
        assert self.client.idle
        assert self.client.state == "closed"
        assert not self.driver.streams, "a stream is open after abort"
        assert self.driver.deadline is None, "a deadline is left after abort"
        assert not self.unacknowledged, "an acknowledgement is waited for after abort"
        statistics = self.client.statistics()
        assert (statistics.queued_events, statistics.queued_bytes) == (0, 0)


_STEPS: Final[Sequence[Callable[[_Scenario], None]]] = (
    _Scenario.open_stream,
    _Scenario.connect,
    _Scenario.serve_handshake,
    _Scenario.serve_packet,
    _Scenario.emit,
    _Scenario.respond,
    _Scenario.serve_engine_packet,
    _Scenario.wait,
    _Scenario.answer,
    _Scenario.acknowledge,
    _Scenario.end_stream,
    _Scenario.fail_stream,
    _Scenario.disconnect,
    _Scenario.close,
    _Scenario.open,
    _Scenario.set_option,
    _Scenario.set_other,
    _Scenario.wait_until_due,
    _Scenario.jump,
    _Scenario.tick,
    _Scenario.forget,
    _Scenario.close_session,
    _Scenario.abort,
    _Scenario.stop_reading,
    _Scenario.serve_raw,
    _Scenario.serve_text,
    _Scenario.serve_binary,
)
STEP_NAMES: Final = [step.__name__ for step in _STEPS]
"""The names of the steps, in the order of the bytes that select them."""
