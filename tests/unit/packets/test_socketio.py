"""Socket.IO packets and their attachments: encoding, decoding, and what is refused."""

from __future__ import annotations

import json
from array import array
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from math import inf, isfinite, nan
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, field_serializer

from sansio_socketio.protocol.errors import PacketError
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
    check_namespace,
)
from tests.support.values import contains_itself, released

quick = settings(max_examples=200, deadline=None)

PARSER: Parser = JSONParser()
BEYOND_ORJSON = 2**64  # an integer that only the standard json writes

Messages = list[str | bytes]


def encode(packet: Packet) -> Messages:
    return PARSER.encoder().encode(packet)


def decode(messages: Messages, max_attachments: int = 10) -> Packet | None:
    """Return the packet that the last message completes. No earlier message may complete one."""
    decoder = PARSER.decoder(max_attachments)
    for message in messages[:-1]:
        assert decoder.feed(message) is None
    return decoder.feed(messages[-1])


def placeholder(number: object) -> dict[str, object]:
    return {"_placeholder": True, "num": number}


# ---------------------------------------------------------------------------------------------------------------------
# Both directions

BOTH_WAYS: list[tuple[Packet, Messages]] = [
    (Packet(CONNECT), ["0"]),
    (Packet(CONNECT, "/admin"), ["0/admin,"]),
    (Packet(CONNECT, data={}), ["0{}"]),
    (Packet(CONNECT, data={"sid": "x"}), ['0{"sid":"x"}']),
    (Packet(CONNECT, "/admin", {"sid": "x"}), ['0/admin,{"sid":"x"}']),
    (Packet(CONNECT, "/a?x=1"), ["0/a?x=1,"]),
    (Packet(DISCONNECT), ["1"]),
    (Packet(DISCONNECT, "/admin"), ["1/admin,"]),
    (Packet(EVENT, data=["hello"]), ['2["hello"]']),
    (Packet(EVENT, data=["hello", 1, None, [True], {"a": "b"}]), ['2["hello",1,null,[true],{"a":"b"}]']),
    (Packet(EVENT, data=[""]), ['2[""]']),
    (Packet(EVENT, data=[7, "a number's event"]), ['2[7,"a number\'s event"]']),
    (Packet(EVENT, data=[1.5]), ["2[1.5]"]),
    (Packet(EVENT, data=["hello"], id=0), ['20["hello"]']),
    (Packet(EVENT, data=["hello"], id=12), ['212["hello"]']),
    (Packet(EVENT, data=["hello"], id=2**64 - 1), ['218446744073709551615["hello"]']),
    (Packet(EVENT, "/admin", ["hello"], 12), ['2/admin,12["hello"]']),
    (Packet(EVENT, "/é-1/[2]", ["hello"]), ['2/é-1/[2],["hello"]']),
    (Packet(EVENT, "//", ["hello"]), ['2//,["hello"]']),
    (Packet(EVENT, data=["é€😀\u2028", "\x00"]), ['2["é€😀\u2028","\\u0000"]']),
    (Packet(EVENT, data=["a", placeholder(0)]), ['2["a",{"_placeholder":true,"num":0}]']),
    (Packet(ACK, data=[], id=12), ["312[]"]),
    (Packet(ACK, "/admin", [None, "ok"], 12), ['3/admin,12[null,"ok"]']),
    (Packet(ACK, data=["connect"], id=1), ['31["connect"]']),
    (Packet(CONNECT_ERROR, data={"message": "no"}), ['4{"message":"no"}']),
    (Packet(CONNECT_ERROR, "/admin", {"message": "no", "data": 1}), ['4/admin,{"message":"no","data":1}']),
    (Packet(CONNECT_ERROR, data="no"), ['4"no"']),
    (Packet(EVENT, data=["a", b"\x00\xff"]), ['51-["a",{"_placeholder":true,"num":0}]', b"\x00\xff"]),
    (Packet(EVENT, data=["a", b""]), ['51-["a",{"_placeholder":true,"num":0}]', b""]),
    (
        Packet(EVENT, "/admin", ["a", b"0", [{"b": [b"1"]}], b"2"], 12),
        [
            '53-/admin,12["a",{"_placeholder":true,"num":0},[{"b":[{"_placeholder":true,"num":1}]}],{"_placeholder":true,"num":2}]',
            b"0",
            b"1",
            b"2",
        ],
    ),
    (Packet(ACK, data=[b"0"], id=12), ['61-12[{"_placeholder":true,"num":0}]', b"0"]),
    (Packet(ACK, "/a", [{"k": b"0"}], 3), ['61-/a,3[{"k":{"_placeholder":true,"num":0}}]', b"0"]),
]


