"""Buffered events: their order, when they are encoded, their bounds, and that an emit over the bound has no effect."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import BufferFullError, DisconnectedError, PacketError
from sansio_socketio.protocol.events import AckFailed, Acknowledged, Closed, Disconnected, EventReceived
from sansio_socketio.protocol.packets.socketio import EVENT
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def emitted(server: FakeServer) -> list[Any]:
    """Return the arguments of the events that the server has received since the last call."""
    return [packet.data for packet in server.sent() if packet.type == EVENT]


def buffered(server: FakeServer) -> tuple[int, int]:
    """Return the numbers of buffered events and bytes."""
    return server.client._buffered_events, server.client._buffered_bytes


def test_offline_events_are_sent_in_order_after_the_join(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    for number in range(3):
        socket.emit([number], server.now)
    socket.connect(server.now)
    server.accept()
    for number in range(3, 5):
        socket.emit([number, b"x"], server.now)
    server.run()
    assert emitted(server) == []
    server.join()
    assert emitted(server) == [[0], [1], [2], [3, b"x"], [4, b"x"]]
    assert buffered(server) == (0, 0)


def test_events_emitted_between_connections_are_sent_on_the_next_one(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.lose()
    socket.emit(["a"], server.now)
    server.advance(2)
    server.accept()
    server.join()
    assert emitted(server) == [["a"]]


def test_buffered_events_survive_disconnect_and_close(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.emit(["a"], server.now)
    socket.disconnect(server.now)
    server.client.close(server.now)
    socket.connect(server.now)
    server.accept()
    server.join()
    assert emitted(server) == [["a"]]


def test_changing_values_after_the_emit_has_no_effect(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    values = [1]
    data = bytearray(b"one")
    socket.emit(["a", values, data], server.now)
    values.append(2)
    data[:] = b"two"
    socket.connect(server.now)
    server.accept()
    server.join()
    assert emitted(server) == [["a", [1], b"one"]]


@pytest.mark.parametrize("retries", [0, 1])
def test_the_number_of_buffered_events_is_bounded_over_all_namespaces(serve: Serve, retries: int) -> None:
    server = serve(max_buffered_events=3)
    first, second = server.socket("/a", retries=retries), server.socket("/b", retries=retries)
    for socket in (first, first, second):
        socket.emit(["fits"], server.now)
    for socket in (first, second):
        with pytest.raises(BufferFullError, match="max_buffered_events"):
            socket.emit(["does not"], server.now)


@pytest.mark.parametrize("retries", [0, 1])
def test_the_number_of_buffered_bytes_is_bounded(serve: Serve, retries: int) -> None:
    server = serve(max_buffered_bytes=1000)
    socket = server.socket(retries=retries)
    socket.emit(["a", bytes(900)], server.now)
    with pytest.raises(BufferFullError, match="max_buffered_bytes"):
        socket.emit(["a", bytes(100)], server.now)
    socket.emit(["a"], server.now)


def test_bytes_that_the_transport_has_not_sent_count_as_buffered(serve: Serve) -> None:
    server = serve(max_buffered_bytes=1000)
    socket = server.joined()
    server.is_reading = False
    socket.emit(["a", "x" * 900], server.now)
    with pytest.raises(BufferFullError):
        socket.emit(["b", "x" * 200], server.now)
    server.is_reading = True
    server.run()
    socket.emit(["b", "x" * 200], server.now)
    assert [data[0] for data in emitted(server)] == ["a", "b"]


def test_dropping_a_volatile_event_needs_no_buffer_space(serve: Serve) -> None:
    server = serve(max_buffered_events=1)
    socket = server.socket()
    socket.emit(["fills"], server.now)
    socket.emit(["dropped"], server.now, volatile=True)


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("value", [object(), {(1, 2): "tuple key"}, {"a", "set"}])
def test_an_emit_with_an_invalid_value_has_no_effect(serve: Serve, retries: int, joined: bool, value: Any) -> None:
    server = serve()
    socket = server.joined(retries=retries) if joined else server.socket(retries=retries)
    before = buffered(server)
    with pytest.raises(PacketError):
        socket.emit(["a", b"attachment", value], server.now, ack=True, timeout=5)
    assert buffered(server) == before
    server.advance(10)
    assert server.events() == []
    if not joined:
        socket.connect(server.now)
        server.accept()
        server.join()
    handle = socket.emit(["b"], server.now, ack=True)
    (packet,) = [packet for packet in server.sent() if packet.type == EVENT]
    assert (packet.data, packet.id) == (["b"], 0)
    server.ack()
    assert server.events()[-1] == Acknowledged("/", handle, [])


@pytest.mark.parametrize("retries", [0, 1])
def test_an_emit_into_a_full_buffer_has_no_effect(serve: Serve, retries: int) -> None:
    server = serve(max_buffered_events=1)
    socket = server.socket(retries=retries)
    fits = socket.emit(["fits"], server.now, ack=True)
    before = buffered(server)
    with pytest.raises(BufferFullError):
        socket.emit(["does not"], server.now, ack=True, timeout=5)
    assert buffered(server) == before
    server.advance(10)
    assert server.events() == []
    socket.connect(server.now)
    server.accept()
    server.join()
    handle = socket.emit(["later"], server.now, ack=True) if not retries else fits + 1
    assert handle == fits + 1
    assert [packet.id for packet in server.sent() if packet.type == EVENT] == ([0, 1] if not retries else [0])
    server.ack(id=0)
    assert Acknowledged("/", fits, []) in server.events()


def test_dropping_what_is_buffered_fails_its_acknowledgements(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.emit(["a"], server.now)
    handle = socket.emit(["b", b"x"], server.now, ack=True, timeout=5)
    assert socket.drop_buffered(server.now) == 2
    assert buffered(server) == (0, 0)
    (failed,) = server.events()
    assert isinstance(failed, AckFailed)
    assert failed.handle == handle
    assert isinstance(failed.error, DisconnectedError)
    assert str(failed.error) == "event 'b' was dropped by drop_buffered() before it was sent"
    server.advance(10)
    assert server.events() == []
    assert socket.drop_buffered(server.now) == 0
    socket.emit(["c"], server.now)
    socket.connect(server.now)
    server.accept()
    server.join()
    assert emitted(server) == [["c"]]


def test_dropping_what_is_buffered_keeps_an_event_that_has_been_sent_and_is_retried(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=3)
    handles = [socket.emit([name], server.now, ack=True) for name in ("sent", "dropped", "dropped as well")]
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    assert socket.drop_buffered(server.now) == 2
    assert [event.handle for event in server.events() if isinstance(event, AckFailed)] == handles[1:]
    server.advance(2)
    server.accept()
    server.join()
    assert emitted(server) == [["sent"], ["sent"]]
    server.ack()
    assert server.events()[-1] == Acknowledged("/", handles[0], [])
    assert buffered(server) == (0, 0)


def test_dropping_what_is_buffered_does_not_concern_other_namespaces_and_what_was_sent(serve: Serve) -> None:
    server = serve()
    other = server.client.namespace("/other")
    other.emit(["kept"], server.now)
    socket = server.joined()
    handle = socket.emit(["sent"], server.now, ack=True)
    assert socket.drop_buffered(server.now) == 0
    server.ack()
    assert server.events()[-1] == Acknowledged("/", handle, [])
    assert buffered(server)[0] == 1


def test_handles_are_unique(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    handles = [socket.emit([number], server.now, ack=bool(number % 2)) for number in range(10)]
    assert len(set(handles)) == 10


@pytest.mark.parametrize("options", [{}, {"retries": 1, "ack_timeout": 5}])
def test_an_event_after_the_ping_timeout_is_buffered(serve: Serve, options: dict[str, Any]) -> None:
    server = serve(reconnection_delay=1, randomization_factor=0)
    socket = server.joined(**options)
    server.now += 8000  # without a tick: the machine was suspended
    socket.emit(["after"], server.now)
    socket.emit(["volatile"], server.now, volatile=True)
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.sent() == []
    server.advance(1)
    server.accept()
    server.join()
    assert emitted(server) == [["after"]]


def test_an_acknowledgement_after_the_ping_timeout_is_dropped(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.emit("question", id=1)
    event = server.events()[0]
    assert isinstance(event, EventReceived)
    assert event.ack_id is not None
    server.now += 8000
    socket.acknowledge(event.ack_id, ["late"], server.now)
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.sent() == []
