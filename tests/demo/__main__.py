"""`make demo`: run the same scenario with each driver against a real Socket.IO server.

For each driver: start the server, connect with long-polling, upgrade to WebSocket, exchange events and acknowledgements,
kill the server, emit events while it is down, restart it, and check that no event was lost. Everything that is sent and
received is printed with the time since the start, followed by a summary with one line per driver.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import anyio.to_thread
import trio

import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_blocking
import sansio_socketio_trio
from tests.demo import scenario
from tests.demo.transcript import Transcript
from tests.support.peers import Peer, node_server

Run = Callable[[Peer, Transcript], scenario.Outcome]


def on_asyncio(server: Peer, transcript: Transcript) -> scenario.Outcome:
    return asyncio.run(scenario.run(sansio_socketio_asyncio.connect, asyncio.to_thread, server, transcript))


def on_trio(server: Peer, transcript: Transcript) -> scenario.Outcome:
    return trio.run(scenario.run, sansio_socketio_trio.connect, trio.to_thread.run_sync, server, transcript)


def on_anyio(server: Peer, transcript: Transcript) -> scenario.Outcome:
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = anyio.to_thread.run_sync
    return anyio.run(scenario.run, sansio_socketio_anyio.connect, in_thread, server, transcript)


def on_threads(server: Peer, transcript: Transcript) -> scenario.Outcome:
    return scenario.run_blocking(sansio_socketio_blocking.connect, server, transcript)


DRIVERS: dict[str, Run] = {"asyncio": on_asyncio, "trio": on_trio, "anyio": on_anyio, "blocking": on_threads}


def main(names: Iterable[str]) -> int:
    """Run the scenario with each of the named drivers. Return the exit status."""
    outcomes: dict[str, scenario.Outcome] = {}
    for name in names:
        transcript = Transcript(name)
        transcript.title(f"{name}: long-polling, upgrade to WebSocket, reconnect after the server was killed")
        with node_server() as server:
            outcomes[name] = DRIVERS[name](server, transcript)
    print("\nsummary")
    for name, outcome in outcomes.items():
        print(f"  {name:10}{outcome}")
    return 0 if all(outcome.nothing_lost for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or DRIVERS))
