"""The options that applications pass as keywords.

Rules of this file:

- The options of the state machine are declared in `protocol.options`, those of the client here.
- The TypedDicts are for editors and type checkers. They name every option. A test compares them with the dataclasses.
- The state machine receives ASK instead of a function for `auth`, `query` or `extra_headers`.
- An invalid option raises an OptionError from the call. It names the option and the accepted values.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import signature
from ssl import SSLContext
from typing import Any, Final, Literal, TypedDict

from ..protocol.errors import OptionError
from ..protocol.options import (
    ASK,
    Checked,
    ClientOptions,
    NamespaceOptions,
    check_name,
    option_error,
    snake_case,
    takes_value,
)
from ..protocol.packets.socketio import Parser
from ..protocol.transports.base import Transport
from ..protocol.url import ascii_host
from ..running.options import INBOX_CHECKS, ErrorPolicy, check_by

AuthValue = Mapping[str, Any] | None
Auth = AuthValue | Callable[[], AuthValue | Awaitable[AuthValue]]
"""The credentials for a namespace, or a (sync or async) function that is called for them each time it is joined."""

Strings = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""A mapping of str to str, or a (sync or async) function that is called for it before each attempt."""

StreamHook = Callable[..., Any]
"""The application's function that opens streams: see `ManagerOptions.open_stream`."""


class SocketOptions(TypedDict, total=False):
    """The options of one namespace's Socket.

    Keys:
        auth: The credentials to send when connecting: a mapping, or a (sync or async) function that is called when the
            connection is open, before the namespace is joined.
        ack_timeout: The default time limit for acknowledgements in seconds, or None.
        retries: How many times an event is sent again if it is not acknowledged in time.
    """

    auth: Auth
    ack_timeout: float | None
    retries: int


