"""Backpressure in virtual time: bursts that are larger than the inbox, to handlers that keep up and to others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from sansio_socketio.client import Socket
from sansio_socketio.client.blocking import Scopes as BlockingScopes
from sansio_socketio.protocol.errors import DisconnectedError
from sansio_socketio.protocol.packets.socketio import Packet
from sansio_socketio.running.backpressure import Backpressure
from tests.support.fake_runtime import URL, FakeRuntime, World

BOUND = 4_000
BURST = 3 * BOUND
"""The server sends each event as a separate chunk."""


def burst(world: World, count: int = BURST, *, namespace: str = "/", filling: str = "") -> None:
    for number in range(count):
        world.server.emit("n", number, filling, namespace=namespace)


async def until(world: World, condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await world.sleep(0.1)
    raise AssertionError("timed out waiting")


# ---------------------------------------------------------------------------------------------------------------------
# Handlers that keep up


@pytest.mark.row("difference.bounds")
@pytest.mark.parametrize("kind", ["plain", "async", "waiting", "concurrent", "any", "stream"])
def test_a_burst_that_is_larger_than_the_inbox_arrives_in_order(world: World, kind: str) -> None:
    seen: list[int] = []

    def plain(number: int) -> None:
        seen.append(number)

    async def coroutine_function(number: int) -> None:
        seen.append(number)

    async def waiting(number: int) -> None:
        await world.checkpoint()
        seen.append(number)

    async def body(socket: Socket) -> None:
        if kind == "stream":
            async with socket.events() as events:
                burst(world)
                async for event in events:
                    await world.checkpoint()
                    seen.append(event.args[0])
                    if len(seen) == BURST:
                        return
        handlers = {"plain": plain, "async": coroutine_function, "waiting": waiting}
        if kind in handlers:
            socket.on("n", handlers[kind])
        elif kind == "concurrent":
            socket.on("n", waiting, concurrency=5)
        else:
            socket.on_any(lambda name, number: seen.append(number))
        await world.settle()
        burst(world)
        await until(world, lambda: len(seen) == BURST)
        assert socket.connected

    world.run_connected(body, inbox_events=BOUND)
    assert seen == list(range(BURST))


def test_a_burst_of_large_events_arrives_in_order(world: World) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        socket.on("n", seen.append)
        await world.settle()
        burst(world, 100, filling="x" * 60_000)
        await until(world, lambda: len(seen) == 100)

    world.run_connected(body, inbox_bytes=2 << 20)
    assert seen == list(range(100))


def test_a_burst_is_handled_in_order_with_threads(threads_world: World) -> None:
    world, seen = threads_world, list[int]()
    with BlockingScopes(world.blocking_manager_class).connect(URL, inbox_events=BOUND) as socket:
        socket.on("n", seen.append)
        world.server.acknowledge_with("done")
        burst(world)
        assert socket.emit_with_ack("question") == "done"
        world.run_until(lambda: len(seen) == BURST, world.time + 60)
        assert socket.connected
    assert seen == list(range(BURST))


def test_a_burst_is_read_from_a_stream_with_threads(threads_world: World) -> None:
    world, seen = threads_world, list[int]()
    with (
        BlockingScopes(world.blocking_manager_class).connect(URL, inbox_events=BOUND) as socket,
        socket.events() as events,
    ):
        burst(world)
        for event in events:
            seen.append(event.args[0])
            if len(seen) == BURST:
                break
    assert seen == list(range(BURST))


def test_a_queue_below_the_mark_does_not_pause_reading(world: World) -> None:
    async def body(socket: Socket) -> None:
        socket.on("n", lambda number: None)
        await world.settle()
        burst(world, BOUND * 9 // 10)
        stream = world.server.stream
        assert stream is not None
        assert not stream.is_paused
        world.server.emit("n", BOUND)
        assert stream.is_paused
        await world.sleep(0.02)
        assert not stream.is_paused

    world.run_connected(body, inbox_events=BOUND)


@pytest.mark.parametrize("bound", [5, 100, BOUND])
@pytest.mark.parametrize("has_handler", [False, True])
def test_a_burst_arrives_in_a_stream_whose_consumer_needs_time_for_each_event(
    world: World, bound: int, *, has_handler: bool
) -> None:
    seen: list[int] = []
    most = 0

    async def body(socket: Socket) -> None:
        nonlocal most
        if has_handler:
            socket.on("n", lambda number: None)
        async with socket.events() as events:
            burst(world)
            async for event in events:
                most = max(most, socket.io.statistics().waiting_events)
                await world.sleep(0.0003)
                seen.append(event.args[0])
                if len(seen) == BURST:
                    break

    world.run_connected(body, inbox_events=bound)
    assert seen == list(range(BURST))
    assert most <= bound


# ---------------------------------------------------------------------------------------------------------------------
# Handlers that do not keep up


@pytest.mark.parametrize("seconds", [0.005, 1.0])
def test_handlers_that_do_not_keep_up_close_the_connection(
    world: World, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    pings: list[float] = []

    async def body(socket: Socket) -> None:
        async def slow(number: int) -> None:
            await world.sleep(seconds)

        socket.on("n", slow)
        socket.io.on("ping", lambda: pings.append(world.time))
        await world.settle()
        begin = world.time
        burst(world, BOUND - 10)
        world.server.ping()
        await until(world, lambda: bool(pings))
        assert pings[0] < begin + 5
        burst(world, 2_000)
        with pytest.raises(DisconnectedError):
            await socket.wait_closed()
        assert world.time < begin + 8

    world.run_connected(body, inbox_events=BOUND, close_timeout=0.1)
    assert f"arrived while {BOUND} events" in caplog.text


def test_handlers_that_pause_now_and_then_keep_up(world: World) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        @socket.on("n")
        async def handler(number: int) -> None:
            seen.append(number)
            if number % 1_000 == 0:
                await world.sleep(0.4)

        await world.settle()
        burst(world, 5 * BOUND)
        await until(world, lambda: len(seen) == 5 * BOUND)
        assert socket.connected

    world.run_connected(body, inbox_events=BOUND)


@pytest.mark.row("difference.bounds")
def test_an_acknowledgement_behind_a_burst_arrives_while_a_handler_waits_for_it(world: World) -> None:
    seen: list[int] = []
    answers: list[Any] = []

    def answer(packet: Packet) -> None:
        if packet.id is not None:
            burst(world, BOUND // 2)
            world.server.ack(packet, "answer")

    async def body(socket: Socket) -> None:
        @socket.on("n")
        async def handler(number: int) -> None:
            if not answers:
                answers.append(await socket.timeout(5).emit_with_ack("question"))
            seen.append(number)

        await world.settle()
        world.server.on_event = answer
        world.server.emit("n", -1)
        await until(world, lambda: len(seen) == 1 + BOUND // 2)
        assert socket.connected

    world.run_connected(body, inbox_events=BOUND)
    assert answers == ["answer"]
    assert seen == list(range(-1, BOUND // 2))


def test_an_unread_stream_closes_the_connection(world: World) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        socket.on("n", seen.append)
        async with socket.events():
            await world.settle()
            burst(world)
            with pytest.raises(DisconnectedError):
                await socket.wait_closed()

    world.run_connected(body, inbox_events=BOUND)
    assert seen == list(range(len(seen)))
    assert len(seen) == BOUND


def test_a_namespace_that_keeps_up_is_not_affected_by_one_that_does_not(world: World) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        async def blocked(number: int) -> None:
            await world.sleep(1_000)

        other = socket.io.socket("/other")
        other.on("n", blocked)
        socket.on("n", seen.append)
        await other.wait_connected()
        burst(world, BOUND - 10, namespace="/other")
        burst(world)
        await until(world, lambda: len(seen) == BURST)
        assert socket.connected

    world.run_connected(body, inbox_events=BOUND, close_timeout=0.1)


def test_reading_is_paused_again_after_handlers_have_caught_up(world: World) -> None:
    """After a pause without progress, reading is paused again once the handlers have caught up."""
    seen: list[int] = []
    go = False

    async def body(socket: Socket) -> None:
        async def handler(number: int) -> None:
            while not go:
                await world.sleep(0.01)
            seen.append(number)

        nonlocal go
        socket.on("n", handler)
        await world.settle()
        burst(world, BOUND - 10)
        assert world.server.stream is not None
        assert world.server.stream.is_paused
        await world.sleep(5)
        stream = world.server.stream
        assert stream is not None
        assert not stream.is_paused
        go = True
        await until(world, lambda: len(seen) == BOUND - 10)
        burst(world)
        await until(world, lambda: len(seen) == BOUND - 10 + BURST)
        assert socket.connected

    world.run_connected(body, inbox_events=BOUND)


@pytest.mark.parametrize("bound", [2, 10, 100, 1_000, 3_000])
def test_a_burst_arrives_with_any_bound(world: World, bound: int) -> None:
    """A pause that begins while another one ends is not lost."""
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        socket.on("n", seen.append)
        await world.settle()
        burst(world)
        await until(world, lambda: len(seen) == BURST)
        assert await socket.timeout(1).emit_with_ack("question") == "done"

    world.server.acknowledge_with("done")
    world.run_connected(body, inbox_events=bound)
    assert seen == list(range(BURST))


@pytest.mark.parametrize("kind", ["handler", "stream"])
def test_a_small_inbox_is_not_empty_during_a_pause(world: World, kind: str) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        begin = world.time
        if kind == "handler":
            socket.on("n", seen.append)
            await world.settle()
            burst(world)
            await until(world, lambda: len(seen) == BURST)
        else:
            async with socket.events() as events:
                burst(world)
                while len(seen) < BURST:
                    event = await anext(events)
                    seen.append(event.args[0])
        assert world.time < begin + 1

    world.run_connected(body, inbox_events=10)


def test_the_next_connection_opens_while_events_of_the_last_one_are_queued(world: World) -> None:
    queued: list[int] = []

    async def body(socket: Socket) -> None:
        async def handler(number: int) -> None:
            await world.sleep(0.0004)

        socket.on("n", handler)
        await world.settle()
        burst(world, BOUND - 10)
        assert world.server.stream is not None
        assert world.server.stream.is_paused
        assert socket.io.engine is not None
        await socket.io.engine.close()
        await socket.wait_connected()
        queued.append(socket.io.statistics().waiting_events)

    world.run_connected(
        body, inbox_events=BOUND, reconnection_delay=0.1, randomization_factor=0, timeout=0.2, close_timeout=0.1
    )
    assert queued[0] > BOUND * 0.7


def test_the_end_of_a_run_ends_a_pause(world: World) -> None:
    async def body(socket: Socket) -> None:
        async def blocked(number: int) -> None:
            await world.sleep(1_000)

        socket.on("n", blocked)
        await world.settle()
        burst(world, BOUND - 10)
        assert world.server.stream is not None
        assert world.server.stream.is_paused

    world.run_connected(body, inbox_events=BOUND, close_timeout=0.01)
    assert world.streams == []


class Holders:
    """Who has paused reading."""

    def __init__(self) -> None:
        self.holders: set[object] = set()

    def pause_reading(self, holder: object) -> None:
        self.holders.add(holder)

    def resume_reading(self, holder: object) -> None:
        self.holders.discard(holder)


def test_progress_is_measured_from_the_events_of_the_last_read(world: World) -> None:
    """Reading is paused when an event arrives that is one too many. The same read may bring thousands more."""
    fill, reading = 1.0, Holders()
    backpressure = Backpressure(FakeRuntime(world), reading, lambda: (fill, 0.0), 0.01)
    backpressure.check()
    fill = 1.8
    while fill > 0.5:
        with suppress(TimeoutError):
            world.run_until(lambda: False, world.time + 0.01)
        assert reading.holders == {backpressure}
        fill -= 0.005
    with suppress(TimeoutError):
        world.run_until(lambda: False, world.time + 0.02)
    assert reading.holders == set()


def test_emptying_the_inbox_into_a_stream_is_progress(world: World) -> None:
    first, reading = 1.0, Holders()
    backpressure = Backpressure(FakeRuntime(world), reading, lambda: (1.0, first), 0.01)
    backpressure.check()
    while first > 0:
        with suppress(TimeoutError):
            world.run_until(lambda: False, world.time + 0.5)
        assert reading.holders == {backpressure}
        first -= 0.1
    with suppress(TimeoutError):
        world.run_until(lambda: False, world.time + 1.5)
    assert reading.holders == set(), "the stream itself is not emptied"
