"""Polling: the cycle of GETs and POSTs, their streams, pausing and closing."""

from __future__ import annotations

import gc
import gzip
import re
import tracemalloc
from typing import Any

import pytest

from sansio_socketio.protocol.packets.engineio import Packet
from sansio_socketio.protocol.transports.cookies import CookieJar
from tests.unit.transports.rig import (
    CLOSE_TIMEOUT,
    HANDSHAKE,
    TransportRig,
    chunked,
    http_response,
    open_polling,
    parse_request,
)

OK = http_response(b"ok")
HELLO = Packet("4", "hello")


def packet(data: str | bytes, kind: str = "4") -> tuple[Any, ...]:
    return ("packet", kind, data)


def target_without_stamp(target: str) -> str:
    without, stamps = re.subn(r"&t=[0-9a-z]+$", "", target)
    assert stamps == 1
    return without


# ---------------------------------------------------------------------------------------------------------------------
# Opening


def test_the_first_request_is_a_get_with_query_and_headers() -> None:
    rig = TransportRig("polling", url="https://example.org", query={"token": "1"})
    rig.open()
    rig.drain()
    [stream] = rig.opened
    assert (stream.host, stream.port, stream.tls, stream.transport) == ("example.org", 443, True, "polling")
    assert rig.take(1) == b"", "nothing is sent before the stream is open"
    rig.stream_opened(1)
    method, target, headers, body = parse_request(rig.take(1))
    assert (method, body) == ("GET", b"")
    assert target_without_stamp(target) == "/engine.io/?token=1&EIO=4&transport=polling"
    assert headers == {
        "Host": "example.org",
        "User-Agent": "sansio-socketio",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
    }


def test_the_first_response_opens_the_session_and_the_next_poll_follows() -> None:
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)
    assert not rig.transport.writable
    rig.take(1)
    rig.feed(1, http_response(HANDSHAKE + b"\x1e40\x1e4hello"))
    assert rig.calls == [("open", True), packet('{"sid":"abc"}', "0"), packet("0"), packet("hello")]
    method, target, _, _ = parse_request(rig.take(1))
    assert method == "GET"
    assert target_without_stamp(target) == "/engine.io/?EIO=4&transport=polling&sid=abc"
    assert rig.streams == [1], "the stream is reused"


def test_extra_headers_are_sent_and_b64_in_the_first_request_only() -> None:
    rig = TransportRig("polling", headers={"user-agent": "mine", "X-Extra": "1", "host": "other"}, force_base64=True)
    rig.open()
    rig.stream_opened(1)
    _, target, headers, _ = parse_request(rig.take(1))
    assert target_without_stamp(target).endswith("&b64=1")
    assert headers == {
        "host": "other",
        "user-agent": "mine",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "X-Extra": "1",
    }
    rig.feed(1, http_response(HANDSHAKE))
    assert "b64" not in parse_request(rig.take(1))[1], "the server remembers it for the session"


def test_a_first_response_without_an_open_packet_fails_the_session() -> None:
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)
    rig.feed(1, http_response(b"6"))
    assert rig.calls[:2] == [("open", True), packet("", "6")]
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)
    rig.session.react["packet"] = rig.session.calls.clear
    rig.feed(1, http_response(b"6"))
    assert "no OPEN packet" in str(rig.failure())


@pytest.mark.parametrize("headers", [{"a b": "1"}, {"Connection": "close"}, {"X": "a\r\nb"}])
def test_headers_that_cannot_be_sent_fail_the_session(headers: dict[str, str]) -> None:
    rig = TransportRig("polling", headers=headers)
    rig.open()
    rig.stream_opened(1)
    assert "the GET request could not be written: " in str(rig.failure())


def test_a_session_id_that_cannot_be_sent_fails_the_session() -> None:
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)

    def set_sid() -> None:
        rig.transport.endpoint.sid = "\ud800"
        rig.session.calls.clear()

    rig.session.react["packet"] = set_sid
    rig.feed(1, http_response(HANDSHAKE))
    rig.stream_opened(2)  # for the request that closes the session, which cannot be written either
    assert "could not be written" in str(rig.failure())


