"""Engine.IO packets, payloads and the handshake: encoding, decoding, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.errors import PacketError
from sansio_socketio.protocol.packets.engineio import (
    CLOSE,
    MESSAGE,
    NOOP,
    OPEN,
    PING,
    PONG,
    UPGRADE,
    Handshake,
    Packet,
    decode_frame,
    decode_handshake,
    decode_payload,
    encode_frame,
    encode_payload,
    encoded_size,
)

quick = settings(max_examples=200, deadline=None)


def encode_leniently(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e"))
packets = st.builds(Packet, st.sampled_from("0123456"), texts) | st.builds(Packet, st.just(MESSAGE), st.binary())

FRAMES = [
    (Packet(OPEN, '{"sid":"x"}'), '0{"sid":"x"}'),
    (Packet(CLOSE), "1"),
    (Packet(PING), "2"),
    (Packet(PING, "probe"), "2probe"),
    (Packet(PONG, "probe"), "3probe"),
    (Packet(MESSAGE, "hello"), "4hello"),
    (Packet(MESSAGE, ""), "4"),
    (Packet(MESSAGE, "é€😀"), "4é€😀"),
    (Packet(UPGRADE), "5"),
    (Packet(NOOP), "6"),
    (Packet(MESSAGE, b"\x00\x01\x02\x03"), b"\x00\x01\x02\x03"),
    (Packet(MESSAGE, b""), b""),
]

BASE64 = [
    (b"", "b"),
    (b"\x00", "bAA=="),
    (b"\x00\x01", "bAAE="),
    (b"\x00\x01\x02", "bAAEC"),
    (b"\xfb\xff", "b+/8="),
    (bytes(range(30)), "bAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"),
]


@pytest.mark.parametrize(("packet", "frame"), FRAMES)
def test_each_packet_type_is_encoded_and_decoded_as_a_frame(packet: Packet, frame: str | bytes) -> None:
    assert encode_frame(packet) == frame
    assert decode_frame(frame) == packet


@pytest.mark.parametrize(("data", "frame"), BASE64)
def test_forced_base64_encodes_binary_messages_as_text(data: bytes, frame: str) -> None:
    assert encode_frame(Packet(MESSAGE, data), force_base64=True) == frame
    assert decode_frame(frame) == Packet(MESSAGE, data)
    assert decode_frame(frame.rstrip("=")) == Packet(MESSAGE, data), "padding may be missing"


def test_forced_base64_does_not_change_text() -> None:
    assert encode_frame(Packet(MESSAGE, "bold"), force_base64=True) == "4bold"


def test_binary_data_is_not_copied() -> None:
    data = bytes(100)
    assert encode_frame(Packet(MESSAGE, data)) is data
    assert decode_frame(data).data is data


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        ("", "from 0 to 6, not with ''"),
        ("7", "not with '7'"),
        ("²", "not with '²'"),
        ("٣", "not with '٣'"),
        ("-1", "not with '-'"),
        (" 4", "not with ' '"),
        ("B", "not with 'B'"),
        ("bA", "base64"),
        ("bAAAAA", "base64"),
        ("b=", "base64"),
        ("b====", "base64"),
        ("bAA==AA==", "base64"),
        ("bA A=", "base64"),
        ("bAA\n==", "base64"),
        ("b-_8=", "base64"),
        ("bé", "base64"),
    ],
)
def test_an_invalid_frame_is_a_packet_error(frame: str, complaint: str) -> None:
    with pytest.raises(PacketError, match=complaint):
        decode_frame(frame)


def test_packets_are_equal_by_type_and_data() -> None:
    assert Packet(MESSAGE, "a", compress=False) == Packet(MESSAGE, "a")
    assert Packet(MESSAGE, "a") != Packet(MESSAGE, "b")
    assert Packet(PING, "a") != Packet(PONG, "a")
    assert repr(Packet(MESSAGE, "a")) == "Packet(type='4', data='a', compress=True)"


# ---------------------------------------------------------------------------------------------------------------------
# Payloads


@pytest.mark.parametrize(
    ("packets", "body"),
    [
        ([Packet(CLOSE)], b"1"),
        ([Packet(MESSAGE, "a"), Packet(MESSAGE, "€"), Packet(PONG)], b"4a\x1e4\xe2\x82\xac\x1e3"),
        ([Packet(MESSAGE, "a"), Packet(MESSAGE, b"\x00\x01"), Packet(MESSAGE, b"")], b"4a\x1ebAAE=\x1eb"),
    ],
)
def test_payloads_are_encoded_and_decoded(packets: list[Packet], body: bytes) -> None:
    assert encode_payload(packets) == body
    assert list(decode_payload(body)) == packets


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "is empty"),
        (b"\x1e", "not with ''"),
        (b"4a\x1e", "not with ''"),
        (b"\x1e4a", "not with ''"),
        (b"4a\x1e\x1e4b", "not with ''"),
        (b"4a\x1e7", "not with '7'"),
        (b"4\xff", "UTF-8: invalid start byte at byte 1"),
        (b"4\xe2\x82", "UTF-8: unexpected end of data at byte 1"),
        (b"4\xed\xa0\x80", "UTF-8"),  # an unpaired surrogate
        (b"<html>502 Bad Gateway</html>", "not with '<'"),
    ],
)
def test_an_invalid_payload_is_a_packet_error(body: bytes, complaint: str) -> None:
    with pytest.raises(PacketError, match=complaint):
        list(decode_payload(body))


@quick
@given(st.lists(packets, min_size=1))
def test_encoded_packets_decode_to_equal_packets(sent: list[Packet]) -> None:
    assert list(decode_payload(encode_payload(sent))) == sent
    assert [decode_frame(encode_frame(packet)) for packet in sent] == sent
    assert [decode_frame(encode_frame(packet, force_base64=True)) for packet in sent] == sent


@quick
@given(packets)
def test_the_encoded_size_is_the_length_in_a_payload(packet: Packet) -> None:
    assert encoded_size(packet) == len(encode_payload([packet]))


def test_an_unpaired_surrogate_has_an_encoded_size_of_three_bytes() -> None:
    assert encoded_size(Packet(MESSAGE, "\ud800")) == 4


@quick
@given(st.text() | st.text("0123456b=A\x1e") | st.binary())
def test_decoding_any_frame_gives_a_packet_or_a_packet_error(frame: str | bytes) -> None:
    with suppress(PacketError):
        assert isinstance(decode_frame(frame), Packet)


@quick
@given(st.text().map(encode_leniently) | st.text("0123456b=A\x1e").map(str.encode) | st.binary())
def test_decoding_any_payload_gives_packets_or_a_packet_error(body: bytes) -> None:
    with suppress(PacketError):
        assert list(decode_payload(body))


# ---------------------------------------------------------------------------------------------------------------------
# The handshake

HANDSHAKE: dict[str, Any] = {
    "sid": "lv_VI97HAXpY6yYWAAAC",
    "upgrades": ["websocket"],
    "pingInterval": 25000,
    "pingTimeout": 20500.5,
    "maxPayload": 1000000,
}


def test_a_handshake_is_decoded_with_times_in_seconds() -> None:
    assert decode_handshake(json.dumps(HANDSHAKE)) == Handshake(
        sid="lv_VI97HAXpY6yYWAAAC",
        upgrades=("websocket",),
        ping_interval=25.0,
        ping_timeout=20.5005,
        max_payload=1000000,
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"upgrades": []}, {"upgrades": ()}),
        ({"upgrades": ["websocket", "webtransport"]}, {"upgrades": ("websocket", "webtransport")}),
        ({"maxPayload": None}, {"max_payload": None}),
        ({"maxPayload": 1}, {"max_payload": 1}),
        ({"pingInterval": 0.5}, {"ping_interval": 0.0005}),
        ({"pingTimeout": 10**30}, {"ping_timeout": 10.0**27}),
        ({"unknown": [1]}, {}),
    ],
)
def test_valid_variations_of_a_handshake_are_decoded(change: dict[str, Any], expected: dict[str, Any]) -> None:
    handshake = decode_handshake(json.dumps(HANDSHAKE | change))
    assert {name: getattr(handshake, name) for name in expected} == expected


def test_a_handshake_without_max_payload_has_no_limit() -> None:
    fields = {name: value for name, value in HANDSHAKE.items() if name != "maxPayload"}
    assert decode_handshake(json.dumps(fields)).max_payload is None


@pytest.mark.parametrize("missing", ["sid", "upgrades", "pingInterval", "pingTimeout"])
def test_a_missing_handshake_field_is_named_in_the_error(missing: str) -> None:
    fields = {name: value for name, value in HANDSHAKE.items() if name != missing}
    with pytest.raises(PacketError, match=f"{missing} in the Engine.IO handshake must be .*; it is absent"):
        decode_handshake(json.dumps(fields))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sid", [("", "an empty string"), (None, "null"), (5, "5"), (["x"], "an array")]),
        ("upgrades", [(None, "null"), ("websocket", "a string"), ({}, "an object"), ([1], "an array")]),
        ("pingInterval", [(0, "0"), (-1, "-1"), (-0.5, "-0.5"), (True, "a boolean"), ("25000", "a string")]),
        ("pingTimeout", [(0, "0"), (-1, "-1"), (-0.5, "-0.5"), (None, "null"), ([], "an array")]),
        ("maxPayload", [(0, "0"), (-1, "-1"), (1.5, "1.5"), (True, "a boolean"), ("1000", "a string")]),
    ],
)
def test_an_invalid_handshake_field_is_named_in_the_error(name: str, values: list[tuple[object, str]]) -> None:
    for value, found in values:
        with pytest.raises(PacketError) as caught:
            decode_handshake(json.dumps(HANDSHAKE | {name: value}))
        assert str(caught.value).startswith(f"{name} in the Engine.IO handshake must be ")
        assert str(caught.value).endswith(f"; it is {found}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"sid":NaN}', "not valid JSON"),
        ('{"pingInterval":1e999}', "not valid JSON"),
        ('{"sid":"\\ud800"}', "not valid JSON"),
        ('{"sid":"\ud800"}', "not valid JSON"),
        ("[" * 50_000, "not valid JSON"),
        (" " * 100_000, "has 100000 characters; at most 65536 are accepted"),
        ("[" * 1000 + "]" * 1000, "must be a JSON object"),
        ('{"sid":' * 1000 + "0" + "}" * 1000, "sid in the Engine.IO handshake must be"),
        ("null", "must be a JSON object, not null"),
        ('["x"]', "must be a JSON object, not an array"),
        (json.dumps("x" * 1000), "must be a JSON object, not a string$"),
    ],
)
def test_an_invalid_handshake_is_a_packet_error(text: str, complaint: str) -> None:
    with pytest.raises(PacketError, match=complaint):
        decode_handshake(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@quick
@given(st.text() | st.fixed_dictionaries({}, optional=dict.fromkeys(HANDSHAKE, json_values)).map(json.dumps))
def test_decoding_any_text_gives_a_handshake_or_a_packet_error(text: str) -> None:
    with suppress(PacketError):
        assert isinstance(decode_handshake(text), Handshake)
