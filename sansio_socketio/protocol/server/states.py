"""The states of the parts of the server's machine and the transitions between them, as data (see `protocol.states`)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ..states import table


class ServerState(StrEnum):
    """The state of a server's machine (`ServerProtocol.state`)."""

    SERVING = "serving"
    """Streams are accepted, and sessions opened."""
    STOPPING = "stopping"
    """`shutdown` was called. The sessions are closed, within `close_timeout`. A stream that is accepted is closed at once."""
    STOPPED = "stopped"
    """All sessions and streams are closed."""


class HTTPStreamState(StrEnum):
    """The state of a stream that carries HTTP requests, on the server's side."""

    READING = "reading"
    """A request is awaited or being received, within `request_timeout`."""
    ANSWERING = "answering"
    """A request has been received. Its response is awaited. What follows it is buffered, within a bound."""
    WRITING = "writing"
    """The response has been sent, but not written yet. What follows the request is still buffered, within `request_timeout`."""
    CLOSING = "closing"
    """The last response has been sent. The stream is closed when it has been written. What is received is discarded."""
    UPGRADED = "upgraded"
    """The stream carries a WebSocket."""
    CLOSED = "closed"
    """The stream is closed."""


class ServerSessionState(StrEnum):
    """The state of an Engine.IO session, on the server's side."""

    ASKING = "asking"
    """The application has been asked whether to open the session."""
    OPEN = "open"
    """The handshake has been sent. Packets are exchanged."""
    CLOSING = "closing"
    """The application closed the session. Buffered packets are sent, within `close_timeout`."""
    CLOSED = "closed"
    """The session has ended. A WebSocket may still be performing its close handshake."""


class ServerUpgradeState(StrEnum):
    """The state of the upgrade of a session from polling to WebSocket, on the server's side."""

    NONE = "none"
    """The session uses the transport on which it was opened."""
    OPENED = "opened"
    """The client has opened a WebSocket for the session. Its probe is awaited, within `upgrade_timeout`."""
    PROBED = "probed"
    """The client's probe has been answered. GET requests are answered, so that the client can switch."""
    DONE = "done"
    """The session has switched to WebSocket."""


class ServerPollingState(StrEnum):
    """The state of the polling transport of a session, on the server's side."""

    IDLE = "idle"
    """No GET request waits. Packets are buffered."""
    POLLED = "polled"
    """A GET request waits for packets."""
    WRITING = "writing"
    """The response to a GET request has not been written yet."""
    POLLED_EARLY = "polled early"
    """The next GET request has come while the driver still reports the last response as unwritten."""
    CLOSED = "closed"
    """The session has ended or uses another transport. Requests are refused."""


class ClientState(StrEnum):
    """The state of a client of a namespace (`ServerProtocol` only)."""

    ASKING = "asking"
    """The application has been asked whether to accept the client, within `connect_timeout`."""
    CONNECTED = "connected"
    """The client has joined the namespace."""
    RECOVERABLE = "recoverable"
    """The connection was lost. Events are kept for the client, which may recover within `max_age`."""
    DISCONNECTED = "disconnected"
    """The client was refused, was disconnected or has left, and cannot recover."""


SERVER_TRANSITIONS: Final = table(
    {
        ServerState.SERVING: {ServerState.STOPPING},
        ServerState.STOPPING: {ServerState.STOPPED},
        ServerState.STOPPED: set(),
    }
)

HTTP_STREAM_TRANSITIONS: Final = table(
    {
        HTTPStreamState.READING: {HTTPStreamState.ANSWERING, HTTPStreamState.CLOSING, HTTPStreamState.CLOSED},
        HTTPStreamState.ANSWERING: {
            HTTPStreamState.WRITING,
            HTTPStreamState.CLOSING,
            HTTPStreamState.UPGRADED,
            HTTPStreamState.CLOSED,
        },
        HTTPStreamState.WRITING: {HTTPStreamState.READING, HTTPStreamState.CLOSING, HTTPStreamState.CLOSED},
        HTTPStreamState.CLOSING: {HTTPStreamState.CLOSED},
        HTTPStreamState.UPGRADED: set(),
        HTTPStreamState.CLOSED: set(),
    }
)

SERVER_SESSION_TRANSITIONS: Final = table(
    {
        ServerSessionState.ASKING: {ServerSessionState.OPEN, ServerSessionState.CLOSED},
        ServerSessionState.OPEN: {ServerSessionState.CLOSING, ServerSessionState.CLOSED},
        ServerSessionState.CLOSING: {ServerSessionState.CLOSED},
        ServerSessionState.CLOSED: set(),
    }
)

SERVER_UPGRADE_TRANSITIONS: Final = table(
    {
        ServerUpgradeState.NONE: {ServerUpgradeState.OPENED},
        ServerUpgradeState.OPENED: {ServerUpgradeState.PROBED, ServerUpgradeState.NONE},
        ServerUpgradeState.PROBED: {ServerUpgradeState.DONE, ServerUpgradeState.NONE},
        ServerUpgradeState.DONE: set(),
    }
)

SERVER_POLLING_TRANSITIONS: Final = table(
    {
        ServerPollingState.IDLE: {ServerPollingState.POLLED, ServerPollingState.CLOSED},
        ServerPollingState.POLLED: {ServerPollingState.WRITING, ServerPollingState.CLOSED},
        ServerPollingState.WRITING: {
            ServerPollingState.IDLE,
            ServerPollingState.POLLED_EARLY,
            ServerPollingState.CLOSED,
        },
        ServerPollingState.POLLED_EARLY: {ServerPollingState.POLLED, ServerPollingState.CLOSED},
        ServerPollingState.CLOSED: set(),
    }
)

CLIENT_TRANSITIONS: Final = table(
    {
        ClientState.ASKING: {ClientState.CONNECTED, ClientState.DISCONNECTED},
        ClientState.CONNECTED: {ClientState.RECOVERABLE, ClientState.DISCONNECTED},
        ClientState.RECOVERABLE: {ClientState.CONNECTED, ClientState.DISCONNECTED},
        ClientState.DISCONNECTED: set(),
    }
)
