"""Socket.IO packets in MessagePack, compatible with the package `socket.io-msgpack-parser` for Node.

This module requires the library `msgpack`: `pip install 'sansio-socketio[msgpack]'`. Both sides must use MessagePack: pass
`parser=MessagePackParser()` to the client, and the corresponding option to the server.

Rules of this file:

- A packet is one binary message, a map of `type`, `nsp`, `data` and `id`, with bytes in their place. Over polling, which
  carries text, it is sent as base64.
- Values are converted as in the default format (`socketio.lift`), except for what MessagePack can express and JSON cannot:
  NaN and the infinities are kept, and a datetime with a time zone becomes a JavaScript Date, in milliseconds. Integers of
  more than 64 bits and unpaired surrogates cannot be sent.
- The extensions of Node's MessagePack library (`notepack.io`) are decoded: `undefined` is None, or absent; a Date is a
  datetime in UTC; an ArrayBuffer is bytes. As in that library, an unknown extension is a list of its number and its bytes.
- Decoding is total: any input gives a packet or a `PacketError`. A message is checked for completeness before it is
  decoded, because the header of an array causes memory to be allocated for all its items.
- As with JSON, a fast decoder is tried first. What it refuses is decoded again by a slower, exact one.

See https://github.com/socketio/socket.io-msgpack-parser and https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from reprlib import repr as short  # a peer chooses how deep and how long a value is
from typing import Any, Final

from ..errors import PacketError
from .socketio import CONNECT, CONNECT_ERROR, PAYLOADS, Packet, check_namespace, lift, property_name, scalar
from .socketio import without_payload as payload_of_none

try:
    import msgpack
except ImportError as error:
    raise ImportError(
        "the MessagePack parser needs the library msgpack: pip install 'sansio-socketio[msgpack]'"
    ) from error

_pack: Final[Any] = msgpack.packb  # the library has no type annotations

_PLAIN: Final = frozenset((str, int, float, bool, type(None), bytes, bytearray))
"""The types that `msgpack` encodes as required."""
_STRING: Final = frozenset((str,))

_NOTEPACK: Final = 0
"""The number of the extensions of `notepack.io`."""
_UNDEFINED_SIZE: Final = 1
_DATE_SIZE: Final = 8
_EXT_8: Final = 0xC7
_FIXED: Final = frozenset((0xD4, 0xD7))
"""The first bytes of extensions of these two sizes."""
_MAPS: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_ARRAYS: Final = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))

_TIMESTAMP: Final = 3
"""Makes `msgpack` decode MessagePack's timestamps as datetimes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class MessagePackParser:
    """Encodes packets in MessagePack instead of JSON, for the option `parser`. All instances are equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def encoder(self) -> MessagePackEncoder:
        return MessagePackEncoder()

    def decoder(self, max_attachments: int) -> MessagePackDecoder:
        """Return a decoder. `max_attachments` is ignored: packets in MessagePack have no attachments."""
        return MessagePackDecoder()


# ---------------------------------------------------------------------------------------------------------------------
# Encoding


class MessagePackEncoder:
    """Encodes packets. It keeps no state."""

    __slots__ = ()

    def encode(self, packet: Packet) -> list[str | bytes]:
        """Return the one message of the packet. Raise PacketError."""
        check_namespace(packet.namespace)
        fields: dict[str, Any] = {"type": packet.type, "nsp": packet.namespace}
        if packet.id is not None:
            fields["id"] = packet.id
        try:
            data = packet.data
            if data is not None:
                fields["data"] = data if _are_plain((data,)) else lift(_leaf, data)
            return [_pack(fields)]
        except PacketError:
            raise
        except OverflowError:
            raise PacketError("an integer of more than 64 bits cannot be sent; send it as text or as a float") from None
        except UnicodeEncodeError as error:
            raise PacketError(f"a text with an unpaired surrogate cannot be sent: {error}") from None
        except (RecursionError, ValueError) as error:
            raise _unsendable(error) from error


def _unsendable(error: Exception) -> PacketError:
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return PacketError("a value that contains itself, or is nested too deeply, cannot be sent")
    return PacketError(f"a value cannot be sent: {error}")  # a memoryview that was released, gigabytes of text


def _are_plain(values: Iterable[Any]) -> bool:
    """Whether `msgpack` encodes all values as required, so that no conversion is needed."""
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if kind is dict:
            if not _STRING.issuperset(map(type, value)) or not _are_plain(value.values()):
                return False
        elif kind not in (list, tuple) or not (_PLAIN.issuperset(map(type, value)) or _are_plain(value)):
            return False
    return True


def _leaf(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, datetime):
        return _date(value)
    return scalar(value)


def _date(value: datetime) -> Any:
    if value.tzinfo is None:
        raise PacketError("a datetime without a time zone cannot be sent; set one, or send its isoformat()")
    return msgpack.ExtType(_NOTEPACK, struct.pack(">q", (value - _EPOCH) // _MILLISECOND))


# ---------------------------------------------------------------------------------------------------------------------
# Decoding


class MessagePackDecoder:
    """Decodes packets. It keeps no state."""

    __slots__ = ()

    def reset(self) -> None:
        """Do nothing: each message is a whole packet."""

    def feed(self, data: str | bytes) -> Packet:
        """Return the packet of a message. Raise PacketError."""
        if isinstance(data, str):
            raise PacketError(
                f"a text message arrived ({short(data)}), but packets in MessagePack are binary; does the server use the "
                "MessagePack parser?"
            )
        return _read_packet(_loads(data), len(data))


def _read_packet(fields: Any, size: int) -> Packet:
    if type(fields) is not dict:
        raise PacketError(f"a packet must be a map, not {short(fields)}")
    kind, namespace, number, data = map(fields.get, ("type", "nsp", "id", "data"))
    # In Python a bool is an int.
    if type(kind) is not int or not CONNECT <= kind <= CONNECT_ERROR:
        raise PacketError(f"the type of a packet must be an integer from 0 to 4, not {short(kind)}")
    if type(namespace) is not str:
        raise PacketError(f"the namespace (nsp) of a packet must be a string, not {short(namespace)}")
    if number is not None and (type(number) is not int or number < 0):
        raise PacketError(f"the id of a packet must be an integer of at least 0, not {short(number)}")
    if data is None:
        return Packet(kind, namespace, payload_of_none(kind), number, size)
    is_valid, wanted = PAYLOADS[kind]
    if not is_valid(data):
        raise PacketError(f"the payload of {wanted}; it is {short(data)}")
    return Packet(kind, namespace, data, number, size)


def _loads(message: bytes) -> Any:
    _check_complete(message)
    try:
        return msgpack.unpackb(
            message, object_hook=_with_names, ext_hook=partial(_extension, message), timestamp=_TIMESTAMP
        )
    except (ValueError, OverflowError, RecursionError):
        return _loads_exactly(message)


def _check_complete(message: bytes) -> None:
    """Raise PacketError unless the message is complete, and nothing follows."""
    unpacker = _unpacker(message)
    try:
        unpacker.skip()
    except msgpack.OutOfData:
        raise PacketError(f"a packet in MessagePack ends too early, after {len(message)} bytes") from None
    except (msgpack.StackError, RecursionError):  # the latter where `msgpack` is the one in Python
        raise _too_deep() from None
    except ValueError:
        raise PacketError(f"a packet is not valid MessagePack, at byte {unpacker.tell()}") from None
    if unpacker.tell() != len(message):
        raise PacketError(f"{len(message) - unpacker.tell()} bytes follow a packet in MessagePack")


def _with_names(fields: dict[Any, Any]) -> dict[Any, Any]:
    for key in fields:
        if type(key) is not str:
            raise ValueError
    return fields


def _extension(message: bytes, code: int, data: bytes) -> Any:
    """Decode an extension. Raise ValueError if it may be one of two, which `msgpack` does not distinguish."""
    if code != _NOTEPACK:
        return [code, data]
    size = len(data)
    if size not in (_UNDEFINED_SIZE, _DATE_SIZE):
        return data
    if bytes((_EXT_8, size, _NOTEPACK)) in message:  # the header of an ArrayBuffer, or equal bytes
        raise ValueError
    return _of_fixed_size(data)


def _of_fixed_size(data: bytes) -> Any:
    """Decode `undefined` or a Date."""
    if len(data) == _UNDEFINED_SIZE:
        return None
    (milliseconds,) = struct.unpack(">q", data)
    try:
        return _EPOCH + milliseconds * _MILLISECOND
    except OverflowError:  # JavaScript's years go up to 275760
        return [_NOTEPACK, data]


def _loads_exactly(message: bytes) -> Any:
    try:
        return _read(_unpacker(message), message)
    except PacketError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, OverflowError) as error:
        raise PacketError(f"a packet in MessagePack has an invalid value: {error}") from None


def _read(unpacker: Any, message: bytes) -> Any:
    """Decode the next value by its first byte."""
    head = message[unpacker.tell()]
    if head in _MAPS:
        size = unpacker.read_map_header()
        return {property_name(_read(unpacker, message)): _read(unpacker, message) for _ in range(size)}
    if head in _ARRAYS:
        return [_read(unpacker, message) for _ in range(unpacker.read_array_header())]
    value = unpacker.unpack()
    if not isinstance(value, msgpack.ExtType):
        return value
    if value.code != _NOTEPACK:
        return list(value)
    return _of_fixed_size(value.data) if head in _FIXED else value.data


def _unpacker(message: bytes) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=len(message), timestamp=_TIMESTAMP)
    unpacker.feed(message)
    return unpacker


def _too_deep() -> PacketError:
    return PacketError("a packet in MessagePack is nested too deeply")
