"""permessage-deflate (RFC 7692), as an extension of wsproto.

Rules of this file:

- A message is compressed if it is not smaller than the threshold.
- Decompression is bounded: it stops at the first byte past the bound.
- Each parameter of the server is checked. An invalid, repeated or unknown parameter fails the handshake.
- Control frames between the fragments of a compressed message do not affect the state.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits
from wsproto.utilities import RemoteProtocolError

DEFAULT_THRESHOLD: Final = 1024

_TAIL: Final = b"\x00\x00\xff\xff"
_COMPRESSED: Final = RsvBits(True, False, False)
_PLAIN: Final = RsvBits(False, False, False)


class Deflate(Extension):
    """permessage-deflate of one WebSocket, in both directions, on the client's side.

    Attributes:
        failure: Why a received message is invalid, or None. wsproto itself reports only a close code.
    """

    name = "permessage-deflate"

    def __init__(self, threshold: int, max_message_size: int) -> None:
        self.failure: str | None = None
        self._threshold = threshold
        self._max_message_size = max_message_size
        self._enabled = False
        # The negotiated parameters
        self._resets_deflater = False
        self._window_bits = zlib.MAX_WBITS
        # The zlib streams, and the state of the message being received
        self._deflater: zlib._Compress | None = None
        self._inflater: zlib._Decompress | None = None
        self._inflating = False
        self._restarted = False
        self._remaining = max_message_size
        self._in_control_frame = False

    # The handshake

    def enabled(self) -> bool:
        """Whether the server accepted the extension."""
        return self._enabled

    def offer(self) -> str:
        """Return the parameters to offer: any window size for sending, no constraints for receiving."""
        return "client_max_window_bits"

    def finalize(self, offer: str) -> None:
        """Apply the parameters that the server chose. Raise wsproto's RemoteProtocolError if they are invalid."""
        if self._enabled:
            raise RemoteProtocolError(f"the server accepted {self.name} twice")
        chosen = _parameters(offer)
        self._resets_deflater = "client_no_context_takeover" in chosen
        self._window_bits = chosen.get("client_max_window_bits", zlib.MAX_WBITS)
        self._enabled = True

    # Receiving

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Handle the header of a frame. The first frame of a message says whether the message is compressed (section 6)."""
        self._in_control_frame = opcode.iscontrol()
        if self._in_control_frame or opcode is Opcode.CONTINUATION:
            return _PLAIN
        self._inflating = rsv.rsv1
        self._restarted = False
        self._remaining = self._max_message_size
        return _COMPRESSED

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Handle a part of the payload of a frame."""
        if self._in_control_frame or not self._inflating:
            return data
        return self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """Handle the end of a frame, which is the end of the message if `fin` is True."""
        if self._in_control_frame or not self._inflating or not fin:
            return None
        rest = self._inflate(_TAIL)
        self._inflating = False
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        inflater = self._inflater
        if inflater is None:
            # The largest window works for every window of the server, also if the server resets it after each message.
            inflater = self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            output = inflater.decompress(data, self._remaining + 1)
        except zlib.error as error:
            self.failure = f"a compressed message cannot be decompressed: {error}"
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._remaining -= len(output)
        if self._remaining < 0:
            self.failure = f"a message is larger than max_message_size ({self._max_message_size} bytes)"
            return CloseReason.MESSAGE_TOO_BIG
        return output if not inflater.eof else self._restart(output, inflater.unused_data)

    def _restart(self, output: bytes, rest: bytes) -> bytes | CloseReason:
        """Start a new zlib stream after a final block (section 7.2.3.4), at most once per message."""
        if self._restarted:
            self.failure = "a compressed message cannot be decompressed: it ends more than once"
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._restarted = True
        self._inflater = None
        more = self._inflate(rest)
        return more if isinstance(more, CloseReason) else output + more

    # Sending

    def pack(self, data: bytes) -> bytes | None:
        """Compress a message, which is sent in one frame. Return None if that is not possible or not worthwhile."""
        # zlib cannot compress with a window of 2^8 bytes. If the server requires it, nothing is compressed.
        # An empty message is not compressed: zlib has no output if nothing was added since the last flush.
        if len(data) < self._threshold or not data or self._window_bits == 8:
            return None
        deflater = self._deflater
        if deflater is None:
            deflater = zlib.compressobj(wbits=-self._window_bits)
            self._deflater = None if self._resets_deflater else deflater
        compressed = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return compressed[: -len(_TAIL)]


def _flag(name: str, value: str | None) -> int:
    if value is not None:
        raise RemoteProtocolError(f"the parameter {name!r} takes no value, but the server set one")
    return 1


def _window_bits(name: str, value: str | None) -> int:
    if value is None or value not in _WINDOWS:
        raise RemoteProtocolError(
            f"the parameter {name!r} takes a number from 8 to 15, but the server set another value"
        )
    return int(value)


_WINDOWS: Final = frozenset(str(bits) for bits in range(8, 16))
_PARAMETERS: Final[Mapping[str, Callable[[str, str | None], int]]] = {
    "server_no_context_takeover": _flag,
    "client_no_context_takeover": _flag,
    "server_max_window_bits": _window_bits,
    "client_max_window_bits": _window_bits,
}


def _parameters(accepted: str) -> dict[str, int]:
    """Parse the parameters after the extension's name (section 7.1), each of which may occur once."""
    chosen: dict[str, int] = {}
    for parameter in accepted.split(";")[1:]:
        name, equals, text = (part.strip() for part in parameter.partition("="))
        check = _PARAMETERS.get(name)
        if check is None:
            raise RemoteProtocolError("the server responded with an unknown parameter of permessage-deflate")
        if name in chosen:
            raise RemoteProtocolError(f"the server responded with the parameter {name!r} twice")
        quoted = len(text) >= 2 and text[0] == text[-1] == '"'
        chosen[name] = check(name, (text[1:-1] if quoted else text) if equals else None)
    return chosen
