"""Every option takes what it says, and says what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from math import inf, nan
from typing import Any

import pytest

from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.protocol.options import (
    _CHECKS,
    ASK,
    ClientOptions,
    EngineOptions,
    NamespaceOptions,
    check_option,
)
from sansio_socketio.protocol.packets.socketio import JSONParser

PARSER = JSONParser()

BOOLS = (
    "add_trailing_slash",
    "upgrade",
    "remember_upgrade",
    "try_all_transports",
    "force_base64",
    "with_credentials",
    "reconnection",
)
SECONDS = ("close_timeout", "reconnection_delay", "reconnection_delay_max")
SECONDS_OR_NONE = ("timeout", "ack_timeout")
COUNTS = ("max_message_size", "max_buffered_events", "max_buffered_bytes")

GOOD: dict[str, Sequence[Any]] = {
    **dict.fromkeys(BOOLS, (True, False)),
    **dict.fromkeys(SECONDS, (0, 0.5, 1e9)),
    **dict.fromkeys(SECONDS_OR_NONE, (None, 0, 0.5, 1e9)),
    **dict.fromkeys(COUNTS, (1, 10**12)),
    "path": ["/socket.io", ""],
    "transports": [["polling"], ("websocket", "polling")],
    "query": [{}, {"a": "b"}, ASK],
    "extra_headers": [{}, {"A": "b"}, ASK],
    "timestamp_requests": [None, True, False],
    "timestamp_param": ["t"],
    "protocols": [[], ["a", "b"], ("a",)],
    "transport_options": [{}, {"polling": {"path": "/x"}}],
    "per_message_deflate": [True, False, 0, 1024],
    "reconnection_attempts": [0, 3, inf],
    "randomization_factor": [0, 0.5, 1],
    "max_attachments": [0, 5],
    "auth": [None, {"token": 1}, ASK],
    "retries": [0, 3],
    "parser": [None, PARSER],
}
BAD: dict[str, Sequence[Any]] = {
    **dict.fromkeys(BOOLS, (None, 1, "yes")),
    **dict.fromkeys(SECONDS, (None, -1, nan, inf, "1", True, 10**400)),
    **dict.fromkeys(SECONDS_OR_NONE, (-1, nan, inf, "1", True, 10**400)),
    **dict.fromkeys(COUNTS, (None, 0, -1, 1.5, True, inf)),
    "path": [None, b"/x"],
    "transports": [None, [], "polling", ["polling", "polling"], ["carrier pigeon"], {"polling"}, [["polling"]], [None]],
    "query": [None, {"a": 1}, {1: "a"}, "a=b", [("a", "b")]],
    "extra_headers": [None, {"a": 1}, {1: "a"}, "a: b"],
    "timestamp_requests": [1, "t"],
    "timestamp_param": [None, ""],
    "protocols": [None, "abc", [""], [1]],
    "transport_options": [None, [], {"polling": None}, {1: {}}],
    "per_message_deflate": [None, -1, 0.5, {"threshold": 1}],
    "reconnection_attempts": [None, -1, 1.5, -inf, nan, True],
    "randomization_factor": [None, -0.1, 1.1, nan, True],
    "max_attachments": [None, -1, 0.5],
    "auth": ["token", 1, []],
    "retries": [None, -1, 0.5, inf],
    "parser": [3, "json", object(), JSONParser],
}


def cases(table: dict[str, Sequence[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table.items() for value in values]


def owner_of(name: str) -> type[ClientOptions | NamespaceOptions]:
    return ClientOptions if name in {field.name for field in fields(ClientOptions)} else NamespaceOptions


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_what_an_option_takes(name: str, value: Any) -> None:
    assert getattr(owner_of(name)(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), cases(BAD))
def test_what_it_does_not_take_is_an_error_that_names_it(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^{name} takes "):
        owner_of(name)(**{name: value})
    with pytest.raises(ValueError, match=f"^{name} takes "):
        check_option(name, value)


def test_every_option_is_checked() -> None:
    names = {field.name for kind in (ClientOptions, NamespaceOptions) for field in fields(kind)}
    assert names == set(_CHECKS) == set(GOOD) == set(BAD)


def test_the_defaults_pass_and_differ_in_the_path_alone() -> None:
    engine, client = EngineOptions(), ClientOptions()
    assert (engine.path, client.path) == ("/engine.io", "/socket.io")
    for field in fields(EngineOptions):
        assert field.name == "path" or getattr(engine, field.name) == getattr(client, field.name)
    NamespaceOptions()


def test_an_unknown_option_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(OptionError, match=r"no option 'tiemout'; did you mean 'timeout'\?"):
        ClientOptions.build(tiemout=1)
    with pytest.raises(OptionError, match=r"no option 'zzz'; there are ack_timeout, auth, retries"):
        NamespaceOptions.build(zzz=1)
    assert ClientOptions.build(timeout=1).timeout == 1


def test_the_error_says_what_was_given() -> None:
    with pytest.raises(OptionError, match=r"randomization_factor takes a number from 0 to 1, not 7$"):
        ClientOptions(randomization_factor=7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth", "s3cret"),
        ("query", {"token": 5, "key": "s3cret"}),
        ("extra_headers", [("Authorization", "s3cret")]),
        ("transport_options", {"polling": "s3cret"}),
    ],
)
def test_the_error_does_not_show_what_may_be_secret(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"^{name} takes .*, not this {type(value).__name__}$"):
        check_option(name, value)


def test_ask_shows_its_name() -> None:
    assert repr(ASK) == "ASK"
