"""The options that users give as keywords, and how they are shared out among the floors.

Rules of this file:

- One flat set of keywords. Those of the machine keep its names (`protocol.options`); `Local` holds those that end here.
- The TypedDicts are for editors and type checkers. They name every option there is; a test compares them with the
  dataclasses.
- What may be a callable (`auth`, `query`, `extra_headers`) is replaced by ASK for the machine and kept as an `Asker`.
- A mistake is an OptionError at the call, which names the option and what it takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from ssl import SSLContext
from typing import Any, Final, Literal, TypedDict

from ..protocol.engine import check_engine_options
from ..protocol.errors import OptionError
from ..protocol.options import ASK, ClientOptions, NamespaceOptions, check_name, option_error, takes_value
from ..protocol.packets.socketio import Parser
from ..protocol.transports.base import Transport
from ..runtime.interface import StreamHook
from ..runtime.proxy import check_proxy

Asker = Callable[[], Any]
"""Gives the value of an option anew before each attempt; may be async."""

AuthValue = Mapping[str, Any] | None
Auth = AuthValue | Callable[[], AuthValue | Awaitable[AuthValue]]
"""What to send when joining a namespace, or what gives it each time."""

Strings = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""Strings by name, or what gives them each time."""

ErrorPolicy = Literal["log", "raise"] | Callable[..., Any]
"""What becomes of an exception of a handler: see `ManagerOptions.on_handler_error`."""


class SocketOptions(TypedDict, total=False):
    """The options of one namespace's Socket.

    Keys:
        auth: What to send when joining: a mapping, or a function (also async) that is asked before each attempt.
        ack_timeout: The timeout in seconds of each acknowledgement that is asked for without one of its own.
        retries: How often an event is sent again when no acknowledgement came in time.
    """

    auth: Auth
    ack_timeout: float | None
    retries: int


class ManagerOptions(TypedDict, total=False):
    """The options of a Manager: of the machine (`protocol.options.ClientOptions` tells them all), and these.

    Keys:
        query: What to add to the query of each request, or a function (also async) that is asked before each attempt. A
            query in the URL takes its place.
        extra_headers: Headers to send with each request, or a function (also async) that is asked before each attempt.
        ssl: The context for TLS, also that to an "https://" proxy; None verifies with the system's certificates; False
            does not verify.
        server_hostname: The name that the server's certificate must be for, where it is not the URL's host.
        proxy: The HTTP proxy to go through, by CONNECT: "http://user:password@host:port" or "https://...". True (the
            default) takes what the environment names for the URL: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, except for
            hosts in NO_PROXY and the loopback host. None goes directly.
        open_stream: A function that opens streams in the runtime's place, given the host and port that are wanted.
            With asyncio it is async, takes (protocol_factory, host, port) and returns (transport, protocol), as
            `loop.create_unix_connection` does; with trio and anyio it is async, takes (host, port) and returns a
            `trio.abc.Stream` or an `anyio.abc.ByteStream`; with threads it takes (host, port) and returns a connected
            `socket.socket`. TLS goes on top of that. The environment's proxies do not count then.
        auto_connect: Whether the connection is opened, and a new Socket joins, without being told to.
        on_handler_error: What becomes of an exception of a handler. "log" (the default) logs it with the event's name;
            "raise" ends the connection, and the scope raises it at its end; a callable is called with the exception and
            the event's name.
        inbox_events: How many events of a namespace may wait for their handlers before the connection is closed.
        inbox_bytes: How many bytes they may hold together.
    """

    path: str
    add_trailing_slash: bool
    transports: Sequence[str | type[Transport]]
    upgrade: bool
    remember_upgrade: bool
    try_all_transports: bool
    query: Strings
    extra_headers: Strings
    force_base64: bool
    timestamp_requests: bool | None
    timestamp_param: str
    with_credentials: bool
    protocols: Sequence[str]
    transport_options: Mapping[str, Mapping[str, Any]]
    per_message_deflate: bool | int
    max_message_size: int
    close_timeout: float
    reconnection: bool
    reconnection_attempts: float
    reconnection_delay: float
    reconnection_delay_max: float
    randomization_factor: float
    timeout: float | None
    parser: Parser | None
    max_buffered_events: int
    max_buffered_bytes: int
    max_attachments: int
    ssl: SSLContext | Literal[False] | None
    server_hostname: str | None
    proxy: str | Literal[True] | None
    open_stream: StreamHook | None
    auto_connect: bool
    on_handler_error: ErrorPolicy
    inbox_events: int
    inbox_bytes: int


class Options(ManagerOptions, SocketOptions, total=False):
    """All options of `connect`: those of a Manager and those of a Socket."""


class IOOptions(Options, total=False):
    """The options of `io`: all of them, and these.

    Keys:
        force_new: Whether to make a Manager, and so a connection, of its own.
        multiplex: Whether to share the Manager with others for the same server.
    """

    force_new: bool
    multiplex: bool


def is_count(value: object) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_context(value: object) -> bool:
    return value is None or value is False or isinstance(value, SSLContext)


def _is_policy(value: object) -> bool:
    return callable(value) or value in ("log", "raise")


