"""WebSocket: the handshake and its refusals, messages, pings, bounds, pausing and closing."""

from __future__ import annotations

import re
import struct
from base64 import b64decode
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from sansio_socketio.protocol.packets.engineio import Packet
from sansio_socketio.protocol.transports.cookies import CookieJar
from sansio_socketio.protocol.transports.http import tls_hint
from tests.unit.transports.rig import (
    BINARY,
    CLOSE_FRAME,
    CLOSE_TIMEOUT,
    CONTINUATION,
    FIN,
    PING_FRAME,
    PONG_FRAME,
    TEXT,
    TransportRig,
    chunked,
    client_frames,
    close_frame,
    frame,
    http_response,
    open_websocket,
    parse_request,
    switching,
)

HELLO = Packet("4", "hello")


def packet(data: str | bytes, kind: str = "4") -> tuple[Any, ...]:
    return ("packet", kind, data)


def asked(**settings: Any) -> tuple[TransportRig, bytes]:
    """Return a transport that has sent its handshake, and that request."""
    rig = TransportRig("websocket", **settings)
    rig.open()
    rig.stream_opened(1)
    return rig, rig.take(1)


# ---------------------------------------------------------------------------------------------------------------------
# The handshake


def test_the_handshake_request_has_query_and_headers() -> None:
    rig, request = asked(url="wss://example.org:8443", query={"token": "1"}, sid="abc")
    [stream] = rig.opened
    assert (stream.host, stream.port, stream.tls, stream.transport) == ("example.org", 8443, True, "websocket")
    method, target, headers, body = parse_request(request)
    assert (method, body) == ("GET", b"")
    assert target == "/engine.io/?token=1&EIO=4&transport=websocket&sid=abc"
    key = headers.pop("Sec-WebSocket-Key")
    assert len(key) == 24
    assert headers == {
        "Host": "example.org:8443",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "User-Agent": "sansio-socketio",
    }


def test_options_apply_to_the_handshake_request() -> None:
    _, request = asked(
        url="http://[::1]:3000",
        headers={"Origin": "http://localhost", "HOST": "other", "user-agent": "mine"},
        protocols=["chat", "v2"],
        force_base64=True,
        timestamp_requests=True,
        timestamp_param="stamp",
    )
    _, target, headers, _ = parse_request(request)
    assert target.startswith("/engine.io/?EIO=4&transport=websocket&b64=1&stamp=")
    assert headers["HOST"] == "other"
    assert "Host" not in headers
    assert headers["Origin"] == "http://localhost"
    assert headers["user-agent"] == "mine"
    assert headers["Sec-WebSocket-Protocol"] == "chat, v2"


@pytest.mark.parametrize("host", ["[::1]", "h.example.", "a" * 63])
def test_the_host_header_has_the_port(host: str) -> None:
    assert parse_request(asked(url=f"http://{host}:3000")[1])[2]["Host"] == f"{host}:3000"


def test_the_application_can_set_the_host_header() -> None:
    assert parse_request(asked(headers={"Host": "ü"})[1])[2]["Host"] == "ü"


def test_an_accepted_handshake_opens_the_session() -> None:
    rig, request = asked()
    assert not rig.transport.writable
    rig.flush()
    assert rig.calls == [], "sending the handshake does not count as a drain"
    rig.feed(1, switching(request) + frame(TEXT, b'0{"sid":"abc"}') + frame(TEXT, b"4hello")[:4])
    assert rig.calls == [("open", True), packet('{"sid":"abc"}', "0")]
    rig.feed(1, frame(TEXT, b"4hello")[4:])
    assert rig.calls == [packet("hello")]


def test_informational_responses_before_the_handshake_response_are_ignored() -> None:
    rig, request = asked()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    rig.feed(1, b"HTTP/1.1 100 Continue\r\n\r\n" + hints + switching(request) + frame(TEXT, b"4a"))
    assert rig.calls == [("open", True), packet("a")]


