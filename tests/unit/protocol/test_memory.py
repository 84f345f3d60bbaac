"""The resources that a hostile server can make a client use: memory in proportion to `max_message_size`, work in proportion to its bytes.

The server speaks on the real transports, in chunks as large as those of the drivers. What the client delivers is dropped at
once, as by an application that keeps up.
"""

from __future__ import annotations

import base64
import gc
import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol import ClientOptions, ClientProtocol
from sansio_socketio.protocol.actions import CloseStream, OpenStream, Send
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import CONNECT, JSONParser, Packet
from tests.unit.transports.rig import (
    BINARY,
    CONTINUATION,
    PING_FRAME,
    TEXT,
    chunked,
    frame,
    http_response,
    switching,
)

MEBIBYTE = 1024 * 1024
SIZE = MEBIBYTE // 8
# orjson reserves twelve times the size of a message. tracemalloc counts that, but it uses only as much of it as it needs.
MOST_MEMORY = (8 + 12) * SIZE + MEBIBYTE
CHUNK = SIZE // 4
HANDSHAKE = b'0{"sid":"S","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"


class Peer:
    """A client that is connected, and its server.

    Attributes:
        delivered: How many events were delivered after the client was connected.
        largest: The largest number of outputs that existed at a time.
    """

    def __init__(self, transport: str, *, parser: Any = None, **options: Any) -> None:
        settings = ClientOptions(
            transports=[transport], reconnection=False, parser=parser, max_message_size=SIZE, **options
        )
        self.client = ClientProtocol("http://localhost", settings, random=Random(1))
        self.delivered = self.largest = 0
        self._is_websocket = transport == "websocket"
        self._requests: dict[int, bytes] = {}
        self._get = 0
        self.client.namespace("/").connect(0.0)
        self._run()
        if self._is_websocket:
            self.send(switching(self._requests[self._get], DEFLATE) + frame(TEXT, HANDSHAKE))
        else:
            self.send(http_response(HANDSHAKE))
        (connect,) = (parser or JSONParser()).encoder().encode(Packet(CONNECT, "/", {"sid": "x"}))
        if isinstance(connect, str):
            text = b"4" + connect.encode()
            self.send(frame(TEXT, text) if self._is_websocket else http_response(text))
        else:
            self.send(frame(BINARY, connect) if self._is_websocket else http_response(b"b" + base64.b64encode(connect)))
        assert self.client.namespace("/").connected
        self.delivered = self.largest = 0

    @property
    def stream(self) -> int:
        return self._get

    def send(self, data: bytes) -> None:
        """Send bytes to the client, on its WebSocket or as a response to its poll."""
        stream = self._get
        for start in range(0, len(data), CHUNK):
            self.client.data_received(stream, data[start : start + CHUNK], 0.0)
            self._run()
            while self.client.is_behind:
                self.client.tick(0.0)
                self._run()

    def _run(self) -> None:
        """Carry out the actions, read what is sent, and answer every POST."""
        posted: list[int] = []
        while (output := self.client.next_output()) is not None:
            self.largest = max(self.largest, len(self.client.outbox.outputs))
            if isinstance(output, OpenStream):
                self._requests[output.stream] = b""
                self.client.stream_opened(output.stream, 0.0)
            elif isinstance(output, Send):
                start = bytes(output.data[:5])
                if start == b"GET /":
                    self._get, self._requests[output.stream] = output.stream, bytes(output.data)
                elif start == b"POST ":
                    posted.append(output.stream)
                elif self._is_websocket:
                    posted.append(0)
            elif not isinstance(output, CloseStream):
                self.delivered += 1
        for stream in posted:
            if self._is_websocket:
                self.client.data_sent(self._get, 0.0)
            else:
                self.client.data_received(stream, http_response(b"ok"), 0.0)
        if posted:
            self._run()


