"""Questions: what the application is asked before each attempt, and every kind of answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sansio_socketio.protocol.actions import Outbox
from sansio_socketio.protocol.errors import ConnectError, OpenTimeout, OptionError
from sansio_socketio.protocol.events import (
    Asked,
    Closed,
    Connected,
    ConnectFailed,
    Disconnected,
    Failed,
    MachineEvent,
    Opened,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
)
from sansio_socketio.protocol.options import ASK
from sansio_socketio.protocol.packets.socketio import CONNECT, Packet
from sansio_socketio.protocol.timers import Timers
from sansio_socketio.protocol.transports.base import Endpoint, Session
from tests.support.fake_server import FakeServer, Wire, kinds

Serve = type[FakeServer]


def questions(events: Sequence[MachineEvent]) -> dict[Asked, int]:
    """Return the ids of the questions among the events, by what they ask for."""
    return {event.about: event.question for event in events if isinstance(event, Question)}


@pytest.fixture
def endpoints(monkeypatch: pytest.MonkeyPatch) -> list[Endpoint]:
    """The endpoints that transports were created with."""
    seen: list[Endpoint] = []
    create = Wire.__init__

    def note(self: Wire, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        seen.append(endpoint)
        create(self, endpoint, session, outbox, timers)

    monkeypatch.setattr(Wire, "__init__", note)
    return seen


# Before the session


def test_a_session_opens_when_all_questions_are_answered(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve(query=ASK, extra_headers=ASK)
    server.socket().connect(server.now)
    asked = questions(server.events())
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
    assert server.events() == [Opened()]
    assert [(endpoint.query, endpoint.headers) for endpoint in endpoints] == [({"room": "1"}, {"Authorization": "t1"})]


def test_each_attempt_asks_again(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve(query=ASK, randomization_factor=0)
    server.socket().connect(server.now)
    server.client.answer(questions(server.events())["query"], {"try": "1"}, server.now)
    server.refuse()
    server.events()
    server.advance(1)
    events = server.events()
    assert kinds(events) == [ReconnectAttempt, Question]
    server.client.answer(questions(events)["query"], {"try": "2"}, server.now)
    server.accept()
    assert [endpoint.query for endpoint in endpoints] == [{"try": "1"}, {"try": "2"}]


def test_an_answer_applies_to_one_attempt(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve(query=ASK, randomization_factor=0)
    server.socket().connect(server.now)
    server.client.answer(questions(server.events())["query"], {"try": "1"}, server.now)
    server.client.options.query = {"try": "2"}
    server.refuse()
    server.advance(1)
    server.accept()
    assert [endpoint.query for endpoint in endpoints] == [{"try": "1"}, {"try": "2"}]


def test_a_query_in_the_url_needs_no_question(serve: Serve, endpoints: list[Endpoint]) -> None:
    server = serve("http://localhost?a=b", query=ASK)
    server.socket().connect(server.now)
    assert server.events() == []
    assert [endpoint.query for endpoint in endpoints] == [{"a": "b"}]


@pytest.mark.parametrize("about", ["query", "extra_headers"])
@pytest.mark.parametrize("answer", [None, 5, "a=b", ["a"], {"a": 1}, {1: "a"}, ASK])
def test_an_invalid_answer_fails_the_attempt(serve: Serve, about: Asked, answer: Any) -> None:
    server = serve(reconnection=False, query=ASK, extra_headers=ASK)
    server.socket().connect(server.now)
    server.client.answer(questions(server.events())[about], answer, server.now)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed]
    assert isinstance(events[0], Failed)
    assert isinstance(events[0].error, OptionError)
    assert about in str(events[0].error)
    assert server.client.idle
    assert server.streams == []


def test_an_invalid_answer_is_not_shown(serve: Serve) -> None:
    server = serve(reconnection=False, extra_headers=ASK)
    server.socket().connect(server.now)
    answer = {"Authorization": ["secret"]}
    server.client.answer(questions(server.events())["extra_headers"], answer, server.now)
    failed = server.events()[0]
    assert isinstance(failed, Failed)
    assert "secret" not in str(failed.error)


def test_an_exception_fails_the_attempt_and_the_next_is_tried(serve: Serve) -> None:
    server = serve(query=ASK, extra_headers=ASK, randomization_factor=0)
    server.socket().connect(server.now)
    asked = questions(server.events())
    error = LookupError("no token")
    server.client.answer(asked["query"], error, server.now)
    assert server.events() == [Failed(error), ConnectFailed("/", error, active=True)]
    server.client.answer(asked["extra_headers"], {}, server.now)
    server.advance(1)
    events = server.events()
    assert kinds(events) == [ReconnectAttempt, Question, Question]
    server.client.answer(questions(events)["query"], error, server.now)
    assert kinds(server.events()) == [Failed, ConnectFailed, ReconnectError]


def test_stale_and_unknown_answers_are_ignored(serve: Serve) -> None:
    server = serve(query=ASK)
    socket = server.socket()
    socket.connect(server.now)
    (stale,) = questions(server.events()).values()
    socket.disconnect(server.now)
    socket.connect(server.now)
    (fresh,) = questions(server.events()).values()
    server.client.answer(stale, {}, server.now)
    server.client.answer(999, {}, server.now)
    assert server.streams == []
    server.client.answer(fresh, {}, server.now)
    server.client.answer(fresh, LookupError(), server.now)
    server.accept()
    assert server.events() == [Opened()]


def test_an_unanswered_question_fails_the_attempt_after_the_timeout(serve: Serve) -> None:
    server = serve(query=ASK, timeout=5, reconnection=False)
    server.socket().connect(server.now)
    (question,) = questions(server.events()).values()
    server.advance(5)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed]
    assert isinstance(events[0], Failed)
    assert isinstance(events[0].error, OpenTimeout)
    server.client.answer(question, {}, server.now)
    assert server.streams == []
    assert server.client.idle


# Auth


def test_auth_is_asked_for_each_join(serve: Serve) -> None:
    server = serve()
    socket = server.socket("/a", auth=ASK)
    socket.connect(server.now)
    server.accept()
    events = server.events()
    assert kinds(events) == [Opened, Question]
    assert events[1] == Question(questions(events)["auth"], "auth", "/a")
    assert server.sent() == []
    server.client.answer(questions(events)["auth"], {"token": 1}, server.now)
    assert server.sent() == [Packet(CONNECT, "/a", {"token": 1})]
    server.lose()
    server.advance(2)
    server.accept()
    server.client.answer(questions(server.events())["auth"], None, server.now)
    assert server.sent() == [Packet(CONNECT, "/a")]


NO_AUTH = [LookupError("no token"), 5, "token", ASK, {"a": b"bytes"}, {"a": object()}]


def asked(events: Sequence[MachineEvent]) -> int:
    """Return the id of the question for auth, which must be the only event."""
    assert kinds(events) == [Question]
    return questions(events)["auth"]


def failed(events: Sequence[MachineEvent], *, active: bool) -> Exception:
    """Return the error of the failure, which must be the only event."""
    assert kinds(events) == [ConnectFailed]
    assert isinstance(events[0], ConnectFailed)
    assert isinstance(events[0].error, ConnectError)
    assert events[0].active is active
    return events[0].error


@pytest.mark.parametrize("answer", NO_AUTH)
def test_auth_is_asked_for_again_after_a_failure(serve: Serve, answer: Any) -> None:
    server = serve(randomization_factor=0, reconnection_delay=2)
    socket = server.socket(auth=ASK)
    socket.connect(server.now)
    server.accept()
    server.client.answer(questions(server.events())["auth"], answer, server.now)
    assert failed(server.events(), active=True).__cause__ is not None
    assert socket.active
    assert server.client.is_open
    server.advance(1.9)
    assert not server.events()
    assert not server.sent()
    server.advance(0.1)
    server.client.answer(asked(server.events()), {"token": 2}, server.now)
    assert server.sent() == [Packet(CONNECT, "/", {"token": 2})]
    server.join()
    assert kinds(server.events()) == [Connected]


@pytest.mark.parametrize("answer", NO_AUTH)
@pytest.mark.parametrize("options", [{"reconnection": False}, {"reconnection_attempts": 0}])
def test_without_reconnection_a_failure_of_auth_refuses_the_namespace(
    serve: Serve, answer: Any, options: dict[str, Any]
) -> None:
    server = serve(**options)
    socket = server.socket(auth=ASK)
    socket.connect(server.now)
    server.accept()
    server.client.answer(questions(server.events())["auth"], answer, server.now)
    events = server.events()
    assert kinds(events) == [Closed, ConnectFailed]
    assert failed(events[1:], active=False).__cause__ is not None
    assert not socket.active
    assert server.sent() == []


def test_an_auth_mapping_that_cannot_be_sent_refuses_the_namespace(serve: Serve) -> None:
    server = serve()
    server.socket(auth={"a": object()}).connect(server.now)
    server.accept()
    events = server.events()
    assert kinds(events) == [Opened, Closed, ConnectFailed]
    assert "auth cannot be sent" in str(failed(events[2:], active=False))


def test_the_error_of_the_application_is_the_cause(serve: Serve) -> None:
    server = serve()
    socket = server.opened(auth=ASK)
    error = LookupError("no token")
    server.client.answer(1, error, server.now)
    events = failed(server.events(), active=True)
    assert (str(events), events.__cause__) == ("auth failed: no token", error)
    server.advance(2)
    of_its_own = ConnectError("no token today")
    server.client.answer(asked(server.events()), of_its_own, server.now)
    assert failed(server.events(), active=True) is of_its_own
    assert socket.active


def test_delays_double_up_to_the_maximum(serve: Serve) -> None:
    server = serve(randomization_factor=0, reconnection_delay=1, reconnection_delay_max=5)
    server.opened(auth=ASK)
    question = 1
    for delay in (1, 2, 4, 5, 5):
        server.client.answer(question, LookupError(), server.now)
        failed(server.events(), active=True)
        server.advance(delay - 0.1)
        assert server.events() == []
        server.advance(0.1)
        question = asked(server.events())
    server.client.answer(question, {}, server.now)
    server.join()
    server.events()
    # A success resets the delays.
    server.lose()
    server.events()
    server.advance(1)
    server.accept()
    server.client.answer(questions(server.events())["auth"], LookupError(), server.now)
    failed(server.events(), active=True)
    server.advance(1)
    asked(server.events())


def test_delays_are_randomized(serve: Serve) -> None:
    server = serve(randomization_factor=0.5)
    waits: list[float] = []
    for name in ("/a", "/b", "/c"):
        server.opened(name, auth=ASK)
        server.client.answer(len(waits) + 1, LookupError(), server.now)
        failed(server.events(), active=True)
        assert server.deadline is not None
        waits.append(server.deadline - server.now)
        server.socket(name).disconnect(server.now)
        server.events()
    assert len(set(waits)) == 3
    assert all(0.5 <= wait <= 1.5 for wait in waits)


def test_each_namespace_counts_its_own_failures(serve: Serve) -> None:
    server = serve(randomization_factor=0, reconnection_attempts=1)
    first, second = (server.socket(name, auth=ASK) for name in ("/a", "/b"))
    first.connect(server.now)
    second.connect(server.now)
    server.accept()
    server.events()
    server.client.answer(1, LookupError(), server.now)
    server.client.answer(2, LookupError(), server.now)
    assert kinds(server.events()) == [ConnectFailed] * 2
    server.advance(1)
    assert kinds(server.events()) == [Question] * 2
    server.client.answer(3, LookupError(), server.now)
    failed(server.events(), active=False)
    assert (first.active, second.active, server.client.is_open) == (False, True, True)
    server.client.answer(4, {}, server.now)
    server.join("/b")
    assert second.connected
    # Connecting again resets the number of attempts.
    first.connect(server.now)
    server.events()
    server.client.answer(5, LookupError(), server.now)
    server.events()
    assert first.active


def test_the_options_may_be_changed_between_two_attempts(serve: Serve) -> None:
    server = serve(randomization_factor=0)
    socket = server.opened(auth=ASK)
    server.client.reconnection_delay = 3
    server.client.answer(1, LookupError(), server.now)
    server.advance(2.9)
    failed(server.events(), active=True)
    server.advance(0.1)
    question = asked(server.events())
    server.client.reconnection = False
    server.client.answer(question, LookupError(), server.now)
    assert kinds(server.events()) == [Closed, ConnectFailed]
    assert not socket.active


def test_auth_that_is_set_during_the_delay_is_sent(serve: Serve) -> None:
    server = serve(randomization_factor=0)
    socket = server.opened(auth=ASK)
    server.client.answer(1, LookupError(), server.now)
    socket.auth = {"token": 2}
    assert server.sent() == []
    server.advance(1)
    assert server.sent() == [Packet(CONNECT, "/", {"token": 2})]


def test_connecting_during_the_delay_does_not_shorten_it(serve: Serve) -> None:
    server = serve(randomization_factor=0)
    socket = server.opened(auth=ASK)
    server.client.answer(1, LookupError(), server.now)
    failed(server.events(), active=True)
    socket.connect(server.now)
    server.client.open(server.now)
    server.advance(0.9)
    assert server.events() == []
    server.advance(0.1)
    asked(server.events())


def leave(server: FakeServer) -> None:
    server.socket().disconnect(server.now)


def close(server: FakeServer) -> None:
    server.client.close(server.now)


def abort(server: FakeServer) -> None:
    server.client.abort(server.now)


@pytest.mark.parametrize("end", [leave, close, abort])
def test_nothing_is_asked_after_disconnect_close_or_abort(serve: Serve, end: Callable[[FakeServer], None]) -> None:
    server = serve()
    socket = server.opened(auth=ASK)
    server.client.answer(1, LookupError(), server.now)
    server.events()
    end(server)
    server.events()
    server.advance(100)
    assert server.events() == []
    assert server.client.idle
    assert server.deadline is None
    socket.connect(server.now)
    server.accept()
    assert kinds(server.events()) == [Opened, Question]


def test_disconnecting_during_the_delay_does_not_affect_other_namespaces(serve: Serve) -> None:
    server = serve()
    server.joined("/other")
    socket = server.opened("/a", auth=ASK)
    server.client.answer(1, LookupError(), server.now)
    failed(server.events(), active=True)
    socket.disconnect(server.now)
    server.advance(100)
    assert not server.events()
    assert not server.sent()
    assert server.client.is_open


def test_a_new_connection_asks_without_a_delay(serve: Serve) -> None:
    server = serve(randomization_factor=0, reconnection_delay_max=50)
    server.opened(auth=ASK)
    question = 1
    for delay in (1, 2, 4, 8):
        server.client.answer(question, LookupError(), server.now)
        failed(server.events(), active=True)
        server.advance(delay)
        question = asked(server.events())
    server.client.answer(question, LookupError(), server.now)
    server.events()
    server.lose()
    assert kinds(server.events()) == [Closed, Disconnected]
    server.advance(1)
    server.accept()
    events = server.events()
    assert kinds(events) == [ReconnectAttempt, Opened, Reconnected, Question]
    server.client.answer(questions(events)["auth"], LookupError(), server.now)
    failed(server.events(), active=True)
    server.advance(31.9)
    assert server.events() == []
    server.advance(0.1)
    asked(server.events())


def test_auth_is_asked_for_again_after_the_timeout(serve: Serve) -> None:
    server = serve(timeout=5, randomization_factor=0)
    server.joined("/other")
    socket = server.opened("/a", auth=ASK)
    server.advance(4.9)
    assert server.events() == []
    server.advance(0.1)
    assert "the question about auth was not answered within 5 seconds" in str(failed(server.events(), active=True))
    server.client.answer(1, {"late": True}, server.now)
    assert server.sent() == []
    server.advance(1)
    server.client.answer(asked(server.events()), {}, server.now)
    server.join("/a")
    assert socket.connected
    server.client.reconnection = False
    server.lose()
    socket.connect(server.now)
    server.accept()
    server.join("/other")
    server.advance(5)
    assert not socket.active


@pytest.mark.parametrize("timeout", [None, 5])
def test_a_late_answer_for_auth_is_ignored(serve: Serve, timeout: float | None) -> None:
    server = serve(timeout=timeout)
    server.joined("/other")
    socket = server.socket("/a", auth=ASK)
    socket.connect(server.now)
    (stale,) = questions(server.events()).values()
    socket.disconnect(server.now)
    server.client.answer(stale, {"stale": True}, server.now)
    socket.connect(server.now)
    (fresh,) = questions(server.events()).values()
    server.client.answer(stale, {"stale": True}, server.now)
    assert server.sent() == []
    server.client.answer(fresh, {"fresh": True}, server.now)
    assert server.sent() == [Packet(CONNECT, "/a", {"fresh": True})]
    server.join("/a")
    server.events()
    server.advance(100)
    assert server.events() == []


def test_disconnecting_cancels_the_question_for_auth(serve: Serve) -> None:
    server = serve(timeout=5)
    server.joined("/other")
    socket = server.opened("/a", auth=ASK)
    socket.disconnect(server.now)
    server.advance(100)
    assert server.events() == []


def test_a_question_for_auth_ends_with_its_connection(serve: Serve) -> None:
    server = serve(timeout=5, randomization_factor=0)
    server.socket(auth=ASK).connect(server.now)
    server.accept()
    (stale,) = questions(server.events()).values()
    server.lose()
    server.events()
    server.client.answer(stale, {}, server.now)
    server.advance(1)
    server.accept()
    events = server.events()
    assert list(questions(events)) == ["auth"]
    server.client.answer(stale, {}, server.now)
    assert server.sent() == []


def test_connecting_twice_asks_for_auth_once(serve: Serve) -> None:
    server = serve()
    socket = server.socket(auth=ASK)
    socket.connect(server.now)
    server.accept()
    socket.connect(server.now)
    assert kinds(server.events()) == [Opened, Question]