def test_the_lists_of_a_handshake_response_may_be_split() -> None:
    rig, request = asked()
    response = switching(request, b"Connection: keep-alive").replace(b"websocket", b"WebSocket")
    rig.feed(1, response.replace(b"Connection: Upgrade", b"Connection: x, UPGRADE"))
    assert rig.calls == [("open", True)]


def test_an_offered_subprotocol_is_accepted() -> None:
    rig, request = asked(protocols=["chat"])
    rig.feed(1, switching(request, b"Sec-WebSocket-Protocol: chat"))
    assert rig.calls == [("open", True)]


def test_cookies_are_stored_and_sent() -> None:
    jar = CookieJar()
    rig, request = asked(cookies=jar)
    assert b"cookie" not in request.lower()
    rig.feed(1, switching(request, b"Set-Cookie: a=1", b"Set-Cookie: b=2"))
    assert parse_request(asked(cookies=jar)[1])[2]["Cookie"] == "a=1; b=2"
    rig, _ = asked(cookies=jar)
    rig.feed(1, http_response(b"", b"Set-Cookie: c=3", status=b"401 Unauthorized"))
    assert parse_request(asked(cookies=jar)[1])[2]["Cookie"] == "a=1; b=2; c=3"


def test_the_keys_of_the_handshake_and_the_frames_are_drawn_from_the_random_numbers_of_the_session() -> None:
    def sent() -> list[bytes]:
        rig, request = asked()  # the rig has a constant seed
        rig.feed(1, switching(request) + frame(PING_FRAME, b"x"))
        rig.send(HELLO)
        rig.close()
        return [request, rig.take(1)]

    first = sent()
    assert first == sent()
    assert len(b64decode(parse_request(first[0])[2]["Sec-WebSocket-Key"])) == 16
    assert [payload for _, payload in client_frames(first[1])] == [b"x", b"4hello", close_frame(1000)[2:]]


def wrong_key(_: bytes) -> bytes:
    return switching(b"Sec-WebSocket-Key: other\r\n")


def without(name: bytes) -> Callable[[bytes], bytes]:
    def answer_without(request: bytes) -> bytes:
        lines = switching(request).split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(name))

    return answer_without


def adding(header: bytes) -> Callable[[bytes], bytes]:
    return lambda request: switching(request, header)


INVALID_ACCEPT = "the header Sec-WebSocket-Accept is absent or does not match the request"
OTHER_SUBPROTOCOL = "the server accepted a subprotocol that was not offered"
OTHER_EXTENSION = "the server accepted an extension that was not offered"


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        (wrong_key, INVALID_ACCEPT),
        (without(b"Sec-WebSocket-Accept"), INVALID_ACCEPT),
        (adding(b"Sec-WebSocket-Accept: x"), INVALID_ACCEPT),
        (without(b"Upgrade"), "the response has no header 'Upgrade: websocket'"),
        (adding(b"Upgrade: h2c"), "the response has no header 'Upgrade: websocket'"),
        (without(b"Connection"), "the response has no header 'Connection: Upgrade'"),
        (adding(b"Sec-WebSocket-Protocol: other"), OTHER_SUBPROTOCOL),
        (adding(b"Sec-WebSocket-Protocol: chat, chat"), OTHER_SUBPROTOCOL),
        (adding(b"Sec-WebSocket-Protocol: "), OTHER_SUBPROTOCOL),
        (adding(b"Sec-WebSocket-Protocol: \xff"), OTHER_SUBPROTOCOL),
        (adding(b"Sec-WebSocket-Extensions: \xff"), OTHER_EXTENSION),
        (adding(b"Sec-WebSocket-Extensions: "), OTHER_EXTENSION),
        (adding(b"Sec-WebSocket-Extensions: x-other"), OTHER_EXTENSION),
        (adding(b"Sec-WebSocket-Extensions: permessage-deflate\xa0"), OTHER_EXTENSION),
        (lambda _: b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "illegal status line"),
        (lambda _: b"\r\n\r\n", "no response line received"),
        (
            lambda _: b"\x15\x03\x03\n\n",
            "illegal status line; the server uses TLS on this port: use https:// or wss://",
        ),
        (lambda _: b"HTTP/1.1 101 x\r\nno header\r\n\r\n", "illegal header line"),
        (lambda _: b"A" * 70_000, "the response header is too long"),
        (lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "bad Content-Length"),
    ],
)
def test_an_invalid_handshake_response_fails_the_session(answered: Callable[[bytes], bytes], expected: str) -> None:
    rig, request = asked(protocols=["chat"])
    rig.feed(1, answered(request))
    error = rig.failure()
    assert str(error) == f"the WebSocket handshake with localhost:3000 failed: {expected}"
    assert error.__cause__ is error.__context__ is None, "an exception of a parser quotes the response"
    assert rig.closed == {1: True}


