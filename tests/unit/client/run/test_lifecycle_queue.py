"""The lifecycle queue: the handlers of the Manager and the Engine start in order, and cannot block the connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sansio_socketio.client import Socket
from sansio_socketio.client.run.lifecycle import START_LIMIT
from sansio_socketio.handlers.registry import HandlerRegistry
from tests.support.fake_runtime import URL, Cancelled, World


@pytest.fixture
def threads(threads_world: World) -> Iterator[World]:
    yield threads_world
    assert threads_world.tasks == []


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# ---------------------------------------------------------------------------------------------------------------------
# Order


@pytest.mark.parametrize("eager", [False, True])
def test_a_handler_of_the_manager_starts_before_the_sockets_event_that_follows(world: World, eager: bool) -> None:
    world.eager = eager
    log: list[str] = []

    async def body(manager: Any) -> None:
        async def opened() -> None:
            log.append("open starts")
            await world.sleep(5)
            log.append("open ends")

        manager.on("open", opened)
        manager.on("open", lambda: log.append("second"))
        socket = manager.socket("/")
        socket.on("connect", lambda: log.append("connect"))
        await world.sleep(10)

    world.run_started(body)
    assert log == ["open starts", "second", "connect", "open ends"]


def test_a_handler_that_does_not_suspend_does_not_delay_later_events(world: World) -> None:
    before = world.time

    async def body(manager: Any) -> None:
        async def nothing() -> None: ...

        manager.on("open", nothing).on("open", lambda: None)
        await manager.socket("/").wait_connected()
        assert world.time == before

    world.run_started(body)


@pytest.mark.parametrize("event", ["open", "reconnect", "reconnect_attempt", "close", "error"])
def test_a_handler_may_wait_for_the_connection(world: World, event: str) -> None:
    log: list[Any] = []
    world.server.acknowledge_with("answer")

    async def body(manager: Any) -> None:
        socket = manager.socket("/", auth=lambda: {"token": 1})

        async def wait(*_: Any) -> None:
            await socket.wait_connected()
            log.append(await socket.emit_with_ack("question"))

        manager.on(event, wait).on(event, wait)
        await socket.wait_connected()
        world.server.accepts = False
        world.server.lose()
        world.call_at(world.time + 5, lambda: setattr(world.server, "accepts", True))
        await world.sleep(30)
        assert socket.connected

    world.run_started(body, query=lambda: {"q": "1"})
    assert len(log) >= 2
    assert set(log) == {"answer"}


# ---------------------------------------------------------------------------------------------------------------------
# Errors and bounds


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
        assert manager.engine.state == "closed"

    with pytest.raises(ZeroDivisionError, match="internal"):
        world.run_started(body)
    [message] = warnings_of(caplog)
    assert message == "internal error in sansio_socketio; the connection is closed; please report it"


# ---------------------------------------------------------------------------------------------------------------------
# Threads


def test_in_a_thread_a_handler_has_started_when_it_enters_a_blocking_call(
    threads: World, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[Any] = []
    begin = threads.time
    threads.server.on_event = lambda packet: threads.call_at(
        threads.time + START_LIMIT / 2, lambda: threads.server.ack(packet)
    )
    with threads.blocking_manager_class(URL) as manager:
        socket = manager.socket("/")

        @manager.on("open")
        def ask_twice() -> None:
            for _ in range(2):
                socket.emit_with_ack("question")
                log.append(("answer", threads.time - begin))

        manager.on("open", lambda: log.append(("second", threads.time - begin)))
        socket.on("connect", lambda: log.append(("connect", threads.time - begin)))
        socket.wait_connected()
        threads.block(2)
    assert log == [
        *[("second", 0), ("connect", 0)],
        *[("answer", START_LIMIT / 2), ("answer", START_LIMIT)],
    ]
    assert warnings_of(caplog) == []


def test_in_a_thread_a_handler_of_reconnect_may_call_the_server(threads: World) -> None:
    answers: list[Any] = []
    threads.server.acknowledge_with("echo")
    with threads.blocking_manager_class(URL, reconnection_delay=1) as manager:
        socket = manager.socket("/")
        socket.wait_connected()
        manager.on("reconnect", lambda number: answers.append(socket.emit_with_ack("echo", number)))
        engine = manager.engine
        assert engine is not None
        engine.close()
        socket.wait_connected()
        threads.block(1)
    assert answers == ["echo"]


# ---------------------------------------------------------------------------------------------------------------------
# Start and end


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
    log: list[str] = []

    async def body(manager: Any) -> None:
        async def slow(*_: Any) -> None:
            await world.sleep(3)
            log.append("slow")

        manager.on("close", slow)
        await manager.connect()

    before = world.time
    world.run_started(body)
    assert log == ["slow"]
    assert world.time == before + 3


def test_handlers_that_do_not_end_are_cancelled_and_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    async def body(manager: Any) -> None:
        async def stuck() -> None:
            try:
                await world.sleep(1e9)
            except Cancelled:
                log.append("cancelled")
                raise

        manager.on("open", stuck)
        await manager.connect()
        await world.settle()

    before = world.time
    world.run_started(body, close_timeout=3)
    assert log == ["cancelled"]
    assert world.time == before + 3
    [message] = warnings_of(caplog)
    assert message.startswith("handlers are still running 3 seconds (close_timeout) after the connection was stopped")
    assert "stuck" in message


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
