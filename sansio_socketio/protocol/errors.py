"""The exceptions of the library, all of them subclasses of `SocketIOError`.

Rules of this file:

- A message says what happened, with the offending value, and what is accepted or what to do.
- What a program may act on (an HTTP status, a close code, the server's data) is an attribute.
- An exception that corresponds to a built-in one (`ValueError`, `TimeoutError`) is a subclass of that, too.
"""

from __future__ import annotations

from typing import Any


class SocketIOError(Exception):
    """The base of all exceptions that this library raises or reports."""


class OptionError(SocketIOError, ValueError):
    """An option is unknown, has the wrong type or a value out of range. The message names the option."""


class StateError(SocketIOError, RuntimeError):
    """A call is not allowed in the present state, such as acknowledging twice."""


class PacketError(SocketIOError, ValueError):
    """A packet from the peer is invalid, or a value cannot be encoded as a packet."""


class PayloadError(SocketIOError, ValueError):
    """A value of an event from the server does not match the annotation of a typed handler.

    Its cause is pydantic's ValidationError, which has all mismatches of the value.

    Attributes:
        event: The event's name.
        path: The path to the mismatch, from the handler's parameter on, such as `"position.x"`.
    """

    def __init__(self, message: str, *, event: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.event = event
        self.path = path


class BufferFullError(SocketIOError):
    """An event exceeds the send buffer's limit (`max_buffered_events`, `max_buffered_bytes`) and was not queued."""


class TransportError(SocketIOError):
    """A transport failed: a stream could not be opened or broke, or the server's response was refused or invalid.

    Attributes:
        transport: The transport's name, such as `"polling"`, or None if none was chosen yet.
        status: The HTTP status of the response, or None.
        body: The body of the response as text, truncated to a few kilobytes, or None.
        close_code: The WebSocket close code (RFC 6455, section 7.4), or None.
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
        data: The additional data of the server's refusal (Socket.IO protocol 5, "Connection to a namespace"), or None.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class AckTimeout(SocketIOError, TimeoutError):
    """The server did not acknowledge an event within the timeout of the emit."""


class DisconnectedError(SocketIOError):
    """The connection ended while something was awaited, such as an acknowledgement.

    Attributes:
        reason: The reason of the disconnection, such as `"transport close"`.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
