"""Each way in which an attempt fails, and everything that is delivered for it: for the first attempt and for a later one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sansio_socketio.protocol import ASK
from sansio_socketio.protocol.events import (
    Closed,
    ConnectFailed,
    Disconnected,
    EngineClosed,
    EngineOpened,
    EngineUpgradeFailed,
    Failed,
    MachineEvent,
    Opened,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
)
from sansio_socketio.protocol.packets import engineio
from tests.support.fake_server import FakeServer, kinds

Serve = type[FakeServer]
Kinds = list[type[MachineEvent]]


def close_session(server: FakeServer) -> None:
    engine = server.client.engine
    assert engine is not None
    server.client.close_session(engine.number, server.now)


def after_opening_the_stream(act: Callable[[FakeServer], object]) -> Callable[[FakeServer], object]:
    def open_and_act(server: FakeServer) -> None:
        server.open_stream()
        act(server)

    return open_and_act


BEFORE_OPEN: dict[str, Callable[[FakeServer], object]] = {
    "the stream is refused": lambda server: server.refuse(),
    "the stream does not open": lambda server: server.advance(2),
    "the stream is lost": after_opening_the_stream(lambda server: server.lose()),
    "the stream breaks": after_opening_the_stream(lambda server: server.lose(OSError())),
    "no handshake": after_opening_the_stream(lambda server: server.advance(2)),
    "invalid handshake": after_opening_the_stream(lambda server: server.feed(engineio.Packet(engineio.OPEN, "{}"))),
    "another packet": after_opening_the_stream(lambda server: server.feed(engineio.Packet(engineio.MESSAGE, "0"))),
    "the session is closed": close_session,
}

AFTER_OPEN: dict[str, tuple[Callable[[FakeServer], object], Kinds]] = {
    "no answer to CONNECT": (lambda server: server.advance(2), [Failed, ConnectFailed, Closed, Disconnected]),
    "the stream is lost": (lambda server: server.lose(), [Closed, Disconnected]),
    "the stream breaks": (lambda server: server.lose(OSError()), [Failed, ConnectFailed, Closed, Disconnected]),
    "invalid packet": (lambda server: server.say("?"), [Closed, Disconnected]),
    "second handshake": (
        lambda server: server.feed(engineio.Packet(engineio.OPEN, "{}")),
        [Failed, ConnectFailed, Closed, Disconnected],
    ),
    "the session is closed": (close_session, [Closed, Disconnected]),
}


def attempt(serve: Serve, *, later: bool) -> FakeServer:
    """Return a server whose client has begun its first attempt, or a later one."""
    server = serve(timeout=2, randomization_factor=0, reconnection_delay=1)
    if later:
        server.joined()
        server.lose()
        server.advance(1)
        server.events()
        server.engine_events.clear()
    else:
        server.socket().connect(server.now)
    return server


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("failure", BEFORE_OPEN)
def test_events_of_an_attempt_that_fails_before_the_session_is_open(serve: Serve, failure: str, later: bool) -> None:
    server = attempt(serve, later=later)
    BEFORE_OPEN[failure](server)
    assert kinds(server.events()) == [Failed, ConnectFailed, *[ReconnectError] * later]
    assert kinds(server.engine_events) == [EngineClosed]
    assert server.client.state == "waiting"


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("failure", AFTER_OPEN)
def test_events_of_an_attempt_that_fails_before_the_namespace_has_joined(
    serve: Serve, failure: str, later: bool
) -> None:
    server = attempt(serve, later=later)
    server.accept()
    assert kinds(server.events()) == [Opened, *[Reconnected] * later]
    act, expected = AFTER_OPEN[failure]
    act(server)
    assert kinds(server.events()) == expected
    assert kinds(server.engine_events) == [EngineOpened, EngineClosed]
    assert server.client.state == "waiting"


@pytest.mark.parametrize("value", [LookupError(), 5, None], ids=["exception", "invalid", "none in time"])
@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
def test_events_of_an_attempt_whose_question_fails(serve: Serve, value: object, later: bool) -> None:
    server = serve(timeout=2, randomization_factor=0, reconnection_delay=1, query=ASK)
    server.socket().connect(server.now)
    (question,) = server.events()
    if later:
        assert isinstance(question, Question)
        server.client.answer(question.question, LookupError(), server.now)
        server.events()
        server.engine_events.clear()
        server.advance(1)
        _, question = server.events()
    assert isinstance(question, Question)
    if value is None:
        server.advance(2)
    else:
        server.client.answer(question.question, value, server.now)
    assert kinds(server.events()) == [Failed, ConnectFailed, *[ReconnectError] * later]
    assert kinds(server.engine_events) == [EngineClosed]


@pytest.mark.parametrize("failure", AFTER_OPEN)
def test_events_of_a_session_that_fails_during_its_upgrade(serve: Serve, failure: str) -> None:
    server = attempt(serve, later=False)
    server.accept(upgrades=["websocket"])
    server.events()
    server.streams.reverse()  # the probe's stream is the latest
    act, expected = AFTER_OPEN[failure]
    act(server)
    assert kinds(server.events()) == expected
    assert kinds(server.engine_events) == [EngineOpened, EngineUpgradeFailed, EngineClosed]


def test_events_of_an_unanswered_question_before_an_attempt(serve: Serve) -> None:
    server = serve(timeout=2, randomization_factor=0, reconnection_delay=1)
    server.client.asks_before_reconnecting = True
    server.joined()
    server.lose()
    server.events()
    server.advance(1)
    assert kinds(server.events()) == [ReconnectAttempt]
    server.advance(2)
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]
