"""A runtime in virtual time, and a server on it that the test controls. The tests of `client` use it.

- `World.run(main)` runs a coroutine on an event loop of its own. When nothing is ready, time advances to the next timer;
  when there is none either, the test fails at once, because nothing can happen any more.
- With `threads`, `wait` does not suspend the caller: it runs the event loop until the future is done, like a
  blocked thread.
- The `Server` accepts everything unless the test says otherwise. It talks to the client by `Wire`s, on which each chunk of
  bytes is one packet. (`fake_server.FakeServer` is for tests of `ClientProtocol` without a runtime: it holds the state
  machine itself, and the test calls it synchronously. Here streams are the only way to the client.)
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import Context, copy_context
from inspect import isawaitable
from types import coroutine
from typing import Any, Final

from sansio_socketio.client import Manager, Scopes, Socket, blocking
from sansio_socketio.client.blocking.entry import drive
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.packets.socketio import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    Decoder,
    JSONParser,
    Packet,
)
from sansio_socketio.runtime import StreamHook, StreamReceiver, log_failure, runtime_ended, wrong_thread
from tests.support.fake_server import _from_wire, _to_wire

URL: Final = "http://localhost"
_MOST_CALLBACKS: Final = 1_000_000


class Cancelled(BaseException):
    """The runtime's cancellation."""


class FakeFuture:
    def __init__(self, world: World, *, outlives_runtime: bool = False) -> None:
        self.outlives_runtime = outlives_runtime
        self.done = False
        self.error: BaseException | None = None
        self.value: Any = None
        self.waiters: list[FakeTask] = []
        self._world = world

    def resolve(self, value: Any = None) -> None:
        if not self.done:
            self.done = True
            self.value = value
            for task in self.waiters:
                self._world.call_soon(task.step)
            self.waiters.clear()

    def fail(self, error: BaseException) -> None:
        if not self.done:
            self.error = error
            self.resolve()

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class FakeTask:
    """A coroutine that the event loop steps. It yields the future that it waits for.

    Attributes:
        is_watched: Whether its error is retrieved. Otherwise the error is raised in the event loop.
    """

    def __init__(self, world: World, main: Coroutine[Any, Any, Any], context: Context, name: str) -> None:
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waits_for: FakeFuture | None = None
        self.is_watched = False
        self._world = world
        self._coroutine = main
        self._context = context
        self._cancelled = False
        world.tasks.append(self)

    def cancel(self) -> None:
        if not self.done and not self._cancelled:
            self._cancelled = True
            if self.waits_for is not None and self in self.waits_for.waiters:
                self.waits_for.waiters.remove(self)
            self._world.call_soon(self.step)

    def step(self) -> None:
        if self.done:
            return
        world, before = self._world, self._world.current
        world.current = self
        try:
            future = self._context.run(self._advance)
        except StopIteration as stop:
            self._end(stop.value, None)
        except BaseException as error:
            self._end(None, error)
        else:
            self.waits_for = future
            if future.done or self._cancelled:
                world.call_soon(self.step)
            else:
                future.waiters.append(self)
        finally:
            world.current = before

    def _advance(self) -> FakeFuture:
        future: FakeFuture = self._coroutine.throw(Cancelled()) if self._cancelled else self._coroutine.send(None)
        return future

    def _end(self, result: Any, error: BaseException | None) -> None:
        self.done, self.result, self.error = True, result, error
        self._world.tasks.remove(self)
        if error is not None and not self.is_watched and not isinstance(error, Cancelled):
            raise error


@coroutine
def _suspend(future: FakeFuture) -> Generator[FakeFuture, None, None]:
    yield future


class FakeTimer:
    def __init__(self, world: World, callback: Callable[[], None]) -> None:
        self.deadline: float | None = None
        self._world = world
        self._callback = callback

    def set(self, deadline: float | None) -> None:
        self.deadline = deadline
        if deadline is not None:
            self._world.call_at(deadline, lambda: self._fire(deadline))

    def _fire(self, deadline: float) -> None:
        if self.deadline == deadline:
            self.deadline = None
            self._callback()