def test_a_stream_that_cannot_be_opened_fails_the_session() -> None:
    rig = TransportRig("polling")
    rig.open()
    refused = ConnectionRefusedError("refused")
    rig.stream_failed(1, refused)
    error = rig.failure()
    assert (
        str(error)
        == "could not connect to localhost:3000: connection refused; is the server running at this host and port?"
    )
    assert error.__cause__ is refused


# ---------------------------------------------------------------------------------------------------------------------
# Receiving


@pytest.mark.parametrize(
    "data",
    [
        http_response("4hé\x1ebAAE=".encode()),
        chunked("4hé".encode(), b"\x1e", b"bAAE="),
        http_response(gzip.compress("4hé\x1ebAAE=".encode(), mtime=0), b"Content-Encoding: gzip"),
    ],
)
def test_the_packets_of_a_response_are_delivered(data: bytes) -> None:
    rig = open_polling()
    rig.feed(1, data)
    assert rig.calls == [packet("hé"), packet(b"\x00\x01")]
    assert parse_request(rig.take(1))[0] == "GET", "the next poll follows at once"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", r"is invalid: .*empty.* at least one packet$"),
        (b"<html>", "is invalid: .* from 0 to 6, not with '<'$"),
        (b"\xff", "not valid UTF-8"),
        (b"b***", "base64"),
    ],
)
def test_an_invalid_payload_fails_the_session(body: bytes, expected: str) -> None:
    rig = open_polling()
    rig.feed(1, http_response(body))
    error = rig.failure_and_close_request()
    assert re.search(expected, str(error))
    assert error.status == 200


OPEN_3 = b'0{"sid":"S","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}'


@pytest.mark.parametrize(
    "body",
    [b"97:" + OPEN_3 + b"2:40", b"101:" + OPEN_3, b"7:" + OPEN_3, b"\x00\x09\x07\xff" + OPEN_3],
    ids=["97", "101", "7", "binary"],
)
def test_the_first_response_of_a_server_of_version_2_is_recognized(body: bytes) -> None:
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)
    rig.session.react["open"] = rig.session.calls.clear
    rig.feed(1, http_response(body))
    error = rig.failure()
    assert str(error) == (
        f"the first response of localhost:3000 (HTTP status 200, {len(body)} bytes) begins with the length of a packet, as "
        "Socket.IO 2 does; this client requires a server of version 3 or later (a server with allowEIO3 also serves clients "
        "of version 2)"
    )
    assert error.status == 200


@pytest.mark.parametrize(
    ("header", "shown"),
    [(b"X: 1", ""), (b"Content-Type: Text/HTML; charset=UTF-8", ", text/html"), (b"Content-Type: text/s3cret", "")],
)
@pytest.mark.parametrize(
    ("body", "why"), [(b"", "an Engine.IO payload is empty"), (b"<html>", "an Engine.IO packet must start with a type")]
)
def test_the_first_response_of_another_server_is_described(body: bytes, why: str, header: bytes, shown: str) -> None:
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)
    rig.session.react["open"] = rig.session.calls.clear
    rig.feed(1, http_response(body, header))
    error = rig.failure()
    message = "the first response of localhost:3000 (HTTP status 200{}, {} bytes) is not that of a Socket.IO server: {}"
    assert str(error).startswith(message.format(shown, len(body), why))
    assert str(error).endswith("; check the URL and the option `path`")
    assert (error.status, error.body) == (200, body.decode())


def test_the_packets_before_an_invalid_one_are_delivered() -> None:
    rig = open_polling()
    rig.feed(1, http_response(b"4a\x1e4b\x1e"))
    assert [rig.session.calls.pop(0) for _ in range(2)] == [("packet", "4", "a"), ("packet", "4", "b")]
    error = rig.failure_and_close_request()
    assert str(error).endswith("not with ''")


def test_a_body_with_too_many_packets_fails_the_session() -> None:
    rig = open_polling(max_payload_packets=3)
    rig.feed(1, http_response(b"6\x1e6\x1e6"))
    assert rig.calls == [("packet", "6", "")] * 3
    rig.feed(1, http_response(b"6\x1e6\x1e6\x1e6"))
    error = rig.failure_and_close_request()
    assert "has 4 packets; at most 3 (max_payload_packets) are accepted" in str(error)


