"""Engine.IO alone, as a machine: real bytes between it and a server in memory, in virtual time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.engine_protocol import EngineProtocol
from sansio_socketio.protocol.errors import OpenTimeout, OptionError, PacketError, StateError, TransportError
from sansio_socketio.protocol.events import (
    EngineClosed,
    EngineDrained,
    EngineFlushed,
    EngineMessage,
    EngineOpened,
    EnginePacket,
    EnginePacketCreated,
    EnginePacketReceived,
    EnginePing,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
    MachineEvent,
)
from sansio_socketio.protocol.options import ASK, EngineOptions
from sansio_socketio.protocol.packets.engineio import OPEN, Packet
from tests.support.engine_server import SID, EngineServer, Network


def build(url: str = "http://localhost", server: EngineServer | None = None, **options: Any) -> Network:
    machine = EngineProtocol(url, EngineOptions(**options), random=Random(1))
    return Network(machine, server or EngineServer())


def opened(server: EngineServer | None = None, **options: Any) -> Network:
    network = build(server=server, **options)
    network.machine.open(0)
    network.settle()
    assert network.machine.state == "open"
    return network


def closing_event(network: Network) -> EngineClosed:
    event = network.events[-1]
    assert isinstance(event, EngineClosed)
    return event


def assert_clean(network: Network) -> None:
    """Check that the session, its streams and its timers have ended."""
    assert network.machine.state == "closed"
    assert network.machine.idle
    assert network.streams == []
    assert network.machine._outbox.owners == {}
    assert network.machine._timers.next_deadline is None
    assert network.machine.buffered_bytes == 0


# ---------------------------------------------------------------------------------------------------------------------
# A session on each transport


def test_a_session_opens_with_polling_and_upgrades_to_websocket() -> None:
    network = opened()
    machine, server = network.machine, network.server
    assert (machine.sid, machine.transport) == (SID, "websocket")
    assert network.events == [
        EngineOpened(SID, "polling"),
        EngineUpgrading("websocket"),
        EngineUpgraded("websocket"),
        EngineDrained(),
    ]
    network.events.clear()
    machine.send("text é", 0)
    machine.send(b"\x00\xff", 0)
    assert machine.buffered_bytes == 8
    network.settle()
    server.send("back", b"\x01")
    server.ping()
    network.settle()
    assert server.messages == [("websocket", "text é"), ("websocket", b"\x00\xff")]
    assert server.pongs == 1
    machine.close(0)
    network.settle()
    assert server.closed_session
    assert network.events == [
        EngineDrained(),
        EngineMessage("back"),
        EngineMessage(b"\x01"),
        EnginePing(),
        EngineDrained(),
        EngineClosed("forced close", None),
    ]
    assert_clean(network)
    assert [opened.transport for opened in network.opened] == ["polling", "websocket"]


def test_a_session_over_polling_sends_receives_and_closes() -> None:
    network = opened(transports=["polling"])
    machine, server = network.machine, network.server
    machine.send("text é", 0)
    machine.send(b"\x00\xff", 0)
    server.send("back", b"\x01")
    server.ping()
    network.settle()
    assert server.messages == [("polling", "text é"), ("polling", b"\x00\xff")]
    assert server.pongs == 1
    assert network.events[:4] == [
        EngineOpened(SID, "polling"),
        EngineMessage("back"),
        EngineMessage(b"\x01"),
        EnginePing(),
    ]
    machine.close(0)
    network.settle()
    assert server.closed_session
    assert closing_event(network) == EngineClosed("forced close", None)
    assert_clean(network)
    assert len(network.opened) == 2


def test_a_session_over_websocket_sends_receives_and_closes() -> None:
    network = build(transports=["websocket"])
    machine, server = network.machine, network.server
    machine.open(0)
    machine.send("early", 0)
    network.settle()
    server.send("back", b"\x01")
    network.settle()
    assert server.messages == [("websocket", "early")]
    assert network.events == [
        EngineOpened(SID, "websocket"),
        EngineDrained(),
        EngineMessage("back"),
        EngineMessage(b"\x01"),
    ]
    machine.close(0)
    network.settle()
    assert server.closed_session
    assert_clean(network)
    assert [opened.transport for opened in network.opened] == ["websocket"]


def test_packets_are_reported_if_requested() -> None:
    network = build(transports=["websocket"])
    machine, server = network.machine, network.server
    assert not machine.report_packets
    machine.report_packets = True
    assert machine.report_packets
    machine.open(0)
    machine.send("early", 0)
    network.settle()
    server.send(b"back")
    network.settle()
    created, received, *rest = network.events
    assert created == EnginePacketCreated(EnginePacket("message", "early"))
    assert isinstance(received, EnginePacketReceived)
    assert received.packet.type == "open"
    assert rest == [
        EngineOpened(SID, "websocket"),
        EngineFlushed(),
        EngineDrained(),
        EnginePacketReceived(EnginePacket("message", b"back")),
        EngineMessage(b"back"),
    ]
    machine.abort(0)
    network.settle()
    assert_clean(network)


def test_messages_that_arrive_with_the_handshake_are_delivered() -> None:
    server = EngineServer()
    server.greeting = ["welcome", b"\x00"]
    network = opened(server)
    assert [event for event in network.events if isinstance(event, EngineMessage)] == [
        EngineMessage("welcome"),
        EngineMessage(b"\x00"),
    ]


def test_a_thousand_messages_keep_their_order_through_the_upgrade() -> None:
    server = EngineServer()
    server.echo = True
    server.max_payload = 500
    network = build(server=server)
    network.machine.open(0)
    for number in range(1000):
        network.machine.send(str(number), 0)
        if number % 50 == 0:
            network.deliver()
    network.settle()
    assert [data for _, data in server.messages] == [str(number) for number in range(1000)]
    assert {transport for transport, _ in server.messages} == {"polling", "websocket"}
    received = [event.data for event in network.events if isinstance(event, EngineMessage)]
    assert received == [str(number) for number in range(1000)]
    assert all(len(body) <= 500 for body in server.bodies)


@pytest.mark.parametrize("limit", [None, 40])
def test_max_payload_splits_posts(limit: int | None) -> None:
    server = EngineServer()
    server.max_payload = limit
    network = build(server=server, transports=["polling"])
    network.machine.open(0)
    messages: list[str | bytes] = ["é" * 10, b"x" * 20, "z" * 100, "", "tail"]
    for message in messages:
        network.machine.send(message, 0)
    network.settle()
    assert [data for _, data in server.messages] == messages
    sizes = [len(body) for body in server.bodies]
    assert sizes == ([21 + 1 + 29 + 1 + 101 + 1 + 1 + 1 + 5] if limit is None else [21, 29, 101, 1 + 1 + 5])


# ---------------------------------------------------------------------------------------------------------------------
# Chunks


def events_of_a_session(network: Network) -> list[MachineEvent]:
    machine, server = network.machine, network.server
    machine.open(0)
    network.settle()
    machine.send("one", 0)
    server.send("two", b"three", "é" * 200, b"x" * 3000)
    network.settle()
    server.ping()
    network.settle()
    machine.close(0)
    network.settle()
    assert_clean(network)
    return [event for event in network.events if not isinstance(event, EngineDrained)]


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_chunks_of_any_size_give_the_same_events(transports: list[str], size: int) -> None:
    whole = events_of_a_session(build(transports=transports))
    assert len(whole) >= 7
    pieces = build(transports=transports)
    pieces._cut = lambda data: [data[at : at + size] for at in range(0, len(data), size)]
    assert events_of_a_session(pieces) == whole


def test_the_same_inputs_give_the_same_bytes() -> None:
    one, two = build(transports=["polling"]), build(transports=["polling"])
    assert events_of_a_session(one) == events_of_a_session(two)
    assert one.server.requests == two.server.requests


# ---------------------------------------------------------------------------------------------------------------------
# Requests on the wire


def test_each_transport_sends_the_query_and_headers() -> None:
    own = {"query": {"own": "1"}, "extra_headers": {"X-Own": "yes"}}
    network = opened(
        query={"common": "é"},
        extra_headers={"X-Common": "yes"},
        path="/p",
        transport_options={"websocket": own},
    )
    requests = network.server.requests
    for method, target, headers in requests:
        assert target.startswith("/p/?")
        assert "common=%C3%A9" in target
        assert "EIO=4" in target
        assert headers["x-common"] == "yes"
        assert ("sid=" in target) is (target != requests[0][1])
        assert ("own=1" in target) is ("x-own" in headers) is (method == "WS")
        assert (f"transport={'websocket' if method == 'WS' else 'polling'}") in target
    assert {method for method, _, _ in requests} == {"GET", "WS"}


def test_the_query_of_the_url_replaces_the_option() -> None:
    network = build("http://localhost/ignored?from=url", query={"from": "option", "more": "1"})
    network.machine.open(0)
    network.settle()
    for _, target, _ in network.server.requests:
        assert "from=url" in target
        assert "more" not in target
        assert target.startswith("/engine.io/")


@pytest.mark.parametrize("wanted", [True, False])
def test_cookies_are_sent_back_only_with_credentials(wanted: bool) -> None:
    server = EngineServer()
    server.response_headers = [("Set-Cookie", "server=1; Path=/; HttpOnly")]
    network = opened(server, with_credentials=wanted)
    first, *rest = network.server.requests
    assert "cookie" not in first[2]
    assert [headers.get("cookie") for _, _, headers in rest] == ["server=1" if wanted else None] * len(rest)
    assert "WS" in {method for method, _, _ in rest}


def test_streams_are_opened_to_the_host_of_the_url() -> None:
    network = build("wss://[::1]:8443")
    network.machine.open(0)
    network.drain()
    (stream,) = network.opened
    assert (stream.host, stream.port, stream.tls, stream.transport) == ("::1", 8443, True, "polling")


# ---------------------------------------------------------------------------------------------------------------------
# Opening


def test_a_refused_stream_closes_the_session() -> None:
    network = build()
    network.refused = {"polling"}
    network.machine.open(0)
    network.settle()
    event = closing_event(network)
    assert event.reason == "transport error"
    assert isinstance(event.details, TransportError)
    assert "connection refused" in str(event.details)
    assert_clean(network)


def test_the_error_has_the_status_and_body_of_the_response() -> None:
    server = EngineServer()
    server.status = 400
    network = build(server=server)
    network.machine.open(0)
    network.settle()
    details = closing_event(network).details
    assert isinstance(details, TransportError)
    assert (details.status, details.transport) == (400, "polling")
    assert details.body == '{"code":3,"message":"Bad request"}'
    assert_clean(network)


def test_the_next_transport_is_tried_if_the_first_is_refused() -> None:
    network = build(try_all_transports=True)
    network.refused = {"polling"}
    network.machine.open(0)
    network.settle()
    assert network.events[0] == EngineOpened(SID, "websocket")
    assert network.machine.transport == "websocket"
    network.machine.close(0)
    network.settle()
    assert_clean(network)


def test_the_session_closes_if_all_transports_are_refused() -> None:
    network = build(try_all_transports=True)
    network.refused = {"polling", "websocket"}
    network.machine.open(0)
    network.settle()
    assert network.event_names() == ["EngineClosed"]
    assert [stream.transport for stream in network.opened] == ["polling", "websocket"]
    details = closing_event(network).details
    assert isinstance(details, TransportError)
    assert details.transport == "websocket"
    assert_clean(network)


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]])
@pytest.mark.parametrize("handshake", [b"0{}", b"4early", b"2", b"0[[[["])
def test_an_invalid_handshake_closes_the_session(transports: list[str], handshake: bytes) -> None:
    server = EngineServer()
    server.handshake = handshake
    network = build(server=server, transports=transports)
    network.machine.open(0)
    network.settle()
    network.wait(5)
    event = closing_event(network)
    assert event.reason == "transport error"
    assert isinstance(event.details, TransportError)
    assert_clean(network)


def test_a_second_handshake_closes_the_session() -> None:
    network = opened()
    network.server.send_packets(Packet(OPEN, "{}"))
    network.settle()
    assert closing_event(network).reason == "transport error"
    assert "second handshake" in str(closing_event(network).details)
    network.settle()
    assert_clean(network)


@pytest.mark.parametrize("timeout", [20.0, 1, 0])
def test_the_session_closes_if_it_is_not_open_within_the_timeout(timeout: float) -> None:
    network = build()
    network.machine.open(100, timeout=timeout)
    network.now = 100
    network.drain()  # the stream never opens
    assert network.deadline == 100 + timeout
    network.now = 100 + timeout
    network.tick()
    event = closing_event(network)
    assert event.reason == "transport error"
    assert isinstance(event.details, OpenTimeout)
    assert isinstance(event.details, TimeoutError)
    message = (
        f"the session with localhost:80 was not open within {timeout:g} seconds: the name of the host was not resolved"
    )
    assert str(event.details).startswith(message)
    assert event.details.transport == "polling"
    assert_clean(network)


def test_the_timeout_has_a_default_and_ends_when_the_session_is_open() -> None:
    network = build()
    network.machine.open(0)
    network.drain()
    assert network.deadline == 20
    network.settle()
    network.wait(30)
    assert network.machine.state == "open"


def test_without_a_timeout_opening_has_no_time_limit() -> None:
    network = build()
    network.machine.open(0, timeout=None)
    network.drain()
    assert network.deadline is None
    network.now = 1e6
    network.settle()
    assert network.machine.state == "open"


@pytest.mark.parametrize("timeout", [-1, "20", True, float("nan"), float("inf")])
def test_an_invalid_timeout_raises_and_has_no_effect(timeout: Any) -> None:
    network = build()
    with pytest.raises(OptionError, match="timeout takes"):
        network.machine.open(0, timeout=timeout)
    assert network.machine.state == "new"
    assert network.machine.next_output() is None


def test_open_raises_when_it_is_called_again() -> None:
    network = build()
    machine = network.machine
    assert machine.idle
    machine.open(0)
    with pytest.raises(StateError, match=r"this session is opening: .* create another"):
        machine.open(0)
    network.settle()
    with pytest.raises(StateError, match="this session is open"):
        machine.open(0)
    machine.abort(0)
    network.drain()
    with pytest.raises(StateError, match="this session is closed"):
        machine.open(0)


@pytest.mark.parametrize("options", [{"query": ASK}, {"extra_headers": ASK}])
def test_options_must_not_be_ask(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="must be mappings, not ASK"):
        build(**options)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://x", {}, "the scheme must be"),
        ("http://x", {"transport_options": {"websocket": {"colour": 1}}}, "unknown option 'colour'"),
        ("http://x", {"extra_headers": {"Upgrade": "1"}}, "must not contain 'Upgrade'"),
    ],
)
def test_invalid_arguments_raise_on_creation(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build(url, **options)


def test_options_are_optional() -> None:
    assert EngineProtocol("http://x", random=Random(1)).state == "new"


# ---------------------------------------------------------------------------------------------------------------------
# Sending


@pytest.mark.parametrize("data", [None, 1, bytearray(b"x"), memoryview(b"x"), ["x"], "\ud800", "é\udfff"])
def test_sending_an_invalid_message_raises_and_has_no_effect(data: Any) -> None:
    network = opened()
    with pytest.raises(PacketError, match=r"^a message "):
        network.machine.send(data, 0)
    assert network.machine.buffered_bytes == 0
    assert network.machine.next_output() is None


def test_sending_before_open_raises() -> None:
    network = build()
    with pytest.raises(StateError, match=r"call open\(\) before send"):
        network.machine.send("x", 0)


@pytest.mark.parametrize("command", ["send", "close", "abort"])
def test_a_command_after_the_ping_timeout_has_no_effect(command: str) -> None:
    network = opened()
    network.events.clear()
    machine = network.machine
    if command == "send":
        machine.send("too late", 1000)
    else:
        getattr(machine, command)(1000)
    network.drain()
    network.now = 1000
    network.settle()
    assert network.events == [EngineClosed("ping timeout", None)]
    assert network.server.messages == []
    assert_clean(network)


def test_a_ping_after_the_ping_timeout_does_not_save_the_session() -> None:
    network = opened(transports=["polling"])
    network.server.ping()
    network.now = 46
    network.deliver()
    assert closing_event(network) == EngineClosed("ping timeout", None)


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]])
def test_pings_keep_the_session_open_and_a_missing_ping_closes_it(transports: list[str]) -> None:
    network = opened(transports=transports)
    for _ in range(10):
        network.wait(44)
        network.server.ping()
        network.settle()
    assert network.machine.state == "open"
    assert network.server.pongs == 10
    network.wait(44.9)
    network.server.send("no ping")
    network.settle()
    assert network.machine.state == "open"
    network.wait(0.1)
    assert closing_event(network) == EngineClosed("ping timeout", None)
    network.wait(5)
    assert_clean(network)


# ---------------------------------------------------------------------------------------------------------------------
# Upgrades that fail


def test_a_websocket_lost_before_the_switch_resumes_polling() -> None:
    server = EngineServer()
    server.release_poll = False
    network = opened(server)
    machine = network.machine
    assert network.event_names()[-1] == "EngineUpgrading"
    machine.send("waits", 0)
    network.settle()
    assert server.messages == []
    server.close_streams(websocket=True)
    network.settle()
    assert isinstance(network.events[2], EngineUpgradeFailed)
    assert machine.transport == "polling"
    assert server.messages == [("polling", "waits")]
    server.send("still here")
    network.settle()
    assert network.events[-1] == EngineMessage("still here")
    machine.send("more", 0)
    network.settle()
    machine.close(0)
    network.settle()
    assert server.messages[1:] == [("polling", "more")]
    assert server.closed_session
    assert_clean(network)


@pytest.mark.parametrize("answer", ["3", "4probe", b"3probe"])
def test_an_invalid_response_to_the_probe_closes_its_stream_and_not_polling(answer: str | bytes) -> None:
    server = EngineServer()
    server.probe_answer = answer
    server.release_poll = False
    network = opened(server)
    (event,) = [event for event in network.events if isinstance(event, EngineUpgradeFailed)]
    assert "answered the probe with" in str(event.error)
    websocket = network.opened[-1]
    assert websocket.transport == "websocket"
    assert websocket.stream not in network.streams
    network.server.send("fine")
    network.settle()
    assert network.events[-1] == EngineMessage("fine")


def test_a_websocket_that_cannot_be_opened_does_not_affect_polling() -> None:
    network = build()
    network.refused = {"websocket"}
    network.machine.open(0)
    network.settle()
    assert network.event_names() == ["EngineOpened", "EngineUpgradeFailed"]
    network.wait(40)
    assert network.machine.state == "open"


def test_an_unanswered_probe_is_closed_with_the_session() -> None:
    server = EngineServer()
    server.probe_answer = None
    network = opened(server)
    network.machine.close(0)
    network.settle()
    assert_clean(network)


# ---------------------------------------------------------------------------------------------------------------------
# Closing


def test_a_close_packet_over_polling_closes_the_session() -> None:
    network = opened(transports=["polling"])
    network.server.end()
    network.settle()
    assert closing_event(network).reason == "transport close"
    assert_clean(network)


def test_a_close_frame_of_the_server_closes_the_session() -> None:
    network = opened()
    network.server.end()
    network.settle()
    event = closing_event(network)
    assert event.reason == "transport close"
    assert isinstance(event.details, TransportError)
    assert event.details.close_code == 1000
    assert_clean(network)


def test_buffered_messages_are_sent_before_the_session_closes() -> None:
    server = EngineServer()
    server.max_payload = 10
    network = opened(server, transports=["polling"])
    for _ in range(5):
        network.machine.send("12345678", 0)
    network.machine.close(0)
    network.machine.send("dropped", 0)
    assert network.machine.state == "closing"
    network.settle()
    assert server.messages == [("polling", "12345678")] * 5
    assert server.closed_session
    assert_clean(network)


def test_close_while_upgrading_waits_for_the_upgrade() -> None:
    server = EngineServer()
    server.release_poll = False
    network = opened(server)
    network.machine.send("behind it", 0)
    network.machine.close(0)
    network.settle()
    assert network.machine.state == "closing"
    server.send_packets(Packet("6"))
    network.settle()
    assert EngineUpgraded("websocket") in network.events
    assert server.messages == [("websocket", "behind it")]
    assert server.closed_session
    assert_clean(network)


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]])
def test_closing_the_streams_takes_at_most_close_timeout(transports: list[str]) -> None:
    network = opened(transports=transports, close_timeout=3)
    network.server.answer_posts = network.server.answer_close = False
    network.machine.close(0)
    network.settle()
    assert network.machine.state == "closed"
    assert not network.machine.idle
    network.wait(2.9)
    assert network.streams
    network.wait(0.1)
    assert_clean(network)


def test_draining_and_closing_share_close_timeout() -> None:
    network = opened(transports=["polling"], close_timeout=5)
    network.server.answer_posts = False
    network.machine.send("slow", 0)
    network.machine.close(0)
    network.wait(4)
    assert network.machine.state == "closing"
    network.server.answer_held_posts()
    network.server.answer_posts = False
    network.wait(0.5)
    assert closing_event(network) == EngineClosed("forced close", None)
    assert network.streams
    network.wait(0.5)
    assert_clean(network)


def test_a_session_that_does_not_drain_is_closed_after_close_timeout() -> None:
    network = opened(transports=["polling"], close_timeout=5)
    network.server.answer_posts = False
    network.machine.send("stuck", 0)
    network.machine.close(0)
    network.wait(5)
    assert closing_event(network) == EngineClosed("forced close", None)
    assert_clean(network)


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
def test_abort_closes_the_streams_of_a_closing_session(transports: list[str]) -> None:
    network = opened(transports=transports)
    network.server.answer_posts = network.server.answer_close = False
    network.machine.close(0)
    network.settle()
    assert network.streams
    network.machine.abort(1)
    network.drain()
    assert network.closed[-1].abort
    assert network.event_names().count("EngineClosed") == 1
    assert_clean(network)


def test_abort_closes_an_open_session_at_once() -> None:
    network = opened()
    network.machine.send("lost", 0)
    network.machine.abort(0)
    network.drain()
    assert closing_event(network) == EngineClosed("forced close", None)
    assert_clean(network)


@pytest.mark.parametrize("command", ["close", "abort"])
def test_close_or_abort_while_opening_closes_the_session(command: str) -> None:
    network = build()
    network.machine.open(0)
    getattr(network.machine, command)(0)
    network.settle()
    assert network.events == [EngineClosed("forced close", None)]
    assert_clean(network)


def test_close_or_abort_before_open_does_nothing() -> None:
    machine = build().machine
    machine.close(0)
    machine.abort(0)
    assert machine.next_output() is None
    assert machine.state == "new"


# ---------------------------------------------------------------------------------------------------------------------
# Random inputs

STEPS = st.sampled_from(
    [
        *["deliver"] * 12,
        *["send"] * 3,
        *["receive"] * 3,
        "ping",
        "time",
        "tick",
        "stale",
        "close",
        "abort",
        "end",
        "close websockets",
        "close polling",
        "break",
        "garbage",
        "second handshake",
    ]
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_inputs_leave_no_stream_or_timer_after_the_session(data: st.DataObject) -> None:
    chance = Random(data.draw(st.integers(0, 2**32), label="chance"))
    server = EngineServer()
    server.probe_answer = data.draw(st.sampled_from(["3probe"] * 4 + ["3", None]), label="probe answer")
    server.release_poll = data.draw(st.booleans(), label="release poll") or server.probe_answer != "3probe"
    server.answer_posts = chance.random() < 0.8
    server.answer_close = chance.random() < 0.8
    server.max_payload = chance.choice([None, 5, 100])
    server.echo = chance.random() < 0.5
    transports = data.draw(
        st.sampled_from([["polling", "websocket"], ["polling"], ["websocket"], ["websocket", "polling"]])
    )
    options = EngineOptions(transports=transports, try_all_transports=chance.random() < 0.5)

    def cut(piece: bytes) -> list[bytes]:
        places = sorted(chance.randrange(len(piece) + 1) for _ in range(chance.randrange(3)))
        return [piece[start:end] for start, end in zip([0, *places], [*places, len(piece)], strict=True)]

    machine = EngineProtocol("http://localhost", options, random=Random(1))
    network = Network(machine, server, choose=chance.randrange, cut=cut)
    if chance.random() < 0.2:
        network.refused = {chance.choice(["polling", "websocket"])}
    machine.open(0, timeout=chance.choice([None, 20.0]))
    network.drain()
    for _ in range(data.draw(st.sampled_from([0, 3, 10, 20, 40]), label="deliveries before")):
        network.deliver()
    sent: list[str] = []
    for step in data.draw(st.lists(STEPS, min_size=5, max_size=60), label="steps"):
        was_taking = machine.state in {"opening", "open"}
        match step:
            case "deliver":
                for _ in range(chance.randrange(1, 6)):
                    network.deliver()
            case "send":
                machine.send(f"é{len(sent)}", network.now)
                if was_taking:
                    sent.append(f"é{len(sent)}")
            case "receive" if server.open:
                server.send("down", b"down")
            case "ping" if server.open:
                server.ping()
            case "time":
                network.now += chance.choice([0.1, 1, 10, 30])
                if network.deadline is not None and network.deadline <= network.now:
                    network.tick()
            case "tick":
                machine.tick(network.now)
            case "stale":
                machine.data_received(10_000, b"stale", network.now)
                machine.stream_closed(10_000, None, network.now)
                for closed in network.closed:
                    machine.data_received(closed.stream, b"stale", network.now)
                    machine.data_sent(closed.stream, network.now)
                    machine.stream_opened(closed.stream, network.now)
                    machine.stream_failed(closed.stream, OSError(), network.now)
            case "close":
                machine.close(network.now)
            case "abort":
                machine.abort(network.now)
            case "end" if server.open:
                server.end()
            case "close websockets":
                server.close_streams(websocket=True)
            case "close polling":
                server.close_streams(websocket=False)
            case "break" if network.streams:
                stream = chance.choice(network.streams)
                network._forget(stream)
                machine.stream_closed(stream, ConnectionResetError("reset"), network.now)
            case "garbage" if network.streams:
                machine.data_received(chance.choice(network.streams), chance.randbytes(20), network.now)
            case "second handshake" if server.open:
                server.send_packets(Packet(OPEN, "{}"))
            case _:
                pass
        network.drain()
    received = [data for _, data in server.messages]
    assert received == sent[: len(received)]
    # Everything in flight settles in the end.
    machine.close(network.now)
    network.drain()
    network.wait(2 * options.close_timeout)
    network.wait(100)
    assert_clean(network)
