"""The events that a machine delivers to the application.

Rules of this file:

- An event is plain data. Its base class identifies the layer that it comes from.
- Each `EngineEvent` has the number of its session, because a session that is closing may end after the next has begun.
- Each `NamespaceEvent` has the name of its namespace. The events of a namespace are delivered in order.
- The machine waits for the answer to a `Question` until the option `timeout`. A late answer is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Data = str | bytes
DisconnectReason = Literal[
    "io server disconnect",
    "io client disconnect",
    "ping timeout",
    "transport close",
    "transport error",
    "parse error",
    "forced close",
]
Asked = Literal["auth", "query", "extra_headers"]
PacketType = Literal["open", "close", "ping", "pong", "message", "upgrade", "noop"]

AckId = tuple[int, int]
"""The id of an event to acknowledge: opaque, and valid only on the connection on which the event arrived."""


class MachineEvent:
    """Base class of all events that a machine delivers."""

    __slots__ = ()


# ---------------------------------------------------------------------------------------------------------------------
# The Engine.IO session (delivered by both machines)


@dataclass(slots=True)
class EngineEvent(MachineEvent):
    """Base class of the events of an Engine.IO session. `session` is its number, counted from 1."""

    session: int = field(default=1, kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class EnginePacket:
    """An Engine.IO packet: the name of its type, its data, and whether the transport may compress it."""

    type: PacketType
    data: Data
    compress: bool = True


@dataclass(slots=True)
class EngineOpened(EngineEvent):
    """The handshake is done. `sid` is the session's id, `transport` the name of its transport."""

    sid: str
    transport: str


@dataclass(slots=True)
class EngineMessage(EngineEvent):
    """A message was received (delivered by `EngineProtocol` only)."""

    data: Data


@dataclass(slots=True)
class EnginePing(EngineEvent):
    """A ping was received, and a pong was sent (delivered by `EngineProtocol` only)."""


@dataclass(slots=True)
class EngineUpgrading(EngineEvent):
    """The server has answered the probe of `transport`; the session is about to switch to it."""

    transport: str


@dataclass(slots=True)
class EngineUpgraded(EngineEvent):
    """The session has switched to `transport`."""

    transport: str


@dataclass(slots=True)
class EngineUpgradeFailed(EngineEvent):
    """The probe of a better transport failed. The session stays on its transport, or it has ended (`EngineClosed` follows)."""

    error: Exception


@dataclass(slots=True)
class EnginePacketReceived(EngineEvent):
    """A packet was received (delivered if the session's `report_packets` is True)."""

    packet: EnginePacket


@dataclass(slots=True)
class EnginePacketCreated(EngineEvent):
    """A packet is about to be buffered for sending (delivered if the session's `report_packets` is True)."""

    packet: EnginePacket


@dataclass(slots=True)
class EngineFlushed(EngineEvent):
    """Packets were passed to the transport (delivered if the session's `report_packets` is True)."""


@dataclass(slots=True)
class EngineDrained(EngineEvent):
    """The session's write buffer has drained (`ClientProtocol` delivers it if the session's `report_packets` is True)."""


@dataclass(slots=True)
class EngineClosed(EngineEvent):
    """The session has ended. `details` is the error that caused it, or None."""

    reason: DisconnectReason
    details: Exception | None


# ---------------------------------------------------------------------------------------------------------------------
# The connection (the events of JavaScript's Manager)


class ManagerEvent(MachineEvent):
    """Base class of the events of the connection that the namespaces share."""

    __slots__ = ()


@dataclass(slots=True)
class Opened(ManagerEvent):
    """`open`: the connection is open; the namespaces join next."""


@dataclass(slots=True)
class Failed(ManagerEvent):
    """`error`: the connection could not be opened, or a transport error ended it (then `Closed` follows).

    `retry_in` is the delay in seconds before the next attempt, or None if none is planned or `Closed` follows.
    """

    error: Exception
    retry_in: float | None = field(default=None, compare=False)


@dataclass(slots=True)
class Closed(ManagerEvent):
    """`close`: the connection is closed. `details` is the error that caused it, or None.

    `retry_in` is the delay in seconds before the next attempt, or None if none is planned.
    """

    reason: DisconnectReason
    details: Exception | None
    retry_in: float | None = field(default=None, compare=False)


@dataclass(slots=True)
class Pinged(ManagerEvent):
    """`ping`: a ping from the server was received."""