def growth(peer: Peer, data: bytes) -> int:
    """Return by how many bytes the memory grows at most while the server sends `data`."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        peer.send(data)
        _, most = tracemalloc.get_traced_memory()
        return most - before
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------------------------
# Data that is small on the wire and large in memory


def repeated(unit: bytes, head: bytes = b"", tail: bytes = b"") -> Callable[[int], bytes]:
    """A body that repeats a unit with a separator at its end."""

    def make(size: int) -> bytes:
        count = max((size - len(head) - len(tail)) // len(unit), 1)
        return head + (unit * count)[:-1] + tail

    return make


def _array(unit: str) -> Callable[[int], bytes]:
    return repeated(unit.encode() + b",", b'42["a",[', b"]]")


def _text(characters: str) -> Callable[[int], bytes]:
    return lambda size: f'42["a","{characters}{"x" * max(size - 40, 0)}"]'.encode()


def _distinct_keys(size: int) -> bytes:
    return b'42["a",{' + b",".join(b'"%06x":0' % number for number in range(max(size - 20, 30) // 12)) + b"}]"


def _attachments(number: int) -> Callable[[int], bytes]:
    return lambda size: f'45{number}-["a"{",[]" * (size // 3 - 10)}]'.encode()


PACKETS = {
    "noops": repeated(b"6\x1e"),
    "pings": repeated(b"2\x1e"),
    "empty messages": repeated(b"4\x1e"),
    "events": repeated(b'42["a"]\x1e'),
    "acknowledgements": repeated(b"430[]\x1e"),
    "unknown namespaces": repeated(b'42/x,["a"]\x1e'),
}
MESSAGES: dict[str, Callable[[int], bytes]] = {
    "empty arrays": _array("[]"),
    "empty objects": _array("{}"),
    "small objects": _array('{"":0}'),
    "zeros": _array("0"),
    "integers": _array("-9"),
    "large integers": _array("18446744073709551616"),
    "floats": _array("1e9"),
    "texts": _array('"\u20ac"'),
    "distinct keys": _distinct_keys,
    "wide characters": _text("\N{GRINNING FACE}"),
    "escaped characters": _text(r"\ud83d\ude00"),
    "plain text": _text(""),
    "commas in a text": lambda size: b'42["a","' + b"[,{:" * (max(size - 40, 0) // 4) + b'"]',
    "deep arrays": lambda size: b'42["a",' + b"[" * (size // 2 - 20) + b"]" * (size // 2 - 20) + b"]",
    "only quotes": repeated(b'""', b'42["a",', b""),
    "attachments": _attachments(999),
    "a handshake": repeated(b"[],", b"0[", b"]"),
}


PACK: Any = msgpack.packb  # the library has no type annotations


def _packed(unit: bytes) -> Callable[[int], bytes]:
    """A packet in MessagePack with an array that repeats a value."""

    def make(size: int) -> bytes:
        count = max((size - 40) // len(unit), 1)
        head = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a\xdd"
        return head + struct.pack(">I", count) + unit * count

    return make


PACKED: dict[str, Callable[[int], bytes]] = {
    "empty arrays": _packed(b"\x90"),
    "empty maps": _packed(b"\x80"),
    "small maps": _packed(b"\x81\xa0\xc0"),
    "zeros": _packed(b"\0"),
    "integers": _packed(b"\xf7"),
    "texts": _packed(b"\xa2ab"),
    "extensions": _packed(b"\xd4\x05\x01"),
    "dates": _packed(b"\xd7\x00" + bytes(8)),
    "array buffers": _packed(b"\xc7\x01\x00a"),
    "bytes": lambda size: PACK({"type": 2, "nsp": "/", "data": ["a", bytes(range(256)) * (size // 256)]}),
    "wide characters": lambda size: PACK(
        {"type": 2, "nsp": "/", "data": ["a", "x" * (size - 60) + "\N{GRINNING FACE}"]}
    ),
}
BODIES: dict[str, Callable[[bytes], bytes]] = {
    "identity": http_response,
    "gzip": lambda body: http_response(gzip.compress(body, mtime=0), b"Content-Encoding: gzip"),
    "deflate": lambda body: http_response(zlib.compress(body), b"Content-Encoding: deflate"),
    "chunked": lambda body: chunked(*(body[start : start + 7919] for start in range(0, len(body), 7919))),
}


def _compressed(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _fragments(opcode: int, message: bytes, size: int) -> bytes:
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    rest = b"".join(frame(CONTINUATION, piece, fin=False) for piece in pieces[1:])
    return frame(opcode, pieces[0], fin=False) + rest + frame(CONTINUATION)


FRAMES: dict[str, Callable[[int, bytes], bytes]] = {
    "whole": frame,
    "compressed": lambda opcode, message: frame(opcode, _compressed(message), rsv1=True),
    "several": lambda opcode, message: frame(opcode, _compressed(message), rsv1=True) * 3,
    "fragments": lambda opcode, message: _fragments(opcode, message, 4001),
}
SIZES = st.one_of(st.just(SIZE), st.just(SIZE // 15), st.integers(200, SIZE))


@settings(max_examples=30, deadline=None)
@given(shape=st.sampled_from([*PACKETS, *MESSAGES]), size=SIZES, body=st.sampled_from([*BODIES]))
def test_memory_is_bounded_with_polling(shape: str, size: int, body: str) -> None:
    data = BODIES[body]({**PACKETS, **MESSAGES}[shape](size))
    peer = Peer("polling")
    assert growth(peer, data) <= MOST_MEMORY
    assert peer.largest < 10


@settings(max_examples=30, deadline=None)
@given(shape=st.sampled_from([*MESSAGES]), size=SIZES, frames=st.sampled_from([*FRAMES]))
def test_memory_is_bounded_with_websocket(shape: str, size: int, frames: str) -> None:
    data = FRAMES[frames](TEXT, MESSAGES[shape](size))
    peer = Peer("websocket")
    assert growth(peer, data) <= MOST_MEMORY
    assert peer.largest < 10


@settings(max_examples=30, deadline=None)
@given(shape=st.sampled_from([*PACKED]), size=SIZES, way=st.sampled_from([*FRAMES, *BODIES]))
def test_memory_is_bounded_with_messagepack(shape: str, size: int, way: str) -> None:
    if way in FRAMES:
        data = FRAMES[way](BINARY, PACKED[shape](size))
    else:
        data = BODIES[way](b"b" + base64.b64encode(PACKED[shape](size * 3 // 4)))
    assert growth(Peer("websocket" if way in FRAMES else "polling", parser=MessagePackParser()), data) <= MOST_MEMORY


SMALL_FRAMES = {
    "letters": frame(TEXT, b"4", fin=False) + frame(CONTINUATION, b"x", fin=False) * 20_000,
    "wide letters": frame(TEXT, b"4", fin=False) + frame(CONTINUATION, "\u20ac".encode(), fin=False) * 20_000,
    "bytes": frame(BINARY, b"4", fin=False) + frame(CONTINUATION, b"x", fin=False) * 20_000,
    "empty fragments": frame(TEXT, b"4", fin=False) + frame(CONTINUATION, fin=False) * 20_000,
    "pings": frame(PING_FRAME) * 20_000,
    "empty binary messages": frame(BINARY) * 20_000,
    "noops": frame(TEXT, b"6") * 20_000,
    "events": frame(TEXT, b'42["a"]') * 10_000,
}


@pytest.mark.parametrize("frames", SMALL_FRAMES.values(), ids=SMALL_FRAMES.keys())
def test_memory_is_bounded_with_small_frames(frames: bytes) -> None:
    assert growth(Peer("websocket"), frames) <= MEBIBYTE


SMALL_PARTS = {
    "chunks of one byte": chunked(*[b"6", b"\x1e"] * 3_000),
    "informational responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000,
    "headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200_000,
    "cookies": b"HTTP/1.1 200 OK\r\n" + b"Set-Cookie: a=b\r\n" * 100_000,
}


@pytest.mark.parametrize("parts", SMALL_PARTS.values(), ids=SMALL_PARTS.keys())
def test_memory_is_bounded_with_small_parts_of_a_response(parts: bytes) -> None:
    assert growth(Peer("polling", with_credentials=True), parts) <= MEBIBYTE


# ---------------------------------------------------------------------------------------------------------------------
# Work


@pytest.mark.parametrize("shape", PACKETS)
def test_a_body_has_a_bounded_number_of_packets(shape: str) -> None:
    peer = Peer("polling", max_payload_packets=1000)
    before = peer.client.statistics().packets_received
    peer.send(BODIES["gzip"](PACKETS[shape](SIZE)))
    assert peer.client.statistics().packets_received == before, "refused before the first packet is handled"
    assert not peer.client.is_open


def test_the_packets_of_a_body_are_handled_as_their_outputs_are_taken() -> None:
    peer = Peer("polling")
    client = peer.client
    client.data_received(peer.stream, http_response(b'42["a"]\x1e42["b"]\x1e42["c"]'), 0.0)
    received = client.statistics().packets_received
    for number in (1, 2, 3):
        assert client.next_output() is not None
        assert client.statistics().packets_received == received + number


def test_packets_are_handled_before_the_end_of_their_stream() -> None:
    peer = Peer("websocket")
    client = peer.client
    client.data_received(peer.stream, frame(TEXT, b'42["a"]') * 3, 0.0)
    client.stream_closed(peer.stream, None, 0.0)
    names = [type(output).__name__ for output in iter(client.next_output, None)]
    assert names[:3] == ["EventReceived"] * 3
    assert "Closed" in names


def test_many_dates_are_decoded_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    class Searched(bytes):
        searches = 0

        def __contains__(self, item: object) -> bool:
            Searched.searches += 1
            return super().__contains__(item)  # type: ignore[operator]

    decoder = MessagePackParser().decoder(0)
    assert len(decoder.feed(Searched(PACKED["dates"](10_000))).data[1]) == 996
    assert Searched.searches <= 2


def test_an_error_holds_no_reference_to_received_data() -> None:
    peer = Peer("websocket")
    data = frame(TEXT, b'42["a",' + b"x" * (SIZE - 100))
    gc.collect()
    tracemalloc.start()
    try:
        client = peer.client
        client.data_received(peer.stream, data, 0.0)
        kept = [output for output in iter(client.next_output, None) if getattr(output, "details", None)]
        assert kept
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < SIZE // 2
