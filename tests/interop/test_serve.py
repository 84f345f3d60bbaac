"""`serve` on real sockets, on asyncio and trio: hostile clients, and every way in which it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from sansio_socketio import DisconnectedError, StateError
from sansio_socketio.server import RemoteClient
from tests.support.drivers import DRIVERS, Driver
from tests.unit.protocol.server.rig import WEBSOCKET, frame, request

LISTENING = [driver for driver in DRIVERS if hasattr(driver.module, "serve")]
PATIENCE = 20.0


@pytest.fixture(params=LISTENING, ids=lambda driver: driver.name)
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    return chosen


@contextmanager
def stream(port: int, data: bytes = b"", receive_buffer: int | None = None) -> Generator[socket.socket]:
    """A stream to the server, on which some bytes are sent. The system accepts them at once."""
    with socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        sock.sendall(data)
        yield sock


def websocket(*packets: str) -> bytes:
    """The bytes of a client that opens a WebSocket and sends Socket.IO packets."""
    opening = request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET, path="/socket.io/")
    return opening + b"".join(frame(f"4{packet}") for packet in packets)


async def test_a_client_that_does_not_read_delays_nobody_and_is_disconnected(driver: Driver) -> None:
    left = driver.queue()
    async with driver.module.serve("127.0.0.1", 0, max_buffered_bytes=1_000_000) as server:
        server.on("disconnect", lambda client, reason, details: left.put((client.data.get("name"), str(details))))
        server.on("name", lambda client, name: client.data.update(name=name))
        with stream(server.port, websocket("0", '2["name","deaf"]'), receive_buffer=4096):
            async with driver.connect(server.url) as good:
                received = driver.queue()
                good.on("large", lambda number, _: received.put(number))
                await driver.until(lambda: len(server.clients) == 2)
                for number in range(200):
                    server.broadcast("large", number, "x" * 50_000)
                    assert await received.get() == number
                name, details = await left.get()
                assert name == "deaf"
                assert "max_buffered_bytes" in details


async def test_hostile_streams_do_not_stop_others_nor_the_end(driver: Driver) -> None:
    handled = 0
    hostile = [
        b"",
        b"GET /socket.io/?EIO=4",
        b"\x16\x03\x01\x02\x00" * 100,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n",
        request("GET", "EIO=4&transport=polling", path="/socket.io/"),
        websocket(),
        websocket("0", *['2["work"]'] * 2_000),
        websocket("0") + b"\x81\xff" + b"\xff" * 8,
        websocket("9", "0/" + "x" * 10_000 + ","),
    ]
    start = time.monotonic()
    with ExitStack() as stack:
        async with driver.module.serve("127.0.0.1", 0, close_timeout=0.5, inbox_events=1_000) as server:

            async def work(_: RemoteClient) -> None:
                await driver.sleep(1_000)

            async def add(_: RemoteClient, a: int, b: int) -> int:
                nonlocal handled
                handled += 1
                return a + b

            server.on("work", work).on("add", add)
            for _ in range(20):
                for data in hostile:
                    stack.enter_context(stream(server.port, data))
                await driver.sleep(0.01)
            async with driver.connect(server.url) as good:
                for number in range(20):
                    assert await good.emit_with_ack("add", number, 1) == number + 1
    assert handled == 20
    assert time.monotonic() - start < PATIENCE


async def test_handlers_in_the_block_miss_nothing(driver: Driver) -> None:
    joined = driver.queue()
    async with driver.module.serve("127.0.0.1", 0) as server:
        with stream(server.port, websocket("0", '2["hello",1]')):
            server.on("connect", lambda client: joined.put(client.namespace))
            server.on("hello", lambda _, value: joined.put(value))
            assert [await joined.get(), await joined.get()] == ["/", 1]


async def test_the_block_is_entered_once_and_its_port_is_free_afterwards(driver: Driver) -> None:
    context = driver.module.serve("127.0.0.1", 0)
    async with context as server:
        port = server.port
        with pytest.raises(OSError, match=r"127\.0\.0\.1"):
            async with driver.module.serve("127.0.0.1", port):
                raise AssertionError
    with pytest.raises(StateError, match="only once"):
        async with context:
            raise AssertionError
    async with driver.module.serve("127.0.0.1", port) as server:
        assert server.port == port
    with pytest.raises(ConnectionRefusedError), stream(port):
        raise AssertionError


async def test_a_client_reconnects_to_the_next_server(driver: Driver) -> None:
    async with driver.open_io() as io:
        async with driver.module.serve("127.0.0.1", 0) as server:
            port = server.port
            socket = io(server.url, reconnection_delay=0.01, reconnection_delay_max=0.02)
            await socket.wait_connected()
            first = socket.id
        await driver.until(lambda: not socket.connected)
        async with driver.module.serve("127.0.0.1", port) as server:
            await socket.wait_connected()
            assert [client.id for client in server.clients] == [socket.id] != [first]


async def test_emitting_after_the_end(driver: Driver) -> None:
    async with driver.module.serve("127.0.0.1", 0) as server:
        with stream(server.port, websocket("0")):
            await driver.until(lambda: bool(server.clients))
            (client,) = server.clients
    assert not client.connected
    client.emit_nowait("a")
    await client.emit("a")
    server.broadcast("a")
    with pytest.raises(DisconnectedError, match="the server has been stopped"):
        await client.emit_with_ack("a")


PROGRAM = """
import sys
from sansio_socketio_{name} import serve

async def main():
    async with serve("127.0.0.1", 0) as server:

        @server.on("disconnect")
        async def disconnected(client, reason):
            print("left:", reason, flush=True)

        @server.on("hello")
        def hello(client):
            print("hello", flush=True)

        print(server.port, flush=True)
        await server.serve_forever()

{run}
"""
RUN = {"asyncio": "import asyncio; asyncio.run(main())", "trio": "import trio; trio.run(main)"}


@pytest.mark.skipif(sys.platform == "win32", reason="it sends SIGINT")
@pytest.mark.parametrize("name", RUN)
def test_ctrl_c_ends_a_server_with_a_bare_keyboard_interrupt(name: str) -> None:
    program = PROGRAM.format(name=name, run=RUN[name])
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with stream(port, websocket("0", '2["hello"]')):
            assert process.stdout.readline() == "hello\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert "ExceptionGroup" not in errors
    assert "Warning" not in errors
    assert "CRITICAL" not in errors


def test_it_needs_the_event_loop_of_its_driver() -> None:
    async def main() -> Any:
        async with LISTENING[1].module.serve():
            raise AssertionError

    assert LISTENING[1].name == "trio"
    with pytest.raises(StateError, match=r"works in trio\.run"):
        asyncio.run(main())
