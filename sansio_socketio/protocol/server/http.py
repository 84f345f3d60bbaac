"""HTTP/1.1 on an accepted stream: requests are received and answered one at a time (RFC 9112), built on h11.

Rules of this file:

- h11 gets the header section of a request when it is complete, and then its body. It never gets what follows a request, which
  it would buffer without a bound. There is an h11 connection for each request.
- The next request is handled when the driver has written the last response, so a client that does not read its responses gets
  no more of them.
- What follows a request until its response is written is buffered up to `max_head` bytes. If more follow, the response is the
  last, and they are refused after it.
- Bounds are checked in a way that does not depend on the chunks in which bytes arrive. A body may take twice `max_payload`
  with its chunk headers.
- A refused request is the last one on its stream.
- A request is handed to its handler when it is complete. If its stream is lost before the response, the handler is notified.
- The end of a stream waits for the requests that were received before it. If one of them opens a WebSocket, the end is passed
  on to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol
from urllib.parse import parse_qsl

import h11
import orjson

from ..actions import Outbox, StreamOwner, packet_cost
from ..states import transition
from ..timers import Timers
from ..transports.http import join_header, reason_of
from ..transports.requests import Headers
from .options import EXTENSION, EngineServerOptions
from .states import HTTP_STREAM_TRANSITIONS, HTTPStreamState

_JSON: Final = b"application/json"
_TEXT: Final = b"text/plain; charset=UTF-8"
_READING: Final = HTTPStreamState.READING
_ANSWERING: Final = HTTPStreamState.ANSWERING
_WRITING: Final = HTTPStreamState.WRITING
_CLOSING: Final = HTTPStreamState.CLOSING
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_MAX_PARAMETERS: Final = 100
_SLICE: Final = 4096
"""How much of a body in chunks is read at once. It may have a chunk for every six bytes."""


@dataclass(slots=True)
class HTTPRequest:
    """The header section of a request. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Headers = field(repr=False)
    target: bytes = field(repr=False)

    def header(self, name: bytes) -> bytes:
        """Return all values of a header, joined, or an empty string."""
        return join_header(self.headers, name)


class RequestHandler:
    """Base class of what handles the requests of streams."""

    def on_request(self, stream: HTTPStream, body: bytes, now: float) -> None:
        """Handle a complete request: call `stream.respond` or `stream.reject`, at once or later."""

    def on_written(self, stream: HTTPStream, now: float) -> None:
        """Called when the response has been written or its stream is lost."""

    def on_lost(self, stream: HTTPStream, now: float) -> None:
        """Called if the stream is lost before the response."""


