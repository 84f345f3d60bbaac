"""The driver of the fuzz targets finds what breaks the contract of a machine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from math import nan

import pytest

from fuzz.driver import Driver, Split, check_scenario
from sansio_socketio.protocol import Machine
from sansio_socketio.protocol.actions import CloseStream, OpenStream, Output, Send, SetTimer
from sansio_socketio.protocol.errors import TransportError
from sansio_socketio.protocol.events import EngineMessage, Failed


class Script(Machine):
    """A machine that has these outputs, and one event for each input of bytes that `on_data` makes of them."""

    def __init__(self, *outputs: Output, on_data: Callable[[bytes], Output] | None = None) -> None:
        super().__init__()
        self._outputs = list(outputs)
        self._on_data = on_data

    def next_output(self) -> Output | None:
        return self._outputs.pop(0) if self._outputs else None

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        if self._on_data is not None:
            self._outputs.append(self._on_data(bytes(data)))


OPEN = OpenStream(1, "localhost", 80, False, "polling")


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ([OPEN, Send(1, b"x")], "before the stream is open"),
        ([Send(1, b"x")], "after the end"),
        ([OPEN, CloseStream(1), Send(1, b"x")], "after the end"),
        ([OPEN, CloseStream(1), CloseStream(1)], "after the end"),
        ([OPEN, CloseStream(1), OPEN], "is reused"),
        ([SetTimer(nan)], "not a number"),
    ],
)
def test_an_action_that_breaks_the_contract(outputs: list[Output], complaint: str) -> None:
    driver = Driver(Script(*outputs), lambda data: [data])
    with pytest.raises(AssertionError, match=complaint):
        driver.run()


def scenario(on_data: Callable[[bytes], Output]) -> Callable[[Split], Driver]:
    def play(split: Split) -> Driver:
        driver = Driver(Script(OPEN, on_data=on_data), split)
        driver.run()
        driver.open(driver.streams[1])
        driver.receive(driver.streams[1], b"two chunks")
        return driver

    return play


def test_outputs_that_differ_in_a_replay() -> None:
    numbers = count()
    with pytest.raises(AssertionError, match=r"outputs of a replay differ:\nEngineMessage.*'0'.*\nEngineMessage.*'1'"):
        check_scenario(scenario(lambda _: EngineMessage(str(next(numbers)))))


def test_events_that_depend_on_the_chunks() -> None:
    with pytest.raises(
        AssertionError, match=r"events in other chunks differ:\nEngineMessage.*'10'.*\nEngineMessage.*'0'"
    ):
        check_scenario(scenario(lambda data: EngineMessage(str(len(data)))))


def test_errors_that_depend_on_the_chunks_in_their_attributes() -> None:
    with pytest.raises(AssertionError, match="events in other chunks differ"):
        check_scenario(scenario(lambda data: Failed(TransportError("broken", close_code=len(data)))))


def test_errors_that_depend_on_the_chunks_in_their_words() -> None:
    with pytest.raises(AssertionError, match="events in other chunks differ"):
        check_scenario(scenario(lambda data: Failed(TransportError(f"broken after {len(data)} bytes"))))


def test_a_chunk_is_not_kept() -> None:
    class Keeper(Script):
        def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
            self.kept = data

    machine = Keeper(OPEN)
    driver = Driver(machine, lambda data: [data])
    driver.run()
    driver.receive(driver.streams[1], b"abc")
    assert bytes(machine.kept) == bytes(3), "stored chunks are overwritten, so that the events show it"
