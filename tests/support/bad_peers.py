"""Misbehaving servers on real sockets: each behaviour is one function in a table.

Rules of this file:

- A behaviour gets a `Connection` and writes plain bytes, with as much HTTP and WebSocket as it needs.
- A `BadPeer` is a context manager. It leaves no thread and no socket behind, whatever the client did.
- `POLLING` and `WEBSOCKET` have the behaviours for each transport. The tests say what the client must make of them.
"""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha1
from itertools import count
from types import TracebackType
from typing import Self

HANDSHAKE = b'0{"sid":"bad","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
ADMITTED = b'40{"sid":"worse"}'
BINARY_HEADER = b'451-["news",{"_placeholder":true,"num":0}]'
TEXT_INSTEAD = b'42["news"]'
BOMB_SIZE = 64 * 1024 * 1024


class Connection:
    """One connection of a client."""

    def __init__(self, stream: socket.socket, ended: threading.Event, polls: Iterator[int]) -> None:
        self._stream = stream
        self._file = stream.makefile("rb")
        self._ended = ended
        self._polls = polls

    def request(self) -> bytes:
        """Read the next request and return its head; b"" when the client has closed the connection."""
        lines = list(iter(self._file.readline, b"\r\n")) if self._file.peek(1) else []
        self._file.read(int(header(lines, b"content-length", default=b"0")))
        return b"".join(lines)

    def next_poll(self) -> int:
        """Return the number of this poll, over all connections of the client. The first is 0."""
        return next(self._polls)

    def close(self) -> None:
        """Close the connection without reading what is in flight."""
        self._file.close()
        shut(self._stream)

    def send(self, *parts: bytes) -> None:
        self._stream.sendall(b"".join(parts))

    def answer(self, status: bytes, body: bytes, *headers: bytes) -> None:
        """Send a complete HTTP response."""
        self.send(head(status, b"Content-Length: %d" % len(body), *headers), body)

    def upgrade(self, *headers: bytes) -> bytes:
        """Perform the handshake of RFC 6455, and return the head of the request."""
        request = self.request()
        self.send(head(b"101 Switching Protocols", *UPGRADE, b"Sec-WebSocket-Accept: " + accept(request), *headers))
        return request

    def hang(self) -> None:
        """Send nothing more until the client disconnects or the test ends."""
        with suppress(OSError):
            while self._stream.recv(65536):
                pass

    def flood(self, parts: Iterator[bytes]) -> None:
        """Send until the client disconnects or the test ends."""
        for part in parts:
            if self._ended.is_set():
                break
            self.send(part)


Behaviour = Callable[[Connection], None]
UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade")


def head(status: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, *headers, b"", b""))


