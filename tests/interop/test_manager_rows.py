"""The rows of a Manager: opening, its events in their order, its handlers; against the real server, on every driver."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, OptionError, TransportError
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver, Queue
from tests.support.target import Target

EVENTS = ("open", "error", "close", "reconnect", "reconnect_attempt", "reconnect_error", "reconnect_failed")


def listen(seen: Queue, manager: Any) -> None:
    """Have each event of the Manager told, with what its handlers get."""
    for name in EVENTS:
        manager.on(name, lambda *values, name=name: seen.put((name, *values)))


async def told(seen: Queue, count: int) -> list[Any]:
    """The next events; of an error its type."""
    found = [await seen.get() for _ in range(count)]
    return [tuple(type(value) if isinstance(value, Exception) else value for value in each) for each in found]


@pytest.mark.row("manager.open", "manager.connect", "manager.close", "manager.event.open", "manager.event.close")
@pytest.mark.row("difference.close_is_emitted_once")
@pytest.mark.parametrize("name", ["open", "connect"])
async def test_opening_and_closing(name: str, driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with driver.manager(target.peer.url, auto_connect=False, **target.options) as manager:
        listen(seen, manager)
        for _ in range(2):
            assert await getattr(manager, name)() == manager
            assert manager.engine.id is not None
            assert await getattr(manager, name)() == manager
            for _ in range(2):
                assert await manager.close() == manager
                assert not manager.engine
            assert await told(seen, 2) == [("open",), ("close", "forced close", None)]


@pytest.mark.row("manager.open", "manager.connect", "manager.event.error", "difference.awaited")
@pytest.mark.parametrize("name", ["open", "connect"])
async def test_opening_in_vain_starts_no_reconnection(name: str, driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    target.peer.kill()
    seen = driver.queue()
    async with driver.manager(target.peer.url, auto_connect=False, **target.options) as manager:
        listen(seen, manager)
        for _ in range(2):
            with pytest.raises(ConnectError) as caught:
                await getattr(manager, name)()
            assert isinstance(caught.value.__cause__, TransportError)
            assert await told(seen, 1) == [("error", TransportError)]
        target.peer.start()
        await getattr(manager, name)()
        assert await told(seen, 1) == [("open",)]


@pytest.mark.row("manager.event.reconnect", "manager.event.reconnect_attempt", "manager.event.reconnect_error")
@pytest.mark.row("manager.event.open", "manager.event.error", "manager.event.close")
async def test_the_events_of_a_reconnection(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    seen = driver.queue()

    async with driver.manager(target.peer.url, **target.options) as manager:
        listen(seen, manager)
        socket = manager.socket()
        socket.on("connect", lambda: seen.put(("connected",)))
        await target.settle(driver, socket)
        assert await told(seen, 2) == [("open",), ("connected",)]
        target.peer.kill()
        while (event := await seen.get())[0] == "error":
            pass
        assert (event[0], isinstance(event[2], TransportError)) == ("close", True)
        failure = [("error", TransportError), ("reconnect_error", TransportError)]
        assert await told(seen, 6) == [("reconnect_attempt", 1), *failure, ("reconnect_attempt", 2), *failure]
        target.peer.start()
        attempt = 3
        assert await told(seen, 1) == [("reconnect_attempt", attempt)]
        while (event := await told(seen, 1)) != [("open",)]:  # one may have failed before the server was there
            attempt += 1
            assert [*event, *await told(seen, 2)] == [*failure, ("reconnect_attempt", attempt)]
        assert await told(seen, 2) == [("reconnect", attempt), ("connected",)]


@pytest.mark.row("manager.event.reconnect_failed", "manager.event.reconnect_error")
async def test_the_events_when_it_gives_up(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    target.peer.kill()
    seen = driver.queue()
    async with driver.manager(target.peer.url, reconnection_attempts=1, **target.options) as manager:
        listen(seen, manager)
        socket = manager.socket()
        await socket.wait_closed()
        assert await told(seen, 5) == [
            ("error", TransportError),
            ("reconnect_attempt", 1),
            ("error", TransportError),
            ("reconnect_failed",),
            ("reconnect_error", TransportError),
        ]


@pytest.mark.row("manager.on")
async def test_handlers_of_a_manager(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()

    def unwanted() -> None:
        seen.put("unwanted")

    async with driver.manager(plain_target.peer.url, auto_connect=False, **plain_target.options) as manager:
        each = lambda: seen.put("each")  # noqa: E731  # to compare it
        assert manager.on("open", unwanted).once("open", lambda: seen.put("once")).on("open", each) == manager
        assert manager.off("open", unwanted).listeners("open")[1:] == [each]
        for _ in range(2):
            await manager.open()
            await manager.close()
        assert [await seen.get() for _ in range(3)] == ["once", "each", "each"]
        assert manager.off("open").off().listeners("open") == []
        with pytest.raises(OptionError, match="reconnect_attempt"):
            manager.on("reconnecting", unwanted)


@pytest.mark.row("manager.socket", "manager")
async def test_the_sockets_of_a_manager(driver: Driver, target: Target) -> None:
    async with driver.manager(target.peer.url, **target.options) as manager:
        main, admitted = manager.socket(), manager.socket("/auth", auth={"token": "secret"}, ack_timeout=5, retries=1)
        assert (main.nsp, admitted.nsp, main.io, admitted.io) == ("/", "/auth", manager, manager)
        assert manager.socket("/") == main
        await admitted.wait_connected()
        assert (await admitted.emit_with_ack("handshake"))["auth"] == {"token": "secret"}
        await main.wait_connected()
        await main.disconnect()
        assert manager.socket("/") == main  # and connects it again
        await main.wait_connected()
        assert await main.emit_with_ack("echo_ack", 1) == 1
