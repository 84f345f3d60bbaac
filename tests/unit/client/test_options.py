"""Options: one flat set of keywords with the same names everywhere, checked at the call."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from sansio_socketio.client.options import (
    IOOptions,
    LocalOptions,
    ManagerOptions,
    Options,
    SocketOptions,
    manager_settings,
    socket_settings,
    split_options,
)
from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.protocol.options import ASK, ClientOptions, NamespaceOptions


def _fields(*classes: type) -> set[str]:
    return {option.name for cls in classes for option in fields(cls)}


def test_the_typed_dicts_have_every_option() -> None:
    assert set(get_type_hints(ManagerOptions)) == _fields(ClientOptions, LocalOptions)
    assert set(get_type_hints(SocketOptions)) == _fields(NamespaceOptions)
    assert set(get_type_hints(Options)) == _fields(ClientOptions, LocalOptions, NamespaceOptions)
    assert set(get_type_hints(IOOptions)) - set(get_type_hints(Options)) == {"force_new", "multiplex"}


@pytest.mark.parametrize(("typed", "cls"), [(ManagerOptions, ClientOptions), (SocketOptions, NamespaceOptions)])
def test_the_typed_dicts_have_the_types_of_the_state_machine(typed: type, cls: type) -> None:
    declared, accepted = get_type_hints(typed), get_type_hints(cls)
    askable = {"auth", "query", "extra_headers"}  # where the state machine has ASK, users pass a function
    above = {"parser", "transports"}  # their types are in a layer above that of the state machine's options
    names = set(declared) & set(accepted) - askable - above
    assert {name: declared[name] for name in names} == {name: accepted[name] for name in names}


def test_options_are_split_by_owner() -> None:
    def get_query() -> dict[str, str]:
        return {}

    settings = manager_settings({"path": "/x", "query": get_query, "extra_headers": {"a": "b"}, "inbox_events": 5})
    assert settings.machine == ClientOptions(path="/x", query=ASK, extra_headers={"a": "b"})
    assert settings.local == LocalOptions(inbox_events=5)
    assert settings.functions == {"query": get_query}
    assert socket_settings({"auth": {"a": 1}, "retries": 2}) == NamespaceOptions(auth={"a": 1}, retries=2)
    assert socket_settings({"auth": dict}) == NamespaceOptions(auth=ASK)
    assert split_options({"path": "/x", "ssl": None, "auth": None}) == ({"path": "/x", "ssl": None}, {"auth": None})


@pytest.mark.row("beyond.option_errors", "difference.option_errors", "difference.manager_auth")
@pytest.mark.parametrize(
    ("check", "options", "message"),
    [
        (manager_settings, {"auth": {}}, "auth is an option of a socket"),
        (manager_settings, {"recconnection": True}, "unknown option 'recconnection'; did you mean 'reconnection'"),
        (manager_settings, {"zzz": 1}, "unknown option 'zzz'; the page Options of the documentation"),
        (manager_settings, {"timeout": -1}, "timeout takes a number .*, not -1"),
        (manager_settings, {"ssl": "no"}, "ssl takes an ssl.SSLContext"),
        (manager_settings, {"ssl": True}, "ssl takes an ssl.SSLContext"),
        (manager_settings, {"server_hostname": ""}, "server_hostname takes a valid host name"),
        (manager_settings, {"open_stream": "/run/socket"}, "open_stream takes a function that opens a stream"),
        (manager_settings, {"auto_connect": 1}, "auto_connect takes True or False"),
        (manager_settings, {"on_handler_error": "ignore"}, "on_handler_error takes 'log', 'raise', or a callable"),
        (manager_settings, {"inbox_events": 0}, "inbox_events takes a whole number of at least 1"),
        (manager_settings, {"inbox_bytes": True}, "inbox_bytes takes a whole number of at least 1"),
        (manager_settings, {"slow_handler_warning": 0}, "slow_handler_warning takes a positive number of seconds"),
        (manager_settings, {"query": 5}, "query takes a mapping of str to str"),
        (socket_settings, {"path": "/"}, "path is an option of the Manager"),
        (socket_settings, {"retry": 1}, "did you mean 'retries'"),
        (socket_settings, {"auth": "token"}, "auth takes a mapping"),
        (split_options, {"force_new": True}, "unknown option 'force_new'"),
    ],
)
def test_errors_name_the_option_and_what_it_takes(
    check: Callable[[dict[str, Any]], Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        check(options)


@pytest.mark.parametrize(
    "options",
    [
        {"ssl": ssl.create_default_context()},
        {"ssl": False},
        {"server_hostname": "name"},
        {"proxy": "http://proxy.test:3128"},
        {"proxy": None},
        {"open_stream": print},
        {"on_handler_error": print},
        {"on_handler_error": "raise"},
    ],
)
def test_options_outside_the_state_machine_are_accepted(options: dict[str, Any]) -> None:
    assert {name: getattr(manager_settings(options).local, name) for name in options} == options


def test_a_proxys_password_is_not_shown() -> None:
    settings = manager_settings({"proxy": "http://Ada:secret@proxy.test"})
    assert "secret" not in repr(settings)
