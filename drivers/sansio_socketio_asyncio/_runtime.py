"""The runtime interface on asyncio: protocols and transports, `call_at`, tasks, events.

Rules of this file:

- The first write after a read leaves at once, because it usually answers what was read. Other writes are joined at the end of
  their loop iteration. The transport's high-water mark is zero, so that `resume_writing` is called when the operating system
  has accepted all data.
- A task that the runtime started does not outlive the scope, even if it suppresses its cancellation.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext, suppress
from functools import partial
from inspect import isawaitable
from threading import get_ident
from time import monotonic
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

from sansio_socketio.protocol.errors import StateError
from sansio_socketio.runtime.calls import call_back, cancelled_inside, ended_inside, log_failure
from sansio_socketio.runtime.clock import Clock, total_suspension
from sansio_socketio.runtime.futures import EventFuture, runtime_ended, wrong_thread
from sansio_socketio.runtime.interface import Future, StreamHook, StreamReceiver
from sansio_socketio.runtime.streams import BaseStream, first_connected, invalid_stream
from sansio_socketio.runtime.timers import LoopTimer

_MAX_EARLY = 4
"""How many reads are buffered until the hook has returned."""
_FROM_THREAD = "loop.call_soon_threadsafe or asyncio.run_coroutine_threadsafe, with the loop that they were started in"


class AsyncioStream(BaseStream, asyncio.Protocol):
    """A stream that implements the protocol of its asyncio transport."""

    def __init__(self, runtime: AsyncioRuntime, receiver: StreamReceiver | None) -> None:
        super().__init__(receiver)
        self._runtime = runtime
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # data that arrived before the hook returned
        self._written: list[bytes | bytearray | memoryview] = []
        self._full = False  # the operating system has not accepted everything yet
        self._has_read = False  # and has not written since
        self._opening: AsyncioTask | None = None  # until the stream is open

    def open(self, host: str, port: int, hook: StreamHook | None) -> None:
        """Start to open the stream."""
        self._opening = self._runtime.spawn(lambda: self._open(host, port, hook), f"open a stream to {host}:{port}")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at once after a read, otherwise at the end of this loop iteration."""
        if self._has_read and self._transport is not None and not self._written and not self._full:
            self._has_read = False
            self._transport.write(data)
            # Reported later, so that a volatile event after this one is dropped, as in JavaScript.
            self._runtime.call_soon(self._report_sent)
        else:
            if not self._written:
                self._runtime.call_soon(self._flush)
            self._written.append(data)

    def pause_reading(self) -> None:
        """Stop reading from the transport."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the transport again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close when all written data has been sent, or at once if the stream is not open yet."""
        if self._transport is None or not self.is_open:
            self.abort()
        else:
            self.receiver = None
            self._write_out(self._transport)
            self._transport.close()

    def abort(self) -> None:
        """Close at once, even if the stream is not open yet."""
        self.receiver = None
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _open(self, host: str, port: int, hook: StreamHook | None) -> None:
        loop = self._runtime.loop
        try:
            if hook is None:
                try:
                    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
                except socket.gaierror:  # it is a name; resolving it takes a thread
                    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                # Not `create_connection`, which leaks a socket if it is cancelled at the wrong moment.
                sock = await first_connected(self._runtime, addresses, self._connect)
                result: Any = await loop.create_connection(lambda: self, sock=sock)
            else:
                result = await self._runtime.call(hook, lambda: self, host, port)
            transport = self._transport
            if transport is None or result != (transport, self) or transport.get_extra_info("sslcontext"):
                raise invalid_stream("a transport without TLS, and the protocol that protocol_factory() made", result)
            transport.set_write_buffer_limits(high=0)
            self.notify_opened()
            for data in self._early:
                self.data_received(data)
            if self._early and self.receiver is not None:
                transport.resume_reading()
            self._early.clear()
            self._opening = None
        except BaseException as error:
            if self._transport is not None:
                self._transport.abort()
                self._runtime.streams.discard(self)  # uvloop does not call connection_lost on a new transport
            if not isinstance(error, Exception):
                raise
            self.notify_failed(error)

    async def _connect(self, address: Any) -> socket.socket:
        family, kind, protocol, _, place = address
        with ExitStack() as stack:
            sock = stack.enter_context(socket.socket(family, kind, protocol))
            sock.setblocking(False)
            await self._runtime.loop.sock_connect(sock, place)
            stack.pop_all()
        return sock

    def _flush(self) -> None:
        if self.receiver is not None and self._transport is not None:
            self._write_out(self._transport)
            self._report_sent()

    def _report_sent(self) -> None:
        if self.receiver is not None and not self._full:
            self.receiver.sent()

    def _write_out(self, transport: asyncio.Transport) -> None:
        if self._written:
            transport.write(b"".join(self._written))
            self._written.clear()

    # The protocol: called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, which the hook may still use. asyncio and uvloop set TCP_NODELAY themselves."""
        self._transport = cast("asyncio.Transport", transport)
        self._runtime.streams.add(self)
        if self.receiver is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass data on, or buffer it until the hook returns."""
        if not self.is_open:
            self._early.append(data)
            if len(self._early) >= _MAX_EARLY and self._transport is not None:
                self._transport.pause_reading()
        elif self.receiver is not None:
            self._has_read = True
            self.receiver.received(data)

    def pause_writing(self) -> None:
        """Note that the operating system accepts no more data for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Continue to write: the operating system has accepted all data."""
        self._full = False
        if not self._written:
            self._report_sent()

    def eof_received(self) -> None:
        """Close the stream, as the peer has closed it. Unsent data is dropped, because the peer may never accept it."""
        self.notify_closed(None)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the stream is closed."""
        self._runtime.streams.discard(self)
        self.notify_closed(exc)


