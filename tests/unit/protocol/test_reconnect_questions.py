"""`asks_before_reconnecting`: an attempt to reconnect begins when `ReconnectAttempt` has been answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sansio_socketio.protocol.errors import OpenTimeout, OptionError
from sansio_socketio.protocol.events import (
    Closed,
    Connected,
    ConnectFailed,
    Disconnected,
    Failed,
    Opened,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
    ReconnectFailed,
)
from sansio_socketio.protocol.options import ASK
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]


def lost(serve: Serve, **options: Any) -> FakeServer:
    """A server whose client has just lost its connection, and asks before it reconnects."""
    server = serve(randomization_factor=0, **options)
    server.client.asks_before_reconnecting = True
    server.joined()
    server.lose()
    server.events()
    return server


def asked(serve: Serve, **options: Any) -> tuple[FakeServer, int]:
    """The same, when the first delay is over; and the question of the first attempt."""
    server = lost(serve, **options)
    server.advance(1)
    [event] = server.events()
    assert isinstance(event, ReconnectAttempt)
    assert event.question is not None
    assert server.client.state == "asking"
    return server, event.question


def error_of(event: object) -> Exception:
    assert isinstance(event, Failed)
    return event.error


def test_by_default_a_reconnect_attempt_asks_no_question(serve: Serve) -> None:
    server = serve(randomization_factor=0)
    assert not server.client.asks_before_reconnecting
    server.joined()
    server.lose()
    server.events()
    server.advance(1)
    assert server.events() == [ReconnectAttempt(1, None)]
    assert server.client.state == "reopening"


def test_the_first_attempt_asks_no_question(serve: Serve) -> None:
    server = serve()
    server.client.asks_before_reconnecting = True
    server.socket().connect(server.now)
    server.accept()
    assert server.events() == [Opened()]


def test_the_attempt_begins_with_the_answer(serve: Serve) -> None:
    server, question = asked(serve)
    assert server.client.reconnecting
    assert server.client.engine is None
    assert server.streams == []
    server.advance(19)
    assert (server.events(), server.streams) == ([], [])
    server.client.answer(question, None, server.now)
    assert server.client.state == "reopening"
    server.accept()
    assert server.events() == [Opened(), Reconnected(1)]
    server.join(sid="s2")
    assert server.events() == [Connected("/", "s2", recovered=False)]


def test_the_options_are_read_and_the_other_questions_asked_after_the_answer(serve: Serve) -> None:
    server, question = asked(serve)
    server.client.options.query = {"a": "b"}
    server.client.options.extra_headers = ASK
    server.client.options.transports = ["websocket"]
    server.client.answer(question, None, server.now)
    [event] = server.events()
    assert isinstance(event, Question)
    assert event.about == "extra_headers"
    assert event.question != question
    server.client.answer(event.question, {}, server.now)
    server.run()
    assert server.client.engine is not None
    assert server.client.engine.transport == "websocket"


def test_each_attempt_asks_a_question_of_its_own(serve: Serve) -> None:
    server, first = asked(serve)
    server.client.answer(first, None, server.now)
    server.refuse()
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]
    server.advance(2)
    [event] = server.events()
    assert isinstance(event, ReconnectAttempt)
    assert event.attempt == 2
    assert event.question not in {None, first}
    server.client.answer(first, None, server.now)
    assert server.streams == []


def test_a_missing_answer_fails_the_attempt_after_the_timeout(serve: Serve) -> None:
    server, question = asked(serve, timeout=5)
    server.advance(4.9)
    assert server.events() == []
    server.advance(0.1)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed, ReconnectError]
    assert isinstance(error_of(events[0]), OpenTimeout)
    assert server.client.state == "waiting"
    server.client.answer(question, None, server.now)
    assert server.streams == []
    server.advance(2)
    assert kinds(server.events()) == [ReconnectAttempt]


def test_a_missing_answer_for_the_last_attempt_ends_the_reconnection(serve: Serve) -> None:
    server, _ = asked(serve, timeout=5, reconnection_attempts=1)
    server.advance(5)
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectFailed, ReconnectError]
    assert server.client.idle


def test_the_timeout_counts_from_the_question(serve: Serve) -> None:
    server, question = asked(serve, timeout=5)
    server.advance(3)
    server.client.answer(question, None, server.now)
    server.open_stream()
    server.advance(1.9)
    assert server.events() == []
    server.advance(0.1)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed, ReconnectError]
    assert isinstance(error_of(events[0]), OpenTimeout)


def test_without_a_timeout_the_attempt_waits_for_the_answer(serve: Serve) -> None:
    server, question = asked(serve, timeout=None)
    server.advance(100_000)
    assert server.events() == []
    server.client.answer(question, None, server.now)
    server.accept()
    assert server.events() == [Opened(), Reconnected(1)]


def test_an_exception_as_the_answer_fails_the_attempt(serve: Serve) -> None:
    server, question = asked(serve)
    error = LookupError("no token")
    server.client.answer(question, error, server.now)
    assert server.events() == [Failed(error), ConnectFailed("/", error, active=True), ReconnectError(error)]
    server.advance(2)
    assert kinds(server.events()) == [ReconnectAttempt]


ENDS: dict[str, Callable[[FakeServer], None]] = {
    "close": lambda server: server.client.close(server.now),
    "abort": lambda server: server.client.abort(server.now),
    "disconnect": lambda server: server.socket().disconnect(server.now),
    "reconnection": lambda server: setattr(server.client, "reconnection", False),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_late_answer_is_ignored(serve: Serve, end: str) -> None:
    server, question = asked(serve)
    ENDS[end](server)
    expected = {"close": [Closed, Disconnected], "abort": [Closed, Disconnected], "disconnect": [Closed]}
    assert kinds(server.events()) == expected.get(end, [])
    assert server.client.idle
    server.client.answer(question, None, server.now)
    assert server.client.idle
    assert (server.events(), server.streams) == ([], [])
    server.advance(100)
    assert (server.events(), server.streams, server.deadline) == ([], [], None)


def test_opening_does_not_wait_for_the_answer(serve: Serve) -> None:
    server, question = asked(serve, timeout=5)
    server.advance(3)
    server.client.open(server.now)
    assert server.client.state == "reopening"
    server.open_stream()
    server.client.answer(question, LookupError(), server.now)
    server.advance(4.9)
    assert server.events() == []
    server.advance(0.1)
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]


def test_connecting_waits_for_the_answer(serve: Serve) -> None:
    server, question = asked(serve)
    server.socket("/b").connect(server.now)
    assert server.client.state == "asking"
    server.client.answer(question, None, server.now)
    server.accept()
    assert kinds(server.events()) == [Opened, Reconnected]


def test_a_timeout_that_is_removed_before_open_does_not_apply(serve: Serve) -> None:
    server, question = asked(serve, timeout=5)
    server.client.timeout = None
    server.client.open(server.now)
    server.open_stream()
    server.advance(100)
    assert server.events() == []
    server.client.answer(question, None, server.now)


@pytest.mark.parametrize("value", ["secret", ["secret"], {"secret": 1}, 5])
@pytest.mark.parametrize("about", ["query", "extra_headers"])
def test_the_error_shows_the_type_of_an_invalid_answer_and_not_its_value(serve: Serve, about: str, value: Any) -> None:
    server = serve(reconnection=False)
    setattr(server.client.options, about, ASK)
    server.socket().connect(server.now)
    [question] = server.events()
    assert isinstance(question, Question)
    server.client.answer(question.question, value, server.now)
    error = error_of(server.events()[0])
    assert isinstance(error, OptionError)
    assert str(error).startswith(f"the answer for {about} must be a mapping of str to str without unpaired surrogates")
    assert str(error).endswith(f", not this {type(value).__name__}")
