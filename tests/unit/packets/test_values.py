"""Python values in both formats: conversion, the path of a value that cannot be sent, and deep nesting."""

from __future__ import annotations

import json
import math
import re
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from sansio_socketio.protocol.errors import PacketError
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import ACK, CONNECT, EVENT, JSONParser, Packet, Parser
from sansio_socketio.protocol.packets.values import number_text
from tests.support.values import contains_itself, maps_itself

quick = settings(max_examples=300, deadline=None)

PARSERS: list[Parser] = [JSONParser(), MessagePackParser()]


@pytest.fixture(params=PARSERS, ids=["json", "msgpack"])
def parser(request: pytest.FixtureRequest) -> Parser:
    chosen: Parser = request.param
    return chosen


def there_and_back(parser: Parser, packet: Packet) -> Any:
    """Return the data of a packet after encoding and decoding."""
    decoder = parser.decoder(1000)
    results = [decoder.feed(message) for message in parser.encoder().encode(packet)]
    assert results[-1] is not None
    return results[-1].data


def refusal(parser: Parser, packet: Packet) -> str:
    with pytest.raises(PacketError) as caught:
        parser.encoder().encode(packet)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Paths

BAD = Decimal(1)


@dataclass
class Order:
    items: Any


class Invoice(BaseModel):
    order: Any = Field(alias="theOrder")


@pytest.mark.parametrize(
    ("packet", "place"),
    [
        (Packet(EVENT, data=["e", BAD]), "value 1"),
        (Packet(EVENT, data=["e", 1, {"user": {"tags": BAD}}]), "value 2, ['user']['tags']"),
        (Packet(EVENT, data=["e", [], {}, {1: (b"0", [BAD])}]), "value 3, [1][1][0]"),
        (Packet(EVENT, data=["e", {1.5: {None: BAD}}]), "value 1, [1.5][None]"),
        (Packet(EVENT, data=["e", Order([Order(BAD)])]), "value 1, ['items'][0]['items']"),
        (Packet(EVENT, data=["e", Invoice(theOrder=[BAD])]), "value 1, ['theOrder'][0]"),
        (Packet(EVENT, data=["e", UserDict(a=MappingProxyType({"b": BAD}))]), "value 1, ['a']['b']"),
        (Packet(EVENT, data=["e", [{}, {"a": {b"key": 1}}]]), "value 1, [1]['a']"),
        (Packet(EVENT, data=["e", [{"a": [1]}, "b", BAD, BAD]]), "value 1, [2]"),
        (Packet(ACK, data=[BAD]), "value 1"),
        (Packet(ACK, data=[1, {"a": BAD}]), "value 2, ['a']"),
        (Packet(CONNECT, data={"token": BAD}), "auth, ['token']"),
        (Packet(CONNECT, data={b"token": 1}), "auth"),
    ],
)
def test_the_error_shows_the_path_of_the_value(parser: Parser, packet: Packet, place: str) -> None:
    assert refusal(parser, packet).startswith(f"{place}: a ")


def test_the_error_shows_the_path_of_a_value_that_only_messagepack_refuses() -> None:
    for value in (2**64, "\ud800"):
        for nested in ({"a": [value]}, {1: 2, "a": [value]}):
            assert refusal(PARSERS[1], Packet(EVENT, data=["e", nested])).startswith("value 1, ['a'][0]: a")
    assert refusal(PARSERS[1], Packet(EVENT, data=["e", {"a": {"\ud800": 1}}])).startswith("value 1, ['a']: a text")


def test_a_long_path_and_a_long_key_are_shortened(parser: Parser) -> None:
    value: Any = {"inner": {"most": BAD}}
    for _ in range(500):
        value = {"outer": value}
    text = refusal(parser, Packet(EVENT, data=["e", value]))
    assert text.startswith("value 1, " + "['outer']" * 5 + "…" + "['outer']" * 3 + "['inner']['most']: ")
    assert len(refusal(parser, Packet(EVENT, data=["e", {"k" * 10_000: BAD}]))) < 300


