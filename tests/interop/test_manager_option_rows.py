"""The options of a Manager, and the properties that change them while it runs, on every driver.

Delays are never measured. A test of one delay makes the others too long to wait for.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, OpenTimeout
from sansio_socketio.protocol.packets.socketio import EVENT, Decoder, Encoder, JSONParser, Packet
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver
from tests.support.target import Target

FOR_EVER = 10_000.0
"""Seconds that no test waits."""


@pytest.mark.row("option.auto_connect")
async def test_auto_connect_false_waits_for_connect(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    async with driver.manager(target.peer.url, auto_connect=False, **target.options) as manager:
        socket = manager.socket("/chat")
        async with target.connect(driver) as other:  # by now the first one would have connected
            assert await other.emit_with_ack("echo_ack", 0) == 0
            assert target.peer.control("stats")["clients"] == 1
        assert (socket.active, manager.engine) == (False, None)
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 1) == 1
    async with driver.open_io() as io:
        socket = io(target.peer.url, auto_connect=False, **target.options)
        with pytest.raises(DisconnectedError):
            await socket.wait_connected()
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 2) == 2


@pytest.mark.row("option.reconnection")
async def test_reconnection_false_does_not_reconnect(driver: Driver, plain_target: Target) -> None:
    gone = driver.queue()
    async with plain_target.connect(driver, reconnection=False) as socket:
        socket.on("disconnect", lambda reason, details: gone.put(reason))
        socket.io.on("reconnect_attempt", gone.put)
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        with pytest.raises(DisconnectedError):
            await socket.wait_closed()
        assert await gone.get() == "transport close"
        with pytest.raises(DisconnectedError):
            await socket.wait_connected()
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("manager.reconnection")
async def test_reconnection_can_be_disabled_and_enabled_while_running(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with plain_target.connect(driver) as socket:
        manager = socket.io
        assert manager.reconnection is True
        socket.on("disconnect", lambda reason, details: seen.put("disconnect"))
        manager.on("reconnect", seen.put)
        manager.reconnection = False
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        with pytest.raises(DisconnectedError):
            await socket.wait_closed()
        manager.reconnection = True
        await socket.connect()
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        assert [await seen.get() for _ in range(3)] == ["disconnect", "disconnect", 1]
        assert manager.reconnection is True


@pytest.mark.row("option.reconnection_attempts", "manager.reconnection_attempts")
async def test_reconnection_attempts_limits_the_attempts(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    seen = driver.queue()
    async with target.connect(driver, reconnection_attempts=2) as socket:
        manager = socket.io
        assert manager.reconnection_attempts == 2
        manager.on("reconnect_attempt", seen.put)
        manager.on("reconnect_failed", lambda: seen.put("failed"))
        await target.settle(driver, socket)
        target.peer.kill()
        assert [await seen.get() for _ in range(3)] == [1, 2, "failed"]
        with pytest.raises(DisconnectedError) as caught:
            await socket.wait_closed()
        assert caught.value.reason == "connect error"
        assert socket.active
        manager.reconnection_attempts = 1
        with pytest.raises(ConnectError):
            await socket.connect()
        assert [await seen.get() for _ in range(2)] == [1, "failed"]
        manager.reconnection_attempts = math.inf
        target.peer.start()
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("difference.no_attempts")
async def test_reconnection_attempts_zero_means_no_attempts(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with plain_target.connect(driver, reconnection_attempts=0) as socket:
        socket.io.on("reconnect_attempt", seen.put)
        socket.io.on("reconnect_failed", lambda: seen.put("failed"))
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        assert await seen.get() == "failed"


@pytest.mark.row("option.reconnection_delay", "option.reconnection_delay_max", "option.randomization_factor")
@pytest.mark.parametrize(
    "options",
    [
        {"reconnection_delay": 0.01, "reconnection_delay_max": FOR_EVER, "randomization_factor": 0},
        {"reconnection_delay": FOR_EVER, "reconnection_delay_max": 0.01, "randomization_factor": 1},
    ],
    ids=["a short delay", "a short longest delay"],
)
async def test_delay_options_determine_the_delay(
    options: dict[str, Any], driver: Driver, plain_fresh: FreshTarget
) -> None:
    target = plain_fresh()
    seen = driver.queue()
    patient: dict[str, Any] = {
        "reconnection_delay": FOR_EVER,
        "reconnection_delay_max": FOR_EVER,
        "randomization_factor": 0.5,
    }
    async with target.connect(driver, **options) as quick, target.connect(driver, **patient) as slow:
        quick.io.on("reconnect", lambda attempt: seen.put("quick"))
        slow.io.on("reconnect_attempt", lambda attempt: seen.put("slow"))
        slow.on("disconnect", lambda reason, details: seen.put("gone"))
        for socket in (quick, slow):
            await target.settle(driver, socket)
        target.peer.control("drop")
        assert sorted([await seen.get(), await seen.get()]) == ["gone", "quick"]
        await quick.wait_connected()
        assert await quick.emit_with_ack("echo_ack", 1) == 1
        assert (slow.connected, slow.active) == (False, True)


@pytest.mark.row("manager.reconnection_delay", "manager.reconnection_delay_max", "manager.randomization_factor")
@pytest.mark.parametrize("name", ["reconnection_delay", "reconnection_delay_max"])
async def test_delay_options_can_be_changed_while_running(name: str, driver: Driver, plain_target: Target) -> None:
    reconnected = driver.queue()
    options: dict[str, Any] = {
        "reconnection_delay": FOR_EVER,
        "reconnection_delay_max": FOR_EVER,
        "randomization_factor": 0,
    }
    async with plain_target.connect(driver, **options) as socket:
        manager = socket.io
        manager.on("reconnect", reconnected.put)
        assert (manager.randomization_factor, getattr(manager, name)) == (0, FOR_EVER)
        manager.randomization_factor = 0.25
        setattr(manager, name, 0.01)
        assert (manager.randomization_factor, getattr(manager, name)) == (0.25, 0.01)
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        assert await reconnected.get() == 1


@pytest.mark.row("option.timeout")
async def test_timeout_limits_an_attempt(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    with target.peer.frozen(), pytest.raises(ConnectError) as caught:
        async with target.connect(driver, timeout=0.1):
            raise AssertionError("the server is frozen")
    assert isinstance(caught.value.__cause__, OpenTimeout)


@pytest.mark.row("manager.timeout")
async def test_timeout_can_be_changed_while_running(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    errors = driver.queue()
    async with driver.manager(target.peer.url, auto_connect=False, timeout=None, **target.options) as manager:
        manager.on("error", errors.put)
        assert manager.timeout is None
        manager.timeout = 0.1
        with target.peer.frozen():
            with pytest.raises(ConnectError):
                await manager.open()
            assert isinstance(await errors.get(), OpenTimeout)
        manager.timeout = 20
        await manager.open()
        assert (manager.timeout, manager.engine.id is not None) == (20, True)


@pytest.mark.row("option.slow_handler_warning")
async def test_slow_handler_warning_logs_a_blocked_queue(
    driver: Driver, plain_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    finish = driver.queue()

    async def slow() -> None:
        await finish.get()

    async with plain_target.connect(driver, slow_handler_warning=0.05) as socket:
        socket.on("echo", driver.handler(slow))
        await socket.emit("echo")
        await driver.until(lambda: any("slow_handler_warning" in message for message in caplog.messages))
        finish.put(None)
        [message] = [message for message in caplog.messages if "slow_handler_warning" in message]
        assert "slow of event 'echo' has blocked the queue of the namespace for 0.05 seconds" in message


class RecordingParser:
    """A custom parser that uses the format of the protocol and records the names of events in both directions."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []

    def encoder(self) -> Encoder:
        return RecordingEncoder(JSONParser().encoder(), self.sent)

    def decoder(self, max_attachments: int) -> Decoder:
        return RecordingDecoder(JSONParser().decoder(max_attachments), self.received)


