"""Any text of the application in any place: it is sent unchanged, or the call raises an error that names the cause."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any
from urllib.parse import unquote

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol import (
    ClientOptions,
    ClientProtocol,
    EngineOptions,
    EngineProtocol,
    Machine,
    NamespaceOptions,
)
from sansio_socketio.protocol.actions import OpenStream, Send
from sansio_socketio.protocol.errors import OptionError, PacketError
from sansio_socketio.protocol.events import EventReceived
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import ACK, CONNECT, EVENT, JSONParser, Packet, Parser


def joined_pairs(text: str) -> str:
    """Return a text in which two surrogates that are a pair are one character, as in JavaScript."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


TEXTS = (st.text(st.sampled_from('ab/,\x1e\x1f\0\r\n \t"\\%?#&=é€\ufffd\U0001f600\ud800\udfff4')) | st.text()).map(
    joined_pairs
)
OPEN = json.dumps({"sid": "s", "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000})
NOW = 1.0


class PollingServer:
    """A server for polling. It reads every request of a machine, and answers POSTs; `send` answers the GET.

    Attributes:
        targets: The targets of the requests.
        headers: The headers of the last request, in lower case.
        packets: The packets that the client has sent.
        events: The machine's events.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.targets: list[str] = []
        self.headers: dict[str, str] = {}
        self.packets: list[engineio.Packet] = []
        self.events: list[Any] = []
        self._connections: dict[int, h11.Connection] = {}
        self._bodies: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._get = 0

    def run(self) -> None:
        while (output := self.machine.next_output()) is not None:
            if isinstance(output, OpenStream):
                self._connections[output.stream] = h11.Connection(h11.SERVER)
                self.machine.stream_opened(output.stream, NOW)
            elif isinstance(output, Send):
                self._read(output.stream, bytes(output.data))
            else:
                self.events.append(output)

    def send(self, *frames: str) -> None:
        self._respond(self._get, "\x1e".join(frames).encode())
        self.run()

    def _read(self, stream: int, data: bytes) -> None:
        connection = self._connections[stream]
        connection.receive_data(data)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self.targets.append(event.target.decode())
                self.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                self._bodies[stream] += event.data
            else:
                assert isinstance(event, h11.EndOfMessage)
                body = bytes(self._bodies.pop(stream, b""))
                if body:
                    self.packets += engineio.decode_payload(body)
                    self._respond(stream, b"ok")
                else:
                    self._get = stream

    def _respond(self, stream: int, body: bytes) -> None:
        connection = self._connections[stream]
        response = h11.Response(status_code=200, headers=[("Content-Length", str(len(body)))])
        parts = [connection.send(event) for event in (response, h11.Data(data=body), h11.EndOfMessage())]
        connection.start_next_cycle()
        self.machine.data_received(stream, b"".join(part for part in parts if part), NOW)


def try_to(call: Callable[[], Any], *, unless: bool) -> bool:
    """Return whether the call succeeds, which it must unless the text is one that cannot be sent."""
    try:
        call()
    except (OptionError, PacketError):
        if not unless:
            raise
        return False
    return True


def is_unpaired(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.row("difference.separator")
@settings(deadline=None)
@given(TEXTS)
@example("x\x1e1")
def test_any_text_is_sent_as_a_message_or_refused(text: str) -> None:
    machine = EngineProtocol("http://localhost", EngineOptions(transports=["polling"]), random=Random(1))
    server = PollingServer(machine)
    machine.open(NOW)
    server.run()
    server.send("0" + OPEN)
    expected = []
    if try_to(lambda: machine.send(text, NOW), unless="\x1e" in text or is_unpaired(text)):
        expected.append(engineio.Packet("4", text))
    machine.send("next", NOW)
    server.run()
    assert server.packets == [*expected, engineio.Packet("4", "next")]


@pytest.mark.parametrize("parser", [JSONParser(), MessagePackParser()], ids=["json", "msgpack"])
@settings(deadline=None)
@given(name=TEXTS, event=TEXTS, value=TEXTS, key=TEXTS, token=TEXTS)
@example(name="/a\x1e1", event="e", value="v", key="k", token="t")
def test_any_text_in_packets_is_sent_or_refused(
    parser: Parser, name: str, event: str, value: str, key: str, token: str
) -> None:
    is_json = isinstance(parser, JSONParser)  # which escapes what cannot be encoded
    client = ClientProtocol("http://localhost", ClientOptions(transports=["polling"], parser=parser), random=Random(1))
    server = PollingServer(client)
    options = NamespaceOptions(auth={key: token})
    is_valid = try_to(
        lambda: client.namespace(name, options), unless="," in name or "\x1e" in name or is_unpaired(name)
    )
    namespace = client.namespace(name if is_valid else "/a", options)
    namespace.connect(NOW)
    server.run()
    server.send("0" + OPEN)
    expected = []
    if is_json or not is_unpaired(token + key):
        expected.append(Packet(CONNECT, namespace.name, {key: token}))
    else:
        namespace.auth = None
        namespace.connect(NOW)
        server.run()
        server.send("0" + OPEN)
        expected.append(Packet(CONNECT, namespace.name))
    accepted, *asked = [
        frame
        for packet in (Packet(CONNECT, namespace.name, {"sid": "x"}), Packet(EVENT, namespace.name, ["e"], 1))
        for message in parser.encoder().encode(packet)
        for frame in [engineio.encode_frame(engineio.Packet("4", message), force_base64=True)]
    ]
    server.send(str(accepted))
    server.send(*map(str, asked))
    [received] = [each for each in server.events if isinstance(each, EventReceived)]
    assert received.ack_id is not None
    values = [event, value, {key: value}]
    unsendable = not is_json and is_unpaired(event + value + key)
    reserved = event in {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
    if try_to(lambda: namespace.emit(values, NOW), unless=unsendable or reserved):
        expected.append(Packet(EVENT, namespace.name, values))
    ack_id = received.ack_id
    if try_to(lambda: namespace.acknowledge(ack_id, values, NOW), unless=unsendable):
        expected.append(Packet(ACK, namespace.name, values, 1))
    server.run()
    decoder = parser.decoder(0)
    assert [decoder.feed(packet.data) for packet in server.packets if packet.type == "4"] == expected


class RawParser(JSONParser):
    """A parser of the application that writes the name of an event as it is."""

    __slots__ = ()

    def encoder(self) -> Any:
        return self

    def encode(self, packet: Packet) -> list[str | bytes]:
        return [packet.data[0]]


@settings(deadline=None)
@given(TEXTS)
@example("x\x1e1")
def test_any_text_of_a_custom_parser_is_accepted_or_refused(text: str) -> None:
    client = ClientProtocol("http://localhost", ClientOptions(parser=RawParser()), random=Random(1))
    try_to(lambda: client.encode(Packet(EVENT, "/", ["e"])), unless=False)
    is_valid = try_to(lambda: client.encode(Packet(EVENT, "/", [text])), unless="\x1e" in text or is_unpaired(text))
    assert is_valid is not ("\x1e" in text or is_unpaired(text))


@settings(deadline=None)
@given(path=TEXTS, query=st.dictionaries(TEXTS, TEXTS, max_size=2), header=TEXTS, stamp=TEXTS)
@example(path="/\r\nX: 1", query={"a\r\nb": "\r\n\0"}, header="a\r\nX: 1", stamp="\r\n")
def test_any_text_in_requests_is_sent_or_refused(path: str, query: dict[str, str], header: str, stamp: str) -> None:
    options: dict[str, Any] = {"transports": ["polling"]}
    values: dict[str, Any] = {"path": path, "query": query, "timestamp_param": stamp, "extra_headers": {"X": header}}
    for name, value in values.items():
        with suppress(OptionError):
            EngineProtocol("http://localhost", EngineOptions(**{name: value}), random=Random(1))
            options[name] = value
    assert ("path" in options) is not is_unpaired(path)
    assert ("query" in options) is not is_unpaired("".join([*query, *query.values()]))
    machine = EngineProtocol("http://localhost", EngineOptions(**options), random=Random(1))
    server = PollingServer(machine)
    machine.open(NOW)
    server.run()
    [target] = server.targets
    place, _, pairs = target.partition("?")
    if "path" in options and "%" not in path:
        assert unquote(place).strip("/") == path.strip("/")
    sent = {unquote(name): unquote(value) for name, _, value in (pair.partition("=") for pair in pairs.split("&"))}
    wanted = options.get("query", {})
    ours = {"EIO", "transport", "sid", options.get("timestamp_param", "t")}
    assert {name: value for name, value in sent.items() if name not in ours} == {
        name: value for name, value in wanted.items() if name not in ours
    }
    assert server.headers.get("x") == (header.strip(" \t") if "extra_headers" in options else None)
    assert set(server.headers) <= {"host", "user-agent", "accept", "accept-encoding", "x"}
