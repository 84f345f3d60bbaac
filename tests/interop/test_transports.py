"""Custom transport classes, against the real server, on every driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.protocol.packets.engineio import Packet
from sansio_socketio.protocol.transports import PollingTransport, Transport, WebSocketTransport
from tests.conftest import PeerFactory
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import Target


class Counting(Transport):
    """Counts sent packets for each class, and sends a header that identifies the class."""

    packets: ClassVar[int]

    def __init__(self, endpoint: Any, *others: Any) -> None:
        endpoint.headers = {**endpoint.headers, "X-Transport": type(self).__name__}
        super().__init__(endpoint, *others)

    def send(self, packets: Sequence[Packet], now: float) -> None:
        type(self).packets += len(packets)
        super().send(packets, now)  # type: ignore[safe-super]  # the next class has one


def classes() -> list[Any]:
    """Return new classes, whose counters are zero."""

    class CountingPolling(Counting, PollingTransport):
        packets = 0

    class CountingWebSocket(Counting, WebSocketTransport):
        packets = 0

    return [CountingPolling, CountingWebSocket]


@pytest.mark.row("option.transports", "beyond.transport_classes")
@pytest.mark.parametrize("remember", [False, True])
async def test_transport_classes_replace_the_built_in_ones(remember: bool, driver: Driver, node_server: Peer) -> None:
    polling, websocket = classes()
    target = Target(node_server, "upgrade", extra={"transports": [polling, websocket], "remember_upgrade": remember})
    async with target.connect(driver, extra_headers={"X-Other": "kept"}) as socket:
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("transport") == "websocket"
        headers = (await socket.emit_with_ack("handshake"))["headers"]
        assert (headers["x-transport"], headers["x-other"]) == ("CountingPolling", "kept")
        assert polling.packets >= 1
        counted = websocket.packets
        assert await socket.emit_with_ack("echo_ack", b"bytes") == b"bytes"
        assert websocket.packets == counted + 2
        await socket.emit("cut")
        await driver.until(lambda: not socket.connected)
        await target.settle(driver, socket)
        headers = (await socket.emit_with_ack("handshake"))["headers"]
        assert headers["x-transport"] == ("CountingWebSocket" if remember else "CountingPolling")


@pytest.mark.row("option.transports")
async def test_transport_classes_and_names_can_be_combined(driver: Driver, node_server: Peer) -> None:
    _, websocket = classes()
    for transports, want in ((["polling", websocket], None), ([websocket, "polling"], "CountingWebSocket")):
        target = Target(node_server, "upgrade", extra={"transports": transports})
        async with target.connect(driver) as socket:
            await target.settle(driver, socket)
            assert (await socket.emit_with_ack("handshake"))["headers"].get("x-transport") == want
            assert websocket.packets > 0


class Tunnel(WebSocketTransport):
    """A WebSocket with a name that only this server knows."""

    name = "tunnel"


async def _settle(driver: Driver, socket: Any) -> None:
    await driver.until(lambda: socket.io.engine.transport.name == "tunnel")


@pytest.mark.row("option.transports", "option.transport_options")
async def test_a_transport_class_may_have_a_new_name(driver: Driver, fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server(names={"tunnel": "websocket"}, options={"transports": ["polling", "websocket", "tunnel"]})
    own = {"tunnel": {"query": {"through": "the tunnel"}}}
    for transports in ([Tunnel], [Tunnel, "polling"], ["polling", Tunnel], ["polling", Tunnel, "websocket"]):
        options: dict[str, Any] = {"transports": transports, "transport_options": own}
        async with driver.connect(peer.url, **options) as socket:
            await _settle(driver, socket)
            assert await socket.emit_with_ack("transport") == "tunnel"
            assert await socket.emit_with_ack("echo_ack", "text", b"bytes") == ("text", b"bytes")
            query = (await socket.emit_with_ack("handshake"))["query"]
            assert query.get("through") == ("the tunnel" if transports[0] is Tunnel else None)


@pytest.mark.row("option.transports", "option.try_all_transports")
async def test_the_next_transport_is_tried_if_the_server_does_not_know_the_name(
    driver: Driver, node_server: Peer
) -> None:
    options: dict[str, Any] = {"transports": [Tunnel, "websocket", "polling"], "try_all_transports": True}
    async with driver.connect(node_server.url, **options) as socket:
        assert await socket.emit_with_ack("transport") == "websocket"


async def test_an_invalid_transport_raises_at_the_call(driver: Driver, node_server: Peer) -> None:
    for make in (driver.connect, driver.manager):
        with pytest.raises(OptionError, match=r"transports takes .*subclasses of Transport"):
            make(node_server.url, transports=[Counting])
        with pytest.raises(OptionError, match=r"transport_options takes .*'tunnel' is not one of them"):
            make(node_server.url, transport_options={"tunnel": {}})
