"""This library's trio driver."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from sansio_socketio_trio import open_io
from tests.benchmarks.clients.ours import Ours
from tests.benchmarks.clients.scenarios import Function, run
from tests.benchmarks.task import task_from_arguments


class Client(Ours):
    event = trio.Event

    async def gather(self, functions: Sequence[Function]) -> None:
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)


async def main() -> None:
    task = task_from_arguments()
    async with open_io() as io:
        await run(Client(io, task), task)


if __name__ == "__main__":
    trio.run(main)
