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
    parser_message,
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


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("illegal header line: bytearray(b'A: s3cret')", "illegal header line"),
        ("malformed chunk footer: bytearray(b'x') (expected b'\\r\\n')", "malformed chunk footer"),
        ("Illegal header value b's3cret\\n'", "Illegal header value"),
        ('Illegal header value b"it\'s s3cret"', "Illegal header value"),
        ("Missing header, 'Upgrade: websocket'", "Missing header, 'Upgrade: websocket'"),
        ("bad Content-Length", "bad Content-Length"),
        ("", "ValueError"),
    ],
)
def test_the_message_of_a_parser_has_no_received_bytes(message: str, shown: str) -> None:
    assert parser_message(ValueError(message)) == shown
