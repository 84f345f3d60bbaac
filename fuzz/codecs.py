"""The properties of the codecs: decoding raises only PacketError, and decoded packets survive encoding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

from fuzz.driver import shown
from sansio_socketio.protocol.errors import PacketError
from sansio_socketio.protocol.packets.engineio import (
    decode_frame,
    decode_handshake,
    decode_payload,
    encode_frame,
    encode_payload,
    encoded_size,
)
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import JSONParser, Parser
from sansio_socketio.protocol.packets.socketio import Packet as SocketPacket

_MAX_ATTACHMENTS: Final = 5
_MESSAGES: Final = re.compile(rb"([\x00\x01])")


def check_engineio_packet(data: bytes) -> None:
    """A WebSocket message is a packet or a PacketError. A packet survives encoding, as text and as binary."""
    packets = [decode_frame(data)]  # a binary message is always a packet
    with suppress(PacketError):
        packets.append(decode_frame(data.decode(errors="replace")))
    for packet in packets:
        assert decode_frame(encode_frame(packet)) == packet
        assert decode_frame(encode_frame(packet, force_base64=True)) == packet


def check_engineio_payload(data: bytes) -> None:
    """An HTTP body is at least one packet or a PacketError. The packets survive encoding, in the size announced."""
    try:
        packets = list(decode_payload(data))
    except PacketError:
        return
    assert packets
    encoded = encode_payload(packets)
    assert list(decode_payload(encoded)) == packets
    assert len(encoded) == sum(map(encoded_size, packets)) + len(packets) - 1


def check_engineio_handshake(data: bytes) -> None:
    """An OPEN packet is a handshake within its bounds or a PacketError."""
    try:
        handshake = decode_handshake(data.decode(errors="replace"))
    except PacketError:
        return
    assert handshake.sid
    assert all(isinstance(name, str) for name in handshake.upgrades)
    assert handshake.ping_interval >= 0
    assert handshake.ping_timeout >= 0
    assert handshake.max_payload is None or handshake.max_payload > 0


def check_socketio(data: bytes) -> None:
    """Messages are packets or PacketErrors. After an error the decoder is as good as new.

    The messages are separated by 0, before text, and 1, before binary data.
    """
    _check_parser(JSONParser(), _messages(data))


def check_msgpack(data: bytes) -> None:
    """A message is a packet or a PacketError."""
    _check_parser(MessagePackParser(), [data])


def _messages(data: bytes) -> Iterator[str | bytes]:
    first, *rest = _MESSAGES.split(data)
    yield first.decode(errors="replace")
    for kind, message in list(pairwise(rest))[::2]:
        yield message if kind == b"\x01" else message.decode(errors="replace")


def _check_parser(parser: Parser, messages: Iterator[str | bytes] | list[str | bytes]) -> None:
    decoder = parser.decoder(_MAX_ATTACHMENTS)
    fresh = parser.decoder(_MAX_ATTACHMENTS)
    for message in messages:
        result = _feed(decoder, message)
        assert shown(_feed(fresh, message)) == shown(result), "state of an earlier error or packet is left"
        if result is not None:  # nothing is incomplete
            fresh = parser.decoder(_MAX_ATTACHMENTS)
        if isinstance(result, SocketPacket):
            _check_round_trip(parser, result)


def _feed(decoder: Any, message: str | bytes) -> SocketPacket | PacketError | None:
    try:
        packet: SocketPacket | None = decoder.feed(message)
    except PacketError as error:
        return error
    assert packet is None or packet.size >= 0
    return packet


def _check_round_trip(parser: Parser, packet: SocketPacket) -> None:
    encoder, decoder = parser.encoder(), parser.decoder(_MAX_ATTACHMENTS)
    try:
        messages = encoder.encode(packet)
    except PacketError:
        assert not packet.namespace.startswith("/") or set(",\x1e") & set(packet.namespace)
        return
    if len(messages) > _MAX_ATTACHMENTS + 1:  # an attachment may be in several places
        return
    decoded = None
    for message in messages:
        assert decoded is None, "the packet is complete before its last message"
        decoded = decoder.feed(message)
    assert decoded is not None
    if "datetime" in shown(packet):  # which is sent in milliseconds
        assert (decoded.type, decoded.namespace, decoded.id) == (packet.type, packet.namespace, packet.id)
    else:
        decoded.size = packet.size
        assert shown(decoded) == shown(packet)  # NaN does not equal itself
