"""The runtime interface on threads: a network thread for all I/O, and a thread for each task.

Rules of this file:

- The runtime is a monitor: a thread that runs client code holds the lock. The lock is released in `select`, in `wait` and
  while the application's code is called.
- Only the network thread uses the selector and the sockets of streams. Other threads pass callbacks to it (`call_soon`).
- Name resolution blocks, and so may a hook that opens a socket. Each stream has a thread for it.
- All threads are daemons. A thread that does not end is abandoned, with a warning if a handler is running in it.
- A forked child has copies of the file descriptors. It closes them, which does not affect the connection of the parent.
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
from math import inf
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sansio_socketio.protocol.errors import StateError
from sansio_socketio.runtime.calls import call_in_thread, log_failure
from sansio_socketio.runtime.clock import LONGEST_WAIT, Clock, total_suspension
from sansio_socketio.runtime.futures import EventFuture, runtime_ended
from sansio_socketio.runtime.interface import Future, StreamHook, StreamReceiver
from sansio_socketio.runtime.nonblocking import NonblockingStream
from sansio_socketio.runtime.timers import Deadlines, DeadlineTimer

from ._interrupts import interruptible, running

_JOIN_TIMEOUT = 1.0  # seconds to wait for all threads; the client has already waited for the handlers


class LockedEvent(threading.Condition):
    """An event for threads that hold the runtime's lock. Waiting releases the lock."""

    set = threading.Condition.notify_all


class BlockingTask:
    """A thread that runs client code."""

    def cancel(self) -> None:
        """Do nothing: a thread ends when the future that it waits for is done."""


class ThreadDeadline(threading.local):
    """The deadline of the current thread's waits."""

    time = inf


