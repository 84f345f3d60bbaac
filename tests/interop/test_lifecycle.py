"""Handlers that wait inside events of the connection, in every driver: none of them can block the connection.

Each program registers handlers that wait for the socket, then opens the connection and loses it. Afterwards the socket must
answer again, and every handler must have ended.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import pytest

from sansio_socketio.protocol.errors import DisconnectedError, SocketIOError
from tests.support.drivers import ASYNC_DRIVERS, PATIENCE, Driver
from tests.support.hooks import hook_to
from tests.support.peers import Peer
from tests.support.programs import ACTIONS, PLACES, Calls, ProgramHandler
from tests.support.target import Target

Wait = Callable[[Any], Awaitable[Any]]

WAITS: Final[dict[str, Wait]] = {
    "wait_connected": lambda socket: socket.wait_connected(),
    "emit_with_ack": lambda socket: socket.emit_with_ack("echo_ack", "x"),
    "connect": lambda socket: socket.connect(),
}
MANAGER_EVENTS: Final = ("open", "reconnect_attempt", "reconnect", "close", "error")
ENGINE_EVENTS: Final = ("open", "upgrade", "close")
SOCKET_EVENTS: Final = ("connect", "disconnect", "connect_error")
EVENTS: Final = [
    *(("Manager", event) for event in MANAGER_EVENTS),
    *(("Engine", event) for event in ENGINE_EVENTS),
    *(("Socket", event) for event in SOCKET_EVENTS),
]
PROGRAMS: Final = [*((name,) for name in WAITS), ("wait_connected", "emit_with_ack"), ("emit_with_ack", "connect")]
ASKABLE: Final = ("query", "extra_headers", "auth")


class Handlers:
    """Makes handlers that wait, and counts them."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.started = 0
        self.ended = 0

    def waiting(self, wait: Wait, socket: Any) -> Callable[..., Any]:
        async def handle() -> None:
            self.started += 1
            try:
                await wait(socket)
            except SocketIOError:
                pass  # the connection was lost meanwhile, for example
            finally:
                self.ended += 1

        return self.driver.handler(handle)


@pytest.mark.parametrize("functions", [(), ASKABLE], ids=["values", "functions"])
@pytest.mark.parametrize("program", PROGRAMS, ids="+".join)
@pytest.mark.parametrize(("emitter", "event"), EVENTS, ids=lambda value: value)
async def test_a_waiting_handler_does_not_block_the_connection(
    emitter: str,
    event: str,
    program: tuple[str, ...],
    functions: tuple[str, ...],
    driver: Driver,
    request: pytest.FixtureRequest,
) -> None:
    target = Target(request.getfixturevalue("node_server"), "upgrade" if event == "upgrade" else "websocket")
    asked = dict.fromkeys(functions, driver.handler(answer))
    auth = asked.pop("auth", None)
    options = {**target.options, **asked, "timeout": PATIENCE}
    if event in {"error", "connect_error"}:
        options["open_stream"] = failing_once(driver, target)
    handlers = Handlers(driver)
    manager = driver.manager(target.url(), **options)
    socket = manager.socket("/", auth=auth)

    registered: list[str] = []

    def register() -> None:
        emitters = {"Manager": manager, "Socket": socket, "Engine": manager.engine}
        for name in program:
            emitters[emitter].on(event, handlers.waiting(WAITS[name], socket))
        registered.append(event)

    if emitter != "Engine":
        register()
    elif event != "open":
        manager.on("open", register)
    async with manager:
        if (emitter, event) == ("Engine", "open"):
            register()
        await driver.registered(socket)
        await target.settle(driver, socket)
        await driver.until(lambda: bool(registered))
        await manager.engine.close()
        await check(driver, socket)
        await driver.until(lambda: 0 < handlers.started == handlers.ended)


async def answer() -> dict[str, str]:
    return {"answer": "yes"}


async def check(driver: Driver, socket: Any) -> None:
    """Check that the connection is reopened and the server responds."""

    async def reached() -> bool:
        try:
            return bool(await socket.timeout(PATIENCE).emit_with_ack("echo_ack", "there") == "there")
        except DisconnectedError:  # it was sent on the connection that is lost
            return False

    while not await reached():
        await driver.sleep(0.005)
    assert socket.connected


def failing_once(driver: Driver, target: Target) -> Callable[..., Any]:
    """A function that opens streams, the first of which fails."""
    hook = hook_to(driver, ("127.0.0.1", int(target.peer.url.rpartition(":")[2])))

    def fail() -> None:
        if len(hook.wanted) == 1:
            raise ConnectionRefusedError("the first one fails")

    hook.before = fail
    return hook.option


