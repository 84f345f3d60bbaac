"""Connection state recovery: what is sent about the previous session, and what is remembered of it."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.events import Connected, EventReceived
from sansio_socketio.protocol.packets.socketio import CONNECT
from tests.support.fake_server import FakeServer

Serve = type[FakeServer]


def connects(server: FakeServer) -> list[Any]:
    """Return the data of the CONNECT packets since the last call."""
    return [packet.data for packet in server.sent() if packet.type == CONNECT]


def reopen(server: FakeServer) -> None:
    server.lose()
    server.advance(2)
    server.accept()


def test_a_session_is_recovered(serve: Serve) -> None:
    server = serve()
    socket = server.joined(pid="p1")
    assert not socket.recovered
    server.emit("news", "o1")
    reopen(server)
    assert connects(server) == [{"pid": "p1", "offset": "o1"}]
    server.join(sid="s1", pid="p1")
    server.emit("missed", "o2")
    events = server.events()
    assert Connected("/", "s1", recovered=True) in events
    assert isinstance(events[-1], EventReceived)
    assert socket.recovered
    reopen(server)
    assert connects(server) == [{"pid": "p1", "offset": "o2"}]


@pytest.mark.row("difference.stale_offset")
def test_a_session_that_could_not_be_recovered_is_replaced(serve: Serve) -> None:
    server = serve()
    socket = server.joined(pid="p1")
    server.emit("news", "o1")
    reopen(server)
    server.join(sid="s2", pid="p2")
    assert not socket.recovered
    server.sent()
    reopen(server)
    assert connects(server) == [{"pid": "p2"}]
    server.join(sid="s3", pid="p2")
    assert socket.recovered


@pytest.mark.parametrize("pid", [None, 5])
def test_nothing_is_sent_to_a_server_without_recovery(serve: Serve, pid: Any) -> None:
    server = serve()
    socket = server.joined(pid=pid)
    server.emit("news", "just a string")
    reopen(server)
    assert connects(server) == [None]
    server.join()
    assert not socket.recovered


def test_a_session_id_is_dropped_when_the_server_stops_recovering(serve: Serve) -> None:
    server = serve()
    socket = server.joined(pid="p1")
    server.emit("news", "o1")
    reopen(server)
    server.join(sid="s2")
    server.sent()
    assert not socket.recovered
    reopen(server)
    assert connects(server) == [None]


def test_auth_overrides_the_fields_of_recovery(serve: Serve) -> None:
    server = serve()
    server.joined(pid="p1", auth={"token": 1, "pid": "mine", "offset": None})
    server.emit("news", "o1")
    reopen(server)
    assert connects(server) == [{"pid": "mine", "offset": None, "token": 1}]


def test_auth_is_sent_with_the_fields_of_recovery(serve: Serve) -> None:
    server = serve()
    server.joined(pid="p1", auth={"token": 1})
    reopen(server)
    assert connects(server) == [{"pid": "p1", "token": 1}]


def test_a_session_is_recovered_after_disconnect(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a", pid="p1")
    server.emit("news", "o1", namespace="/a")
    socket.disconnect(server.now)
    server.sent()
    socket.connect(server.now)
    server.advance(0.05)
    assert connects(server) == [{"pid": "p1", "offset": "o1"}]


@pytest.mark.parametrize("args", [["o0"], ["news", 5], ["news", ["o0"]], ["news", None]])
def test_only_a_string_as_the_last_argument_is_an_offset(serve: Serve, args: list[Any]) -> None:
    server = serve()
    server.joined(pid="p1")
    server.emit("news", "o1")
    server.emit(*args)
    reopen(server)
    assert connects(server) == [{"pid": "p1", "offset": "o1"}]


def test_an_event_that_wants_an_acknowledgement_has_no_offset(serve: Serve) -> None:
    server = serve()
    server.joined(pid="p1")
    server.emit("question", "not an offset", id=1)
    reopen(server)
    assert connects(server) == [{"pid": "p1"}]


def test_an_early_event_has_an_offset(serve: Serve) -> None:
    server = serve()
    server.opened()
    server.emit("early", "o1")
    server.join(pid="p1")
    server.sent()
    reopen(server)
    assert connects(server) == [{"pid": "p1", "offset": "o1"}]
