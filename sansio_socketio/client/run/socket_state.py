"""The state of a socket at the time of an event."""

from __future__ import annotations

from dataclasses import dataclass

from .disconnection import Disconnection


@dataclass(frozen=True, slots=True)
class SocketState:
    """The state of a socket when it emitted `connect`, `connect_error` or `disconnect`.

    Handlers are called later, when the socket may be in another state. A handler that requires one parameter more than the
    event has arguments receives this object, as in `def disconnected(reason, details, state)`.

    Attributes:
        connected: Whether the socket was connected.
        active: Whether the application wanted the socket connected.
        id: The id of the socket, or None if it was not connected.
        recovered: Whether the server had restored the previous session.
        close_reason: How the socket was disconnected, or None.
        transport: The name of the transport of the connection, or of the last one; None if there was none.
    """

    connected: bool
    active: bool
    id: str | None
    recovered: bool
    close_reason: Disconnection | None
    transport: str | None
