"""permessage-deflate against raw zlib: negotiation, sending, receiving, and bounds."""

from __future__ import annotations

import zlib
from random import Random
from typing import Any

import pytest

from sansio_socketio.protocol.packets.engineio import Packet
from tests.unit.transports.rig import (
    BINARY,
    CONTINUATION,
    FIN,
    PING_FRAME,
    PONG_FRAME,
    RSV1,
    TEXT,
    TransportRig,
    client_frames,
    frame,
    open_websocket,
    switching,
)

TAIL = b"\x00\x00\xff\xff"
TEXT_OUT = 0x81
LONG = "x" * 2000


def accepted(parameters: str = "") -> bytes:
    return b"Sec-WebSocket-Extensions: permessage-deflate" + parameters.encode()


class PeerCompression:
    """The compression of the peer."""

    def __init__(self, bits: int = 15) -> None:
        self.deflater = zlib.compressobj(wbits=-bits)
        self.inflater = zlib.decompressobj(-15)

    def pack(self, data: bytes) -> bytes:
        return (self.deflater.compress(data) + self.deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def unpack(self, data: bytes) -> bytes:
        return self.inflater.decompress(data + TAIL)


def received(rig: TransportRig, *frames: bytes) -> list[str | bytes]:
    for data in frames:
        rig.feed(1, data)
    return [data for _, _, data in rig.calls]


def sent(rig: TransportRig, *packets: Packet) -> list[tuple[int, bytes]]:
    rig.send(*packets)
    rig.flush()
    return client_frames(rig.take(1))


# ---------------------------------------------------------------------------------------------------------------------
# The handshake


def handshake(header: bytes, **options: Any) -> TransportRig:
    rig = TransportRig("websocket", **options)
    rig.open()
    rig.stream_opened(1)
    rig.feed(1, switching(rig.take(1), header))
    return rig


@pytest.mark.parametrize(("option", "offered"), [(True, True), (0, True), (500, True), (False, False)])
def test_the_extension_is_offered_unless_it_is_disabled(option: bool | int, offered: bool) -> None:
    rig = TransportRig("websocket", per_message_deflate=option)
    rig.open()
    rig.stream_opened(1)
    offer = b"\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    assert (offer in rig.take(1)) is offered


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "; server_no_context_takeover",
        ";client_no_context_takeover ; server_max_window_bits = 8",
        '; client_max_window_bits="10"',
        "; client_max_window_bits=15; client_no_context_takeover; server_no_context_takeover",
    ],
)
def test_valid_parameters_of_the_server_are_accepted(parameters: str) -> None:
    assert handshake(accepted(parameters)).calls == [("open", True)]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("; nonsense", "an unknown parameter of permessage-deflate"),
        (";", "an unknown parameter of permessage-deflate"),
        ("; client_max_window_bits", "takes a number from 8 to 15, but the server set another value"),
        ("; client_max_window_bits=", "takes a number from 8 to 15, but the server set another value"),
        ("; client_max_window_bits=7", "takes a number from 8 to 15, but the server set another value"),
        ("; server_max_window_bits=16", "takes a number from 8 to 15, but the server set another value"),
        ("; server_max_window_bits=010", "takes a number from 8 to 15, but the server set another value"),
        ('; server_max_window_bits="', "takes a number from 8 to 15"),
        ("; server_max_window_bits=9=9", "takes a number from 8 to 15"),
        ("; server_no_context_takeover=1", "takes no value, but the server set one"),
        ("; client_no_context_takeover; client_no_context_takeover", "'client_no_context_takeover' twice"),
        ("; server_max_window_bits=9; server_max_window_bits=9", "'server_max_window_bits' twice"),
        (", permessage-deflate", "accepted permessage-deflate twice"),
        (", permessage-bzip2", "an extension that was not offered"),
        (",", "an extension that was not offered"),
    ],
)
def test_invalid_parameters_fail_the_handshake(parameters: str, expected: str) -> None:
    error = handshake(accepted(parameters)).failure()
    assert str(error).startswith("the WebSocket handshake with localhost:3000 failed: ")
    assert expected in str(error)


def test_an_extension_that_was_not_offered_fails_the_handshake() -> None:
    assert "an extension that was not offered" in str(handshake(accepted(), per_message_deflate=False).failure())


# ---------------------------------------------------------------------------------------------------------------------
# Sending


def test_long_messages_are_compressed() -> None:
    server = PeerCompression()
    rig = open_websocket(accepted())
    for _ in range(3):
        [(first, payload)] = sent(rig, Packet("4", LONG))
        assert first == TEXT_OUT | RSV1
        assert len(payload) < 50
        assert server.unpack(payload) == b"4" + LONG.encode()
    [(first, payload)] = sent(rig, Packet("4", LONG.encode()))
    assert first == FIN | BINARY | RSV1
    assert server.unpack(payload) == LONG.encode()


