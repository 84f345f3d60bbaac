"""permessage-deflate (RFC 7692), as an extension of wsproto.

Rules of this file:

- What is sent is compressed message by message: `compress` is the switch, a threshold spares small messages.
- Inflation is bounded: it stops at the first byte past the bound, however much more the peer has packed.
- The server's parameters are checked one by one. An odd, doubled or unknown one fails the handshake.
- Control frames may come between the fragments of a compressed message; they touch nothing here.
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
    """One connection's compression, both ways, from the client's side.

    Attributes:
        compress: Whether the next message that is sent may be compressed.
        failure: What is wrong with a message that came, or None. (wsproto has no words but a close code.)
    """

    name = "permessage-deflate"

    def __init__(self, threshold: int, max_message_size: int) -> None:
        self.compress = True
        self.failure: str | None = None
        self._threshold = threshold
        self._max_message_size = max_message_size
        self._enabled = False
        # What was agreed on
        self._forget_sent = False
        self._window_bits = zlib.MAX_WBITS
        # The streams, and the message that is coming in
        self._deflater: zlib._Compress | None = None
        self._inflater: zlib._Decompress | None = None
        self._inflating = False
        self._restarted = False
        self._remaining = max_message_size
        self._in_control_frame = False

    # The handshake

    def enabled(self) -> bool:
        """Whether the server agreed."""
        return self._enabled

    def offer(self) -> str:
        """We can do with any window for what we send; nothing is asked of what the server sends."""
        return "client_max_window_bits"

    def finalize(self, offer: str) -> None:
        """Take over what the server chose from the offer. Raises wsproto's RemoteProtocolError."""
        if self._enabled:
            raise RemoteProtocolError(f"the server accepted {self.name} twice")
        chosen = _parameters(offer)
        self._forget_sent = "client_no_context_takeover" in chosen
        self._window_bits = chosen.get("client_max_window_bits", zlib.MAX_WBITS)
        self._enabled = True

    # What comes in

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """A frame begins. Only the first one of a message may say that the message is compressed (section 6)."""
        self._in_control_frame = opcode.iscontrol()
        if self._in_control_frame or opcode is Opcode.CONTINUATION:
            return _PLAIN
        self._inflating = rsv.rsv1
        self._restarted = False
        self._remaining = self._max_message_size
        return _COMPRESSED

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Some of a frame's payload."""
        if self._in_control_frame or not self._inflating:
            return data
        return self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """A frame ends, and a message with it if `fin`."""
        if self._in_control_frame or not self._inflating or not fin:
            return None
        rest = self._inflate(_TAIL)
        self._inflating = False
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        inflater = self._inflater
        if inflater is None:
            # A window that is larger than the server's, or outlasts its messages, harms nothing.
            inflater = self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            output = inflater.decompress(data, self._remaining + 1)
        except zlib.error as error:
            self.failure = f"a compressed message cannot be inflated: {error}"
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._remaining -= len(output)
        if self._remaining < 0:
            self.failure = f"a message of more than {self._max_message_size} bytes came (the option `max_message_size`)"
            return CloseReason.MESSAGE_TOO_BIG
        return output if not inflater.eof else self._restart(output, inflater.unused_data)

    def _restart(self, output: bytes, rest: bytes) -> bytes | CloseReason:
        """The stream has ended in a final block (section 7.2.3.4). What follows starts a new one, once a message."""
        if self._restarted:
            self.failure = "a compressed message cannot be inflated: it ends more than once"
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._restarted = True
        self._inflater = None
        more = self._inflate(rest)
        return more if isinstance(more, CloseReason) else output + more

    # What goes out

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """Compress a frame where that is allowed and worth it. Messages are sent in one frame each."""
        if opcode.iscontrol() or not self._is_worth_compressing(data):
            return rsv, data
        deflater = self._deflater
        if deflater is None:
            deflater = zlib.compressobj(wbits=-self._window_bits)
            self._deflater = None if self._forget_sent else deflater
        compressed = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return _COMPRESSED, compressed[: -len(_TAIL)]

    def _is_worth_compressing(self, data: bytes) -> bool:
        # zlib cannot compress with a window of 2^8 bytes: to a server that insists on it, nothing goes compressed.
        # An empty message cannot follow another with the same stream: zlib writes nothing for a flush of nothing.
        return self.compress and len(data) >= self._threshold and bool(data) and self._window_bits > 8


def _flag(name: str, value: str | None) -> int:
    if value is not None:
        raise RemoteProtocolError(f"{name} takes no value; the server gave it {value!r}")
    return 1


def _window_bits(name: str, value: str | None) -> int:
    if value is None or value not in _WINDOWS:
        raise RemoteProtocolError(f"{name} takes a number from 8 to 15; the server gave it {value!r}")
    return int(value)


_WINDOWS: Final = frozenset(str(bits) for bits in range(8, 16))
_PARAMETERS: Final[Mapping[str, Callable[[str, str | None], int]]] = {
    "server_no_context_takeover": _flag,
    "client_no_context_takeover": _flag,
    "server_max_window_bits": _window_bits,
    "client_max_window_bits": _window_bits,
}


def _parameters(accepted: str) -> dict[str, int]:
    """The parameters after the extension's name (section 7.1), each of which may come once."""
    chosen: dict[str, int] = {}
    for parameter in accepted.split(";")[1:]:
        name, equals, text = (part.strip() for part in parameter.partition("="))
        check = _PARAMETERS.get(name)
        if check is None:
            raise RemoteProtocolError(f"the server answered with an unknown parameter, {name!r}")
        if name in chosen:
            raise RemoteProtocolError(f"the server gave the parameter {name!r} twice")
        quoted = len(text) >= 2 and text[0] == text[-1] == '"'
        chosen[name] = check(name, (text[1:-1] if quoted else text) if equals else None)
    return chosen
