"""Encode and decode WebSocket frames (RFC 6455, section 5).

Rules of this file:

- Only this module encodes and decodes frames. wsproto's `FrameProtocol` and `FrameDecoder` do the work. A faster path for
  plain frames can be added here, behind the same interface.
- Decoding is total: invalid bytes set `failure`, and the messages before them are returned.
- The outcome does not depend on the chunks in which bytes arrive: the size of a message is checked as it grows, and a text
  is decoded when it is complete. (wsproto would decode a text chunk by chunk.)
- `max_message_size` bounds every message, whether it arrives whole, in fragments or compressed.
- After `close`, messages are discarded; control frames are still returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode, ParseFailed

from .deflate import Deflate


@dataclass(slots=True)
class Ping:
    """A ping frame from the server."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """A close frame from the server. `code` is 1005 if the frame has no code."""

    code: int
    reason: str


@dataclass(slots=True)
class FrameFailure:
    """Why the server's bytes are invalid, and the close code for it (section 7.4.1)."""

    code: CloseReason
    message: str
    cause: Exception


Received = str | bytes | Ping | Close
"""A complete message, or a control frame."""


class FrameCodec:
    """Encoder and decoder of the frames of one WebSocket, on the client's side, after the handshake.

    Attributes:
        failure: Why decoding has failed, or None. After a failure nothing is decoded.
    """

    __slots__ = (
        "_decoder",
        "_deflate",
        "_is_closed",
        "_is_closing",
        "_max_message_size",
        "_message",
        "_opcode",
        "_protocol",
        "failure",
    )

    def __init__(self, max_message_size: int, extensions: Sequence[Extension] = ()) -> None:
        self.failure: FrameFailure | None = None
        self._protocol = FrameProtocol(client=True, extensions=list(extensions))
        self._decoder = FrameDecoder(client=True, extensions=[each for each in extensions if each.enabled()])
        self._deflate = next((each for each in extensions if isinstance(each, Deflate)), None)
        self._max_message_size = max_message_size
        self._is_closing = False
        self._is_closed = False
        # The incomplete message: its opcode, or None between messages, and its fragments
        self._opcode: Opcode | None = None
        self._message = bytearray()

    # Encoding

    def encode(self, message: str | bytes, *, compress: bool) -> bytearray:
        """Return the frame of a message. It is compressed if that was negotiated, is allowed and is worthwhile."""
        if self._deflate is not None:
            self._deflate.compress = compress
        return self._protocol.send_data(message)

    def pong(self, payload: bytes) -> bytes | bytearray:
        """Return a pong frame."""
        return self._protocol.pong(payload)

    def close(self, code: int, reason: str = "") -> bytes | bytearray:
        """Return a close frame. Messages that are received after this call are discarded."""
        self._is_closing = True
        self.discard()
        return self._protocol.close(code, reason)

    # Decoding

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take received bytes."""
        if self.failure is None:
            self._decoder.receive_bytes(bytes(data))

    def next_received(self) -> Received | None:
        """Decode the next message or control frame. Return None if it is incomplete or invalid: check `failure` then."""
        if self.failure is not None:
            return None
        try:
            while not self._is_closed and (frame := self._decoder.process_buffer()) is not None:
                received = self._take(frame)
                if received is not None:
                    return received
        except ParseFailed as error:
            inflating = None if self._deflate is None else self._deflate.failure
            self.failure = FrameFailure(error.code, inflating or str(error), error)
        return None

    def discard(self) -> None:
        """Discard the fragments of an incomplete message."""
        self._message = bytearray()

    def _take(self, frame: Frame) -> Received | None:
        """Take a frame, or a part of one. Return the message or the control frame that it completes."""
        opcode, payload, is_complete, is_last = frame
        assert isinstance(payload, bytes)
        if opcode is Opcode.PING:
            return Ping(payload)
        if opcode is Opcode.CLOSE:
            self._is_closed = True
            return _close(payload)
        return None if opcode is Opcode.PONG else self._collect(opcode, payload, finished=is_complete and is_last)

    def _collect(self, opcode: Opcode, payload: bytes, *, finished: bool) -> str | bytes | None:
        """Add a part of a message. Return the message if it is finished."""
        if self._opcode is None:
            if opcode is Opcode.CONTINUATION:
                raise ParseFailed("unexpected CONTINUATION")
            self._opcode = opcode
        elif opcode is not Opcode.CONTINUATION:
            raise ParseFailed(f"expected CONTINUATION, got {opcode!r}")
        kind = self._opcode
        if finished:
            self._opcode = None
        if self._is_closing:
            return None
        if len(self._message) + len(payload) > self._max_message_size:
            bound = f"a message is larger than max_message_size ({self._max_message_size} bytes)"
            raise ParseFailed(bound, CloseReason.MESSAGE_TOO_BIG)
        if self._message or not finished:
            self._message += payload
            if not finished:
                return None
            payload = bytes(self._message)
            self.discard()
        return _text(payload) if kind is Opcode.TEXT else payload


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        why = f"a text message is not valid UTF-8: {error.reason} at byte {error.start}"
        raise ParseFailed(why, CloseReason.INVALID_FRAME_PAYLOAD_DATA) from error


def _close(payload: bytes) -> Close:
    """Parse the payload of a close frame, which has at most 125 bytes. Raise ParseFailed if it is invalid."""
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(bytes([0x80 | Opcode.CLOSE, len(payload)]) + payload)
    frame = next(protocol.received_frames())
    assert isinstance(frame.payload, tuple)
    return Close(*frame.payload)