@pytest.mark.parametrize("headers", [{"a b": "1"}, {"Connection": "close"}])
def test_a_request_that_cannot_be_written_fails_the_session(headers: dict[str, str]) -> None:
    rig = TransportRig("websocket", headers=headers)
    rig.open()
    rig.stream_opened(1)
    error = rig.failure()
    assert str(error).startswith("the WebSocket handshake could not be written: ")
    assert error.__cause__ is not None


def test_the_error_for_an_echoed_request_does_not_show_the_query() -> None:
    rig, request = asked(query={"token": "s3cret"})
    rig.feed(1, request)
    error = rig.failure()
    assert str(error) == "the WebSocket handshake with localhost:3000 failed: illegal status line"


def test_a_stream_that_cannot_be_opened_fails_the_session() -> None:
    rig = TransportRig("websocket")
    rig.open()
    refused = ConnectionRefusedError("refused")
    rig.stream_failed(1, refused)
    error = rig.failure()
    assert (
        str(error)
        == "could not connect to localhost:3000: connection refused; is the server running at this host and port?"
    )
    assert error.__cause__ is refused


@pytest.mark.parametrize(
    ("data", "error", "expected"),
    [
        (b"", None, "the server closed the stream"),
        (b"", ConnectionResetError("reset"), "the stream broke: reset"),
        (
            b"\x15\x03\x03",
            None,
            "the server closed the stream before its response was complete" + tls_hint(b"\x15"),
        ),
        (b"HTTP/1.1 1", None, "the server closed the stream before its response was complete"),
    ],
)
def test_a_stream_that_ends_in_the_handshake_fails_the_session(
    data: bytes, error: Exception | None, expected: str
) -> None:
    rig, _ = asked()
    rig.feed(1, data)
    rig.eof(1, error)
    assert str(rig.failure()) == f"the WebSocket handshake with localhost:3000 failed: {expected}"


# ---------------------------------------------------------------------------------------------------------------------
# Refusals

REFUSAL = b'{"code":3,"message":"Bad request"}'


@pytest.mark.parametrize(
    "data",
    [
        http_response(REFUSAL, status=b"400 Bad Request"),
        chunked(REFUSAL[:5], REFUSAL[5:]).replace(b"200 OK", b"400 Bad Request"),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + http_response(REFUSAL, status=b"400 Bad Request"),
    ],
)
def test_a_refusal_is_reported_with_status_and_body(data: bytes) -> None:
    rig, _ = asked()
    rig.feed(1, data[:-8])
    assert rig.calls == []
    rig.feed(1, data[-8:])
    error = rig.failure()
    assert (
        str(error) == "localhost:3000 responded to the WebSocket handshake with HTTP status 400: Bad request (code 3)"
    )
    assert (error.status, error.body) == (400, REFUSAL.decode())


