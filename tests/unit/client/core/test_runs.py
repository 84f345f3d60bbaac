"""The lives of a Manager that is in no scope of `connect` or `open_io`: how each begins, how it ends, what it leaves."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, ClassVar

import pytest

from sansio_socketio.client import Manager, Socket
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, StateError
from tests.support.fake_runtime import Cancelled, FakeTask, World

URL = "http://localhost:3000"
Main = Callable[[], Coroutine[Any, Any, Any]]


def beside(world: World, main: Main) -> FakeTask:
    """Run it in a task that belongs to nobody's runtime."""
    task = FakeTask(world, main(), copy_context(), "beside")
    task.is_watched = True
    world.call_soon(task.step)
    return task


async def finished(world: World, task: FakeTask) -> Any:
    """Wait until a task is done; its result, or its error is raised."""
    while not task.done:
        await world.sleep(0.01)
    if task.error is not None:
        raise task.error
    return task.result


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


def test_a_manager_lives_from_open_to_close(world: World) -> None:
    story: list[Any] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        for event in ("open", "close"):
            manager.on(event, lambda *args, event=event: story.append((event, *args)))
        assert await manager.open() is manager
        assert repr(manager) == f"<Manager of {URL}, open>"
        socket = manager.socket("/chat")
        await socket.wait_connected()
        await socket.emit("last")
        assert await manager.close() is manager
        assert nothing_is_left(world)

    world.run(main)
    assert story == [("open",), ("close", "forced close", None)]
    assert world.server.events() == [["last"]]
    assert world.server.got[-1].type == 1  # DISCONNECT


def test_open_and_close_may_be_called_in_different_tasks(world: World) -> None:
    manager = world.manager_class(URL)

    async def main() -> None:
        await finished(world, beside(world, manager.open))
        assert manager._connection.lives
        await manager.socket("/").connect()
        await finished(world, beside(world, manager.close))
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
    story: list[Any] = []

    async def main() -> None:
        world.server.accepts = False
        manager = world.manager_class(URL)
        manager.on("error", lambda error: story.append(str(error)))
        manager.on("reconnect_attempt", story.append)
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
    assert len(story) == 2


def test_an_open_that_is_cancelled_leaves_nothing(world: World) -> None:
    async def main() -> None:
        world.server.accepts = None
        manager = world.manager_class(URL)
        opening = beside(world, manager.open)
        await world.sleep(1)
        opening.cancel()
        with pytest.raises(Cancelled):
            await finished(world, opening)
        assert nothing_is_left(world)
        world.server.accepts = True
        await manager.open()
        await manager.close()

    world.run(main)


