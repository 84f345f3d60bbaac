"""This library's asyncio driver."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sansio_socketio_asyncio import open_io
from tests.benchmarks.clients.ours import Ours
from tests.benchmarks.clients.scenarios import Function, run
from tests.benchmarks.task import task_from_arguments


class Client(Ours):
    event = asyncio.Event

    async def gather(self, functions: Sequence[Function]) -> None:
        await asyncio.gather(*[function() for function in functions])


async def main() -> None:
    task = task_from_arguments()
    async with open_io() as io:
        await run(Client(io, task), task)


if __name__ == "__main__":
    asyncio.run(main())
