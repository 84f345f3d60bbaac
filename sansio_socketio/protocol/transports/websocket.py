"""WebSocket transport of the client over a byte stream (RFC 6455), built on wsproto.

Rules of this file:

- wsproto's `WSConnection` performs the opening handshake, `frames.FrameCodec` encodes and decodes the frames.
  `WSConnection` could do both, but it creates an event object for each frame, which would make the frames 50 % slower.
- The codec must receive every byte after the handshake. Therefore the handshake is fed one header section at a time.
- What follows the handshake is the same on both sides: see `websocket_base`.

See https://socket.io/docs/v4/engine-io-protocol/, "WebSocket".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Final

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, RejectConnection, RejectData, Request

from ..actions import Outbox
from ..errors import TransportError, message_of
from ..packets.engineio import Packet, encode_frame
from ..states import WebSocketState
from ..timers import Timers
from .base import Endpoint, Session, Transport
from .deflate import DEFAULT_THRESHOLD, Deflate
from .frames import FrameCodec
from .http import (
    MAX_EXCERPT,
    join_header,
    layers_up,
    reason_of,
    refusal,
    tls_hint,
    unreachable,
    unwritable,
)
from .requests import USER_AGENT, Requests
from .websocket_base import WebSocketBase

_OPEN: Final = WebSocketState.OPEN
_CLOSING: Final = WebSocketState.CLOSING
_CLOSED: Final = WebSocketState.CLOSED
_HANDSHAKE: Final = frozenset({WebSocketState.OPENING, WebSocketState.REFUSED})
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_MAX_HEAD: Final = 64 * 1024
_MAX_REFUSAL: Final = 16 * 1024
"""The maximum number of bytes of a refusal's body that are read. h11 itself bounds nothing below this size."""


