"""Encode and decode WebSocket frames (RFC 6455, section 5).

Rules of this file:

- Only this module encodes and decodes frames.
- A codec is on the client's or on the server's side. Only the frames of clients are masked.
- A *plain* frame is a whole message that is neither compressed nor masked. It is decoded here, which takes a third of the time.
  On the server's side, so is a masked one of up to 125 bytes.
  wsproto's `FrameDecoder` decodes every other frame, and refuses invalid ones. It is given exactly the bytes of the frame.
- Messages are encoded here, control frames by wsproto's `FrameProtocol`. Every masking key is drawn from `random`.
- Decoding is total: invalid bytes set `failure`, and the messages before them are returned.
- The outcome does not depend on the chunks in which bytes arrive: the size of a message is checked as it grows, and a text
  is decoded when it is complete. (wsproto would decode a text chunk by chunk.)
- `max_message_size` bounds every message, whether it arrives whole, in fragments or compressed.
- After `close`, messages are discarded; control frames are still returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import cycle
from operator import xor
from random import Random
from typing import Any, Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode, ParseFailed

from .deflate import Deflate

_FIN: Final = 0x80
_COMPRESSED: Final = 0x40
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_TEXT: Final = int(_FIN | Opcode.TEXT)
_BINARY: Final = int(_FIN | Opcode.BINARY)
_PLAIN: Final = {_TEXT: Opcode.TEXT, _BINARY: Opcode.BINARY}
"""The first byte of a plain frame, and its opcode."""
_KEY_SIZE: Final = 4
_SMALLEST_HEADER: Final = 2 + _KEY_SIZE
"""The size of the header of a masked frame whose length is in the second byte."""
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
"""These lengths mean that the length follows, in two or eight bytes. A smaller one is the length itself."""
_LENGTHS: Final = {_TWO_BYTES: (2, _TWO_BYTES), _EIGHT_BYTES: (8, 1 << 16)}
"""How many bytes of length follow, and the smallest length that may be encoded so."""
_END_OF_LENGTHS: Final = 1 << 63
_KEYS: Final = 256
"""How many bytes of masking keys are drawn at once."""
_REPEATED: Final = int.from_bytes(b"\1\0\0\0" * 32, "little")
"""The number by which a masking key is multiplied to repeat it."""
_HUGE: Final = 64 * 1024
"""From which size on numpy masks a message, if it is installed (the extra `speed`)."""
_BLOCK: Final = 16 * 1024
"""How many bytes of a large message are masked at once, and from which size on a part of a message is kept as it is."""
_CONTROL: Final = FrameProtocol(client=False, extensions=[])
"""Encodes control frames, which are not masked yet. It keeps no state for that."""


@dataclass(slots=True)
class Ping:
    """A ping frame from the peer."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """A close frame from the peer. `code` is 1005 if the frame has no code."""

    code: int
    reason: str


@dataclass(slots=True)
class FrameFailure:
    """Why the peer's bytes are invalid, and the close code for it (section 7.4.1)."""

    code: CloseReason
    message: str
    cause: Exception


class Part:
    """A frame without consequences: a fragment, a pong, or a message that is discarded."""


Received = str | bytes | Ping | Close | Part
"""A complete message, or a frame that is none."""
_PART: Final = Part()


