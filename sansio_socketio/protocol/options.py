"""The options of the machine, their defaults and the values they take.

Rules of this file:

- Names are those of the JavaScript client in snake_case. Times are in seconds, sizes in bytes.
- There is a dataclass for each layer; its fields are checked when it is created. An unknown name, a wrong type or a value
  out of range is an OptionError that names the option and the values it takes.
- `ASK` as a value means that the application is asked each time (see `events.Question`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import Enum
from math import inf
from operator import methodcaller
from typing import Any, Final, Generic, Literal, Self, TypeVar, overload

from .errors import OptionError

T = TypeVar("T")


class Ask(Enum):
    """The type of `ASK`."""

    ASK = "ask"

    def __repr__(self) -> str:
        return "ASK"


ASK: Final = Ask.ASK

TRANSPORTS: Final = ("polling", "websocket")
"""The names of the built-in transports."""

_LONGEST: Final = 1e9
"""The longest time in seconds: some thirty years, which the timers of all drivers accept."""

Check = tuple[Callable[[Any], bool], str]


def _number(low: float, high: float = _LONGEST) -> Check:
    def accepts(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    return accepts, f"a number from {low:g} to {high:g}"


def _integer(low: int) -> Check:
    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= low

    return accepts, f"a whole number of at least {low}"


def _or_none(check: Check) -> Check:
    accepts, takes = check
    return (lambda value: value is None or accepts(value)), f"{takes}, or None"


def _instance(kind: type, takes: str) -> Check:
    return (lambda value: isinstance(value, kind)), takes


def _is_str_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())


def transport_name(transport: Any) -> str | None:
    """Return the name of an item of `transports` (a built-in name, or a class that has a name), or None."""
    if isinstance(transport, str):
        return transport if transport in TRANSPORTS else None
    name = getattr(transport, "name", None) if isinstance(transport, type) else None
    return name if isinstance(name, str) and name else None


def _are_transports(value: Any) -> bool:
    names = [transport_name(transport) for transport in value] if isinstance(value, (list, tuple)) else []
    return bool(names) and None not in names and len(set(names)) == len(names)


def _are_protocols(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)


def _are_transport_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(options, Mapping) for name, options in value.items()
    )


def _is_parser(value: Any) -> bool:
    methods = (getattr(value, name, None) for name in ("encoder", "decoder"))
    return not isinstance(value, type) and all(map(callable, methods))


def _is_deflate(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, int) and value >= 0)


_BOOL: Final = _instance(bool, "True or False")
_STRINGS: Final = (_is_str_mapping, "a mapping of str to str")

_CHECKS: Final[Mapping[str, Check]] = {
    "path": _instance(str, "a str such as '/socket.io'"),
    "add_trailing_slash": _BOOL,
    "transports": (_are_transports, "a sequence of 'polling', 'websocket' and subclasses of Transport, each name once"),
    "upgrade": _BOOL,
    "remember_upgrade": _BOOL,
    "try_all_transports": _BOOL,
    "query": _STRINGS,
    "extra_headers": _STRINGS,
    "force_base64": _BOOL,
    "timestamp_requests": _or_none(_BOOL),
    "timestamp_param": (lambda value: isinstance(value, str) and value != "", "a str that is not empty"),
    "with_credentials": _BOOL,
    "protocols": (_are_protocols, "a sequence of WebSocket subprotocols"),
    "transport_options": (_are_transport_options, "a mapping of a transport's name to a mapping of its options"),
    "per_message_deflate": (_is_deflate, "True, False, or the least number of bytes that is worth compressing"),
    "max_message_size": _integer(1),
    "close_timeout": _number(0),
    "reconnection": _BOOL,
    "reconnection_attempts": (
        lambda value: value == inf or _integer(0)[0](value),
        "a whole number of at least 0, or math.inf",
    ),
    "reconnection_delay": _number(0),
    "reconnection_delay_max": _number(0),
    "randomization_factor": _number(0, 1),
    "timeout": _or_none(_number(0)),
    "max_buffered_events": _integer(1),
    "max_buffered_bytes": _integer(1),
    "max_attachments": _integer(0),
    "auth": _or_none(_instance(Mapping, "a mapping")),
    "ack_timeout": _or_none(_number(0)),
    "retries": _integer(0),
    "parser": _or_none((_is_parser, "an object with the methods encoder() and decoder(max_attachments)")),
}

_SECRETS: Final = frozenset({"auth", "query", "extra_headers", "transport_options"})
"""Options whose values are not shown in messages, because they may hold secrets."""

_ASKABLE: Final = frozenset({"auth", "query", "extra_headers"})
"""Options that may be ASK."""


def check_option(name: str, value: Any) -> None:
    """Raise OptionError unless the option `name` takes `value`."""
    if not (takes_value(name, value) or (value is ASK and name in _ASKABLE)):
        raise option_error(name, value)


def takes_value(name: str, value: Any) -> bool:
    """Whether the option takes this value (ASK aside)."""
    accepts, _ = _CHECKS[name]
    return accepts(value)


def option_error(name: str, value: Any, *, ask: str = "ASK") -> OptionError:
    """Return the error for an invalid value, which says what the option takes.

    `ask`: what to call ASK, which applications do not see under that name.
    """
    _, takes = _CHECKS[name]
    given = f"this {type(value).__name__}" if name in _SECRETS else repr(value)
    return OptionError(f"{name} takes {takes}{f', or {ask}' * (name in _ASKABLE)}, not {given}")


def answer_error(about: str, value: Any) -> Exception | None:
    """Return why `value` cannot answer a question about the option `about`, or None if it can.

    An Exception is its own reason. For a value of the wrong type it is an OptionError that says what the option takes;
    the value itself is not shown, as it may hold secrets.
    """
    if isinstance(value, Exception):
        return value
    if takes_value(about, value):
        return None
    _, takes = _CHECKS[about]
    return OptionError(f"the answer for {about} must be {takes}, not this {type(value).__name__}")


def check_name(name: str, known: Collection[str]) -> None:
    """Raise OptionError unless `name` is one of the `known` options."""
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
        raise OptionError(f"there is no option {name!r}{hint}")


class _Checked:
    """The base of a dataclass whose fields are checked when it is created."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for option in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            check_option(option.name, getattr(self, option.name))

    @classmethod
    def build(cls, **options: Any) -> Self:
        """Create an instance. Raise OptionError for an unknown name."""
        known = {option.name for option in fields(cls)}  # type: ignore[arg-type]
        for name in options:
            check_name(name, known)
        return cls(**options)


