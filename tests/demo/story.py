"""The story of the demo, twice: with `await`, for asyncio, trio and anyio alike, and without, for plain threads.

It is written as an application would be: handlers, a flag view, acknowledgements, and nothing about reconnection but
one option. The server's side is tests/peers/server.js.
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

WHILE_AWAY = 5
"""How many events are emitted while there is no server."""


@dataclass
class Outcome:
    """What a driver made of the story."""

    transport: str
    arrived: int
    in_order: bool
    reconnections: int
    seconds: float

    @property
    def nothing_lost(self) -> bool:
        return self.arrived == WHILE_AWAY and self.in_order

    def __str__(self) -> str:
        verdict = "nothing lost" if self.nothing_lost else "SOMETHING WAS LOST"
        return (
            f"ok, over {self.transport}: {self.arrived} of {WHILE_AWAY} events emitted while the server was away arrived"
            f"{' in order' if self.in_order else ''}, {verdict}; "
            f"{self.reconnections} reconnection, {self.seconds:.2f} s"
        )


def transport_of(socket: Socket | BlockingSocket) -> str | None:
    """The name of the transport that the connection is on just now."""
    engine = socket.io.engine
    return None if engine is None else engine.transport.name


async def tell(
    connect: Callable[..., AbstractAsyncContextManager[Socket]],
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    server: Peer,
    transcript: Transcript,
) -> Outcome:
    """The story for a driver that awaits. `in_thread` runs a blocking function (of the server's) in a thread."""
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
            transcript.sent("the acknowledgement of it", "42")
            return "42"

        @socket.io.on("reconnect")
        def reconnected(attempt: int) -> None:
            reconnections.append(attempt)
            transcript.note(f"connected again, at attempt {attempt}")

        transcript.note(f"connected as {socket.id} over {transport_of(socket)}")
        transcript.sent("echo_ack", {"text": "grüß dich"}, b"\x00\x01")
        transcript.received("acknowledged", await socket.emit_with_ack("echo_ack", {"text": "grüß dich"}, b"\x00\x01"))

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

        transcript.note("the server is killed")
        await in_thread(server.kill)
        await in_thread(lambda: gone.wait(PATIENCE))
        for number in range(WHILE_AWAY):
            transcript.sent("n", number)
            await socket.emit("n", number)
        transcript.note("the server starts again")
        await in_thread(server.start)
        await socket.wait_connected()
        counted = await socket.timeout(10).emit_with_ack("count")
        transcript.received("the server got", counted)
    transcript.note("left")
    return Outcome(transport, counted["total"], counted["ordered"], len(reconnections), transcript.elapsed())


def tell_blocking(
    connect: Callable[..., AbstractContextManager[BlockingSocket]], server: Peer, transcript: Transcript
) -> Outcome:
    """The story for plain threads: the same names, without `await`."""
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
            transcript.sent("the acknowledgement of it", "42")
            return "42"

        @socket.io.on("reconnect")
        def reconnected(attempt: int) -> None:
            reconnections.append(attempt)
            transcript.note(f"connected again, at attempt {attempt}")

        transcript.note(f"connected as {socket.id} over {transport_of(socket)}")
        transcript.sent("echo_ack", {"text": "grüß dich"}, b"\x00\x01")
        transcript.received("acknowledged", socket.emit_with_ack("echo_ack", {"text": "grüß dich"}, b"\x00\x01"))

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

        transcript.note("the server is killed")
        server.kill()
        gone.wait(PATIENCE)
        for number in range(WHILE_AWAY):
            transcript.sent("n", number)
            socket.emit("n", number)
        transcript.note("the server starts again")
        server.start()
        socket.wait_connected()
        counted = socket.timeout(10).emit_with_ack("count")
        transcript.received("the server got", counted)
    transcript.note("left")
    return Outcome(transport, counted["total"], counted["ordered"], len(reconnections), transcript.elapsed())