class BlockingRuntime:
    """The runtime, with its network thread."""

    def __init__(self, lock: threading.RLock | None, suspension: Callable[[], float] = total_suspension) -> None:
        self._clock = Clock(monotonic, suspension)
        self.failed: Callable[[BaseException], None] = log_failure
        self._failure: BaseException | None = None
        self._streams: WeakSet[NonblockingStream] = WeakSet()
        self._timers = Deadlines(self.wake)
        self._lock = lock or threading.RLock()
        self._selector = DefaultSelector()
        self._soon: deque[Callable[[], None]] = deque()
        self._waiting: list[EventFuture[LockedEvent]] = []
        self._deadline = ThreadDeadline()
        self._threads: WeakKeyDictionary[threading.Thread, bool] = (
            WeakKeyDictionary()
        )  # whether handlers run in the thread
        self._asleep = False  # the network thread is waiting in `select`
        self._ended = self._forked = False
        self._waker, sleeper = socket.socketpair()
        self._selector.register(sleeper, EVENT_READ, lambda _readable, _writable: sleeper.recv(64))
        self._sockets = {self._waker, sleeper}
        running.add(self)
        self._start(self._run, "network")

    @property
    def lock(self) -> threading.RLock:
        """The lock that is held while client code runs. Raises StateError in a forked child."""
        if self._forked:  # pragma: no cover  # no coverage is measured in a child of the tests
            raise StateError("this connection belongs to the parent process: open a new connection in the forked child")
        return self._lock

    def now(self) -> float:
        """Return the time of the clock. May be called from any thread."""
        return self._clock.now()

    def open_stream(
        self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> NonblockingStream:
        """Start to open a TCP stream, or use the connected `socket.socket` that `hook(host, port)` returns."""
        stream = NonblockingStream(self, host, port, receiver, hook)
        self._streams.add(stream)
        if self._ended:
            stream.abort()
        return stream

    def timer(self, callback: Callable[[], None]) -> DeadlineTimer:
        """Create a timer. Its callback is called in the network thread."""
        return self._timers.timer(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the network thread. The caller need not hold the lock."""
        self._soon.append(callback)
        self.wake()

    def future(self, *, outlives_runtime: bool = False) -> EventFuture[LockedEvent]:
        """Create a future. Hold the lock to resolve it."""
        return EventFuture(LockedEvent(self._lock), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        """Block the calling thread until the future is done. Raise TimeoutError after the thread's `deadline`."""
        assert isinstance(future, EventFuture)
        if not future.done:
            self._block(future)
        return future.result()

    def _block(self, future: EventFuture[LockedEvent]) -> None:
        if self._ended and not future.outlives_runtime:
            raise runtime_ended(self._failure)
        self._waiting.append(future)
        try:
            with interruptible(partial(self._wake_waiting, future.event)) as is_interrupted:
                while not (is_interrupted() or future.done):
                    left = self._deadline.time - monotonic()
                    if left <= 0:
                        raise TimeoutError("the call did not complete within its timeout")
                    future.event.wait(min(left, LONGEST_WAIT))
        finally:
            self._waiting.remove(future)

    def _wake_waiting(self, event: LockedEvent) -> None:  # pragma: no cover  # as in `_interrupts`
        with self._lock:
            event.set()

    @contextmanager
    def deadline(self, timeout: float | None) -> Generator[None, None, None]:
        """Make each `wait` of the calling thread raise TimeoutError after `timeout` seconds from now; None for no limit."""
        before = self._deadline.time
        self._deadline.time = inf if timeout is None else monotonic() + timeout
        try:
            yield
        finally:
            self._deadline.time = before

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> BlockingTask:
        """Run `function()` in a thread."""

        def run() -> None:
            with self._lock:
                try:
                    function().send(None)
                except StopIteration:
                    pass
                except BaseException as error:
                    self.failed(error)

        self._start(partial(copy_context().run, run), name, handlers=True)
        return BlockingTask()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code without holding the lock."""
        with self._unlocked():
            return call_in_thread(function, *args)

    # For the streams

    def call_blocking(self, notify: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        """Call a function that may block in a separate thread, then `notify` with its result or exception."""

        def run() -> None:
            try:
                result = call_in_thread(function, *args)
            except Exception as error:
                result = error
            with self._lock:
                report = partial(notify, result)
                report() if self._ended else self.call_soon(report)

        self._start(partial(copy_context().run, run), "open a stream")

    def watch(
        self, sock: socket.socket, ready: Callable[[bool, bool], object], *, reading: bool = True, writing: bool
    ) -> None:
        """Call `ready(readable, writable)` whenever the socket is ready."""
        self.unwatch(sock)
        self._sockets.add(sock)
        if reading or writing:
            self._selector.register(sock, EVENT_READ * reading | EVENT_WRITE * writing, ready)

    def unwatch(self, sock: socket.socket) -> None:
        """Stop watching the socket."""
        self._sockets.discard(sock)
        if sock in self._selector.get_map():
            self._selector.unregister(sock)

    # The threads

    def wake(self) -> None:
        """Wake the network thread."""
        if self._asleep:
            self._asleep = False
            with suppress(OSError):  # it may be closed meanwhile by the network thread
                self._waker.send(b"!")

    def _run(self) -> None:
        with self._lock:
            try:
                while not self._ended:
                    self._run_once()
            except BaseException as error:
                self._failure = error
                self.failed(error)
            finally:
                self._ended = True
                running.discard(self)
                for future in self._waiting:
                    if not future.outlives_runtime:
                        future.fail(runtime_ended(self._failure))
                self._abort_streams()
                try:
                    self._call_back()
                finally:
                    self._close_sockets()

    def _abort_streams(self) -> None:
        for stream in self._streams:
            stream.abort()  # so that one whose address is still being looked up opens no socket

    def _run_once(self) -> None:
        self._call_back()
        self._timers.fire(self.now())
        self._asleep = True  # before looking at what is to be called: see `call_soon`
        timeout = 0.0 if self._soon or self._ended else self._timers.timeout(self.now())
        with self._unlocked():
            ready = self._selector.select(timeout)
        self._asleep = False
        for key, events in ready:
            key.data(bool(events & EVENT_READ), bool(events & EVENT_WRITE))

    def _call_back(self) -> None:
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def _start(self, target: Callable[[], None], name: str, *, handlers: bool = False) -> None:
        thread = threading.Thread(target=target, name=f"sansio-socketio: {name}", daemon=True)
        self._threads[thread] = handlers
        thread.start()

    @contextmanager
    def _unlocked(self) -> Generator[None, None, None]:
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()

    # The end

    def end(self) -> None:
        """End everything that was started. Abandon threads that do not end in time."""
        with self._lock:
            self._ended = True
            self._abort_streams()
            self.wake()
            threads = dict(self._threads)
        deadline = monotonic() + _JOIN_TIMEOUT
        for thread, handlers in threads.items():
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - monotonic()))
                if handlers and thread.is_alive():
                    warnings.warn(
                        f"{thread.name!r} does not end: a handler is still running", RuntimeWarning, stacklevel=2
                    )

    def abandon(self) -> None:  # pragma: no cover  # as above
        """Clean up in a forked child, in which the threads do not exist. The connections belong to the parent."""
        self._forked = self._ended = True
        self._lock = threading.RLock()  # a thread of the parent may hold the old lock
        self._threads.clear()
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._asleep = False
        self._selector.close()  # first: in a forked child, `unregister` would affect the parent's selector
        for sock in self._sockets:
            sock.close()


def _abandon_all() -> None:  # pragma: no cover  # as above
    for runtime in tuple(running):
        runtime.abandon()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows cannot fork
    os.register_at_fork(after_in_child=_abandon_all)


@asynccontextmanager
async def open_runtime(
    lock: threading.RLock | None = None, *, suspension: Callable[[], float] = total_suspension
) -> AsyncGenerator[BlockingRuntime, None]:
    """Create a runtime with a network thread. On exit, everything that it started ends."""
    runtime = BlockingRuntime(lock, suspension)
    try:
        yield runtime
    finally:
        runtime.end()
