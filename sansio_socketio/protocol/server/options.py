"""The options of the server's machine, their defaults and the values that they accept.

Rules of this file:

- Times are in seconds, sizes in bytes. Names are those of the JavaScript server where it has the option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..errors import OptionError
from ..options import TRANSPORTS, Check, Checked, instance_of, integer, is_parser, is_text, number, or_none

EXTENSION: Final = 1.0
"""By how much a time limit is extended while what is awaited may be among the packets that are not handled yet, in seconds."""


@dataclass(slots=True, kw_only=True)
class _ServerChecked(Checked):
    @classmethod
    def check(cls, name: str, value: Any) -> None:
        accepts, takes = CHECKS[name]
        if not accepts(value):
            raise OptionError(f"{name} takes {takes}, not {value!r}")


@dataclass(slots=True, kw_only=True)
class Recovery(_ServerChecked):
    """The bounds of connection state recovery.

    Attributes:
        max_age: How long a client whose connection was lost may recover, in seconds.
        max_packets: The maximum number of events that are kept for each client.
        max_bytes: The maximum size of the events that are kept for each client, in bytes.
    """

    max_age: float = 120.0
    max_packets: int = 1_000
    max_bytes: int = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class EngineServerOptions(_ServerChecked):
    """The options of an Engine.IO server.

    Attributes:
        path: The path of the endpoint. Requests for another path are answered with 404.
        transports: The transports that are served. With both, sessions can be upgraded to WebSocket.
        ping_interval: The interval between two pings, in seconds.
        ping_timeout: How long to wait for the response to a ping, in seconds.
        upgrade_timeout: The time limit for an upgrade, in seconds.
        request_timeout: The time limit for receiving an HTTP request, for the next one on the same stream, for writing a
            response, and for the answer to the question about a session, in seconds.
        close_timeout: The time limit for closing, in seconds. After it the streams are aborted.
        max_payload: The largest HTTP body and WebSocket message to accept, in bytes.
        max_payload_packets: The maximum number of packets in an HTTP body.
        max_head: The largest header section of an HTTP request, in bytes. It also bounds what may follow a request before the
            response is written.
        max_streams: The maximum number of streams.
        max_sessions: The maximum number of sessions.
        max_buffered_bytes: The maximum size of the packets that are buffered for a session, in bytes. A session that exceeds
            it is closed.
        cors: The origins whose pages may make requests: "*" for all (without credentials), or a sequence of origins (with
            credentials). WebSockets are not restricted by it.
    """

    path: str = "/engine.io"
    transports: Sequence[str] = TRANSPORTS
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    request_timeout: float = 30.0
    close_timeout: float = 5.0
    max_payload: int = 1_000_000
    max_payload_packets: int = 100_000
    max_head: int = 16 * 1024
    max_streams: int = 20_000
    max_sessions: int = 10_000
    max_buffered_bytes: int = 16 * 1024 * 1024
    cors: Literal["*"] | Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class ServerOptions(EngineServerOptions):
    """The options of a Socket.IO server: those of its Engine.IO server, and those of its namespaces.

    Attributes:
        connect_timeout: How long a session may have joined no namespace, and the time limit for the answer to the question
            about a client, in seconds.
        parser: The encoding of packets (see `packets.socketio.Parser`). None for the default, JSON.
        max_attachments: The maximum number of binary attachments of a packet from a client.
        recovery: The bounds of connection state recovery, or None to disable it.
    """

    path: str = "/socket.io"
    connect_timeout: float = 45.0
    parser: Any = None
    max_attachments: int = 10
    recovery: Recovery | None = None


def _are_transports(value: Any) -> bool:
    is_sequence = isinstance(value, (list, tuple)) and bool(value)
    return is_sequence and len(set(value)) == len(value) and set(value) <= set(TRANSPORTS)


def _is_cors(value: Any) -> bool:
    return value == "*" or (isinstance(value, (list, tuple)) and all(is_text(origin) for origin in value))


_TIME: Final = number(0)
_COUNT: Final = integer(1)

CHECKS: Final[Mapping[str, Check]] = {
    "path": (lambda value: is_text(value) and value.startswith("/"), "a str that starts with a slash"),
    "transports": (_are_transports, "a sequence of 'polling' and 'websocket', without duplicates"),
    "ping_interval": number(0.001),
    "ping_timeout": number(0.001),
    "upgrade_timeout": _TIME,
    "request_timeout": _TIME,
    "close_timeout": _TIME,
    "connect_timeout": _TIME,
    "max_payload": _COUNT,
    "max_payload_packets": _COUNT,
    "max_head": _COUNT,
    "max_streams": _COUNT,
    "max_sessions": _COUNT,
    "max_buffered_bytes": integer(1024),  # enough for the handshake
    "cors": (_is_cors, "'*' or a sequence of origins such as 'https://example.com'"),
    "parser": or_none((is_parser, "an object with the methods encoder() and decoder(max_attachments)")),
    "max_attachments": integer(0),
    "recovery": or_none(instance_of(Recovery, "a Recovery")),
    "max_age": _TIME,
    "max_packets": integer(0),
    "max_bytes": integer(0),
}
"""Maps the name of an option to its check. Every option has one."""
