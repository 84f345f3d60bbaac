"""A namespace: joining and leaving, in the order and the states that a server can bring about, and its events."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, OptionError
from sansio_socketio.protocol.events import (
    AckFailed,
    Closed,
    Connected,
    ConnectFailed,
    Disconnected,
    EventReceived,
    EventSent,
    Failed,
    MachineEvent,
    Opened,
)
from sansio_socketio.protocol.packets.socketio import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def refusal(told: list[MachineEvent]) -> ConnectError:
    """The error of the one ConnectFailed among what was told."""
    (error,) = [event.error for event in told if isinstance(event, ConnectFailed)]
    assert isinstance(error, ConnectError)
    return error


# Joining


def test_auth_goes_with_connect(serve: Serve) -> None:
    server = serve()
    socket = server.opened("/a", auth={"token": 1})
    assert server.sent() == [Packet(CONNECT, "/a", {"token": 1})]
    socket.auth = {}
    server.lose()
    server.advance(2)
    server.accept()
    assert server.sent() == [Packet(CONNECT, "/a", {})]


def test_auth_is_checked_when_it_is_set(serve: Serve) -> None:
    socket = serve().socket(auth={"a": 1})
    with pytest.raises(OptionError, match="auth"):
        socket.auth = "token"  # type: ignore[assignment]  # that is the mistake
    assert socket.auth == {"a": 1}


def test_auth_that_cannot_be_sent_refuses_the_namespace(serve: Serve) -> None:
    server = serve()
    socket = server.socket(auth={"token": b"bytes"})
    socket.connect(server.now)
    server.accept()
    told = server.events()
    assert kinds(told) == [Opened, Closed, ConnectFailed]
    assert "auth cannot be sent" in str(refusal(told))
    assert not socket.active
    assert server.sent() == []


def test_connecting_twice_asks_once(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    socket.connect(server.now)
    server.join()
    socket.connect(server.now)
    assert server.sent() == [Packet(CONNECT)]
    assert kinds(server.events()) == [Connected]


@pytest.mark.row("difference.refusal_after_the_join")
def test_a_second_answer_to_connect_is_ignored(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.join(sid="s2")
    server.deny({"message": "changed my mind"})
    assert server.events() == []
    assert socket.sid == "s1"


@pytest.mark.parametrize(
    ("payload", "message", "data"),
    [
        ({"message": "no"}, "no", None),
        ({"message": "no", "data": {"code": 7}}, "no", {"code": 7}),
        ("no", "no", None),
        ({}, "", None),
        ({"message": 5}, "5", None),
    ],
)
def test_a_refusal(serve: Serve, payload: Any, message: str, data: Any) -> None:
    server = serve()
    socket = server.opened()
    server.deny(payload)
    told = server.events()
    assert kinds(told) == [Closed, ConnectFailed]
    assert told[1] == ConnectFailed("/", refusal(told), active=False)
    assert (refusal(told).message, refusal(told).data) == (message, data)
    assert not socket.active
    assert server.client.idle


def test_a_refusal_leaves_the_connection_to_the_others(serve: Serve) -> None:
    server = serve()
    server.joined("/a")
    refused = server.opened("/b")
    server.deny("no", "/b")
    assert kinds(server.events()) == [ConnectFailed]
    assert server.client.is_open
    refused.connect(server.now)
    server.join("/b")
    assert refused.connected


def test_an_old_server_is_a_connect_error_and_leaves_the_namespace_active(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    server.send(Packet(CONNECT))
    told = server.events()
    assert told == [ConnectFailed("/", refusal(told), active=True)]
    assert "Socket.IO 2" in str(refusal(told))
    assert server.client.is_open
    server.sent()
    socket.connect(server.now)
    assert server.sent() == [Packet(CONNECT)]


@pytest.mark.parametrize("sid", [None, "", 5])
def test_an_answer_without_a_proper_id_is_one_of_an_old_server(serve: Serve, sid: Any) -> None:
    server = serve()
    server.opened()
    server.send(Packet(CONNECT, "/", {"sid": sid}))
    assert kinds(server.events()) == [ConnectFailed]


# Leaving


def test_the_server_has_us_leave(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    server.kick("/a")
    assert server.events() == [Disconnected("/a", "io server disconnect", None, active=False)]
    assert not socket.active
    assert socket.sid is None
    server.kick("/a")
    assert server.events() == []
    socket.connect(server.now)
    server.join("/a", sid="s2")
    assert socket.sid == "s2"


def test_leaving_sends_nothing_to_a_namespace_that_is_not_joined(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    socket.disconnect(server.now)
    assert server.sent() == [Packet(CONNECT, "/a")]
    assert server.events() == []


@pytest.mark.row("difference.abandoned_join")
def test_an_answer_that_nobody_wants_any_more_is_undone(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    socket.disconnect(server.now)
    server.emit("early", namespace="/a")
    server.join("/a")
    assert server.events() == []
    assert not socket.connected
    assert server.sent() == [Packet(CONNECT, "/a"), Packet(DISCONNECT, "/a")]
    server.emit("late", namespace="/a")
    server.kick("/a")
    assert server.events() == []
    socket.connect(server.now)
    server.join("/a", sid="s2")
    assert server.events() == [Connected("/a", "s2", recovered=False)]


def test_connecting_again_before_the_answer_joins_anew(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a", auth={"try": 1})
    socket.disconnect(server.now)
    socket.auth = {"try": 2}
    socket.connect(server.now)
    socket.disconnect(server.now)
    socket.connect(server.now)
    assert [packet.data for packet in server.sent()] == [{"try": 1}]
    server.join("/a", sid="s1")
    assert server.sent() == [Packet(DISCONNECT, "/a"), Packet(CONNECT, "/a", {"try": 2})]
    assert not socket.connected
    server.join("/a", sid="s2")
    assert server.events() == [Connected("/a", "s2", recovered=False)]


@pytest.mark.parametrize("answer", [Packet(CONNECT_ERROR, "/a", "no"), Packet(CONNECT, "/a")])
def test_a_refusal_that_nobody_wants_any_more_needs_no_undoing(serve: Serve, answer: Packet) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    socket.disconnect(server.now)
    socket.connect(server.now)
    server.sent()
    server.send(answer)
    assert server.events() == []
    assert server.sent() == [Packet(CONNECT, "/a")]


def test_an_answer_is_not_waited_for_on_a_connection_that_is_gone(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    socket.disconnect(server.now)
    server.lose()
    server.advance(2)
    server.accept()
    server.sent()
    socket.connect(server.now)
    assert server.sent() == [Packet(CONNECT, "/a")]


def test_a_disconnect_from_before_the_join_is_dropped(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    socket.disconnect(server.now)
    socket.connect(server.now)
    server.events()
    server.kick("/a")  # crossed ours
    assert server.events() == []
    server.join("/a")
    assert socket.connected


def test_disconnect_is_told_of_a_namespace_that_was_still_joining(serve: Serve) -> None:
    server = serve()
    server.opened()
    server.lose()
    told = server.events()
    assert kinds(told) == [Closed, Disconnected]
    assert isinstance(told[1], Disconnected)
    assert told[1].active


def test_nothing_is_told_of_a_namespace_that_is_not_wanted(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined("/other")
    server.socket("/never")
    server.joined("/left").disconnect(server.now)
    server.events()
    server.lose(OSError("reset"))
    told = server.events()
    assert kinds(told) == [Failed, Closed, Disconnected]
    assert told[2].namespace == "/other"  # type: ignore[attr-defined]


# Events from the server


def test_events_arrive_with_their_size_and_their_acknowledgement(serve: Serve) -> None:
    server = serve()
    server.joined("/a")
    server.emit("news", 1, b"ab", namespace="/a")
    server.emit("question", namespace="/a", id=5)
    told = server.events()
    assert kinds(told) == [EventReceived, EventReceived]
    news, question = told
    assert isinstance(news, EventReceived)
    assert isinstance(question, EventReceived)
    assert (news.namespace, news.args, news.ack_id) == ("/a", ["news", 1, b"ab"], None)
    assert news.size > 10
    assert question.ack_id is not None


def test_early_events_then_buffered_ones_then_the_queue_then_connected(serve: Serve) -> None:
    server = serve()
    socket = server.socket("/a", retries=1)
    socket.report_sent = True
    socket.emit(["queued"], server.now)
    socket.connect(server.now)
    server.accept()
    server.run()
    socket.emit(["buffered"], server.now, volatile=True)  # bypasses the queue; the transport is writable
    server.emit("early", 1, namespace="/a")
    server.emit("early", 2, namespace="/a")
    assert kinds(server.events()) == [Opened]
    server.join("/a")
    told = server.events()
    assert kinds(told) == [EventReceived, EventReceived, EventSent, EventSent, Connected]
    assert [event.args for event in told if isinstance(event, EventReceived)] == [["early", 1], ["early", 2]]
    assert [event.args for event in told if isinstance(event, EventSent)] == [["buffered"], ["queued"]]


def test_early_events_end_with_the_connection(serve: Serve) -> None:
    server = serve()
    server.opened()
    server.emit("early")
    server.lose()
    server.advance(2)
    server.accept()
    server.join()
    assert EventReceived not in kinds(server.events())


@pytest.mark.parametrize("ending", ["refused", "abandoned", "old server"])
def test_early_events_end_with_the_join_that_they_came_before(serve: Serve, ending: str) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    server.emit("early", namespace="/a")
    if ending == "refused":
        server.deny("no", "/a")
    elif ending == "abandoned":
        socket.disconnect(server.now)
        server.join("/a", sid="unwanted")
    else:
        server.send(Packet(CONNECT, "/a"))
    server.events()
    socket.connect(server.now)
    server.join("/a")
    assert server.events() == [Connected("/a", "s1", recovered=False)]


@pytest.mark.parametrize(
    ("options", "events"), [({"max_buffered_events": 3}, 3), ({"max_buffered_bytes": 40}, 4), ({}, 100)]
)
def test_early_events_are_bounded(serve: Serve, options: dict[str, Any], events: int) -> None:
    server = serve(**options)
    server.opened()
    for _ in range(events):
        server.emit("early")
    assert server.events() == []
    if options:
        server.emit("early")
        told = server.events()
        assert kinds(told) == [Closed, Disconnected]
        assert "before it accepted the namespace" in str(told[0].details)  # type: ignore[attr-defined]


def test_what_waits_to_be_sent_takes_no_room_from_early_events(serve: Serve) -> None:
    server = serve(max_buffered_events=2)
    socket = server.opened()
    for _ in range(2):
        socket.emit(["offline"], server.now)
    server.emit("early")
    server.join()
    assert kinds(server.events()) == [EventReceived, Connected]


@pytest.mark.parametrize("join", [True, False])
def test_events_for_a_namespace_that_was_left_are_dropped(serve: Serve, join: bool) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    if join:
        server.join("/a")
    socket.disconnect(server.now)
    server.events()
    server.emit("late", namespace="/a")
    server.send(Packet(ACK, "/a", [], 0))
    assert server.events() == []


# Events to the server


def test_an_event_goes_out_as_it_was_given(serve: Serve) -> None:
    server = serve()
    socket = server.joined("/a")
    values = {"deep": [b"bytes", None, 1.5, "é"]}
    socket.emit(["hello", values], server.now)
    socket.emit([7, "a number's a name"], server.now)
    assert server.sent() == [Packet(EVENT, "/a", ["hello", values]), Packet(EVENT, "/a", [7, "a number's a name"])]


@pytest.mark.parametrize(
    "args",
    [
        [],
        [None],
        [True],
        [b"bytes"],
        [float("nan")],
        [float("inf")],
        ["connect"],
        ["connect_error"],
        ["disconnect"],
        ["disconnecting"],
        ["newListener"],
        ["removeListener"],
    ],
)
@pytest.mark.parametrize("retries", [0, 1])
def test_what_is_no_name_is_refused(serve: Serve, args: list[Any], retries: int) -> None:
    server = serve()
    socket = server.joined(retries=retries)
    with pytest.raises(OptionError, match="name"):
        socket.emit(args, server.now, ack=True, timeout=5)
    assert server.sent() == []
    server.advance(10)
    assert server.events() == []


def test_a_whole_number_of_any_size_is_a_name(serve: Serve) -> None:
    server = serve()
    server.joined().emit([10**400], server.now)
    assert server.sent()[0].data == [10**400]


def test_sent_events_are_reported_when_they_leave(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.emit(["unreported"], server.now)
    socket.report_sent = True
    socket.emit(["buffered"], server.now, ack=True)
    assert server.events() == []
    socket.connect(server.now)
    server.accept()
    server.join()
    socket.emit(["at once", 1], server.now)
    server.emit("question", id=1)
    told = server.events()
    assert [event.args for event in told if isinstance(event, EventSent)] == [
        ["unreported"],
        ["buffered"],
        ["at once", 1],
    ]
    (question,) = [event for event in told if isinstance(event, EventReceived)]
    assert question.ack_id is not None
    socket.acknowledge(question.ack_id, [], server.now)
    assert server.events() == []


def test_whether_an_event_may_be_compressed_goes_with_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    socket = server.joined()
    seen: list[bool] = []
    engine = server.client.engine
    assert engine is not None
    monkeypatch.setattr(engine, "send", lambda data, now, *, compress: seen.append(compress))
    socket.emit(["a"], server.now)
    socket.emit(["b"], server.now, compress=False)
    server.emit("c", id=1)
    (received,) = server.events()
    assert isinstance(received, EventReceived)
    assert received.ack_id is not None
    socket.acknowledge(received.ack_id, [], server.now, compress=False)
    assert seen == [True, False, False]


def test_acknowledgements_fail_after_disconnect_is_told(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    socket.emit(["a"], server.now, ack=True)
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected, AckFailed]
