"""Write the seeds into the work folders: `python -m fuzz.seeds`.

The sessions were recorded from the server for Node. A run of a target begins with its seeds and its corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgpack

from fuzz.client import STEP_NAMES
from fuzz.peer import http_response, websocket_frame
from fuzz.targets import TARGETS, WORK, file_name
from sansio_socketio.protocol.packets.msgpack import MessagePackParser
from sansio_socketio.protocol.packets.socketio import Packet

_pack: Final[Any] = msgpack.packb  # which has no types
_HANDSHAKE: Final = '0{"sid":"gp_tW2AV","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
_PAYLOADS: Final = (
    f'{_HANDSHAKE}\x1e40{{"sid":"MFHJurY6"}}\x1e42["welcome",{{"auth":{{}}}}]',
    '461-0[1,{"_placeholder":true,"num":0}]\x1ebAAE=',
    '451-["echo","é",{"b":{"_placeholder":true,"num":0}}]\x1ebAg==\x1e431[]',
    '2\x1e3probe\x1e6\x1e5\x1e1\x1e44{"message":"no"}\x1e41/chat,\x1eb\x1e4',
)
_MESSAGES: Final = (
    '0{"sid":"a"}',
    '2/chat,12["e",{"b":[1.5,null,true]}]',
    '51-["e",{"_placeholder":true,"num":0}]\x01ab',
    '62-/a,1[{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]\x01x\x01y',
    '4{"message":"no"}\x0031[]\x001\x001/a',
    '2["\\ud800",123456789012345678901234567890,NaN]',
)
_VALUES: Final = (
    msgpack.ExtType(0, b"\0"),
    msgpack.ExtType(0, b"12345678"),
    msgpack.ExtType(0, b"123"),
    msgpack.ExtType(5, b"ab"),
    msgpack.Timestamp(1, 2),
    {1: 2, None: b"x"},
    float("nan"),
    -1,
    2**40,
)
_NO_OPTIONS: Final = bytes(15)
_WEBSOCKET: Final = bytes([0, 1]) + bytes(13)
_ONLY_POLLING: Final = bytes([0, 3]) + bytes(13)
_MESSAGEPACK: Final = bytes([3, 1]) + bytes(13)
_FAULTY: Final = bytes([4, 1]) + bytes(13)


def seeds(target: str) -> Iterator[bytes]:
    """Return the seeds of a target."""
    if target == "engineio_packet":
        yield from (frame.encode() for payload in _PAYLOADS for frame in payload.split("\x1e"))
    elif target == "engineio_payload":
        yield from (payload.encode() for payload in _PAYLOADS)
    elif target == "engineio_handshake":
        yield _HANDSHAKE[1:].encode()
    elif target == "socketio":
        yield from (message.encode() for message in _MESSAGES)
    elif target == "msgpack":
        yield from _messagepack()
    elif target == "polling":
        yield from _polling()
    elif target == "websocket":
        yield from _websocket()
    else:
        yield from _client()


def _messagepack() -> Iterator[bytes]:
    packets = [
        Packet(0, "/", {"sid": "a"}),
        Packet(2, "/a", ["e", 1, b"xy", [None, 1.5], datetime(2026, 1, 2, tzinfo=UTC)], 7),
        Packet(3, "/", [], 1),
        Packet(4, "/", {"message": "no"}),
        Packet(1, "/"),
    ]
    for packet in packets:
        yield from (each for each in MessagePackParser().encoder().encode(packet) if isinstance(each, bytes))
    for value in _VALUES:
        yield _pack({"type": 2, "nsp": "/", "data": ["e", value]})


def _script(options: int, *steps: str | bytes) -> bytes:
    return bytes([options]) + b"".join(b"\n--" + (step.encode() if isinstance(step, str) else step) for step in steps)


# Compressed texts as constants, because zlib's output depends on its version and on the platform.
_GZIP = bytes.fromhex("1f8b08000000000002033349344183005ba1af5812000000")  # 9 times "4a"
_LARGE_GZIP = bytes.fromhex("1f8b080000000000020333611805440300d83aec802d010000")  # "4" and 300 zero bytes
_ZLIB = bytes.fromhex("789c3349943349020003b1014a")  # "4a", U+001E, "4b"
_DEFLATE = bytes.fromhex("33499433490200")  # the same without zlib's header
_COMPRESSED_MESSAGES = [
    bytes.fromhex("32c948cdc9c95700930000"),  # "4hello hello"
    bytes.fromhex("33c948cdc9c90700"),  # "4hello", with the final bit
    bytes.fromhex("3301004a0400"),  # "4" with the final bit, then "a"
    bytes.fromhex("3261180544030000"),  # "4" and 300 zero bytes
    b"\x07\xff",  # invalid
]


def _polling() -> Iterator[bytes]:
    opened = b"1" + http_response(_HANDSHAKE.encode(), b"Set-Cookie: a=b; Max-Age=9; Path=/", b"Keep-Alive: timeout=5")
    for payload in _PAYLOADS[1:]:
        yield _script(1, opened, b"1" + http_response(payload.encode()), "sé", "2" + "HTTP/1.1 200\r\n\r\nok", "E", "c")
    bodies = [
        (b"gzip", _GZIP),
        (b"gzip", _GZIP[:-9]),
        (b"deflate", _ZLIB),
        (b"deflate", _DEFLATE),
        (b"br", b"4a"),
    ]
    for coding, body in bodies:
        yield _script(0, opened, b"1" + http_response(body, b"Content-Encoding: " + coding), "c", "t")
    yield _script(1, opened, b"1" + http_response(_LARGE_GZIP, b"Content-Encoding: gzip"))
    refusal = b'{"code":3,"message":"Bad request"}'
    yield _script(0, opened, b"1" + http_response(refusal, b"Connection: close", status=b"400 Bad Request"), "f")
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n4a\r\n2;x=y\r\n\x1e6\r\n0\r\nA: b\r\n\r\n"
    yield _script(0, opened, b"1" + chunks, "S12", b"2" + http_response(b"ok"), "c", b"2" + http_response(b"ok"), "t")
    yield _script(0, b"1HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" + http_response(b'{"code":1}', status=b"400 Bad"))
    yield _script(
        0, opened + b"surplus", b"1" + http_response(b"6"), "1", "sa", b"2" + http_response(b"ok"), b"2surplus"
    )
    yield _script(0, opened, "c", b"1" + http_response(b"6") + b"surplus", b"1" + http_response(b"ok"))
    yield _script(2, opened, "u", "sa", "sb", "j", "b", "f", "t")
    yield _script(2, "1HTTP/1.0 200 OK\r\n\r\n" + _HANDSHAKE, "e", "f")


def _websocket() -> Iterator[bytes]:
    opened = b"1" + websocket_frame(_HANDSHAKE)
    deflate = "aSec-WebSocket-Extensions: permessage-deflate"
    for payload in _PAYLOADS[1:]:
        yield _script(0, "a", opened, b"1" + b"".join(map(websocket_frame, payload.split("\x1e"))), "sé", "c")
    for compressed in _COMPRESSED_MESSAGES:
        frame = bytes([0xC1, len(compressed)]) + compressed
        yield _script(1, deflate, opened, b"1" + frame, "s" + 80 * "x", b"1\x88\x02\x03\xe8")
    for parameters in (
        "; server_no_context_takeover; client_no_context_takeover",
        '; server_max_window_bits=10; client_max_window_bits="9"',
        "; unknown=1",
        "; server_max_window_bits",
        ", permessage-deflate",
    ):
        yield _script(3, deflate + parameters, opened, "sabc", "sabc")
    yield _script(1, "a", opened, b"1\x01\x02\xc3\xa9\x89\x01x\x00\x00\x80\x01y", b"1\x89\x02ab\x89\x00", "u", "b")
    yield _script(3, "aSec-WebSocket-Protocol: chat", opened, b"1\x82\x7e\x00\xc8" + bytes(200), "S1", "c", "t")
    yield _script(0, "a", opened, "c", b"1\x81\x02\x34\x61\x88\x05\x03\xe9bye")
    yield _script(0, b"1" + http_response(b"Bad Gateway", status=b"502 Bad"))
    yield _script(0, b"1" + http_response(b"Bad", status=b"502 Bad") + b"\r\n")
    yield _script(0, "1HTTP/1.1 502 Bad\r\n\r\nBad", "e")
    yield _script(
        1, "a", opened, b"1" + websocket_frame(b"4" + b"x" * 198).replace(b"\x82", b"\x81") + b"1\x81\x024\xff"
    )
    yield _script(1, "a", opened, b"1\x81\x7e\x00\xc94\xff" + b"x" * 199)
    yield _script(0, "f")


def _steps(options: bytes, *steps: tuple[str | int | bytes, ...]) -> bytes:
    data = bytearray(options)
    for name, *decisions in steps:
        data.append(STEP_NAMES.index(str(name)))
        for decision in decisions:
            data += decision if isinstance(decision, bytes) else bytes([int(decision)])
    return bytes(data)


_OPENED: Final = (("connect", 0), ("open_stream", 0), ("serve_handshake", 1, 0))
_UPGRADING: Final = (
    ("connect", 0),
    ("open_stream", 0),
    ("serve_handshake", 0, 0),
    ("open_stream", 0),
    ("open_stream", 0),
)
_ACKNOWLEDGED: Final = (("serve_packet", 0, 0, 1, 0), ("emit", 0, 0, 2, 1, 4, 0, 1), ("serve_packet", 3, 0, 1, 0, 0))


def _client() -> Iterator[bytes]:
    raw = b'451-["e",{"_placeholder":true,"num":0}]'
    for options in (_WEBSOCKET, _MESSAGEPACK, _FAULTY):
        yield _steps(options, *_OPENED, *_ACKNOWLEDGED, ("serve_packet", 2, 0, 1, 1, 0, 0), ("acknowledge", 0, 1))
        yield _steps(
            options, *_OPENED, ("connect", 1), ("emit", 1, 0, 1, 1, 0, 0, 0), ("serve_packet", 0, 1, 0, 0), ("wait", 3)
        )
        yield _steps(
            options,
            *_OPENED,
            ("connect", 2),
            ("answer", 0, 3),
            ("wait", 3),
            ("answer", 0, 1),
            ("serve_packet", 0, 2, 1, 0),
        )
        yield _steps(
            options, *_OPENED, *_ACKNOWLEDGED, ("end_stream", 0, 1), ("wait", 3), ("open_stream", 0), ("wait", 4)
        )
        yield _steps(options, *_OPENED, ("serve_packet", 4, 0, 0, 0), ("serve_packet", 1, 0, 0), ("disconnect", 0))
        yield _steps(options, ("set_other", 0, 1), ("connect", 0), ("fail_stream", 0), ("wait", 3), ("answer", 0, 2))
    yield _steps(_WEBSOCKET, *_OPENED, ("serve_text", bytes([len(raw)]) + raw, 0), ("serve_binary", b"\x02ab", 0))
    yield _steps(_ONLY_POLLING, *_OPENED, ("open_stream", 0), ("respond", 0, 0, 0, 0), ("serve_packet", 0, 0, 1, 1))
    yield _steps(_NO_OPTIONS, *_UPGRADING, ("serve_engine_packet", 2, 1), ("serve_engine_packet", 1, 2), ("close",))
    yield _steps(
        _NO_OPTIONS,
        *_UPGRADING,
        ("respond", 0, 0, 0, 0),
        ("serve_engine_packet", 2, 1),
        ("serve_engine_packet", 1, 2),
        *_ACKNOWLEDGED,
    )


def _write(target: str) -> None:
    folder = WORK / target
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        (folder / file_name(seed)).write_bytes(seed)


if __name__ == "__main__":
    for each in TARGETS:
        _write(each)
