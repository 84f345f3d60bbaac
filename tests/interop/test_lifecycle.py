"""Handlers that wait inside events of the connection, in every driver: none of them can hold up the connection.

Each program registers handlers that wait for the socket, then opens the connection and loses it. Afterwards the socket must
answer again, and every handler must have ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from sansio_socketio.protocol.errors import DisconnectedError, SocketIOError
from tests.support.drivers import PATIENCE, Driver
from tests.support.hooks import hook_to
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
async def test_a_handler_that_waits(
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

    def register() -> None:
        emitters = {"Manager": manager, "Socket": socket, "Engine": manager.engine}
        for name in program:
            emitters[emitter].on(event, handlers.waiting(WAITS[name], socket))

    if emitter != "Engine":
        register()
    elif event != "open":
        manager.on("open", register)
    async with manager:
        if (emitter, event) == ("Engine", "open"):
            register()
        await driver.registered(socket)
        await target.settle(driver, socket)
        await manager.engine.close()
        await check(driver, socket)
        await driver.until(lambda: 0 < handlers.started == handlers.ended)


async def answer() -> dict[str, str]:
    return {"answer": "yes"}


async def check(driver: Driver, socket: Any) -> None:
    """The connection comes again, and the server answers."""

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
