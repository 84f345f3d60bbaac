"""Inputs and actions: which owner is notified of a stream, and the order of the outputs."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from sansio_socketio.protocol.actions import CloseStream, OpenStream, Send, SetTimer
from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.events import ConnectFailed, EnginePing, Opened
from sansio_socketio.protocol.machine import Machine
from sansio_socketio.protocol.options import ClientOptions

NEVER = 10_000


class Owner:
    """An owner of streams and deadlines that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def stream_progress(self, stream: int, progress: str, now: float) -> None:
        self.calls.append(("progress", stream, progress, now))

    def stream_opened(self, stream: int, now: float) -> None:
        self.calls.append(("opened", stream, now))

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        self.calls.append(("failed", stream, error, now))

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        self.calls.append(("received", stream, data, now))

    def data_sent(self, stream: int, now: float) -> None:
        self.calls.append(("sent", stream, now))

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        self.calls.append(("closed", stream, error, now))

    def timer_fired(self, name: str | int, now: float) -> None:
        self.calls.append(("timer", name, now))


ERROR = OSError("broken")
INPUTS: dict[str, tuple[Callable[[Machine, int, float], None], tuple[Any, ...]]] = {
    "progress": (lambda machine, stream, now: machine.stream_progress(stream, "TCP is up", now), ("TCP is up",)),
    "opened": (Machine.stream_opened, ()),
    "failed": (lambda machine, stream, now: machine.stream_failed(stream, ERROR, now), (ERROR,)),
    "received": (lambda machine, stream, now: machine.data_received(stream, b"x", now), (b"x",)),
    "sent": (Machine.data_sent, ()),
    "closed": (lambda machine, stream, now: machine.stream_closed(stream, None, now), (None,)),
}


def actions(machine: Machine) -> list[Any]:
    taken: list[Any] = []
    while (action := machine.next_output()) is not None:
        taken.append(action)
    return taken


def with_stream() -> tuple[Machine, Owner, int]:
    machine, owner = Machine(), Owner()
    stream = machine._outbox.open_stream(owner, "h", 1, tls=False, transport="polling")
    actions(machine)
    return machine, owner, stream


def test_actions_are_output_in_order_and_the_timer_last() -> None:
    machine, owner = Machine(), Owner()
    assert machine.next_output() is None
    machine._timers.set(owner, "t", 5)
    first = machine._outbox.open_stream(owner, "h", 80, tls=True, transport="polling")
    machine._outbox.send(first, b"x")
    second = machine._outbox.open_stream(owner, "::1", 1, tls=False, transport="websocket")
    machine._outbox.close_stream(first)
    machine._outbox.close_stream(first, abort=True)
    machine._outbox.close_stream(second, abort=True)
    machine._outbox.deliver(EnginePing())
    assert first != second
    assert actions(machine) == [
        OpenStream(first, "h", 80, True, "polling"),
        Send(first, b"x"),
        OpenStream(second, "::1", 1, False, "websocket"),
        CloseStream(first, False),
        CloseStream(second, True),
        EnginePing(),
        SetTimer(5),
    ]
    assert machine.next_output() is None


def test_stream_numbers_are_not_reused() -> None:
    machine, owner, stream = with_stream()
    machine.stream_closed(stream, None, 0)
    assert machine._outbox.open_stream(owner, "h", 1, tls=False, transport="polling") != stream


@pytest.mark.parametrize("name", INPUTS)
def test_the_owner_of_a_stream_is_notified_of_its_inputs(name: str) -> None:
    machine, owner, stream = with_stream()
    give, rest = INPUTS[name]
    give(machine, stream, 3)
    assert owner.calls == [(name, stream, *rest, 3)]
    assert (stream in machine._outbox.owners) is (name not in {"failed", "closed"})


@pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b"")])
def test_empty_data_only_fires_due_timers(data: bytes | bytearray | memoryview) -> None:
    machine, owner, stream = with_stream()
    machine._timers.set(owner, "late", 2)
    machine.data_received(stream, data, 3)
    assert owner.calls == [("timer", "late", 3)]


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("how", ["closed by us", "closed by the peer", "failed", "never there"])
def test_inputs_for_a_closed_stream_are_ignored(name: str, how: str) -> None:
    machine, owner, stream = with_stream()
    if how == "closed by us":
        machine._outbox.close_stream(stream)
    elif how == "closed by the peer":
        machine.stream_closed(stream, None, 0)
    elif how == "failed":
        machine.stream_failed(stream, ERROR, 0)
    else:
        stream = NEVER
    owner.calls.clear()
    actions(machine)
    INPUTS[name][0](machine, stream, 0)
    assert owner.calls == []
    assert machine.next_output() is None


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_first_fires_due_timers(name: str) -> None:
    machine, owner, stream = with_stream()
    machine._timers.set(owner, "due", 2)
    machine._timers.set(owner, "later", 4)
    INPUTS[name][0](machine, stream, 3)
    assert [call[0] for call in owner.calls] == ["timer", name]
    INPUTS[name][0](machine, NEVER, 4)
    assert owner.calls[2:] == [("timer", "later", 4)]