@pytest.mark.parametrize(("packet", "messages"), BOTH_WAYS)
def test_each_packet_type_is_encoded_and_decoded(packet: Packet, messages: Messages) -> None:
    assert encode(packet) == messages
    assert decode(messages) == packet


@pytest.mark.parametrize(("_", "messages"), BOTH_WAYS)
def test_the_size_of_a_decoded_packet_is_that_of_its_messages(_: Packet, messages: Messages) -> None:
    packet = decode(messages)
    assert packet is not None
    assert packet.size == sum(map(len, messages))


def test_the_size_does_not_affect_equality() -> None:
    assert Packet(EVENT, size=1) == Packet(EVENT, size=2)


def test_attachments_are_not_copied() -> None:
    data = bytes(1000)
    messages = encode(Packet(EVENT, data=["a", data]))
    assert messages[1] is data
    packet = decode(messages)
    assert packet is not None
    assert packet.data[1] is data


# ---------------------------------------------------------------------------------------------------------------------
# Encoding: how Python values are converted. Each is encoded by both encoders, orjson's and the standard json's.


class Colour(Enum):
    RED = "red"
    MIX = (1, b"mix")


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: Any


@dataclass
class User:
    name: str
    _secret: Any = None


@dataclass(slots=True)
class Slotted:
    picture: bytes


class Position(BaseModel):
    x: float
    seen_by: list[Any] = Field([], alias="seenBy")


class Numbers(RootModel[list[Any]]):
    pass


class Unwilling(BaseModel):
    token: str

    @field_serializer("token")
    def _show(self, token: str) -> str:
        raise ValueError(token)


class Coming:
    def __await__(self) -> Iterator[Any]:
        raise NotImplementedError


@dataclass
class Half:
    missing: int = field(init=False)


@dataclass(frozen=True)
class Frozen:
    pass


class Metres(float):
    __slots__ = ()


class Text(str):
    __slots__ = ()


class Odd(int):
    """An int that prints as something else."""

    def __repr__(self) -> str:
        return "odd"

    __str__ = __repr__


class Octets(bytes):
    pass


VALUES: list[tuple[Any, Any]] = [
    (nan, None),
    (inf, None),
    (-inf, None),
    ([1, (2, 3)], [1, [2, 3]]),
    (Point(1, (2,)), [1, [2]]),
    (Metres(1.5), 1.5),
    (Metres(inf), None),
    (Text("t"), "t"),
    (OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({"a": MappingProxyType({})}), {"a": {}}),
    ({1: "a", -2: "b"}, {"1": "a", "-2": "b"}),
    ({True: 1, False: 2, None: 3}, {"true": 1, "false": 2, "null": 3}),
    ({Text("t"): 1, Word.YES: 2, Level.HIGH: 3}, {"t": 1, "yes": 2, "3": 3}),
    ({1.0: 1, 1.5: 2, 1e21: 3, 1e-7: 4, -0.0: 5}, {"1": 1, "1.5": 2, "1e+21": 3, "1e-7": 4, "0": 5}),
    ({nan: 1, inf: 2, -inf: 3, Metres(0.5): 4}, {"NaN": 1, "Infinity": 2, "-Infinity": 3, "0.5": 4}),
    ({Colour.RED: 1, UUID(int=1): 2}, {"red": 1, "00000000-0000-0000-0000-000000000001": 2}),
    ({date(2020, 1, 2): 1, time(3, 4, 5): 2}, {"2020-01-02": 1, "03:04:05": 2}),
    ({datetime(2020, 1, 2, tzinfo=UTC): 1}, {"2020-01-02T00:00:00+00:00": 1}),
    ({1: "a", "1": "b", 2: "c"}, {"1": "b", "2": "c"}),
    (UserDict({1: 2}), {"1": 2}),
    (Odd(7), 7),
    ([Colour.RED, Level.HIGH, Word.YES], ["red", 3, "yes"]),
    (User("Ann", _secret=[User("Bob")]), {"name": "Ann", "_secret": [{"name": "Bob", "_secret": None}]}),
    (Position(x=1, seenBy=[]), {"x": 1.0, "seenBy": []}),
    ([Position(x=1, seenBy=[User("Ann")])], [{"x": 1.0, "seenBy": [{"name": "Ann", "_secret": None}]}]),
    (Numbers([1, Colour.RED]), [1, "red"]),
    (datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), "2020-01-02T03:04:05+00:00"),
    (date(2020, 1, 2), "2020-01-02"),
    (time(3, 4, 5), "03:04:05"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (2**53 + 1, 2**53 + 1),
    (2**64 - 1, 2**64 - 1),
    (-(2**63) - 1, -(2**63) - 1),
    (10**100, 10**100),
    ("\ud800", "\ud800"),
    ("\udc00 \ud83d", "\udc00 \ud83d"),
    ("\ud83d\ude00", "😀"),
    ({"\ud800": 1}, {"\ud800": 1}),
    (-0.0, -0.0),
    (1e300, 1e300),
]

