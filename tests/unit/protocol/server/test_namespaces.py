"""Namespaces of a server and their clients, in messages over WebSocket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sansio_socketio.protocol.errors import (
    AckTimeout,
    BufferFullError,
    ConnectError,
    DisconnectedError,
    OptionError,
    PacketError,
)
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import Packet
from sansio_socketio.protocol.server import Recovery
from sansio_socketio.protocol.server.events import (
    ClientAckFailed,
    ClientAcknowledged,
    ClientConnected,
    ClientDisconnected,
    ClientEmitted,
    ConnectQuestion,
    SessionClosed,
)
from tests.unit.protocol.server.rig import SocketRig, frame


def error_of(rig: SocketRig) -> str:
    """Why the session was closed."""
    (closed,) = rig.pop(SessionClosed)
    assert closed.reason == "parse error"
    return str(closed.details)


# Joining


def test_a_client_joins() -> None:
    rig = SocketRig()
    stream, answer = rig.join('0{"token":"123"}')
    (connected,) = rig.pop(ClientConnected)
    assert (connected.namespace, connected.client, connected.session) == ("/", answer["sid"], 1)
    assert (connected.auth, connected.recovered) == ({"token": "123"}, False)
    assert "123" not in repr(connected)
    assert rig.namespace.clients == [answer["sid"]]
    assert rig.machine.namespace() is rig.namespace
    rig.machine.namespace("/a")
    (reply,) = rig.say(stream, "0/a,")
    assert str(reply).startswith('0/a,{"sid":')
    assert rig.pop(ClientConnected)[0].auth == {}


def test_an_unknown_namespace_is_refused() -> None:
    rig = SocketRig()
    stream = rig.open_websocket()
    assert rig.say(stream, "0/random") == ['4/random,{"message":"Invalid namespace"}']
    assert not rig.closed


def test_the_name_of_a_namespace_is_checked() -> None:
    rig = SocketRig()
    with pytest.raises(PacketError, match="must start with a slash"):
        rig.machine.namespace("chat")
    stream = rig.open_websocket()
    rig.say(stream, "0/a\x1e,")
    assert "U+001E" in error_of(rig)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        (["abc"], "a Socket.IO packet must start with a type from 0 to 6, not with 'a'"),
        (["0[]"], "the payload of CONNECT must be an object; it is an empty array"),
        (['2["a"]'], "the client sent a packet of type 2, which is not allowed now"),
        (["0", "0"], "the client sent a packet of type 0, which is not allowed now"),
        (["0", '4{"message":"x"}'], "the client sent a packet of type 4, which is not allowed now"),
        (["0", "1", '2["a"]'], "the client sent a packet of type 2, which is not allowed now"),
        (["0", '2["connect"]'], "the payload of EVENT must be an array that begins with a name"),
        (["0", '511-["a",{"_placeholder":true,"num":0}]'], "a packet has 11 attachments; from 1 to 10"),
        ([b"x"], "a binary message of 1 bytes arrived, but no Socket.IO packet expects an attachment"),
    ],
)
def test_an_invalid_packet_ends_the_session(messages: list[str | bytes], why: str) -> None:
    rig = SocketRig()
    rig.say(rig.open_websocket(), *messages)
    assert error_of(rig).startswith(why)
    last = "client namespace disconnect" if "1" in messages else "parse error"
    assert [event.reason for event in rig.pop(ClientDisconnected)] == [last] * (messages[0] == "0")


def test_a_packet_that_takes_much_memory_is_refused() -> None:
    rig = SocketRig(max_payload=10_000)
    stream, _ = rig.join()
    rig.say(stream, '2["a",' + "[]," * 3000 + "[]]")
    assert "would use more than 80,000 bytes" in error_of(rig)


def test_a_session_that_joins_nothing_is_closed() -> None:
    rig = SocketRig(connect_timeout=10)
    rig.open_websocket()
    rig.join()
    rig.advance(10)
    (closed,) = rig.pop(SessionClosed)
    assert (closed.session, closed.reason) == (1, "forced server close")


def test_a_session_whose_connect_has_arrived_but_is_not_handled_yet_is_not_closed() -> None:
    rig = SocketRig(connect_timeout=10)
    stream = rig.open_websocket()
    rig.machine.paused = True
    rig.feed(stream, frame("40"))
    rig.advance(15)
    rig.machine.paused = False
    rig.machine.tick(rig.now)
    rig.drain()
    rig.advance(10)
    assert rig.pop(ClientConnected)
    assert not rig.pop(SessionClosed)


# Questions


def test_the_application_accepts_clients() -> None:
    rig = SocketRig()
    rig.namespace.asks_before_connecting = True
    stream = rig.open_websocket()
    assert rig.say(stream, '0{"token":1}') == []
    (question,) = rig.pop(ConnectQuestion)
    assert (question.namespace, question.session, question.auth) == ("/", 1, {"token": 1})
    assert rig.namespace.clients == []
    rig.namespace.emit(question.client, ["early"], rig.now)
    rig.machine.answer(question.question, None, rig.now)
    rig.drain()
    assert rig.heard(stream) == [f'0{{"sid":"{question.client}"}}']
    assert rig.pop(ClientConnected)[0].client == question.client


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (ConnectError("no"), '4{"message":"no"}'),
        (ConnectError("no", {"code": 1}), '4{"message":"no","data":{"code":1}}'),
        (ValueError("internal"), '4{"message":"Forbidden"}'),
    ],
)
def test_the_application_refuses_a_client(answer: Exception, reply: str) -> None:
    rig = SocketRig()
    rig.namespace.asks_before_connecting = True
    stream = rig.open_websocket()
    rig.say(stream, "0")
    (question,) = rig.pop(ConnectQuestion)
    rig.machine.answer(question.question, answer, rig.now)
    rig.drain()
    assert rig.heard(stream) == [reply]
    assert not rig.pop(ClientConnected)
    assert not rig.pop(ClientDisconnected)
    rig.namespace.asks_before_connecting = False
    assert len(rig.say(stream, "0")) == 1
    assert rig.namespace.clients


def test_a_refusal_that_cannot_be_encoded_is_an_error_and_the_question_stays() -> None:
    rig = SocketRig()
    rig.namespace.asks_before_connecting = True
    stream = rig.open_websocket()
    rig.say(stream, "0")
    (question,) = rig.pop(ConnectQuestion)
    with pytest.raises(PacketError):
        rig.machine.answer(question.question, ConnectError("no", {1, 2}), rig.now)
    rig.machine.answer(question.question, None, rig.now)
    rig.drain()
    assert rig.namespace.clients


def test_packets_before_the_answer_end_the_session() -> None:
    rig = SocketRig()
    rig.namespace.asks_before_connecting = True
    stream = rig.open_websocket()
    rig.say(stream, "0", '2["a"]')
    assert "not allowed now" in error_of(rig)
    (question,) = rig.pop(ConnectQuestion)
    rig.machine.answer(question.question, None, rig.now)
    rig.drain()
    assert not rig.pop(ClientConnected)
    assert not rig.pop(ClientDisconnected)


def test_a_question_about_a_client_is_answered_in_time() -> None:
    rig = SocketRig(connect_timeout=10, ping_interval=100)
    stream, _ = rig.join()
    other = rig.machine.namespace("/other")
    other.asks_before_connecting = True
    rig.say(stream, "0/other,")
    rig.advance(10)
    assert rig.heard(stream) == ['4/other,{"message":"the question about the client was not answered in time"}']
    rig.machine.answer(rig.pop(ConnectQuestion)[0].question, None, rig.now)
    rig.drain()
    assert other.clients == []


# Events


def test_events_and_acknowledgements_go_both_ways() -> None:
    rig = SocketRig()
    stream, answer = rig.join()
    client = answer["sid"]
    assert rig.say(stream, '27["hello",1]', '51-["bin",{"_placeholder":true,"num":0}]', b"\1") == []
    first, second = rig.pop(ClientEmitted)
    assert (first.client, first.args, first.ack_id) == (client, ["hello", 1], (1, 7))
    assert (second.args, second.ack_id) == (["bin", b"\1"], None)
    assert first.ack_id is not None
    rig.namespace.acknowledge(client, first.ack_id, ["ok", b"\2"], rig.now)
    handle = rig.namespace.emit(client, ["question", b"\3"], rig.now, ack=True)
    rig.namespace.emit(client, [5], rig.now)
    rig.drain()
    assert rig.heard(stream) == [
        '61-7["ok",{"_placeholder":true,"num":0}]',
        b"\2",
        f'51-{handle}["question",{{"_placeholder":true,"num":0}}]',
        b"\3",
        "2[5]",
    ]
    rig.say(stream, f"3{handle}[42]", f"3{handle}[43]", "3[]", "3999[]")
    assert rig.pop(ClientAcknowledged) == [ClientAcknowledged("/", client, handle, [42])]
    counters = rig.machine._outbox.counters
    assert (counters.events_received, counters.events_sent) == (2, 2)


def test_an_acknowledgement_fails_in_time_or_with_the_connection() -> None:
    rig = SocketRig()
    stream, answer = rig.join()
    client = answer["sid"]
    late = rig.namespace.emit(client, ["a"], rig.now, ack=True, timeout=5)
    lost = rig.namespace.emit(client, ["b"], rig.now, ack=True, timeout=500)
    rig.drain()
    rig.advance(5)
    (failed,) = rig.pop(ClientAckFailed)
    assert (failed.handle, str(failed.error)) == (late, "event 'a' was not acknowledged within 5 seconds")
    assert isinstance(failed.error, AckTimeout)
    rig.events.clear()
    rig.lose(stream)
    assert [type(event) for event in rig.events] == [ClientDisconnected, ClientAckFailed, SessionClosed]
    (failed,) = rig.pop(ClientAckFailed)
    assert (failed.handle, str(failed.error)) == (
        lost,
        "disconnected before the acknowledgement arrived: transport close",
    )
    gone = rig.namespace.emit(client, ["c"], rig.now, ack=True)
    rig.namespace.emit(client, ["d"], rig.now)
    rig.namespace.acknowledge(client, (1, 1), [], rig.now)
    rig.namespace.disconnect(client, rig.now)
    rig.drain()
    (failed,) = rig.pop(ClientAckFailed)
    assert (failed.handle, str(failed.error)) == (gone, "the client is not connected")
    assert isinstance(failed.error, DisconnectedError)
    rig.advance(600)
    assert not rig.pop(ClientAckFailed)


def test_what_cannot_be_emitted_is_an_error() -> None:
    rig = SocketRig()
    with pytest.raises(OptionError, match="reserved"):
        rig.namespace.emit("x", ["connect"], rig.now)
    with pytest.raises(OptionError, match="timeout takes"):
        rig.namespace.emit("x", ["a"], rig.now, ack=True, timeout=-1)
    with pytest.raises(PacketError, match="value 1"):
        rig.namespace.broadcast(["a", {1, 2}], rig.now)


def test_a_broadcast_is_encoded_once() -> None:
    rig = SocketRig()
    joined = [rig.join() for _ in range(3)]
    rig.writes.clear()
    rig.namespace.broadcast(["news", b"\1"], rig.now, except_=[joined[1][1]["sid"]])
    rig.drain()
    assert [rig.heard(stream) for stream, _ in joined] == [
        ['51-["news",{"_placeholder":true,"num":0}]', b"\1"],
        [],
        ['51-["news",{"_placeholder":true,"num":0}]', b"\1"],
    ]
    rig.writes.clear()
    rig.namespace.broadcast(["text"], rig.now)
    rig.drain()
    first, *others = [write.data for write in rig.writes]
    assert len(others) == 2
    assert all(other is first for other in others)


def test_a_volatile_event_is_dropped_if_it_cannot_be_sent_at_once() -> None:
    rig = SocketRig()
    stream, answer = rig.join()
    rig.writes_at_once = False
    for name in ("sent", "dropped"):
        rig.namespace.emit(answer["sid"], [name], rig.now, volatile=True)
        rig.namespace.broadcast(["dropped"], rig.now, volatile=True)
        rig.drain()
    rig.written()
    rig.drain()
    assert rig.heard(stream) == ['2["sent"]']


def test_a_slow_client_does_not_hold_up_a_broadcast() -> None:
    rig = SocketRig(max_buffered_bytes=1024)
    slow, fast = rig.join(), rig.join()
    rig.writes_at_once = False
    for _ in range(3):
        rig.namespace.broadcast(["x" * 500], rig.now)
        rig.drain()
        rig.unwritten.discard(slow[0])
        rig.written()
        rig.drain()
    (disconnected,) = rig.pop(ClientDisconnected)
    assert (disconnected.client, disconnected.reason) == (slow[1]["sid"], "transport error")
    assert isinstance(disconnected.details, BufferFullError)
    assert len(rig.heard(fast[0])) == 3


# Leaving


def test_a_client_leaves() -> None:
    rig = SocketRig()
    stream, answer = rig.join()
    assert rig.say(stream, "1") == []
    assert rig.pop(ClientDisconnected) == [ClientDisconnected("/", answer["sid"], "client namespace disconnect", None)]
    assert rig.namespace.clients == []
    assert len(rig.say(stream, "0")) == 1
    assert not rig.closed


def test_the_application_disconnects_a_client() -> None:
    rig = SocketRig()
    rig.machine.namespace("/other")
    stream, answer = rig.join()
    rig.say(stream, "0/other,")
    rig.namespace.disconnect(answer["sid"], rig.now)
    rig.drain()
    assert rig.heard(stream) == ["1"]
    assert [(event.namespace, event.reason) for event in rig.pop(ClientDisconnected)] == [
        ("/", "server namespace disconnect")
    ]
    assert not rig.closed


def test_the_application_disconnects_a_client_and_its_session() -> None:
    rig = SocketRig()
    rig.machine.namespace("/asked").asks_before_connecting = True
    rig.machine.namespace("/other")
    stream, answer = rig.join()
    rig.say(stream, "0/other,", "0/asked,")
    rig.namespace.disconnect(answer["sid"], rig.now, close=True)
    rig.drain()
    rig.feed(stream, frame(b"\x03\xe8", opcode=8))
    assert rig.closed == {stream: False}
    assert [(event.namespace, event.reason) for event in rig.pop(ClientDisconnected)] == [
        ("/", "server namespace disconnect"),
        ("/other", "server namespace disconnect"),
    ]
    rig.machine.answer(rig.pop(ConnectQuestion)[0].question, None, rig.now)
    rig.drain()
    assert not [event for event in rig.pop(ClientConnected) if event.namespace == "/asked"]


# Parsers


class Broken:
    """A parser that raises what parsers should not raise."""

    def encoder(self) -> Any:
        return self

    def decoder(self, max_attachments: int) -> Any:
        return self

    def encode(self, packet: Packet) -> list[str | bytes]:
        if packet.type == 2:
            raise ZeroDivisionError
        return ["\x1e" if packet.type == 3 else str(packet.type)]

    def feed(self, data: str | bytes) -> Packet | None:
        if data == "0":
            return Packet(0, "/")
        raise ZeroDivisionError

    def reset(self) -> None:
        pass


def test_another_parser_can_be_used() -> None:
    rig = SocketRig(parser=MessagePackParser())
    stream = rig.open_websocket()
    (encoded,) = MessagePackParser().encoder().encode(Packet(0, "/"))
    (answer,) = rig.say(stream, encoded)
    packet = MessagePackParser().decoder(0).feed(answer)
    assert packet is not None
    assert packet.data == {"sid": rig.namespace.clients[0]}


def test_a_parser_that_fails_breaks_nothing_else() -> None:
    rig = SocketRig(parser=Broken())
    stream = rig.open_websocket()
    rig.say(stream, "0")
    (client,) = rig.namespace.clients
    with pytest.raises(PacketError, match="cannot encode a packet: it raised ZeroDivisionError"):
        rig.namespace.emit(client, ["a"], rig.now)
    with pytest.raises(PacketError, match=r"U\+001E"):
        rig.namespace.acknowledge(client, (1, 1), [], rig.now)
    rig.say(stream, "x")
    assert error_of(rig) == "the parser cannot decode a message: it raised ZeroDivisionError"


# Recovery


def recoverable(**bounds: Any) -> SocketRig:
    return SocketRig(recovery=Recovery(**bounds), ping_interval=1000)


def offset_of(message: Any) -> str:
    offset = json.loads(message[message.index("[") :])[-1]
    assert isinstance(offset, str)
    return offset


def test_a_client_recovers_what_it_has_missed() -> None:
    rig = recoverable(max_age=10)
    stream, answer = rig.join()
    assert answer["pid"] != answer["sid"]
    rig.namespace.emit(answer["sid"], ["a"], rig.now)
    rig.drain()
    (first,) = rig.heard(stream)
    rig.namespace.emit(answer["sid"], ["x"], rig.now)
    rig.namespace.emit(answer["sid"], ["ack"], rig.now, ack=True)
    rig.drain()
    rig.lose(stream)
    assert len(rig.pop(ClientAckFailed)) == 1
    assert rig.namespace.clients == []
    rig.namespace.emit(answer["sid"], ["b"], rig.now)
    rig.namespace.broadcast(["c"], rig.now)
    rig.namespace.broadcast(["not for it"], rig.now, except_=[answer["sid"]])
    rig.namespace.broadcast(["volatile"], rig.now, volatile=True)
    handle = rig.namespace.emit(answer["sid"], ["ack"], rig.now, ack=True)
    rig.drain()
    assert [event.handle for event in rig.pop(ClientAckFailed)] == [handle]
    rig.pop(ClientConnected)
    rig.advance(9)
    again = rig.open_websocket()
    auth = {"token": 1, "pid": answer["pid"], "offset": offset_of(first)}
    rig.namespace.asks_before_connecting = True
    replies = rig.say(again, f"0{json.dumps(auth)}")
    assert replies[0] == f'0{{"sid":"{answer["sid"]}","pid":"{answer["pid"]}"}}'
    assert [str(reply)[:5] for reply in replies[1:]] == ['2["x"', '2["b"', '2["c"']
    assert rig.pop(ClientConnected) == [ClientConnected("/", answer["sid"], 2, auth, recovered=True)]
    rig.advance(20)
    assert rig.namespace.clients == [answer["sid"]]
    rig.namespace.acknowledge(answer["sid"], (1, 5), [], rig.now)  # of the first connection
    rig.drain()
    assert rig.heard(again) == []


def test_a_client_that_has_received_nothing_recovers_everything() -> None:
    rig = recoverable()
    rig.namespace.broadcast(["before"], rig.now)
    stream, answer = rig.join()
    rig.lose(stream)
    rig.namespace.broadcast(["a"], rig.now)
    _, *missed = rig.say(rig.open_websocket(), f'0{{"pid":"{answer["pid"]}"}}')
    assert [str(each)[:5] for each in missed] == ['2["a"']


@pytest.mark.parametrize(
    "auth",
    [
        {"pid": "unknown"},
        {"pid": 5},
        {"offset": "x"},
        {"pid": None, "offset": 5},
        {"pid": None, "offset": "unknown"},
        {"pid": None, "offset": "PREFIX.99"},
        {"pid": None, "offset": "PREFIX.0"},
        {"pid": None, "offset": "PREFIX.²"},
        {"pid": None, "offset": "PREFIX." + "1" * 100},
    ],
)
def test_a_client_with_other_credentials_begins_anew(auth: dict[str, Any]) -> None:
    rig = recoverable()
    stream, answer = rig.join()
    rig.namespace.broadcast(["a"], rig.now)
    rig.drain()
    prefix = offset_of(rig.heard(stream)[0]).partition(".")[0]
    rig.lose(stream)
    if "pid" in auth and auth["pid"] is None:
        auth = {"pid": answer["pid"], "offset": str(auth["offset"]).replace("PREFIX", prefix)}
    rig.pop(ClientConnected)
    replies = rig.say(rig.open_websocket(), f"0{json.dumps(auth)}")
    assert len(replies) == 1
    (connected,) = rig.pop(ClientConnected)
    assert not connected.recovered
    assert connected.client != answer["sid"]


@pytest.mark.parametrize(
    ("bounds", "pause"),
    [({"max_age": 10}, 10), ({"max_packets": 1}, 0), ({"max_bytes": 50}, 0), ({"max_age": 10}, 6)],
)
def test_recovery_is_bounded(bounds: dict[str, Any], pause: float) -> None:
    rig = recoverable(**bounds)
    stream, answer = rig.join()
    rig.namespace.broadcast(["a"], rig.now)
    rig.drain()
    rig.heard(stream)
    rig.advance(pause - 1 if pause == 6 else 0)
    rig.lose(stream)
    rig.advance(pause)
    rig.namespace.broadcast(["b"], rig.now)
    rig.pop(ClientConnected)
    rig.say(rig.open_websocket(), f'0{{"pid":"{answer["pid"]}"}}')
    assert [event.recovered for event in rig.pop(ClientConnected)] == [False]


def test_the_clients_that_may_recover_are_bounded() -> None:
    rig = SocketRig(recovery=Recovery(), max_sessions=2)
    joined = [rig.join() for _ in range(2)]
    for stream, _ in joined:
        rig.lose(stream)
    third, answer = rig.join()
    rig.lose(third)
    rig.pop(ClientConnected)
    for pid in (joined[0][1]["pid"], answer["pid"]):
        rig.say(rig.open_websocket(), f'0{{"pid":"{pid}"}}')
    assert [event.recovered for event in rig.pop(ClientConnected)] == [False, True]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_client_that_has_left_cannot_recover(leaves: bool) -> None:
    rig = recoverable()
    stream, answer = rig.join()
    if leaves:
        rig.say(stream, "1")
    else:
        rig.namespace.disconnect(answer["sid"], rig.now)
        rig.drain()
    rig.pop(ClientConnected)
    rig.say(stream, f'0{{"pid":"{answer["pid"]}"}}')
    assert [event.recovered for event in rig.pop(ClientConnected)] == [False]
