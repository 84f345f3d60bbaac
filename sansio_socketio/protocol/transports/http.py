"""HTTP/1.1 requests and responses on one keep-alive stream (RFC 9112), built on h11.

Rules of this file:

- There is one request at a time. Its response is returned whole, or a TransportError says why it is invalid.
- A body is bounded before and after decompression. What is not body (the header section, chunk headers, trailers) is
  bounded by a number of bytes without any progress. h11's own bound would depend on the chunks in which bytes arrive.
- An error shows neither headers nor bodies. Its text does not depend on the chunks in which bytes arrive.
- Bytes after a response are surplus: the response is valid, but the stream is not reused, because the surplus could be
  mistaken for the response to the next request.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

import h11
import orjson
import wsproto.utilities

from ..errors import REFUSED, OptionError, TransportError, chained, message_of, parser_message
from ..url import URL, redacted
from .requests import Headers

MAX_EXCERPT = 4096
"""The maximum number of bytes of a body that an error contains."""

BLOCK = 16 * 1024
"""A response is fed to h11 in blocks of this size, counted from its first byte. In each block it has to make progress."""

MAX_ANSWER = 64 * 1024
"""The maximum size of the response to a POST request, which is `ok`, or explains a refusal."""

_MAX_LOCATION = 200
_UNKNOWN_TRANSPORT = 0
"""The code of an Engine.IO server's refusal of a request with a transport that it does not offer."""
_NO_STATUS = "illegal status line"
_NO_STATUS_LINE = (_NO_STATUS, "illegal request line", "no response line received")
"""How h11 begins its message about an invalid status line. Which it is depends on the chunks."""
_QUERY = re.compile(r"\?\S+")
_PARSER_ERRORS = (h11.ProtocolError, wsproto.utilities.ProtocolError)
_TLS_RECORDS = frozenset((0x15, 0x16))
"""The first bytes of the TLS records (alert, handshake) with which a server responds to plaintext."""
_CODINGS = frozenset((b"br", b"compress", b"zstd"))
_MEDIA_TYPES = frozenset((b"application/json", b"application/xml", b"text/html", b"text/plain", b"text/xml"))
"""The values that are shown. An unknown one may contain anything."""
_BEHIND = "; it is a proxy or gateway that could not reach the server behind it"
_HINTS = {
    200: "; it is not the WebSocket endpoint of a Socket.IO server: check the URL and the option `path`",
    401: "; credentials for the server or a gateway in front of it go into `extra_headers`",
    403: "; the server or a gateway in front of it does not allow the request: check `extra_headers`, such as Origin",
    404: "; does the server use another path (the option `path`)?",
    407: "; credentials for a proxy go into the URL of the option `proxy`",
    413: "; the message is larger than the server accepts",
    429: "; the client connects too often: raise `reconnection_delay`",
    502: _BEHIND,
    503: "; the server or a gateway in front of it is overloaded or out of service",
    504: _BEHIND,
}


@dataclass(slots=True)
class Response:
    """A complete response. Header names are in lower case, the body is decompressed."""

    status: int
    headers: Headers = field(repr=False)
    body: bytes

    def header(self, name: bytes) -> bytes:
        """Return all values of a header, joined, or an empty string."""
        return join_header(self.headers, name)

    def described(self) -> str:
        """Return the status, the media type and the size, for an error message."""
        media_type = self.header(b"content-type").partition(b";")[0].strip().lower()
        kind = f", {media_type.decode()}" if media_type in _MEDIA_TYPES else ""
        return f"HTTP status {self.status}{kind}, {len(self.body)} bytes"


def join_header(headers: Headers, name: bytes) -> bytes:
    """Return all values of the header `name` (in lower case), joined, or an empty string."""
    return b", ".join(value for key, value in headers if key == name)


def excerpt(body: bytes) -> str:
    """Return the beginning of a body as text."""
    return body[:MAX_EXCERPT].decode("utf-8", "replace")


