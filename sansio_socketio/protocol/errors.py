"""The exceptions of the library, all of them subclasses of `SocketIOError`.

Rules of this file:

- A message says what happened, with the offending value, and what is accepted or what to do.
- Values that a program may act on (an HTTP status, a close code, the server's data) are attributes.
- An exception that corresponds to a built-in one (`ValueError`, `TimeoutError`) is also a subclass of it.
- Messages are logged. So they and the chained exceptions contain nothing that may be secret: no credentials, no contents of
  packets, bodies and headers. Exceptions of parsers, which quote what they have parsed, are not chained. Shown are event
  names, the text with which a server refuses a namespace, and that with which it refuses a request, without queries.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar


class SocketIOError(Exception):
    """Base class of all exceptions that this library raises or reports."""


class OptionError(SocketIOError, ValueError):
    """An option or argument is unknown, has the wrong type or is out of range. The message names it."""


class StateError(SocketIOError, RuntimeError):
    """A call is not allowed in the current state, such as acknowledging an event twice."""


class PacketError(SocketIOError, ValueError):
    """A packet from the peer is invalid, or a value cannot be encoded as a packet."""


class PayloadError(SocketIOError, ValueError):
    """A value from the server does not match the annotation of a typed handler, or the `result` of `emit_with_ack`.

    Its `__cause__` is a ValidationError of pydantic, which lists the mismatches. The text of both contains nothing of the value.
    For programs, `__cause__.errors()` has the values as `input`, and pydantic's own messages as `ctx["message"]`.

    Attributes:
        event: The event's name.
        path: The path to the mismatch, beginning with the handler's parameter or `result`, such as `"position.x"`.
    """

    def __init__(self, message: str, *, event: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.event = event
        self.path = path


class BufferFullError(SocketIOError):
    """The send buffer is full (`max_buffered_events`, `max_buffered_bytes`); the event was not buffered."""


class TransportError(SocketIOError):
    """A transport failed: a stream could not be opened or broke, or the server refused a request or sent invalid data.

    Attributes:
        transport: The transport's name, such as `"polling"`, or None if no transport was in use.
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
    """The connection was not open, or no response to CONNECT arrived, within the `timeout` option."""


class ConnectError(SocketIOError):
    """A namespace could not be connected: the server refused it or could not be reached.

    Attributes:
        message: The server's message, or what went wrong.
        data: The data of the server's refusal (Socket.IO protocol 5, "Connection to a namespace"), or None.
        namespace: The name of the namespace that the server refused, or None if it has not refused it.
    """

    def __init__(self, message: str, data: Any = None, *, namespace: str | None = None) -> None:
        super().__init__(message if namespace is None else f"the server refused {namespace}: {message}")
        self.message = message
        self.data = data
        self.namespace = namespace


class AckTimeout(SocketIOError, TimeoutError):
    """The server did not acknowledge an event within the timeout of the emit."""


class DisconnectedError(SocketIOError):
    """The connection ended, or was stopped, while a call was waiting or before it was made.

    Attributes:
        reason: The reason of the disconnection, such as `"transport close"`, or None.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


E = TypeVar("E", bound=BaseException)


_QUOTED = re.compile(r":? (?:bytearray\(|b['\"]).*", re.DOTALL)
"""What h11 quotes of the bytes that it parses."""


def parser_message(error: Exception) -> str:
    """Return the message of an exception of h11 or wsproto, without the bytes that it quotes."""
    return _QUOTED.sub("", str(error)) or type(error).__name__


REFUSED: Final = "connection refused"
"""The message of a ConnectionRefusedError. Its own text depends on the runtime, and repeats the address."""

_MAX_TEXT: Final = 500


def message_of(error: BaseException) -> str:
    """Return the truncated message of an error of a stream, or its type if the message is empty."""
    text = "; ".join(dict.fromkeys(map(_text, _failures(error))))
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _text(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return REFUSED
    return str(error) or type(error).__name__


def _failures(error: BaseException) -> Sequence[BaseException]:
    """Return the failures to connect to the addresses of a host; otherwise the error."""
    cause = error.__cause__
    if type(error) is not OSError or error.errno is not None or cause is None:  # they are the cause of a plain OSError
        return (error,)
    return cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)


def chained(error: E, cause: BaseException) -> E:
    """Return an error with its cause, for an error that is not raised."""
    error.__cause__ = cause
    return error


def without_frames(error: E) -> E:
    """Drop the tracebacks of an error and its causes, and what it only suppresses: they keep the peer's data in memory."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = each.__context__ = None
        each = each.__cause__
    return error
