"""Acknowledgements both ways: they come once, they time out, and none outlives its connection."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import AckTimeout, DisconnectedError, OptionError, PacketError
from sansio_socketio.protocol.events import (
    AckFailed,
    AckId,
    Acknowledged,
    Closed,
    Connected,
    Disconnected,
    EventReceived,
    MachineEvent,
)
from sansio_socketio.protocol.packets.socketio import ACK, EVENT, Packet
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def ack_id_of(told: list[MachineEvent]) -> AckId:
    """By what the latest event that was told of is acknowledged."""
    event = told[-1]
    assert isinstance(event, EventReceived)
    assert event.ack_id is not None
    return event.ack_id


# The server acknowledges


def test_an_acknowledgement_comes_with_its_values(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    first = socket.emit(["a"], server.now, ack=True)
    socket.emit(["none wanted"], server.now)
    second = socket.emit(["b"], server.now, ack=True)
    assert [packet.id for packet in server.sent()] == [0, None, 1]
    server.ack(id=1)
    server.ack("yes", b"1", id=0)
    assert server.events() == [Acknowledged("/", second, []), Acknowledged("/", first, ["yes", b"1"])]


def test_an_acknowledgement_counts_once(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["a"], server.now, ack=True)
    server.ack("first")
    server.ack("second")
    server.ack(id=77)
    server.send(Packet(ACK, "/", []))
    assert server.events() == [Acknowledged("/", handle, ["first"])]


def test_no_acknowledgement_in_time_is_a_timeout(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["slow"], server.now, ack=True, timeout=2.5)
    server.advance(2.4)
    assert server.events() == []
    server.advance(0.1)
    told = server.events()
    assert kinds(told) == [AckFailed]
    assert isinstance(told[0], AckFailed)
    assert told[0].handle == handle
    assert isinstance(told[0].error, AckTimeout)
    assert str(told[0].error) == "event 'slow' was not acknowledged within 2.5 seconds"
    server.ack("too late")
    assert server.events() == []


def test_an_acknowledgement_in_time_ends_the_timeout(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["quick"], server.now, ack=True, timeout=2)
    server.ack()
    server.advance(3)
    assert server.events() == [Acknowledged("/", handle, [])]


def test_the_option_is_the_timeout_of_who_gives_none(serve: Serve) -> None:
    server = serve()
    socket = server.joined(ack_timeout=2)
    by_option = socket.emit(["a"], server.now, ack=True)
    longer = socket.emit(["b"], server.now, ack=True, timeout=5)
    never = socket.emit(["c"], server.now, ack=True, timeout=None)
    server.advance(2)
    assert [event.handle for event in server.events() if isinstance(event, AckFailed)] == [by_option]
    server.advance(3)
    assert [event.handle for event in server.events() if isinstance(event, AckFailed)] == [longer]
    server.advance(1000)
    server.ack()
    assert server.events() == [Acknowledged("/", never, [])]


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
@pytest.mark.parametrize("retries", [0, 1])
def test_what_is_no_timeout_is_refused_with_nothing_done(serve: Serve, timeout: Any, retries: int) -> None:
    server = serve()
    socket = server.joined(retries=retries)
    with pytest.raises(OptionError, match="timeout"):
        socket.emit(["a"], server.now, ack=True, timeout=timeout)
    assert server.sent() == []
    handle = socket.emit(["b"], server.now, ack=True)
    assert server.sent()[0].id == 0
    server.ack()
    assert server.events() == [Acknowledged("/", handle, [])]


def test_a_timeout_withdraws_what_is_still_buffered(serve: Serve) -> None:
    server = serve(max_buffered_events=1)
    socket = server.socket()
    handle = socket.emit(["a"], server.now, ack=True, timeout=3)
    server.advance(3)
    told = server.events()
    assert kinds(told) == [AckFailed]
    assert told[0].handle == handle  # type: ignore[attr-defined]
    socket.emit(["there is room again"], server.now)
    socket.connect(server.now)
    server.accept()
    server.join()
    assert [packet.data for packet in server.sent()] == [None, ["there is room again"]]


def test_a_timeout_counts_from_the_emit_also_when_it_was_buffered(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.emit(["a"], server.now, ack=True, timeout=3)
    server.advance(2)
    socket.connect(server.now)
    server.accept()
    server.join()
    server.events()
    server.advance(1)
    assert kinds(server.events()) == [AckFailed]


@pytest.mark.parametrize("timeout", [None, 50])
def test_a_lost_connection_fails_what_was_sent_after_it_is_told(serve: Serve, timeout: float | None) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["a"], server.now, ack=True, timeout=timeout)
    server.lose()
    told = server.events()
    assert kinds(told) == [Closed, Disconnected, AckFailed]
    assert isinstance(told[2], AckFailed)
    assert told[2].handle == handle
    assert isinstance(told[2].error, DisconnectedError)
    assert told[2].error.reason == "transport close"
    server.advance(100)
    assert AckFailed not in kinds(server.events())


@pytest.mark.parametrize("how", ["client", "server"])
def test_leaving_fails_what_was_sent(serve: Serve, how: str) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    socket.emit(["a"], server.now, ack=True)
    if how == "client":
        socket.disconnect(server.now)
    else:
        server.kick("/a")
    told = server.events()
    assert kinds(told) == [Disconnected, AckFailed]
    assert told[1].error.reason == f"io {how} disconnect"  # type: ignore[attr-defined]


def test_a_lost_connection_leaves_what_is_buffered(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    handle = socket.emit(["a"], server.now, ack=True, timeout=50)
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    server.advance(2)
    server.accept()
    server.join()
    server.ack("at last")
    assert server.events()[-1] == Acknowledged("/", handle, ["at last"])


def test_a_late_acknowledgement_from_before_the_join_is_dropped(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    socket.emit(["a"], server.now, ack=True)
    socket.disconnect(server.now)
    server.run()
    socket.connect(server.now)
    socket.emit(["b"], server.now, ack=True)
    server.events()
    server.ack("late", namespace="/a", id=0)
    server.ack("not even sent", namespace="/a", id=1)
    server.join("/a")
    assert kinds(server.events()) == [Connected]
    server.ack("late", namespace="/a", id=0)
    assert server.events() == []
    server.ack("in time", namespace="/a", id=1)
    assert kinds(server.events()) == [Acknowledged]


def test_forgetting_what_was_sent_drops_its_acknowledgement(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["a"], server.now, ack=True, timeout=5)
    server.run()
    socket.forget(handle, server.now)
    socket.forget(handle, server.now)
    server.ack()
    server.advance(10)
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]


def test_forgetting_what_is_settled_or_never_was_is_no_error(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["a"], server.now, ack=True)
    server.ack()
    server.events()
    socket.forget(handle, server.now)
    socket.forget(12345, server.now)
    assert server.events() == []


@pytest.mark.parametrize("ack", [True, False])
def test_forgetting_what_is_buffered_withdraws_it(serve: Serve, ack: bool) -> None:
    server = serve(max_buffered_events=1)
    socket = server.socket()
    handle = socket.emit(["a"], server.now, ack=ack, timeout=5)
    socket.forget(handle, server.now)
    socket.emit(["there is room again"], server.now)
    socket.connect(server.now)
    server.accept()
    server.join()
    server.advance(10)
    assert [packet.data for packet in server.sent()] == [None, ["there is room again"]]
    assert AckFailed not in kinds(server.events())


# We acknowledge


def test_an_event_is_acknowledged_by_its_id(serve: Serve) -> None:
    server = serve()
    socket = server.joined("/a")
    server.emit("question", namespace="/a", id=12)
    socket.acknowledge(ack_id_of(server.events()), ["yes", b"\x00"], server.now)
    assert server.sent() == [Packet(ACK, "/a", ["yes", b"\x00"], 12)]


def test_an_early_event_is_acknowledged_once_joined(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    server.emit("early", id=3)
    server.join()
    server.sent()
    (event,) = [event for event in server.events() if isinstance(event, EventReceived)]
    assert event.ack_id is not None
    socket.acknowledge(event.ack_id, [1], server.now)
    assert server.sent() == [Packet(ACK, "/", [1], 3)]


@pytest.mark.parametrize("gone", ["connection", "join"])
def test_an_event_from_before_is_not_acknowledged(serve: Serve, gone: str) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    server.emit("question", namespace="/a", id=1)
    ack_id = ack_id_of(server.events())
    if gone == "connection":
        server.lose()
        server.advance(2)
        socket.acknowledge(ack_id, [], server.now)
        server.accept()
    else:
        socket.disconnect(server.now)
        socket.acknowledge(ack_id, [], server.now)
        socket.connect(server.now)
    socket.acknowledge(ack_id, [], server.now)
    server.join("/a")
    socket.acknowledge(ack_id, [], server.now)
    assert ACK not in [packet.type for packet in server.sent()]


def test_values_that_cannot_be_sent_acknowledge_nothing(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.emit("question", id=1)
    ack_id = ack_id_of(server.events())
    with pytest.raises(PacketError):
        socket.acknowledge(ack_id, [b"attachment", object()], server.now)
    assert server.sent() == []
    socket.acknowledge(ack_id, [], server.now)
    socket.emit(["next"], server.now)
    assert [packet.type for packet in server.sent()] == [ACK, EVENT]


# Volatile


def test_a_volatile_event_leaves_when_it_can(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    handles = [socket.emit([number], server.now, ack=True, volatile=True, timeout=5) for number in range(3)]
    server.is_reading = True
    assert [packet.data for packet in server.sent()] == [[0]]
    server.ack("yes")
    server.advance(5)
    told = server.events()
    assert kinds(told) == [Acknowledged, AckFailed, AckFailed]
    assert [event.handle for event in told] == handles  # type: ignore[attr-defined]


def test_a_volatile_event_that_is_dropped_without_a_timeout_waits_for_the_end(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    socket.emit(["fills"], server.now)
    dropped = socket.emit(["dropped"], server.now, ack=True, volatile=True)
    server.advance(1000)
    assert server.events() == []
    server.lose()
    told = server.events()
    assert kinds(told) == [Closed, Disconnected, AckFailed]
    assert told[2].handle == dropped  # type: ignore[attr-defined]


@pytest.mark.row("difference.volatile_after_a_loss")
def test_a_volatile_event_is_dropped_offline(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.emit(["dropped"], server.now, volatile=True)
    socket.connect(server.now)
    socket.emit(["dropped"], server.now, volatile=True)
    server.accept()
    server.join()
    assert [packet.data for packet in server.sent()] == [None]


def test_a_volatile_event_is_buffered_where_only_the_join_is_missing(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    server.run()
    socket.emit(["buffered"], server.now, volatile=True)
    server.join()
    assert [packet.data for packet in server.sent()] == [None, ["buffered"]]


def test_a_volatile_event_that_cannot_be_sent_is_an_error_all_the_same(serve: Serve) -> None:
    server = serve()
    with pytest.raises(PacketError):
        server.socket().emit(["a", object()], server.now, volatile=True)
