"""Statistics, against the real server, on every driver."""

from __future__ import annotations

import pytest

from tests.support.drivers import Driver
from tests.support.target import Target


@pytest.mark.row("manager.statistics")
async def test_statistics_count_what_is_sent_and_received(driver: Driver, target: Target) -> None:
    async with target.connect(driver) as socket:
        await target.settle(driver, socket)
        manager = socket.io
        before = manager.statistics()
        assert before.transport == target.settled
        for number in range(10):
            await socket.emit("n", number)
        assert (await socket.emit_with_ack("count"))["total"] == 10
        await socket.emit("burst", 20)
        await socket.emit_with_ack("echo_ack", b"x" * 1000)
        after = manager.statistics()
        assert after.events_sent - before.events_sent == 13
        assert after.events_received >= before.events_received + 20
        assert after.packets_sent - before.packets_sent >= 14
        assert after.packets_received - before.packets_received >= 22
        assert after.bytes_sent - before.bytes_sent > 1000
        assert after.bytes_received - before.bytes_received > 1000
        assert (after.acks_pending, after.queued_events, after.reconnects) == (0, 0, 0)


async def test_statistics_count_queued_events_and_pending_acknowledgements(
    driver: Driver, plain_target: Target
) -> None:
    options = {**plain_target.options, "auto_connect": False}
    async with driver.manager(plain_target.peer.url, **options) as manager:
        socket = manager.socket()
        await socket.emit("n", 0)
        await socket.timeout(30).emit("silent", ack=lambda error: None)
        waiting = manager.statistics()
        assert (waiting.queued_events, waiting.acks_pending, waiting.transport) == (2, 1, None)
        assert waiting.queued_bytes > 0
        await socket.connect()
        assert (await socket.emit_with_ack("count"))["total"] == 1
        joined = manager.statistics()
        assert (joined.queued_events, joined.acks_pending, joined.events_sent) == (0, 1, 3)


async def test_statistics_count_reconnections_and_continue_over_them(driver: Driver, plain_target: Target) -> None:
    again = driver.queue()
    async with plain_target.connect(driver) as socket:
        socket.io.on("reconnect", again.put)
        await plain_target.settle(driver, socket)
        before = socket.io.statistics()
        for reconnects in (1, 2):
            await socket.emit("close_engine")
            await again.get()
            await socket.wait_connected()
            after = socket.io.statistics()
            assert after.reconnects == reconnects
            assert after.bytes_received > before.bytes_received
            assert after.packets_received > before.packets_received
            before = after