class FrameCodec:
    """Encoder and decoder of the frames of one WebSocket, after the handshake.

    On the server's side, messages are encoded by `unmasked_frame`: their frames are the same for every client.

    Args:
        max_message_size: The maximum size of a received message in bytes.
        random: The source of the masking keys. A server must not be able to predict it.
        extensions: The negotiated extensions.
        client: Whether the codec is on the client's side.

    Attributes:
        failure: Why decoding has failed, or None. After a failure nothing is decoded.
    """

    __slots__ = (
        "_data",
        "_decoder",
        "_deflate",
        "_expects_message",
        "_extensions",
        "_is_client",
        "_is_closed",
        "_is_closing",
        "_keys",
        "_max_message_size",
        "_missing",
        "_opcode",
        "_parts",
        "_plain",
        "_random",
        "_start",
        "failure",
    )

    def __init__(
        self, max_message_size: int, random: Random, extensions: Sequence[Extension] = (), *, client: bool = True
    ) -> None:
        self.failure: FrameFailure | None = None
        enabled = [each for each in extensions if each.enabled()]
        self._is_client = client
        self._extensions = enabled
        self._decoder: FrameDecoder | None = None  # made for the first frame that is not plain
        self._deflate = next((each for each in enabled if isinstance(each, Deflate)), None)
        self._max_message_size = max_message_size
        self._random = random
        self._keys = b""
        self._is_closing = False
        self._is_closed = False
        # What is to be decoded: the bytes of `_data` from `_start` on
        self._data = b""
        self._start = 0
        # The incomplete frame: how many of its bytes are missing, and the opcode for its next part if it is plain
        self._missing = 0
        self._plain: Opcode | None = None
        # The incomplete message: its opcode, or None between messages, and its beginning
        self._opcode: Opcode | None = None
        self._parts = _Parts()
        # Whether the next frame may be a plain one
        self._expects_message = client

    # Encoding

    def encode(self, message: str | bytes, *, compress: bool) -> bytes | bytearray:
        """Return the frame of a message. It is compressed if that was negotiated, is allowed and is worthwhile."""
        first, payload = (_TEXT, message.encode()) if isinstance(message, str) else (_BINARY, message)
        if compress and self._deflate is not None:
            compressed = self._deflate.pack(payload)
            if compressed is not None:
                first, payload = first | _COMPRESSED, compressed
        keys = self._keys or self._random.randbytes(_KEYS)
        key, self._keys = keys[:4], keys[4:]
        size = len(payload)
        if size >= _TWO_BYTES:
            return _large_frame(first, key, payload)
        mask = int.from_bytes(key, "little") * _REPEATED & (1 << 8 * size) - 1
        masked = (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")
        return bytes((first, _MASKED | size)) + key + masked

    def pong(self, payload: bytes) -> bytes | bytearray:
        """Return a pong frame."""
        return self._masked(_CONTROL.pong(payload))

    def close(self, code: int, reason: str = "") -> bytes | bytearray:
        """Return a close frame. Messages that are received after this call are discarded."""
        self._is_closing = True
        self._expects_message = False
        self._parts = _Parts()
        return self._masked(_CONTROL.close(code, reason))

    def _masked(self, frame: bytearray) -> bytes | bytearray:
        """Return a control frame as this side sends it."""
        if not self._is_client:
            return frame
        key = self._random.randbytes(_KEY_SIZE)
        return bytes((frame[0], _MASKED | frame[1])) + key + bytes(map(xor, frame[2:], cycle(key)))

    # Decoding

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take received bytes."""
        if self.failure is None and not self._is_closed:
            rest = self._data[self._start :]
            self._data = rest + data if rest else bytes(data)
            self._start = 0

    def next_received(self) -> Received | None:
        """Decode the next message, or a frame that is none. Return None if it is incomplete or invalid: check `failure` then."""
        try:
            if self._expects_message:
                data, start = self._data, self._start
                available = len(data) - start
                first = data[start] if available > 1 else 0
                if first in _PLAIN:
                    begin, least, size = start + 2, 0, data[start + 1]
                    if size == _TWO_BYTES:
                        begin, least, size = start + 4, _TWO_BYTES, int.from_bytes(data[start + 2 : start + 4])
                    elif size > _TWO_BYTES:
                        least = _END_OF_LENGTHS  # masked, or eight bytes of length
                    end = begin + size
                    if end <= len(data) and least <= size <= self._max_message_size:
                        self._start = end
                        payload = data[begin:end]
                        return payload.decode() if first == _TEXT else payload
            return self._next_slowly()
        except UnicodeDecodeError as error:
            why = f"a text message is not valid UTF-8: {error.reason} at byte {error.start}"
            code = CloseReason.INVALID_FRAME_PAYLOAD_DATA
            self._fail(code, why, ParseFailed(why, code))  # the error itself holds the message
        except ParseFailed as error:
            inflating = None if self._deflate is None else self._deflate.failure
            self._fail(error.code, inflating or str(error), error)
        return None

    def stop(self) -> None:
        """Discard what was received, and decode nothing any more."""
        self._is_closed, self._expects_message = True, False
        self._data, self._start = b"", 0
        self._parts = _Parts()

    def _fail(self, code: CloseReason, message: str, cause: Exception) -> None:
        self.failure = FrameFailure(code, message, cause)
        self.stop()

    def _next_slowly(self) -> Received | None:
        """Decode the next frame, whatever it is."""
        received: Received | None = None
        if not self._is_closed and (self._missing or self._begin_frame()):
            part = self._data[self._start : self._start + self._missing]
            self._start += len(part)
            self._missing -= len(part)
            if self._plain is not None:
                opcode, self._plain = self._plain, Opcode.CONTINUATION
                received = self._collect(opcode, part, finished=not self._missing)
            else:
                if self._decoder is None:
                    self._decoder = FrameDecoder(client=self._is_client, extensions=self._extensions)
                self._decoder.receive_bytes(part)
                frame = self._decoder.process_buffer()
                received = None if frame is None else self._take(frame)
            if received is None and not self._missing:
                received = _PART
        if self._start == len(self._data):
            self._data, self._start = b"", 0
        is_between = not (self._missing or self._opcode is not None or self._is_closing or self._is_closed)
        self._expects_message = is_between and self._is_client
        return received

    def _begin_frame(self) -> bool:
        """Read the header of the next frame, unless wsproto has to. Return False if it is incomplete.

        Raise ParseFailed if a message starts within another one, or is continued that has not started.
        """
        data, start = self._data, self._start
        if len(data) < start + 2:
            return False
        first, second = data[start], data[start + 1]
        kind, size = first & _OPCODE, second & ~_MASKED
        more, least = _LENGTHS.get(size, (0, 0))
        begin = start + 2 + more
        if len(data) < begin:
            return False
        if kind <= Opcode.BINARY and (kind == Opcode.CONTINUATION) is (self._opcode is None):
            is_first = self._opcode is None
            raise ParseFailed("unexpected CONTINUATION" if is_first else f"expected CONTINUATION, got {Opcode(kind)!r}")
        if more:
            size = int.from_bytes(data[start + 2 : begin])
        is_plain = first in _PLAIN and second < _MASKED and self._is_client
        if is_plain and self._opcode is None and least <= size < _END_OF_LENGTHS:
            self._plain = _PLAIN[first]
            self._start, self._missing = begin, size
        else:
            self._plain = None
            self._missing = begin - start + (_KEY_SIZE if second >= _MASKED else 0) + size
        return True

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
            self._opcode = opcode
        kind, collected = self._opcode, self._parts.size
        if finished:
            self._opcode = None
        if self._is_closing:
            return None
        if collected + len(payload) > self._max_message_size:
            bound = f"a message is larger than max_message_size ({self._max_message_size} bytes)"
            raise ParseFailed(bound, CloseReason.MESSAGE_TOO_BIG)
        if collected or not finished:
            self._parts.add(payload)
            if not finished:
                return None
            payload = self._parts.joined()
            self._parts = _Parts()
        return payload.decode() if kind is Opcode.TEXT else payload


class ServerFrameCodec(FrameCodec):
    """Encoder and decoder of the frames of one WebSocket on the server's side: decodes small plain frames itself."""

    __slots__ = ()

    def __init__(self, max_message_size: int, random: Random) -> None:
        super().__init__(max_message_size, random, client=False)

    def next_received(self) -> Received | None:
        """Decode the next message, or a frame that is none. Return None if it is incomplete or invalid: check `failure` then."""
        data, start = self._data, self._start
        is_inside = self._missing or self._opcode is not None
        if len(data) - start > _SMALLEST_HEADER and not (is_inside or self._is_closing or self._is_closed):
            first, size = data[start], data[start + 1] - _MASKED
            begin = start + _SMALLEST_HEADER
            end = begin + size
            if first in _PLAIN and 0 < size < _TWO_BYTES and end <= len(data) and size <= self._max_message_size:
                mask = int.from_bytes(data[start + 2 : begin], "little") * _REPEATED & (1 << 8 * size) - 1
                payload = (int.from_bytes(data[begin:end], "little") ^ mask).to_bytes(size, "little")
                try:
                    message = payload.decode() if first == _TEXT else payload
                except UnicodeDecodeError:
                    return super().next_received()
                self._start = end
                return message
        return super().next_received()


class _Parts:
    """The parts of a message. Large ones are kept as they are, so that they are copied only once."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes | bytearray] = []

    def add(self, part: bytes) -> None:
        self.size += len(part)
        last = self._parts[-1] if self._parts else None
        if len(part) >= _BLOCK:
            self._parts.append(part)
        elif isinstance(last, bytearray):
            last += part
        else:
            self._parts.append(bytearray(part))

    def joined(self) -> bytes:
        return b"".join(self._parts)


def unmasked_frame(message: str | bytes) -> bytes:
    """Return the frame of a message from a server."""
    first, payload = (_TEXT, message.encode()) if isinstance(message, str) else (_BINARY, message)
    size = len(payload)
    return (bytes((first, size)) if size < _TWO_BYTES else _large_header(first, 0, size)) + payload


def _large_header(first: int, masked: int, size: int) -> bytes:
    """Return the header of a frame whose length does not fit into the second byte, without a masking key."""
    if size < _LENGTHS[_EIGHT_BYTES][1]:
        return bytes((first, masked | _TWO_BYTES)) + size.to_bytes(2)
    return bytes((first, masked | _EIGHT_BYTES)) + size.to_bytes(8)


def _large_frame(first: int, key: bytes, payload: bytes) -> bytearray:
    """Return a masked frame whose length does not fit into the header's second byte."""
    size = len(payload)
    header = _large_header(first, _MASKED, size) + key
    numpy = _numpy() if size >= _HUGE else None
    if numpy is not None:
        return _masked_by(numpy, header, key, payload)
    frame = bytearray(header)
    block_size = min(size, _BLOCK)
    repeated = key * (block_size // _KEY_SIZE + 1)
    mask = int.from_bytes(repeated[:block_size], "little")
    view = memoryview(payload)
    for start in range(0, size, block_size):
        block = view[start : start + block_size]
        if len(block) < block_size:
            mask = int.from_bytes(repeated[: len(block)], "little")
        frame += (int.from_bytes(block, "little") ^ mask).to_bytes(len(block), "little")
    return frame


def _masked_by(numpy: Any, header: bytes, key: bytes, payload: bytes) -> bytearray:
    """Return the header and the masked payload."""
    begin, words = len(header), len(payload) // _KEY_SIZE
    end = begin + words * _KEY_SIZE
    frame = bytearray(begin + len(payload))
    frame[:begin] = header
    masked = numpy.frombuffer(frame, "<u4", words, begin)
    numpy.bitwise_xor(numpy.frombuffer(payload, "<u4", words), numpy.frombuffer(key, "<u4"), out=masked)
    frame[end:] = bytes([byte ^ mask for byte, mask in zip(payload[end - begin :], key, strict=False)])
    return frame


@cache
def _numpy() -> Any:
    """Return numpy, or None if it is not installed. The import takes a tenth of a second."""
    try:
        return import_module("numpy")
    except ImportError:
        return None


def _close(payload: bytes) -> Close:
    """Parse the payload of a close frame, which has at most 125 bytes. Raise ParseFailed if it is invalid."""
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(bytes([0x80 | Opcode.CLOSE, len(payload)]) + payload)
    frame = next(protocol.received_frames())
    assert isinstance(frame.payload, tuple)
    return Close(*frame.payload)
