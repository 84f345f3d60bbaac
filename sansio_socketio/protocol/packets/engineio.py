"""Engine.IO protocol 4: packets, as WebSocket messages and as HTTP bodies, and the handshake.

Rules of this file:

- A packet is encoded as a character for its type, followed by its data. A binary message has no type character: it is
  sent as bytes, or as `b` followed by base64 if the transport carries only text.
- Decoding is total: any input gives a result or raises `PacketError`.
- Base64 must use the standard alphabet. Its padding may be missing, because some servers omit it.

See https://socket.io/docs/v4/engine-io-protocol/, "Packet encoding".
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

import orjson

from ..errors import PacketError
from ..events import Data, PacketType
from ..url import is_encodable
from .descriptions import field_value, kind_of

PROTOCOL: Final = 4
"""The version of the protocol."""

OPEN = "0"
CLOSE = "1"
PING = "2"
PONG = "3"
MESSAGE = "4"
UPGRADE = "5"
NOOP = "6"

TYPES: Final[Mapping[str, PacketType]] = {
    OPEN: "open",
    CLOSE: "close",
    PING: "ping",
    PONG: "pong",
    MESSAGE: "message",
    UPGRADE: "upgrade",
    NOOP: "noop",
}
"""Maps the character of a packet type to the name of the type."""

_BINARY = "b"
SEPARATOR: Final = "\x1e"
"""The character between the packets of an HTTP body."""
_SEPARATOR_BYTE: Final = SEPARATOR.encode()
_MAX_HANDSHAKE: Final = 64 * 1024
_OPEN_OF_VERSION_3: Final = re.compile(rb"[0-9]{1,6}:0\{|\x00[\x00-\x09]{1,6}\xff0\{")
"""The length of an OPEN packet and its beginning, as text and as binary data."""
VERSION_2: Final = (
    "as Socket.IO 2 does; this client requires a server of version 3 or later (a server with allowEIO3 also serves clients of "
    "version 2)"
)
"""The end of an error about a server of Socket.IO 2, which uses version 3 of this protocol."""


@dataclass(slots=True)
class Packet:
    """An Engine.IO packet: its type (a character), its data, and whether a transport may compress it.

    Only the data of a MESSAGE can be bytes. Comparisons ignore `compress`.
    """

    type: str
    data: str | bytes = ""
    compress: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Handshake:
    """The data of the server's OPEN packet (section "Handshake").

    Attributes:
        sid: The session's id.
        upgrades: The names of the transports that the session may be upgraded to.
        ping_interval: The interval between the server's pings, in seconds.
        ping_timeout: How late a ping may arrive, in seconds.
        max_payload: The largest HTTP body that the server accepts, in bytes, or None for no limit.
    """

    sid: str
    upgrades: tuple[str, ...]
    ping_interval: float
    ping_timeout: float
    max_payload: int | None


# ---------------------------------------------------------------------------------------------------------------------
# One packet


def check_message(data: Data) -> None:
    """Raise PacketError unless `data` is bytes, or a str without unpaired surrogates and U+001E."""
    if isinstance(data, bytes):
        return
    if not isinstance(data, str):
        raise PacketError(f"a message must be str or bytes, not {type(data).__name__}")
    if SEPARATOR in data:
        raise PacketError("a message contains U+001E, which separates packets over polling: send the message as bytes")
    if not is_encodable(data):
        raise PacketError("a message contains an unpaired surrogate")


def encode_frame(packet: Packet, *, force_base64: bool = False) -> str | bytes:
    """Return the WebSocket message of a packet: text, or the bytes of a binary MESSAGE unless `force_base64`."""
    data = packet.data
    if isinstance(data, str):
        return packet.type + data
    return _encode_text(packet) if force_base64 else data


def decode_frame(data: str | bytes) -> Packet:
    """Return the packet of a WebSocket message. Raise PacketError if it is invalid."""
    if not isinstance(data, str):
        return Packet(MESSAGE, data)
    kind = data[:1]
    if kind in TYPES:
        return Packet(kind, data[1:])
    if kind == _BINARY:
        return Packet(MESSAGE, _decode_base64(data[1:]))
    raise PacketError(f"an Engine.IO packet must start with a type from 0 to 6, not with {kind!r}")


def encoded_size(packet: Packet) -> int:
    """Return the size of the packet in an HTTP body, in bytes."""
    data = packet.data
    if not isinstance(data, str):
        return len(_BINARY) + 4 * ((len(data) + 2) // 3)
    return len(packet.type) + (len(data) if data.isascii() else len(data.encode("utf-8", "surrogatepass")))


def _encode_text(packet: Packet) -> str:
    data = packet.data
    if isinstance(data, str):
        return packet.type + data
    return _BINARY + b2a_base64(data, newline=False).decode("ascii")


def _decode_base64(text: str) -> bytes:
    missing = -len(text) % 4
    try:
        return a2b_base64(text + "=" * missing if missing else text, strict_mode=True)
    except ValueError as error:
        raise PacketError(f"a binary Engine.IO packet is not valid base64: {error}") from None


# ---------------------------------------------------------------------------------------------------------------------
# Several packets in an HTTP body


def encode_payload(packets: Iterable[Packet]) -> bytes:
    """Return the HTTP body of one or more packets."""
    return SEPARATOR.join(map(_encode_text, packets)).encode()


def is_of_version_3(body: bytes) -> bool:
    """Return whether an HTTP body begins with an OPEN packet as in version 3 of the protocol: with a length before it."""
    return _OPEN_OF_VERSION_3.match(body) is not None


def decode_payload(body: bytes, max_packets: int | None = None) -> Iterator[Packet]:
    """Decode the packets of an HTTP body, one at a time: at least one, and at most `max_packets`.

    Raises:
        PacketError: The body is empty or has too many packets. The iterator raises it if a packet is invalid.
    """
    if not body:
        raise PacketError("an Engine.IO payload is empty; it must contain at least one packet")
    if max_packets is not None and (count := body.count(_SEPARATOR_BYTE) + 1) > max_packets:
        raise PacketError(
            f"an Engine.IO payload has {count} packets; at most {max_packets} (max_payload_packets) are accepted"
        )
    return _decode_packets(body)


def _decode_packets(body: bytes) -> Iterator[Packet]:
    view = memoryview(body)  # a slice of it is not a copy
    start, end = -1, -1
    while end < len(body):
        start, end = end + 1, body.find(_SEPARATOR_BYTE, end + 1)
        if end == -1:
            end = len(body)
        yield _decode_text(view[start:end], start)


def _decode_text(frame: memoryview, start: int) -> Packet:
    """Return a packet of an HTTP body, which begins at byte `start` of the body."""
    kind = chr(frame[0]) if frame else ""
    try:
        return Packet(kind, str(frame[1:], "utf-8")) if kind in TYPES else decode_frame(str(frame, "utf-8"))
    except UnicodeDecodeError as error:
        place = start + len(frame) - len(error.object) + error.start
        raise PacketError(f"an Engine.IO payload is not valid UTF-8: {error.reason} at byte {place}") from None


# ---------------------------------------------------------------------------------------------------------------------
# The handshake


def encode_handshake(handshake: Handshake) -> str:
    """Return the data of an OPEN packet."""
    fields = {
        "sid": handshake.sid,
        "upgrades": handshake.upgrades,
        "pingInterval": round(handshake.ping_interval * 1000) or 1,
        "pingTimeout": round(handshake.ping_timeout * 1000) or 1,
        "maxPayload": handshake.max_payload,
    }
    return orjson.dumps(fields).decode()


def decode_handshake(text: str) -> Handshake:
    """Decode the data of an OPEN packet. Raise PacketError if it is invalid."""
    if len(text) > _MAX_HANDSHAKE:
        raise PacketError(f"the Engine.IO handshake has {len(text)} characters; at most {_MAX_HANDSHAKE} are accepted")
    try:
        fields = orjson.loads(text)
    except ValueError as error:
        raise PacketError(f"the Engine.IO handshake is not valid JSON: {error}") from None
    if not _is_object(fields):
        raise PacketError(f"the Engine.IO handshake must be a JSON object, not {kind_of(fields)}")
    return Handshake(
        sid=_sid(fields),
        upgrades=_upgrades(fields),
        ping_interval=_seconds(fields, "pingInterval"),
        ping_timeout=_seconds(fields, "pingTimeout"),
        max_payload=_max_payload(fields),
    )


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _are_strings(value: Any) -> TypeGuard[list[str]]:
    items: list[Any] = value if isinstance(value, list) else [None]
    return all(isinstance(item, str) for item in items)


def _sid(fields: dict[str, Any]) -> str:
    sid = fields.get("sid")
    if not isinstance(sid, str) or not sid:
        raise _wrong_field(fields, "sid", "a non-empty string")
    return sid


def _upgrades(fields: dict[str, Any]) -> tuple[str, ...]:
    upgrades = fields.get("upgrades")
    if not _are_strings(upgrades):
        raise _wrong_field(fields, "upgrades", "an array of strings")
    return tuple(upgrades)


def _seconds(fields: dict[str, Any], name: str) -> float:
    milliseconds = fields.get(name)
    # bool is a subclass of int.
    if not isinstance(milliseconds, int | float) or isinstance(milliseconds, bool) or milliseconds <= 0:
        raise _wrong_field(fields, name, "a positive number of milliseconds")
    return milliseconds / 1000


def _max_payload(fields: dict[str, Any]) -> int | None:
    size = fields.get("maxPayload")
    if size is None:
        return None
    if type(size) is not int or size <= 0:
        raise _wrong_field(fields, "maxPayload", "a positive whole number of bytes, or absent")
    return size


def _wrong_field(fields: dict[str, Any], name: str, wanted: str) -> PacketError:
    found = field_value(fields[name]) if name in fields else "absent"
    return PacketError(f"{name} in the Engine.IO handshake must be {wanted}; it is {found}")
