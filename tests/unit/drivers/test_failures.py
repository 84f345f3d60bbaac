"""Unexpected exceptions in what a runtime runs: they end the runs, and waiting callers raise with the cause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sansio_socketio.protocol.errors import DisconnectedError, StateError
from sansio_socketio.runtime import Runtime
from tests.support.drivers import ASYNC_DRIVERS, DRIVERS, AsyncioDriver, Driver
from tests.support.runtimes import LoopbackServer
from tests.support.websocket_server import serve

pytestmark = pytest.mark.timeout(60)
OPTIONS: dict[str, Any] = {"transports": ["websocket"]}


class UnusualError(BaseException):
    """A subclass of BaseException that is neither an Exception nor a built-in one."""


def fail() -> None:
    raise LookupError("a mistake")


async def fail_in_task() -> None:
    fail()


def fail_in_timer(runtime: Runtime) -> None:
    runtime.timer(fail).set(runtime.now())


FAILURES: dict[str, Callable[[Runtime], object]] = {
    "callback": lambda runtime: runtime.call_soon(fail),
    "timer": fail_in_timer,
    "task": lambda runtime: runtime.spawn(fail_in_task, "fails"),
}


def runtime_of(manager: Any) -> Any:
    return getattr(manager, "_target", manager)._core.link.run.runtime


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_of_the_runtime_is_raised_by_waiting_calls_and_by_the_block(
    driver: Driver, failure: Callable[[Runtime], object], caplog: pytest.LogCaptureFixture
) -> None:
    causes: list[BaseException | None] = []

    async def main() -> None:
        manager = driver.manager(f"http://127.0.0.1:{server.port}", **OPTIONS)
        socket = manager.socket("/")

        async def call_twice() -> None:
            async with manager:
                await socket.wait_connected()
                failure(runtime_of(manager))
                for event in ("silent", "x"):  # the first call is waiting
                    try:
                        await socket.emit_with_ack(event)
                    except DisconnectedError as error:
                        causes.append(error.__cause__)

        with pytest.raises(LookupError, match="a mistake"):
            await call_twice()
        async with manager:  # the Manager can run again
            await socket.emit_with_ack("x")

    with LoopbackServer(serve) as server:
        driver.play(main)
    assert [str(cause) for cause in causes] == ["a mistake", "a mistake"]
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize("error", [GeneratorExit, UnusualError])
def test_a_handler_that_raises_an_unusual_base_exception_does_not_stop_the_next(
    driver: Driver, error: type[BaseException]
) -> None:
    """asyncio ignores such an exception of a task, so the library reports it. In a nursery or task group it ends the block."""
    reported: list[Exception] = []

    async def main() -> None:
        async with driver.connect(
            f"http://127.0.0.1:{server.port}", on_handler_error=lambda error, event: reported.append(error), **OPTIONS
        ) as socket:
            calls = driver.queue()

            async def handle(number: int) -> None:
                calls.put(number)
                raise error

            socket.on("n", handle)
            for _ in range(2):
                await socket.emit("x")
                await calls.get()

    with LoopbackServer(serve) as server:
        if isinstance(driver, AsyncioDriver):
            driver.play(main)
            assert [(type(each), type(each.__cause__)) for each in reported] == [(StateError, error)] * 2
        else:
            with pytest.raises(error):
                driver.play(main)


def test_a_handler_that_cancels_its_own_asyncio_task_ends_the_connection() -> None:
    driver = AsyncioDriver()

    async def main() -> None:
        async with driver.connect(f"http://127.0.0.1:{server.port}", **OPTIONS) as socket:

            def cancel(_: int) -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

            socket.on("n", cancel)
            await socket.emit("x")
            await socket.wait_closed()

    with LoopbackServer(serve) as server, pytest.raises(StateError, match="did a handler cancel its task"):
        driver.play(main)
