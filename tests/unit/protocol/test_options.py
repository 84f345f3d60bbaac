"""Every option accepts what its error message says, and nothing else."""

from __future__ import annotations

from dataclasses import fields
from random import Random
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
from sansio_socketio.protocol.transports.base import Endpoint
from sansio_socketio.protocol.url import parse_url
from tests.support.options import BAD, GOOD, cases


def owner_of(name: str) -> type[ClientOptions | NamespaceOptions]:
    return ClientOptions if name in {field.name for field in fields(ClientOptions)} else NamespaceOptions


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_valid_values_are_accepted(name: str, value: Any) -> None:
    assert getattr(owner_of(name)(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), cases(BAD))
def test_invalid_values_raise_an_error_that_names_the_option(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^{name} takes "):
        owner_of(name)(**{name: value})
    with pytest.raises(ValueError, match=f"^{name} takes "):
        check_option(name, value)


def test_every_option_is_checked() -> None:
    names = {field.name for kind in (ClientOptions, NamespaceOptions) for field in fields(kind)}
    assert names == set(_CHECKS) == set(GOOD) == set(BAD)


def test_the_defaults_of_engine_and_client_differ_only_in_the_path() -> None:
    engine, client = EngineOptions(), ClientOptions()
    assert (engine.path, client.path) == ("/engine.io", "/socket.io")
    for field in fields(EngineOptions):
        assert field.name == "path" or getattr(engine, field.name) == getattr(client, field.name)
    NamespaceOptions()


def test_an_unknown_option_raises_an_error_with_a_suggestion() -> None:
    with pytest.raises(OptionError, match=r"unknown option 'tiemout'; did you mean 'timeout'\?"):
        ClientOptions.build(tiemout=1)
    with pytest.raises(OptionError, match=r"unknown option 'zzz'; the options are ack_timeout, auth, retries"):
        NamespaceOptions.build(zzz=1)
    assert ClientOptions.build(timeout=1).timeout == 1


def test_the_error_shows_the_value() -> None:
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
def test_the_error_does_not_show_values_that_may_be_secret(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"^{name} takes .*, not this {type(value).__name__}") as caught:
        check_option(name, value)
    assert "s3cret" not in str(caught.value)


def test_the_repr_of_ask_is_its_name() -> None:
    assert repr(ASK) == "ASK"


def test_reprs_do_not_show_values_that_may_be_secret() -> None:
    values = {"token": "s3cret"}
    options = ClientOptions(
        query=values, extra_headers=values, protocols=["s3cret"], transport_options={"polling": {"query": values}}
    )
    shown = [
        options,
        NamespaceOptions(auth=values),
        parse_url("http://localhost?token=s3cret"),
        Endpoint(parse_url("http://localhost"), options, Random(1), query=values, headers=values),
    ]
    assert "s3cret" not in repr(shown)
