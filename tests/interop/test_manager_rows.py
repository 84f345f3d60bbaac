"""The rows of a Manager: opening, the order of its events, and its handlers, against the real server, on every driver."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, OptionError, TransportError
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver, Queue
from tests.support.target import Target

EVENTS = ("open", "error", "close", "reconnect", "reconnect_attempt", "reconnect_error", "reconnect_failed")


def record_events(seen: Queue, manager: Any) -> None:
    """Put each event of the Manager into the queue, with the arguments of its handlers."""
    for name in EVENTS:
        manager.on(name, lambda *values, name=name: seen.put((name, *values)))


async def next_events(seen: Queue, count: int) -> list[Any]:
    """Return the next events. An error is replaced by its type."""
    found = [await seen.get() for _ in range(count)]
    return [tuple(type(value) if isinstance(value, Exception) else value for value in each) for each in found]


@pytest.mark.row("manager.open", "manager.connect", "manager.close", "manager.event.open", "manager.event.close")
@pytest.mark.row("difference.close_is_emitted_once")
@pytest.mark.parametrize("name", ["open", "connect"])
async def test_open_and_close_emit_events(name: str, driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with driver.manager(target.peer.url, auto_connect=False, **target.options) as manager:
        record_events(seen, manager)
        for _ in range(2):
            assert await getattr(manager, name)() == manager
            engine = manager.engine
            assert engine.id is not None
            assert await getattr(manager, name)() == manager
            for _ in range(2):
                assert await manager.close() == manager
                assert manager.engine == engine
                assert engine.state == "closed"
            assert await next_events(seen, 2) == [("open",), ("close", "forced close", None)]


@pytest.mark.row("manager.open", "manager.connect", "manager.event.error", "difference.awaited")
@pytest.mark.parametrize("name", ["open", "connect"])
async def test_a_failed_open_starts_no_reconnection(name: str, driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    target.peer.kill()
    seen = driver.queue()
    async with driver.manager(target.peer.url, auto_connect=False, **target.options) as manager:
        record_events(seen, manager)
        for _ in range(2):
            with pytest.raises(ConnectError) as caught:
                await getattr(manager, name)()
            assert isinstance(caught.value.__cause__, TransportError)
            assert await next_events(seen, 1) == [("error", TransportError)]
        target.peer.start()
        await getattr(manager, name)()
        assert await next_events(seen, 1) == [("open",)]


@pytest.mark.row("manager.event.reconnect", "manager.event.reconnect_attempt", "manager.event.reconnect_error")
@pytest.mark.row("manager.event.open", "manager.event.error", "manager.event.close")
async def test_a_reconnection_emits_its_events_in_order(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    seen = driver.queue()

    async with driver.manager(target.peer.url, **target.options) as manager:
        record_events(seen, manager)
        socket = manager.socket()
        socket.on("connect", lambda: seen.put(("connected",)))
        await target.settle(driver, socket)
        assert await next_events(seen, 2) == [("open",), ("connected",)]
        target.peer.kill()
        while (event := await seen.get())[0] == "error":
            pass
        assert (event[0], isinstance(event[2], TransportError)) == ("close", True)
        failure = [("error", TransportError), ("reconnect_error", TransportError)]
        assert await next_events(seen, 6) == [("reconnect_attempt", 1), *failure, ("reconnect_attempt", 2), *failure]
        target.peer.start()
        attempt = 3
        assert await next_events(seen, 1) == [("reconnect_attempt", attempt)]
        while (event := await next_events(seen, 1)) != [("open",)]:  # one may have failed before the server was there
            attempt += 1
            assert [*event, *await next_events(seen, 2)] == [*failure, ("reconnect_attempt", attempt)]
        assert await next_events(seen, 2) == [("reconnect", attempt), ("connected",)]


@pytest.mark.row("manager.event.reconnect_failed", "manager.event.reconnect_error")
async def test_giving_up_emits_its_events_in_order(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    target.peer.kill()
    seen = driver.queue()
    async with driver.manager(target.peer.url, reconnection_attempts=1, **target.options) as manager:
        record_events(seen, manager)
        socket = manager.socket()
        with pytest.raises(DisconnectedError):
            await socket.wait_closed()
        assert await next_events(seen, 5) == [
            ("error", TransportError),
            ("reconnect_attempt", 1),
            ("error", TransportError),
            ("reconnect_failed",),
            ("reconnect_error", TransportError),
        ]


@pytest.mark.row("manager.on")
async def test_manager_handlers_are_registered_and_removed(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()

    def unwanted() -> None:
        seen.put("unwanted")

    async with driver.manager(plain_target.peer.url, auto_connect=False, **plain_target.options) as manager:
        each = lambda: seen.put("each")  # noqa: E731  # compared below
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
async def test_socket_returns_one_socket_per_namespace(driver: Driver, target: Target) -> None:
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
