"""What the machine tells the application.

Rules of this file:

- An event is plain data; which floor it comes from is told by its base class.
- Each `EngineEvent` carries the number of the session that it is about: one that drains may end after the next began.
- Each `NamespaceEvent` carries the namespace that it is about. A program may rely on their order within a namespace.
- Each `Question` wants an `answer` before the machine goes on; an answer that comes too late is ignored.
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
"""What an event is acknowledged by. Opaque; worth nothing once the connection that the event came on is gone."""


class MachineEvent:
    """The base of everything that a machine delivers."""

    __slots__ = ()


# ---------------------------------------------------------------------------------------------------------------------
# The Engine.IO session (delivered by both machines)


@dataclass(slots=True)
class EngineEvent(MachineEvent):
    """Something about an Engine.IO session. `session` is its number; a machine counts its sessions from 1."""

    session: int = field(default=1, kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class EnginePacket:
    """A packet of a session, by the name of its type."""

    type: PacketType
    data: Data


@dataclass(slots=True)
class EngineOpened(EngineEvent):
    """The handshake is done; `sid` is the session's id, `transport` the name of the transport it opened on."""

    sid: str
    transport: str


@dataclass(slots=True)
class EngineMessage(EngineEvent):
    """A message arrived. Only `EngineProtocol` delivers these."""

    data: Data


@dataclass(slots=True)
class EnginePing(EngineEvent):
    """The server pinged; the pong is on its way."""


@dataclass(slots=True)
class EngineUpgrading(EngineEvent):
    """The probe of `transport` succeeded; the switch is under way."""

    transport: str


@dataclass(slots=True)
class EngineUpgraded(EngineEvent):
    """The session goes on over `transport`."""

    transport: str


@dataclass(slots=True)
class EngineUpgradeFailed(EngineEvent):
    """The probe of a better transport failed; the session stays where it was."""

    error: Exception


@dataclass(slots=True)
class EnginePacketReceived(EngineEvent):
    """A packet arrived, and is about to be handled (only of a session that has `report_packets` set)."""

    packet: EnginePacket


@dataclass(slots=True)
class EnginePacketCreated(EngineEvent):
    """A packet of ours joins the write buffer (only of a session that has `report_packets` set)."""

    packet: EnginePacket


@dataclass(slots=True)
class EngineFlushed(EngineEvent):
    """Packets were handed to the transport (only of a session that has `report_packets` set)."""


@dataclass(slots=True)
class EngineDrained(EngineEvent):
    """The write buffer is empty, and all that was in it has left. (`ClientProtocol`: as the ones above.)"""


@dataclass(slots=True)
class EngineClosed(EngineEvent):
    """The session is over. `details` says more where there is more to say (a status, a close code, an error)."""

    reason: DisconnectReason
    details: Exception | None


# ---------------------------------------------------------------------------------------------------------------------
# The connection (the events of JavaScript's Manager)


class ManagerEvent(MachineEvent):
    """Something about the connection that the namespaces share."""

    __slots__ = ()


@dataclass(slots=True)
class Opened(ManagerEvent):
    """`open`: the connection is up; the namespaces join next."""


@dataclass(slots=True)
class Failed(ManagerEvent):
    """`error`: the connection could not be opened, or a transport error ended it (then `Closed` follows)."""

    error: Exception


@dataclass(slots=True)
class Closed(ManagerEvent):
    """`close`: the connection is gone."""

    reason: DisconnectReason
    details: Exception | None


@dataclass(slots=True)
class Pinged(ManagerEvent):
    """`ping`: the server pinged."""


@dataclass(slots=True)
class ReconnectAttempt(ManagerEvent):
    """`reconnect_attempt`: the delay before attempt number `attempt` (counted from 1) is over.

    If `question` is not None, the attempt begins when `answer(question, None, now)` is called, and fails if that does not
    happen within the option `timeout`. (`ClientProtocol.asks_before_reconnecting`)
    """

    attempt: int
    question: int | None = None


@dataclass(slots=True)
class Reconnected(ManagerEvent):
    """`reconnect`: the connection is up again after `attempt` attempts."""

    attempt: int


@dataclass(slots=True)
class ReconnectError(ManagerEvent):
    """`reconnect_error`: the attempt failed."""

    error: Exception


@dataclass(slots=True)
class ReconnectFailed(ManagerEvent):
    """`reconnect_failed`: all `reconnection_attempts` were in vain; nothing more is tried."""


@dataclass(slots=True)
class Drained(ManagerEvent):
    """The write buffer has drained, or was dropped with its connection, after `writable` was False."""


@dataclass(slots=True)
class Question(ManagerEvent):
    """The application is asked for a value that may differ each time; reply with `answer(question, value, now)`.

    `about` tells what is wanted: the `auth` of a namespace (a mapping, or None), or the `query` or `extra_headers` of
    the session that is about to open (mappings of str to str). An Exception as the answer fails the attempt. What follows
    is the same for all three: another attempt, with another question, as the options of reconnection say.
    """

    question: int
    about: Asked
    namespace: str | None


# ---------------------------------------------------------------------------------------------------------------------
# One namespace (the events of JavaScript's Socket)


@dataclass(slots=True)
class NamespaceEvent(MachineEvent):
    """Something about one namespace."""

    namespace: str


@dataclass(slots=True)
class Connected(NamespaceEvent):
    """`connect`: joined, as `sid`. `recovered`: the server restored the session and replays what was missed."""

    sid: str
    recovered: bool


@dataclass(slots=True)
class ConnectFailed(NamespaceEvent):
    """`connect_error`. `active`: whether the connection goes on trying by itself."""

    error: Exception
    active: bool


@dataclass(slots=True)
class Disconnected(NamespaceEvent):
    """`disconnect`. `active`: whether the connection goes on trying by itself."""

    reason: DisconnectReason
    details: Exception | None
    active: bool


@dataclass(slots=True)
class EventReceived(NamespaceEvent):
    """The server emitted `args[0]` with the rest of `args`. It wants an acknowledgement if `ack_id` is not None.

    `size` is about the number of bytes that it took on the wire.
    """

    args: list[Any]
    ack_id: AckId | None
    size: int


@dataclass(slots=True)
class EventSent(NamespaceEvent):
    """An event of ours has gone to the connection (delivered only where `report_sent` asks for it).

    `size` is about the number of bytes that it takes on the wire.
    """

    args: list[Any]
    size: int


@dataclass(slots=True)
class Acknowledged(NamespaceEvent):
    """The server acknowledged the emit that returned `handle`, with these values."""

    handle: int
    args: list[Any]


@dataclass(slots=True)
class AckFailed(NamespaceEvent):
    """The emit that returned `handle` will not be acknowledged: `AckTimeout` or `DisconnectedError` says why."""

    handle: int
    error: Exception