BINARY: list[tuple[Any, Any, list[bytes]]] = [
    (bytearray(b"ab"), placeholder(0), [b"ab"]),
    (memoryview(b"ab"), placeholder(0), [b"ab"]),
    (memoryview(b"abcdef")[::2], placeholder(0), [b"ace"]),
    (memoryview(b"abcd").cast("H"), placeholder(0), [b"abcd"]),
    (memoryview(b"abcd").cast("B", (2, 2)), placeholder(0), [b"abcd"]),
    (array("B", b"ab"), placeholder(0), [b"ab"]),
    (array("H", [1, 2]), placeholder(0), [array("H", [1, 2]).tobytes()]),
    (Octets(b"ab"), placeholder(0), [b"ab"]),
    ((b"0", [b"1"], Point(1, b"2")), [placeholder(0), [placeholder(1)], [1, placeholder(2)]], [b"0", b"1", b"2"]),
    ([Slotted(b"0"), b"1"], [{"picture": placeholder(0)}, placeholder(1)], [b"0", b"1"]),
    ([Position(x=1, seenBy=[b"0"]), b"1"], [{"x": 1.0, "seenBy": [placeholder(0)]}, placeholder(1)], [b"0", b"1"]),
    ([Colour.MIX, b"1"], [[1, placeholder(0)], placeholder(1)], [b"mix", b"1"]),
    ([MappingProxyType({"a": b"0"}), b"1"], [{"a": placeholder(0)}, placeholder(1)], [b"0", b"1"]),
    ({1: b"0", "b": [b"1"]}, {"1": placeholder(0), "b": [placeholder(1)]}, [b"0", b"1"]),
    ([b"0", "\ud800", b"1"], [placeholder(0), "\ud800", placeholder(1)], [b"0", b"1"]),
]


def payload(message: str | bytes, head: str) -> Any:
    assert isinstance(message, str)
    assert message.startswith(head), message
    return json.loads(message.removeprefix(head))


@pytest.mark.row("difference.date_keys")
@pytest.mark.parametrize("tail", [[], [BEYOND_ORJSON]], ids=["orjson", "json"])
@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_values_are_encoded_as_their_json_equivalents(value: Any, expected: Any, tail: list[int]) -> None:
    (message,) = encode(Packet(EVENT, data=["a", value, *tail]))
    assert repr(payload(message, "2")) == repr(["a", expected, *tail])  # -0.0 is not 0.0, nor True 1
    assert isinstance(message, str)
    assert message.encode(), "it can be sent"


@pytest.mark.parametrize("tail", [[], [BEYOND_ORJSON]], ids=["orjson", "json"])
@pytest.mark.parametrize(("value", "expected", "attachments"), BINARY)
def test_binary_values_are_encoded_as_attachments(
    value: Any, expected: Any, attachments: list[bytes], tail: list[int]
) -> None:
    message, *binary = encode(Packet(EVENT, data=["a", value, *tail]))
    assert payload(message, f"5{len(attachments)}-") == ["a", expected, *tail]
    assert binary == attachments
    assert all(type(attachment) is bytes for attachment in binary)


