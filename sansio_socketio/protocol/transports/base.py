"""The contract between a session and the transports that carry its packets.

Rules of this file:

- A transport owns its byte streams. It opens, writes and closes them through the outbox, and is notified as their
  `StreamOwner`. Its `Endpoint` has everything that it needs to know about the session.
- It notifies its session by calling it, in order. During such a call the session may call the transport (`send`,
  `close`, `abort`), so a transport checks its own state again after each.
- `on_close` is called at most once, as the last notification, after the streams have been closed. If the transport still
  has to inform the server, it then opens another stream, and completes as after `close`.
- A transport never raises because of the server's bytes. If a library raises because of them, `on_close` is called.
- After `close` and `abort` the session is not notified any more. Closing completes within `close_timeout`, and before
  `Endpoint.close_by`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from ..actions import Outbox
from ..errors import TransportError
from ..options import EngineOptions
from ..packets.engineio import Packet
from ..timers import Timers
from ..url import URL

if TYPE_CHECKING:
    from .cookies import CookieJar

CloseReason = Literal["transport close", "transport error"]


@dataclass(slots=True)
class Endpoint:
    """The server of a session, and the options of one transport to it.

    Attributes:
        url: Scheme, host and port.
        options: The options of the session, overridden by those of this transport.
        query: The application's query parameters (without EIO, transport, sid and the timestamp).
        headers: The application's headers.
        sid: The session's id, or None until the handshake is done. The session sets it.
        cookies: The cookies of the server, or None if cookies are disabled.
        close_by: The time by which the transport must be closed. It may be earlier than `close_timeout` from now, because
            draining the write buffer takes time, too. The session sets it.
        random: The machine's only source of randomness.
    """

    url: URL
    options: EngineOptions
    random: Random
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    sid: str | None = None
    cookies: CookieJar | None = None
    close_by: float = inf


class Session(Protocol):
    """The interface by which a transport notifies its session."""

    def on_open(self, transport: Transport, now: float) -> None:
        """Called when the transport can carry packets: after the WebSocket handshake, or after the first response."""

    def on_packet(self, transport: Transport, packet: Packet, now: float) -> None:
        """Called with each received packet."""

    def on_drain(self, transport: Transport, now: float) -> None:
        """Called when the packets of the last `send` have been sent. The transport is writable again."""

    def on_pause(self, transport: Transport, now: float) -> None:
        """Called when `pause` has completed: nothing is in flight."""

    def on_close(self, transport: Transport, reason: CloseReason, details: TransportError, now: float) -> None:
        """Called when the server has closed the transport ("transport close") or it has failed ("transport error")."""


class Transport(ABC):
    """Base class of transports. A transport carries the packets of one session, which calls its methods."""

    name: ClassVar[str]

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        self.endpoint = endpoint
        self.session = session
        self.outbox = outbox
        self.timers = timers
        self.progress = "the name of the host was not resolved, or no TCP connection established; check the host, the port and firewalls"
        """How far `open` has come, for the error if it takes too long: what is up, what is awaited, and what to check."""
        self.writable = False
        """Whether `send` may be called: the transport is open and nothing is in flight. Set before `on_open` and `on_drain`."""

    @abstractmethod
    def open(self, now: float) -> None:
        """Open the transport; then call `on_open` or `on_close`."""

    @abstractmethod
    def send(self, packets: Sequence[Packet], now: float) -> None:
        """Send packets in order. Called only while `writable` is True; it is then False until `on_drain`."""

    @abstractmethod
    def pause(self, now: float) -> None:
        """Complete the requests in flight without beginning others, then call `on_pause` (possibly at once)."""

    @abstractmethod
    def resume(self, now: float) -> None:
        """Continue after `pause`, even if it has not completed."""

    @abstractmethod
    def close(self, now: float) -> None:
        """Perform the close handshake within `close_timeout`, then close the streams. Stop notifying the session."""

    @abstractmethod
    def abort(self) -> None:
        """Close the streams at once. Stop notifying the session."""

    def handle_next(self, now: float) -> int:
        """Notify the session of the next received packet. Return its cost (`actions.packet_cost`), or 0 if there is none.

        It is called after `outbox.received(self)`, whenever the driver has taken the outputs of the previous packet. A
        transport whose inputs are small may call `on_packet` at once instead.
        """
        return 0

    # Notifications of the streams (actions.StreamOwner)

    def stream_progress(self, stream: int, progress: str, now: float) -> None:
        self.progress = progress

    @abstractmethod
    def stream_opened(self, stream: int, now: float) -> None: ...
    @abstractmethod
    def stream_failed(self, stream: int, error: Exception, now: float) -> None: ...
    @abstractmethod
    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None: ...
    @abstractmethod
    def data_sent(self, stream: int, now: float) -> None: ...
    @abstractmethod
    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None: ...
