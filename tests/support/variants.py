"""The variants of the virtual world under one API: tasks, tasks that start eagerly, and threads.

A test is an `async def` body that uses the async API. In the variant of threads it drives the blocking API by views.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import copy_context
from functools import wraps
from typing import Any, Final

from sansio_socketio.client import blocking
from sansio_socketio.client.blocking.entry import drive
from sansio_socketio.runtime import runtime_ended
from sansio_socketio.runtime.calls import call_in_thread
from sansio_socketio.runtime.interface import StreamHook, StreamReceiver
from tests.support.drivers import View
from tests.support.fake_runtime import Cancelled, FakeFuture, FakeRuntime, FakeStream, World

URL: Final = "http://localhost:3000"
VARIANTS: Final = ("tasks", "eager tasks", "threads")
_JOIN_TIMEOUT: Final = 1.0


class ThreadTask:
    """A thread that runs only while the world steps it, and pauses where it waits. So threads are deterministic."""

    def __init__(self, world: ThreadsWorld, function: Callable[[], Any], name: str) -> None:
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        self.waits_for: FakeFuture | None = None
        self.deadline: float | None = None
        self.held: list[WatchedLock] = []
        self._world = world
        self._is_running = False
        self._resume = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        context = copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run, function), name=name, daemon=True)
        world.tasks.append(self)  # type: ignore[arg-type]

    def cancel(self) -> None:
        """Do nothing, like real threads."""

    def step(self) -> None:
        """Let it run until it waits, or ends."""
        future = self.waits_for
        is_late = self.deadline is not None and self._world.time >= self.deadline
        if self.done or (future is not None and not future.done and not is_late and not self._world.is_closing):
            return
        before, self._world.current = self._world.current, self  # type: ignore[assignment]
        if self._is_running:
            self._resume.release()
        else:
            self._is_running = True
            self._thread.start()
        self._paused.acquire()
        self._world.current = before
        if self.done:
            self._thread.join()

    def pause(self, future: FakeFuture) -> None:
        """Wait for a future. To be called by the thread."""
        self.waits_for = future
        future.waiters.append(self)  # type: ignore[arg-type]
        if self.deadline is not None:
            self._world.call_at(self.deadline, self.step)
        self._paused.release()
        self._resume.acquire()
        self.waits_for = None
        if self._world.is_closing:
            raise Cancelled
        if not future.done:
            raise TimeoutError("the call did not complete within its timeout")

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            function()
        except BaseException as error:
            self.error = error
        self.done = True
        self._world.tasks.remove(self)  # type: ignore[arg-type]
        self._paused.release()


class WatchedLock:
    """The lock of a runtime. No thread may take it while it holds that of another one, since two threads could deadlock."""

    def __init__(self, world: ThreadsWorld) -> None:
        self._world = world

    def __enter__(self) -> None:
        held = self._held
        if any(lock is not self for lock in held):
            self._world.took_two_locks = True
        held.append(self)

    def __exit__(self, *_: object) -> None:
        held = self._held
        if held:
            held.pop()

    @property
    def _held(self) -> list[WatchedLock]:
        current: Any = self._world.current
        return [] if current is None else current.held


class ThreadsRuntime(FakeRuntime):
    """The services, with threads."""

    _world: ThreadsWorld

    def __init__(self, world: ThreadsWorld) -> None:
        super().__init__(world)
        self.lock: Any = WatchedLock(world)
        self.threads: list[ThreadTask] = []
        self.waiting: list[FakeFuture] = []
        self.streams: list[FakeStream] = []

    @property
    def _this(self) -> ThreadTask:
        current = self._world.current
        assert isinstance(current, ThreadTask), "the network thread must not wait"
        return current

    async def wait(self, future: Any) -> Any:
        if self.ended and not future.done and not future.outlives_runtime:
            raise runtime_ended()
        if not future.done:
            self.waiting.append(future)
            try:
                self._this.pause(future)
            finally:
                self.waiting.remove(future)
        return future.result()

    @contextmanager
    def deadline(self, timeout: float | None) -> Generator[None, None, None]:
        this = self._this
        before, this.deadline = this.deadline, None if timeout is None else self._world.time + timeout
        try:
            yield
        finally:
            this.deadline = before

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> Any:
        task = ThreadTask(self._world, lambda: drive(function()), name)
        self.threads.append(task)
        self._world.call_soon(task.step)
        return task

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None) -> FakeStream:
        self.streams.append(super().open_stream(host, port, receiver, hook))
        return self.streams[-1]

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        this = self._this
        held, this.held = this.held, []  # it is called without the lock
        try:
            return call_in_thread(function, *args)
        finally:
            this.held = held


class ThreadsWorld(World):
    """A world in which each task is a thread.

    Attributes:
        is_closing: Whether threads that still wait are to end.
        took_two_locks: Whether a thread held the locks of two runtimes.
    """

    def __init__(self) -> None:
        super().__init__(threads=True)
        self.is_closing = False
        self.took_two_locks = False

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        task = ThreadTask(self, lambda: drive(main()), "main")
        self.call_soon(task.step)
        try:
            self.run_until(lambda: task.done, None)
            if task.error is None:  # threads that block in something else outlive a runtime
                self.run_until(lambda: not self.tasks, None)
        finally:
            self.is_closing = task.error is not None or not task.done
            for left in list(self.tasks) if self.is_closing else ():
                left.step()
        if task.error is not None:
            raise task.error
        assert not self.took_two_locks

    async def sleep(self, seconds: float) -> None:
        future = FakeFuture(self)
        self.call_at(self.time + seconds, future.resolve)
        await ThreadsRuntime(self).wait(future)

    @asynccontextmanager
    async def open_runtime(self, lock: object = None) -> AsyncGenerator[FakeRuntime, None]:
        runtime = ThreadsRuntime(self)
        try:
            yield runtime
        finally:
            runtime.ended = True
            for future in runtime.waiting:
                if not future.outlives_runtime:
                    future.fail(runtime_ended())
            deadline = self.time + _JOIN_TIMEOUT
            while self.time < deadline and self._running(runtime):
                await self.sleep(0)
                if self._running(runtime):
                    await self.sleep(0.1)
            assert not [stream for stream in runtime.streams if stream in self.streams], "streams are still open"

    def _running(self, runtime: ThreadsRuntime) -> bool:
        current: Any = self.current
        return any(not thread.done and thread is not current for thread in runtime.threads)


class Variant:
    """A world, and the client in it.

    Args:
        name: One of `VARIANTS`.

    Attributes:
        errors: What `on_handler_error` was called with, where a Manager has it as `report`: the event and the error.
    """

    def __init__(self, name: str) -> None:
        self.is_threads = name == "threads"
        self.world = ThreadsWorld() if self.is_threads else World(eager=name == "eager tasks")
        self.server = self.world.server
        self.errors: list[tuple[str, Exception]] = []

    def manager(self, **options: Any) -> Any:
        """A Manager, which is not running yet."""
        if not self.is_threads:
            return self.world.manager_class(URL, **options)
        manager_class = type(
            "Manager",
            (blocking.Manager,),
            {"runtime_scope": self.world.open_runtime, "make_lock": staticmethod(nullcontext)},
        )
        return View(manager_class(URL, **options))

    def handler(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """An `async def` handler as this variant takes it."""
        if not self.is_threads:
            return function

        @wraps(function)
        def handle(*args: Any) -> Any:
            return drive(_coroutine(function(*args)))

        return handle

    def report(self, error: Exception, event: str) -> None:
        """For `on_handler_error`."""
        self.errors.append((event, error))

    def run(self, body: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run a body to its end, and check that nothing is left running."""
        self.world.run(body)
        assert [task.name for task in self.world.tasks] == []
        assert self.world.streams == []

    async def wait(self, future: FakeFuture) -> Any:
        """Wait for a future of the world."""
        runtime = ThreadsRuntime(self.world) if isinstance(self.world, ThreadsWorld) else FakeRuntime(self.world)
        return await runtime.wait(future)

    async def sleep(self, seconds: float) -> None:
        """Let time pass, with everything that happens meanwhile."""
        await self.world.sleep(seconds)

    def answer(self, *values: Any) -> None:
        """Let the server acknowledge every event that asks for it."""
        self.server.on_event = lambda packet: self.server.ack(packet, *values) if packet.id is not None else None


async def _coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
