"""The pump: inputs, actions, and what must hold when an internal error happens in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sansio_socketio.protocol.actions import StreamOwner
from sansio_socketio.protocol.events import MachineEvent
from sansio_socketio.protocol.machine import Machine
from sansio_socketio.running.pump import Pump
from sansio_socketio.runtime.connect import Connector
from tests.support.fake_runtime import FakeRuntime, World


class ScriptedMachine(Machine, StreamOwner):
    """A state machine that the test controls, and that records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Any] = []
        self.outbox = self._outbox
        self.timers = self._timers

    def stream_progress(self, stream: int, progress: str, now: float) -> None:
        self.inputs.append(("progress", stream, progress))

    def stream_opened(self, stream: int, now: float) -> None:
        self.inputs.append(("opened", stream))

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        self.inputs.append(("failed", stream, type(error)))

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        if bytes(data) == b"fail":
            raise ZeroDivisionError
        self.inputs.append(("received", stream, bytes(data)))

    def data_sent(self, stream: int, now: float) -> None:
        self.inputs.append(("sent", stream))

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        self.inputs.append(("closed", stream, error))

    def timer_fired(self, name: str | int, now: float) -> None:
        self.inputs.append(("fired", name, now))

    def command(self) -> None:
        self.outbox.deliver(MachineEvent())


