"""Parsers other than the default one: MessagePack, with servers that use it, on every driver and transport."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf, isnan, nan
from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from tests.conftest import TLS, PeerFactory
from tests.support import peers
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import Target

PACKED: dict[str, Any] = {"parser": MessagePackParser()}
BYTES = bytes(range(256))
TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
PAYLOADS: list[tuple[Any, ...]] = [
    (),
    (None, True, False, 0, -1, 1.5, 2**53 - 1, -(2**53)),
    ("Grüße, 世界, 🙂👩‍👩‍👧, \u2028\x1e", {"ключ": "значение", "": [[], {}]}),
    (b"", b"\x00", BYTES),
    ({"nested": [{"deep": BYTES}, BYTES[:7]], "text": "beside"}, 7, b"last"),
    (TIME, [TIME], inf),
    ("x" * 300_000, BYTES * 400),
]


@pytest.fixture(scope="module")
def msgpack_server() -> Iterator[Peer]:
    with peers.node_server(parser="msgpack") as peer:
        yield peer


@pytest.fixture(scope="module")
def msgpack_server_tls(tls: TLS) -> Iterator[Peer]:
    with peers.node_server(parser="msgpack", tls=tls.files) as peer:
        yield peer


@pytest.fixture(scope="module")
def msgpack_python_server() -> Iterator[Peer]:
    with peers.python_server(options={"serializer": "msgpack"}) as peer:
        yield peer


@pytest.fixture
def target(transport: str, scheme: str, request: pytest.FixtureRequest) -> Target:
    if scheme == "http":
        return Target(request.getfixturevalue("msgpack_server"), transport, extra=PACKED)
    return Target(request.getfixturevalue("msgpack_server_tls"), transport, request.getfixturevalue("tls"), PACKED)


@pytest.fixture
def plain_target(transport: str, msgpack_server: Peer) -> Target:
    return Target(msgpack_server, transport, extra=PACKED)


@pytest.mark.row("beyond.message_pack")
async def test_events_and_acknowledgements_are_sent_and_received(driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with target.connect(driver, auth={"picture": BYTES}) as socket:
        socket.on("welcome", lambda about: seen.put((about["sid"] == socket.id, about["auth"])))
        assert await seen.get() == (True, {"picture": BYTES})
        for name in ("echo", "answered"):
            socket.on(name, lambda *args: seen.put(args))
        socket.on("question", lambda value: (value, BYTES))
        for payload in PAYLOADS:
            await socket.emit("echo", *payload)
            assert await seen.get() == payload
            want = payload[0] if len(payload) == 1 else payload or None
            assert await socket.emit_with_ack("echo_ack", *payload) == want
        await socket.emit("ask", "question", TIME)
        assert await seen.get() == (TIME, BYTES)
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("transport") == target.settled


async def test_javascript_values_are_converted(driver: Driver, plain_target: Target) -> None:
    eight = bytes(range(8))
    async with plain_target.connect(driver) as socket:
        assert await socket.emit_with_ack("javascript") == (None, {"absent": None}, TIME, b"\x00", eight, eight)
        assert isnan(await socket.emit_with_ack("echo_ack", nan))
        assert await socket.emit_with_ack("echo_ack", {1: "a", None: "b", False: "c"}) == {
            "1": "a",
            "null": "b",
            "false": "c",
        }
        assert await socket.emit_with_ack("echo_ack", {1.0: "a", 1e21: "b"}) == {"1": "a", "1e+21": "b"}
        deep: list[Any] = [BYTES]
        for _ in range(1999):
            deep = [deep]
        back = await socket.emit_with_ack("echo_ack", deep)
        for _ in range(2000):
            (back,) = back
        assert back == BYTES


async def test_namespaces_are_joined_refused_and_disconnected(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with driver.manager(plain_target.peer.url, **plain_target.options) as manager:
        main, refused = manager.socket("/"), manager.socket("/auth", auth={"token": "wrong"})
        refused.on("connect_error", lambda error: seen.put((error.message, error.data)))
        assert await seen.get() == ("not authorized", {"code": "EAUTH", "wanted": "token"})
        await main.wait_connected()
        main.on("disconnect", lambda reason, details: seen.put(reason))
        await main.emit("kick")
        assert await seen.get() == "io server disconnect"
        await main.connect()
        await main.disconnect()
        assert await seen.get() == "io client disconnect"


async def test_the_session_is_recovered(driver: Driver, transport: str, fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server(parser="msgpack", options={"connectionStateRecovery": {}})
    target = Target(peer, transport, extra=PACKED)
    seen = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("news", seen.put)
        socket.on("connect", lambda: seen.put(socket.recovered))
        await target.settle(driver, socket)
        assert await seen.get() is False
        peer.control("emit", event="news", args=[1])
        assert await seen.get() == 1
        first = socket.id
        await socket.emit("close_engine")
        await driver.until(lambda: not socket.connected)
        peer.control("emit", event="news", args=[2])
        await socket.wait_connected()
        assert (socket.id, socket.recovered) == (first, True)
        assert [await seen.get(), await seen.get()] == [2, True]


async def test_server_without_msgpack_refuses_client(driver: Driver, transport: str, node_server: Peer) -> None:
    with pytest.raises(ConnectError):
        async with Target(node_server, transport, extra=PACKED).connect(driver):
            raise AssertionError("the server cannot understand us")


async def test_client_without_msgpack_raises_connect_error(driver: Driver, plain_target: Target) -> None:
    with pytest.raises(ConnectError):
        async with plain_target.connect(driver, parser=None):
            raise AssertionError("the server cannot understand us")


async def test_manager_without_msgpack_connects_again_and_again(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with driver.manager(plain_target.peer.url, **{**plain_target.options, "parser": None}) as manager:
        for name in ("open", "error", "close", "reconnect"):
            manager.on(name, lambda *values, name=name: seen.put((name, *values[:1])))
        socket = manager.socket("/")
        refused: list[Any] = []
        for name in ("connect", "connect_error"):
            socket.on(name, refused.append)
        reasons = driver.queue()
        socket.on("disconnect", lambda reason, details: reasons.put(reason))
        assert [await reasons.get(), await reasons.get()] == ["transport close"] * 2
        assert [await seen.get() for _ in range(4)] == [
            ("open",),
            ("close", "transport close"),
            ("open",),
            ("reconnect", 1),
        ]
        assert (socket.connected, refused) == (False, [])


async def test_python_socketio_with_msgpack_is_supported(
    driver: Driver, transport: str, msgpack_python_server: Peer
) -> None:
    target = Target(msgpack_python_server, transport, extra={**PACKED, "close_timeout": 0.2})
    gone = driver.queue()
    async with target.connect(driver, auth={"token": "secret"}) as socket:
        payload = ("Grüße 🙂", {"deep": [BYTES, None, 1.5]}, BYTES)
        assert await socket.emit_with_ack("echo_ack", *payload) == payload
        socket.on("disconnect", lambda reason, details: gone.put(reason))
        await socket.emit("kick")
        assert await gone.get() == "io server disconnect"