@pytest.mark.row("difference.values")
def test_the_error_for_a_function_suggests_the_ack_argument(parser: Parser) -> None:
    hint = "a function cannot be sent; to receive the acknowledgement, pass it as ack=, or call emit_with_ack()"
    assert refusal(parser, Packet(EVENT, data=["e", 1, print])) == f"value 2: {hint}"
    assert refusal(parser, Packet(EVENT, data=["e", lambda: None, 1])) == f"value 1: {hint}"
    for other in (
        Packet(EVENT, data=["e", [print]]),
        Packet(EVENT, data=["e", int]),
        Packet(ACK, data=[print]),
        Packet(CONNECT, data={"a": print}),
    ):
        assert "cannot be sent; supported are the types" in refusal(parser, other)


# ---------------------------------------------------------------------------------------------------------------------
# Numbers of numpy


class Kind:
    def __init__(self, kind: str) -> None:
        self.kind = kind


class Scalar:
    """Behaves like a scalar of numpy."""

    shape: ClassVar[tuple[int, ...]] = ()

    def __init__(self, kind: str, value: Any) -> None:
        self.dtype = Kind(kind)
        self.value = value

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def tobytes(self) -> bytes:
        raise NotImplementedError


class Array(Scalar):
    """Behaves like an array of numpy."""

    shape = (2,)

    def __eq__(self, other: object) -> Any:
        return Array("b", [False, False])

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


@pytest.mark.parametrize("neighbour", [1, {2: 3}], ids=["first pass", "second pass"])
@pytest.mark.parametrize(
    ("kind", "value"), [("i", -5), ("u", 2**64 - 1), ("f", 1.5), ("f", 2.0), ("b", True), ("b", False)]
)
def test_a_numpy_scalar_is_encoded_as_a_number(parser: Parser, kind: str, value: Any, neighbour: Any) -> None:
    scalar = Scalar(kind, value)
    data = there_and_back(parser, Packet(EVENT, data=["e", scalar, [{"a": (scalar,)}], {scalar: 1}, neighbour]))
    name = json.dumps(value).removesuffix(".0")
    assert repr(data[1:4]) == repr([value, [{"a": [value]}], {name: 1}])


def test_a_numpy_nan_is_encoded_like_a_float_nan() -> None:
    assert there_and_back(PARSERS[0], Packet(EVENT, data=["e", Scalar("f", math.nan)])) == ["e", None]
    assert math.isnan(there_and_back(PARSERS[1], Packet(EVENT, data=["e", Scalar("f", math.nan)]))[1])


@pytest.mark.parametrize("neighbour", [1, {2: 3}], ids=["first pass", "second pass"])
def test_other_numpy_values_are_refused(parser: Parser, neighbour: Any) -> None:
    text = refusal(parser, Packet(EVENT, data=["e", neighbour, {"a": Array("f", [1, 2])}]))
    assert text == (
        "value 2, ['a']: a value of type Array cannot be sent; send its tolist(), or its tobytes() as binary data"
    )
    for kind in "cmMOSUV":
        assert "supported are the types" in refusal(parser, Packet(EVENT, data=["e", neighbour, Scalar(kind, 1)]))


# ---------------------------------------------------------------------------------------------------------------------
# Nesting


def nested(depth: int, innermost: Any, key: str | None = None) -> Any:
    value = innermost
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


def unnested(value: Any) -> tuple[int, Any]:
    depth = 0
    while isinstance(value, (list, dict)) and value:
        (value,) = value.values() if isinstance(value, dict) else value
        depth += 1
    return depth, value


def call_in_depth(levels: int, function: Callable[[], Any]) -> Any:
    return call_in_depth(levels - 1, function) if levels else function()


@pytest.mark.parametrize("levels", [0, 700], ids=["shallow stack", "deep stack"])
@pytest.mark.parametrize("key", [None, "k"], ids=["lists", "dicts"])
@pytest.mark.parametrize("depth", [99, 101, 254, 255, 511, 512, 1022, 1024, 1025, 2000, 3999])
def test_deeply_nested_values_are_encoded_and_decoded(parser: Parser, depth: int, key: str | None, levels: int) -> None:
    for innermost in (0, b"0", "\u2028", 2**63):
        value = nested(depth, innermost, key)
        data = call_in_depth(levels, partial(there_and_back, parser, Packet(EVENT, data=["e", value])))
        assert unnested(data[1]) == (depth, innermost)


