"""The options that applications pass to `serve` as keywords.

Rules of this file:

- The options of the state machine are declared in `protocol.server.options`, the others here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypedDict

from ..protocol.errors import OptionError
from ..protocol.options import check_name
from ..protocol.packets.socketio import Parser
from ..protocol.server import Recovery, ServerOptions
from ..running.options import INBOX_CHECKS, ErrorPolicy, check_by


class ServeOptions(TypedDict, total=False):
    """The options of `serve`: those of the state machine (see `protocol.server.ServerOptions`), and these.

    Keys:
        allow_request: A (sync or async) function that is called with the `SessionRequest` before a session is opened. It
            refuses the session by raising a ConnectError.
        on_handler_error: What to do with an exception in a handler. "log" (the default) logs it with its handler;
            "raise" stops the server, and the context manager raises the exception; a callable is called with the
            exception and the event's name.
        inbox_events: The maximum number of received events of a client that are queued for their handlers. Beyond it the
            client is disconnected.
        inbox_bytes: The maximum size of these events in bytes.
    """

    path: str
    transports: Sequence[str]
    ping_interval: float
    ping_timeout: float
    upgrade_timeout: float
    request_timeout: float
    close_timeout: float
    connect_timeout: float
    max_payload: int
    max_payload_packets: int
    max_head: int
    max_streams: int
    max_sessions: int
    max_buffered_bytes: int
    max_attachments: int
    cors: Literal["*"] | Sequence[str]
    parser: Parser | None
    recovery: Recovery | None
    allow_request: Callable[..., Any] | None
    on_handler_error: ErrorPolicy
    inbox_events: int
    inbox_bytes: int


@dataclass(slots=True, kw_only=True)
class LocalServerOptions:
    """The options of a server that the state machine does not use (see `ServeOptions`)."""

    allow_request: Callable[..., Any] | None = None
    on_handler_error: ErrorPolicy = "log"
    inbox_events: int = 100_000
    inbox_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.allow_request is not None and not callable(self.allow_request):
            raise OptionError(
                f"allow_request takes a function that is called with the request, or None, not {self.allow_request!r}"
            )
        for name in INBOX_CHECKS:
            check_by(INBOX_CHECKS, name, getattr(self, name))


_MACHINE: Final = frozenset(option.name for option in fields(ServerOptions))
_LOCAL: Final = frozenset(option.name for option in fields(LocalServerOptions))


def server_settings(options: Mapping[str, Any]) -> tuple[ServerOptions, LocalServerOptions]:
    """Check the options of `serve`, and separate them by layer. Raise OptionError if one is invalid."""
    for name in options:
        check_name(name, _MACHINE | _LOCAL)
    machine = {name: value for name, value in options.items() if name in _MACHINE}
    return ServerOptions(**machine), LocalServerOptions(
        **{name: value for name, value in options.items() if name in _LOCAL}
    )