class RequestRefused(Exception):
    """A request is not accepted. `code` is that of the Engine.IO protocol, or None if it has none for this."""

    def __init__(self, status: int, why: str, code: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.code = code


class RequestRouter(Protocol):
    """What decides who handles a request."""

    @property
    def is_stopping(self) -> bool:
        """Whether no further requests are received on a stream."""
        ...

    def route(self, stream: HTTPStream, request: HTTPRequest, now: float) -> RequestHandler:
        """Return the handler of a request. Raise RequestRefused."""
        ...

    def cors(self, request: HTTPRequest | None) -> Headers:
        """Return the headers that allow a page of another origin to read the response."""
        ...

    def rejected(self, stream: HTTPStream, status: int, why: str) -> None:
        """Report that a request was refused."""
        ...


class HTTPStream:
    """A stream that has been accepted, until it carries a WebSocket or is closed. It is the stream's owner.

    Attributes:
        number: The number of the stream.
        peer: The address of the peer.
        tls: Whether the stream is encrypted.
        request: The current request, or None.
    """

    def __init__(
        self,
        router: RequestRouter,
        options: EngineServerOptions,
        outbox: Outbox,
        timers: Timers,
        *,
        peer: str,
        tls: bool,
        now: float,
    ) -> None:
        self.number = outbox.accept_stream(self)
        self.peer = peer
        self.tls = tls
        self.request: HTTPRequest | None = None
        self._router = router
        self._options = options
        self._outbox = outbox
        self._timers = timers
        self._state = _READING
        self._h11 = h11.Connection(h11.SERVER)
        self._handler: RequestHandler | None = None
        self._writing: RequestHandler | None = None  # the handler of the response that is being written
        self._successor: StreamOwner | None = None  # the WebSocket that the stream carries
        self._buffer = bytearray()  # what has been received and not been handed to h11
        self._searched = 0  # how much of it has no end of a header section
        self._body = bytearray()
        self._body_size = 0  # with the chunk headers
        self._slice = _SLICE
        self._limit_reading(now)

    # Responses

    def respond(self, status: int, body: bytes, now: float, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Respond to the request. Do nothing if its stream is closed."""
        if self._state is _ANSWERING:
            keeps = status < 400 and self._h11.their_state is h11.DONE and not self._router.is_stopping
            self._respond(status, body, now, _TEXT, headers, keeps=keeps)

    def reject(self, status: int, why: str, now: float, *, code: int | None = None) -> None:
        """Refuse the request, and close the stream when the response has been written. `code` is as in RequestRefused."""
        if self._state is _READING or self._state is _ANSWERING:
            self._router.rejected(self, status, why)
            if code is None:
                self._respond(status, why.encode(), now, _TEXT, [], keeps=False)
            else:
                self._respond(status, orjson.dumps({"code": code, "message": why}), now, _JSON, [], keeps=False)

    def _respond(
        self,
        status: int,
        body: bytes,
        now: float,
        media_type: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        keeps: bool,
    ) -> None:
        sent = [(b"Content-Length", b"%d" % len(body)), (b"Cache-Control", b"no-store"), *headers]
        if body:
            sent.append((b"Content-Type", media_type))
        sent.append(
            (b"Keep-Alive", b"timeout=%d" % self._options.request_timeout) if keeps else (b"Connection", b"close")
        )
        sent += self._router.cors(self.request)
        if self.request is not None and self.request.method == "HEAD":
            body = b""
        data = self._h11.send(h11.Response(status_code=status, headers=sent)) or b""
        if body:
            data += self._h11.send(h11.Data(data=body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        self._writing, self._handler, self.request = self._handler, None, None
        if keeps and self._h11.our_state is h11.DONE:
            self._change(_WRITING)
            self._limit_reading(now)
        else:
            self._change(_CLOSING)
            self._buffer.clear()
            self._timers.set(self, "stream", now + self._options.close_timeout)
        self._outbox.send(self.number, data)

    def hand_to(self, handler: RequestHandler) -> None:
        """Have the request that is being answered handled by another handler."""
        self._handler = handler

    @property
    def has_excess(self) -> bool:
        """Whether more follows the request than is buffered while it is answered."""
        return len(self._buffer) > self._options.max_head

    def upgrade(self, owner: StreamOwner) -> bytes:
        """Pass the stream, which carries a WebSocket now, to another owner. Return what was received after the request."""
        self._change(HTTPStreamState.UPGRADED)
        self._timers.cancel(self, "stream")
        self._handler = None
        self._successor = owner
        if self.number in self._outbox.owners:  # otherwise the stream has ended, and `_ended` will be called
            self._outbox.owners[self.number] = owner
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    def close(self) -> None:
        """Close the stream at once."""
        self._end()
        self._outbox.close_stream(self.number, abort=True)

    def stop(self, now: float) -> None:
        """Close the stream unless a request is received or answered: then its response is the last."""
        if self.request is not None or self._buffer:
            return
        if self._state is _READING:
            self._end()
            self._outbox.close_stream(self.number)
        elif self._state is _WRITING:
            self._change(_CLOSING)
            self._timers.set(self, "stream", now + self._options.close_timeout)

    # Notifications of the stream

    def stream_progress(self, stream: int, progress: str, now: float) -> None:
        """Do nothing: an accepted stream is open."""

    def stream_opened(self, stream: int, now: float) -> None:
        """Do nothing: an accepted stream is open."""

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        self.stream_closed(stream, error, now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        if self._state is _CLOSING:
            return
        self._buffer += data
        if self._state is _READING:
            self._outbox.received(self)
        else:
            self._drop_excess()

    def data_sent(self, stream: int, now: float) -> None:
        if self._state is _CLOSING:
            self._written(now)
            self._end()
            self._outbox.close_stream(self.number)
        elif self._state is _WRITING:
            self._change(_READING)
            self._limit_reading(now)
            self._written(now)
            self._continue_reading(now)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        self._outbox.after_packets(self, partial(self._ended, error), now)

    def _ended(self, error: Exception | None, now: float) -> None:
        if self._successor is None:
            self._lost(now)
        else:
            self._successor.stream_closed(self.number, error, now)

    def _lost(self, now: float) -> None:
        self._written(now)
        handler = self._handler
        self._end()
        if handler is not None:
            handler.on_lost(self, now)

    def timer_fired(self, name: str | int, now: float) -> None:
        """Close the stream, because the next request was not received, or the response not written, in time."""
        if self._state is _READING and self in self._outbox.backlog:  # the request may have been received
            self._timers.set(self, "stream", now + EXTENSION)
        else:
            self._abandon(now)

    def handle_next(self, now: float) -> int:
        """Read the next header section or body that is buffered."""
        if self._state is not _READING or not self._buffer:
            return 0
        return self._read_head(now) if self.request is None else self._read_body(now)

    # Requests

    def _read_head(self, now: float) -> int:
        limit = self._options.max_head
        match = _HEAD_END.search(self._buffer, max(self._searched - 2, 0))
        end = len(self._buffer) if match is None else match.end()
        if end > limit:
            self._h11 = h11.Connection(h11.SERVER)
            self.reject(431, f"the header section is too long: at most {limit} bytes are accepted", now)
            return 1
        if match is None:
            self._searched = end
            return 0
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = 0
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limit + self._most_bytes)
        try:
            self._h11.receive_data(head)
            event = self._h11.next_event()
            assert isinstance(event, h11.Request)
            self.request = _request(event)
        except h11.RemoteProtocolError as error:
            self._refuse_invalid(error, now)
            return 1
        self._body.clear()
        self._body_size = 0
        self._slice = _SLICE if self.request.header(b"transfer-encoding") else self._most_bytes
        if int(self.request.header(b"content-length") or 0) > self._options.max_payload:
            self._refuse_large(now)
            return 1
        try:
            self._handler = self._router.route(self, self.request, now)
        except RequestRefused as refusal:
            self.reject(refusal.status, refusal.why, now, code=refusal.code)
        else:
            if self._h11.they_are_waiting_for_100_continue:
                going_on = self._h11.send(h11.InformationalResponse(status_code=100, headers=[]))
                self._outbox.send(self.number, going_on or b"")
            self._take_events(now)
        return 1

    @property
    def _most_bytes(self) -> int:
        """How many bytes a body may take, with its chunk headers and trailers."""
        return 2 * self._options.max_payload + self._options.max_head

    def _read_body(self, now: float) -> int:
        part = bytes(self._buffer[: min(self._slice, self._most_bytes - self._body_size)])
        del self._buffer[: len(part)]
        self._body_size += len(part)
        chunks = 0
        try:
            self._h11.receive_data(part)
            chunks = self._take_events(now)
        except h11.RemoteProtocolError as error:
            self._refuse_invalid(error, now)
        else:
            if self._state is _READING and self._body_size == self._most_bytes:
                self._refuse_large(now)
        return packet_cost(len(part)) + chunks

    def _take_events(self, now: float) -> int:
        """Read what h11 has of the body, and return the number of its chunks. Hand a complete request to its handler."""
        chunks = 0
        while isinstance(event := self._h11.next_event(), h11.Data):
            chunks += 1
            self._body += event.data
            if self.request is not None and self.request.method != "POST":
                self._body.clear()  # only the body of a POST has a meaning
            if len(self._body) > self._options.max_payload:
                self._refuse_large(now)
                return chunks
        if isinstance(event, h11.EndOfMessage):
            self._complete(now)
        return chunks

    def _complete(self, now: float) -> None:
        self._buffer[:0] = self._h11.trailing_data[0]
        body, self._body = bytes(self._body), bytearray()
        self._change(_ANSWERING)
        self._timers.cancel(self, "stream")
        assert self._handler is not None
        self._handler.on_request(self, body, now)
        self._drop_excess()

    def _drop_excess(self) -> None:
        """Drop what exceeds the bound on what follows a request, except for one byte, which shows that more has followed."""
        del self._buffer[self._options.max_head + 1 :]

    def _continue_reading(self, now: float) -> None:
        """Handle what has followed the last request, whose response is written."""
        if self.has_excess:
            self._h11 = h11.Connection(h11.SERVER)
            bound = self._options.max_head
            self.reject(400, f"more than {bound} bytes follow a request whose response has not been written", now)
        elif self._buffer:
            self._outbox.received(self)

    def _refuse_invalid(self, error: h11.RemoteProtocolError, now: float) -> None:
        self._refuse(error.error_status_hint, f"the request is invalid: {reason_of(error)}", now)

    def _refuse_large(self, now: float) -> None:
        self._refuse(413, f"the body is larger than max_payload ({self._options.max_payload} bytes)", now)

    def _refuse(self, status: int, why: str, now: float) -> None:
        handler, self._handler = self._handler, None
        self.reject(status, why, now)
        if handler is not None:
            handler.on_lost(self, now)

    # The end

    def _limit_reading(self, now: float) -> None:
        self._timers.set(self, "stream", now + self._options.request_timeout)

    def _written(self, now: float) -> None:
        handler, self._writing = self._writing, None
        if handler is not None:
            handler.on_written(self, now)

    def _abandon(self, now: float) -> None:
        """Close the stream at once, and notify the handler."""
        self._outbox.close_stream(self.number, abort=True)
        self._lost(now)

    def _end(self) -> None:
        self._change(HTTPStreamState.CLOSED)
        self._timers.cancel(self, "stream")
        self._handler = self._writing = None
        self._buffer.clear()
        self._outbox.drop_received(self)

    def _change(self, state: HTTPStreamState) -> None:
        self._state = transition(HTTP_STREAM_TRANSITIONS, self._state, state)


def _request(event: h11.Request) -> HTTPRequest:
    path, _, query = event.target.decode("latin-1").partition("?")
    try:
        parameters = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))
    except ValueError:
        parameters = {}
    return HTTPRequest(event.method.decode("ascii"), path, parameters, list(event.headers), event.target)
