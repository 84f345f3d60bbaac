"""The lifecycle queue when something goes wrong: an internal error, an overflow, a run that is cancelled."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sansio_socketio.client import Socket
from sansio_socketio.client.handlers.registry import HandlerRegistry
from sansio_socketio.client.run.lifecycle import MOST_CALLS
from tests.support.fake_runtime import URL, Cancelled, World


@pytest.mark.parametrize("eager", [False, True])
def test_an_internal_error_ends_the_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eager: bool
) -> None:
    world.eager = eager

    async def body(manager: Any) -> None:
        await manager.connect()
        manager.on("ping", print)

        def fail(*_: Any) -> None:
            raise ZeroDivisionError("internal")

        monkeypatch.setattr(HandlerRegistry, "take", fail)
        world.server.ping()
        await world.settle()
        assert manager.engine is None

    with pytest.raises(ZeroDivisionError, match="internal"):
        world.run_started(body)
    [message] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert message == "an internal error of sansio_socketio ends the connection; please report it"


def test_events_queued_beyond_the_bound_are_left_out_and_reported_once(threads_world: World) -> None:
    reported: list[Any] = []
    calls: list[None] = []

    with threads_world.blocking_manager_class(
        URL, on_handler_error=lambda error, event: reported.append((event, str(error)))
    ) as manager:

        @manager.on("ping")
        def ping() -> None:
            calls.append(None)
            if len(calls) in {1, MOST_CALLS + 2}:  # while this call blocks its thread, the others are queued
                for _ in range(MOST_CALLS + 5):
                    threads_world.server.ping()

        manager.connect()
        threads_world.server.ping()
        threads_world.block(5)
        assert len(calls) == MOST_CALLS + 1
        [(event, message)] = reported
        assert event == "ping"
        assert f"{MOST_CALLS} of these events are queued" in message
        threads_world.server.ping()
        threads_world.block(5)
        assert len(calls) == 2 * (MOST_CALLS + 1)
        assert len(reported) == 2
        assert manager.engine is not None


def test_handlers_that_are_held_back_when_the_scope_is_cancelled_are_not_called(world: World) -> None:
    seen: list[str] = []

    async def main() -> None:
        async with world.scopes.open_io(URL) as io:
            socket = io()
            socket.io.on("open", lambda: seen.append("open"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.run(main)
    assert seen == []


def test_the_end_waits_for_running_handlers(world: World) -> None:
    story: list[str] = []

    async def body(manager: Any) -> None:
        async def slow(*_: Any) -> None:
            await world.sleep(3)
            story.append("slow")

        manager.on("close", slow)
        await manager.connect()

    before = world.time
    world.run_started(body)
    assert story == ["slow"]
    assert world.time == before + 3


def test_a_function_for_auth_is_not_called_when_the_run_is_cancelled_before_its_turn(world: World) -> None:
    asked: list[None] = []

    async def body(manager: Any) -> None:
        async def opened() -> None:
            assert world.main is not None
            world.main.cancel()
            await world.sleep(1)

        manager.socket("/", auth=lambda: asked.append(None))
        manager.on("open", opened)
        await world.sleep(5)

    with pytest.raises(Cancelled):
        world.run_started(body)
    assert asked == []


def test_the_barrier_in_front_of_a_sockets_event_is_lifted_when_the_run_is_cancelled(world: World) -> None:
    seen: list[str] = []

    async def body(socket: Socket) -> None:
        async def opened() -> None:
            seen.append("open")
            world.cancel_main_at(0)

        socket.io.on("open", opened)
        socket.on("connect", lambda: seen.append("connect"))
        await world.sleep(5)

    with pytest.raises(Cancelled):
        world.run_connected(body)
    assert "open" in seen
    assert world.tasks == []