class PumpRig:
    """A pump with a scripted state machine, on a server that leaves streams opening."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine = ScriptedMachine()
        self.events: list[MachineEvent] = []
        self.broken: list[Exception] = []
        self.route: Callable[[MachineEvent], None] = self.events.append
        self.pump = Pump(
            self.machine,
            FakeRuntime(world),
            Connector(),
            routes={MachineEvent: PumpRig._routed},
            owner=self,
            broken=self.broken.append,
        )
        world.server.accepts = None

    def _routed(self, event: MachineEvent) -> None:
        self.route(event)

    def open(self) -> int:
        stream = self.machine.outbox.open_stream(self.machine, "localhost", 80, tls=False, transport="polling")
        self.pump.drain()
        return stream

    def settle(self) -> None:
        self.world.run(self.world.settle)


@pytest.fixture
def rig(world: World) -> PumpRig:
    return PumpRig(world)


def test_streams_are_opened_written_to_and_closed(rig: PumpRig, world: World) -> None:
    stream = rig.open()
    rig.settle()
    fake = world.streams[0]
    fake.open()
    rig.machine.outbox.send(stream, b"a")
    rig.machine.outbox.send(stream, b"b")
    rig.pump.drain()
    assert fake.written == [b"a", b"b"]
    world.server.is_reading = False
    assert fake.receiver is not None
    fake.receiver.received(b"c")
    fake.receiver.sent()
    rig.machine.outbox.close_stream(stream)
    rig.pump.drain()
    assert world.streams == []
    assert rig.machine.inputs == [("opened", stream), ("received", stream, b"c"), ("sent", stream)]


def test_a_stream_may_be_aborted(rig: PumpRig, world: World) -> None:
    stream = rig.open()
    world.server.is_reading = False
    world.streams[0].open()
    rig.machine.outbox.send(stream, b"never sent")
    rig.machine.outbox.close_stream(stream, abort=True)
    rig.pump.drain()
    assert world.streams == []
    rig.settle()
    assert world.server.got == []


def test_streams_that_fail_or_are_closed_are_forgotten(rig: PumpRig, world: World) -> None:
    first, second, third = rig.open(), rig.open(), rig.open()
    rig.settle()
    one, two, three = world.streams
    one.refuse()
    two.open()
    two.lose()
    three.open()
    rig.pump.end()
    assert world.streams == []
    assert rig.machine.inputs == [
        ("failed", first, ConnectionRefusedError),
        ("opened", second),
        ("closed", second, None),
        ("opened", third),
    ]


def test_the_machine_is_called_when_the_timer_fires(rig: PumpRig, world: World) -> None:
    rig.machine.timers.set(rig.machine, "a", world.time + 5)
    rig.pump.drain()
    world.run_until(lambda: bool(rig.machine.inputs), None)
    assert rig.machine.inputs == [("fired", "a", 1005.0)]
    rig.machine.timers.set(rig.machine, "b", world.time + 5)
    rig.pump.drain()
    rig.pump.end()
    with pytest.raises(TimeoutError):
        world.run_until(lambda: len(rig.machine.inputs) > 1, world.time + 10)


def test_commands_during_a_drain_are_carried_out_by_it(rig: PumpRig) -> None:
    depth = drains = 0

    def route(event: MachineEvent) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1, "the drain was entered twice"
        rig.events.append(event)
        if len(rig.events) < 3:
            rig.machine.command()
            rig.pump.drain()
        depth -= 1

    def after_drain() -> None:
        nonlocal drains
        drains += 1

    rig.route = route
    rig.pump.after_drain = after_drain
    rig.machine.command()
    rig.pump.drain()
    assert len(rig.events) == 3
    assert drains == 1


def test_after_an_internal_error_no_input_or_action_is_passed_on(rig: PumpRig, world: World) -> None:
    def route(event: MachineEvent) -> None:
        raise ZeroDivisionError

    stream = rig.open()
    rig.settle()
    receiver = world.streams[0].receiver
    world.streams[0].open()
    rig.route = route
    rig.machine.command()
    rig.pump.drain()
    assert [type(error) for error in rig.broken] == [ZeroDivisionError]
    assert rig.pump.ended
    assert world.streams == []
    rig.machine.command()
    rig.pump.drain()
    assert receiver is not None
    receiver.received(b"more")
    rig.pump.end()
    assert isinstance(rig.machine.next_output(), MachineEvent)
    assert len(rig.broken) == 1
    assert rig.machine.inputs == [("opened", stream)]


def test_a_pump_that_ends_within_a_drain_opens_no_more_streams(rig: PumpRig, world: World) -> None:
    rig.route = lambda _: rig.pump.end()
    rig.machine.command()
    rig.open()
    assert rig.pump.ended
    assert world.streams == []


def test_an_internal_error_is_not_raised_into_the_runtime(rig: PumpRig, world: World) -> None:
    rig.open()
    receiver = world.streams[0].receiver
    assert receiver is not None
    world.streams[0].open()
    receiver.received(b"fail")
    assert [type(error) for error in rig.broken] == [ZeroDivisionError]
    assert world.streams == []


def test_an_input_from_another_thread_raises_and_has_no_effect(rig: PumpRig, world: World) -> None:
    stream = rig.open()
    world.streams[0].open()
    receiver = world.streams[0].receiver
    assert receiver is not None
    world.is_other_thread = True
    with pytest.raises(Exception, match="another thread"):
        receiver.received(b"a")
    world.is_other_thread = False
    receiver.received(b"b")
    rig.pump.end()
    assert rig.broken == []
    assert rig.machine.inputs == [("opened", stream), ("received", stream, b"b")]


def test_a_stream_under_tls_starts_with_a_handshake(rig: PumpRig, world: World) -> None:
    world.server.is_reading = False
    rig.machine.outbox.open_stream(rig.machine, "localhost", 443, tls=True, transport="polling")
    rig.pump.drain()
    rig.settle()
    world.streams[0].open()
    [(name, stream, progress)] = rig.machine.inputs
    assert (name, stream) == ("progress", 1)
    assert progress.startswith("TCP is up, but the TLS handshake with localhost was not completed")
    assert world.streams[0].written[0].startswith(b"\x16\x03")  # a handshake record (RFC 8446, section 5.1)
    rig.pump.end()


def test_the_proxy_of_a_stream_is_named_while_it_opens(rig: PumpRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://ada:secret@proxy.test:3128")
    rig.machine.outbox.open_stream(rig.machine, "far.test", 80, tls=False, transport="polling")
    rig.pump.drain()
    progress = "no connection to the proxy http://proxy.test:3128 was established; check the proxy's host and port"
    assert rig.machine.inputs == [("progress", 1, progress)]
    rig.pump.end()


def test_streams_pause_reading_after_their_next_input_until_all_have_resumed(rig: PumpRig, world: World) -> None:
    one, other = rig.open(), rig.open()
    rig.settle()
    first, second = world.streams
    for fake in (first, second):
        fake.open()
    rig.pump.pause_reading("a")
    rig.pump.pause_reading("b")
    assert not first.is_paused
    receiver = first.receiver
    assert receiver is not None
    receiver.received(b"x")
    receiver.received(b"buffered by the stream")
    assert (first.is_paused, second.is_paused) == (True, False)
    rig.pump.resume_reading("a")
    assert first.is_paused
    rig.pump.resume_reading("b")
    assert not first.is_paused
    assert ("received", one, b"x") in rig.machine.inputs
    assert ("received", other, b"x") not in rig.machine.inputs


@pytest.mark.parametrize("way", ["close", "lose", "end"])
def test_a_stream_is_resumed_before_its_end(rig: PumpRig, world: World, way: str) -> None:
    stream = rig.open()
    rig.settle()
    [fake] = world.streams
    fake.open()
    rig.pump.pause_reading("a")
    assert fake.receiver is not None
    fake.receiver.received(b"x")
    assert fake.is_paused
    if way == "close":
        rig.machine.outbox.close_stream(stream)
        rig.pump.drain()
    elif way == "lose":
        fake.lose()
    else:
        rig.pump.end()
    assert world.streams == []
    assert fake.is_paused == (way == "lose")
    rig.pump.resume_reading("a")


def test_a_stream_that_its_own_input_closes_is_not_paused(rig: PumpRig, world: World) -> None:
    def route(event: MachineEvent) -> None:
        rig.pump.pause_reading("a")
        rig.machine.outbox.close_stream(stream)

    stream = rig.open()
    rig.settle()
    [fake] = world.streams
    fake.open()
    rig.route = route
    rig.machine.command()
    assert fake.receiver is not None
    fake.receiver.received(b"x")
    assert not fake.is_paused
    assert world.streams == []


def test_streams_are_not_read_while_the_machine_is_behind(rig: PumpRig, world: World) -> None:
    class Receiver:
        parts = 3

        def handle_next(self, now: float) -> int:
            self.parts -= 1
            return 1000 if self.parts >= 0 else 0

    receiver = Receiver()
    rig.open()
    rig.settle()
    [fake] = world.streams
    fake.open()
    rig.machine.outbox.received(receiver)
    assert fake.receiver is not None
    fake.receiver.received(b"x")
    assert (receiver.parts, fake.is_paused) == (3, True)
    for _ in range(4):
        rig.settle()
    assert (receiver.parts, fake.is_paused) == (-1, False)
