"""The errors of the library: one small tree under `SocketIOError`.

Rules of this file:

- Every message says what happened, with what, and where it helps, what to do about it.
- What a program may want to act on (an HTTP status, a close code, the server's data) is an attribute, not only text.
- An error that has an obvious built-in relative (`ValueError`, `TimeoutError`) is one of those, too.
"""

from __future__ import annotations

from typing import Any


class SocketIOError(Exception):
    """The root of every error that this library raises or reports."""


class OptionError(SocketIOError, ValueError):
    """An option is unknown, has the wrong type or a value out of range. The message names the option."""


class StateError(SocketIOError, RuntimeError):
    """A call that makes no sense in the present state, such as acknowledging twice."""


class PacketError(SocketIOError, ValueError):
    """Bytes or text from a peer that are no valid packet, or a value that cannot be made into one."""


class PayloadError(SocketIOError, ValueError):
    """A value of an event from the server is not what the annotation of a typed handler says.

    Its cause is pydantic's ValidationError, which tells the other mismatches of the value, too.

    Attributes:
        event: The event's name.
        path: Where the mismatch is, from the handler's parameter on, such as `"position.x"`.
    """

    def __init__(self, message: str, *, event: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.event = event
        self.path = path


class BufferFullError(SocketIOError):
    """An emit found the send buffer at its bound (`max_buffered_events`, `max_buffered_bytes`); nothing was queued."""


class TransportError(SocketIOError):
    """A transport failed: a stream could not be opened or broke, or the peer answered with something else.

    Attributes:
        transport: The transport's name, such as `"polling"`, or None where none was chosen yet.
        status: The HTTP status of the answer, where there was one.
        body: The answer's body as text, decoded leniently and cut to a few kilobytes, where there was one.
        close_code: The WebSocket close code (RFC 6455, section 7.4), where there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        transport: str | None = None,
        status: int | None = None,
        body: str | None = None,
        close_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.transport = transport
        self.status = status
        self.body = body
        self.close_code = close_code


class OpenTimeout(TransportError, TimeoutError):
    """The connection was not open within the `timeout` option."""


class ConnectError(SocketIOError):
    """The server refused a namespace, or the first attempt to reach it failed.

    Attributes:
        message: What the server said, or what went wrong.
        data: The additional data of the server's refusal (Socket.IO protocol, "Connection to a namespace"), or None.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class AckTimeout(SocketIOError, TimeoutError):
    """The server did not acknowledge an event within the timeout (seconds) that the emit asked for."""


class DisconnectedError(SocketIOError):
    """The connection ended before what was waited for came.

    Attributes:
        reason: The reason of the disconnection, such as `"transport close"`.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
