"""The options of a Manager, and the properties that change them while it runs, on every driver.

Delays are never measured: where one counts, another one is too long to be waited for, and what must happen happens.
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
async def test_connecting_may_be_left_to_the_user(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    async with driver.manager(target.peer.url, auto_connect=False, **target.options) as manager:
        socket = manager.socket("/chat")
        async with target.connect(driver) as other:  # which has all the time that this one would have needed
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
async def test_without_reconnection_it_is_over(driver: Driver, plain_target: Target) -> None:
    gone = driver.queue()
    async with plain_target.connect(driver, reconnection=False) as socket:
        socket.on("disconnect", lambda reason, details: gone.put(reason))
        socket.io.on("reconnect_attempt", gone.put)
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        await socket.wait_closed()
        assert await gone.get() == "transport close"
        with pytest.raises(DisconnectedError):
            await socket.wait_connected()
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("manager.reconnection")
async def test_reconnection_that_is_switched_off_and_on(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with plain_target.connect(driver) as socket:
        manager = socket.io
        assert manager.reconnection is True
        socket.on("disconnect", lambda reason, details: seen.put("disconnect"))
        manager.on("reconnect", seen.put)
        manager.reconnection = False
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        await socket.wait_closed()
        manager.reconnection = True
        await socket.connect()
        await plain_target.settle(driver, socket)
        await socket.emit("close_engine")
        assert [await seen.get() for _ in range(3)] == ["disconnect", "disconnect", 1]
        assert manager.reconnection is True


@pytest.mark.row("option.reconnection_attempts", "manager.reconnection_attempts")
async def test_how_often_it_is_tried(driver: Driver, plain_fresh: FreshTarget) -> None:
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
        await socket.wait_closed()
        manager.reconnection_attempts = 1
        with pytest.raises(ConnectError):
            await socket.connect()
        assert [await seen.get() for _ in range(2)] == [1, "failed"]
        manager.reconnection_attempts = math.inf
        target.peer.start()
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("difference.no_attempts")
async def test_no_attempts_are_none(driver: Driver, plain_target: Target) -> None:
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
async def test_when_it_is_tried(options: dict[str, Any], driver: Driver, plain_fresh: FreshTarget) -> None:
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
async def test_delays_that_change_while_it_runs(name: str, driver: Driver, plain_target: Target) -> None:
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
async def test_a_server_that_takes_too_long(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    with target.peer.frozen(), pytest.raises(ConnectError) as caught:
        async with target.connect(driver, timeout=0.1):
            raise AssertionError("the server is frozen")
    assert isinstance(caught.value.__cause__, OpenTimeout)


@pytest.mark.row("manager.timeout")
async def test_a_timeout_that_changes_while_it_runs(driver: Driver, plain_fresh: FreshTarget) -> None:
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
async def test_a_handler_that_blocks_its_queue_is_warned_of(
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


class Diary:
    """A parser of a user's own: it writes the protocol's format, and keeps the names of events, both ways."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []

    def encoder(self) -> Encoder:
        return DiaryEncoder(JSONParser().encoder(), self.sent)

    def decoder(self, max_attachments: int) -> Decoder:
        return DiaryDecoder(JSONParser().decoder(max_attachments), self.received)


class DiaryEncoder:
    def __init__(self, encoder: Encoder, names: list[str]) -> None:
        self._encoder = encoder
        self._names = names

    def encode(self, packet: Packet) -> list[str | bytes]:
        note(packet, self._names)
        return self._encoder.encode(packet)


class DiaryDecoder:
    def __init__(self, decoder: Decoder, names: list[str]) -> None:
        self._decoder = decoder
        self._names = names
        self.reset = decoder.reset

    def feed(self, data: str | bytes) -> Packet | None:
        packet = self._decoder.feed(data)
        if packet is not None:
            note(packet, self._names)
        return packet


def note(packet: Packet, names: list[str]) -> None:
    if packet.type == EVENT:
        names.append(packet.data[0])


@pytest.mark.row("option.parser")
async def test_a_parser_of_ones_own(driver: Driver, plain_target: Target) -> None:
    diary = Diary()
    echoed = driver.queue()
    async with plain_target.connect(driver, parser=diary) as socket:
        socket.on("echo", lambda *values: echoed.put(values))
        await plain_target.settle(driver, socket)
        payload: Any = ({"bytes": b"\x00\x01"}, "text")
        await socket.emit("echo", *payload)
        assert await echoed.get() == payload
        assert await socket.emit_with_ack("echo_ack", *payload) == payload
    assert diary.sent == ["echo", "echo_ack"]
    assert diary.received == ["welcome", "echo"]
