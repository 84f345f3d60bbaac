"""Socket.IO protocol 5: packets with their binary attachments, and the interface of a parser of one's own.

Rules of this file:

- A packet is one text, followed by a binary message for each attachment. Bytes anywhere in an event's or an
  acknowledgement's values travel as attachments; a placeholder that bears their number stands in the text.
- JSON is orjson's, in one pass that lifts the bytes out as it goes. What orjson refuses but JavaScript knows (lone
  surrogates, integers past 64 bits, keys that are no strings, deeper nesting) the standard `json` does in a second pass,
  which starts again with no attachments. One function, `lift`, says for both what becomes of a Python value.
- Values mean what they would in JavaScript: NaN and the infinities become null, tuples become arrays, and the keys 1,
  True and None become "1", "true" and "null". What has no such meaning (a set, a key that is a float) is a PacketError.
  Beyond JavaScript, a dataclass is the object of its fields, a pydantic model what its `model_dump` gives, an Enum is its
  value, dates, times and UUIDs are strings.
- What is encoded is a snapshot: bytes are taken as they are, bytearrays and memoryviews are copied.
- Decoding is total: whatever a peer sends gives a packet, None (attachments are still to come) or a `PacketError`, after
  which the decoder is as good as new.

See https://socket.io/docs/v4/socket-io-protocol/, "Packet encoding".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import partial
from math import isfinite
from reprlib import repr as short  # a peer chooses how deep and how long a value is
from typing import Any, NoReturn, Protocol

import orjson

from ..errors import PacketError

PROTOCOL = 5
"""The version of the protocol."""

CONNECT = 0
DISCONNECT = 1
EVENT = 2
ACK = 3
CONNECT_ERROR = 4
BINARY_EVENT = 5
BINARY_ACK = 6

RESERVED_EVENTS = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""The names of events that mean something to an implementation, so that no packet may bear them."""

_TYPES = {str(number): number for number in range(7)}
_BINARY_TYPES = {EVENT: BINARY_EVENT, ACK: BINARY_ACK}
_PLAIN_TYPES = {BINARY_EVENT: EVENT, BINARY_ACK: ACK}
_DIGITS = "0123456789"
_MOST_DIGITS = 20  # those of 64 bits; more are an attack on whoever makes a number of them


@dataclass(slots=True)
class Packet:
    """One packet, its attachments in place.

    A decoded BINARY_EVENT or BINARY_ACK is an EVENT or an ACK; an encoder makes them of packets that hold bytes.

    Attributes:
        type: CONNECT, DISCONNECT, EVENT, ACK or CONNECT_ERROR.
        namespace: The namespace that it belongs to.
        data: EVENT: a list of the name (a string or a number) and the values; ACK: a list of the values; CONNECT: a dict
            or None; CONNECT_ERROR: a dict or a string; DISCONNECT: None.
        id: What an EVENT is acknowledged by, and what an ACK acknowledges.
        size: About how many bytes a decoded packet took on the wire. Takes no part in equality.
    """

    type: int
    namespace: str = "/"
    data: Any = None
    id: int | None = None
    size: int = field(default=0, compare=False)


class Encoder(Protocol):
    """Makes messages of packets."""

    def encode(self, packet: Packet) -> list[str | bytes]:
        """The messages that the packet travels in, in order. Raises PacketError, and then nothing is left behind."""
        ...


class Decoder(Protocol):
    """Makes packets of messages."""

    def feed(self, data: str | bytes) -> Packet | None:
        """Take the next message; the packet that it completes, if it does. Raises PacketError."""
        ...

    def reset(self) -> None:
        """Forget a packet that is not complete: the connection is a new one."""
        ...


class Parser(Protocol):
    """How packets are written: what the `parser` option takes."""

    def encoder(self) -> Encoder: ...

    def decoder(self, max_attachments: int) -> Decoder:
        """A decoder that refuses packets of more than `max_attachments` binary attachments."""
        ...


class JSONParser:
    """The protocol's own format."""

    __slots__ = ()

    def encoder(self) -> JSONEncoder:
        return JSONEncoder()

    def decoder(self, max_attachments: int) -> JSONDecoder:
        return JSONDecoder(max_attachments)


def check_namespace(name: str) -> None:
    """Raise a PacketError unless a packet can bear this namespace: it starts with `/`, and no comma is in it."""
    if not name.startswith("/") or "," in name:
        raise PacketError(f"a namespace must start with a slash and have no comma in it; {name!r} is none")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise PacketError(f"the namespace {name!r} has half of a surrogate pair in it") from None


# ---------------------------------------------------------------------------------------------------------------------
# Encoding


