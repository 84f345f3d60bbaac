"""HTTP long-polling transport: a GET request waits for the server's packets, POST requests carry the client's packets.

Rules of this file:

- There are at most two streams, one for the GET request and one for the POST request. They are kept alive and reused.
- A server may close an idle stream at any time, so a stream that was idle for too long is not reused. Neither is a stream
  on which bytes have arrived that belong to no request. No request is sent twice: the server may have read the POST, or may
  have responded to the GET with packets that were lost.
- The end of a POST is handled after the packets that were received before it. While closing, responses are not stored.
- To close, a CLOSE packet is sent by POST. The GET is not aborted, because the server would then report a lost client
  instead of a closed one. The server completes it.
- A broken stream ends the session. The server may not notice that, because it regards its last response as delivered, and
  would keep the session until its ping times out. Therefore a CLOSE packet is sent in this case, too.

See https://socket.io/docs/v4/engine-io-protocol/, "HTTP long-polling".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import ClassVar, Final, Literal, TypeVar

from h11 import LocalProtocolError

from ..actions import Outbox, packet_cost
from ..errors import PacketError, TransportError, chained, message_of, without_frames
from ..packets.engineio import CLOSE, VERSION_2, Packet, decode_payload, encode_payload, is_of_version_3
from ..states import POLLING_TRANSITIONS, PollingState, transition
from ..timers import Timers
from .base import CloseReason, Endpoint, Session, Transport
from .http import MAX_ANSWER, Exchange, Response, excerpt, layers_up, refusal, unreachable, unwritable
from .requests import USER_AGENT, Headers, Requests

_TEXT = b"text/plain;charset=UTF-8"
_KEPT_ALIVE = 2.0
"""How long an idle stream may be reused if the server sends no Keep-Alive header, in seconds."""
_KEEP_ALIVE_MARGIN = 1.0
"""How long before the server's own timeout an idle stream is no longer reused, in seconds."""
_LAST_GET = 0.5
"""How long to wait for the response to the GET after the response to the CLOSE packet, in seconds. Node's server responds
to the GET first; python-socketio responds to it only at the next ping."""


_MOST_JOINED: Final = 16 * 1024
"""The largest body that is copied, so that it is written together with its header."""

T = TypeVar("T")

_CLOSING: Final = frozenset({PollingState.CLOSING, PollingState.CLOSE_SENT})
_ENDED: Final = _CLOSING | {PollingState.CLOSED}
"""The states in which received packets are discarded."""


@dataclass(slots=True)
class _Request:
    method: Literal["GET", "POST"]
    body: bytes = b""
    target: str = ""


@dataclass(slots=True)
class _Channel:
    """A stream and the request that is in flight on it, if any."""

    stream: int
    exchange: Exchange
    request: _Request | None
    opened: bool = False
    idle_until: float = 0.0


