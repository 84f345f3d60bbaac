"""The contract of `runtime.interface`, checked for every driver over real sockets."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from math import inf
from threading import RLock, Thread
from typing import Any, cast

import anyio
import pytest
import trio

from sansio_socketio.protocol.errors import DisconnectedError, StateError
from sansio_socketio.runtime import Runtime, Timer
from sansio_socketio_blocking._runtime import open_runtime as blocking_runtime
from tests.support.runtimes import (
    BACKENDS,
    Backend,
    Connection,
    LoopbackServer,
    Recorder,
    connected,
    deaf_address,
    echo,
    greet,
    iterations,
    refusing_port,
    swallow,
)

pytestmark = pytest.mark.timeout(60)

MEGABYTE = 1 << 20
ASYNC_BACKENDS = [backend for backend in BACKENDS if backend.name != "threads"]
asynchronous = pytest.mark.parametrize("backend", ASYNC_BACKENDS, ids=lambda backend: backend.name)


# Opening


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_stream_opens_and_carries_bytes_both_ways(backend: Backend, host: str) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo, host) as server:
            recorder = Recorder(runtime)
            stream = runtime.open_stream(host, server.port, recorder)
            assert recorder.log == []
            await recorder.until_notified("opened")
            stream.write(b"hello")
            assert recorder.log == ["opened"]
            await recorder.until(lambda: recorder.data == b"hello" and "sent" in recorder.log)
            assert sorted(recorder.log) == ["opened", "received", "sent"]
            stream.abort()

    backend.play(scenario)


def test_nagles_algorithm_is_off(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            stream, _ = await connected(runtime, server)
            assert _socket_to(server).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            stream.abort()

    backend.play(scenario)


def _socket_to(server: LoopbackServer) -> socket.socket:
    """Return the client's socket, which some runtimes hide."""
    for thing in gc.get_objects():
        if type(thing) is socket.socket and thing.fileno() != -1 and thing.type == socket.SOCK_STREAM:
            try:
                if thing.getpeername()[1] == server.port:
                    return thing
            except (OSError, IndexError):
                continue
    raise AssertionError("there is none")


