"""A session over fake transports: how it calls them, and how it calls its observer."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from sansio_socketio.protocol.actions import Outbox
from sansio_socketio.protocol.engine import EngineSession, Memory
from sansio_socketio.protocol.engine_options import check_engine_options, request_query, transport_options
from sansio_socketio.protocol.errors import OptionError, TransportError
from sansio_socketio.protocol.events import (
    EngineFlushed,
    EnginePacketCreated,
    EnginePacketReceived,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
    MachineEvent,
)
from sansio_socketio.protocol.options import ASK, ClientOptions, EngineOptions
from sansio_socketio.protocol.timers import Timers
from sansio_socketio.protocol.transports.base import Transport
from sansio_socketio.protocol.url import parse_url
from tests.support.transports import FakeTransport, fake_transports

HANDSHAKE = '0{"sid":"S","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":10}'
NO_UPGRADE = '0{"sid":"S","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":10}'
NO_LIMIT = '0{"sid":"S","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'
DEADLINE = 45.0


REPORTS: dict[type[MachineEvent], Callable[[Any], tuple[Any, ...]]] = {
    EngineUpgrading: lambda event: ("upgrading", event.transport),
    EngineUpgraded: lambda event: ("upgrade", event.transport),
    EngineUpgradeFailed: lambda event: ("upgrade_error", event.error),
    EnginePacketReceived: lambda event: ("packet", event.packet.type, event.packet.data),
    EnginePacketCreated: lambda event: ("packet_create", event.packet.type, event.packet.data),
    EngineFlushed: lambda event: ("flush",),
}


class SessionRig:
    """A session, its fake transports, and its notifications: a name and the arguments."""

    def __init__(
        self,
        made: list[FakeTransport],
        options: EngineOptions | None = None,
        memory: Memory | None = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.made = made
        self.query = query or {}
        self.headers = headers or {}
        self.notifications: list[tuple[Any, ...]] = []
        self.outbox = Outbox()
        self.outbox.deliver = lambda event: self.notifications.append(
            REPORTS[type(event)](event)
        )  # the session delivers by itself
        self.timers = Timers()
        self.then: dict[str, Callable[[float], None]] = {}
        self.session = EngineSession(
            parse_url("http://localhost"),
            options or EngineOptions(),
            self,
            memory=memory or Memory(),
            outbox=self.outbox,
            timers=self.timers,
            random=Random(1),
        )

    @property
    def first(self) -> FakeTransport:
        return self.made[0]

    @property
    def last(self) -> FakeTransport:
        return self.made[-1]

    @property
    def names(self) -> list[str]:
        return [notification[0] for notification in self.notifications]

    def handshake(self, frame: str = NO_UPGRADE, now: float = 0) -> FakeTransport:
        self.session.open(now, query=self.query, headers=self.headers)
        transport = self.last
        transport.opens(now)
        transport.receives(frame, now=now)
        return transport

    def probing(self, now: float = 0) -> tuple[FakeTransport, FakeTransport]:
        """Return the transports after the probe was sent."""
        polling = self.handshake(HANDSHAKE, now)
        websocket = self.last
        websocket.opens(now)
        return polling, websocket

    def upgrading(self, now: float = 0) -> tuple[FakeTransport, FakeTransport]:
        """Return the transports after the response to the probe, while polling pauses."""
        polling, websocket = self.probing(now)
        websocket.drains(now)
        websocket.receives("3probe", now=now)
        return polling, websocket

    def time(self, now: float) -> None:
        self.timers.fire_due(now)

    def assert_clean(self) -> None:
        assert self.session.state == "closed"
        assert not self.outbox.owners
        assert self.timers.next_deadline is None
        assert self.session.buffered_bytes == 0
        assert not self.session.sends_at_once
        assert self.names.count("close") == 1
        assert self.names[-1] == "close"
        assert not any(transport.live for transport in self.made)

    # EngineObserver

    def _notify(self, now: float, name: str, *values: Any) -> None:
        assert "close" not in self.names, f"{name} after close"
        self.notifications.append((name, *values))
        if name in self.then:
            self.then[name](now)

    def on_engine_open(self, engine: EngineSession, now: float) -> None:
        self._notify(now, "open", engine.sid, engine.transport)

    def on_engine_message(self, engine: EngineSession, data: str | bytes, now: float) -> None:
        self._notify(now, "message", data)

    def on_engine_ping(self, engine: EngineSession, now: float) -> None:
        self._notify(now, "ping")

    def on_engine_drain(self, engine: EngineSession, now: float) -> None:
        self._notify(now, "drain")

    def on_engine_close(self, engine: EngineSession, reason: str, details: Exception | None, now: float) -> None:
        self._notify(now, "close", reason, details)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeTransport]:
    transports: list[FakeTransport] = []
    monkeypatch.setattr("sansio_socketio.protocol.engine_options.TRANSPORT_CLASSES", fake_transports(transports))
    return transports


@pytest.fixture
def rig(made: list[FakeTransport]) -> SessionRig:
    return SessionRig(made)


# ---------------------------------------------------------------------------------------------------------------------
# The handshake


def test_the_handshake_opens_the_session_on_the_first_transport(rig: SessionRig) -> None:
    rig.session.open(0)
    assert (rig.session.state, rig.session.sid, rig.session.transport) == ("opening", None, "polling")
    rig.first.opens()
    assert rig.notifications == []
    rig.first.receives(NO_UPGRADE)
    assert rig.notifications == [("open", "S", "polling")]
    assert rig.session.state == "open"
    assert rig.first.endpoint.sid == "S"
    assert rig.session.sends_at_once


@pytest.mark.parametrize("frame", ["4early", "2", "3", "6", "1", b"early", "4" + "x" * 10_000])
def test_a_packet_before_the_handshake_closes_the_session(rig: SessionRig, frame: str | bytes) -> None:
    rig.handshake(frame)  # type: ignore[arg-type]  # binary, too
    name, reason, details = rig.notifications[0]
    assert (name, reason) == ("close", "transport error")
    assert isinstance(details, TransportError)
    assert "before the handshake" in str(details)
    assert len(str(details)) < 200
    assert details.transport == "polling"
    rig.assert_clean()


@pytest.mark.parametrize("text", ["0", "0{}", "0[]", "0null", '0{"sid":1}', "0" + "[" * 5000])
def test_an_invalid_handshake_closes_the_session(rig: SessionRig, text: str) -> None:
    rig.handshake(text)
    assert rig.notifications[0][:2] == ("close", "transport error")
    assert "the handshake of localhost:80 is invalid: " in str(rig.notifications[0][2])
    assert rig.notifications[0][2].__cause__ is not None
    rig.assert_clean()


@pytest.mark.row("difference.second_open")
def test_a_second_handshake_closes_the_session(rig: SessionRig) -> None:
    rig.handshake().receives(NO_UPGRADE)
    assert rig.notifications[1][:2] == ("close", "transport error")
    assert "second handshake" in str(rig.notifications[1][2])
    rig.assert_clean()


def test_messages_sent_before_the_handshake_are_buffered_until_it_arrives(
    made: list[FakeTransport],
) -> None:
    rig = SessionRig(made, EngineOptions(transports=["websocket"]))
    rig.session.open(0)
    rig.session.send(["one"], 0)
    rig.first.opens()
    rig.session.send(["two"], 0)
    assert rig.first.sent == []
    assert not rig.session.sends_at_once
    rig.first.receives(NO_UPGRADE)
    assert rig.first.sent == [["4one", "4two"]]
    assert rig.session.buffered_bytes == 6


def test_a_transport_that_fails_while_opening_closes_the_session(rig: SessionRig) -> None:
    rig.session.open(0)
    error = TransportError("refused", status=400, body="{}")
    rig.first.closes("transport error", error)
    assert rig.notifications == [("close", "transport error", error)]
    rig.assert_clean()


def test_all_transports_are_tried_and_only_the_last_failure_is_reported(made: list[FakeTransport]) -> None:
    rig = SessionRig(made, EngineOptions(try_all_transports=True))
    rig.session.open(0)
    made[0].closes("transport error", TransportError("first"))
    assert rig.notifications == []
    assert [transport.name for transport in made] == ["polling", "websocket"]
    last = TransportError("last")
    made[1].closes("transport error", last)
    assert rig.notifications == [("close", "transport error", last)]
    assert len(made) == 2
    rig.assert_clean()


def test_a_transport_that_failed_to_open_is_not_upgraded_to(made: list[FakeTransport]) -> None:
    rig = SessionRig(made, EngineOptions(try_all_transports=True, transports=["websocket", "polling"]))
    rig.session.open(0)
    made[0].closes("transport error")
    assert made[1].name == "polling"
    made[1].opens()
    made[1].receives(HANDSHAKE)
    assert rig.notifications == [("open", "S", "polling")]
    assert len(made) == 2


def test_an_open_session_tries_no_other_transport(made: list[FakeTransport]) -> None:
    rig = SessionRig(made, EngineOptions(try_all_transports=True))
    rig.handshake().closes("transport close")
    assert rig.names == ["open", "close"]
    assert len(made) == 1
    rig.assert_clean()


# ---------------------------------------------------------------------------------------------------------------------
# The heartbeat


def test_a_ping_is_answered_and_reported(rig: SessionRig) -> None:
    polling = rig.handshake()
    polling.receives("2")
    assert rig.notifications[1:] == [("ping",)]
    assert polling.sent == [["3"]]


def test_a_missing_ping_closes_the_session(rig: SessionRig) -> None:
    polling = rig.handshake(now=100)
    rig.time(100 + DEADLINE - 0.001)
    assert rig.session.state == "open"
    rig.time(100 + DEADLINE)
    assert rig.notifications[1:] == [("close", "ping timeout", None)]
    assert polling.calls[-1] == "close"
    rig.assert_clean()


@pytest.mark.parametrize("frame", ["4message", b"binary", "3", "6", "5", "1"])
def test_only_a_ping_restarts_the_ping_timeout(rig: SessionRig, frame: str | bytes) -> None:
    polling = rig.handshake()
    polling.receives(frame, now=40)
    assert rig.timers.next_deadline == DEADLINE
    polling.receives("2", now=41)
    assert rig.timers.next_deadline == 41 + DEADLINE


def test_sending_does_not_restart_the_ping_timeout(rig: SessionRig) -> None:
    polling = rig.handshake()
    rig.session.send(["x"], 40)
    polling.drains(41)
    assert rig.timers.next_deadline == DEADLINE


def test_a_transport_that_breaks_while_sending_a_pong_closes_the_session(rig: SessionRig) -> None:
    polling = rig.handshake()
    polling.breaks = True
    polling.receives("2")
    assert rig.names == ["open", "close"]
    rig.assert_clean()


@pytest.mark.parametrize("upgrading", [False, True])
def test_a_transport_that_breaks_while_sending_queued_packets_closes_the_session(
    rig: SessionRig, upgrading: bool
) -> None:
    if upgrading:
        polling, websocket = rig.upgrading()
        websocket.breaks = True
        polling.pauses()
    else:
        rig.session.open(0)
        rig.first.breaks = True
        rig.session.send(["queued"], 0)
        rig.first.opens()
        rig.first.receives(HANDSHAKE)
    assert rig.names[-1] == "close"
    rig.assert_clean()


def test_a_probe_that_breaks_while_sending_does_not_affect_polling(rig: SessionRig) -> None:
    rig.handshake(HANDSHAKE)
    rig.last.breaks = True
    rig.last.opens()
    assert rig.names == ["open", "upgrade_error"]
    rig.session.close(0)
    rig.assert_clean()


@pytest.mark.parametrize("frame", ["3", "6", "5", "1", "3probe"])
def test_unexpected_packets_are_ignored(rig: SessionRig, frame: str) -> None:
    rig.handshake().receives(frame)
    assert rig.names == ["open"]
    assert rig.session.state == "open"


# ---------------------------------------------------------------------------------------------------------------------
# Messages and the write buffer


def test_messages_are_delivered_in_order(rig: SessionRig) -> None:
    rig.handshake().receives("4", "4one", b"two", "bdGhyZWU=")
    assert rig.notifications[1:] == [("message", ""), ("message", "one"), ("message", b"two"), ("message", b"three")]


def test_one_batch_is_sent_at_a_time(rig: SessionRig) -> None:
    polling = rig.handshake(NO_LIMIT)
    rig.session.send(["a"], 0)
    assert not rig.session.sends_at_once
    rig.session.send(["b"], 0)
    rig.session.send([b"c"], 0)
    assert polling.sent == [["4a"]]
    assert rig.session.buffered_bytes == 3
    polling.drains()
    assert polling.sent == [["4a"], ["4b", b"c"]]
    assert rig.session.buffered_bytes == 2
    assert "drain" not in rig.names
    polling.drains()
    assert rig.names == ["open", "drain"]
    assert rig.session.buffered_bytes == 0
    assert rig.session.sends_at_once


@pytest.mark.row("difference.binary_post")
def test_the_frames_of_one_packet_are_sent_in_one_batch(rig: SessionRig) -> None:
    polling = rig.handshake(NO_LIMIT)
    rig.session.send(["text", b"1", b"2"], 0)
    assert polling.sent == [["4text", b"1", b"2"]]


@pytest.mark.parametrize(
    ("messages", "batches"),
    [
        (["12345678", "1"], [["412345678"], ["41"]]),  # 9 + 1 + 2 bytes
        (["123456", "1"], [["4123456", "41"]]),  # 7 + 1 + 2: just as many as allowed
        (["1234567", "1"], [["41234567"], ["41"]]),
        (["éé", "é1"], [["4éé", "4é1"]]),  # 5 + 1 + 4, in UTF-8
        (["éé", "éé"], [["4éé"], ["4éé"]]),
        ([b"abc", b"abc"], [[b"abc"], [b"abc"]]),  # b + base64: 5 + 1 + 5
        ([b"abc", "123"], [[b"abc", "4123"]]),  # 5 + 1 + 4
        ([b"abcd", "1"], [[b"abcd"], ["41"]]),  # 9 + 1 + 2
        (["1", "x" * 50, "2", "3"], [["41"], ["4" + "x" * 50], ["42", "43"]]),
        (["", "", "", "", "", ""], [["4", "4", "4", "4", "4"], ["4"]]),
    ],
)
def test_batches_over_polling_respect_max_payload(
    rig: SessionRig, messages: list[str | bytes], batches: list[list[str | bytes]]
) -> None:
    rig.session.open(0)
    for message in messages:
        rig.session.send([message], 0)
    rig.first.opens()
    rig.first.receives(NO_UPGRADE)
    while rig.session.buffered_bytes or not rig.first.writable:
        rig.first.drains()
    assert rig.first.sent == batches


@pytest.mark.parametrize(("transports", "frame"), [(["polling"], NO_LIMIT), (["websocket"], NO_UPGRADE)])
def test_without_max_payload_and_over_websocket_all_messages_are_one_batch(
    made: list[FakeTransport], transports: list[str], frame: str
) -> None:
    rig = SessionRig(made, EngineOptions(transports=transports))
    rig.session.open(0)
    for _ in range(5):
        rig.session.send(["x" * 20], 0)
    rig.first.opens()
    rig.first.receives(frame)
    assert rig.first.sent == [["4" + "x" * 20] * 5]


def test_at_most_one_pong_is_queued(rig: SessionRig) -> None:
    polling = rig.handshake(NO_LIMIT)
    rig.session.send(["a"], 0)
    for _ in range(100):
        polling.receives("2")
    polling.drains()
    assert polling.sent == [["4a"], ["3"]]
    polling.receives("2")
    polling.drains()
    assert polling.sent[2:] == [["3"]]


def test_packets_carry_the_compress_flag(rig: SessionRig, monkeypatch: pytest.MonkeyPatch) -> None:
    polling = rig.handshake()
    sent: list[bool] = []
    monkeypatch.setattr(polling, "send", lambda packets, now: sent.extend(packet.compress for packet in packets))
    rig.session.send(["x"], 0, compress=False)
    rig.session.send(["x"], 0)
    assert sent == [False, True]


# ---------------------------------------------------------------------------------------------------------------------
# The upgrade


def test_an_upgrade_probes_pauses_polling_and_switches(rig: SessionRig) -> None:
    polling = rig.handshake(HANDSHAKE)
    websocket = rig.last
    assert websocket.name == "websocket"
    assert websocket.endpoint.sid == "S"
    assert websocket.sent == []
    websocket.opens()
    assert websocket.sent == [["2probe"]]
    websocket.drains()
    assert "drain" not in rig.names
    assert polling.calls == ["open"]
    websocket.receives("3probe")
    assert rig.notifications[1:] == [("upgrading", "websocket")]
    assert polling.calls == ["open", "pause"]
    assert rig.session.transport == "polling"
    polling.pauses()
    assert rig.notifications[2:] == [("upgrade", "websocket")]
    assert polling.calls == ["open", "pause", "abort"]
    assert websocket.sent == [["2probe"], ["5"]]
    assert rig.session.transport == "websocket"
    websocket.drains()
    assert rig.names[3:] == ["drain"]
    websocket.receives("4over", "2", now=1)
    assert rig.notifications[4:] == [("message", "over"), ("ping",)]
    assert websocket.sent[2:] == [["3"]]


def test_messages_are_sent_over_polling_during_the_probe(rig: SessionRig) -> None:
    polling, _ = rig.probing()
    rig.session.send(["a"], 0)
    assert polling.sent == [["4a"]]


@pytest.mark.row("difference.volatile_upgrade")
def test_no_packets_are_sent_while_pausing(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    assert not rig.session.sends_at_once
    rig.session.send(["a"], 0)
    polling.receives("4in", "2")
    assert polling.sent == []
    assert websocket.sent == [["2probe"]]
    polling.pauses()
    assert websocket.sent[1:] == [["5", "4a", "3"]]
    assert polling.sent == []


def test_a_batch_in_flight_completes_before_the_switch_and_the_next_follows_it(rig: SessionRig) -> None:
    polling, websocket = rig.probing()
    websocket.drains()
    rig.session.send(["a"], 0)
    websocket.receives("3probe")
    rig.session.send(["b"], 0)
    polling.drains()
    assert polling.sent == [["4a"]]
    assert "drain" not in rig.names
    polling.pauses()
    assert websocket.sent[1:] == [["5", "4b"]]
    assert rig.session.buffered_bytes == 1


def test_the_upgrade_packet_is_sent_when_the_probe_has_drained(rig: SessionRig) -> None:
    polling, websocket = rig.probing()
    rig.session.send(["a"], 0)
    polling.drains()
    rig.notifications.clear()
    websocket.receives("3probe")
    polling.pauses()
    assert websocket.sent == [["2probe"]]
    websocket.drains()
    assert websocket.sent == [["2probe"], ["5"]]
    assert "drain" not in rig.names
    assert rig.session.buffered_bytes == 0


@pytest.mark.row("difference.lost_upgrade")
def test_a_websocket_lost_before_the_switch_resumes_polling(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.send(["a"], 0)
    websocket.closes("transport close", TransportError("gone", close_code=1006, status=1, body="b"))
    name, error = rig.notifications[-1]
    assert name == "upgrade_error"
    assert isinstance(error, TransportError)
    assert (error.transport, error.close_code, error.status, error.body) == ("websocket", 1006, 1, "b")
    assert str(error) == "probe error: gone"
    assert isinstance(error.__cause__, TransportError)
    assert polling.calls == ["open", "pause", "resume", "send"]
    assert polling.sent == [["4a"]]
    polling.drains()
    rig.session.send(["b"], 0)
    assert polling.sent == [["4a"], ["4b"]]
    assert rig.session.state == "open"


def test_a_pause_that_completes_after_a_failed_upgrade_is_ignored(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    websocket.closes("transport close")
    polling.pauses()
    assert rig.session.transport == "polling"
    assert polling.live


def test_a_failed_probe_does_not_affect_polling(rig: SessionRig) -> None:
    polling, websocket = rig.probing()
    websocket.closes("transport error")
    assert rig.names == ["open", "upgrade_error"]
    assert polling.calls == ["open"]
    assert rig.session.sends_at_once


@pytest.mark.row("difference.failed_probe")
@pytest.mark.parametrize("frame", ["3", "3probe2", "4probe", "2probe", "1", "6", b"3probe", "4" + "x" * 10_000])
def test_an_invalid_response_to_the_probe_closes_its_stream(rig: SessionRig, frame: str | bytes) -> None:
    polling, websocket = rig.probing()
    websocket.receives(frame)
    assert rig.names == ["open", "upgrade_error"]
    assert "answered the probe with" in str(rig.notifications[-1][1])
    assert len(str(rig.notifications[-1][1])) < 200
    assert websocket.calls[-1] == "close"
    assert list(rig.outbox.owners.values()) == [polling]
    rig.session.send(["x"], 0)
    assert polling.sent == [["4x"]]


@pytest.mark.parametrize("frame", ["4early", "3probe", "6"])
def test_a_packet_over_the_websocket_before_the_switch_fails_the_upgrade(rig: SessionRig, frame: str) -> None:
    polling, websocket = rig.upgrading()
    websocket.receives(frame, "4dropped")
    assert rig.names == ["open", "upgrading", "upgrade_error"]
    assert websocket.calls[-1] == "close"
    assert polling.calls[-1] == "resume"


Ending = Callable[[SessionRig, FakeTransport], object]


def close_until_the_timeout(rig: SessionRig, _: FakeTransport) -> None:
    rig.session.close(0)
    rig.time(5)


ENDINGS: dict[str, Ending] = {
    "transport error": lambda _, polling: polling.closes("transport error"),
    "transport close": lambda _, polling: polling.closes("transport close"),
    "ping timeout": lambda rig, _: rig.time(DEADLINE),
    "parse error": lambda rig, _: rig.session.fail(ValueError("of the session's user"), 0),
    "close": close_until_the_timeout,
    "abort": lambda rig, _: rig.session.abort(0),
}


@pytest.mark.parametrize("upgrading", [False, True], ids=["probing", "upgrading"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_an_upgrade_fails_when_the_session_closes(rig: SessionRig, ending: str, upgrading: bool) -> None:
    polling, websocket = rig.upgrading() if upgrading else rig.probing()
    ENDINGS[ending](rig, polling)
    assert rig.names == ["open", *["upgrading"] * upgrading, "upgrade_error", "close"]
    _, reason, details = rig.notifications[-1]
    error = rig.notifications[-2][1]
    assert str(error) == f"probe error: the session ended: {reason}"
    assert (error.transport, error.__cause__) == ("websocket", details)
    assert websocket.calls[-1] == "abort"
    rig.assert_clean()


def test_a_websocket_lost_after_the_switch_closes_the_session(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    polling.pauses()
    websocket.closes("transport close")
    assert rig.notifications[-1][:2] == ("close", "transport close")
    rig.assert_clean()


@pytest.mark.parametrize(
    ("options", "handshake"),
    [
        (EngineOptions(upgrade=False), HANDSHAKE),
        (EngineOptions(transports=["polling"]), HANDSHAKE),
        (EngineOptions(), NO_UPGRADE),
        (EngineOptions(), HANDSHAKE.replace('"websocket"', '"webtransport","polling"')),
        (EngineOptions(transports=["websocket"]), HANDSHAKE),
    ],
)
def test_no_probe_if_upgrades_are_disabled_not_offered_or_not_needed(
    made: list[FakeTransport], options: EngineOptions, handshake: str
) -> None:
    rig = SessionRig(made, options)
    rig.handshake(handshake)
    assert rig.session.state == "open"
    assert len(made) == 1


# ---------------------------------------------------------------------------------------------------------------------
# Closing


def test_close_closes_the_transport_and_is_reported(rig: SessionRig) -> None:
    polling = rig.handshake()
    rig.session.close(0)
    assert rig.notifications[-1] == ("close", "forced close", None)
    assert polling.calls[-1] == "close"
    rig.assert_clean()


def test_close_drains_the_write_buffer_and_drops_later_messages(rig: SessionRig) -> None:
    polling = rig.handshake()
    rig.session.send(["123456789"], 0)
    rig.session.send(["b"], 0)
    rig.session.close(0)
    rig.session.close(0)
    rig.session.send(["dropped"], 0)
    assert rig.session.state == "closing"
    assert not rig.session.sends_at_once
    polling.receives("4still received")
    polling.drains()
    assert polling.sent == [["4123456789"], ["4b"]]
    assert rig.session.state == "closing"
    polling.drains()
    rig.session.send(["dropped"], 0)
    assert rig.names == ["open", "message", "drain", "close"]
    assert len(polling.sent) == 2
    rig.assert_clean()


def test_closing_takes_at_most_close_timeout(made: list[FakeTransport]) -> None:
    rig = SessionRig(made, EngineOptions(close_timeout=3))
    polling = rig.handshake()
    rig.session.send(["never leaves"], 0)
    rig.session.close(10)
    polling.receives("2", now=12)
    rig.time(12.9)
    assert rig.session.state == "closing"
    rig.time(13)
    assert rig.notifications[-1] == ("close", "forced close", None)
    assert polling.calls[-1] == "abort"
    rig.assert_clean()


def test_close_waits_for_an_upgrade(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.close(0)
    assert rig.session.state == "closing"
    polling.pauses()
    assert websocket.sent[1:] == [["5"]]
    assert rig.session.state == "closing"
    websocket.drains()
    assert rig.names == ["open", "upgrading", "upgrade", "drain", "close"]
    assert websocket.calls[-1] == "close"
    rig.assert_clean()


def test_close_waits_for_an_upgrade_and_the_messages_queued_behind_it(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.send(["a"], 0)
    rig.session.close(0)
    polling.pauses()
    assert websocket.sent[1:] == [["5", "4a"]]
    websocket.drains()
    rig.assert_clean()


def test_close_during_an_upgrade_that_fails_drains_over_polling(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.send(["a"], 0)
    rig.session.close(0)
    websocket.closes("transport close")
    assert rig.session.state == "closing"
    assert polling.sent == [["4a"]]
    polling.drains()
    assert polling.calls[-1] == "close"
    rig.assert_clean()


def test_close_ends_when_an_upgrade_fails_and_nothing_is_buffered(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.close(0)
    websocket.closes("transport close")
    assert polling.calls[-1] == "close"
    rig.assert_clean()


def test_close_waits_for_an_upgrade_for_at_most_close_timeout(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.close(0)
    rig.time(5)
    assert polling.calls[-1] == websocket.calls[-1] == "abort"
    rig.assert_clean()


def test_close_does_not_wait_for_a_probe(rig: SessionRig) -> None:
    polling, websocket = rig.probing()
    rig.session.close(0)
    assert polling.calls[-1] == "close"
    assert websocket.calls[-1] == "abort"
    rig.assert_clean()


def test_close_while_opening_closes_the_session_at_once(rig: SessionRig) -> None:
    rig.session.open(0)
    rig.session.send(["lost"], 0)
    rig.session.close(0)
    assert rig.notifications == [("close", "forced close", None)]
    rig.assert_clean()


@pytest.mark.parametrize("command", ["close", "abort"])
def test_close_or_abort_before_open_closes_the_session(rig: SessionRig, command: str) -> None:
    rig.session.send(["x"], 0)
    getattr(rig.session, command)(0)
    assert rig.notifications == [("close", "forced close", None)]
    rig.assert_clean()


def test_commands_on_a_closed_session_do_nothing(rig: SessionRig) -> None:
    rig.handshake()
    rig.session.abort(0)
    rig.session.close(0)
    rig.session.abort(0)
    rig.session.fail(ValueError("late"), 0)
    rig.assert_clean()


def test_abort_aborts_all_transports(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.send(["lost"], 0)
    rig.session.abort(0)
    assert polling.calls[-1] == websocket.calls[-1] == "abort"
    assert rig.notifications[-1] == ("close", "forced close", None)
    rig.assert_clean()


def test_fail_closes_the_session_with_the_given_error(rig: SessionRig) -> None:
    polling = rig.handshake()
    error = ValueError("not mine")
    rig.session.fail(error, 0)
    assert rig.notifications[-1] == ("close", "transport error", error)
    assert polling.calls[-1] == "close"
    rig.assert_clean()


def test_a_transport_lost_while_closing_closes_the_session(rig: SessionRig) -> None:
    polling = rig.handshake()
    rig.session.send(["lost"], 0)
    rig.session.close(0)
    polling.closes("transport error")
    assert rig.notifications[-1][:2] == ("close", "transport error")
    assert polling.endpoint.close_by == 5, "a close request that follows has the rest of the time"
    rig.assert_clean()


# ---------------------------------------------------------------------------------------------------------------------
# Reports of packets


def reported(rig: SessionRig) -> list[tuple[Any, ...]]:
    events, rig.notifications = rig.notifications, []
    return events


def test_packets_and_flushes_are_reported_in_the_order_of_the_javascript_client(rig: SessionRig) -> None:
    rig.session.report_packets = True
    polling = rig.handshake()
    assert reported(rig) == [("packet", "open", NO_UPGRADE[1:]), ("open", "S", "polling")]
    rig.session.send(["one", b"two"], 0)
    rig.session.send(["three"], 0)
    assert reported(rig) == [
        ("packet_create", "message", "one"),
        ("packet_create", "message", b"two"),
        ("flush",),
        ("packet_create", "message", "three"),
    ]
    polling.drains()
    assert reported(rig) == [("flush",)]
    polling.drains()
    polling.receives("2", "4hi", "6", b"binary")
    assert reported(rig) == [
        ("drain",),
        ("packet", "ping", ""),
        ("packet_create", "pong", ""),
        ("flush",),
        ("ping",),
        ("packet", "message", "hi"),
        ("message", "hi"),
        ("packet", "noop", ""),
        ("packet", "message", b"binary"),
        ("message", b"binary"),
    ]
    assert polling.sent == [["4one", b"two"], ["4three"], ["3"]]


def test_messages_sent_before_the_handshake_are_flushed_after_it(rig: SessionRig) -> None:
    rig.session.report_packets = True
    rig.session.open(0)
    rig.session.send(["early"], 0)
    rig.first.opens()
    rig.first.receives(NO_UPGRADE)
    assert rig.names == ["packet_create", "packet", "open", "flush"]


def test_the_packets_of_the_upgrade_itself_are_not_reported(rig: SessionRig) -> None:
    rig.session.report_packets = True
    polling, websocket = rig.upgrading()
    polling.pauses()
    websocket.drains()
    assert rig.names == ["packet", "open", "upgrading", "upgrade", "drain"]
    assert websocket.sent == [["2probe"], ["5"]]


def test_messages_queued_during_the_upgrade_are_flushed_with_it(rig: SessionRig) -> None:
    rig.session.report_packets = True
    polling, websocket = rig.upgrading()
    rig.session.send(["waits"], 0)
    reported(rig)
    polling.pauses()
    assert rig.names == ["upgrade", "flush"]
    assert websocket.sent == [["2probe"], ["5", "4waits"]]


def test_no_flush_is_reported_if_the_transport_breaks_while_sending(rig: SessionRig) -> None:
    rig.session.report_packets = True
    rig.handshake().breaks = True
    rig.session.send(["lost"], 0)
    assert rig.names == ["packet", "open", "packet_create", "close"]
    rig.assert_clean()


def test_packets_are_not_reported_by_default(rig: SessionRig) -> None:
    polling = rig.handshake()
    rig.session.send(["one"], 0)
    polling.drains()
    polling.receives("4hi")
    assert rig.names == ["open", "drain", "message"]


def test_packets_of_every_type_are_counted(rig: SessionRig) -> None:
    polling, websocket = rig.upgrading()
    rig.session.send(["one"], 0)
    polling.pauses()
    websocket.receives("2")
    websocket.drains()
    counters = rig.outbox.counters
    assert counters.packets_received == len(["open", "pong", "ping"])
    assert counters.packets_sent == len(["ping", "upgrade", "message", "pong"])


# ---------------------------------------------------------------------------------------------------------------------
# The observer acts from inside each callback

CALLBACKS = [
    "open",
    "message",
    "ping",
    "drain",
    "close",
]


def send_close_send(session: EngineSession, now: float) -> None:
    session.send(["before"], now)
    session.close(now)
    session.send(["dropped"], now)


def close_abort(session: EngineSession, now: float) -> None:
    session.close(now)
    session.abort(now)


ACTS: dict[str, Callable[[EngineSession, float], None]] = {
    "send": lambda session, now: session.send(["from inside"], now),
    "close": EngineSession.close,
    "abort": EngineSession.abort,
    "fail": lambda session, now: session.fail(ValueError("own"), now),
    "send, close, send": send_close_send,
    "close, abort": close_abort,
}


def run_through_an_upgrade(rig: SessionRig) -> None:
    """Make everything happen that can happen to a session whose transports are open."""
    rig.session.report_packets = True
    rig.session.open(0)
    polling = rig.first
    rig.session.send(["queued"], 0)
    if polling.live:
        polling.opens()
    polling.receives(HANDSHAKE, "4one", "2", "4two")
    drain(polling)
    websocket = rig.last
    if websocket is not polling and websocket.live:
        websocket.opens()
        drain(websocket)
        websocket.receives("3probe")
    drain(polling)
    if "pause" in polling.calls and polling.live:
        polling.pauses()
    drain(websocket)
    websocket.receives("4three", "2", "4four")
    drain(websocket)


def run_through_a_failed_upgrade(rig: SessionRig) -> None:
    rig.session.report_packets = True
    rig.session.open(0)
    polling = rig.first
    rig.session.send(["queued"], 0)
    if polling.live:
        polling.opens()
    polling.receives(HANDSHAKE)
    websocket = rig.last
    if websocket is not polling and websocket.live:
        websocket.opens()
        websocket.receives("3probe", "4too early")
    drain(polling)
    polling.receives("4one", "2")
    drain(polling)


def drain(transport: FakeTransport) -> None:
    for _ in range(20):
        if transport.live and not transport.writable and "send" in transport.calls:
            transport.drains()


@pytest.mark.parametrize("script", [run_through_an_upgrade, run_through_a_failed_upgrade])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("occurrence", [1, 2])
def test_session_is_reentrant_in_callbacks(
    rig: SessionRig, script: Callable[[SessionRig], None], act: str, callback: str, occurrence: int
) -> None:
    seen = 0

    def act_once(now: float) -> None:
        nonlocal seen
        seen += 1
        if seen == occurrence:
            ACTS[act](rig.session, now)
            if act not in {"send", "close", "send, close, send"}:
                assert rig.session.state == "closed"

    rig.then[callback] = act_once
    script(rig)
    for transport in rig.made:
        drain(transport)
    sent = [frame for transport in rig.made for batch in transport.sent for frame in batch]
    assert "4dropped" not in sent
    if seen >= occurrence and act == "send" and callback != "close":
        assert "4from inside" in sent
        assert rig.session.state == "open"
    if seen >= occurrence and act == "send, close, send" and callback != "close" and "open" in rig.names:
        assert "4before" in sent
    if seen < occurrence or act == "send":
        rig.session.close(0)
        for transport in rig.made:
            drain(transport)
    rig.assert_clean()


def test_scripts_cover_every_callback(made: list[FakeTransport]) -> None:
    names: set[str] = set()
    for script in (run_through_an_upgrade, run_through_a_failed_upgrade):
        made.clear()
        rig = SessionRig(made)
        script(rig)
        rig.session.close(0)
        names.update(rig.names)
    assert names >= set(CALLBACKS)


# ---------------------------------------------------------------------------------------------------------------------
# State that outlives a session


def remembering(made: list[FakeTransport], memory: Memory, *, remember: bool = True) -> SessionRig:
    made.clear()
    return SessionRig(made, EngineOptions(remember_upgrade=remember), memory)


@pytest.mark.row("difference.remembered_by_the_manager")
def test_an_upgrade_is_remembered_for_the_next_session(made: list[FakeTransport]) -> None:
    memory = Memory()
    rig = remembering(made, memory)
    polling, _ = rig.upgrading()
    assert not memory.websocket_worked
    polling.pauses()
    assert memory.websocket_worked
    rig = remembering(made, memory)
    rig.session.open(0)
    assert rig.first.name == "websocket"
    rig.first.opens()
    rig.first.receives(NO_UPGRADE)
    assert memory.websocket_worked


def test_a_remembered_upgrade_is_used_only_with_remember_upgrade(made: list[FakeTransport]) -> None:
    memory = Memory()
    memory.websocket_worked = True
    rig = remembering(made, memory, remember=False)
    rig.session.open(0)
    assert rig.first.name == "polling"


def test_a_remembered_upgrade_is_not_used_if_transports_lacks_websocket(made: list[FakeTransport]) -> None:
    memory = Memory()
    memory.websocket_worked = True
    rig = SessionRig(made, EngineOptions(remember_upgrade=True, transports=["polling"]), memory)
    rig.session.open(0)
    assert rig.first.name == "polling"


@pytest.mark.row("difference.remember_upgrade_forgotten")
@pytest.mark.parametrize("end", ["error", "close", "timeout", "garbage"])
def test_a_remembered_websocket_that_does_not_open_is_forgotten(made: list[FakeTransport], end: str) -> None:
    memory = Memory()
    memory.websocket_worked = True
    rig = remembering(made, memory)
    rig.session.open(0)
    if end == "timeout":
        rig.session.close(0)
    elif end == "garbage":
        rig.first.receives("0garbage")
    else:
        rig.first.closes("transport error" if end == "error" else "transport close")
    rig.assert_clean()
    assert not memory.websocket_worked


@pytest.mark.parametrize(("reason", "remembered"), [("transport error", False), ("transport close", True)])
def test_a_transport_error_forgets_an_upgrade(made: list[FakeTransport], reason: Any, remembered: bool) -> None:
    memory = Memory()
    rig = remembering(made, memory)
    polling, websocket = rig.upgrading()
    polling.pauses()
    websocket.closes(reason)
    assert memory.websocket_worked is remembered


def test_an_upgrade_that_failed_is_not_remembered(made: list[FakeTransport]) -> None:
    memory = Memory()
    rig = remembering(made, memory)
    _, websocket = rig.upgrading()
    websocket.closes("transport close")
    rig.session.close(0)
    assert not memory.websocket_worked


def test_after_a_remembered_websocket_failed_the_others_are_tried(made: list[FakeTransport]) -> None:
    memory = Memory()
    memory.websocket_worked = True
    rig = SessionRig(made, EngineOptions(remember_upgrade=True, try_all_transports=True), memory)
    rig.session.open(0)
    made[0].closes("transport error")
    assert [transport.name for transport in made] == ["websocket", "polling"]
    made[1].opens()
    made[1].receives(HANDSHAKE)
    assert len(made) == 2


@pytest.mark.row("difference.cookies_over_sessions")
@pytest.mark.parametrize("wanted", [False, True])
def test_cookies_are_stored_only_with_credentials(made: list[FakeTransport], wanted: bool) -> None:
    memory = Memory()
    rig = SessionRig(made, EngineOptions(with_credentials=wanted), memory)
    rig.handshake(HANDSHAKE)
    assert [transport.endpoint.cookies for transport in made] == [memory.cookies if wanted else None] * 2


def test_with_credentials_can_be_set_for_one_transport(made: list[FakeTransport]) -> None:
    rig = SessionRig(made, EngineOptions(transport_options={"websocket": {"with_credentials": True}}))
    rig.handshake(HANDSHAKE)
    assert [transport.endpoint.cookies is not None for transport in made] == [False, True]


# ---------------------------------------------------------------------------------------------------------------------
# Options, query, headers


def test_options_of_a_transport_override_the_common_options(made: list[FakeTransport]) -> None:
    own = {"force_base64": True, "query": {"b": "own", "c": "3"}, "extra_headers": {"X-Own": "1", "X-Both": "own"}}
    options = EngineOptions(path="/p", transport_options={"websocket": own})
    query, headers = {"a": "1", "b": "2"}, {"X-Both": "common"}
    rig = SessionRig(made, options, query=query, headers=headers)
    rig.handshake(HANDSHAKE)
    polling, websocket = (transport.endpoint for transport in made)
    assert (polling.options.force_base64, websocket.options.force_base64) == (False, True)
    assert polling.options.path == websocket.options.path == "/p"
    assert polling.query == query
    assert websocket.query == {"a": "1", "b": "own", "c": "3"}
    assert polling.headers == headers
    assert websocket.headers == {"X-Own": "1", "X-Both": "own"}
    assert polling.url.host == "localhost"


def test_transport_options_override_the_options_of_a_client() -> None:
    options = transport_options(ClientOptions(transport_options={"polling": {"path": "/own"}}), "polling")
    assert (options.path, transport_options(ClientOptions(), "websocket").path) == ("/own", "/socket.io")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"colour": 1}, "unknown option 'colour'"),
        ({"path": 1}, "path takes"),
        ({"query": ASK}, "query takes a mapping of str to str without unpaired surrogates here"),
        ({"query": dict}, "query takes a mapping of str to str without unpaired surrogates here"),
        ({"query": {"a": 1}}, "query takes a mapping"),
        ({"query": {"a": "\ud800"}}, "query takes a mapping"),
        ({"extra_headers": ASK}, "extra_headers takes a mapping"),
        ({"extra_headers": {"a": 1}}, "extra_headers takes a mapping"),
        ({"extra_headers": {"a b": "1"}}, "invalid name 'a…' in extra_headers"),
        ({"reconnection": True}, "unknown option 'reconnection'"),
        ({"upgrade": False}, "unknown option 'upgrade'"),
        ({"pathh": "/"}, "unknown option 'pathh'; did you mean 'path'"),
    ],
)
@pytest.mark.parametrize("name", ["polling", "websocket"])
def test_invalid_options_of_one_transport_are_named_in_the_error(name: str, own: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=rf"^transport_options\['{name}'\]: .*{message}"):
        check_engine_options(EngineOptions(transport_options={name: own}))


def test_checking_options_raises_for_headers_that_cannot_be_sent() -> None:
    with pytest.raises(OptionError, match="invalid name 'a…' in extra_headers"):
        check_engine_options(EngineOptions(extra_headers={"a b": "1"}))
    check_engine_options(EngineOptions(extra_headers=ASK))


# ---------------------------------------------------------------------------------------------------------------------
# Custom transports


@pytest.fixture
def own(made: list[FakeTransport]) -> dict[str, type[FakeTransport]]:
    """Transport classes by name: two with built-in names and two with new ones."""

    def make(name: str) -> type[FakeTransport]:
        return type(name, (FakeTransport,), {"name": name, "made": made})

    return {name: make(name) for name in ("polling", "websocket", "pigeon", "tunnel")}


def offering(*names: str) -> str:
    return HANDSHAKE.replace('"websocket"', ",".join(f'"{name}"' for name in names))


def test_a_transport_class_replaces_the_built_in_one_of_its_name(
    made: list[FakeTransport], own: dict[str, type[FakeTransport]]
) -> None:
    rig = SessionRig(made, EngineOptions(transports=["polling", own["websocket"]]))
    polling, websocket = rig.upgrading()
    polling.pauses()
    assert isinstance(websocket, own["websocket"])
    assert not isinstance(polling, own["polling"])
    assert rig.session.transport == "websocket"
    assert rig.names == ["open", "upgrading", "upgrade"]


def test_a_transport_class_with_a_new_name_is_opened_first_and_upgraded_from(
    made: list[FakeTransport], own: dict[str, type[FakeTransport]]
) -> None:
    rig = SessionRig(made, EngineOptions(transports=[own["pigeon"], "polling", "websocket"]))
    pigeon = rig.handshake(offering("websocket"))
    assert isinstance(pigeon, own["pigeon"])
    assert rig.notifications == [("open", "S", "pigeon")]
    assert rig.last.name == "websocket"


def test_a_transport_class_with_a_new_name_is_upgraded_to_if_offered(
    made: list[FakeTransport], own: dict[str, type[FakeTransport]]
) -> None:
    rig = SessionRig(made, EngineOptions(transports=["polling", own["tunnel"]]))
    polling = rig.handshake(offering("webtransport", "tunnel", "websocket"))
    tunnel = rig.last
    assert isinstance(tunnel, own["tunnel"])
    tunnel.opens()
    tunnel.drains()
    tunnel.receives("3probe")
    polling.pauses()
    assert rig.session.transport == "tunnel"
    assert tunnel.sent[-1] == ["5"]


@pytest.mark.row("difference.probes")
def test_offered_upgrades_are_tried_in_the_order_of_transports(
    made: list[FakeTransport], own: dict[str, type[FakeTransport]]
) -> None:
    rig = SessionRig(made, EngineOptions(transports=["polling", own["tunnel"], own["pigeon"], "websocket"]))
    rig.handshake(offering("websocket", "pigeon", "tunnel", "polling"))
    assert [transport.name for transport in made] == ["polling", "tunnel"]
    rig.last.closes("transport error")
    assert [transport.name for transport in made] == ["polling", "tunnel", "pigeon"]
    rig.last.opens()
    rig.last.drains()
    rig.last.receives("3nonsense")
    assert rig.names == ["open", "upgrade_error", "upgrade_error"]
    websocket = rig.last
    websocket.opens()
    websocket.drains()
    websocket.receives("3probe")
    rig.first.pauses()
    assert rig.session.transport == "websocket"
    websocket.closes("transport close")
    assert [transport.name for transport in made] == ["polling", "tunnel", "pigeon", "websocket"]
    rig.assert_clean()


def test_no_further_upgrade_is_tried_while_closing(
    made: list[FakeTransport], own: dict[str, type[FakeTransport]]
) -> None:
    rig = SessionRig(made, EngineOptions(transports=["polling", own["tunnel"], "websocket"]))
    polling = rig.handshake(offering("websocket", "tunnel"))
    rig.session.send(["last words"], 0)
    rig.session.close(0)
    rig.last.closes("transport error")
    assert len(made) == 2
    polling.drains()
    rig.assert_clean()


def test_a_custom_websocket_class_is_remembered(made: list[FakeTransport], own: dict[str, type[FakeTransport]]) -> None:
    memory = Memory()
    options = EngineOptions(transports=[own["polling"], own["websocket"]], remember_upgrade=True)
    polling, _ = SessionRig(made, options, memory).upgrading()
    polling.pauses()
    made.clear()
    SessionRig(made, options, memory).handshake()
    assert isinstance(made[0], own["websocket"])


def test_a_custom_transport_has_its_own_options(made: list[FakeTransport], own: dict[str, type[FakeTransport]]) -> None:
    options = EngineOptions(transports=[own["pigeon"]], transport_options={"pigeon": {"path": "/p"}, "polling": {}})
    check_engine_options(options)
    rig = SessionRig(made, options)
    rig.handshake()
    assert rig.first.endpoint.options.path == "/p"


class Unfinished(Transport):
    name = "unfinished"


class Nameless(FakeTransport):
    pass


class Stranger:
    name = "stranger"


@pytest.mark.parametrize(
    "transports",
    [[Unfinished], ["polling", Unfinished], [Stranger], [Nameless], [FakeTransport], [str], [object()], ["pigeon"]],
)
def test_an_invalid_transport_class_is_an_option_error(transports: list[Any]) -> None:
    with pytest.raises(OptionError, match=r"^transports takes .*subclasses of Transport"):
        check_engine_options(EngineOptions(transports=transports))


def test_duplicate_transport_names_are_an_option_error(own: dict[str, type[FakeTransport]]) -> None:
    with pytest.raises(OptionError, match=r"^transports takes .*, without duplicates"):
        EngineOptions(transports=["polling", own["polling"]])


def test_options_of_an_unknown_transport_are_an_option_error(own: dict[str, type[FakeTransport]]) -> None:
    for transports in (["polling"], [own["tunnel"]]):
        with pytest.raises(
            OptionError, match=r"^transport_options takes .*'polling', 'websocket'.*; 'pigeon' is not one of them"
        ):
            check_engine_options(EngineOptions(transports=transports, transport_options={"pigeon": {}}))


@pytest.mark.parametrize(
    ("url", "option", "answered", "query"),
    [
        ("http://h", {}, None, {}),
        ("http://h", {"o": "1"}, None, {"o": "1"}),
        ("http://h", ASK, {"a": "1"}, {"a": "1"}),
        ("http://h", ASK, None, {}),
        ("http://h?u=1&v=", {"o": "1"}, None, {"u": "1", "v": ""}),
        ("http://h?u=1", ASK, {"a": "1"}, {"u": "1"}),
    ],
)
def test_the_query_of_the_url_replaces_the_option(
    url: str, option: Any, answered: dict[str, str] | None, query: dict[str, str]
) -> None:
    assert request_query(parse_url(url), EngineOptions(query=option), answered) == query
