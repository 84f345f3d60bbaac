"""`make demo`: one short story, told by each driver to a real Socket.IO server.

For each driver: start the server, connect by long-polling, go over to WebSocket, exchange events and acknowledgements,
kill the server, emit while it is away, start it again, and see that nothing was lost. What goes in and out is printed
with the time since the start; at the end stands a line for each driver.
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
from tests.demo import story
from tests.demo.transcript import Transcript
from tests.support.peers import Peer, node_server

Run = Callable[[Peer, Transcript], story.Outcome]


def on_asyncio(server: Peer, transcript: Transcript) -> story.Outcome:
    return asyncio.run(story.tell(sansio_socketio_asyncio.connect, asyncio.to_thread, server, transcript))


def on_trio(server: Peer, transcript: Transcript) -> story.Outcome:
    return trio.run(story.tell, sansio_socketio_trio.connect, trio.to_thread.run_sync, server, transcript)


def on_anyio(server: Peer, transcript: Transcript) -> story.Outcome:
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = anyio.to_thread.run_sync
    return anyio.run(story.tell, sansio_socketio_anyio.connect, in_thread, server, transcript)


def on_threads(server: Peer, transcript: Transcript) -> story.Outcome:
    return story.tell_blocking(sansio_socketio_blocking.connect, server, transcript)


DRIVERS: dict[str, Run] = {"asyncio": on_asyncio, "trio": on_trio, "anyio": on_anyio, "blocking": on_threads}


def main(names: Iterable[str]) -> int:
    """Tell the story by each driver of these names; returns the exit status."""
    outcomes: dict[str, story.Outcome] = {}
    for name in names:
        transcript = Transcript(name)
        transcript.title(f"{name}: long-polling, then WebSocket; a server that dies and comes back")
        with node_server() as server:
            outcomes[name] = DRIVERS[name](server, transcript)
    print("\nsummary")
    for name, outcome in outcomes.items():
        print(f"  {name:10}{outcome}")
    return 0 if all(outcome.nothing_lost for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or DRIVERS))
