"""Reconnection: the order of its events, its delays, and what starts and ends it."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import OpenTimeout
from sansio_socketio.protocol.events import (
    Closed,
    Connected,
    ConnectFailed,
    Disconnected,
    Failed,
    Opened,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
    ReconnectFailed,
)
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def lost(serve: Serve, **options: Any) -> FakeServer:
    """A server whose client has just lost its connection."""
    options.setdefault("randomization_factor", 0)
    server = serve(**options)
    server.joined()
    server.lose()
    server.events()
    return server


def fail_and_measure_the_delay(server: FakeServer) -> float:
    """Refuse the next attempt. Return how long the client waited before it."""
    before = server.now
    while not server.streams:
        assert server.deadline is not None
        server.advance(server.deadline - server.now)
    waited = server.now - before
    server.refuse()
    server.run()
    return waited


def test_a_lost_connection_is_reopened(serve: Serve) -> None:
    server = lost(serve)
    assert server.client.reconnecting
    server.advance(0.9)
    assert server.events() == []
    server.advance(0.1)
    assert server.events() == [ReconnectAttempt(1)]
    assert server.client.state == "reopening"
    server.accept()
    assert server.events() == [Opened(), Reconnected(1)]
    server.join(sid="s2")
    assert server.events() == [Connected("/", "s2", recovered=False)]
    assert not server.client.reconnecting


def test_a_failed_first_attempt_is_repeated(serve: Serve) -> None:
    server = serve(randomization_factor=0)
    server.socket().connect(server.now)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed]
    assert server.client.reconnecting
    server.advance(1)
    server.accept()
    server.join()
    assert server.events() == [ReconnectAttempt(1), Opened(), Reconnected(1), Connected("/", "s1", recovered=False)]


def test_failed_attempts_emit_events_in_the_order_of_the_javascript_client(serve: Serve) -> None:
    server = lost(serve, reconnection_attempts=2)
    server.advance(1)
    server.refuse()
    events = server.events()
    assert kinds(events) == [ReconnectAttempt, Failed, ConnectFailed, ReconnectError]
    assert events[3] == ReconnectError(events[1].error)  # type: ignore[attr-defined]
    assert server.client.reconnecting
    server.advance(2)
    server.refuse()
    assert kinds(server.events()) == [ReconnectAttempt, Failed, ConnectFailed, ReconnectFailed, ReconnectError]
    assert server.client.idle
    server.advance(1000)
    assert server.events() == []
    assert server.deadline is None


def test_an_attempt_fails_after_the_timeout(serve: Serve) -> None:
    server = lost(serve, timeout=5)
    server.advance(1)
    server.open_stream()
    server.advance(5)
    events = server.events()
    assert kinds(events) == [ReconnectAttempt, Failed, ConnectFailed, ReconnectError]
    assert isinstance(events[1].error, OpenTimeout)  # type: ignore[attr-defined]
    assert server.streams == []


@pytest.mark.parametrize("opens", [False, True])
def test_a_namespace_that_connects_when_an_attempt_is_overdue_is_notified_of_its_failure(
    serve: Serve, opens: bool
) -> None:
    server = serve(timeout=0)
    socket = server.socket()
    if opens:
        server.client.open(server.now)
        server.now += 0.001
    socket.connect(server.now)
    assert kinds(server.events()) == []
    server.advance(0)
    assert kinds(server.events()) == [Failed, ConnectFailed]


def test_connect_after_giving_up_starts_a_new_reconnection(serve: Serve) -> None:
    server = lost(serve, reconnection_attempts=1)
    server.advance(1)
    server.refuse()
    assert ReconnectFailed in kinds(server.events())
    server.socket().connect(server.now)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed]
    server.advance(1)
    assert server.events() == [ReconnectAttempt(1)]


def test_delays_double_up_to_the_maximum(serve: Serve) -> None:
    server = lost(serve, reconnection_delay=1, reconnection_delay_max=10)
    assert [fail_and_measure_the_delay(server) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_delays_are_reset_by_a_success(serve: Serve) -> None:
    server = lost(serve)
    assert [fail_and_measure_the_delay(server) for _ in range(2)] == [1, 2]
    server.advance(4)
    server.accept()
    server.lose()
    server.run()
    assert fail_and_measure_the_delay(server) == 1


def test_jitter_stays_within_its_bounds(serve: Serve) -> None:
    server = lost(serve, randomization_factor=0.5, reconnection_delay=2, reconnection_delay_max=100)
    for attempt, base in enumerate((2, 4, 8, 16, 32), start=1):
        waited = fail_and_measure_the_delay(server)
        assert base / 2 <= waited <= base * 1.5
        assert [event for event in server.events() if isinstance(event, ReconnectAttempt)] == [
            ReconnectAttempt(attempt)
        ]


def test_thousands_of_attempts_do_not_overflow(serve: Serve) -> None:
    server = lost(serve, reconnection_delay_max=5)
    for _ in range(3000):
        assert fail_and_measure_the_delay(server) <= 5
    server.events()
    assert server.client.reconnecting


def test_connecting_during_a_delay_does_not_shorten_it(serve: Serve) -> None:
    server = lost(serve)
    server.socket("/other").connect(server.now)
    server.socket().connect(server.now)
    server.advance(0.9)
    assert server.streams == []
    server.advance(0.1)
    server.accept()
    assert [packet.namespace for packet in server.sent()] == ["/", "/other"]


@pytest.mark.row("difference.open_during_the_wait")
def test_open_during_a_delay_starts_the_attempt_at_once(serve: Serve) -> None:
    server = lost(serve)
    server.client.open(server.now)
    assert server.client.state == "reopening"
    server.accept()
    assert server.events() == [Opened(), Reconnected(1)]
    server.join()
    server.events()
    server.advance(100)
    assert server.events() == []


@pytest.mark.parametrize("reconnect", [True, False])
def test_a_failed_open_during_a_delay_continues_the_reconnection(serve: Serve, reconnect: bool) -> None:
    server = lost(serve)
    server.client.open(server.now, reconnect=reconnect)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]
    assert server.client.reconnecting
    server.advance(2)
    assert server.events() == [ReconnectAttempt(2)]


def test_a_connection_that_is_lost_before_the_join_is_reopened(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.accept()
    server.events()
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.client.reconnecting


def test_a_successful_first_attempt_is_not_a_reconnection(serve: Serve) -> None:
    server = serve()
    server.opened()
    server.join()
    assert Reconnected not in kinds(server.events())


def test_disabling_reconnection_ends_a_delay(serve: Serve) -> None:
    server = lost(serve)
    server.client.reconnection = False
    assert server.client.idle
    server.advance(1000)
    assert server.events() == []
    server.socket().connect(server.now)
    server.accept()
    assert kinds(server.events()) == [Opened]


def test_disabling_reconnection_during_an_attempt_lets_it_fail(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.client.reconnection = False
    server.events()
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]
    assert server.client.idle


def test_disabling_reconnection_during_an_attempt_lets_it_succeed(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.client.reconnection = False
    server.accept()
    assert server.events() == [ReconnectAttempt(1), Opened(), Reconnected(1)]
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.client.idle


def test_enabling_reconnection_applies_from_the_next_lost_connection(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined()
    server.client.reconnection = True
    server.lose()
    server.run()
    assert server.client.reconnecting


def test_a_lower_number_of_attempts_applies_to_the_current_attempt(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.client.reconnection_attempts = 1
    server.events()
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectFailed, ReconnectError]


def test_changed_delays_apply_from_the_next_delay(serve: Serve) -> None:
    server = lost(serve)
    server.client.reconnection_delay = 10
    server.client.reconnection_delay_max = 30
    assert [fail_and_measure_the_delay(server) for _ in range(3)] == [1, 20, 30]


def test_a_disconnect_by_the_server_starts_no_reconnection(serve: Serve) -> None:
    server = serve()
    server.joined()
    server.kick()
    assert server.events() == [
        Closed("forced close", None),
        Disconnected("/", "io server disconnect", None, active=False),
    ]
    assert not server.client.reconnecting
    assert server.client.idle
