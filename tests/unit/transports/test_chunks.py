"""Recorded sessions give the same calls and bytes in every chunking of up to three pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import pytest

from sansio_socketio.protocol.errors import TransportError
from tests.unit.transports.rig import (
    BINARY,
    CONTINUATION,
    HANDSHAKE,
    PING_FRAME,
    TEXT,
    TransportRig,
    chunked,
    client_frames,
    close_frame,
    frame,
    http_response,
    open_polling,
    open_websocket,
    switching,
)

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"


@dataclass
class Recording:
    """A transport that reads from stream 1, and what its server sends there. With `eof` the stream then ends."""

    start: Callable[[], TransportRig]
    data: bytes | Callable[[bytes], bytes]
    eof: bool = False

    def play(self, cuts: Callable[[int], Sequence[int]]) -> Any:
        """Return the calls of the session and the sent bytes if the bytes arrive in chunks that end at these places."""
        rig = self.start()
        request = rig.take(1)
        data = self.data if isinstance(self.data, bytes) else self.data(request)
        for first, last in pairwise([0, *cuts(len(data)), len(data)]):
            rig.feed(1, data[first:last])
        if self.eof:
            rig.eof(1)
        sent = rig.take(1)
        calls = [tuple(map(comparable, call)) for call in rig.calls]
        return calls, client_frames(sent) if rig.transport.name == "websocket" else sent, rig.streams, rig.closed

    def length(self) -> int:
        lengths: list[int] = []

        def measure(size: int) -> Sequence[int]:
            lengths.append(size)
            return []

        self.play(measure)
        return lengths[0]


def comparable(value: Any) -> Any:
    if isinstance(value, TransportError):
        return (str(value), value.status, value.body, value.close_code)
    return value


def asking(name: str) -> Callable[[], TransportRig]:
    def start() -> TransportRig:
        rig = TransportRig(name)
        rig.open()
        rig.stream_opened(1)
        return rig

    return start


def deflated(*messages: bytes) -> list[bytes]:
    deflater = zlib.compressobj(wbits=-15)
    return [(deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4] for message in messages]


ONE, TWO = deflated(b"4hello hello", b"4hello again")

RECORDINGS = {
    "polling: opening": Recording(asking("polling"), http_response(HANDSHAKE + b"\x1e40")),
    "polling: events": Recording(open_polling, http_response('42["é"]\x1ebAAE=\x1e2'.encode())),
    "polling: chunks": Recording(open_polling, chunked("4é".encode()[:2], "4é".encode()[2:] + b"\x1e", b"6")),
    "polling: gzip": Recording(
        open_polling, http_response(gzip.compress(b"4a" * 9, mtime=0), b"Content-Encoding: gzip")
    ),
    "polling: hints": Recording(open_polling, b"HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" + http_response(b"4a")),
    "polling: until the end": Recording(open_polling, b"HTTP/1.0 200 OK\r\nX: 1\r\n\r\n4a\x1e4b", eof=True),
    "polling: breaks off": Recording(open_polling, http_response(b"4a\x1e4b")[:-1], eof=True),
    "polling: close": Recording(open_polling, http_response(b"4a\x1e1\x1e4b")),
    "polling: refused": Recording(open_polling, http_response(b'{"code":1,"message":"no"}', status=b"400 Bad")),
    "websocket: handshake": Recording(asking("websocket"), lambda request: switching(request) + frame(TEXT, b"40")),
    "websocket: refused": Recording(asking("websocket"), http_response(b"Bad Gateway", status=b"502 Bad")),
    "websocket: refused until the end": Recording(asking("websocket"), b"HTTP/1.1 502 Bad\r\n\r\nBad", eof=True),
    "websocket: fragments": Recording(
        open_websocket,
        frame(TEXT, "4é".encode()[:2], fin=False)
        + frame(PING_FRAME, b"one")
        + frame(CONTINUATION, fin=False)
        + frame(CONTINUATION, "4é".encode()[2:])
        + frame(BINARY, bytes(130))[:60],
        eof=True,
    ),
    "websocket: close": Recording(
        open_websocket, frame(TEXT, b"2") + frame(BINARY, b"\x00") + close_frame(1001, "bye") + frame(TEXT, b"4late")
    ),
    "websocket: compressed": Recording(
        lambda: open_websocket(DEFLATE),
        frame(TEXT, ONE[:4], fin=False, rsv1=True)
        + frame(PING_FRAME, b"x")
        + frame(CONTINUATION, ONE[4:])
        + frame(TEXT, b"4plain")
        + frame(TEXT, TWO, rsv1=True),
    ),
    "websocket: too large": Recording(
        lambda: open_websocket(max_message_size=20), frame(TEXT, "4é".encode()) + frame(BINARY, bytes(21)) + frame(TEXT)
    ),
    "websocket: a bomb": Recording(
        lambda: open_websocket(DEFLATE, max_message_size=20), frame(TEXT, deflated(b"4" + b"x" * 999)[0], rsv1=True)
    ),
    "websocket: no packet": Recording(open_websocket, frame(TEXT, b"40") + frame(TEXT, b"no") + frame(TEXT, b"4late")),
}


def chunkings(length: int) -> Iterator[Sequence[int]]:
    yield range(1, length)
    for pieces in (2, 3):
        yield from combinations(range(1, length), pieces - 1)


@pytest.mark.parametrize("recording", RECORDINGS.values(), ids=RECORDINGS.keys())
def test_calls_and_sent_bytes_do_not_depend_on_the_chunking(recording: Recording) -> None:
    whole = recording.play(lambda _: [])
    assert whole[0], "there are calls"
    for cuts in chunkings(recording.length()):
        assert recording.play(lambda _, cuts=cuts: cuts) == whole, cuts  # type: ignore[misc]  # mypy cannot infer it
