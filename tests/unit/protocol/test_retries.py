"""Retries: one event in flight, the given number of tries, and no event lost with a connection."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import AckTimeout, BufferFullError, DisconnectedError, PacketError
from sansio_socketio.protocol.events import AckFailed, Acknowledged, Closed, Connected, Disconnected, EventDropped
from sansio_socketio.protocol.packets.socketio import EVENT, Packet
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def emitted(server: FakeServer) -> list[Any]:
    """Return the names of the events that the server has received since the last call."""
    return [packet.data[0] for packet in server.sent() if packet.type == EVENT]


def reconnect(server: FakeServer) -> None:
    server.lose()
    server.advance(2)
    server.accept()
    server.join()


def test_one_event_is_in_flight_at_a_time(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=2)
    handles = [socket.emit([name], server.now, ack=True) for name in ("a", "b")]
    assert server.sent() == [Packet(EVENT, "/", ["a"], 0)]
    server.ack(1)
    assert server.sent() == [Packet(EVENT, "/", ["b"], 1)]
    server.ack(2)
    assert server.events() == [Acknowledged("/", handles[0], [1]), Acknowledged("/", handles[1], [2])]
    assert server.sent() == []


def test_an_acknowledgement_is_not_reported_without_ack(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    socket.emit(["a"], server.now)
    socket.emit(["b"], server.now)
    assert [packet.id for packet in server.sent()] == [0]
    server.ack()
    assert emitted(server) == ["b"]
    assert server.events() == []


def test_an_event_is_sent_once_and_then_retried(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=2, ack_timeout=5)
    handle = socket.emit(["a"], server.now, ack=True)
    socket.emit(["b"], server.now, timeout=50)
    for expected in (["a"], ["a"], ["a"]):
        assert emitted(server) == expected
        assert server.events() == []
        server.advance(5)
    events = server.events()
    assert kinds(events) == [AckFailed]
    assert isinstance(events[0], AckFailed)
    assert events[0].handle == handle
    assert isinstance(events[0].error, AckTimeout)
    assert emitted(server) == ["b"]


def test_giving_up_reports_nothing_without_ack(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1, ack_timeout=5)
    socket.emit(["a"], server.now)
    server.advance(100)
    assert emitted(server) == ["a", "a"]
    assert server.events() == []
    assert server.deadline is None or server.deadline > server.now + 1000


def test_each_try_has_an_id_of_its_own_and_a_late_acknowledgement_is_ignored(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=2, ack_timeout=5)
    handle = socket.emit(["a"], server.now, ack=True)
    server.advance(5)
    assert [packet.id for packet in server.sent()] == [0, 1]
    server.ack("late", id=0)
    assert server.events() == []
    server.ack("in time", id=1)
    assert server.events() == [Acknowledged("/", handle, ["in time"])]


def test_events_wait_in_the_queue_while_offline(serve: Serve) -> None:
    server = serve()
    socket = server.socket(retries=1, ack_timeout=5)
    socket.emit(["a"], server.now)
    socket.emit(["b"], server.now)
    server.advance(100)
    socket.connect(server.now)
    server.accept()
    server.join()
    assert emitted(server) == ["a"]
    server.ack()
    assert emitted(server) == ["b"]


def test_the_event_in_flight_is_sent_first_on_the_next_connection(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    handles = [socket.emit([name], server.now, ack=True) for name in ("a", "b")]
    assert emitted(server) == ["a"]
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    server.advance(2)
    server.accept()
    socket.emit(["c"], server.now)
    server.join()
    assert emitted(server) == ["a"]
    assert server.events()[-1] == Connected("/", "s1", recovered=False)
    server.ack("late", id=0)
    assert server.events() == []
    server.ack("yes", id=1)
    assert server.events() == [Acknowledged("/", handles[0], ["yes"])]
    assert emitted(server) == ["b"]


def test_without_a_timeout_a_lost_connection_is_not_a_failed_try(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    handle = socket.emit(["a"], server.now, ack=True)
    for _ in range(5):
        reconnect(server)
    assert emitted(server) == ["a"] * 6
    server.ack()
    assert server.events()[-1] == Acknowledged("/", handle, [])


def test_with_a_timeout_a_lost_connection_is_a_failed_try(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1, ack_timeout=50)
    handle = socket.emit(["a"], server.now, ack=True)
    socket.emit(["b"], server.now)
    reconnect(server)
    assert emitted(server) == ["a", "a"]
    server.events()
    server.lose()
    events = server.events()
    assert kinds(events) == [Closed, Disconnected, AckFailed]
    assert isinstance(events[2], AckFailed)
    assert events[2].handle == handle
    assert isinstance(events[2].error, DisconnectedError)
    server.advance(2)
    server.accept()
    server.join()
    assert emitted(server) == ["b"]


def test_a_timeout_does_not_run_between_connections(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1, ack_timeout=5)
    handle = socket.emit(["a"], server.now, ack=True)
    server.lose()
    server.advance(2)
    server.advance(100)
    server.events()
    server.advance(10)
    while not server.streams:
        server.advance(1)
    server.accept()
    server.join()
    server.ack()
    assert server.events()[-1] == Acknowledged("/", handle, [])


def test_volatile_events_bypass_the_queue(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    socket.emit(["a"], server.now)
    server.run()
    socket.emit(["v"], server.now, volatile=True)
    assert emitted(server) == ["a", "v"]


def test_the_acknowledgement_of_a_volatile_event_does_not_advance_the_queue(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    socket.emit(["a"], server.now)
    socket.emit(["b"], server.now)
    server.run()
    handle = socket.emit(["v"], server.now, volatile=True, ack=True)
    server.run()
    server.ack()
    assert server.events() == [Acknowledged("/", handle, [])]
    assert emitted(server) == ["a", "v"]


def test_forgetting_a_queued_event_withdraws_it(serve: Serve) -> None:
    server = serve(max_buffered_events=2)
    socket = server.joined(retries=1)
    socket.emit(["a"], server.now)
    waiting = socket.emit(["b"], server.now, ack=True)
    with pytest.raises(BufferFullError):
        socket.emit(["c"], server.now)
    socket.forget(waiting, server.now)
    socket.emit(["c"], server.now)
    server.ack(id=0)
    assert emitted(server) == ["a", "c"]
    assert server.events() == []


def test_a_forgotten_event_in_flight_is_retried_without_a_report(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1, ack_timeout=5)
    handle = socket.emit(["a"], server.now, ack=True)
    socket.emit(["b"], server.now)
    server.run()
    socket.forget(handle, server.now)
    server.advance(5)
    assert emitted(server) == ["a", "a"]
    server.ack()
    assert emitted(server) == ["b"]
    assert server.events() == []


def test_giving_up_a_forgotten_event_in_flight_reports_nothing(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1, ack_timeout=5)
    handle = socket.emit(["a"], server.now, ack=True)
    server.run()
    socket.forget(handle, server.now)
    server.advance(10)
    socket.emit(["b"], server.now)
    assert emitted(server) == ["a", "a", "b"]
    assert server.events() == []


def test_a_forgotten_event_in_flight_is_sent_on_the_next_connection(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    handle = socket.emit(["a"], server.now, ack=True)
    server.lose()
    socket.forget(handle, server.now)
    server.events()
    server.advance(2)
    server.accept()
    server.join()
    assert emitted(server) == ["a", "a"]
    server.ack()
    assert Acknowledged not in kinds(server.events())


def test_acknowledgement_frees_buffer_space(serve: Serve) -> None:
    server = serve(max_buffered_events=1)
    socket = server.joined(retries=1)
    for name in ("a", "b", "c"):
        socket.emit([name], server.now)
        server.run()
        server.ack()
    assert emitted(server) == ["a", "b", "c"]


def test_values_that_cannot_be_sent_raise_at_the_emit(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    with pytest.raises(PacketError):
        socket.emit(["a", object()], server.now, ack=True)
    socket.emit(["b"], server.now)
    assert emitted(server) == ["b"]
    assert server.events() == []


def test_values_that_become_invalid_while_queued_fail_the_event(serve: Serve) -> None:
    server = serve()
    socket = server.socket(retries=1)
    values: list[Any] = [1]
    handle = socket.emit(["a", values], server.now, ack=True)
    socket.emit(["silent", values], server.now)
    socket.emit(["b"], server.now)
    values.append(object())
    socket.connect(server.now)
    server.accept()
    server.join()
    events = server.events()
    assert kinds(events)[-3:] == [AckFailed, EventDropped, Connected]
    (failed,) = [event for event in events if isinstance(event, AckFailed)]
    assert failed.handle == handle
    assert isinstance(failed.error, PacketError)
    assert emitted(server) == ["b"]


def test_abort_fails_queued_events(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    handles = [socket.emit([name], server.now, ack=True) for name in ("a", "b")]
    server.client.abort(server.now)
    events = server.events()
    assert kinds(events) == [Closed, Disconnected, AckFailed, AckFailed]
    assert [event.handle for event in events if isinstance(event, AckFailed)] == handles
    socket.connect(server.now)
    server.accept()
    server.join()
    assert emitted(server) == ["a"]  # from before