def refusal(url: URL, what: str, status: int, body: bytes, location: bytes = b"") -> TransportError:
    """Return the error for a response with an unexpected status.

    Args:
        url: The URL of the server.
        what: A description of the request.
        status: The status.
        body: The body of the response.
        location: The value of its header Location.
    """
    code, message = _explained(body)
    hint = _HINTS.get(status, "")
    if status == 400 and code == _UNKNOWN_TRANSPORT:
        hint = "; the server does not offer this transport (see the option `transports`)"
    if status == 404 and url.path != "/":
        hint += f" In the URL, {url.path!r} names a namespace"
    if location and 300 <= status < 400:
        target = redacted(location[:_MAX_LOCATION].decode("latin-1"))
        hint = f"; it redirects to {target!r}, which is not followed: use the URL of the Socket.IO server itself"
    return TransportError(
        f"{url.address} responded to {what} with HTTP status {status}{f': {message}' if message else ''}{hint}",
        status=status,
        body=excerpt(body),
    )


def unwritable(what: str, error: Exception) -> TransportError:
    """Return the error for a request that could not be written. `what` describes the request."""
    if isinstance(error, OptionError):
        return chained(TransportError(f"{what} could not be written: {error}"), error)
    return TransportError(f"{what} could not be written: {reason_of(error)}")


def unreachable(server: str, error: Exception) -> TransportError:
    """Return the error for a stream that could not be opened, with the status and body of a proxy's response."""
    status, body = (error.status, error.body) if isinstance(error, TransportError) else (None, None)
    message = message_of(error)
    hint = "; is the server running at this host and port?" if message == REFUSED else ""
    failure = TransportError(f"could not connect to {server}: {message}{hint}", status=status, body=body)
    failure.__cause__ = error
    return failure


def reason_of(error: Exception) -> str:
    """Return why received bytes are invalid, without the bytes: the message of an HTTP parser, or the type of another error."""
    return parser_message(error) if isinstance(error, _PARSER_ERRORS) else type(error).__name__


def explanation(text: str) -> str:
    """Return a server's text for an error message, without the queries of URLs: it may quote the request."""
    return _QUERY.sub("?***", text)


def layers_up(url: URL) -> str:
    """Return which layers below HTTP are up when a stream is open, for an error message."""
    return "TCP and TLS are up" if url.secure else "TCP is up"


def tls_hint(start: bytes | bytearray) -> str:
    """Return what to do if a response begins like a TLS record."""
    return "; the server uses TLS on this port: use https:// or wss://" if start and start[0] in _TLS_RECORDS else ""