class AsyncioTask:
    """A task of the client, which remembers whether the client has cancelled it."""

    __slots__ = ("_task", "is_cancelled")

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task
        self.is_cancelled = False

    def cancel(self) -> None:
        """Cancel the task."""
        self.is_cancelled = True
        self._task.cancel()


class LoopEvent:
    """The event of a future, with an asyncio future for each waiting task. (`asyncio.Event` takes a kilobyte more.)"""

    __slots__ = ("waiters",)

    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[None]] = []

    def set(self) -> None:
        """Wake the waiting tasks."""
        for waiter in self.waiters:
            with suppress(asyncio.InvalidStateError):  # the handler of SIGINT may cancel a task at any moment
                waiter.set_result(None)


class AsyncioRuntime:
    """The runtime on the running event loop."""

    def __init__(self, suspension: Callable[[], float] = total_suspension) -> None:
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise StateError(
                "sansio_socketio_asyncio needs a running asyncio event loop; with trio use sansio_socketio_trio"
            ) from None
        is_usual = type(self.loop).time is asyncio.BaseEventLoop.time  # not so in a loop with virtual time
        self._clock = Clock(monotonic if is_usual else self.loop.time, suspension)
        self.lock = nullcontext()
        self.failed: Callable[[BaseException], None] = log_failure
        self.streams: set[AsyncioStream] = set()  # streams that have a transport
        self._timers = WeakSet[LoopTimer]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = get_ident()
        self._ending = self._ended = False

    def now(self) -> float:
        """Return the time of the clock. Raise StateError in another thread or event loop, and when the loop has been closed."""
        if _get_running_loop() is not self.loop:
            self._check_caller()
        return self._clock.now()

    def _check_caller(self) -> None:
        """Raise StateError unless the caller is in the loop, or in its thread while no loop is running."""
        if self.loop.is_closed():
            raise StateError(
                "the event loop in which the Manager was started has been closed before the Manager was stopped: create "
                "another Manager"
            )
        if get_ident() != self._thread or _get_running_loop() not in {None, self.loop}:
            raise wrong_thread(_FROM_THREAD)

    def open_stream(
        self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> AsyncioStream:
        """Start to open a TCP stream, or a stream that `await hook(protocol_factory, host, port)` returns.

        The hook returns `(transport, protocol)`, like `loop.create_unix_connection(protocol_factory, path)`.
        """
        stream = AsyncioStream(self, receiver)
        stream.open(host, port, hook)
        return stream

    def timer(self, callback: Callable[[], None]) -> LoopTimer:
        """Create a timer."""
        timer = LoopTimer(self.loop, self._clock, partial(call_back, self, callback))
        self._timers.add(timer)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the next loop iteration."""
        self.loop.call_soon(call_back, self, callback)

    def future(self, *, outlives_runtime: bool = False) -> EventFuture[LoopEvent]:
        """Create a future."""
        return EventFuture(LoopEvent(), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        """Wait for a future of this runtime. Raise StateError in another event loop."""
        assert isinstance(future, EventFuture)
        if not future.done:
            self._check_caller()
            if self._ending and asyncio.current_task() in self._tasks:
                raise asyncio.CancelledError  # the task has suppressed its cancellation
            if self._ended and not future.outlives_runtime:
                raise runtime_ended()
            waiter: asyncio.Future[None] = self.loop.create_future()
            waiters = future.event.waiters
            waiters.append(waiter)
            try:
                await waiter
            finally:
                if not future.done:
                    waiters.remove(waiter)
        return future.result()

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> AsyncioTask:
        """Run `function()` in a task."""
        task = self.loop.create_task(function(), name=name)
        handle = AsyncioTask(task)
        self._tasks.add(task)
        task.add_done_callback(partial(self._task_ended, handle))
        if self._ending:
            task.cancel()
        return handle

    def _task_ended(self, handle: AsyncioTask, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error: BaseException | None
        if not task.cancelled():
            error = task.exception()
        elif handle.is_cancelled or self._ending or self._is_shutting_down():
            error = None
        else:
            error = StateError(
                f"the task {task.get_name()!r} was cancelled by the application: did a handler cancel its task?"
            )
        if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):  # these end the event loop
            self.failed(error)

    def _is_shutting_down(self) -> bool:
        """Return whether all tasks of the loop have been cancelled, as `asyncio.run` does at its end."""
        return all(task.cancelling() for task in asyncio.all_tasks(self.loop))

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, and await what it returns if it is awaitable.

        Raises:
            StateError: The code was cancelled although this task was not, or it raised an exception that is no Exception and
                that asyncio would ignore, such as GeneratorExit.
        """
        try:
            result = function(*args)
            return await result if result is not None and isawaitable(result) else result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise cancelled_inside(function) from error
        except (Exception, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if asyncio.current_task(self.loop) not in self._tasks:
                raise  # the event loop is gone, and this coroutine is being closed
            raise ended_inside(function, error) from error

    async def end(self) -> None:
        """End everything that was started. If this is cancelled, raise the cancellation when everything has ended."""
        self._ending = True
        for timer in self._timers:
            timer.set(None)
        for stream in tuple(self.streams):
            stream.abort()
        this_task = {asyncio.current_task()}
        for task in self._tasks - this_task:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        is_busy = True
        while is_busy:  # and one more loop iteration for the callbacks of `call_soon`
            tasks = self._tasks - this_task
            is_busy = bool(tasks or self.streams)
            try:
                await (asyncio.wait(tasks) if tasks else asyncio.sleep(0))
            except asyncio.CancelledError as error:
                cancelled = error
        self._ended = True
        if cancelled is not None:
            raise cancelled


R = TypeVar("R", bound=AsyncioRuntime)


class RuntimeScope(Generic[R]):
    """The context manager of a runtime.

    An async generator would not do: asyncio closes it when the loop shuts down, before the client has ended its runs.
    """

    def __init__(self, runtime_class: Callable[[Callable[[], float]], R], suspension: Callable[[], float]) -> None:
        self._runtime_class = runtime_class
        self._suspension = suspension

    async def __aenter__(self) -> R:
        self._runtime = self._runtime_class(self._suspension)
        return self._runtime

    async def __aexit__(self, *_: object) -> None:
        await self._runtime.end()


def open_runtime(*, suspension: Callable[[], float] = total_suspension) -> AbstractAsyncContextManager[AsyncioRuntime]:
    """Create a runtime on the running event loop. On exit, everything that it started ends."""
    return RuntimeScope(AsyncioRuntime, suspension)
