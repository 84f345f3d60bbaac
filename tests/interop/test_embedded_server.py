"""`serve` behind real sockets: what clients see of tests/peers/embedded_server.py on asyncio and trio."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
import socketio

from tests.support.drivers import Driver
from tests.support.peers import run_node

PEER = Path(__file__).parent.parent / "peers" / "embedded_server.py"
PATIENCE = 20.0
TEXT = "Grüße, 🙂, \u2028"

NODE_CLIENT = """
const { io } = require("socket.io-client");
const [url, transports] = process.argv.slice(1);
const socket = io(url, { transports: JSON.parse(transports), auth: { token: 1 }, reconnection: false });
const custom = io(url + "/custom", { transports: JSON.parse(transports), forceNew: false });
const received = [];
const seen = (...args) => received.push(args);
socket.onAny(seen);
custom.onAny(seen);
socket.on("question", (text, data, answer) => answer(text, data));
socket.on("connect_error", (error) => { console.log(error.message); process.exit(1); });
custom.on("auth", async () => {
  socket.emit("message", 1, { binary: Buffer.from([1, 2]) });
  const acknowledged = await socket.emitWithAck("message-with-ack", "x");
  const asked = await socket.emitWithAck("ask", "y", Buffer.from([3]));
  console.log(JSON.stringify([received.map(([name]) => name).sort(), acknowledged, asked[0], [...asked[1]]]));
  socket.disconnect();
  custom.disconnect();
});
"""


@pytest.fixture(params=[["polling"], ["websocket"], ["polling", "websocket"]], ids="+".join)
def transports(request: pytest.FixtureRequest) -> list[str]:
    chosen: list[str] = request.param
    return chosen


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, str(PEER), "--engine-port", str(free_port()), "--socket-port", str(port)]
    command += ["--ping-timeout", str(PATIENCE)]  # the machine may be busy
    if request.param == "trio":
        command.append("--trio")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield f"http://localhost:{port}"
        finally:
            process.kill()


async def test_every_driver_exchanges_events_with_it(driver: Driver, url: str, transports: list[str]) -> None:
    received = driver.queue()
    async with driver.connect(url, transports=transports, auth={"token": 1}) as socket:
        socket.on_any(lambda *args: received.put(args))
        socket.on("question", lambda *values: values)
        assert await received.get() == ("auth", {"token": 1})
        await socket.emit("message", TEXT, {"binary": b"\1\2"}, "x" * 300_000)
        assert await received.get() == ("message-back", TEXT, {"binary": b"\1\2"}, "x" * 300_000)
        assert await socket.emit_with_ack("message-with-ack", "x", b"\3") == ("x", b"\3")
        assert await socket.emit_with_ack("ask", 1, b"\4") == [1, b"\4"]
        custom = socket.io.socket("/custom")
        await custom.wait_connected()
        assert custom.id != socket.id


def test_python_socketio_exchanges_events_with_it(url: str, transports: list[str]) -> None:
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


def test_the_javascript_client_exchanges_events_with_it(url: str, transports: list[str]) -> None:
    names, acknowledged, text, data = json.loads(run_node(NODE_CLIENT, url, json.dumps(transports)))
    assert names == ["auth", "auth", "message-back", "question"]
    assert acknowledged == "x"
    assert (text, data) == ("y", [3])
