"""python-socketio's client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import socketio

from tests.benchmarks.clients.scenarios import Function, Socket, run
from tests.benchmarks.task import Task, task_from_arguments


class Client:
    event = asyncio.Event

    def __init__(self, task: Task) -> None:
        self._task = task

    async def open(self) -> Socket:
        client = socketio.AsyncClient()
        await client.connect(self._task.url, transports=[self._task.transport])
        return Socket(client.emit, client.call, client.on)

    async def gather(self, functions: Sequence[Function]) -> None:
        await asyncio.gather(*[function() for function in functions])


async def main() -> None:
    task = task_from_arguments()
    await run(Client(task), task)


if __name__ == "__main__":
    asyncio.run(main())
