"""Acknowledgements in both directions: they are delivered once, they time out, and they end with their connection."""

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


def ack_id_of(events: list[MachineEvent]) -> AckId:
    """Return the id by which the latest received event is acknowledged."""
    event = events[-1]
    assert isinstance(event, EventReceived)
    assert event.ack_id is not None
    return event.ack_id


# The server acknowledges


def test_an_acknowledgement_is_delivered_with_its_values(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    first = socket.emit(["a"], server.now, ack=True)
    socket.emit(["none wanted"], server.now)
    second = socket.emit(["b"], server.now, ack=True)
    assert [packet.id for packet in server.sent()] == [0, None, 1]
    server.ack(id=1)
    server.ack("yes", b"1", id=0)
    assert server.events() == [Acknowledged("/", second, []), Acknowledged("/", first, ["yes", b"1"])]


def test_only_the_first_acknowledgement_is_delivered(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["a"], server.now, ack=True)
    server.ack("first")
    server.ack("second")
    server.ack(id=77)
    server.send(Packet(ACK, "/", []))
    assert server.events() == [Acknowledged("/", handle, ["first"])]


def test_a_missing_acknowledgement_fails_after_the_timeout(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["slow"], server.now, ack=True, timeout=2.5)
    server.advance(2.4)
    assert server.events() == []
    server.advance(0.1)
    events = server.events()
    assert kinds(events) == [AckFailed]
    assert isinstance(events[0], AckFailed)
    assert events[0].handle == handle
    assert isinstance(events[0].error, AckTimeout)
    assert str(events[0].error) == "event 'slow' was not acknowledged within 2.5 seconds"
    server.ack("too late")
    assert server.events() == []


def test_an_acknowledgement_cancels_the_timeout(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["quick"], server.now, ack=True, timeout=2)
    server.ack()
    server.advance(3)
    assert server.events() == [Acknowledged("/", handle, [])]


def test_ack_timeout_is_the_default_timeout(serve: Serve) -> None:
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
def test_an_invalid_timeout_raises_and_sends_nothing(serve: Serve, timeout: Any, retries: int) -> None:
    server = serve()
    socket = server.joined(retries=retries)
    with pytest.raises(OptionError, match="timeout"):
        socket.emit(["a"], server.now, ack=True, timeout=timeout)
    assert server.sent() == []
    handle = socket.emit(["b"], server.now, ack=True)
    assert server.sent()[0].id == 0
    server.ack()
    assert server.events() == [Acknowledged("/", handle, [])]


def test_a_timeout_withdraws_a_buffered_event(serve: Serve) -> None:
    server = serve(max_buffered_events=1)
    socket = server.socket()
    handle = socket.emit(["a"], server.now, ack=True, timeout=3)
    server.advance(3)
    events = server.events()
    assert kinds(events) == [AckFailed]
    assert events[0].handle == handle  # type: ignore[attr-defined]
    socket.emit(["there is room again"], server.now)
    socket.connect(server.now)
    server.accept()
    server.join()
    assert [packet.data for packet in server.sent()] == [None, ["there is room again"]]


def test_the_timeout_of_a_buffered_event_counts_from_the_emit(serve: Serve) -> None:
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
def test_a_lost_connection_fails_pending_acknowledgements_after_disconnected(
    serve: Serve, timeout: float | None
) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["a"], server.now, ack=True, timeout=timeout)
    server.lose()
    events = server.events()
    assert kinds(events) == [Closed, Disconnected, AckFailed]
    assert isinstance(events[2], AckFailed)
    assert events[2].handle == handle
    assert isinstance(events[2].error, DisconnectedError)
    assert events[2].error.reason == "transport close"
    server.advance(100)
    assert AckFailed not in kinds(server.events())


@pytest.mark.parametrize("how", ["client", "server"])
def test_disconnecting_fails_pending_acknowledgements(serve: Serve, how: str) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    socket.emit(["a"], server.now, ack=True)
    if how == "client":
        socket.disconnect(server.now)
    else:
        server.kick("/a")
    events = server.events()
    assert kinds(events) == [Disconnected, AckFailed]
    assert events[1].error.reason == f"io {how} disconnect"  # type: ignore[attr-defined]


def test_a_lost_connection_does_not_drop_buffered_events(serve: Serve) -> None:
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


def test_an_acknowledgement_from_before_the_join_is_dropped(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    socket.emit(["a"], server.now, ack=True)
    socket.disconnect(server.now)
    server.run()
    socket.connect(server.now)
    server.advance(1)
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


def test_forgetting_a_sent_event_drops_its_acknowledgement(serve: Serve) -> None:
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


def test_forgetting_an_acknowledged_or_unknown_event_does_nothing(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handle = socket.emit(["a"], server.now, ack=True)
    server.ack()
    server.events()
    socket.forget(handle, server.now)
    socket.forget(12345, server.now)
    assert server.events() == []


@pytest.mark.parametrize("ack", [True, False])
def test_forgetting_a_buffered_event_withdraws_it(serve: Serve, ack: bool) -> None:
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


def test_an_early_event_can_be_acknowledged_after_the_join(serve: Serve) -> None:
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
def test_an_event_from_before_the_join_is_not_acknowledged(serve: Serve, gone: str) -> None:
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


def test_an_acknowledgement_with_invalid_values_raises_and_can_be_repeated(serve: Serve) -> None:
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


def test_a_volatile_event_is_sent_only_while_writable(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    handles = [socket.emit([number], server.now, ack=True, volatile=True, timeout=5) for number in range(3)]
    server.is_reading = True
    assert [packet.data for packet in server.sent()] == [[0]]
    server.ack("yes")
    server.advance(5)
    events = server.events()
    assert kinds(events) == [Acknowledged, AckFailed, AckFailed]
    assert [event.handle for event in events] == handles  # type: ignore[attr-defined]


def test_a_dropped_volatile_event_without_a_timeout_fails_with_the_connection(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    socket.emit(["fills"], server.now)
    dropped = socket.emit(["dropped"], server.now, ack=True, volatile=True)
    server.advance(1000)
    assert server.events() == []
    server.lose()
    events = server.events()
    assert kinds(events) == [Closed, Disconnected, AckFailed]
    assert events[2].handle == dropped  # type: ignore[attr-defined]


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


def test_a_volatile_event_is_buffered_while_joining(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    server.run()
    socket.emit(["buffered"], server.now, volatile=True)
    server.join()
    assert [packet.data for packet in server.sent()] == [None, ["buffered"]]


def test_a_volatile_event_with_invalid_values_raises(serve: Serve) -> None:
    server = serve()
    with pytest.raises(PacketError):
        server.socket().emit(["a", object()], server.now, volatile=True)
