"""Socket.IO protocol 5: packets with binary attachments, and the interface of a custom parser.

Rules of this file:

- A packet is a text message, followed by a binary message for each attachment. All bytes in the values of an event or an
  acknowledgement, at any depth, are sent as attachments. The text has a placeholder with the attachment's number.
- orjson encodes the JSON, in one pass that also extracts the bytes. If orjson refuses a value (a key that is not a str, an
  unpaired surrogate, an integer of more than 64 bits, deep nesting, a set), `values.convert` makes plain values in a second
  pass, or raises PacketError. What orjson refuses even then, `_pieces` encodes.
- Values are converted as described in `values`. NaN and the infinities become null.
- Encoded packets do not change: bytearrays, memoryviews and arrays are copied.
- orjson decodes the JSON. What it refuses (unpaired surrogates, deep nesting), `_read` decodes.
- Decoding is total: any input gives a packet, gives None (attachments are missing) or raises `PacketError`. After an error
  the decoder is in its initial state.
- Decoded values take much more memory than their JSON: `[]` takes 80 bytes, for two. Therefore a decoder estimates the
  memory before it decodes a large message, and refuses more than `max_memory`.

See https://socket.io/docs/v4/socket-io-protocol/, "Packet encoding".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Any, NoReturn, Protocol

import orjson

from ..errors import PacketError
from ..url import is_encodable
from .bounds import VALUE_SIZE, BoundedDecoder, count_values
from .descriptions import field_value, kind_of
from .engineio import SEPARATOR
from .values import BINARY, MAX_LEVELS, contents_of, convert, flatten, property_name, scalar, unwrap

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
"""Event names that are reserved for the implementation. No EVENT packet may use them."""

_TYPES = {str(number): number for number in range(7)}
_BINARY_TYPES = {EVENT: BINARY_EVENT, ACK: BINARY_ACK}
FIRST_NUMBERS = {EVENT: 0, ACK: 1}
"""The number of the first item in the data of a packet, for messages (see `values.convert`)."""
_PLAIN_TYPES = {BINARY_EVENT: EVENT, BINARY_ACK: ACK}
_PLAIN_EVENT = f"{EVENT}["
"""How an event of the namespace `/` begins, if it has no attachments and requests no acknowledgement."""
_DIGITS = "0123456789"
_MOST_DIGITS = 20  # enough for 64 bits; an attacker could exploit the slow conversion of very long numbers


@dataclass(slots=True)
class Packet:
    """A Socket.IO packet, whose data contains its attachments.

    BINARY_EVENT and BINARY_ACK exist on the wire only. They are decoded as EVENT and ACK with bytes in their data.

    Attributes:
        type: CONNECT, DISCONNECT, EVENT, ACK or CONNECT_ERROR.
        namespace: The name of the namespace.
        data: EVENT: a list of the name (a string or a number) and the values; ACK: a list of the values; CONNECT: a dict
            or None; CONNECT_ERROR: a dict or a string; DISCONNECT: None.
        id: The id of the acknowledgement: of an EVENT that requests one, and of an ACK.
        size: The approximate size of a decoded packet on the wire, in bytes. Comparisons ignore it.
    """

    type: int
    namespace: str = "/"
    data: Any = None
    id: int | None = None
    size: int = field(default=0, compare=False)


class Encoder(Protocol):
    """The interface of an encoder: encodes packets as messages."""

    def encode(self, packet: Packet) -> list[str | bytes]:
        """Return the messages of a packet, in order. Raise PacketError, without a change of state, if that is impossible."""
        ...


class Decoder(Protocol):
    """The interface of a decoder: decodes messages to packets."""

    def feed(self, data: str | bytes) -> Packet | None:
        """Take the next message. Return the packet that it completes, or None. Raise PacketError if it is invalid."""
        ...

    def reset(self) -> None:
        """Discard an incomplete packet. Called when the connection has ended."""
        ...


class Parser(Protocol):
    """The interface of the option `parser`: an encoding of packets."""

    def encoder(self) -> Encoder: ...

    def decoder(self, max_attachments: int) -> Decoder:
        """Return a decoder that refuses packets with more than `max_attachments` binary attachments."""
        ...


class JSONParser:
    """The default parser: JSON with binary attachments (section "Packet encoding")."""

    __slots__ = ()

    def encoder(self) -> JSONEncoder:
        return JSONEncoder()

    def decoder(self, max_attachments: int) -> JSONDecoder:
        return JSONDecoder(max_attachments)


def check_namespace(name: str) -> None:
    """Raise PacketError unless `name` is a valid namespace: it starts with `/`, and can be part of any packet's text."""
    if not name.startswith("/") or "," in name:
        raise PacketError(f"invalid namespace {name!r}: it must start with a slash and contain no comma")
    if SEPARATOR in name:
        raise PacketError(f"invalid namespace {name!r}: it contains U+001E, which separates packets over polling")
    if not is_encodable(name):
        raise PacketError(f"invalid namespace {name!r}: it contains an unpaired surrogate")


