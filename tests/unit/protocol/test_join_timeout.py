"""A server that does not answer CONNECT: when a namespace, and when the connection, has failed."""

from __future__ import annotations

import pytest

from sansio_socketio.protocol import ASK
from sansio_socketio.protocol.errors import OpenTimeout
from sansio_socketio.protocol.events import (
    Closed,
    Connected,
    ConnectFailed,
    Disconnected,
    EngineClosed,
    Failed,
    Opened,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectFailed,
)
from sansio_socketio.protocol.packets.socketio import CONNECT, DISCONNECT, Packet
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def test_a_connection_fails_if_no_namespace_is_accepted(serve: Serve) -> None:
    server = serve(timeout=2, randomization_factor=0)
    server.opened("/a")
    server.opened("/b")
    server.advance(1.9)
    assert server.events() == []
    server.advance(0.1)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed, ConnectFailed, Closed, Disconnected, Disconnected]
    failed, refused, _, closed, left, _ = events
    assert isinstance(failed, Failed)
    error = failed.error
    assert isinstance(error, OpenTimeout)
    assert str(error) == (
        "the server localhost:80 did not answer CONNECT for /a within 2 seconds: the session is open, but the namespace was "
        "neither accepted nor refused; check the server's middleware"
    )
    assert refused == ConnectFailed("/a", error, active=True)
    assert closed == Closed("transport error", error)
    assert left == Disconnected("/a", "transport error", error, active=True)
    assert server.engine_events[-1] == EngineClosed("transport error", error)
    server.advance(1)
    server.accept()
    server.join("/a")
    assert kinds(server.events()) == [ReconnectAttempt, Opened, Reconnected, Connected]


def test_reconnection_gives_up_although_the_server_opens_each_connection(serve: Serve) -> None:
    server = serve(timeout=2, randomization_factor=0, reconnection_delay=1, reconnection_attempts=3)
    server.opened()
    for attempt in (1, 2, 3):
        server.advance(2)
        server.advance(2 ** (attempt - 1))
        assert ReconnectAttempt(attempt) in server.events()
        server.accept()
    server.advance(2)
    assert kinds(server.events())[-1] is ReconnectFailed
    assert server.client.state == "closed"


def test_delays_are_reset_by_a_join(serve: Serve) -> None:
    server = serve(timeout=2, randomization_factor=0, reconnection_delay=1)
    server.opened()
    server.advance(3)
    server.accept()
    server.join()
    server.lose()
    server.events()
    server.advance(1)
    assert server.events() == [ReconnectAttempt(1)]


@pytest.mark.row("difference.join_timeout")
def test_a_join_without_an_answer_does_not_affect_other_namespaces(serve: Serve) -> None:
    server = serve(timeout=2)
    other = server.joined("/other")
    socket = server.opened("/a")
    server.sent()
    server.advance(2)
    (failed,) = server.events()
    assert isinstance(failed, ConnectFailed)
    assert (failed.namespace, failed.active, type(failed.error)) == ("/a", True, OpenTimeout)
    server.advance(2)
    assert kinds(server.events()) == [ConnectFailed]
    assert server.sent() == []
    assert other.connected
    server.join("/a", sid="late")
    assert server.events() == [Connected("/a", "late", recovered=False)]
    assert socket.connected
    server.advance(100)
    assert server.events() == []


def test_the_connection_fails_when_the_last_other_namespace_disconnects(serve: Serve) -> None:
    server = serve(timeout=2)
    other = server.joined("/other")
    server.opened("/a")
    server.advance(3)
    other.disconnect(server.now)
    server.events()
    server.advance(1)
    assert kinds(server.events()) == [Failed, ConnectFailed, Closed, Disconnected]


def test_joining_again_waits_for_the_answer_to_the_abandoned_join(serve: Serve) -> None:
    server = serve(timeout=2)
    server.joined("/other")
    socket = server.opened("/a")
    socket.disconnect(server.now)
    server.advance(5)
    assert server.events() == []
    server.sent()
    socket.connect(server.now)
    server.advance(1)
    socket.connect(server.now)
    server.advance(1)
    assert kinds(server.events()) == [ConnectFailed]
    server.join("/a")
    server.advance(0.05)
    assert server.sent() == [Packet(DISCONNECT, "/a"), Packet(CONNECT, "/a")]
    server.advance(1.9)
    assert server.events() == []
    server.advance(0.1)
    assert kinds(server.events()) == [ConnectFailed]


def test_waiting_for_auth_counts_towards_the_timeout_of_a_join(serve: Serve) -> None:
    server = serve(timeout=2)
    server.joined("/other")
    socket = server.socket("/a", auth=ASK)
    socket.connect(server.now)
    server.advance(1.5)
    (question,) = server.events()
    assert isinstance(question, Question)
    server.client.answer(question.question, {}, server.now)
    server.advance(0.5)
    assert kinds(server.events()) == [ConnectFailed]


@pytest.mark.parametrize("timeout", [0, 0.25])
def test_failures_are_not_reported_more_often_than_once_a_second(serve: Serve, timeout: float) -> None:
    server = serve()
    server.joined("/other")
    server.client.timeout = timeout
    server.socket("/a").connect(server.now)
    server.advance(timeout)
    server.advance(3)
    assert kinds(server.events()) == [ConnectFailed] * 4


@pytest.mark.parametrize("end", ["refusal", "leaving", "loss"])
def test_a_join_that_has_ended_has_no_timeout(serve: Serve, end: str) -> None:
    server = serve(timeout=2, reconnection=False)
    server.joined("/other")
    socket = server.opened("/a")
    if end == "refusal":
        server.deny({"message": "no"}, "/a")
    elif end == "leaving":
        socket.disconnect(server.now)
    else:
        server.lose()
    server.events()
    server.advance(100)
    assert server.events() == []
