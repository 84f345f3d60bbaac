"""Socket.IO packets in MessagePack, compatible with the package `socket.io-msgpack-parser` for Node.

This module requires the extra `msgpack`: `pip install 'sansio-socketio[msgpack]'`. Client and server must use the same
format: pass `parser=MessagePackParser()` to the client, and the corresponding option to the server.

Rules of this file:

- A packet is one binary message: a map with the keys `type`, `nsp`, `data` and `id`. Bytes are part of the data. Over
  polling, which carries text, the message is sent as base64.
- Values are converted as described in `values`, with these exceptions: a datetime with a time zone becomes a JavaScript
  Date, in milliseconds; as the key of a dict it becomes a string. A datetime without one, integers of more than 64 bits and
  unpaired surrogates cannot be sent.
- The extensions of Node's MessagePack library (`notepack.io`) are decoded: `undefined` becomes None, or is left out; a
  Date becomes a datetime in UTC; an ArrayBuffer becomes bytes. As in that library, an unknown extension becomes a list of
  its number and its bytes.
- Decoding is total: any input gives a packet or raises `PacketError`. A message is checked for completeness before it is
  decoded, because the decoder allocates memory for all items of an array when it reads the header of the array.
- As with JSON, a fast encoder and a fast decoder are tried first. If they fail, slower and exact ones, which do not recurse,
  encode or decode the message, or find the reason.

See https://github.com/socketio/socket.io-msgpack-parser and https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from ..errors import PacketError
from .bounds import VALUE_SIZE, BoundedDecoder
from .descriptions import field_value, kind_of
from .socketio import CONNECT, CONNECT_ERROR, FIRST_NUMBERS, PAYLOADS, Packet, check_namespace, describe_payload
from .socketio import without_payload as payload_of_none
from .values import BINARY, MAX_LEVELS, convert, flatten, property_name, scalar

try:
    import msgpack
except ImportError as error:
    raise ImportError(
        "the MessagePack parser needs the library msgpack: pip install 'sansio-socketio[msgpack]'"
    ) from error

_pack: Final[Any] = msgpack.packb  # the library has no type annotations

_PLAIN: Final = frozenset((str, int, float, bool, type(None), bytes, bytearray))
"""The types that `msgpack` encodes correctly without conversion."""
_STRING: Final = frozenset((str,))
_FAST_LEVELS: Final = 100
"""The levels that are encoded recursively: `msgpack` needs about 500 bytes of the C stack for each of its 511."""
_BUFFER_SIZE: Final = 1024
_LEAST_INT: Final = -(2**63)
_GREATEST_INT: Final = 2**64 - 1

_NOTEPACK: Final = 0
"""The number of the extensions of `notepack.io`."""
_UNDEFINED_SIZE: Final = 1
_DATE_SIZE: Final = 8
_EXT_8: Final = 0xC7
_FIXED: Final = frozenset((0xD4, 0xD7))
"""The first bytes of extensions of these two sizes."""
_MAPS: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_ARRAYS: Final = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))

_EXTENSIONS: Final = frozenset((*range(0xC7, 0xCA), *range(0xD4, 0xD9)))

_TIMESTAMP: Final = 3
"""The mode of `msgpack` that decodes timestamps as datetimes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class MessagePackParser:
    """A value for the option `parser` that encodes packets in MessagePack instead of JSON. All instances are equal."""

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
    """Encoder of packets in MessagePack. It is stateless."""

    __slots__ = ()

    def encode(self, packet: Packet) -> list[str | bytes]:
        """Return the single message of the packet. Raise PacketError if a value cannot be encoded."""
        check_namespace(packet.namespace)
        fields: dict[str, Any] = {"type": packet.type, "nsp": packet.namespace}
        if packet.id is not None:
            fields["id"] = packet.id
        if packet.data is None:
            return [_pack(fields)]
        fields["data"] = packet.data
        if _are_plain((packet.data,), _FAST_LEVELS):
            try:
                return [_pack(fields)]
            except (ValueError, OverflowError):
                pass  # `convert` finds the value
        fields["data"] = convert(_leaf, packet.data, FIRST_NUMBERS.get(packet.type))
        return [b"".join(flatten(partial(_pieces, msgpack.Packer(buf_size=_BUFFER_SIZE)), fields))]