@pytest.mark.row("difference.nesting")
@pytest.mark.parametrize("levels", [0, 700], ids=["shallow stack", "deep stack"])
@pytest.mark.parametrize("key", [None, "k"], ids=["lists", "dicts"])
def test_values_nested_deeper_than_4000_levels_are_refused(parser: Parser, key: str | None, levels: int) -> None:
    def check() -> None:
        assert unnested(there_and_back(parser, Packet(EVENT, data=["e", nested(4000, 0, key)]))[1]) == (4000, 0)
        for too_deep in (nested(4001, 0, key), nested(4000, [], key), nested(100_000, b"0", key)):
            text = refusal(parser, Packet(EVENT, data=["e", {}, too_deep]))
            assert "or is nested too deeply (more than 4000 levels)" in text
            assert text.startswith("value 2, [")
            assert len(text) < 300

    call_in_depth(levels, check)


def test_binary_data_in_json_counts_as_one_level_of_nesting() -> None:
    assert unnested(there_and_back(PARSERS[0], Packet(EVENT, data=["e", nested(3999, b"0")]))[1]) == (3999, b"0")
    assert "nested too deeply" in refusal(PARSERS[0], Packet(EVENT, data=["e", nested(4000, b"0")]))


def test_a_value_that_contains_itself_is_refused(parser: Parser) -> None:
    for make in (contains_itself, maps_itself):
        assert "a value that contains itself" in refusal(parser, Packet(EVENT, data=["e", make()]))


@pytest.mark.parametrize("levels", [0, 700], ids=["shallow stack", "deep stack"])
@pytest.mark.parametrize("depth", [4001, 100_000])
@pytest.mark.parametrize(
    ("opening", "closing", "opening_byte"), [("[", "]", b"\x91"), ('{"k":', "}", b"\x81\xa1k")], ids=["lists", "dicts"]
)
def test_received_values_that_are_nested_too_deeply_are_refused(
    opening: str, closing: str, opening_byte: bytes, depth: int, levels: int
) -> None:
    text = f'2["e",{opening * depth}0{closing * depth}]'
    binary = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e" + opening_byte * depth + b"\x00"
    messages: tuple[str | bytes, ...] = (text, binary)
    for parser, message in zip(PARSERS, messages, strict=True):
        decoder = parser.decoder(1)
        with pytest.raises(PacketError, match="nested too deeply"):
            call_in_depth(levels, partial(decoder.feed, message))


# ---------------------------------------------------------------------------------------------------------------------
# The JSON that orjson refuses

space = st.text(" \t\r\n", max_size=2)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)


def spaced(draw: st.DrawFn, value: Any) -> str:
    if isinstance(value, list):
        inner = ",".join(spaced(draw, item) for item in value)
        text = f"[{draw(space)}{inner}{draw(space)}]"
    elif isinstance(value, dict):
        inner = ",".join(f"{draw(space)}{json.dumps(key)}{draw(space)}:{spaced(draw, value[key])}" for key in value)
        text = f"{{{draw(space)}{inner}}}"
    else:
        text = json.dumps(value)
    return f"{draw(space)}{text}{draw(space)}"


@st.composite
def texts(draw: st.DrawFn) -> str:
    """JSON, in which some characters behind the first may have been replaced. Before it, they would be the id."""
    text = '["\\ud800",' + spaced(draw, draw(values)) + "]"
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(1, len(text)))
        text = text[:at] + draw(st.text('[]{},:"0-.eE\\ tnN', max_size=2)) + text[at + draw(st.integers(0, 2)) :]
    return text


def refuse(constant: str) -> Any:
    raise ValueError(constant)


@quick
@given(texts())
def test_json_is_decoded_as_by_the_standard_library(text: str) -> None:
    decoder = PARSERS[0].decoder(1)
    try:
        wanted = json.loads(text, parse_constant=refuse)
    except ValueError:
        with pytest.raises(PacketError, match="payload"):
            decoder.feed("3" + text)
        return
    assume(isinstance(wanted, list) and "\\ud800" in text)  # else orjson reads it, or it is no acknowledgement
    packet = decoder.feed("3" + text)
    assert packet is not None
    assert repr(packet.data) == repr(wanted)


