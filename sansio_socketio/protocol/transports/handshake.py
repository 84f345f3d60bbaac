"""The opening handshake of a WebSocket, on the client's side (RFC 6455, section 4.1), built on h11.

Rules of this file:

- The server may accept only what was offered. A response that accepts anything else is invalid.
- What is said about an invalid response shows none of its contents.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha1
from random import Random
from typing import Final

import h11

from .deflate import Deflate
from .http import reason_of
from .requests import Headers

_SWITCHING_PROTOCOLS: Final = 101
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handshake:
    """The request and the response of one handshake. `protocols` and `deflate` are offered; `deflate` may be accepted."""

    __slots__ = ("_deflate", "_h11", "_key", "_protocols")

    def __init__(self, random: Random, protocols: Sequence[str], deflate: Deflate | None) -> None:
        self._h11 = h11.Connection(h11.CLIENT)
        self._key = b64encode(random.randbytes(16))
        self._protocols = [protocol.encode("ascii") for protocol in protocols]
        self._deflate = deflate

    def request(self, target: str, headers: Headers) -> bytes:
        """Return the request, with the headers of the handshake before the given ones. Raise h11.LocalProtocolError."""
        own = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", self._key),
            (b"Sec-WebSocket-Version", b"13"),
        ]
        if self._protocols:
            own.append((b"Sec-WebSocket-Protocol", b", ".join(self._protocols)))
        if self._deflate is not None:
            own.append((b"Sec-WebSocket-Extensions", f"{self._deflate.name}; {self._deflate.offer()}".encode()))
        return self._h11.send(h11.Request(method="GET", target=target, headers=own + headers)) or b""

    def receive(self, section: bytes) -> None:
        """Take a header section, or bytes of a body. Then call `next_event` until it returns None."""
        self._h11.receive_data(section)

    def next_event(self) -> h11.Event | str | None:
        """Return the next event of the response, None if it is not complete, or why the response is invalid.

        An `InformationalResponse` accepts the handshake, and has been checked. Interim responses are skipped.
        """
        try:
            event = self._h11.next_event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code != _SWITCHING_PROTOCOLS:
                    return None  # nothing follows 103 Early Hints in its header section
                self._check(event)
        except Exception as error:  # h11 raises various exceptions for invalid bytes
            return reason_of(error)
        return event if isinstance(event, h11.Event) else None

    def _check(self, response: h11.InformationalResponse) -> None:
        """Check the headers of the response that accepts the handshake. Raise RemoteProtocolError, as h11 and Deflate do."""
        fields: dict[bytes, bytes] = {}
        for name, value in response.headers:
            fields[name] = fields[name] + b"," + value if name in fields else value
        if fields.get(b"upgrade", b"").lower() != b"websocket":
            raise h11.RemoteProtocolError("the response has no header 'Upgrade: websocket'")
        if b"upgrade" not in _items(fields.get(b"connection", b"").lower()):
            raise h11.RemoteProtocolError("the response has no header 'Connection: Upgrade'")
        if fields.get(b"sec-websocket-accept") != b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest()):
            raise h11.RemoteProtocolError("the header Sec-WebSocket-Accept is absent or does not match the request")
        if fields.get(b"sec-websocket-protocol") not in (None, *self._protocols):
            raise h11.RemoteProtocolError("the server accepted a subprotocol that was not offered")
        if b"sec-websocket-extensions" in fields:
            for item in _items(fields[b"sec-websocket-extensions"]):
                self._negotiate(item.decode("ascii", "replace"))

    def _negotiate(self, accepted: str) -> None:
        if self._deflate is None or accepted.partition(";")[0].strip() != self._deflate.name:
            raise h11.RemoteProtocolError("the server accepted an extension that was not offered")
        self._deflate.finalize(accepted)


def _items(value: bytes) -> list[bytes]:
    """Return the items of a header that is a list."""
    return [item.strip() for item in value.split(b",")]