class WebSocketTransport(WebSocketBase, Transport):
    """WebSocket transport over a byte stream (RFC 6455), built on wsproto."""

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        super().__init__(endpoint, session, outbox, timers)
        options = endpoint.options
        self._requests = Requests(endpoint, self.name, stamped=False)
        self._force_base64 = options.force_base64
        self._begin(FrameCodec(options.max_message_size, endpoint.random))
        # The handshake
        self._handshake = WSConnection(ConnectionType.CLIENT)
        self._target = ""
        self._head = bytearray()
        self._status = 0
        self._location = b""
        self._body = bytearray()
        self._body_size = 0  # with the chunk headers
        self._deflate = _deflate(endpoint)

    # Calls of the session

    def open(self, now: float) -> None:
        url = self.endpoint.url
        self._stream = self.outbox.open_stream(self, url.host, url.port, tls=url.secure, transport=self.name)

    def send(self, packets: Sequence[Packet], now: float) -> None:
        self.writable = False
        encode, base64 = self._codec.encode, self._force_base64
        if len(packets) == 1:
            packet = packets[0]
            data = encode(encode_frame(packet, force_base64=base64), compress=packet.compress)
        else:
            data = bytearray()
            for packet in packets:
                data += encode(encode_frame(packet, force_base64=base64), compress=packet.compress)
        self.outbox.send(self._stream, data)

    def pause(self, now: float) -> None:
        self._pausing = True
        self._pause_if_idle(now)

    def resume(self, now: float) -> None:
        self._pausing = False

    def _close_by(self, now: float) -> float:
        return min(now + self.endpoint.options.close_timeout, self.endpoint.close_by)

    # Notifications of the stream

    def stream_opened(self, stream: int, now: float) -> None:
        try:
            request = self._write_request(now)
        except Exception as error:  # wsproto and h11 raise various exceptions
            self._fail("transport error", unwritable("the WebSocket handshake", error), now)
        else:
            self.progress = f"{layers_up(self.endpoint.url)}, but the WebSocket handshake was not answered; a proxy may drop upgrades"
            self.outbox.send(stream, request)

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        self._fail("transport error", unreachable(self.endpoint.url.address, error), now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        state = self._state
        if state is not _OPEN and state is not _CLOSING:
            if len(data):
                self._read_handshake(data, now)
            return
        self._codec.feed(data)
        self.outbox.received(self)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        self.outbox.after_packets(self, partial(self._stream_ended, error), now)

    def _stream_ended(self, error: Exception | None, now: float) -> None:
        if self._state is WebSocketState.REFUSED:
            self._refuse(now)
        elif self._state is WebSocketState.OPENING:
            how = "the server closed the stream" if error is None else f"the stream broke: {message_of(error)}"
            when = " before its response was complete" if self._head else ""
            self._fail_handshake(f"{how}{when}{tls_hint(self._head)}", now, error)
        else:
            self._ended(error, now)

    # The handshake

    def _write_request(self, now: float) -> bytes:
        options = self.endpoint.options
        self._target = self._requests.target(base64=options.force_base64)
        defaults = {"Host": self.endpoint.url.authority.encode("ascii"), "User-Agent": USER_AGENT}
        headers = self._requests.headers(self._target, now, defaults)
        request = Request(
            host="host",
            target=self._target,
            extensions=[] if self._deflate is None else [self._deflate],
            extra_headers=[(name, value) for name, value in headers if name.lower() != b"host"],
            subprotocols=list(options.protocols),
        )
        # wsproto encodes the host as a name: it refuses a port after a long label, and a host that is not ASCII.
        host = join_header([(name.lower(), value) for name, value in headers], b"host")
        return self._handshake.send(request).replace(b"\r\nHost: host\r\n", b"\r\nHost: %b\r\n" % host, 1)

    def _read_handshake(self, data: bytes | bytearray | memoryview, now: float) -> None:
        self._head += data
        self.progress = "the response to the WebSocket handshake is not complete"
        while self._state in _HANDSHAKE and self._head:
            if self._state is WebSocketState.REFUSED:
                self._read_refusal(now)
                continue
            match = _HEAD_END.search(self._head)
            if (len(self._head) if match is None else match.end()) > _MAX_HEAD:
                self._fail_handshake("the response header is too long", now)
                return
            if match is None:
                return
            self._feed_handshake(self._take_head(match.end()), now)

    def _read_refusal(self, now: float) -> None:
        """Read the body of a refusal. It ends with the response, at its bound or where it becomes invalid."""
        body = self._take_head(_MAX_REFUSAL - self._body_size)
        self._body_size += len(body)
        self._feed_handshake(body, now)
        if self._body_size == _MAX_REFUSAL and self._state is WebSocketState.REFUSED:
            self._refuse(now)

    def _take_head(self, size: int) -> bytes:
        taken = bytes(self._head[:size])
        del self._head[:size]
        return taken

    def _feed_handshake(self, section: bytes, now: float) -> None:
        failure: Exception | None = None
        try:
            self._handshake.receive_data(section)
        except Exception as error:  # wsproto raises ValueError, IndexError and more for malformed responses
            failure = error
        self._handle_handshake(list(self._handshake.events()), now)
        if failure is not None and self._state is WebSocketState.REFUSED:
            self._refuse(now)
        elif failure is not None and self._state is WebSocketState.OPENING:
            # The message of wsproto is always "Bad HTTP message". The exception of h11 says what is wrong.
            why = failure.__context__ if isinstance(failure.__context__, h11.RemoteProtocolError) else failure
            self._fail_handshake(f"{reason_of(why)}{tls_hint(section)}", now)

    def _handle_handshake(self, events: Sequence[Event], now: float) -> None:
        for event in events:
            if isinstance(event, AcceptConnection):
                self._accepted(event, now)
            elif isinstance(event, RejectConnection):
                self._rejected(event, now)
            elif isinstance(event, RejectData):
                self._body += event.data
                if event.body_finished or len(self._body) > MAX_EXCERPT:
                    self._refuse(now)
                    return

    def _accepted(self, event: AcceptConnection, now: float) -> None:
        self._keep_cookies(event.extra_headers, now)
        self._codec = FrameCodec(self.endpoint.options.max_message_size, self.endpoint.random, event.extensions)
        del self._handshake, self._requests, self._target  # they take 8 KiB
        self._change(WebSocketState.OPEN)
        self.progress = "the WebSocket is open, but no Engine.IO handshake arrived; is it a Socket.IO server?"
        self.writable = True
        self.session.on_open(self, now)
        if self._head and self._state is not _CLOSED:
            rest, self._head = self._head, bytearray()
            self.data_received(self._stream, rest, now)

    def _rejected(self, event: RejectConnection, now: float) -> None:
        if event.status_code < 200:
            return  # an interim response such as 103 Early Hints: the final one follows
        self._keep_cookies(event.headers, now)
        self._change(WebSocketState.REFUSED)
        self._status = event.status_code
        self._location = join_header(event.headers, b"location")

    def _refuse(self, now: float) -> None:
        what = "the WebSocket handshake"
        details = refusal(self.endpoint.url, what, self._status, bytes(self._body), self._location)
        self._fail("transport error", details, now)

    def _fail_handshake(self, why: str, now: float, cause: Exception | None = None) -> None:
        details = TransportError(f"the WebSocket handshake with {self.endpoint.url.address} failed: {why}")
        details.__cause__ = cause
        self._fail("transport error", details, now)

    def _keep_cookies(self, headers: Sequence[tuple[bytes, bytes]], now: float) -> None:
        if self.endpoint.cookies is not None:
            self.endpoint.cookies.update(headers, self._target, now)


def _deflate(endpoint: Endpoint) -> Deflate | None:
    wanted = endpoint.options.per_message_deflate
    if wanted is False:
        return None
    threshold = DEFAULT_THRESHOLD if wanted is True else wanted
    return Deflate(threshold, endpoint.options.max_message_size)