class ManagerOptions(TypedDict, total=False):
    """The options of a Manager: those of the state machine (see `protocol.options.ClientOptions`), and these.

    Keys:
        query: Query parameters to add to each request, or a (sync or async) function that is called for them before each
            attempt. A query in the URL replaces them.
        extra_headers: Headers to send with each request, or a (sync or async) function that is called for them before each
            attempt.
        ssl: The TLS context, also for an "https://" proxy. None verifies the server with the system's certificates, False
            does not verify it.
        server_hostname: The name that the server's certificate must match, if it differs from the URL's host.
        proxy: The HTTP proxy to use (with CONNECT): "http://user:password@host:port" or "https://...". True (the default)
            uses the environment's proxy: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, except for hosts in NO_PROXY and the
            loopback host. None connects directly.
        open_stream: A function that opens streams instead of the runtime. With asyncio it is async, is called with
            (protocol_factory, host, port) and returns (transport, protocol), as `loop.create_unix_connection` does. With
            trio and anyio it is async, is called with (host, port) and returns a `trio.abc.Stream` or an
            `anyio.abc.ByteStream`. With threads it is called with (host, port) and returns a connected `socket.socket`.
            TLS is added on top. The proxies of the environment are ignored.
        auto_connect: Whether the connection opens, and new sockets connect, automatically.
        on_handler_error: What to do with an exception in a handler. "log" (the default) logs it with its handler;
            "raise" closes the connection, and the context manager raises the exception; a callable is called with the
            exception and the event's name.
        inbox_events: The maximum number of received events of a namespace that are queued for their handlers. Beyond it
            the connection is closed. Reading pauses shortly before, while handlers keep up with the events.
        inbox_bytes: The maximum size of these events in bytes.
        slow_handler_warning: After how many seconds to warn about a handler that blocks the queue of its namespace; None
            for no warning.
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
    max_payload_packets: int
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
    slow_handler_warning: float | None


class Options(ManagerOptions, SocketOptions, total=False):
    """All options of `connect`: those of a Manager and those of a Socket."""


class IOOptions(Options, total=False):
    """The options of `io`: those of a Manager and those of a Socket, and these.

    Keys:
        force_new: Whether to create a new Manager, and so a new connection.
        multiplex: Whether to share the Manager with other sockets of the same server.
    """

    force_new: bool
    multiplex: bool


def _is_context(value: object) -> bool:
    return value is None or value is False or isinstance(value, SSLContext)


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1e9)


_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "ssl": (_is_context, "an ssl.SSLContext, None to verify with the system's certificates, or False not to verify"),
    "server_hostname": (
        lambda value: value is None or (isinstance(value, str) and ascii_host(value) is not None),
        "a valid host name or IP address, or None",
    ),
    "open_stream": (lambda value: value is None or callable(value), "a function that opens a stream, or None"),
    "auto_connect": (lambda value: isinstance(value, bool), "True or False"),
    **INBOX_CHECKS,
    "slow_handler_warning": (_is_limit, "a positive number of seconds up to 1e+09, or None"),
}


@dataclass(slots=True, kw_only=True)
class LocalOptions(Checked):
    """The options of a Manager that the client itself uses (see `ManagerOptions`)."""

    ssl: SSLContext | Literal[False] | None = None
    server_hostname: str | None = None
    proxy: str | Literal[True] | None = field(default=True, repr=False)  # it may contain a password
    open_stream: StreamHook | None = None
    auto_connect: bool = True
    on_handler_error: ErrorPolicy = "log"
    inbox_events: int = 100_000
    inbox_bytes: int = 128 * 1024 * 1024
    slow_handler_warning: float | None = 10.0

    @classmethod
    def check(cls, name: str, value: Any) -> None:
        """Raise OptionError unless the option `name` accepts `value`. The Connector checks `proxy`."""
        if name in _CHECKS:
            check_by(_CHECKS, name, value)


@dataclass(slots=True)
class ManagerSettings:
    """The checked options of a Manager, separated by layer.

    Attributes:
        machine: The options of the state machine.
        local: The options of the client.
        functions: The functions that return `query` or `extra_headers`, by the option's name.
    """

    machine: ClientOptions
    local: LocalOptions
    functions: dict[str, Callable[[], Any]]


CLIENT_OPTIONS: Final = frozenset(option.name for option in fields(ClientOptions))
LOCAL_OPTIONS: Final = frozenset(option.name for option in fields(LocalOptions))
MANAGER_OPTIONS: Final = CLIENT_OPTIONS | LOCAL_OPTIONS
SOCKET_OPTIONS: Final = frozenset(option.name for option in fields(NamespaceOptions))
IO_OPTIONS: Final = frozenset({"force_new", "multiplex"})
"""The options that only `io` accepts."""
CONNECT_OPTIONS: Final = frozenset({"retry"})
"""The parameters of `connect` that are not options."""
CALLABLE_OPTIONS: Final = frozenset({"query", "extra_headers"})
"""The options of a Manager that may be a function."""


def manager_settings(options: Mapping[str, Any]) -> ManagerSettings:
    """Check the options of a Manager, and separate them by layer. Raise OptionError if one is invalid."""
    for name in options:
        if snake_case(name) in SOCKET_OPTIONS:
            raise OptionError(
                f"{snake_case(name)} is an option of a socket: pass it to socket() or connect(), not to Manager"
            )
        check_name(name, MANAGER_OPTIONS)
    for name in CALLABLE_OPTIONS & options.keys():
        check_askable(name, options[name])
    functions = {name: options[name] for name in CALLABLE_OPTIONS if callable(options.get(name))}
    machine: dict[str, Any] = {name: value for name, value in options.items() if name in CLIENT_OPTIONS}
    machine.update(dict.fromkeys(functions, ASK))
    local = {name: value for name, value in options.items() if name in LOCAL_OPTIONS}
    return ManagerSettings(ClientOptions(**machine), LocalOptions(**local), functions)


def socket_settings(options: Mapping[str, Any]) -> NamespaceOptions:
    """Check the options of a Socket, and replace a callable `auth` by ASK. Raise OptionError if one is invalid."""
    for name in options:
        if snake_case(name) in MANAGER_OPTIONS:
            raise OptionError(f"{snake_case(name)} is an option of the Manager: pass it to Manager, not to socket()")
        check_name(name, SOCKET_OPTIONS)
    check_askable("auth", options.get("auth"))
    given = dict(options)
    if callable(given.get("auth")):
        given["auth"] = ASK
    return NamespaceOptions(**given)


def check_askable(name: str, value: object) -> None:
    """Raise OptionError unless the value is valid for the option, or is a function."""
    if callable(value):
        try:
            parameters = signature(value)
        except (TypeError, ValueError):  # some builtins have no signature
            return
        try:
            parameters.bind()
        except TypeError:
            function = getattr(value, "__qualname__", type(value).__name__)
            raise OptionError(
                f"the function for {name} takes no arguments: return the value; {function} has parameters"
            ) from None
    elif not takes_value(name, value):
        raise option_error(name, value, ask="a function that returns it")


def check_flag(name: str, value: object) -> None:
    """Raise OptionError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise OptionError(f"{name} takes True or False, not {value!r}")


def split_options(
    options: Mapping[str, Any], others: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the options of `connect` and `io` into the Manager's and the Socket's, and omit the `others`.

    Raise OptionError for an unknown option.
    """
    for name in options:
        check_name(name, MANAGER_OPTIONS | SOCKET_OPTIONS | others)
    manager = {name: value for name, value in options.items() if name in MANAGER_OPTIONS}
    socket = {name: value for name, value in options.items() if name in SOCKET_OPTIONS}
    return manager, socket


def warn_about_ignored(what: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Warn about options that are ignored because an existing object was created with other options."""
    ignored = sorted(name for name, value in given.items() if name not in kept or kept[name] != value)
    if ignored:
        warnings.warn(f"{what} already exists and keeps its options; ignored: {', '.join(ignored)}", stacklevel=4)