# ---------------------------------------------------------------------------------------------------------------------
# Encoding


class JSONEncoder:
    """Encoder of the default format. It is stateless."""

    __slots__ = ()

    def encode(self, packet: Packet) -> list[str | bytes]:
        """Return the text of the packet and its attachments. Raise PacketError if a value cannot be encoded."""
        kind = packet.type
        namespace = ""
        if packet.namespace != "/":
            check_namespace(packet.namespace)
            namespace = packet.namespace + ","
        number = "" if packet.id is None else packet.id
        if packet.data is None:
            return [f"{kind}{namespace}{number}"]
        attachments: list[bytes] = []
        try:
            text = orjson.dumps(packet.data, partial(_open, attachments), orjson.OPT_PASSTHROUGH_DATACLASS).decode()
        except orjson.JSONEncodeError:
            text, attachments = _dumps_slowly(packet)
        if not attachments:
            return [f"{kind}{namespace}{number}{text}"]
        if kind not in _BINARY_TYPES:
            raise PacketError("auth cannot contain binary values; encode them as text")
        return [f"{_BINARY_TYPES[kind]}{len(attachments)}-{namespace}{number}{text}", *attachments]


def _dumps_slowly(packet: Packet) -> tuple[str, list[bytes]]:
    """Return the JSON of a packet's data, and the attachments that were extracted from it."""
    attachments: list[bytes] = []
    plain = convert(partial(_leaf, attachments), packet.data, FIRST_NUMBERS.get(packet.type))
    try:
        return orjson.dumps(plain).decode(), attachments
    except orjson.JSONEncodeError:
        return "".join(flatten(_pieces, plain)), attachments


def _open(attachments: list[bytes], value: Any) -> Any:
    """Convert a value that orjson does not support. The contents of a container are left to orjson."""
    if isinstance(value, BINARY):
        return _leaf(attachments, value)
    value = unwrap(value)
    contents = contents_of(value)
    if contents is None:
        return _leaf(attachments, value)
    kind, items = contents
    return [item for _, item in items] if kind is list else {property_name(key): item for key, item in items}