# Coroutines that are not awaited


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
async def test_a_plain_handler_may_start_a_task(driver: Driver, node_server: Peer) -> None:
    errors: list[Exception] = []
    echoes = driver.queue()
    async with (
        driver.background() as start,
        Target(node_server, "websocket").connect(driver, on_handler_error=errors.append) as socket,
    ):

        def connected() -> None:
            start(lambda: socket.emit("echo", 1))
            start(socket.wait_connected)

        socket.on("connect", connected)
        socket.on("connect", lambda: socket.emit("echo", 2))
        socket.on("echo", echoes.put)
        assert {await echoes.get(), await echoes.get()} == {1, 2}
        assert errors == []


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
async def test_a_plain_handler_that_drops_a_coroutine_is_reported(driver: Driver, node_server: Peer) -> None:
    errors = driver.queue()

    def handler() -> None:
        socket.emit("echo", 1)

    async with Target(node_server, "websocket").connect(driver, on_handler_error=errors.put) as socket:
        socket.on("connect", handler)
        assert "called emit() without awaiting it" in str(await errors.get())


# Random programs


class RealActor:
    """The object on which a random program acts, with a real server."""

    def __init__(self, driver: Driver, manager: Any, socket: Any) -> None:
        self.manager = manager
        self.socket = socket
        self.sleep = driver.sleep
        self._logged_in: set[int] = set()
        self._logins = 0
        socket.on("logged_in", self._logged_in.add)

    async def log_in(self) -> None:
        """Wait for the answer for a short time: in a handler of the same namespace it cannot arrive."""
        self._logins += 1
        number = self._logins
        await self.socket.emit("login", number)
        for _ in range(50):
            if number in self._logged_in:
                break
            await self.sleep(0.01)


@pytest.mark.parametrize("seed", range(20))
async def test_a_random_program_does_not_block_the_connection(seed: int, driver: Driver, node_server: Peer) -> None:
    random = Random(seed)
    target = Target(node_server, "websocket")
    errors: list[Exception] = []
    manager = driver.manager(target.url(), **target.options, timeout=PATIENCE, on_handler_error=errors.append)
    socket = manager.socket("/", auth=random.choice([None, driver.handler(answer)]))
    actor, calls = RealActor(driver, manager, socket), Calls()
    engine_handlers: list[tuple[str, Callable[..., Any]]] = []
    watched: list[Any] = []

    def watch_engine() -> None:
        engine = manager.engine
        if engine is not None and engine not in watched:
            watched.append(engine)
            for event, handler in engine_handlers:
                engine.on(event, handler)

    for _ in range(random.randint(1, 5)):
        emitter, event = place = random.choice(PLACES)
        actions = tuple(random.choices(sorted(ACTIONS), k=random.randint(1, 3)))
        handler = driver.handler(calls.handler(actor, ProgramHandler(place, actions)))
        concurrency = random.choice([None, 1, 2])
        if emitter == "Manager":
            manager.on(event, handler)
        elif emitter == "Engine":
            engine_handlers.append((event, handler))
        elif event == "any":
            socket.on_any(handler, concurrency=concurrency)
        elif event == "any_outgoing":
            socket.on_any_outgoing(handler)
        else:
            socket.on("echo" if event == "event" else event, handler, concurrency=concurrency)
    manager.on("open", watch_engine)
    async with manager:
        for fault in random.choices(["close_engine", "kick", "echo", "cut"], k=2):
            await driver.sleep(0.02)
            socket.emit_nowait(fault)
        deadline = time.monotonic() + 3 * PATIENCE
        while not await is_answered(manager, socket):
            assert time.monotonic() < deadline, calls.running
            await driver.sleep(0.02)
        await driver.until(lambda: calls.running == {})
    assert calls.unexpected == []
    assert not [error for error in errors if not isinstance(error, (SocketIOError, ValueError))]


async def is_answered(manager: Any, socket: Any) -> bool:
    """Open and connect what the program may have closed, and ask the server."""
    try:
        await manager.open()
        await socket.connect()
        return bool(await socket.timeout(1).emit_with_ack("echo_ack", "there") == "there")
    except SocketIOError:
        return False


@pytest.mark.parametrize("driver", ASYNC_DRIVERS[:1], ids=lambda driver: driver.name)
async def test_an_exception_that_ends_the_task_of_a_handler_does_not_stop_the_queue(
    driver: Driver, node_server: Peer
) -> None:
    """With asyncio only that task ends. Another one serves the queue."""
    seen = driver.queue()

    def fail() -> None:
        raise GeneratorExit

    target = Target(node_server, "websocket")
    async with driver.manager(target.url(), **target.options) as manager:
        socket = manager.socket("/")
        manager.on("open", fail).on("open", lambda: seen.put("next"))
        await socket.wait_connected()
        await manager.engine.close()
        await check(driver, socket)
        assert [await seen.get(), await seen.get()] == ["next", "next"]
