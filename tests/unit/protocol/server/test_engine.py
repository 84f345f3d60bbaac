"""Requests, sessions, heartbeat, upgrade and close of an Engine.IO server, in bytes."""

from __future__ import annotations

import json
from random import Random

import pytest

from sansio_socketio.protocol.errors import BufferFullError, ConnectError, OptionError, PacketError
from sansio_socketio.protocol.server import EngineServerOptions, EngineServerProtocol
from sansio_socketio.protocol.server.events import (
    RequestRejected,
    SessionClosed,
    SessionDrained,
    SessionOpened,
    SessionQuestion,
    SessionUpgraded,
)
from sansio_socketio.protocol.server.http import HTTPStream
from tests.unit.protocol.server.rig import WEBSOCKET, EngineRig, Reply, frame, frames, request

POLLING = "EIO=4&transport=polling"


# Requests


def test_the_handshake_says_what_the_server_offers() -> None:
    rig = EngineRig(ping_interval=0.3, ping_timeout=0.2)
    reply = rig.ask(request("GET", POLLING + "&token=a%20b", headers=b"X-Name: value\r\nX-Name: second\r\n"))
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert json.loads(reply.body[1:]) == {
        "sid": json.loads(reply.body[1:])["sid"],
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1000000,
    }
    (opened,) = rig.pop(SessionOpened)
    assert (opened.session, opened.transport, opened.peer) == (1, "polling", "192.0.2.1")
    assert opened.headers["x-name"] == "value, second"
    assert opened.tls is False
    assert opened.query["token"] == "a b"
    assert "value" not in repr(opened)


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=abc", 0, "Transport unknown"),
        ("GET", POLLING + "&sid=unknown", 1, "Session ID unknown"),
        ("POST", POLLING, 2, "Bad handshake method"),
        ("PUT", POLLING, 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
    ],
)
def test_a_wrong_request_is_refused_as_by_the_javascript_server(
    method: str, query: str, code: int, message: str
) -> None:
    rig = EngineRig()
    stream = rig.accept()
    rig.feed(stream, request(method, query))
    reply = rig.reply(stream)
    assert (reply.status, json.loads(reply.body)) == (400, {"code": code, "message": message})
    assert reply.headers["content-type"] == "application/json"
    assert rig.closed == {stream: False}
    assert rig.pop(RequestRejected) == [RequestRejected(stream, 400, message)]
    assert not rig.machine.sessions


@pytest.mark.parametrize("path", ["/", "/engine.iox/", "/engine.io/x"])
def test_another_path_is_not_found(path: str) -> None:
    assert EngineRig().ask(request("GET", POLLING, path=path)).status == 404


def test_a_response_to_head_has_no_body() -> None:
    reply = EngineRig().ask(request("HEAD", path="/other"))
    assert (reply.status, reply.body) == (404, b"")


@pytest.mark.parametrize("path", ["/engine.io", "/engine.io/"])
def test_the_slash_of_the_path_does_not_matter(path: str) -> None:
    assert EngineRig().ask(request("GET", POLLING, path=path)).status == 200
    assert EngineRig(path="/engine.io/").ask(request("GET", POLLING, path=path)).status == 200


def test_a_query_with_too_many_parameters_is_ignored() -> None:
    assert EngineRig().ask(request("GET", POLLING + "&a=b" * 200)).code == 0


@pytest.mark.parametrize(
    ("cors", "origin", "headers"),
    [
        ("*", b"http://a", {"access-control-allow-origin": "*"}),
        (
            ["http://a"],
            b"http://a",
            {"access-control-allow-origin": "http://a", "access-control-allow-credentials": "true", "vary": "Origin"},
        ),
        (["http://a"], b"http://b", {"vary": "Origin"}),
        ((), b"http://a", {}),
    ],
)
def test_pages_of_allowed_origins_may_read_responses(cors: object, origin: bytes, headers: dict[str, str]) -> None:
    rig = EngineRig(cors=cors)
    stream = rig.accept()
    asked = b"Origin: " + origin + b"\r\nAccess-Control-Request-Headers: x-a\r\n"
    rig.feed(stream, request("OPTIONS", POLLING, headers=asked))
    preflight = rig.reply(stream)
    rig.feed(stream, request("GET", POLLING, headers=asked))
    reply = rig.reply(stream)
    assert (preflight.status, reply.status) == (204, 200)
    assert preflight.headers["access-control-allow-methods"] == "get, post"
    assert preflight.headers["access-control-allow-headers"] == "x-a"
    for each in (preflight, reply):
        found = {name: each.headers[name] for name in each.headers if name == "vary" or "-allow-" in name}
        found.pop("access-control-allow-methods", None)
        found.pop("access-control-allow-headers", None)
        assert found == {name: value.lower() for name, value in headers.items()}


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET\r\n\r\n",
        request("GET", POLLING).replace(b"Host: a\r\n", b""),
        request("POST", POLLING, headers=b"Content-Length: x\r\n"),
        b"\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused(data: bytes) -> None:
    rig = EngineRig()
    stream = rig.accept()
    rig.feed(stream, data)
    assert rig.reply(stream).status == 400
    assert rig.closed == {stream: False}


def test_a_header_section_is_bounded_in_every_chunking() -> None:
    for size, status in ((1000, 200), (1001, 431)):
        data = request("GET", POLLING)
        data = request("GET", POLLING, headers=b"A: " + b"a" * (size - len(data) - 5) + b"\r\n")
        assert len(data) == size
        for step in (1, 7, 10_000):
            rig = EngineRig(max_head=1000)
            stream = rig.accept()
            for start in range(0, len(data), step):
                rig.feed(stream, data[start : start + step])
            assert rig.reply(stream).status == status
    rig = EngineRig(max_head=1000)
    assert rig.ask(b"GET /" + b"a" * 2000).status == 431


