"""A driver in memory, which checks a machine's actions against the contract of `Machine`.

Rules of this file:

- Time is virtual, and stands still unless `advance` or `jump` moves it.
- An action for a stream that is closed, was never opened or is still opening fails the check.
- What the driver saw is recorded in a form that can be compared: `outputs` is everything in order, `events` the events
  alone, `written` the bytes of each stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import cycle, zip_longest
from math import isnan
from typing import Any, Final

from sansio_socketio.protocol import Machine
from sansio_socketio.protocol.actions import CloseStream, OpenStream, Output, Send, SetTimer
from sansio_socketio.protocol.events import MachineEvent

Split = Callable[[bytes], Iterable[bytes]]
"""How the bytes of a peer are split into chunks."""

START: Final = 1000.0
_MAX_TICKS: Final = 12
_CHUNKS: Final = (1, 2, 5, 1, 9, 17)
"""The sizes of the chunks in which a scenario is played again."""


@dataclass
class Stream:
    """A stream as its peer sees it.

    Attributes:
        number: The machine's number of the stream.
        transport: The name of the transport that asked for it.
        is_open: Whether it was opened; before that it is opening.
        received: All that the machine has sent.
        has_unsent: Whether the machine waits to be notified that its bytes were sent.
        requests: The number of HTTP requests that the machine has sent.
        is_websocket: Whether a WebSocket handshake was accepted.
    """

    number: int
    transport: str
    is_open: bool = False
    received: bytearray = field(default_factory=bytearray)
    has_unsent: bool = False
    requests: int = 0
    is_websocket: bool = False


class Driver:
    """A driver that performs a machine's actions in memory, and the network at the other end.

    Attributes:
        streams: The streams that are open or opening, in the order in which they were asked for.
        deadline: When the machine wants to be called, or None.
        is_ambiguous: Whether the chunks decide what happens, such as when a deadline is due while bytes arrive.
    """

    def __init__(self, machine: Machine, split: Split, on_event: Callable[[Any], None] = lambda _: None) -> None:
        self.machine = machine
        self.now = START
        self.deadline: float | None = None
        self.streams: dict[int, Stream] = {}
        self.is_ambiguous = False
        self.outputs: list[str] = []
        self.events: list[str] = []
        self.written: dict[int, bytearray] = {}
        self._split = split
        self._on_event = on_event

    def run(self) -> None:
        """Perform all actions."""
        while (output := self.machine.next_output()) is not None:
            self.outputs.append(shown(output))
            if isinstance(output, MachineEvent):
                self.events.append(_essence(output))
                self._on_event(output)
            else:
                self._perform(output)

    def _perform(self, action: Output) -> None:
        if isinstance(action, OpenStream):
            assert action.stream not in self.written, "a stream number is reused"
            stream = Stream(action.stream, action.transport)
            self.streams[action.stream] = stream
            self.written[action.stream] = bytearray()
        elif isinstance(action, Send):
            assert action.stream in self.streams, f"{action} after the end of the stream"
            stream = self.streams[action.stream]
            assert stream.is_open, f"{action} before the stream is open"
            stream.received += action.data
            self.written[action.stream] += action.data
            stream.has_unsent = True
            stream.requests += bytes(action.data[:5]) in {b"GET /", b"POST "}
        elif isinstance(action, CloseStream):
            assert self.streams.pop(action.stream, None), f"{action} after the end of the stream"
        elif isinstance(action, SetTimer):
            assert action.deadline is None or not isnan(action.deadline), "a deadline is not a number"
            self.deadline = action.deadline

    # The network

    def open(self, stream: Stream) -> None:
        stream.is_open = True
        self.machine.stream_opened(stream.number, self.now)
        self.run()

    def fail(self, stream: Stream, error: Exception) -> None:
        del self.streams[stream.number]
        self.machine.stream_failed(stream.number, error, self.now)
        self.run()

    def receive(self, stream: Stream, data: bytes) -> None:
        """Feed bytes of the peer in chunks, for as long as the stream is open. The memory of the chunks is reused.

        Bytes that arrive after a request was sent belong to its response. So the chunks decide what happens if a request is
        sent between two of them.
        """
        number, requests = stream.number, stream.requests
        for chunk in self._split(data):
            if number not in self.streams:
                break
            if stream.requests != requests:
                self.is_ambiguous = True
            buffer = bytearray(chunk)
            self.machine.data_received(number, memoryview(buffer), self.now)
            buffer[:] = bytes(len(buffer))
            self.run()
            while self.machine.is_behind:
                self.machine.tick(self.now)
                self.run()
            if self.deadline is not None and self.deadline <= self.now:
                self.is_ambiguous = True

    def flush(self, stream: Stream) -> None:
        """Notify the machine that its bytes were sent, if there were any."""
        if stream.has_unsent:
            stream.has_unsent = False
            self.machine.data_sent(stream.number, self.now)
            self.run()

    def end(self, stream: Stream, error: Exception | None) -> None:
        del self.streams[stream.number]
        self.machine.stream_closed(stream.number, error, self.now)
        self.run()

    def feed_stale(self, number: int) -> None:
        """Feed data that a driver may still have for a stream that the machine has closed. It must be ignored."""
        assert number not in self.streams
        self.machine.stream_opened(number, self.now)
        self.machine.data_received(number, b"4late", self.now)
        self.machine.data_sent(number, self.now)
        self.machine.stream_closed(number, OSError("late"), self.now)
        self.run()

    # Time

    def tick(self) -> None:
        """Fire the timer, maybe early."""
        self.deadline = None
        self.machine.tick(self.now)
        self.run()

    def advance(self, seconds: float) -> None:
        """Let time pass, and fire the timer whenever it is due."""
        end = self.now + seconds
        for _ in range(_MAX_TICKS):  # without delays there are attempts without end
            if self.deadline is None or self.deadline > end:
                break
            self.now = max(self.now, self.deadline)
            self.tick()
        self.now = end

    def jump(self, seconds: float) -> None:
        """Let time pass, and fire no timer."""
        self.now += seconds


def shown(value: object) -> str:
    """Return the repr of a value. It omits a value that is nested too deeply, because repr() is recursive."""
    try:
        return repr(value)
    except RecursionError:
        return f"{type(value).__name__}(…)"


def _essence(event: MachineEvent) -> str:
    """Return an event with the type, the text and the attributes of an error in it."""
    error = getattr(event, "error", None) or getattr(event, "details", None)
    if not isinstance(error, Exception):
        return shown(event)
    return f"{type(event).__name__} {getattr(event, 'reason', '')} {type(error).__name__} {error} {vars(error)}"


Scenario = Callable[[Split], Driver]
"""Something that happens to a machine: a function that plays it, with the peer's bytes split in this way."""


def check_scenario(scenario: Scenario) -> None:
    """Check that the scenario has the same outputs when it is played again, and the same events in other chunks."""
    first, again = scenario(_whole), scenario(_whole)
    _check_equal("outputs of a replay", first.outputs, again.outputs)
    split = scenario(_in_chunks)
    if not first.is_ambiguous and not split.is_ambiguous:
        _check_equal("events in other chunks", first.events, split.events)
        assert split.written == first.written, "the bytes sent depend on the chunks"


def _check_equal(what: str, first: list[str], other: list[str]) -> None:
    if other != first:
        one, two = next(pair for pair in zip_longest(first, other) if pair[0] != pair[1])
        raise AssertionError(f"the {what} differ:\n{one}\n{two}")


def _whole(data: bytes) -> Iterable[bytes]:
    return [data]


def _in_chunks(data: bytes) -> Iterable[bytes]:
    sizes = cycle(_CHUNKS)
    at = 0
    yield b""
    while at < len(data):
        size = next(sizes)
        yield data[at : at + size]
        at += size
    yield b""