def _are_plain(values: Iterable[Any], levels: int) -> bool:
    """Return whether `msgpack` encodes all values correctly without conversion, and with few levels of recursion."""
    if not levels:
        return False
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if kind is dict:
            if not _STRING.issuperset(map(type, value)) or not _are_plain(value.values(), levels - 1):
                return False
        elif kind not in (list, tuple) or not (_PLAIN.issuperset(map(type, value)) or _are_plain(value, levels - 1)):
            return False
    return True


def _leaf(value: Any) -> Any:
    """Convert a value that is not a container, or the name of a property."""
    if isinstance(value, BINARY):
        return bytes(value)
    if isinstance(value, datetime):
        return _date(value)
    value = scalar(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise PacketError(f"a text with an unpaired surrogate cannot be sent: {error}") from None
    elif isinstance(value, int) and not _LEAST_INT <= value <= _GREATEST_INT:
        raise PacketError("an integer of more than 64 bits cannot be sent; send it as text or as a float")
    return value


def _pieces(packer: Any, container: Any) -> Iterator[Any]:
    """Yield the MessagePack of a plain container, with the containers in it as they are."""
    if type(container) is list:
        yield packer.pack_array_header(len(container))
        for item in container:
            yield item if type(item) in (list, dict) else packer.pack(item)
    else:
        yield packer.pack_map_header(len(container))
        for key, item in container.items():
            yield packer.pack(key)
            yield item if type(item) in (list, dict) else packer.pack(item)


def _date(value: datetime) -> Any:
    if value.tzinfo is None:
        raise PacketError("a datetime without a time zone cannot be sent; set one, or send its isoformat()")
    return msgpack.ExtType(_NOTEPACK, struct.pack(">q", (value - _EPOCH) // _MILLISECOND))


# ---------------------------------------------------------------------------------------------------------------------
# Decoding


class MessagePackDecoder(BoundedDecoder):
    """Decoder of packets in MessagePack. It is stateless."""

    __slots__ = ()

    def reset(self) -> None:
        """Do nothing: each message is a whole packet."""

    def feed(self, data: str | bytes) -> Packet:
        """Return the packet of a message. Raise PacketError if it is invalid."""
        if isinstance(data, str):
            raise PacketError(
                f"a text message of {len(data)} characters arrived, but packets in MessagePack are binary; does the server use "
                "the MessagePack parser?"
            )
        if len(data) > self.small_size:
            self._check_cost(data)
        return _read_packet(_loads(data), len(data))

    def _check_cost(self, message: bytes) -> None:
        """Raise PacketError if decoding a large message would exceed `max_memory`."""
        # The message exists as received, as base64 and as two copies; a text in it may take four bytes for a character.
        most = (self.max_memory - 7.5 * len(message)) // VALUE_SIZE
        if _has_more_values(message, most):
            raise self.too_costly(len(message))


def _read_packet(fields: Any, size: int) -> Packet:
    if type(fields) is not dict:
        raise PacketError(f"a packet must be a map, not {kind_of(fields)}")
    kind, namespace, number, data = map(fields.get, ("type", "nsp", "id", "data"))
    # bool is a subclass of int.
    if type(kind) is not int or not CONNECT <= kind <= CONNECT_ERROR:
        raise PacketError(f"the type of a packet must be an integer from 0 to 4, not {field_value(kind)}")
    if type(namespace) is not str:
        raise PacketError(f"the namespace (nsp) of a packet must be a string, not {kind_of(namespace)}")
    if number is not None and (type(number) is not int or number < 0):
        raise PacketError(f"the id of a packet must be an integer of at least 0, not {field_value(number)}")
    if data is None:
        return Packet(kind, namespace, payload_of_none(kind), number, size)
    is_valid, wanted = PAYLOADS[kind]
    if not is_valid(data):
        raise PacketError(f"the payload of {wanted}; it is {describe_payload(data)}")
    return Packet(kind, namespace, data, number, size)


def _loads(message: bytes) -> Any:
    # Maybe the headers of ArrayBuffers. Search once: a message can have any number of extensions.
    ambiguous = {size for size in (_UNDEFINED_SIZE, _DATE_SIZE) if bytes((_EXT_8, size, _NOTEPACK)) in message}
    try:
        _check_complete(message)
        return msgpack.unpackb(
            message, object_hook=_with_names, ext_hook=partial(_extension, ambiguous), timestamp=_TIMESTAMP
        )
    except PacketError:
        raise
    except (ValueError, OverflowError, RecursionError):
        return _loads_exactly(message)


def _check_complete(message: bytes) -> None:
    """Raise PacketError unless the message is exactly one complete value. Raise StackError if it is nested deeply."""
    unpacker = _unpacker(message)
    try:
        unpacker.skip()
    except msgpack.OutOfData:
        raise _incomplete(message) from None
    except msgpack.StackError:
        raise
    except ValueError:
        raise PacketError(f"a packet is not valid MessagePack, at byte {unpacker.tell()}") from None
    _check_end(unpacker, message)


def _incomplete(message: bytes) -> PacketError:
    return PacketError(f"a packet in MessagePack ends too early, after {len(message)} bytes")


def _check_end(unpacker: Any, message: bytes) -> None:
    if unpacker.tell() != len(message):
        raise PacketError(f"{len(message) - unpacker.tell()} bytes follow a packet in MessagePack")


def _has_more_values(message: bytes, most: float) -> bool:
    """Return whether a message has more than `most` values and keys. Stop at the first invalid byte."""
    unpacker = _unpacker(message)
    found = following = 1
    while following and found <= most and unpacker.tell() < len(message):
        following -= 1
        head = message[unpacker.tell()]
        try:
            if head in _MAPS:
                more = 2 * unpacker.read_map_header()
            elif head in _ARRAYS:
                more = unpacker.read_array_header()
            else:
                unpacker.skip()
                found += head in _EXTENSIONS  # one may become a list
                continue
        except (msgpack.OutOfData, ValueError):
            break
        found += more
        following += more
    return found > most


def _with_names(fields: dict[Any, Any]) -> dict[Any, Any]:
    for key in fields:
        if type(key) is not str:
            raise ValueError
    return fields


def _extension(ambiguous: Collection[int], code: int, data: bytes) -> Any:
    """Decode an extension. Raise ValueError if its size is ambiguous: `msgpack` reports two kinds in the same way."""
    if code != _NOTEPACK:
        return [code, data]
    size = len(data)
    if size not in (_UNDEFINED_SIZE, _DATE_SIZE):
        return data
    if size in ambiguous:
        raise ValueError
    return _of_fixed_size(data)


def _of_fixed_size(data: bytes) -> Any:
    """Decode `undefined` or a Date."""
    if len(data) == _UNDEFINED_SIZE:
        return None
    (milliseconds,) = struct.unpack(">q", data)
    try:
        return _EPOCH + milliseconds * _MILLISECOND
    except OverflowError:  # JavaScript supports years up to 275760
        return [_NOTEPACK, data]


def _loads_exactly(message: bytes) -> Any:
    unpacker = _unpacker(message)
    try:
        value = _read(unpacker, message)
    except PacketError:
        raise
    except msgpack.OutOfData:
        raise _incomplete(message) from None
    except (ValueError, OverflowError) as error:
        raise PacketError(f"a packet in MessagePack has an invalid value: {error}") from None
    _check_end(unpacker, message)
    return value


def _read(unpacker: Any, message: bytes) -> Any:
    """Decode a value. The first byte of each value determines its type."""
    root: list[Any] = []
    stack: list[tuple[Any, Iterator[int]]] = [(root, iter(range(1)))]
    while stack:
        container, items = stack[-1]
        kind = type(container)
        for _ in items:
            name = property_name(_read_head(unpacker, message)[0]) if kind is dict else None
            value, size = _read_head(unpacker, message)
            if name is None:
                container.append(value)
            else:
                container[name] = value
            if size is not None:
                if len(stack) > MAX_LEVELS + 1:  # the map of the packet is one more
                    raise PacketError(
                        f"a packet in MessagePack is nested too deeply (more than {MAX_LEVELS - 1} levels)"
                    )
                stack.append((value, iter(range(size))))
                break
        else:
            stack.pop()
    return root[0]


def _read_head(unpacker: Any, message: bytes) -> tuple[Any, int | None]:
    """Decode the next value and return it with None, or an empty array or map with the number of its items."""
    at = unpacker.tell()
    if at == len(message):
        raise msgpack.OutOfData
    head = message[at]
    if head in _MAPS:
        return {}, unpacker.read_map_header()
    if head in _ARRAYS:
        return [], unpacker.read_array_header()
    value = unpacker.unpack()
    if not isinstance(value, msgpack.ExtType):
        return value, None
    if value.code != _NOTEPACK:
        return list(value), None
    return (_of_fixed_size(value.data) if head in _FIXED else value.data), None


def _unpacker(message: bytes) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=len(message), timestamp=_TIMESTAMP)
    unpacker.feed(message)
    return unpacker
