"""`wait_for`: which events wake which callers, what they can acknowledge, and when they raise."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from sansio_socketio.client import Event, Socket
from sansio_socketio.protocol.errors import AckTimeout, ConnectError, DisconnectedError, OptionError, StateError
from tests.support.fake_runtime import URL, Cancelled, World


def test_it_returns_the_next_event_of_the_name(world: World) -> None:
    async def body(socket: Socket) -> None:
        waiting = world.spawn(lambda: socket.wait_for("wanted"))
        await world.settle()
        for event in (["other"], ["wanted", 1, {"a": b"2"}], ["wanted", 3]):
            world.server.emit(*event)
        event = await world.join(waiting)
        assert isinstance(event, Event)
        assert (event.name, event.args, event.wants_ack) == ("wanted", (1, {"a": b"2"}), False)
        waiting = world.spawn(lambda: socket.wait_for(5.0))
        await world.settle()
        world.server.emit(5, "number")
        assert (await world.join(waiting)).args == ("number",)

    world.run_connected(body)


def test_all_callers_that_wait_for_an_event_get_it(world: World) -> None:
    async def body(socket: Socket) -> None:
        same = [world.spawn(lambda: socket.wait_for("a")) for _ in range(2)]
        other = world.spawn(lambda: socket.wait_for("b"))
        await world.settle()
        world.server.emit("a", 1)
        assert [(await world.join(task)).args for task in same] == [(1,), (1,)]
        assert not other.done
        world.server.emit("b", 2)
        assert (await world.join(other)).args == (2,)

    world.run_connected(body)


def test_an_event_that_answers_an_emit_is_not_missed(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.on_event = lambda packet: world.server.emit("answer", packet.data[1])
        for number in range(3):
            await socket.emit("question", number)
            assert (await socket.wait_for("answer")).args == (number,)

    world.run_connected(body)


def test_it_returns_before_the_handlers_of_earlier_events_have_ended(world: World) -> None:
    seen: list[str] = []

    async def body(socket: Socket) -> None:
        @socket.on("start")
        async def start() -> None:
            seen.append((await socket.wait_for("more", timeout=5)).args[0])  # a handler may wait for an event

        socket.on("more", seen.append)
        world.server.emit("start")
        await world.settle()
        world.server.emit("more", "value")
        await world.settle()

    world.run_connected(body)
    assert seen == ["value", "value"]


def test_a_caller_acknowledges_with_the_reply_of_the_handlers(world: World) -> None:
    async def body(socket: Socket) -> None:
        waiting = [world.spawn(lambda: socket.wait_for("e")) for _ in range(2)]
        await world.settle()
        world.server.emit("e", id=1)
        for number, task in enumerate(waiting):
            event = await world.join(task)
            assert event.wants_ack
            event.ack("caller", number)
        socket.on("e", lambda: "handler")
        waiting = [world.spawn(lambda: socket.wait_for("e"))]
        await world.settle()
        world.server.emit("e", id=2)
        await world.settle()
        (await world.join(waiting[0])).ack("too late")
        world.server.emit("e", id=3)
        await world.settle()

    world.run_connected(body)
    assert world.server.acks() == [(1, ["caller", 0]), (2, ["handler"]), (3, ["handler"])]


def test_no_empty_acknowledgement_is_sent_for_an_event_that_a_caller_has(world: World) -> None:
    async def body(socket: Socket) -> None:
        socket.on("e", lambda: None)
        waiting = world.spawn(lambda: socket.wait_for("e"))
        await world.settle()
        world.server.emit("e", id=1)
        world.server.emit("e", id=2)
        await world.settle()
        (await world.join(waiting)).ack("late")

    world.run_connected(body)
    assert world.server.acks() == [(2, []), (1, ["late"])]


def test_it_raises_after_the_timeout(world: World) -> None:
    async def body(socket: Socket) -> None:
        start = world.time
        with pytest.raises(TimeoutError, match=r"^event 'e' did not arrive within 2\.5 seconds$"):
            await socket.wait_for("e", timeout=2.5)
        assert world.time == start + 2.5
        waiting = [world.spawn(partial(socket.wait_for, "e", timeout=limit)) for limit in (1, 10)]
        await world.sleep(2)
        world.server.emit("e", "in time")
        await world.sleep(20)
        assert isinstance(waiting[0].error, TimeoutError)
        assert waiting[1].result.args == ("in time",)

    world.run_connected(body)


def test_the_error_of_the_timeout_says_why_the_socket_is_not_connected(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.joins = False
        slow = socket.io.socket("/slow")
        with pytest.raises(TimeoutError, match=r"; /slow is not connected: the server has not accepted it yet$"):
            await slow.wait_for("e", timeout=1)
        world.server.accepts = False
        world.server.lose()
        with pytest.raises(
            TimeoutError, match=r"within 5 seconds; / is not connected: the last attempt failed: "
        ) as late:
            await socket.wait_for("e", timeout=5)
        assert isinstance(late.value.__cause__, ConnectError)
        with pytest.raises(
            AckTimeout, match=r"within 5 seconds; / is not connected: the last attempt failed: "
        ) as late:
            await socket.timeout(5).emit_with_ack("e")
        assert isinstance(late.value.__cause__, ConnectError)

    world.run_connected(body)


def test_the_error_of_the_timeout_says_that_the_socket_was_never_connected(world: World) -> None:
    async def body(manager: Any) -> None:
        with pytest.raises(AckTimeout, match=r"within 1 seconds; / is not connected: call connect\(\)$"):
            await manager.socket().timeout(1).emit_with_ack("e")

    world.run_started(body, auto_connect=False)


def test_a_cancelled_caller_leaves_nothing_and_the_others_go_on(world: World) -> None:
    async def body(socket: Socket) -> None:
        tasks = [world.spawn(lambda: socket.wait_for("e", timeout=5)) for _ in range(2)]
        await world.settle()
        tasks[0].cancel()
        await world.settle()
        assert isinstance(tasks[0].error, Cancelled)
        world.server.emit("e", 1)
        assert (await world.join(tasks[1])).args == (1,)
        last = world.spawn(lambda: socket.wait_for("e", timeout=5))
        await world.settle()
        last.cancel()
        await world.settle()
        world.server.emit("e", 2, id=1)  # no caller has it, so that nobody acknowledges it
        await world.sleep(10)
        assert isinstance(last.error, Cancelled)

    world.run_connected(body)
    assert world.server.acks() == []


def test_it_goes_on_over_a_reconnection_and_raises_at_the_end(world: World) -> None:
    async def body(socket: Socket) -> None:
        waiting = world.spawn(lambda: socket.wait_for("e"))
        await world.settle()
        world.server.lose()
        await socket.wait_connected()
        assert not waiting.done
        world.server.emit("e", "after")
        assert (await world.join(waiting)).args == ("after",)
        waiting = world.spawn(lambda: socket.wait_for("e"))
        await world.settle()
        world.server.kick()
        with pytest.raises(DisconnectedError, match="/ was disconnected: io server disconnect"):
            await world.join(waiting)
        with pytest.raises(DisconnectedError, match="was disconnected: io server disconnect"):
            await socket.wait_for("e")

    world.run_connected(body)


def test_it_raises_when_the_application_disconnects_and_when_no_attempt_is_left(world: World) -> None:
    async def body(socket: Socket) -> None:
        waiting = world.spawn(lambda: socket.wait_for("e"))
        await world.settle()
        await socket.disconnect()
        with pytest.raises(DisconnectedError):
            await world.join(waiting)
        await socket.connect()
        waiting = world.spawn(lambda: socket.wait_for("e"))
        await world.settle()
        world.server.accepts = False
        world.server.lose()
        with pytest.raises(ConnectError):
            await world.join(waiting)

    world.run_connected(body, reconnection_attempts=1)


def test_it_raises_at_the_end_of_the_run(world: World) -> None:
    tasks: list[Any] = []

    async def body(socket: Socket) -> None:
        tasks.append(world.spawn(lambda: socket.wait_for("e")))
        await world.settle()

    world.run_connected(body)
    assert isinstance(tasks[0].error, DisconnectedError)

    async def without_a_run() -> None:
        with pytest.raises(StateError, match="is not running"):
            await world.manager_class(URL).socket().wait_for("e")

    world.run(without_a_run)


@pytest.mark.parametrize(
    ("name", "timeout", "message"),
    [
        ("connect", None, r"not for 'connect': call wait_connected\(\) or wait_closed\(\)"),
        ("disconnect", None, "not for 'disconnect'"),
        ("*", None, r"'\*' is no wildcard"),
        (None, None, "must be a str or a number, not None"),
        ("e", -1, "^timeout takes"),
        ("e", "5", "^timeout takes"),
    ],
)
def test_invalid_arguments_are_errors(world: World, name: Any, timeout: Any, message: str) -> None:
    async def body(socket: Socket) -> None:
        with pytest.raises(OptionError, match=message):
            await socket.wait_for(name, timeout=timeout)

    world.run_connected(body)