class FakeStream:
    """The client's end; the server's is `Connection`."""

    def __init__(self, world: World, host: str, port: int, receiver: StreamReceiver) -> None:
        self.address = (host, port)
        self.receiver: StreamReceiver | None = receiver
        self.is_open = False
        self.is_paused = False
        self.written: list[bytes] = []
        self._unread: deque[engineio.Packet] = deque()
        self._world = world
        world.streams.append(self)
        world.call_soon(lambda: world.server.stream_opening(self))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.is_open, "written before it was open"
        if not self.written:
            self._world.call_soon(self.flush)
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        assert self.receiver is not None
        assert not self.is_paused, "paused twice"
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused, "resumed, but not paused"
        self.is_paused = False
        self._world.call_soon(self._read)

    def _read(self) -> None:
        while self._unread and not self.is_paused and self.receiver is not None:
            self.receiver.received(_to_wire(self._unread.popleft()))

    def close(self) -> None:
        self.flush()
        self.abort()

    def abort(self) -> None:
        assert not self.is_paused, "must be resumed first"
        if self.receiver is not None:
            self.receiver = None
            self._world.streams.remove(self)

    def flush(self) -> None:
        if self._world.server.is_reading and self.written and self.receiver is not None:
            written, self.written = self.written, []
            for data in written:
                self._world.server.data_written(self, data)
            if self.receiver is not None:
                self.receiver.sent()

    # For the server

    def open(self) -> None:
        if self.receiver is not None:
            self.is_open = True
            self.receiver.opened()

    def refuse(self) -> None:
        self._end(lambda receiver: receiver.failed(ConnectionRefusedError(111, "refused")))

    def say(self, packet: engineio.Packet) -> None:
        self._unread.append(packet)
        self._read()

    def lose(self, error: Exception | None = None) -> None:
        self._end(lambda receiver: receiver.closed(error))

    def _end(self, notify: Callable[[StreamReceiver], None]) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            self._world.streams.remove(self)
            notify(receiver)


class Server:
    """The peer.

    Attributes:
        accepts: Whether streams can be opened. None leaves them opening.
        refusal: The data of CONNECT_ERROR by namespace. Other namespaces are accepted.
        joins: Whether CONNECT is answered at all.
        greets: The arguments of an event that is sent together with the answer to CONNECT.
        is_reading: Whether what the client writes is read. Otherwise its streams do not drain.
        upgrades: What the handshake offers. If there is any, a second stream is a probe.
        probe_answer: The data of the PONG that answers a probe.
        on_event: Called with each EVENT packet.
        got: The received Socket.IO packets.
        connections: How many streams the client has opened.
        stream: The stream of the session.
    """

    def __init__(self) -> None:
        self.accepts: bool | None = True
        self.refusal: dict[str, Any] = {}
        self.joins = True
        self.greets: list[Any] | None = None
        self.is_reading = True
        self.upgrades: list[str] = []
        self.max_payload: int | None = None
        self.probe_answer = "probe"
        self.on_event: Callable[[Packet], None] = lambda packet: None
        self.got: list[Packet] = []
        self.connections = 0
        self.stream: FakeStream | None = None
        self._encoder = JSONParser().encoder()
        self._decoders: dict[int, Decoder] = {}

    # For tests

    def acknowledge_with(self, *values: Any) -> None:
        """Acknowledge every event that asks for it with these values."""
        self.on_event = lambda packet: self.ack(packet, *values) if packet.id is not None else None

    def emit(self, *args: Any, namespace: str = "/", id: int | None = None) -> None:  # noqa: A002
        self.send(Packet(EVENT, namespace, list(args), id))

    def ack(self, packet: Packet, *values: Any) -> None:
        self.send(Packet(ACK, packet.namespace, list(values), packet.id))

    def kick(self, namespace: str = "/") -> None:
        self.send(Packet(DISCONNECT, namespace))

    def send(self, packet: Packet) -> None:
        stream = self.stream
        assert stream is not None
        for message in self._encoder.encode(packet):
            stream.say(engineio.Packet(engineio.MESSAGE, message))

    def lose(self, error: Exception | None = None) -> None:
        stream = self.stream
        assert stream is not None
        stream.lose(error)

    def read_on(self) -> None:
        """Read the pending data, and continue to read."""
        self.is_reading = True
        if self.stream is not None:
            self.stream.flush()

    def ping(self) -> None:
        assert self.stream is not None
        self.stream.say(engineio.Packet(engineio.PING))

    def events(self) -> list[Any]:
        """Return the arguments of the received events."""
        return [packet.data for packet in self.got if packet.type == EVENT]

    def acks(self) -> list[tuple[int | None, Any]]:
        """Return the ids and values of the received acknowledgements."""
        return [(packet.id, packet.data) for packet in self.got if packet.type == ACK]

    def payloads(self) -> list[Any]:
        """Return the data of the received CONNECT packets."""
        return [packet.data for packet in self.got if packet.type == CONNECT]

    # For the streams

    def stream_opening(self, stream: FakeStream) -> None:
        self.connections += 1
        if self.accepts is None or stream.receiver is None:
            return
        if not self.accepts:
            stream.refuse()
            return
        stream.open()
        if self.upgrades and self.stream is not None and self.stream.receiver is not None:
            return
        self.stream = stream
        handshake = {"sid": "e1", "upgrades": self.upgrades, "pingInterval": 3_600_000, "pingTimeout": 3_600_000}
        if self.max_payload is not None:
            handshake["maxPayload"] = self.max_payload
        stream.say(engineio.Packet(engineio.OPEN, json.dumps(handshake)))

    def data_written(self, stream: FakeStream, data: bytes) -> None:
        packet = _from_wire(data)
        if packet.type == engineio.CLOSE:
            stream.lose()
        elif packet.type == engineio.PING:
            stream.say(engineio.Packet(engineio.PONG, self.probe_answer))
        elif packet.type == engineio.UPGRADE:
            self.stream = stream
        elif packet.type == engineio.MESSAGE:
            message = self._decoders.setdefault(id(stream), JSONParser().decoder(100)).feed(packet.data)
            if message is not None:
                self._got(message)

    def _got(self, packet: Packet) -> None:
        self.got.append(packet)
        if packet.type == CONNECT and self.joins:
            refusal = self.refusal.get(packet.namespace)
            if refusal is not None:
                self.send(Packet(CONNECT_ERROR, packet.namespace, refusal))
                return
            self.send(Packet(CONNECT, packet.namespace, {"sid": f"s{self.connections}{packet.namespace}"}))
            if self.greets is not None:
                self.emit(*self.greets, namespace=packet.namespace)
        elif packet.type == EVENT:
            self.on_event(packet)


