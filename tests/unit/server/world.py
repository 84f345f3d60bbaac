"""An event loop in virtual time with a server on it, and clients that talk to it in bytes over a WebSocket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from sansio_socketio.runtime import StreamAcceptor, StreamReceiver
from sansio_socketio.server import Server, Servers
from tests.support.fake_runtime import FakeRuntime, World
from tests.unit.protocol.server.rig import WEBSOCKET, Reply, frame, frames, request

Body = Callable[[Server], Awaitable[Any]]


class AcceptedStream:
    """The server's end of a stream.

    Attributes:
        written: What the server has written, and the client has not taken.
        is_reading: Whether the client reads. Otherwise what is written is not reported as sent.
        end: "closed" or "aborted" by the server, "lost", or None.
    """

    def __init__(self, world: ServerWorld) -> None:
        self.receiver: StreamReceiver | None = None
        self.written = b""
        self.is_reading = True
        self.is_paused = False
        self.end: str | None = None
        self._world = world
        self._is_unsent = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.end is None
        self.written += data
        if not self._is_unsent:
            self._is_unsent = True
            self._world.call_soon(self.flush)

    def flush(self) -> None:
        if self.is_reading and self._is_unsent and self.end is None and self.receiver is not None:
            self._is_unsent = False
            self.receiver.sent()

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self._stop("closed")

    def abort(self) -> None:
        self._stop("aborted")

    def _stop(self, how: str) -> None:
        assert self.end is None
        assert not self.is_paused
        self.end = how
        self._world.accepted.remove(self)

    def lose(self) -> None:
        """Close the client's end."""
        if self.end is None:
            self.is_paused = False
            self._stop("lost")
            assert self.receiver is not None
            self.receiver.closed(None)


class FakeListener:
    """The listening socket."""

    def __init__(self, host: str, port: int, accept: StreamAcceptor) -> None:
        self.host = host
        self.port = port or 5000
        self.accept = accept
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class ListeningFakeRuntime(FakeRuntime):
    async def listen(self, host: str, port: int, accept: StreamAcceptor) -> FakeListener:
        world = self._world
        assert isinstance(world, ServerWorld)
        if world.listen_error is not None:
            raise world.listen_error
        world.listener = FakeListener(host, port, accept)
        return world.listener


class ServerWorld(World):
    """The event loop.

    Attributes:
        listener: The server's listener.
        listen_error: What `listen` raises, if anything.
        accepted: The open streams.
    """

    runtime_class = ListeningFakeRuntime
    listener: FakeListener

    def __init__(self, *, eager: bool = False) -> None:
        super().__init__(eager=eager)
        self.accepted: list[AcceptedStream] = []
        self.listen_error: Exception | None = None

    def serve(self, *args: Any, **options: Any) -> Any:
        """The function `serve` on this runtime."""
        return Servers(self.open_runtime).serve(*args, **options)  # type: ignore[arg-type]  # the type of a subclass

    def run_server(self, body: Body, **options: Any) -> None:
        """Run `body(server)` until the server has stopped."""

        async def main() -> None:
            async with self.serve(**options) as server:
                await body(server)
            assert not self.accepted
            assert self.listener.is_closed

        self.run(main)

    def accept(self) -> AcceptedStream:
        """Connect a stream."""
        stream = AcceptedStream(self)
        self.accepted.append(stream)
        stream.receiver = self.listener.accept(stream, "192.0.2.1:1")
        stream.receiver.opened()
        return stream

    def ask(self, data: bytes) -> Reply | None:
        """The response to a request on a new stream, or None if there is none yet."""
        stream = self.accept()
        assert stream.receiver is not None
        stream.receiver.received(data)
        return Reply(stream.written) if stream.written else None

    async def client(self, connect: str | None = "0", headers: bytes = b"") -> WireClient:
        """A client that has joined the main namespace, or that has sent another CONNECT, or none."""
        client = WireClient(self, headers)
        if connect is not None:
            client.say(connect)
        await self.settle()
        return client


class WireClient:
    """A client on a WebSocket.

    Attributes:
        stream: Its stream.
    """

    def __init__(self, world: ServerWorld, headers: bytes = b"") -> None:
        self.stream = world.accept()
        self._send(request("GET", "EIO=4&transport=websocket&a=b", headers=headers + WEBSOCKET, path="/socket.io/"))
        reply = Reply(self.stream.written)
        assert reply.status == 101
        self.stream.written = reply.rest

    def say(self, *messages: str) -> None:
        """Send Socket.IO packets."""
        self._send(b"".join([frame(f"4{message}") for message in messages]))

    def heard(self) -> list[str]:
        """The Socket.IO packets that have arrived, except CONNECT."""
        data, self.stream.written = self.stream.written, b""
        texts = [payload.decode() for opcode, payload in frames(data) if opcode == 1]
        return [text[1:] for text in texts if text[0] == "4" and text[:2] != "40"]

    def joined(self) -> Any:
        """The data of CONNECT. Drops what arrived with it."""
        data, self.stream.written = self.stream.written, b""
        texts = [payload.decode() for opcode, payload in frames(data) if opcode == 1]
        (packet,) = [text for text in texts if text[:2] == "40"]
        return json.loads(packet[packet.index("{") :])

    def _send(self, data: bytes) -> None:
        assert self.stream.receiver is not None
        self.stream.receiver.received(data)
