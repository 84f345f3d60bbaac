"""The exception hierarchy."""

from __future__ import annotations

import pickle

import pytest

from sansio_socketio.protocol import errors
from sansio_socketio.protocol.errors import (
    ConnectError,
    DisconnectedError,
    OpenTimeout,
    PayloadError,
    SocketIOError,
    TransportError,
)

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", ALL)
def test_each_error_is_a_socketio_error_with_its_message(kind: type[Exception]) -> None:
    error = kind("what happened")
    assert isinstance(error, SocketIOError)
    assert str(error) == "what happened"


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        ("OptionError", ValueError),
        ("PacketError", ValueError),
        ("StateError", RuntimeError),
        ("OpenTimeout", TimeoutError),
        ("AckTimeout", TimeoutError),
    ],
)
def test_errors_inherit_from_built_in_exceptions(name: str, relative: type[Exception]) -> None:
    assert issubclass(getattr(errors, name), relative)


@pytest.mark.parametrize(
    "error",
    [
        TransportError("m", transport="polling", status=400, body="{}", close_code=1006),
        OpenTimeout("m", transport="websocket"),
        ConnectError("m", {"data": 1}),
        DisconnectedError("m", "ping timeout"),
        PayloadError("m", event="move", path="position.x"),
    ],
)
def test_attributes_survive_pickling(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == ("m", vars(error))


def test_attributes_that_were_not_given_are_none() -> None:
    error = TransportError("m")
    assert (error.transport, error.status, error.body, error.close_code) == (None, None, None, None)
    assert ConnectError("m").data is None
    assert ConnectError("m").message == "m"
    assert DisconnectedError("m").reason is None