class FakeRuntime:
    """An implementation of `runtime.Runtime`."""

    def __init__(self, world: World) -> None:
        self.lock = nullcontext()
        self.failed: Callable[[BaseException], None] = log_failure
        self.ended = False
        self.tasks: list[FakeTask] = []
        self._world = world

    def now(self) -> float:
        if self._world.is_other_thread:
            raise wrong_thread("the thread of the World")
        return self._world.time

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None) -> FakeStream:
        if hook is not None:
            host, port = hook(host, port)
        return FakeStream(self._world, host, port, receiver)

    def timer(self, callback: Callable[[], None]) -> FakeTimer:
        return FakeTimer(self._world, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._world.call_soon(callback)

    def future(self, *, outlives_runtime: bool = False) -> FakeFuture:
        return FakeFuture(self._world, outlives_runtime=outlives_runtime)

    async def wait(self, future: Any) -> Any:
        assert isinstance(future, FakeFuture)
        world = self._world
        if self.ended and not future.done and not future.outlives_runtime:
            raise runtime_ended()
        if world.threads and world.current is None:
            world.run_until(lambda: future.done, world.deadline)
        elif not future.done:
            await _suspend(future)
        return future.result()

    @contextmanager
    def deadline(self, timeout: float | None) -> Generator[None, None, None]:
        world, before = self._world, self._world.deadline
        world.deadline = None if timeout is None else world.time + timeout
        try:
            yield
        finally:
            world.deadline = before

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> FakeTask:
        task = FakeTask(self._world, function(), copy_context(), name)
        self.tasks.append(task)
        if self._world.eager:
            task.step()
        else:
            self._world.call_soon(task.step)
        return task

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        world, current = self._world, self._world.current
        if world.threads:
            world.current = None
        try:
            result = function(*args)
        finally:
            world.current = current
        return await result if isawaitable(result) else result


class World:
    """An event loop in virtual time, with a server.

    Args:
        threads: Whether the test is a plain function, in which waits block.
        eager: Whether tasks run their first step when they are made.

    Attributes:
        time: The time in seconds.
        server: The server.
        streams: The client's streams that are open or opening.
        tasks: The tasks that have not ended.
        current: The task that is running.
        main: The task of `run`.
        is_other_thread: Whether the code that runs now counts as running in another thread than the runtime's.
    """

    runtime_class: type[FakeRuntime] = FakeRuntime

    def __init__(self, *, threads: bool = False, eager: bool = False) -> None:
        self.time = 1000.0
        self.threads = threads
        self.eager = eager
        self.server = Server()
        self.streams: list[FakeStream] = []
        self.tasks: list[FakeTask] = []
        self.current: FakeTask | None = None
        self.main: FakeTask | None = None
        self.deadline: float | None = None
        self.is_other_thread = False
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._ready.append(callback)

    def suspend(self, seconds: float) -> None:
        """Suspend the machine: the clock of the runtime counts the time, but timers do not."""
        self.time += seconds
        self._timers = [(when + seconds, sequence, callback) for when, sequence, callback in self._timers]

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, callback))

    @property
    def manager_class(self) -> type[Manager]:
        """A Manager on this runtime, where tasks belong to no scope."""
        return type("Manager", (Manager,), {"runtime_scope": self.open_runtime, "can_be_held": True})

    @property
    def blocking_manager_class(self) -> type[blocking.Manager]:
        """A Manager of the blocking API on this runtime."""
        return type(
            "Manager",
            (blocking.Manager,),
            {"runtime_scope": staticmethod(self.open_runtime), "make_lock": staticmethod(nullcontext)},
        )

    @property
    def scopes(self) -> Scopes:
        """`connect` and `open_io` on this runtime."""
        return Scopes(self.manager_class)

    @asynccontextmanager
    async def open_runtime(self, lock: object = None) -> AsyncGenerator[FakeRuntime, None]:
        """Set up a runtime: a `RuntimeScope`. The lock is not needed, since there is one thread."""
        runtime = self.runtime_class(self)
        try:
            yield runtime
        finally:
            runtime.ended = True
            left = [task for task in runtime.tasks if not task.done and task is not self.current]
            for task in left:
                task.cancel()
            current, self.current = self.current, None
            self.run_until(lambda: all(task.done for task in left), None)
            self.current = current
            assert not self.streams, "streams are still open"

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine until it ends; return its result or raise its error."""
        self.main = FakeTask(self, main(), copy_context(), "main")
        self.main.is_watched = True
        self.call_soon(self.main.step)
        task = self.main
        self.run_until(lambda: task.done, None)
        if task.error is not None:
            raise task.error
        return task.result

    def run_connected(self, body: Callable[[Socket], Awaitable[Any]], url: str = URL, /, **options: Any) -> None:
        """Run `body(socket)` with a socket that has connected, until the scope has ended."""

        async def main() -> None:
            async with self.scopes.connect(url, **options) as socket:
                await body(socket)

        self.run(main)

    def run_started(self, body: Callable[[Any], Awaitable[Any]], url: str = URL, /, **options: Any) -> None:
        """Run `body(manager)` with a Manager that has been started, until it has stopped."""

        async def main() -> None:
            async with self.manager_class(url, **options) as manager:
                await body(manager)

        self.run(main)

    def cancel_main_at(self, seconds: float) -> None:
        """Cancel the coroutine that `run` runs, so many seconds from now."""
        assert self.main is not None
        self.call_at(self.time + seconds, self.main.cancel)

    def run_until(self, condition: Callable[[], bool], deadline: float | None) -> None:
        """Run the event loop until the condition holds. Raises TimeoutError at the deadline."""
        for _ in range(_MOST_CALLBACKS):
            if condition():
                return
            if self._ready:
                self._ready.popleft()()
            elif self._timers and (deadline is None or self._timers[0][0] <= deadline):
                when, _, callback = heapq.heappop(self._timers)
                self.time = max(self.time, when)
                callback()
            elif deadline is not None:
                self.time = max(self.time, deadline)
                raise TimeoutError
            else:
                raise AssertionError(
                    f"nothing can happen any more; these tasks wait: {[task.name for task in self.tasks]}"
                )
        raise AssertionError("the event loop does not come to rest")

    # For the code that `run` runs

    def spawn(self, function: Callable[[], Awaitable[Any]]) -> FakeTask:
        """Run a function in a task of the application's, which belongs to no runtime. Its error is stored in the task."""

        async def main() -> Any:
            return await function()

        task = FakeTask(self, main(), copy_context(), "a task of the test")
        task.is_watched = True
        self.call_soon(task.step)
        return task

    async def join(self, task: FakeTask) -> Any:
        """Wait until a task has ended; return its result or raise its error."""
        while not task.done:
            await self.sleep(0.01)
        if task.error is not None:
            raise task.error
        return task.result

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        future = FakeFuture(self)
        self.call_at(self.time + seconds, future.resolve)
        await FakeRuntime(self).wait(future)

    def block(self, seconds: float) -> None:
        """Block the thread for some seconds, as `time.sleep` does. Only with `threads`."""
        drive(self.sleep(seconds))

    async def checkpoint(self) -> None:
        """Let everything that is ready run once."""
        future = FakeFuture(self)
        self.call_soon(future.resolve)
        await FakeRuntime(self).wait(future)

    async def settle(self) -> None:
        """Wait until nothing is ready to run, without letting time pass."""
        await self.sleep(0)
