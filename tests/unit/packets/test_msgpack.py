"""Packets in MessagePack: encoding, decoding of what `notepack.io` and others send, and what is refused."""

from __future__ import annotations

import importlib
import struct
import subprocess
import sys
from array import array
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from math import inf, isnan, nan
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from sansio_socketio.protocol.errors import PacketError
from sansio_socketio.protocol.options import ClientOptions
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import (
    ACK,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    RESERVED_EVENTS,
    JSONParser,
    Packet,
    Parser,
)
from tests.support.values import contains_itself, maps_itself, released

quick = settings(max_examples=300, deadline=None)

packb: Any = msgpack.packb  # which has no types
PARSER: Parser = MessagePackParser()
TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNDEFINED = b"\xd4\x00\x00"


def encode(packet: Packet) -> bytes:
    (message,) = PARSER.encoder().encode(packet)
    assert isinstance(message, bytes)
    return message


def decode(message: str | bytes) -> Packet:
    packet = PARSER.decoder(0).feed(message)
    assert packet is not None
    return packet


def written(**fields: Any) -> bytes:
    """Return a packet as a peer would encode it. A `Raw` value is inserted unchanged."""
    head = bytes([0x80 | len(fields)])
    return head + b"".join(
        packb(name) + (value if isinstance(value, Raw) else packb(value)) for name, value in fields.items()
    )


class Raw(bytes):
    """Bytes that are MessagePack already."""


def event_of(value: bytes) -> bytes:
    """Return an event with a value that is MessagePack already."""
    return written(type=EVENT, nsp="/", data=Raw(b"\x92\xa1a" + value))


def received(value: bytes) -> Any:
    """Return the Python value that MessagePack decodes to."""
    return decode(event_of(value)).data[1]


def sent(value: Any) -> Any:
    """Return what the msgpack library decodes from an encoded value."""
    return msgpack.unpackb(encode(Packet(EVENT, data=["a", value])))["data"][1]


# ---------------------------------------------------------------------------------------------------------------------
# Both directions

BOTH_WAYS: list[tuple[Packet, dict[str, Any]]] = [
    (Packet(CONNECT), {"type": 0, "nsp": "/"}),
    (Packet(CONNECT, "/admin", {"token": b"\x00"}), {"type": 0, "nsp": "/admin", "data": {"token": b"\x00"}}),
    (Packet(DISCONNECT), {"type": 1, "nsp": "/"}),
    (Packet(DISCONNECT, "/admin"), {"type": 1, "nsp": "/admin"}),
    (Packet(EVENT, data=["hello"]), {"type": 2, "nsp": "/", "data": ["hello"]}),
    (Packet(EVENT, "/é", ["a", 1, None, True, {"b": [b"c", 1.5]}], 12), {"type": 2, "nsp": "/é", "id": 12}),
    (Packet(EVENT, data=[7, "a number's event"], id=0), {"type": 2, "nsp": "/", "id": 0}),
    (Packet(ACK, data=[], id=2**64 - 1), {"type": 3, "nsp": "/", "id": 2**64 - 1, "data": []}),
    (Packet(ACK, "/admin", ["connect", b""], 5), {"type": 3, "nsp": "/admin", "id": 5, "data": ["connect", b""]}),
    (Packet(CONNECT_ERROR, data={"message": "no", "data": 1}), {"type": 4, "data": {"message": "no", "data": 1}}),
    (Packet(CONNECT_ERROR, data="no"), {"type": 4, "nsp": "/", "data": "no"}),
]


@pytest.mark.parametrize(("packet", "fields"), BOTH_WAYS)
def test_each_packet_type_is_encoded_and_decoded(packet: Packet, fields: dict[str, Any]) -> None:
    message = encode(packet)
    wire = msgpack.unpackb(message)
    assert fields.items() <= wire.items()
    absent = {name for name, value in {"id": packet.id, "data": packet.data}.items() if value is None}
    assert set(wire) == {"type", "nsp", "id", "data"} - absent
    decoded = decode(message)
    assert decoded == packet
    assert decoded.size == len(message)


def test_additional_fields_of_the_javascript_parser_are_ignored() -> None:
    message = written(type=EVENT, data=["a"], options={"compress": True}, id=Raw(UNDEFINED), nsp="/")
    assert decode(message) == Packet(EVENT, data=["a"])
    for kind in (CONNECT, DISCONNECT):
        assert decode(written(type=kind, nsp="/", data=Raw(UNDEFINED))) == Packet(kind)


