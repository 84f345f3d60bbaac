"""Recorded server sessions give the same events and packets in any chunking.

tests/unit/transports/test_chunks.py tests the responses of each transport in every chunking of up to three pieces. Here
are whole sessions, one for each transport: what the server for Node sent, and the application to which it sent it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from random import Random

import pytest

from sansio_socketio.protocol import ClientOptions, ClientProtocol, actions, events
from tests.unit.transports.rig import BINARY, TEXT, client_frames, close_frame, frame, switching

Cuts = dict[int, Sequence[int]]
"""Where chunks end, by the position of the response in the recording. Other responses arrive in one chunk."""

HEADERS = (
    b"cache-control: no-store\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5"
)


def http(body: str, kind: bytes = b"text/plain; charset=UTF-8") -> bytes:
    data = body.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n\r\n%b" % (
        kind,
        len(data),
        HEADERS,
        data,
    )


OK = http("ok", b"text/html")

POLLING = [
    ("GET", http('0{"sid":"gp_tW2AV","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')),
    ("POST", OK),
    ("GET", http('40{"sid":"MFHJurY6"}\x1e42["welcome",{"sid":"MFHJurY6","auth":{}}]')),
    ("POST", OK),
    ("GET", http('461-0[1,{"_placeholder":true,"num":0}]')),
    ("GET", http("bAAE=")),
    ("POST", OK),
    ("GET", http('451-["echo","é",{"b":{"_placeholder":true,"num":0}}]')),
    ("POST", OK),
    ("GET", http("bAg==\x1e431[]")),
    ("POST", OK),
    ("POST", OK),
    ("GET", http("6")),
]

WEBSOCKET = [
    ("GET", b""),  # the response to the handshake, which depends on the key
    ("GET", frame(TEXT, b'0{"sid":"OBPgBkBP","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":9}')),
    ("GET", frame(TEXT, b'40{"sid":"-s_0QWRM"}') + frame(TEXT, b'42["welcome",{"auth":{}}]')),
    ("GET", frame(TEXT, b"2")),
    ("GET", frame(TEXT, b'461-0[1,{"_placeholder":true,"num":0}]') + frame(BINARY, b"\x00\x01")),
    ("GET", frame(TEXT, '451-["echo","é",{"b":{"_placeholder":true,"num":0}}]'.encode())),
    ("GET", frame(BINARY, b"\x02") + frame(TEXT, b"431[]")),
    ("GET", close_frame(1000)),
]
RECORDINGS = {"polling": POLLING, "websocket": WEBSOCKET}


class Application:
    """A client and its application, which performs the steps of the recording in order."""

    def __init__(self, transport: str) -> None:
        options = ClientOptions(transports=[transport], per_message_deflate=False)
        self.client = ClientProtocol("http://localhost:3000", options, random=Random(1))
        self.namespace = self.client.namespace("/")
        self.events: list[str] = []
        self.packets: dict[int, bytes] = {}
        self.asking: dict[str, int] = {}
        """The stream of the last GET, and of the last POST."""
        self._next_steps = iter([self._ask, self._echo, self._leave])
        self.namespace.connect(0)
        self.run()

    def run(self) -> None:
        """Carry out the actions. Every byte is sent at once."""
        while (action := self.client.next_output()) is not None:
            match action:
                case actions.OpenStream(stream):
                    self.packets[stream] = b""
                    self.client.stream_opened(stream, 0)
                case actions.Send(stream, data):
                    self.packets[stream] += bytes(data)
                    self.asking[bytes(data).partition(b" ")[0].decode("latin-1")] = stream
                    self.client.data_sent(stream, 0)
                case events.MachineEvent() as event:
                    self.events.append(repr(event))
                    if isinstance(event, (events.Connected, events.Acknowledged)):
                        next(self._next_steps)()
                case _:
                    pass

    def receive(self, stream: int, data: bytes, cuts: Sequence[int]) -> None:
        for first, last in pairwise([0, *cuts, len(data)]):
            self.client.data_received(stream, data[first:last], 0)
            self.run()

    def _ask(self) -> None:
        self.namespace.emit(["echo_ack", 1, b"\x00\x01"], 0, ack=True)

    def _echo(self) -> None:
        self.namespace.emit(["echo", "é", {"b": b"\x02"}], 0)
        self.namespace.emit(["echo_ack"], 0, ack=True)

    def _leave(self) -> None:
        self.namespace.disconnect(0)


def play(transport: str, cuts: Cuts) -> tuple[list[str], list[object]]:
    """Return the events and the sent packets if the responses arrive in chunks that end at these places."""
    application = Application(transport)
    for place, (method, data) in enumerate(RECORDINGS[transport]):
        answer = data or switching(application.packets[1])
        application.receive(application.asking[method], answer, cuts.get(place, ()))
    assert application.client.idle
    if transport == "polling":
        return application.events, [re.sub(rb"\?t=\w+", b"", data) for data in application.packets.values()]
    return application.events, [client_frames(data.partition(b"\r\n\r\n")[2]) for data in application.packets.values()]


def chunkings(transport: str) -> Iterator[Cuts]:
    lengths = [len(data) or 120 for _, data in RECORDINGS[transport]]
    yield {place: range(1, length) for place, length in enumerate(lengths)}
    for place, length in enumerate(lengths):
        for cut in range(1, length):
            yield {place: [cut]}
        for two_cuts in combinations(range(1, length, 19), 2):
            yield {place: two_cuts}


@pytest.mark.parametrize("transport", RECORDINGS)
def test_events_and_packets_do_not_depend_on_the_chunking(transport: str) -> None:
    events, packets = play(transport, {})
    assert any("welcome" in event for event in events)
    assert sum("Acknowledged" in event for event in events) == 2
    assert any("io client disconnect" in event for event in events)
    for cuts in chunkings(transport):
        assert play(transport, cuts) == (events, packets), cuts
