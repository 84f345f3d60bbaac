"""The states of the machine's parts and the transitions between them, as data.

Rules of this file:

- Each part that has states has an enum and a table of legal transitions here. The diagrams in the documentation are
  generated from the tables. Those of the server's parts are in `server.states`.
- A part changes its state only through `transition`, which checks the table. No state changes per packet.
- States exclude each other. A condition that can hold in several states is an attribute of its own, such as
  `Namespace.active` or `Transport.writable`.
- The members are strings, which compare and print as such: `machine.state == "open"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

S = TypeVar("S", bound=StrEnum)

Transitions = Mapping[S, frozenset[S]]
"""Maps each state to the states that may follow it. Staying in a state is not a transition."""


class IllegalTransition(AssertionError):
    """A transition that is not in its table: an internal error."""


class ConnectionState(StrEnum):
    """The state of the connection that the namespaces share (`ClientProtocol.state`)."""

    CLOSED = "closed"
    """There is no connection. None is opened until a namespace connects or `open` is called."""
    OPENING = "opening"
    """The first attempt to open the connection is in progress, or waits until the previous session is closed."""
    OPEN = "open"
    """The Engine.IO session is open. Namespaces join and exchange packets."""
    WAITING = "waiting"
    """The connection was lost or an attempt failed. The next attempt begins when the delay is over."""
    ASKING = "asking"
    """The delay is over. The attempt begins when the application answers `ReconnectAttempt`."""
    REOPENING = "reopening"
    """An attempt to reconnect is in progress."""


class SessionState(StrEnum):
    """The state of an Engine.IO session (`EngineProtocol.state`)."""

    NEW = "new"
    """The session has been created. Its handshake has not begun."""
    OPENING = "opening"
    """The handshake is in progress."""
    OPEN = "open"
    """The handshake is done. Packets are exchanged."""
    CLOSING = "closing"
    """The application closed the session. Buffered packets are sent, and an upgrade in progress is completed."""
    CLOSED = "closed"
    """The session has ended. Its transport may still be performing its close handshake."""


class UpgradeState(StrEnum):
    """The state of the upgrade of a session to a better transport."""

    NONE = "none"
    """No transport is being probed."""
    PROBING = "probing"
    """A transport is being opened and probed."""
    PAUSING = "pausing"
    """The server has answered the probe. Nothing is sent until the current transport has completed its requests."""


class JoinState(StrEnum):
    """The state of a namespace on the current connection, as the server sees it."""

    NONE = "none"
    """The namespace has not joined."""
    ASKING = "asking"
    """The application has been asked for `auth`."""
    WAITING = "waiting"
    """The application gave no valid `auth`. It is asked again when the delay is over."""
    SENT = "sent"
    """CONNECT has been sent. Its response has not arrived. After the option `timeout` this is reported as a failure."""
    ABANDONED = "abandoned"
    """The namespace was disconnected after CONNECT was sent. The response to CONNECT has not arrived."""
    JOINED = "joined"
    """The server has accepted CONNECT."""
    LEFT = "left"
    """DISCONNECT has just been sent. The namespace joins again in a later write."""


class PollingState(StrEnum):
    """The state of an HTTP long-polling transport."""

    OPENING = "opening"
    """The first GET request has been sent. Its response is the handshake."""
    OPEN = "open"
    """A GET request is waiting for packets, or is about to be sent."""
    PAUSING = "pausing"
    """Requests in flight are completed. No other request is sent."""
    PAUSED = "paused"
    """No request is in flight."""
    CLOSING = "closing"
    """The application closed the transport. A CLOSE packet is sent after the POST request in flight."""
    CLOSE_SENT = "close sent"
    """A CLOSE packet has been sent. The requests in flight are completed."""
    CLOSED = "closed"
    """All streams are closed."""


class WebSocketState(StrEnum):
    """The state of a WebSocket transport."""

    OPENING = "opening"
    """The stream is being opened, or the WebSocket handshake is in progress."""
    REFUSED = "refused"
    """The server has refused the handshake. The body of its response is being read."""
    OPEN = "open"
    """The handshake is done."""
    CLOSING = "closing"
    """A close frame has been sent. The server's close frame has not arrived."""
    CLOSED = "closed"
    """The stream is closed."""