def test_a_body_is_bounded_before_it_is_received() -> None:
    rig = EngineRig(max_payload=10)
    _, sid = rig.open_polling()
    stream = rig.accept()
    rig.feed(stream, request("POST", f"{POLLING}&sid={sid}", b"4" * 11)[:-11])
    assert rig.reply(stream).status == 413
    assert rig.closed == {stream: False}
    assert rig.post(sid, b"4" * 10).status == 200
    assert rig.messages() == ["4" * 9]


@pytest.mark.parametrize("step", [1, 5, 1000])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"5\r\n4abcd\r\n0\r\n\r\n", 200),
        (b"3\r\n4ab\r\n2\r\ncd\r\n0\r\n\r\n", 200),
        (b"b\r\n4abcdefghij\r\n0\r\n\r\n", 413),
        (b"6\r\n4abcde\r\n6\r\nfghijk\r\n0\r\n\r\n", 413),
        (b"1;" + b"x" * 1100, 413),
        (b"xyz\r\n", 400),
    ],
)
def test_a_body_in_chunks_is_bounded(step: int, body: bytes, status: int) -> None:
    rig = EngineRig(max_payload=10, max_head=1000)
    _, sid = rig.open_polling()
    stream = rig.accept()
    rig.feed(stream, request("POST", f"{POLLING}&sid={sid}", headers=b"Transfer-Encoding: chunked\r\n"))
    for start in range(0, len(body), step):
        if stream not in rig.closed:
            rig.feed(stream, body[start : start + step])
    assert rig.reply(stream).status == status
    assert rig.messages() == (["abcd"] if status == 200 else [])
    assert [event.reason for event in rig.pop(SessionClosed)] == ([] if status == 200 else ["transport error"])


def test_a_body_in_many_chunks_is_read_in_slices() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    stream = rig.accept()
    chunked = request("POST", f"{POLLING}&sid={sid}", headers=b"Transfer-Encoding: chunked\r\n")
    rig.feed(stream, chunked + b"1\r\n4\r\n" * 5000 + b"0\r\n\r\n" + request("OPTIONS", POLLING))
    ticks = 0
    while rig.machine.is_behind:
        rig.machine.tick(rig.now)
        rig.drain()
        ticks += 1
    assert 2 <= ticks <= 6
    assert rig.messages() == ["4" * 4999]
    first = Reply(rig.take(stream))
    assert (first.status, Reply(first.rest).status) == (200, 204)


def test_a_client_may_ask_whether_to_send_the_body() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    stream = rig.accept()
    data = request("POST", f"{POLLING}&sid={sid}", b"4hello", headers=b"Expect: 100-continue\r\n")
    rig.feed(stream, data[:-6])
    assert rig.take(stream).startswith(b"HTTP/1.1 100 ")
    rig.feed(stream, data[-6:])
    assert rig.reply(stream).body == b"ok"


