"""A runtime for libraries with structured concurrency: the common part of the drivers for trio and anyio.

Rules of this file:

- Everything that the runtime starts runs in one nursery, which is cancelled at the end of the scope.
- An exception in the scope's body is raised unchanged. It bypasses the nursery, which would wrap it in an exception group,
  or change a group that the body raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import get_ident
from typing import Any, Protocol, TypeVar

from .calls import call_in_task, log_failure
from .clock import Clock, total_suspension
from .futures import EventFuture, runtime_ended, wrong_thread
from .interface import Future, StreamAcceptor, StreamHook, StreamReceiver
from .streams import TaskStream, find_interrupt, invalid_stream, underlying_error, unwrap_group


class Event(Protocol):
    """The library's event."""

    def set(self) -> object: ...
    async def wait(self) -> object: ...


class CancelScope(AbstractContextManager[Any], Protocol):
    """The library's cancel scope."""

    @property
    def deadline(self) -> float: ...
    @deadline.setter
    def deadline(self, value: float, /) -> None: ...
    def cancel(self) -> object: ...


class Nursery(Protocol):
    """The library's nursery or task group."""

    @property
    def cancel_scope(self) -> Any: ...
    def start_soon(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Library:
    """The functions and classes of a library, such as trio, that a `StructuredRuntime` uses.

    Attributes:
        event: Creates an event.
        cancel_scope: Creates a cancel scope; accepts `deadline=`.
        open_nursery: Creates a nursery, as an async context manager.
        now: Returns the time on the clock of the deadlines.
        sleep_forever: Waits until the task is cancelled.
        checkpoint_if_cancelled: Raises the cancellation if the task is cancelled.
        cancelled: Returns the class of the library's cancellation.
        connect: Opens a stream to a host and port, with TCP_NODELAY and by happy eyeballs.
        stream_class: The class of the streams that the hook `open_stream` may return.
        stream_class_name: Its name with an article, for error messages.
        send: Sends bytes over a stream; returns when all have been sent.
        receive: Receives bytes from a stream; b"" at its end.
        from_thread: How to call the library from another thread, for error messages.
    """

    event: Callable[[], Event]
    cancel_scope: Callable[..., CancelScope]
    open_nursery: Callable[[], AbstractAsyncContextManager[Any]]
    now: Callable[[], float]
    sleep_forever: Callable[[], Awaitable[object]]
    checkpoint_if_cancelled: Callable[[], Awaitable[None]]
    cancelled: Callable[[], type[BaseException]]
    connect: Callable[[str, int], Awaitable[Any]]
    stream_class: type[Any]
    stream_class_name: str
    send: Callable[[Any, bytes], Awaitable[None]]
    receive: Callable[[Any], Awaitable[bytes | bytearray]]
    from_thread: str


class StructuredTimer:
    """A `Timer` that runs as a task, which sleeps in a cancel scope with the timer's deadline."""

    def __init__(self, library: Library, clock: Clock, callback: Callable[[], None]) -> None:
        self._library = library
        self._clock = clock
        self._callback = callback
        self._deadline = inf
        self._scope = library.cancel_scope()

    def set(self, deadline: float | None) -> None:
        """Call the callback at `deadline` instead of at the previous deadline. None cancels the timer."""
        self._deadline = inf if deadline is None else deadline
        self._scope.deadline = self._wakes_at()

    async def run(self) -> None:
        """Call the callback at each deadline. Run this in a task."""
        while True:
            self._scope = self._library.cancel_scope(deadline=self._wakes_at())
            with self._scope:
                await self._library.sleep_forever()
            if self._deadline <= self._clock.now():  # it may have been set to a later time
                self._deadline = inf
                self._callback()

    def _wakes_at(self) -> float:
        return inf if self._deadline == inf else self._clock.wake_at(self._deadline)


class StructuredStream(TaskStream):
    """A `TaskStream` whose tasks run in one cancel scope."""

    def __init__(self, runtime: StructuredRuntime, receiver: StreamReceiver | None) -> None:
        super().__init__(runtime, receiver)
        self._start = runtime.start
        self._cancel = runtime.cancel
        self._library = runtime.library
        self._scope = runtime.library.cancel_scope()

    def abort(self) -> None:
        """Close in the next loop iteration, even if the stream is not open yet."""
        self.receiver = None
        self._cancel(self._scope)

    async def run(self, host: str, port: int, hook: StreamHook | None) -> None:
        """Open the stream, and transfer bytes until it ends. Run this in a task."""
        library = self._library
        with self._scope:
            try:
                if hook is None:
                    plain = await library.connect(host, port)
                elif not isinstance(plain := await self._runtime.call(hook, host, port), library.stream_class):
                    raise invalid_stream(library.stream_class_name, plain)
            except Exception as error:  # an invalid host name raises various exceptions
                self.notify_failed(underlying_error(error) if hook is None else error)
                return
            await self._transfer(plain, partial(library.send, plain), partial(library.receive, plain))

    async def run_accepted(self, plain: Any, accept: StreamAcceptor, peer: str) -> None:
        """Transfer the bytes of an accepted stream until it ends. Run this in a task."""
        library, runtime = self._library, self._runtime
        is_sending = False

        async def send(data: bytes) -> None:
            nonlocal is_sending
            is_sending = True
            await library.send(plain, data)
            is_sending = False

        async def receive() -> bytes | bytearray:
            data = await library.receive(plain)
            if (
                is_sending
            ):  # this may be the response to all of it, so that the other task is about to report it as sent
                done = runtime.future()
                runtime.call_soon(done.resolve)
                await runtime.wait(done)
            return data

        with self._scope:
            self.receiver = accept(self, peer)
            await self._transfer(plain, send, receive)

    async def _transfer(
        self,
        plain: AbstractAsyncContextManager[Any],
        send: Callable[[bytes], Awaitable[None]],
        receive: Callable[[], Awaitable[bytes | bytearray]],
    ) -> None:
        async with plain, self._library.open_nursery() as nursery:
            self.notify_opened()
            self._start(nursery, "write to a stream", self.write_out, send)
            await self.read(receive)


class StructuredTask:
    """A task, in a cancel scope of its own."""

    __slots__ = ("_cancel", "_scope")

    def __init__(self, runtime: StructuredRuntime) -> None:
        self._cancel = runtime.cancel
        self._scope = runtime.library.cancel_scope()

    def cancel(self) -> None:
        """Cancel the task in the next loop iteration."""
        self._cancel(self._scope)

    async def run(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `function()` as the whole of the task."""
        with self._scope:
            await function()


class StructuredRuntime:
    """A `Runtime` in a nursery.

    A driver's subclass may override `task` and `call`, through which all code of the library and of the application runs.
    """

    def __init__(self, library: Library, nursery: Nursery, suspension: Callable[[], float] = total_suspension) -> None:
        self.library = library
        self.lock = nullcontext()
        self._clock = Clock(library.now, suspension)
        self.failed: Callable[[BaseException], None] = log_failure
        self._nursery = nursery
        self._soon: deque[Callable[[], None]] = deque()
        self._wake = library.event()
        self._thread = get_ident()
        self._ended = False
        self.start(nursery, "call_soon", self._call_back)

    def start(self, nursery: Nursery, name: str, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run `function(*args)` in a task of the nursery."""
        nursery.start_soon(self.task, function, *args, name=name)

    async def task(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run `function(*args)` as the whole of a task."""
        try:
            await function(*args)
        except Exception as error:
            self.failed(error)
            raise  # the nursery cancels the application's block, which raises the exception

    def now(self) -> float:
        """Return the time of the clock. Raise StateError in another thread."""
        self._check_thread()
        return self._clock.now()

    def open_stream(
        self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> StructuredStream:
        """Start to open a TCP stream, or a stream that `await hook(host, port)` returns."""
        stream = StructuredStream(self, receiver)
        self.start(self._nursery, f"stream to {host}:{port}", stream.run, host, port, hook)
        return stream

    def timer(self, callback: Callable[[], None]) -> StructuredTimer:
        """Create a timer."""
        timer = StructuredTimer(self.library, self._clock, callback)
        self.start(self._nursery, "timer", timer.run)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in a later loop iteration. Callbacks run in order, which `start_soon` would not guarantee."""
        self._soon.append(callback)
        self._wake.set()

    def future(self, *, outlives_runtime: bool = False) -> EventFuture[Event]:
        """Create a future."""
        return EventFuture(self.library.event(), outlives_runtime=outlives_runtime)

    async def wait(self, future: Future) -> Any:
        """Wait for a future of this runtime. Raise StateError in another thread."""
        assert isinstance(future, EventFuture)
        self._check_thread()
        if self._ended and not future.done and not future.outlives_runtime:
            await self.library.checkpoint_if_cancelled()
            raise runtime_ended()
        await future.event.wait()
        return future.result()

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> StructuredTask:
        """Run `function()` in a task."""
        task = StructuredTask(self)
        self.start(self._nursery, name, task.run, function)
        return task

    def cancel(self, scope: CancelScope) -> None:
        """Cancel the scope of a task in the next loop iteration, unless `end` cancels everything before.

        The reason is a defect of anyio on asyncio (4.16): if the nursery is cancelled while a task of it leaves a scope that
        has been cancelled, the nursery's block counts that cancellation as its own, and loses one from outside, like Ctrl-C.
        """
        self.call_soon(partial(self._cancel, scope))

    def _cancel(self, scope: CancelScope) -> None:
        if not self._ended:
            scope.cancel()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, and await what it returns if it is awaitable."""
        return await call_in_task(function, *args)

    def end(self) -> None:
        """Cancel everything that was started. The nursery waits until it has ended."""
        self._ended = True
        self._nursery.cancel_scope.cancel()

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise wrong_thread(self.library.from_thread)

    async def _call_back(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = self.library.event()
            for _ in range(len(self._soon)):  # callbacks that are added meanwhile run in the next iteration
                self._soon.popleft()()


R = TypeVar("R", bound=StructuredRuntime)


@asynccontextmanager
async def open_structured(
    library: Library,
    runtime_class: Callable[[Library, Nursery, Callable[[], float]], R],
    suspension: Callable[[], float] = total_suspension,
) -> AsyncGenerator[R, None]:
    """Create a runtime in a nursery of its own. On exit, everything that it started ends.

    `suspension` is the second argument of its `Clock`.
    """
    error: BaseException | None = None
    try:
        async with library.open_nursery() as nursery:
            runtime = runtime_class(library, nursery, suspension)
            try:
                yield runtime
            except BaseException as raised:
                if isinstance(raised, library.cancelled()) or nursery.cancel_scope.cancel_called:
                    raise
                error = raised
            finally:
                runtime.end()
    except library.cancelled():  # anyio raises it bare
        if error is None:
            raise
    except BaseExceptionGroup as group:
        error = find_interrupt(group) or error or unwrap_group(group, library.cancelled())
    if error is not None:
        raise error
