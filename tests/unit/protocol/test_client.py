"""The connection: opening, the order of its events, closing, backpressure, and invalid data from a server or a parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from sansio_socketio.protocol.actions import CloseStream, Output, Send
from sansio_socketio.protocol.client import HIGH_WATER, ClientProtocol
from sansio_socketio.protocol.errors import BufferFullError, OpenTimeout, OptionError, PacketError, TransportError
from sansio_socketio.protocol.events import (
    AckFailed,
    Closed,
    Connected,
    ConnectFailed,
    Disconnected,
    Drained,
    EngineClosed,
    EngineDrained,
    EngineFlushed,
    EngineOpened,
    EnginePacket,
    EnginePacketCreated,
    EnginePacketReceived,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
    EventReceived,
    Failed,
    Opened,
    Pinged,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
    ReconnectFailed,
)
from sansio_socketio.protocol.options import ASK, ClientOptions
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.packets.socketio import (
    CONNECT,
    DISCONNECT,
    EVENT,
    JSONDecoder,
    JSONEncoder,
    JSONParser,
    Packet,
)
from sansio_socketio.protocol.statistics import Statistics
from tests.support.fake_server import FakeServer, Wire, kinds
from tests.unit.transports.rig import switching

Serve = type[FakeServer]

# Opening


def test_a_namespace_opens_the_connection_and_joins(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.connect(server.now)
    assert server.client.state == "opening"
    assert socket.active
    assert not socket.connected
    server.accept()
    assert server.events() == [Opened()]
    assert server.sent() == [Packet(CONNECT)]
    server.join(sid="s1")
    assert server.events() == [Connected("/", "s1", recovered=False)]
    assert socket.connected
    assert socket.sid == "s1"
    assert server.client.is_open
    assert server.client.engine is not None
    assert (server.client.engine.sid, server.client.engine.transport) == ("e1", "polling")


def test_the_connection_opens_without_a_namespace(serve: Serve) -> None:
    server = serve()
    server.client.open(server.now)
    server.client.open(server.now)
    server.accept()
    server.client.open(server.now)
    assert server.events() == [Opened()]
    assert len(server.streams) == 1
    server.client.close(server.now)
    assert server.events() == [Closed("forced close", None)]
    assert server.client.idle


def test_several_namespaces_share_the_connection(serve: Serve) -> None:
    server = serve()
    for name in ("/", "/a"):
        server.socket(name).connect(server.now)
    server.accept()
    server.socket("/b").connect(server.now)
    assert server.sent() == [Packet(CONNECT), Packet(CONNECT, "/a"), Packet(CONNECT, "/b")]
    for name in ("/b", "/", "/a"):
        server.join(name)
    assert [event.namespace for event in server.events() if isinstance(event, Connected)] == ["/b", "/", "/a"]
    server.emit("hi", namespace="/a")
    server.emit("who?", namespace="/nobody")
    events = server.events()
    assert kinds(events) == [EventReceived]
    assert events[0].namespace == "/a"  # type: ignore[attr-defined]  # its kind was just looked at
    assert len(server.streams) == 1


def test_first_failure_emits_events_in_the_order_of_the_javascript_client(serve: Serve) -> None:
    server = serve(reconnection_attempts=0)
    joining, idle = server.socket(), server.socket("/idle")
    joining.connect(server.now)
    server.refuse()
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed, ReconnectFailed]
    failed, refused = events[0], events[1]
    assert isinstance(failed, Failed)
    assert refused == ConnectFailed("/", failed.error, active=True)
    assert not idle.active
    assert server.client.idle


def test_without_reconnection_a_failed_attempt_is_not_repeated(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.socket().connect(server.now)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed]
    assert server.client.idle
    server.advance(1000)
    assert server.deadline is None
    assert server.events() == []


def test_open_without_reconnect_fails_once(serve: Serve) -> None:
    server = serve()
    server.client.open(server.now, reconnect=False)
    server.refuse()
    assert kinds(server.events()) == [Failed]
    assert server.client.idle


def test_a_namespace_reconnects_after_an_open_without_reconnect(serve: Serve) -> None:
    server = serve()
    server.client.open(server.now, reconnect=False)
    server.refuse()
    server.socket().connect(server.now)
    server.refuse()
    assert server.client.reconnecting


def test_a_session_that_ends_in_its_handshake_fails_the_attempt(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.socket().connect(server.now)
    server.open_stream()
    server.lose()
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed]
    assert isinstance(events[0], Failed)
    assert isinstance(events[0].error, TransportError)


def test_a_session_that_is_aborted_in_its_handshake_fails_the_attempt(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.socket().connect(server.now)
    assert server.client.engine is not None
    server.client.engine.abort(server.now)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed]
    assert "before it was open: forced close" in str(events[0].error)  # type: ignore[attr-defined]


def test_opening_fails_after_the_timeout(serve: Serve) -> None:
    server = serve(timeout=7, reconnection=False)
    server.socket().connect(server.now)
    server.open_stream()
    server.advance(6.9)
    assert server.events() == []
    server.advance(0.1)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed]
    assert isinstance(events[0], Failed)
    assert isinstance(events[0].error, OpenTimeout)
    assert "within 7 seconds" in str(events[0].error)
    assert server.client.idle
    assert server.streams == []


def test_without_a_timeout_joining_has_no_time_limit(serve: Serve) -> None:
    server = serve(timeout=None)
    socket = server.opened()
    server.advance(7_000)
    assert server.events() == []
    server.join()
    assert socket.connected


def test_a_timeout_of_zero_fails_at_once(serve: Serve) -> None:
    server = serve(timeout=0, reconnection=False)
    server.socket().connect(server.now)
    server.advance(0)
    assert kinds(server.events()) == [Failed, ConnectFailed]


def test_without_a_timeout_opening_has_no_time_limit(serve: Serve) -> None:
    server = serve(timeout=None)
    socket = server.socket()
    socket.connect(server.now)
    server.advance(1e6)
    assert server.deadline is None
    server.accept()
    server.join()
    assert socket.connected


def test_zero_delay_and_zero_timeout_do_not_loop_in_one_tick(serve: Serve) -> None:
    server = serve(timeout=0, reconnection_delay=0, reconnection_attempts=5)
    server.socket().connect(server.now)
    server.client.tick(server.now)
    assert server.client.reconnecting
    server.advance(0)
    assert kinds(server.events())[-2:] == [ReconnectFailed, ReconnectError]
    assert server.client.idle


# Closing


def test_disconnecting_the_last_namespace_closes_the_connection(serve: Serve) -> None:
    server = serve()
    first, last = server.joined("/a"), server.joined("/b")
    first.disconnect(server.now)
    assert server.events() == [Disconnected("/a", "io client disconnect", None, active=False)]
    assert server.client.is_open
    last.disconnect(server.now)
    assert server.events() == [
        Closed("forced close", None),
        Disconnected("/b", "io client disconnect", None, active=False),
    ]
    assert server.sent() == [Packet(DISCONNECT, "/a"), Packet(DISCONNECT, "/b")]
    assert server.client.idle
    assert server.streams == []


def test_close_drains_the_write_buffer_first(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    socket.emit(["one"], server.now)
    socket.emit(["two"], server.now)
    server.client.close(server.now)
    assert server.events() == [Closed("forced close", None), Disconnected("/", "forced close", None, active=True)]
    assert not server.client.idle
    assert [packet.data for packet in server.sent()] == [["one"]]
    server.is_reading = True
    assert [packet.data for packet in server.sent()] == [["two"]]
    assert server.client.idle
    server.advance(100)
    assert server.deadline is None
    assert server.events() == []


def test_close_takes_at_most_close_timeout(serve: Serve) -> None:
    server = serve(close_timeout=3)
    server.joined()
    server.closes_streams = False
    server.client.close(server.now)
    server.run()
    assert not server.client.idle
    server.advance(3)
    assert server.client.idle
    assert server.streams == []


def test_abort_closes_streams_and_fails_pending_acknowledgements(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    handle = socket.emit(["one"], server.now, ack=True, timeout=50)
    server.client.abort(server.now)
    events = server.events()
    assert kinds(events) == [Closed, Disconnected, AckFailed]
    assert events[2].handle == handle  # type: ignore[attr-defined]
    assert server.client.idle
    assert server.streams == []
    server.advance(100)
    assert server.deadline is None
    assert server.events() == []


def test_abort_sends_nothing(serve: Serve) -> None:
    server = serve()
    server.joined()
    stream = server.streams[-1]
    server.client.abort(server.now)
    actions: list[Output] = []
    while (action := server.client.next_output()) is not None:
        actions.append(action)
    assert [action for action in actions if isinstance(action, Send | CloseStream)] == [CloseStream(stream, abort=True)]


def test_abort_drops_buffered_events(serve: Serve) -> None:
    server = serve(max_buffered_events=2)
    socket = server.socket()
    handles = [socket.emit(["offline"], server.now, ack=True, timeout=50)]
    socket.emit(["offline, no acknowledgement"], server.now)
    server.client.abort(server.now)
    events = server.events()
    assert [event.handle for event in events if isinstance(event, AckFailed)] == handles
    assert kinds(events) == [AckFailed]
    server.advance(100)
    assert server.events() == []
    for _ in range(2):
        socket.emit(["there is room again"], server.now)
    with pytest.raises(BufferFullError):
        socket.emit(["no more"], server.now)


def test_a_draining_session_does_not_affect_the_next_one(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    old = server.client.engine
    assert old is not None
    old.report_packets = True
    server.is_reading = False
    socket.emit(["one"], server.now)
    socket.emit(["two"], server.now)
    socket.disconnect(server.now)
    server.events()
    server.engine_events.clear()
    server.emit("late")
    server.feed(engineio.Packet(engineio.PING))
    server.lose()
    assert server.events() == []
    assert server.client.idle
    socket.connect(server.now)
    server.accept()
    server.run()
    assert kinds(server.engine_events) == [
        EnginePacketReceived,
        EnginePacketReceived,
        EnginePacketCreated,
        EngineClosed,
        EngineOpened,
    ]
    assert [events.session for events in server.engine_events] == [1, 1, 1, 1, 2]


Prepare = Callable[[FakeServer], None]


def _new(server: FakeServer) -> None:
    server.socket()


def _asking(server: FakeServer) -> None:
    server.client.options.query = ASK
    server.socket().connect(server.now)


def _opening(server: FakeServer) -> None:
    server.socket().connect(server.now)


def _handshaking(server: FakeServer) -> None:
    server.socket().connect(server.now)
    server.open_stream()


def _joining(server: FakeServer) -> None:
    server.opened()


def _asking_auth(server: FakeServer) -> None:
    server.opened(auth=ASK)


def _joined(server: FakeServer) -> None:
    server.joined().emit(["sent"], server.now, ack=True, timeout=20)


def _backing_off(server: FakeServer) -> None:
    server.joined()
    server.lose()


def _draining(server: FakeServer) -> None:
    server.closes_streams = False
    server.joined().disconnect(server.now)


STATES = [_new, _asking, _opening, _handshaking, _joining, _asking_auth, _joined, _backing_off, _draining]


@pytest.mark.parametrize("prepare", STATES)
@pytest.mark.parametrize("end", [ClientProtocol.close, ClientProtocol.abort])
def test_close_and_abort_leave_no_stream_or_timer_in_any_state(
    serve: Serve, prepare: Prepare, end: Callable[[ClientProtocol, float], None]
) -> None:
    server = serve()
    prepare(server)
    server.run()
    end(server.client, server.now)
    end(server.client, server.now)
    server.run()
    assert server.client.state == "closed"
    assert not server.client.reconnecting
    if end is ClientProtocol.abort:
        assert server.client.idle
    server.advance(30)
    assert server.client.idle
    assert server.streams == []
    assert server.deadline is None
    assert ReconnectAttempt not in kinds(server.events())


@pytest.mark.parametrize("prepare", STATES)
@pytest.mark.parametrize("end", [ClientProtocol.close, ClientProtocol.abort])
def test_the_client_can_be_used_again_after_close_and_abort(
    serve: Serve, prepare: Prepare, end: Callable[[ClientProtocol, float], None]
) -> None:
    server = serve()
    prepare(server)
    server.run()
    end(server.client, server.now)
    server.advance(30)
    server.client.options.query = {}
    socket = server.client.namespace()
    socket.auth = None
    server.events()
    socket.connect(server.now)
    server.accept()
    server.join()
    assert kinds(server.events()) == [Opened, Connected]


def test_disconnecting_before_the_join_emits_no_disconnected(serve: Serve) -> None:
    server = serve()
    socket = server.opened()
    socket.disconnect(server.now)
    assert server.events() == [Closed("forced close", None)]
    assert server.sent() == [Packet(CONNECT)]
    socket.disconnect(server.now)
    assert server.events() == []


def test_disconnecting_while_opening_cancels_the_attempt(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.connect(server.now)
    socket.disconnect(server.now)
    assert server.events() == [Closed("forced close", None)]
    assert server.client.idle
    assert server.streams == []


def test_disconnecting_during_a_reconnection_delay_ends_it(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.lose()
    server.events()
    socket.disconnect(server.now)
    assert server.events() == [Closed("forced close", None)]
    assert server.client.idle
    server.advance(100)
    assert server.events() == []


def test_disconnecting_after_close_emits_nothing(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.client.close(server.now)
    server.events()
    socket.disconnect(server.now)
    assert server.events() == []
    assert not socket.active


# The end of the connection


def test_a_lost_connection_disconnects_all_namespaces(serve: Serve) -> None:
    server = serve(reconnection=False)
    joined, joining = server.joined("/a"), server.opened("/b")
    server.lose()
    events = server.events()
    assert kinds(events) == [Closed, Disconnected, Disconnected]
    closed = events[0]
    assert isinstance(closed, Closed)
    assert closed.reason == "transport close"
    assert events[1:] == [
        Disconnected(socket.name, "transport close", closed.details, active=True) for socket in (joined, joining)
    ]
    assert joined.sid is None
    assert not joined.connected
    assert server.client.idle


def test_a_transport_error_is_also_reported_as_a_failure(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined("/a")
    server.opened("/b")
    server.lose(OSError("reset"))
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed, Closed, Disconnected, Disconnected]
    assert events[1].namespace == "/b"  # type: ignore[attr-defined]
    assert events[2].reason == "transport error"  # type: ignore[attr-defined]


def test_a_silent_server_closes_the_connection_with_a_ping_timeout(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined()
    server.advance(7200)
    assert server.events() == [Closed("ping timeout", None), Disconnected("/", "ping timeout", None, active=True)]


def test_an_event_emitted_after_the_ping_timeout_is_buffered(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.now += 7201  # the process was suspended
    socket.emit(["late"], server.now)
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.sent() == []
    server.advance(2)
    server.accept()
    server.join()
    assert [packet.data for packet in server.sent()] == [None, ["late"]]


# Reports of the session


def test_pings_and_upgrades_are_reported(serve: Serve) -> None:
    server = serve()
    server.socket().connect(server.now)
    server.accept(upgrades=["websocket"])
    server.open_stream()
    server.feed(engineio.Packet(engineio.PONG, "probe"))
    server.feed(engineio.Packet(engineio.PING))
    assert kinds(server.events()) == [Opened, Pinged]
    assert server.engine_events == [
        EngineOpened("e1", "polling"),
        EngineUpgrading("websocket"),
        EngineUpgraded("websocket"),
    ]
    assert len(server.streams) == 1


def test_a_failed_upgrade_is_reported(serve: Serve) -> None:
    server = serve()
    server.socket().connect(server.now)
    server.accept(upgrades=["websocket"])
    server.refuse()
    server.join()
    assert kinds(server.events()) == [Opened, Connected]
    assert kinds(server.engine_events) == [EngineOpened, EngineUpgradeFailed]


def test_drains_are_reported_if_requested(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    socket.emit(["unreported"], server.now)
    server.run()
    assert EngineDrained() not in server.engine_events
    engine = server.client.engine
    assert engine is not None
    engine.report_packets = True
    socket.emit(["reported"], server.now)
    server.run()
    assert server.engine_events[-1] == EngineDrained()


def test_packets_are_reported_from_the_first_one_if_requested(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.connect(server.now)
    engine = server.client.engine
    assert engine is not None
    engine.report_packets = True
    server.accept()
    server.events()
    assert server.engine_events[1:] == [
        EngineOpened("e1", "polling"),
        EnginePacketCreated(EnginePacket("message", "0")),
        EngineFlushed(),
        EngineDrained(),
    ]
    received = server.engine_events[0]
    assert isinstance(received, EnginePacketReceived)
    assert received.packet.type == "open"
    assert "e1" in str(received.packet.data)


def test_events_of_a_replaced_session_are_ignored(serve: Serve) -> None:
    server = serve()
    server.joined()
    old = server.client.engine
    assert old is not None
    server.client.close(server.now)
    server.events()
    client, now = server.client, server.now
    client.on_engine_open(old, now)
    client.on_engine_message(old, "0", now)
    client.on_engine_ping(old, now)
    assert server.events() == []
    assert client.idle


# The end of the session


def test_closing_the_session_reconnects(serve: Serve) -> None:
    server = serve(reconnection_delay=1, randomization_factor=0)
    socket = server.joined()
    server.is_reading = False
    socket.emit(["first"], server.now)
    socket.emit(["leaves before the session ends"], server.now)
    server.client.close_session(1, server.now)
    server.client.close_session(1, server.now)
    socket.emit(["dropped"], server.now)
    assert server.events() == []
    server.is_reading = True
    assert server.events() == [Closed("forced close", None), Disconnected("/", "forced close", None, active=True)]
    assert [packet.data for packet in server.sent()] == [["first"], ["leaves before the session ends"]]
    assert server.engine_events[-1] == EngineClosed("forced close", None)
    server.advance(1)
    server.accept()
    assert kinds(server.events()) == [ReconnectAttempt, Opened, Reconnected]
    server.client.close_session(1, server.now)
    assert server.client.is_open
    assert server.engine_events[-1:] == [EngineOpened("e1", "polling", session=2)]


def test_closing_the_session_without_reconnection_closes_the_connection(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined()
    server.client.close_session(1, server.now)
    assert server.events() == [Closed("forced close", None), Disconnected("/", "forced close", None, active=True)]
    assert server.client.idle


@pytest.mark.parametrize("stage", ["asking", "opening"])
def test_closing_a_session_before_it_is_open_fails_the_attempt(serve: Serve, stage: str) -> None:
    server = serve(query=ASK) if stage == "asking" else serve()
    server.socket().connect(server.now)
    server.run()
    server.client.close_session(1, server.now)
    events = [event for event in server.events() if not isinstance(event, Question)]
    assert kinds(events) == [Failed, ConnectFailed]
    assert "forced close" in str(events[0])
    assert server.engine_events == [EngineClosed("forced close", None)]
    assert server.client.reconnecting


def test_every_session_ends_with_engine_closed(serve: Serve) -> None:
    server = serve(query=ASK, reconnection_delay=1, randomization_factor=0)
    server.socket().connect(server.now)
    question = server.events()[0]
    assert isinstance(question, Question)
    server.client.answer(question.question, LookupError("no token"), server.now)
    server.advance(1)
    question = server.events()[-1]
    assert isinstance(question, Question)
    server.client.answer(question.question, {}, server.now)
    server.refuse()
    server.advance(3)
    server.client.close(server.now)
    server.run()
    assert kinds(server.engine_events) == [EngineClosed] * 3
    assert [events.session for events in server.engine_events] == [1, 2, 3]


def test_abort_ends_a_draining_session(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    socket.emit(["one"], server.now)
    socket.disconnect(server.now)
    server.run()
    assert server.engine_events == [EngineOpened("e1", "polling")]
    server.client.abort(server.now)
    server.run()
    assert server.engine_events[1:] == [EngineClosed("forced close", None)]
    assert server.client.idle


# Statistics


def test_statistics_of_a_new_client_are_zero(serve: Serve) -> None:
    nothing = Statistics(
        bytes_received=0,
        bytes_sent=0,
        packets_received=0,
        packets_sent=0,
        events_received=0,
        events_sent=0,
        reconnects=0,
        acks_pending=0,
        queued_events=0,
        queued_bytes=0,
    )
    assert serve().client.statistics() == nothing


def test_statistics_count_over_all_connections(serve: Serve) -> None:
    server = serve(reconnection_delay=1, randomization_factor=0)
    socket = server.joined()
    socket.emit(["one", b"binary"], server.now)
    server.emit("two")
    server.run()
    before = server.client.statistics()
    assert (before.events_sent, before.events_received, before.reconnects) == (1, 1, 0)
    assert before.packets_received == len(["open", "CONNECT", "two"])
    assert before.packets_sent == len(["CONNECT", "one", "binary"])
    assert before.transport == "polling"
    server.lose()
    server.run()
    assert server.client.statistics() == replace(before, transport=None)
    server.advance(1)
    server.accept()
    server.join()
    server.emit("three")
    server.run()
    after = server.client.statistics()
    assert (after.events_sent, after.events_received, after.reconnects) == (1, 2, 1)
    assert after.packets_received == before.packets_received + 3
    assert after.packets_sent == before.packets_sent + 1


def test_statistics_count_the_bytes_of_the_streams(serve: Serve) -> None:
    server = serve()
    server.joined()
    before = server.client.statistics()
    server.say("2" + '["né"]')
    server.client.namespace().emit(["out"], server.now)
    server.run()
    after = server.client.statistics()
    assert after.bytes_received - before.bytes_received == len('42["né"]'.encode())
    assert after.bytes_sent - before.bytes_sent == len('42["out"]')


def test_unsent_bytes_are_not_counted_as_sent(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    before = server.client.statistics().bytes_sent
    socket.emit(["not taken"], server.now)
    assert server.client.statistics().bytes_sent > before
    server.client.stream_closed(server.streams.pop(), OSError("it broke"), server.now)
    server.run()
    assert server.client.statistics().bytes_sent == before


def test_statistics_count_pending_acknowledgements_and_queued_events(serve: Serve) -> None:
    server = serve()
    socket = server.socket()
    socket.emit(["a"], server.now, ack=True)
    socket.emit(["b"], server.now)
    waiting = server.client.statistics()
    assert (waiting.acks_pending, waiting.queued_events) == (1, 2)
    assert waiting.queued_bytes == len('20["a"]') + len('2["b"]')
    socket.connect(server.now)
    server.accept()
    server.join()
    server.is_reading = False
    socket.emit(["c"], server.now)
    server.run()
    sent = server.client.statistics()
    assert (sent.acks_pending, sent.queued_events) == (1, 0)
    assert sent.queued_bytes > 0
    server.is_reading = True
    server.ack(id=0)
    server.run()
    done = server.client.statistics()
    assert (done.acks_pending, done.queued_bytes, done.events_sent) == (0, 0, 3)


def test_an_event_that_is_sent_again_is_counted_again(serve: Serve) -> None:
    server = serve()
    socket = server.joined(retries=2, ack_timeout=1)
    socket.emit(["again"], server.now)
    assert server.client.statistics().queued_events == 1
    assert server.client.statistics().acks_pending == 0
    server.advance(1.5)
    assert server.client.statistics().events_sent == 2
    server.ack()
    server.run()
    assert server.client.statistics().queued_events == 0


# Backpressure


def test_drained_is_emitted_when_the_write_buffer_has_drained(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    assert server.client.writable
    socket.emit(["x" * HIGH_WATER], server.now)
    assert not server.client.writable
    assert server.events() == []
    server.is_reading = True
    assert server.events() == [Drained()]
    assert server.client.writable


def test_losing_the_connection_drops_the_write_buffer(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.is_reading = False
    socket.emit(["x" * HIGH_WATER], server.now)
    server.run()
    server.lose()
    assert kinds(server.events()) == [Drained, Closed, Disconnected]
    assert server.client.writable


def test_unread_acknowledgements_beyond_the_bound_close_the_connection(serve: Serve) -> None:
    server = serve(max_buffered_bytes=400_000, reconnection=False)
    socket = server.joined()
    server.is_reading = False
    wanted = 0
    while server.client.is_open:
        server.emit("want", id=wanted)
        wanted += 1
        for event in server.events():
            if isinstance(event, EventReceived):
                assert event.ack_id is not None
                socket.acknowledge(event.ack_id, ["x" * 10_000], server.now)
        assert wanted < 100
    events = server.events()
    assert kinds(events) == [Failed, Drained, Closed, Disconnected]
    assert "does not read" in str(events[0].error)  # type: ignore[attr-defined]
    assert wanted == 80


# Invalid data


@pytest.mark.parametrize("message", ["", "9", "2[", '2["connect"]', b"no header", '50-["a"]', '2["a"]x'])
def test_invalid_packet_closes_connection(serve: Serve, message: str | bytes) -> None:
    server = serve()
    server.joined()
    server.say(message)
    assert kinds(server.events()) == [Closed, Disconnected]
    assert server.client.reconnecting


def test_an_invalid_packet_is_a_parse_error(serve: Serve) -> None:
    server = serve(reconnection=False)
    server.joined()
    server.say("nonsense")
    events = server.events()
    assert kinds(events) == [Closed, Disconnected]
    assert isinstance(events[0], Closed)
    assert events[0].reason == "parse error"
    assert isinstance(events[0].details, PacketError)
    assert server.client.idle


def test_an_incomplete_packet_is_discarded_with_its_connection(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    server.say('51-["half",{"_placeholder":true,"num":0}]')
    server.lose()
    server.advance(2)
    server.accept()
    server.join()
    server.emit("whole")
    assert socket.connected
    assert server.events()[-1] == EventReceived("/", ["whole"], None, 10)


def test_the_attachments_of_a_packet_are_bounded_in_total(serve: Serve) -> None:
    server = serve(max_message_size=1000, reconnection=False)
    server.joined()
    server.emit("fits", bytes(400), bytes(400))
    assert kinds(server.events()) == [EventReceived]
    server.emit("fits again", bytes(400), bytes(400))
    assert kinds(server.events()) == [EventReceived]
    server.say('53-["too much",{"_placeholder":true,"num":0}]')
    server.say(bytes(600))
    assert server.events() == []
    server.say(bytes(600))
    events = server.events()
    assert kinds(events) == [Closed, Disconnected]
    assert "max_message_size (1000 bytes)" in str(events[0].details)  # type: ignore[attr-defined]


def test_the_bytes_of_an_incomplete_packet_do_not_count_on_the_next_connection(serve: Serve) -> None:
    server = serve(max_message_size=1000)
    server.joined()
    for _ in range(2):
        server.say('52-["half",{"_placeholder":true,"num":0}]')
        server.say(bytes(600))
        assert EventReceived not in kinds(server.events())
        assert server.client.is_open
        server.lose()
        server.advance(2)
        server.accept()


def test_a_transport_that_breaks_while_sending_loses_one_event(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    socket = server.opened()
    offline = [socket.emit([number], server.now, ack=True) for number in range(3)]
    monkeypatch.setattr(Wire, "breaks_on_send", True)
    server.join()
    events = server.events()
    assert kinds(events) == [Failed, Closed, Disconnected, AckFailed]
    assert [event.handle for event in events if isinstance(event, AckFailed)] == offline[:1]
    monkeypatch.setattr(Wire, "breaks_on_send", False)
    server.advance(2)
    server.accept()
    server.join()
    assert [packet.data for packet in server.sent() if packet.type == EVENT] == [[1], [2]]


def test_a_transport_that_breaks_while_sending_disconnect_ends_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    socket = server.joined()
    monkeypatch.setattr(Wire, "breaks_on_send", True)
    socket.disconnect(server.now)
    events = server.events()
    assert kinds(events).count(Disconnected) == 1
    assert not socket.active
    assert server.client.idle


class Broken(JSONEncoder, JSONDecoder):
    """A parser that raises a given error for one type of packet, or when it decodes."""

    def __init__(self, broken_type: int | None = None, error: Exception | None = None) -> None:
        JSONDecoder.__init__(self, 10)
        self.broken_type = broken_type
        self.error = error or ZeroDivisionError("oops")
        self.breaks_reading = False

    def encoder(self) -> JSONEncoder:
        return self

    def decoder(self, max_attachments: int) -> JSONDecoder:
        return self

    def encode(self, packet: Packet) -> list[str | bytes]:
        if packet.type == self.broken_type:
            raise self.error
        return super().encode(packet)

    def feed(self, data: str | bytes) -> Packet | None:
        if self.breaks_reading:
            raise self.error
        return super().feed(data)


def _serve_with(serve: Serve, parser: Broken) -> FakeServer:
    """Return a server whose own parser works."""
    server = serve(reconnection=False)
    client = server.client
    client._encoder, client._decoder = parser, parser
    return server


def test_any_exception_of_a_decoder_is_a_parse_error(serve: Serve) -> None:
    parser = Broken()
    server = _serve_with(serve, parser)
    server.joined()
    parser.breaks_reading = True
    server.emit("hi")
    events = server.events()
    assert kinds(events) == [Closed, Disconnected]
    assert isinstance(events[0], Closed)
    assert events[0].reason == "parse error"
    assert isinstance(events[0].details, PacketError)
    assert isinstance(events[0].details.__cause__, ZeroDivisionError)


def test_any_exception_of_an_encoder_is_raised_as_a_packet_error(serve: Serve) -> None:
    parser = Broken(EVENT)
    server = _serve_with(serve, parser)
    socket = server.joined()
    with pytest.raises(PacketError, match="cannot encode a packet") as caught:
        socket.emit(["secret"], server.now)
    assert "secret" not in str(caught.value)
    parser.error = OptionError("its own error")
    with pytest.raises(OptionError, match="its own error"):
        socket.emit(["x"], server.now)


def test_a_parser_that_cannot_encode_connect_refuses_the_namespace(serve: Serve) -> None:
    server = _serve_with(serve, Broken(CONNECT))
    socket = server.opened()
    assert not socket.active
    assert server.client.idle


def test_a_parser_that_cannot_encode_disconnect_ends_the_connection(serve: Serve) -> None:
    server = _serve_with(serve, Broken(DISCONNECT))
    socket = server.joined()
    socket.disconnect(server.now)
    events = server.events()
    assert kinds(events) == [Closed, Disconnected]
    assert events[0].reason == "parse error"  # type: ignore[attr-defined]
    assert not socket.active
    assert server.client.idle


# Options and names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reconnection", 1),
        ("reconnection_attempts", -1),
        ("reconnection_delay", -1),
        ("reconnection_delay_max", "5"),
        ("randomization_factor", 2),
        ("timeout", False),
    ],
)
def test_options_that_are_set_while_running_are_checked(serve: Serve, name: str, value: Any) -> None:
    server = serve()
    before = getattr(server.client, name)
    with pytest.raises(OptionError, match=name):
        setattr(server.client, name, value)
    assert getattr(server.client, name) == before


def test_options_that_are_set_while_running_are_returned(serve: Serve) -> None:
    client = serve().client
    client.reconnection = False
    client.reconnection_attempts = 3
    client.reconnection_delay = 2
    client.reconnection_delay_max = 30
    client.randomization_factor = 0
    client.timeout = None
    assert (client.reconnection, client.reconnection_attempts, client.reconnection_delay) == (False, 3, 2)
    assert (client.reconnection_delay_max, client.randomization_factor, client.timeout) == (30, 0, None)


def test_namespace_returns_the_same_object_each_time() -> None:
    client = ClientProtocol("http://localhost", random=Random(1))
    assert client.namespace("chat") is client.namespace("/chat")
    assert client.namespace().name == "/"
    assert list(client.namespaces) == ["/chat", "/"]


@pytest.mark.parametrize("name", ["/a,b", "/\ud800"])
def test_an_invalid_namespace_is_an_option_error(name: str) -> None:
    client = ClientProtocol("http://localhost", random=Random(1))
    with pytest.raises(OptionError, match="namespace"):
        client.namespace(name)
    assert client.namespaces == {}


def test_options_of_one_transport_are_checked_on_creation() -> None:
    options = ClientOptions(transport_options={"polling": {"close_timeout": -1}})
    with pytest.raises(OptionError, match="close_timeout"):
        ClientProtocol("http://localhost", options, random=Random(1))


@pytest.mark.parametrize("frame", ["\ud800", 5, bytearray(b"x"), None])
def test_emit_raises_if_the_encoder_returns_an_invalid_message(frame: Any) -> None:
    class Odd(JSONParser):
        def encoder(self) -> Any:
            return SimpleNamespace(encode=lambda packet: [frame])

    client = ClientProtocol("http://localhost", ClientOptions(parser=Odd()), random=Random(0))
    with pytest.raises(PacketError, match="a message "):
        client.namespace("/").emit(["event"], 0)
    assert client.idle


def test_the_timeout_aborts_a_websocket_on_which_no_handshake_arrives() -> None:
    options = ClientOptions(transports=["websocket"], timeout=1, reconnection=False)
    client = ClientProtocol("http://localhost", options, random=Random(0))
    client.namespace("/").connect(0)
    client.stream_opened(1, 0)
    request = b"".join(bytes(action.data) for action in iter(client.next_output, None) if isinstance(action, Send))
    client.data_received(1, switching(request), 0)
    assert not client.idle
    client.tick(1)
    assert client.idle
    assert CloseStream(1, abort=True) in list(iter(client.next_output, None))
