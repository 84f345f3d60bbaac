"""The runs of a Manager outside of `connect` and `open_io`: how each is started and stopped, and that nothing is left."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

import pytest

from sansio_socketio.client import Disconnection, Manager, Socket
from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, StateError
from tests.support.fake_runtime import Cancelled, FakeTask, World

URL = "http://localhost:3000"


def nothing_is_left(world: World) -> bool:
    return world.tasks == [world.main] and world.streams == []


@pytest.fixture(params=[False, True], ids=["", "eager"])
def world(world: World, request: pytest.FixtureRequest) -> Any:
    world.eager = request.param
    yield world
    assert world.tasks == []
    assert world.streams == []


# ---------------------------------------------------------------------------------------------------------------------
# From open to close


def test_a_manager_runs_from_open_to_close(world: World) -> None:
    log: list[Any] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        for event in ("open", "close"):
            manager.on(event, lambda *args, event=event: log.append((event, *args)))
        assert await manager.open() is manager
        assert repr(manager) == f"<Manager of {URL}, open>"
        socket = manager.socket("/chat")
        await socket.wait_connected()
        await socket.emit("last")
        assert await manager.close() is manager
        assert nothing_is_left(world)

    world.run(main)
    assert log == [("open",), ("close", "forced close", None)]
    assert world.server.events() == [["last"]]
    assert world.server.got[-1].type == 1  # DISCONNECT


def test_open_and_close_may_be_called_in_different_tasks(world: World) -> None:
    manager = world.manager_class(URL)

    async def main() -> None:
        await world.join(world.spawn(manager.open))
        assert manager.engine is not None
        await manager.socket("/").connect()
        await world.join(world.spawn(manager.close))
        assert nothing_is_left(world)

    world.run(main)


def test_open_waits_for_the_connection_only(world: World) -> None:
    async def main() -> None:
        world.server.joins = False
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        await manager.open()
        assert (socket.active, socket.connected) == (True, False)
        await manager.close()

    world.run(main)


def test_an_open_that_fails_leaves_nothing_and_may_be_repeated(world: World) -> None:
    log: list[Any] = []

    async def main() -> None:
        world.server.accepts = False
        manager = world.manager_class(URL)
        manager.on("error", lambda error: log.append(str(error)))
        manager.on("reconnect_attempt", log.append)
        socket = manager.socket("/")
        for _ in range(2):
            with pytest.raises(ConnectError, match="refused"):
                await manager.open()
            assert nothing_is_left(world)
        await world.sleep(100)
        assert world.server.connections == 2
        world.server.accepts = True
        await manager.open()
        await socket.wait_connected()
        await manager.close()

    world.run(main)
    assert len(log) == 2


def test_an_open_that_is_cancelled_leaves_nothing(world: World) -> None:
    async def main() -> None:
        world.server.accepts = None
        manager = world.manager_class(URL)
        opening = world.spawn(manager.open)
        await world.sleep(1)
        opening.cancel()
        with pytest.raises(Cancelled):
            await world.join(opening)
        assert nothing_is_left(world)
        world.server.accepts = True
        await manager.open()
        await manager.close()

    world.run(main)


def test_close_may_be_called_at_any_time(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        assert await manager.close() is manager
        await manager.open()
        await manager.close()
        await manager.close()

    world.run(main)


def test_concurrent_calls_of_close_all_wait(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, close_timeout=5)
        await manager.open()
        world.server.is_reading = False
        closings = [world.spawn(manager.close) for _ in range(3)]
        await world.sleep(1)
        assert not any(closing.done for closing in closings)
        with pytest.raises(DisconnectedError, match="has been stopped"):
            await manager.open()
        world.server.read_on()
        for closing in closings:
            await world.join(closing)
        assert nothing_is_left(world)
        await manager.open()
        await manager.close()

    world.run(main)
    assert world.time < 1002


def test_a_close_that_is_cancelled_ends_at_once(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, close_timeout=50)
        await manager.open()
        world.server.is_reading = False
        closing = world.spawn(manager.close)
        other = world.spawn(manager.close)
        await world.sleep(1)
        closing.cancel()
        with pytest.raises(Cancelled):
            await world.join(closing)
        await world.join(other)
        assert nothing_is_left(world)

    world.run(main)
    assert world.time < 1002


def test_close_takes_at_most_close_timeout(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, close_timeout=2)
        await manager.open()
        world.server.is_reading = False
        await manager.close()

    world.run(main)
    assert world.time == 1002


def test_a_manager_that_is_closed_while_it_opens(world: World) -> None:
    async def main() -> None:
        world.server.accepts = None
        manager = world.manager_class(URL)
        opening = world.spawn(manager.open)
        await world.sleep(1)
        await manager.close()
        with pytest.raises(DisconnectedError, match="closed"):
            await world.join(opening)
        assert nothing_is_left(world)

    world.run(main)


def test_open_reopens_a_connection_that_was_lost_without_reconnection(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, reconnection=False)
        socket = manager.socket("/")
        await manager.open()
        await socket.wait_connected()
        world.server.lose()
        with pytest.raises(DisconnectedError, match="/ was disconnected: transport close"):
            await socket.wait_closed()
        assert socket.close_reason is not None
        assert socket.close_reason.final
        assert socket.active
        await manager.open()
        await socket.wait_connected()
        assert socket.close_reason is None
        await manager.close()

    world.run(main)
    assert world.server.connections == 2


def test_close_raises_the_error_of_a_handler(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, on_handler_error="raise")
        socket = manager.socket("/")
        socket.on("e", lambda: 1 / 0)
        await manager.open()
        await socket.wait_connected()
        world.server.emit("e")
        await world.settle()
        assert not socket.connected
        with pytest.raises(ZeroDivisionError):
            await manager.close()
        assert nothing_is_left(world)
        await manager.open()  # a new run does not depend on the previous one
        await socket.wait_connected()
        await manager.close()

    world.run(main)


def test_the_error_of_a_handler_is_logged_if_the_body_raises_another_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL, on_handler_error="raise") as socket:
            socket.on("e", lambda: 1 / 0)
            world.server.emit("e")
            await world.settle()
            raise KeyError("of the body")

    with pytest.raises(KeyError, match="of the body"):
        world.run(main)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "an exception ended the connection; another one is raised"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_an_internal_error_after_that_of_a_handler_does_not_hide_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, on_handler_error="raise")
        socket = manager.socket("/")
        socket.on("e", lambda: 1 / 0)
        await manager.open()
        await socket.wait_connected()

        def fail(*_: Any) -> None:
            raise KeyError("internal")

        monkeypatch.setattr(ClientProtocol, "abort", fail)
        world.server.emit("e")
        await world.settle()
        with pytest.raises(ZeroDivisionError):
            await manager.close()
        with pytest.raises(StateError, match="unusable after an internal error"):
            await manager.open()

    world.run(main)


def test_a_manager_cannot_be_started_after_an_internal_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        await manager.open()

        def fail(*_: Any) -> None:
            raise KeyError("internal")

        monkeypatch.setattr(ClientProtocol, "data_received", fail)
        world.server.ping()
        with pytest.raises(KeyError, match="internal"):
            await manager.close()
        monkeypatch.undo()
        with pytest.raises(StateError, match="unusable after an internal error; create another one"):
            await manager.open()

    world.run(main)


def test_an_unclosed_manager_emits_a_resource_warning(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        await manager.open()
        core: Any = manager._core
        with pytest.warns(ResourceWarning, match=rf"unclosed Manager of {URL}: open\(\) was called, close\(\) was not"):
            core.__del__()
        await manager.close()
        core.__del__()

    world.run(main)
    gc.collect()


def test_open_raises_with_a_hint_if_tasks_need_a_scope(world: World) -> None:
    class Scoped(world.manager_class):  # type: ignore[misc,name-defined]  # a class of this world
        can_be_held: ClassVar[bool] = False

    async def main() -> None:
        manager = Scoped(URL, auto_connect=False)
        with pytest.raises(StateError, match=r"async with manager.*nursery\.start\(manager\.run\)"):
            await manager.open()
        await manager.close()
        async with manager:
            await manager.open()

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# In a task


class Status:
    def __init__(self) -> None:
        self.value: Any = None

    def started(self, value: Any) -> None:
        self.value = value


def test_a_manager_runs_in_a_task_until_it_is_closed(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        status = Status()
        running = world.spawn(lambda: manager.run(task_status=status))
        await world.settle()
        assert status.value is manager
        socket = manager.socket("/")
        await socket.wait_connected()
        await socket.emit("last")
        await manager.close()
        assert running.done
        assert nothing_is_left(world)
        again = world.spawn(manager.run)
        await socket_is_back(world, socket)
        await manager.close()
        assert again.done

    world.run(main)
    assert world.server.events() == [["last"]]


async def socket_is_back(world: World, socket: Socket) -> None:
    await world.settle()
    await socket.wait_connected()


def test_a_run_that_is_cancelled_ends_at_once(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        running = world.spawn(manager.run)
        socket = manager.socket("/")
        await socket_is_back(world, socket)
        socket.on("e", lambda: world.sleep(100))
        world.server.emit("e")
        await world.settle()
        running.cancel()
        with pytest.raises(Cancelled):
            await world.join(running)
        assert nothing_is_left(world)

    world.run(main)
    assert world.time < 1001


def test_a_run_repeats_failed_attempts(world: World) -> None:
    async def main() -> None:
        world.server.accepts = False
        manager = world.manager_class(URL)
        running = world.spawn(manager.run)
        await world.sleep(10)
        assert world.server.connections > 2
        world.server.accepts = True
        await manager.socket("/").wait_connected()
        await manager.close()
        assert running.done

    world.run(main)


def test_a_run_ends_with_the_error_of_a_handler(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, on_handler_error="raise")
        socket = manager.socket("/")
        socket.on("e", lambda: 1 / 0)
        running = world.spawn(manager.run)
        await socket_is_back(world, socket)
        world.server.emit("e")
        with pytest.raises(ZeroDivisionError):
            await world.join(running)

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Closed by a handler


@pytest.mark.parametrize("held", [True, False], ids=["held", "run"])
def test_a_handler_may_close(world: World, held: bool) -> None:
    log: list[str] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        socket.on("disconnect", log.append)

        @socket.on("quit")
        async def leave() -> None:
            await manager.close()
            log.append("closed")
            await world.sleep(1)
            log.append("handled")

        if held:
            await manager.open()
        else:
            world.spawn(manager.run)
        await socket_is_back(world, socket)
        world.server.emit("quit")
        await world.sleep(0.5)
        assert log == ["closed"]
        await manager.close()
        assert nothing_is_left(world)

    world.run(main)
    assert log == ["closed", "handled", "forced close"]


@pytest.mark.parametrize("held", [True, False], ids=["held", "run"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_of_the_manager_may_close(world: World, held: bool, is_async: bool) -> None:
    log: list[str] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        socket.on("disconnect", log.append)
        manager.on("close", lambda: log.append("closed"))

        async def leave() -> None:
            if is_async:
                await world.sleep(1)
            await manager.close()
            log.append("close returned")

        manager.on("ping", leave)
        if held:
            await manager.open()
        else:
            world.spawn(manager.run)
        await socket_is_back(world, socket)
        world.server.ping()
        await world.sleep(2)
        assert nothing_is_left(world)
        assert sorted(log) == ["close returned", "closed", "forced close"]
        await manager.open()
        await manager.close()

    world.run(main)


def test_concurrent_handlers_may_close(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        socket.on("quit", manager.close, concurrency=2)
        await manager.open()
        await socket.wait_connected()
        world.server.emit("quit")
        world.server.emit("quit")
        await world.sleep(0.1)
        assert nothing_is_left(world)
        await manager.open()
        await manager.close()

    world.run(main)


def test_a_task_that_a_handler_started_may_close_and_waits(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        started: list[FakeTask] = []
        socket.on("quit", lambda: started.append(world.spawn(manager.close)))
        await manager.open()
        await socket.wait_connected()
        world.server.emit("quit")
        await world.sleep(0)
        await world.join(started[0])
        assert nothing_is_left(world)

    world.run(main)


def test_the_error_of_a_run_that_a_handler_closed_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, on_handler_error="raise")
        socket = manager.socket("/")

        @socket.on("quit")
        async def leave() -> None:
            await manager.close()
            raise ValueError("after all")

        await manager.open()
        await socket.wait_connected()
        world.server.emit("quit")
        await world.sleep(0.1)
        assert nothing_is_left(world)

    world.run(main)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == f"closing the Manager of {URL} failed; a handler had called close()"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


# ---------------------------------------------------------------------------------------------------------------------
# Sockets


Start = Callable[[World, Manager], Coroutine[Any, Any, None]]


async def by_open(_: World, manager: Manager) -> None:
    await manager.open()


async def by_run(world: World, manager: Manager) -> None:
    world.spawn(manager.run)
    await world.settle()


STARTS = [by_open, by_run]


@pytest.mark.parametrize("start", STARTS)
def test_sockets_may_be_made_before_the_start(world: World, start: Start) -> None:
    world.server.greets = ["welcome"]
    log: list[str] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/chat", auth={"token": 1})
        assert manager.socket("/chat") is socket
        for event in ("connect", "welcome"):
            socket.on(event, lambda event=event: log.append(event))
        assert (socket.nsp, socket.active, socket.connected, socket.id) == ("/chat", False, False, None)
        assert repr(socket) == f"<Socket /chat of {URL}, inactive>"
        for call in (
            lambda: socket.emit("e"),
            lambda: socket.emit_with_ack("e"),
            lambda: socket.volatile.emit("e"),
            socket.connect,
            socket.wait_connected,
            socket.wait_closed,
        ):
            with pytest.raises(
                StateError, match=r"is not running: start it as a context manager, or with open\(\) or run\(\)"
            ):
                await call()
        for plain in (lambda: socket.emit_nowait("e"), socket.events):
            with pytest.raises(StateError, match="is not running"):
                plain()
        await start(world, manager)
        await socket.wait_connected()
        await world.settle()
        assert log == ["connect", "welcome"]
        await manager.close()

    world.run(main)
    assert world.server.payloads() == [{"token": 1}]


@pytest.mark.parametrize("start", STARTS)
def test_a_socket_that_was_disconnected_before_the_start_does_not_connect(world: World, start: Start) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        wanted, left = manager.socket("/wanted"), manager.socket("/left")
        assert await left.disconnect() is left
        await start(world, manager)
        await wanted.wait_connected()
        assert not left.active
        await left.wait_closed()
        with pytest.raises(DisconnectedError, match="call connect"):
            await left.wait_connected()
        await left.connect()
        await manager.close()

    world.run(main)


@pytest.mark.parametrize("start", STARTS)
def test_without_auto_connect_a_socket_connects_only_on_connect(world: World, start: Start) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, auto_connect=False)
        socket = manager.socket("/")
        await socket.wait_closed()
        await start(world, manager)
        await world.sleep(1)
        assert not socket.active
        assert world.server.connections == (start is by_open)
        await socket.connect()
        await manager.close()

    world.run(main)


@pytest.mark.parametrize("start", STARTS)
def test_sockets_and_their_handlers_outlive_a_run(world: World, start: Start) -> None:
    log: list[Any] = []

    async def main() -> None:
        manager = world.manager_class(URL, reconnection_delay=3)
        stays, left, kicked = (manager.socket(name) for name in ("/stays", "/left", "/kicked"))
        manager.on("open", lambda: log.append("open"))
        stays.on("connect", lambda: log.append("connect"))
        stays.on("e", log.append)
        for number in (1, 2, 3):
            await start(world, manager)
            await stays.wait_connected()
            world.server.emit("e", number, namespace="/stays")
            if number == 1:
                await left.wait_connected()
                await left.disconnect()
                await kicked.wait_connected()
                world.server.kick("/kicked")
            await world.settle()
            assert (left.active, kicked.active) == (False, False)
            manager.reconnection_delay += 1
            await manager.close()
            assert nothing_is_left(world)
            with pytest.raises(DisconnectedError, match="has been stopped"):
                await stays.emit("e")
        assert manager.socket("/stays") is stays
        assert manager.reconnection_delay == 6

    world.run(main)
    assert log == ["open", "connect", 1, "open", "connect", 2, "open", "connect", 3]


ENDS = {
    "open and close": ("forced close", True, [("forced close", True)]),
    "run and close": ("forced close", True, [("forced close", True)]),
    "close in a block": ("forced close", True, [("forced close", True)]),
    "end of a block": ("io client disconnect", False, [("io client disconnect", False)]),
    "cancelled block": ("forced close", True, []),
}
"""How a Manager stops: the reason, `active`, and what the handler of `disconnect` has seen."""


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("joins", [True, False])
def test_reason_and_active_after_each_way_to_stop(world: World, how: str, *, joins: bool) -> None:
    reason, active, seen = ENDS[how]
    log: list[Any] = []
    manager = world.manager_class(URL)
    socket = manager.socket("/")
    socket.on("disconnect", lambda reason, details, state: log.append((reason, state.active)))
    world.server.joins = joins

    async def main() -> None:
        if how == "open and close":
            await manager.open()
            await world.settle()
            await manager.close()
        elif how == "run and close":
            task = world.spawn(manager.run)
            await world.sleep(1)
            await manager.close()
            await world.join(task)
        else:
            if how == "cancelled block":
                world.cancel_main_at(1)
            async with manager:
                await world.sleep(0.5)
                if how == "close in a block":
                    await manager.close()
                elif how == "cancelled block":
                    await world.sleep(1)

    with suppress(Cancelled):
        world.run(main)
    assert (socket.connected, socket.active) == (False, active)
    assert socket.close_reason == Disconnection(reason, None, final=True)  # type: ignore[arg-type]
    assert log == (seen if joins or active else [])

    async def again() -> None:
        world.server.joins = True
        async with manager:
            await socket.wait_connected()

    world.run(again)


def test_a_socket_may_be_disconnected_between_two_runs(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        socket, other = manager.socket("/"), manager.socket("/other")
        await manager.open()
        await socket.wait_connected()
        await manager.close()
        await socket.disconnect()
        await manager.open()
        await other.wait_connected()
        assert not socket.active
        await other.disconnect()
        await manager.close()
        assert manager.socket("/") is socket
        await manager.open()
        await socket.wait_connected()
        assert not other.active
        await manager.close()

    world.run(main)


def test_disconnect_and_close_in_either_order(world: World) -> None:
    async def main() -> None:
        for disconnect_first in (True, False):
            manager = world.manager_class(URL)
            await manager.open()
            socket = await manager.socket("/").connect()
            await socket.emit("last")
            if disconnect_first:
                await socket.disconnect()
                await manager.close()
            else:
                await manager.close()
                await socket.disconnect()
            assert nothing_is_left(world)

    world.run(main)
    assert world.server.events() == [["last"], ["last"]]


@pytest.mark.parametrize("start", STARTS)
def test_waiting_callers_are_woken_at_the_end_and_the_next_run_is_independent(world: World, start: Start) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/", ack_timeout=100)
        await start(world, manager)
        await socket.wait_connected()
        errors: list[Any] = []
        await socket.emit("question", ack=lambda error, *values: errors.append(type(error)))
        asking = world.spawn(lambda: failure_of(socket.emit_with_ack("question")))
        waiting = world.spawn(lambda: ended(socket))
        await world.settle()
        await manager.close()
        assert isinstance(await world.join(asking), DisconnectedError)
        await world.join(waiting)
        assert errors == [DisconnectedError]
        await start(world, manager)
        await socket.wait_connected()
        world.server.on_event = lambda packet: world.server.ack(packet, 5)
        assert await socket.emit_with_ack("question") == 5
        await manager.close()

    world.run(main)


async def failure_of(coroutine: Coroutine[Any, Any, Any]) -> Exception | None:
    try:
        await coroutine
    except Exception as error:
        return error
    return None


async def ended(socket: Socket) -> None:
    async with socket.events() as events:
        async for _ in events:
            raise AssertionError


@pytest.mark.parametrize("start", STARTS)
def test_a_function_for_auth_that_failed_is_called_again_in_the_next_run(world: World, start: Start) -> None:
    asked: list[int] = []

    def auth() -> dict[str, int]:
        asked.append(len(asked))
        if len(asked) == 1:
            raise OSError("there are no tokens")
        return {"token": len(asked)}

    async def main() -> None:
        manager = world.manager_class(URL, reconnection_delay=50, reconnection_delay_max=50)
        socket = manager.socket("/", auth=auth)
        await start(world, manager)
        await world.sleep(1)
        assert not socket.connected
        await manager.close()
        await start(world, manager)
        await socket.wait_connected()
        await manager.close()

    world.run(main)
    assert asked == [0, 1]
    assert world.server.payloads() == [{"token": 2}]
    assert world.time < 1010


def test_a_run_that_ends_while_waiting_for_the_next_attempt(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, reconnection_delay=50)
        socket = manager.socket("/")
        await manager.open()
        await socket.wait_connected()
        world.server.lose()
        await world.settle()
        assert not socket.connected
        await manager.close()
        assert nothing_is_left(world)
        await manager.open()
        await socket.wait_connected()
        await manager.close()

    world.run(main)
    assert world.time < 1010


def test_buffered_events_do_not_outlive_a_run(world: World) -> None:
    async def main() -> None:
        world.server.joins = False
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        await manager.open()
        await socket.emit("unsent")
        await manager.close()
        world.server.joins = True
        await manager.open()
        await socket.wait_connected()
        await socket.emit("sent")
        await manager.close()

    world.run(main)
    assert world.server.events() == [["sent"]]


def test_cancelled_handlers_do_not_affect_the_next_run(world: World) -> None:
    log: list[int] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")

        async def slow(number: int) -> None:
            await world.sleep(1)
            log.append(number)

        socket.on("e", slow, concurrency=1)
        running = world.spawn(manager.run)
        await socket_is_back(world, socket)
        for number in (1, 2):
            world.server.emit("e", number)
        await world.settle()
        running.cancel()
        with pytest.raises(Cancelled):
            await world.join(running)
        await manager.open()
        await socket.wait_connected()
        world.server.emit("e", 3)
        await world.sleep(2)
        await manager.close()

    world.run(main)
    assert log == [3]


@pytest.mark.parametrize("name", ["/", "/new"])
@pytest.mark.parametrize("event", ["disconnect", "close"])
@pytest.mark.parametrize("start", STARTS)
def test_a_socket_that_is_asked_for_while_a_run_stops_connects_in_the_next_one(
    world: World, start: Start, event: str, name: str
) -> None:
    sockets: list[Socket] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        await start(world, manager)
        await socket.wait_connected()

        def ask(*_: Any) -> None:
            sockets.append(manager.socket(name))

        if event == "disconnect":
            socket.once(event, ask)
        else:
            manager.once(event, ask)
        await manager.close()
        assert nothing_is_left(world)
        assert [(each.nsp, each.connected) for each in sockets] == [(name, False)]
        await start(world, manager)
        await sockets[0].wait_connected()
        await socket.wait_connected()
        await manager.close()

    world.run(main)
    assert world.time < 1001


# ---------------------------------------------------------------------------------------------------------------------
# One run at a time


def test_one_run_at_a_time(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        await manager.open()
        for start in (manager.__aenter__, manager.run):
            with pytest.raises(StateError, match="is already running"):
                await start()
        await manager.open()
        await manager.close()
        async with manager:
            await manager.open()
            await manager.close()  # in a block it closes only the connection
            await manager.open()
        assert nothing_is_left(world)

    world.run(main)


def test_ending_an_earlier_run_again_does_not_affect_the_state(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        link = manager._core.link
        async with manager:
            earlier = link.run
            assert earlier is not None
        async with manager:
            assert earlier is not None
            earlier.end()
            await manager.socket("/").connect()
            assert link.status.state == "running"

    world.run(main)


def test_a_manager_of_open_io_can_be_opened_but_not_started(world: World) -> None:
    async def main() -> None:
        async with world.scopes.open_io() as io:
            manager = io(URL).io
            with pytest.raises(StateError, match=r"is already running in the scope of connect\(\) or open_io\(\)"):
                await manager.__aenter__()
            await manager.open()
            await manager.close()
            await manager.open()
        await manager.open()  # that scope has ended
        await manager.close()

    world.run(main)


def test_a_runtime_that_cannot_be_set_up(world: World) -> None:
    failures = [OSError("no descriptors")]

    @asynccontextmanager
    async def failing_once() -> AsyncGenerator[Any, None]:
        if failures:
            raise failures.pop()
        async with world.open_runtime() as runtime:
            yield runtime

    async def main() -> None:
        manager_class = type("Manager", (world.manager_class,), {"runtime_scope": staticmethod(failing_once)})
        manager = manager_class(URL)
        with pytest.raises(OSError, match="no descriptors"):
            await manager.open()
        await manager.open()
        await manager.close()

    world.run(main)


def test_a_start_that_is_interrupted_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        manager = world.manager_class(URL)
        with monkeypatch.context() as patch:
            patch.setattr(ClientProtocol, "open", interrupt)
            with pytest.raises(KeyboardInterrupt):
                await manager.__aenter__()
        assert nothing_is_left(world)
        async with manager:
            await manager.open()

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Other threads and event loops


def test_calls_from_another_thread_raise_and_change_nothing(world: World) -> None:
    async def main() -> None:
        async with world.manager_class(URL) as manager:
            socket = await manager.socket("/").connect()
            engine = manager.engine
            assert engine is not None
            calls: list[Callable[[], Any]] = [
                lambda: socket.emit("e"),
                lambda: socket.emit_with_ack("e"),
                socket.connect,
                socket.disconnect,
                manager.open,
                manager.close,
                engine.close,
            ]
            plain_calls: list[Callable[[], Any]] = [
                lambda: socket.emit_nowait("e"),
                lambda: socket.on("e", print),
                lambda: socket.on_any(print),
                lambda: socket.off("e"),
                lambda: setattr(socket, "auth", {"token": 1}),
                lambda: manager.on("open", print),
                lambda: engine.on("close", print),
                lambda: engine.on("open", print),
                lambda: manager.socket("/other"),
                lambda: setattr(manager, "reconnection", False),
                lambda: setattr(manager, "reconnection_delay", 3),
            ]
            world.is_other_thread = True
            for call in calls:
                with pytest.raises(StateError, match="or call them through the thread of the World"):
                    await call()
            for plain in plain_calls:
                with pytest.raises(StateError, match="the thread of the World"):
                    plain()
            assert socket.connected
            world.is_other_thread = False
            assert (socket.listeners("e"), manager.reconnection, manager.reconnection_delay) == ([], True, 1)
            await socket.emit("fine")
        assert world.server.events() == [["fine"]]

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Chains


def test_methods_return_the_object_for_chaining(world: World) -> None:
    async def main() -> None:
        manager: Any = world.manager_class(URL)
        socket: Any = manager.socket("/")
        for call in (manager.close, manager.open, manager.connect):
            assert await call() is manager
        for call in (socket.connect, socket.open, socket.disconnect, socket.close, socket.connect):
            assert await call() is socket
        engine = manager.engine
        assert await engine.close() is engine
        assert engine.on("close", print).once("close", print).off() is engine
        assert manager.on("open", print).once("open", print).off("open", print).off("open") is manager
        assert socket.on("e", print).once("e", print).off("e", print).off().off_any().off_any_outgoing() is socket
        await manager.close()

    world.run(main)
