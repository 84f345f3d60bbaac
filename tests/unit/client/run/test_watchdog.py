"""The warning about a handler that blocks the queue of its namespace."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sansio_socketio.client import Socket
from tests.support.fake_runtime import World


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_slow_handler_is_logged_once_per_call(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("e")
        async def slow() -> None:
            await world.sleep(20)

        world.server.emit("e")
        world.server.emit("f")
        world.server.emit("f")
        await world.sleep(3.9)
        assert warnings_of(caplog) == []
        await world.sleep(2)
        [message] = warnings_of(caplog)
        assert message.startswith("/: handler test_a_slow_handler_is_logged_once_per_call")
        assert (
            "slow of event 'e' has blocked the queue of the namespace for 4 seconds (slow_handler_warning); events queued for handlers: 2"
            in message
        )
        await world.sleep(50)
        assert len(warnings_of(caplog)) == 1
        world.server.emit("e")
        await world.sleep(50)
        assert len(warnings_of(caplog)) == 2

    world.run_connected(body, slow_handler_warning=4)


def test_the_limit_is_ten_seconds_by_default(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        socket.on("e", lambda: world.sleep(100))
        world.server.emit("e")
        await world.sleep(9.9)
        assert warnings_of(caplog) == []
        await world.sleep(5)
        assert len(warnings_of(caplog)) == 1

    world.run_connected(body, close_timeout=1000)


@pytest.mark.parametrize("limit", [None, 10])
def test_no_warning_without_a_limit_or_within_it(
    world: World, caplog: pytest.LogCaptureFixture, limit: float | None
) -> None:
    async def body(socket: Socket) -> None:
        socket.on("e", lambda: world.sleep(1000 if limit is None else limit / 2))
        for _ in range(10):
            world.server.emit("e")
        await world.sleep(5000)

    world.run_connected(body, slow_handler_warning=limit, close_timeout=1e6)
    assert warnings_of(caplog) == []


def test_concurrent_handlers_are_not_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        socket.on("e", lambda: world.sleep(100), concurrency=1)
        world.server.emit("e")
        world.server.emit("e")
        await world.sleep(300)

    world.run_connected(body)
    assert warnings_of(caplog) == []


def test_a_lifecycle_event_and_a_callback_block_the_queue_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        async def slow(*_: Any) -> None:
            await world.sleep(20)

        world.server.acknowledge_with()
        socket.on("connect", slow)
        await world.sleep(30)
        await socket.emit("e", ack=slow)
        await world.sleep(30)

    world.run_connected(body)
    first, second = warnings_of(caplog)
    assert "of event 'connect'" in first
    assert "of event 'e (acknowledgement)'" in second


def test_a_cancelled_scope_leaves_no_timer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        socket.on("e", lambda: world.sleep(100))
        world.server.emit("e")
        await world.settle()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.run_connected(body)
    world.run(lambda: world.sleep(100))
    assert warnings_of(caplog) == []
