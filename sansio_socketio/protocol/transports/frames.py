"""Encode and decode WebSocket frames (RFC 6455, section 5).

Rules of this file:

- Only this module encodes and decodes frames. wsproto's `FrameProtocol` does the work. A faster path for plain frames can
  be added here, behind the same interface.
- Decoding is total: invalid bytes set `failure`, and the messages before them are returned.
- `max_message_size` bounds every message, whether it arrives whole, in fragments or compressed.
- After `close`, messages are discarded; control frames are still returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

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
        "_binaries",
        "_deflate",
        "_is_closing",
        "_max_message_size",
        "_protocol",
        "_size",
        "_max_safe_length",
        "_texts",
        "failure",
    )

    def __init__(self, max_message_size: int, extensions: Sequence[Extension] = ()) -> None:
        self.failure: FrameFailure | None = None
        self._protocol = FrameProtocol(client=True, extensions=list(extensions))
        self._deflate = next((each for each in extensions if isinstance(each, Deflate)), None)
        self._max_message_size = max_message_size
        self._max_safe_length = max_message_size // 4  # a character takes at most four bytes
        self._is_closing = False
        # The fragments of an incomplete message, and their size in bytes
        self._texts: list[str] = []
        self._binaries: list[bytes] = []
        self._size = 0

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

    def receive(self, data: bytes | bytearray | memoryview) -> list[Received]:
        """Return the messages and control frames that `data` completes. Check `failure` afterwards."""
        received: list[Received] = []
        if self.failure is not None:
            return received
        self._protocol.receive_bytes(bytes(data))
        try:
            for opcode, payload, _, finished in self._protocol.received_frames():
                # The common case: a whole message of short text.
                if finished and isinstance(payload, str) and not self._size and len(payload) <= self._max_safe_length:
                    if not self._is_closing:
                        received.append(payload)
                elif isinstance(payload, tuple):
                    received.append(Close(*payload))
                elif not opcode.iscontrol():
                    self._collect(received, payload, finished)
                elif opcode is Opcode.PING and isinstance(payload, bytes):
                    received.append(Ping(payload))
        except ParseFailed as error:
            inflating = None if self._deflate is None else self._deflate.failure
            self.failure = FrameFailure(error.code, inflating or str(error), error)
        return received

    def discard(self) -> None:
        """Discard the fragments of an incomplete message."""
        self._texts.clear()
        self._binaries.clear()
        self._size = 0

    def _collect(self, received: list[Received], piece: str | bytes, finished: bool) -> None:
        """Add a fragment, a binary message, or a text that may be too large."""
        if self._is_closing:
            return
        self._size += _size(piece)
        if self._size > self._max_message_size:
            bound = f"a message is larger than max_message_size ({self._max_message_size} bytes)"
            raise ParseFailed(bound, CloseReason.MESSAGE_TOO_BIG)
        if not piece:
            pass  # empty fragments are not kept: there may be any number of them
        elif isinstance(piece, str):
            self._texts.append(piece)
        else:
            self._binaries.append(piece)
        if finished:
            received.append("".join(self._texts) if isinstance(piece, str) else b"".join(self._binaries))
            self.discard()


def _size(piece: str | bytes) -> int:
    return len(piece) if isinstance(piece, bytes) or piece.isascii() else len(piece.encode())
