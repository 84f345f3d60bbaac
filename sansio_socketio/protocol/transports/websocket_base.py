"""A WebSocket after its opening handshake, on either side: messages, control frames, the close handshake (RFC 6455).

Rules of this file:

- `frames.FrameCodec` encodes and decodes the frames. It must receive every byte after the handshake.
- A ping is answered at once, even while a `send` is in flight. While a pong is in flight, only the latest ping is stored
  (RFC 6455, section 5.5.3), so that a peer that pings and never reads cannot fill a buffer.
- A stream that ends or breaks after the handshake is a "transport close" with code 1006, as in the JavaScript client.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from wsproto.frame_protocol import CloseReason as CloseCode

from ..actions import Outbox, packet_cost
from ..errors import PacketError, TransportError, message_of, without_frames
from ..packets.engineio import decode_frame
from ..states import WEBSOCKET_TRANSITIONS, WebSocketState, transition
from ..timers import Timers
from .base import CloseReason
from .frames import Close, FrameCodec, Ping
from .http import explanation

_OPEN = WebSocketState.OPEN
_CLOSING = WebSocketState.CLOSING
_CLOSED = WebSocketState.CLOSED


class WebSocketBase:
    """Base class of the WebSocket transports of the client and the server.

    Attributes:
        session: The session, which is notified as in `base.Session`.
        writable: Whether `send` may be called.
    """

    name: ClassVar[str] = "websocket"
    peer: ClassVar[str] = "server"
    """What the other side is, for messages."""

    session: Any
    outbox: Outbox
    timers: Timers
    writable: bool

    def _begin(self, codec: FrameCodec) -> None:
        """Set the initial state. `codec` is replaced when extensions are negotiated."""
        self._state = WebSocketState.OPENING
        self._stream = 0
        self._pausing = False
        self._codec = codec
        self._pong_in_flight = False
        self._pending_pong: bytes | None = None

    # Calls of the session

    def close(self, now: float) -> None:
        if self._state is _OPEN:
            self._change(_CLOSING)
            self.writable = False
            self.outbox.send(self._stream, self._codec.close(CloseCode.NORMAL_CLOSURE))
            self.timers.set(self, "close", self._close_by(now))
        elif self._state is not _CLOSING:
            self.abort()

    def abort(self) -> None:
        self._shut(abort=True)

    @abstractmethod
    def _close_by(self, now: float) -> float:
        """Return the time limit for the close handshake."""

    def timer_fired(self, name: str | int, now: float) -> None:
        """Close the stream, because the close handshake took too long."""
        self.abort()

    # Messages

    def handle_next(self, now: float) -> int:
        """Handle the next message or control frame."""
        if self._state is _CLOSED:
            return 0
        cost = 1
        codec = self._codec
        received = codec.next_received()
        if isinstance(received, (str, bytes)):
            cost = packet_cost(len(received))
            if self._state is _OPEN:
                try:
                    packet = decode_frame(received)
                except PacketError as error:
                    self._break_off(CloseCode.INVALID_FRAME_PAYLOAD_DATA, str(error), error, now)
                else:
                    del received  # it may be large
                    self.session.on_packet(self, packet, now)
        elif isinstance(received, Ping):
            self._pong(received.payload)
        elif isinstance(received, Close):
            self._close_received(received, now)
        elif received is None:
            if codec.failure is not None:
                self._break_off(codec.failure.code, codec.failure.message, codec.failure.cause, now)
            return 0
        return cost

    def data_sent(self, stream: int, now: float) -> None:
        if self._state is not _OPEN:
            return
        self._pong_in_flight = False
        if self._pending_pong is not None:
            self._pong(self._pending_pong)
        if not self.writable:
            self.writable = True
            self.session.on_drain(self, now)
            self._pause_if_idle(now)

    def _pause_if_idle(self, now: float) -> None:
        if self._pausing and self.writable:
            self._pausing = False
            self.session.on_pause(self, now)

    # Control frames

    def _pong(self, payload: bytes) -> None:
        if self._pong_in_flight:
            self._pending_pong = payload
        elif self._state is _OPEN:
            self._pong_in_flight = True
            self._pending_pong = None
            self.outbox.send(self._stream, self._codec.pong(payload))

    # The end

    def _close_received(self, frame: Close, now: float) -> None:
        """Handle a close frame from the peer, which begins or completes the close handshake."""
        if self._state is _OPEN:
            self.outbox.send(self._stream, self._codec.close(frame.code))
        code, why = int(frame.code), f": {explanation(frame.reason)}" if frame.reason else ""
        details = TransportError(f"the {self.peer} closed the WebSocket with code {code}{why}", close_code=code)
        self._fail("transport close", details, now, abort=False)

    def _break_off(self, code: CloseCode, message: str, cause: Exception, now: float) -> None:
        """Fail the WebSocket because the peer sent invalid bytes."""
        if self._state is _OPEN:
            self.outbox.send(self._stream, self._codec.close(code, message))
        details = TransportError(f"the WebSocket failed: {message}", close_code=int(code))
        details.__cause__ = without_frames(cause)
        self._fail("transport error", details, now, abort=False)

    def _ended(self, error: Exception | None, now: float) -> None:
        """Handle the end of the stream after the handshake."""
        how = f"the {self.peer} closed the stream" if error is None else f"the stream broke: {message_of(error)}"
        code = CloseCode.ABNORMAL_CLOSURE
        details = TransportError(f"the WebSocket ended without a close frame: {how}", close_code=int(code))
        details.__cause__ = error
        self._fail("transport close", details, now)

    def _fail(self, reason: CloseReason, details: TransportError, now: float, *, abort: bool = True) -> None:
        """Close the stream, and notify the session unless it has closed the transport itself."""
        was_closing = self._state is _CLOSING
        self._shut(abort=abort)
        if not was_closing:
            details.transport = self.name
            self.session.on_close(self, reason, details, now)

    def _change(self, state: WebSocketState) -> None:
        self._state = transition(WEBSOCKET_TRANSITIONS, self._state, state)

    def _shut(self, *, abort: bool) -> None:
        self._change(_CLOSED)
        self.writable = False
        self._codec.stop()
        self.outbox.drop_received(self)
        self.timers.cancel(self, "close")
        self.outbox.close_stream(self._stream, abort=abort)
