"""A runtime in virtual time, and a server on it that a test controls, for the tests of `client`.

- `World.run(main)` runs a coroutine on a loop of its own. When nothing is ready, time advances to the next timer. If there
  is none, the test fails at once, since nothing can ever happen.
- With `threads`, `wait` does not suspend the caller but runs the other tasks, as it looks to a thread that blocks.
- The `Server` accepts everything unless a test changes that. It talks to the client over `Wire`s, on which each chunk is
  one packet.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import Context, copy_context
from inspect import isawaitable
from types import coroutine
from typing import Any

from sansio_socketio.client import Manager, Scopes
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
from sansio_socketio.runtime import StreamHook, StreamReceiver, runtime_ended, wrong_thread
from tests.support.fake_server import _from_wire, _to_wire

_MOST_TURNS = 1_000_000


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
    """A coroutine that the world steps; it yields the future that it waits for."""

    def __init__(self, world: World, main: Coroutine[Any, Any, Any], context: Context, name: str) -> None:
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waits_for: FakeFuture | None = None
        self.is_watched = False
        """Whether somebody looks at its error."""
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
            raise error  # nobody else would see it


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
        self.written: list[bytes] = []
        self._world = world
        world.streams.append(self)
        world.call_soon(lambda: world.server.dialled(self))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.is_open, "written before it was open"
        if not self.written:
            self._world.call_soon(self.flush)
        self.written.append(bytes(data))

    def close(self) -> None:
        self.flush()
        self.abort()

    def abort(self) -> None:
        if self.receiver is not None:
            self.receiver = None
            self._world.streams.remove(self)
            self._world.server.left(self)

    def flush(self) -> None:
        if self._world.server.is_reading and self.written and self.receiver is not None:
            written, self.written = self.written, []
            for data in written:
                self._world.server.got_data(self, data)
            if self.receiver is not None:
                self.receiver.sent()

    # What the server does

    def open(self) -> None:
        if self.receiver is not None:
            self.is_open = True
            self.receiver.opened()

    def refuse(self) -> None:
        self._end(lambda receiver: receiver.failed(ConnectionRefusedError(111, "refused")))

    def say(self, packet: engineio.Packet) -> None:
        if self.receiver is not None:
            self.receiver.received(_to_wire(packet))

    def lose(self, error: Exception | None = None) -> None:
        self._end(lambda receiver: receiver.closed(error))

    def _end(self, tell: Callable[[StreamReceiver], None]) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            self._world.streams.remove(self)
            tell(receiver)


class Server:
    """The peer.

    Attributes:
        accepts: Whether streams can be opened; None leaves them hanging.
        refusal: What CONNECT is answered with by CONNECT_ERROR; None: it is accepted. By namespace.
        joins: Whether CONNECT is answered at all.
        greets: What is sent in the same turn as the answer to CONNECT: the arguments of an event.
        is_reading: Whether what the client sends leaves.
        upgrades: What the handshake offers; a stream that the client opens beside the session's is a probe then.
        probe_answer: What the probe is answered with.
        on_event: What is done about an event.
        got: The Socket.IO packets that came.
        connections: How many streams were asked for.
    """

    def __init__(self) -> None:
        self.accepts: bool | None = True
        self.refusal: dict[str, Any] = {}
        self.joins = True
        self.greets: list[Any] | None = None
        self.is_reading = True
        self.upgrades: list[str] = []
        self.probe_answer = "probe"
        self.on_event: Callable[[Packet], None] = lambda packet: None
        self.got: list[Packet] = []
        self.connections = 0
        self.left_by_client = 0
        self.stream: FakeStream | None = None
        self._encoder = JSONParser().encoder()
        self._decoders: dict[int, Decoder] = {}

    # What a test does and looks at

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
        """Read what is there, and from now on."""
        self.is_reading = True
        if self.stream is not None:
            self.stream.flush()

    def ping(self) -> None:
        assert self.stream is not None
        self.stream.say(engineio.Packet(engineio.PING))

    def events(self) -> list[Any]:
        """The arguments of the events that came."""
        return [packet.data for packet in self.got if packet.type == EVENT]

    def acks(self) -> list[tuple[int | None, Any]]:
        """The acknowledgements that came: id and values."""
        return [(packet.id, packet.data) for packet in self.got if packet.type == ACK]

    def payloads(self) -> list[Any]:
        """What came with CONNECT."""
        return [packet.data for packet in self.got if packet.type == CONNECT]

    # What the streams tell

    def dialled(self, stream: FakeStream) -> None:
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
        stream.say(engineio.Packet(engineio.OPEN, json.dumps(handshake)))

    def left(self, stream: FakeStream) -> None:
        self.left_by_client += 1

    def got_data(self, stream: FakeStream, data: bytes) -> None:
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
    """The services of `runtime.interface`."""

    def __init__(self, world: World) -> None:
        self.lock = nullcontext()
        self.ended = False
        self.tasks: list[FakeTask] = []
        self._world = world

    def now(self) -> float:
        if self._world.is_foreign:
            raise wrong_thread("the world's own thread")
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
            world.play_until(lambda: future.done, world.deadline)
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
    """The loop, its time, and who lives on it.

    Args:
        threads: Whether the body is a plain function, whose waits block.
        eager: Whether tasks run their first step when they are made.

    Attributes:
        is_foreign: Whether the code that runs now counts as being in a thread that is not the runtime's.
    """

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
        self.is_foreign = False
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._ready.append(callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, callback))

    @property
    def manager_class(self) -> type[Manager]:
        """The Manager of this world, in which tasks belong to no scope."""
        return type("Manager", (Manager,), {"runtime_scope": self.open_runtime, "can_be_held": True})

    @property
    def scopes(self) -> Scopes:
        """The scopes of this world."""
        return Scopes(self.manager_class)

    @asynccontextmanager
    async def open_runtime(self, lock: object = None) -> AsyncGenerator[FakeRuntime, None]:
        """The RuntimeScope; here are no threads to lock out."""
        runtime = FakeRuntime(self)
        try:
            yield runtime
        finally:
            runtime.ended = True
            left = [task for task in runtime.tasks if not task.done and task is not self.current]
            for task in left:
                task.cancel()
            current, self.current = self.current, None
            self.play_until(lambda: all(task.done for task in left), None)
            self.current = current
            assert not self.streams, "streams are left open"

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a body to its end."""
        self.main = FakeTask(self, main(), copy_context(), "main")
        self.main.is_watched = True
        self.call_soon(self.main.step)
        task = self.main
        self.play_until(lambda: task.done, None)
        if task.error is not None:
            raise task.error
        return task.result

    def cancel_main_at(self, seconds: float) -> None:
        """Cancel the body so many seconds from now."""
        assert self.main is not None
        self.call_at(self.time + seconds, self.main.cancel)

    def play_until(self, condition: Callable[[], bool], deadline: float | None) -> None:
        """Let everything happen until the condition holds; TimeoutError at the deadline."""
        for _ in range(_MOST_TURNS):
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
                raise AssertionError(f"nothing can happen any more; there wait {[task.name for task in self.tasks]}")
        raise AssertionError("too many turns")

    # For bodies

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        future = FakeFuture(self)
        self.call_at(self.time + seconds, future.resolve)
        await FakeRuntime(self).wait(future)

    async def turn(self) -> None:
        """Let the others have a turn, until nothing is ready."""
        await self.sleep(0)
