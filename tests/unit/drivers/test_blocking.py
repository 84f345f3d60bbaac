"""The runtime for threads only: the lock, deadlines, threads that do not end, forks."""

from __future__ import annotations

import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable
from math import inf
from typing import Any

import pytest

import sansio_socketio_blocking._runtime as on_threads
from sansio_socketio.protocol.errors import DisconnectedError, StateError
from sansio_socketio.runtime import Future, NonblockingStream, Runtime
from sansio_socketio_blocking._runtime import BlockingRuntime, open_runtime
from tests.support.runtimes import LoopbackServer, Recorder, connected, drive, echo, iterations, swallow

pytestmark = pytest.mark.timeout(60)


def play(scenario: Callable[[BlockingRuntime], Any]) -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            with runtime.lock:
                await scenario(runtime)

    drive(main)


def test_the_applications_code_runs_without_the_lock() -> None:
    async def scenario(runtime: BlockingRuntime) -> None:
        def handler() -> str:
            taken: list[bool] = []
            other = threading.Thread(target=lambda: _take(runtime.lock, taken))
            other.start()
            other.join()
            return "another thread had it" if taken else "it was held"

        assert await runtime.call(handler) == "another thread had it"

    play(scenario)


def _take(lock: threading.RLock, taken: list[bool]) -> None:
    with lock:
        taken.append(True)


def test_an_async_handler_is_an_error() -> None:
    async def scenario(runtime: BlockingRuntime) -> None:
        async def handler() -> None: ...

        with pytest.raises(TypeError, match=r"handler is an async function, .*use a plain function"):
            await runtime.call(handler)

    play(scenario)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
def test_an_exception_that_would_end_the_thread_is_an_ordinary_error(error: BaseException) -> None:
    async def scenario(runtime: BlockingRuntime) -> None:
        def handler() -> None:
            raise error

        with pytest.raises(StateError, match=rf"handler raised {type(error).__name__}\(") as caught:
            await runtime.call(handler)
        assert caught.value.__cause__ is error

    play(scenario)


def test_a_wait_times_out_at_the_deadline() -> None:
    async def scenario(runtime: BlockingRuntime) -> None:
        done = runtime.future()
        done.resolve(1)
        with runtime.deadline(0.01):
            with pytest.raises(TimeoutError, match="timeout"):
                await runtime.wait(runtime.future())
            with pytest.raises(TimeoutError):
                await runtime.wait(runtime.future())
            assert await runtime.wait(done) == 1
            with runtime.deadline(None):
                await iterations(runtime)

    play(scenario)


@pytest.mark.parametrize("timeout", [30 * 86_400.0, 1e10, inf])
def test_a_long_timeout_is_waited_for_in_several_steps(monkeypatch: pytest.MonkeyPatch, timeout: float) -> None:
    monkeypatch.setattr("sansio_socketio_blocking._runtime.LONGEST_WAIT", 0.001)
    waits: list[float | None] = []

    class Watched(on_threads.LockedEvent):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) == 5:
                futures[0].resolve("value")
            return super().wait(timeout)

    async def scenario(runtime: BlockingRuntime) -> None:
        futures.append(runtime.future())
        with runtime.deadline(timeout):
            assert await runtime.wait(futures[0]) == "value"

    monkeypatch.setattr(on_threads, "LockedEvent", Watched)
    futures: list[Future] = []
    play(scenario)
    assert waits == [0.001] * 5


def test_a_deadline_applies_to_one_thread_and_one_call() -> None:
    async def scenario(runtime: BlockingRuntime) -> None:
        future, other = runtime.future(), Recorder(runtime)

        async def task() -> None:
            await runtime.wait(future)
            other.note("went on")

        runtime.spawn(task, "task")
        with runtime.deadline(0.01), pytest.raises(TimeoutError):
            await runtime.wait(runtime.future())
        future.resolve()
        await other.until_notified("went on")

    play(scenario)


def test_waiting_threads_are_woken_when_the_scope_ends() -> None:
    errors: list[Exception] = []

    def wait_for_ever(runtime: Runtime) -> None:
        async def main() -> None:
            with runtime.lock:
                await runtime.wait(runtime.future())

        try:
            drive(main)
        except DisconnectedError as error:
            errors.append(error)

    async def scenario(runtime: BlockingRuntime) -> None:
        threads.extend(threading.Thread(target=wait_for_ever, args=[runtime]) for _ in range(2))
        for thread in threads:
            thread.start()
        while len(runtime._waiting) < len(threads):
            await iterations(runtime)

    threads: list[threading.Thread] = []
    play(scenario)
    for thread in threads:
        thread.join()
    assert ["its scope has ended" in str(error) for error in errors] == [True, True]


def test_a_handler_that_does_not_return_is_abandoned_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_socketio_blocking._runtime._JOIN_TIMEOUT", 0.01)
    returns, left = threading.Event(), []

    async def scenario(runtime: BlockingRuntime) -> None:
        running = runtime.future()

        def handler() -> None:
            left.append(threading.current_thread())
            with runtime.lock:
                running.resolve()
            returns.wait()

        runtime.spawn(lambda: runtime.call(handler), "handler of 'news'")
        await runtime.wait(running)

    with pytest.warns(RuntimeWarning, match=r"handler of 'news'.* does not end: a handler is still running"):
        play(scenario)
    assert left[0].is_alive()
    assert left[0].daemon
    returns.set()
    left[0].join()


