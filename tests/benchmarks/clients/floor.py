"""The floor: a bare `asyncio.Protocol` that speaks just enough of the protocol for the scenarios, and checks nothing.

No client on asyncio can cost less, unless it is not written in Python.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import count
from random import getrandbits
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from tests.benchmarks.clients.scenarios import Function, Socket, run
from tests.benchmarks.task import Task, task_from_arguments

_REQUEST = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
Handler = Callable[..., Coroutine[Any, Any, Any]]


class Floor(asyncio.Protocol):
    """A connection. What is written first after a read leaves at once; the rest of the loop's iteration is joined."""

    def __init__(self, host: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._host = host
        self._is_open = False
        self._rest = b""
        self._may_write = False
        self._written: list[bytes] = []
        self._numbers = count()
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._handlers: dict[str, Handler] = {}
        self.connected = self._loop.create_future()

    def on(self, event: str, handler: Handler) -> None:
        self._handlers[event] = handler

    async def emit(self, event: str, value: Any) -> None:
        self._write(b"42" + orjson.dumps([event, value]))

    async def call(self, event: str, value: Any) -> Any:
        number = next(self._numbers)
        self._acks[number] = future = self._loop.create_future()
        self._write(b"42%d" % number + orjson.dumps([event, value]))
        return await future

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_REQUEST.format(self._host).encode())

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at, size = 0, len(data)
        if not self._is_open:
            at = data.index(b"\r\n\r\n") + 4
            self._is_open = True
        self._may_write = True
        while size - at >= 2:
            start, length = at + 2, data[at + 1]
            if length > 125:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : start], "big")
            if start + length > size:
                break
            at = start + length
            self._received(data[start:at])
        self._rest = data[at:]

    def _received(self, packet: bytes) -> None:
        kind = packet[:2]
        if kind == b"43":
            start = packet.index(b"[")
            self._acks.pop(int(packet[2:start])).set_result(orjson.loads(packet[start:])[0])
        elif kind == b"42":
            event, value = orjson.loads(packet[2:])
            with suppress(StopIteration):
                self._handlers[event](value).send(None)
        elif kind == b"40":
            self.connected.set_result(None)
        elif packet[:1] == b"0":
            self._write(b"40")
        elif packet == b"2":
            self._write(b"3")

    def _write(self, packet: bytes) -> None:
        length, key = len(packet), getrandbits(32).to_bytes(4, "big")
        head = bytes((0x81, 0x80 | length)) if length < 126 else b"\x81\xfe" + length.to_bytes(2, "big")
        mask = int.from_bytes((key * (length // 4 + 1))[:length], "big")
        frame = head + key + (int.from_bytes(packet, "big") ^ mask).to_bytes(length, "big")
        if self._may_write:
            self._may_write = False
            self._transport.write(frame)
            return
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(frame)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._written))
        self._written.clear()


class Client:
    event = asyncio.Event

    def __init__(self, task: Task) -> None:
        self._url = urlsplit(task.url)

    async def open(self) -> Socket:
        url = self._url
        loop = asyncio.get_running_loop()
        _, floor = await loop.create_connection(lambda: Floor(url.netloc), url.hostname or "", url.port or 0)
        await floor.connected
        return Socket(floor.emit, floor.call, floor.on)

    async def gather(self, functions: Sequence[Function]) -> None:
        await asyncio.gather(*[function() for function in functions])


async def main() -> None:
    task = task_from_arguments()
    await run(Client(task), task)


if __name__ == "__main__":
    asyncio.run(main())