@pytest.mark.parametrize("cut", [None, ConnectionResetError("reset")])
@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"HTTP/1.1 502 Bad\r\nContent-Length: 99\r\n\r\n"]
)
def test_the_body_of_a_refusal_may_end_with_the_stream(head: bytes, cut: Exception | None) -> None:
    rig, _ = asked()
    rig.feed(1, head + b"Bad Gate")
    rig.feed(1, b"way")
    rig.eof(1, cut)
    error = rig.failure()
    assert (error.status, error.body) == (502, "Bad Gateway")


def test_a_refusal_without_a_body_is_reported_with_its_status() -> None:
    rig, _ = asked()
    rig.feed(1, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert rig.failure().status == 204


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "`extra_headers`"), (403, "Origin"), (407, "`proxy`"), (429, "`reconnection_delay`"), (503, "overloaded")],
)
def test_the_error_of_a_refusal_says_what_to_check(status: int, hint: str) -> None:
    rig, _ = asked()
    rig.feed(1, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    assert re.search(f"HTTP status {status}; .*{hint}", str(rig.failure()))


def test_a_200_response_to_the_handshake_is_a_refusal() -> None:
    rig, _ = asked()
    rig.feed(1, http_response(b"<html>"))
    error = rig.failure()
    assert str(error) == (
        "localhost:3000 responded to the WebSocket handshake with HTTP status 200; it is not the WebSocket endpoint of a "
        "Socket.IO server: check the URL and the option `path`"
    )
    assert error.body == "<html>"


def test_the_body_of_an_endless_refusal_is_truncated() -> None:
    rig, _ = asked()
    rig.feed(1, b"HTTP/1.1 500 Oops\r\n\r\n" + b"x" * 4000)
    assert rig.calls == []
    rig.feed(1, b"x" * 4000)
    error = rig.failure()
    assert (error.status, error.body) == (500, "x" * 4096)


def test_an_invalid_chunk_ends_the_body_of_a_refusal() -> None:
    rig, _ = asked()
    rig.feed(1, b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n")
    rig.feed(1, b"garbage\r\n")
    error = rig.failure()
    assert (error.status, error.body) == (500, "no")


@pytest.mark.parametrize("chunk", [1, 999, 100_000])
@pytest.mark.parametrize(
    ("head", "body", "shown"),
    [
        (b"Content-Length: 3", b"Bad\r\n", "Bad"),
        (b"Connection: close\r\nContent-Length: 3", b"Bad\r\n", "Bad"),
        (b"Transfer-Encoding: chunked", b"3\r\nBad\r\n0\r\n\r\nsurplus", "Bad"),
        (b"Transfer-Encoding: chunked", b"3\r\nBad\r\n3;" + b"x" * 20_000 + b"\r\nBad\r\n0\r\n\r\n", "Bad"),
        (b"X: 1", b"x" * 5000, "x" * 4096),
    ],
)
def test_a_refusal_is_the_same_in_any_chunking(head: bytes, body: bytes, shown: str, chunk: int) -> None:
    rig, _ = asked()
    data = b"HTTP/1.1 502 Bad\r\n" + head + b"\r\n\r\n" + body
    for start in range(0, len(data), chunk):
        rig.feed(1, data[start : start + chunk])
    error = rig.failure()
    assert (error.status, error.body) == (502, shown)


@pytest.mark.parametrize("chunk", [1000, 100_000])
@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
def test_the_size_of_the_response_header_is_bounded_in_any_chunking(size: int, chunk: int) -> None:
    rig, request = asked()
    head = switching(request, b"X: ")
    data = head.replace(b"X: ", b"X: " + b"x" * (size - len(head)))
    for start in range(0, len(data), chunk):
        rig.feed(1, data[start : start + chunk])
    if size == 64 * 1024:
        assert rig.calls == [("open", True)]
    else:
        assert "the response header is too long" in str(rig.failure())


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"4" + b"x" * 18 + b"\xff" + b"x" * 9), 1009),
        (frame(TEXT, b"4\xff" + b"x" * 19), 1009),
        (frame(TEXT, b"4\xff" + b"x" * 18), 1007),
        (frame(TEXT, b"4\xff", fin=False) + frame(CONTINUATION, b"x" * 19), 1009),
        (frame(TEXT, b"4\xc3", fin=False) + frame(CONTINUATION, b"x"), 1007),
        (frame(TEXT, b"4\xc3"), 1007),
    ],
)
def test_a_text_that_is_too_large_and_not_utf8_has_one_error_in_any_chunking(
    data: bytes, code: int, chunk: int
) -> None:
    rig = open_websocket(max_message_size=20)
    for start in range(0, len(data), chunk):
        rig.feed(1, data[start : start + chunk])
    error = rig.failure()
    assert error.close_code == code
    [(_, payload)] = client_frames(rig.take(1))
    assert payload[2:].decode() in str(error)