class RecordingEncoder:
    def __init__(self, encoder: Encoder, names: list[str]) -> None:
        self._encoder = encoder
        self._names = names

    def encode(self, packet: Packet) -> list[str | bytes]:
        record(packet, self._names)
        return self._encoder.encode(packet)


class RecordingDecoder:
    def __init__(self, decoder: Decoder, names: list[str]) -> None:
        self._decoder = decoder
        self._names = names
        self.reset = decoder.reset

    def feed(self, data: str | bytes) -> Packet | None:
        packet = self._decoder.feed(data)
        if packet is not None:
            record(packet, self._names)
        return packet


def record(packet: Packet, names: list[str]) -> None:
    if packet.type == EVENT:
        names.append(packet.data[0])


@pytest.mark.row("option.parser")
async def test_a_custom_parser_encodes_and_decodes_all_packets(driver: Driver, plain_target: Target) -> None:
    recording = RecordingParser()
    echoed = driver.queue()
    async with plain_target.connect(driver, parser=recording) as socket:
        socket.on("echo", lambda *values: echoed.put(values))
        await plain_target.settle(driver, socket)
        payload: Any = ({"bytes": b"\x00\x01"}, "text")
        await socket.emit("echo", *payload)
        assert await echoed.get() == payload
        assert await socket.emit_with_ack("echo_ack", *payload) == payload
    assert recording.sent == ["echo", "echo_ack"]
    assert recording.received == ["welcome", "echo"]
