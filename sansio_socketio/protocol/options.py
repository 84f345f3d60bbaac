"""The options of the state machine, their defaults and the values that they accept.

Rules of this file:

- Names are those of the JavaScript client in snake_case. Times are in seconds, sizes in bytes.
- There is a dataclass for each layer. Its fields are checked when it is created. An unknown name, a wrong type or a value
  out of range raises an OptionError that names the option and the accepted values.
- The repr of a dataclass omits the options whose values may contain secrets, and so do error messages.
- The value `ASK` means that the application is asked for the value each time (see `events.Question`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache
from math import inf
from operator import methodcaller
from typing import Any, Final, Generic, Literal, Self, TypeVar, overload

from .errors import OptionError
from .url import PROTOCOL_PARAMETERS, is_encodable

T = TypeVar("T")


class Ask(Enum):
    """The type of `ASK`."""

    ASK = "ask"

    def __repr__(self) -> str:
        return "ASK"


ASK: Final = Ask.ASK

TRANSPORTS: Final = ("polling", "websocket")
"""The names of the built-in transports."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LONGEST: Final = 1e9
"""The longest time in seconds: about thirty years, which the timers of all drivers accept."""

Check = tuple[Callable[[Any], bool], str]


def number(low: float, high: float = _LONGEST) -> Check:
    """Return the check of a number in a range."""

    def accepts(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    return accepts, f"a number from {low:g} to {high:g}"


def integer(low: int) -> Check:
    """Return the check of an int of at least `low`."""

    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= low

    return accepts, f"a whole number of at least {low}"


def or_none(check: Check) -> Check:
    """Return a check that also accepts None."""
    accepts, takes = check
    return (lambda value: value is None or accepts(value)), f"{takes}, or None"


def instance_of(kind: type, takes: str) -> Check:
    """Return the check of a type."""
    return (lambda value: isinstance(value, kind)), takes


def is_text(value: Any) -> bool:
    """Return whether a value is a str that can be encoded."""
    return isinstance(value, str) and is_encodable(value)


def is_text_mapping(value: Any) -> bool:
    """Return whether a value is a mapping of such str."""
    return isinstance(value, Mapping) and all(is_text(name) and is_text(text) for name, text in value.items())


def transport_name(transport: Any) -> str | None:
    """Return the name of an item of `transports` (a built-in name or a class with a name), or None if it is invalid."""
    if isinstance(transport, str):
        return transport if transport in TRANSPORTS else None
    name = getattr(transport, "name", None) if isinstance(transport, type) else None
    return name if isinstance(name, str) and name else None


def _are_transports(value: Any) -> bool:
    names = [transport_name(transport) for transport in value] if isinstance(value, (list, tuple)) else []
    return bool(names) and None not in names and len(set(names)) == len(names)


def _are_protocols(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and _TOKEN.fullmatch(name) for name in value)


def _are_transport_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(options, Mapping) for name, options in value.items()
    )


def is_parser(value: Any) -> bool:
    """Return whether a value has the methods of a parser."""
    methods = (getattr(value, name, None) for name in ("encoder", "decoder"))
    return not isinstance(value, type) and all(map(callable, methods))


def _is_deflate(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, int) and value >= 0)


_BOOL: Final = instance_of(bool, "True or False")
_TEXTS: Final = (is_text_mapping, "a mapping of str to str without unpaired surrogates")

_CHECKS: Final[Mapping[str, Check]] = {
    "path": (is_text, "a str such as '/socket.io' without unpaired surrogates"),
    "add_trailing_slash": _BOOL,
    "transports": (
        _are_transports,
        "a sequence of 'polling', 'websocket' and subclasses of Transport, without duplicates",
    ),
    "upgrade": _BOOL,
    "remember_upgrade": _BOOL,
    "try_all_transports": _BOOL,
    "query": (
        lambda value: is_text_mapping(value) and PROTOCOL_PARAMETERS.isdisjoint(value),
        f"{_TEXTS[1]} and without the parameters of the protocol ({', '.join(sorted(PROTOCOL_PARAMETERS))})",
    ),
    "extra_headers": _TEXTS,
    "force_base64": _BOOL,
    "timestamp_requests": or_none(_BOOL),
    "timestamp_param": (
        lambda value: is_text(value) and value != "" and value not in PROTOCOL_PARAMETERS,
        "a non-empty str without unpaired surrogates",
    ),
    "with_credentials": _BOOL,
    "protocols": (_are_protocols, "a sequence of WebSocket subprotocols, of the characters of an HTTP token"),
    "transport_options": (_are_transport_options, "a mapping of a transport's name to a mapping of its options"),
    "per_message_deflate": (_is_deflate, "True, False, or the smallest size in bytes to compress"),
    "max_message_size": integer(1),
    "max_payload_packets": integer(1),
    "close_timeout": number(0),
    "reconnection": _BOOL,
    "reconnection_attempts": (
        lambda value: value == inf or integer(0)[0](value),
        "a whole number of at least 0, or math.inf",
    ),
    "reconnection_delay": number(0),
    "reconnection_delay_max": number(0),
    "randomization_factor": number(0, 1),
    "timeout": or_none(number(0)),
    "max_buffered_events": integer(1),
    "max_buffered_bytes": integer(1),
    "max_attachments": integer(0),
    "auth": or_none(instance_of(Mapping, "a mapping")),
    "ack_timeout": or_none(number(0)),
    "retries": integer(0),
    "parser": or_none((is_parser, "an object with the methods encoder() and decoder(max_attachments)")),
}