def test_packets_of_python_socketio_are_decoded() -> None:
    assert decode(written(type=DISCONNECT, data=None, nsp="/")) == Packet(DISCONNECT)
    assert decode(written(type=ACK, data=None, nsp="/", id=1)) == Packet(ACK, data=[], id=1)


def test_a_decoder_keeps_no_state_between_messages() -> None:
    decoder = PARSER.decoder(0)
    with pytest.raises(PacketError):
        decoder.feed(encode(Packet(EVENT, data=["a"]))[:-1])
    decoder.reset()
    assert decoder.feed(encode(Packet(EVENT, data=["a"]))) == Packet(EVENT, data=["a"])


def test_the_parser_option_accepts_the_parser() -> None:
    assert ClientOptions(parser=PARSER).parser is PARSER


def test_parsers_are_equal() -> None:
    assert {MessagePackParser(), MessagePackParser()} == {PARSER}
    assert MessagePackParser() != JSONParser()


# ---------------------------------------------------------------------------------------------------------------------
# Encoding


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


@dataclass
class User:
    name: str
    picture: bytes


class Portrait(BaseModel):
    of_whom: User = Field(alias="ofWhom")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (inf, inf),
        ("é€😀\u2028", "é€😀\u2028"),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"abcd")[::2], b"ac"),
        ((1, (2, b"3")), [1, [2, b"3"]]),
        ({1: "int", None: "none", False: "bool", "s": 1}, {"1": "int", "null": "none", "false": "bool", "s": 1}),
        ({1.0: "a", 1.5: "b", nan: "c", Colour.RED: "d"}, {"1": "a", "1.5": "b", "NaN": "c", "red": "d"}),
        ({date(2026, 1, 2): 1, UUID(int=0): 2}, {"2026-01-02": 1, "00000000-0000-0000-0000-000000000000": 2}),
        ({TIME: 1}, {"2026-01-02T03:04:05.678000+00:00": 1}),
        (array("H", [1, 2]), array("H", [1, 2]).tobytes()),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": (b"1",)}), {"a": [b"1"]}),
        ([{"a": {2: 1}}], [{"a": {"2": 1}}]),
        (Colour.RED, "red"),
        ([Level.HIGH, Text("t")], [3, "t"]),
        (User("Ada", b"picture"), {"name": "Ada", "picture": b"picture"}),
        ([Portrait(ofWhom=User("Ada", b"p"))], [{"ofWhom": {"name": "Ada", "picture": b"p"}}]),
        (date(2026, 1, 2), "2026-01-02"),
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_values_are_encoded_as_their_messagepack_equivalents(value: Any, want: Any) -> None:
    assert sent(value) == want
    assert sent([value, Colour.RED]) == [want, "red"]  # next to a value that has to be converted


def test_nan_is_encoded_as_nan() -> None:
    assert isnan(sent(nan))
    assert isnan(sent([nan, Colour.RED])[0])


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
def test_a_datetime_is_encoded_as_a_javascript_date(zone: timezone) -> None:
    assert sent(TIME.astimezone(zone)) == msgpack.ExtType(0, struct.pack(">q", 1767323045678))
    assert sent(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)) == msgpack.ExtType(0, struct.pack(">q", -1))
    assert decode(encode(Packet(EVENT, data=["a", TIME.astimezone(zone)]))).data[1] == TIME


