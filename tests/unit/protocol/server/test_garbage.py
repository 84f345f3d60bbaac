"""Whatever bytes arrive, in whatever chunks: nothing raises, and the chunks change nothing."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.server import Recovery
from tests.unit.protocol.server.rig import WEBSOCKET, SocketRig, frame, request

GET = request("GET", "EIO=4&transport=polling", path="/socket.io/")
WS = request("GET", "EIO=4&transport=websocket", headers=WEBSOCKET, path="/socket.io/")
SID = "AAAAAAAAAAAAAAAAAAAA"  # stands for that of the first session


def about(method: str, body: bytes | None = None, headers: bytes = b"") -> bytes:
    kind = "websocket" if headers == WEBSOCKET else "polling"
    return request(method, f"EIO=4&transport={kind}&sid={SID}", body, headers, path="/socket.io/")


PIECES = st.sampled_from(
    [
        GET,
        WS,
        about("GET"),
        about("POST", b'40\x1e42["a"]'),
        about("POST", b"1"),
        about("POST", b'451-["a",{"_placeholder":true,"num":0}]\x1ebAQI='),
        about("POST", headers=b"Transfer-Encoding: chunked\r\n") + b"2\r\n40\r\n0\r\n\r\n",
        about("GET", headers=WEBSOCKET),
        about("PUT"),
        request("OPTIONS", path="/socket.io/"),
        request("GET", path="/x"),
        frame("2probe"),
        frame("5"),
        frame("3"),
        frame("40"),
        frame("40/x,"),
        frame('42["a",1]'),
        frame('421["a",1]'),
        frame("4", final=False) + frame("0", opcode=0),
        frame(b"\1"),
        frame("41"),
        frame("4a", masked=False),
        frame(b"", opcode=9),
        frame(b"\x03\xe8", opcode=8),
        b"5\r\n",
        b"\r\n",
    ]
) | st.binary(max_size=20)
STEPS = st.lists(st.tuples(st.integers(0, 2), PIECES), max_size=12)


def run(steps: list[tuple[int, bytes]], cuts: list[int] | None) -> tuple[list[Any], list[Any]]:
    """The events and the bytes of each stream, after a session over polling was opened.

    What a step leads to is written after the step: when a response has been written does matter.
    """
    rig = SocketRig(recovery=Recovery(), max_head=400, max_payload=200)
    _, sid = rig.open_polling()
    streams = [rig.accept() for _ in range(3)]
    for index, pieces in groupby(steps, lambda step: step[0]):
        data = b"".join(piece for _, piece in pieces).replace(SID.encode(), sid.encode())
        stream = streams[index]
        rig.writes_at_once = False
        places = [] if cuts is None else sorted({cut % (len(data) + 1) for cut in cuts})
        for start, stop in zip([0, *places], [*places, len(data)], strict=True):
            if stream not in rig.closed:
                rig.feed(stream, data[start:stop])
        rig.writes_at_once = True
        rig.drain()
    rig.advance(60)
    for stream in streams:
        if stream not in rig.closed:
            rig.lose(stream)
    rig.advance(60)
    assert not rig.machine.sessions
    assert not rig.machine._outbox.owners
    return [repr(event) for event in rig.events], sorted(rig.sent.items())


@given(steps=STEPS, cuts=st.lists(st.integers(0, 5000), max_size=8))
@settings(deadline=None, max_examples=300)
def test_the_chunks_change_nothing(steps: list[tuple[int, bytes]], cuts: list[int]) -> None:
    assert run(steps, None) == run(steps, cuts)


@given(steps=STEPS)
@settings(deadline=None, max_examples=100)
def test_byte_by_byte_is_no_different(steps: list[tuple[int, bytes]]) -> None:
    assert run(steps, None) == run(steps, [*range(5000)])