# ---------------------------------------------------------------------------------------------------------------------
# Messages


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_messages_are_delivered_as_packets(kind: Callable[[bytes], bytes]) -> None:
    rig = open_websocket()
    data = frame(TEXT, "4hé€😀".encode()) + frame(BINARY, b"\x00\xff") + frame(TEXT, b"bAP8=") + frame(TEXT, b"1")
    rig.feed(1, kind(data))
    assert rig.calls == [packet("hé€😀"), packet(b"\x00\xff"), packet(b"\x00\xff"), packet("", "1")]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 300_000])
def test_messages_of_every_frame_length_are_sent_and_received(size: int) -> None:
    rig = open_websocket()
    rig.feed(1, frame(BINARY, bytes(size)) + frame(TEXT, b"4" + b"x" * size))
    assert rig.calls == [packet(bytes(size)), packet("x" * size)]
    rig.send(Packet("4", bytes(size)), Packet("4", "x" * size, compress=False))
    assert client_frames(rig.take(1)) == [(FIN | BINARY, bytes(size)), (FIN | TEXT, b"4" + b"x" * size)]


def test_fragments_are_joined() -> None:
    rig = open_websocket()
    text = "4hé€😀".encode()
    pieces = [
        frame(TEXT, text[:3], fin=False),
        frame(CONTINUATION, text[3:4], fin=False),
        frame(CONTINUATION, text[4:]),
    ]
    rig.feed(1, b"".join(pieces))
    rig.feed(1, frame(BINARY, b"a", fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION, b"b"))
    rig.feed(1, frame(TEXT, fin=False) + frame(CONTINUATION, b"4c"))
    rig.feed(1, frame(BINARY, fin=False) + frame(CONTINUATION))
    assert rig.calls == [packet("hé€😀"), packet(b"ab"), packet("c"), packet(b"")]


def test_the_packets_of_a_batch_are_sent_in_one_write() -> None:
    rig = open_websocket()
    rig.send(HELLO, Packet("4", b"\x00"), Packet("3"))
    assert not rig.transport.writable
    assert len(rig.outbox.outputs) == 1
    assert client_frames(rig.take(1)) == [(FIN | TEXT, b"4hello"), (FIN | BINARY, b"\x00"), (FIN | TEXT, b"3")]
    rig.flush()
    assert rig.calls == [("drain", True)]
    rig.flush()
    assert rig.calls == [], "drained once only"


def test_forced_base64_sends_binary_data_as_text() -> None:
    rig = open_websocket(force_base64=True)
    rig.send(Packet("4", b"\x00\xff"))
    assert client_frames(rig.take(1)) == [(FIN | TEXT, b"bAP8=")]


def test_an_empty_batch_sends_nothing() -> None:
    rig = open_websocket()
    rig.send()
    assert rig.take(1) == b""