def test_a_refused_poll_fails_with_status_and_body() -> None:
    rig = open_polling()
    rig.feed(1, http_response(b'{"code":1,"message":"Session ID unknown"}', status=b"400 Bad Request"))
    error = rig.failure()
    assert str(error) == "localhost:3000 responded to a GET request with HTTP status 400: Session ID unknown (code 1)"
    assert (error.status, error.body) == (400, '{"code":1,"message":"Session ID unknown"}')


@pytest.mark.parametrize("status", [b"201 Created", b"204 No Content", b"301 Moved", b"502 Bad Gateway"])
def test_any_status_other_than_200_fails_the_session(status: bytes) -> None:
    rig = open_polling()
    rig.feed(1, b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    assert rig.failure().status == int(status[:3])


def test_a_close_packet_closes_the_session() -> None:
    rig = open_polling()
    rig.feed(1, http_response(b"4a\x1e1\x1e4b"))
    assert rig.calls[:1] == [packet("a")]
    rig = open_polling()
    rig.feed(1, http_response(b"1\x1e4b"))
    assert str(rig.failure("transport close")) == "the server closed the session"


@pytest.mark.parametrize("command", ["close", "abort"])
def test_session_closes_in_on_packet(command: str) -> None:
    rig = open_polling()
    rig.session.react["packet"] = lambda: rig.close() if command == "close" else rig.transport.abort()
    rig.feed(1, http_response(b"4a\x1e4b\x1e1"))
    assert rig.calls == [packet("a")]
    rig.drain()
    assert bool(rig.open_streams) is (command == "close")


def test_session_closes_in_on_open() -> None:
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)
    rig.session.react["open"] = rig.close
    rig.feed(1, http_response(HANDSHAKE))
    assert rig.calls == [("open", True)]
    rig.drain()
    assert not rig.open_streams
    assert rig.timers.next_deadline is None


def test_session_sends_in_on_packet() -> None:
    rig = open_polling()
    rig.session.react["packet"] = lambda: rig.send(HELLO) if rig.transport.writable else None
    rig.feed(1, http_response(b"4a\x1e4b"))
    assert parse_request(rig.take(1))[0] == "POST", "it is sent on the stream that is idle at that moment"
    rig.stream_opened(2)
    assert parse_request(rig.take(2))[0] == "GET"
    assert rig.streams == [1, 2]


# ---------------------------------------------------------------------------------------------------------------------
# Sending


def test_packets_are_sent_in_a_post_and_drained_by_its_response() -> None:
    rig = open_polling()
    rig.send(HELLO, Packet("4", b"\x00\x01"))
    assert not rig.transport.writable
    rig.stream_opened(2)
    method, target, headers, body = parse_request(rig.take(2))
    assert method == "POST"
    assert target_without_stamp(target) == "/engine.io/?EIO=4&transport=polling&sid=abc"
    assert body == b"4hello\x1ebAAE="
    assert headers["Content-Type"] == "text/plain;charset=UTF-8"
    assert headers["Content-Length"] == str(len(body))
    rig.flush(2)
    assert rig.calls == [], "the packets count as sent only after the response"
    rig.feed(2, OK)
    assert rig.calls == [("drain", True)]


def test_consecutive_posts_use_one_stream() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.session.react["drain"] = lambda: rig.send(HELLO) if len(rig.session.calls) < 3 else None
    for _ in range(3):
        assert parse_request(rig.take(2))[3] == b"4hello"
        rig.feed(2, OK)
    assert rig.calls == [("drain", True)] * 3
    assert rig.streams == [1, 2]


@pytest.mark.parametrize("body", [b"", b"not ok", b"<html>"])
def test_the_body_of_the_response_to_a_post_is_ignored(body: bytes) -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.feed(2, http_response(body))
    assert rig.calls == [("drain", True)]


def test_a_refused_post_fails_the_session() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.feed(2, http_response(b"", status=b"413 Payload Too Large"))
    error = rig.failure()
    assert error.status == 413
    assert str(error).startswith("localhost:3000 responded to a POST request with HTTP status 413")


# ---------------------------------------------------------------------------------------------------------------------
# Streams