# ---------------------------------------------------------------------------------------------------------------------
# Properties

keys = st.one_of(
    st.text(max_size=2), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.booleans(), st.none(), st.dates()
)
good = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=2),
    st.binary(max_size=2),
)
bad = st.sampled_from([BAD, {1, 2}, 1j, object(), range(3), {(1, 2): 3}, {b"a": 1}, iter(()), math, int])


@st.composite
def with_one_bad(draw: st.DrawFn) -> tuple[Any, Any]:
    """Return a value, and the only value in it that cannot be sent."""
    culprit = draw(bad)
    value = culprit
    for _ in range(draw(st.integers(0, 6))):
        before, after = draw(st.lists(good, max_size=2)), draw(st.lists(good, max_size=2))
        if draw(st.booleans()):
            value = [*before, value, *after]
        else:
            unique = (lambda key: str(key).removesuffix(".0"), lambda key: key)  # True is equal to 1.0
            names = draw(st.lists(keys, min_size=5, max_size=5, unique_by=unique))
            value = dict(zip(names, [*before, value, *after], strict=False))
    return value, culprit


@quick
@given(with_one_bad(), st.lists(good, max_size=2), st.sampled_from(PARSERS))
def test_the_path_in_the_error_leads_to_the_value(pair: tuple[Any, Any], before: list[Any], parser: Parser) -> None:
    value, culprit = pair
    data = ["e", *before, value, "after"]
    text = refusal(parser, Packet(EVENT, data=data))
    found = re.match(r"value (\d+)(?:, (.*?\]))?: a (?:value of type|key of a dict)", text, re.DOTALL)
    assert found is not None, text
    assert data[int(found[1])] is value
    assert (found[2] or "") == "".join(f"[{step!r}]" for step in _steps(value, culprit))


def _steps(value: Any, culprit: Any) -> list[Any]:
    """Return the keys that lead from a value to the culprit in it."""
    if value is culprit:
        return []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if item is culprit:
            return [key]
        if isinstance(item, (list, dict)):
            try:
                return [key, *_steps(item, culprit)]
            except LookupError:
                continue
    raise LookupError


@quick
@given(st.floats() | st.integers(-(2**70), 2**70))
def test_numbers_are_formatted_as_in_javascript(number: Any) -> None:
    text = number_text(number)
    if math.isfinite(number):
        assert (int(text) if isinstance(number, int) else float(text)) == number
        assert re.fullmatch(r"0|-?([1-9]\d*|(0|[1-9]\d*)\.\d*[1-9]|[1-9](\.\d*[1-9])?e[+-][1-9]\d*)", text)
        assert ("e" in text) == (isinstance(number, float) and number != 0 and not 1e-6 <= abs(number) < 1e21)
    else:
        assert text in ("NaN", "Infinity", "-Infinity")


anything = st.recursive(
    st.one_of(keys, good, bad, st.dates(), st.times(), st.datetimes(), st.decimals(), st.complex_numbers(), st.text()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.frozensets(keys, max_size=2)
        | st.builds(Order, inner)
        | st.builds(lambda value: Invoice(theOrder=value), inner)
    ),
)


@quick
@given(st.lists(anything, max_size=3), st.sampled_from(PARSERS))
def test_any_value_is_encoded_or_refused(data: list[Any], parser: Parser) -> None:
    packet = Packet(EVENT, data=["e", *data])
    try:
        messages = parser.encoder().encode(packet)
    except PacketError as error:
        assert re.match(r"value [123](, (\[.*\])+)?: ", str(error), re.DOTALL), str(error)  # noqa: PT017
        return
    decoder = parser.decoder(1000)
    decoded = [decoder.feed(message) for message in messages][-1]
    assert decoded is not None
    assert len(decoded.data) == len(packet.data)
    once = there_and_back(parser, decoded)
    assert repr(once) == repr(decoded.data), "received values are sent unchanged"
