"""The frames of a client are decoded by a server's codec, and those of a server by a client's, in every chunking."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.transports.frames import Close, FrameCodec, Ping, ServerFrameCodec, unmasked_frame
from tests.unit.protocol.server.rig import frame

SIZES = st.sampled_from([0, 1, 4, 125, 126, 127, 300, 65_535, 65_536, 70_000])
MESSAGES = st.lists(
    st.text(max_size=5) | st.binary(max_size=5) | SIZES.map(lambda size: "x" * size) | SIZES.map(bytes), max_size=6
)


@pytest.mark.parametrize("from_client", [True, False])
@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 300_000), max_size=6))
@settings(deadline=None, max_examples=60)
def test_messages_survive(from_client: bool, messages: list[str | bytes], cuts: list[int]) -> None:
    sender = FrameCodec(100_000, Random(1), client=True)
    receiver = ServerFrameCodec(100_000, Random(1)) if from_client else FrameCodec(100_000, Random(1))
    encoded = [sender.encode(each, compress=False) if from_client else unmasked_frame(each) for each in messages]
    data = b"".join(encoded)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    received = []
    for start, stop in pairwise(places):
        receiver.feed(data[start:stop])
        while (message := receiver.next_received()) is not None:
            received += [message] if isinstance(message, (str, bytes)) else []
    assert received == messages
    assert receiver.failure is None


@pytest.mark.parametrize("size", [1, 200, 70_000])
def test_a_frame_of_the_wrong_side_is_invalid(size: int) -> None:
    masked = FrameCodec(100_000, Random(1)).encode("x" * size, compress=False)
    for data, is_client in ((masked, True), (unmasked_frame("x" * size), False)):
        receiver = FrameCodec(100_000, Random(1), client=is_client)
        receiver.feed(data)
        assert receiver.next_received() is None
        assert receiver.failure is not None
        assert receiver.failure.code == 1002


FRAMES = st.lists(
    st.builds(
        frame,
        st.text(max_size=3) | st.binary(max_size=3) | SIZES.map(bytes),
        st.sampled_from([None, 0, 1, 2, 8, 9, 10, 3]),
        final=st.booleans(),
        masked=st.sampled_from([True, True, True, False]),
    )
    | st.just(frame("abc"))
    | st.binary(max_size=8),
    max_size=6,
)


def decoded(codec: FrameCodec, data: bytes, cuts: list[int]) -> tuple[list[object], object]:
    """What is received, and how it fails."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    received: list[object] = []
    for start, stop in pairwise(places):
        codec.feed(data[start:stop])
        while (each := codec.next_received()) is not None:
            received += [each] if isinstance(each, (str, bytes, Ping, Close)) else []
    return received, None if codec.failure is None else (codec.failure.code, codec.failure.message)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 300_000), max_size=6))
@settings(deadline=None, max_examples=300)
def test_small_frames_are_decoded_as_by_wsproto(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    slow = decoded(FrameCodec(1000, Random(1), client=False), data, [])
    assert decoded(ServerFrameCodec(1000, Random(1)), data, cuts) == slow


@pytest.mark.parametrize("size", [1, 125])
def test_no_message_is_decoded_after_the_close_handshake_began_or_ended(size: int) -> None:
    for ends in ("here", "there"):
        codec = ServerFrameCodec(1000, Random(1))
        if ends == "here":
            codec.close(1000)
        codec.feed((frame(b"", opcode=8) if ends == "there" else b"") + frame("x" * size))
        received = [codec.next_received() for _ in range(3)]
        assert not [each for each in received if isinstance(each, str)]