@pytest.mark.parametrize(
    ("data", "code", "expected"),
    [
        (frame(TEXT, b"hello"), 1007, "must start with a type from 0 to 6, not with 'h'"),
        (frame(TEXT), 1007, "must start with a type"),
        (frame(TEXT, b"b***"), 1007, "base64"),
        (frame(TEXT, b"4\xff"), 1007, "not valid UTF-8: invalid start byte at byte 1"),
        (frame(TEXT, b"4", fin=False) + frame(BINARY), 1002, "expected CONTINUATION"),
        (frame(CONTINUATION, b"4"), 1002, "unexpected CONTINUATION"),
        (frame(3), 1002, "Invalid opcode 0x3"),
        (frame(PING_FRAME, fin=False), 1002, "fragment control frame"),
        (frame(PING_FRAME, bytes(126)), 1002, "Control frame"),
        (b"\x81\x81\x00\x00\x00\x004", 1002, "masked frame"),
        (b"\x82\x7e\x00\x01x", 1002, "2 bytes when 1 would have sufficed"),
        (b"\x82\x7f" + b"\xff" * 8, 1002, "MSB"),
        (b"\xa1\x014", 1002, "Reserved bit"),
        (frame(CLOSE_FRAME, b"x"), 1002, "CLOSE with 1 byte payload"),
        (close_frame(1005), 1002, "local-only reason"),
        (frame(CLOSE_FRAME, b"\x03\xe8\xff"), 1007, "CLOSE reason"),
    ],
)
def test_an_invalid_frame_fails_the_session_with_a_close_frame(data: bytes, code: int, expected: str) -> None:
    rig = open_websocket()
    rig.feed(1, data + frame(TEXT, b"4too late"))
    error = rig.failure()
    assert str(error).startswith("the WebSocket failed: ")
    assert expected in str(error)
    assert error.close_code == code
    [(first, payload)] = client_frames(rig.take(1))
    assert (first, struct.unpack("!H", payload[:2])) == (FIN | CLOSE_FRAME, (code,))
    assert rig.closed == {1: False}, "the close frame must be sent first"


BOUND = 1000


@pytest.mark.parametrize(
    "letter", [pytest.param(letter, id=name) for letter, name in [("x", "1"), ("é", "2"), ("€", "3"), ("😀", "4")]]
)
@pytest.mark.parametrize("fragments", [1, 2, 3])
def test_max_message_size_counts_bytes(letter: str, fragments: int) -> None:
    def message(size: int) -> bytes:
        encoded = f"4{letter * ((size - 1) // len(letter.encode()))}".encode()
        data = encoded + b"x" * (size - len(encoded))
        cuts = [0, *(7 * (cut + 1) for cut in range(fragments - 1)), len(data)]
        pieces = [data[start:end] for start, end in pairwise(cuts)]
        return b"".join(
            frame(CONTINUATION if index else TEXT, piece, fin=index == fragments - 1)
            for index, piece in enumerate(pieces)
        )

    rig = open_websocket(max_message_size=BOUND)
    rig.feed(1, message(BOUND) + message(BOUND))
    assert len(rig.calls) == 2
    rig.feed(1, message(BOUND + 1))
    error = rig.failure()
    assert str(error).endswith("a message is larger than max_message_size (1000 bytes)")
    assert error.close_code == 1009


def test_a_large_frame_is_refused_before_it_is_complete() -> None:
    rig = open_websocket(max_message_size=BOUND)
    rig.feed(1, struct.pack("!BBQ", FIN | BINARY, 127, 1 << 40) + bytes(BOUND))
    assert rig.calls == []
    rig.feed(1, b"\x00")
    assert rig.failure().close_code == 1009


# ---------------------------------------------------------------------------------------------------------------------
# Pings


def test_pings_are_answered_between_fragments() -> None:
    rig = open_websocket()
    rig.feed(1, frame(TEXT, b"4a", fin=False) + frame(PING_FRAME, b"ping") + frame(PONG_FRAME, b"?"))
    assert client_frames(rig.take(1)) == [(FIN | PONG_FRAME, b"ping")]
    rig.feed(1, frame(CONTINUATION, b"b"))
    rig.flush()
    assert rig.calls == [packet("ab")], "sending a pong does not count as a drain"