def test_a_stream_is_closed_after_a_response_to_http_1_0() -> None:
    rig = EngineRig()
    stream = rig.accept()
    rig.feed(stream, request("GET", POLLING).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert rig.reply(stream).headers["connection"] == "close"
    assert rig.closed == {stream: False}


def test_a_stream_without_a_request_is_closed_in_time() -> None:
    rig = EngineRig(request_timeout=10)
    idle, partial = rig.accept(), rig.accept()
    rig.feed(partial, b"GET / ")
    rig.advance(9)
    assert not rig.closed
    rig.advance(1)
    assert rig.closed == {idle: True, partial: True}
    stream, _ = rig.open_polling()
    rig.advance(10)
    assert rig.closed[stream] is True


def test_a_response_that_is_not_read_is_cut_off_in_time() -> None:
    rig = EngineRig(close_timeout=5)
    rig.writes_at_once = False
    stream = rig.accept()
    rig.feed(stream, request("GET", ""))
    rig.feed(stream, b"discarded")
    assert not rig.closed
    rig.advance(5)
    assert rig.closed == {stream: True}


def test_streams_and_sessions_are_bounded() -> None:
    rig = EngineRig(max_streams=3, max_sessions=1)
    rig.open_polling()
    second = rig.accept()
    rig.feed(second, request("GET", POLLING))
    assert rig.reply(second).status == 503
    third, fourth, fifth = rig.accept(), rig.accept(), rig.accept()
    assert third not in rig.closed
    assert fourth not in rig.closed
    assert rig.closed[fifth] is True


def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    rig = EngineRig(ping_interval=10)
    _, sid = rig.open_polling()
    stream = rig.accept()
    poll, post = request("GET", f"{POLLING}&sid={sid}"), request("POST", f"{POLLING}&sid={sid}", b"4a")
    rig.feed(stream, poll + post)
    assert rig.take(stream) == b""
    assert rig.messages() == []
    rig.advance(10)
    first = Reply(rig.take(stream))
    assert first.body == b"2"
    assert Reply(first.rest).body == b"ok"
    assert rig.messages() == ["a"]


def test_a_pipelined_request_waits_until_the_last_response_is_written() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    stream = rig.accept()
    rig.writes_at_once = False
    rig.feed(stream, request("GET", f"{POLLING}&sid={sid}") + request("OPTIONS", POLLING))
    for message in ("a", "b"):
        rig.machine.send(1, message, rig.now)
        rig.advance(0)
        rig.drain()
    assert rig.reply(stream).body == b"4a"
    rig.written()
    rig.drain()
    assert rig.reply(stream).status == 204
    rig.written()
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"4b"


def test_sessions_share_a_stream() -> None:
    rig = EngineRig()
    stream, first = rig.open_polling()
    _, second = rig.open_polling()
    rig.writes_at_once = False
    rig.poll(stream, first)
    rig.machine.send(1, "a", rig.now)
    rig.drain()
    rig.machine.send(2, "b", rig.now)
    rig.poll(stream, second)
    assert rig.reply(stream).body == b"4a"
    rig.written()
    rig.drain()
    assert rig.reply(stream).body == b"4b"
    rig.machine.send(1, "c", rig.now)
    other = rig.accept()
    rig.poll(other, first)
    assert rig.reply(other).body == b"4c"


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_a_client_that_does_not_read_its_responses_gets_no_more_of_them(method: str) -> None:
    rig = EngineRig(request_timeout=30)
    _, sid = rig.open_polling()
    stream = rig.accept()
    rig.writes_at_once = False
    for _ in range(10):
        rig.feed(stream, request(method, f"{POLLING}&sid={sid}", b"4a"))
    assert len(rig.writes) == 2  # with the handshake
    rig.advance(30)
    assert rig.closed[stream] is True


@pytest.mark.parametrize("step", [1, 100, 10_000])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("extra", [0, 1, 1000])
def test_what_follows_a_request_is_bounded_in_every_chunking(method: str, extra: int, step: int) -> None:
    rig = EngineRig(max_head=300)
    _, sid = rig.open_polling()
    stream = rig.accept()
    rig.writes_at_once = False
    post = request("POST", f"{POLLING}&sid={sid}", b"4b")
    data = request(method, f"{POLLING}&sid={sid}", b"4a") + post
    data += b"x" * (300 - len(post) + extra)
    for start in range(0, len(data), step):
        rig.feed(stream, data[start : start + step])
    rig.machine.send(1, "c", rig.now)
    rig.drain()
    (owner,) = [owner for number, owner in rig.machine._outbox.owners.items() if number == stream]
    assert isinstance(owner, HTTPStream)
    assert len(owner._buffer) <= 301
    first = rig.reply(stream)
    assert first.status == (204 if method == "OPTIONS" else 200)
    assert first.headers["keep-alive"]
    rig.written()
    rig.drain()
    assert rig.messages() == ["a"] * (method == "POST") + ["b"] * (not extra)
    assert rig.reply(stream).status == (400 if extra else 200)
    rig.written()
    rig.drain()
    assert rig.closed == ({stream: False} if extra else {})
    assert [event.why for event in rig.pop(RequestRejected)] == (
        ["more than 300 bytes follow a request whose response has not been written"] if extra else []
    )
    assert not rig.pop(SessionClosed)


def test_a_websocket_is_refused_if_too_much_follows_its_request_before_it_is_accepted() -> None:
    rig = EngineRig(max_head=300)
    rig.machine.asks_before_opening = True
    stream = rig.accept()
    rig.feed(stream, request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET) + frame("4" + "a" * 300))
    (question,) = rig.pop(SessionQuestion)
    rig.machine.answer(question.question, None, rig.now)
    rig.drain()
    assert rig.reply(stream).status == 403
    assert rig.closed == {stream: False}
    assert not rig.machine.sessions


def test_many_frames_may_follow_the_request_for_a_websocket_at_once() -> None:
    rig = EngineRig(max_head=300)
    rig.open_websocket(frame("4" + "a" * 1000))
    assert rig.messages() == ["a" * 1000]


