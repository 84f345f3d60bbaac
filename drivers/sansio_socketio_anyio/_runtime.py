"""The services of `runtime.interface`, by anyio, on whichever backend runs.

Rules of this file:

- All that runs beside runs in the task group of `open_runtime`, which is cancelled when its body is done. It is anyio's
  own: under a cancelled scope of anyio's, asyncio's group would be woken over and over until its last task is done.
- An exception of the body leaves as it is: it goes round the task group, which would put it into a group, and would take
  apart a group that the body raised.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from inspect import isawaitable
from math import inf
from threading import get_ident
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ByteReceiveStream, ByteStream, TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from sansio_socketio import runtime as parts
from sansio_socketio.runtime import Future, StreamHook, StreamReceiver

_CHUNK = 1 << 18  # bytes read at once


class AnyioFuture(parts.EventFuture[anyio.Event]):
    """A result that tasks wait for."""

    __slots__ = ()


class AnyioTimer:
    """One deadline: that of a scope in which a task sleeps."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._deadline = inf
        self._scope = anyio.CancelScope()

    def set(self, deadline: float | None) -> None:
        """Call back at `deadline`, instead of when it was set before; None: never."""
        self._deadline = self._scope.deadline = inf if deadline is None else deadline

    async def run(self) -> None:
        """Sleep, call back, and again."""
        while True:
            with anyio.CancelScope(deadline=self._deadline) as self._scope:
                await anyio.sleep_forever()
            if self._deadline <= anyio.current_time():  # it may have been moved after it had come
                self._deadline = inf
                self._callback()


class AnyioStream(parts.TaskStream):
    """A stream, and the scope of its tasks."""

    def __init__(self, runtime: AnyioRuntime, receiver: StreamReceiver) -> None:
        super().__init__(runtime, receiver)
        self._scope = anyio.CancelScope()

    def abort(self) -> None:
        """Close at once, also while opening."""
        self.receiver = None
        self._scope.cancel()

    async def run(self, host: str, port: int, hook: StreamHook | None) -> None:
        """Open it, by happy eyeballs and with TCP_NODELAY as anyio does by itself, and move its bytes until it ends."""
        with self._scope:
            try:
                if hook is None:
                    plain: ByteStream = await anyio.connect_tcp(host, port)
                elif not isinstance(plain := await self._runtime.call(hook, host, port), ByteStream):
                    raise parts.invalid_stream("an anyio.abc.ByteStream", plain)
            except Exception as error:  # a name can be wrong in several ways
                self.notify_failed(parts.underlying_error(error) if hook is None else error)
                return
            async with plain, anyio.create_task_group() as tasks:
                self.notify_opened()
                tasks.start_soon(self.write_out, plain.send)
                await self.read(partial(_receive, plain))


async def _receive(plain: ByteReceiveStream) -> bytes:
    try:
        return await plain.receive(_CHUNK)
    except anyio.EndOfStream:
        return b""


class AnyioRuntime:
    """The services, in a task group."""

    def __init__(self, tasks: TaskGroup) -> None:
        self.lock = nullcontext()
        self._tasks = tasks
        self._soon, callbacks = anyio.create_memory_object_stream[Callable[[], None]](inf)
        self._thread = get_ident()
        self._ended = False
        self._cancelled = anyio.get_cancelled_exc_class()
        tasks.start_soon(self._call_back, callbacks)

    def now(self) -> float:
        """The clock of the backend. Raises StateError in a foreign thread."""
        self._check_thread()
        return anyio.current_time()

    def open_stream(
        self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> AnyioStream:
        """Begin to open a TCP stream, or what the hook, `async (host, port)`, returns: any `anyio.abc.ByteStream`."""
        stream = AnyioStream(self, receiver)
        self._tasks.start_soon(stream.run, host, port, hook)
        return stream

    def timer(self, callback: Callable[[], None]) -> AnyioTimer:
        """Make a timer that calls back."""
        timer = AnyioTimer(callback)
        self._tasks.start_soon(timer.run)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in a later turn; in order, which `start_soon` does not keep."""
        self._soon.send_nowait(callback)

    def future(self, *, outlives_runtime: bool = False) -> AnyioFuture:
        """Make a future."""
        return AnyioFuture(anyio.Event(), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        """Wait for a future of this runtime."""
        assert isinstance(future, AnyioFuture)
        self._check_thread()
        if self._ended and not future.done and not future.outlives_runtime:
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise parts.runtime_ended()
        await future.event.wait()
        return future.result()

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> anyio.CancelScope:
        """Run `function()` in a task."""
        scope = anyio.CancelScope()
        self._tasks.start_soon(self._run, function, scope, name=name)
        return scope

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, and await what it returns."""
        try:
            result = function(*args)
            return await result if isawaitable(result) else result
        except self._cancelled as error:
            if anyio.current_effective_deadline() == -inf:
                raise
            raise parts.cancelled_inside(function) from error

    def end(self) -> None:
        """End all that was started; the task group waits for that."""
        self._ended = True
        self._soon.close()
        self._tasks.cancel_scope.cancel()

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise parts.wrong_thread("anyio.from_thread.run or anyio.from_thread.run_sync")

    async def _run(self, function: Callable[[], Coroutine[Any, Any, None]], scope: anyio.CancelScope) -> None:
        with scope:
            await function()

    async def _call_back(self, callbacks: MemoryObjectReceiveStream[Callable[[], None]]) -> None:
        with callbacks:
            async for callback in callbacks:
                callback()


@asynccontextmanager
async def open_runtime() -> AsyncGenerator[AnyioRuntime, None]:
    """A runtime in a task group of its own. What it started ends with this scope."""
    error: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            runtime = AnyioRuntime(tasks)
            try:
                yield runtime
            except BaseException as raised:
                if isinstance(raised, anyio.get_cancelled_exc_class()) or tasks.cancel_scope.cancel_called:
                    raise
                error = raised
            finally:
                runtime.end()
    except BaseExceptionGroup as group:
        error = error or parts.ungrouped(group, anyio.get_cancelled_exc_class())
    if error is not None:
        raise error
