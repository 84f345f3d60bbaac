"""A namespace: joining and leaving in every order and state that a server can cause, and its events."""

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
    EventBuffered,
    EventDropped,
    EventReceived,
    EventSent,
    Failed,
    MachineEvent,
    Opened,
)
from sansio_socketio.protocol.packets.socketio import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def refusal(events: list[MachineEvent]) -> ConnectError:
    """Return the error of the only ConnectFailed among the events."""
    (error,) = [event.error for event in events if isinstance(event, ConnectFailed)]
    assert isinstance(error, ConnectError)
    return error


# Joining


def test_auth_is_sent_with_connect(serve: Serve) -> None:
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
        socket.auth = "token"  # type: ignore[assignment]  # the invalid value under test
    assert socket.auth == {"a": 1}


def test_auth_that_cannot_be_sent_refuses_the_namespace(serve: Serve) -> None:
    server = serve()
    socket = server.socket(auth={"token": b"bytes"})
    socket.connect(server.now)
    server.accept()
    events = server.events()
    assert kinds(events) == [Opened, Closed, ConnectFailed]
    assert "auth cannot be sent" in str(refusal(events))
    assert not socket.active
    assert server.sent() == []


def test_connecting_twice_sends_connect_once(serve: Serve) -> None:
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
def test_a_refused_namespace_fails_with_message_and_data(serve: Serve, payload: Any, message: str, data: Any) -> None:
    server = serve()
    socket = server.opened()
    server.deny(payload)
    events = server.events()
    assert kinds(events) == [Closed, ConnectFailed]
    assert events[1] == ConnectFailed("/", refusal(events), active=False)
    assert (refusal(events).message, refusal(events).data) == (message, data)
    assert not socket.active
    assert server.client.idle


def test_a_refusal_does_not_affect_other_namespaces(serve: Serve) -> None:
    server = serve()
    server.joined("/a")
    refused = server.opened("/b")
    server.deny("no", "/b")
    assert kinds(server.events()) == [ConnectFailed]
    assert server.client.is_open
    refused.connect(server.now)
    server.join("/b")
    assert refused.connected


