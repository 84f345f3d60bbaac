"""The services of `runtime.interface`, by threads: one that does all input and output, and one for each thing beside.

Rules of this file:

- The runtime is a monitor. Whoever runs client code holds the lock; it is let go of in `select`, in `wait` and while the
  application's code is called.
- The network thread alone touches streams' sockets and the selector. Everybody else hands it callbacks (`call_soon`).
- Looking up a name blocks, and so does a hook that opens a socket: each stream has a thread for that.
- All threads are daemons. One that cannot be ended is left, with a warning if a handler runs in it.
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
from math import inf
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sansio_socketio.protocol.errors import StateError
from sansio_socketio.runtime import (
    LONGEST_WAIT,
    Deadlines,
    DeadlineTimer,
    EventFuture,
    Future,
    NonblockingStream,
    StreamHook,
    StreamReceiver,
    call_in_thread,
    runtime_ended,
)

_LAST_WAIT = 1.0  # seconds, for threads to end; the client has waited already for what is being handled


class Moment(threading.Condition):
    """An event of threads that hold the lock, except while they wait."""

    set = threading.Condition.notify_all


class BlockingTask:
    """A thread that runs client code."""

    def cancel(self) -> None:
        """Nothing makes a thread end: it does when what it waits for comes, or fails."""


class Patience(threading.local):
    """Until when a thread waits."""

    end = inf


class BlockingRuntime:
    """The services, and the network thread."""

    def __init__(self, lock: threading.RLock | None) -> None:
        self._deadlines = Deadlines(self.wake)
        self._lock = lock or threading.RLock()
        self._selector = DefaultSelector()
        self._soon: deque[Callable[[], None]] = deque()
        self._waited_for: list[EventFuture[Moment]] = []
        self._patience = Patience()
        self._threads: WeakKeyDictionary[threading.Thread, bool] = WeakKeyDictionary()  # whether handlers run in it
        self._asleep = False  # the network thread is, so it must be waked
        self._ended = self._forked = False
        self._alarm, sleeper = socket.socketpair()
        self._selector.register(sleeper, EVENT_READ, lambda _readable, _writable: sleeper.recv(64))
        _runtimes.add(self)
        self._start(self._run, "network")

    @property
    def lock(self) -> threading.RLock:
        """Held while client code runs. In a forked child nothing can run."""
        if self._forked:  # pragma: no cover  # no coverage is measured in a child of the tests
            raise StateError("this connection belongs to the parent process: a forked child must open one of its own")
        return self._lock

    def now(self) -> float:
        """The monotonic clock."""
        return monotonic()

    def open_stream(
        self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> NonblockingStream:
        """Begin to open a TCP stream, or what the hook, `(host, port)`, returns: a connected `socket.socket`."""
        return NonblockingStream(self, host, port, receiver, hook)

    def timer(self, callback: Callable[[], None]) -> DeadlineTimer:
        """Make a timer that calls back, from the network thread."""
        return self._deadlines.timer(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back from the network thread."""
        self._soon.append(callback)
        self.wake()

    def future(self, *, outlives_runtime: bool = False) -> EventFuture[Moment]:
        """Make a future that threads wait for."""
        return EventFuture(Moment(self._lock), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        """Block this thread until the future is done. Raises TimeoutError once the thread's `deadline` has passed."""
        assert isinstance(future, EventFuture)
        if self._ended and not future.done and not future.outlives_runtime:
            raise runtime_ended()
        self._waited_for.append(future)
        try:
            while not future.done:
                left = self._patience.end - monotonic()
                if left <= 0:
                    raise TimeoutError("what was waited for did not come within the call's timeout")
                future.event.wait(min(left, LONGEST_WAIT))
        finally:
            self._waited_for.remove(future)
        return future.result()

    @contextmanager
    def deadline(self, timeout: float | None) -> Generator[None, None, None]:
        """Let each `wait` of this thread raise TimeoutError once `timeout` seconds are over; None: never."""
        before = self._patience.end
        self._patience.end = inf if timeout is None else monotonic() + timeout
        try:
            yield
        finally:
            self._patience.end = before

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> BlockingTask:
        """Run `function()` in a thread."""

        def run() -> None:
            with self._lock, suppress(StopIteration):
                function().send(None)

        self._start(partial(copy_context().run, run), name, handlers=True)
        return BlockingTask()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, without the lock."""
        with self._unlocked():
            return call_in_thread(function, *args)

    # For the streams

    def aside(self, told: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        """Call what may block in a thread, and tell what came of it."""

        def run() -> None:
            try:
                result = call_in_thread(function, *args)
            except Exception as error:
                result = error
            with self._lock:
                tell = partial(told, result)
                tell() if self._ended else self.call_soon(tell)

        self._start(partial(copy_context().run, run), "opens a stream")

    def watch(self, sock: socket.socket, ready: Callable[[bool, bool], object], *, writing: bool) -> None:
        """Call `ready(readable, writable)` whenever the socket is."""
        watch = self._selector.modify if sock in self._selector.get_map() else self._selector.register
        watch(sock, EVENT_READ | EVENT_WRITE if writing else EVENT_READ, ready)

    def unwatch(self, sock: socket.socket) -> None:
        """Do not look at the socket any more."""
        self._selector.unregister(sock)

    # The threads

    def wake(self) -> None:
        """Have the network thread look at what there is to do."""
        if self._asleep:
            self._asleep = False
            self._alarm.send(b"!")

    def _run(self) -> None:
        with self._lock:
            try:
                while not self._ended:
                    self._take_turn()
            finally:
                self._ended = True
                _runtimes.discard(self)
                for future in self._waited_for:
                    if not future.outlives_runtime:
                        future.fail(runtime_ended())
                self._call_back()
                self._close_sockets()

    def _take_turn(self) -> None:
        self._call_back()
        self._deadlines.fire(monotonic())
        timeout = 0.0 if self._soon or self._ended else self._deadlines.timeout(monotonic())
        self._asleep = True
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
        """End all that was started, and leave what cannot be ended."""
        with self._lock:
            self._ended = True
            self.wake()
            threads = dict(self._threads)
        until = monotonic() + _LAST_WAIT
        for thread, handlers in threads.items():
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - monotonic()))
                if handlers and thread.is_alive():
                    warnings.warn(f"{thread.name!r} does not end: a handler still runs", RuntimeWarning, stacklevel=2)

    def abandon(self) -> None:  # pragma: no cover  # as above
        """In a forked child: the threads are not there, and the connections are the parent's."""
        self._forked = self._ended = True
        self._lock = threading.RLock()  # one of those threads may have held the other
        self._threads.clear()
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._asleep = False
        sockets = [key.fileobj for key in self._selector.get_map().values()]
        self._selector.close()  # first: to take a socket out of it would, in a forked child, take it out of the parent's
        for sock in (*sockets, self._alarm):
            assert isinstance(sock, socket.socket)
            sock.close()


_runtimes: WeakSet[BlockingRuntime] = WeakSet()


def _abandon_all() -> None:  # pragma: no cover  # as above
    for runtime in tuple(_runtimes):
        runtime.abandon()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows cannot fork
    os.register_at_fork(after_in_child=_abandon_all)


@asynccontextmanager
async def open_runtime(lock: threading.RLock | None = None) -> AsyncGenerator[BlockingRuntime, None]:
    """A runtime with a network thread of its own, and maybe another's lock. What it started ends with this scope."""
    runtime = BlockingRuntime(lock)
    try:
        yield runtime
    finally:
        runtime.end()
