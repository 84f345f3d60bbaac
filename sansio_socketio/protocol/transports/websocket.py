"""WebSocket transport of the client over a byte stream (RFC 6455).

Rules of this file:

- `handshake.Handshake` performs the opening handshake, `frames.FrameCodec` encodes and decodes the frames.
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

from ..actions import Outbox
from ..errors import TransportError, message_of
from ..packets.engineio import Packet, encode_frame
from ..states import WebSocketState
from ..timers import Timers
from .base import Endpoint, Session, Transport
from .deflate import DEFAULT_THRESHOLD, Deflate
from .frames import FrameCodec
from .handshake import Handshake
from .http import MAX_EXCERPT, join_header, layers_up, refusal, tls_hint, unreachable, unwritable
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
    """WebSocket transport over a byte stream (RFC 6455)."""

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        super().__init__(endpoint, session, outbox, timers)
        options = endpoint.options
        self._requests = Requests(endpoint, self.name, stamped=False)
        self._force_base64 = options.force_base64
        self._begin(FrameCodec(options.max_message_size, endpoint.random))
        # The handshake
        self._deflate = _deflate(endpoint)
        self._handshake = Handshake(endpoint.random, options.protocols, self._deflate)
        self._target = ""
        self._head = bytearray()
        self._status = 0
        self._location = b""
        self._body = bytearray()
        self._body_size = 0  # with the chunk headers

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
        except Exception as error:  # h11 raises various exceptions
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
        self._target = self._requests.target(base64=self._force_base64)
        defaults = {"Host": self.endpoint.url.authority.encode("ascii"), "User-Agent": USER_AGENT}
        return self._handshake.request(self._target, self._requests.headers(self._target, now, defaults))

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
        self._handshake.receive(section)
        while self._state in _HANDSHAKE:
            event = self._handshake.next_event()
            if isinstance(event, h11.InformationalResponse):
                self._accepted(event.headers, now)
            elif isinstance(event, h11.Response):
                self._rejected(event, now)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_EXCERPT:
                    self._refuse(now)
            elif event is None:
                return
            elif isinstance(event, str) and self._state is WebSocketState.OPENING:
                self._fail_handshake(f"{event}{tls_hint(section)}", now)
            else:  # the end of a refusal's body, or invalid bytes in it
                self._refuse(now)

    def _accepted(self, headers: Sequence[tuple[bytes, bytes]], now: float) -> None:
        self._keep_cookies(headers, now)
        if self._deflate is not None and self._deflate.enabled():
            self._codec = FrameCodec(self.endpoint.options.max_message_size, self.endpoint.random, [self._deflate])
        del self._handshake, self._requests, self._target  # they take 8 KiB
        self._change(WebSocketState.OPEN)
        self.progress = "the WebSocket is open, but no Engine.IO handshake arrived; is it a Socket.IO server?"
        self.writable = True
        self.session.on_open(self, now)
        if self._head and self._state is not _CLOSED:
            rest, self._head = self._head, bytearray()
            self.data_received(self._stream, rest, now)

    def _rejected(self, response: h11.Response, now: float) -> None:
        headers = list(response.headers)
        self._keep_cookies(headers, now)
        self._change(WebSocketState.REFUSED)
        self._status = response.status_code
        self._location = join_header(headers, b"location")

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
