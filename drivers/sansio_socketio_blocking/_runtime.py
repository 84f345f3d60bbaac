"""The services of `client.runtime`, by threads: one that does all input and output, and one for each thing beside.

Rules of this file:

- The runtime is a monitor. Whoever runs client code holds the lock; it is let go of in `select`, in `wait` and while the
  application's code is called.
- The network thread alone touches streams' sockets and the selector. Everybody else hands it callbacks (`call_soon`).
- Looking up a name blocks, so each stream has a thread for that. Connecting does not block: the network thread does it,
  to one address after the other without waiting long for any (happy eyeballs).
- All threads are daemons: one that cannot be ended is left, with a warning if it runs the application's code.
- In a forked child the descriptors are copies. They are closed there, which the peer does not see.
"""

from __future__ import annotations

import os
import socket
import threading
import warnings
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from inspect import iscoroutine
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from typing import Any
from weakref import WeakSet

from sansio_socketio.client.runtime import Cell, StreamReceiver
from sansio_socketio.protocol.errors import DisconnectedError, StateError

_CHUNK = 1 << 18  # bytes read at once
_HAPPY_EYEBALLS_DELAY = 0.25  # seconds (RFC 8305, section 5)


class BlockingCell:
    """A result that threads wait for. Like all client code, it is used while the lock is held."""

    __slots__ = ("_error", "_lock", "_value", "condition", "done")

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self.done = False
        self.condition: threading.Condition | None = None  # for many cells it is never needed
        self._value: Any = None
        self._error: BaseException | None = None

    def set(self, value: Any = None) -> None:
        """Give a value; the first result counts."""
        if not self.done:
            self.done = True
            self._value = value
            if self.condition is not None:
                self.condition.notify_all()

    def fail(self, error: BaseException) -> None:
        """Give an error to raise; the first result counts."""
        if not self.done:
            self._error = error
            self.set()

    def block(self, timeout: float | None) -> None:
        """Wait once, without the lock: until there is a result, or `timeout` seconds are over."""
        if self.condition is None:
            self.condition = threading.Condition(self._lock)
        self.condition.wait(timeout)

    def result(self) -> Any:
        """The value; or raises the error."""
        if self._error is not None:
            raise self._error
        return self._value


class BlockingTimer:
    """One deadline, which the network thread looks at before it sleeps."""

    __slots__ = ("_runtime", "callback", "deadline")

    def __init__(self, runtime: BlockingRuntime, callback: Callable[[], None]) -> None:
        self._runtime = runtime
        self.callback = callback
        self.deadline = 0.0

    def set(self, deadline: float | None) -> None:
        """Call back at `deadline`, instead of when it was set before; None: never."""
        if deadline is None:
            self._runtime.armed.discard(self)
        else:
            self.deadline = deadline
            self._runtime.armed.add(self)
            self._runtime.wake()


class BlockingTask:
    """A thread beside."""

    def cancel(self) -> None:
        """Nothing makes a thread end: it does when what it waits for comes, or fails."""


