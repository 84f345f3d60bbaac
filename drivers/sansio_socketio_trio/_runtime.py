"""The services of `runtime.interface`, by trio: a nursery, its streams, cancel scopes with deadlines, events.

Rules of this file:

- All that runs beside runs in the nursery of `open_runtime`, which is cancelled when its body is done.
- An exception of the body leaves as it is: it goes round the nursery, which would put it into a group, and would take
  apart a group that the body raised.
- Client code is protected from KeyboardInterrupt, which is raised where the application's own code runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from inspect import isawaitable, isfunction
from math import inf
from threading import get_ident
from typing import Any

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from sansio_socketio.client.hub import Hub
from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.namespace import Namespace
from sansio_socketio.runtime import (
    EventFuture,
    Future,
    StreamHook,
    StreamReceiver,
    TaskStream,
    invalid_stream,
    runtime_ended,
    underlying_error,
    ungrouped,
    wrong_thread,
)

_CHUNK = 1 << 18  # bytes read at once


class TrioFuture(EventFuture[trio.Event]):
    """A result that tasks wait for."""

    __slots__ = ()


class TrioTimer:
    """One deadline: that of a scope in which a task sleeps."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._deadline = inf
        self._scope = trio.CancelScope()

    def set(self, deadline: float | None) -> None:
        """Call back at `deadline`, instead of when it was set before; None: never."""
        self._deadline = self._scope.deadline = inf if deadline is None else deadline

    @enable_ki_protection
    async def run(self) -> None:
        """Sleep, call back, and again."""
        while True:
            with trio.CancelScope(deadline=self._deadline) as self._scope:
                await trio.sleep_forever()
            if self._deadline <= trio.current_time():  # it may have been moved after it had come
                self._deadline = inf
                self._callback()


class TrioStream(TaskStream):
    """A stream, and the scope of its tasks."""

    def __init__(self, runtime: TrioRuntime, receiver: StreamReceiver) -> None:
        super().__init__(runtime, receiver)
        self._scope = trio.CancelScope()

    def abort(self) -> None:
        """Close at once, also while opening."""
        self.receiver = None
        self._scope.cancel()

    @enable_ki_protection
    async def run(self, host: str, port: int, hook: StreamHook | None) -> None:
        """Open it, by happy eyeballs and with TCP_NODELAY as trio does by itself, and move its bytes until it ends."""
        with self._scope:
            try:
                if hook is None:
                    plain: trio.abc.Stream = await trio.open_tcp_stream(host, port)
                elif not isinstance(plain := await self._runtime.call(hook, host, port), trio.abc.Stream):
                    raise invalid_stream("a trio.abc.Stream", plain)
            except Exception as error:  # a name can be wrong in several ways
                self.notify_failed(underlying_error(error) if hook is None else error)
                return
            async with plain, trio.open_nursery() as nursery:
                self.notify_opened()
                nursery.start_soon(self.write_out, plain.send_all)
                await self.read(partial(plain.receive_some, _CHUNK))


class TrioRuntime:
    """The services, in a nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.lock = nullcontext()
        self._nursery = nursery
        self._soon, callbacks = trio.open_memory_channel[Callable[[], None]](inf)
        self._thread = get_ident()
        self._ended = False
        nursery.start_soon(self._call_back, callbacks)

    def now(self) -> float:
        """The clock of trio's run. Raises StateError in a foreign thread."""
        self._check_thread()
        return trio.current_time()

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None) -> TrioStream:
        """Begin to open a TCP stream, or what the hook, `async (host, port)`, returns: any `trio.abc.Stream`."""
        stream = TrioStream(self, receiver)
        self._nursery.start_soon(stream.run, host, port, hook)
        return stream

    def timer(self, callback: Callable[[], None]) -> TrioTimer:
        """Make a timer that calls back."""
        timer = TrioTimer(callback)
        self._nursery.start_soon(timer.run)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in a later turn; in order, which `start_soon` does not keep."""
        self._soon.send_nowait(callback)

    def future(self, *, outlives_runtime: bool = False) -> TrioFuture:
        """Make a future."""
        return TrioFuture(trio.Event(), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        """Wait for a future of this runtime."""
        assert isinstance(future, TrioFuture)
        self._check_thread()
        if self._ended and not future.done and not future.outlives_runtime:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise runtime_ended()
        await future.event.wait()
        return future.result()

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> trio.CancelScope:
        """Run `function()` in a task."""
        scope = trio.CancelScope()
        self._nursery.start_soon(self._run, function, scope, name=name)
        return scope

    @disable_ki_protection
    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, and await what it returns."""
        result = function(*args)
        return await result if isawaitable(result) else result

    def end(self) -> None:
        """End all that was started; the nursery waits for that."""
        self._ended = True
        self._nursery.cancel_scope.cancel()

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise wrong_thread("trio.from_thread.run or trio.from_thread.run_sync")

    @enable_ki_protection
    async def _run(self, function: Callable[[], Coroutine[Any, Any, None]], scope: trio.CancelScope) -> None:
        with scope:
            await function()

    @enable_ki_protection
    async def _call_back(self, callbacks: trio.MemoryReceiveChannel[Callable[[], None]]) -> None:
        async for callback in callbacks:
            callback()


for _machinery in (TaskStream, Hub, ClientProtocol, Namespace):
    for _function in filter(isfunction, vars(_machinery).values()):
        enable_ki_protection(_function)


@asynccontextmanager
async def open_runtime() -> AsyncGenerator[TrioRuntime, None]:
    """A runtime in a nursery of its own. What it started ends with this scope."""
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            runtime = TrioRuntime(nursery)
            try:
                yield runtime
            except BaseException as raised:
                if isinstance(raised, trio.Cancelled) or nursery.cancel_scope.cancel_called:
                    raise
                error = raised
            finally:
                runtime.end()
    except BaseExceptionGroup as group:
        error = error or ungrouped(group, trio.Cancelled)
    if error is not None:
        raise error
