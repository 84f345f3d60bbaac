"""The two servers that upstream's suites for servers test, by `serve` and the state machine: `--engine-port` and `--socket-port`.

An Engine.IO server under `/engine.io/` echoes messages. A Socket.IO server under `/socket.io/` has the namespaces `/` and
`/custom`, which emit `auth` after CONNECT. In `/`, `message` is answered with `message-back`, `message-with-ack` is
acknowledged with its values, and `ask` emits `question` and is acknowledged with the list of its acknowledged values. It
prints `ready` when both listen.

To run the suites, fetch the repository socketio/socket.io, and in its docs/engine.io-protocol/v4-test-suite and
docs/socket.io-protocol/v5-test-suite replace the port 3000 by the ports of this server, and run `npm install && npm test`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from random import SystemRandom
from typing import Any

import trio

import sansio_socketio_asyncio
import sansio_socketio_trio
from sansio_socketio.protocol.server import EngineServerOptions, EngineServerProtocol
from sansio_socketio.protocol.server.events import SessionMessage
from sansio_socketio.runtime import ListeningRuntime, ListeningRuntimeScope
from sansio_socketio.server import RemoteClient, Server
from sansio_socketio.server.pump import ServerPump
from sansio_socketio_asyncio import _listen as on_asyncio
from sansio_socketio_trio import _listen as on_trio

Serve = Callable[..., AbstractAsyncContextManager[Server]]

OPTIONS: dict[str, Any] = {"ping_interval": 0.3, "ping_timeout": 0.2, "max_payload": 1_000_000, "cors": "*"}


async def echo(runtime: ListeningRuntime, port: int) -> None:
    """Start the Engine.IO server."""
    machine = EngineServerProtocol(EngineServerOptions(**OPTIONS), random=SystemRandom())

    def received(_: object, message: SessionMessage) -> None:
        machine.send(message.session, message.data, runtime.now())

    routes: dict[type, Callable[[Any, Any], None]] = defaultdict(lambda: lambda *_: None, {SessionMessage: received})
    pump = ServerPump(machine, runtime, None, routes=routes, owner=None, broken=runtime.failed)
    await runtime.listen("localhost", port, pump.accept)


async def main(serve: Serve, open_runtime: ListeningRuntimeScope, engine_port: int, socket_port: int) -> None:
    async with open_runtime() as runtime, serve("localhost", socket_port, **OPTIONS) as server:

        async def greet(client: RemoteClient) -> None:
            await client.emit("auth", client.auth)

        server.on("connect", greet)
        server.of("/custom").on("connect", greet)

        @server.on("message")
        async def message(client: RemoteClient, *values: Any) -> None:
            await client.emit("message-back", *values)

        @server.on("message-with-ack")
        def message_with_ack(_: RemoteClient, *values: Any) -> Any:
            return values

        @server.on("ask")
        async def ask(client: RemoteClient, *values: Any) -> Any:
            return list(await client.emit_with_ack("question", *values))

        if engine_port:
            await echo(runtime, engine_port)
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine-port", type=int, default=0)
    parser.add_argument("--socket-port", type=int, required=True)
    parser.add_argument("--ping-timeout", type=float, default=OPTIONS["ping_timeout"], help="in seconds")
    parser.add_argument("--trio", action="store_true", help="run on trio instead of asyncio")
    arguments = parser.parse_args()
    OPTIONS["ping_timeout"] = arguments.ping_timeout
    ports = arguments.engine_port, arguments.socket_port
    if arguments.trio:
        trio.run(main, sansio_socketio_trio.serve, on_trio.open_listening_runtime, *ports)
    else:
        asyncio.run(main(sansio_socketio_asyncio.serve, on_asyncio.open_listening_runtime, *ports))
