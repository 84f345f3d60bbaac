"""The hub: inputs, actions, and what must hold when things go wrong in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sansio_socketio.client.hub import Hub, Waiters
from sansio_socketio.protocol.actions import StreamOwner
from sansio_socketio.protocol.events import MachineEvent
from sansio_socketio.protocol.machine import Machine
from sansio_socketio.runtime.connect import Connector
from tests.support.fake_runtime import FakeRuntime, World


class Story(Machine, StreamOwner):
    """A machine that does what a test tells it, and writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        self.outbox = self._outbox
        self.timers = self._timers

    def stream_opened(self, stream: int, now: float) -> None:
        self.told.append(("opened", stream))

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        self.told.append(("failed", stream, type(error)))

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        self.told.append(("received", stream, bytes(data)))

    def data_sent(self, stream: int, now: float) -> None:
        self.told.append(("sent", stream))

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        self.told.append(("closed", stream, error))

    def timer_fired(self, name: str | int, now: float) -> None:
        self.told.append(("fired", name, now))

    def command(self) -> None:
        self.outbox.deliver(MachineEvent())


class Rig:
    def __init__(self, world: World) -> None:
        self.world = world
        self.machine = Story()
        self.delivered: list[MachineEvent] = []
        self.drains = 0
        self.broken: list[Exception] = []
        self.deliver: Callable[[MachineEvent], None] = self.delivered.append
        self.hub = Hub(
            self.machine,
            FakeRuntime(world),
            Connector(),
            deliver=self._deliver,
            drained=self._drained,
            broken=self.broken.append,
        )
        world.server.accepts = None

    def _deliver(self, event: MachineEvent) -> None:
        self.deliver(event)

    def _drained(self) -> None:
        self.drains += 1

    def open(self) -> int:
        stream = self.machine.outbox.open_stream(self.machine, "localhost", 80, tls=False, transport="polling")
        self.hub.drain()
        return stream

    def play(self) -> None:
        self.world.run_until(lambda: not self.world._ready, None)


@pytest.fixture
def rig(world: World) -> Rig:
    return Rig(world)


def test_streams_are_opened_written_to_and_closed(rig: Rig, world: World) -> None:
    stream = rig.open()
    rig.play()
    fake = world.streams[0]
    fake.open()
    rig.machine.outbox.send(stream, b"a")
    rig.machine.outbox.send(stream, b"b")
    rig.hub.drain()
    assert fake.written == [b"a", b"b"]
    world.server.is_reading = False
    assert fake.receiver is not None
    fake.receiver.received(b"c")
    fake.receiver.sent()
    rig.machine.outbox.close_stream(stream)
    rig.hub.drain()
    assert world.streams == []
    assert rig.machine.told == [("opened", stream), ("received", stream, b"c"), ("sent", stream)]


def test_streams_that_fail_or_end_are_let_go_of(rig: Rig, world: World) -> None:
    first, second, third = rig.open(), rig.open(), rig.open()
    rig.play()
    one, two, three = world.streams
    one.refuse()
    two.open()
    two.lose()
    three.open()
    rig.hub.end()
    assert world.streams == []
    assert rig.machine.told == [
        ("failed", first, ConnectionRefusedError),
        ("opened", second),
        ("closed", second, None),
        ("opened", third),
    ]


def test_the_timer_ticks(rig: Rig, world: World) -> None:
    rig.machine.timers.set(rig.machine, "a", world.time + 5)
    rig.hub.drain()
    world.run_until(lambda: bool(rig.machine.told), None)
    assert rig.machine.told == [("fired", "a", 1005.0)]
    rig.machine.timers.set(rig.machine, "b", world.time + 5)
    rig.hub.drain()
    rig.hub.end()
    with pytest.raises(TimeoutError):
        world.run_until(lambda: len(rig.machine.told) > 1, world.time + 10)


def test_commands_inside_of_a_drain_are_carried_out_by_it(rig: Rig) -> None:
    depth = 0

    def deliver(event: MachineEvent) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1, "the drain was entered twice"
        rig.delivered.append(event)
        if len(rig.delivered) < 3:
            rig.machine.command()
            rig.hub.drain()
        depth -= 1

    rig.deliver = deliver
    rig.machine.command()
    rig.hub.drain()
    assert len(rig.delivered) == 3
    assert rig.drains == 1


def test_after_a_mistake_nothing_goes_in_or_out(rig: Rig, world: World) -> None:
    def deliver(event: MachineEvent) -> None:
        raise ZeroDivisionError

    stream = rig.open()
    rig.play()
    world.streams[0].open()
    rig.deliver = deliver
    rig.machine.command()
    rig.hub.drain()
    assert [type(error) for error in rig.broken] == [ZeroDivisionError]
    assert world.streams == []
    rig.machine.command()
    rig.hub.drain()
    rig.hub.received(stream, b"more")
    rig.hub.end()
    assert isinstance(rig.machine.next_output(), MachineEvent)
    assert len(rig.broken) == 1
    assert rig.machine.told == [("opened", stream)]


def test_a_stream_under_tls_begins_with_a_handshake(rig: Rig, world: World) -> None:
    world.server.is_reading = False
    rig.machine.outbox.open_stream(rig.machine, "localhost", 443, tls=True, transport="polling")
    rig.hub.drain()
    rig.play()
    world.streams[0].open()
    assert rig.machine.told == []
    assert world.streams[0].written[0].startswith(b"\x16\x03")  # a handshake record (RFC 8446, section 5.1)
    rig.hub.end()


def test_all_who_wait_are_woken_or_told_of_the_error(world: World) -> None:
    waiters = Waiters(FakeRuntime(world))

    async def main() -> None:
        world.call_at(world.time + 1, waiters.wake)
        await waiters.wait()
        world.call_at(world.time + 1, lambda: waiters.fail(KeyError("why")))
        assert len(waiters) == 0
        with pytest.raises(KeyError):
            await waiters.wait()

    world.run(main)
