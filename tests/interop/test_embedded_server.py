"""The server's machine behind real sockets: what the drivers and python-socketio's client see of tests/peers/embedded_server.py."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
import socketio

from sansio_socketio_asyncio import connect

PEER = Path(__file__).parent.parent / "peers" / "embedded_server.py"
TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]
PATIENCE = 20.0


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, str(PEER), "--engine-port", str(free_port()), "--socket-port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield f"http://localhost:{port}"
        finally:
            process.kill()


async def exchange(url: str, transports: Sequence[str]) -> tuple[list[Any], Any]:
    received: asyncio.Queue[list[Any]] = asyncio.Queue()
    async with connect(url, transports=transports, auth={"token": 1}) as socket:
        socket.on_any(lambda *args: received.put_nowait([*args]))
        await socket.emit("message", 1, {"binary": b"\1\2"})
        acknowledged = await socket.timeout(PATIENCE).emit_with_ack("message-with-ack", "x", b"\3")
        return [await received.get() for _ in range(2)], acknowledged


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_our_client_exchanges_events_with_it(url: str, transports: Sequence[str]) -> None:
    received, acknowledged = asyncio.run(asyncio.wait_for(exchange(url, transports), PATIENCE))
    assert received == [["auth", {"token": 1}], ["message-back", 1, {"binary": b"\1\2"}]]
    assert acknowledged == ("x", b"\3")


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_python_socketio_exchanges_events_with_it(url: str, transports: Sequence[str]) -> None:
    async def main() -> tuple[list[Any], Any]:
        client = socketio.AsyncClient()
        received: asyncio.Queue[list[Any]] = asyncio.Queue()
        acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        client.on("*", lambda *args: received.put_nowait([*args]))
        await client.connect(url, transports=list(transports), auth={"token": 1})
        await client.emit("message", (1, b"\1\2"))
        await client.emit("message-with-ack", ("x", b"\3"), callback=lambda *args: acknowledged.set_result(args))
        values = [await received.get() for _ in range(2)], await acknowledged
        await client.disconnect()
        return values

    received, acknowledged = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert received == [["auth", {"token": 1}], ["message-back", 1, b"\1\2"]]
    assert acknowledged == ("x", b"\3")