def test_changing_a_value_after_encoding_has_no_effect() -> None:
    data = bytearray(b"before")
    message = encode(Packet(EVENT, data=["a", data]))
    data[:] = b"after!"
    assert decode(message).data[1] == b"before"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: {1, 2}, "a value of type set cannot be sent"),
        (object, "a value of type object cannot be sent"),
        (lambda: Decimal(1), "a value of type Decimal cannot be sent"),
        (lambda: 1j, "a value of type complex cannot be sent"),
        (lambda: {b"key": 1}, "key of a dict must be a str, .* not a bytes"),
        (lambda: {(1, 2): 1}, "key of a dict must be a str, .* not a tuple"),
        (lambda: 2**64, "an integer of more than 64 bits"),
        (lambda: [-(2**63) - 1], "an integer of more than 64 bits"),
        (lambda: 10**5000, "an integer of more than 64 bits"),
        (lambda: "a\ud800", "an unpaired surrogate"),
        (lambda: {"\udfff": 1}, "an unpaired surrogate"),
        (lambda: datetime(2026, 1, 2), "a datetime without a time zone"),  # noqa: DTZ001
        (contains_itself, "contains itself, or is nested too deeply"),
        (maps_itself, "contains itself, or is nested too deeply"),
        (lambda: nested(100_000), "contains itself, or is nested too deeply"),
        (released, "a value of type memoryview cannot be sent: ValueError: operation forbidden"),
    ],
)
def test_an_unsupported_value_is_a_packet_error(make: Callable[[], Any], complaint: str) -> None:
    for values in ([make()], [make(), Colour.RED]):
        with pytest.raises(PacketError, match=complaint):
            encode(Packet(EVENT, data=["a", *values]))
    assert encode(Packet(EVENT, data=["a"])) == b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a"


@pytest.mark.parametrize("name", ["", "chat", "/a,b", "/\ud800"])
def test_an_invalid_namespace_is_a_packet_error(name: str) -> None:
    with pytest.raises(PacketError, match="namespace"):
        encode(Packet(EVENT, name, ["a"]))


# ---------------------------------------------------------------------------------------------------------------------
# Decoding


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (UNDEFINED, None),
        (b"\x81\xa1a" + UNDEFINED, {"a": None}),
        (b"\xd7\x00" + struct.pack(">q", 1767323045678), TIME),
        (b"\xd7\x00" + struct.pack(">q", -1), datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC)),
        (b"\x92" + UNDEFINED + b"\xd7\x00" + bytes(8), [None, EPOCH]),
        (b"\xd7\x00" + struct.pack(">q", 8_640_000_000_000_000), [0, struct.pack(">q", 8_640_000_000_000_000)]),
        (b"\xc7\x00\x00", b""),
        (b"\xc7\x01\x00\x00", b"\x00"),
        (b"\xc7\x02\x00ab", b"ab"),
        (b"\xc7\x08\x00abcdefgh", b"abcdefgh"),
        (b"\xc8\x01\x00\x00" + bytes(256), bytes(256)),
        (b"\xc9\x00\x01\x00\x00\x00" + bytes(65536), bytes(65536)),
        # Both in one message, and bytes that look like a header and are none.
        (b"\x93\xc7\x01\x00a" + UNDEFINED + b"\xc0", [b"a", None, None]),
        (b"\x92\xc7\x08\x00abcdefgh\xd7\x00" + bytes(8), [b"abcdefgh", EPOCH]),
        (b"\x93\xc4\x03\xc7\x01\x00" + UNDEFINED + b"\xd4\x05a", [b"\xc7\x01\x00", None, [5, b"a"]]),
        (b"\x93\xc4\x03\xc7\x08\x00\x81\x01\x02\xd7\x00" + bytes(8), [b"\xc7\x08\x00", {"1": 2}, EPOCH]),
        # Unknown extensions, and the timestamp of MessagePack.
        (b"\xd4\x05a", [5, b"a"]),
        (b"\xc7\x03\x85abc", [-123, b"abc"]),
        (b"\xd6\xff" + struct.pack(">I", 1767323045), TIME.replace(microsecond=0)),
        # Keys that JavaScript converts to strings.
        (b"\x84\x01\xa1a\xc0\xa1b\xc3\xa1c\xff\xa1d", {"1": "a", "null": "b", "true": "c", "-1": "d"}),
        (b"\x81\xa1a\x81\x01\xd7\x00" + bytes(8), {"a": {"1": EPOCH}}),
        (b"\x82\xa1a\x01\xa1a\x02", {"a": 2}),
        (b"\x82\xca\x3f\xc0\x00\x00\x01\xca\x3f\x80\x00\x00\x02", {"1.5": 1, "1": 2}),
        # Every number.
        (b"\xcf" + b"\xff" * 8, 2**64 - 1),
        (b"\xd3\x80" + bytes(7), -(2**63)),
        (b"\xca\x3f\xc0\x00\x00", 1.5),
        (b"\xcb\x7f\xf0" + bytes(6), inf),
    ],
)
def test_messagepack_values_are_decoded_as_python_values(value: bytes, want: Any) -> None:
    assert received(value) == want


