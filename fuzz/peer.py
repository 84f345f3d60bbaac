"""The bytes of a server, for the seeds and the scenarios: HTTP responses, WebSocket handshakes and frames."""

from __future__ import annotations

import re
from typing import Final

from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import generate_accept_token

_KEY: Final = re.compile(rb"(?i)sec-websocket-key: (\S+)")


def http_response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a response with a Content-Length."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body), b"", body])


def accept_websocket(request: bytes | bytearray, *headers: bytes) -> bytes:
    """Return the response that accepts the handshake in `request`, which may also be another request."""
    match = _KEY.search(request)
    accept = generate_accept_token(match[1] if match else b"")
    lines = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + accept, *headers]
    return b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *lines, b"", b""])


def websocket_frame(message: str | bytes) -> bytes:
    """Return the frame of a message."""
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(message))