@dataclass(slots=True)
class ReconnectAttempt(ManagerEvent):
    """`reconnect_attempt`: the attempt to reconnect number `attempt` (counted from 1) begins.

    With `ClientProtocol.asks_before_reconnecting`, `question` is not None: the attempt begins when `answer(question, None,
    now)` is called, and fails if that does not happen within the option `timeout`.
    """

    attempt: int
    question: int | None = None


@dataclass(slots=True)
class Reconnected(ManagerEvent):
    """`reconnect`: the connection is open again, after `attempt` attempts."""

    attempt: int


@dataclass(slots=True)
class ReconnectError(ManagerEvent):
    """`reconnect_error`: an attempt to reconnect failed."""

    error: Exception


@dataclass(slots=True)
class ReconnectFailed(ManagerEvent):
    """`reconnect_failed`: all `reconnection_attempts` have failed; the client gives up."""


@dataclass(slots=True)
class Drained(ManagerEvent):
    """`writable` is True again: the write buffer has drained, or was dropped with its connection."""


@dataclass(slots=True)
class Question(ManagerEvent):
    """The value of an option that is `ASK` is needed: call `answer(question, value, now)`.

    `about` is the option: the `auth` of a namespace (a mapping or None), or the `query` or `extra_headers` of the session
    that is about to open (mappings of str to str). If the answer is an Exception, or does not arrive within the option
    `timeout`, the attempt to connect or to join fails. The next attempt asks again.
    """

    question: int
    about: Asked
    namespace: str | None


# ---------------------------------------------------------------------------------------------------------------------
# One namespace (the events of JavaScript's Socket)


@dataclass(slots=True)
class NamespaceEvent(MachineEvent):
    """Base class of the events of one namespace."""

    namespace: str


@dataclass(slots=True)
class Connected(NamespaceEvent):
    """`connect`: the namespace has joined; the server assigned the id `sid`.

    `recovered` is True if the server restored the previous session, including the events that were missed.
    """

    sid: str
    recovered: bool


@dataclass(slots=True)
class ConnectFailed(NamespaceEvent):
    """`connect_error`: the namespace could not be joined. `active`: whether the client tries again automatically."""

    error: Exception
    active: bool


@dataclass(slots=True)
class Disconnected(NamespaceEvent):
    """`disconnect`: the namespace was left. `active`: whether it is joined again after a reconnection."""

    reason: DisconnectReason
    details: Exception | None
    active: bool


@dataclass(slots=True)
class EventReceived(NamespaceEvent):
    """The server emitted the event `args[0]` with the values `args[1:]`.

    Attributes:
        args: The event's name and values.
        ack_id: The argument for `acknowledge`, or None if the server requested no acknowledgement.
        size: The approximate size on the wire, in bytes.
    """

    args: list[Any]
    ack_id: AckId | None
    size: int


@dataclass(slots=True)
class EventSent(NamespaceEvent):
    """An event was sent (delivered if the namespace's `report_sent` is True).

    Attributes:
        args: The event's name and values.
        size: The approximate size on the wire, in bytes.
        id: The id of the acknowledgement on the wire, or None if none was requested.
        tries: How many times it has been sent, with retries.
    """

    args: list[Any]
    size: int
    id: int | None = None
    tries: int = 1


@dataclass(slots=True)
class EventBuffered(NamespaceEvent):
    """An event was buffered, to be sent later (delivered if the namespace's `report_sent` is True)."""

    args: list[Any]
    size: int


@dataclass(slots=True)
class EventDropped(NamespaceEvent):
    """An event was dropped.

    `error` is None if the event is volatile and could not be sent (then this is delivered if the namespace's `report_sent` is
    True). Otherwise it was buffered or queued for retries, and `error` says why the server cannot receive it. If its
    acknowledgement was requested, `AckFailed` is delivered instead.
    """

    args: list[Any]
    error: Exception | None = None


@dataclass(slots=True)
class Acknowledged(NamespaceEvent):
    """The server acknowledged the emit that returned `handle`, with the values `args`.

    `event` is the name of the event, `id` that of the acknowledgement on the wire.
    """

    handle: int
    args: list[Any]
    event: str | float = field(default="", compare=False)
    id: int | None = field(default=None, compare=False)


@dataclass(slots=True)
class AckFailed(NamespaceEvent):
    """The emit that returned `handle` was not acknowledged. `error` is an `AckTimeout`, a `DisconnectedError` or a `PacketError`.

    `event` is the name of the event, `id` that of the acknowledgement on the wire if it was awaited on the connection.
    """

    handle: int
    error: Exception
    event: str | float = field(default="", compare=False)
    id: int | None = field(default=None, compare=False)
