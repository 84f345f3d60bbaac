"""A plain handler that calls an async method and drops the coroutine is reported, with a hint."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest

from sansio_socketio.protocol.errors import StateError
from tests.support.fake_runtime import FakeTask
from tests.support.fake_server import wires
from tests.support.variants import Variant


@pytest.fixture(params=["tasks", "eager tasks"])
def variant(request: pytest.FixtureRequest) -> Iterator[Variant]:
    with wires(), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield Variant(request.param)


def play(
    variant: Variant, make: Callable[[Any], Callable[..., Any]], *, event: str = "event", ack: bool = False
) -> list[tuple[str, Exception]]:
    """Call a handler once, and return what was reported."""
    manager = variant.manager(on_handler_error=variant.report)
    socket = manager.socket()

    async def body() -> None:
        (manager if event == "ping" else socket).on(event, make(socket))
        async with manager:
            await socket.wait_connected()
            variant.server.ping() if event == "ping" else variant.server.emit(event, 1, id=1 if ack else None)
            await variant.sleep(1)
            manager.off()
            socket.off()

    variant.run(body)
    gc.collect()
    return variant.errors


DROPS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("emit", lambda socket: socket.emit("x"), "emit_nowait"),
    ("emit", lambda socket: socket.volatile.emit("x"), "emit_nowait"),
    ("send", lambda socket: socket.send("x"), "emit_nowait"),
    ("emit_with_ack", lambda socket: socket.emit_with_ack("x"), ""),
    ("connect", lambda socket: socket.connect(), "connect_nowait"),
    ("connect", lambda socket: socket.open(), "connect_nowait"),
    ("disconnect", lambda socket: socket.disconnect(), "disconnect_nowait"),
    ("close", lambda socket: socket.io.close(), ""),
    ("connect", lambda socket: socket.io.open(), ""),
    ("close", lambda socket: socket.io.engine.close(), ""),
    ("wait_connected", lambda socket: socket.wait_connected(), ""),
]


@pytest.mark.parametrize("event", ["event", "ping"])
@pytest.mark.parametrize(("method", "drop", "hint"), DROPS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_dropped_coroutine_is_reported(
    method: str, drop: Callable[[Any], Any], hint: str, event: str, variant: Variant
) -> None:
    def make(socket: Any) -> Callable[..., Any]:
        def handler() -> None:
            drop(socket)

        return handler

    ((reported, error),) = play(variant, make, event=event)
    assert reported == event
    assert isinstance(error, StateError)
    assert f"handler of {event!r} called {method}() without awaiting it; make the handler async" in str(error)
    assert (f"or call {hint}()" if hint else "async") in str(error)
    assert str(error).endswith(f"{hint}()" if hint else "async")


def test_the_handler_still_acknowledges(variant: Variant) -> None:
    def make(socket: Any) -> Callable[..., Any]:
        def handler(value: int) -> int:
            socket.emit("x")
            return value

        return handler

    assert len(play(variant, make, ack=True)) == 1
    assert variant.server.acks() == [(1, [1])]


def test_a_dropped_coroutine_is_reported_if_the_handler_raises(variant: Variant) -> None:
    def make(socket: Any) -> Callable[..., Any]:
        def handler() -> None:
            socket.emit("x")
            raise ValueError("a mistake")

        return handler

    assert [type(error) for _, error in play(variant, make)] == [ValueError, StateError]


def test_a_coroutine_that_the_handler_returns_is_awaited(variant: Variant) -> None:
    assert play(variant, lambda socket: lambda value: socket.emit("y", value)) == []
    assert variant.server.events() == [["y", 1]]


def test_a_coroutine_that_is_passed_to_a_task_is_not_reported(variant: Variant) -> None:
    def make(socket: Any) -> Callable[..., Any]:
        def handler() -> None:
            coroutine = socket.emit("y")
            task = FakeTask(variant.world, coroutine, copy_context(), "a task")
            variant.world.call_soon(task.step)

        return handler

    assert play(variant, make) == []
    assert variant.server.events() == [["y"]]


def test_a_coroutine_that_is_stored_is_not_reported(variant: Variant) -> None:
    kept: list[Any] = []
    assert play(variant, lambda socket: lambda: kept.append(socket.emit("y"))) == []
    kept.pop().close()


def test_an_async_handler_is_not_watched(variant: Variant) -> None:
    def make(socket: Any) -> Callable[..., Any]:
        async def handler() -> None:
            await socket.emit("y")

        return handler

    assert play(variant, make) == []
    assert variant.server.events() == [["y"]]


def test_the_callback_of_an_acknowledgement_is_watched(variant: Variant) -> None:
    manager = variant.manager(on_handler_error=variant.report)
    socket = manager.socket()
    variant.answer("yes")

    def callback(answer: str) -> None:
        socket.emit("x")

    async def body() -> None:
        async with manager:
            await socket.wait_connected()
            await socket.emit("question", ack=callback)
            await variant.sleep(1)

    variant.run(body)
    ((_, error),) = variant.errors
    assert "called emit() without awaiting it" in str(error)