def test_a_refused_connection_is_reported_with_the_reason(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        runtime.open_stream("127.0.0.1", refusing_port(), recorder)
        assert recorder.log == []
        await recorder.until_notified("failed")
        assert "127.0.0.1" in str(recorder.error)
        assert "111" in str(recorder.error) or "refused" in str(recorder.error).lower()
        assert recorder.log == ["failed"]

    backend.play(scenario)


def test_an_unknown_host_name_is_reported(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        runtime.open_stream("h" * 300, 80, recorder)
        await recorder.until_notified("failed")
        assert isinstance(recorder.error, (OSError, ValueError))

    backend.play(scenario)


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if host not in ("several.test", b"several.test"):
            return look_up(host, port, *args, **kwargs)
        return [
            (socket.AF_INET6 if ":" in place else socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, where))
            for place, where in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_the_next_address_is_tried_when_one_refuses(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            _resolve_to(monkeypatch, ("::1", server.port), ("127.0.0.1", server.port))
            recorder = Recorder(runtime)
            stream = runtime.open_stream("several.test", server.port, recorder)
            await recorder.until_notified("opened")
            stream.abort()

    backend.play(scenario)


def test_the_next_address_is_tried_while_one_hangs(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend.name == "streams":
        return  # the example in the documentation tries one address after the other

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server, deaf_address("127.0.0.2", server.port) as port:
            _resolve_to(monkeypatch, ("127.0.0.2", port), ("127.0.0.1", port))
            recorder = Recorder(runtime)
            stream = runtime.open_stream("several.test", port, recorder)
            await recorder.until_notified("opened")
            stream.write(b"there")
            await recorder.until(lambda: recorder.data == b"there")
            stream.abort()

    backend.play(scenario)


def test_when_every_address_refuses_the_error_names_each(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(runtime: Runtime) -> None:
        port = refusing_port()
        _resolve_to(monkeypatch, ("127.0.0.2", port), ("127.0.0.1", port))
        recorder = Recorder(runtime)
        runtime.open_stream("several.test", port, recorder)
        await recorder.until_notified("failed")
        assert "127.0.0.1" in str(recorder.error)
        assert "127.0.0.2" in str(recorder.error)

    backend.play(scenario)


@pytest.mark.parametrize("way", ["abort", "close"])
def test_a_stream_that_hangs_while_opening_can_be_closed(backend: Backend, way: str) -> None:
    async def scenario(runtime: Runtime) -> None:
        with deaf_address() as port:
            recorder = Recorder(runtime)
            stream = runtime.open_stream("127.0.0.1", port, recorder)
            await iterations(runtime, 20)
            getattr(stream, way)()
            await iterations(runtime, 20)
            assert recorder.log == []

    backend.play(scenario)


def test_a_stream_that_hangs_while_opening_ends_with_the_scope(backend: Backend) -> None:
    recorders: list[Recorder] = []

    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        recorders.append(recorder)
        runtime.open_stream("127.0.0.1", port, recorder)
        await iterations(runtime, 20)

    with deaf_address() as port:
        backend.play(scenario)
    assert recorders[0].log == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6])
def test_aborting_in_any_iteration_of_opening_leaves_nothing(backend: Backend, count: int) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            recorder = Recorder(runtime)
            stream = runtime.open_stream("127.0.0.1", server.port, recorder)
            await iterations(runtime, count)
            before = list(recorder.log)
            stream.abort()
            stream.abort()
            await iterations(runtime, 20)
            assert recorder.log == before

    backend.play(scenario)


# Sending


def test_writes_of_one_iteration_are_reported_as_sent_once(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            stream, recorder = await connected(runtime, server)
            for piece in (b"one ", bytearray(b"two "), memoryview(b"three"), b""):
                stream.write(piece)
            await recorder.until(lambda: recorder.data == b"one two three")
            await iterations(runtime, 5)
            assert recorder.log.count("sent") == 1
            stream.abort()

    backend.play(scenario)


def test_writing_nothing_is_reported_as_sent(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"")
            await recorder.until_notified("sent")
            stream.abort()

    backend.play(scenario)


def test_sent_means_that_the_system_has_accepted_the_last_byte(backend: Backend) -> None:
    size = 16 * MEGABYTE

    def read_later(connection: Connection) -> None:
        connection.server.go.wait()
        connection.server.reports.put(connection.read(size + 4))

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(read_later, receive_buffer=1 << 16) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"x" * size)
            await iterations(runtime, 50)
            stream.write(b"last")
            await iterations(runtime, 50)
            assert recorder.log == ["opened"]
            server.go.set()
            await recorder.until_notified("sent")
            assert await server.next_report(runtime) == b"x" * size + b"last"
            await iterations(runtime, 5)
            assert recorder.log.count("sent") == 1

    backend.play(scenario)


def test_large_transfers_go_both_ways_at_once(backend: Backend) -> None:
    data = os.urandom(5 * MEGABYTE)

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            stream, recorder = await connected(runtime, server)
            for start in range(0, len(data), MEGABYTE):
                stream.write(memoryview(data)[start : start + MEGABYTE])
            await recorder.until(lambda: len(recorder.data) == len(data) and "sent" in recorder.log)
            assert recorder.data == data
            stream.abort()

    backend.play(scenario)


def test_reading_is_paused_until_it_is_resumed(backend: Backend) -> None:
    data = os.urandom(4 * MEGABYTE)

    def send(connection: Connection) -> None:
        connection.sock.sendall(data)
        connection.server.reports.put(connection.read_all())

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(send) as server:
            recorder = Recorder(runtime)
            stream = runtime.open_stream(server.host, server.port, recorder)
            recorder.on_received = stream.pause_reading
            while len(recorder.data) < len(data):
                before = len(recorder.data)
                await recorder.until(lambda before=before: len(recorder.data) > before)  # type: ignore[misc]
                paused = len(recorder.pieces)
                await iterations(runtime, 5)
                assert len(recorder.pieces) == paused
                stream.resume_reading()
                assert len(recorder.pieces) == paused
            assert recorder.data == data
            stream.write(b"all")
            stream.close()
            assert await server.next_report(runtime) == b"all"

    backend.play(scenario)


def test_a_stream_that_is_paused_can_be_written_to_and_aborted(backend: Backend) -> None:
    def greet_and_read(connection: Connection) -> None:
        connection.sock.sendall(b"x" * MEGABYTE)
        connection.server.reports.put(connection.read(5))
        connection.server.reports.put(connection.read_all())

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(greet_and_read) as server:
            recorder = Recorder(runtime)
            stream = runtime.open_stream(server.host, server.port, recorder)
            recorder.on_received = stream.pause_reading
            await recorder.until_notified("received")
            stream.write(b"hello")
            await recorder.until_notified("sent")
            assert await server.next_report(runtime) == b"hello"
            stream.resume_reading()
            stream.abort()
            await server.next_report(runtime)
            assert len(recorder.pieces) == 1

    backend.play(scenario)


# Closing


def test_the_peer_closes_the_stream(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(greet) as server:
            _, recorder = await connected(runtime, server)
            await recorder.until_notified("closed")
            await iterations(runtime, 5)
            assert recorder.log == ["opened", "received", "closed"]
            assert recorder.error is None

    backend.play(scenario)


def test_a_half_close_of_the_peer_closes_the_stream(backend: Backend) -> None:
    def end_its_half(connection: Connection) -> None:
        connection.sock.shutdown(socket.SHUT_WR)
        connection.server.reports.put(connection.read_all())

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(end_its_half) as server:
            _, recorder = await connected(runtime, server)
            await recorder.until_notified("closed")
            assert await server.next_report(runtime) == b""
            assert recorder.log == ["opened", "closed"]
            assert recorder.error is None

    backend.play(scenario)


def test_a_peer_that_closes_without_reading_closes_the_stream(backend: Backend) -> None:
    """Data that is queued for writing does not delay the notification."""

    def end_its_half(connection: Connection) -> None:
        connection.read(1)
        connection.sock.shutdown(socket.SHUT_WR)
        connection.server.go.wait()

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(end_its_half, receive_buffer=1 << 16) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"x" * (16 * MEGABYTE))
            await recorder.until_notified("closed")
            assert recorder.log == ["opened", "closed"]

    backend.play(scenario)


def test_a_broken_stream_reports_the_reason(backend: Backend) -> None:
    def reset(connection: Connection) -> None:
        connection.read(1)
        connection.reset()

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(reset) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"x")
            await recorder.until_notified("closed")
            await iterations(runtime, 5)
            assert isinstance(recorder.error, ConnectionResetError)
            # Whether the reset or the failed write is seen first depends on the network.
            assert recorder.log in (["opened", "sent", "closed"], ["opened", "closed"])

    backend.play(scenario)


def test_a_stream_that_breaks_while_writing_is_reported_once(backend: Backend) -> None:
    def reset(connection: Connection) -> None:
        connection.read(1)
        connection.reset()

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(reset, receive_buffer=1 << 16) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"x" * (16 * MEGABYTE))
            await recorder.until_notified("closed")
            stream.write(b"y")
            await iterations(runtime, 10)
            assert recorder.log == ["opened", "closed"]

    backend.play(scenario)


def test_closing_sends_everything_written(backend: Backend) -> None:
    size = 16 * MEGABYTE

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(swallow, receive_buffer=1 << 16) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"x" * size)
            await iterations(runtime, 3)
            stream.write(b"last")
            stream.close()
            stream.close()
            before = recorder.log.copy()
            assert await server.next_report(runtime) == b"x" * size + b"last"
            assert recorder.log == before

    backend.play(scenario)


