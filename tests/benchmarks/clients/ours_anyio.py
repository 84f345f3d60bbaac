"""This library's anyio driver, on asyncio."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from sansio_socketio_anyio import open_io
from tests.benchmarks.clients.ours import Ours
from tests.benchmarks.clients.scenarios import Function, run
from tests.benchmarks.task import task_from_arguments


class Client(Ours):
    event = anyio.Event

    async def gather(self, functions: Sequence[Function]) -> None:
        async with anyio.create_task_group() as group:
            for function in functions:
                group.start_soon(function)


async def main() -> None:
    task = task_from_arguments()
    async with open_io() as io:
        await run(Client(io, task), task)


if __name__ == "__main__":
    anyio.run(main)