def test_an_event_name_may_be_a_number() -> None:
    assert decode(written(type=EVENT, nsp="/", data=[7])) == Packet(EVENT, data=[7])
    assert decode(written(type=EVENT, nsp="/", data=[1.5])) == Packet(EVENT, data=[1.5])


# ---------------------------------------------------------------------------------------------------------------------
# Refused packets


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ('2["a"]', "a text message of 6 characters arrived, .* does the server use the MessagePack parser"),
        (b"", "ends too early, after 0 bytes"),
        (b"\xc1", "not valid MessagePack, at byte"),
        (event_of(b"\xc1"), "not valid MessagePack, at byte"),
        (event_of(b"\xa5abc"), "ends too early"),
        (event_of(b"\x01") + b"\x01\x02", "2 bytes follow a packet"),
        (event_of(b"\xa1\xff"), "'utf-8' codec can't decode"),
        (event_of(b"\xa3\xed\xa0\x80"), "'utf-8' codec can't decode"),  # an unpaired surrogate
        (event_of(b"\x91" * 4001 + b"\x01"), "nested too deeply"),
        (event_of(b"\x91" * 4001 + b"\xc7\x01\x00a"), "nested too deeply"),
        (event_of(b"\x91" * 100_000), "nested too deeply"),
        (event_of(b"\x91" * 2000), "ends too early"),
        (event_of(b"\x91" * 2000 + b"\xa5abc"), "ends too early"),
        (event_of(b"\x91" * 2000 + b"\xc1"), "an invalid value"),
        (event_of(b"\x91" * 2000 + b"\x01\x02"), "1 bytes follow a packet"),
        (event_of(b"\x81\xc4\x01k\x01"), "key of a dict must be a str, .* not a bytes"),
        (event_of(b"\x81\x90\x01"), "key of a dict must be a str, .* not a list"),
        (event_of(b"\x81\x80\x01"), "key of a dict must be a str, .* not a dict"),
        (event_of(b"\xc7\x05\xff" + bytes(5)), "an invalid value: "),
        (event_of(b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7), "an invalid value"),
        (packb([1]), "a packet must be a map, not an array"),
        (packb(None), "a packet must be a map, not null"),
        (written(nsp="/", data=["a"]), "type of a packet must be an integer from 0 to 4, not null"),
        (written(type=5, nsp="/", data=["a"]), "type of a packet .* not 5"),
        (written(type=-1, nsp="/", data=["a"]), "type of a packet .* not -1"),
        (written(type=True, nsp="/"), "type of a packet .* not a boolean"),
        (written(type=2.0, nsp="/", data=["a"]), "type of a packet .* not 2.0"),
        (written(type="2", nsp="/", data=["a"]), "type of a packet .* not a string"),
        (written(type=EVENT, data=["a"]), r"namespace \(nsp\) of a packet must be a string, not null"),
        (written(type=EVENT, nsp=b"/", data=["a"]), "namespace .* not binary data"),
        (written(type=EVENT, nsp="/", data=["a"], id=-1), "id of a packet .* not -1"),
        (written(type=EVENT, nsp="/", data=["a"], id=1.0), "id of a packet .* not 1.0"),
        (written(type=EVENT, nsp="/", data=["a"], id=True), "id of a packet .* not a boolean"),
        (written(type=EVENT, nsp="/", data=["a"], id="1"), "id of a packet .* not a string"),
        (written(type=EVENT, nsp="/", data=["a"], id=[1]), "id of a packet"),
        (written(type=CONNECT, nsp="/", data=["sid"]), "CONNECT must be an object"),
        (written(type=DISCONNECT, nsp="/", data={}), "DISCONNECT must be absent"),
        (written(type=EVENT, nsp="/"), "EVENT must be an array .* it is absent"),
        (written(type=EVENT, nsp="/", data=Raw(UNDEFINED)), "EVENT must be an array .* it is absent"),
        (written(type=EVENT, nsp="/", data=[]), "EVENT must be an array"),
        (written(type=EVENT, nsp="/", data={"0": "a"}), "EVENT must be an array"),
        (written(type=EVENT, nsp="/", data=[None]), "begins with a name"),
        (written(type=EVENT, nsp="/", data=[True]), "begins with a name"),
        (written(type=EVENT, nsp="/", data=[b"a"]), "begins with a name"),
        (written(type=EVENT, nsp="/", data=[["a"]]), "begins with a name"),
        (written(type=ACK, nsp="/", data="a", id=1), "ACK must be an array"),
        (written(type=CONNECT_ERROR, nsp="/"), "CONNECT_ERROR must be .* it is absent"),
        (written(type=CONNECT_ERROR, nsp="/", data=["no"]), "CONNECT_ERROR must be an object or a string"),
        *((written(type=EVENT, nsp="/", data=[name]), "not reserved") for name in sorted(RESERVED_EVENTS)),
    ],
)
def test_an_invalid_message_is_a_packet_error(message: str | bytes, complaint: str) -> None:
    with pytest.raises(PacketError, match=complaint):
        decode(message)