def table(transitions: Mapping[S, set[S]]) -> Transitions[S]:
    """Return a table of transitions."""
    return {state: frozenset(following) for state, following in transitions.items()}


CONNECTION_TRANSITIONS: Final = table(
    {
        ConnectionState.CLOSED: {ConnectionState.OPENING},
        ConnectionState.OPENING: {ConnectionState.OPEN, ConnectionState.WAITING, ConnectionState.CLOSED},
        ConnectionState.OPEN: {ConnectionState.WAITING, ConnectionState.CLOSED},
        ConnectionState.WAITING: {ConnectionState.ASKING, ConnectionState.REOPENING, ConnectionState.CLOSED},
        ConnectionState.ASKING: {ConnectionState.REOPENING, ConnectionState.WAITING, ConnectionState.CLOSED},
        ConnectionState.REOPENING: {ConnectionState.OPEN, ConnectionState.WAITING, ConnectionState.CLOSED},
    }
)

SESSION_TRANSITIONS: Final = table(
    {
        SessionState.NEW: {SessionState.OPENING, SessionState.CLOSED},
        SessionState.OPENING: {SessionState.OPEN, SessionState.CLOSED},
        SessionState.OPEN: {SessionState.CLOSING, SessionState.CLOSED},
        SessionState.CLOSING: {SessionState.CLOSED},
        SessionState.CLOSED: set(),
    }
)

UPGRADE_TRANSITIONS: Final = table(
    {
        UpgradeState.NONE: {UpgradeState.PROBING},
        UpgradeState.PROBING: {UpgradeState.PAUSING, UpgradeState.NONE},
        UpgradeState.PAUSING: {UpgradeState.NONE},
    }
)

JOIN_TRANSITIONS: Final = table(
    {
        JoinState.NONE: {JoinState.ASKING, JoinState.SENT},
        JoinState.ASKING: {JoinState.SENT, JoinState.WAITING, JoinState.NONE},
        JoinState.WAITING: {JoinState.ASKING, JoinState.SENT, JoinState.NONE},
        JoinState.SENT: {JoinState.JOINED, JoinState.ABANDONED, JoinState.NONE},
        JoinState.ABANDONED: {JoinState.NONE, JoinState.LEFT},
        JoinState.JOINED: {JoinState.NONE, JoinState.LEFT},
        JoinState.LEFT: {JoinState.NONE},
    }
)

POLLING_TRANSITIONS: Final = table(
    {
        PollingState.OPENING: {PollingState.OPEN, PollingState.CLOSED},
        PollingState.OPEN: {PollingState.PAUSING, PollingState.CLOSING, PollingState.CLOSED},
        PollingState.PAUSING: {PollingState.PAUSED, PollingState.OPEN, PollingState.CLOSING, PollingState.CLOSED},
        PollingState.PAUSED: {PollingState.OPEN, PollingState.CLOSING, PollingState.CLOSED},
        PollingState.CLOSING: {PollingState.CLOSE_SENT, PollingState.CLOSED},
        PollingState.CLOSE_SENT: {PollingState.CLOSED},
        PollingState.CLOSED: set(),
    }
)

WEBSOCKET_TRANSITIONS: Final = table(
    {
        WebSocketState.OPENING: {WebSocketState.OPEN, WebSocketState.REFUSED, WebSocketState.CLOSED},
        WebSocketState.REFUSED: {WebSocketState.CLOSED},
        WebSocketState.OPEN: {WebSocketState.CLOSING, WebSocketState.CLOSED},
        WebSocketState.CLOSING: {WebSocketState.CLOSED},
        WebSocketState.CLOSED: set(),
    }
)


def transition(table: Transitions[S], old: S, new: S) -> S:
    """Return the state `new`. Raise IllegalTransition if it may not follow `old`."""
    if new is not old and new not in table[old]:
        raise IllegalTransition(f"illegal transition of {type(old).__name__}: from {old.name} to {new.name}")
    return new
