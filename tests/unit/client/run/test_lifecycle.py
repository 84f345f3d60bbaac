"""The lifecycle queue: in which order the handlers of the Manager and the Engine start, and what waits for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from sansio_socketio.client import InboxOverflow
from sansio_socketio.client.run import lifecycle
from sansio_socketio.protocol.errors import DisconnectedError, OptionError, SocketIOError
from tests.support.fake_runtime import FakeFuture
from tests.support.fake_server import wires
from tests.support.variants import VARIANTS, Variant


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Iterator[Variant]:
    with wires():
        yield Variant(request.param)


@pytest.fixture
def threads() -> Iterator[Variant]:
    with wires():
        yield Variant("threads")


@pytest.fixture
def tasks() -> Iterator[Variant]:
    with wires():
        yield Variant("tasks")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


class NeverEnding:
    """Handlers that wait for an acknowledgement that never comes.

    Attributes:
        seen: The calls: the name of the handler, and its arguments.
    """

    def __init__(self, variant: Variant, socket: Any) -> None:
        self.seen: list[Any] = []
        self._variant = variant
        self._socket = socket

    def handler(self, name: str) -> Callable[..., Any]:
        async def wait(*args: Any) -> None:
            self.seen.append((name, *args))
            try:
                await self._socket.timeout(None).emit_with_ack("never acknowledged")
            except SocketIOError as error:
                self.seen.append((name, type(error)))

        return self._variant.handler(wait)


# Order and start


def test_handlers_start_in_the_order_of_events_and_then_of_registration(variant: Variant) -> None:
    manager = variant.manager()
    socket = manager.socket()
    never = NeverEnding(variant, socket)

    async def body() -> None:
        for name in ("a", "b"):
            manager.on("ping", never.handler(name))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            variant.server.ping()
            await variant.sleep(1)
            assert never.seen == [("a",), ("b",), ("a",), ("b",)]

    variant.run(body)


@pytest.mark.parametrize("ending", ["returns", "raises", "waits"])
def test_the_next_handler_starts_when_the_one_before_has(ending: str, variant: Variant) -> None:
    manager = variant.manager(on_handler_error=variant.report)
    socket = manager.socket()
    seen: list[str] = []
    started: list[float] = []

    async def first() -> None:
        seen.append("first")
        if ending == "raises":
            raise ValueError(ending)
        if ending == "waits":
            await socket.emit_with_ack("never acknowledged")

    async def second() -> None:
        seen.append("second")
        started.append(variant.world.time)

    async def body() -> None:
        manager.on("ping", variant.handler(first)).on("ping", variant.handler(second))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            before = variant.world.time
            await variant.sleep(0.5)
            assert seen == ["first", "second"]
            assert started == [before]

    variant.run(body)


def test_a_thread_that_blocks_is_waited_for_for_one_second(threads: Variant, caplog: pytest.LogCaptureFixture) -> None:
    manager = threads.manager()
    socket = manager.socket()
    seen: list[Any] = []
    before = 0.0

    async def blocking() -> None:
        seen.append("blocks")
        await threads.sleep(1.5)
        seen.append("goes on")

    async def body() -> None:
        nonlocal before
        manager.on("ping", threads.handler(blocking))
        manager.on("ping", lambda: seen.append(("next", threads.world.time - before)))
        async with manager:
            await socket.wait_connected()
            threads.server.ping()
            before = threads.world.time
            await threads.sleep(3)
        assert seen == ["blocks", ("next", 1.0), "goes on"]
        (warning,) = warnings_of(caplog)
        assert "blocked their threads for 1 second, at last " in warning
        assert "blocking of 'ping'" in warning

    threads.run(body)


def test_threads_that_block_delay_the_queue_for_one_second_together(
    threads: Variant, caplog: pytest.LogCaptureFixture
) -> None:
    manager = threads.manager()
    socket = manager.socket()
    seen: list[Any] = []

    async def blocking() -> None:
        await threads.sleep(0.9)

    async def body() -> None:
        before = 0.0
        manager.on("ping", threads.handler(blocking))
        manager.on("close", lambda *_: seen.append(("close", threads.world.time - before)))
        async with manager:
            await socket.wait_connected()
            for _ in range(2):  # after the queue was empty, handlers are waited for again
                before = threads.world.time
                for _ in range(20):
                    threads.server.ping()
                threads.server.lose()
                await threads.sleep(5)
                assert socket.connected
        assert seen[:2] == [("close", 1.0)] * 2
        assert len(warnings_of(caplog)) == 2

    threads.run(body)


def test_a_thread_that_blocks_for_less_is_not_warned_about(threads: Variant, caplog: pytest.LogCaptureFixture) -> None:
    manager = threads.manager()
    socket = manager.socket()
    seen: list[str] = []

    async def blocking() -> None:
        await threads.sleep(0.9)
        seen.append("blocked")

    async def body() -> None:
        manager.on("ping", threads.handler(blocking)).on("ping", lambda: seen.append("next"))
        async with manager:
            await socket.wait_connected()
            threads.server.ping()
            await threads.sleep(3)
        assert seen == ["blocked", "next"]
        assert warnings_of(caplog) == []

    threads.run(body)


def test_a_thread_that_enters_a_blocking_call_has_started(threads: Variant, caplog: pytest.LogCaptureFixture) -> None:
    manager = threads.manager()
    socket = manager.socket()
    seen: list[str] = []
    threads.server.on_event = lambda packet: threads.world.call_at(
        threads.world.time + 5, lambda: threads.server.ack(packet)
    )

    async def waiting() -> None:
        await socket.emit_with_ack("acknowledged late")
        seen.append("acknowledged")

    async def body() -> None:
        manager.on("ping", threads.handler(waiting)).on("ping", lambda: seen.append("next"))
        async with manager:
            await socket.wait_connected()
            threads.server.ping()
            await threads.sleep(0)
            assert seen == ["next"]
            await threads.sleep(6)
        assert seen == ["next", "acknowledged"]
        assert warnings_of(caplog) == []

    threads.run(body)


@pytest.mark.parametrize("when", ["before it waits", "afterwards"])
def test_auth_set_by_a_handler_of_reconnect_attempt_is_sent(when: str, variant: Variant) -> None:
    manager = variant.manager(reconnection_delay=1)
    socket = manager.socket(auth={"attempt": 0})
    other: list[str] = []

    async def set_auth(attempt: int) -> None:
        if when == "before it waits":
            socket.auth = {"attempt": attempt}
        await socket.wait_connected()
        socket.auth = {"attempt": attempt}

    async def body() -> None:
        manager.on("reconnect_attempt", variant.handler(set_auth))
        manager.on("reconnect_attempt", lambda: other.append("started"))
        async with manager:
            await socket.wait_connected()
            variant.server.lose()
            await variant.sleep(10)
            assert socket.connected
        expected = 1 if when == "before it waits" else 0
        assert variant.server.payloads() == [{"attempt": 0}, {"attempt": expected}]
        assert other == ["started"]

    variant.run(body)


@pytest.mark.parametrize("option", ["query", "extra_headers", "auth"])
def test_functions_are_called_after_the_handlers_of_the_attempt_have_started(option: str, variant: Variant) -> None:
    seen: list[str] = []

    def answer() -> dict[str, str]:
        seen.append(option)
        return {}

    options: dict[str, Any] = {option: answer}
    of_socket = options if option == "auth" else {}
    manager = variant.manager(**({} if option == "auth" else options))
    socket = manager.socket(**of_socket)
    never = NeverEnding(variant, socket)
    never.seen = seen

    async def body() -> None:
        async with manager:
            await socket.wait_connected()
            manager.on("reconnect_attempt", never.handler("a"))
            manager.on("reconnect_attempt", never.handler("b"))
            seen.clear()
            variant.server.lose()
            await variant.sleep(10)
            assert seen == [("a", 1), ("b", 1), option]
            assert socket.connected

    variant.run(body)


def test_a_handler_of_the_manager_starts_before_the_event_of_the_socket(variant: Variant) -> None:
    manager = variant.manager()
    socket = manager.socket()
    never = NeverEnding(variant, socket)

    def append(name: str, *_: Any) -> None:
        never.seen.append((name,))

    async def body() -> None:
        for event in ("open", "close", "error", "reconnect_attempt", "reconnect", "reconnect_error"):
            manager.on(event, never.handler(f"Manager {event}"))
        for event in ("connect", "disconnect", "connect_error"):
            socket.on(event, partial(append, f"Socket {event}"))
        async with manager:
            await socket.wait_connected()
            await variant.sleep(0)
            assert names() == ["Manager open", "Socket connect"]
            variant.server.accepts = False
            variant.server.lose()
            await variant.sleep(0)
            assert names() == ["Manager close", "Socket disconnect"]
            await variant.sleep(2)
            assert names()[:4] == [
                "Manager reconnect_attempt",
                "Manager error",
                "Manager reconnect_error",
                "Socket connect_error",
            ]
            variant.server.accepts = True
            await socket.wait_connected()
            await variant.sleep(0)
            assert names()[-3:] == ["Manager open", "Manager reconnect", "Socket connect"]

    def names() -> list[str]:
        seen, never.seen[:] = list(never.seen), []
        return [name for name, *args in seen if DisconnectedError not in args]

    variant.run(body)


def test_a_handler_that_never_ends_does_not_block_the_connection(variant: Variant) -> None:
    async def answer() -> dict[str, str]:
        return {}

    function = variant.handler(answer)
    manager = variant.manager(query=function, extra_headers=function)
    socket = manager.socket(auth=function)
    never = NeverEnding(variant, socket)
    events: list[str] = []

    async def body() -> None:
        for event in ("open", "close", "reconnect_attempt", "reconnect", "ping"):
            manager.on(event, never.handler(event)).on(event, never.handler(event))
        socket.on("connect", lambda: events.append("connect"))
        socket.on("disconnect", lambda: events.append("disconnect"))
        async with manager:
            for _ in range(3):
                await socket.wait_connected()
                variant.server.ping()
                variant.server.lose()
                await variant.sleep(10)
            assert socket.connected
            assert events == ["connect", "disconnect"] * 3 + ["connect"]

    variant.run(body)


def test_an_empty_queue_is_bypassed(variant: Variant) -> None:
    manager = variant.manager(auto_connect=False)
    socket = manager.socket()
    seen: list[str] = []

    async def body() -> None:
        socket.on("connect", lambda: seen.append("connect"))
        async with manager:
            await socket.connect()
            await variant.sleep(0)
            assert seen == ["connect"]
            # Nothing serves the queue while no handler of the Manager is registered.
            assert [task.name for task in variant.world.tasks if "Manager" in task.name] == []

    variant.run(body)


# Bounds


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch) -> int:
    """As many calls as a thousand would be; nested calls of threads in virtual time cannot be so many."""
    monkeypatch.setattr(lifecycle, "MOST_CALLS", 5)
    return 5


def test_calls_of_one_handler_are_bounded(five: int, variant: Variant) -> None:
    manager = variant.manager(on_handler_error=variant.report)
    socket = manager.socket()
    never = NeverEnding(variant, socket)

    async def ping(times: int) -> None:
        for _ in range(times):
            variant.server.ping()
            await variant.sleep(0)

    async def body() -> None:
        manager.on("ping", never.handler("waits")).on("ping", lambda: never.seen.append(("returns",)))
        async with manager:
            for round_ in (1, 2):
                await socket.wait_connected()
                await ping(five + 3)
                assert never.seen.count(("waits",)) == five
                assert never.seen.count(("returns",)) == five + 3
                assert [(event, type(error)) for event, error in variant.errors] == [("ping", InboxOverflow)] * round_
                assert f"{five} calls of its handler" in str(variant.errors[-1][1])
                never.seen.clear()
                variant.server.lose()  # which ends their waits: they have caught up
                await variant.sleep(10)
                never.seen.clear()
            assert socket.connected

    variant.run(body)


def test_events_in_the_queue_are_bounded(five: int, variant: Variant) -> None:
    manager = variant.manager(on_handler_error=variant.report)
    socket = manager.socket()
    seen: list[str] = []

    async def body() -> None:
        manager.on("ping", lambda: seen.append("ping"))
        async with manager:
            for round_ in (1, 2):
                await socket.wait_connected()
                for _ in range(five + 3):
                    variant.server.ping()
                await variant.sleep(0)
                # In threads the first call may have started at once.
                assert len(seen) in {five, five + 1}
                assert [(event, type(error)) for event, error in variant.errors] == [("ping", InboxOverflow)] * round_
                assert f"{five} of these events are queued" in str(variant.errors[-1][1])
                seen.clear()

    variant.run(body)


def test_a_thousand_calls_run_concurrently(tasks: Variant) -> None:
    manager = tasks.manager(on_handler_error=tasks.report)
    socket = manager.socket()
    never = NeverEnding(tasks, socket)

    async def body() -> None:
        manager.on("ping", never.handler("waits"))
        async with manager:
            await socket.wait_connected()
            for _ in range(4):
                for _ in range(300):
                    tasks.server.ping()
                await tasks.sleep(0)
            assert len(never.seen) == 1000
            ((event, error),) = tasks.errors
            assert event == "ping"
            assert isinstance(error, InboxOverflow)

    tasks.run(body)


# Options of handlers


def test_concurrency_does_not_apply_to_the_events_of_the_manager_and_the_engine(variant: Variant) -> None:
    manager = variant.manager()
    socket = manager.socket()

    async def body() -> None:
        with pytest.raises(OptionError, match="concurrency does not apply to 'open'"):
            manager.on("open", print, concurrency=2)
        async with manager:
            await socket.wait_connected()
            with pytest.raises(OptionError, match="concurrency does not apply to 'packet'"):
                manager.engine.on("packet", print, concurrency=2)

    variant.run(body)


def test_concurrency_applies_to_the_lifecycle_events_of_a_socket(variant: Variant) -> None:
    manager = variant.manager(reconnection_delay=1)
    socket = manager.socket()
    seen: list[str] = []

    async def login() -> None:
        logged_in = FakeFuture(variant.world)
        socket.once("logged_in", logged_in.resolve)
        await socket.emit("login")
        await variant.wait(logged_in)
        seen.append("logged in")

    async def reconnect() -> None:
        await socket.wait_connected()
        seen.append("connected again")

    async def body() -> None:
        variant.server.on_event = lambda packet: variant.server.emit("logged_in")
        socket.on("connect", variant.handler(login), concurrency=1)
        socket.on("disconnect", variant.handler(reconnect), concurrency=1)
        async with manager:
            await socket.wait_connected()
            await variant.sleep(0)
            variant.server.lose()
            await variant.sleep(10)
            assert sorted(seen) == ["connected again", "logged in", "logged in"]

    variant.run(body)


def test_concurrency_applies_to_on_any_handlers(variant: Variant) -> None:
    manager = variant.manager()
    socket = manager.socket()
    seen: list[str] = []

    async def wait(name: str) -> None:
        seen.append(name)
        if name == "first":
            await variant.sleep(5)
            seen.append("first ends")

    async def body() -> None:
        socket.on_any(variant.handler(wait), concurrency=2)
        async with manager:
            await socket.wait_connected()
            variant.server.emit("first")
            variant.server.emit("second")
            await variant.sleep(10)
            assert seen == ["first", "second", "first ends"]

    variant.run(body)


# Warnings


def test_a_handler_that_blocks_its_namespace_is_logged(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    manager = variant.manager(slow_handler_warning=2)
    socket = manager.socket("/chat")

    async def slow() -> None:
        await variant.sleep(20)

    async def body() -> None:
        socket.on("slow", variant.handler(slow))
        async with manager:
            await socket.wait_connected()
            for _ in range(3):
                variant.server.emit("slow", namespace="/chat")
            await variant.sleep(19)
            (warning,) = warnings_of(caplog)
            for word in ("/chat", "'slow'", slow.__qualname__, "events queued for handlers: 2", "2 seconds"):
                assert word in warning
            await variant.sleep(19)
            assert len(warnings_of(caplog)) == 2
            await variant.sleep(40)

    variant.run(body)


def test_slow_handler_warning_can_be_disabled(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    manager = variant.manager(slow_handler_warning=None)
    socket = manager.socket()

    async def slow() -> None:
        await variant.sleep(1000)

    async def body() -> None:
        socket.on("slow", variant.handler(slow))
        async with manager:
            await socket.wait_connected()
            variant.server.emit("slow")
            await variant.sleep(2000)
            assert warnings_of(caplog) == []

    variant.run(body)


def test_the_warning_at_shutdown_names_the_handlers(tasks: Variant, caplog: pytest.LogCaptureFixture) -> None:
    manager = tasks.manager(close_timeout=3)
    socket = manager.socket()

    async def of_manager() -> None:
        await tasks.sleep(100)

    async def of_socket() -> None:
        await tasks.sleep(100)

    async def concurrent() -> None:
        await tasks.sleep(100)

    async def body() -> None:
        manager.on("ping", of_manager)
        socket.on("event", of_socket)
        socket.on_any(concurrent, concurrency=1)
        async with manager:
            await socket.wait_connected()
            tasks.server.ping()
            tasks.server.emit("event")
            await tasks.sleep(1)
        (warning,) = warnings_of(caplog)
        for word in ("3 seconds", of_manager.__qualname__, of_socket.__qualname__, concurrent.__qualname__):
            assert word in warning

    tasks.run(body)


# Registration and state of handlers


def test_handlers_registered_while_held_back_are_called(variant: Variant) -> None:
    manager = variant.manager()
    seen: list[str] = []

    async def body() -> None:
        async with manager:
            socket = manager.socket()
            manager.on("open", lambda: seen.append("open"))
            await socket.wait_connected()
            await variant.sleep(0)
            assert seen == ["open"]

    variant.run(body)


def test_a_handler_that_another_one_registers_before_its_turn_is_called(variant: Variant) -> None:
    manager = variant.manager()
    socket = manager.socket()
    seen: list[str] = []

    async def body() -> None:
        manager.on("open", lambda: manager.on("ping", lambda: seen.append("ping")))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(0)
            assert seen == ["ping"]

    variant.run(body)


def test_a_once_handler_is_called_once(variant: Variant) -> None:
    manager = variant.manager()
    socket = manager.socket()
    never = NeverEnding(variant, socket)

    async def body() -> None:
        manager.once("ping", never.handler("once")).on("ping", never.handler("on"))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            variant.server.ping()
            await variant.sleep(0)
            assert never.seen == [("once",), ("on",), ("on",)]
            assert len(manager.listeners("ping")) == 1

    variant.run(body)


@pytest.mark.parametrize("event", ["open", "ping", "close", "reconnect_attempt", "reconnect"])
def test_a_handler_may_close_the_manager(event: str, variant: Variant) -> None:
    manager = variant.manager(reconnection_delay=1)
    socket = manager.socket()

    async def close() -> None:
        await manager.close()

    async def body() -> None:
        manager.on(event, variant.handler(close))
        async with manager:
            if event != "open":
                await socket.wait_connected()
                variant.server.ping()
                await variant.sleep(0)
            if event not in {"open", "ping"}:
                variant.server.lose()
            await variant.sleep(10)
            assert not socket.connected
            assert variant.world.streams == []

    variant.run(body)


@pytest.mark.parametrize("event", ["open", "ping", "close", "reconnect_attempt", "reconnect"])
def test_a_handler_may_close_a_manager_without_a_scope(event: str, variant: Variant) -> None:
    manager = variant.manager(reconnection_delay=1)
    socket = manager.socket()
    later: list[str] = []

    async def close() -> None:
        await manager.close()

    async def body() -> None:
        manager.on(event, variant.handler(close)).on(event, lambda: later.append("next"))
        await manager.open()
        if event != "open":
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(0)
        if event not in {"open", "ping"}:
            variant.server.lose()
        await variant.sleep(20)
        assert not socket.connected
        assert variant.world.streams == []
        assert later == ["next"] * (2 if event == "close" else 1)
        manager.off()
        await manager.open()
        await socket.wait_connected()
        await manager.close()

    variant.run(body)


def test_a_handler_may_close_and_open_the_manager(variant: Variant) -> None:
    manager = variant.manager()
    socket = manager.socket()
    seen: list[str] = []

    async def restart() -> None:
        if not seen:
            seen.append("closes")
            await manager.close()
            await manager.open()
            await socket.connect()
            seen.append("connected")

    async def body() -> None:
        manager.on("ping", variant.handler(restart))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(10)
            assert seen == ["closes", "connected"]
            assert socket.connected

    variant.run(body)


def test_handlers_run_in_a_copy_of_the_context_in_which_the_manager_was_started(variant: Variant) -> None:
    color: ContextVar[str] = ContextVar("color", default="none")
    manager = variant.manager()
    socket = manager.socket()
    seen: list[str] = []

    async def first() -> None:
        seen.append(color.get())
        color.set("of the first handler")

    async def body() -> None:
        manager.on("ping", variant.handler(first)).on("ping", lambda: seen.append(color.get()))
        color.set("of the body")
        async with manager:
            color.set("later")
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(0)
            variant.server.ping()
            await variant.sleep(0)
            assert seen[0] == "of the body"
            assert "later" not in seen
            assert color.get() == "later"

    variant.run(body)


# Errors


@pytest.mark.parametrize("waits", [False, True])
def test_an_exception_of_a_handler_is_reported(waits: bool, variant: Variant) -> None:
    manager = variant.manager(on_handler_error=variant.report)
    socket = manager.socket()
    seen: list[str] = []
    failure = ValueError("a mistake")

    async def fail() -> None:
        if waits:
            await variant.sleep(0.5)
        raise failure

    async def body() -> None:
        manager.on("ping", variant.handler(fail)).on("ping", lambda: seen.append("next"))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(1)
            assert variant.errors == [("ping", failure)]
            assert seen == ["next"]
            assert socket.connected

    variant.run(body)


@pytest.mark.parametrize("waits", [False, True])
def test_an_exception_of_a_handler_ends_the_connection(waits: bool, variant: Variant) -> None:
    manager = variant.manager(on_handler_error="raise")
    socket = manager.socket()

    async def fail() -> None:
        if waits:
            await variant.sleep(0.5)
        raise ValueError("a mistake")

    async def body() -> None:
        manager.on("ping", variant.handler(fail))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(1)
            assert not socket.connected

    with pytest.raises(ValueError, match="a mistake"):
        variant.run(body)


def test_a_handler_that_requires_too_many_values_is_reported(variant: Variant) -> None:
    manager = variant.manager(on_handler_error=variant.report)
    socket = manager.socket()
    seen: list[str] = []

    async def body() -> None:
        manager.on("ping", seen.append).on("ping", lambda: seen.append("next"))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(0)
            ((event, error),) = variant.errors
            assert event == "ping"
            assert isinstance(error, TypeError)
            assert seen == ["next"]

    variant.run(body)


def test_on_handler_error_may_wait_for_anything(variant: Variant) -> None:
    reported: list[str] = []

    async def report(error: Exception) -> None:
        reported.append(str(error))
        await socket.wait_connected()
        await socket.timeout(None).emit_with_ack("never acknowledged")

    manager = variant.manager(on_handler_error=variant.handler(report), reconnection_delay=1)
    socket = manager.socket(auth=dict)
    seen: list[str] = []

    def append(name: str, *_: Any) -> None:
        seen.append(name)

    def fail() -> None:
        raise ValueError("a mistake")

    async def body() -> None:
        for event in ("open", "close", "reconnect_attempt"):
            manager.on(event, fail).on(event, partial(append, event))
        async with manager:
            await socket.wait_connected()
            variant.server.lose()
            await variant.sleep(10)
            assert socket.connected
            assert seen == ["open", "close", "reconnect_attempt", "open"]
            assert len(reported) == 4

    variant.run(body)


# The end


def test_an_acknowledgement_that_cannot_arrive_does_not_delay_the_end(variant: Variant) -> None:
    manager = variant.manager(close_timeout=30)
    socket = manager.socket()
    never = NeverEnding(variant, socket)

    async def body() -> None:
        manager.on("ping", never.handler("waits")).on("close", never.handler("close"))
        socket.on("disconnect", never.handler("disconnect"))
        async with manager:
            await socket.wait_connected()
            variant.server.ping()
            await variant.sleep(0)
            before = variant.world.time
        assert variant.world.time == before
        for name in ("waits", "close", "disconnect"):
            assert (name, DisconnectedError) in never.seen

    variant.run(body)


def test_an_event_that_is_buffered_when_the_manager_stops_is_not_waited_for(variant: Variant) -> None:
    manager = variant.manager(close_timeout=30)
    socket = manager.socket()
    variant.server.joins = False
    never = NeverEnding(variant, socket)

    async def body() -> None:
        manager.on("open", never.handler("waits"))
        async with manager:
            await variant.sleep(1)
            before = variant.world.time
        assert variant.world.time == before
        assert never.seen[-1] == ("waits", DisconnectedError)

    variant.run(body)


# Several Managers


def test_a_handler_may_wait_for_another_manager(threads: Variant) -> None:
    manager, another = threads.manager(), threads.manager()
    socket, other = manager.socket(), another.socket()
    seen: list[str] = []

    async def wait() -> None:
        try:
            await other.wait_connected()
        except DisconnectedError:
            seen.append("the other one has been stopped")

    async def body() -> None:
        manager.on("ping", threads.handler(wait)).on("ping", lambda: seen.append("next"))
        async with manager:
            await socket.wait_connected()
            threads.server.accepts = None
            async with another:
                threads.server.ping()
                await threads.sleep(0.5)
                assert seen == ["next"]
            await threads.sleep(0)
            assert seen == ["next", "the other one has been stopped"]

    threads.run(body)
