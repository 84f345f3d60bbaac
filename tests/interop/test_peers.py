"""The test servers themselves, with other clients: if these tests pass, a failure elsewhere is one of this library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import socketio
from socketio.exceptions import TimeoutError as NoAnswer

from tests.conftest import TLS, PeerFactory
from tests.support.peers import Peer, PeerError, run_node

NODE_CLIENT = """
const { io } = require("socket.io-client");
const [url, transport] = process.argv.slice(1);
const options = { transports: [transport], reconnection: false };

(async () => {
  const seen = {};
  const socket = io(url, options);
  const next = (name) => new Promise((resolve) => socket.once(name, (...args) => resolve(args)));
  seen.welcome = Object.keys((await next("welcome"))[0]).sort();
  seen.echo_ack = await socket.emitWithAck("echo_ack", { a: [1] });
  socket.emit("echo", "x", 2, Buffer.from([1, 2]));
  seen.echo = await next("echo");
  for (let i = 0; i < 100; i++) socket.emit("n", i);
  seen.count = await socket.emitWithAck("count");
  socket.on("question", (value, ack) => ack(value + 1));
  socket.emit("ask", "question", 41);
  seen.answered = await next("answered");
  seen.transport = await socket.emitWithAck("transport");

  const guarded = io(url + "/auth", { ...options, auth: { token: "wrong" } });
  seen.refused = await new Promise((resolve) => {
    guarded.once("connect_error", (error) => resolve([error.message, error.data]));
  });
  socket.emit("kick", true);
  seen.disconnect = (await next("disconnect"))[0];
  console.log(JSON.stringify(seen));
  process.exit(); // a GET that python-socketio leaves waiting would hold it up
})();
"""


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize("server", ["node_server", "python_server"])
def test_the_servers_behave_alike_for_the_javascript_client(
    server: str, transport: str, request: pytest.FixtureRequest
) -> None:
    peer: Peer = request.getfixturevalue(server)
    seen = json.loads(run_node(NODE_CLIENT, peer.url, transport))
    assert set(seen.pop("welcome")) >= {"auth", "sid"}
    assert seen == {
        "echo_ack": {"a": [1]},
        "echo": ["x", 2, {"type": "Buffer", "data": [1, 2]}],
        "count": {"total": 100, "ordered": True},
        "answered": [42],
        "transport": transport,
        "refused": ["not authorized", {"code": "EAUTH", "wanted": "token"}],
        "disconnect": "io server disconnect",
    }


Scenario = Callable[[Any, Peer], Awaitable[None]]  # Any: an AsyncClient, whose types are not all right


def python_client(scenario: Scenario, peer: Peer) -> None:
    async def run() -> None:
        client = socketio.AsyncClient(reconnection=False)
        try:
            await scenario(client, peer)
        finally:
            await client.shutdown()

    asyncio.run(run())


def test_behaviours_of_the_node_server_that_only_it_has(node_server: Peer) -> None:
    async def scenario(client: Any, peer: Peer) -> None:
        answered: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()
        client.on("answered", lambda *args: answered.put_nowait(args))
        client.on("slow", asyncio.Event().wait)
        await client.connect(peer.url, transports=["websocket"])
        content, again = await client.call("binary", 300)
        assert content == {"bytes": again, "nested": [{"bytes": again}, "text"]}
        assert again == bytes(range(256)) + bytes(range(44))
        await client.emit("ask_timeout", (0.01, "slow"))
        assert await answered.get() == ("timeout",)
        handshake = await client.call("handshake")
        assert handshake["query"]["EIO"] == "4"
        assert handshake["transport"] == "websocket"
        with pytest.raises(NoAnswer):
            await client.call("silent", timeout=0.05)

    python_client(scenario, node_server)


def test_the_control_channel_controls_and_reports(fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server(record=True)

    async def scenario(client: Any, peer: Peer) -> None:
        gone = asyncio.Event()
        news: asyncio.Queue[object] = asyncio.Queue()
        client.on("disconnect", lambda reason: gone.set())
        client.on("news", news.put_nowait)
        await client.connect(peer.url, transports=["websocket"])
        assert peer.control("stats") == {"clients": 1, "sockets": 1, "connections": 1, "disconnections": []}
        peer.control("emit", event="news", args=["today"])
        assert await news.get() == "today"
        await client.call("echo_ack", b"\x00")
        peer.control("drop", reset=True)
        await gone.wait()

    python_client(scenario, peer)
    types = [packet["type"] for packet in peer.control("log")]
    assert types == ["message", "message", "message"]
    peer.wait_for_output("connected / ")


def test_a_restarted_server_listens_on_the_same_port(fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server()
    url = peer.url
    peer.control("stats")
    peer.restart()
    assert peer.url == url
    assert peer.control("stats")["connections"] == 0


def test_a_server_that_cannot_start_says_why(fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server()
    with pytest.raises(PeerError, match="EADDRINUSE"):
        fresh_node_server(port=peer.port)


def test_the_old_server_speaks_the_old_protocol(fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server(version=2)
    script = """
        require("http").get(process.argv[1] + "/socket.io/?EIO=4&transport=polling", (response) => {
          response.on("data", (data) => process.stdout.write(data));
        });
    """
    assert run_node(script, peer.url).endswith("2:40")


@pytest.mark.parametrize("server", ["node_server_tls", "python_server_tls"])
def test_the_servers_accept_https(server: str, tls: TLS, request: pytest.FixtureRequest) -> None:
    peer: Peer = request.getfixturevalue(server)
    script = """
        const ca = require("fs").readFileSync(process.argv[2]);
        require("https").get(process.argv[1] + "/socket.io/?EIO=4&transport=polling", { ca }, (response) => {
          response.on("data", (data) => process.stdout.write(data));
        });
    """
    assert run_node(script, peer.url, tls.authority).startswith('0{"sid"')