def _leaf(attachments: list[bytes], value: Any) -> Any:
    """Convert a value that is not a container. Bytes are appended to `attachments` and replaced by placeholders."""
    if isinstance(value, BINARY):
        attachments.append(value if type(value) is bytes else bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    value = scalar(value)
    if isinstance(value, int):
        int.__repr__(value)  # raises ValueError for thousands of digits
    return None if type(value) is float and not isfinite(value) else value


def _pieces(container: Any) -> Iterator[Any]:
    """Yield the JSON of a plain container, with the containers in it as they are."""
    opening, closing = "[]" if type(container) is list else "{}"
    yield opening
    separator = ""
    for key in container if type(container) is dict else range(len(container)):
        yield separator if type(container) is list else f"{separator}{json.dumps(key)}:"
        item = container[key]
        yield item if type(item) in (list, dict) else json.dumps(item)
        separator = ","
    yield closing


# ---------------------------------------------------------------------------------------------------------------------
# Decoding


class JSONDecoder(BoundedDecoder):
    """Decoder of the default format. It keeps a packet until all of its attachments have arrived."""

    __slots__ = ("_attachments", "_expected", "_max_attachments", "_pending")

    def __init__(self, max_attachments: int) -> None:
        super().__init__()
        self._max_attachments = max_attachments
        self.reset()

    def reset(self) -> None:
        """Discard the incomplete packet."""
        self._pending: Packet | None = None
        self._attachments: list[bytes] = []
        self._expected = 0

    def feed(self, data: str | bytes) -> Packet | None:
        """Take the next message. Return the packet that it completes, or None. Raise PacketError."""
        if not isinstance(data, str):
            return self._take_attachment(data)
        if self._pending is not None:
            self._refuse_text()
        if data.startswith(_PLAIN_EVENT) and len(data) <= self.small_size and data.isascii():
            try:
                event = orjson.loads(data[1:])
            except ValueError:  # maybe a number that orjson does not support
                event = None
            if event and type(event[0]) is str and event[0] not in RESERVED_EVENTS:
                return Packet(EVENT, "/", event, None, len(data))
        kind = _TYPES.get(data[:1])
        if kind is None:
            raise PacketError(f"a Socket.IO packet must start with a type from 0 to 6, not with {data[:1]!r}")
        if len(data) > self.small_size:
            self._check_cost(data)
        if kind in _PLAIN_TYPES:
            expected, start = _read_count(data, self._max_attachments)
            self._pending = _read_packet(_PLAIN_TYPES[kind], data, start)
            self._expected = expected
            return None
        return _read_packet(kind, data, 1)

    def _check_cost(self, text: str) -> None:
        """Raise PacketError if decoding a large text would exceed `max_memory`."""
        size, width = len(text), text.__sizeof__() / len(text)
        # The text exists as received, as a message, as a part of it, and as the decoder's copy; then there are its values.
        texts = (3 + width + (4 if "\\u" in text else width)) * size
        most = int((self.max_memory - texts) // VALUE_SIZE)
        if count_values(text, most) > most:
            raise self.too_costly(size)

    def _refuse_text(self) -> NoReturn:
        have, expected = len(self._attachments), self._expected
        self.reset()
        raise PacketError(
            f"a text message arrived after {have} of the {expected} binary attachments of a Socket.IO packet"
        )

    def _take_attachment(self, data: bytes) -> Packet | None:
        packet, attachments = self._pending, self._attachments
        if packet is None:
            raise PacketError(
                f"a binary message of {len(data)} bytes arrived, but no Socket.IO packet expects an attachment"
            )
        attachments.append(data)
        packet.size += len(data)
        if len(attachments) < self._expected:
            return None
        self.reset()
        _put_back(packet.data, attachments)
        return packet


def _read_packet(kind: int, text: str, start: int) -> Packet:
    """Parse the namespace, the id and the payload, which begin at `start`. Return the packet."""
    namespace = "/"
    number = None
    if text[start : start + 1] == "/":
        namespace, start = _read_namespace(text, start)
    if text[start : start + 1] != "[":
        number, start = _read_id(text, start)
    if start == len(text):
        return Packet(kind, namespace, without_payload(kind), number, len(text))
    data = _loads(text, start)
    is_valid, wanted = PAYLOADS[kind]
    if not is_valid(data):
        raise PacketError(f"the payload of {wanted}; it is {describe_payload(data)}")
    return Packet(kind, namespace, data, number, len(text))


def _read_count(text: str, most: int) -> tuple[int, int]:
    """Parse the number of attachments. Return it and the position after it."""
    dash = text.find("-", 1, _MOST_DIGITS + 2)
    digits = text[1:dash]
    if dash < 2 or digits.strip(_DIGITS):
        raise PacketError(
            f"a number of attachments and a dash must follow the type, in a packet of {len(text)} characters"
        )
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
        raise PacketError(f"an id has more than {_MOST_DIGITS} digits, in a packet of {len(text)} characters")
    end = start + count
    return (int(text[start:end]) if count else None), end


def _loads(text: str, start: int) -> Any:
    """Decode the JSON that begins at `start`."""
    try:
        # orjson would keep a second copy, in UTF-8, inside of a str that is not ASCII.
        return orjson.loads(text[start:] if text.isascii() else text[start:].encode())
    except ValueError:
        return _loads_slowly(text[start:])


def _loads_slowly(text: str) -> Any:
    try:
        return _read(text)
    except PacketError:
        raise
    except ValueError as error:
        raise PacketError(f"the payload of a packet is not valid JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid in JSON")


_CLOSING: dict[type[Any], str] = {list: "]", dict: "}"}
_space = re.compile(r"[ \t\n\r]*").match
_read_scalar = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode


def _read(text: str) -> Any:
    """Parse JSON as `json.loads` does, but without recursion."""
    containers: list[Any] = []  # those that are not closed yet
    names: list[str | None] = []  # the name of the current property of each of them; None for an array
    at = 0
    while True:
        at = _skip_space(text, at)
        head = text[at : at + 1]
        if head in ("[", "{"):
            if len(containers) == MAX_LEVELS:
                raise PacketError(f"the payload of a packet is nested too deeply (more than {MAX_LEVELS - 1} levels)")
            value: Any = [] if head == "[" else {}
            at = _skip_space(text, at + 1)
            if text[at : at + 1] != _CLOSING[type(value)]:
                name, at = _read_name(text, at) if head == "{" else (None, at)
                containers.append(value)
                names.append(name)
                continue
            at += 1
        else:
            value, at = _read_scalar(text, at)
        while True:  # the value is complete, and maybe the container with it
            at = _skip_space(text, at)
            if not containers:
                if at < len(text):
                    raise json.JSONDecodeError("Extra data", text, at)
                return value
            container = containers[-1]
            if type(container) is list:
                container.append(value)
            else:
                container[names[-1]] = value
            mark = text[at : at + 1]
            at += 1
            if mark == ",":
                if type(container) is dict:
                    names[-1], at = _read_name(text, at)
                break
            if mark != _CLOSING[type(container)]:
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at - 1)
            value = containers.pop()
            names.pop()


def _read_name(text: str, at: int) -> tuple[str, int]:
    """Parse the name of a property and the colon. Return the name and the position after the colon."""
    at = _skip_space(text, at)
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
    name, at = _read_scalar(text, at)
    at = _skip_space(text, at)
    if text[at : at + 1] != ":":
        raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
    return name, at + 1


def _skip_space(text: str, at: int) -> int:
    return _space(text, at).end()  # type: ignore[union-attr]  # it matches no space as well


# ---------------------------------------------------------------------------------------------------------------------
# The payload of each type


def without_payload(kind: int) -> Any:
    """Return the data of a packet without a payload. As in the JavaScript client, an ACK may have no payload."""
    if kind in (CONNECT, DISCONNECT):
        return None
    if kind == ACK:
        return []
    raise PacketError(f"the payload of {PAYLOADS[kind][1]}; it is absent")


def _is_event(data: Any) -> bool:
    if type(data) is not list or not data:
        return False
    name: Any = data[0]
    # bool is a subclass of int.
    return name not in RESERVED_EVENTS if type(name) is str else type(name) in (int, float)


PAYLOADS: dict[int, tuple[Callable[[Any], bool], str]] = {
    CONNECT: (lambda data: type(data) is dict, "CONNECT must be an object"),
    DISCONNECT: (lambda _: False, "DISCONNECT must be absent"),
    EVENT: (_is_event, "EVENT must be an array that begins with a name (a number, or a string that is not reserved)"),
    ACK: (lambda data: type(data) is list, "ACK must be an array"),
    CONNECT_ERROR: (lambda data: type(data) in (dict, str), "CONNECT_ERROR must be an object or a string"),
}
"""Maps a packet type to the check of its payload and the description of a valid payload."""


def describe_payload(data: Any) -> str:
    """Return what kind of payload an invalid payload is, without its contents."""
    if type(data) is not list:
        return kind_of(data)
    if not data:
        return "an empty array"
    name = data[0]
    is_reserved = type(name) is str and name in RESERVED_EVENTS
    return f"an array that begins with {f'the reserved name {name!r}' if is_reserved else kind_of(name)}"


# ---------------------------------------------------------------------------------------------------------------------
# Attachments


def _put_back(data: list[Any], attachments: list[bytes]) -> None:
    """Replace the placeholders in `data`, at any depth, with their attachments.

    As in the JavaScript client, an attachment without a placeholder is dropped, and one with several is used repeatedly.
    """
    pending: list[Any] = [data]  # not recursive, because a peer chooses the depth
    while pending:
        container = pending.pop()
        for key, value in container.items() if type(container) is dict else enumerate(container):
            if type(value) is list:
                pending.append(value)
            elif type(value) is dict:
                if value.get("_placeholder") is True:
                    container[key] = _attachment(value.get("num"), attachments)
                else:
                    pending.append(value)


def _attachment(number: Any, attachments: list[bytes]) -> bytes:
    if type(number) is not int or not 0 <= number < len(attachments):
        raise PacketError(
            f"a placeholder refers to attachment {field_value(number)}, but the packet has {len(attachments)} attachments"
        )
    return attachments[number]
