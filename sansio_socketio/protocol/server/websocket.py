"""The WebSocket transport of a session, on the server's side (RFC 6455), built on wsproto.

Rules of this file:

- The opening handshake is a request of an `HTTPStream`. wsproto checks it and writes the response. Then the stream belongs to
  the transport, with the bytes that followed the request.
- No extension is accepted. A frame of a server is the same for every client, so a message that is sent to many is encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any, ClassVar

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from ..actions import Outbox
from ..packets.engineio import Packet, encode_frame
from ..states import WebSocketState
from ..timers import Timers
from ..transports.frames import ServerFrameCodec, unmasked_frame
from ..transports.http import reason_of
from ..transports.websocket_base import WebSocketBase
from .http import HTTPRequest, HTTPStream, RequestRefused
from .options import EngineServerOptions


class SharedPacket(Packet):
    """A packet that is sent to many sessions. Its frame is encoded once."""

    __slots__ = ("frame",)

    def __init__(self, type: str, data: str | bytes) -> None:  # noqa: A002
        super().__init__(type, data)
        self.frame: bytes | None = None


def encoded(packet: Packet) -> bytes:
    """Return the frame of a packet."""
    if not isinstance(packet, SharedPacket):
        return unmasked_frame(encode_frame(packet))
    if packet.frame is None:
        packet.frame = unmasked_frame(encode_frame(packet))
    return packet.frame


class Handshake:
    """The opening handshake of a WebSocket, on the server's side.

    Raises:
        RequestRefused: The request is invalid.
    """

    def __init__(self, request: HTTPRequest) -> None:
        self._connection = WSConnection(ConnectionType.SERVER)
        # wsproto decodes the host as a name, and would refuse some.
        headers = [(name, b"host" if name == b"host" else value) for name, value in request.headers]
        try:
            self._connection.initiate_upgrade_connection(headers, request.target)
        except Exception as error:  # wsproto and h11 raise various exceptions
            raise RequestRefused(400, f"the WebSocket handshake is invalid: {reason_of(error)}") from None
        if request.method != "GET":
            raise RequestRefused(400, "the WebSocket handshake is invalid: the method must be GET")

    def accept(self) -> bytes:
        """Return the response."""
        return self._connection.send(AcceptConnection())


class ServerWebSocket(WebSocketBase):
    """The WebSocket transport of a session, on the server's side."""

    peer: ClassVar[str] = "client"

    def __init__(
        self, session: Any, options: EngineServerOptions, outbox: Outbox, timers: Timers, random: Random
    ) -> None:
        self.session = session
        self.outbox = outbox
        self.timers = timers
        self.writable = False
        self._options = options
        self._begin(ServerFrameCodec(options.max_payload, random))

    def open(self, stream: HTTPStream, handshake: Handshake, now: float) -> None:
        """Complete the handshake. `on_drain` is called when the response has been written."""
        self._stream = stream.number
        rest = stream.upgrade(self)
        self.outbox.send(stream.number, handshake.accept())
        self._change(WebSocketState.OPEN)
        self.writable = True
        if rest:
            self.data_received(self._stream, rest, now)

    def send(self, packets: Sequence[Packet], now: float) -> None:
        """Send packets in order. Called only while `writable` is True."""
        self.writable = False
        frames = [encoded(packet) for packet in packets]
        self.outbox.send(self._stream, frames[0] if len(frames) == 1 else b"".join(frames))

    def _close_by(self, now: float) -> float:
        return now + self._options.close_timeout

    # Notifications of the stream

    def stream_progress(self, stream: int, progress: str, now: float) -> None:
        """Do nothing: an accepted stream is open."""

    def stream_opened(self, stream: int, now: float) -> None:
        """Do nothing: an accepted stream is open."""

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        self._ended(error, now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        self._codec.feed(data)
        self.outbox.received(self)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        self.outbox.after_packets(self, partial(self._ended, error), now)
