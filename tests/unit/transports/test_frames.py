"""The frame codec is equal to wsproto, in both directions, for any mixture of frames in any chunks."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from sansio_socketio.protocol.transports import frames as frames_module
from sansio_socketio.protocol.transports.deflate import Deflate
from sansio_socketio.protocol.transports.frames import Close, FrameCodec, Part, Ping
from tests.unit.transports.rig import BINARY, CLOSE_FRAME, CONTINUATION, PING_FRAME, PONG_FRAME, TEXT, frame

MOST = 70_000
SIZES = [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, MOST]
Result = list[object]


def deflate(threshold: int = 0) -> Deflate:
    extension = Deflate(threshold, MOST)
    extension.finalize("permessage-deflate")
    return extension


def codec(*extensions: Deflate, size: int = MOST) -> FrameCodec:
    return FrameCodec(size, Random(1), extensions)


def received(codec: FrameCodec, chunks: Sequence[bytes]) -> Result:
    """Return what the codec makes of the chunks, and the close code of a failure."""
    result: Result = []
    for chunk in chunks:
        codec.feed(chunk)
        while (item := codec.next_received()) is not None:
            if not isinstance(item, Part):
                result.append(item)
    if codec.failure is not None:
        result.append(codec.failure.code)
    return result


def expected(data: bytes, extension: Deflate) -> Result:
    """Return what wsproto makes of the bytes."""
    protocol = FrameProtocol(client=True, extensions=[extension])
    protocol.receive_bytes(data)
    result: Result = []
    message: Any = None
    try:
        for each in protocol.received_frames():
            payload: Any = each.payload
            if each.opcode is Opcode.PING:
                result.append(Ping(bytes(payload)))
            elif each.opcode is Opcode.CLOSE:
                result.append(Close(*payload))
            elif each.opcode in {Opcode.TEXT, Opcode.BINARY}:
                payload = payload if isinstance(payload, str) else bytes(payload)
                message = payload if message is None else message + payload
                if each.message_finished:
                    result.append(message)
                    message = None
    except ParseFailed as error:
        result.append(error.code)
    return result


def compressed(message: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


texts = st.text(max_size=300).map(str.encode)
payloads = st.one_of(texts, st.binary(max_size=300), st.sampled_from(SIZES).map(lambda size: b"x" * size))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One or several frames, most of which are valid."""
    kind = draw(st.sampled_from(["text", "binary", "plain", "compressed", "fragments", "control", "any", "garbage"]))
    if kind == "text":
        return frame(TEXT, draw(texts))
    if kind == "binary":
        return frame(BINARY, draw(payloads))
    if kind == "plain":
        return b"".join(frame(TEXT, b'42["a"]') for _ in range(draw(st.integers(1, 20))))
    if kind == "compressed":
        return frame(draw(st.sampled_from([TEXT, BINARY])), compressed(draw(texts)), rsv1=True)
    if kind == "fragments":
        parts = draw(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
        between = draw(st.sampled_from([b"", frame(PING_FRAME, b"?"), frame(TEXT, b"4")]))
        first, *rest = parts
        pieces = [frame(BINARY, first, fin=not rest)]
        pieces += [frame(CONTINUATION, part, fin=part is rest[-1]) for part in rest]
        return between.join(pieces)
    if kind == "control":
        opcode = draw(st.sampled_from([PING_FRAME, PONG_FRAME, CLOSE_FRAME]))
        return frame(opcode, b"\x03\xe8" if opcode == CLOSE_FRAME else draw(st.binary(max_size=125)))
    if kind == "any":
        head = bytes([draw(st.integers(0, 255)), draw(st.integers(0, 255))])
        return head + draw(st.binary(max_size=20))
    return draw(st.binary(max_size=20))


def cut(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for place in sorted({place % (len(data) + 1) for place in places}):
        yield data[start:place]
        start = place
    yield data[start:]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(frames(), max_size=8), st.lists(st.integers(0, 1 << 20), max_size=6))
@example([b"\x01\x01", b"\x81\x00"], [])
def test_received_frames_are_decoded_as_by_wsproto(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    mine = received(codec(deflate()), list(cut(data, places)))
    theirs = expected(data, deflate())
    if mine != theirs:  # wsproto refuses a header or a text before it is complete
        assert mine == theirs[:-1]
        assert isinstance(theirs[-1], CloseReason)
        if theirs[-1] is not CloseReason.INVALID_FRAME_PAYLOAD_DATA:
            assert received(codec(deflate()), [data + bytes(12)])[-1:] == theirs[-1:]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("chunk", [1, 3, 1_000, 1 << 20])
def test_messages_of_each_size_of_a_header(size: int, opcode: int, chunk: int) -> None:
    data = (frame(opcode, b"x" * size) + frame(TEXT, b"next")) * 2
    chunks = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    message = "x" * size if opcode == TEXT else b"x" * size
    assert received(codec(), chunks) == [message, "next"] * 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("threshold", [0, 1000, 1 << 20])
def test_sent_messages_are_decoded_by_wsproto(size: int, opcode: int, threshold: int) -> None:
    sender = codec(deflate(threshold))
    server = FrameProtocol(client=False, extensions=[deflate()])
    texts = ["é" * (size // 2) + "y" * (size % 2), "", "next"]
    messages: list[str | bytes] = [text if opcode == TEXT else text.encode() for text in texts]
    for compress in (True, False):
        for message in messages:
            server.receive_bytes(bytes(sender.encode(message, compress=compress)))
    sent: list[Any] = [each.payload for each in server.received_frames()]
    assert [each if isinstance(each, str) else bytes(each) for each in sent] == messages * 2


@pytest.mark.parametrize("has_numpy", [True, False])
@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 65_538, 65_539, 1 << 20])
def test_large_messages_are_masked_with_and_without_numpy(
    size: int, *, has_numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_numpy:
        monkeypatch.setattr(frames_module, "_numpy", lambda: None)
    message = Random(size).randbytes(size)
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(bytes(codec().encode(message, compress=True)))
    assert b"".join([bytes(each.payload) for each in server.received_frames()]) == message  # type: ignore[arg-type]


def test_numpy_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert frames_module._numpy.__wrapped__() is None


@given(st.integers(0, 20_000), st.integers(0, 1 << 16))
def test_any_size_is_masked(size: int, seed: int) -> None:
    message = Random(seed).randbytes(size)
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(bytes(FrameCodec(MOST, Random(seed)).encode(message, compress=True)))
    [sent] = server.received_frames()
    payload: Any = sent.payload
    assert bytes(payload) == message


def test_each_frame_has_a_new_masking_key() -> None:
    sender = codec()
    keys = {bytes(sender.encode(b"", compress=True))[2:6] for _ in range(1000)}
    assert len(keys) == 1000


@pytest.mark.parametrize("size", [10, 126, 70_000])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_messages_after_a_close_frame_are_discarded(size: int, chunk: int) -> None:
    """A message that is being received is discarded as well."""
    closing = codec()
    message = frame(TEXT, b"x" * size)
    closing.feed(message[: size // 2])
    assert closing.next_received() is None
    closing.close(1000)
    data = message[size // 2 :] + frame(BINARY, b"y") + frame(CLOSE_FRAME, b"\x03\xe8") + message
    chunks = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    assert received(closing, chunks) == [Close(1000, "")]