def test_a_server_of_version_2_fails_the_join_and_the_namespace_stays_active(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    server.send(Packet(CONNECT))
    events = server.events()
    assert events == [ConnectFailed("/", refusal(events), active=True)]
    assert "Socket.IO 2" in str(refusal(events))
    assert server.client.is_open
    server.sent()
    socket.connect(server.now)
    assert server.sent() == [Packet(CONNECT)]


@pytest.mark.parametrize("sid", [None, "", 5])
def test_an_answer_with_an_invalid_id_fails_the_join(serve: Serve, sid: Any) -> None:
    server = serve()
    server.opened()
    server.send(Packet(CONNECT, "/", {"sid": sid}))
    assert kinds(server.events()) == [ConnectFailed]


# Disconnecting


def test_server_disconnects_namespace(serve: Serve) -> None:
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
    server.advance(0.05)
    server.join("/a", sid="s2")
    assert socket.sid == "s2"


def test_a_close_can_be_announced_to_the_server(serve: Serve) -> None:
    server = serve()
    socket, other = server.joined("/a"), server.socket("/b")
    server.events()
    for namespace in (socket, other):
        namespace.announce_close(server.now)
    assert socket.active
    server.client.close(server.now)
    assert [(packet.type, packet.namespace) for packet in server.sent()] == [(DISCONNECT, "/a")]
    assert [each for each in server.events() if isinstance(each, Disconnected)] == [
        Disconnected("/a", "forced close", None, active=True)
    ]


def test_disconnecting_before_the_join_sends_nothing(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    socket.disconnect(server.now)
    assert server.sent() == [Packet(CONNECT, "/a")]
    assert server.events() == []


@pytest.mark.row("difference.abandoned_join")
def test_abandoned_join_is_disconnected_on_response(serve: Serve) -> None:
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
    server.advance(0.05)
    server.join("/a", sid="s2")
    assert server.events() == [Connected("/a", "s2", recovered=False)]


def test_connecting_again_before_the_answer_starts_a_new_join(serve: Serve) -> None:
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
    server.advance(0.05)
    assert server.sent() == [Packet(DISCONNECT, "/a"), Packet(CONNECT, "/a", {"try": 2})]
    assert not socket.connected
    server.join("/a", sid="s2")
    assert server.events() == [Connected("/a", "s2", recovered=False)]


@pytest.mark.parametrize("answer", [Packet(CONNECT_ERROR, "/a", "no"), Packet(CONNECT, "/a")])
def test_a_refused_abandoned_join_is_not_disconnected(serve: Serve, answer: Packet) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a")
    socket.disconnect(server.now)
    socket.connect(server.now)
    server.sent()
    server.send(answer)
    assert server.events() == []
    assert server.sent() == [Packet(CONNECT, "/a")]


def test_an_abandoned_join_ends_with_its_connection(serve: Serve) -> None:
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
    server.kick("/a")  # sent before the server received ours
    server.advance(0.05)
    assert server.events() == []
    server.join("/a")
    assert socket.connected


def test_a_lost_connection_disconnects_a_joining_namespace(serve: Serve) -> None:
    server = serve()
    server.opened()
    server.lose()
    events = server.events()
    assert kinds(events) == [Closed, Disconnected]
    assert isinstance(events[1], Disconnected)
    assert events[1].active


def test_a_lost_connection_emits_nothing_for_an_inactive_namespace(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined("/other")
    server.socket("/never")
    server.joined("/left").disconnect(server.now)
    server.events()
    server.lose(OSError("reset"))
    events = server.events()
    assert kinds(events) == [Failed, Closed, Disconnected]
    assert events[2].namespace == "/other"  # type: ignore[attr-defined]


# Events from the server


def test_events_are_delivered_with_size_and_ack_id(serve: Serve) -> None:
    server = serve()
    server.joined("/a")
    server.emit("news", 1, b"ab", namespace="/a")
    server.emit("question", namespace="/a", id=5)
    events = server.events()
    assert kinds(events) == [EventReceived, EventReceived]
    news, question = events
    assert isinstance(news, EventReceived)
    assert isinstance(question, EventReceived)
    assert (news.namespace, news.args, news.ack_id) == ("/a", ["news", 1, b"ab"], None)
    assert news.size > 10
    assert question.ack_id is not None


def test_a_join_delivers_early_events_sends_buffered_ones_and_emits_connected(serve: Serve) -> None:
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
    assert kinds(server.events()) == [EventBuffered, Opened, EventBuffered]
    server.join("/a")
    events = server.events()
    assert kinds(events) == [EventReceived, EventReceived, EventSent, EventSent, Connected]
    assert [event.args for event in events if isinstance(event, EventReceived)] == [["early", 1], ["early", 2]]
    assert [event.args for event in events if isinstance(event, EventSent)] == [["buffered"], ["queued"]]


def test_early_events_are_dropped_with_the_connection(serve: Serve) -> None:
    server = serve()
    server.opened()
    server.emit("early")
    server.lose()
    server.advance(2)
    server.accept()
    server.join()
    assert EventReceived not in kinds(server.events())


@pytest.mark.parametrize("ending", ["refused", "abandoned", "old server"])
def test_early_events_are_dropped_with_the_join_that_they_precede(serve: Serve, ending: str) -> None:
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
    server.advance(0.05)
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
        received = server.events()
        assert kinds(received) == [Closed, Disconnected]
        assert "before it accepted the namespace" in str(received[0].details)  # type: ignore[attr-defined]


def test_buffered_events_do_not_count_towards_the_bound_of_early_events(serve: Serve) -> None:
    server = serve(max_buffered_events=2)
    socket = server.opened()
    for _ in range(2):
        socket.emit(["offline"], server.now)
    server.emit("early")
    server.join()
    assert kinds(server.events()) == [EventReceived, Connected]


@pytest.mark.parametrize("join", [True, False])
def test_events_for_a_disconnected_namespace_are_dropped(serve: Serve, join: bool) -> None:
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


def test_an_event_is_sent_unchanged(serve: Serve) -> None:
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
def test_an_invalid_event_name_raises_and_sends_nothing(serve: Serve, args: list[Any], retries: int) -> None:
    server = serve()
    socket = server.joined(retries=retries)
    with pytest.raises(OptionError, match="name"):
        socket.emit(args, server.now, ack=True, timeout=5)
    assert server.sent() == []
    server.advance(10)
    assert server.events() == []


def test_an_integer_of_any_size_is_a_valid_event_name(serve: Serve) -> None:
    server = serve()
    server.joined().emit([10**400], server.now)
    assert server.sent()[0].data == [10**400]


def test_events_are_reported_when_they_are_sent(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.emit(["unreported"], server.now)
    socket.report_sent = True
    socket.emit(["buffered"], server.now, ack=True)
    socket.emit(["dropped"], server.now, volatile=True)
    assert server.events() == [EventBuffered("/", ["buffered"], 14), EventDropped("/", ["dropped"])]
    socket.connect(server.now)
    server.accept()
    server.join()
    socket.emit(["at once", 1], server.now)
    server.emit("question", id=1)
    events = server.events()
    assert [event for event in events if isinstance(event, EventSent)] == [
        EventSent("/", ["unreported"], 15),
        EventSent("/", ["buffered"], 14, 0),
        EventSent("/", ["at once", 1], 14),
    ]
    (question,) = [event for event in events if isinstance(event, EventReceived)]
    assert question.ack_id is not None
    socket.acknowledge(question.ack_id, [], server.now)
    assert server.events() == []


def test_events_and_acknowledgements_carry_the_compress_flag(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_pending_acknowledgements_fail_after_disconnected(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    socket.emit(["a"], server.now, ack=True)
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected, AckFailed]


@pytest.mark.parametrize("is_reading", [True, False])
def test_a_namespace_that_was_left_joins_again_in_a_later_write(serve: Serve, is_reading: bool) -> None:
    server = serve()
    server.joined("/other")
    socket = server.joined("/a")
    server.sent()
    server.is_reading = is_reading
    socket.disconnect(server.now)
    socket.connect(server.now)
    assert server.sent() == [Packet(DISCONNECT, "/a")]
    assert socket.active
    if not is_reading:
        server.advance(1)
        assert server.sent() == []
        server.is_reading = True
        server.run()
    server.advance(0.05)
    assert server.sent() == [Packet(CONNECT, "/a")]
    server.join("/a")
    assert socket.connected
    assert server.client.is_open
