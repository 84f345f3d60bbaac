"""Ctrl-C at chosen lines of library code: everything ends, nothing is left, and KeyboardInterrupt is raised.

A trace function counts the lines of library code that the main thread executes, and sends the signal at one of them. Each
test does this for lines that are evenly distributed over a program. `python -m tests.faults.interrupts` does the same at random
moments, with signals from outside.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import anyio
import pytest
import trio

import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_blocking
import sansio_socketio_trio
from sansio_socketio_blocking import _interrupts
from tests.support.drivers import PATIENCE
from tests.support.runtimes import LoopbackServer
from tests.support.websocket_server import serve

pytestmark = [
    pytest.mark.timeout(120),
    # An interrupt may arrive between the call of an async function of the application and its first step.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.skipif(
        threading.current_thread() is not threading.main_thread(), reason="signals need the main thread"
    ),
]
SAMPLES = 20
"""The number of lines that are interrupted in each program."""
OPTIONS: dict[str, Any] = {"transports": ["websocket"], "close_timeout": 5}


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """No tool measures coverage in these tests.

    On CPython 3.11, a traced thread calls a function for ever while a signal is pending that the main thread has not handled.
    If it has a lock for which the main thread waits, the signal is never handled.
    """
    main_thread, other_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    yield
    sys.settrace(main_thread)
    threading.settrace(other_threads)


# The programs


def blocking_connect(url: str) -> None:
    with sansio_socketio_blocking.connect(url, **OPTIONS) as socket:
        socket.on("n", lambda number: None)
        for _ in range(3):
            socket.emit("x")
            socket.emit_with_ack("x")


def blocking_manager(url: str) -> None:
    manager = sansio_socketio_blocking.Manager(url, **OPTIONS)
    socket = manager.socket("/")
    with manager, socket.events() as events:
        for _ in range(3):
            socket.emit_nowait("x")
            next(events)


def blocking_open(url: str) -> None:
    manager = sansio_socketio_blocking.Manager(url, **OPTIONS)
    socket = manager.socket("/")
    try:
        manager.open()
        socket.wait_connected()
        manager.on("close", lambda reason, details: None)
        socket.emit_with_ack("x")
    finally:
        manager.close()


def blocking_io(url: str) -> None:
    with sansio_socketio_blocking.open_io(url) as io:
        socket = io(**OPTIONS)
        socket.emit_with_ack("x")
        socket.disconnect()


async def connect(module: Any, url: str) -> None:
    async def handle(number: int) -> None:
        pass

    async with module.connect(url, **OPTIONS) as socket:
        socket.on("n", handle)
        for _ in range(3):
            await socket.emit("x")
            await socket.emit_with_ack("x")


async def manager_and_events(module: Any, url: str) -> None:
    manager = module.Manager(url, **OPTIONS)
    socket = manager.socket("/")
    async with manager, socket.events() as events:
        for _ in range(3):
            socket.emit_nowait("x")
            await anext(events)


async def open_io(module: Any, url: str) -> None:
    async with module.open_io(url) as io:
        socket = io(**OPTIONS)
        await socket.emit_with_ack("x")
        await socket.disconnect()


BLOCKING = [blocking_connect, blocking_manager, blocking_open, blocking_io]
ASYNC = [connect, manager_and_events, open_io]


def _blocking(program: Callable[[str], None], url: str, finished: Callable[[], None]) -> None:
    program(url)
    finished()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:  # the interrupt may have been too late to stop the program
        time.sleep(0.001)


async def _async(program: Any, module: Any, url: str, finished: Callable[[], None]) -> None:
    await program(module, url)
    finished()
    await anyio.sleep(PATIENCE)


BACKENDS: list[tuple[str, Any, Callable[..., object]]] = [
    ("asyncio", sansio_socketio_asyncio, lambda main, *args: asyncio.run(main(*args))),
    ("trio", sansio_socketio_trio, trio.run),
    ("anyio-asyncio", sansio_socketio_anyio, anyio.run),
    ("anyio-trio", sansio_socketio_anyio, partial(anyio.run, backend="trio")),
]
Program = Callable[[str, Callable[[], None]], object]
"""Called with the URL of the server, and a function to call when the program has finished."""
RUNS: dict[str, Program] = {
    **{f"blocking-{program.__name__}": partial(_blocking, program) for program in BLOCKING},
    **{
        f"{name}-{program.__name__}": partial(run, _async, program, module)
        for name, module, run in BACKENDS
        for program in ASYNC
    },
}


# Where the interrupt is raised in the blocking driver


def _interrupt_main_thread() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_an_interrupt_ends_a_wait_of_the_main_thread() -> None:
    interrupted = threading.Event()

    def interrupt(number: int) -> None:
        while True:
            _interrupt_main_thread()
            if interrupted.wait(5):  # CPython loses a signal that arrives just before a thread waits for a lock
                break

    def wait() -> None:
        with sansio_socketio_blocking.connect(f"http://127.0.0.1:{server.port}", **OPTIONS) as socket:
            socket.on("n", interrupt)
            try:
                socket.emit("x")
                socket.wait_closed()
            finally:
                interrupted.set()

    with LoopbackServer(serve) as server, pytest.raises(KeyboardInterrupt):
        wait()


def test_an_interrupt_is_raised_at_once_in_code_of_the_application() -> None:
    went_on: list[str] = []

    def interrupt() -> None:
        with sansio_socketio_blocking.Manager("http://localhost", auto_connect=False):
            signal.raise_signal(signal.SIGINT)
            went_on.append("the application's code")

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert went_on == []


def test_an_interrupt_in_code_of_the_client_is_raised_when_that_is_done() -> None:
    manager = sansio_socketio_blocking.Manager("http://localhost", auto_connect=False)
    went_on: list[str] = []
    manager._core.link.on_start.append(partial(signal.raise_signal, signal.SIGINT))
    manager._core.link.on_start.append(lambda: went_on.append("the Manager was started"))

    def run() -> None:
        with manager:
            time.sleep(PATIENCE)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert went_on == ["the Manager was started"]


def test_a_loop_that_only_calls_the_client_is_interrupted() -> None:
    """Another thread can send a signal when the main thread does I/O, so that it always arrives in library code."""
    signals = threading.Timer(0.1, _interrupt_main_thread)

    def emit() -> None:
        with sansio_socketio_blocking.connect(f"http://127.0.0.1:{server.port}", **OPTIONS) as socket:
            signals.start()
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                for _ in range(1000):
                    socket.volatile.emit("silent")

    with LoopbackServer(serve) as server, pytest.raises(KeyboardInterrupt):
        emit()
    signals.join()


def test_another_handler_of_the_signal_is_not_replaced() -> None:
    def handle(number: int, frame: FrameType | None) -> None: ...

    before = signal.signal(signal.SIGINT, handle)
    try:
        with sansio_socketio_blocking.Manager("http://localhost", auto_connect=False):
            assert signal.getsignal(signal.SIGINT) is handle
        assert signal.getsignal(signal.SIGINT) is handle
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_manager_that_runs_keeps_interrupts_delayed_when_another_one_ends() -> None:
    with sansio_socketio_blocking.Manager("http://localhost", auto_connect=False):
        with sansio_socketio_blocking.Manager("http://localhost", auto_connect=False):
            handler = signal.getsignal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_starts_and_ends_a_manager_without_handling_signals() -> None:
    seen: list[object] = []

    def run() -> None:
        with sansio_socketio_blocking.Manager("http://localhost", auto_connect=False):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


# The interrupts


class Interrupter:
    """Sends SIGINT at some lines of library code, and when the program has finished if none has been reached.

    Attributes:
        lines: The number of lines of library code that the main thread has executed.
    """

    def __init__(self, *at: int) -> None:
        self.lines = 0
        self._at = at

    def run(self, program: Program, url: str) -> None:
        """Run the program."""
        sys.settrace(self._trace)
        try:
            program(url, self._finished)
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_globals.get("__name__", "").startswith("sansio_socketio"):
            return None
        if event == "line":
            self.lines += 1
            if self.lines in self._at:
                signal.raise_signal(signal.SIGINT)
        return self._trace

    def _finished(self) -> None:
        at, self._at = self._at, ()
        if not any(line <= self.lines for line in at):
            signal.raise_signal(signal.SIGINT)


class DelayedSignals:
    """Signals that the blocking driver will send again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._threads: set[object] = set()
        monkeypatch.setattr(_interrupts, "start_new_thread", self._start_new_thread)

    def _start_new_thread(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        key = object()
        self._threads.add(key)

        def run() -> None:
            function(*args)
            self._threads.discard(key)

        start_new_thread(run, ())

    def wait(self) -> None:
        """Wait until all of them have arrived, or one has."""
        while self._threads:
            time.sleep(0.001)


@pytest.fixture
def delayed(monkeypatch: pytest.MonkeyPatch) -> DelayedSignals:
    return DelayedSignals(monkeypatch)


@pytest.mark.parametrize("program", RUNS.values(), ids=RUNS)
def test_an_interrupt_at_any_line_of_library_code_ends_the_program(
    program: Program, caplog: pytest.LogCaptureFixture, delayed: DelayedSignals
) -> None:
    _interrupt_everywhere(program, caplog, delayed)


@pytest.mark.parametrize(
    "program", [pytest.param(run, id=name) for name, run in RUNS.items() if name.startswith(("blocking", "trio"))]
)
def test_a_second_interrupt_leaves_nothing_either(
    program: Program, caplog: pytest.LogCaptureFixture, delayed: DelayedSignals
) -> None:
    """asyncio raises the second one wherever it arrives, which the library cannot prevent."""
    _interrupt_everywhere(program, caplog, delayed, again=50)


def _interrupt_everywhere(
    program: Program, caplog: pytest.LogCaptureFixture, delayed: DelayedSignals, *, again: int = 0
) -> None:
    with LoopbackServer(serve) as server:
        url = f"http://127.0.0.1:{server.port}"
        first = Interrupter()
        with pytest.raises(KeyboardInterrupt):
            first.run(program, url)
        for line in range(1, first.lines, max(1, first.lines // SAMPLES)):
            raised: list[BaseException] = []
            try:  # around everything, because a delayed interrupt may be raised anywhere
                try:
                    Interrupter(line, line + again).run(program, url)
                except BaseException as error:
                    raised.append(error)
                delayed.wait()
            except KeyboardInterrupt as error:
                raised.append(error)
            assert {type(error) for error in raised} == {KeyboardInterrupt}, f"line {line}"
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert not caplog.messages, f"line {line}"
            left = {thread.name for thread in threading.enumerate() if thread.name.startswith("sansio-socketio")}
            assert not left, f"line {line}"


@pytest.mark.parametrize(
    ("module", "run"), [pytest.param(*others, id=name) for name, *others in BACKENDS if name.endswith("asyncio")]
)
def test_an_interrupt_in_any_iteration_of_the_end_is_raised(module: Any, run: Callable[..., object]) -> None:
    sent: list[int] = []

    async def main(url: str, iterations: int) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def count(left: int) -> None:
            if left:
                loop.call_soon(count, left - 1)
            elif not task.done():
                sent.append(iterations)
                signal.raise_signal(signal.SIGINT)

        manager = module.Manager(url, **OPTIONS)
        socket = manager.socket("/")
        async with manager, socket.events() as events:
            socket.emit_nowait("x")
            await anext(events)
            count(iterations)

    raised: list[int] = []
    with LoopbackServer(serve) as server:
        for iterations in range(100):
            try:
                run(main, f"http://127.0.0.1:{server.port}", iterations)
            except KeyboardInterrupt:
                raised.append(iterations)
            assert raised == sent
            if iterations not in sent:
                break  # the program has finished before
    assert len(sent) > 3


def test_an_interrupt_that_was_delayed_is_raised_by_a_wait_that_begins_earlier() -> None:
    _interrupts.interruptible.delay(sys._getframe().f_back or sys._getframe())  # whose next line comes later
    with pytest.raises(KeyboardInterrupt), _interrupts.interruptible(lambda: None) as is_interrupted:
        assert is_interrupted()
    with _interrupts.interruptible(lambda: None) as is_interrupted:
        assert not is_interrupted()