def test_a_scope_may_be_ended_by_one_of_its_threads() -> None:
    """The end does not wait for that thread."""
    scope = open_runtime()
    ended = threading.Event()

    async def leave() -> None:
        await scope.__aexit__(None, None, None)

    async def main() -> None:
        runtime = await scope.__aenter__()

        async def task() -> None:
            await runtime.call(drive, leave)
            ended.set()

        with runtime.lock:
            runtime.spawn(task, "leaves the scope")

    drive(main)
    assert ended.wait(30)


@pytest.mark.skipif(os.name == "nt", reason="os.kill() ends the process on Windows, whatever the signal")
def test_an_interrupt_ends_a_wait_at_once() -> None:
    interrupted = threading.Event()

    def interrupt() -> None:
        # CPython loses a signal that arrives just before a thread waits for a lock, so send it again, as a user would.
        while not interrupted.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            interrupted.wait(0.5)

    async def scenario(runtime: BlockingRuntime) -> None:
        with LoopbackServer(echo) as server:
            await connected(runtime, server)
            runtime.spawn(lambda: runtime.call(interrupt), "interrupts")
            try:
                await runtime.wait(runtime.future())
            finally:
                interrupted.set()

    with pytest.raises(KeyboardInterrupt):
        play(scenario)


@pytest.mark.parametrize("error", [LookupError("a mistake"), SystemExit(1)], ids=repr)
def test_an_exception_in_the_network_thread_ends_the_runtime(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error

    async def scenario(runtime: BlockingRuntime) -> None:
        runtime.call_soon(fail)
        for _ in range(2):  # a call that is waiting, and one that waits later
            with pytest.raises(DisconnectedError) as caught:
                await runtime.wait(runtime.future())
            assert caught.value.__cause__ is error

    play(scenario)
    assert [(record.levelname, record.exc_info and record.exc_info[1]) for record in caplog.records] == [
        ("CRITICAL", error)
    ]


def test_a_stream_that_is_opened_after_the_end_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    monkeypatch.setattr(NonblockingStream, "_try", lambda self, sock, address: opened.append(sock))

    async def main() -> BlockingRuntime:
        async with open_runtime() as runtime:
            return runtime

    runtime = drive(main)
    with runtime.lock:
        runtime.open_stream("127.0.0.1", 9, Recorder(runtime))
    for thread in threading.enumerate():
        if thread.name.startswith("sansio-socketio"):
            thread.join()
    assert opened == []


def test_an_address_that_is_found_after_the_end_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_threads, "_JOIN_TIMEOUT", 0.0)
    began, may_end, opened = threading.Event(), threading.Event(), list[socket.socket]()

    def look_up(host: str, port: int) -> Any:
        began.set()
        may_end.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))]

    async def scenario(runtime: BlockingRuntime) -> None:
        runtime.open_stream("127.0.0.1", 9, Recorder(runtime))
        await runtime.call(began.wait)

    monkeypatch.setattr("sansio_socketio.runtime.nonblocking.look_up", look_up)
    monkeypatch.setattr(NonblockingStream, "_try", lambda self, sock, address: opened.append(sock))
    play(scenario)
    may_end.set()
    for thread in threading.enumerate():
        if thread.name.startswith("sansio-socketio"):
            thread.join()
    assert opened == []


def test_a_forked_child_closes_its_copies_and_cannot_use_the_runtime() -> None:
    async def scenario(runtime: BlockingRuntime) -> None:
        with LoopbackServer(swallow) as server:
            stream, recorder = await connected(runtime, server)
            assert _in_a_child(lambda: _use_in_child(runtime)) == "as it should be"
            stream.write(b"still there")
            await recorder.until_notified("sent")
            stream.close()
            assert await server.next_report(runtime) == b"still there"

    play(scenario)


def _use_in_child(runtime: BlockingRuntime) -> str:
    left = [sock for sock in (runtime._waker,) if sock.fileno() != -1]
    if left or runtime._selector.get_map():
        return f"open: {left}"
    try:
        runtime.lock.acquire()
    except StateError as error:
        if "forked child" not in str(error):
            return str(error)
    runtime.end()
    with pytest.raises(DisconnectedError):
        drive(lambda: runtime.wait(runtime.future()))
    return "as it should be"


def test_a_fork_while_another_thread_holds_the_lock() -> None:
    async def scenario(runtime: BlockingRuntime) -> None:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with runtime.lock:
                held.set()
                done.wait()

        def fork_meanwhile() -> str:
            thread = threading.Thread(target=hold)
            thread.start()
            held.wait()
            result = _in_a_child(lambda: _use_in_child(runtime))
            done.set()
            thread.join()
            return result

        assert await runtime.call(fork_meanwhile) == "as it should be"

    play(scenario)


def test_forking_after_a_runtime_has_ended() -> None:
    async def main() -> BlockingRuntime:
        async with open_runtime() as runtime:
            return runtime

    runtime = drive(main)
    assert _in_a_child(lambda: str(runtime._forked)) == "False"


def _in_a_child(function: Callable[[], str]) -> str:
    """Call a function in a forked child and return its result."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forking with threads, which this tests
        child = os.fork()
    if child == 0:
        try:
            said = function()
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said
