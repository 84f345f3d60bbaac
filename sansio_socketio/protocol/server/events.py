"""The events that the server's machine delivers to the application.

Rules of this file:

- An event is plain data. A session is identified by its number, which is never reused. A client of a namespace is identified
  by the id that it has been told, which it keeps when it recovers.
- `SessionClosed` is the last event of a session, `ClientDisconnected` and then `ClientAckFailed` are those of a client.
- The machine waits for the answer to a question within a time limit. A late answer is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..events import AckId, Data, MachineEvent

ServerDisconnectReason = Literal[
    "client namespace disconnect",
    "server namespace disconnect",
    "server shutting down",
    "forced server close",
    "ping timeout",
    "transport close",
    "transport error",
    "parse error",
]


# ---------------------------------------------------------------------------------------------------------------------
# Sessions (delivered by both machines)


@dataclass(slots=True)
class SessionEvent(MachineEvent):
    """Base class of the events of one Engine.IO session on the server."""

    session: int


@dataclass(slots=True)
class SessionQuestion(SessionEvent):
    """May this session be opened? Call `answer(question, None, now)`, or answer with a `ConnectError` to refuse it.

    It is asked if the machine's `asks_before_opening` is True. The attributes are those of `SessionOpened`.
    """

    question: int
    transport: str
    peer: str
    tls: bool
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class SessionOpened(SessionEvent):
    """A session has been opened.

    Attributes:
        transport: The name of the transport.
        peer: The address of the peer, as given to `stream_accepted`.
        tls: Whether the stream of the first request is encrypted, as given to `stream_accepted`.
        headers: The headers of the first request, with names in lower case.
        query: Its query parameters.
    """

    transport: str
    peer: str
    tls: bool
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class SessionUpgraded(SessionEvent):
    """The session has switched to `transport`."""

    transport: str


@dataclass(slots=True)
class SessionMessage(SessionEvent):
    """A message was received (delivered by `EngineServerProtocol` only)."""

    data: Data


@dataclass(slots=True)
class SessionDrained(SessionEvent):
    """The write buffer of the session has drained, after it was above the high-water mark."""


@dataclass(slots=True)
class SessionClosed(SessionEvent):
    """The session has ended. `details` is the error that caused it, or None."""

    reason: ServerDisconnectReason
    details: Exception | None


@dataclass(slots=True)
class RequestRejected(MachineEvent):
    """An HTTP request was refused, with an HTTP status and an explanation."""

    stream: int
    status: int
    why: str


# ---------------------------------------------------------------------------------------------------------------------
# The clients of the namespaces (delivered by `ServerProtocol`)


@dataclass(slots=True)
class ConnectQuestion(MachineEvent):
    """May this client join the namespace? Call `answer(question, None, now)`, or answer with a `ConnectError` to refuse it.

    It is asked if `asks_before_connecting` of the namespace is True. The attributes are those of `ClientConnected`.
    """

    question: int
    namespace: str
    client: str
    session: int
    auth: Mapping[str, Any] = field(repr=False)


@dataclass(slots=True)
class ClientEvent(MachineEvent):
    """Base class of the events of one client of a namespace."""

    namespace: str
    client: str


@dataclass(slots=True)
class ClientConnected(ClientEvent):
    """A client has joined the namespace.

    Attributes:
        session: The number of its session.
        auth: Its credentials; empty if it has sent none.
        recovered: Whether it has recovered its previous connection, with its id and the events that it had missed.
    """

    session: int
    auth: Mapping[str, Any] = field(repr=False)
    recovered: bool


@dataclass(slots=True)
class ClientDisconnected(ClientEvent):
    """A client has left the namespace, was disconnected, or its connection was lost. `details` is the error, or None."""

    reason: ServerDisconnectReason
    details: Exception | None


@dataclass(slots=True)
class ClientEmitted(ClientEvent):
    """A client emitted the event `args[0]` with the values `args[1:]`.

    Attributes:
        args: The event's name and values.
        ack_id: The argument for `acknowledge`, or None if the client requested no acknowledgement.
        size: The approximate size on the wire, in bytes.
    """

    args: list[Any]
    ack_id: AckId | None
    size: int


@dataclass(slots=True)
class ClientAcknowledged(ClientEvent):
    """A client acknowledged the emit that returned `handle`, with the values `args`."""

    handle: int
    args: list[Any]


@dataclass(slots=True)
class ClientAckFailed(ClientEvent):
    """The emit that returned `handle` was not acknowledged. `error` is an `AckTimeout` or a `DisconnectedError`."""

    handle: int
    error: Exception
