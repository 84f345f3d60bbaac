"""Reconnection: what is told in which order, how long is waited, and what starts and ends it."""

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


def fail_until_it_waits(server: FakeServer) -> float:
    """Refuse the attempt that is due next; returns how long the client waited for it."""
    before = server.now
    while not server.streams:
        assert server.deadline is not None
        server.advance(server.deadline - server.now)
    waited = server.now - before
    server.refuse()
    server.run()
    return waited


def test_a_lost_connection_comes_back(serve: Serve) -> None:
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


def test_a_first_attempt_that_fails_is_tried_again(serve: Serve) -> None:
    server = serve(randomization_factor=0)
    server.socket().connect(server.now)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed]
    assert server.client.reconnecting
    server.advance(1)
    server.accept()
    server.join()
    assert server.events() == [ReconnectAttempt(1), Opened(), Reconnected(1), Connected("/", "s1", recovered=False)]


def test_an_attempt_that_fails_again_is_told_in_the_references_order(serve: Serve) -> None:
    server = lost(serve, reconnection_attempts=2)
    server.advance(1)
    server.refuse()
    told = server.events()
    assert kinds(told) == [ReconnectAttempt, Failed, ConnectFailed, ReconnectError]
    assert told[3] == ReconnectError(told[1].error)  # type: ignore[attr-defined]
    assert server.client.reconnecting
    server.advance(2)
    server.refuse()
    assert kinds(server.events()) == [ReconnectAttempt, Failed, ConnectFailed, ReconnectFailed, ReconnectError]
    assert server.client.idle
    server.advance(1000)
    assert server.events() == []
    assert server.deadline is None


def test_an_attempt_that_takes_too_long_is_one_that_failed(serve: Serve) -> None:
    server = lost(serve, timeout=5)
    server.advance(1)
    server.open_stream()
    server.advance(5)
    told = server.events()
    assert kinds(told) == [ReconnectAttempt, Failed, ConnectFailed, ReconnectError]
    assert isinstance(told[1].error, OpenTimeout)  # type: ignore[attr-defined]
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


def test_after_giving_up_connect_starts_anew(serve: Serve) -> None:
    server = lost(serve, reconnection_attempts=1)
    server.advance(1)
    server.refuse()
    assert ReconnectFailed in kinds(server.events())
    server.socket().connect(server.now)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed]
    server.advance(1)
    assert server.events() == [ReconnectAttempt(1)]


def test_delays_double_up_to_the_longest(serve: Serve) -> None:
    server = lost(serve, reconnection_delay=1, reconnection_delay_max=10)
    assert [fail_until_it_waits(server) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_delays_start_again_after_a_success(serve: Serve) -> None:
    server = lost(serve)
    assert [fail_until_it_waits(server) for _ in range(2)] == [1, 2]
    server.advance(4)
    server.accept()
    server.lose()
    server.run()
    assert fail_until_it_waits(server) == 1


def test_jitter_stays_within_its_bounds(serve: Serve) -> None:
    server = lost(serve, randomization_factor=0.5, reconnection_delay=2, reconnection_delay_max=100)
    for attempt, base in enumerate((2, 4, 8, 16, 32), start=1):
        waited = fail_until_it_waits(server)
        assert base / 2 <= waited <= base * 1.5
        assert [event for event in server.events() if isinstance(event, ReconnectAttempt)] == [
            ReconnectAttempt(attempt)
        ]


def test_thousands_of_attempts_overflow_nothing(serve: Serve) -> None:
    server = lost(serve, reconnection_delay_max=5)
    for _ in range(3000):
        assert fail_until_it_waits(server) <= 5
    server.events()
    assert server.client.reconnecting


def test_connecting_during_a_wait_does_not_open_early(serve: Serve) -> None:
    server = lost(serve)
    server.socket("/other").connect(server.now)
    server.socket().connect(server.now)
    server.advance(0.9)
    assert server.streams == []
    server.advance(0.1)
    server.accept()
    assert [packet.namespace for packet in server.sent()] == ["/", "/other"]


@pytest.mark.row("difference.open_during_the_wait")
def test_opening_during_a_wait_does_not_wait_longer(serve: Serve) -> None:
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
def test_opening_during_a_wait_in_vain_goes_on_waiting(serve: Serve, reconnect: bool) -> None:
    server = lost(serve)
    server.client.open(server.now, reconnect=reconnect)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]
    assert server.client.reconnecting
    server.advance(2)
    assert server.events() == [ReconnectAttempt(2)]


def test_a_connection_that_is_lost_before_joining_is_tried_again(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.accept()
    server.events()
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.client.reconnecting


def test_a_first_success_is_no_reconnection(serve: Serve) -> None:
    server = serve()
    server.opened()
    server.join()
    assert Reconnected not in kinds(server.events())


def test_reconnection_that_is_switched_off_ends_a_wait(serve: Serve) -> None:
    server = lost(serve)
    server.client.reconnection = False
    assert server.client.idle
    server.advance(1000)
    assert server.events() == []
    server.socket().connect(server.now)
    server.accept()
    assert kinds(server.events()) == [Opened]


def test_reconnection_that_is_switched_off_lets_an_attempt_end(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.client.reconnection = False
    server.events()
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]
    assert server.client.idle


def test_reconnection_that_is_switched_off_lets_an_attempt_succeed(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.client.reconnection = False
    server.accept()
    assert server.events() == [ReconnectAttempt(1), Opened(), Reconnected(1)]
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.client.idle


def test_reconnection_that_is_switched_on_again_counts_from_the_next_loss(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined()
    server.client.reconnection = True
    server.lose()
    server.run()
    assert server.client.reconnecting


def test_attempts_that_are_set_lower_while_waiting_count(serve: Serve) -> None:
    server = lost(serve)
    server.advance(1)
    server.client.reconnection_attempts = 1
    server.events()
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectFailed, ReconnectError]


def test_delays_that_are_set_while_running_count_from_the_next(serve: Serve) -> None:
    server = lost(serve)
    server.client.reconnection_delay = 10
    server.client.reconnection_delay_max = 30
    assert [fail_until_it_waits(server) for _ in range(3)] == [1, 20, 30]


def test_a_server_that_has_us_leave_is_not_connected_to_again(serve: Serve) -> None:
    server = serve()
    server.joined()
    server.kick()
    assert server.events() == [
        Closed("forced close", None),
        Disconnected("/", "io server disconnect", None, active=False),
    ]
    assert not server.client.reconnecting
    assert server.client.idle