@pytest.mark.parametrize("follows", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_a_server_that_shuts_down_closes_a_stream_after_its_response(follows: bytes) -> None:
    rig = EngineRig()
    stream = rig.accept()
    rig.writes_at_once = False
    rig.feed(stream, request("OPTIONS", POLLING) + follows)
    rig.machine.shutdown(rig.now)
    rig.drain()
    assert not rig.closed
    for _ in range(2):
        rig.written()
        rig.drain()
    assert rig.closed == {stream: False}
    assert rig.machine.state == "stopped"


# Polling


def test_messages_are_exchanged_over_polling() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    assert rig.post(sid, "4hello\x1ebAQID\x1e4ü".encode()).body == b"ok"
    assert rig.messages() == ["hello", b"\1\2\3", "ü"]
    for message in ("x", b"\1\2\3\4", "y"):
        rig.machine.send(1, message, rig.now)
    assert rig.machine.buffered_bytes(1) > 0
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"4x\x1ebAQIDBA==\x1e4y"
    assert rig.machine.buffered_bytes(1) == 0
    rig.poll(stream, sid)
    assert rig.take(stream) == b""
    rig.machine.send(1, "z", rig.now)
    rig.drain()
    assert rig.reply(stream).body == b"4z"


def test_the_next_packets_wait_until_the_last_are_written() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    rig.writes_at_once = False
    rig.poll(stream, sid)
    rig.machine.send(1, "a", rig.now)
    rig.drain()
    other = rig.accept()
    rig.poll(other, sid)
    rig.machine.send(1, "b", rig.now)
    rig.drain()
    assert rig.reply(stream).body == b"4a"
    assert rig.take(other) == b""
    assert rig.machine.buffered_bytes(1) > 200  # both
    rig.written()
    rig.drain()
    assert rig.reply(other).body == b"4b"


def test_the_response_to_a_post_is_not_taken_for_that_to_a_get() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    rig.writes_at_once = False
    rig.poll(stream, sid)
    rig.machine.send(1, "a", rig.now)
    rig.drain()
    rig.unwritten.clear()
    rig.post(sid, b"4x")
    rig.written()
    rig.poll(rig.accept(), sid)
    rig.machine.send(1, "b", rig.now)
    rig.drain()
    assert rig.reply(stream).body == b"4a"
    assert not rig.unwritten
    rig.machine.data_sent(stream, rig.now)
    rig.drain()
    assert rig.unwritten


def test_a_second_get_ends_the_session() -> None:
    rig = EngineRig()
    first, sid = rig.open_polling()
    rig.poll(first, sid)
    second = rig.accept()
    rig.poll(second, sid)
    assert rig.reply(first).body == b"1"
    assert rig.reply(second).status == 400
    (closed,) = rig.pop(SessionClosed)
    assert closed.reason == "transport error"
    assert rig.post(sid, b"4a").code == 1


def test_a_second_post_ends_the_session() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    first = rig.accept()
    data = request("POST", f"{POLLING}&sid={sid}", b"4a")
    rig.feed(first, data[:-1])
    assert rig.post(sid, b"4b").status == 400
    assert rig.pop(SessionClosed)[0].reason == "transport error"
    rig.feed(first, data[-1:])
    assert rig.reply(first).status == 400
    assert rig.messages() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_whose_stream_is_lost_ends_the_session(method: str) -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    stream = rig.accept()
    rig.feed(
        stream,
        request(method, f"{POLLING}&sid={sid}", None if method == "GET" else b"4a")[: None if method == "GET" else -1],
    )
    rig.lose(stream)
    (closed,) = rig.pop(SessionClosed)
    assert (closed.reason, str(closed.details)) == (
        "transport error",
        f"the session has failed: the stream of a {method} request was lost",
    )


def test_another_method_is_refused() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    assert rig.ask(request("PUT", f"{POLLING}&sid={sid}", b"4a")).status == 400
    assert not rig.pop(SessionClosed)


@pytest.mark.parametrize(("body", "received"), [(b"abc", []), (b"", []), (b"4a\x1e9", ["a"]), (b"4\xff", [])])
def test_an_invalid_body_ends_the_session(body: bytes, received: list[str]) -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    assert rig.post(sid, body).status == 400
    assert rig.messages() == received
    (closed,) = rig.pop(SessionClosed)
    assert closed.reason == "parse error"
    assert not rig.machine.sessions


def test_the_packets_of_a_body_are_bounded() -> None:
    rig = EngineRig(max_payload_packets=2)
    _, sid = rig.open_polling()
    assert rig.post(sid, b"4\x1e4").status == 200
    assert rig.post(sid, b"4\x1e4\x1e4").status == 400


def test_many_packets_are_handled_in_slices_and_their_stream_ends_after_them() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    stream = rig.accept()
    rig.feed(stream, request("POST", f"{POLLING}&sid={sid}", b"\x1e".join([b"4a"] * 2500)))
    assert 900 < len(rig.messages()) < 1100
    assert rig.machine.is_behind
    assert rig.deadline == rig.now
    rig.lose(stream)
    assert not rig.pop(SessionClosed)
    rig.advance(0)
    rig.advance(0)
    assert 1400 < len(rig.messages()) < 1600
    assert not rig.machine.is_behind
    assert str(rig.pop(SessionClosed)[0].details).endswith("the stream of a POST request was lost")


def test_a_request_that_was_received_before_its_stream_was_lost_is_handled() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    stream, websocket = rig.accept(), rig.open_websocket()
    rig.machine.paused = True
    rig.feed(stream, request("POST", f"{POLLING}&sid={sid}", b"4a\x1e1"))
    rig.feed(websocket, frame("4b") + frame("1"))
    rig.lose(stream)
    rig.lose(websocket)
    assert rig.messages() == []
    rig.machine.paused = False
    rig.machine.tick(rig.now)
    rig.drain()
    assert rig.messages() == ["b", "a"]  # the packets of the POST come after its request has been read
    assert [str(event.details) for event in rig.pop(SessionClosed)] == ["the client closed the session"] * 2


@pytest.mark.parametrize("error", [None, OSError("x")])
def test_a_websocket_whose_request_is_handled_after_the_end_of_its_stream_ends(error: Exception | None) -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    first, probe, second = rig.accept(), rig.accept(), rig.accept()
    rig.machine.paused = True
    rig.feed(first, request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET) + frame("4a"))
    for stream in (probe, second):
        rig.feed(stream, request("GET", f"EIO=4&transport=websocket&sid={sid}", headers=WEBSOCKET) + frame("2probe"))
    for stream in (first, probe, second):
        rig.lose(stream, error)
    rig.machine.paused = False
    rig.machine.tick(rig.now)
    rig.drain()
    assert rig.messages() == ["a"]
    how = "the client closed the stream" if error is None else "the stream broke: x"
    (closed,) = rig.pop(SessionClosed)
    assert (closed.session, closed.reason) == (2, "transport close")
    assert str(closed.details) == f"the WebSocket ended without a close frame: {how}"
    assert not any(rig.take(stream) for stream in (first, probe, second))
    rig.feed(rig.probe(sid), frame("2probe") + frame("5"))
    assert rig.pop(SessionUpgraded)


def test_a_client_closes_its_session() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    rig.poll(stream, sid)
    assert rig.post(sid, b"1\x1e4late").body == b"ok"
    assert rig.reply(stream).body == b"6"
    (closed,) = rig.pop(SessionClosed)
    assert (closed.reason, str(closed.details)) == ("transport close", "the client closed the session")
    assert rig.messages() == []


