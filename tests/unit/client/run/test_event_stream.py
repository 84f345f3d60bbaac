"""Streams of events: what they yield, when they end, and what fills them."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.client import EventStream, InboxOverflow, Socket
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, StateError
from tests.support.fake_runtime import World


def test_a_stream_yields_events_and_acknowledges_them(world: World) -> None:
    got: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on("e", lambda: None)
        async with socket.events() as events:
            world.server.emit("e", 1, id=4)
            world.server.emit("f", 2)
            async for event in events:
                got.append((event.name, event.args, event.wants_ack))
                event.ack("received")
                if event.name == "f":
                    assert repr(event) == "Event('f', (2,))"
                    break
                assert repr(event) == "Event('e', (1,), wants_ack=True)"

    world.run_connected(body)
    assert got == [("e", (1,), True), ("f", (2,), False)]
    assert world.server.acks() == [(4, ["received"])]


def test_the_repr_of_an_event_shortens_its_values(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            world.server.emit("e", "x" * 1000, list(range(1000)))
            assert repr(await anext(events)) == "Event('e', ('xxxxxxxxxxxx...xxxxxxxxxxxxx', [0, 1, 2, 3, 4, 5, ...]))"

    world.run_connected(body)


def test_the_value_of_a_handler_comes_before_the_acknowledgement_of_a_stream(world: World) -> None:
    async def body(socket: Socket) -> None:
        socket.on("e", lambda: "handler")
        async with socket.events() as events:
            world.server.emit("e", id=4)
            event = await anext(events)
            await world.settle()
            event.ack("stream")

    world.run_connected(body)
    assert world.server.acks() == [(4, ["handler"])]


def test_a_stream_continues_after_a_reconnection_and_ends_with_the_socket(world: World) -> None:
    got: list[Any] = []

    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            world.server.emit("e", 1)
            assert (await anext(events)).args == (1,)
            world.server.lose()
            await world.sleep(10)
            world.server.emit("e", 2)
            world.server.emit("e", 3)
            world.server.kick()
            got.extend([(await anext(events)).args for _ in range(2)])
            for _ in range(2):
                with pytest.raises(DisconnectedError, match="/ was disconnected: io server disconnect") as caught:
                    await anext(events)
                assert caught.value.reason == "io server disconnect"

    world.run_connected(body)
    assert got == [(2,), (3,)]


def test_a_stream_ends_without_an_error_when_the_application_disconnects(world: World) -> None:
    got: list[Any] = []

    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            world.server.emit("e", 1)
            await world.settle()
            await socket.disconnect()
            got.extend([event.args async for event in events])

    world.run_connected(body)
    assert got == [(1,)]


def test_a_stream_ends_with_an_error_when_no_attempts_are_left(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            world.server.accepts = False
            world.server.lose()
            with pytest.raises(DisconnectedError, match=r"^/ could not be connected: could not connect: ") as caught:
                await anext(events)
            assert isinstance(caught.value.__cause__, ConnectError)

    world.run_connected(body, reconnection_attempts=2)


def test_a_stream_that_is_opened_after_the_final_disconnection_raises(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.emit("early", 1)
        world.server.kick()
        async with socket.events() as events:  # "early" is still queued
            assert (await anext(events)).args == (1,)
            with pytest.raises(DisconnectedError, match=r"^/ was disconnected: io server disconnect$") as caught:
                await anext(events)
            assert caught.value.reason == "io server disconnect"
        async with socket.events() as events, socket.events() as others:
            waiting = world.spawn(lambda: anext(events))
            with pytest.raises(DisconnectedError):
                await world.join(waiting)
            await socket.connect()
            world.server.emit("again", 2)
            assert (await anext(others)).args == (2,)

    world.run_connected(body)


def test_a_stream_that_is_opened_after_a_refusal_raises(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.refusal["/private"] = {"message": "not you"}
        private = socket.io.socket("/private")
        with pytest.raises(ConnectError):
            await private.wait_connected()
        async with private.events() as events:
            with pytest.raises(DisconnectedError, match=r"^/private could not be connected: not you$") as caught:
                await anext(events)
            assert isinstance(caught.value.__cause__, ConnectError)

    world.run_connected(body)


def test_a_stream_that_is_opened_after_disconnect_ends_unless_the_socket_connects(world: World) -> None:
    async def body(socket: Socket) -> None:
        await socket.disconnect()
        async with socket.events() as events:
            assert [event async for event in events] == []
        async with socket.events() as events:
            await socket.connect()
            world.server.emit("e", 1)
            assert (await anext(events)).args == (1,)

    world.run_connected(body)


def test_a_stream_receives_nothing_after_its_end(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            await world.settle()
            await socket.disconnect()
            await world.settle()
            await socket.connect()
            world.server.emit("e")
            await world.settle()
            with pytest.raises(StopAsyncIteration):
                await anext(events)

    world.run_connected(body)


async def until_overflow(events: EventStream) -> list[Any]:
    """Return the first values of the three events before the stream reports an InboxOverflow."""
    got = [(await anext(events)).args[0] for _ in range(3)]
    with pytest.raises(DisconnectedError) as caught:
        await anext(events)
    assert isinstance(caught.value.__cause__, InboxOverflow)
    return got


def test_a_stream_that_is_not_read_overflows(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            for number in range(6):
                world.server.emit("e", number)
            await world.sleep(2)
            assert not socket.connected
            assert await until_overflow(events) == [0, 1, 2]

    world.run_connected(body, inbox_events=3)


def test_a_stream_yields_only_the_events_before_an_overflow(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            for number in range(3):
                world.server.emit("e", number)
                await world.settle()
            world.server.emit("e", 3)
            world.server.emit("e", 4)  # received already when the stream overflows
            await world.sleep(2)
            assert await until_overflow(events) == [0, 1, 2]

    world.run_connected(body, inbox_events=3)


def test_an_event_that_overflows_two_streams_is_reported_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    details: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on("disconnect", lambda reason, cause: details.append(cause))
        async with socket.events(), socket.events():
            for number in range(4):
                world.server.emit("e", number)
            await world.sleep(2)
            assert not socket.connected

    world.run_connected(body, inbox_events=3)
    [message] = [record.getMessage() for record in caplog.records]
    assert message == f"closing the connection: {details[0]}"


def test_a_closed_stream_receives_nothing(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            pass
        world.server.emit("e")
        await world.settle()
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    world.run_connected(body)


def test_iterating_a_stream_without_entering_it_raises(world: World) -> None:
    async def body(socket: Socket) -> None:
        with pytest.raises(StateError, match=r"not open: write `async with socket\.events\(\) as events: async for"):
            await anext(aiter(socket.events()))

    world.run_connected(body)


def test_the_tasks_that_share_a_stream_divide_its_events_and_all_end_with_it(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as events:

            async def read() -> list[Any]:
                return [event.args async for event in events]

            readers = [world.spawn(read) for _ in range(2)]
            await world.settle()
            for number in range(3):
                world.server.emit("e", number)
                await world.settle()
            await socket.disconnect()
            await world.settle()
            assert sorted([args for reader in readers for args in reader.result]) == [(0,), (1,), (2,)]

    world.run_connected(body)


def test_every_stream_yields_every_event(world: World) -> None:
    async def body(socket: Socket) -> None:
        async with socket.events() as first, socket.events() as second:
            world.server.emit("e", id=1)
            assert (await anext(first)).name == (await anext(second)).name == "e"

    world.run_connected(body)
    assert world.server.acks() == []
