"""The building blocks of streams, with doubles of the parts that a driver provides."""

from __future__ import annotations

from collections.abc import Coroutine
from threading import Event
from typing import Any, cast

import pytest

from sansio_socketio.runtime import (
    EventFuture,
    TaskStream,
    combine_errors,
    first_connected,
    underlying_error,
    unwrap_group,
)
from sansio_socketio.runtime.interface import Future, Runtime
from tests.support.doubles import Receiver
from tests.support.fake_runtime import Cancelled, FakeFuture, World

# Happy eyeballs


class FakeConnection:
    def __init__(self, place: str) -> None:
        self.place = place
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Attempts:
    """Connects to each place after the given seconds, or fails with the given message."""

    def __init__(self, world: World, **places: float | tuple[float, str]) -> None:
        self.world = world
        self.places = places
        self.started: list[tuple[str, float]] = []
        self.cancelled: list[str] = []
        self.made: list[FakeConnection] = []

    async def connect(self, place: str) -> FakeConnection:
        self.started.append((place, round(self.world.time - 1000, 6)))
        outcome = self.places[place]
        seconds, error = outcome if isinstance(outcome, tuple) else (outcome, None)
        try:
            if seconds:
                await self.world.sleep(seconds)
        except Cancelled as cancelled:
            self.cancelled.append(place)
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
    attempts = Attempts(World(eager=eager), one=0.0, two=0.0)
    assert attempts.race().place == "one"
    assert attempts.started == [("one", 0)]


def test_the_next_address_is_tried_while_one_is_slow_and_the_first_connection_wins() -> None:
    attempts = Attempts(World(), one=0.4, two=60, three=60)
    assert attempts.race().place == "one"
    assert attempts.started == [("one", 0), ("two", 0.25)]
    assert attempts.cancelled == ["two"]


def test_the_next_address_is_tried_at_once_when_one_fails() -> None:
    attempts = Attempts(World(), one=(0.1, "no route"), two=60, three=0.1)
    assert attempts.race().place == "three"
    assert attempts.started == [("one", 0), ("two", 0.1), ("three", 0.35)]
    assert attempts.cancelled == ["two"]


def test_if_all_addresses_fail_the_error_has_every_reason() -> None:
    attempts = Attempts(World(), one=(0.5, "no route"), two=(1, "refused"))
    with pytest.raises(OSError, match="no route; refused"):
        attempts.race()


def test_of_two_connections_in_the_same_iteration_one_is_closed() -> None:
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


def test_cancelling_cancels_every_attempt() -> None:
    world = World()
    attempts = Attempts(world, one=60, two=60)
    world.call_at(world.time + 1, lambda: world.cancel_main_at(0))
    with pytest.raises(Cancelled):
        attempts.race()
    assert attempts.cancelled == ["one", "two"]


# TaskStream


class Broken(Exception):
    """The error of a runtime when a stream breaks."""


class SteppedRuntime:
    """A runtime in which the test decides when a wait ends."""

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


class MinimalStream(TaskStream):
    aborted = False

    def abort(self) -> None:
        self.receiver = None
        self.aborted = True


def opened() -> tuple[MinimalStream, Receiver]:
    receiver = Receiver()
    stream = MinimalStream(cast("Runtime", SteppedRuntime()), receiver)
    stream.notify_opened()
    return stream, receiver


def step(task: Coroutine[Any, Any, None]) -> bool:
    """Run a task until it waits. Returns whether it has ended."""
    try:
        task.send(None)
    except StopIteration:
        return True
    return False


def test_writes_are_joined_and_reported_as_sent() -> None:
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
    assert receiver.history == ["opened", "sent", "sent"]
    stream.write(b"last")
    stream.close()
    assert step(task)
    assert sent[3:] == [b"last"]
    assert stream.aborted
    assert receiver.history == ["opened", "sent", "sent"]


def test_a_reader_reads_to_the_end() -> None:
    stream, receiver = opened()
    coming = iter([b"one", b"two", b""])

    async def receive() -> bytes:
        return next(coming)

    assert step(stream.read(receive))
    assert receiver.history == ["opened", b"one", b"two", ("closed", None)]
    assert stream.aborted


def test_a_reader_waits_while_reading_is_paused() -> None:
    stream, receiver = opened()
    coming = iter([b"one", b"two", b""])

    async def receive() -> bytes:
        return next(coming)

    def pause() -> None:
        stream.pause_reading()
        receiver.on_received = lambda: None

    receiver.on_received = pause
    task = stream.read(receive)
    assert not step(task)
    assert receiver.history == ["opened", b"one"]
    stream.resume_reading()
    stream.resume_reading()
    assert step(task)
    assert receiver.history == ["opened", b"one", b"two", ("closed", None)]


def test_data_after_closing_is_dropped() -> None:
    stream, receiver = opened()
    coming = iter([b"one", b""])

    async def receive() -> bytes:
        stream.close()
        return next(coming)

    assert step(stream.read(receive))
    assert receiver.history == ["opened"]


def test_the_error_of_a_broken_stream_is_that_of_the_system() -> None:
    stream, receiver = opened()
    reset = ConnectionResetError("reset")

    async def receive() -> bytes:
        raise Broken from reset

    assert step(stream.read(receive))
    assert receiver.history == ["opened", ("closed", reset)]


def test_after_a_write_error_data_is_still_read() -> None:
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
    assert receiver.history == ["opened", b"413 Too Large", ("closed", pipe)]


def test_a_write_error_while_closing_aborts() -> None:
    stream, receiver = opened()

    async def send(data: bytes) -> None:
        raise Broken

    stream.write(b"last")
    stream.close()
    assert step(stream.write_out(send))
    assert stream.aborted
    assert receiver.history == ["opened"]


def test_closing_or_aborting_before_the_stream_is_open_aborts_it() -> None:
    for way in (MinimalStream.close, MinimalStream.abort):
        receiver = Receiver()
        stream = MinimalStream(cast("Runtime", SteppedRuntime()), receiver)
        way(stream)
        assert stream.aborted
        stream.notify_opened()
        stream.notify_failed(OSError())
        stream.notify_closed(None)
        assert receiver.history == []


# Errors


def test_the_underlying_error() -> None:
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


def test_combining_errors() -> None:
    error = OSError("one")
    assert combine_errors([error]) is error
    assert str(combine_errors([error, OSError("other")])) == "one; other"


def test_unwrapping_a_group() -> None:
    error, other, cancelled = ValueError(), KeyError(), Cancelled()
    inner = ExceptionGroup("the application's", [error])
    assert unwrap_group(BaseExceptionGroup("ours", [error]), Cancelled) is error
    assert unwrap_group(BaseExceptionGroup("ours", [cancelled, error, Cancelled()]), Cancelled) is error
    assert unwrap_group(BaseExceptionGroup("ours", [cancelled, Cancelled()]), Cancelled) is cancelled
    assert unwrap_group(BaseExceptionGroup("ours", [inner]), Cancelled) is inner
    nested = BaseExceptionGroup("a stream's", [cancelled, Cancelled()])
    assert unwrap_group(BaseExceptionGroup("ours", [nested, error]), Cancelled) is error
    assert unwrap_group(BaseExceptionGroup("ours", [nested]), Cancelled) is cancelled
    several = BaseExceptionGroup("ours", [error, other])
    assert unwrap_group(several, Cancelled) is several
