"""The runtime interface on asyncio's streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from threading import get_ident
from typing import Any, Self

from sansio_socketio.runtime import (
    Clock,
    EventFuture,
    Future,
    LoopTimer,
    StreamHook,
    StreamReceiver,
    TaskStream,
    call_back,
    call_in_task,
    cancelled_inside,
    invalid_stream,
    log_failure,
    runtime_ended,
    total_suspension,
    wrong_thread,
)

_CHUNK = 1 << 16  # the maximum number of bytes to receive at once


class StreamsStream(TaskStream):
    """A stream with two tasks: one opens the stream and reads, the other writes."""

    def __init__(
        self, runtime: StreamsRuntime, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None
    ) -> None:
        super().__init__(runtime, receiver)
        self._task = runtime.spawn(lambda: self._run(host, port, hook), f"stream to {host}:{port}")

    def abort(self) -> None:
        self.receiver = None
        self._task.cancel()

    async def _run(self, host: str, port: int, hook: StreamHook | None) -> None:
        try:
            opened = await self._runtime.call(hook or asyncio.open_connection, host, port)
            if not isinstance(opened, tuple):
                raise invalid_stream("a StreamReader and a StreamWriter", opened)
            reader, writer = opened
        except Exception as error:
            self.notify_failed(error)
            return
        writer.transport.set_write_buffer_limits(high=0)  # so that `drain` waits until everything has been sent

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            self.notify_opened()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.write_out(send))
                await self.read(partial(reader.read, _CHUNK))
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


class StreamsRuntime:
    """The runtime on the running event loop."""

    def __init__(self, suspension: Callable[[], float]) -> None:
        self.lock = nullcontext()  # everything runs on the loop's thread
        self.failed: Callable[[BaseException], None] = log_failure
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: list[LoopTimer] = []
        self._thread = get_ident()
        self._ended = False
        self._clock = Clock(self._loop.time, suspension)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    def now(self) -> float:
        self._check_thread()
        return self._clock.now()

    def open_stream(
        self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> StreamsStream:
        return StreamsStream(self, host, port, receiver, hook)

    def timer(self, callback: Callable[[], None]) -> LoopTimer:
        timer = LoopTimer(self._loop, self._clock, partial(call_back, self, callback))
        self._timers.append(timer)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(call_back, self, callback)

    def future(self, *, outlives_runtime: bool = False) -> EventFuture[asyncio.Event]:
        return EventFuture(asyncio.Event(), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        assert isinstance(future, EventFuture)
        self._check_thread()
        if self._ended and not future.done and not future.outlives_runtime:
            raise runtime_ended()
        await future.event.wait()
        return future.result()

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        task = self._loop.create_task(function(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return await call_in_task(function, *args)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # this task is being cancelled
            raise cancelled_inside(function) from error

    async def end(self) -> None:
        self._ended = True
        for timer in self._timers:
            timer.set(None)
        this_task = {asyncio.current_task()}  # which is one of them if a handler ends the scope
        for task in self._tasks - this_task:
            task.cancel()
        while tasks := self._tasks - this_task:
            await asyncio.wait(tasks)

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise wrong_thread("asyncio.run_coroutine_threadsafe")


def open_runtime(*, suspension: Callable[[], float] = total_suspension) -> AbstractAsyncContextManager[StreamsRuntime]:
    """Create a runtime. On exit, everything that it started ends."""
    return StreamsRuntime(suspension)