def test_changing_a_value_after_encoding_has_no_effect() -> None:
    buffer = bytearray(b"before")
    data = ["a", buffer, memoryview(buffer)]
    messages = encode(Packet(EVENT, data=data))
    buffer[:] = b"after!"
    assert messages[1:] == [b"before", b"before"]
    assert data == ["a", buffer, buffer], "the values of the application are unchanged"


def nested(depth: int, innermost: Any) -> Any:
    value = innermost
    for _ in range(depth):
        value = [value]
    return value


def test_values_nested_deeper_than_orjson_accepts_are_encoded() -> None:
    message, *binary = encode(Packet(EVENT, data=["a", nested(300, b"0"), b"1"]))
    assert payload(message, "52-") == ["a", nested(300, placeholder(0)), placeholder(1)]
    assert binary == [b"0", b"1"]


def test_a_failed_encoding_does_not_affect_the_next_packet() -> None:
    encoder = PARSER.encoder()
    with pytest.raises(PacketError):
        encoder.encode(Packet(EVENT, data=["a", b"0", {1, 2}]))
    assert encoder.encode(Packet(EVENT, data=["a"])) == ['2["a"]']
    assert encoder.encode(Packet(EVENT, data=["a", b"1"]))[1:] == [b"1"]


@pytest.mark.row("difference.values")
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (object, "a value of type object cannot be sent; supported are the types of JSON"),
        (lambda: [b"0", Decimal(1)], "a value of type Decimal cannot be sent; send it as a float or as a str"),
        (lambda: Fraction(1), "a value of type Fraction cannot be sent; send it as a float or as a str"),
        (lambda: {1, 2}, r"a value of type set cannot be sent; send a list of its items, list\(value\)"),
        ({1: 2}.keys, "a value of type dict_keys cannot be sent; send a list of its items"),
        (lambda: frozenset((1,)), "a value of type frozenset cannot be sent; send a list of its items"),
        (lambda: deque([1]), "a value of type deque cannot be sent; send a list of its items"),
        (lambda: range(3), "a value of type range cannot be sent; send a list of its items"),
        (lambda: (each for each in [1]), "a value of type generator cannot be sent; send a list of its items"),
        (lambda: Path("a"), "a value of type PosixPath cannot be sent; send it as a str"),
        (lambda: timedelta(1), r"a value of type timedelta cannot be sent; send its total_seconds\(\)"),
        (Coming, "a value of type Coming cannot be sent; await it first"),
        (Half, "a value of type Half cannot be sent: AttributeError: "),
        (lambda: [print], r"value 1, \[0\]: a value of type builtin_function_or_method cannot be sent"),
        (lambda: User, "a value of type type cannot be sent"),
        (lambda: [b"0", Unwilling(token="t")], "a Unwilling cannot be sent: its model_dump\\(\\) raised .*Error$"),
        (lambda: Position, "a value of type ModelMetaclass cannot be sent"),
        (lambda: iter([1]), "a value of type list_iterator cannot be sent"),
        (lambda: 1j, "a value of type complex cannot be sent"),
        (lambda: time(1, tzinfo=UTC), "a value of type time cannot be sent"),
        (lambda: {b"key": 1}, "key of a dict must be a str, .* not a bytes; convert it to a str"),
        (lambda: {(1, 2): 1}, "key of a dict must be a str, .* not a tuple"),
        (lambda: {Colour.MIX: 1}, "key of a dict must be a str, .* not a Colour"),
        (lambda: {Decimal(1): 1}, "key of a dict must be a str, .* not a Decimal"),
        (lambda: {time(1, tzinfo=UTC): 1}, "key of a dict must be a str"),
        (lambda: {Frozen(): 1}, "key of a dict must be a str"),
        (contains_itself, "a value that contains itself, or is nested too deeply"),
        (lambda: nested(100_000, 0), "a value that contains itself, or is nested too deeply"),
        (lambda: 10**5000, "a value of type int cannot be sent: ValueError: Exceeds the limit"),
        (lambda: {10**5000: 1}, "a key of a dict cannot be sent: Exceeds the limit"),
        (released, "a value of type memoryview cannot be sent: ValueError: operation forbidden"),
    ],
)
def test_an_unsupported_value_is_a_packet_error(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(PacketError, match=complaint) as caught:
        encode(Packet(EVENT, data=["a", make()]))
    assert str(caught.value).startswith("value 1")


@pytest.mark.parametrize("kind", [CONNECT, CONNECT_ERROR])
def test_only_events_and_acknowledgements_have_attachments(kind: int) -> None:
    with pytest.raises(PacketError, match="auth cannot contain binary values"):
        encode(Packet(kind, data={"token": b"0"}))


@pytest.mark.parametrize("name", ["", "chat", "/a,b", "/a,", ",", "/\ud800", "/a\x1e1"])
def test_an_invalid_namespace_is_a_packet_error(name: str) -> None:
    with pytest.raises(PacketError, match="namespace"):
        check_namespace(name)
    with pytest.raises(PacketError, match="namespace"):
        encode(Packet(EVENT, name, ["a"]))


@pytest.mark.parametrize("name", ["/", "/a", "//", "/é", "/a b", "/a?x=1"])
def test_a_valid_namespace_passes_the_check(name: str) -> None:
    check_namespace(name)


# ---------------------------------------------------------------------------------------------------------------------
# Decoding: packets that this library would not send

READ_ONLY: list[tuple[Messages, Packet]] = [
    (["0/admin"], Packet(CONNECT, "/admin")),
    (["0/,{}"], Packet(CONNECT, "/", {})),
    (['01{"sid":"x"}'], Packet(CONNECT, "/", {"sid": "x"}, 1)),
    (["1/admin"], Packet(DISCONNECT, "/admin")),
    (['2/,["a"]'], Packet(EVENT, "/", ["a"])),
    (['2007["a"]'], Packet(EVENT, "/", ["a"], 7)),
    (['2 [ "a" ] '], Packet(EVENT, "/", ["a"])),
    (["31"], Packet(ACK, "/", [], 1)),
    (["3[1]"], Packet(ACK, "/", [1])),
    (['2["a","\\ud800"]'], Packet(EVENT, "/", ["a", "\ud800"])),
    (['2["\ud800"]'], Packet(EVENT, "/", ["\ud800"])),
    (['2["a",1e999,-1e999]'], Packet(EVENT, "/", ["a", inf, -inf])),
    (['2["a",18446744073709551615]'], Packet(EVENT, "/", ["a", 2**64 - 1])),
    (['2["a",18446744073709551616]'], Packet(EVENT, "/", ["a", 2.0**64])),
    (['2["a",{"b":1,"b":2}]'], Packet(EVENT, "/", ["a", {"b": 2}])),
    (['51-["a"]', b"0"], Packet(EVENT, "/", ["a"])),  # an attachment without a placeholder
    (["61-3", b"0"], Packet(ACK, "/", [], 3)),
    (['501-["a",{"_placeholder":true,"num":0}]', b"0"], Packet(EVENT, "/", ["a", b"0"])),
    (['51-["a",{"num":0,"more":[],"_placeholder":true}]', b"0"], Packet(EVENT, "/", ["a", b"0"])),
    (
        ['52-["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', b"0", b"1"],
        Packet(EVENT, "/", ["a", b"1", b"0", b"1"]),
    ),
    (
        ['51-["a",{"_placeholder":false,"num":0},{"_placeholder":1,"num":0},{"num":0}]', b"0"],
        Packet(EVENT, "/", ["a", {"_placeholder": False, "num": 0}, {"_placeholder": 1, "num": 0}, {"num": 0}]),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "packet"), READ_ONLY)
def test_unusual_but_valid_packets_are_decoded(messages: Messages, packet: Packet) -> None:
    assert decode(messages) == packet


@pytest.mark.row("difference.strict_parser", "difference.event_without_payload")
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a type from 0 to 6, not with ''"),
        ("7", "not with '7'"),
        ('²["a"]', "not with '²'"),
        ('٣["a"]', "not with '٣'"),
        ('-2["a"]', "not with '-'"),
        (' 2["a"]', "not with ' '"),
        # payloads that do not fit their type
        ("0null", "CONNECT must be an object; it is null"),
        ("0[]", "CONNECT must be an object"),
        ('0"x"', "CONNECT must be an object"),
        ("1{}", "DISCONNECT must be absent"),
        ("1null", "DISCONNECT must be absent"),
        ("2", "EVENT must be an array .*; it is absent"),
        ("212", "EVENT must be an array .*; it is absent"),
        ('2/n12["a"]', "EVENT must be an array .*; it is absent"),  # all of it is the namespace
        ("2[]", "EVENT must be an array"),
        ("2{}", "EVENT must be an array"),
        ('2"a"', "EVENT must be an array"),
        ("2[true]", "EVENT must be an array"),
        ("2[null]", "EVENT must be an array"),
        ("2[[]]", "EVENT must be an array"),
        ("2[{}]", "EVENT must be an array .*; it is an array that begins with an object$"),
        ("2[]", "EVENT must be an array .*; it is an empty array$"),
        *[(f'2["{name}"]', f"it is an array that begins with the reserved name '{name}'$") for name in sorted(RESERVED_EVENTS)],
        ("31{}", "ACK must be an array; it is an object$"),
        ('31"x"', "ACK must be an array; it is a string$"),
        ("4", "CONNECT_ERROR must be an object or a string; it is absent"),
        ("4[]", "CONNECT_ERROR must be an object or a string"),
        ("4null", "CONNECT_ERROR must be an object or a string"),
        # invalid JSON
        ('2["a"', "not valid JSON"),
        ('2["a"]x', "not valid JSON"),
        ("2,", "not valid JSON"),
        ('2/n,,["a"]', "not valid JSON"),
        ('2["a",NaN]', "not valid JSON: NaN is not valid in JSON"),
        ('2["a",-Infinity]', "not valid JSON: -Infinity is not valid in JSON"),
        ('2["a",01]', "not valid JSON"),
        ("2['a']", "not valid JSON"),
        ('2["a\n"]', "not valid JSON"),
        ('2["\\ud800",' + "1" * 5000 + "]", "not valid JSON: Exceeds the limit"),
        # ids
        ('2-1["a"]', "not valid JSON"),
        ('21.5["a"]', "not valid JSON"),
        ('2²["a"]', "not valid JSON"),
        ('2٣["a"]', "not valid JSON"),
        ('2' + "1" * 21 + '["a"]', "an id has more than 20 digits"),
        ('2/n,' + "1" * 100_000 + '["a"]', "an id has more than 20 digits"),
        ("2" + "1" * 100_000, "an id has more than 20 digits"),
        # numbers of attachments
        ('5["a"]', "a number of attachments and a dash must follow the type"),
        ('5-["a"]', "a number of attachments and a dash must follow the type"),
        ('51["a"]', "a number of attachments and a dash must follow the type"),
        ("5", "a number of attachments and a dash must follow the type"),
        ("51", "a number of attachments and a dash must follow the type"),
        ('5/a-b,["a"]', "a number of attachments and a dash must follow the type"),
        ('5--1-["a"]', "a number of attachments and a dash must follow the type"),
        ('51.0-["a"]', "a number of attachments and a dash must follow the type"),
        ('51e0-["a"]', "a number of attachments and a dash must follow the type"),
        ('5 1-["a"]', "a number of attachments and a dash must follow the type"),
        ('5²-["a"]', "a number of attachments and a dash must follow the type"),
        ('5٣-["a"]', "a number of attachments and a dash must follow the type"),
        ("5" + "1" * 100_000 + '-["a"]', "a number of attachments and a dash must follow the type"),
        ('50-["a"]', "0 attachments; from 1 to 10"),
        ("60-1[]", "0 attachments; from 1 to 10"),
        ('511-["a"]', "11 attachments; from 1 to 10"),
        ('599999999999999999999-["a"]', "99999999999999999999 attachments; from 1 to 10"),
        ("51-", "EVENT must be an array .*; it is absent"),
        ('51-["connect"]', "EVENT must be an array"),
        ('51-[{"_placeholder":true,"num":0}]', "EVENT must be an array"),
        ("61-1{}", "ACK must be an array"),
    ],
)  # fmt: skip
def test_an_invalid_packet_is_a_packet_error(text: str, complaint: str) -> None:
    decoder = PARSER.decoder(10)
    with pytest.raises(PacketError, match=complaint) as caught:
        decoder.feed(text)
    assert len(str(caught.value)) < 300
    assert decoder.feed('2["a"]') == Packet(EVENT, data=["a"]), "the next packet is decoded as usual"


