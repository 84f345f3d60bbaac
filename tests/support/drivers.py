"""The drivers under one API, so that a scenario is written once; and a check that every run leaves nothing running or open.

Rules of this file:

- A scenario is an `async def` that uses a driver's API as its users do (`driver.connect`, `open_io`, `Manager`). It
  waits only by that API and by the methods of `Driver`.
- The blocking driver gets the same API by views of its objects, whose `async def` methods block.
- After each run there is no task, no thread and no socket that was not there before.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import trio

import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_blocking
import sansio_socketio_trio
from sansio_socketio.client.blocking.entry import drive

Main = Callable[[], Coroutine[Any, Any, Any]]
Ready = Callable[[], None]
Start = Callable[[Callable[[], Awaitable[Any]]], None]
PATIENCE = 10.0
"""How many seconds a scenario waits for anything; far more than it takes on a busy machine."""


class Queue(Protocol):
    """A queue by which handlers pass values to the scenario."""

    def put(self, item: Any, /) -> None: ...
    async def get(self) -> Any: ...


class Driver(ABC):
    """One driver on one backend."""

    name: str
    module: Any

    def connect(self, *args: Any, **options: Any) -> Any:
        return self.module.connect(*args, **options)

    def open_io(self, *args: Any) -> Any:
        return self.module.open_io(*args)

    def manager(self, *args: Any, **options: Any) -> Any:
        """Create a Manager. The option `suspension` returns for how long the machine has been suspended."""
        manager_class = self.module.Manager
        suspension = options.pop("suspension", None)
        if suspension is not None:
            open_runtime = partial(manager_class.runtime_scope, suspension=suspension)
            attributes = {"runtime_scope": staticmethod(open_runtime), "__module__": manager_class.__module__}
            manager_class = type("Manager", (manager_class,), attributes)
        return manager_class(*args, **options)

    @asynccontextmanager
    async def running(self, manager: Any) -> AsyncGenerator[None]:
        """Start a Manager without a block, open it, and stop it by `close`, as this driver's users do."""
        await manager.open()
        yield
        await manager.close()

    def run(self, main: Main, *, check_sockets: bool = True) -> None:
        """Run a scenario, and check that it leaves nothing running or open."""
        with nothing_left(check_sockets=check_sockets):
            self.play(main)

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Poll until the condition is true."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, "the condition did not become true"
            await self.sleep(0.005)

    def handler(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """Return an `async def` handler as this driver takes it."""
        return function

    async def registered(self, socket: Any) -> None:  # noqa: B027
        """Release the handlers, since all are registered."""

    @abstractmethod
    def play(self, main: Main) -> None:
        """Run a scenario in the present thread."""

    @abstractmethod
    def queue(self) -> Queue: ...

    @abstractmethod
    async def sleep(self, seconds: float) -> None: ...

    @abstractmethod
    async def gather(self, *functions: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Call all of them concurrently, and return their results in order."""

    @abstractmethod
    def background(self) -> AbstractAsyncContextManager[Start]:
        """Return a scope whose value starts functions concurrently. It ends when all of them have returned."""

    @abstractmethod
    async def cancelled(self, function: Callable[[Ready], Awaitable[Any]]) -> None:
        """Run `function(ready)`, and cancel it when it has called `ready` and waits."""


class AsyncioDriver(Driver):
    name = "asyncio"
    module = sansio_socketio_asyncio

    def play(self, main: Main) -> None:
        asyncio.run(_with_no_tasks_left(main))

    def queue(self) -> Queue:
        return _AsyncioQueue()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def gather(self, *functions: Callable[[], Awaitable[Any]]) -> list[Any]:
        return await asyncio.gather(*(function() for function in functions))

    @asynccontextmanager
    async def background(self) -> AsyncGenerator[Start, None]:
        async with asyncio.TaskGroup() as group:
            yield lambda function: _ignore(group.create_task(_coroutine(function())))

    async def cancelled(self, function: Callable[[Ready], Awaitable[Any]]) -> None:
        ready = asyncio.Event()
        task = asyncio.ensure_future(function(ready.set))
        await asyncio.wait_for(ready.wait(), PATIENCE)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


class TrioDriver(Driver):
    name = "trio"
    module = sansio_socketio_trio

    @asynccontextmanager
    async def running(self, manager: Any) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(manager.run)
            await manager.open()
            yield
            await manager.close()

    def play(self, main: Main) -> None:
        trio.run(main)

    def queue(self) -> Queue:
        return _TrioQueue()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def gather(self, *functions: Callable[[], Awaitable[Any]]) -> list[Any]:
        results: list[Any] = [None] * len(functions)

        async def call(index: int) -> None:
            results[index] = await functions[index]()

        async with trio.open_nursery() as nursery:
            for index in range(len(functions)):
                nursery.start_soon(call, index)
        return results

    @asynccontextmanager
    async def background(self) -> AsyncGenerator[Start, None]:
        async with trio.open_nursery() as nursery:
            yield nursery.start_soon

    async def cancelled(self, function: Callable[[Ready], Awaitable[Any]]) -> None:
        ready = trio.Event()
        scope = trio.CancelScope()

        async def call() -> None:
            with scope:
                await function(ready.set)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            with trio.fail_after(PATIENCE):
                await ready.wait()
            await trio.lowlevel.checkpoint()
            scope.cancel()
        assert scope.cancelled_caught


class AnyioDriver(Driver):
    module = sansio_socketio_anyio
    backend: str

    @asynccontextmanager
    async def running(self, manager: Any) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as group:
            await group.start(manager.run)
            await manager.open()
            yield
            await manager.close()

    def play(self, main: Main) -> None:
        anyio.run(main, backend=self.backend)

    def queue(self) -> Queue:
        return _AnyioQueue()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def gather(self, *functions: Callable[[], Awaitable[Any]]) -> list[Any]:
        results: list[Any] = [None] * len(functions)

        async def call(index: int) -> None:
            results[index] = await functions[index]()

        async with anyio.create_task_group() as group:
            for index in range(len(functions)):
                group.start_soon(call, index)
        return results

    @asynccontextmanager
    async def background(self) -> AsyncGenerator[Start, None]:
        async with anyio.create_task_group() as group:
            yield lambda function: _ignore(group.start_soon(_coroutine, function()))

    async def cancelled(self, function: Callable[[Ready], Awaitable[Any]]) -> None:
        ready = anyio.Event()
        scope = anyio.CancelScope()

        async def call() -> None:
            with scope:
                await function(ready.set)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            with anyio.fail_after(PATIENCE):
                await ready.wait()
            await anyio.lowlevel.checkpoint()
            scope.cancel()
        assert scope.cancelled_caught


class AnyioOnAsyncio(AnyioDriver):
    name = "anyio-asyncio"
    backend = "asyncio"

    def play(self, main: Main) -> None:
        anyio.run(lambda: _with_no_tasks_left(main), backend=self.backend)


class AnyioOnTrio(AnyioDriver):
    name = "anyio-trio"
    backend = "trio"


class BlockingDriver(Driver):
    name = "blocking"
    module = sansio_socketio_blocking

    def connect(self, *args: Any, **options: Any) -> Any:
        return View(super().connect(*args, **options))

    def open_io(self, *args: Any) -> Any:
        return View(super().open_io(*args))

    def manager(self, *args: Any, **options: Any) -> Any:
        return View(super().manager(*args, **options))

    def play(self, main: Main) -> None:
        drive(main())

    def handler(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        @wraps(function)
        def handle(*args: Any) -> Any:
            return drive(_coroutine(function(*args)))

        return handle

    async def registered(self, socket: Any) -> None:
        socket._target.start_handlers()

    def queue(self) -> Queue:
        return _ThreadQueue()

    async def sleep(self, seconds: float) -> None:
        _sleep(seconds)

    async def gather(self, *functions: Callable[[], Awaitable[Any]]) -> list[Any]:
        results: list[Any] = [None] * len(functions)

        def call(index: int) -> None:
            results[index] = drive(_coroutine(functions[index]()))

        threads = [threading.Thread(target=call, args=(index,)) for index in range(len(functions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    @asynccontextmanager
    async def background(self) -> AsyncGenerator[Start, None]:
        threads: list[threading.Thread] = []

        def start(function: Callable[[], Awaitable[Any]]) -> None:
            threads.append(threading.Thread(target=lambda: drive(_coroutine(function()))))
            threads[-1].start()

        try:
            yield start
        finally:
            for thread in threads:
                thread.join()

    async def cancelled(self, function: Callable[[Ready], Awaitable[Any]]) -> None:
        """Raise KeyboardInterrupt in it, which for a thread comes closest to a cancellation."""
        interrupted = False

        def interrupt() -> None:
            raise KeyboardInterrupt

        try:
            await function(interrupt)
        except KeyboardInterrupt:
            interrupted = True
        assert interrupted


ASYNC_DRIVERS: list[Driver] = [AsyncioDriver(), TrioDriver(), AnyioOnAsyncio(), AnyioOnTrio()]
DRIVERS: list[Driver] = [*ASYNC_DRIVERS, BlockingDriver()]

# ---------------------------------------------------------------------------------------------------------------------
# The blocking driver with an async API

_AWAITED = frozenset(
    {
        "close",
        "connect",
        "disconnect",
        "emit",
        "emit_with_ack",
        "open",
        "send",
        "wait_closed",
        "wait_connected",
        "wait_for",
    }
)


class View:
    """An object of the blocking driver with async methods, an async scope and async iteration. They block."""

    _target: Any

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name in _AWAITED and not isinstance(self._target, sansio_socketio_blocking.IO):
            return lambda *args, **options: _call(value, args, options)
        if callable(value) and not isinstance(value, type):
            return lambda *args, **options: _view(value(*args, **options))
        return _view(value)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._target, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and self._target is other._target

    def __hash__(self) -> int:
        return id(self._target)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _view(self._target(*args, **options))

    async def __aenter__(self) -> Any:
        return _view(self._target.__enter__())

    async def __aexit__(self, *exc_info: object) -> Any:
        return self._target.__exit__(*exc_info)

    def __aiter__(self) -> View:
        return View(iter(self._target))

    async def __anext__(self) -> Any:
        try:
            return next(self._target)
        except StopIteration:
            raise StopAsyncIteration from None


def _view(value: Any) -> Any:
    """Return a view of an object of the library, and any other value as it is."""
    ours = type(value).__module__.startswith("sansio_socketio") and not isinstance(value, BaseException | str)
    return View(value) if ours else value


async def _call(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return _view(function(*args, **options))


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


async def _coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _ignore(_: object) -> None: ...


# ---------------------------------------------------------------------------------------------------------------------
# Queues


class _AsyncioQueue:
    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.put = self._queue.put_nowait

    async def get(self) -> Any:
        return await asyncio.wait_for(self._queue.get(), PATIENCE)


class _TrioQueue:
    def __init__(self) -> None:
        send, self._receive = trio.open_memory_channel[Any](float("inf"))
        self.put = send.send_nowait

    async def get(self) -> Any:
        with trio.fail_after(PATIENCE):
            return await self._receive.receive()


class _AnyioQueue:
    def __init__(self) -> None:
        self._items: list[Any] = []
        self._filled = anyio.Event()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._filled.set()

    async def get(self) -> Any:
        with anyio.fail_after(PATIENCE):
            while not self._items:
                self._filled = anyio.Event()
                await self._filled.wait()
        return self._items.pop(0)


class _ThreadQueue:
    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.put = self._queue.put

    async def get(self) -> Any:
        return self._queue.get(timeout=PATIENCE)


# ---------------------------------------------------------------------------------------------------------------------
# Leaks


@contextmanager
def nothing_left(*, check_sockets: bool = True) -> Generator[None]:
    """Check at the end that there are no threads and sockets that were not there before."""
    threads, sockets = set(threading.enumerate()), _sockets()
    yield
    left = [thread.name for thread in set(threading.enumerate()) - threads if _is_ours(thread)]
    assert not left, f"threads are left: {left}"
    if check_sockets:
        assert not (opened := _sockets() - sockets), f"sockets are left: {opened}"


async def _with_no_tasks_left(main: Main) -> None:
    before = asyncio.all_tasks()
    await main()
    left = [task.get_name() for task in asyncio.all_tasks() - before]
    assert not left, f"tasks are left: {left}"


def _is_ours(thread: threading.Thread) -> bool:
    """Return whether a thread is neither one of the tests nor one of trio's pool."""
    return not thread.name.startswith(("bad peer", "peer", "Trio"))


def _sockets() -> set[str]:
    """Return the open sockets; nothing on systems that do not list them."""
    folder = Path("/proc/self/fd")
    found = set()
    for entry in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # the descriptor by which the folder is read
            found.add(entry.readlink().name)
    return {name for name in found if name.startswith("socket:")}
