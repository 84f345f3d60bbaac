"""Questions: what the application is asked before each attempt, and every kind of answer it may give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sansio_socketio.protocol.actions import Outbox
from sansio_socketio.protocol.errors import ConnectError, OpenTimeout, OptionError
from sansio_socketio.protocol.events import (
    Asked,
    Closed,
    ConnectFailed,
    Event,
    Failed,
    Opened,
    Question,
    ReconnectAttempt,
    ReconnectError,
)
from sansio_socketio.protocol.options import ASK
from sansio_socketio.protocol.packets.socketio import CONNECT, Packet
from sansio_socketio.protocol.timers import Timers
from sansio_socketio.protocol.transports.base import Endpoint, Session
from tests.support.fake_server import FakeServer, Wire, kinds

Serve = type[FakeServer]


def questions(told: Sequence[Event]) -> dict[Asked, int]:
    """The questions among what was told."""
    return {event.about: event.question for event in told if isinstance(event, Question)}


@pytest.fixture
def endpoints(monkeypatch: pytest.MonkeyPatch) -> list[Endpoint]:
    """What each transport that is made was told of the server."""
    seen: list[Endpoint] = []
    create = Wire.__init__

    def note(self: Wire, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        seen.append(endpoint)
        create(self, endpoint, session, outbox, timers)

    monkeypatch.setattr(Wire, "__init__", note)
    return seen


# Before the session


def test_a_session_opens_when_all_is_answered(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve(query=ASK, extra_headers=ASK)
    server.socket().connect(server.now)
    asked = questions(server.told())
    assert list(asked) == ["query", "extra_headers"]
    assert server.streams == []
    assert server.client.state == "opening"
    headers = {"Authorization": "t1"}
    server.client.answer(asked["extra_headers"], headers, server.now)
    headers["Authorization"] = "changed after"
    server.run()
    assert server.streams == []
    server.client.answer(asked["query"], {"room": "1"}, server.now)
    server.accept()
    assert server.told() == [Opened()]
    assert [(endpoint.query, endpoint.headers) for endpoint in endpoints] == [({"room": "1"}, {"Authorization": "t1"})]


def test_each_attempt_asks_again(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve(query=ASK, randomization_factor=0)
    server.socket().connect(server.now)
    server.client.answer(questions(server.told())["query"], {"try": "1"}, server.now)
    server.refuse()
    server.told()
    server.advance(1)
    told = server.told()
    assert kinds(told) == [ReconnectAttempt, Question]
    server.client.answer(questions(told)["query"], {"try": "2"}, server.now)
    server.accept()
    assert [endpoint.query for endpoint in endpoints] == [{"try": "1"}, {"try": "2"}]


def test_an_answer_counts_for_one_attempt(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve(query=ASK, randomization_factor=0)
    server.socket().connect(server.now)
    server.client.answer(questions(server.told())["query"], {"try": "1"}, server.now)
    server.client.options.query = {"try": "2"}
    server.refuse()
    server.advance(1)
    server.accept()
    assert [endpoint.query for endpoint in endpoints] == [{"try": "1"}, {"try": "2"}]


def test_a_query_in_the_url_needs_no_question(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve("http://localhost?a=b", query=ASK)
    server.socket().connect(server.now)
    assert server.told() == []
    assert [endpoint.query for endpoint in endpoints] == [{"a": "b"}]


@pytest.mark.parametrize("about", ["query", "extra_headers"])
@pytest.mark.parametrize("answer", [None, 5, "a=b", ["a"], {"a": 1}, {1: "a"}, ASK])
def test_a_wrong_answer_fails_the_attempt(serve: Serve, about: Asked, answer: Any) -> None:
    server = serve(reconnection=False, query=ASK, extra_headers=ASK)
    server.socket().connect(server.now)
    server.client.answer(questions(server.told())[about], answer, server.now)
    told = server.told()
    assert kinds(told) == [Failed, ConnectFailed]
    assert isinstance(told[0], Failed)
    assert isinstance(told[0].error, OptionError)
    assert about in str(told[0].error)
    assert server.client.idle
    assert server.streams == []


def test_a_wrong_answer_is_not_shown(serve: Serve) -> None:
    server = serve(reconnection=False, extra_headers=ASK)
    server.socket().connect(server.now)
    answer = {"Authorization": ["secret"]}
    server.client.answer(questions(server.told())["extra_headers"], answer, server.now)
    failed = server.told()[0]
    assert isinstance(failed, Failed)
    assert "secret" not in str(failed.error)


def test_an_exception_fails_the_attempt_and_the_next_is_tried(serve: Serve) -> None:
    server = serve(query=ASK, extra_headers=ASK, randomization_factor=0)
    server.socket().connect(server.now)
    asked = questions(server.told())
    error = LookupError("no token")
    server.client.answer(asked["query"], error, server.now)
    assert server.told() == [Failed(error), ConnectFailed("/", error, active=True)]
    server.client.answer(asked["extra_headers"], {}, server.now)
    server.advance(1)
    told = server.told()
    assert kinds(told) == [ReconnectAttempt, Question, Question]
    server.client.answer(questions(told)["query"], error, server.now)
    assert kinds(server.told()) == [Failed, ConnectFailed, ReconnectError]


def test_stale_and_unknown_answers_are_ignored(serve: Serve) -> None:
    server = serve(query=ASK)
    socket = server.socket()
    socket.connect(server.now)
    (stale,) = questions(server.told()).values()
    socket.disconnect(server.now)
    socket.connect(server.now)
    (fresh,) = questions(server.told()).values()
    server.client.answer(stale, {}, server.now)
    server.client.answer(999, {}, server.now)
    assert server.streams == []
    server.client.answer(fresh, {}, server.now)
    server.client.answer(fresh, LookupError(), server.now)
    server.accept()
    assert server.told() == [Opened()]


def test_answers_count_within_the_timeout(serve: Serve) -> None:
    server = serve(query=ASK, timeout=5, reconnection=False)
    server.socket().connect(server.now)
    (question,) = questions(server.told()).values()
    server.advance(5)
    told = server.told()
    assert kinds(told) == [Failed, ConnectFailed]
    assert isinstance(told[0], Failed)
    assert isinstance(told[0].error, OpenTimeout)
    server.client.answer(question, {}, server.now)
    assert server.streams == []
    assert server.client.idle


# Auth


def test_auth_is_asked_for_each_join(serve: Serve) -> None:
    server = serve()
    socket = server.socket("/a", auth=ASK)
    socket.connect(server.now)
    server.accept()
    told = server.told()
    assert kinds(told) == [Opened, Question]
    assert told[1] == Question(questions(told)["auth"], "auth", "/a")
    assert server.sent() == []
    server.client.answer(questions(told)["auth"], {"token": 1}, server.now)
    assert server.sent() == [Packet(CONNECT, "/a", {"token": 1})]
    server.lose()
    server.advance(2)
    server.accept()
    server.client.answer(questions(server.told())["auth"], None, server.now)
    assert server.sent() == [Packet(CONNECT, "/a")]


@pytest.mark.parametrize("answer", [LookupError("no token"), 5, "token", ASK, {"a": b"bytes"}, {"a": object()}])
def test_an_answer_that_cannot_be_auth_refuses_the_namespace(serve: Serve, answer: Any) -> None:
    server = serve()
    socket = server.socket(auth=ASK)
    socket.connect(server.now)
    server.accept()
    server.client.answer(questions(server.told())["auth"], answer, server.now)
    told = server.told()
    assert kinds(told) == [Closed, ConnectFailed]
    assert isinstance(told[1], ConnectFailed)
    assert isinstance(told[1].error, ConnectError)
    assert not told[1].active
    assert told[1].error.__cause__ is not None
    assert not socket.active
    assert server.sent() == []


def test_the_cause_of_a_refusal_of_ours_is_the_applications(serve: Serve) -> None:
    server = serve()
    server.socket(auth=ASK).connect(server.now)
    server.accept()
    error = LookupError("no token")
    server.client.answer(questions(server.told())["auth"], error, server.now)
    failed = server.told()[1]
    assert isinstance(failed, ConnectFailed)
    assert failed.error.__cause__ is error
    assert "no token" in str(failed.error)


def test_auth_that_does_not_come_within_the_timeout_refuses_the_namespace(serve: Serve) -> None:
    server = serve(timeout=5)
    server.joined("/other")
    socket = server.opened("/a", auth=ASK)
    server.advance(4.9)
    assert server.told() == []
    server.advance(0.1)
    told = server.told()
    assert kinds(told) == [ConnectFailed]
    assert "no answer within the timeout" in str(told[0].error)  # type: ignore[attr-defined]
    assert not socket.active


@pytest.mark.parametrize("timeout", [None, 5])
def test_auth_that_comes_late_is_ignored(serve: Serve, timeout: float | None) -> None:
    server = serve(timeout=timeout)
    server.joined("/other")
    socket = server.socket("/a", auth=ASK)
    socket.connect(server.now)
    (stale,) = questions(server.told()).values()
    socket.disconnect(server.now)
    server.client.answer(stale, {"stale": True}, server.now)
    socket.connect(server.now)
    (fresh,) = questions(server.told()).values()
    server.client.answer(stale, {"stale": True}, server.now)
    assert server.sent() == []
    server.client.answer(fresh, {"fresh": True}, server.now)
    assert server.sent() == [Packet(CONNECT, "/a", {"fresh": True})]
    server.advance(100)
    assert server.told() == []


def test_who_has_left_is_not_waited_for(serve: Serve) -> None:
    server = serve(timeout=5)
    server.joined("/other")
    socket = server.opened("/a", auth=ASK)
    socket.disconnect(server.now)
    server.advance(100)
    assert server.told() == []


def test_auth_is_not_waited_for_on_a_connection_that_is_gone(serve: Serve) -> None:
    server = serve(timeout=5, randomization_factor=0)
    server.socket(auth=ASK).connect(server.now)
    server.accept()
    (stale,) = questions(server.told()).values()
    server.lose()
    server.told()
    server.client.answer(stale, {}, server.now)
    server.advance(1)
    server.accept()
    told = server.told()
    assert list(questions(told)) == ["auth"]
    server.client.answer(stale, {}, server.now)
    assert server.sent() == []


def test_connecting_while_asked_asks_once(serve: Serve) -> None:
    server = serve()
    socket = server.socket(auth=ASK)
    socket.connect(server.now)
    server.accept()
    socket.connect(server.now)
    assert kinds(server.told()) == [Opened, Question]
