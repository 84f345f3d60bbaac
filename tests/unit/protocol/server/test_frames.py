"""The frames of a client are decoded by a server's codec, and those of a server by a client's, in every chunking."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.transports.frames import FrameCodec, unmasked_frame

SIZES = st.sampled_from([0, 1, 4, 125, 126, 127, 300, 65_535, 65_536, 70_000])
MESSAGES = st.lists(
    st.text(max_size=5) | st.binary(max_size=5) | SIZES.map(lambda size: "x" * size) | SIZES.map(bytes), max_size=6
)


@pytest.mark.parametrize("from_client", [True, False])
@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 300_000), max_size=6))
@settings(deadline=None, max_examples=60)
def test_messages_survive(from_client: bool, messages: list[str | bytes], cuts: list[int]) -> None:
    sender = FrameCodec(100_000, Random(1), client=True)
    receiver = FrameCodec(100_000, Random(1), client=not from_client)
    encoded = [sender.encode(each, compress=False) if from_client else unmasked_frame(each) for each in messages]
    data = b"".join(encoded)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    received = []
    for start, stop in pairwise(places):
        receiver.feed(data[start:stop])
        while (message := receiver.next_received()) is not None:
            received.append(message)
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
