"""Whatever a server sends, no error and no log record shows credentials or what was exchanged.

The secret is in all options that may have one, in what is emitted and in what the server sends, in every phase of a
connection. Two things are shown on purpose and have no secret here: the names of valid events, and the text with which a
server explains a refusal.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from base64 import b64encode
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.errors import SocketIOError
from sansio_socketio_asyncio import Manager
from tests.support.bad_peers import UPGRADE, accept, frame, head
from tests.support.target import TRANSPORTS

SECRET = "s3cret"
SHOWN = (SECRET, b64encode(f"ada:{SECRET}".encode()).decode())
"""What must not be shown: the secret, and the credentials of the proxy as they are sent."""
MARK = SECRET.encode()
ECHO = b"<the request>"
"""A fragment that the server replaces by the request."""

HANDSHAKE = b'0{"sid":"%s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}' % MARK
JOINED = b'40{"sid":"%s","pid":"%s"}' % (MARK, MARK)
HEAD = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 101 %s\r\n" % MARK,
    b"HTTP/1.1 302 %s\r\nLocation: http://%s@h/?t=%s#%s\r\n" % (MARK, MARK, MARK, MARK),
    b"HTTP/1.1 407 %s\r\n" % MARK,
    b"Set-Cookie: a=%s\r\n" % MARK,
    b"Content-Length: 9\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    *(
        b"%s: %s\r\n" % (name, MARK)
        for name in (
            b"Connection",
            b"Content-Encoding",
            b"Content-Length",
            b"Content-Type",
            b"Keep-Alive",
            b"Sec-WebSocket-Accept",
            b"Sec-WebSocket-Extensions",
            b"Sec-WebSocket-Protocol",
            b"Transfer-Encoding",
            b"\0",
            b"",
        )
    ),
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; %s=%s\r\n" % (MARK, MARK),
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=%s\r\n" % MARK,
    b"\r\n",
    MARK,
    ECHO,
    b"\x15",
]
PACKETS = [
    *(b"%d" % digit for digit in range(7)),
    b"42",
    b"451-",
    b"b",
    b"-",
    b"\x1e",
    b"/%s," % MARK,
    MARK,
    b'["a","%s"]' % MARK,
    b'[{"%s":"%s"}]' % (MARK, MARK),
    b'["connect","%s"]' % MARK,
    b'["a",{"_placeholder":true,"num":"%s"}]' % MARK,
    b'{"sid":"%s"}' % MARK,
    b'{"sid":5,"upgrades":"%s","pingInterval":"%s"}' % (MARK, MARK),
    b'{"message":"no: /?token=%s","code":1,"data":"%s"}' % (MARK, MARK),
    b"9" * 30,
    b"[",
    b"\xff",
    HANDSHAKE,
    JOINED,
]
PHASES = ["proxy", "response", "handshake", "join", "open", "bytes"]
"""What the server sends badly: the response to CONNECT of a proxy, the first response, the handshake of Engine.IO, the answer
to CONNECT of Socket.IO, what follows it as packets or as bytes."""


def joined_fragments(fragments: list[bytes], most: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(fragments), max_size=most).map(b"".join)


class BadServer:
    """A server that does everything right until a phase, in which it sends `data` and disconnects."""

    def __init__(self, phase: str, data: bytes) -> None:
        self._phase = phase
        self._data = data

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        try:
            request = await self._request()
            if self._phase in {"proxy", "response"}:
                writer.write(self._data.replace(ECHO, request))
            elif b"upgrade: websocket" in request.lower():
                writer.write(head(b"101 Switching Protocols", *UPGRADE, b"Sec-WebSocket-Accept: " + accept(request)))
                await self._converse(lambda body: frame(1, body))
            else:
                await self._converse(lambda body: head(b"200 OK", b"Content-Length: %d" % len(body)) + body)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _converse(self, message: Callable[[bytes], bytes]) -> None:
        for phase, body in (("handshake", HANDSHAKE), ("join", JOINED), ("open", self._data)):
            if self._phase == phase:
                body = self._data  # noqa: PLW2901
            is_bytes = phase == "open" and self._phase == "bytes"
            self._writer.write(body if is_bytes else message(body))
            await self._writer.drain()
            if body is self._data:
                return
            await self._reader.read(65536)

    async def _request(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")


class Shown(logging.Handler):
    """All log records as text, and all that is shown of errors."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def error(self, *values: Any) -> None:
        for each in values:
            if isinstance(each, BaseException):
                self.texts += [*traceback.format_exception(each), repr(each), str(each)]
                self.error(each.__cause__, each.__context__, *each.args)
            else:
                self.texts.append(repr(each))


@contextmanager
def all_logs() -> Generator[Shown]:
    """Collect the log records of every library."""
    root, shown = logging.getLogger(), Shown()
    level = root.level
    root.addHandler(shown)
    root.setLevel(logging.DEBUG)
    try:
        yield shown
    finally:
        root.setLevel(level)
        root.removeHandler(shown)


async def connect_to(port: int, phase: str, transport: str, shown: Shown) -> None:
    """Connect, emit, and collect what is shown until the connection is lost."""
    address = f"127.0.0.1:{port}"
    manager = Manager(
        f"http://{'chat.test' if phase == 'proxy' else address}/?token={SECRET}",
        transports=TRANSPORTS[transport],
        proxy=f"http://ada:{SECRET}@{address}" if phase == "proxy" else None,
        extra_headers={"Authorization": SECRET, "Cookie": f"session={SECRET}"},
        protocols=[SECRET],
        with_credentials=True,
        reconnection=False,
        timeout=0.3,
        close_timeout=0.1,
    )
    ended = asyncio.Event()

    def note(*values: Any) -> None:
        shown.error(*values)
        ended.set()

    async with manager:
        socket = manager.socket("/", auth={"token": SECRET})
        manager.on("error", shown.error)
        manager.on("reconnect_error", shown.error)
        socket.on("connect_error", note)
        socket.on("disconnect", note)
        shown.error(manager, socket)
        try:
            await socket.emit("say", SECRET, {SECRET: SECRET})
            await socket.wait_connected()
            await socket.timeout(1).emit_with_ack("ask", SECRET)
        except SocketIOError as error:
            shown.error(error)
        await asyncio.wait_for(ended.wait(), 10)


async def fail(phase: str, transport: str, data: bytes, shown: Shown) -> None:
    server = await asyncio.start_server(BadServer(phase, data).serve, "127.0.0.1", 0)
    try:
        await connect_to(server.sockets[0].getsockname()[1], phase, transport, shown)
    finally:
        server.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("phase", PHASES)
@settings(deadline=None, max_examples=40)
@given(start=joined_fragments(HEAD, 8), packets=joined_fragments(PACKETS, 6))
@example(start=ECHO, packets=b"")
@example(start=HEAD[0] + b"\0: %s\r\n\r\n" % MARK, packets=b"".join(PACKETS))
def test_failures_show_no_secrets(phase: str, transport: str, start: bytes, packets: bytes) -> None:
    data = start + packets if phase in {"proxy", "response"} else packets
    with all_logs() as shown:
        asyncio.run(fail(phase, transport, data, shown))
    for secret in SHOWN:
        assert not [text for text in shown.texts if secret in text]