def test_a_ping_is_answered_before_a_send_has_drained() -> None:
    rig = open_websocket()
    rig.send(HELLO)
    rig.feed(1, frame(PING_FRAME))
    assert client_frames(rig.take(1)) == [(FIN | TEXT, b"4hello"), (FIN | PONG_FRAME, b"")]
    assert rig.calls == []
    rig.flush()
    assert rig.calls == [("drain", True)]


def test_only_the_latest_ping_is_answered_while_a_pong_is_unsent() -> None:
    rig = open_websocket()
    rig.feed(1, b"".join(frame(PING_FRAME, b"%d" % number) for number in range(100)))
    assert client_frames(rig.take(1)) == [(FIN | PONG_FRAME, b"0")]
    rig.flush()
    assert client_frames(rig.take(1)) == [(FIN | PONG_FRAME, b"99")], "one pong answers all earlier pings"
    rig.flush()
    assert rig.take(1) == b""
    rig.feed(1, frame(PING_FRAME, b"next"))
    assert client_frames(rig.take(1)) == [(FIN | PONG_FRAME, b"next")]


# ---------------------------------------------------------------------------------------------------------------------
# Pausing


def test_pausing_completes_when_the_write_buffer_has_drained() -> None:
    rig = open_websocket()
    rig.pause()
    assert rig.calls == [("pause",)]
    rig.resume()
    rig.send(HELLO)
    rig.pause()
    assert rig.calls == []
    rig.flush()
    assert rig.calls == [("drain", True), ("pause",)]
    rig.send(HELLO)
    rig.flush()
    assert rig.calls == [("drain", True)], "the pause is reported once only"


def test_resuming_before_the_pause_completes_cancels_it() -> None:
    rig = open_websocket()
    rig.send(HELLO)
    rig.pause()
    rig.resume()
    rig.flush()
    assert rig.calls == [("drain", True)]


# ---------------------------------------------------------------------------------------------------------------------
# The end


def test_closing_performs_the_close_handshake() -> None:
    rig = open_websocket()
    rig.close()
    assert not rig.transport.writable
    assert client_frames(rig.take(1)) == [(FIN | CLOSE_FRAME, struct.pack("!H", 1000))]
    rig.feed(1, frame(TEXT, b"4too late") + frame(PING_FRAME) + frame(BINARY, b"a", fin=False))
    rig.flush()
    assert rig.take(1) == b"", "nothing follows a close frame"
    assert rig.open_streams == {1}
    rig.close()
    rig.feed(1, close_frame(1000))
    assert rig.take(1) == b""
    assert rig.closed == {1: False}
    assert rig.calls == []
    assert rig.timers.next_deadline is None


def test_closing_discards_a_partial_message() -> None:
    rig = open_websocket(max_message_size=BOUND)
    rig.feed(1, frame(BINARY, bytes(BOUND), fin=False))
    rig.close()
    rig.feed(1, frame(CONTINUATION, bytes(BOUND)) + close_frame(1000))
    assert rig.calls == []
    assert not rig.open_streams


@pytest.mark.parametrize("end", ["eof", "reset", "garbage", "time"])
def test_closing_ends_without_a_close_frame_of_the_server(end: str) -> None:
    rig = open_websocket()
    rig.close()
    rig.take(1)
    rig.advance(CLOSE_TIMEOUT - 0.1)
    assert rig.open_streams == {1}
    if end == "garbage":
        rig.feed(1, b"\xff\x00")
        assert rig.take(1) == b"", "there is one close frame"
    elif end == "time":
        rig.advance(0.1)
        rig.drain()
        assert rig.closed == {1: True}
    else:
        rig.eof(1, ConnectionResetError() if end == "reset" else None)
    assert not rig.open_streams
    assert rig.calls == []
    assert rig.timers.next_deadline is None


