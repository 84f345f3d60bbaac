"""The tables of transitions of the server's parts: no other transition happens, and each one in them can happen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError
from sansio_socketio.protocol.server import Recovery, client, engine, http, polling, session, states
from sansio_socketio.protocol.server.events import ConnectQuestion, SessionQuestion
from sansio_socketio.protocol.states import transition
from tests.unit.protocol.server.rig import EngineRig, SocketRig, frame, request

Table = Mapping[Any, frozenset[Any]]

TABLES: list[Table] = [
    states.SERVER_TRANSITIONS,
    states.HTTP_STREAM_TRANSITIONS,
    states.SERVER_SESSION_TRANSITIONS,
    states.SERVER_UPGRADE_TRANSITIONS,
    states.SERVER_POLLING_TRANSITIONS,
    states.CLIENT_TRANSITIONS,
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(next(iter(table))).__name__)
def test_a_table_has_every_state_and_each_is_reachable(table: Table) -> None:
    enum: type[StrEnum] = type(next(iter(table)))
    assert set(table) == set(enum)
    reached = {next(iter(enum))}
    for _ in enum:
        reached |= {state for known in reached for state in table[known]}
    assert reached == set(enum)
    assert all(state not in following for state, following in table.items()), "staying is not a transition"


def text(old: StrEnum, new: StrEnum) -> str:
    return f"{type(old).__name__}: {old} -> {new}"


def sessions_and_streams() -> None:
    rig = EngineRig()
    rig.machine.asks_before_opening = True
    for end in ("refused", "accepted"):
        stream = rig.accept()
        rig.feed(stream, request("GET", "EIO=4&transport=polling"))
        (question,) = rig.pop(SessionQuestion)
        rig.machine.answer(question.question, ConnectError("no") if end == "refused" else None, rig.now)
        rig.drain()
    sid = json.loads(rig.reply(stream).body[1:])["sid"]
    rig.machine.asks_before_opening = False
    rig.poll(stream, sid)
    rig.lose(stream)  # while a response is awaited
    rig.lose(rig.accept())
    _, sid = rig.open_polling()
    rig.machine.close_session(3, rig.now)
    rig.ask(request("GET", ""))
    lost, last = rig.accept(), rig.accept()
    rig.writes_at_once = False
    for stream in (lost, last):
        rig.feed(stream, request("OPTIONS", ""))
    rig.lose(lost)  # while the response is written
    rig.machine.shutdown(rig.now)
    rig.advance(10)


def transports() -> None:
    rig = EngineRig()
    stream, sid = rig.open_polling()
    rig.feed(rig.probe(sid), b"\0\0")
    probe = rig.probe(sid)
    rig.feed(probe, frame("2probe"))
    rig.lose(probe)
    rig.feed(rig.probe(sid), frame("2probe") + frame("5"))
    for closes_at in ("idle", "polled", "writing", "polled early"):
        stream, sid = rig.open_polling()
        if closes_at != "idle":
            rig.poll(stream, sid)
        number = max(rig.machine.sessions)
        if closes_at in {"writing", "polled early"}:
            rig.writes_at_once = False
            rig.machine.send(number, "x", rig.now)
            rig.drain()
        if closes_at == "polled early":
            rig.poll(rig.accept(), sid)
        rig.post(sid, b"1")
        rig.writes_at_once = True
        rig.drain()
    stream, sid = rig.open_polling()
    rig.writes_at_once = False
    rig.poll(stream, sid)
    rig.machine.send(max(rig.machine.sessions), "x", rig.now)
    rig.drain()
    rig.poll(rig.accept(), sid)
    rig.written()
    rig.machine.send(max(rig.machine.sessions), "x", rig.now)
    rig.drain()


def clients() -> None:
    rig = SocketRig(recovery=Recovery(max_age=10), ping_interval=100)
    stream, answer = rig.join()
    rig.lose(stream)
    stream = rig.open_websocket()
    rig.say(stream, f'0{{"pid":"{answer["pid"]}"}}')
    rig.say(stream, "1")
    rig.lose(rig.join()[0])
    rig.advance(10)
    rig.namespace.asks_before_connecting = True
    rig.say(stream, "0")
    (question,) = rig.pop(ConnectQuestion)
    rig.machine.answer(question.question, ConnectError("no"), rig.now)


def test_every_transition_can_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    def note(table: Table, old: StrEnum, new: StrEnum) -> StrEnum:
        if old is not new:
            seen.add(text(old, new))
        following: StrEnum = transition(table, old, new)
        return following

    for module in (client, engine, http, polling, session):
        monkeypatch.setattr(module, "transition", note)
    for script in (sessions_and_streams, transports, clients):
        script()
    every = {text(old, new) for table in TABLES for old, following in table.items() for new in following}
    assert every - seen == set()
