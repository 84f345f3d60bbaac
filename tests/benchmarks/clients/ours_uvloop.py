"""This library's asyncio driver on uvloop."""

from __future__ import annotations

import asyncio
from importlib import import_module

from tests.benchmarks.clients.ours_asyncio import main

if __name__ == "__main__":
    uvloop = import_module("uvloop")  # is only in the benchmark's environment, not in that of the type checkers
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