@pytest.mark.parametrize(
    ("option", "size", "compressed"), [(True, 1023, False), (True, 1024, True), (10, 9, False), (10, 10, True)]
)
def test_messages_below_the_threshold_are_not_compressed(option: bool | int, size: int, compressed: bool) -> None:
    rig = open_websocket(accepted(), per_message_deflate=option)
    [(first, _)] = sent(rig, Packet("4", "x" * (size - 1)))
    assert bool(first & RSV1) is compressed


def test_a_message_can_be_sent_uncompressed() -> None:
    server = PeerCompression()
    rig = open_websocket(accepted())
    frames = sent(rig, Packet("4", LONG), Packet("4", LONG, compress=False), Packet("4", LONG))
    assert [bool(first & RSV1) for first, _ in frames] == [True, False, True]
    assert frames[1][1] == b"4" + LONG.encode()
    assert server.unpack(frames[0][1]) == server.unpack(frames[2][1]) == frames[1][1]


def test_an_empty_message_is_never_compressed() -> None:
    rig = open_websocket(accepted(), per_message_deflate=0)
    frames = sent(rig, Packet("4", b""), Packet("4", b""), Packet("4", b"x"))
    assert [(bool(first & RSV1), len(payload) > 0) for first, payload in frames] == [
        (False, False),
        (False, False),
        (True, True),
    ]


def test_without_context_takeover_each_message_is_compressed_independently() -> None:
    rig = open_websocket(accepted("; client_no_context_takeover"))
    payloads = [sent(rig, Packet("4", LONG))[0][1] for _ in range(2)]
    assert payloads[0] == payloads[1]
    assert [PeerCompression().unpack(payload) for payload in payloads] == [b"4" + LONG.encode()] * 2


def test_with_context_takeover_a_repeated_message_is_short() -> None:
    rig = open_websocket(accepted())
    noise = Random(1).randbytes(3000).hex()
    first, second = (sent(rig, Packet("4", noise))[0][1] for _ in range(2))
    assert len(second) < len(first) / 10


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_the_window_size_that_the_server_requests_is_used(bits: int) -> None:
    rig = open_websocket(accepted(f"; client_max_window_bits={bits}"), per_message_deflate=0)
    inflater = zlib.decompressobj(-bits)
    noise = Random(1).randbytes(1 << (bits - 1)).hex() + "between"  # repeats at a distance just beyond the window
    [(_, payload)] = sent(rig, Packet("4", noise * 2))
    # In one go, zlib would use its output instead of its window.
    inflated = b"".join(inflater.decompress(bytes([byte])) for byte in payload + TAIL)
    assert inflated == b"4" + noise.encode() * 2


def test_with_a_window_size_that_zlib_lacks_messages_are_not_compressed() -> None:
    rig = open_websocket(accepted("; client_max_window_bits=8"))
    assert sent(rig, Packet("4", LONG)) == [(TEXT_OUT, b"4" + LONG.encode())]


def test_control_frames_are_not_compressed() -> None:
    rig = open_websocket(accepted(), per_message_deflate=0)
    rig.feed(1, frame(PING_FRAME, b"hello"))
    assert client_frames(rig.take(1)) == [(FIN | PONG_FRAME, b"hello")]


# ---------------------------------------------------------------------------------------------------------------------
# Receiving


def test_compressed_and_uncompressed_messages_are_received() -> None:
    server = PeerCompression()
    rig = open_websocket(accepted())
    frames = [
        frame(TEXT, server.pack(b"4one"), rsv1=True),
        frame(TEXT, b"4two"),
        frame(BINARY, server.pack(b"three"), rsv1=True),
        frame(TEXT, server.pack(b"4one"), rsv1=True),
    ]
    assert received(rig, *frames) == ["one", "two", b"three", "one"]


@pytest.mark.parametrize("bits", [9, 15])
def test_any_window_size_of_the_server_is_supported(bits: int) -> None:
    server = PeerCompression(bits)
    rig = open_websocket(accepted(f"; server_max_window_bits={bits}"))
    noise = Random(1).randbytes(40_000)
    assert received(
        rig, frame(BINARY, server.pack(noise), rsv1=True), frame(BINARY, server.pack(noise), rsv1=True)
    ) == [
        noise,
        noise,
    ]


def test_without_context_takeover_each_message_is_decompressed_independently() -> None:
    rig = open_websocket(accepted("; server_no_context_takeover"))
    assert received(rig, *(frame(TEXT, PeerCompression().pack(b"4one"), rsv1=True) for _ in range(3))) == ["one"] * 3


