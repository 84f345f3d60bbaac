"""The server of python-socketio with the behaviours of server.js: a second implementation that clients must work with.

    python python_server.py '{"port": 0, "options": {"ping_interval": 0.3}}'

Rules of this file:

- It is started, asked and ended like server.js, and takes the same `port`, `host` and `tls`; `options` goes to the
  `AsyncServer` as it is.
- The table of behaviours holds what python-socketio can do, under the names and in the order of server.js.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import engineio.payload
import socketio
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as Refusal

SECRET = "secret"
NAMESPACES = ("/", "/chat", "/auth")

# Its default of 16 packets in a POST refuses what the JavaScript client, too, sends in one.
engineio.payload.Payload.max_decode_packets = 100_000


class Peer:
    """The server, and its record of connections and disconnections."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp", namespaces=list(NAMESPACES), **options)
        self.seen: dict[str, Any] = {"connections": 0, "disconnections": []}
        self.counted: dict[str, list[Any]] = {}
        for namespace in NAMESPACES:
            self.sio.on("connect", partial(self.connected, namespace), namespace=namespace)
            self.sio.on("disconnect", self.disconnected, namespace=namespace)
            for name, behaviour in BEHAVIOURS.items():
                self.sio.on(name, partial(self.asked, behaviour, namespace), namespace=namespace)

    async def connected(self, namespace: str, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        if namespace == "/auth" and (auth or {}).get("token") != SECRET:
            raise Refusal("not authorized", {"code": "EAUTH", "wanted": "token"})
        self.seen["connections"] += 1
        self.counted[sid] = []
        client = Client(self, sid, namespace)
        # Events emitted here would be sent before the answer to CONNECT.
        self.sio.start_background_task(client.emit, "welcome", {"sid": sid, "auth": auth})

    async def disconnected(self, sid: str, reason: str) -> None:
        self.seen["disconnections"].append(reason)
        self.counted.pop(sid, None)

    async def asked(self, behaviour: Behaviour, namespace: str, sid: str, *args: Any) -> Any:
        return await behaviour(self, Client(self, sid, namespace), *args)

    async def command(self, *, cmd: str, **args: Any) -> Any:
        return await COMMANDS[cmd](self, **args)


class Client:
    """One client on one namespace, as a behaviour sees it."""

    def __init__(self, peer: Peer, sid: str, namespace: str) -> None:
        self.peer = peer
        self.sid = sid
        self.namespace = namespace

    async def emit(self, name: str, *args: Any, callback: Callable[..., Any] | None = None) -> None:
        await self.peer.sio.emit(name, args, to=self.sid, namespace=self.namespace, callback=callback)


Behaviour = Callable[..., Awaitable[Any]]


async def echo(peer: Peer, client: Client, *args: Any) -> None:
    await client.emit("echo", *args)


async def echo_ack(peer: Peer, client: Client, *args: Any) -> tuple[Any, ...]:
    return args


async def message(peer: Peer, client: Client, *args: Any) -> None:
    await client.emit("message", *args)


async def sleep(peer: Peer, client: Client, seconds: float, *args: Any) -> tuple[Any, ...]:
    await asyncio.sleep(seconds)
    return args


async def late(peer: Peer, client: Client, seconds: float, *args: Any) -> None:
    await asyncio.sleep(seconds)
    await client.emit("late", *args)


async def burst(peer: Peer, client: Client, count: int) -> None:
    for number in range(count):
        await client.emit("n", number)


async def receive_number(peer: Peer, client: Client, number: int) -> None:
    peer.counted[client.sid].append(number)


async def count(peer: Peer, client: Client) -> dict[str, Any]:
    numbers, peer.counted[client.sid] = peer.counted[client.sid], []
    return {"total": len(numbers), "ordered": numbers == list(range(len(numbers)))}


async def binary(peer: Peer, client: Client, size: int) -> tuple[Any, ...]:
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    return {"bytes": content, "nested": [{"bytes": content}, "text"]}, content


async def ask(peer: Peer, client: Client, name: str, *args: Any) -> None:
    async def answered(*answers: Any) -> None:
        await client.emit("answered", *answers)

    await client.emit(name, *args, callback=answered)


async def kick(peer: Peer, client: Client, close: bool = False) -> None:
    await peer.sio.disconnect(client.sid, namespace=client.namespace)


async def transport(peer: Peer, client: Client) -> str:
    name: str = peer.sio.transport(client.sid, namespace=client.namespace)
    return name


BEHAVIOURS: dict[str, Behaviour] = {
    "echo": echo,
    "echo_ack": echo_ack,
    "message": message,
    "sleep": sleep,
    "late": late,
    "burst": burst,
    "n": receive_number,
    "count": count,
    "binary": binary,
    "ask": ask,
    "kick": kick,
    "transport": transport,
}


async def stats(peer: Peer) -> dict[str, Any]:
    return {"clients": len(peer.sio.eio.sockets), **peer.seen}


async def emit(peer: Peer, event: str, args: tuple[Any, ...] = (), namespace: str = "/") -> None:
    await peer.sio.emit(event, tuple(args), namespace=namespace)


COMMANDS: dict[str, Callable[..., Awaitable[Any]]] = {"stats": stats, "emit": emit}


def server_context(tls: dict[str, str] | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["cert"], tls["key"])
    return context


async def main(config: dict[str, Any]) -> None:
    peer = Peer(config.get("options", {}))
    app = web.Application()
    peer.sio.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(
        runner,
        config.get("host", "127.0.0.1"),
        config.get("port", 0),
        ssl_context=server_context(config.get("tls")),
        shutdown_timeout=0.1,
    )
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await peer.command(**json.loads(line))), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")))
