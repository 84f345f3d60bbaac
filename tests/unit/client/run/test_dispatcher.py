"""The dispatcher: which handlers are called, in which order and with which arguments, and what they return or raise."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from sansio_socketio.client import Disconnection, InboxOverflow, Socket
from sansio_socketio.handlers.registry import HandlerRegistry
from sansio_socketio.protocol.errors import DisconnectedError, OptionError, PacketError
from sansio_socketio.protocol.packets.socketio import CONNECT, Packet
from tests.support.fake_runtime import Cancelled, World

# ---------------------------------------------------------------------------------------------------------------------
# Handlers are held back until the body of the scope waits


def test_handlers_registered_before_the_first_await_are_called_for_what_happened_before(world: World) -> None:
    seen: list[Any] = []
    world.server.greets = ["welcome", 1]

    async def body(socket: Socket) -> None:
        socket.on("connect", lambda: seen.append("connect"))
        socket.on("welcome", seen.append)
        socket.io.on("open", lambda: seen.append("open"))
        assert seen == []
        await world.settle()
        assert seen == ["open", "connect", 1]

    world.run_connected(body)


def test_a_stream_opened_at_once_has_events_that_arrived_with_the_answer_to_connect(world: World) -> None:
    world.server.greets = ["welcome", 1]

    async def body(socket: Socket) -> None:
        async with socket.events() as events:
            assert (await anext(events)).args == (1,)

    world.run_connected(body)


def test_handlers_registered_after_the_first_await_are_not(world: World) -> None:
    seen: list[Any] = []
    world.server.greets = ["welcome"]

    async def body(socket: Socket) -> None:
        await world.settle()
        socket.on("welcome", lambda: seen.append("late"))
        socket.io.on("open", lambda: seen.append("late"))
        await world.settle()

    world.run_connected(body)
    assert seen == []


# ---------------------------------------------------------------------------------------------------------------------
# Order


@pytest.mark.row("difference.order")
def test_events_are_handled_one_at_a_time_in_order(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        @socket.on("n")
        async def handle(number: int) -> None:
            log.append(("begin", number))
            await world.sleep(3 - number)
            log.append(("end", number))

        for number in range(3):
            world.server.emit("n", number)
        await world.sleep(10)

    world.run_connected(body)
    assert log == [(what, number) for number in range(3) for what in ("begin", "end")]


def test_handlers_of_one_event_run_in_the_order_of_their_registration(world: World) -> None:
    log: list[str] = []

    async def body(socket: Socket) -> None:
        async def slow() -> None:
            await world.sleep(1)
            log.append("first")

        socket.on("e", slow).on("e", lambda: log.append("second"))
        world.server.emit("e")
        await world.sleep(2)

    world.run_connected(body)
    assert log == ["first", "second"]


def test_a_slow_namespace_does_not_delay_another(world: World) -> None:
    log: list[str] = []

    async def body(socket: Socket) -> None:
        other = socket.io.socket("/other")
        await other.wait_connected()

        @socket.on("e")
        async def slow() -> None:
            await world.sleep(5)
            log.append("slow")

        other.on("e", lambda: log.append("fast"))
        world.server.emit("e")
        world.server.emit("e", namespace="/other")
        await world.sleep(6)

    world.run_connected(body)
    assert log == ["fast", "slow"]


@pytest.mark.parametrize("eager", [False, True])
def test_a_concurrent_handler_may_be_a_plain_function(world: World, eager: bool) -> None:
    world.eager = eager
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        socket.on("n", seen.append, concurrency=2)
        for number in range(5):
            world.server.emit("n", number)
        await world.settle()

    world.run_connected(body)
    assert seen == list(range(5))


def test_calls_run_concurrently_up_to_their_number(world: World) -> None:
    log: list[Any] = []
    running = 0
    most = 0

    async def body(socket: Socket) -> None:
        async def work(number: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await world.sleep(5)
            running -= 1
            log.append(number)
            return number

        socket.on("work", work, concurrency=2)
        socket.on("other", lambda: log.append("other"))
        for number in range(3):
            world.server.emit("work", number, id=number)
        world.server.emit("other")
        await world.sleep(20)
        world.server.emit("work", 3)
        await world.sleep(20)

    world.run_connected(body)
    assert log == ["other", 0, 1, 2, 3]
    assert most == 2
    assert world.server.acks() == [(0, [0]), (1, [1]), (2, [2])]


def test_other_tasks_run_while_many_events_are_handled(world: World) -> None:
    handled: list[int] = []

    async def body(socket: Socket) -> None:
        socket.on("n", handled.append)
        for number in range(1000):
            world.server.emit("n", number)
        while not handled:
            await world.checkpoint()
        assert len(handled) < 1000
        await world.settle()
        assert handled == list(range(1000))

    world.run_connected(body)


def test_handlers_run_in_a_copy_of_the_context_of_the_scope(world: World) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    async def body(socket: Socket) -> None:
        @socket.on("e")
        async def handle() -> None:
            seen.append(variable.get())
            variable.set("handler's")

        world.server.emit("e")
        await world.settle()
        assert variable.get() == "scope's"

    variable.set("scope's")
    world.run_connected(body)
    assert seen == ["scope's"]


@pytest.mark.row("difference.any_listeners_acknowledge")
def test_handlers_of_any_event_come_first_and_acknowledge_nothing(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        @socket.on_any()
        def second(event: str, *values: Any) -> str:
            log.append(("second", event, *values))
            return "ignored"

        @socket.prepend_any
        def first(event: str) -> None:
            log.append(("first", event))

        socket.on_any(lambda: log.append("third"))
        socket.on("e", lambda: log.append("own"))
        assert len(socket.listeners_any()) == 3
        assert socket.listeners_any()[:2] == [first, second]
        world.server.emit("e", 1, id=5)
        world.server.emit("f", id=6)
        await world.settle()
        assert socket.off_any(second).prepend_any(second) is second
        socket.off_any(first)
        assert socket.listeners_any()[0] == second
        assert socket.off_any().listeners_any() == []
        world.server.emit("g")
        await world.settle()

    world.run_connected(body)
    assert log == [
        *[("first", "e"), ("second", "e", 1), "third", "own"],
        *[("first", "f"), ("second", "f"), "third"],
    ]
    assert world.server.acks() == [(5, [])]


def test_a_once_handler_is_called_for_one_event(world: World) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        @socket.once("e")
        def handle(value: int) -> None:
            seen.append(value)
            assert socket.listeners("e") == []

        socket.once("connect", lambda: seen.append("connect"))
        world.server.emit("e", 1)
        world.server.emit("e", 2)
        await world.settle()
        await socket.disconnect()
        await socket.connect()
        await world.settle()

    world.run_connected(body)
    assert seen == ["connect", 1]


# ---------------------------------------------------------------------------------------------------------------------
# Waiting in a handler


def test_a_handler_may_await_acknowledgements_connections_and_disconnections(world: World) -> None:
    log: list[Any] = []
    world.server.on_event = lambda packet: world.server.ack(packet, "answer")

    async def body(socket: Socket) -> None:
        @socket.on("e")
        async def handle() -> None:
            log.append(await socket.emit_with_ack("question"))
            await socket.wait_connected()
            await socket.disconnect()
            await socket.wait_closed()
            await socket.connect()
            log.append(socket.connected)

        world.server.emit("e")
        await world.sleep(1)

    world.run_connected(body)
    assert log == ["answer", True]


def test_a_handler_of_the_manager_may_wait_for_the_connection(world: World) -> None:
    log: list[str] = []
    asked = 0

    def auth() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"attempt": asked}

    async def body(socket: Socket) -> None:
        async def wait(*_: Any) -> None:
            await socket.wait_connected()
            log.append("connected again")

        socket.io.on("close", wait).on("reconnect_attempt", lambda: log.append("attempt"))
        await world.settle()
        world.server.lose()
        await world.sleep(30)
        assert socket.connected

    world.run_connected(body, auth=auth)
    assert log == ["attempt", "connected again"]
    assert asked == 2


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def test_a_handler_is_called_with_as_many_arguments_as_it_accepts(world: World) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        def collect(*values: Any) -> None:
            seen.append(values)

        socket.on("e", lambda: seen.append(()))
        socket.on("e", lambda a: seen.append((a,)))
        socket.on("e", lambda a, b=None, c=None: seen.append((a, b, c)))
        socket.on("e", collect)
        world.server.emit("e", 1, 2)
        await world.settle()

    world.run_connected(body)
    assert seen == [(), (1,), (1, 2, None), (1, 2)]


def test_a_builtin_without_a_signature_is_called_with_all_arguments(world: World) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on("e", dict)  # `signature(dict)` raises
        socket.on("e", seen.append)
        world.server.emit("e", [[1, 2]])
        await world.settle()

    world.run_connected(body)
    assert seen == [[[1, 2]]]


@pytest.mark.row("difference.missing_arguments")
def test_a_handler_that_requires_more_arguments_is_reported_with_the_event(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(socket: Socket) -> None:
        def needs_two(a: Any, b: Any) -> None:
            raise AssertionError

        socket.on("e", needs_two)
        world.server.emit("e", 1, id=1)
        await world.settle()
        assert socket.connected

    world.run_connected(body)
    assert "'e'" in caplog.text
    assert "it requires 2, the event has 1" in caplog.text
    assert world.server.acks() == []


def test_an_event_name_that_is_a_number_is_equivalent_to_its_text(world: World) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on(1, seen.append)
        socket.on("1", seen.append)
        socket.once(1.0, seen.append)
        for name in (1, 1.0, "1", "1.0", 1e21, "1e+21", 1.5):
            world.server.emit(name, name)
        socket.on(10**21, seen.append)
        socket.on(1.5, seen.append)
        await world.settle()

    world.run_connected(body)
    assert seen == [1, 1, 1, 1.0, 1.0, "1", "1", 1e21, "1e+21", 1.5]


# ---------------------------------------------------------------------------------------------------------------------
# Acknowledging


async def _async_value() -> str:
    return "async"


@pytest.mark.parametrize(
    ("handlers", "acks"),
    [
        ([lambda: "value"], [["value"]]),
        ([_async_value], [["async"]]),
        ([lambda: (1, 2)], [[1, 2]]),
        ([lambda: ()], [[]]),
        ([lambda: None], [[]]),
        ([lambda: None, lambda: "second"], [["second"]]),
        ([lambda: "first", lambda: "second"], [["first"]]),
        ([lambda: 0], [[0]]),
        ([lambda: 1 / 0], []),
        ([lambda: 1 / 0, lambda: None], []),
        ([lambda: 1 / 0, lambda: "given"], [["given"]]),
        ([object], []),
        ([], []),
    ],
)
def test_the_return_value_of_a_handler_is_the_acknowledgement(
    world: World, handlers: list[Callable[[], Any]], acks: list[Any]
) -> None:
    async def body(socket: Socket) -> None:
        for handler in handlers:
            socket.on("e", handler)
        world.server.emit("e", id=7)
        world.server.emit("e")
        await world.settle()

    world.run_connected(body)
    assert world.server.acks() == [(7, values) for values in acks]


def test_a_manual_acknowledgement_is_the_last_argument_and_may_come_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[Callable[..., None]] = []

    async def body(socket: Socket) -> None:
        @socket.on("e", manual_ack=True)
        def handle(value: int, ack: Callable[..., None]) -> str:
            kept.append(ack)
            return "ignored"

        world.server.emit("e", 1, 2, id=3)
        world.server.emit("e", 1)
        await world.settle()
        assert world.server.acks() == []
        kept[0]("a", "b")
        kept[1]("not asked for")
        await world.settle()
        with caplog.at_level("DEBUG"):
            kept[0]("again")
        assert caplog.messages == ["an event was acknowledged a second time, which is ignored"]

    world.run_connected(body)
    assert world.server.acks() == [(3, ["a", "b"])]


def test_a_manual_acknowledgement_that_cannot_be_encoded_raises_and_may_be_repeated(world: World) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("e", manual_ack=True)
        def handle(ack: Callable[..., None]) -> None:
            with pytest.raises(PacketError):
                ack(object())
            ack("fine")

        world.server.emit("e", id=3)
        await world.settle()

    world.run_connected(body)
    assert world.server.acks() == [(3, ["fine"])]


def test_an_acknowledgement_after_the_connection_was_lost_is_dropped(world: World) -> None:
    kept: list[Callable[..., None]] = []

    async def body(socket: Socket) -> None:
        socket.on("e", kept.append, manual_ack=True)
        world.server.emit("e", id=3)
        await world.settle()
        world.server.lose()
        kept[0]("too late")
        await world.sleep(10)
        assert socket.connected

    world.run_connected(body)
    kept[0:1] = []
    assert world.server.acks() == []


def test_an_acknowledgement_after_the_scope_is_dropped(world: World) -> None:
    kept: list[Callable[..., None]] = []

    async def body(socket: Socket) -> None:
        socket.on("e", kept.append, manual_ack=True)
        world.server.emit("e", id=3)
        await world.settle()

    world.run_connected(body)
    kept[0]("too late")
    assert world.server.acks() == []


def test_manual_ack_needs_an_argument_and_an_event_of_the_server(world: World) -> None:
    async def body(socket: Socket) -> None:
        with pytest.raises(OptionError, match="manual_ack needs a handler that takes an argument"):
            socket.on("e", lambda: None, manual_ack=True)
        with pytest.raises(OptionError, match="manual_ack does not apply to 'connect'"):
            socket.on("connect", lambda ack: None, manual_ack=True)

    world.run_connected(body)


# ---------------------------------------------------------------------------------------------------------------------
# Errors


@pytest.mark.row("difference.handler_errors")
def test_an_error_of_a_handler_is_logged_and_does_not_end_the_scope(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def body(socket: Socket) -> None:
        def fail() -> None:
            raise RuntimeError("a mistake")

        socket.on("e", fail).on("e", lambda: seen.append("e")).on("connect", fail)
        world.server.emit("e")
        await world.settle()
        assert socket.connected

    world.run_connected(body)
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    name = f"{test_an_error_of_a_handler_is_logged_and_does_not_end_the_scope.__name__}.<locals>.body.<locals>.fail"
    assert [record.getMessage() for record in records] == [
        f"exception in handler {name} of 'connect' in /",
        f"exception in handler {name} of 'e' in /",
    ]
    assert all(record.exc_info is not None for record in records)
    assert seen == ["e"]


def test_errors_of_handlers_may_be_passed_to_a_function(world: World, caplog: pytest.LogCaptureFixture) -> None:
    reported: list[Any] = []

    async def report(error: Exception, event: str) -> None:
        reported.append((str(error), event))
        if len(reported) == 2:
            raise ValueError("an error of the function")

    async def body(socket: Socket) -> None:
        @socket.on("e")
        def fail() -> None:
            raise RuntimeError("a mistake")

        world.server.emit("e")
        world.server.emit("e")
        await world.settle()

    world.run_connected(body, on_handler_error=report)
    assert reported == [("a mistake", "e")] * 2
    assert "on_handler_error raised" in caplog.text
    assert "an error of the function" in caplog.text
    assert "a mistake" in caplog.text


def test_the_first_error_of_a_handler_may_end_the_scope(world: World, caplog: pytest.LogCaptureFixture) -> None:
    errors = [RuntimeError("first"), RuntimeError("second")]
    woken: list[str] = []

    async def body(socket: Socket) -> None:
        @socket.on("e")
        @socket.on("disconnect")
        def fail() -> None:
            raise errors.pop(0)

        world.server.emit("e")
        with pytest.raises(DisconnectedError) as caught:
            await socket.wait_closed()
        assert caught.value.__cause__ is first
        woken.append("closed")
        await socket.emit_with_ack("question")

    first = errors[0]
    with pytest.raises(RuntimeError) as caught:
        world.run_connected(body, on_handler_error="raise", ack_timeout=1)
    assert caught.value is first
    assert woken == ["closed"]
    assert "second" in caplog.text


def test_an_error_of_the_body_is_raised_instead_of_a_handlers(world: World) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("e")
        def fail() -> None:
            raise RuntimeError("handler")

        world.server.emit("e")
        with pytest.raises(DisconnectedError):
            await socket.wait_closed()
        raise KeyError("body")

    with pytest.raises(KeyError, match="body"):
        world.run_connected(body, on_handler_error="raise")


def test_a_handlers_error_is_raised_instead_of_the_one_that_it_caused_in_the_body(world: World) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("e")
        def fail() -> None:
            raise RuntimeError("handler")

        world.server.emit("e")
        await socket.emit_with_ack("question")

    with pytest.raises(RuntimeError, match="handler"):
        world.run_connected(body, on_handler_error="raise")


def test_a_handlers_error_while_the_scope_ends_is_raised(world: World) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("disconnect")
        def fail() -> None:
            raise RuntimeError("at the end")

    with pytest.raises(RuntimeError, match="at the end"):
        world.run_connected(body, on_handler_error="raise")


def test_the_end_of_a_handlers_wait_when_the_scope_is_cancelled_is_not_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("e")
        async def ask() -> None:
            asked.append(True)
            try:
                await socket.emit_with_ack("question")
            except Cancelled:
                await socket.emit("too late")

        world.server.emit("e")
        await world.settle()
        raise KeyboardInterrupt

    asked: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        world.run_connected(body)
    assert asked == [True]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


# ---------------------------------------------------------------------------------------------------------------------
# The inbox


@pytest.mark.parametrize(
    ("options", "size", "count"),
    [({"inbox_events": 3}, 1, 4), ({"inbox_bytes": 1000, "inbox_events": 100}, 300, 3)],
)
def test_an_inbox_that_is_full_closes_the_connection_and_names_the_event(
    world: World, options: dict[str, int], size: int, count: int
) -> None:
    disconnects: list[Any] = []
    handled: list[int] = []

    async def body(socket: Socket) -> None:
        @socket.on("n")
        async def slow(number: int, filling: str) -> None:
            await world.sleep(10)
            handled.append(number)

        socket.on("disconnect", lambda reason, details: disconnects.append((reason, details)))
        await world.settle()
        for number in range(10):
            world.server.emit("n", number, "x" * size)
        with pytest.raises(DisconnectedError) as caught:
            await socket.wait_closed()
        assert isinstance(caught.value.__cause__, InboxOverflow)
        assert socket.close_reason == Disconnection("forced close", caught.value.__cause__, final=True)
        assert not socket.connected
        await world.sleep(100)

    world.run_connected(body, **options)
    assert handled == list(range(count))
    [(reason, details)] = disconnects
    assert reason == "forced close"
    assert isinstance(details, InboxOverflow)
    assert "'n'" in str(details)


def test_a_single_event_always_fits(world: World) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        socket.on("n", lambda text: seen.append(len(text)))
        await world.settle()
        world.server.emit("n", "x" * 500)
        await world.settle()

    world.run_connected(body, inbox_bytes=100)
    assert seen == [500]


def test_events_that_wait_for_a_concurrent_handler_count(world: World) -> None:
    async def body(socket: Socket) -> None:
        async def slow() -> None:
            await world.sleep(10)

        socket.on("n", slow, concurrency=2)
        for _ in range(8):
            world.server.emit("n")
            await world.settle()
        await world.sleep(2)
        assert not socket.connected

    world.run_connected(body, inbox_events=5)


def test_an_overflow_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        world.server.joins = False
        other = socket.io.socket("/other")
        await world.settle()
        for number in range(9):
            world.server.emit("n", number, namespace="/other")
        world.server.send(Packet(CONNECT, "/other", {"sid": "s"}))  # now those nine are received, in one go
        with pytest.raises(DisconnectedError):
            await other.wait_closed()

    world.run_connected(body, inbox_events=3)
    assert len([record for record in caplog.records if "closing the connection" in record.getMessage()]) == 1


def test_after_an_overflow_the_socket_may_connect_again(world: World) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        @socket.on("n")
        async def handle(number: int) -> None:
            await world.sleep(10)
            seen.append(number)

        await world.settle()
        for number in range(10):
            world.server.emit("n", number)
        await world.sleep(100)
        await socket.connect()
        world.server.emit("n", 99)
        await world.sleep(100)

    world.run_connected(body, inbox_events=2)
    assert seen == [0, 1, 2, 99]


# ---------------------------------------------------------------------------------------------------------------------
# Sent events


@pytest.mark.row("difference.outgoing")
def test_on_any_outgoing_is_called_for_events_in_order_and_not_for_acknowledgements(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        @socket.on_any_outgoing()
        async def second(event: str, *values: Any) -> None:
            log.append(("second", event, *values))

        @socket.prepend_any_outgoing
        def first(event: str) -> None:
            log.append(("first", event))

        assert socket.listeners_any_outgoing() == [first, second]
        socket.on("e", lambda: "an acknowledgement")
        world.server.emit("e", id=5)
        await socket.emit("a", 1, b"2", ack=print)
        await world.settle()
        await socket.volatile.emit("b")
        await world.settle()
        assert socket.off_any_outgoing(first).listeners_any_outgoing() == [second]
        await socket.send("c")
        await world.settle()
        assert socket.off_any_outgoing().listeners_any_outgoing() == []
        await socket.emit("without a handler")

    world.run_connected(body)
    assert world.server.acks() == [(5, ["an acknowledgement"])]
    assert log == [
        *[("first", "a"), ("second", "a", 1, b"2")],
        *[("first", "b"), ("second", "b")],
        ("second", "message", "c"),
    ]


def test_on_any_outgoing_is_called_when_a_buffered_event_is_sent_and_never_for_a_dropped_one(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on_any_outgoing(log.append)
        socket.on("connect", lambda: log.append("connect"))
        await world.settle()
        await socket.disconnect()
        await socket.emit("buffered")
        await socket.volatile.emit("dropped")
        await world.settle()
        assert log == ["connect"]
        await socket.connect()
        await world.settle()

    world.run_connected(body)
    assert log == ["connect", "buffered", "connect"]


def test_on_any_outgoing_is_called_for_each_retry(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on_any_outgoing(lambda *args: log.append(args))
        await socket.emit("again", 1)
        await world.sleep(5)

    world.run_connected(body, retries=2, ack_timeout=1)
    assert log == [("again", 1)] * 3


def test_an_error_of_an_on_any_outgoing_handler_is_reported_with_the_event(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(socket: Socket) -> None:
        @socket.on_any_outgoing
        def fail(event: str) -> None:
            raise RuntimeError("a mistake")

        await socket.emit("e")
        await world.settle()
        assert socket.connected

    world.run_connected(body)
    assert re.search("exception in handler .* of 'e' in /", caplog.text)


@pytest.mark.parametrize(("bounds", "size"), [({"inbox_events": 3}, 1), ({"inbox_bytes": 1000}, 300)])
def test_notifications_of_a_slow_on_any_outgoing_handler_are_dropped(
    world: World, bounds: dict[str, int], size: int
) -> None:
    notified: list[Any] = []
    errors: list[Any] = []

    async def body(socket: Socket) -> None:
        @socket.on_any_outgoing
        async def slow(event: str, number: int) -> None:
            await world.sleep(1)
            notified.append(number)

        for number in range(20):
            socket.emit_nowait("n", number, "x" * size)
        await world.sleep(30)
        for number in range(100, 105):
            socket.emit_nowait("n", number, "x" * size)
        await world.sleep(30)
        assert socket.connected

    world.run_connected(body, on_handler_error=lambda error, event: errors.append((event, error)), **bounds)
    assert notified == [0, 1, 2, 100, 101, 102]
    assert [(event, type(error)) for event, error in errors] == [("n", InboxOverflow)] * 2
    assert "notifications are dropped from event 'n' on (3 events of" in str(errors[0][1])
    assert len(world.server.events()) == 25


def test_queued_sent_events_do_not_count_as_received_ones(world: World) -> None:
    seen: list[int] = []

    async def body(socket: Socket) -> None:
        socket.on_any_outgoing(lambda: None)
        socket.on("n", seen.append)
        await world.settle()
        for _ in range(3):
            socket.emit_nowait("e")
        for number in range(3):
            world.server.emit("n", number)
        await world.settle()
        assert socket.connected

    world.run_connected(body, inbox_events=3)
    assert seen == [0, 1, 2]


# ---------------------------------------------------------------------------------------------------------------------
# The end


def test_received_events_are_handled_before_the_scope_ends(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        @socket.on("n")
        async def slow(number: int) -> None:
            await world.sleep(1)
            log.append(number)

        socket.on("disconnect", log.append)
        await world.settle()
        for number in range(3):
            world.server.emit("n", number)

    world.run_connected(body)
    assert log == [0, 1, 2, "io client disconnect"]


def test_a_handler_that_does_not_end_is_cancelled_after_close_timeout(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    async def body(socket: Socket) -> None:
        @socket.on("e")
        async def stuck() -> None:
            try:
                await world.sleep(1e9)
            except Cancelled:
                log.append("cancelled")
                raise

        @socket.on("f")
        def never() -> None:
            log.append("never")

        world.server.emit("e")
        world.server.emit("f")

    before = world.time
    world.run_connected(body, close_timeout=3)
    assert world.time == before + 3
    assert log == ["cancelled"]
    assert "handlers are still running 3 seconds (close_timeout) after the connection was stopped" in caplog.text
    assert "stuck" in caplog.text


def test_an_internal_error_in_the_dispatcher_ends_the_connection_and_is_logged(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(socket: Socket) -> None:
        def fail(*_: Any) -> None:
            raise ZeroDivisionError("internal")

        await world.settle()
        monkeypatch.setattr(HandlerRegistry, "take", fail)
        world.server.emit("e")
        await socket.emit_with_ack("question")

    with pytest.raises(ZeroDivisionError, match="internal"):
        world.run_connected(body)
    assert "please report it" in caplog.text


# ---------------------------------------------------------------------------------------------------------------------
# concurrency= for events other than those of the server


def test_a_concurrent_handler_of_connect_may_wait_for_an_event_of_the_server(world: World) -> None:
    log: list[str] = []
    world.server.on_event = lambda packet: world.server.emit("welcome")

    async def body(socket: Socket) -> None:
        @socket.on("connect", concurrency=1)
        async def log_in() -> None:
            async with socket.events() as events:
                await socket.emit("login")
                log.append((await anext(events)).name)

        await world.sleep(1)
        assert log == ["welcome"]

    world.run_connected(body)


@pytest.mark.parametrize("event", ["connect", "connect_error", "disconnect"])
def test_concurrent_handlers_of_lifecycle_events_do_not_delay_events(world: World, event: str) -> None:
    log: list[str] = []

    async def body(socket: Socket) -> None:
        other = socket.io.socket("/other")

        async def slow(*_: Any) -> None:
            log.append("slow starts")
            await world.sleep(10)
            log.append("slow ends")

        other.on(event, slow, concurrency=1)
        other.on("e", lambda: log.append("event"))
        if event == "connect_error":
            world.server.refusal["/other"] = {"message": "no"}
            await world.sleep(1)
            world.server.refusal.clear()
            await other.connect()
        else:
            await other.wait_connected()
            if event == "disconnect":
                await other.disconnect()
                await other.connect()
        world.server.emit("e", namespace="/other")
        await world.sleep(5)
        assert sorted(log) == ["event", "slow starts"]
        await world.sleep(10)
        assert log[2:] == ["slow ends"]

    world.run_connected(body, close_timeout=30)


def test_concurrent_handlers_of_any_event_do_not_delay_events(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        @socket.on_any(concurrency=2)
        async def slow(event: str, number: int) -> None:
            await world.sleep(10)
            log.append(("any", number))

        @socket.prepend_any(concurrency=1)
        async def one_by_one(event: str, number: int) -> None:
            await world.sleep(10)
            log.append(("one", number))

        socket.on("e", log.append)
        for number in range(3):
            world.server.emit("e", number)
        await world.sleep(1)
        assert log == [0, 1, 2]
        await world.sleep(40)

    world.run_connected(body)
    assert log[3:] == [("one", 0), ("any", 0), ("any", 1), ("one", 1), ("any", 2), ("one", 2)]


def test_concurrency_must_be_a_positive_number(world: World) -> None:
    async def body(socket: Socket) -> None:
        for register in (socket.on_any, socket.prepend_any):
            with pytest.raises(OptionError, match="concurrency takes a whole number of at least 1, or None, not 0"):
                register(print, concurrency=0)
        assert socket.listeners_any() == []

    world.run_connected(body)