class BlockingStream:
    """A stream: a name that is looked up, then sockets that connect, then one of them. Without receiver once told off."""

    def __init__(self, runtime: BlockingRuntime, host: str, port: int, receiver: StreamReceiver) -> None:
        self._runtime = runtime
        self._receiver: StreamReceiver | None = receiver
        self._addresses: deque[Any] = deque()
        self._errors: list[OSError] = []
        self.sockets: list[socket.socket] = []  # those that connect; once it is open, the one
        self._written: list[bytes | bytearray | memoryview] = []
        self._leaving = memoryview(b"")  # what the operating system did not take yet
        self._stuck = False  # so the network thread waits until it takes more
        self._broken: OSError | None = None  # writing failed; what can still be read may tell why
        self._next_address = runtime.timer(self._connect)
        runtime.start_thread(partial(self._look_up, host, port), f"looks up {host}")

    # From any thread

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes, for the network thread's next turn."""
        if not self._written and not self._leaving:
            self._runtime.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Close once all has left; while still opening, at once."""
        self._receiver = None
        if not self._written and not self._leaving:
            self._runtime.call_soon(self.shut)

    def abort(self) -> None:
        """Close at once, also while opening."""
        self._receiver = None
        self._runtime.call_soon(self.shut)

    # From the thread that looks up the name

    def _look_up(self, host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as error:  # a name can be wrong in several ways; it is not lost, but told
            with self._runtime.lock:
                self._runtime.call_soon(partial(self._fail, error))
        else:
            with self._runtime.lock:
                self._addresses.extend(found)
                self._runtime.call_soon(self._connect)

    # From the network thread

    def shut(self) -> None:
        """Let go of the sockets."""
        self._receiver = None
        self._next_address.set(None)
        self._runtime.streams.discard(self)
        while self.sockets:
            self._drop(self.sockets[0])

    def _fail(self, error: Exception) -> None:
        receiver = self._receiver
        self.shut()
        if receiver is not None:
            receiver.failed(error)

    def _connect(self) -> None:
        """Try the next address, beside those that are being tried."""
        while self._addresses and self._receiver is not None:
            family, kind, protocol, _, address = self._addresses.popleft()
            try:
                self._try(socket.socket(family, kind, protocol), address)
            except OSError as error:
                self._errors.append(error)
            else:
                self._next_address.set(monotonic() + _HAPPY_EYEBALLS_DELAY)
                return
        if not self.sockets:
            self._fail(self._errors[0] if len(self._errors) == 1 else OSError("; ".join(map(str, self._errors))))

    def _try(self, sock: socket.socket, address: Any) -> None:
        self.sockets.append(sock)
        try:
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(address)
            self._runtime.selector.register(sock, EVENT_WRITE, partial(self._connected, sock, address))
        except OSError:
            self.sockets.remove(sock)
            sock.close()
            raise

    def _connected(self, sock: socket.socket, address: Any, _: int) -> None:
        if sock not in self.sockets:
            return
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._errors.append(OSError(code, f"{os.strerror(code)} ({address[0]} port {address[1]})"))
            self._drop(sock)
            self._connect()
        elif self._receiver is not None:
            self._addresses.clear()
            self._next_address.set(None)
            for other in set(self.sockets) - {sock}:
                self._drop(other)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._runtime.selector.modify(sock, EVENT_READ, self._ready)
            self._receiver.opened()

    def _drop(self, sock: socket.socket) -> None:
        self.sockets.remove(sock)
        self._runtime.selector.unregister(sock)
        sock.close()

    def _ready(self, events: int) -> None:
        if events & EVENT_READ:
            self._read()
        if events & EVENT_WRITE:
            self._flush()

    def _read(self) -> None:
        if not self.sockets:
            return
        try:
            data = self.sockets[0].recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if not data:
            self._end(self._broken)
        elif self._receiver is not None:
            self._receiver.received(data)

    def _end(self, error: Exception | None) -> None:
        receiver = self._receiver
        self.shut()
        if receiver is not None:
            receiver.closed(error)

    def _flush(self) -> None:
        if not self.sockets:
            return
        if not self._leaving:
            self._leaving = memoryview(b"".join(self._written))
            self._written.clear()
        try:
            self._leaving = self._leaving[self.sockets[0].send(self._leaving) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._broken = error
            self._leaving = memoryview(b"")
            self._written.clear()
        left = bool(self._leaving or self._written)
        if left != self._stuck:
            self._stuck = left
            self._runtime.selector.modify(self.sockets[0], EVENT_READ | (EVENT_WRITE if left else 0), self._ready)
        if left:
            return
        if self._receiver is None:
            self.shut()
        elif self._broken is None:
            self._receiver.sent()


class BlockingRuntime:
    """The services, and the network thread."""

    def __init__(self, close_timeout: float) -> None:
        self.selector = DefaultSelector()
        self.streams: set[BlockingStream] = set()
        self.armed: set[BlockingTimer] = set()
        self._close_timeout = close_timeout
        self._lock = threading.RLock()
        self._soon: deque[Callable[[], None]] = deque()
        self._waited_for: list[BlockingCell] = []
        self._threads: dict[threading.Thread, bool] = {}  # whether it runs the application's code
        self._deadline = _Deadline()
        self._asleep = False  # the network thread is, so it must be waked
        self._ended = False
        self._forked = False
        self._alarm, self._sleeper = socket.socketpair()
        self._sleeper.setblocking(False)
        self.selector.register(self._sleeper, EVENT_READ, self._waked)
        _runtimes.add(self)
        self.start_thread(self._run, "network")

    @property
    def lock(self) -> threading.RLock:
        """Held while client code runs. In a forked child nothing can run."""
        if self._forked:
            raise StateError("this connection belongs to the parent process: a forked child must open one of its own")
        return self._lock

    def now(self) -> float:
        """The monotonic clock."""
        return monotonic()

    def open_stream(self, host: str, port: int, receiver: StreamReceiver) -> BlockingStream:
        """Begin to open a TCP stream."""
        stream = BlockingStream(self, host, port, receiver)
        self.streams.add(stream)
        return stream

    def timer(self, callback: Callable[[], None]) -> BlockingTimer:
        """Make a timer that calls back, from the network thread."""
        return BlockingTimer(self, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back from the network thread."""
        self._soon.append(callback)
        self.wake()

    def cell(self) -> BlockingCell:
        """Make a place for a result."""
        return BlockingCell(self._lock)

    async def wait(self, cell: Cell) -> Any:
        """Block this thread until the cell has a result; TimeoutError when the thread's `deadline` comes before."""
        assert isinstance(cell, BlockingCell)
        self._waited_for.append(cell)
        try:
            while not cell.done:
                if self._ended:
                    raise self._nothing_comes()
                cell.block(self._deadline.left())
        finally:
            self._waited_for.remove(cell)
        return cell.result()

    @contextmanager
    def deadline(self, timeout: float | None) -> Generator[None, None, None]:
        """Let each `wait` of this thread raise TimeoutError once `timeout` seconds are over; None: never."""
        before = self._deadline.at
        self._deadline.at = None if timeout is None else monotonic() + timeout
        try:
            yield
        finally:
            self._deadline.at = before

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> BlockingTask:
        """Run `function()` in a thread."""
        self.start_thread(partial(copy_context().run, self._drive, function), name, runs_the_application=True)
        return BlockingTask()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, without the lock."""
        with self._unlocked():
            result = function(*args)
        if iscoroutine(result):
            result.close()
            name = getattr(function, "__qualname__", function)
            raise TypeError(f"{name} is an async function: with threads, nothing awaits it; make it a plain one")
        return result

    def start_thread(self, target: Callable[[], None], name: str, *, runs_the_application: bool = False) -> None:
        """Run something beside; the scope's end waits for it."""

        def run() -> None:
            try:
                target()
            finally:
                self._threads.pop(thread, None)

        thread = threading.Thread(target=run, name=f"sansio-socketio: {name}", daemon=True)
        self._threads[thread] = runs_the_application
        thread.start()

    def wake(self) -> None:
        """Have the network thread look at what there is to do."""
        if self._asleep:
            self._asleep = False
            self._alarm.send(b"!")

    def end(self) -> None:
        """End all that was started. What still runs after `close_timeout` is left."""
        if self._forked:
            return
        with self._lock:
            self._ended = True
            self.wake()
            self._release_waiters()
            threads = set(self._threads) - {threading.current_thread()}
            with self._unlocked():
                self._join(threads)

    def abandon(self) -> None:
        """In a forked child: the sockets and the threads are the parent's."""
        self._forked = self._ended = True
        self._lock = threading.RLock()  # one of the threads that are not here may have held the other
        self._let_go()

    def _run(self) -> None:
        with self._lock:
            try:
                while not self._ended:
                    self._take_turn()
            finally:
                self._ended = True
                self._release_waiters()
                self._let_go()

    def _take_turn(self) -> None:
        for _ in range(len(self._soon)):
            self._soon.popleft()()
        self._fire_timers()
        self._asleep = True
        with self._unlocked():
            ready = self.selector.select(self._time_to_sleep())
        self._asleep = False
        for key, events in ready:
            key.data(events)

    def _fire_timers(self) -> None:
        now = monotonic()
        for timer in sorted((timer for timer in self.armed if timer.deadline <= now), key=lambda timer: timer.deadline):
            if timer in self.armed and timer.deadline <= now:
                self.armed.discard(timer)
                timer.callback()

    def _time_to_sleep(self) -> float | None:
        if self._soon or self._ended:
            return 0
        if not self.armed:
            return None
        return max(0.0, min(timer.deadline for timer in self.armed) - monotonic())

    def _waked(self, _: int) -> None:
        self._sleeper.recv(_CHUNK)

    def _let_go(self) -> None:
        self._asleep = False
        self.selector.close()
        for sock in (self._alarm, self._sleeper, *(sock for stream in self.streams for sock in stream.sockets)):
            sock.close()

    def _release_waiters(self) -> None:
        for cell in self._waited_for:
            cell.fail(self._nothing_comes())

    def _nothing_comes(self) -> DisconnectedError:
        return DisconnectedError("the scope of this connection has ended: there is nothing to wait for any more")

    def _drive(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._lock:
            try:
                function().send(None)
            except StopIteration:
                pass
            except DisconnectedError:
                if not self._ended:
                    raise

    def _join(self, threads: set[threading.Thread]) -> None:
        until = monotonic() + self._close_timeout
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
            if thread.is_alive() and self._threads.get(thread):
                warnings.warn(
                    f"the thread {thread.name!r} still runs {self._close_timeout:g} s after its scope has ended, "
                    "since a handler does not return; it is left behind",
                    RuntimeWarning,
                    stacklevel=2,
                )

    @contextmanager
    def _unlocked(self) -> Generator[None, None, None]:
        depth = 0
        with suppress(RuntimeError):  # which tells that it is not held any more
            while True:
                self._lock.release()
                depth += 1
        try:
            yield
        finally:
            for _ in range(depth):
                self._lock.acquire()


class _Deadline(threading.local):
    """When the waiting of a thread must end."""

    at: float | None = None

    def left(self) -> float | None:
        """The seconds that are left, None where there is no deadline; TimeoutError where none are left."""
        if self.at is None:
            return None
        left = self.at - monotonic()
        if left <= 0:
            raise TimeoutError("what was waited for did not come within the call's timeout")
        return left


_runtimes: WeakSet[BlockingRuntime] = WeakSet()


def _abandon_all() -> None:
    for runtime in tuple(_runtimes):
        runtime.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


@asynccontextmanager
async def open_runtime(close_timeout: float = 5.0) -> AsyncGenerator[BlockingRuntime, None]:
    """A runtime with a network thread of its own. What it started ends with this scope, within `close_timeout`."""
    runtime = BlockingRuntime(close_timeout)
    try:
        yield runtime
    finally:
        runtime.end()
