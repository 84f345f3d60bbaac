"""The scenarios for clients with `await`, which each library runs through the same few functions.

Rules of this file:

- The functions of a `Socket` are the library's own, so that nothing of the benchmark is between the scenario and them.
- threads.py has the same scenarios for clients without `await`, javascript.js for Node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from tests.benchmarks.task import Measurement, Task

Function = Callable[[], Coroutine[Any, Any, None]]
Work = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Socket:
    """A connected namespace: its functions to emit, to emit and await the acknowledgement, and to register a handler."""

    emit: Callable[..., Awaitable[Any]]
    call: Callable[..., Awaitable[Any]]
    on: Callable[..., Any]


class Event(Protocol):
    def set(self) -> object: ...
    async def wait(self) -> object: ...


class Client(Protocol):
    """A library."""

    async def open(self) -> Socket:
        """Open a further connection."""
        ...

    async def gather(self, functions: Sequence[Function]) -> None:
        """Call all of them concurrently."""
        ...

    def event(self) -> Event: ...


class GrowingClient(Client, Protocol):
    """A library whose cost is also measured while there is much of something."""

    async def join(self, namespace: str) -> Socket:
        """Join a namespace of the connection that was opened last."""
        ...

    async def emit_silent(self, socket: Socket, value: Any) -> None:
        """Emit an event that is never acknowledged, with a function for its acknowledgement."""
        ...

    async def offline(self) -> tuple[Socket, Function]:
        """Return a socket that is not connected, and the function that connects it."""
        ...


async def run(client: Any, task: Task) -> NoReturn:
    """Prepare, warm up and measure."""
    work = await SCENARIOS[task.scenario](client, task)
    await work(task.warmup)
    measurement = Measurement(task)
    await work(task.count)
    measurement.finish()


async def ack(client: Client, task: Task) -> Work:
    """Emit and await the acknowledgement, `in_flight` at a time."""
    return await _acks(client, await client.open(), task)


async def receive(client: Client, task: Task) -> Work:
    """Receive a burst of events."""
    socket = await client.open()
    left = 0
    done = client.event()

    async def handle(_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    async def work(count: int) -> None:
        nonlocal left, done
        left, done = count, client.event()
        await socket.emit("burst", [count, task.payload])
        await done.wait()

    socket.on("n", handle)
    return work


async def emit(client: Client, task: Task) -> Work:
    """Emit a burst of events, and wait until the server has them all."""
    socket = await client.open()

    async def work(count: int) -> None:
        for _ in range(count):
            await socket.emit("n", task.payload)
        await _all_counted(socket, count)

    return work


async def connect(client: Client, task: Task) -> Work:
    """Open connections, one after the other, and keep them open."""
    opened: list[Socket] = []

    async def work(count: int) -> None:
        opened.extend([await client.open() for _ in range(count)])

    return work


async def namespaces(client: GrowingClient, task: Task) -> Work:
    """Await acknowledgements on one of many namespaces."""
    socket = await client.open()
    for number in range(1, task.namespaces):
        socket = await client.join(f"/{number}")
    return await _acks(client, socket, task)


async def pending(client: GrowingClient, task: Task) -> Work:
    """Await acknowledgements while many others are awaited."""
    socket = await client.open()
    for _ in range(task.pending):
        await client.emit_silent(socket, task.payload)
    return await _acks(client, socket, task)


async def idle(client: Client, task: Task) -> Work:
    """Await acknowledgements on one of many connections."""
    sockets = [await client.open() for _ in range(task.connections)]
    return await _acks(client, sockets[-1], task)


async def in_turn(client: Client, task: Task) -> Work:
    """Await acknowledgements on each of many connections in turn."""
    sockets = [await client.open() for _ in range(task.connections)]

    async def work(count: int) -> None:
        for number in range(count):
            await sockets[number % task.connections].call("echo_ack", task.payload)

    return work


async def offline(client: GrowingClient, task: Task) -> Work:
    """Emit events while there is no connection, then connect, and wait until the server has them all."""

    async def work(count: int) -> None:
        socket, open_ = await client.offline()
        for _ in range(count):
            await socket.emit("n", task.payload)
        await open_()
        await _all_counted(socket, count)

    return work


async def _acks(client: Client, socket: Socket, task: Task) -> Work:
    payload = task.payload
    if await socket.call("echo_ack", payload) != payload:
        raise RuntimeError("the server sent another value back")

    async def work(count: int) -> None:
        async def worker() -> None:
            for _ in range(count // task.in_flight):
                await socket.call("echo_ack", payload)

        await (worker() if task.in_flight == 1 else client.gather([worker] * task.in_flight))

    return work


async def _all_counted(socket: Socket, count: int) -> None:
    counted = await socket.call("count", True)
    if counted != count:
        raise RuntimeError(f"the server got {counted} of {count} events")


SCENARIOS: dict[str, Callable[[Any, Task], Awaitable[Work]]] = {
    scenario.__name__: scenario
    for scenario in (ack, receive, emit, connect, namespaces, pending, idle, in_turn, offline)
}