def test_the_error_for_a_large_invalid_message_is_short() -> None:
    with pytest.raises(PacketError) as caught:
        decode(written(type=EVENT, nsp="/", data={"a" * 100_000: ["b" * 100_000] * 100}))
    assert len(str(caught.value)) < 500


def test_announced_sizes_larger_than_the_message_are_a_packet_error() -> None:
    claims_four_billion = b"\xdd\xff\xff\xff\xff"
    for value in (
        claims_four_billion * 1000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
    ):
        with pytest.raises(PacketError, match=r"ends too early|not valid MessagePack"):
            received(value)
    # A header may announce as many items as there are bytes, and each item may do so, too.
    size = 100_000
    claims = b"".join(b"\xdd" + size.to_bytes(4, "big") for _ in range(300))
    with pytest.raises(PacketError, match="ends too early"):
        received(claims + bytes(size - len(claims)))


# ---------------------------------------------------------------------------------------------------------------------
# Any value, any bytes

texts = st.text(st.characters(exclude_categories=["Cs"]))
times = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary()
    | st.sampled_from([b"\xc7\x01\x00", b"\xc7\x08\x00"])
    | times.map(lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000))
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)
namespaces = st.just("/") | texts.filter(lambda text: not set(text) & {",", "\x1e"}).map("/".__add__)
ids = st.none() | st.integers(0, 2**64 - 1)
names = texts.filter(lambda name: name not in RESERVED_EVENTS) | st.integers(-(2**63), 2**64 - 1)
packets = st.one_of(
    st.builds(Packet, st.just(CONNECT), namespaces, st.none() | st.dictionaries(texts, values)),
    st.builds(Packet, st.just(DISCONNECT), namespaces),
    st.builds(
        Packet, st.just(EVENT), namespaces, st.builds(lambda name, rest: [name, *rest], names, st.lists(values)), ids
    ),
    st.builds(Packet, st.just(ACK), namespaces, st.lists(values), ids),
    st.builds(Packet, st.just(CONNECT_ERROR), namespaces, texts | st.dictionaries(texts, values)),
)


@given(packets)
@quick
def test_an_encoded_packet_decodes_to_an_equal_packet(packet: Packet) -> None:
    message = encode(packet)
    decoded = decode(message)
    assert decoded == packet
    assert decoded.size == len(message)


@given(packets, st.data())
@quick
def test_a_damaged_message_gives_a_packet_or_a_packet_error(packet: Packet, data: st.DataObject) -> None:
    message = bytearray(encode(packet))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(message)))
        if data.draw(st.booleans()):
            message[position : position + 1] = data.draw(st.binary(max_size=4))
        else:
            del message[position:]
    with suppress(PacketError):
        assert isinstance(decode(bytes(message)), Packet)


@given(st.binary() | st.binary().map(event_of) | st.text())
@quick
def test_any_message_gives_a_packet_or_a_packet_error(message: str | bytes) -> None:
    with suppress(PacketError):
        assert isinstance(decode(message), Packet)


# ---------------------------------------------------------------------------------------------------------------------
# The extra


def test_without_msgpack_the_import_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "sansio_socketio.protocol.packets.msgpack"
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ImportError, match=r"pip install 'sansio-socketio\[msgpack\]'"):
        importlib.import_module(name)


def test_importing_the_client_does_not_import_msgpack() -> None:
    code = "import sansio_socketio_blocking, sansio_socketio.protocol, sys; assert 'msgpack' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
