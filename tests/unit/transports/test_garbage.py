"""For any bytes of a peer, nothing is raised, at most one `on_close` comes, and no stream is left open after it."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.transports.rig import (
    BINARY,
    CLOSE_TIMEOUT,
    CONTINUATION,
    HANDSHAKE,
    PING_FRAME,
    TEXT,
    TransportRig,
    chunked,
    close_frame,
    frame,
    http_response,
    open_polling,
    open_websocket,
    switching,
)

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10"
COMPRESSED = bytes.fromhex("f248cdc9c90700")


def opening(name: str) -> TransportRig:
    rig = TransportRig(name, max_message_size=100)
    rig.open()
    rig.stream_opened(1)
    return rig


def polling_with_a_post() -> TransportRig:
    rig = open_polling(max_message_size=100)
    rig.close()
    return rig


def closing_websocket() -> TransportRig:
    rig = open_websocket(DEFLATE, max_message_size=100)
    rig.close()
    return rig


STAGES: dict[str, tuple[Callable[[], TransportRig], list[bytes]]] = {
    "polling, opening": (
        lambda: opening("polling"),
        [http_response(HANDSHAKE), b"HTTP/1.1 103 Hi\r\n\r\n", http_response(b"1")],
    ),
    "polling": (
        lambda: open_polling(max_message_size=100),
        [
            http_response(b"4a\x1e6\x1ebAAE=", b"Keep-Alive: timeout=5"),
            chunked(b"4a", b"\x1e1"),
            http_response(gzip.compress(b"4a" * 40, mtime=0), b"Content-Encoding: gzip"),
            b"HTTP/1.0 200 OK\r\nSet-Cookie: a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n4a",
        ],
    ),
    "polling, closing": (polling_with_a_post, [http_response(b"6"), http_response(b"ok", b"Connection: close")]),
    "websocket, opening": (
        lambda: opening("websocket"),
        [
            switching(b"Sec-WebSocket-Key: x\r\n", DEFLATE, b"Sec-WebSocket-Protocol: x"),
            http_response(b"no", status=b"400 Bad"),
            chunked(b"no").replace(b"200", b"500"),
        ],
    ),
    "websocket": (
        lambda: open_websocket(DEFLATE, max_message_size=100),
        [
            frame(TEXT, b"4hello"),
            frame(TEXT, b"4he", fin=False) + frame(PING_FRAME, b"x") + frame(CONTINUATION, b"llo"),
            frame(BINARY, COMPRESSED, rsv1=True),
            frame(BINARY, bytes(130)),
            close_frame(1000, "bye"),
        ],
    ),
    "websocket, closing": (closing_websocket, [frame(TEXT, b"4a"), frame(BINARY, b"x", fin=False), close_frame(1000)]),
}


@st.composite
def mutated(draw: st.DrawFn, parts: list[bytes]) -> bytes:
    """Some of the parts in any order, with some bytes replaced, removed or inserted."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(parts), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 8, len(data))))
        data[start:end] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize(("start", "parts"), STAGES.values(), ids=STAGES.keys())
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_bytes_raise_nothing_and_leave_no_stream_open(
    start: Callable[[], TransportRig], parts: list[bytes], data: st.DataObject
) -> None:
    rig = start()
    cause = data.draw(st.sampled_from([None, ConnectionResetError("reset")]))
    sent = data.draw(mutated(parts) | st.binary(max_size=200))
    for index in range(4):  # a stream that ended may be replaced by another
        if index == len(rig.streams):
            break
        stream = rig.streams[index]
        if index and stream in rig.open_streams:
            rig.stream_opened(stream)
        size = data.draw(st.integers(1, 100))
        for first in range(0, len(sent), size):
            rig.feed(stream, sent[first : first + size])
        rig.flush(stream)
        rig.eof(stream, cause)
    check_end(rig)


def check_end(rig: TransportRig) -> None:
    closes = [call for call in rig.session.calls if call[0] == "close"]
    assert len(closes) <= 1
    if closes:
        assert rig.session.calls[-1] is closes[0]
        rig.advance(CLOSE_TIMEOUT)  # polling informs the server
        assert not rig.open_streams
        assert str(closes[0][2])
    rig.transport.abort()
    assert not rig.open_streams
    assert rig.timers.next_deadline is None


HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f\x85\xa0"))
EXTENSIONS = st.lists(
    st.sampled_from(
        ["permessage-deflate", "client_max_window_bits", "server_no_context_takeover", "=", ";", ",", '"', "9"]
    )
).map("".join)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(["Extensions", "Protocol", "Accept"]), value=EXTENSIONS | HEADER_TEXT)
def test_any_header_value_in_a_handshake_opens_or_closes_the_session(name: str, value: str) -> None:
    rig = opening("websocket")
    rig.feed(1, switching(rig.take(1), f"Sec-WebSocket-{name}: {value}".encode("latin-1")) + frame(TEXT, b"40"))
    [(what, *_), *_] = rig.session.calls
    assert what in {"open", "close"}
    check_end(rig)
