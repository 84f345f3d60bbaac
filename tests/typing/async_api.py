"""What type checkers and editors know about the async drivers. `make types` checks this file; nothing runs it.

Rules of this file:

- `assert_type` is what must be inferred; a `type: ignore` is what must be an error (mypy reports unused ones).
- What is the same in all drivers is checked for one of them.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import anyio
import trio

import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_trio
from sansio_socketio.client import Manager as AnyManager
from sansio_socketio.handlers.registry import Handler
from sansio_socketio.protocol.packets.socketio import JSONParser
from sansio_socketio.protocol.transports.polling import PollingTransport
from sansio_socketio.server import RemoteClient, Server, ServerNamespace
from sansio_socketio_asyncio import (
    IO,
    Disconnection,
    Emitter,
    Engine,
    Event,
    EventStream,
    EventType,
    Manager,
    Socket,
    connect,
    open_io,
)

URL = "http://localhost:3000"


async def scopes() -> Socket:
    async with connect(URL, retry=True) as socket:
        assert_type(socket, Socket)
        assert_type(socket.io, AnyManager)
    async with Manager(URL) as manager:
        assert_type(manager, Manager)
        assert_type(manager.socket("/chat", auth={"token": "t"}, ack_timeout=5, retries=3), Socket)
    async with open_io() as io:
        assert_type(io, IO)
        assert_type(io(f"{URL}/chat", force_new=True, multiplex=False), Socket)
        return io(URL)  # a scope swallows no exception, so that nothing has to be returned after it


async def servers() -> None:
    async with sansio_socketio_trio.serve("localhost", 0) as of_trio:
        assert_type(of_trio, Server)
    async with sansio_socketio_asyncio.serve(cors="*", ping_interval=5, allow_request=print) as server:
        assert_type(server, Server)
        assert_type(server.of("/chat"), ServerNamespace)

        @server.on("hello", concurrency=2)
        async def hello(client: RemoteClient, name: str) -> str:
            await client.volatile.emit("a", 1)
            return name

        @server.use
        def check(client: RemoteClient) -> None:
            client.data["name"] = "a"

        assert_type(await hello(server.clients[0], "a"), str)
        check(server.clients[0])
        assert_type(server.on("b", print).once("c", print).off("b"), Server)
        server.broadcast("a", 1, except_=server.clients)
        server.broadcast("a", 1, to="b")  # type: ignore[call-arg]
    sansio_socketio_asyncio.serve(pings=5)  # type: ignore[call-arg]
    sansio_socketio_anyio.serve()  # type: ignore[attr-defined]


async def the_same_in_every_driver() -> None:
    async with sansio_socketio_trio.connect(URL) as socket:
        assert_type(socket, sansio_socketio_trio.Socket)
    async with sansio_socketio_anyio.connect(URL) as socket:
        assert_type(socket, sansio_socketio_anyio.Socket)
    async with sansio_socketio_trio.Manager(URL) as of_trio:
        assert_type(of_trio, sansio_socketio_trio.Manager)
    async with sansio_socketio_anyio.Manager(URL) as of_anyio:
        assert_type(of_anyio, sansio_socketio_anyio.Manager)


async def managers_without_a_scope(
    of_asyncio: Manager, of_trio: sansio_socketio_trio.Manager, of_anyio: sansio_socketio_anyio.Manager
) -> None:
    assert_type(await of_asyncio.open(), Manager)
    assert_type(await of_asyncio.close(), Manager)
    async with trio.open_nursery() as nursery:
        await nursery.start(of_trio.run)
        nursery.start_soon(of_trio.run)
        assert_type(await of_trio.close(), sansio_socketio_trio.Manager)
    async with anyio.create_task_group() as group:
        await group.start(of_anyio.run)
        group.start_soon(of_anyio.run)
        assert_type(await of_anyio.close(), sansio_socketio_anyio.Manager)


# ---------------------------------------------------------------------------------------------------------------------
# Handlers


async def handlers(socket: Socket, manager: Manager) -> None:
    @socket.on("add")
    async def add(left: int, right: int = 0) -> int:
        return left + right

    @socket.on("add", concurrency=8, manual_ack=True, typed=True)
    def half(number: int, acknowledge: Callable[..., None]) -> float:
        return number / 2

    @socket.once("add", typed=True)
    def once(number: int) -> int:
        return number

    @manager.on("open")
    def opened() -> str:
        return "open"

    # A decorator leaves a handler what it is.
    assert_type(await add(1, right=2), int)
    assert_type(half(1, print), float)
    assert_type(once(1), int)
    assert_type(opened(), str)
    await add("one")  # type: ignore[arg-type]
    half(1)  # type: ignore[call-arg]

    # With a handler, the methods chain.
    assert_type(socket.on("a", add).once("b", half, typed=True).off("a", add).off("b").off(), Socket)
    assert_type(manager.on("open", opened).once("open", opened).off("open"), Manager)
    assert_type(socket.on(1, add).listeners(1), list[Handler])
    socket.on("a", 5)  # type: ignore[call-overload]
    socket.on("a", None)  # type: ignore[call-overload]
    socket.on("a", concurrency="many")  # type: ignore[call-overload]
    socket.on(None, add)  # type: ignore[call-overload]


async def handlers_of_any_event(socket: Socket) -> None:
    @socket.on_any
    def bare(event: str, *values: int) -> int:
        return len(event) + len(values)

    @socket.prepend_any()
    def called(event: str) -> int:
        return len(event)

    @socket.on_any_outgoing
    async def sent(event: str) -> str:
        return event

    @socket.prepend_any_outgoing()
    async def sent_first(event: str) -> str:
        return event

    assert_type(bare("e", 1), int)
    assert_type(called("e"), int)
    assert_type(await sent("e"), str)
    assert_type(await sent_first("e"), str)
    assert_type(socket.on_any(bare)("e"), int)
    assert_type(socket.off_any(bare).off_any().off_any_outgoing(sent).off_any_outgoing(), Socket)
    socket.on_any(bare).on("e", bare)  # type: ignore[attr-defined]
    socket.on_any(5)  # type: ignore[call-overload]
    assert_type(socket.on_any(bare, concurrency=2)("e"), int)
    assert_type(socket.prepend_any(concurrency=2)(bare)("e"), int)
    socket.on_any(bare, concurrency="many")  # type: ignore[call-overload]


# ---------------------------------------------------------------------------------------------------------------------
# Sending and receiving


async def sending(socket: Socket) -> None:
    assert_type(await socket.emit("e", 1, b"2", ack=print), None)
    assert_type(await socket.send("text"), None)
    assert_type(socket.emit_nowait("e"), None)
    assert_type(await socket.emit_with_ack("e"), Any)
    assert_type(await (await socket.connect()).disconnect(), Socket)
    assert_type(socket.connect_nowait().disconnect_nowait(), Socket)
    assert_type(await (await socket.open()).close(), Socket)
    assert_type(socket.drop_buffered(), int)
    socket.emit("e")  # type: ignore[unused-coroutine]
    await socket.emit()  # type: ignore[call-overload]
    await socket.emit(None)  # type: ignore[call-overload]


async def views(socket: Socket) -> None:
    assert_type(socket.volatile, Emitter)
    assert_type(socket.compress(False).timeout(5).volatile, Emitter)
    assert_type(await socket.timeout(None).emit_with_ack("e", 1), Any)
    await socket.volatile.emit("e", ack=print)
    await socket.volatile.send(1)
    socket.volatile.emit_nowait("e")
    socket.compress("yes")  # type: ignore[arg-type]
    socket.timeout("5")  # type: ignore[arg-type]
    # A view sends, and does nothing else.
    socket.volatile.on("e", print)  # type: ignore[attr-defined]
    await socket.timeout(5).connect()  # type: ignore[attr-defined]
    await socket.compress(True).disconnect()  # type: ignore[attr-defined]


async def streams(socket: Socket) -> None:
    async with socket.events() as events:
        assert_type(events, EventStream)
        async for event in events:
            assert_type(event, Event)
            assert_type(event.name, str)
            assert_type(event.args, tuple[Any, ...])
            assert_type(event.wants_ack, bool)
            event.ack("one", 2)
    assert_type(await socket.wait_for("e", timeout=5), Event)
    assert_type(await socket.wait_for(5), Event)
    await socket.wait_for("e", 5)  # type: ignore[call-arg]
    await socket.wait_for(None)  # type: ignore[arg-type]


async def attributes(socket: Socket, manager: Manager) -> None:
    assert_type(socket.id, str | None)
    assert_type((socket.active, socket.connected, socket.disconnected, socket.recovered), tuple[bool, bool, bool, bool])
    assert_type(socket.close_reason, Disconnection | None)
    assert_type(socket.nsp, str)
    socket.auth = {"token": "t"}
    socket.auth = token
    socket.auth = later
    socket.auth = None
    socket.auth = "token"  # type: ignore[assignment]
    socket.id = "mine"  # type: ignore[misc]
    manager.reconnection = False
    manager.reconnection_attempts = math.inf
    manager.timeout = None
    manager.timeout = "5"  # type: ignore[assignment]
    assert_type(manager.statistics().bytes_sent, int)
    assert_type(manager.statistics().transport, str | None)
    engine = manager.engine
    if engine is not None:
        assert_type(engine.id, str | None)
        assert_type(engine.transport.name, str | None)
        assert_type(engine.once("upgrade", print).off("upgrade"), Engine)
        assert_type(await engine.close(), Engine)


# ---------------------------------------------------------------------------------------------------------------------
# Event types


class Position(TypedDict):
    x: float
    y: float


@dataclass
class Point:
    x: float
    y: float


move = EventType[tuple[Position, int], bool]("move")
refresh = EventType[tuple[()], None]("refresh")
log = EventType[tuple[str, *tuple[int, ...]], None]("log")
draw = EventType[tuple[Point], Point]("draw")
maybe = EventType[tuple[list[float], str | None], None]("maybe")


async def emitting_event_types(socket: Socket) -> None:
    here = Position(x=1, y=2)
    await socket.emit(move, here, 5)
    await socket.volatile.emit(move, here, 5, ack=print)
    await socket.emit(refresh)
    await socket.emit(log, "text", 1, 2)
    socket.emit_nowait(move, here, 5)
    assert_type(await socket.timeout(5).emit_with_ack(move, here, 5), bool)
    assert_type(await socket.emit_with_ack(move, here, 5, result=Position), Position)
    assert_type(await socket.emit_with_ack("e", 1, result=list[int]), list[int])
    await socket.emit_with_ack("e", result=int | None)
    # The values of literals are inferred as the declared types.
    await socket.emit(move, {"x": 1, "y": 2}, 5)
    await socket.volatile.emit(move, {"x": 1, "y": 2}, 5, ack=print)
    await socket.emit(maybe, [1], None)
    socket.emit_nowait(move, {"x": 1, "y": 2}, 5)
    assert_type(await socket.emit_with_ack(move, {"x": 1, "y": 2}, 5), bool)
    await socket.emit_with_ack(move, {"x": 1, "y": 2}, 5, result=int)
    await socket.emit_with_ack(move, {"x": 1, "y": 2}, 5, result=int | None)
    await socket.emit(move, here, "5")  # type: ignore[call-overload]
    await socket.emit(move, here)  # type: ignore[call-overload]
    await socket.emit(move, here, 5, 6)  # type: ignore[call-overload]
    await socket.emit(move, {"x": 1}, 5)  # type: ignore[call-overload]
    await socket.emit(move, here, 5, foo=1)  # type: ignore[call-arg]
    await socket.emit(refresh, 1)  # type: ignore[call-overload]
    await socket.emit(log, "text", "1")  # type: ignore[call-overload]
    socket.emit_nowait(move, here)  # type: ignore[call-overload]
    await socket.emit_with_ack(move, here)  # type: ignore[call-overload]
    await socket.emit_with_ack(move, here, result=bool)  # type: ignore[call-arg]


async def handlers_of_event_types(socket: Socket) -> None:
    @socket.on(move)
    async def moved(position: Position, step: int) -> bool:
        return position["x"] > step

    @socket.once(move, typed=True)
    def moved_once(position: Position, step: float) -> bool:
        return position["x"] > step

    @socket.on(move)  # type: ignore[arg-type]
    def wrong_parameter(position: Position, step: str) -> bool:
        return position["x"] > 0

    @socket.on(move)  # type: ignore[arg-type]
    def too_few_parameters(position: Position) -> bool:
        return position["x"] > 0

    @socket.once(move)  # type: ignore[arg-type]
    def wrong_acknowledgement(position: Position, step: int) -> str:
        return "no"

    # With dataclasses or models, an event type declares them: `typed` does not change what a handler must accept.
    @socket.on(draw, typed=True)
    def drawn(point: Point) -> Point:
        return point

    @socket.on(draw, typed=True)  # type: ignore[arg-type]
    def drawn_wrongly(point: Position) -> Point:
        return Point(point["x"], point["y"])

    await socket.emit(draw, Point(1, 2))
    await socket.emit(draw, {"x": 1, "y": 2})  # type: ignore[call-overload]
    assert_type(await socket.emit_with_ack(draw, Point(1, 2), result=Point), Point)

    @socket.on(refresh, concurrency=2)
    async def refreshed() -> None: ...

    def of_all(*values: Any) -> bool:
        return bool(values)

    def unrelated(text: str) -> bool:
        return bool(text)

    assert_type(socket.on(move, of_all).once(move, of_all).off(move, of_all), Socket)
    assert_type(socket.listeners(move), list[Handler])
    assert_type(await socket.wait_for(move, timeout=5), Event)
    socket.on(move, unrelated)  # type: ignore[arg-type]
    socket.once(move, unrelated)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# Options


def token() -> dict[str, str]:
    return {"token": "t"}


async def later() -> dict[str, str]:
    return {"token": "t"}


def report(error: Exception, event: str) -> None: ...


def options() -> None:
    connect(
        URL,
        path="/socket.io/",
        add_trailing_slash=True,
        transports=["polling", "websocket"],
        upgrade=True,
        remember_upgrade=False,
        try_all_transports=False,
        query={"a": "b"},
        extra_headers=later,
        force_base64=False,
        timestamp_requests=None,
        timestamp_param="t",
        with_credentials=False,
        protocols=("a", "b"),
        transport_options={"polling": {"extra_headers": {"a": "b"}}},
        per_message_deflate=1024,
        max_message_size=1,
        max_payload_packets=1,
        close_timeout=1.5,
        reconnection=True,
        reconnection_attempts=math.inf,
        reconnection_delay=1,
        reconnection_delay_max=5,
        randomization_factor=0.5,
        timeout=None,
        parser=JSONParser(),
        max_buffered_events=1,
        max_buffered_bytes=1,
        max_attachments=1,
        ssl=ssl.create_default_context(),
        server_hostname="example.com",
        proxy=None,
        open_stream=None,
        on_handler_error=report,
        inbox_events=1,
        inbox_bytes=1,
        auth=token,
        ack_timeout=5,
        retries=3,
    )
    Manager(URL, auto_connect=False, ssl=False, on_handler_error="raise", proxy="http://proxy:8080")
    Manager(URL, transports=["websocket", PollingTransport])
    connect(URL, retires=3)  # type: ignore[call-arg]
    connect(URL, retries="3")  # type: ignore[arg-type]
    connect(URL, on_handler_error="ignore")  # type: ignore[arg-type]
    connect(URL, ssl=True)  # type: ignore[arg-type]
    connect(URL, auth=["token"])  # type: ignore[arg-type]
    connect(URL, transports=[Manager])  # type: ignore[list-item]
    connect(URL, parser="msgpack")  # type: ignore[arg-type]
    connect(URL, force_new=True)  # type: ignore[call-arg]
    Manager(URL, auth={})  # type: ignore[call-arg]