_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "ssl": (_is_context, "an ssl.SSLContext, None to verify as the system does, or False not to verify"),
    "server_hostname": (lambda value: value is None or (isinstance(value, str) and value != ""), "a str, or None"),
    "open_stream": (lambda value: value is None or callable(value), "a function that opens a stream, or None"),
    "auto_connect": (lambda value: isinstance(value, bool), "True or False"),
    "on_handler_error": (_is_policy, "'log', 'raise', or a callable that takes the exception and the event's name"),
    "inbox_events": (is_count, "a whole number of at least 1"),
    "inbox_bytes": (is_count, "a whole number of at least 1"),
}


@dataclass(slots=True, kw_only=True)
class Local:
    """The options of a Manager that are no business of the machine's (see `ManagerOptions`)."""

    ssl: SSLContext | Literal[False] | None = None
    server_hostname: str | None = None
    proxy: str | Literal[True] | None = field(default=True, repr=False)  # it may hold a password
    open_stream: StreamHook | None = None
    auto_connect: bool = True
    on_handler_error: ErrorPolicy = "log"
    inbox_events: int = 100_000
    inbox_bytes: int = 128 * 1024 * 1024

    def __post_init__(self) -> None:
        for name, (accepts, takes) in _CHECKS.items():
            value = getattr(self, name)
            if not accepts(value):
                raise OptionError(f"{name} takes {takes}, not {value!r}")
        check_proxy(self.proxy)


@dataclass(slots=True)
class ManagerSettings:
    """A Manager's options, shared out."""

    machine: ClientOptions
    local: Local
    askers: dict[str, Asker] = field(default_factory=dict)


CLIENT_OPTIONS: Final = frozenset(option.name for option in fields(ClientOptions))
LOCAL_OPTIONS: Final = frozenset(option.name for option in fields(Local))
MANAGER_OPTIONS: Final = CLIENT_OPTIONS | LOCAL_OPTIONS
SOCKET_OPTIONS: Final = frozenset(option.name for option in fields(NamespaceOptions))
IO_OPTIONS: Final = frozenset({"force_new", "multiplex"})
"""Those of `io` alone."""
CONNECT_OPTIONS: Final = frozenset({"retry"})
"""Those of `connect` alone."""
_ASKABLE: Final = frozenset({"query", "extra_headers"})


def manager_settings(options: Mapping[str, Any]) -> ManagerSettings:
    """Share out the options of a Manager. Raises OptionError."""
    for name in options:
        if name in SOCKET_OPTIONS:
            raise OptionError(f"{name} is an option of a socket: give it to socket() or connect(), not to Manager")
        check_name(name, MANAGER_OPTIONS)
    for name in _ASKABLE & options.keys():
        check_askable(name, options[name])
    askers = {name: options[name] for name in _ASKABLE if callable(options.get(name))}
    given: dict[str, Any] = {name: value for name, value in options.items() if name in CLIENT_OPTIONS}
    given.update(dict.fromkeys(askers, ASK))
    machine = ClientOptions(**given)
    check_engine_options(machine)
    local = {name: value for name, value in options.items() if name in LOCAL_OPTIONS}
    return ManagerSettings(machine, Local(**local), askers)


def socket_settings(options: Mapping[str, Any]) -> NamespaceOptions:
    """Check the options of a Socket. Raises OptionError. A callable `auth` becomes ASK."""
    for name in options:
        if name in MANAGER_OPTIONS:
            raise OptionError(f"{name} is an option of the Manager, whose connection the socket shares")
        check_name(name, SOCKET_OPTIONS)
    check_askable("auth", options.get("auth"))
    given = dict(options)
    if callable(given.get("auth")):
        given["auth"] = ASK
    return NamespaceOptions(**given)


def check_askable(name: str, value: object) -> None:
    """Raise OptionError unless the option takes the value, or will when a function has given it."""
    if not callable(value) and not takes_value(name, value):
        raise option_error(name, value, ask="a function that gives it")


def split_options(
    options: Mapping[str, Any], beside: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the options of `connect` and `io` into the Manager's and the Socket's, and leave those `beside` them.

    Raises OptionError for others.
    """
    for name in options:
        check_name(name, MANAGER_OPTIONS | SOCKET_OPTIONS | beside)
    manager = {name: value for name, value in options.items() if name in MANAGER_OPTIONS}
    socket = {name: value for name, value in options.items() if name in SOCKET_OPTIONS}
    return manager, socket


def check_answer(about: str, value: Any) -> None:
    """Raise OptionError unless `value` may answer a question about `about`. The message does not show the value."""
    if about == "auth":
        if value is not None and not isinstance(value, Mapping):
            raise OptionError(f"auth takes a mapping, or None; its function gave a {type(value).__name__}")
    elif not isinstance(value, Mapping) or not all(
        isinstance(key, str) and isinstance(text, str) for key, text in value.items()
    ):
        raise OptionError(f"{about} takes a mapping of str to str; its function gave something else")


def warn_of_ignored(what: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Warn of options that differ from those that something that exists already was made with."""
    ignored = sorted(name for name, value in given.items() if name not in kept or kept[name] != value)
    if ignored:
        warnings.warn(f"{what} exists already and keeps its options; ignored: {', '.join(ignored)}", stacklevel=3)