@pytest.mark.parametrize("packet", ["0", "2", "5"])
def test_a_packet_that_clients_do_not_send_ends_the_session(packet: str) -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    rig.post(sid, packet.encode())
    assert rig.pop(SessionClosed)[0].reason == "transport error"
    rig = EngineRig()
    stream = rig.open_websocket(frame("6") + frame(packet))
    assert rig.frames(stream)[-1][0] == 8
    assert rig.pop(SessionClosed)[0].reason == "transport error"


# The heartbeat


def test_a_session_whose_client_responds_to_pings_stays_open() -> None:
    rig = EngineRig(ping_interval=25, ping_timeout=20)
    stream = rig.open_websocket()
    for _ in range(3):
        rig.advance(24)
        rig.feed(stream, frame("3"))  # not asked for
        assert rig.frames(stream) == []
        rig.advance(1)
        assert rig.frames(stream) == [(1, b"2")]
        rig.advance(19)
        rig.feed(stream, frame("3"))
    assert not rig.pop(SessionClosed)


@pytest.mark.parametrize("polls", [True, False])
def test_a_session_without_a_pong_ends(polls: bool) -> None:
    rig = EngineRig(ping_interval=25, ping_timeout=20, request_timeout=1000)
    stream, sid = rig.open_polling()
    rig.advance(25)
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"2"
    if polls:
        rig.poll(stream, sid)
    rig.advance(19.9)
    assert not rig.pop(SessionClosed)
    rig.advance(0.1)
    assert rig.pop(SessionClosed)[0].reason == "ping timeout"
    assert rig.take(stream).endswith(b"\r\n\r\n1") is polls


@pytest.mark.parametrize(("late", "left"), [(0, 20), (5, 15), (30, 10)])
def test_a_late_tick_does_not_extend_the_time_for_a_pong(late: float, left: float) -> None:
    rig = EngineRig(ping_interval=25, ping_timeout=20)
    stream = rig.open_websocket()
    rig.now += 25 + late
    rig.machine.tick(rig.now)
    rig.drain()
    assert rig.frames(stream) == [(1, b"2")]
    rig.advance(left - 0.1)
    assert not rig.pop(SessionClosed)
    rig.advance(0.1)
    assert rig.pop(SessionClosed)[0].reason == "ping timeout"


def test_a_pong_that_has_arrived_but_is_not_handled_yet_keeps_the_session_open() -> None:
    rig = EngineRig(ping_interval=25, ping_timeout=20)
    stream, sid = rig.open_polling()
    rig.poll(stream, sid)
    websocket = rig.open_websocket()
    rig.advance(25)
    rig.machine.paused = True
    rig.feed(rig.accept(), request("POST", f"{POLLING}&sid={sid}", b"3"))
    rig.feed(websocket, frame("3"))
    rig.advance(100)
    rig.machine.paused = False
    rig.machine.tick(rig.now)
    rig.drain()
    rig.advance(24)
    assert not rig.pop(SessionClosed)
    rig.advance(100)
    assert [event.reason for event in rig.pop(SessionClosed)] == ["ping timeout"] * 2


def test_a_request_that_has_arrived_but_is_not_handled_yet_is_not_too_late() -> None:
    rig = EngineRig(request_timeout=10)
    stream, partial = rig.accept(), rig.accept()
    rig.machine.paused = True
    rig.feed(stream, request("GET", POLLING))
    rig.feed(partial, b"GET ")
    rig.advance(25)
    rig.machine.paused = False
    rig.machine.tick(rig.now)
    rig.drain()
    assert rig.reply(stream).status == 200
    assert not rig.closed
    rig.advance(10)
    assert rig.closed[partial] is True


def test_a_probe_that_has_arrived_but_is_not_handled_yet_is_not_too_late() -> None:
    rig = EngineRig(upgrade_timeout=10)
    _, sid = rig.open_polling()
    probe, other = rig.probe(sid), rig.open_polling()[1]
    silent = rig.probe(other)
    rig.machine.paused = True
    rig.feed(probe, frame("2probe") + frame("5"))
    rig.advance(15)
    assert rig.closed == {silent: True}
    rig.machine.paused = False
    rig.machine.tick(rig.now)
    rig.drain()
    assert rig.pop(SessionUpgraded) == [SessionUpgraded(1, "websocket")]


# WebSocket


def test_messages_are_exchanged_over_websocket() -> None:
    rig = EngineRig()
    stream = rig.open_websocket(frame("4early"))
    rig.feed(stream, frame("4hello") + frame(b"\1\2") + frame("bAQI="))
    assert rig.messages() == ["early", "hello", b"\1\2", b"\1\2"]
    for size in (1, 200, 70_000):
        rig.machine.send(1, "x" * size, rig.now)
        rig.machine.send(1, b"y" * size, rig.now)
        rig.drain()
        assert rig.frames(stream) == [(1, b"4" + b"x" * size), (2, b"y" * size)]


def test_a_websocket_may_be_opened_on_a_stream_that_was_used() -> None:
    rig = EngineRig()
    stream, _ = rig.open_polling()
    rig.feed(stream, request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET) + frame("4a"))
    reply = Reply(rig.take(stream))
    assert reply.headers["sec-websocket-accept"] == "icx+yqv66kxgm0fcwalwlflwtai="
    assert [data[:2] for _, data in frames(reply.rest)] == [b"0{"]
    assert rig.messages() == ["a"]


@pytest.mark.parametrize(
    "headers",
    [
        b"Upgrade: websocket\r\n",
        WEBSOCKET.replace(b"13", b"12"),
        WEBSOCKET.replace(b"Sec-WebSocket-Key", b"X"),
        WEBSOCKET.replace(b"Connection: Upgrade", b"Connection: \xff"),
    ],
)
def test_an_invalid_handshake_is_refused(headers: bytes) -> None:
    rig = EngineRig()
    reply = rig.ask(request("GET", "EIO=4&transport=websocket", headers=headers))
    assert (reply.status, reply.body[:36]) == (400, b"the WebSocket handshake is invalid: ")
    assert not rig.machine.sessions


