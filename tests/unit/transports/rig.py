"""Test harness for one transport: a recording session, streams of bytes, and a manual clock."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from sansio_socketio.protocol.actions import CloseStream, OpenStream, Outbox, Send
from sansio_socketio.protocol.errors import TransportError
from sansio_socketio.protocol.options import EngineOptions
from sansio_socketio.protocol.packets.engineio import OPEN, Packet
from sansio_socketio.protocol.timers import Timers
from sansio_socketio.protocol.transports import TRANSPORT_CLASSES
from sansio_socketio.protocol.transports.base import CloseReason, Endpoint, Transport
from sansio_socketio.protocol.transports.cookies import CookieJar
from sansio_socketio.protocol.url import parse_url

CLOSE_TIMEOUT = 5.0
SID = "abc"
HANDSHAKE = b'0{"sid":"abc"}'


class RecordingSession:
    """A session that records its calls. `react` has functions that run inside of a call, by the name of the call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.react: dict[str, Callable[[], None]] = {}

    def on_open(self, transport: Transport, now: float) -> None:
        self._record("open", transport.writable)

    def on_packet(self, transport: Transport, packet: Packet, now: float) -> None:
        if packet.type == OPEN:
            transport.endpoint.sid = SID
        self._record("packet", packet.type, packet.data)

    def on_drain(self, transport: Transport, now: float) -> None:
        self._record("drain", transport.writable)

    def on_pause(self, transport: Transport, now: float) -> None:
        self._record("pause")

    def on_close(self, transport: Transport, reason: CloseReason, details: TransportError, now: float) -> None:
        assert not transport.outbox.owners, "streams are closed before on_close"
        assert not transport.writable
        assert details.transport == transport.name
        self._record("close", reason, details)

    def _record(self, what: str, *values: Any) -> None:
        self.calls.append((what, *values))
        self.react.get(what, lambda: None)()


class TransportRig:
    """One transport, and its actions as a driver sees them."""

    def __init__(
        self,
        name: str,
        *,
        url: str = "http://localhost:3000",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: CookieJar | None = None,
        sid: str | None = None,
        **options: Any,
    ) -> None:
        self.now = 100.0
        self.session = RecordingSession()
        self.outbox = Outbox()
        self.timers = Timers()
        self.opened: list[OpenStream] = []
        self.closed: dict[int, bool] = {}  # stream -> abort
        self._sent: defaultdict[int, bytearray] = defaultdict(bytearray)
        endpoint = Endpoint(
            url=parse_url(url),
            options=EngineOptions(close_timeout=CLOSE_TIMEOUT, **options),
            random=Random(1),
            query=query or {},
            headers=headers or {},
            sid=sid,
            cookies=cookies,
        )
        self.transport = TRANSPORT_CLASSES[name](endpoint, self.session, self.outbox, self.timers)

    # Calls of the session

    def open(self) -> None:
        self.transport.open(self.now)

    def send(self, *packets: Packet) -> None:
        self.transport.send(packets, self.now)

    def close(self) -> None:
        self.transport.close(self.now)

    def pause(self) -> None:
        self.transport.pause(self.now)

    def resume(self) -> None:
        self.transport.resume(self.now)

    # Inputs of the driver. As in the machine, nothing is fed for a closed stream.

    def stream_opened(self, stream: int) -> None:
        self.transport.stream_opened(stream, self.now)

    def stream_failed(self, stream: int, error: Exception) -> None:
        del self.outbox.owners[stream]
        self.transport.stream_failed(stream, error, self.now)

    def feed(self, stream: int, data: bytes | bytearray | memoryview) -> None:
        if stream in self.outbox.owners:
            self.transport.data_received(stream, data, self.now)
            self._handle_backlog()

    def _handle_backlog(self) -> None:
        while self.outbox.backlog:
            self.outbox.handle_next(self.now)

    def flush(self, stream: int = 1) -> None:
        if stream in self.outbox.owners:
            self.transport.data_sent(stream, self.now)

    def eof(self, stream: int, error: Exception | None = None) -> None:
        if self.outbox.owners.pop(stream, None) is not None:
            self.transport.stream_closed(stream, error, self.now)
            self._handle_backlog()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.timers.fire_due(self.now)

    def take(self, stream: int) -> bytes:
        """Return what has been sent on the stream since the last call."""
        self.drain()
        return bytes(self._sent.pop(stream, b""))

    def drain(self) -> None:
        """Carry out the pending actions."""
        while self.outbox.outputs:
            action = self.outbox.outputs.popleft()
            if isinstance(action, OpenStream):
                self.opened.append(action)
            elif isinstance(action, Send):
                assert action.stream not in self.closed, "nothing is sent on a closed stream"
                self._sent[action.stream] += action.data
            else:
                assert isinstance(action, CloseStream)
                self.closed[action.stream] = action.abort

    # The results

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """Return the calls of the session since the last call of this."""
        calls, self.session.calls = self.session.calls, []
        return calls

    @property
    def streams(self) -> list[int]:
        """The streams that were opened so far."""
        self.drain()
        return [action.stream for action in self.opened]

    @property
    def open_streams(self) -> set[int]:
        return set(self.outbox.owners)

    def failure(self, reason: str = "transport error") -> TransportError:
        """The details of the one `on_close`, which must be the only recorded call."""
        [(name, why, details)] = self.calls
        assert (name, why) == ("close", reason)
        assert isinstance(details, TransportError)
        self.drain()
        assert not self.open_streams
        assert self.timers.next_deadline is None
        return details

    def failure_and_close_request(self) -> TransportError:
        """The same for a polling transport, which closes the session afterwards by a POST on another stream."""
        [(name, why, details)] = self.calls
        assert (name, why) == ("close", "transport error")
        assert isinstance(details, TransportError)
        self.drain()
        [stream] = self.open_streams
        assert stream == self.streams[-1]
        self.stream_opened(stream)
        method, _, _, body = parse_request(self.take(stream))
        assert (method, body) == ("POST", b"1")
        self.feed(stream, http_response(b"ok"))
        self.drain()
        assert not self.open_streams
        assert self.timers.next_deadline is None
        assert not self.calls
        return details


