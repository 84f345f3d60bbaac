"""One keep-alive HTTP/1.1 stream, from the client's side, over h11.

Rules of this file:

- One request at a time; its answer comes out whole, or a TransportError says what is wrong with it.
- A body is bounded before and after it is decompressed, a header section by h11.
- Bytes that belong to no answer are an error: a stream that is out of step can carry the answer of another request.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import h11
import orjson

from ..errors import TransportError
from .requests import Headers

MAX_EXCERPT = 4096
"""How many bytes of a body an error carries."""

_MAX_SHOWN = 60
_MAX_WORDS = 500
_HINTS = {
    404: "; does the server answer on this path (the option `path`)?",
    413: "; the message is larger than the server accepts",
}


@dataclass(slots=True)
class Answer:
    """A complete response. The headers' names are in lower case; the body is decompressed."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes:
        """All values of a header, joined; empty where there is none."""
        return join_header(self.headers, name)


def join_header(headers: Headers, name: bytes) -> bytes:
    """All values of the header `name` (in lower case), joined; empty where there is none."""
    return b", ".join(value for key, value in headers if key == name)


def refusal(what: str, status: int, body: bytes) -> TransportError:
    """The error for an answer with another status than the one that `what` needs."""
    text = body[:MAX_EXCERPT].decode("utf-8", "replace")
    said = _said(body)
    return TransportError(
        f"the server answered {what} with HTTP status {status}{f': {said}' if said else ''}{_HINTS.get(status, '')}",
        status=status,
        body=text,
    )


def unreachable(authority: str, error: Exception) -> TransportError:
    """The error for a stream that could not be opened. What a proxy said stays with it."""
    status, body = (error.status, error.body) if isinstance(error, TransportError) else (None, None)
    failure = TransportError(f"could not connect to {authority}: {words_of(error)}", status=status, body=body)
    failure.__cause__ = error
    return failure


def show(data: bytes | bytearray) -> str:
    """The start of what a peer sent, for a message."""
    return f"{bytes(data[:_MAX_SHOWN])!r}{'…' if len(data) > _MAX_SHOWN else ''}"


def words_of(error: BaseException) -> str:
    """What an error of somebody else's says, within bounds: some quote all that a peer sent, and some say nothing."""
    text = str(error) or type(error).__name__
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}…"


class Exchange:
    """Requests out and answers in, one after the other, on one stream."""

    __slots__ = ("_answer", "_body", "_h11", "_max_body", "_start")

    def __init__(self, max_body: int) -> None:
        self._h11 = h11.Connection(h11.CLIENT)
        self._max_body = max_body
        self._answer: Answer | None = None
        self._body = bytearray()
        self._start = bytearray()

    def request(self, method: str, target: str, headers: Headers, body: bytes) -> list[bytes]:
        """The bytes of a request, its body apart so that it is not copied. Raises h11.LocalProtocolError."""
        self._answer = None
        self._body.clear()
        self._start.clear()
        head = self._h11.send(h11.Request(method=method, target=target, headers=headers))
        sent = [head, self._h11.send(h11.Data(data=body)), self._h11.send(h11.EndOfMessage())]
        return [data for data in sent if data]

    def receive(self, data: bytes | bytearray | memoryview) -> Answer | None:
        """Take in bytes. Returns the answer once it is complete. Raises TransportError."""
        if not len(data):
            return None  # to h11, no bytes are the end
        if len(self._start) <= _MAX_SHOWN:
            self._start += data[: _MAX_SHOWN + 1]
        try:
            return self._feed(bytes(data))
        except TransportError:
            raise
        except Exception as error:  # whatever h11 makes of bad bytes, they are the peer's fault
            raise TransportError(f"the server's HTTP answer is broken: {words_of(error)}{self._received()}") from error

    def receive_eof(self) -> Answer:
        """The server has closed the stream: the end of an answer without a length. Raises TransportError."""
        try:
            answer = self._feed(b"")
        except h11.RemoteProtocolError:
            answer = None
        if answer is None:
            raise TransportError(f"the server closed the stream before its HTTP answer was complete{self._received()}")
        return answer

    def recycle(self) -> bool:
        """After an answer: make ready for the next request. False: the stream cannot carry one."""
        reusable = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        if reusable:
            self._h11.start_next_cycle()
        return reusable

    def _received(self) -> str:
        return f" (received {show(self._start)})" if self._start else ""

    def _feed(self, data: bytes) -> Answer | None:
        self._h11.receive_data(data)
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Response):
                self._answer = Answer(event.status_code, list(event.headers), b"")
            elif isinstance(event, h11.Data):
                self._take(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return self._complete()
            elif not isinstance(event, h11.InformationalResponse):
                return None

    def _take(self, data: bytes | bytearray) -> None:
        self._body += data
        if len(self._body) > self._max_body:
            raise self._too_large()

    def _complete(self) -> Answer:
        answer = self._answer
        if answer is None:
            raise AssertionError("h11 ends no message that has not begun")
        if self._h11.their_state is h11.DONE and self._h11.trailing_data[0]:
            raise TransportError(
                f"the server sent more than its HTTP answer: {show(self._h11.trailing_data[0])}", status=answer.status
            )
        answer.body = self._decoded(answer.header(b"content-encoding"))
        return answer

    def _decoded(self, coding: bytes) -> bytes:
        window = _WINDOWS.get(coding.strip().lower())
        if window is None:
            raise self._broken(f"with the Content-Encoding {show(coding)}; gzip and deflate are understood")
        if not window or not self._body:
            return bytes(self._body)
        if window == _DEFLATE and not _has_zlib_header(self._body):
            window = -zlib.MAX_WBITS  # some servers send the bare stream, without the header that RFC 9110 asks for
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
        return self._broken(f"of more than {self._max_body} bytes; the option `max_message_size` sets this bound")

    def _broken(self, how: str) -> TransportError:
        status = None if self._answer is None else self._answer.status
        return TransportError(f"the server sent an HTTP body {how}", status=status)


_GZIP = zlib.MAX_WBITS | 16
_DEFLATE = zlib.MAX_WBITS
_WINDOWS = {b"": 0, b"identity": 0, b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": _DEFLATE}


def _has_zlib_header(data: bytearray) -> bool:
    """RFC 1950, section 2.2."""
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


def _said(body: bytes) -> str:
    """What an Engine.IO server says in the JSON of its refusal, or nothing."""
    try:
        value = orjson.loads(body[:MAX_EXCERPT])
    except ValueError:
        return ""
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return ""
    return f"{value['message']} (code {value['code']})" if isinstance(value.get("code"), int) else value["message"]
