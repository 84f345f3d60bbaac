"""Retries: one event under way, as many tries as asked for, and nothing lost over a connection that is lost."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import AckTimeout, BufferFullError, DisconnectedError, PacketError
from sansio_socketio.protocol.events import AckFailed, Acknowledged, Closed, Connected, Disconnected
from sansio_socketio.protocol.packets.socketio import EVENT, Packet
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def emitted(server: FakeServer) -> list[Any]:
    """The names of the events that the server got since the last look."""
    return [packet.data[0] for packet in server.sent() if packet.type == EVENT]


def reconnect(server: FakeServer) -> None:
    server.lose()
    server.advance(2)
    server.accept()
    server.join()


def test_one_event_is_under_way_at_a_time(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=2)
    handles = [socket.emit([name], server.now, ack=True) for name in ("a", "b")]
    assert server.sent() == [Packet(EVENT, "/", ["a"], 0)]
    server.ack(1)
    assert server.sent() == [Packet(EVENT, "/", ["b"], 1)]
    server.ack(2)
    assert server.events() == [Acknowledged("/", handles[0], [1]), Acknowledged("/", handles[1], [2])]
    assert server.sent() == []


def test_who_wants_no_acknowledgement_is_told_of_none(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    socket.emit(["a"], server.now)
    socket.emit(["b"], server.now)
    assert [packet.id for packet in server.sent()] == [0]
    server.ack()
    assert emitted(server) == ["b"]
    assert server.events() == []


def test_an_event_is_tried_once_more_than_it_is_retried(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=2, ack_timeout=5)
    handle = socket.emit(["a"], server.now, ack=True)
    socket.emit(["b"], server.now, timeout=50)
    for expected in (["a"], ["a"], ["a"]):
        assert emitted(server) == expected
        assert server.events() == []
        server.advance(5)
    told = server.events()
    assert kinds(told) == [AckFailed]
    assert isinstance(told[0], AckFailed)
    assert told[0].handle == handle
    assert isinstance(told[0].error, AckTimeout)
    assert emitted(server) == ["b"]


def test_giving_up_is_silent_for_who_wants_no_acknowledgement(serve: Serve) -> None:
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


def test_what_was_under_way_is_sent_first_on_the_next_connection(serve: Serve) -> None:
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


def test_without_a_timeout_a_lost_connection_is_no_failed_try(serve: Serve) -> None:
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
    told = server.events()
    assert kinds(told) == [Closed, Disconnected, AckFailed]
    assert isinstance(told[2], AckFailed)
    assert told[2].handle == handle
    assert isinstance(told[2].error, DisconnectedError)
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


def test_the_acknowledgement_of_a_volatile_event_moves_no_queue(serve: Serve) -> None:
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


def test_forgetting_what_waits_in_the_queue_withdraws_it(serve: Serve) -> None:
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


def test_forgetting_what_is_under_way_delivers_it_in_silence(serve: Serve) -> None:
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


def test_forgetting_what_is_under_way_gives_it_up_in_silence(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1, ack_timeout=5)
    handle = socket.emit(["a"], server.now, ack=True)
    server.run()
    socket.forget(handle, server.now)
    server.advance(10)
    socket.emit(["b"], server.now)
    assert emitted(server) == ["a", "a", "b"]
    assert server.events() == []


def test_forgetting_what_waits_for_the_next_connection_still_delivers_it(serve: Serve) -> None:
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


def test_an_acknowledgement_makes_room(serve: Serve) -> None:
    server = serve(max_buffered_events=1)
    socket = server.joined(retries=1)
    for name in ("a", "b", "c"):
        socket.emit([name], server.now)
        server.run()
        server.ack()
    assert emitted(server) == ["a", "b", "c"]


def test_values_that_cannot_be_sent_are_refused_at_the_emit(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    with pytest.raises(PacketError):
        socket.emit(["a", object()], server.now, ack=True)
    socket.emit(["b"], server.now)
    assert emitted(server) == ["b"]
    assert server.events() == []


def test_values_that_cannot_be_sent_any_more_end_the_tries(serve: Serve) -> None:
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
    told = server.events()
    assert kinds(told)[-2:] == [AckFailed, Connected]
    (failed,) = [event for event in told if isinstance(event, AckFailed)]
    assert failed.handle == handle
    assert isinstance(failed.error, PacketError)
    assert emitted(server) == ["b"]


def test_abort_gives_up_the_queue(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=1)
    handles = [socket.emit([name], server.now, ack=True) for name in ("a", "b")]
    server.client.abort(server.now)
    told = server.events()
    assert kinds(told) == [Closed, Disconnected, AckFailed, AckFailed]
    assert [event.handle for event in told if isinstance(event, AckFailed)] == handles
    socket.connect(server.now)
    server.accept()
    server.join()
    assert emitted(server) == ["a"]  # from before
