"""The contract between a session and the transports that carry its packets.

Rules of this file:

- A transport owns its byte streams. It requests, writes and closes them through the outbox, and is notified of them as
  their `StreamOwner`. What it knows of the session is in its `Endpoint`.
- It notifies its session by calling it, in order. During such a call the session may call the transport (`send`,
  `close`, `abort`), so a transport checks its own state again after each.
- `on_close` is called at most once, and nothing after it. The streams are closed before. A transport that still informs
  the server then opens another stream, and ends by itself, as after `close`.
- No bytes from a server make a transport raise. Exceptions of a library because of them lead to `on_close`.
- After `close` and `abort` the session is not notified any more. `close` completes by itself within `close_timeout`, and
  before `Endpoint.close_by`.
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
        options: The engine's options, overridden by those of this transport.
        query: The application's part of the query (without EIO, transport, sid and the timestamp).
        headers: The application's headers.
        sid: The session's id, or None until the handshake is done. The session sets it.
        cookies: The cookies of the server, or None if they are not used.
        close_by: The time by which the transport must be closed, as draining may have used a part of `close_timeout`. The
            session sets it.
        random: The machine's only source of randomness.
    """

    url: URL
    options: EngineOptions
    random: Random
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    sid: str | None = None
    cookies: CookieJar | None = None
    close_by: float = inf


class Session(Protocol):
    """The notifications of a transport, which the session implements."""

    def on_open(self, transport: Transport, now: float) -> None:
        """The transport can carry packets (WebSocket: its handshake is done; polling: the first response arrived)."""

    def on_packet(self, transport: Transport, packet: Packet, now: float) -> None:
        """A packet was received."""

    def on_drain(self, transport: Transport, now: float) -> None:
        """The packets of the last `send` have been sent; the transport is writable again."""

    def on_pause(self, transport: Transport, now: float) -> None:
        """`pause` has completed: nothing is in flight."""

    def on_close(self, transport: Transport, reason: CloseReason, details: TransportError, now: float) -> None:
        """The transport was closed by the server ("transport close") or has failed ("transport error")."""


class Transport(ABC):
    """The base of transports: carries the packets of a session. The session calls its methods."""

    name: ClassVar[str]

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        self.endpoint = endpoint
        self.session = session
        self.outbox = outbox
        self.timers = timers
        self.writable = False
        """Whether `send` may be called: the transport is open, and nothing is in flight. True before `on_open` and `on_drain`."""

    @abstractmethod
    def open(self, now: float) -> None:
        """Open the transport; then call `on_open` or `on_close`."""

    @abstractmethod
    def send(self, packets: Sequence[Packet], now: float) -> None:
        """Send packets, in order. It is called only while `writable`, which is then False until `on_drain`."""

    @abstractmethod
    def pause(self, now: float) -> None:
        """Complete what is in flight, begin nothing new, then call `on_pause` (maybe at once)."""

    @abstractmethod
    def resume(self, now: float) -> None:
        """Continue after `pause`, whether that has completed or not."""

    @abstractmethod
    def close(self, now: float) -> None:
        """Perform the close handshake within `close_timeout`, then close the streams. Do not notify the session any more."""

    @abstractmethod
    def abort(self) -> None:
        """Close the streams at once. Do not notify the session any more."""

    # Notifications of the streams (actions.StreamOwner)

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