def test_control_frames_may_arrive_between_compressed_fragments() -> None:
    server = PeerCompression()
    rig = open_websocket(accepted())
    data = server.pack(b"4hello hello hello")
    frames = [
        frame(TEXT, data[:3], fin=False, rsv1=True),
        frame(PING_FRAME, b"one"),
        frame(CONTINUATION, data[3:6], fin=False),
        frame(PONG_FRAME),
        frame(CONTINUATION, data[6:]),
    ]
    assert received(rig, *frames) == ["hello hello hello"]
    assert client_frames(rig.take(1)) == [(FIN | PONG_FRAME, b"one")]
    assert received(rig, frame(TEXT, server.pack(b"4again"), rsv1=True)) == ["again"]


def test_a_message_may_end_with_a_final_block() -> None:
    # RFC 7692, section 7.2.3.4: "Hello" in a block with BFINAL, and in one without (7.2.3.1).
    final, plain = bytes.fromhex("f348cdc9c9070000"), bytes.fromhex("f248cdc9c90700")
    rig = open_websocket(accepted())
    frames = [frame(BINARY, data, rsv1=True) for data in (final, plain, final)]
    assert received(rig, *frames) == [b"Hello"] * 3


def test_stored_blocks_and_several_blocks_are_decompressed() -> None:
    # RFC 7692, sections 7.2.3.3 and 7.2.3.5.
    stored, two = bytes.fromhex("000500faff48656c6c6f00"), bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", ""))
    rig = open_websocket(accepted())
    assert received(rig, frame(BINARY, stored, rsv1=True), frame(BINARY, two, rsv1=True)) == [b"Hello"] * 2


def broken(rig: TransportRig, code: int, expected: str) -> None:
    error = rig.failure()
    assert expected in str(error)
    assert error.close_code == code
    assert client_frames(rig.take(1))[-1][1][:2] == code.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("data", "code", "expected"),
    [
        (frame(TEXT, b"\xff\xff\xff", rsv1=True), 1007, "cannot be decompressed"),
        (frame(TEXT, bytes.fromhex("f348cdc9c90700") * 3, rsv1=True), 1007, "it ends more than once"),
        (
            frame(TEXT, PeerCompression().pack(b"4\xff"), rsv1=True),
            1007,
            "not valid UTF-8: invalid start byte at byte 1",
        ),
        (frame(PING_FRAME, b"x", rsv1=True), 1002, "Reserved bit"),
        (frame(TEXT, b"4", fin=False) + frame(CONTINUATION, b"x", rsv1=True), 1002, "Reserved bit"),
        (frame(CONTINUATION, b"x"), 1002, "unexpected CONTINUATION"),
        (
            frame(TEXT, b"4", fin=False) + frame(TEXT, PeerCompression().pack(b"4"), rsv1=True),
            1002,
            "expected CONTINUATION",
        ),
        (frame(TEXT, b"4", fin=False) + frame(TEXT, b"\xff\xff", rsv1=True), 1002, "expected CONTINUATION"),
    ],
)
def test_invalid_compressed_frames_close_the_websocket(data: bytes, code: int, expected: str) -> None:
    rig = open_websocket(accepted())
    rig.feed(1, data)
    broken(rig, code, expected)


def test_compression_that_was_not_negotiated_closes_the_websocket() -> None:
    rig = open_websocket()
    rig.feed(1, frame(TEXT, PeerCompression().pack(b"4one"), rsv1=True))
    broken(rig, 1002, "Reserved bit")


BOUND = 10_000
TOO_LARGE = "a message is larger than max_message_size (10000 bytes)"


@pytest.mark.parametrize("fragments", [1, 2, 5])
def test_max_message_size_applies_to_the_decompressed_message(fragments: int) -> None:
    server = PeerCompression()
    rig = open_websocket(accepted(), max_message_size=BOUND)

    def message(size: int) -> bytes:
        data = server.pack(bytes(size))
        step = -(-len(data) // fragments)
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        last = len(pieces) - 1
        return b"".join(
            frame(CONTINUATION if index else BINARY, piece, fin=index == last, rsv1=not index)
            for index, piece in enumerate(pieces)
        )

    assert received(rig, message(BOUND), message(BOUND)) == [bytes(BOUND)] * 2
    rig.feed(1, message(BOUND + 1))
    broken(rig, 1009, TOO_LARGE)


def test_decompression_stops_at_max_message_size() -> None:
    bomb = PeerCompression().pack(bytes(200_000_000))
    rig = open_websocket(accepted(), max_message_size=BOUND)
    data = frame(BINARY, bomb, rsv1=True)
    rig.feed(1, data[:100])
    broken(rig, 1009, TOO_LARGE)


def test_many_empty_blocks_give_an_empty_message() -> None:
    rig = open_websocket(accepted(), max_message_size=BOUND)
    rig.feed(1, frame(BINARY, (b"\x00" + TAIL) * 50_000, fin=False, rsv1=True))
    rig.feed(1, frame(CONTINUATION, b"\x00") + frame(TEXT, b"4on"))
    assert rig.calls == [("packet", "4", b""), ("packet", "4", "on")]