def test_close_may_be_called_whenever(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        assert await manager.close() is manager
        await manager.open()
        await manager.close()
        await manager.close()

    world.run(main)


def test_who_closes_while_another_does_waits_with_it(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, close_timeout=5)
        await manager.open()
        world.server.is_reading = False
        closings = [beside(world, manager.close) for _ in range(3)]
        await world.sleep(1)
        assert not any(closing.done for closing in closings)
        with pytest.raises(DisconnectedError, match="it was closed"):
            await manager.open()
        world.server.read_on()
        for closing in closings:
            await finished(world, closing)
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
        closing = beside(world, manager.close)
        other = beside(world, manager.close)
        await world.sleep(1)
        closing.cancel()
        with pytest.raises(Cancelled):
            await finished(world, closing)
        await finished(world, other)
        assert nothing_is_left(world)

    world.run(main)
    assert world.time < 1002


def test_a_server_that_does_not_let_go_is_left_after_close_timeout(world: World) -> None:
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
        opening = beside(world, manager.open)
        await world.sleep(1)
        await manager.close()
        with pytest.raises(DisconnectedError, match="closed"):
            await finished(world, opening)
        assert nothing_is_left(world)

    world.run(main)


def test_open_opens_again_what_was_lost_for_good(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, reconnection=False)
        socket = manager.socket("/")
        await manager.open()
        await socket.wait_connected()
        world.server.lose()
        await socket.wait_closed()
        await manager.open()
        await socket.wait_connected()
        await manager.close()

    world.run(main)
    assert world.server.connections == 2


def test_the_error_of_a_handler_comes_out_of_close(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, on_handler_error="raise")
        socket = manager.socket("/")
        socket.on("e", lambda: 1 / 0)
        await manager.open()
        await socket.wait_connected()
        world.server.emit("e")
        await world.turn()
        assert not socket.connected
        with pytest.raises(ZeroDivisionError):
            await manager.close()
        assert nothing_is_left(world)
        await manager.open()  # with a new life, all is forgiven
        await socket.wait_connected()
        await manager.close()

    world.run(main)


def test_a_mistake_of_ours_lets_it_live_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        await manager.open()

        def mistake(*_: Any) -> None:
            raise KeyError("ours")

        monkeypatch.setattr(manager._connection.machine, "data_received", mistake)
        world.server.ping()
        with pytest.raises(KeyError, match="ours"):
            await manager.close()
        with pytest.raises(StateError, match="make another"):
            await manager.open()

    world.run(main)


def test_a_manager_that_is_forgotten_is_warned_of(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        await manager.open()
        lease = manager._lease
        with pytest.warns(ResourceWarning, match=f"unclosed the Manager of {URL}: it was opened, and never closed"):
            lease.__del__()
        await manager.close()
        lease.__del__()

    world.run(main)
    gc.collect()


def test_where_tasks_belong_to_a_scope_open_says_what_to_do(world: World) -> None:
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
        running = beside(world, lambda: manager.run(task_status=status))
        await world.turn()
        assert status.value is manager
        socket = manager.socket("/")
        await socket.wait_connected()
        await socket.emit("last")
        await manager.close()
        assert running.done
        assert nothing_is_left(world)
        again = beside(world, manager.run)
        await socket_is_back(world, socket)
        await manager.close()
        assert again.done

    world.run(main)
    assert world.server.events() == [["last"]]


async def socket_is_back(world: World, socket: Socket) -> None:
    await world.turn()
    await socket.wait_connected()


def test_a_run_that_is_cancelled_ends_at_once(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        running = beside(world, manager.run)
        socket = manager.socket("/")
        await socket_is_back(world, socket)
        socket.on("e", lambda: world.sleep(100))
        world.server.emit("e")
        await world.turn()
        running.cancel()
        with pytest.raises(Cancelled):
            await finished(world, running)
        assert nothing_is_left(world)

    world.run(main)
    assert world.time < 1001


def test_a_run_goes_on_trying(world: World) -> None:
    async def main() -> None:
        world.server.accepts = False
        manager = world.manager_class(URL)
        running = beside(world, manager.run)
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
        running = beside(world, manager.run)
        await socket_is_back(world, socket)
        world.server.emit("e")
        with pytest.raises(ZeroDivisionError):
            await finished(world, running)

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Closed by a handler


@pytest.mark.parametrize("held", [True, False], ids=["held", "run"])
def test_a_handler_may_close(world: World, held: bool) -> None:
    story: list[str] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        socket.on("disconnect", story.append)

        @socket.on("quit")
        async def leave() -> None:
            await manager.close()
            story.append("closed")
            await world.sleep(1)
            story.append("handled")

        if held:
            await manager.open()
        else:
            beside(world, manager.run)
        await socket_is_back(world, socket)
        world.server.emit("quit")
        await world.sleep(0.5)
        assert story == ["closed"]
        await manager.close()
        assert nothing_is_left(world)

    world.run(main)
    assert story == ["closed", "handled", "io client disconnect"]


def test_a_handler_that_runs_beside_others_may_close_and_nobody_waits(world: World) -> None:
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


def test_what_a_handler_started_waits_for_the_end(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")
        started: list[FakeTask] = []
        socket.on("quit", lambda: started.append(beside(world, manager.close)))
        await manager.open()
        await socket.wait_connected()
        world.server.emit("quit")
        await world.sleep(0)
        await finished(world, started[0])
        assert nothing_is_left(world)

    world.run(main)


def test_a_handler_that_closed_a_manager_that_fails_tells_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert record.getMessage() == f"the Manager of {URL} was closed by a handler"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


# ---------------------------------------------------------------------------------------------------------------------
# Sockets


Begin = Callable[[World, Manager], Coroutine[Any, Any, None]]


async def by_open(_: World, manager: Manager) -> None:
    await manager.open()


async def by_run(world: World, manager: Manager) -> None:
    beside(world, manager.run)
    await world.turn()


BEGINNINGS = [by_open, by_run]


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_sockets_may_be_made_before(world: World, begin: Begin) -> None:
    world.server.greets = ["welcome"]
    story: list[str] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/chat", auth={"token": 1})
        assert manager.socket("/chat") is socket
        for event in ("connect", "welcome"):
            socket.on(event, lambda event=event: story.append(event))
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
            with pytest.raises(StateError, match=r"does not live yet: enter it .*, or open\(\) or run\(\) it"):
                await call()
        for plain in (lambda: socket.emit_nowait("e"), socket.events):
            with pytest.raises(StateError, match="does not live yet"):
                plain()
        await begin(world, manager)
        await socket.wait_connected()
        await world.turn()
        assert story == ["connect", "welcome"]
        await manager.close()

    world.run(main)
    assert world.server.payloads() == [{"token": 1}]


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_socket_that_was_disconnected_before_does_not_connect(world: World, begin: Begin) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        wanted, left = manager.socket("/wanted"), manager.socket("/left")
        assert await left.disconnect() is left
        await begin(world, manager)
        await wanted.wait_connected()
        assert not left.active
        await left.wait_closed()
        with pytest.raises(DisconnectedError, match="call connect"):
            await left.wait_connected()
        await left.connect()
        await manager.close()

    world.run(main)


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_without_auto_connect_a_socket_waits_to_be_told(world: World, begin: Begin) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, auto_connect=False)
        socket = manager.socket("/")
        await socket.wait_closed()
        await begin(world, manager)
        await world.sleep(1)
        assert not socket.active
        assert world.server.connections == (begin is by_open)
        await socket.connect()
        await manager.close()

    world.run(main)


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_sockets_and_their_handlers_outlive_a_life(world: World, begin: Begin) -> None:
    story: list[Any] = []

    async def main() -> None:
        manager = world.manager_class(URL, reconnection_delay=3)
        stays, left, kicked = (manager.socket(name) for name in ("/stays", "/left", "/kicked"))
        manager.on("open", lambda: story.append("open"))
        stays.on("connect", lambda: story.append("connect"))
        stays.on("e", story.append)
        for number in (1, 2, 3):
            await begin(world, manager)
            await stays.wait_connected()
            world.server.emit("e", number, namespace="/stays")
            if number == 1:
                await left.wait_connected()
                await left.disconnect()
                await kicked.wait_connected()
                world.server.kick("/kicked")
            await world.turn()
            assert (left.active, kicked.active) == (False, False)
            manager.reconnection_delay += 1
            await manager.close()
            assert nothing_is_left(world)
            with pytest.raises(DisconnectedError, match=r"scope .* is over"):
                await stays.emit("e")
        assert manager.socket("/stays") is stays
        assert manager.reconnection_delay == 6

    world.run(main)
    assert story == ["open", "connect", 1, "open", "connect", 2, "open", "connect", 3]


def test_a_socket_may_be_disconnected_between_two_lives(world: World) -> None:
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


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_what_waits_is_woken_by_the_end_and_not_mixed_up_with_the_next_life(world: World, begin: Begin) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/", ack_timeout=100)
        await begin(world, manager)
        await socket.wait_connected()
        told: list[Any] = []
        await socket.emit("question", ack=lambda error, *values: told.append(type(error)))
        asking = beside(world, lambda: failure_of(socket.emit_with_ack("question")))
        waiting = beside(world, lambda: ended(socket))
        await world.turn()
        await manager.close()
        assert isinstance(await finished(world, asking), DisconnectedError)
        await finished(world, waiting)
        assert told == [DisconnectedError]
        await begin(world, manager)
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


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_auth_that_could_not_be_given_is_asked_for_in_the_next_life(world: World, begin: Begin) -> None:
    asked: list[int] = []

    def auth() -> dict[str, int]:
        asked.append(len(asked))
        if len(asked) == 1:
            raise OSError("the tokens are out")
        return {"token": len(asked)}

    async def main() -> None:
        manager = world.manager_class(URL, reconnection_delay=50, reconnection_delay_max=50)
        socket = manager.socket("/", auth=auth)
        await begin(world, manager)
        await world.sleep(1)
        assert not socket.connected
        await manager.close()
        await begin(world, manager)
        await socket.wait_connected()
        await manager.close()

    world.run(main)
    assert asked == [0, 1]
    assert world.server.payloads() == [{"token": 2}]
    assert world.time < 1010


def test_a_life_that_ends_during_a_wait_for_the_next_attempt(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL, reconnection_delay=50)
        socket = manager.socket("/")
        await manager.open()
        await socket.wait_connected()
        world.server.lose()
        await world.turn()
        assert not socket.connected
        await manager.close()
        assert nothing_is_left(world)
        await manager.open()
        await socket.wait_connected()
        await manager.close()

    world.run(main)
    assert world.time < 1010


def test_what_waits_to_be_sent_does_not_outlive_a_life(world: World) -> None:
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


def test_handlers_that_were_cut_off_do_not_stand_in_the_way_of_the_next_life(world: World) -> None:
    story: list[int] = []

    async def main() -> None:
        manager = world.manager_class(URL)
        socket = manager.socket("/")

        async def slow(number: int) -> None:
            await world.sleep(1)
            story.append(number)

        socket.on("e", slow, concurrency=1)
        running = beside(world, manager.run)
        await socket_is_back(world, socket)
        for number in (1, 2):
            world.server.emit("e", number)
        await world.turn()
        running.cancel()
        with pytest.raises(Cancelled):
            await finished(world, running)
        await manager.open()
        await socket.wait_connected()
        world.server.emit("e", 3)
        await world.sleep(2)
        await manager.close()

    world.run(main)
    assert story == [3]


# ---------------------------------------------------------------------------------------------------------------------
# One life at a time


def test_one_life_at_a_time(world: World) -> None:
    async def main() -> None:
        manager = world.manager_class(URL)
        await manager.open()
        for begin in (manager.__aenter__, manager.run):
            with pytest.raises(StateError, match="lives already"):
                await begin()
        await manager.open()
        await manager.close()
        async with manager:
            await manager.open()
            await manager.close()  # which closes the connection, in a scope
            assert manager._connection.lives
            await manager.open()
        assert nothing_is_left(world)

    world.run(main)


def test_a_manager_that_lives_in_another_scope(world: World) -> None:
    async def main() -> None:
        async with world.scopes.open_io() as io:
            manager = io(URL).io
            with pytest.raises(StateError, match=r"lives in the scope of connect\(\) or open_io\(\)"):
                await manager.__aenter__()
            await manager.open()
            await manager.close()
            await manager.open()
        await manager.open()  # that scope is over
        await manager.close()

    world.run(main)


def test_a_runtime_that_cannot_begin_is_no_life(world: World) -> None:
    class Failing:
        async def __aenter__(self) -> Any:
            raise OSError("no descriptors")

        async def __aexit__(self, *exc_info: object) -> None: ...

    async def main() -> None:
        manager = world.manager_class(URL)
        works = manager._lease.runtime_scope
        manager._lease.runtime_scope = Failing
        with pytest.raises(OSError, match="no descriptors"):
            await manager.open()
        manager._lease.runtime_scope = works
        await manager.open()
        await manager.close()

    world.run(main)


def test_a_life_that_is_interrupted_as_it_begins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        manager = world.manager_class(URL)
        with monkeypatch.context() as patch:
            patch.setattr(manager._connection, "begin", interrupt)
            with pytest.raises(KeyboardInterrupt):
                await manager.__aenter__()
        assert nothing_is_left(world)
        async with manager:
            await manager.open()

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Foreign threads and loops


def test_in_a_foreign_thread_nothing_works_and_nothing_breaks(world: World) -> None:
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
            world.is_foreign = True
            for call in calls:
                with pytest.raises(StateError, match="from elsewhere, call them through the world's own thread"):
                    await call()
            for plain in plain_calls:
                with pytest.raises(StateError, match="the world's own thread"):
                    plain()
            assert socket.connected
            world.is_foreign = False
            assert (socket.listeners("e"), manager.reconnection, manager.reconnection_delay) == ([], True, 1)
            await socket.emit("fine")
        assert world.server.events() == [["fine"]]

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Chains


def test_what_returns_the_object_itself(world: World) -> None:
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
