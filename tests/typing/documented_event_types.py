"""The example of event types in docs/behaviour.md, which `make types` checks. A test compares it with the page."""

# ruff: noqa: PLC0415

from __future__ import annotations

from sansio_socketio_asyncio import EventType, connect


async def main() -> None:
    from typing import TypedDict

    class Position(TypedDict):
        x: float
        y: float

    # to the server
    echo_ack = EventType[tuple[Position], Position]("echo_ack")
    ask = EventType[tuple[str, int], None]("ask")
    # from the server
    question = EventType[tuple[int], bool]("question")
    answered = EventType[tuple[bool], None]("answered")

    async with connect("http://localhost:3000") as socket:

        @socket.on(question)
        async def is_even(number: int) -> bool:
            return number % 2 == 0

        await socket.emit(ask, "question", 4)
        print((await socket.wait_for(answered)).args)
        position = await socket.emit_with_ack(echo_ack, {"x": 1, "y": 2})
        print(position["x"])
