"""The parts of drivers, with doubles of what a driver gives them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

import pytest

from sansio_socketio.protocol.errors import DisconnectedError, StateError
from sansio_socketio.runtime import (
    LONGEST_WAIT,
    Deadlines,
    EventFuture,
    LoopTimer,
    TaskStream,
    cancelled_inside,
    combined,
    first_connected,
    name_of,
    runtime_ended,
    underlying_error,
    ungrouped,
)
from sansio_socketio.runtime.interface import Future, Runtime
from tests.support.fake_runtime import Cancelled, FakeFuture, World


class Event:
    def __init__(self) -> None:
        self.times = 0

    def set(self) -> None:
        self.times += 1


def test_a_future_keeps_its_first_result_and_sets_its_event_once() -> None:
    future = EventFuture(Event())
    assert not future.done
    future.resolve(1)
    future.resolve(2)
    future.fail(ValueError())
    assert future.done
    assert future.result() == 1
    assert future.event.times == 1


def test_a_future_that_failed_raises_its_error() -> None:
    future = EventFuture(Event())
    future.fail(ValueError("no"))
    future.fail(KeyError())
    with pytest.raises(ValueError, match="no"):
        future.result()


# Deadlines


def test_deadlines_fire_in_the_order_of_their_time() -> None:
    changes, fired = [], list[str]()
    deadlines = Deadlines(lambda: changes.append(deadlines.timeout(0)))
    late, early, never = (
        deadlines.timer(lambda name=name: fired.append(name))  # type: ignore[misc]  # mypy wants its type
        for name in ("late", "early", "never")
    )
    assert deadlines.timeout(0) == LONGEST_WAIT
    late.set(3)
    early.set(2)
    never.set(1)
    never.set(None)
    assert changes == [3, 2, 1]
    assert deadlines.timeout(0) == 2
    deadlines.fire(1.9)
    assert fired == []
    deadlines.fire(3)
    assert fired == ["early", "late"]
    assert deadlines.timeout(0) == LONGEST_WAIT


def test_a_deadline_may_move_another_that_is_due() -> None:
    fired: list[str] = []
    deadlines = Deadlines(lambda: None)
    second = deadlines.timer(lambda: fired.append("second"))
    third = deadlines.timer(lambda: fired.append("third"))

    def move() -> None:
        second.set(9)
        third.set(None)

    first = deadlines.timer(move)
    for timer in (first, second, third):
        timer.set(1)
    deadlines.fire(1)
    assert fired == []
    assert deadlines.timeout(0) == 9


# Timers of a loop


class FakeHandle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def test_a_timer_of_a_loop_has_one_deadline() -> None:
    calls: list[tuple[float, Callable[[], None], FakeHandle]] = []
    fired: list[bool] = []

    def call_at(when: float, callback: Callable[[], None]) -> FakeHandle:
        calls.append((when, callback, FakeHandle()))
        return calls[-1][2]

    timer = LoopTimer(call_at, lambda: 0, lambda: fired.append(True))
    timer.set(None)
    timer.set(5)
    timer.set(3)
    assert [(when, handle.cancelled) for when, _, handle in calls] == [(5, True), (3, False)]
    calls[1][1]()
    assert fired == [True]
    timer.set(None)
    assert calls[1][2].cancelled


# Happy eyeballs


class FakeConnection:
    def __init__(self, place: str) -> None:
        self.place = place
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Dialling:
    """Connects to places after so many seconds, or fails."""

    def __init__(self, world: World, **places: float | tuple[float, str]) -> None:
        self.world = world
        self.places = places
        self.begun: list[tuple[str, float]] = []
        self.given_up: list[str] = []
        self.made: list[FakeConnection] = []

    async def connect(self, place: str) -> FakeConnection:
        self.begun.append((place, round(self.world.time - 1000, 6)))
        outcome = self.places[place]
        seconds, error = outcome if isinstance(outcome, tuple) else (outcome, None)
        try:
            if seconds:
                await self.world.sleep(seconds)
        except Cancelled as cancelled:
            self.given_up.append(place)
            raise cancelled from None
        if error is not None:
            raise OSError(error)
        self.made.append(FakeConnection(place))
        return self.made[-1]

    def race(self) -> FakeConnection:
        async def main() -> FakeConnection:
            async with self.world.open_runtime() as runtime:
                return await first_connected(runtime, list(self.places), self.connect)

        connection: FakeConnection = self.world.run(main)
        return connection


@pytest.mark.parametrize("eager", [False, True])
def test_the_first_address_that_connects_in_time_is_the_only_one_tried(eager: bool) -> None:
    dialling = Dialling(World(eager=eager), one=0.0, two=0.0)
    assert dialling.race().place == "one"
    assert dialling.begun == [("one", 0)]


def test_the_next_address_is_tried_beside_one_that_is_slow_and_the_first_to_connect_counts() -> None:
    dialling = Dialling(World(), one=0.4, two=60, three=60)
    assert dialling.race().place == "one"
    assert dialling.begun == [("one", 0), ("two", 0.25)]
    assert dialling.given_up == ["two"]


def test_the_next_address_is_tried_at_once_when_one_fails() -> None:
    dialling = Dialling(World(), one=(0.1, "no route"), two=60, three=0.1)
    assert dialling.race().place == "three"
    assert dialling.begun == [("one", 0), ("two", 0.1), ("three", 0.35)]
    assert dialling.given_up == ["two"]


def test_when_all_fail_each_says_why() -> None:
    dialling = Dialling(World(), one=(0.5, "no route"), two=(1, "refused"))
    with pytest.raises(OSError, match="no route; refused"):
        dialling.race()


def test_of_two_that_connect_in_the_same_turn_one_is_closed() -> None:
    world = World()
    both, made = FakeFuture(world), list[FakeConnection]()
    world.call_at(world.time + 1, both.resolve)

    async def main() -> FakeConnection:
        async with world.open_runtime() as runtime:

            async def connect(place: str) -> FakeConnection:
                await runtime.wait(both)
                made.append(FakeConnection(place))
                return made[-1]

            return await first_connected(runtime, ["one", "two"], connect)

    winner = world.run(main)
    assert [(one.place, one.closed) for one in made] == [("one", False), ("two", True)]
    assert winner is made[0]


def test_a_race_that_is_cancelled_leaves_nothing() -> None:
    world = World()
    dialling = Dialling(world, one=60, two=60)
    world.call_at(world.time + 1, lambda: world.cancel_main_at(0))
    with pytest.raises(Cancelled):
        dialling.race()
    assert dialling.given_up == ["one", "two"]


# Streams of tasks


class Broken(Exception):
    """What the runtime raises when a stream breaks."""


class OneTask:
    """A runtime that waits for one thing at a time: what the test does next."""

    def __init__(self) -> None:
        self.waits = 0

    def future(self) -> Future:
        return EventFuture(Event())

    async def wait(self, future: Future) -> None:
        self.waits += 1
        await _Pause()


class _Pause:
    def __await__(self) -> Any:
        yield


class PlainStream(TaskStream):
    aborted = False

    def abort(self) -> None:
        self.receiver = None
        self.aborted = True


class Receiver:
    def __init__(self) -> None:
        self.log: list[Any] = []

    def opened(self) -> None:
        self.log.append("opened")

    def failed(self, error: Exception) -> None:
        self.log.append(error)

    def received(self, data: bytes | bytearray | memoryview) -> None:
        self.log.append(bytes(data))

    def sent(self) -> None:
        self.log.append("sent")

    def closed(self, error: Exception | None) -> None:
        self.log.append(("closed", error))


def opened() -> tuple[PlainStream, Receiver]:
    receiver = Receiver()
    stream = PlainStream(cast("Runtime", OneTask()), receiver)
    stream.notify_opened()
    return stream, receiver


def step(task: Coroutine[Any, Any, None]) -> bool:
    """Let a task go on; tells whether it has ended."""
    try:
        task.send(None)
    except StopIteration:
        return True
    return False


def test_a_writer_joins_what_was_written_and_tells_when_it_has_left() -> None:
    stream, receiver = opened()
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)
        if len(sent) == 2:
            stream.write(b"more")

    task = stream.write_out(send)
    stream.write(b"a")
    stream.write(memoryview(b"b"))
    assert not step(task)
    assert sent == [b"ab"]
    stream.write(b"c")
    assert not step(task)
    assert sent == [b"ab", b"c", b"more"]
    assert receiver.log == ["opened", "sent", "sent"]
    stream.write(b"last")
    stream.close()
    assert step(task)
    assert sent[3:] == [b"last"]
    assert stream.aborted
    assert receiver.log == ["opened", "sent", "sent"]


def test_a_reader_reads_to_the_end() -> None:
    stream, receiver = opened()
    coming = iter([b"one", b"two", b""])

    async def receive() -> bytes:
        return next(coming)

    assert step(stream.read(receive))
    assert receiver.log == ["opened", b"one", b"two", ("closed", None)]
    assert stream.aborted


def test_a_reader_drops_what_comes_after_closing() -> None:
    stream, receiver = opened()
    coming = iter([b"one", b""])

    async def receive() -> bytes:
        stream.close()
        return next(coming)

    assert step(stream.read(receive))
    assert receiver.log == ["opened"]


def test_what_breaks_a_stream_is_told_as_what_the_system_said() -> None:
    stream, receiver = opened()
    reset = ConnectionResetError("reset")

    async def receive() -> bytes:
        raise Broken from reset

    assert step(stream.read(receive))
    assert receiver.log == ["opened", ("closed", reset)]


def test_when_writing_breaks_what_can_be_read_comes_first() -> None:
    stream, receiver = opened()
    pipe, coming = BrokenPipeError("pipe"), iter([b"413 Too Large", b""])

    async def send(data: bytes) -> None:
        raise Broken from pipe

    async def receive() -> bytes:
        return next(coming)

    stream.write(b"much")
    assert step(stream.write_out(send))
    assert not stream.aborted
    assert step(stream.read(receive))
    assert receiver.log == ["opened", b"413 Too Large", ("closed", pipe)]


def test_when_writing_breaks_while_closing_it_is_over() -> None:
    stream, receiver = opened()

    async def send(data: bytes) -> None:
        raise Broken

    stream.write(b"last")
    stream.close()
    assert step(stream.write_out(send))
    assert stream.aborted
    assert receiver.log == ["opened"]


def test_closing_or_aborting_before_it_is_open() -> None:
    for way in (PlainStream.close, PlainStream.abort):
        receiver = Receiver()
        stream = PlainStream(cast("Runtime", OneTask()), receiver)
        way(stream)
        assert stream.aborted
        stream.notify_opened()
        stream.notify_failed(OSError())
        stream.notify_closed(None)
        assert receiver.log == []


# Errors


def test_the_plain_cause_of_an_error() -> None:
    alone, cause = OSError("alone"), ConnectionRefusedError("refused")
    assert underlying_error(alone) is alone
    assert underlying_error(_because(cause)) is cause
    assert underlying_error(_because(ExceptionGroup("all", [cause]))) is cause
    both = underlying_error(_because(ExceptionGroup("all", [OSError("one"), OSError("other")])))
    assert str(both) == "one; other"
    assert underlying_error(_because(KeyboardInterrupt())).args == ("wrapped",)


def _because(cause: BaseException) -> OSError:
    error = OSError("wrapped")
    error.__cause__ = cause
    return error


def test_several_errors_as_one() -> None:
    error = OSError("one")
    assert combined([error]) is error
    assert str(combined([error, OSError("other")])) == "one; other"


def test_what_a_group_stands_for() -> None:
    error, other, cancelled = ValueError(), KeyError(), Cancelled()
    inner = ExceptionGroup("the application's", [error])
    assert ungrouped(BaseExceptionGroup("ours", [error]), Cancelled) is error
    assert ungrouped(BaseExceptionGroup("ours", [cancelled, error, Cancelled()]), Cancelled) is error
    assert ungrouped(BaseExceptionGroup("ours", [cancelled, Cancelled()]), Cancelled) is cancelled
    assert ungrouped(BaseExceptionGroup("ours", [inner]), Cancelled) is inner
    several = BaseExceptionGroup("ours", [error, other])
    assert ungrouped(several, Cancelled) is several


def test_errors_that_say_what_happened() -> None:
    def handler() -> None: ...

    assert isinstance(runtime_ended(), DisconnectedError)
    error = cancelled_inside(handler)
    assert isinstance(error, StateError)
    assert "handler was cancelled from inside" in str(error)
    assert name_of(partial(handler)).startswith("functools.partial(")