@pytest.mark.parametrize("last", [b"Connection: close", b"connection: Close"])
def test_a_stream_that_the_server_will_close_is_replaced(last: bytes) -> None:
    rig = open_polling()
    rig.feed(1, http_response(b"4a", last))
    assert rig.calls == [packet("a")]
    assert rig.streams == [1, 2]
    assert rig.closed == {1: False}


def test_an_http_1_0_response_ends_with_its_stream() -> None:
    rig = open_polling()
    rig.feed(1, b"HTTP/1.0 200 OK\r\n\r\n4a")
    assert rig.calls == []
    rig.eof(1)
    assert rig.calls == [packet("a")]
    assert rig.streams == [1, 2]
    assert rig.closed == {}, "a stream that the server closed is not closed again"


def test_a_broken_stream_does_not_complete_a_body_without_a_length() -> None:
    rig = open_polling()
    rig.feed(1, b"HTTP/1.0 200 OK\r\n\r\n4a")
    reset = ConnectionResetError("reset")
    rig.eof(1, reset)
    error = rig.failure_and_close_request()
    assert str(error) == "the stream of a GET request broke: reset"
    assert error.__cause__ is reset


def test_an_idle_stream_that_the_server_closed_is_replaced() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.feed(2, OK)
    rig.eof(2)
    rig.send(HELLO)
    assert rig.calls == [("drain", True)]
    assert rig.streams == [1, 2, 3]


@pytest.mark.row("difference.broken_get")
@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
@pytest.mark.parametrize("used", [False, True])
def test_a_get_is_never_sent_twice(used: bool, error: Exception | None) -> None:
    rig = open_polling() if used else TransportRig("polling")
    if not used:
        rig.open()
        rig.stream_opened(1)
    rig.eof(1, error)
    how = "broke: reset" if error else "before its HTTP response was complete"
    details = rig.failure_and_close_request() if used else rig.failure()
    assert str(details).endswith(how)
    assert rig.streams == ([1, 2] if used else [1])


def test_a_truncated_response_fails_the_session() -> None:
    rig = open_polling()
    rig.feed(1, b"H")
    rig.eof(1)
    error = rig.failure_and_close_request()
    assert str(error) == "localhost:3000 closed the stream before its HTTP response was complete"


@pytest.mark.parametrize("used", [False, True])
def test_a_post_is_never_sent_twice(used: bool) -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    if used:
        rig.feed(2, OK)
        rig.send(HELLO)
        assert rig.calls == [("drain", True)]
    rig.take(2)
    rig.eof(2)
    rig.failure_and_close_request()
    assert rig.streams == [1, 2, 3]
    assert rig.take(1) == b""
    assert rig.closed[1] is True, "the poll is aborted"


@pytest.mark.parametrize(
    ("keep_alive", "seconds", "reused"),
    [
        (b"X: 1", 1.0, True),
        (b"X: 1", 1.5, False),
        (b"Keep-Alive: timeout=5, max=100", 4.0, True),
        (b"Keep-Alive: timeout=5, max=100", 4.1, False),
        (b"Keep-Alive: max=100, Timeout = 5", 4.0, True),
        (b"Keep-Alive: timeout=0", 0.0, True),
        (b"Keep-Alive: timeout=soon", 1.0, True),
        (b"Keep-Alive: timeout=" + b"9" * 400, 1e9, True),
    ],
)
def test_a_post_does_not_reuse_a_stream_near_its_keep_alive_timeout(
    keep_alive: bytes, seconds: float, reused: bool
) -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.feed(2, http_response(b"ok", keep_alive))
    rig.advance(seconds)
    rig.send(HELLO)
    assert rig.streams == ([1, 2] if reused else [1, 2, 3])
    assert rig.closed == ({} if reused else {2: False})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x16\x03\x01garbage", "illegal status line; the server uses TLS on this port: use https:// or wss://$"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + bytes(2000), "larger than max_message_size"),
        (http_response(gzip.compress(bytes(5000), mtime=0), b"Content-Encoding: gzip"), "larger than max_message_size"),
    ],
)
def test_an_invalid_response_fails_the_session(data: bytes, expected: str) -> None:
    rig = open_polling(max_message_size=1000)
    rig.feed(1, data)
    assert re.search(expected, str(rig.failure_and_close_request()))
    assert rig.closed == {1: True, 2: False}


