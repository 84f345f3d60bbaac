"""The programs of docs/examples work with a real server."""

from __future__ import annotations

import asyncio

import pytest

from docs.examples import frame_loop, sansio_socketio_streams
from docs.examples.sansio_socketio_streams._runtime import open_runtime
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, SocketIOError, StateError
from tests.conftest import TLS, PeerFactory
from tests.support.drivers import AsyncioDriver
from tests.support.peers import Peer
from tests.support.target import TRANSPORTS

BYTES = bytes(range(256)) * 2_000


class StreamsDriver(AsyncioDriver):
    """The driver of "Write a driver". Like the drivers of the library, it must leave nothing behind."""

    name = "streams"
    module = sansio_socketio_streams


DRIVER = StreamsDriver()


# The driver over asyncio's streams


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_driver_exchanges_events_and_acknowledgements(
    transport: str, scheme: str, node_server: Peer, node_server_tls: Peer, tls: TLS
) -> None:
    url = node_server.url if scheme == "http" else node_server_tls.url

    async def main() -> None:
        answers = DRIVER.queue()
        async with DRIVER.connect(
            f"{url}/chat", transports=TRANSPORTS[transport], ssl=tls.context if scheme == "https" else None
        ) as socket:
            socket.on("question", lambda text: (text, BYTES))
            socket.on("answered", lambda *values: answers.put(values))
            assert await socket.emit_with_ack("echo_ack", 1, {"bytes": BYTES}) == (1, {"bytes": BYTES})
            await DRIVER.until(lambda: socket.io.engine.transport.name == TRANSPORTS[transport][-1])
            await socket.emit("ask", "question", "text")
            assert await answers.get() == ("text", BYTES)

    DRIVER.run(main)


def test_the_driver_reconnects(fresh_node_server: PeerFactory) -> None:
    server = fresh_node_server()

    async def main() -> None:
        connections = DRIVER.queue()
        async with DRIVER.connect(server.url, reconnection_delay=0.02) as socket:
            socket.on("connect", lambda: connections.put(socket.id))
            first = await connections.get()
            server.restart()
            second = await connections.get()
            assert first != second
            assert await socket.emit_with_ack("echo_ack", "again") == "again"

    DRIVER.run(main)


def test_the_driver_raises_when_the_server_cannot_be_reached() -> None:
    async def main() -> None:
        with pytest.raises(ConnectError):
            async with DRIVER.connect("http://127.0.0.1:1"):
                pass

    DRIVER.run(main)


def test_the_driver_stops_at_once_when_it_is_cancelled(node_server: Peer) -> None:
    async def stay(ready: object) -> None:
        async with DRIVER.connect(node_server.url) as socket:
            assert callable(ready)
            ready()
            await socket.wait_closed()

    async def main() -> None:
        await DRIVER.cancelled(stay)

    DRIVER.run(main)


def test_calls_of_the_driver_raise_when_its_context_manager_has_exited(node_server: Peer) -> None:
    async def main() -> None:
        async with DRIVER.module.Manager(node_server.url) as manager:
            socket = manager.socket()
            await socket.wait_connected()
        with pytest.raises(DisconnectedError):
            await socket.emit_with_ack("silent")

    DRIVER.run(main)


def test_the_driver_refuses_calls_from_another_thread(node_server: Peer) -> None:
    async def main() -> None:
        async with DRIVER.connect(node_server.url) as socket:
            with pytest.raises(StateError, match="called from another thread"):
                await asyncio.to_thread(socket.emit_nowait, "n", 0)

    DRIVER.run(main)


def test_a_task_of_the_driver_may_end_the_scope() -> None:
    """As a handler does that closes its Manager."""

    async def main() -> None:
        scope = open_runtime()
        runtime = await scope.__aenter__()

        async def end() -> None:
            await scope.__aexit__(None, None, None)

        task = runtime.spawn(end, "ends the scope")
        await asyncio.wait({task}, timeout=10)
        assert task.done()
        assert not task.cancelled()

    DRIVER.run(main)


# The frame loop


@pytest.mark.parametrize("payload", [["hello", 42], [BYTES, {"bytes": BYTES}]])
def test_the_frame_loop_returns_the_acknowledgement(node_server: Peer, payload: list[object]) -> None:
    assert frame_loop.ask(node_server.url, "echo_ack", *payload) == payload


def test_the_frame_loop_raises_the_error_of_the_connection() -> None:
    with pytest.raises(SocketIOError):
        frame_loop.ask("http://127.0.0.1:1", "echo_ack")
