"""A server's machine, and what a test does as its driver and its clients, in bytes."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from random import Random
from typing import Any, Generic, TypeVar

from sansio_socketio.protocol.actions import CloseStream, Send, SetTimer
from sansio_socketio.protocol.server import EngineServerOptions, EngineServerProtocol, ServerOptions, ServerProtocol
from sansio_socketio.protocol.server.engine_protocol import ServerMachine
from sansio_socketio.protocol.server.events import SessionMessage

E = TypeVar("E")
M = TypeVar("M", bound=ServerMachine)
TAIL = b"\r\nHost: a\r\n"
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def request(method: str, query: str = "", body: bytes | None = None, headers: bytes = b"", path: str = "") -> bytes:
    target = f"{path or '/engine.io/'}?{query}".encode()
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    return method.encode() + b" " + target + b" HTTP/1.1" + TAIL + length + headers + b"\r\n" + (body or b"")


def frame(message: str | bytes, opcode: int | None = None, *, final: bool = True, masked: bool = True) -> bytes:
    """A frame of a client."""
    payload = message.encode() if isinstance(message, str) else message
    first = (1 if isinstance(message, str) else 2) if opcode is None else opcode
    size = len(payload)
    mask = 0x80 if masked else 0
    header = bytes((first | (0x80 if final else 0),))
    if size < 126:
        header += bytes((mask | size,))
    elif size < 1 << 16:
        header += bytes((mask | 126,)) + struct.pack("!H", size)
    else:
        header += bytes((mask | 127,)) + struct.pack("!Q", size)
    if not masked:
        return header + payload
    key = b"\1\2\3\4"
    return header + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The opcodes and payloads of a server's frames."""
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = struct.unpack("!H", data[2:4])[0], 4
        elif size == 127:
            size, start = struct.unpack("!Q", data[2:10])[0], 10
        found.append((data[0] & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return found


class Reply:
    """The first response in some bytes."""

    def __init__(self, data: bytes) -> None:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        size = int(self.headers.get("content-length", 0))
        self.body, self.rest = rest[:size], rest[size:]

    @property
    def code(self) -> Any:
        return json.loads(self.body)["code"]


class Rig(Generic[M]):
    """A machine, its time, and its outputs by stream."""

    def __init__(self, machine: M) -> None:
        self.machine = machine
        self.now = 100.0
        self.sent: dict[int, bytes] = defaultdict(bytes)
        self.writes: list[Send] = []
        self.closed: dict[int, bool] = {}
        self.deadline: float | None = None
        self.events: list[Any] = []
        self.unwritten: set[int] = set()
        self.writes_at_once = True

    def drain(self) -> None:
        while True:
            while (output := self.machine.next_output()) is not None:
                if isinstance(output, Send):
                    assert output.stream not in self.closed
                    self.sent[output.stream] += output.data
                    self.writes.append(output)
                    self.unwritten.add(output.stream)
                elif isinstance(output, CloseStream):
                    assert output.stream not in self.closed
                    self.closed[output.stream] = output.abort
                elif isinstance(output, SetTimer):
                    self.deadline = output.deadline
                else:
                    self.events.append(output)
            if not self.unwritten or not self.writes_at_once:
                return
            self.written()

    def written(self) -> None:
        """Report all writes as done."""
        streams, self.unwritten = self.unwritten, set()
        for stream in sorted(streams):
            self.machine.data_sent(stream, self.now)

    def accept(self) -> int:
        stream = self.machine.stream_accepted(self.now, peer="192.0.2.1")
        self.drain()
        return stream

    def feed(self, stream: int, data: bytes) -> None:
        self.machine.data_received(stream, data, self.now)
        self.drain()

    def lose(self, stream: int, error: Exception | None = None) -> None:
        self.machine.stream_closed(stream, error, self.now)
        self.drain()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.deadline is not None and self.deadline <= end:
            self.now, self.deadline = max(self.now, self.deadline), None
            self.machine.tick(self.now)
            self.drain()
        self.now = end

    def take(self, stream: int) -> bytes:
        """The bytes that were sent on a stream since the last call."""
        return self.sent.pop(stream, b"")

    def reply(self, stream: int) -> Reply:
        reply = Reply(self.take(stream))
        assert not reply.rest
        return reply

    def ask(self, data: bytes) -> Reply:
        """The response to a request on a new stream."""
        stream = self.accept()
        self.feed(stream, data)
        return self.reply(stream)

    def frames(self, stream: int) -> list[tuple[int, bytes]]:
        return frames(self.take(stream))

    def pop(self, kind: type[E]) -> list[E]:
        """The events of a kind since the last call."""
        found = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    # Sessions

    path = "/engine.io/"

    def poll(self, stream: int, sid: str) -> None:
        self.feed(stream, request("GET", f"EIO=4&transport=polling&sid={sid}", path=self.path))

    def post(self, sid: str, body: bytes, stream: int | None = None) -> Reply:
        stream = self.accept() if stream is None else stream
        self.feed(stream, request("POST", f"EIO=4&transport=polling&sid={sid}", body, path=self.path))
        return self.reply(stream)

    def open_polling(self) -> tuple[int, str]:
        """The stream of the handshake, and the id of the session."""
        stream = self.accept()
        self.feed(stream, request("GET", "EIO=4&transport=polling", path=self.path))
        reply = self.reply(stream)
        assert reply.status == 200
        return stream, json.loads(reply.body[1:])["sid"]

    def open_websocket(self, extra: bytes = b"") -> int:
        stream = self.accept()
        self.feed(stream, request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET, path=self.path) + extra)
        reply = Reply(self.take(stream))
        assert reply.status == 101
        assert frames(reply.rest)[0][1].startswith(b"0{")
        self.sent[stream] = b"".join(
            bytes((0x80 | opcode, len(data))) + data for opcode, data in frames(reply.rest)[1:]
        )
        return stream

    def probe(self, sid: str, stream: int | None = None) -> int:
        """The stream of a WebSocket for a session."""
        stream = self.accept() if stream is None else stream
        self.feed(stream, request("GET", f"EIO=4&transport=websocket&sid={sid}", headers=WEBSOCKET, path=self.path))
        assert self.reply(stream).status == 101
        return stream


class EngineRig(Rig[EngineServerProtocol]):
    def __init__(self, **options: Any) -> None:
        super().__init__(EngineServerProtocol(EngineServerOptions(**options), random=Random(1)))

    def messages(self) -> list[str | bytes]:
        return [event.data for event in self.pop(SessionMessage)]


class SocketRig(Rig[ServerProtocol]):
    path = "/socket.io/"

    def __init__(self, **options: Any) -> None:
        super().__init__(ServerProtocol(ServerOptions(**options), random=Random(1)))
        self.namespace = self.machine.namespace("/")

    def say(self, stream: int, *messages: str | bytes) -> list[str | bytes]:
        """Send messages over a WebSocket. Return those that the server has sent."""
        self.feed(stream, b"".join(frame(f"4{each}" if isinstance(each, str) else each) for each in messages))
        return self.heard(stream)

    def heard(self, stream: int) -> list[str | bytes]:
        return [data.decode()[1:] if opcode == 1 else data for opcode, data in self.frames(stream) if opcode in {1, 2}]

    def join(self, connect: str = "0") -> tuple[int, dict[str, Any]]:
        """The stream of a new WebSocket that has joined a namespace, and the answer to CONNECT."""
        stream = self.open_websocket()
        (answer,) = self.say(stream, connect)
        assert isinstance(answer, str)
        return stream, json.loads(answer[answer.index("{") :])