class JSONEncoder:
    """Writes packets. It keeps nothing from one to the next."""

    __slots__ = ()

    def encode(self, packet: Packet) -> list[str | bytes]:
        """The text of the packet, and its attachments. Raises PacketError."""
        kind = packet.type
        namespace = ""
        if packet.namespace != "/":
            check_namespace(packet.namespace)
            namespace = packet.namespace + ","
        number = "" if packet.id is None else packet.id
        if packet.data is None:
            return [f"{kind}{namespace}{number}"]
        text, attachments = _dumps(packet.data)
        if not attachments:
            return [f"{kind}{namespace}{number}{text}"]
        if kind not in _BINARY_TYPES:
            raise PacketError("only events and acknowledgements can have binary values; encode them as text for auth")
        return [f"{_BINARY_TYPES[kind]}{len(attachments)}-{namespace}{number}{text}", *attachments]


def _dumps(value: Any) -> tuple[str, list[bytes]]:
    """The JSON of a value, and the bytes that were lifted out of it."""
    attachments: list[bytes] = []
    try:
        text = orjson.dumps(value, partial(_lift, attachments), orjson.OPT_PASSTHROUGH_DATACLASS)
    except orjson.JSONEncodeError:
        return _dumps_slowly(value)
    return text.decode(), attachments


def _dumps_slowly(value: Any) -> tuple[str, list[bytes]]:
    attachments: list[bytes] = []
    try:
        plain = _lift(attachments, value)
        return json.dumps(plain, separators=(",", ":"), check_circular=False), attachments
    except RecursionError:
        raise PacketError("a value that contains itself, or is nested too deeply, cannot be sent") from None
    except PacketError:
        raise
    except ValueError as error:  # an integer of thousands of digits, a memoryview that was released
        raise PacketError(f"a value cannot be sent: {error}") from error