@pytest.mark.parametrize(
    "number",
    [
        *["true", "false", "0.0", "0.5", "-1", "1", "10", "1e400", '"0"', "null", "[]"],
        pytest.param('"' + "x" * 5000 + '"', id="long"),
        pytest.param("[" * 1000 + "]" * 1000, id="deep"),
    ],
)
def test_a_placeholder_with_an_invalid_number_is_a_packet_error(number: str) -> None:
    decoder = PARSER.decoder(10)
    assert decoder.feed(f'51-["a",[{{"_placeholder":true,"num":{number}}}]]') is None
    with pytest.raises(
        PacketError, match=r"a placeholder refers to attachment .*, but the packet has 1 attachments"
    ) as caught:
        decoder.feed(b"0")
    assert len(str(caught.value)) < 300
    assert decoder.feed('2["a"]') == Packet(EVENT, data=["a"])


def test_a_placeholder_without_a_number_is_a_packet_error() -> None:
    with pytest.raises(PacketError, match="a placeholder refers to attachment null, but the packet has 1"):
        decode(['51-["a",{"_placeholder":true}]', b"0"])


def test_a_text_message_between_attachments_is_a_packet_error() -> None:
    decoder = PARSER.decoder(10)
    header = '53-["a",{"_placeholder":true,"num":0}]'
    assert decoder.feed(header) is None
    assert decoder.feed(b"0") is None
    with pytest.raises(PacketError, match="a text message arrived after 1 of the 3 binary attachments"):
        decoder.feed('2["b"]')
    assert decoder.feed('2["b"]') == Packet(EVENT, data=["b"])


