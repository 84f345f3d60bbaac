"""The two servers that upstream's suites for servers test, on the state machine: `--engine-port` and `--socket-port`.

An Engine.IO server under `/engine.io/` echoes messages. A Socket.IO server under `/socket.io/` has the namespaces `/` and
`/custom`, which emit `auth` after CONNECT. In `/`, `message` is answered with `message-back`, and `message-with-ack` is
acknowledged with its values. It prints `ready` when both listen.

To run the suites, fetch the repository socketio/socket.io, and in its docs/engine.io-protocol/v4-test-suite and
docs/socket.io-protocol/v5-test-suite replace the port 3000 by the ports of this server, and run `npm install && npm test`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from functools import partial
from random import SystemRandom
from typing import Any, cast

from sansio_socketio.protocol.actions import CloseStream, Send, SetTimer
from sansio_socketio.protocol.server import EngineServerOptions, EngineServerProtocol, ServerOptions, ServerProtocol
from sansio_socketio.protocol.server.engine_protocol import ServerMachine
from sansio_socketio.protocol.server.events import ClientConnected, ClientEmitted, SessionMessage

OPTIONS: dict[str, Any] = {"ping_interval": 0.3, "ping_timeout": 0.2, "max_payload": 1_000_000, "cors": "*"}


class Driver:
    """A minimal driver: asyncio's streams for one machine."""

    def __init__(self, machine: ServerMachine, handle: Callable[[Any, float], None]) -> None:
        self.machine = machine
        self.handle = handle
        self.loop = asyncio.get_running_loop()
        self.streams: dict[int, asyncio.Transport] = {}
        self.timer: asyncio.TimerHandle | None = None

    async def listen(self, port: int) -> None:
        await self.loop.create_server(lambda: Stream(self), "localhost", port)

    def feed(self, method: Callable[..., Any], *arguments: Any) -> Any:
        result = method(*arguments, self.loop.time())
        self.drain()
        return result

    def drain(self) -> None:
        while (output := self.machine.next_output()) is not None:
            if isinstance(output, Send):
                self.streams[output.stream].write(output.data)
                self.loop.call_soon(self.report_sent, output.stream)
            elif isinstance(output, CloseStream):
                transport = self.streams.pop(output.stream)
                transport.abort() if output.abort else transport.close()
            elif isinstance(output, SetTimer):
                self.set_timer(output.deadline)
            else:
                self.handle(output, self.loop.time())

    def report_sent(self, number: int) -> None:
        transport = self.streams.get(number)
        if transport is not None and not transport.get_write_buffer_size():
            self.feed(self.machine.data_sent, number)

    def set_timer(self, deadline: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if deadline is None else self.loop.call_at(deadline, partial(self.feed, self.machine.tick))


class Stream(asyncio.Protocol):
    """An accepted stream."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        stream.set_write_buffer_limits(0)
        driver = self.driver
        peer = str(stream.get_extra_info("peername"))
        self.number = driver.machine.stream_accepted(driver.loop.time(), peer=peer)
        driver.streams[self.number] = stream
        driver.drain()

    def data_received(self, data: bytes) -> None:
        self.driver.feed(self.driver.machine.data_received, self.number, data)

    def resume_writing(self) -> None:
        self.driver.report_sent(self.number)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.driver.streams.pop(self.number, None) is not None:
            self.driver.feed(self.driver.machine.stream_closed, self.number, exc)


def echo(machine: EngineServerProtocol, event: Any, now: float) -> None:
    if isinstance(event, SessionMessage):
        machine.send(event.session, event.data, now)


def serve(machine: ServerProtocol, event: Any, now: float) -> None:
    if isinstance(event, ClientConnected):
        machine.namespace(event.namespace).emit(event.client, ["auth", event.auth], now)
    elif isinstance(event, ClientEmitted) and event.namespace == "/":
        name, *values = event.args
        if name == "message":
            machine.namespace("/").emit(event.client, ["message-back", *values], now)
        elif name == "message-with-ack" and event.ack_id is not None:
            machine.namespace("/").acknowledge(event.client, event.ack_id, values, now)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine-port", type=int, required=True)
    parser.add_argument("--socket-port", type=int, required=True)
    arguments = parser.parse_args()
    engine = EngineServerProtocol(EngineServerOptions(**OPTIONS), random=SystemRandom())
    await Driver(engine, partial(echo, engine)).listen(arguments.engine_port)
    server = ServerProtocol(ServerOptions(**OPTIONS), random=SystemRandom())
    server.namespace("/")
    server.namespace("/custom")
    await Driver(server, partial(serve, server)).listen(arguments.socket_port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