def _lift(attachments: list[bytes], value: Any) -> Any:
    """What stands in JSON for a value. Bytes in it are appended to `attachments`, in the order of their placeholders."""
    if isinstance(value, bytes | bytearray | memoryview):
        attachments.append(value if isinstance(value, bytes) else bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    return lift(partial(_leaf, attachments), value)


def _leaf(attachments: list[bytes], value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return _lift(attachments, value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    return scalar(value)


def lift(leaf: Callable[[Any], Any], value: Any) -> Any:
    """What is written for a Python value, in plain dicts and lists. `leaf` says it of bytes, floats and unknown types."""
    if isinstance(value, bytes | bytearray | memoryview):
        return leaf(value)
    if isinstance(value, Enum):
        return lift(leaf, value.value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return [lift(leaf, item) for item in value]
    if isinstance(value, Mapping):
        return {property_name(key): lift(leaf, item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: lift(leaf, getattr(value, each.name)) for each in fields(value)}
    if callable(getattr(type(value), "model_dump", None)):
        return lift(leaf, _dump_model(value))
    return leaf(value)


def _dump_model(model: Any) -> Any:
    """What a model of pydantic's consists of, by the names that its fields have outside of Python."""
    try:
        return model.model_dump(by_alias=True)
    except Exception as error:
        raise PacketError(
            f"a {type(model).__qualname__} cannot be sent: its model_dump() raised {type(error).__name__}"
        ) from error


def scalar(value: Any) -> Any:
    """The text of a date, a time, a UUID: whatever orjson makes of them counts. PacketError for what it does not know."""
    try:
        return orjson.loads(orjson.dumps(value))
    except orjson.JSONEncodeError:
        raise PacketError(
            f"a value of type {type(value).__qualname__} cannot be sent; send what JSON knows, dataclasses, "
            "pydantic models, or bytes, bytearray and memoryview"
        ) from None


def property_name(key: Any) -> str:
    """A property's name, as JavaScript would have it."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, int):
        return int.__repr__(key)
    raise PacketError(f"a dict's key must be a string, not {short(key)}")


# ---------------------------------------------------------------------------------------------------------------------
# Decoding


class JSONDecoder:
    """Reads packets. It keeps the packet whose attachments are still to come."""

    __slots__ = ("_attachments", "_expected", "_max_attachments", "_pending")

    def __init__(self, max_attachments: int) -> None:
        self._max_attachments = max_attachments
        self.reset()

    def reset(self) -> None:
        """Forget the packet that is not complete."""
        self._pending: Packet | None = None
        self._attachments: list[bytes] = []
        self._expected = 0

    def feed(self, data: str | bytes) -> Packet | None:
        """Take the next message; the packet that it completes, if it does. Raises PacketError."""
        if not isinstance(data, str):
            return self._take_attachment(data)
        if self._pending is not None:
            self._refuse_text()
        kind = _TYPES.get(data[:1])
        if kind is None:
            raise PacketError(f"a Socket.IO packet must start with a type from 0 to 6, not with {data[:1]!r}")
        if kind in _PLAIN_TYPES:
            expected, start = _read_count(data, self._max_attachments)
            self._pending = _read_packet(_PLAIN_TYPES[kind], data, start)
            self._expected = expected
            return None
        return _read_packet(kind, data, 1)

    def _refuse_text(self) -> NoReturn:
        have, expected = len(self._attachments), self._expected
        self.reset()
        raise PacketError(f"text came after {have} of the {expected} binary attachments of a Socket.IO packet")

    def _take_attachment(self, data: bytes) -> Packet | None:
        packet, attachments = self._pending, self._attachments
        if packet is None:
            raise PacketError(f"a binary message of {len(data)} bytes came, and no Socket.IO packet waits for one")
        attachments.append(data)
        packet.size += len(data)
        if len(attachments) < self._expected:
            return None
        self.reset()
        _put_back(packet.data, attachments)
        return packet


def _read_packet(kind: int, text: str, start: int) -> Packet:
    """The packet of which `text` holds namespace, id and payload from `start` on."""
    namespace = "/"
    number = None
    if text[start : start + 1] == "/":
        namespace, start = _read_namespace(text, start)
    if text[start : start + 1] != "[":
        number, start = _read_id(text, start)
    if start == len(text):
        return Packet(kind, namespace, without_payload(kind), number, len(text))
    data = _loads(text[start:])
    is_valid, wanted = PAYLOADS[kind]
    if not is_valid(data):
        raise PacketError(f"the payload of {wanted}; it is {text[start : start + 80]}")
    return Packet(kind, namespace, data, number, len(text))


def _read_count(text: str, most: int) -> tuple[int, int]:
    """How many attachments are announced, and where the text goes on."""
    dash = text.find("-", 1, _MOST_DIGITS + 2)
    digits = text[1:dash]
    if dash < 2 or digits.strip(_DIGITS):
        raise PacketError(f"a number of attachments and a dash must follow the type in the packet {text[:80]!r}")
    count = int(digits)
    if not 1 <= count <= most:
        raise PacketError(f"a packet has {count} attachments; from 1 to {most} (max_attachments) are accepted")
    return count, dash + 1


def _read_namespace(text: str, start: int) -> tuple[str, int]:
    comma = text.find(",", start)
    return (text[start:], len(text)) if comma == -1 else (text[start:comma], comma + 1)


def _read_id(text: str, start: int) -> tuple[int | None, int]:
    ahead = text[start : start + _MOST_DIGITS + 1]
    count = len(ahead) - len(ahead.lstrip(_DIGITS))
    if count > _MOST_DIGITS:
        raise PacketError(f"an id has more than {_MOST_DIGITS} digits, in the packet {text[:80]!r}")
    end = start + count
    return (int(text[start:end]) if count else None), end


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _loads_slowly(text)


def _loads_slowly(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise PacketError(f"the payload of a packet is not valid JSON: {error}") from None
    except RecursionError:
        raise PacketError("the payload of a packet is nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# ---------------------------------------------------------------------------------------------------------------------
# What each type has for a payload


def without_payload(kind: int) -> Any:
    """What a packet says that ends before its payload. An empty acknowledgement may, to the reference as well."""
    if kind in (CONNECT, DISCONNECT):
        return None
    if kind == ACK:
        return []
    raise PacketError(f"the payload of {PAYLOADS[kind][1]}; it is absent")


def _is_event(data: Any) -> bool:
    if type(data) is not list or not data:
        return False
    name: Any = data[0]
    # A boolean is an int to Python alone.
    return name not in RESERVED_EVENTS if type(name) is str else type(name) in (int, float)


PAYLOADS: dict[int, tuple[Callable[[Any], bool], str]] = {
    CONNECT: (lambda data: type(data) is dict, "CONNECT must be an object"),
    DISCONNECT: (lambda _: False, "DISCONNECT must be absent"),
    EVENT: (_is_event, "EVENT must be an array that begins with a name (a number, or a string that is not reserved)"),
    ACK: (lambda data: type(data) is list, "ACK must be an array"),
    CONNECT_ERROR: (lambda data: type(data) in (dict, str), "CONNECT_ERROR must be an object or a string"),
}
"""By type: what its payload may be, and the words for that."""


# ---------------------------------------------------------------------------------------------------------------------
# Attachments


def _put_back(data: list[Any], attachments: list[bytes]) -> None:
    """Replace the placeholders in `data`, however deep, by the attachments that they stand for.

    As in the reference, an attachment without a placeholder is dropped, and one with several is in several places.
    """
    waiting: list[Any] = [data]  # not recursive: a peer chooses the depth
    while waiting:
        container = waiting.pop()
        for key, value in container.items() if type(container) is dict else enumerate(container):
            if type(value) is list:
                waiting.append(value)
            elif type(value) is dict:
                if value.get("_placeholder") is True:
                    container[key] = _attachment(value.get("num"), attachments)
                else:
                    waiting.append(value)


def _attachment(number: Any, attachments: list[bytes]) -> bytes:
    if type(number) is not int or not 0 <= number < len(attachments):
        raise PacketError(f"a placeholder has the number {short(number)}, but there are {len(attachments)} attachments")
    return attachments[number]
