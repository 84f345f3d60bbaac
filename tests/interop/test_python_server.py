"""The server of python-socketio: it differs from the one for Node in how packets are batched, timed and closed."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError
from tests.conftest import PeerFactory
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import Target

BYTES = bytes(range(256))


# When a polling client closes the session, this server does not respond to the pending GET.
PARTING: dict[str, Any] = {"close_timeout": 0.2}


@pytest.fixture
def target(transport: str, scheme: str, request: pytest.FixtureRequest) -> Target:
    if scheme == "http":
        return Target(request.getfixturevalue("python_server"), transport, extra=PARTING)
    return Target(request.getfixturevalue("python_server_tls"), transport, request.getfixturevalue("tls"), PARTING)


@pytest.fixture
def plain_target(transport: str, python_server: Peer) -> Target:
    return Target(python_server, transport, extra=PARTING)


async def test_events_and_acknowledgements_are_sent_and_received(driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("welcome", lambda data: seen.put(data["sid"] == socket.id))
        for name in ("echo", "answered"):
            socket.on(name, lambda *args: seen.put(args))
        socket.on("question", lambda value: (value, BYTES))
        for payload in (("Grüße 🙂", {"a": [1, None]}), (BYTES, {"deep": [BYTES]}, 1.5)):
            await socket.emit("echo", *payload)
            assert await socket.emit_with_ack("echo_ack", *payload) == payload
        await socket.emit("ask", "question", "why?")
        assert [await seen.get() for _ in range(4)] == [
            True,
            ("Grüße 🙂", {"a": [1, None]}),
            (BYTES, {"deep": [BYTES]}, 1.5),
            ("why?", BYTES),
        ]
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("transport") == target.settled


async def test_namespaces_are_joined_or_refused(driver: Driver, plain_target: Target) -> None:
    async with driver.open_io() as io:
        main, admitted = (
            io(plain_target.url(), **plain_target.options),
            io(plain_target.url("/auth"), auth={"token": "secret"}, **plain_target.options),
        )
        await main.wait_connected()
        await admitted.wait_connected()
        assert main.io == admitted.io
        assert await admitted.emit_with_ack("echo_ack", "in") == "in"
    with pytest.raises(ConnectError) as caught:
        async with plain_target.connect(driver, "/auth"):
            raise AssertionError("the server must refuse")
    assert (caught.value.message, caught.value.data["code"]) == ("not authorized", "EAUTH")


async def test_bursts_arrive_in_order(driver: Driver, plain_target: Target) -> None:
    numbers = driver.queue()
    async with plain_target.connect(driver) as socket:
        socket.on("n", numbers.put)
        await socket.emit("burst", 1000)
        assert [await numbers.get() for _ in range(1000)] == list(range(1000))
        for number in range(1000):
            await socket.emit("n", number)
        assert await socket.emit_with_ack("count") == {"total": 1000, "ordered": True}


async def test_a_socket_that_the_server_disconnected_can_connect_again(driver: Driver, plain_target: Target) -> None:
    gone = driver.queue()
    async with plain_target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: gone.put(reason))
        await plain_target.settle(driver, socket)
        await socket.emit("kick")
        assert await gone.get() == "io server disconnect"
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 1) == 1


async def test_buffered_events_are_sent_after_a_server_restart(
    driver: Driver, transport: str, fresh_python_server: PeerFactory
) -> None:
    target = Target(fresh_python_server(), transport, extra=PARTING)
    gone = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: gone.put(reason))
        await target.settle(driver, socket)
        target.peer.kill()
        await gone.get()
        for number in range(10):
            await socket.emit("n", number)
        target.peer.start()
        assert await socket.emit_with_ack("count") == {"total": 10, "ordered": True}
