"""A session that the application has closed, and the next one: the server receives the events in the order of the emits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sansio_socketio.protocol.events import Closed, Connected, Disconnected, Opened, ReconnectAttempt, Reconnected
from sansio_socketio.protocol.namespace import Namespace
from sansio_socketio.protocol.packets.socketio import EVENT
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def closing(server: FakeServer) -> Namespace:
    """Return a namespace that was disconnected while the server did not read, and that is to connect again."""
    socket = server.joined()
    server.is_reading = False
    for number in range(3):
        socket.emit([number], server.now)
    socket.disconnect(server.now)
    socket.connect(server.now)
    socket.emit([3], server.now)
    assert server.client.state == "opening"
    assert server.client.engine is None
    assert len(server.streams) == 1
    return socket


@pytest.mark.row("difference.order_of_sessions")
def test_the_next_session_begins_when_the_last_one_is_closed(serve: Serve) -> None:
    server = serve(timeout=3)
    closing(server)
    server.advance(4)
    assert kinds(server.events()) == [Closed, Disconnected]
    assert len(server.streams) == 1
    server.is_reading = True
    server.run()
    assert server.streams == []
    server.advance(0)
    assert len(server.streams) == 1
    server.advance(2.9)
    server.accept()
    server.join()
    assert kinds(server.events()) == [Opened, Connected]
    assert [packet.data for packet in server.sent() if packet.type == EVENT] == [[0], [1], [2], [3]]


def test_the_next_session_waits_for_the_close_handshake_of_the_last_one_for_at_most_close_timeout(serve: Serve) -> None:
    server = serve(close_timeout=5)
    socket = server.joined()
    server.closes_streams = False
    socket.disconnect(server.now)
    socket.connect(server.now)
    server.advance(4.9)
    (old,) = server.streams
    server.advance(0.1)
    (new,) = server.streams
    assert new != old
    server.accept()
    server.join()
    assert socket.connected


def test_a_session_that_does_not_drain_delays_the_next_one_for_at_most_close_timeout(serve: Serve) -> None:
    server = serve(close_timeout=5)
    closing(server)
    (old,) = server.streams
    server.advance(5)
    assert server.streams not in ([], [old])


END: dict[str, Callable[[FakeServer], object]] = {
    "disconnect": lambda server: server.socket().disconnect(server.now),
    "close": lambda server: server.client.close(server.now),
    "abort": lambda server: server.client.abort(server.now),
}


@pytest.mark.parametrize("end", END)
def test_closing_again_withdraws_the_next_session(serve: Serve, end: str) -> None:
    server = serve()
    closing(server)
    END[end](server)
    assert server.client.state == "closed"
    server.is_reading = True
    server.advance(100)
    assert server.streams == []
    assert server.client.idle
    assert server.deadline is None


def test_a_session_that_was_lost_does_not_delay_the_next_one(serve: Serve) -> None:
    server = serve(reconnection=False)
    socket = server.joined()
    server.closes_streams = False
    server.advance(7200)
    assert kinds(server.events()) == [Closed, Disconnected]
    assert len(server.streams) == 1
    socket.connect(server.now)
    server.accept()
    assert len(server.streams) == 2
    server.join()
    assert socket.connected


def test_a_session_that_the_application_closed_delays_the_reconnection(serve: Serve) -> None:
    server = serve(reconnection_delay=0, close_timeout=5)
    server.joined()
    server.closes_streams = False
    engine = server.client.engine
    assert engine is not None
    server.client.close_session(engine.number, server.now)
    server.advance(4.9)
    assert kinds(server.events()) == [Closed, Disconnected, ReconnectAttempt]
    assert server.client.state == "reopening"
    assert len(server.streams) == 1
    server.advance(0.1)
    server.accept()
    assert kinds(server.events()) == [Opened, Reconnected]