def test_only_get_opens_a_websocket() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    for query in ("", f"&sid={sid}"):
        assert rig.ask(request("POST", "EIO=4&transport=websocket" + query, b"", headers=WEBSOCKET)).status == 400


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame("4a", masked=False), 1002),
        (frame("abc"), 1007),
        (frame(b"\xff", opcode=1), 1007),
        (frame("4" + "a" * 10), 1009),
        (frame("4" + "a" * 5, final=False) + frame("a" * 5, opcode=0), 1009),
        (frame("a", opcode=0), 1002),
    ],
)
def test_invalid_frames_end_the_session(data: bytes, code: int) -> None:
    rig = EngineRig(max_payload=10)
    stream = rig.open_websocket()
    rig.feed(stream, data)
    ((opcode, payload),) = rig.frames(stream)
    assert (opcode, int.from_bytes(payload[:2])) == (8, code)
    (closed,) = rig.pop(SessionClosed)
    assert closed.reason == "transport error"
    assert rig.closed == {stream: False}


def test_fragments_and_control_frames_are_understood() -> None:
    rig = EngineRig()
    stream = rig.open_websocket()
    rig.feed(stream, frame("4a", final=False) + frame(b"!", opcode=9) + frame("b", opcode=0))
    assert rig.messages() == ["ab"]
    assert rig.frames(stream) == [(10, b"!")]
    rig.feed(stream, frame(b"\x03\xe8bye", opcode=8))
    assert rig.frames(stream) == [(8, b"\x03\xe8")]
    (closed,) = rig.pop(SessionClosed)
    assert (closed.reason, str(closed.details)) == (
        "transport close",
        "the client closed the WebSocket with code 1000: bye",
    )


@pytest.mark.parametrize(
    ("error", "how"), [(None, "the client closed the stream"), (OSError("x"), "the stream broke: x")]
)
def test_a_websocket_whose_stream_is_lost_ends_the_session(error: Exception | None, how: str) -> None:
    rig = EngineRig()
    stream = rig.open_websocket()
    rig.lose(stream, error)
    (closed,) = rig.pop(SessionClosed)
    assert closed.reason == "transport close"
    assert str(closed.details) == f"the WebSocket ended without a close frame: {how}"


# The upgrade


def test_a_session_is_upgraded() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    rig.poll(stream, sid)
    probe = rig.probe(sid)
    assert rig.take(stream) == b""
    rig.feed(probe, frame("2probe"))
    assert rig.frames(probe) == [(1, b"3probe")]
    assert rig.reply(stream).body == b"6"
    rig.machine.send(1, "over polling", rig.now)
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"4over polling"
    rig.machine.send(1, "over WebSocket", rig.now)
    rig.feed(probe, frame("5") + frame("4hello"))
    assert rig.frames(probe) == [(1, b"4over WebSocket")]
    assert rig.messages() == ["hello"]
    assert rig.pop(SessionUpgraded) == [SessionUpgraded(1, "websocket")]
    rig.poll(stream, sid)
    assert rig.reply(stream).code == 3
    second = rig.accept()
    rig.feed(second, request("GET", f"EIO=4&transport=websocket&sid={sid}", headers=WEBSOCKET))
    assert frames(Reply(rig.take(second)).rest) == [(8, b"\x03\xe8")]
    rig.machine.send(1, "still open", rig.now)
    rig.drain()
    assert rig.frames(probe) == [(1, b"4still open")]


def test_a_second_websocket_is_closed() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    rig.probe(sid)
    second = rig.accept()
    rig.feed(second, request("GET", f"EIO=4&transport=websocket&sid={sid}", headers=WEBSOCKET))
    reply = Reply(rig.take(second))
    assert (reply.status, frames(reply.rest)) == (101, [(8, b"\x03\xe8")])
    rig.feed(second, frame("2probe") + frame(b"\x03\xe8", opcode=8))
    assert rig.closed == {second: False}
    assert not rig.pop(SessionClosed)


def test_a_get_after_the_probe_is_answered_once_per_100_ms() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    probe = rig.probe(sid)
    rig.feed(probe, frame("2probe"))
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"6"
    rig.poll(stream, sid)
    rig.advance(0.09)
    assert rig.take(stream) == b""
    rig.advance(0.02)
    assert rig.reply(stream).body == b"6"
    rig.advance(1)
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"6"


def test_a_get_that_waits_at_the_switch_is_answered() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    probe = rig.probe(sid)
    rig.feed(probe, frame("2probe"))
    rig.poll(stream, sid)
    rig.take(stream)
    rig.poll(stream, sid)
    rig.feed(probe, frame("5"))
    assert rig.reply(stream).body == b"6"


@pytest.mark.parametrize("data", [frame("5"), frame("4a"), frame("2"), frame("2probe") + frame("2probe"), b"\0\0"])
def test_a_wrong_probe_is_closed_and_the_session_stays(data: bytes) -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    probe = rig.probe(sid)
    rig.feed(probe, data)
    assert probe in rig.closed
    assert rig.messages() == []
    rig.machine.send(1, "x", rig.now)
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"4x"
    rig.feed(rig.probe(sid), frame("2probe") + frame("5"))
    assert rig.pop(SessionUpgraded)