_SECRETS: Final = frozenset({"auth", "query", "extra_headers", "protocols", "transport_options"})
"""Options whose values are omitted from error messages, because they may contain secrets."""

_OF_TEXTS: Final = frozenset({"query", "extra_headers"})
"""Options that are a mapping of str to str. Their keys are no secrets."""

_ASKABLE: Final = frozenset({"auth", "query", "extra_headers"})
"""Options that accept ASK."""


_JAVASCRIPT: Final[Mapping[str, str]] = {
    "agent": "proxy",
    "rejectUnauthorized": "ssl",
    **dict.fromkeys(("ca", "cert", "key", "pfx", "passphrase", "ciphers"), "ssl"),
}
"""Options of the JavaScript client whose counterparts have quite different names."""


def check_option(name: str, value: Any) -> None:
    """Raise OptionError unless the option `name` accepts `value`."""
    if not (takes_value(name, value) or (value is ASK and name in _ASKABLE)):
        raise option_error(name, value)


def check_type(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless an argument is an instance of `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")


def takes_value(name: str, value: Any) -> bool:
    """Return whether the option accepts `value`, not considering ASK."""
    accepts, _ = _CHECKS[name]
    return accepts(value)


def option_error(name: str, value: Any, *, ask: str = "ASK") -> OptionError:
    """Return the error for an invalid value. It says which values the option accepts.

    `ask` is the description of ASK: applications use functions instead of ASK.
    """
    _, takes = _CHECKS[name]
    return OptionError(f"{name} takes {takes}{f', or {ask}' * (name in _ASKABLE)}, not {describe(name, value)}")


def describe(name: str, value: Any) -> str:
    """Return a description of an invalid value for an error, without what may be secret."""
    if name not in _SECRETS:
        return repr(value)
    if name in _OF_TEXTS and isinstance(value, Mapping):
        for key, text in value.items():
            if not is_text(key):
                return f"this {type(value).__name__}, in which the key {key!r} is invalid"
            if not is_text(text):
                kind = "an invalid str" if isinstance(text, str) else f"of type {type(text).__name__}"
                return f"this {type(value).__name__}, in which the value of {key!r} is {kind}"
    return f"this {type(value).__name__}"


def answer_error(about: str, value: Any) -> Exception | None:
    """Return the error if `value` is not a valid answer for the option `about`, or None if it is valid.

    An Exception as the value is returned unchanged. A value of the wrong type gives an OptionError, whose message omits
    the value, because it may contain secrets.
    """
    if isinstance(value, Exception):
        return value
    if takes_value(about, value):
        return None
    _, takes = _CHECKS[about]
    return OptionError(f"the answer for {about} must be {takes}, not this {type(value).__name__}")


_MOST_LISTED: Final = 10
_CAPITAL: Final = re.compile(r"(?<=[a-z])[A-Z]")
_OF_IO: Final = "it is an option of io(); each connect() and each Manager has a connection of its own"
_IN_THE_URL: Final = "it is a part of the URL"
_NOTHING: Final = "there is nothing to set: a connection ends with its block or with close()"
_SOCKETS: Final = (
    "each namespace has a socket of its own: connect(url + '/chat'), io('/chat') or manager.socket('/chat')"
)
_LOGGING: Final = "the logger 'sansio_socketio' of the module logging logs"
_ELSEWHERE: Final = {
    "namespace": _SOCKETS,
    "namespaces": _SOCKETS,
    "headers": "write extra_headers={…}",
    "socketio_path": "write path='/socket.io'",
    "wait": "the sockets of open_io() and of a Manager connect in the background",
    "wait_timeout": "write timeout=20, which limits opening the connection, and then joining the namespace",
    "request_timeout": "write timeout=20, which limits opening the connection, and then joining the namespace",
    "ssl_verify": "write ssl=False, or better ssl=context, an ssl.SSLContext that trusts the server's certificate",
    "http_session": "use ssl, proxy, extra_headers and with_credentials",
    "logger": _LOGGING,
    "engineio_logger": _LOGGING,
    "serializer": "write parser=MessagePackParser()",
    "force_new": _OF_IO,
    "multiplex": _OF_IO,
    "transport_implementations": "write transports=[…], which takes classes as well as names",
    **dict.fromkeys(("host", "hostname", "port", "secure"), _IN_THE_URL),
    **dict.fromkeys(("auto_unref", "close_on_beforeunload"), _NOTHING),
}
"""Names of options of python-socketio and (in snake_case) of the JavaScript client, with what to write instead.

Some are options of other calls.
"""


def snake_case(name: str) -> str:
    """Return the Python name for a name of the JavaScript client."""
    return _CAPITAL.sub(lambda match: f"_{match[0].lower()}", name)


def check_name(name: str, known: Collection[str]) -> None:
    """Raise OptionError unless `name` is one of the `known` options."""
    if name not in known:
        from difflib import get_close_matches  # noqa: PLC0415  # importing it is slow

        meant = _JAVASCRIPT.get(name) or snake_case(name)
        near = get_close_matches(meant, known, n=1)
        if meant in known:
            hint = f"use {meant!r} instead"
        elif meant in _ELSEWHERE:
            hint = _ELSEWHERE[meant]
        elif near:
            hint = f"did you mean {near[0]!r}?"
        elif len(known) <= _MOST_LISTED:
            hint = f"the options are {', '.join(sorted(known))}"
        else:
            hint = "the page Options of the documentation lists all options"
        raise OptionError(f"unknown option {name!r}; {hint}")


@cache
def _defaults(options_class: type[Any]) -> list[tuple[str, Any]]:
    """Return the names and the defaults of the fields of a dataclass."""
    return [(option.name, option.default) for option in fields(options_class)]


class Checked:
    """Base class of dataclasses whose fields are checked at creation."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name, default in _defaults(type(self)):  # type: ignore[arg-type]  # a class is hashable
            value = getattr(self, name)
            if value is not default:
                self.check(name, value)

    @classmethod
    def check(cls, name: str, value: Any) -> None:
        """Raise OptionError unless the option `name` accepts `value`."""
        check_option(name, value)

    @classmethod
    def build(cls, **options: Any) -> Self:
        """Create an instance from keywords. Raise OptionError for an unknown name."""
        known = {option.name for option in fields(cls)}  # type: ignore[arg-type]
        for name in options:
            check_name(name, known)
        return cls(**options)


@dataclass(slots=True, kw_only=True)
class EngineOptions(Checked):
    """The options of an Engine.IO session.

    Attributes:
        path: The path of the server's Engine.IO endpoint.
        add_trailing_slash: Whether to append a slash to the path.
        transports: The transports to use, in order of preference: names, and custom classes (subclasses of
            `transports.base.Transport`). A class replaces a built-in transport of the same name. The session is opened
            on the first one.
        upgrade: Whether to upgrade the session to another of these transports when the server offers it.
        remember_upgrade: Whether to open the session on WebSocket if WebSocket worked the last time.
        try_all_transports: Whether to try the next transport if one cannot be opened.
        query: Query parameters to add to each request. A query in the URL replaces them.
        extra_headers: Headers to send with each request.
        force_base64: Whether to send binary messages as base64 text.
        timestamp_requests: Whether to add a timestamp to the query, which prevents caching. None: with polling only.
        timestamp_param: The name of the timestamp's query parameter. The timestamp replaces a parameter of this name in the
            query of the URL, and in that of a function; in `query` it is an OptionError.
        with_credentials: Whether to store the cookies that the server sets, and send them back.
        protocols: The WebSocket subprotocols to offer.
        transport_options: Options for single transports, by the transport's name. They override the common options, except
            that `query` and `extra_headers` are merged.
        per_message_deflate: Whether to offer compression of WebSocket messages. A number is the size in bytes from which
            messages are compressed; True means 1024.
        max_message_size: The largest message or HTTP body to accept, in bytes after decompression. A server makes the state
            machine use at most eight times as much memory.
        max_payload_packets: The maximum number of packets in an HTTP body.
        close_timeout: The time limit for closing in seconds. After it the streams are aborted.
    """

    path: str = "/engine.io"
    add_trailing_slash: bool = True
    transports: Sequence[str | type[Any]] = TRANSPORTS
    upgrade: bool = True
    remember_upgrade: bool = False
    try_all_transports: bool = False
    query: Mapping[str, str] | Literal[Ask.ASK] = field(default_factory=dict, repr=False)
    extra_headers: Mapping[str, str] | Literal[Ask.ASK] = field(default_factory=dict, repr=False)
    force_base64: bool = False
    timestamp_requests: bool | None = None
    timestamp_param: str = "t"
    with_credentials: bool = False
    protocols: Sequence[str] = field(default=(), repr=False)
    transport_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    per_message_deflate: bool | int = True
    max_message_size: int = 32 * 1024 * 1024
    max_payload_packets: int = 2_000_000
    close_timeout: float = 5.0


@dataclass(slots=True, kw_only=True)
class ClientOptions(EngineOptions):
    """The options of a Socket.IO connection: those of its Engine.IO sessions, and those of JavaScript's Manager.

    Attributes:
        reconnection: Whether to reconnect when the connection is lost or could not be opened.
        reconnection_attempts: The number of attempts to reconnect before giving up: a whole number, or `math.inf`.
        reconnection_delay: The delay before the first attempt to reconnect, in seconds. It doubles with each attempt.
        reconnection_delay_max: The longest delay between attempts, in seconds.
        randomization_factor: The maximum random deviation of a delay, as a fraction of the delay from 0 to 1.
        timeout: The time limit in seconds for opening the connection, and then for joining a namespace; or None.
        parser: The encoding of packets: `packets.msgpack.MessagePackParser()`, or a custom one (see
            `packets.socketio.Parser`). None for the default, JSON.
        max_buffered_events: The maximum number of events that are buffered for sending.
        max_buffered_bytes: The maximum number of bytes that are buffered for sending.
        max_attachments: The maximum number of binary attachments of a packet from the server.
    """

    path: str = "/socket.io"
    reconnection: bool = True
    reconnection_attempts: float = inf
    reconnection_delay: float = 1.0
    reconnection_delay_max: float = 5.0
    randomization_factor: float = 0.5
    timeout: float | None = 20.0
    parser: Any = None
    max_buffered_events: int = 100_000
    max_buffered_bytes: int = 128 * 1024 * 1024
    max_attachments: int = 1_000


class RunningOption(Generic[T]):
    """Descriptor of an option of `RunningOptions`. It reads and sets the option by `_get_option` and `_set_option`."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._read: Callable[[Any], T] = methodcaller("_get_option", name)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | Self:
        return self if instance is None else self._read(instance)

    def __set__(self, instance: object, value: T) -> None:
        methodcaller("_set_option", self._name, value)(instance)


class RunningOptions:
    """The options of a connection that can be set while it is running. An invalid value raises OptionError."""

    __slots__ = ()

    reconnection = RunningOption[bool]()
    """Whether to reconnect when the connection is lost. Setting it to False also cancels the next attempt."""
    reconnection_attempts = RunningOption[float]()
    """The number of attempts to reconnect before giving up: a whole number, or `math.inf`."""
    reconnection_delay = RunningOption[float]()
    """The delay before the first attempt to reconnect, in seconds. It doubles with each attempt."""
    reconnection_delay_max = RunningOption[float]()
    """The longest delay between attempts, in seconds."""
    randomization_factor = RunningOption[float]()
    """The maximum random deviation of a delay, as a fraction of the delay from 0 to 1."""
    timeout = RunningOption["float | None"]()
    """The time limit in seconds for opening the connection, and then for joining a namespace; or None. A new value applies
    from the next attempt on."""
    path = RunningOption[str]()
    """The path of the server's endpoint. A new value applies from the next attempt on, as do those of the next options."""
    transports = RunningOption["Sequence[str | type[Any]]"]()
    """The transports to use, in order of preference."""
    query = RunningOption["Mapping[str, str] | Callable[[], Any] | Literal[Ask.ASK]"]()
    """Query parameters to add to each request (or a function that returns them; for the state machine, ASK). A new value
    also replaces the query of the URL."""
    extra_headers = RunningOption["Mapping[str, str] | Callable[[], Any] | Literal[Ask.ASK]"]()
    """Headers to send with each request (or a function that returns them; for the state machine, ASK)."""

    def _get_option(self, name: str) -> Any:
        """Return the current value of the option."""
        raise NotImplementedError

    def _set_option(self, name: str, value: Any) -> None:
        """Set the option. Raise OptionError if the value is invalid."""
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class NamespaceOptions(Checked):
    """The options of one namespace.

    Attributes:
        auth: The credentials to send when joining; ASK to be asked each time.
        ack_timeout: The default time limit for acknowledgements in seconds, or None.
        retries: How many times an event is sent again if it is not acknowledged in time.
    """

    auth: Mapping[str, Any] | Literal[Ask.ASK] | None = field(default=None, repr=False)
    ack_timeout: float | None = None
    retries: int = 0