def test_a_binary_message_without_a_header_is_a_packet_error() -> None:
    decoder = PARSER.decoder(10)
    with pytest.raises(PacketError, match="a binary message of 3 bytes arrived"):
        decoder.feed(b"abc")
    assert decoder.feed('51-["a",{"_placeholder":true,"num":0}]') is None
    assert decoder.feed(b"0") == Packet(EVENT, data=["a", b"0"])
    with pytest.raises(PacketError, match="a binary message of 1 bytes arrived"):
        decoder.feed(b"1")


def test_reset_discards_an_incomplete_packet() -> None:
    decoder = PARSER.decoder(10)
    assert decoder.feed('52-["a",{"_placeholder":true,"num":0}]') is None
    assert decoder.feed(b"old") is None
    decoder.reset()
    assert decoder.feed('51-["a",{"_placeholder":true,"num":0}]') is None
    assert decoder.feed(b"new") == Packet(EVENT, data=["a", b"new"])


def test_more_attachments_than_allowed_are_a_packet_error() -> None:
    messages = encode(Packet(EVENT, data=["a", *(bytes([n]) for n in range(10))]))
    assert decode(messages, max_attachments=10) == Packet(EVENT, data=["a", *(bytes([n]) for n in range(10))])
    with pytest.raises(PacketError, match="10 attachments; from 1 to 9"):
        decode(messages, max_attachments=9)