@pytest.mark.parametrize("host", [b"[::1]:80", b"a" * 70 + b".test:80", b"xn--\x80"])
def test_every_host_may_open_a_websocket(host: bytes) -> None:
    rig = EngineRig()
    stream = rig.accept()
    rig.feed(
        stream, request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET).replace(b"Host: a", b"Host: " + host)
    )
    assert Reply(rig.take(stream)).status == 101


def test_the_body_of_a_get_is_discarded() -> None:
    rig = EngineRig()
    stream = rig.accept()
    rig.feed(stream, request("GET", POLLING, b"x" * 1000)[:-1])
    owner = rig.machine._outbox.owners[stream]
    assert isinstance(owner, HTTPStream)
    assert not owner._body
    rig.feed(stream, b"x")
    assert rig.reply(stream).status == 200


def test_an_upgrade_that_takes_too_long_is_given_up() -> None:
    rig = EngineRig(upgrade_timeout=10)
    _, sid = rig.open_polling()
    probe = rig.probe(sid)
    rig.feed(probe, frame("2probe"))
    rig.advance(10)
    assert rig.closed[probe] is True
    assert not rig.pop(SessionClosed)


def test_the_end_of_a_session_closes_its_probe() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    probe = rig.probe(sid)
    rig.post(sid, b"1")
    assert rig.closed == {probe: True}


def test_a_transport_that_is_not_served_is_unknown_and_not_offered() -> None:
    rig = EngineRig(transports=["polling"])
    assert rig.ask(request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET)).code == 0
    assert b'"upgrades":[]' in rig.ask(request("GET", POLLING)).body


# Questions


def test_the_application_accepts_sessions() -> None:
    rig = EngineRig()
    rig.machine.asks_before_opening = True
    assert rig.machine.asks_before_opening
    polling, websocket = rig.accept(), rig.accept()
    rig.feed(polling, request("GET", POLLING))
    rig.feed(websocket, request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET) + frame("4a"))
    questions = rig.pop(SessionQuestion)
    assert [(each.session, each.transport) for each in questions] == [(1, "polling"), (2, "websocket")]
    assert not rig.sent
    for question in questions:
        rig.machine.answer(question.question, None, rig.now)
        rig.drain()
    assert rig.reply(polling).status == 200
    assert Reply(rig.take(websocket)).status == 101
    assert rig.messages() == ["a"]
    rig.machine.answer(questions[0].question, ConnectError("late"), rig.now)
    rig.advance(20)
    assert not rig.pop(SessionClosed)


@pytest.mark.parametrize(
    ("answer", "message"), [(ConnectError("no token"), "no token"), (KeyError("secret"), "Forbidden")]
)
def test_the_application_refuses_a_session(answer: Exception, message: str) -> None:
    rig = EngineRig()
    rig.machine.asks_before_opening = True
    stream = rig.accept()
    rig.feed(stream, request("GET", POLLING))
    (question,) = rig.pop(SessionQuestion)
    with pytest.raises(OptionError, match=r"^an answer must be None or a ConnectError, not this bool$"):
        rig.machine.answer(question.question, True, rig.now)  # type: ignore[arg-type]
    rig.machine.answer(question.question, answer, rig.now)
    rig.drain()
    reply = rig.reply(stream)
    assert (reply.status, json.loads(reply.body)) == (403, {"code": 4, "message": message})
    assert not rig.machine.sessions
    assert not rig.pop(SessionClosed)


def test_a_question_is_withdrawn_with_its_stream_and_in_time() -> None:
    rig = EngineRig(request_timeout=30)
    rig.machine.asks_before_opening = True
    lost, slow, stopped = rig.accept(), rig.accept(), rig.accept()
    rig.feed(lost, request("GET", POLLING))
    rig.lose(lost)
    assert not rig.machine.sessions
    rig.feed(slow, request("GET", POLLING))
    rig.advance(30)
    assert rig.reply(slow).status == 403
    assert not rig.machine.sessions
    stopped = rig.accept()
    rig.feed(stopped, request("GET", POLLING))
    rig.machine.shutdown(rig.now)
    for question in rig.pop(SessionQuestion):
        rig.machine.answer(question.question, None, rig.now)
    rig.drain()
    assert rig.reply(stopped).status == 403
    assert rig.machine.state == "stopped"


# The end


def test_the_application_closes_a_session_after_its_packets() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    rig.machine.send(1, "last", rig.now)
    rig.machine.close_session(1, rig.now)
    rig.machine.close_session(1, rig.now)
    rig.machine.send(1, "dropped", rig.now)
    assert rig.post(sid, b"4late").body == b"ok"
    assert not rig.pop(SessionClosed)
    rig.poll(stream, sid)
    assert rig.reply(stream).body == b"4last\x1e1"
    (closed,) = rig.pop(SessionClosed)
    assert (closed.reason, closed.details) == ("forced server close", None)
    assert rig.messages() == []
    rig.machine.close_session(1, rig.now)
    rig.machine.send(1, "dropped", rig.now)
    assert rig.machine.buffered_bytes(1) == 0


def test_a_session_whose_client_does_not_poll_is_closed_in_time() -> None:
    rig = EngineRig(close_timeout=5)
    _, sid = rig.open_polling()
    probe = rig.probe(sid)
    rig.machine.close_session(1, rig.now)
    rig.drain()
    rig.advance(5)
    assert rig.pop(SessionClosed)[0].reason == "forced server close"
    assert rig.closed[probe] is True


