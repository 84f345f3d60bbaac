"""The tables of transitions: no other transition happens, and each one in them can happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from random import Random
from typing import Any

import pytest

from sansio_socketio.protocol import ASK, ClientProtocol, client, engine, namespace, states
from sansio_socketio.protocol.events import Question, ReconnectAttempt
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.states import ConnectionState, IllegalTransition, transition
from sansio_socketio.protocol.transports import polling, websocket_base
from tests.support.fake_server import FakeServer
from tests.unit.transports.rig import TransportRig, close_frame, http_response, open_polling, open_websocket

Serve = type[FakeServer]
Table = Mapping[Any, frozenset[Any]]

TABLES: list[Table] = [
    states.CONNECTION_TRANSITIONS,
    states.SESSION_TRANSITIONS,
    states.UPGRADE_TRANSITIONS,
    states.JOIN_TRANSITIONS,
    states.POLLING_TRANSITIONS,
    states.WEBSOCKET_TRANSITIONS,
]


def name_of(table: Table) -> str:
    return type(next(iter(table))).__name__


# The tables and the mechanism


@pytest.mark.parametrize("table", TABLES, ids=name_of)
def test_a_table_has_every_state_and_each_is_reachable(table: Table) -> None:
    enum: type[StrEnum] = type(next(iter(table)))
    assert set(table) == set(enum)
    reached = {next(iter(enum))}
    for _ in enum:
        reached |= {state for known in reached for state in table[known]}
    assert reached == set(enum)
    assert all(state not in following for state, following in table.items()), "staying is not a transition"


def test_states_are_strings() -> None:
    machine = ClientProtocol("http://localhost", random=Random(1))
    assert machine.state == "closed"
    assert str(machine.state) == f"{machine.state}" == "closed"


def test_an_illegal_transition_is_an_error() -> None:
    table = states.CONNECTION_TRANSITIONS
    assert transition(table, ConnectionState.CLOSED, ConnectionState.OPENING) is ConnectionState.OPENING
    assert transition(table, ConnectionState.CLOSED, ConnectionState.CLOSED) is ConnectionState.CLOSED
    with pytest.raises(IllegalTransition, match=r"^illegal transition of ConnectionState: from CLOSED to OPEN$"):
        transition(table, ConnectionState.CLOSED, ConnectionState.OPEN)


# Everything that the tables have can happen


def connection_and_join(serve: Serve) -> None:
    server = serve(randomization_factor=0, timeout=5)
    server.client.asks_before_reconnecting = True

    def begin_attempt() -> None:
        while server.client.state == "waiting":
            server.advance(0.5)
        question = [event.question for event in server.events() if isinstance(event, ReconnectAttempt)][-1]
        assert question is not None
        server.client.answer(question, None, server.now)

    def auth_question() -> int:
        return [event.question for event in server.events() if isinstance(event, Question)][-1]

    socket, auth = server.socket(), server.socket("/auth", auth=ASK)
    socket.connect(server.now)
    server.refuse()
    server.events()
    server.advance(1)  # asking
    server.advance(5)  # timeout
    server.events()
    begin_attempt()
    server.refuse()
    server.events()
    begin_attempt()
    server.accept()
    server.join()
    auth.connect(server.now)
    server.client.answer(auth_question(), None, server.now)
    auth.disconnect(server.now)  # abandoned
    server.join("/auth")  # left
    server.advance(1)
    auth.connect(server.now)
    server.client.answer(auth_question(), None, server.now)
    auth.disconnect(server.now)
    server.deny({"message": "no"}, "/auth")
    auth.connect(server.now)
    server.client.answer(auth_question(), None, server.now)
    server.join("/auth")
    auth.disconnect(server.now)  # left
    server.advance(1)
    auth.connect(server.now)
    server.client.answer(auth_question(), LookupError(), server.now)
    server.advance(1)
    server.client.answer(auth_question(), LookupError(), server.now)
    auth.auth = {"token": 1}
    server.advance(2)
    server.deny({"message": "no"}, "/auth")
    auth.auth = ASK
    auth.connect(server.now)
    auth.disconnect(server.now)
    auth.connect(server.now)
    server.client.answer(auth_question(), LookupError(), server.now)
    auth.disconnect(server.now)
    server.lose()
    server.events()
    server.client.close(server.now)  # while waiting
    server.client.open(server.now)
    server.client.close(server.now)  # while opening
    server.client.open(server.now)
    server.accept()
    server.lose()
    server.events()
    server.advance(1)
    server.client.close(server.now)  # while asking
    server.client.open(server.now)
    server.accept()
    server.lose()
    server.events()
    begin_attempt()
    server.client.close(server.now)  # while reopening
    server.client.open(server.now)
    server.accept()
    server.lose()
    server.client.open(server.now)  # while waiting
    server.accept()
    server.client.close(server.now)  # while open


def session_and_upgrade(serve: Serve) -> None:
    server = serve(query=ASK)
    server.client.open(server.now)
    server.client.close(server.now)  # new
    server = serve()
    server.client.open(server.now)
    server.accept(upgrades=["websocket"])
    server.refuse()  # the probe
    server.client.close(server.now)
    server.run()
    server.client.open(server.now)
    server.accept(upgrades=["websocket"])
    server.open_stream()
    server.feed(engineio.Packet(engineio.PONG, "probe"))


def polling_transport(serve: Serve) -> None:
    TransportRig("polling").transport.open(0)
    refused = TransportRig("polling")
    refused.open()
    refused.stream_failed(1, OSError())
    for resumes_early in (True, False):
        rig = open_polling()
        rig.pause()
        if not resumes_early:
            rig.feed(1, http_response(b"6"))
        rig.resume()
        rig.close()
        rig.transport.abort()
    for pauses, completes in ((True, False), (True, True), (False, False)):
        for end in (TransportRig.close, lambda rig: rig.transport.abort()):
            rig = open_polling()
            if pauses:
                rig.pause()
            if completes:
                rig.feed(1, http_response(b"6"))
            end(rig)
            rig.transport.abort()
    rig = open_polling()
    rig.send(engineio.Packet(engineio.MESSAGE, "in flight"))
    rig.close()
    rig.transport.abort()  # while closing


def websocket_transport(serve: Serve) -> None:
    TransportRig("websocket").transport.open(0)
    for status, body in ((b"403 Forbidden", b""), (b"403 Forbidden", b"refused")):
        rig = TransportRig("websocket")
        rig.open()
        rig.stream_opened(1)
        response = http_response(body, status=status)
        rig.feed(1, response[: -len(body) or None])
        rig.feed(1, body)
    rig = TransportRig("websocket")
    rig.open()
    rig.stream_failed(1, OSError())
    rig = open_websocket()
    rig.close()
    rig.feed(1, close_frame(1000))
    open_websocket().eof(1)


def text(old: StrEnum, new: StrEnum) -> str:
    """A transition with the name of its enum: members of two enums are equal if their values are."""
    return f"{type(old).__name__}: {old} -> {new}"


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The transitions that have happened."""
    seen: set[str] = set()

    def note(table: Table, old: StrEnum, new: StrEnum) -> StrEnum:
        if old is not new:
            seen.add(text(old, new))
        following: StrEnum = transition(table, old, new)
        return following

    for module in (client, engine, namespace, polling, websocket_base):
        monkeypatch.setattr(module, "transition", note)
    return seen


SCRIPTS: list[Callable[[Serve], None]] = [
    connection_and_join,
    session_and_upgrade,
    polling_transport,
    websocket_transport,
]


def test_every_transition_can_happen(serve: Serve, observed: set[str]) -> None:
    for script in SCRIPTS:
        script(serve)
    every = {text(old, new) for table in TABLES for old, following in table.items() for new in following}
    assert every - observed == set()
