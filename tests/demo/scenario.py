"""The scenario of the demo, twice: with `await` for asyncio, trio and anyio, and without for threads.

It is written like an application: handlers, acknowledgements, `timeout()`, and one option for reconnection. The server
is tests/peers/server.js.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sansio_socketio.client import Socket
from sansio_socketio_blocking import Socket as BlockingSocket
from tests.demo.transcript import Transcript
from tests.support.peers import PATIENCE, Peer

EMITTED_OFFLINE = 5
"""The number of events that are emitted while the server is down."""


@dataclass
class Outcome:
    """The result of the scenario with one driver."""

    transport: str
    arrived: int
    in_order: bool
    reconnections: int
    seconds: float

    @property
    def nothing_lost(self) -> bool:
        return self.arrived == EMITTED_OFFLINE and self.in_order

    def __str__(self) -> str:
        verdict = "no event lost" if self.nothing_lost else "EVENTS LOST"
        return (
            f"{verdict}: {self.arrived} of {EMITTED_OFFLINE} events emitted while the server was down were received"
            f"{' in order' if self.in_order else ''}; "
            f"transport {self.transport}, reconnections: {self.reconnections}, {self.seconds:.2f} s"
        )


def transport_of(socket: Socket | BlockingSocket) -> str | None:
    """Return the name of the current transport."""
    engine = socket.io.engine
    return None if engine is None else engine.transport.name


async def run(
    connect: Callable[..., AbstractAsyncContextManager[Socket]],
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    server: Peer,
    transcript: Transcript,
) -> Outcome:
    """Run the scenario with an async driver. `in_thread` runs a blocking function (of the server) in a thread."""
    reconnections: list[int] = []
    gone = threading.Event()
    async with connect(server.url, reconnection_delay=0.2) as socket:

        @socket.on("welcome")
        def welcome(about: dict[str, Any]) -> None:
            transcript.received("welcome", about)

        @socket.on("disconnect")
        def disconnected(reason: str) -> None:
            transcript.note(f"disconnected: {reason}")
            gone.set()

        @socket.on("question")
        async def question(text: str) -> str:
            transcript.received("question", text)
            transcript.sent("acknowledgement of question", "42")
            return "42"

        @socket.io.on("reconnect")
        def reconnected(attempt: int) -> None:
            reconnections.append(attempt)
            transcript.note(f"reconnected at attempt {attempt}")

        transcript.note(f"connected as {socket.id} over {transport_of(socket)}")
        transcript.sent("echo_ack", {"text": "grüß dich"}, b"\x00\x01")
        transcript.received(
            "acknowledgement of echo_ack", await socket.emit_with_ack("echo_ack", {"text": "grüß dich"}, b"\x00\x01")
        )

        async with socket.events() as events:
            transcript.sent("ask")
            await socket.emit("ask", "question", "What do you get if you multiply six by nine?")
            async for event in events:
                if event.name == "answered":
                    transcript.received("answered", *event.args)
                    break

        while (transport := await socket.timeout(5).emit_with_ack("transport")) != "websocket":
            pass
        transcript.note(f"upgraded to {transport}")

        transcript.note("killing the server")
        await in_thread(server.kill)
        await in_thread(lambda: gone.wait(PATIENCE))
        for number in range(EMITTED_OFFLINE):
            transcript.sent("n", number)
            await socket.emit("n", number)
        transcript.note("restarting the server")
        await in_thread(server.start)
        await socket.wait_connected()
        counted = await socket.timeout(10).emit_with_ack("count")
        transcript.received("acknowledgement of count", counted)
    transcript.note("closed")
    return Outcome(transport, counted["total"], counted["ordered"], len(reconnections), transcript.elapsed())


def run_blocking(
    connect: Callable[..., AbstractContextManager[BlockingSocket]], server: Peer, transcript: Transcript
) -> Outcome:
    """Run the scenario with the blocking driver: the same names, without `await`."""
    reconnections: list[int] = []
    gone = threading.Event()
    with connect(server.url, reconnection_delay=0.2) as socket:

        @socket.on("welcome")
        def welcome(about: dict[str, Any]) -> None:
            transcript.received("welcome", about)

        @socket.on("disconnect")
        def disconnected(reason: str) -> None:
            transcript.note(f"disconnected: {reason}")
            gone.set()

        @socket.on("question")
        def question(text: str) -> str:
            transcript.received("question", text)
            transcript.sent("acknowledgement of question", "42")
            return "42"

        @socket.io.on("reconnect")
        def reconnected(attempt: int) -> None:
            reconnections.append(attempt)
            transcript.note(f"reconnected at attempt {attempt}")

        transcript.note(f"connected as {socket.id} over {transport_of(socket)}")
        transcript.sent("echo_ack", {"text": "grüß dich"}, b"\x00\x01")
        transcript.received(
            "acknowledgement of echo_ack", socket.emit_with_ack("echo_ack", {"text": "grüß dich"}, b"\x00\x01")
        )

        with socket.events() as events:
            transcript.sent("ask")
            socket.emit("ask", "question", "What do you get if you multiply six by nine?")
            for event in events:
                if event.name == "answered":
                    transcript.received("answered", *event.args)
                    break

        while (transport := socket.timeout(5).emit_with_ack("transport")) != "websocket":
            pass
        transcript.note(f"upgraded to {transport}")

        transcript.note("killing the server")
        server.kill()
        gone.wait(PATIENCE)
        for number in range(EMITTED_OFFLINE):
            transcript.sent("n", number)
            socket.emit("n", number)
        transcript.note("restarting the server")
        server.start()
        socket.wait_connected()
        counted = socket.timeout(10).emit_with_ack("count")
        transcript.received("acknowledgement of count", counted)
    transcript.note("closed")
    return Outcome(transport, counted["total"], counted["ordered"], len(reconnections), transcript.elapsed())
