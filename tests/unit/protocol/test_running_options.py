"""The options that may be set while the client runs."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from typing import Any, assert_type

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.actions import Send
from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.errors import OpenTimeout, OptionError
from sansio_socketio.protocol.events import ConnectFailed, Failed, ReconnectAttempt
from sansio_socketio.protocol.options import ASK, ClientOptions, RunningOption, RunningOptions
from sansio_socketio.protocol.transports.base import Transport
from tests.support.fake_server import FakeServer, kinds, wires
from tests.support.options import BAD, GOOD

Serve = type[FakeServer]

NAMES = [name for name, option in vars(RunningOptions).items() if isinstance(option, RunningOption)]


def test_the_options_that_can_be_set() -> None:
    assert NAMES == [
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
    ]


@pytest.mark.parametrize("name", NAMES)
def test_options_that_are_set_are_returned(serve: Serve, name: str) -> None:
    client = serve().client
    assert getattr(client, name) == getattr(ClientOptions(), name)
    for value in GOOD[name]:
        setattr(client, name, value)
        assert getattr(client, name) == value
    for value in BAD[name]:
        with pytest.raises(OptionError, match=f"^{name} takes "):
            setattr(client, name, value)
    assert getattr(client, name) == GOOD[name][-1]


def test_options_have_static_types(serve: Serve) -> None:
    client = serve().client
    assert_type(client.reconnection, bool)
    assert_type(client.reconnection_attempts, float)
    assert_type(client.reconnection_delay, float)
    assert_type(client.reconnection_delay_max, float)
    assert_type(client.randomization_factor, float)
    assert_type(client.timeout, float | None)
    with pytest.raises(OptionError):
        client.timeout = "5"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


def test_running_options_is_abstract() -> None:
    options = RunningOptions()
    with pytest.raises(NotImplementedError):
        _ = options.timeout
    with pytest.raises(NotImplementedError):
        options.timeout = 1


def test_the_given_options_are_copied(serve: Serve) -> None:
    given_options = ClientOptions()
    one = serve(settings=given_options)
    one.client.timeout = 1
    assert given_options.timeout == 20
    given_options.timeout = 2
    assert one.client.timeout == 1


@pytest.mark.parametrize("changed", [None, 0, 7])
def test_a_timeout_that_is_set_while_opening_applies_from_the_next_attempt(serve: Serve, changed: float | None) -> None:
    server = serve(timeout=5, reconnection=False)
    server.socket().connect(server.now)
    server.open_stream()
    server.client.timeout = changed
    server.advance(4.9)
    assert server.events() == []
    server.advance(0.1)
    events = server.events()
    assert kinds(events) == [Failed, ConnectFailed]
    assert isinstance(events[0], Failed)
    assert isinstance(events[0].error, OpenTimeout)
    assert "within 5 seconds" in str(events[0].error)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "reconnection": st.booleans(),
    "reconnection_attempts": st.just(inf) | st.integers(0, 3) | st.integers(0),
    "reconnection_delay": st.floats(0, 1e9) | st.integers(0, 3),
    "reconnection_delay_max": st.floats(0, 1e9) | st.integers(0, 3),
    "randomization_factor": st.floats(0, 1),
    "timeout": st.none() | st.floats(0, 1e9) | st.integers(0, 3),
    "path": st.sampled_from(["/socket.io", "", "/other"]),
    "transports": st.permutations(["polling", "websocket"]) | st.sampled_from([["polling"], ("websocket",)]),
    "query": st.just(ASK) | st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "&"])),
    "extra_headers": st.just(ASK) | st.dictionaries(st.sampled_from(["A", "Cookie"]), st.sampled_from(["1", "b=c"])),
}


def tick(server: FakeServer, now: float) -> None:
    """One tick: with no delay and no time to open in there are attempts without end."""
    server.now = now
    server.client.tick(now)


STEPS: dict[str, Callable[[FakeServer], None]] = {
    "connect": lambda server: server.socket().connect(server.now),
    "disconnect": lambda server: server.socket().disconnect(server.now),
    "open": lambda server: server.client.open(server.now),
    "close": lambda server: server.client.close(server.now),
    "wait": lambda server: tick(server, server.now + 1),
    "wait for the timer": lambda server: tick(server, max(server.now, server.deadline or 0)),
}
WITH_A_STREAM: dict[str, Callable[[FakeServer], None]] = {
    "accept": FakeServer.accept,
    "refuse": FakeServer.refuse,
    "lose": FakeServer.lose,
}
SETTINGS = st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name]))


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.sampled_from(sorted(STEPS | WITH_A_STREAM)) | SETTINGS, max_size=30))
def test_any_value_may_be_set_at_any_moment(steps: list[str | tuple[str, Any]]) -> None:
    with wires():
        server = FakeServer(timeout=1, reconnection_delay=1)
        server.socket().connect(server.now)
        for step in steps:
            if not isinstance(step, str):
                setattr(server.client, *step)
                assert getattr(server.client, step[0]) == step[1]
            elif step in STEPS:
                STEPS[step](server)
            elif server.streams and not (step == "accept" and server.client.is_open):
                WITH_A_STREAM[step](server)
            server.run()


def test_a_delay_that_is_set_while_waiting_applies_to_the_next_delay(serve: Serve) -> None:
    server = serve(reconnection_delay=1, reconnection_delay_max=100, randomization_factor=0)
    server.joined()
    server.lose()
    server.client.reconnection_delay = 10
    server.events()
    server.advance(1)
    assert server.events() == [ReconnectAttempt(1)]
    server.refuse()
    server.events()
    server.advance(19.9)
    assert server.events() == []
    server.advance(0.1)
    assert server.events() == [ReconnectAttempt(2)]


@pytest.mark.parametrize(
    ("name", "value", "target"),
    [
        ("path", "/other", "GET /other/?token=1&"),
        ("query", {"token": "2"}, "GET /socket.io/?token=2&"),
        ("transports", ["websocket"], "?token=1&EIO=4&transport=websocket HTTP"),
        ("extra_headers", {"X-Token": "2"}, "\r\nX-Token: 2\r\n"),
    ],
)
def test_an_option_of_the_session_applies_from_the_next_attempt_on(name: str, value: Any, target: str) -> None:
    client = ClientProtocol("http://localhost?token=1", ClientOptions(randomization_factor=0), random=Random(1))
    client.open(0)

    def request(stream: int, now: float) -> str:
        client.stream_opened(stream, now)
        return b"".join(each.data for each in outputs(client) if isinstance(each, Send)).decode()

    def outputs(machine: ClientProtocol) -> list[Any]:
        return list(iter(machine.next_output, None))

    setattr(client, name, value)
    outputs(client)
    assert target not in request(1, 0)
    client.stream_closed(1, None, 0)
    client.tick(1)
    outputs(client)
    assert target in request(2, 1)


def test_the_query_that_is_set_replaces_that_of_the_url() -> None:
    client = ClientProtocol("http://localhost?token=1", random=Random(1))
    assert client.query == {"token": "1"}
    client.query = ASK
    assert client.query is ASK


@pytest.mark.parametrize(
    ("name", "value"), [("extra_headers", {"A": "b\r\nC: d"}), ("transports", [Transport]), ("query", {"a": 1})]
)
def test_a_value_that_fails_another_check_is_not_set(name: str, value: Any) -> None:
    client = ClientProtocol("http://localhost", random=Random(1))
    kept = getattr(client, name)
    with pytest.raises(OptionError):
        setattr(client, name, value)
    assert getattr(client, name) == kept