class Exchange:
    """The requests and responses on one stream, one after the other."""

    __slots__ = (
        "_body",
        "_discards",
        "_h11",
        "_has_surplus",
        "_in_block",
        "_max_body",
        "_progressed",
        "_response",
        "_server",
        "_start",
    )

    def __init__(self, server: str) -> None:
        """`server` is the host and the port, for messages."""
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * BLOCK)  # blocks bound it more strictly
        self._server = server
        self._max_body = 0
        self._discards = False
        self._response: Response | None = None
        self._body = bytearray()
        self._start = b""
        self._has_surplus = False
        self._in_block = 0
        self._progressed = False

    def request(self, method: str, target: str, headers: Headers, body: bytes, max_body: int) -> list[bytes]:
        """Return the bytes of a request. The body is a separate item, to avoid a copy. Raise h11.LocalProtocolError.

        The body of the response may have at most `max_body` bytes, before and after decompression.
        """
        self._response = None
        self._max_body = max_body
        self._body.clear()
        self._start = b""
        self._in_block, self._progressed = 0, False
        head = self._h11.send(h11.Request(method=method, target=target, headers=headers))
        sent = [head, self._h11.send(h11.Data(data=body)), self._h11.send(h11.EndOfMessage())]
        return [data for data in sent if data]

    def receive(self, data: bytes | bytearray | memoryview) -> Response | None:
        """Take received bytes. Return the response if it is complete, or None. Raise TransportError if it is invalid."""
        if not len(data):
            return None  # h11 regards empty data as the end of the stream
        self._start = self._start or bytes(data[:1])
        try:
            return self._feed_blocks(memoryview(data))
        except TransportError:
            raise
        except Exception as error:  # h11 raises various exceptions for invalid bytes
            why = reason_of(error)
        raise self._invalid(f"{_NO_STATUS}{tls_hint(self._start)}" if why.startswith(_NO_STATUS_LINE) else why)

    def receive_eof(self) -> Response:
        """Take the end of the stream, which completes a response without a length. Raise TransportError if it is invalid."""
        try:
            response = self._feed(b"")
        except h11.RemoteProtocolError:
            response = None
        if response is None:
            raise TransportError(f"{self._server} closed the stream before its HTTP response was complete")
        return response

    def discard(self) -> None:
        """Drop the bodies of this and of later responses."""
        self._discards = True
        self._body = bytearray()

    def recycle(self) -> bool:
        """Prepare for the next request after a response. Return False if the stream cannot be reused."""
        reusable = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and not self._has_surplus
        if reusable:
            self._h11.start_next_cycle()
        return reusable

    def _invalid(self, why: str) -> TransportError:
        return TransportError(f"the HTTP response of {self._server} is invalid: {why}")

    def _feed_blocks(self, data: memoryview) -> Response | None:
        while len(data):
            block, data = data[: BLOCK - self._in_block], data[BLOCK - self._in_block :]
            response = self._feed(bytes(block))
            if response is not None:
                self._has_surplus = len(data) > 0 or self._h11.trailing_data[0] != b""
                return response
            self._in_block += len(block)
            if self._in_block == BLOCK:
                if not self._progressed:
                    raise self._invalid(f"a header, chunk header or trailer is too long ({BLOCK} bytes are accepted)")
                self._in_block, self._progressed = 0, False
        return None

    def _feed(self, data: bytes) -> Response | None:
        self._h11.receive_data(data)
        while True:
            event = self._h11.next_event()
            self._progressed = self._progressed or event is not h11.NEED_DATA
            if isinstance(event, h11.Response):
                self._response = Response(event.status_code, list(event.headers), b"")
            elif isinstance(event, h11.Data):
                self._take(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return self._complete()
            elif not isinstance(event, h11.InformationalResponse):
                return None

    def _take(self, data: bytes | bytearray) -> None:
        if self._discards:
            return
        self._body += data
        if len(self._body) > self._max_body:
            raise self._too_large()

    def _complete(self) -> Response:
        response = self._response
        if response is None:
            raise AssertionError("h11 ended a response that has not begun")
        response.body = self._decoded(response.header(b"content-encoding"))
        self._response = None
        self._body = bytearray()
        return response

    def _decoded(self, coding: bytes) -> bytes:
        window = _WINDOWS.get(coding.strip().lower())
        if window is None:
            name = f" {coding.decode()}" if coding in _CODINGS else ""
            raise self._broken(f"with an unsupported Content-Encoding{name}; gzip and deflate are supported")
        if not window or not self._body:
            return bytes(self._body)
        if window == _DEFLATE and not _has_zlib_header(self._body):
            window = -zlib.MAX_WBITS  # some servers omit the header that RFC 9110 requires
        return self._inflated(zlib.decompressobj(window))

    def _inflated(self, inflater: zlib._Decompress) -> bytes:
        try:
            body = inflater.decompress(self._body, self._max_body + 1)
        except zlib.error as error:
            raise self._broken(f"that cannot be decompressed: {error}") from error
        if len(body) > self._max_body:
            raise self._too_large()
        if not inflater.eof or inflater.unused_data:
            raise self._broken("that cannot be decompressed: its length is wrong")
        return body

    def _too_large(self) -> TransportError:
        if self._max_body == MAX_ANSWER:
            return self._broken(f"of more than {MAX_ANSWER} bytes in response to a POST request")
        return self._broken(f"larger than max_message_size ({self._max_body} bytes)")

    def _broken(self, how: str) -> TransportError:
        status = None if self._response is None else self._response.status
        return TransportError(f"{self._server} sent an HTTP body {how}", status=status)


_GZIP = zlib.MAX_WBITS | 16
_DEFLATE = zlib.MAX_WBITS
_WINDOWS = {b"": 0, b"identity": 0, b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": _DEFLATE}


def _has_zlib_header(data: bytearray) -> bool:
    """Return whether the data begins with a zlib header (RFC 1950, section 2.2)."""
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


def _explained(body: bytes) -> tuple[int | None, str]:
    """Return the code and the message in the JSON body of an Engine.IO server's refusal, or None and an empty string."""
    try:
        value = orjson.loads(body[:MAX_EXCERPT])
    except ValueError:
        return None, ""
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return None, ""
    message, code = explanation(value["message"]), value.get("code")
    return (code, f"{message} (code {code})") if isinstance(code, int) else (None, message)