@pytest.mark.parametrize("stage", ["connecting", "handshake", "refused"])
def test_closing_before_the_session_is_open_aborts_the_stream(stage: str) -> None:
    rig = TransportRig("websocket")
    rig.open()
    if stage != "connecting":
        rig.stream_opened(1)
    if stage == "refused":
        rig.feed(1, http_response(b"body", status=b"400 Bad Request")[:-1])
    rig.close()
    rig.drain()
    assert rig.closed == {1: True}
    assert rig.timers.next_deadline is None
    rig.close()
    assert rig.calls == []


def test_aborting_closes_the_stream_at_once() -> None:
    rig = open_websocket()
    rig.close()
    rig.transport.abort()
    rig.drain()
    assert rig.closed == {1: True}
    assert rig.timers.next_deadline is None
    rig.transport.abort()
    assert rig.calls == []


@pytest.mark.parametrize(
    ("data", "code", "expected", "answered"),
    [
        (close_frame(1000), 1000, "with code 1000", close_frame(1000)[2:]),
        (close_frame(1001, "going away"), 1001, "with code 1001: going away", close_frame(1001)[2:]),
        (close_frame(4321, "é"), 4321, "with code 4321: é", close_frame(4321)[2:]),
        (frame(CLOSE_FRAME), 1005, "with code 1005", b""),
    ],
)
def test_a_close_frame_of_the_server_is_answered_and_closes_the_session(
    data: bytes, code: int, expected: str, answered: bytes
) -> None:
    rig = open_websocket()
    rig.feed(1, data + frame(TEXT, b"4too late"))
    error = rig.failure("transport close")
    assert str(error) == f"the server closed the WebSocket {expected}"
    assert error.close_code == code
    assert client_frames(rig.take(1)) == [(FIN | CLOSE_FRAME, answered)]
    assert rig.closed == {1: False}


@pytest.mark.parametrize(
    ("cause", "how"),
    [(None, "the server closed the stream"), (ConnectionResetError("reset"), "the stream broke: reset")],
)
def test_a_stream_that_ends_without_a_close_frame_closes_the_session(cause: Exception | None, how: str) -> None:
    rig = open_websocket()
    rig.eof(1, cause)
    error = rig.failure("transport close")
    assert str(error) == f"the WebSocket ended without a close frame: {how}"
    assert error.close_code == 1006
    assert error.__cause__ is cause


@pytest.mark.parametrize("command", ["close", "abort"])
@pytest.mark.parametrize("moment", ["open", "packet"])
def test_session_closes_in_a_callback(command: str, moment: str) -> None:
    rig, request = asked()
    rig.session.react[moment] = lambda: rig.close() if command == "close" else rig.transport.abort()
    rig.feed(1, switching(request) + frame(TEXT, b"4a") + frame(TEXT, b"4b") + frame(BINARY, b"c"))
    assert rig.calls == [("open", True), *([packet("a")] if moment == "packet" else [])]
    assert bool(rig.open_streams) is (command == "close")
    rig.feed(1, close_frame(1000))
    rig.drain()
    assert not rig.open_streams
    assert rig.calls == []


@pytest.mark.parametrize("command", ["close", "abort"])
def test_session_closes_in_on_packet_before_a_close_frame_arrives(command: str) -> None:
    rig = open_websocket()
    rig.session.react["packet"] = lambda: rig.close() if command == "close" else rig.transport.abort()
    rig.feed(1, frame(TEXT, b"4a") + close_frame(1000))
    assert rig.calls == [packet("a")]
    assert not rig.open_streams
    assert rig.calls == []


def test_session_sends_in_a_callback() -> None:
    rig = open_websocket()
    rig.session.react["packet"] = lambda: rig.send(HELLO) if rig.transport.writable else None
    rig.session.react["drain"] = lambda: rig.send(Packet("3"))
    rig.feed(1, frame(TEXT, b"4a") + frame(TEXT, b"4b"))
    assert client_frames(rig.take(1)) == [(FIN | TEXT, b"4hello")]
    rig.flush()
    assert client_frames(rig.take(1)) == [(FIN | TEXT, b"3")]
    assert rig.calls == [packet("a"), packet("b"), ("drain", True)]