def header(lines: Iterable[bytes], name: bytes, *, default: bytes = b"") -> bytes:
    """Return the value of a header from the lines of a request's head."""
    pairs = (line.partition(b":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.lower() == name), default)


def accept(request: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept for a request."""
    key = header(request.split(b"\r\n"), b"sec-websocket-key")
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest())


def frame(opcode: int, payload: bytes, *, first: int = 0x80) -> bytes:
    """Return a WebSocket frame of a server; `first` has the bits above the opcode."""
    if len(payload) < 126:
        length = bytes([len(payload)])
    elif len(payload) < 65536:
        length = b"\x7e" + len(payload).to_bytes(2, "big")
    else:
        length = b"\x7f" + len(payload).to_bytes(8, "big")
    return bytes([first | opcode]) + length + payload


TEXT, BINARY, CLOSE = 1, 2, 8

# ---------------------------------------------------------------------------------------------------------------------
# Before the handshake


def garbage(peer: Connection) -> None:
    peer.request()
    peer.send(bytes(range(128, 256)) * 20, b"\r\n\r\n")


def hang(peer: Connection) -> None:
    peer.hang()


def close_at_once(peer: Connection) -> None:
    pass


def cut_in_headers(peer: Connection) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Ty")


def endless_headers(peer: Connection) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\n")
    peer.flood(b"X-Header-%d: %s\r\n" % (i, b"x" * 1000) for i in range(1_000_000))


def status(line: bytes, body: bytes, content_type: bytes) -> Behaviour:
    def behave(peer: Connection) -> None:
        while peer.request():
            peer.answer(line, body, b"Content-Type: " + content_type)

    return behave


BAD_REQUEST = status(b"400 Bad Request", b'{"code":0,"message":"Transport unknown"}', b"application/json")
NOT_FOUND = status(b"404 Not Found", b"no such page", b"text/plain")
SERVER_ERROR = status(b"500 Internal Server Error", b"<h1>Oh no</h1>", b"text/html")
BAD_GATEWAY = status(b"502 Bad Gateway", b"<h1>nobody behind me</h1>", b"text/html")

# ---------------------------------------------------------------------------------------------------------------------
# HTTP long-polling


def cut_in_body(peer: Connection) -> None:
    peer.request()
    peer.send(head(b"200 OK", b"Content-Length: 1000"), HANDSHAKE)


def endless_body(peer: Connection) -> None:
    peer.request()
    peer.send(head(b"200 OK", b"Transfer-Encoding: chunked"))
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    peer.flood(chunk for _ in range(1_000_000))


def gzip_bomb(peer: Connection) -> None:
    peer.request()
    peer.answer(b"200 OK", gzip.compress(bytes(BOMB_SIZE), 1), b"Content-Encoding: gzip")
    peer.hang()


def broken_gzip(peer: Connection) -> None:
    peer.request()
    peer.answer(b"200 OK", b"this is no gzip", b"Content-Encoding: gzip")
    peer.hang()


def unknown_encoding(peer: Connection) -> None:
    peer.request()
    peer.answer(b"200 OK", HANDSHAKE, b"Content-Encoding: compress")
    peer.hang()


def body(content: bytes) -> Behaviour:
    def behave(peer: Connection) -> None:
        peer.request()
        peer.answer(b"200 OK", content, b"Content-Type: text/plain")
        peer.hang()

    return behave


def polling_session(*bodies: bytes) -> Behaviour:
    """Open a session and let these bodies be the responses to the following GETs; POSTs are accepted."""

    def behave(peer: Connection) -> None:
        answers = (HANDSHAKE, *bodies)
        while request := peer.request():
            poll = None if request.startswith(b"POST") else peer.next_poll()
            if poll is not None and poll >= len(answers):
                peer.hang()
                return
            peer.answer(b"200 OK", b"ok" if poll is None else answers[poll], b"Content-Type: text/plain")

    return behave


POLLING: dict[str, Behaviour] = {
    "garbage": garbage,
    "hang": hang,
    "close at once": close_at_once,
    "400": BAD_REQUEST,
    "404": NOT_FOUND,
    "500": SERVER_ERROR,
    "502": BAD_GATEWAY,
    "cut in headers": cut_in_headers,
    "endless headers": endless_headers,
    "cut in body": cut_in_body,
    "endless body": endless_body,
    "gzip bomb": gzip_bomb,
    "broken gzip": broken_gzip,
    "unknown encoding": unknown_encoding,
    "empty body": body(b""),
    "no packet": body(b"<html>welcome to the captive portal</html>"),
    "no handshake": body(b'42["news"]'),
    "handshake without sid": body(b'0{"upgrades":[],"pingInterval":25000,"pingTimeout":20000}'),
    "not UTF-8": body(b"\xff\xfe\xfd"),
    "hang after the handshake": polling_session(b"2"),
    "text where binary is due": polling_session(ADMITTED, BINARY_HEADER + b"\x1e" + TEXT_INSTEAD),
}

# ---------------------------------------------------------------------------------------------------------------------
# WebSocket


def wrong_accept_key(peer: Connection) -> None:
    peer.request()
    peer.send(head(b"101 Switching Protocols", *UPGRADE, b"Sec-WebSocket-Accept: " + accept(b"Sec-WebSocket-Key: x")))
    peer.hang()


def no_accept_key(peer: Connection) -> None:
    peer.request()
    peer.send(head(b"101 Switching Protocols", *UPGRADE))
    peer.hang()


def extensions(parameters: bytes) -> Behaviour:
    def behave(peer: Connection) -> None:
        peer.upgrade(b"Sec-WebSocket-Extensions: " + parameters)
        peer.hang()

    return behave


def protocol(name: bytes) -> Behaviour:
    def behave(peer: Connection) -> None:
        peer.upgrade(b"Sec-WebSocket-Protocol: " + name)
        peer.hang()

    return behave


def frames(*sent: bytes, headers: tuple[bytes, ...] = ()) -> Behaviour:
    """Open a session and send these frames, then nothing."""

    def behave(peer: Connection) -> None:
        peer.upgrade(*headers)
        peer.send(frame(TEXT, HANDSHAKE), *sent)
        peer.hang()

    return behave


def bare_frames(*sent: bytes) -> Behaviour:
    """Upgrade and send these frames before any handshake of Engine.IO."""

    def behave(peer: Connection) -> None:
        peer.upgrade()
        peer.send(*sent)
        peer.hang()

    return behave


def oversized_frame(peer: Connection) -> None:
    peer.upgrade()
    peer.send(frame(TEXT, HANDSHAKE), b"\x82\x7f", (1 << 62).to_bytes(8, "big"))
    peer.flood(b"x" * 65536 for _ in range(1_000_000))


def endless_message(peer: Connection) -> None:
    peer.upgrade()
    peer.send(frame(TEXT, HANDSHAKE), frame(TEXT, b"4", first=0))
    fragment = frame(0, b"x" * 65536, first=0)
    peer.flood(fragment for _ in range(1_000_000))


def deflate_bomb(peer: Connection) -> None:
    peer.upgrade(b"Sec-WebSocket-Extensions: permessage-deflate")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = deflate.compress(b"4" + bytes(BOMB_SIZE)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    peer.send(frame(TEXT, HANDSHAKE), frame(TEXT, content[:-4], first=0xC0))
    peer.hang()


WEBSOCKET: dict[str, Behaviour] = {
    "garbage": garbage,
    "hang": hang,
    "close at once": close_at_once,
    "400": BAD_REQUEST,
    "404": NOT_FOUND,
    "500": SERVER_ERROR,
    "502": BAD_GATEWAY,
    "cut in headers": cut_in_headers,
    "endless headers": endless_headers,
    "wrong accept key": wrong_accept_key,
    "no accept key": no_accept_key,
    "window bits out of range": extensions(b"permessage-deflate; server_max_window_bits=99"),
    "window bits of no number": extensions(b"permessage-deflate; client_max_window_bits=many"),
    "window bits of nothing": extensions(b"permessage-deflate; server_max_window_bits"),
    "unknown parameter": extensions(b"permessage-deflate; shoe_size=46"),
    "extension that was not asked for": extensions(b"x-other; a=b"),
    "broken extension header": extensions(b'; ;,= "'),
    "protocol that was not asked for": protocol(b"mqtt"),
    "hang after the upgrade": bare_frames(),
    "no handshake": bare_frames(frame(TEXT, b'42["news"]')),
    "garbage frames": bare_frames(b"\xff" * 200),
    "masked frame": bare_frames(b"\x81\x81\x00\x00\x00\x000"),
    "oversized frame": oversized_frame,
    "length of 64 bits": frames(b"\x82\x7f" + b"\xff" * 8 + b"x" * 1000),
    "endless message": endless_message,
    "deflate bomb": deflate_bomb,
    "compressed without an agreement": frames(frame(TEXT, b"4\x00\x01", first=0xC0)),
    "not UTF-8": frames(frame(TEXT, b"4\xff\xfe")),
    "hang after the handshake": frames(frame(TEXT, b"2")),
    "close code": frames(frame(CLOSE, (1011).to_bytes(2, "big") + b"out of order")),
    "text where binary is due": frames(frame(TEXT, ADMITTED), frame(TEXT, BINARY_HEADER), frame(TEXT, TEXT_INSTEAD)),
    "binary without a header": frames(frame(TEXT, ADMITTED), frame(BINARY, b"\x00\x01")),
}


class BadPeer:
    """A server on loopback that applies `behaviour` to each connection. It listens at `url` while the context is open."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._polls = count()
        self._streams: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen, name="bad peer")]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        shut(self._listener)  # wakes the thread in accept
        self._threads[0].join()
        for stream in self._streams:
            shut(stream)
        for thread in self._threads[1:]:
            thread.join()
        for stream in (self._listener, *self._streams):
            stream.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(stream,), name="bad peer's connection")
                self._streams.append(stream)
                self._threads.append(thread)
                thread.start()

    def _serve(self, stream: socket.socket) -> None:
        connection = Connection(stream, self._ended, self._polls)
        with suppress(OSError):  # the client may disconnect at any time
            self._behaviour(connection)
        connection.close()


def refused_url() -> str:
    """Return a URL on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def shut(stream: socket.socket) -> None:
    with suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