def test_a_due_timer_may_close_the_stream_of_the_input() -> None:
    machine, owner, stream = with_stream()

    class Closer(Owner):
        def timer_fired(self, name: str | int, now: float) -> None:
            machine._outbox.close_stream(stream)

    machine._timers.set(Closer(), "due", 1)
    machine.data_received(stream, b"x", 1)
    assert owner.calls == []


def test_early_and_spurious_ticks_are_harmless_and_the_timer_is_set_again() -> None:
    machine, owner = Machine(), Owner()
    machine.tick(0)
    assert machine.next_output() is None
    machine._timers.set(owner, "t", 5)
    assert actions(machine) == [SetTimer(5)]
    machine.tick(4.9)
    assert owner.calls == []
    assert actions(machine) == [SetTimer(5)]
    machine.tick(5)
    machine.tick(5)
    assert owner.calls == [("timer", "t", 5)]
    assert actions(machine) == []


def test_cut_aborts_all_streams_and_cancels_all_timers() -> None:
    machine, owner, stream = with_stream()
    machine._timers.set(owner, "t", 5)
    actions(machine)
    machine._cut()
    machine._cut()
    assert actions(machine) == [CloseStream(stream, True), SetTimer(None)]
    assert machine._outbox.owners == {}
    machine.tick(10)
    assert owner.calls == []


@pytest.mark.parametrize("how", ["failed", "closed"])
def test_no_action_is_output_for_a_stream_that_has_ended(how: str) -> None:
    machine, owner, stream = with_stream()
    other = machine._outbox.open_stream(owner, "h", 1, tls=False, transport="polling")
    for each in (stream, other):
        machine._outbox.send(each, b"x")
    machine._outbox.deliver(EnginePing())
    give, details = INPUTS[how]
    give(machine, stream, 3)
    assert owner.calls == [(how, stream, *details, 3)]
    assert actions(machine) == [
        OpenStream(other, "h", 1, False, "polling"),
        Send(other, b"x"),
        EnginePing(),
    ]


@pytest.mark.parametrize("how", ["failed", "closed"])
def test_a_stream_may_end_at_the_time_at_which_a_timer_closes_it(how: str) -> None:
    machine, owner, stream = with_stream()

    class Closer(Owner):
        def timer_fired(self, name: str | int, now: float) -> None:
            machine._outbox.send(stream, b"goodbye")
            machine._outbox.close_stream(stream, abort=True)

    machine._timers.set(Closer(), "t", 3)
    INPUTS[how][0](machine, stream, 3)
    assert owner.calls == []
    assert actions(machine) == []


OPEN_PACKET = b'0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'


@pytest.mark.parametrize("takes_outputs", [True, False])
@pytest.mark.parametrize("command", ["connect", "set"])
def test_a_command_takes_effect_after_what_was_received_before(command: str, takes_outputs: bool) -> None:
    """Whether the outputs were taken in between makes no difference."""
    client = ClientProtocol("http://localhost", ClientOptions(transports=["polling"], timeout=None), random=Random(1))
    client.namespace("/").connect(0)
    client.stream_opened(1, 0)
    outputs: list[object] = list(iter(client.next_output, None))
    body = b"?" if command == "connect" else OPEN_PACKET
    client.data_received(1, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), 1)
    if takes_outputs:
        outputs += iter(client.next_output, None)
    if command == "connect":
        client.namespace("/b").connect(1)
    else:
        client.timeout = 1
    client.tick(10)
    outputs += iter(client.next_output, None)
    failed = [output.namespace for output in outputs if isinstance(output, ConnectFailed)]
    assert failed == (["/"] if command == "connect" else [])


def test_abort_discards_what_was_received_and_not_handled() -> None:
    client = ClientProtocol("http://localhost", ClientOptions(transports=["polling"]), random=Random(1))
    client.open(0)
    client.stream_opened(1, 0)
    body = OPEN_PACKET + b"\x1e2" * 1_000
    client.data_received(1, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), 1)
    while not isinstance(client.next_output(), Opened):
        pass
    client.abort(1)
    assert len(list(iter(client.next_output, None))) < 10
    assert client.idle