def test_the_response_to_a_post_is_bounded() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.feed(2, http_response(b"x" * 65_536))
    assert rig.calls == [("drain", True)]
    rig.send(HELLO)
    rig.feed(2, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 99999\r\n\r\n" + bytes(65_537))
    error = rig.failure_and_close_request()
    assert str(error) == "localhost:3000 sent an HTTP body of more than 65536 bytes in response to a POST request"
    assert error.status == 502


def test_no_response_is_stored_while_closing() -> None:
    rig = open_polling(max_message_size=1 << 20)
    rig.feed(1, b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + bytes(1000))
    gc.collect()
    tracemalloc.start()
    try:
        rig.close()
        for _ in range(20):
            rig.feed(1, bytes(100_000))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 500_000
    rig.take(1)
    rig.advance(CLOSE_TIMEOUT)
    assert not rig.open_streams


def test_the_error_for_an_echoed_request_does_not_show_the_query() -> None:
    rig = TransportRig("polling", query={"token": "s3cret"})
    rig.open()
    rig.stream_opened(1)
    rig.feed(1, rig.take(1))
    error = rig.failure()
    assert str(error) == "the HTTP response of localhost:3000 is invalid: illegal status line"
    assert error.__cause__ is error.__context__ is None, "an exception of a parser quotes the response"


def test_bytes_on_an_idle_stream_are_not_the_next_response() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.feed(2, OK)
    assert rig.calls == [("drain", True)]
    rig.feed(2, memoryview(http_response(b"", status=b"408 Request Timeout")))
    rig.send(HELLO)
    assert rig.streams == [1, 2, 3], "they are not the response to the next request"
    assert rig.closed == {2: True}
    rig.stream_opened(3)
    rig.feed(3, OK)
    assert rig.calls == [("drain", True)]


@pytest.mark.parametrize("surplus", [b"\r\n", http_response(b"4injected"), b"x" * 20_000])
def test_a_stream_with_bytes_after_a_response_is_replaced(surplus: bytes) -> None:
    rig = open_polling()
    rig.feed(1, http_response(b"4a") + surplus)
    assert rig.calls == [packet("a")]
    assert rig.streams == [1, 2]
    assert rig.closed == {1: False}
    rig.stream_opened(2)
    rig.feed(2, http_response(b"4b"))
    assert rig.calls == [packet("b")]


@pytest.mark.parametrize("chunk", [1, 100])
def test_bytes_after_a_response_while_closing_are_ignored(chunk: int) -> None:
    rig = open_polling()
    rig.close()
    data = http_response(b"6") + b"surplus"
    for start in range(0, len(data), chunk):
        rig.feed(1, data[start : start + chunk])
    assert rig.open_streams == {2}
    rig.stream_opened(2)
    rig.feed(2, OK)
    assert not rig.open_streams
    assert rig.calls == []


# ---------------------------------------------------------------------------------------------------------------------
# Pausing


def test_pausing_waits_for_the_get() -> None:
    rig = open_polling()
    rig.pause()
    assert rig.calls == []
    rig.feed(1, http_response(b"4a\x1e6"))
    assert rig.calls == [packet("a"), packet("", "6"), ("pause",)]
    assert rig.take(1) == b"", "no new poll"


def test_pausing_waits_for_the_post() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.pause()
    rig.feed(1, http_response(b"6"))
    assert rig.calls == [packet("", "6")]
    rig.feed(2, OK)
    assert rig.calls == [("drain", True), ("pause",)]


def test_pausing_in_on_packet_waits_for_the_remaining_packets() -> None:
    rig = open_polling()
    rig.session.react["packet"] = rig.pause
    rig.feed(1, http_response(b"4a\x1e4b"))
    assert rig.calls == [packet("a"), packet("b"), ("pause",)]


def test_pausing_without_a_pending_request_completes_at_once() -> None:
    rig = open_polling()
    rig.pause()
    rig.feed(1, http_response(b"6"))
    rig.resume()
    rig.session.react["pause"] = lambda: rig.session.calls.append(("once",))
    rig.pause()
    assert rig.calls == [packet("", "6"), ("pause",)]
    assert parse_request(rig.take(1))[0] == "GET"


def test_resuming_polls_again() -> None:
    rig = open_polling()
    rig.pause()
    rig.feed(1, http_response(b"6"))
    assert rig.take(1) == b""
    rig.resume()
    assert parse_request(rig.take(1))[0] == "GET"
    assert rig.transport.writable


def test_resuming_before_the_pause_completes_cancels_it() -> None:
    rig = open_polling()
    rig.pause()
    rig.resume()
    assert rig.take(1) == b"", "the poll is still pending"
    rig.feed(1, http_response(b"4a"))
    assert rig.calls == [packet("a")]
    assert parse_request(rig.take(1))[0] == "GET"


def test_a_close_packet_while_pausing_closes_the_session() -> None:
    rig = open_polling()
    rig.pause()
    rig.feed(1, http_response(b"1"))
    assert str(rig.failure("transport close")) == "the server closed the session"


def test_pausing_and_resuming_after_abort_do_nothing() -> None:
    rig = open_polling()
    rig.transport.abort()
    rig.pause()
    rig.resume()
    assert rig.calls == []
    assert rig.streams == [1]


# ---------------------------------------------------------------------------------------------------------------------
# Closing


def test_closing_sends_a_close_packet_and_waits_for_both_responses() -> None:
    rig = open_polling()
    rig.close()
    assert not rig.transport.writable
    assert rig.streams == [1, 2], "the GET stays pending"
    rig.stream_opened(2)
    method, _, _, body = parse_request(rig.take(2))
    assert (method, body) == ("POST", b"1")
    rig.feed(1, http_response(b"6"))
    assert rig.open_streams == {1, 2}
    rig.feed(2, OK)
    rig.drain()
    assert not rig.open_streams
    assert rig.closed == {1: False, 2: False}
    assert rig.timers.next_deadline is None
    assert rig.calls == []
    rig.close()
    assert rig.streams == [1, 2]


def test_closing_waits_for_the_pending_post() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.take(2)
    rig.close()
    assert rig.take(2) == b""
    rig.feed(2, OK)
    assert parse_request(rig.take(2))[3] == b"1"
    rig.feed(2, OK)
    assert rig.open_streams == {1, 2}, "the poll has no response yet"
    rig.feed(1, http_response(b"4too late"))
    rig.drain()
    assert not rig.open_streams
    assert rig.calls == []


def test_closing_twice_sends_one_close_packet() -> None:
    rig = open_polling()
    rig.close()
    rig.close()
    rig.stream_opened(2)
    assert rig.streams == [1, 2]
    assert rig.take(2).count(b"POST") == 1


def test_closing_while_paused_sends_a_close_packet() -> None:
    rig = open_polling()
    rig.pause()
    rig.feed(1, http_response(b"6"))
    rig.close()
    assert parse_request(rig.take(1))[3] == b"1"
    rig.feed(1, OK)
    rig.drain()
    assert not rig.open_streams


def test_closing_takes_at_most_close_timeout() -> None:
    rig = open_polling()
    rig.close()
    rig.advance(CLOSE_TIMEOUT - 0.1)
    assert rig.open_streams == {1, 2}
    rig.advance(0.1)
    rig.drain()
    assert not rig.open_streams
    assert rig.closed == {1: True, 2: True}
    assert rig.calls == []


def test_a_pending_poll_is_abandoned_after_the_response_to_the_close_request() -> None:
    rig = open_polling()
    rig.close()
    rig.stream_opened(2)
    rig.advance(1)
    rig.feed(2, OK)
    assert rig.open_streams == {1, 2}
    rig.advance(0.5)
    rig.drain()
    assert not rig.open_streams
    assert rig.calls == []
    assert rig.timers.next_deadline is None


def test_close_packet_is_sent_after_a_failure() -> None:
    """The server regards its responses as delivered. Without the packet it would keep the session open."""
    rig = open_polling()
    rig.eof(1)
    rig.failure_and_close_request()
    assert rig.streams == [1, 2], "on another stream"


@pytest.mark.parametrize("end", ["time", "refused", "broken"])
def test_the_close_request_after_a_failure_is_bounded_and_not_repeated(end: str) -> None:
    rig = open_polling()
    rig.eof(1)
    assert [what for what, *_ in rig.calls] == ["close"]
    assert rig.streams == [1, 2]
    if end == "time":
        rig.advance(CLOSE_TIMEOUT)
    elif end == "refused":
        rig.stream_failed(2, ConnectionRefusedError("refused"))
    else:
        rig.stream_opened(2)
        rig.eof(2)
    assert rig.streams == [1, 2]
    assert not rig.open_streams
    assert rig.timers.next_deadline is None
    assert rig.calls == []


def test_a_late_response_to_the_close_request_does_not_extend_close_timeout() -> None:
    rig = open_polling()
    rig.close()
    rig.stream_opened(2)
    rig.advance(CLOSE_TIMEOUT - 0.1)
    rig.feed(2, OK)
    rig.advance(0.1)
    rig.drain()
    assert not rig.open_streams


@pytest.mark.parametrize("opened", [False, True])
def test_closing_before_the_handshake_closes_the_stream(opened: bool) -> None:
    rig = TransportRig("polling")
    rig.open()
    if opened:
        rig.stream_opened(1)
    rig.close()
    rig.drain()
    assert not rig.open_streams
    assert rig.timers.next_deadline is None


def refused(rig: TransportRig, stream: int) -> None:
    rig.feed(stream, http_response(b"", status=b"400 Bad Request"))


def cut(rig: TransportRig, stream: int) -> None:
    rig.eof(stream, ConnectionResetError())


def ended(rig: TransportRig, stream: int) -> None:
    rig.eof(stream)


def garbled(rig: TransportRig, stream: int) -> None:
    rig.feed(stream, b"\x00garbage")


@pytest.mark.parametrize("fail", [refused, cut, ended, garbled])
def test_failures_while_closing_are_not_reported(fail: Any) -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.close()
    fail(rig, 2)
    if rig.streams == [1, 2, 3]:
        rig.stream_opened(3)
    close_request = rig.streams[-1]
    assert parse_request(rig.take(close_request))[3].endswith(b"1")
    fail(rig, close_request)
    assert rig.open_streams <= {1, 2}
    fail(rig, 1)
    rig.drain()
    assert rig.calls == []
    assert not rig.open_streams
    assert rig.timers.next_deadline is None


def test_a_stream_that_cannot_be_opened_while_closing_is_not_reported() -> None:
    rig = open_polling()
    rig.close()
    rig.stream_failed(2, OSError("no route"))
    rig.feed(1, http_response(b"6"))
    rig.drain()
    assert rig.calls == []
    assert not rig.open_streams


def test_invalid_bytes_on_an_idle_stream_while_closing_are_ignored() -> None:
    rig = open_polling()
    rig.close()
    rig.feed(1, http_response(b"6"))
    rig.feed(1, b"garbage")
    assert rig.open_streams == {2}
    rig.stream_opened(2)
    rig.feed(2, OK)
    rig.drain()
    assert not rig.open_streams
    assert rig.calls == []


def test_aborting_closes_all_streams() -> None:
    rig = open_polling()
    rig.send(HELLO)
    rig.stream_opened(2)
    rig.feed(2, OK)
    rig.transport.abort()
    rig.drain()
    assert rig.closed == {1: True, 2: False}, "an idle stream has nothing to lose"
    assert rig.calls == [("drain", True)]


# ---------------------------------------------------------------------------------------------------------------------
# Cookies


def test_cookies_are_stored_and_sent() -> None:
    jar = CookieJar()
    rig = TransportRig("polling", cookies=jar)
    rig.open()
    rig.stream_opened(1)
    assert "Cookie" not in parse_request(rig.take(1))[2]
    rig.feed(
        1,
        http_response(
            HANDSHAKE, b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2; Max-Age=10", b"Set-Cookie: c=3; Path=/x"
        ),
    )
    assert parse_request(rig.take(1))[2]["Cookie"] == "b=2; a=1"
    rig.advance(10)
    rig.send(HELLO)
    rig.stream_opened(2)
    assert parse_request(rig.take(2))[2]["Cookie"] == "a=1"


def test_without_a_jar_no_cookie_is_stored() -> None:
    rig = TransportRig("polling")
    rig.open()
    rig.stream_opened(1)
    rig.take(1)
    rig.feed(1, http_response(HANDSHAKE, b"Set-Cookie: a=1"))
    assert "Cookie" not in parse_request(rig.take(1))[2]
