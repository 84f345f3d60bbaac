"""The services of `runtime.interface`, by asyncio: protocols and transports, `call_at`, tasks, futures.

Rules of this file:

- Writes of one turn of the loop are joined. The transport's high-water mark is zero, so that it tells when the operating
  system has taken the last byte; `drain` and its like only tell that not much is left.
- A task that the runtime started does not outlive the scope, even if it is one that swallows its cancellation.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, nullcontext
from inspect import isawaitable
from threading import get_ident
from typing import Any, cast
from weakref import WeakSet

from sansio_socketio import runtime as parts
from sansio_socketio.runtime import Future, StreamHook, StreamReceiver

_ELSEWHERE = "loop.call_soon_threadsafe or asyncio.run_coroutine_threadsafe, with the loop in which they live"


class AsyncioStream(parts.BaseStream, asyncio.Protocol):
    """A stream, and the protocol of its transport."""

    def __init__(
        self, runtime: AsyncioRuntime, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None
    ) -> None:
        super().__init__(receiver)
        self._runtime = runtime
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # what came before the hook returned
        self._written: list[bytes | bytearray | memoryview] = []
        self._full = False  # the operating system has not taken all yet
        self._opening = runtime.spawn(lambda: self._open(host, port, hook), f"open a stream to {host}:{port}")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes, for the end of this turn."""
        if not self._written:
            self._runtime.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Close once all that was written has left; while still opening, at once."""
        if self._transport is None or not self.is_open:
            self.abort()
        else:
            self.receiver = None
            self._hand_over(self._transport)
            self._transport.close()

    def abort(self) -> None:
        """Close at once, also while opening."""
        self.receiver = None
        self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _open(self, host: str, port: int, hook: StreamHook | None) -> None:
        loop = self._runtime.loop
        try:
            if hook is None:
                addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                # `create_connection` tries them as well, but loses a socket when it is cancelled in the wrong turn.
                sock = await parts.first_connected(self._runtime, addresses, self._connect)
                made: Any = await loop.create_connection(lambda: self, sock=sock)
            else:
                made = await self._runtime.call(hook, lambda: self, host, port)
            if self._transport is None or made != (self._transport, self) or made[0].get_extra_info("sslcontext"):
                raise parts.invalid_stream(
                    "a transport without TLS, and the protocol that protocol_factory() gave it", made
                )
            self._begin(self._transport)
        except BaseException as error:
            if self._transport is not None:
                self._transport.abort()
                self._runtime.streams.discard(self)  # one that was just made may not tell its end (uvloop's)
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

    def _begin(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=0)
        self.notify_opened()
        for data in self._early:
            self.data_received(data)

    def _flush(self) -> None:
        if self.receiver is not None and self._transport is not None:
            self._hand_over(self._transport)
            if not self._full:
                self.receiver.sent()

    def _hand_over(self, transport: asyncio.Transport) -> None:
        if self._written:
            transport.write(b"".join(self._written))
            self._written.clear()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a transport (asyncio's and uvloop's set TCP_NODELAY by themselves); the hook may still use it."""
        self._transport = cast("asyncio.Transport", transport)
        self._runtime.streams.add(self)
        if self.receiver is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        if not self.is_open:
            self._early.append(data)
        elif self.receiver is not None:
            self.receiver.received(data)

    def pause_writing(self) -> None:
        """Something is left for which the operating system has no room now."""
        self._full = True

    def resume_writing(self) -> None:
        """All has been taken."""
        self._full = False
        if self.receiver is not None and not self._written:
            self.receiver.sent()

    def eof_received(self) -> None:
        """The peer has ended the stream. What waits to be written might never find room, so it is dropped."""
        self.notify_closed(None)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The stream is closed or broken."""
        self._runtime.streams.discard(self)
        self.notify_closed(exc)


class AsyncioRuntime:
    """The services, on the running loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lock = nullcontext()
        self.streams: set[AsyncioStream] = set()  # those with a transport
        self._timers = WeakSet[parts.LoopTimer]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = get_ident()
        self._ending = self._ended = False

    def now(self) -> float:
        """The loop's time. Raises StateError in a foreign thread."""
        if get_ident() != self._thread:
            raise parts.wrong_thread(_ELSEWHERE)
        return self.loop.time()

    def open_stream(
        self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> AsyncioStream:
        """Begin to open a TCP stream, or what the hook, `async (protocol_factory, host, port)`, returns.

        That is what `loop.create_unix_connection(protocol_factory, path)` returns: `(transport, protocol)`.
        """
        return AsyncioStream(self, host, port, receiver, hook)

    def timer(self, callback: Callable[[], None]) -> parts.LoopTimer:
        """Make a timer that calls back."""
        timer = parts.LoopTimer(self.loop.call_at, self.loop.time, callback)
        self._timers.add(timer)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in the loop's next turn."""
        self.loop.call_soon(callback)

    def future(self, *, outlives_runtime: bool = False) -> parts.EventFuture[asyncio.Event]:
        """Make a future that tasks wait for."""
        return parts.EventFuture(asyncio.Event(), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        """Wait for a future of this runtime. Raises StateError in a foreign loop."""
        assert isinstance(future, parts.EventFuture)
        if not future.done:
            if asyncio._get_running_loop() is not self.loop:
                raise parts.wrong_thread(_ELSEWHERE)
            if self._ending and asyncio.current_task() in self._tasks:
                raise asyncio.CancelledError  # it has swallowed the cancellation that was meant to end it
            if self._ended and not future.outlives_runtime:
                raise parts.runtime_ended()
            await future.event.wait()
        return future.result()

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        """Run `function()` in a task."""
        task = self.loop.create_task(function(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._ending:
            task.cancel()
        return task

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, and await what it returns."""
        try:
            result = function(*args)
            return await result if isawaitable(result) else result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise parts.cancelled_inside(function) from error

    async def end(self) -> None:
        """End all that was started, and return when it has. A cancellation that comes meanwhile is raised after that."""
        self._ending = True
        for timer in self._timers:
            timer.set(None)
        for stream in tuple(self.streams):
            stream.abort()
        this_one = {asyncio.current_task()}
        for task in self._tasks - this_one:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        something_runs = True
        while something_runs:  # and one turn more, for what `call_soon` has in hand
            tasks = self._tasks - this_one
            something_runs = bool(tasks or self.streams)
            try:
                await (asyncio.wait(tasks) if tasks else asyncio.sleep(0))
            except asyncio.CancelledError as error:
                cancelled = error
        self._ended = True
        if cancelled is not None:
            raise cancelled


@asynccontextmanager
async def open_runtime() -> AsyncGenerator[AsyncioRuntime, None]:
    """A runtime on the running loop. What it started ends with this scope."""
    runtime = AsyncioRuntime()
    try:
        yield runtime
    finally:
        await runtime.end()