def test_a_websocket_is_closed_after_its_packets() -> None:
    rig = EngineRig()
    stream = rig.open_websocket()
    rig.writes_at_once = False
    rig.machine.send(1, "a", rig.now)
    rig.machine.send(1, "b", rig.now)
    rig.machine.close_session(1, rig.now)
    rig.drain()
    assert rig.frames(stream) == [(1, b"4a")]
    rig.written()
    rig.drain()
    assert rig.frames(stream) == [(1, b"4b")]
    rig.written()
    rig.drain()
    assert rig.frames(stream) == [(8, b"\x03\xe8")]
    assert rig.pop(SessionClosed)
    assert not rig.closed
    rig.advance(5)
    assert rig.closed == {stream: True}


def test_a_client_that_does_not_read_loses_its_session() -> None:
    rig = EngineRig(max_buffered_bytes=100_000)
    stream = rig.open_websocket()
    rig.writes_at_once = False
    assert rig.machine.writable(1)
    rig.machine.send(1, "x" * 70_000, rig.now)
    rig.drain()
    assert not rig.machine.writable(1)
    rig.written()
    rig.drain()
    assert rig.pop(SessionDrained) == [SessionDrained(1)]
    assert rig.machine.writable(1)
    for _ in range(3):
        rig.machine.send(1, "x" * 40_000, rig.now)
    rig.drain()
    (closed,) = rig.pop(SessionClosed)
    assert closed.reason == "transport error"
    assert isinstance(closed.details, BufferFullError)
    assert rig.machine.writable(1)  # it has ended
    rig.advance(5)
    assert rig.closed == {stream: True}


def test_a_message_that_cannot_be_sent_is_an_error() -> None:
    rig = EngineRig()
    with pytest.raises(PacketError, match=r"U\+001E"):
        rig.machine.send(1, "\x1e", rig.now)


def test_a_server_that_shuts_down_closes_everything_in_time() -> None:
    rig = EngineRig(close_timeout=5)
    idle, partial = rig.accept(), rig.accept()
    rig.feed(partial, b"GET / ")
    polled, sid = rig.open_polling()
    rig.poll(polled, sid)
    rig.open_polling()  # does not poll
    websocket = rig.open_websocket()
    rig.machine.shutdown(rig.now)
    rig.machine.shutdown(rig.now)
    rig.drain()
    assert rig.machine.state == "stopping"
    reply = rig.reply(polled)
    assert (reply.body, reply.headers["connection"]) == (b"1", "close")
    assert rig.closed == {idle: False, polled: False, 4: False}
    assert rig.frames(websocket) == [(8, b"\x03\xe8")]
    late = rig.accept()
    assert rig.closed[late] is True
    rig.feed(websocket, frame(b"\x03\xe8", opcode=8))
    rig.advance(5)
    assert rig.machine.state == "stopped"
    assert rig.closed[partial] is True
    assert {event.reason for event in rig.pop(SessionClosed)} == {"server shutting down"}
    assert rig.deadline is None


def test_a_server_stops_when_the_last_stream_is_closed() -> None:
    rig = EngineRig()
    rig.machine.shutdown(rig.now)
    assert rig.machine.state == "stopped"
    rig = EngineRig()
    stream = rig.open_websocket()
    rig.machine.shutdown(rig.now)
    rig.drain()
    rig.feed(stream, frame(b"\x03\xe8", opcode=8))
    assert rig.machine.state == "stopped"
    rig.machine.abort(rig.now)
    rig.machine.shutdown(rig.now)
    assert rig.machine.state == "stopped"


def test_sessions_that_no_stream_can_carry_any_more_end_when_the_server_stops() -> None:
    rig = EngineRig()
    for _ in range(2_000):
        stream, sid = rig.open_polling()
        rig.lose(stream)
    polled, sid = rig.open_polling()
    rig.poll(polled, sid)
    rig.machine.shutdown(rig.now)
    rig.drain()
    assert rig.machine.state == "stopped"
    assert rig.reply(polled).body == b"1"
    assert len(rig.pop(SessionClosed)) == 2_001
    assert rig.deadline is None


def test_a_server_can_be_aborted() -> None:
    rig = EngineRig()
    rig.machine.asks_before_opening = True
    asked = rig.accept()
    rig.feed(asked, request("GET", POLLING))
    (question,) = rig.pop(SessionQuestion)
    rig.machine.asks_before_opening = False
    stream = rig.open_websocket()
    rig.feed(stream, frame("4a"))
    rig.machine.abort(rig.now)
    rig.machine.answer(question.question, None, rig.now)
    rig.drain()
    assert rig.closed == {asked: True, stream: True}
    assert [event.session for event in rig.pop(SessionClosed)] == [2]
    assert rig.machine.state == "stopped"
    assert not rig.machine.sessions


def test_ids_come_from_the_random_source() -> None:
    def first(seed: int) -> str:
        rig = EngineRig()
        rig.machine = EngineServerProtocol(EngineServerOptions(), random=Random(seed))
        return rig.open_polling()[1]

    assert first(1) == first(1) != first(2)
    assert len(first(1)) == 20


def test_inputs_for_streams_that_were_opened_mean_nothing_and_a_failed_stream_is_lost() -> None:
    rig = EngineRig()
    _, sid = rig.open_polling()
    polled, websocket, idle = rig.accept(), rig.open_websocket(), rig.accept()
    rig.poll(polled, sid)
    for stream in (polled, websocket, idle):
        rig.machine.stream_progress(stream, "TCP is up", rig.now)
        rig.machine.stream_opened(stream, rig.now)
        rig.machine.stream_failed(stream, OSError("broken"), rig.now)
    rig.drain()
    assert [(event.session, event.reason) for event in rig.pop(SessionClosed)] == [
        (1, "transport error"),
        (2, "transport close"),
    ]
    assert not rig.closed
