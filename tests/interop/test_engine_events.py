"""The rows of the Engine: its lifecycle and packet events, against the real server, on every driver."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import PeerFactory
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver, Queue
from tests.support.target import Target


async def events_until(queue: Queue, *names: str) -> list[Any]:
    """Return what the queue yields until all of these names have been in it."""
    missing, seen = set(names), []
    while missing:
        item = await queue.get()
        seen.append(item)
        missing.discard(item if isinstance(item, str) else item[0])
    return seen


@pytest.mark.row(
    "manager.engine",
    "engine.id",
    "engine.state",
    "engine.protocol",
    "engine.transport",
    "engine.event.open",
    "engine.event.upgrading",
    "engine.event.upgrade",
    "engine.event.close",
)
async def test_engine_lifecycle_events(driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with driver.manager(target.peer.url, **target.options) as manager:
        engine = manager.engine
        engine.on("open", lambda: seen.put(("open", engine.id, engine.transport.name)))
        engine.on("upgrading", lambda transport: seen.put(("upgrading", transport.name)))
        engine.on("upgrade", lambda transport: seen.put(("upgrade", transport.name)))
        engine.on("close", lambda reason, details: seen.put(("close", reason, details)))
        socket = manager.socket()
        await target.settle(driver, socket)
        assert manager.engine == engine
        shake = await socket.emit_with_ack("handshake")
        assert shake["engine"] == engine.id
        assert (engine.state, engine.protocol) == ("open", 4)
        first, *_ = target.options["transports"]
        assert await seen.get() == ("open", engine.id, first)
        if first != target.settled:
            assert await seen.get() == ("upgrading", target.settled)
            assert await seen.get() == ("upgrade", target.settled)
        await manager.close()
        assert await seen.get() == ("close", "forced close", None)
        assert manager.engine == engine
        assert engine.id is None
        assert engine.state == "closed"


@pytest.mark.row("engine.on")
async def test_handlers_registered_at_once_are_called_for_the_upgrade(driver: Driver, node_server: Any) -> None:
    seen = driver.queue()
    async with Target(node_server, "upgrade").connect(driver) as socket:
        engine = socket.io.engine
        engine.once("open", lambda: seen.put("open")).once("upgrade", lambda: seen.put("upgrade"))
        unwanted = lambda: seen.put("unwanted")  # noqa: E731  # to remove it again
        engine.on("upgrade", unwanted).off("upgrade", unwanted)
        assert len(engine.listeners("upgrade")) == 1
        assert [await seen.get(), await seen.get()] == ["open", "upgrade"]
        assert engine.listeners("upgrade") == []
        assert await socket.emit_with_ack("echo_ack", 1) == 1


async def test_handlers_registered_in_open_are_called_for_the_upgrade(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    seen = driver.queue()
    async with driver.manager(target.peer.url, reconnection_delay=0.02) as manager:
        manager.on("open", lambda: manager.engine.once("upgrade", lambda transport: seen.put(transport.name)))
        socket = manager.socket()
        assert await seen.get() == "websocket"
        await socket.emit("close_engine")
        assert await seen.get() == "websocket"


@pytest.mark.row("engine.event.packet", "engine.event.packet_create", "engine.event.flush", "engine.event.drain")
async def test_engine_packet_events(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(options={"pingInterval": 300, "pingTimeout": 20_000})
    seen = driver.queue()
    async with driver.manager(target.peer.url, **target.options) as manager:
        engine = manager.engine
        for name in ("packet", "packet_create"):
            engine.on(name, lambda packet, name=name: seen.put((name, packet.type, packet.data)))
        for name in ("open", "flush", "drain"):
            engine.on(name, lambda name=name: seen.put(name))
        socket = manager.socket("/chat")
        first = await events_until(seen, "flush")
        assert [item[:2] for item in first[:3]] == [("packet", "open"), "op", ("packet_create", "message")]
        assert engine.id in first[0][2]
        assert first[2][2] == "0/chat,"
        assert first[-1] == "flush"
        await target.settle(driver, socket)
        await events_until(seen, "drain")
        await socket.emit("echo", b"\x00\x01")
        sent = await events_until(seen, "flush", "drain", "packet")
        while ("packet", "message", b"\x00\x01") not in sent:
            sent += await events_until(seen, "packet")
        assert ("packet_create", "message", b"\x00\x01") in sent
        while ("packet", "ping", "") not in sent:
            sent += await events_until(seen, "packet")
        while ("packet_create", "pong", "") not in sent:
            sent += await events_until(seen, "packet_create")
        for name in ("packet", "packet_create", "flush", "drain"):
            engine.off(name)
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("engine.event.upgrade_error")
async def test_a_failed_upgrade_emits_upgrade_error(driver: Driver, fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server()
    errors = driver.queue()
    own = {"websocket": {"path": "/elsewhere"}}
    async with driver.connect(peer.url, transport_options=own) as socket:
        socket.io.engine.on("upgrade_error", errors.put)
        error = await errors.get()
        assert "probe error" in str(error)
        assert error.transport == "websocket"
        assert await socket.emit_with_ack("echo_ack", "still here") == "still here"
        assert socket.io.engine.transport.name == "polling"


@pytest.mark.row("engine.close", "reason.forced_close")
async def test_closing_the_engine_reconnects(driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason: seen.put((reason, socket.active)))
        await target.settle(driver, socket)
        first, identity = socket.io.engine, socket.id
        ended = driver.queue()
        first.on("close", lambda reason, details: ended.put((reason, details)))
        await first.close()
        assert await ended.get() == ("forced close", None)
        assert await seen.get() == ("forced close", True)
        await socket.wait_connected()
        assert socket.id != identity
        assert socket.io.engine != first
        assert await socket.emit_with_ack("echo_ack", "again") == "again"
        await first.close()
        assert socket.connected


async def test_closing_the_engine_without_reconnection_closes_the_connection(
    driver: Driver, plain_target: Target
) -> None:
    async with plain_target.connect(driver, reconnection=False) as socket:
        await plain_target.settle(driver, socket)
        await socket.io.engine.close()
        await socket.wait_closed()
        assert socket.io.engine.state == "closed"
