"""The error of an attempt that takes too long names the host and the step that was not completed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from sansio_socketio.protocol import ClientOptions, ClientProtocol, EngineOptions, EngineProtocol
from sansio_socketio.protocol.actions import OpenStream, Send
from sansio_socketio.protocol.errors import OpenTimeout
from sansio_socketio.protocol.events import EngineClosed, Failed, Question, ReconnectAttempt
from sansio_socketio.protocol.options import ASK
from tests.support.bad_peers import UPGRADE, accept, head

LATE = "was not open within 20 seconds: "
UNREACHED = (
    "the name of the host was not resolved, or no TCP connection established; check the host, the port and firewalls"
)
TLS = "TCP is up, but the TLS handshake with chat.test was not completed"
GET = "but the first GET request was not answered"
HANDSHAKE = "but the WebSocket handshake was not answered; a proxy may drop upgrades"
SILENT = "the WebSocket is open, but no Engine.IO handshake arrived; is it a Socket.IO server?"

Step = Callable[["Attempt"], None]


class Attempt:
    """A machine on its first attempt to connect."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.stream = 0
        self.request = b""
        self.events: list[Any] = []
        self.take()

    def take(self) -> None:
        for output in iter(self.machine.next_output, None):
            if isinstance(output, OpenStream):
                self.stream = output.stream
            elif isinstance(output, Send):
                self.request += output.data
            else:
                self.events.append(output)

    def opened(self) -> None:
        self.machine.stream_opened(self.stream, 1)
        self.take()

    def received(self, data: bytes) -> None:
        self.machine.data_received(self.stream, data, 2)
        self.take()

    def accepted(self) -> None:
        self.received(head(b"101 Switching Protocols", *UPGRADE, b"Sec-WebSocket-Accept: " + accept(self.request)))

    def error(self, kind: type) -> OpenTimeout:
        """Return the error after 20 seconds, which is in an event of a type."""
        self.machine.tick(20)
        self.take()
        [event] = [event for event in self.events if isinstance(event, kind)]
        assert isinstance(event, Failed | EngineClosed)
        error = event.error if isinstance(event, Failed) else event.details
        assert isinstance(error, OpenTimeout)
        return error


def receiving(data: bytes) -> Step:
    return lambda attempt: attempt.received(data)


PROGRESS: list[tuple[str, str, list[Step], str]] = [
    ("polling", "http", [], UNREACHED),
    ("websocket", "https", [], UNREACHED),
    ("websocket", "https", [lambda each: each.machine.stream_progress(each.stream, TLS, 1)], TLS),
    ("polling", "http", [Attempt.opened], f"TCP is up, {GET}"),
    ("polling", "https", [Attempt.opened], f"TCP and TLS are up, {GET}"),
    (
        "polling",
        "https",
        [Attempt.opened, receiving(b"HTTP/1.1 200")],
        "the response to the first GET request is not complete",
    ),
    ("websocket", "http", [Attempt.opened], f"TCP is up, {HANDSHAKE}"),
    ("websocket", "https", [Attempt.opened], f"TCP and TLS are up, {HANDSHAKE}"),
    (
        "websocket",
        "http",
        [Attempt.opened, receiving(b"HTTP/1.1 1")],
        "the response to the WebSocket handshake is not complete",
    ),
    (
        "websocket",
        "http",
        [Attempt.opened, receiving(b"HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nBad")],
        "the response to the WebSocket handshake is not complete",
    ),
    ("websocket", "https", [Attempt.opened, Attempt.accepted], SILENT),
]


@pytest.mark.parametrize(("transport", "scheme", "taken", "expected"), PROGRESS)
def test_the_step_that_was_not_completed_is_named(
    transport: str, scheme: str, taken: list[Step], expected: str
) -> None:
    client = ClientProtocol(f"{scheme}://chat.test", ClientOptions(transports=[transport]), random=Random(1))
    client.open(0)
    engine = EngineProtocol(f"{scheme}://chat.test", EngineOptions(transports=[transport]), random=Random(1))
    engine.open(0)
    port = {"http": 80, "https": 443}[scheme]
    for machine, what, kind in ((client, "the connection to", Failed), (engine, "the session with", EngineClosed)):
        attempt = Attempt(machine)
        for step in taken:
            step(attempt)
        assert str(attempt.error(kind)) == f"{what} chat.test:{port} {LATE}{expected}"


def test_the_progress_of_the_next_transport_is_reported() -> None:
    options = ClientOptions(transports=["websocket", "polling"], try_all_transports=True)
    client = ClientProtocol("http://[::1]:3000", options, random=Random(1))
    client.open(0)
    attempt = Attempt(client)
    attempt.opened()
    client.stream_closed(attempt.stream, None, 2)
    attempt.take()
    assert str(attempt.error(Failed)) == f"the connection to [::1]:3000 {LATE}{UNREACHED}"


@pytest.mark.parametrize(
    ("options", "answered", "expected"),
    [
        ({"query": ASK}, [], "the application has not provided query"),
        ({"query": ASK, "extra_headers": ASK}, [], "the application has not provided extra_headers and query"),
        ({"query": ASK, "extra_headers": ASK}, ["query"], "the application has not provided extra_headers"),
    ],
)
def test_what_the_application_has_not_provided_is_named(
    options: dict[str, Any], answered: list[str], expected: str
) -> None:
    client = ClientProtocol("http://chat.test", ClientOptions(**options), random=Random(1))
    client.open(0)
    attempt = Attempt(client)
    for event in attempt.events:
        if isinstance(event, Question) and event.about in answered:
            client.answer(event.question, {}, 1)
    assert str(attempt.error(Failed)) == f"the connection to chat.test:80 {LATE}{expected}"


def test_an_attempt_to_reconnect_that_was_not_answered_is_named() -> None:
    client = ClientProtocol("http://chat.test", ClientOptions(transports=["polling"]), random=Random(1))
    client.asks_before_reconnecting = True
    client.open(0)
    attempt = Attempt(client)
    client.stream_failed(attempt.stream, OSError("no route"), 1)
    client.tick(3)
    attempt.take()
    assert isinstance(attempt.events[-2], ReconnectAttempt)
    client.tick(23)
    attempt.take()
    *_, failed = [event for event in attempt.events if isinstance(event, Failed)]
    assert str(failed.error) == f"the connection to chat.test:80 {LATE}ReconnectAttempt was not answered"


def test_progress_of_a_closed_stream_is_ignored() -> None:
    client = ClientProtocol("http://chat.test", random=Random(1))
    client.open(0)
    attempt = Attempt(client)
    client.abort(1)
    client.stream_progress(attempt.stream, TLS, 1)
    attempt.take()
    assert client.idle
