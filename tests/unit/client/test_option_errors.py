"""Every invalid option raises at the call. The error names the option and what is accepted.

The tables have every option, for every place that takes it: `Manager`, `connect`, `io`, `socket`, and the
properties that may be set while running.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf, nan
from typing import Any

import pytest

import sansio_socketio_blocking
from sansio_socketio.client import blocking
from sansio_socketio.client.options import CONNECT_OPTIONS, IO_OPTIONS, MANAGER_OPTIONS, SOCKET_OPTIONS
from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.protocol.options import ASK
from tests.support import options
from tests.support.drivers import DRIVERS, Driver
from tests.support.fake_runtime import World
from tests.support.options import cases
from tests.support.transports import FakeTransport

URL = "http://localhost"
SECRET = "s3cret"


class Nameless(FakeTransport):
    name = ""


BAD: dict[str, Sequence[Any]] = {
    **options.BAD,
    # ASK is for the state machine only.
    "auth": [*options.BAD["auth"], ASK],
    "query": [*options.BAD["query"], ASK, SECRET],
    "extra_headers": [*options.BAD["extra_headers"], ASK, SECRET],
    "transports": [*options.BAD["transports"], [Nameless], [str], ["websocket", FakeTransport]],
    "transport_options": [*options.BAD["transport_options"], {"pigeon": {}}],
    "ssl": ["no", True, 1, object()],
    "server_hostname": ["", 1, b"name", "a..b", "a" * 64, "a\0", "::g"],
    "proxy": [False, 1, b"http://h:1", object()],
    "open_stream": ["open", 1],
    "auto_connect": [None, 1, "yes"],
    "on_handler_error": [None, "ignore", 1],
    "inbox_events": [None, 0, -1, 1.5, True],
    "inbox_bytes": [None, 0, -1, 1.5, True],
    "slow_handler_warning": [0, -1, nan, inf, "1", True],
}
WORDS: dict[str, str] = {
    **dict.fromkeys(
        ("add_trailing_slash", "upgrade", "remember_upgrade", "try_all_transports", "force_base64", "with_credentials"),
        "True or False",
    ),
    **dict.fromkeys(("reconnection", "auto_connect", "force_new", "multiplex", "retry"), "True or False"),
    **dict.fromkeys(("close_timeout", "reconnection_delay", "reconnection_delay_max"), "a number from 0 to 1e+09"),
    **dict.fromkeys(("timeout", "ack_timeout"), "a number from 0 to 1e+09, or None"),
    **dict.fromkeys(
        (
            "max_message_size",
            "max_payload_packets",
            "max_buffered_events",
            "max_buffered_bytes",
            "inbox_events",
            "inbox_bytes",
        ),
        "a whole number of at least 1",
    ),
    **dict.fromkeys(("max_attachments", "retries"), "a whole number of at least 0"),
    "query": "a mapping of str to str without unpaired surrogates and without the parameters of the protocol (EIO, sid, "
    "transport), or a function that returns it, not this ",
    "extra_headers": "a mapping of str to str without unpaired surrogates, or a function that returns it, not this ",
    "path": "a str such as '/socket.io'",
    "transports": "a sequence of 'polling', 'websocket' and subclasses of Transport, without duplicates",
    "timestamp_requests": "True or False, or None",
    "timestamp_param": "a non-empty str",
    "protocols": "a sequence of WebSocket subprotocols",
    "transport_options": "a mapping ",
    "per_message_deflate": "True, False, or the smallest size in bytes",
    "reconnection_attempts": "a whole number of at least 0, or math.inf",
    "randomization_factor": "a number from 0 to 1",
    "auth": "a mapping, or None, or a function that returns it, not this ",
    "parser": "an object with the methods encoder() and decoder(max_attachments)",
    "ssl": "an ssl.SSLContext, None to verify with the system's certificates, or False not to verify",
    "server_hostname": "a valid host name or IP address, or None",
    "proxy": "a URL such as ",
    "open_stream": "a function that opens a stream, or None",
    "on_handler_error": "'log', 'raise', or a callable",
    "slow_handler_warning": "a positive number of seconds up to 1e+09, or None",
}
MISSPELT = {
    "timeuot": "timeout",
    "transport": "transports",
    "reconnect": "reconnection",
    "zzz": None,
}

Call = Callable[..., Any]


def of(names: frozenset[str]) -> list[tuple[str, Any]]:
    return cases({name: BAD[name] for name in BAD if name in names})


def check(name: str, value: Any, call: Call) -> None:
    with pytest.raises(OptionError) as caught:
        call(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} takes {WORDS[name]}"), message
    assert "ASK" not in message
    assert SECRET not in message


def in_io(world: World, body: Callable[[Any], None]) -> None:
    async def main() -> None:
        before = world.server.connections
        async with world.scopes.open_io() as io:
            body(io)
            await world.settle()
        assert world.server.connections == before, "a connection was opened nevertheless"

    world.run(main)


def with_socket(world: World, body: Callable[[Any], None]) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:
            body(socket)

    world.run(main)


def test_the_tables_are_complete() -> None:
    assert set(BAD) == MANAGER_OPTIONS | SOCKET_OPTIONS
    assert set(WORDS) == MANAGER_OPTIONS | SOCKET_OPTIONS | IO_OPTIONS | CONNECT_OPTIONS
    assert all(BAD.values())


@pytest.mark.parametrize(("name", "value"), of(MANAGER_OPTIONS))
def test_an_invalid_option_of_a_manager_raises(name: str, value: Any, world: World) -> None:
    check(name, value, lambda **given: world.manager_class(URL, **given))


@pytest.mark.parametrize(("name", "value"), of(MANAGER_OPTIONS - {"auto_connect"} | SOCKET_OPTIONS))
def test_an_invalid_option_of_connect_raises(name: str, value: Any, world: World) -> None:
    check(name, value, lambda **given: world.scopes.connect(URL, **given))


@pytest.mark.parametrize(("name", "value"), of(MANAGER_OPTIONS | SOCKET_OPTIONS))
def test_an_invalid_option_of_io_raises(name: str, value: Any, world: World) -> None:
    in_io(world, lambda io: check(name, value, lambda **given: io(URL, **given)))


@pytest.mark.parametrize(("name", "value"), of(SOCKET_OPTIONS))
def test_an_invalid_option_of_a_socket_raises(name: str, value: Any, world: World) -> None:
    with_socket(world, lambda socket: check(name, value, lambda **given: socket.io.socket("/other", **given)))


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize("name", sorted(MANAGER_OPTIONS - {"auto_connect"}))
def test_every_driver_raises_at_the_call(name: str, driver: Driver) -> None:
    for call in (driver.module.Manager, driver.module.connect):
        check(name, BAD[name][0], lambda call=call, **given: call(URL, **given))


@pytest.mark.parametrize("value", [None, 0, "yes"])
def test_invalid_flags_of_connect_and_io_raise(value: Any, world: World) -> None:
    check("retry", value, lambda **given: world.scopes.connect(URL, **given))
    for name in sorted(IO_OPTIONS):
        in_io(world, lambda io, name=name: check(name, value, lambda **given: io(URL, **given)))  # type: ignore[misc]  # it is one of two


SETTABLE = (
    "reconnection",
    "reconnection_attempts",
    "reconnection_delay",
    "reconnection_delay_max",
    "randomization_factor",
    "timeout",
    "path",
    "transports",
    "query",
    "extra_headers",
)


@pytest.mark.parametrize("running", [False, True], ids=["before", "while running"])
@pytest.mark.parametrize(("name", "value"), of(frozenset(SETTABLE)))
def test_an_invalid_property_of_a_manager_raises(name: str, value: Any, running: bool, world: World) -> None:
    def assign(manager: Any) -> None:
        kept = getattr(manager, name)
        check(name, value, lambda **given: setattr(manager, *next(iter(given.items()))))
        assert getattr(manager, name) == kept

    if running:
        with_socket(world, lambda socket: assign(socket.io))
    else:
        assign(world.manager_class(URL))


@pytest.mark.parametrize("value", BAD["auth"])
def test_an_invalid_auth_of_a_socket_raises(value: Any, world: World) -> None:
    def body(socket: Any) -> None:
        check("auth", value, lambda auth: setattr(socket, "auth", auth))
        assert socket.auth is None

    with_socket(world, body)


@pytest.mark.parametrize("value", BAD["timeout"])
def test_an_invalid_timeout_of_one_event_raises(value: Any, world: World) -> None:
    with_socket(world, lambda socket: check("timeout", value, lambda **given: socket.timeout(*given.values())))


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
def test_an_unknown_option_raises(name: str, meant: str | None, world: World) -> None:
    want = rf"^unknown option '{name}'; " + (f"did you mean '{meant}'" if meant else "the page Options .*")
    given: dict[str, Any] = {name: 1}

    def rejects(call: Call, want: str = want) -> None:
        with pytest.raises(OptionError, match=want):
            call(**given)

    rejects(lambda **given: world.manager_class(URL, **given))
    rejects(lambda **given: world.scopes.connect(URL, **given))
    in_io(world, lambda io: rejects(lambda **given: io(URL, **given)))
    own = rf"^unknown option '{name}'"  # there are fewer to mean
    with_socket(world, lambda socket: rejects(lambda **given: socket.io.socket("/other", **given), own))


@pytest.mark.parametrize(
    ("name", "hint"),
    {
        "namespaces": "each namespace has a socket of its own",
        "headers": "write extra_headers=",
        "socketio_path": "write path='/socket.io'",
        "wait_timeout": "write timeout=20",
        "ssl_verify": "write ssl=False",
        "logger": "the logger 'sansio_socketio'",
        "http_session": "use ssl, proxy",
    }.items(),
)
def test_an_option_of_python_socketio_raises_an_error_that_says_what_to_write(
    name: str, hint: str, world: World
) -> None:
    given: dict[str, Any] = {name: 1}
    for call in (world.scopes.connect, world.manager_class):
        with pytest.raises(OptionError, match=f"^unknown option '{name}'; {hint}"):
            call(URL, **given)


@pytest.mark.parametrize(
    ("name", "hint"), [("forceNew", "use 'force_new' instead"), ("multiplexing", "did you mean 'multiplex'?")]
)
def test_an_unknown_option_of_io_raises(name: str, hint: str, world: World) -> None:
    def body(io: Any) -> None:
        with pytest.raises(OptionError, match=f"unknown option '{name}'; {re.escape(hint)}"):
            io(URL, **{name: True})

    in_io(world, body)


@pytest.mark.parametrize(
    ("name", "hint"),
    {
        "extraHeaders": "use 'extra_headers' instead",
        "forceBase64": "use 'force_base64' instead",
        "requestTimeout": "write timeout=20",
        "rejectUnauthorized": "use 'ssl' instead",
        "forceNew": "it is an option of io();",
        "multiplex": "it is an option of io();",
        "transportImplementations": "write transports=[…]",
        "hostname": "it is a part of the URL",
        "autoUnref": "there is nothing to set",
    }.items(),
)
def test_an_option_of_javascript_raises_an_error_that_says_what_to_write(name: str, hint: str, world: World) -> None:
    given: dict[str, Any] = {name: 1}
    for call in (world.scopes.connect, world.manager_class):
        with pytest.raises(OptionError, match=f"^unknown option '{name}'; {re.escape(hint)}"):
            call(URL, **given)


def test_an_option_of_another_call_in_the_spelling_of_javascript_names_that_call(world: World) -> None:
    of_a_socket: dict[str, Any] = {"ackTimeout": 1}
    of_the_manager: dict[str, Any] = {"reconnectionDelay": 1}
    with pytest.raises(OptionError, match=r"^ack_timeout is an option of a socket"):
        world.manager_class(URL, **of_a_socket)

    def body(socket: Any) -> None:
        with pytest.raises(OptionError, match=r"^reconnection_delay is an option of the Manager"):
            socket.io.socket("/other", **of_the_manager)

    with_socket(world, body)


def test_options_in_the_wrong_place_raise_with_a_hint(world: World) -> None:
    for name in sorted(SOCKET_OPTIONS):
        with pytest.raises(OptionError, match=f"^{name} is an option of a socket: pass it to"):
            world.manager_class(URL, **{name: None})  # type: ignore[arg-type]  # that is the point
    with pytest.raises(OptionError, match=r"^auto_connect is an option of Manager and io"):
        world.scopes.connect(URL, auto_connect=True)

    def body(socket: Any) -> None:
        for name in sorted(MANAGER_OPTIONS):
            with pytest.raises(OptionError, match=f"^{name} is an option of the Manager"):
                socket.io.socket("/other", **{name: None})

    with_socket(world, body)


HEADERS: Sequence[Mapping[str, str]] = [{"a b": "1"}, {"Upgrade": "1"}, {"A": SECRET + "\n"}]


@pytest.mark.parametrize("headers", HEADERS)
def test_headers_that_cannot_be_sent_raise(headers: Mapping[str, str], world: World) -> None:
    own: list[dict[str, Any]] = [
        {"extra_headers": headers},
        {"transport_options": {"polling": {"extra_headers": headers}}},
    ]
    for given in own:
        for call in (world.manager_class, world.scopes.connect):
            with pytest.raises(OptionError, match="extra_headers") as caught:
                call(URL, **given)
            assert SECRET not in str(caught.value)
        in_io(world, lambda io, given=given: _rejected_by(io, given))  # type: ignore[misc]  # it is one of two


def _rejected_by(io: Any, given: Any) -> None:
    with pytest.raises(OptionError, match="extra_headers"):
        io(URL, **given)


@pytest.mark.parametrize("own", [{"pathh": "/"}, {"path": 1}, {"query": dict}, {"transports": ["polling"]}])
def test_invalid_options_of_one_transport_raise(own: dict[str, Any], world: World) -> None:
    for call in (world.manager_class, world.scopes.connect):
        with pytest.raises(OptionError, match=r"^transport_options\['polling'\]: "):
            call(URL, transport_options={"polling": own})


@pytest.mark.parametrize(
    "url", ["", "ftp://h", "http://", "http://h:port", "http://u:p@h", "http:// h", 5, None, b"http://h"]
)
def test_invalid_urls_raise(url: Any, world: World) -> None:
    for call in (world.manager_class, world.scopes.connect):
        with pytest.raises(OptionError, match=r"^(invalid URL|url must be)"):
            call(url)


@pytest.mark.parametrize("name", ["/a,b", "/\x1e1", "/\ud800", 5, None])
def test_invalid_names_of_namespaces_raise(name: Any, world: World) -> None:
    def body(socket: Any) -> None:
        with pytest.raises(OptionError, match="namespace"):
            socket.io.socket(name)

    with_socket(world, body)
    if isinstance(name, str):
        with pytest.raises(OptionError, match=r"namespace|invalid URL"):
            world.scopes.connect(URL + name)

        def body_of_io(io: Any) -> None:
            with pytest.raises(OptionError, match=r"namespace|invalid URL"):
                io(URL + name)

        in_io(world, body_of_io)


@pytest.mark.parametrize("name", ["auth", "query", "extra_headers"])
def test_a_function_that_requires_arguments_raises(name: str, world: World) -> None:
    """JavaScript passes a callback to the function for `auth`."""

    def with_callback(callback: Any, token: str = SECRET) -> None: ...

    def with_default(value: str = "v") -> dict[str, str]:
        return {"k": value}

    message = rf"^the function for {name} takes no arguments: return the value; .*with_callback has parameters$"
    with pytest.raises(OptionError, match=message):
        world.scopes.connect(URL, **{name: with_callback})  # type: ignore[arg-type]  # that is the point

    def body(socket: Any) -> None:
        owner = socket if name == "auth" else socket.io
        with pytest.raises(OptionError, match=message):
            setattr(owner, name, with_callback)
        accepted: list[Any] = [with_default, dict, lambda *values, **more: {}]
        for function in accepted:
            setattr(owner, name, function)

    with_socket(world, body)


def test_options_that_are_passed_by_position_raise_with_a_hint(world: World) -> None:
    calls: list[Any] = [world.manager_class, world.scopes.connect, blocking.Manager, sansio_socketio_blocking.connect]
    for call in calls:
        with pytest.raises(TypeError, match=r"^options are keyword arguments"):
            call(URL, {"reconnection_delay": 2})

    def body(io: Any) -> None:
        with pytest.raises(TypeError, match=r"^options are keyword arguments"):
            io(URL, {"reconnection_delay": 2})

    in_io(world, body)


@pytest.mark.parametrize(("name", "use"), [("rejectUnauthorized", "ssl"), ("ca", "ssl"), ("agent", "proxy")])
def test_options_of_javascript_with_other_names_raise_with_a_hint(name: str, use: str, world: World) -> None:
    with pytest.raises(OptionError, match=f"^unknown option '{name}'; use '{use}' instead$"):
        world.manager_class(URL, **{name: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["query", "extra_headers"])
@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"b": "1", "a": 1}, "the value of 'a' is of type int"),
        ({"a": "\ud800"}, "the value of 'a' is an invalid str"),
        ({5: "1"}, "the key 5 is invalid"),
    ],
)
def test_the_error_for_a_mapping_names_the_key(name: str, value: Any, where: str, world: World) -> None:
    with pytest.raises(OptionError, match=f"^{name} takes .*, not this dict, in which {where}$"):
        world.manager_class(URL, **{name: value})


def test_a_query_parameter_that_the_timestamp_would_replace_raises(world: World) -> None:
    make: Any = partial(world.manager_class, URL, query={"t": "1"})
    for given in ({}, {"timestamp_requests": True, "transports": ["websocket"]}):
        with pytest.raises(
            OptionError, match=r"^query contains 't', which the timestamp of the requests would replace"
        ):
            make(**given)
    make(timestamp_requests=False)
    make(timestamp_param="ts")
    make(transports=["websocket"])


@pytest.mark.parametrize("method", ["on", "once"])
def test_a_handler_that_is_none_raises(method: str, world: World) -> None:
    def body(socket: Any) -> None:
        with pytest.raises(OptionError, match=r"^a handler must be callable; None is not$"):
            getattr(socket, method)("x", None)

    with_socket(world, body)


@pytest.mark.parametrize(("event", "count"), [("connect", 1), ("connect_error", 2), ("disconnect", 3)])
def test_a_handler_of_a_lifecycle_event_with_too_many_parameters_raises(event: str, count: int, world: World) -> None:
    handlers: list[Any] = [lambda a: None, lambda a, b: None, lambda a, b, c: None, lambda a, b, c, d: None]

    def body(socket: Any) -> None:
        for handler in handlers[:count]:
            socket.on(event, handler)
        message = (
            rf"^handler .* requires {count + 1} arguments; handlers of '{event}' receive at most {count}, the last"
        )
        with pytest.raises(OptionError, match=message):
            socket.on(event, handlers[count])

    with_socket(world, body)
