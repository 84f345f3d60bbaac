"""One measurement in its own process: the CPU time that a mode takes in the client.

    python -m tests.benchmarks.clients LIBRARY MODE URL

Rules of this file:

- Both libraries do the same over WebSocket, each written as its users would write it, after a warm-up that is not
  measured. Measured is the CPU time of this process (`time.process_time`), without the server and without waiting.
- The last line printed is JSON: {"seconds": CPU seconds, "messages": how many}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import socketio

from sansio_socketio_asyncio import connect

SEQUENTIAL = 3_000
CONCURRENT = 10_000
IN_FLIGHT = 100
BURST = 20_000


class Client(Protocol):
    """The three operations of the modes, in the API of each library."""

    async def emit(self, event: str, *values: Any) -> None: ...
    async def call(self, event: str, *values: Any) -> Any: ...
    def on(self, event: str, handler: Callable[[Any], Awaitable[None]]) -> None: ...


class Ours:
    """sansio-socketio's asyncio driver."""

    def __init__(self, socket: Any) -> None:
        self.emit = socket.emit
        self.call = socket.emit_with_ack
        self.on = socket.on

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncGenerator[Client]:
        async with connect(url, transports=["websocket"]) as socket:
            yield cls(socket)


class Theirs:
    """python-socketio's AsyncClient."""

    def __init__(self, client: socketio.AsyncClient) -> None:
        self._client = client

    async def emit(self, event: str, *values: Any) -> None:
        await self._client.emit(event, values)

    async def call(self, event: str, *values: Any) -> Any:
        return await self._client.call(event, values)

    def on(self, event: str, handler: Callable[[Any], Awaitable[None]]) -> None:
        self._client.on(event, handler)

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncGenerator[Client]:
        client = socketio.AsyncClient()
        await client.connect(url, transports=["websocket"])
        try:
            yield cls(client)
        finally:
            await client.disconnect()


async def ack_sequential(client: Client) -> int:
    """emit_with_ack, one at a time."""
    for number in range(SEQUENTIAL):
        await client.call("echo_ack", number)
    return SEQUENTIAL


async def ack_concurrent(client: Client) -> int:
    """emit_with_ack, 100 in flight."""

    async def worker() -> None:
        for number in range(CONCURRENT // IN_FLIGHT):
            await client.call("echo_ack", number)

    await asyncio.gather(*[worker() for _ in range(IN_FLIGHT)])
    return CONCURRENT


async def receive_burst(client: Client) -> int:
    """Receive a burst of 20,000 events."""
    done = asyncio.Event()
    received = 0

    async def handler(number: int) -> None:
        nonlocal received
        received += 1
        if received == BURST:
            done.set()

    client.on("n", handler)
    await client.emit("burst", BURST)
    await done.wait()
    return BURST


async def emit_burst(client: Client) -> int:
    """Emit a burst of 20,000 events."""
    await client.call("count")
    for number in range(BURST):
        await client.emit("n", number)
    counted = await client.call("count")
    if counted["total"] != BURST:
        raise RuntimeError(f"the server got {counted['total']} of {BURST} events")
    return BURST


Connected = Callable[[str], AbstractAsyncContextManager[Client]]

LIBRARIES: dict[str, Connected] = {"ours": Ours.connected, "python-socketio": Theirs.connected}
MODES = {mode.__name__: mode for mode in (ack_sequential, ack_concurrent, receive_burst, emit_burst)}


async def measure(library: str, mode: str, url: str) -> dict[str, float]:
    """Connect, warm up, and measure one mode."""
    async with asyncio.timeout(120), LIBRARIES[library](url) as client:
        for number in range(200):
            await client.call("echo_ack", number)
        before = time.process_time()
        messages = await MODES[mode](client)
        return {"seconds": time.process_time() - before, "messages": messages}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(*sys.argv[1:4]))))
