"""The polling transport of a session, on the server's side: a GET request waits for packets, POST requests carry packets.

Rules of this file:

- A session has one GET request and one POST request at a time. With a second GET the first is answered with a CLOSE packet, the
  second is refused, and the session ends. A second POST is refused, and the session ends.
- A GET or POST whose stream is lost before the response ends the session.
- A POST is answered when its packets have been handled, so a client that sends faster than they are handled is slowed down.
- Packets are sent in the response to a GET, one response at a time: the next is sent when the driver has written the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from ..actions import Outbox, packet_cost
from ..errors import PacketError, TransportError, without_frames
from ..packets.engineio import CLOSE, NOOP, Packet, decode_payload, encode_payload
from ..states import transition
from .http import HTTPStream, RequestHandler, RequestRefused
from .options import EngineServerOptions
from .states import SERVER_POLLING_TRANSITIONS, ServerPollingState

_IDLE: Final = ServerPollingState.IDLE
_POLLED: Final = ServerPollingState.POLLED
_CLOSED: Final = ServerPollingState.CLOSED


class ServerPolling(RequestHandler):
    """The polling transport of a session, on the server's side. It handles the session's requests."""

    name: ClassVar[str] = "polling"

    def __init__(self, session: Any, options: EngineServerOptions, outbox: Outbox) -> None:
        self.session = session
        self._options = options
        self._outbox = outbox
        self._state = _IDLE
        self._get: HTTPStream | None = None
        self._writing: HTTPStream | None = None  # the stream on which the last response to a GET was sent
        self._post: HTTPStream | None = None
        self._packets: Iterator[Packet] = iter(())

    @property
    def writable(self) -> bool:
        """Whether `send` may be called: a GET request waits."""
        return self._state is _POLLED

    # Calls of the session

    def send(self, packets: Sequence[Packet], now: float) -> None:
        """Answer the GET request that waits."""
        stream, self._get = self._get, None
        self._change(ServerPollingState.WRITING)
        self._writing = stream
        if stream is not None:
            stream.respond(200, encode_payload(packets), now)

    def close(self, now: float, last: str = CLOSE) -> None:
        """Refuse further requests. Answer those that wait: the GET with a packet, the POST as usual."""
        get, post = self._get, self._post
        self._change(_CLOSED)
        self._get = self._post = None
        self._packets = iter(())
        self._outbox.drop_received(self)
        if get is not None:
            get.respond(200, encode_payload([Packet(last)]), now)
        if post is not None:
            post.respond(200, b"ok", now)  # nothing happens if it is not complete

    # Requests

    def admit(self, stream: HTTPStream, method: str, now: float) -> None:
        """Raise RequestRefused unless a request may be received."""
        if method == "POST":
            if self._post is not None:
                what = "a second POST request at the same time"
                self._fail(what, now)
                raise RequestRefused(400, what)
            self._post = stream
        elif method != "GET":
            raise RequestRefused(400, "the method must be GET or POST")

    def on_request(self, stream: HTTPStream, body: bytes, now: float) -> None:
        if self._state is _CLOSED:
            stream.reject(400, "the session is closed", now)
        elif stream is self._post:
            self._posted(stream, body, now)
        elif self._get is not None:
            what = "a second GET request at the same time"
            stream.reject(400, what, now)
            self._fail(what, now)
        else:
            self._get = stream
            is_early = self._state is ServerPollingState.WRITING
            self._change(ServerPollingState.POLLED_EARLY if is_early else _POLLED)
            if not is_early:
                self.session.on_drain(self, now)

    def on_written(self, stream: HTTPStream, now: float) -> None:
        if self._state is not _CLOSED and stream is self._writing:  # otherwise it was the response to a POST
            self._writing = None
            self._change(_POLLED if self._state is ServerPollingState.POLLED_EARLY else _IDLE)
            self.session.on_drain(self, now)

    def on_lost(self, stream: HTTPStream, now: float) -> None:
        if stream is self._get:
            self._fail("the stream of a GET request was lost", now)
        elif stream is self._post:
            self._outbox.after_packets(self, self._post_lost, now)

    def _post_lost(self, now: float) -> None:
        self._fail("the stream of a POST request was lost", now)

    def _posted(self, stream: HTTPStream, body: bytes, now: float) -> None:
        try:
            self._packets = decode_payload(body, self._options.max_payload_packets)
        except PacketError as error:
            self._break_off(error, now)
        else:
            self._outbox.received(self)

    def handle_next(self, now: float) -> int:
        """Notify the session of the next packet of a POST request. After the last one, answer the request."""
        try:
            packet = next(self._packets, None)
        except PacketError as error:
            self._break_off(error, now)
            return 0
        if packet is None:
            post, self._post = self._post, None
            if post is not None:
                post.respond(200, b"ok", now)
            return 0
        self.session.on_packet(self, packet, now)
        return packet_cost(len(packet.data))

    # The end

    def _break_off(self, error: PacketError, now: float) -> None:
        """End the session because a request has an invalid body."""
        post, self._post = self._post, None
        if post is not None:
            post.reject(400, f"the body is invalid: {error}", now)
        details = TransportError(f"the body of a POST request is invalid: {error}", transport=self.name)
        details.__cause__ = without_frames(error)
        self.session.on_close(self, "parse error", details, now)

    def _fail(self, what: str, now: float) -> None:
        details = TransportError(f"the session has failed: {what}", transport=self.name)
        self.session.on_close(self, "transport error", details, now)

    def _change(self, state: ServerPollingState) -> None:
        self._state = transition(SERVER_POLLING_TRANSITIONS, self._state, state)


LAST_AFTER_CLOSE: Final = NOOP
"""The answer to a GET request that waits when the client has closed the session or switched to WebSocket."""
