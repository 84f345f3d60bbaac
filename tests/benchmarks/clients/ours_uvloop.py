"""This library's asyncio driver on uvloop."""

from __future__ import annotations

import asyncio

import uvloop

from tests.benchmarks.clients.ours_asyncio import main

if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