def innermost(value: Any, depth: int) -> Any:
    for _ in range(depth):
        (value,) = value.values() if isinstance(value, dict) else value
    return value


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}")])
def test_deeply_nested_placeholders_are_replaced_by_attachments(opening: str, closing: str) -> None:
    depth = 1000
    packet = decode([f'51-["a",{opening * depth}{{"_placeholder":true,"num":0}}{closing * depth}]', b"0"])
    assert packet is not None
    assert innermost(packet.data[1], depth) == b"0"


@pytest.mark.parametrize("head", ["2", "51-", "31", "0", "4"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}")])
def test_json_that_is_nested_too_deeply_is_a_packet_error(head: str, opening: str, closing: str) -> None:
    with pytest.raises(PacketError):
        decode([f'{head}["a",{opening * 100_000}0{closing * 100_000}]'])
    with pytest.raises(PacketError):
        decode([f'{head}["a",{opening * 100_000}'])


# ---------------------------------------------------------------------------------------------------------------------
# Properties


def plain(value: Any) -> Any:
    """Return a value as it is after JavaScript has decoded and encoded it."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


# Past 64 bits an integer is read as a float, as it is in JavaScript.
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
surrogates = st.text(st.characters(categories=["Cs", "L"]), max_size=3).filter(
    lambda text: json.loads(json.dumps(text)) == text
)
containers: list[Callable[[bytes], Any]] = [bytes, bytearray, memoryview]
binaries = st.builds(lambda make, data: make(data), st.sampled_from(containers), st.binary())
values: st.SearchStrategy[Any] = st.recursive(
    scalars | surrogates | binaries,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
names = st.text().filter(lambda name: name not in RESERVED_EVENTS) | st.integers(0, 2**53)
namespaces = st.just("/") | st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",\x1e")).map(
    "/{}".format
)
ids = st.none() | st.integers(0, 2**64 - 1)
events = st.builds(
    Packet, st.just(EVENT), namespaces, st.tuples(names, st.lists(values)).map(lambda it: [it[0], *it[1]]), ids
)
acks = st.builds(Packet, st.just(ACK), namespaces, st.lists(values), ids)


@quick
@given(events | acks)
def test_an_encoded_packet_decodes_to_an_equal_packet(packet: Packet) -> None:
    messages = encode(packet)
    assert decode(messages, 1000) == Packet(packet.type, packet.namespace, plain(packet.data), packet.id)
    for message in messages:
        assert isinstance(message, bytes) or message.encode()


@quick
@given(st.lists(values))
def test_both_json_encoders_produce_the_same_messages(data: list[Any]) -> None:
    first, *attachments = encode(Packet(ACK, data=data))
    second, *same = encode(Packet(ACK, data=[*data, BEYOND_ORJSON]))
    assert same == attachments
    head = f"6{len(attachments)}-" if attachments else "3"
    assert payload(second, head) == [*payload(first, head), BEYOND_ORJSON]


@st.composite
def mutated(draw: st.DrawFn) -> Messages:
    """A packet whose messages were dropped, repeated, swapped, or changed in a few characters."""
    messages = list(encode(draw(events | acks)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(messages) - 1))
        message = messages[at]
        if isinstance(message, bytes) or draw(st.booleans()):
            messages[at : at + 1] = draw(st.lists(st.sampled_from(messages), min_size=len(messages) == 1, max_size=2))
        else:
            cut = draw(st.integers(0, len(message)))
            new = draw(st.text('0123456789-/,[]{}":.eE\\ ', max_size=3) | st.text(max_size=2))
            messages[at] = message[:cut] + new + message[cut + draw(st.integers(0, 2)) :]
    return messages


garbage = st.text() | st.text('0123456/-,[]{}"a²٣') | st.binary() | st.sampled_from(['51-["a"]', '2["a"]'])


@quick
@given(mutated() | st.lists(garbage))
def test_any_messages_give_packets_or_packet_errors(messages: Messages) -> None:
    decoder = PARSER.decoder(3)
    for message in messages:
        with suppress(PacketError):
            packet = decoder.feed(message)
            assert packet is None or packet.type in (CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR)
    decoder.reset()
    assert decoder.feed('2["a"]') == Packet(EVENT, data=["a"])


@pytest.mark.row("difference.reviver")
def test_a_parser_that_wraps_the_default_one_converts_values() -> None:
    class Reviving:
        def __init__(self) -> None:
            self.decoder = JSONParser().decoder(10)

        def feed(self, data: str | bytes) -> Packet | None:
            packet = self.decoder.feed(data)
            return packet and replace(packet, data=[*packet.data[:1], *map(date.fromisoformat, packet.data[1:])])

    assert Reviving().feed('2["seen","2024-05-01"]') == Packet(EVENT, "/", ["seen", date(2024, 5, 1)])
    with pytest.raises(TypeError):
        JSONParser(lambda key, value: value)  # type: ignore[call-arg]
