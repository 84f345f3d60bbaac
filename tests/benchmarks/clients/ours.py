"""What the clients of this library with `await` have in common. Their files add what depends on the runtime."""

from __future__ import annotations

from typing import Any

from sansio_socketio.client import IO
from sansio_socketio.client import Socket as OurSocket
from tests.benchmarks.clients.scenarios import Function, Socket
from tests.benchmarks.task import Task


class Ours:
    """Opens connections in one `open_io` block."""

    def __init__(self, io: IO, task: Task) -> None:
        self._io = io
        self._task = task
        self._latest: OurSocket | None = None

    async def open(self) -> Socket:
        self._latest = self._io(self._task.url, force_new=True, transports=[self._task.transport])
        return await _connected(self._latest)

    async def join(self, namespace: str) -> Socket:
        assert self._latest is not None
        return await _connected(self._latest.io.socket(namespace))

    async def emit_silent(self, socket: Socket, value: Any) -> None:
        await socket.emit("silent", value, ack=_ignore)

    async def offline(self) -> tuple[Socket, Function]:
        socket = self._io(self._task.url, force_new=True, auto_connect=False, transports=[self._task.transport])

        async def connect() -> None:
            await socket.connect()

        return _functions(socket), connect


async def _connected(socket: OurSocket) -> Socket:
    await socket.wait_connected()
    return _functions(socket)


def _functions(socket: OurSocket) -> Socket:
    return Socket(socket.emit, socket.emit_with_ack, socket.on)


async def _ignore(*_: Any) -> None: ...
