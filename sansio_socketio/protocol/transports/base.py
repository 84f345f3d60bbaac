"""The contract between a session and the transports that carry its packets.

Rules of this file:

- A transport owns its byte streams. It asks for them, writes to them and closes them through the outbox, and it is the
  `StreamOwner` that hears of them. It keeps no other state of the session than what `Endpoint` holds.
- It tells its session what happens by calling it, in order. A call may make the session call the transport in turn
  (`send`, `close`, `abort`), so a transport looks at its own state again after each.
- `on_close` comes at most once, and nothing after it. By then the transport has closed its streams. One that tells the
  peer afterwards opens another, and ends on its own, as after `close`.
- No bytes from a peer make a transport raise. What a library raises over them ends in `on_close`.
- After `close` and `abort` the session hears no more of it. `close` ends on its own within `close_timeout`, and by
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
    """What a transport needs to know to reach the session's server.

    Attributes:
        url: Scheme, host and port.
        options: The engine's options, with those of this transport alone already merged in.
        query: The application's part of the query (without EIO, transport, sid and the timestamp).
        headers: The application's headers.
        sid: The session's id; None until the handshake is done. The session sets it.
        cookies: Where cookies are kept, or None where they are not wanted.
        close_by: When the transport must be closed, if that is before its own `close_timeout` is over: draining has
            taken a part of the time. The session sets it.
        random: The machine's only entropy.
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
    """What a transport tells its session."""

    def on_open(self, transport: Transport, now: float) -> None:
        """The transport can carry packets (WebSocket: its handshake is done; polling: the first answer came)."""

    def on_packet(self, transport: Transport, packet: Packet, now: float) -> None:
        """A packet arrived."""

    def on_drain(self, transport: Transport, now: float) -> None:
        """All packets of the last `send` have left; the transport is writable again."""

    def on_pause(self, transport: Transport, now: float) -> None:
        """What `pause` asked for is done: nothing is under way any more."""

    def on_close(self, transport: Transport, reason: CloseReason, details: TransportError, now: float) -> None:
        """The transport is gone: closed by the peer ("transport close") or by a failure ("transport error")."""


class Transport(ABC):
    """One way to carry a session's packets. The session calls these; each call that can have effects takes `now`."""

    name: ClassVar[str]

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        self.endpoint = endpoint
        self.session = session
        self.outbox = outbox
        self.timers = timers
        self.writable = False
        """Whether `send` may be called: open, and nothing under way. Set before `on_open` and `on_drain`."""

    @abstractmethod
    def open(self, now: float) -> None:
        """Begin. Ends in `on_open` or `on_close`."""

    @abstractmethod
    def send(self, packets: Sequence[Packet], now: float) -> None:
        """Send packets, in order. Legal only while `writable`; it is False until `on_drain`."""

    @abstractmethod
    def pause(self, now: float) -> None:
        """Let what is under way end, begin nothing new, then `on_pause` (maybe at once)."""

    @abstractmethod
    def resume(self, now: float) -> None:
        """Go on after `pause`, whether it was done yet or not."""

    @abstractmethod
    def close(self, now: float) -> None:
        """End in order: tell the peer, wait for it within `close_timeout`, close the streams. No more calls back."""

    @abstractmethod
    def abort(self) -> None:
        """Close the streams at once. No more calls back."""

    # The StreamOwner's side

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