def test_closing_with_nothing_to_send_ends_the_stream(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(swallow) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"all")
            await recorder.until_notified("sent")
            stream.close()
            assert await server.next_report(runtime) == b"all"

    backend.play(scenario)


def test_data_after_closing_is_not_reported(backend: Backend) -> None:
    def answer_the_end(connection: Connection) -> None:
        connection.server.go.wait()
        connection.sock.sendall(b"late")
        connection.read_all()
        connection.server.reports.put(True)

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(answer_the_end, receive_buffer=1 << 16) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"x" * (16 * MEGABYTE))
            stream.close()
            server.go.set()
            await server.next_report(runtime)
            assert recorder.log == ["opened"]

    backend.play(scenario)


def test_aborting_drops_unsent_data(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(swallow, receive_buffer=1 << 16) as server:
            stream, recorder = await connected(runtime, server)
            stream.write(b"x" * (16 * MEGABYTE))
            stream.abort()
            read = await server.next_report(runtime)
            assert read == b"reset" or len(read) < 16 * MEGABYTE
            assert recorder.log == ["opened"]

    backend.play(scenario)


def test_a_stream_may_be_aborted_in_a_notification(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(greet) as server:
            recorder = Recorder(runtime)
            stream = runtime.open_stream(server.host, server.port, recorder)
            recorder.on_opened = stream.abort
            await recorder.until_notified("opened")
            await iterations(runtime, 20)
            assert recorder.log == ["opened"]

    backend.play(scenario)


# Timers and iterations


def test_a_timer_calls_back_at_its_deadline(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        deadline = runtime.now() + 0.02
        runtime.timer(lambda: recorder.note("fired")).set(deadline)
        await recorder.until_notified("fired")
        assert runtime.now() >= deadline - 0.002  # loops may round the time

    backend.play(scenario)


def test_the_clock_counts_suspensions_of_the_machine(backend: Backend) -> None:
    suspended = 0.0

    async def main() -> None:
        nonlocal suspended
        open_runtime: Any = backend.open_runtime
        async with open_runtime(suspension=lambda: suspended) as runtime:
            with runtime.lock:
                recorder = Recorder(runtime)
                before = runtime.now()
                timer = runtime.timer(lambda: recorder.note("fired"))
                timer.set(before + 3600)
                suspended = 3600.0
                assert runtime.now() >= before + 3600
                timer.set(runtime.now() + 0.001)
                await recorder.until_notified("fired")

    backend.run(main)


def test_a_deadline_in_the_past_calls_back_in_a_later_iteration(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        runtime.timer(lambda: recorder.note("fired")).set(runtime.now() - 5)
        assert recorder.log == []
        await recorder.until_notified("fired")

    backend.play(scenario)


def test_a_timer_that_is_set_again_calls_back_once_at_the_last_deadline(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        early, late = runtime.timer(lambda: recorder.note("early")), runtime.timer(lambda: recorder.note("late"))
        never = runtime.timer(lambda: recorder.note("never"))
        early.set(runtime.now() + 60)
        late.set(runtime.now() + 0.001)
        never.set(runtime.now() + 0.001)
        early.set(runtime.now() + 0.02)
        late.set(runtime.now() + 0.05)
        never.set(None)
        never.set(None)
        await recorder.until_notified("late")
        assert recorder.log == ["early", "late"]

    backend.play(scenario)


def test_a_timer_may_be_set_in_its_callback(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)

        def fired() -> None:
            recorder.note("fired")
            if len(recorder.log) < 3:
                timer.set(runtime.now())

        timer = runtime.timer(fired)
        timer.set(runtime.now())
        await recorder.until(lambda: len(recorder.log) == 3)
        await iterations(runtime, 10)
        assert len(recorder.log) == 3

    backend.play(scenario)


def test_a_callback_may_cancel_another_timer(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        second = runtime.timer(lambda: recorder.note("second"))
        first = runtime.timer(lambda: second.set(None))
        third = runtime.timer(lambda: recorder.note("third"))
        now = runtime.now()
        first.set(now)
        second.set(now + 0.02)
        third.set(now + 0.03)
        await recorder.until_notified("third")
        assert recorder.log == ["third"]

    backend.play(scenario)


def test_a_callback_may_cancel_another_timer_that_is_due(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)

        def fired(other: Timer) -> None:
            recorder.note("fired")
            other.set(None)

        one, other = runtime.timer(lambda: fired(other)), runtime.timer(lambda: fired(one))
        last = runtime.timer(lambda: recorder.note("last"))
        await iterations(runtime, 3)
        now = runtime.now()
        one.set(now)
        other.set(now)
        last.set(now + 0.02)
        await recorder.until_notified("last")
        assert recorder.log == ["fired", "last"]

    backend.play(scenario)


@pytest.mark.parametrize("seconds", [30 * 86_400.0, 1e10, inf], ids=["30 days", "centuries", "for ever"])
def test_a_far_deadline_is_valid(backend: Backend, seconds: float) -> None:
    """Operating systems limit the length of a wait: epoll to 24.8 days."""

    async def scenario(runtime: Runtime) -> None:
        far, recorder = runtime.timer(lambda: recorder.note("far")), Recorder(runtime)
        far.set(runtime.now() + seconds)
        await iterations(runtime, 3)
        with LoopbackServer(echo) as server:
            stream, answer = await connected(runtime, server)
            stream.write(b"x")
            await answer.until(lambda: answer.data == b"x")
            stream.abort()
        far.set(runtime.now())
        await recorder.until_notified("far")

    backend.play(scenario)


def test_a_timer_that_is_set_does_not_outlive_its_scope(backend: Backend) -> None:
    fired: list[bool] = []

    async def main() -> None:
        async with backend.open_runtime() as runtime:
            with runtime.lock:
                runtime.timer(lambda: fired.append(True)).set(runtime.now() + 0.001)
        async with backend.open_runtime() as runtime:
            with runtime.lock:
                recorder = Recorder(runtime)
                runtime.timer(lambda: recorder.note("later")).set(runtime.now() + 0.02)
                await recorder.until_notified("later")

    backend.run(main)
    assert not fired


def test_callbacks_run_in_order_in_a_later_iteration(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        for number in range(100):
            runtime.call_soon(lambda number=number: recorder.note(str(number)))  # type: ignore[misc]  # mypy wants its type
        runtime.call_soon(lambda: runtime.call_soon(lambda: recorder.note("again")))
        assert recorder.log == []
        await recorder.until_notified("again")
        assert recorder.log == [*map(str, range(100)), "again"]

    backend.play(scenario)


# Futures


def test_all_waiting_tasks_get_the_first_result(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        future, results = runtime.future(), []
        done = Recorder(runtime)

        async def waiter() -> None:
            results.append(await runtime.wait(future))
            done.note("waited")

        for _ in range(3):
            runtime.spawn(waiter, "waiter")
        await iterations(runtime, 3)
        assert not future.done
        future.resolve("first")
        future.resolve("second")
        future.fail(ValueError("third"))
        assert future.done
        await done.until(lambda: len(results) == 3)
        assert results == ["first"] * 3
        assert await runtime.wait(future) == "first"

    backend.play(scenario)


def test_a_future_that_failed_raises(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        future = runtime.future()
        future.fail(ValueError("no"))
        future.resolve("yes")
        assert future.done
        with pytest.raises(ValueError, match="no"):
            await runtime.wait(future)

    backend.play(scenario)


def test_a_future_may_fail_during_a_wait(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        future = runtime.future()
        runtime.call_soon(lambda: future.fail(ValueError("no")))
        with pytest.raises(ValueError, match="no"):
            await runtime.wait(future)

    backend.play(scenario)


@asynchronous
def test_cancelling_one_wait_does_not_affect_the_others(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        future, done, results = runtime.future(), runtime.future(), []

        async def waiter() -> None:
            results.append(await runtime.wait(future))
            done.resolve()

        gone = runtime.spawn(waiter, "gone")
        runtime.spawn(waiter, "stays")
        await iterations(runtime, 3)
        gone.cancel()
        await iterations(runtime, 3)
        future.resolve(1)
        await runtime.wait(done)
        await iterations(runtime, 3)
        assert results == [1]

    backend.play(scenario)


# Tasks and the application's code

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


def test_a_task_runs_in_a_copy_of_the_context(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        done, seen = runtime.future(), []

        async def task() -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("inner")
            done.resolve()

        token = VARIABLE.set("outer")
        runtime.spawn(task, "task")
        await runtime.wait(done)
        assert seen == ["outer"]
        assert VARIABLE.get() == "outer"
        VARIABLE.reset(token)

    backend.play(scenario)


@asynchronous
def test_a_task_can_be_cancelled(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        ended = runtime.future()

        async def task() -> None:
            try:
                await runtime.wait(runtime.future())
            finally:
                ended.resolve()

        running = runtime.spawn(task, "task")
        await iterations(runtime, 3)
        running.cancel()
        await runtime.wait(ended)

    backend.play(scenario)


def test_plain_functions_of_the_application_are_called(backend: Backend) -> None:
    def fail() -> None:
        raise LookupError("of the application")

    async def scenario(runtime: Runtime) -> None:
        assert await runtime.call(divmod, 7, 4) == (1, 3)
        with pytest.raises(LookupError, match="of the application"):
            await runtime.call(fail)

    backend.play(scenario)


@asynchronous
def test_async_functions_of_the_application_are_awaited(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        future = runtime.future()

        async def handler(value: int) -> int:
            await runtime.wait(future)
            return value + 1

        runtime.call_soon(future.resolve)
        assert await runtime.call(handler, 1) == 2

    backend.play(scenario)


@asynchronous
def test_the_applications_code_is_cancelled_with_the_scope(backend: Backend) -> None:
    seen: list[type[BaseException]] = []

    async def scenario(runtime: Runtime) -> None:
        async def handler() -> None:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class() as error:
                seen.append(type(error))
                raise

        async def task() -> None:
            try:
                await runtime.call(handler)
            except BaseException as error:
                seen.append(type(error))
                raise

        runtime.spawn(task, "task")
        await iterations(runtime, 3)

    backend.play(scenario)
    assert len(seen) == 2
    assert seen[0] is seen[1]


@pytest.mark.parametrize("name", ["asyncio", "anyio-asyncio"])
def test_a_cancellation_inside_the_applications_code_is_an_error(name: str) -> None:
    backend = next(backend for backend in BACKENDS if backend.name == name)

    async def scenario(runtime: Runtime) -> None:
        async def handler() -> None:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

        with pytest.raises(StateError, match=r"handler.*cancelled") as caught:
            await runtime.call(handler)
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)

    backend.play(scenario)


# Threads


@asynchronous
def test_the_clock_and_waiting_raise_in_another_thread(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        future, errors = runtime.future(), []

        def use() -> None:
            for function in (runtime.now, lambda: runtime.wait(future).send(None)):
                try:
                    function()
                except StateError as error:
                    errors.append(str(error))

        thread = Thread(target=use)
        thread.start()
        thread.join()
        assert len(errors) == 2
        assert all(error.startswith("called from another thread") for error in errors)
        future.resolve("value")
        assert await runtime.wait(future) == "value"

    backend.play(scenario)


# The end of the scope


class BaseError(BaseException):
    """An exception that no library knows."""


@pytest.mark.parametrize(
    "error",
    [
        LookupError("bare"),
        ExceptionGroup("the body's own", [ValueError(1)]),
        ExceptionGroup("the body's own", [ValueError(1), ExceptionGroup("inner", [KeyError(2)])]),
        BaseError("bare"),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
    ids=repr,
)
def test_an_exception_of_the_body_is_raised_without_a_group(backend: Backend, error: BaseException) -> None:
    cause, context = OSError("the cause"), OSError("the context")
    error.__cause__, error.__context__ = cause, context
    caught: list[BaseException] = []

    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            await connected(runtime, server)
            runtime.spawn(lambda: _wait_for_ever(runtime), "waits for ever")
            runtime.timer(lambda: None).set(runtime.now() + 60)
            await iterations(runtime, 3)
            raise error

    async def main() -> None:
        try:
            async with backend.open_runtime() as runtime:
                with runtime.lock:
                    await scenario(runtime)
        except BaseException as raised:
            caught.append(raised)

    backend.run(main)
    assert caught == [error]
    assert caught[0] is error
    assert error.__cause__ is cause
    assert error.__context__ is context


async def _wait_for_ever(runtime: Runtime) -> None:
    try:
        await runtime.wait(runtime.future())
    except DisconnectedError:  # the way in which a thread is cancelled
        return


Cancel = Callable[[], Any]


async def _cancelled_in_asyncio(body: Callable[[Cancel], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        await body(task.cancel)
    assert task.uncancel() == 0


async def _cancelled_in_trio(body: Callable[[Cancel], Coroutine[Any, Any, None]]) -> None:
    with trio.CancelScope() as scope:
        await body(scope.cancel)
    assert scope.cancelled_caught


async def _cancelled_in_anyio(body: Callable[[Cancel], Coroutine[Any, Any, None]]) -> None:
    with anyio.CancelScope() as scope:
        await body(scope.cancel)
    assert scope.cancelled_caught


CANCELLED = [
    ("asyncio", _cancelled_in_asyncio),
    ("asyncio", _cancelled_in_anyio),
    ("trio", _cancelled_in_trio),
    ("anyio-asyncio", _cancelled_in_asyncio),
    ("anyio-asyncio", _cancelled_in_anyio),
    ("anyio-trio", _cancelled_in_anyio),
    ("anyio-trio", _cancelled_in_trio),
]


@pytest.mark.parametrize(("name", "cancelled"), CANCELLED)
def test_a_cancelled_scope_ends_at_once(
    name: str, cancelled: Callable[[Callable[[Cancel], Coroutine[Any, Any, None]]], Coroutine[Any, Any, None]]
) -> None:
    backend = next(backend for backend in BACKENDS if backend.name == name)
    ended: list[str] = []

    async def task(runtime: Runtime) -> None:
        try:
            await runtime.wait(runtime.future())
        finally:
            ended.append("task")

    async def body(cancel: Cancel) -> None:
        with LoopbackServer(swallow, receive_buffer=1 << 16) as server:
            async with backend.open_runtime() as runtime:
                stream, _ = await connected(runtime, server)
                stream.write(b"x" * (16 * MEGABYTE))
                runtime.spawn(lambda: task(runtime), "task")
                await iterations(runtime, 3)
                runtime.call_soon(cancel)
                await runtime.wait(runtime.future())

    backend.run(lambda: cancelled(body))
    assert ended == ["task"]


@asynchronous
def test_a_scope_waits_for_the_cleanup_of_its_tasks(backend: Backend) -> None:
    ended: list[str] = []

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            ended.append("cleaned up")

    async def scenario(runtime: Runtime) -> None:
        runtime.spawn(task, "task")
        await iterations(runtime, 3)

    backend.play(scenario)
    assert ended == ["cleaned up"]


@asynchronous
def test_a_task_that_swallows_its_cancellation_ends_at_its_next_wait(backend: Backend) -> None:
    ended: list[str] = []

    async def scenario(runtime: Runtime) -> None:
        async def task() -> None:
            try:
                await runtime.wait(runtime.future())
            except BaseException:
                ended.append("swallowed")
            try:
                await runtime.wait(runtime.future())
            finally:
                ended.append("ended")

        runtime.spawn(task, "task")
        await iterations(runtime, 3)

    backend.play(scenario)
    assert ended == ["swallowed", "ended"]


def test_waiting_raises_once_the_scope_has_ended(backend: Backend) -> None:
    async def main() -> None:
        async with backend.open_runtime() as runtime:
            pass
        with runtime.lock:
            done, never = runtime.future(), runtime.future()
            done.resolve("kept")
            assert await runtime.wait(done) == "kept"
            with pytest.raises(DisconnectedError, match="its scope has ended"):
                await runtime.wait(never)

    backend.run(main)


def test_a_future_that_outlives_its_runtime_is_resolved_after_the_end(backend: Backend) -> None:
    async def main() -> None:
        async with backend.open_runtime() as outer:
            # In threads both runtimes share one lock, as the runs of a Manager do.
            scope = blocking_runtime(cast("RLock", outer.lock)) if backend.name == "threads" else backend.open_runtime()
            recorder = Recorder(outer)
            async with scope as runtime:
                with runtime.lock:
                    future = runtime.future(outlives_runtime=True)

                    async def task() -> None:
                        assert await runtime.wait(future) == "value"
                        recorder.note("resolved")

                    outer.spawn(task, "waits")
                    await iterations(outer, 3)
            with outer.lock:
                await iterations(outer, 3)
                assert recorder.log == []
                outer.call_soon(lambda: future.resolve("value"))
                assert await runtime.wait(future) == "value"
                await recorder.until_notified("resolved")

    backend.run(main)


def test_open_streams_end_with_the_scope(backend: Backend) -> None:
    recorders: list[Recorder] = []

    async def scenario(runtime: Runtime) -> None:
        for _ in range(3):
            _, recorder = await connected(runtime, server)
            recorders.append(recorder)

    with LoopbackServer(swallow) as server:
        backend.play(scenario)
        assert [server.reports.get(timeout=30) for _ in range(3)] == [b""] * 3
    assert all(recorder.log == ["opened"] for recorder in recorders)