@dataclass(slots=True, kw_only=True)
class EngineOptions(_Checked):
    """The options of an Engine.IO session.

    Attributes:
        path: The path of the server's endpoint.
        add_trailing_slash: Whether to append a slash to the path.
        transports: The transports to use, the one to open with first: names, and custom classes (subclasses of
            `transports.base.Transport`), which replace a built-in transport of the same name.
        upgrade: Whether to switch to another of them when the server offers it.
        remember_upgrade: Whether to open with WebSocket if it worked the last time.
        try_all_transports: Whether to try the next transport when one cannot be opened.
        query: Parameters to add to the query of each request. A query in the URL replaces them.
        extra_headers: Headers to send with each request.
        force_base64: Whether to send binary messages as base64 text.
        timestamp_requests: Whether requests have a timestamp, against caches. None: with polling, but not WebSocket.
        timestamp_param: The name of that parameter.
        with_credentials: Whether to keep the cookies that the server sets, and to send them.
        protocols: The WebSocket subprotocols to offer.
        transport_options: Options for one transport, which override the common ones (`query` and `extra_headers` are
            merged with the common ones).
        per_message_deflate: Whether to offer compression of WebSocket messages. A number is the smallest size in bytes
            that is compressed (True: 1024).
        max_message_size: The largest message or body in bytes that is accepted, after decompression.
        close_timeout: How many seconds closing may take before the streams are aborted.
    """

    path: str = "/engine.io"
    add_trailing_slash: bool = True
    transports: Sequence[str | type[Any]] = TRANSPORTS
    upgrade: bool = True
    remember_upgrade: bool = False
    try_all_transports: bool = False
    query: Mapping[str, str] | Literal[Ask.ASK] = field(default_factory=dict)
    extra_headers: Mapping[str, str] | Literal[Ask.ASK] = field(default_factory=dict)
    force_base64: bool = False
    timestamp_requests: bool | None = None
    timestamp_param: str = "t"
    with_credentials: bool = False
    protocols: Sequence[str] = ()
    transport_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    per_message_deflate: bool | int = True
    max_message_size: int = 64 * 1024 * 1024
    close_timeout: float = 5.0


@dataclass(slots=True, kw_only=True)
class ClientOptions(EngineOptions):
    """The options of a Socket.IO connection: those of its Engine.IO sessions, and those of the JavaScript Manager.

    Attributes:
        reconnection: Whether to connect again after the connection was lost or could not be opened.
        reconnection_attempts: How many attempts to make before giving up: a whole number, or `math.inf`.
        reconnection_delay: The delay before the first attempt, in seconds. Each further one doubles.
        reconnection_delay_max: The longest delay, in seconds.
        randomization_factor: How far a delay may deviate at random, as a fraction of it, from 0 to 1.
        timeout: How many seconds opening the connection may take; None for no limit.
        parser: The encoding of packets: `packets.msgpack.MessagePackParser()`, or a custom one (see
            `packets.socketio.Parser`). None for the default, JSON.
        max_buffered_events: How many events may be buffered to be sent.
        max_buffered_bytes: How many bytes may be buffered to be sent.
        max_attachments: How many binary attachments a packet from the server may have.
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
    """Declares an option of `RunningOptions`: an attribute whose reading and setting go through the two hooks."""

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
    """The options of a connection that may be set while it runs. Setting one raises OptionError for a bad value."""

    reconnection = RunningOption[bool]()
    """Whether to connect again after the connection was lost. Setting it to False also ends a wait for the next attempt."""
    reconnection_attempts = RunningOption[float]()
    """How many attempts to make before giving up: a whole number, or `math.inf`."""
    reconnection_delay = RunningOption[float]()
    """The delay before the first attempt, in seconds. Each further one doubles."""
    reconnection_delay_max = RunningOption[float]()
    """The longest delay, in seconds."""
    randomization_factor = RunningOption[float]()
    """How far a delay may deviate at random, as a fraction of it, from 0 to 1."""
    timeout = RunningOption["float | None"]()
    """How many seconds opening the connection may take; None for no limit. It counts from the next attempt on."""

    def _get_option(self, name: str) -> Any:
        """Return the present value of the option."""
        raise NotImplementedError

    def _set_option(self, name: str, value: Any) -> None:
        """Check the value and set the option. Raise OptionError."""
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class NamespaceOptions(_Checked):
    """The options of one namespace.

    Attributes:
        auth: The credentials to send when joining; ASK to be asked each time.
        ack_timeout: The default timeout of an acknowledgement, in seconds; None for no limit.
        retries: How many times an event is sent again when it is not acknowledged in time.
    """

    auth: Mapping[str, Any] | Literal[Ask.ASK] | None = None
    ack_timeout: float | None = None
    retries: int = 0