# ---------------------------------------------------------------------------------------------------------------------
# Bytes of an HTTP server


def http_response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A response with a Content-Length."""
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, length, b"", body])


def chunked(*chunks: bytes) -> bytes:
    """A response in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def parse_request(data: bytes) -> tuple[str, str, dict[str, str], bytes]:
    """Method, target, headers (names as they were sent), body."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    return method, target, dict(field.split(": ", 1) for field in fields), body


# ---------------------------------------------------------------------------------------------------------------------
# Bytes of a WebSocket server


def switching(request: bytes, *headers: bytes) -> bytes:
    """Return the response that accepts a handshake."""
    match = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert match is not None
    accept = base64.b64encode(hashlib.sha1(match[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    fields = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + accept, *headers]
    return b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *fields, b"", b""])


CONTINUATION, TEXT, BINARY, CLOSE_FRAME, PING_FRAME, PONG_FRAME = 0, 1, 2, 8, 9, 10
FIN, RSV1 = 0x80, 0x40


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A frame of a server: without a mask."""
    first = opcode | (FIN if fin else 0) | (RSV1 if rsv1 else 0)
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    return (struct.pack("!BBH", first, 126, size) if size < 65536 else struct.pack("!BBQ", first, 127, size)) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(CLOSE_FRAME, struct.pack("!H", code) + reason.encode())


def client_frames(data: bytes) -> list[tuple[int, bytes]]:
    """What a client sent: the first byte of each frame (FIN, RSV1 and opcode), and its payload unmasked."""
    frames: list[tuple[int, bytes]] = []
    while data:
        first, size, start = data[0], data[1] & 0x7F, 2
        assert data[1] & 0x80, "a client masks its frames"
        if size == 126:
            (size,), start = struct.unpack("!H", data[2:4]), 4
        elif size == 127:
            (size,), start = struct.unpack("!Q", data[2:10]), 10
        mask, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
        frames.append((first, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))))
        data = data[start + 4 + size :]
    return frames


def open_websocket(*headers: bytes, **settings: Any) -> TransportRig:
    """Return a WebSocket transport after its handshake. Earlier calls and bytes are discarded."""
    rig = TransportRig("websocket", **settings)
    rig.open()
    rig.stream_opened(1)
    rig.feed(1, switching(rig.take(1), *headers))
    assert rig.calls == [("open", True)]
    return rig


def open_polling(**settings: Any) -> TransportRig:
    """Return a polling transport after the handshake, whose second GET is pending on stream 1."""
    rig = TransportRig("polling", **settings)
    rig.open()
    rig.stream_opened(1)
    rig.feed(1, http_response(HANDSHAKE))
    assert rig.calls == [("open", True), ("packet", "0", HANDSHAKE[1:].decode())]
    rig.take(1)
    return rig