class PollingTransport(Transport):
    """HTTP long-polling transport (RFC 9112), built on h11."""

    name: ClassVar[str] = "polling"

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        super().__init__(endpoint, session, outbox, timers)
        self._requests = Requests(endpoint, self.name, stamped=True)
        self._channels: dict[int, _Channel] = {}
        self._state = PollingState.OPENING
        self._polling = False  # a GET is in flight, or the packets of its response are being handled
        self._packets: Iterator[Packet] = iter(())  # those of a response that have not been handled
        self._first = ("", "")  # a description of the first response and the beginning of its body, for an error
        self._posting = False  # a POST is in flight
        self._fixed_headers: dict[str, Headers] = {}  # by method, except Content-Length, unless there are cookies
        self._close_by = inf

    # Calls of the session

    def open(self, now: float) -> None:
        self._poll(now)

    def send(self, packets: Sequence[Packet], now: float) -> None:
        self.writable = False
        self._post(encode_payload(packets), now)

    def pause(self, now: float) -> None:
        if self._state is PollingState.OPEN:
            self._change(PollingState.PAUSING)
            self._pause_if_idle(now)

    def resume(self, now: float) -> None:
        if self._state in {PollingState.PAUSING, PollingState.PAUSED}:
            self._change(PollingState.OPEN)
            self._poll_if_open(now)

    def close(self, now: float) -> None:
        if self._state is PollingState.OPENING or self.endpoint.sid is None:
            self.abort()
        elif self._state not in _ENDED:
            self._change(PollingState.CLOSING)
            self._begin_closing(now)

    def abort(self) -> None:
        self._change(PollingState.CLOSED)
        self.timers.cancel(self, "close")
        self.outbox.drop_received(self)
        self._packets = iter(())
        self._close_streams()

    def _close_streams(self) -> None:
        self.writable = False
        for channel in self._channels.values():
            self.outbox.close_stream(channel.stream, abort=channel.request is not None)
        self._channels.clear()

    def timer_fired(self, name: str | int, now: float) -> None:
        """Close the streams, because the close handshake took too long."""
        self.abort()

    # Notifications of the streams

    def stream_opened(self, stream: int, now: float) -> None:
        channel = self._channels[stream]
        channel.opened = True
        self.progress = f"{layers_up(self.endpoint.url)}, but the first GET request was not answered"
        self._write(channel, now)

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        request = self._channels.pop(stream).request
        if request is None:
            raise AssertionError("a stream was opened without a request")
        self._after_packets(self._lost, request, unreachable(self.endpoint.url.address, error), now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        channel = self._channels[stream]
        request = channel.request
        if request is None:  # surplus, such as a 408 for the idle stream: not the response to the next request
            self._drop(channel)
            return
        try:
            response = channel.exchange.receive(data)
        except TransportError as error:
            self._drop(channel)
            self._after_packets(self._lost, request, without_frames(error), now)
        else:
            if response is not None:
                self._release(channel, response, now)
                self._after_packets(self._complete, request, response, now)
            elif self._state is PollingState.OPENING:
                self.progress = "the response to the first GET request is not complete"

    def data_sent(self, stream: int, now: float) -> None:
        """Do nothing: a request is done when its response is complete."""

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        channel = self._channels.pop(stream)
        request = channel.request
        if request is None:
            return
        try:
            if error is not None:
                raise TransportError(f"the stream of a {request.method} request broke: {message_of(error)}") from error
            response = channel.exchange.receive_eof()
        except TransportError as broken:
            self._after_packets(self._lost, request, broken, now)
        else:
            self._after_packets(self._complete, request, response, now)

    def _after_packets(
        self, function: Callable[[_Request, T, float], None], request: _Request, value: T, now: float
    ) -> None:
        """Handle the end of a request after the packets that were received before it.

        There are packets only between two GET requests. So it is the POST request, and the only one that waits.
        """
        self.outbox.after_packets(self, partial(function, request, value), now)

    # Requests

    def _poll(self, now: float) -> None:
        self._polling = True
        self._send(_Request("GET"), now)

    def _poll_if_open(self, now: float) -> None:
        if self._state is PollingState.OPEN and not self._polling:
            self._poll(now)

    def _post(self, body: bytes, now: float) -> None:
        self._posting = True
        self._send(_Request("POST", body), now)

    def _send(self, request: _Request, now: float) -> None:
        channel = self._idle_channel(now)
        if channel is None:
            url = self.endpoint.url
            stream = self.outbox.open_stream(self, url.host, url.port, tls=url.secure, transport=self.name)
            exchange = Exchange(url.address)
            if self._state in _CLOSING:
                exchange.discard()
            self._channels[stream] = _Channel(stream, exchange, request)
        else:
            channel.request = request
            self._write(channel, now)

    def _idle_channel(self, now: float) -> _Channel | None:
        for channel in [channel for channel in self._channels.values() if channel.request is None]:
            if now <= channel.idle_until:
                return channel
            self._drop(channel, abort=False)
        return None

    def _write(self, channel: _Channel, now: float) -> None:
        request = channel.request
        if request is None:
            raise AssertionError("a stream without a request is written to")
        try:
            request.target = self._requests.target(base64=self._asks_for_base64())
            headers = self._headers(request, now)
            most = self.endpoint.options.max_message_size if request.method == "GET" else MAX_ANSWER
            parts = channel.exchange.request(request.method, request.target, headers, request.body, most)
        except (ValueError, LocalProtocolError) as error:
            self._drop(channel)
            self._lost(request, unwritable(f"the {request.method} request", error), now)
            return
        if len(request.body) <= _MOST_JOINED:
            parts = [b"".join(parts)]
        for part in parts:
            self.outbox.send(channel.stream, part)

    def _asks_for_base64(self) -> bool:
        return self.endpoint.options.force_base64 and self.endpoint.sid is None

    def _headers(self, request: _Request, now: float) -> Headers:
        method = request.method
        headers = self._fixed_headers.get(method)
        if headers is None:
            defaults = {
                "Host": self.endpoint.url.authority.encode("ascii"),
                "User-Agent": USER_AGENT,
                "Accept": b"*/*",
                "Accept-Encoding": b"gzip, deflate",
            }
            if method == "POST":
                defaults["Content-Type"] = _TEXT
            headers = self._requests.headers(request.target, now, defaults)
            if self.endpoint.cookies is None:
                self._fixed_headers[method] = headers
        return headers if method == "GET" else [*headers, (b"Content-Length", b"%d" % len(request.body))]

    # Responses

    def _complete(self, request: _Request, response: Response, now: float) -> None:
        if self.endpoint.cookies is not None:
            self.endpoint.cookies.update(response.headers, request.target, now)
        if self._state in _CLOSING:
            self._ended(request, now)
        elif response.status != 200:
            what, location = f"a {request.method} request", response.header(b"location")
            details = refusal(self.endpoint.url, what, response.status, response.body, location)
            self._fail("transport error", details, now)
        elif request.method == "GET":
            self._polled(response, now)
        else:
            self._posted(now)

    def _release(self, channel: _Channel, response: Response, now: float) -> None:
        """Keep the stream for another request, or close it."""
        channel.request = None
        if channel.exchange.recycle():
            channel.idle_until = now + _idle_limit(response.header(b"keep-alive"))
        else:
            self._drop(channel, abort=False)

    def _polled(self, response: Response, now: float) -> None:
        if self.endpoint.sid is None:
            described = f"the first response of {self.endpoint.url.address} ({response.described()})"
            self._first = (described, excerpt(response.body))
            if is_of_version_3(response.body):
                message = f"{described} begins with the length of a packet, {VERSION_2}"
                details = TransportError(message, status=200, body=self._first[1])
                self._fail("transport error", details, now)
                return
        try:
            self._packets = decode_payload(response.body, self.endpoint.options.max_payload_packets)
        except PacketError as error:
            self._break_off(error, now)
            return
        if self._state is PollingState.OPENING:
            self._change(PollingState.OPEN)
            self.writable = True
            self.session.on_open(self, now)
        self.outbox.received(self)

    def handle_next(self, now: float) -> int:
        """Notify the session of the next packet of a response. After the last one, poll again."""
        try:
            packet = None if self._state in _ENDED else next(self._packets, None)
        except PacketError as error:
            self._break_off(error, now)
            return 0
        if packet is None:
            self._packets = iter(())
            self._polling = False
            self._go_on(now)
            return 0
        cost = packet_cost(len(packet.data))
        if packet.type == CLOSE:
            self._fail("transport close", TransportError("the server closed the session"), now)
        else:
            self.session.on_packet(self, packet, now)
        return cost

    def _break_off(self, error: PacketError, now: float) -> None:
        """End the session because the response to a poll is invalid."""
        self._packets = iter(())
        cause = without_frames(error)
        if self.endpoint.sid is None:  # another kind of server: the body has no data of users, and there is no session
            described, body = self._first
            message = f"{described} is not that of a Socket.IO server"
            details = TransportError(f"{message}: {error}; check the URL and the option `path`", status=200, body=body)
            self._fail("transport error", chained(details, cause), now)
        else:
            details = TransportError(f"the response to a poll is invalid: {error}", status=200)
            self._break(chained(details, cause), now)

    def _posted(self, now: float) -> None:
        self._posting = False
        self.writable = True
        self.session.on_drain(self, now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Continue after a response. The session may have changed the state while it was notified."""
        if self._state is PollingState.OPEN and self.endpoint.sid is None:
            message = (
                f"the first response of {self.endpoint.url.address} has no OPEN packet: is it an Engine.IO 4 server?"
            )
            details = TransportError(message)
            self._fail("transport error", details, now)
        self._poll_if_open(now)
        self._pause_if_idle(now)
        self._continue_closing(now)

    def _pause_if_idle(self, now: float) -> None:
        if self._state is PollingState.PAUSING and not self._polling and not self._posting:
            self._change(PollingState.PAUSED)
            self.session.on_pause(self, now)

    # The end

    def _lost(self, request: _Request, error: TransportError, now: float) -> None:
        """Handle a request that failed with its stream. While closing, it only ends."""
        if self._state not in _CLOSING:
            self._break(error, now)
        else:
            self._ended(request, now)

    def _fail(self, reason: CloseReason, details: TransportError, now: float) -> None:
        details.transport = self.name
        self.abort()
        self.session.on_close(self, reason, details, now)

    def _break(self, error: TransportError, now: float) -> None:
        """End the session after a failure that the server may not have noticed, and send a CLOSE packet."""
        if self._state is PollingState.OPENING:
            self._fail("transport error", error, now)
            return
        error.transport = self.name
        self._change(PollingState.CLOSING)
        self.outbox.drop_received(self)
        self._close_streams()
        self._polling = self._posting = False
        self.session.on_close(self, "transport error", error, now)
        self._begin_closing(now)

    def _drop(self, channel: _Channel, *, abort: bool = True) -> None:
        self._channels.pop(channel.stream, None)
        self.outbox.close_stream(channel.stream, abort=abort)

    def _change(self, state: PollingState) -> None:
        self._state = transition(POLLING_TRANSITIONS, self._state, state)

    def _begin_closing(self, now: float) -> None:
        self.writable = False
        for channel in self._channels.values():
            channel.exchange.discard()
        self._close_by = min(now + self.endpoint.options.close_timeout, self.endpoint.close_by)
        self.timers.set(self, "close", self._close_by)
        self._continue_closing(now)

    def _ended(self, request: _Request, now: float) -> None:
        """Handle the end of a request while closing, whether it was completed or failed."""
        if request.method == "GET":
            self._polling = False
        else:
            self._posting = False
        self._continue_closing(now)

    def _continue_closing(self, now: float) -> None:
        if self._state not in _CLOSING or self._posting:
            return
        if self._state is PollingState.CLOSING:
            self._change(PollingState.CLOSE_SENT)
            self._post(encode_payload([Packet(CLOSE)]), now)
        elif self._polling:
            self.timers.set(self, "close", min(now + _LAST_GET, self._close_by))
        else:
            self.abort()


def _idle_limit(keep_alive: bytes) -> float:
    """Return how many seconds an idle stream may be reused, according to the Keep-Alive header of a response."""
    for part in keep_alive.split(b","):
        name, _, value = part.partition(b"=")
        if name.strip().lower() == b"timeout" and value.strip().isdigit():
            return max(float(value) - _KEEP_ALIVE_MARGIN, 0.0)
    return _KEPT_ALIVE - _KEEP_ALIVE_MARGIN
