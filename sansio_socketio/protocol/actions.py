"""The actions that a machine requests from its driver.

Rules of this file:

- An action is plain data. The machine never calls its driver; the driver takes outputs from `next_output()`.
- A stream is identified by an int, which the machine chooses and never reuses.
- Every layer of the machine appends its outputs to the `Outbox`, in the order in which the driver carries them out. The
  outbox also records which object owns each open stream.
- Received packets are handled one at a time, when the driver has taken the outputs of the previous one (`backlog`). So the
  outputs of a large input need not be held in memory together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .events import MachineEvent
from .statistics import Counters


@dataclass(slots=True)
class OpenStream:
    """Open a byte stream to `host` and `port`, with TLS if `tls` is True. `transport` names the transport that uses it.

    Then the driver calls `stream_opened` or `stream_failed`.
    """

    stream: int
    host: str
    port: int
    tls: bool
    transport: str


@dataclass(slots=True)
class Send:
    """Write `data` to the stream, and call `data_sent` when its write buffer is empty. Consecutive writes may be joined."""

    stream: int
    data: bytes | bytearray | memoryview


@dataclass(slots=True)
class CloseStream:
    """Close the stream when its write buffer is empty, or at once if `abort`. Feed no more inputs for it."""

    stream: int
    abort: bool = False


@dataclass(slots=True)
class SetTimer:
    """Call `tick` at `deadline` (seconds on the clock of `now`) instead of the previous deadline. None cancels the timer."""

    deadline: float | None


Action = OpenStream | Send | CloseStream | SetTimer
"""An action that the driver carries out."""

Output = Action | MachineEvent
"""An output of a machine: an action for the driver or an event for the application."""


class StreamOwner(Protocol):
    """The object that opened a stream. It is notified of everything that happens to the stream."""

    def stream_progress(self, stream: int, progress: str, now: float) -> None: ...
    def stream_opened(self, stream: int, now: float) -> None: ...
    def stream_failed(self, stream: int, error: Exception, now: float) -> None: ...
    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None: ...
    def data_sent(self, stream: int, now: float) -> None: ...
    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None: ...


class Receiver(Protocol):
    """An object that has received packets."""

    def handle_next(self, now: float) -> int:
        """Handle the next received packet. Return its cost (`packet_cost`), or 0 if there is none."""
        ...


def packet_cost(size: int) -> int:
    """Return the cost of handling a packet of `size` characters or bytes: 1 for a small one."""
    return 1 + (size >> 10)


class WaitingInput:
    """An input that waits until the packets that were received before it are handled."""

    __slots__ = ("_notify",)

    def __init__(self, notify: Callable[[float], None]) -> None:
        self._notify = notify

    def handle_next(self, now: float) -> int:
        """Handle the input. There is nothing after it."""
        self._notify(now)
        return 0


class Outbox:
    """The outputs for the driver, the owner of each open stream, and the counters.

    Attributes:
        backlog: The objects that have received packets, and the inputs that wait for them, in order.
        counters: The counters since the machine was created.
        outputs: The outputs, in order.
        owners: The owner of each stream that is open or being opened.
        lost: The streams in `owners` that the driver has discarded. Their owners are still to be notified.
        on_last_closed: Called when no stream is open any more, or None.
        deliver: Append an event to the outputs. It is the deque's own method, which saves a call for each event.
    """

    __slots__ = ("_next_stream", "backlog", "counters", "deliver", "lost", "on_last_closed", "outputs", "owners")

    def __init__(self) -> None:
        self.backlog: deque[Receiver] = deque()
        self.counters = Counters()
        self.outputs: deque[Output] = deque()
        self.deliver: Callable[[MachineEvent], None] = self.outputs.append
        self.owners: dict[int, StreamOwner] = {}
        self.lost: set[int] = set()
        self.on_last_closed: Callable[[], None] | None = None
        self._next_stream = 1

    def open_stream(self, owner: StreamOwner, host: str, port: int, *, tls: bool, transport: str) -> int:
        """Request a stream, and return its number. `owner` is notified until it closes the stream."""
        stream = self._next_stream
        self._next_stream += 1
        self.owners[stream] = owner
        self.outputs.append(OpenStream(stream, host, port, tls, transport))
        return stream

    def received(self, receiver: Receiver) -> None:
        """Have the packets that `receiver` has received handled, one at a time, before the inputs that wait."""
        if receiver not in self.backlog:
            self.backlog.appendleft(receiver)

    def handle_next(self, now: float) -> int:
        """Handle the next received packet, or an input that waits. Return the cost. The backlog must not be empty."""
        first = self.backlog[0]
        cost = first.handle_next(now)
        if not cost:
            self.backlog.remove(first)
        return cost

    def send(self, stream: int, data: bytes | bytearray | memoryview) -> None:
        """Send bytes. Do nothing if the driver has discarded the stream."""
        if stream not in self.lost:
            self.counters.bytes_sent += len(data)
            self.outputs.append(Send(stream, data))

    def close_stream(self, stream: int, *, abort: bool = False) -> None:
        """Close a stream, and stop notifying its owner. Do nothing if the stream is closed."""
        is_lost = stream in self.lost
        if self.forget(stream) is not None and not is_lost:
            self.outputs.append(CloseStream(stream, abort))

    def lose(self, stream: int) -> None:
        """Drop the outputs for a stream that the driver has discarded, now and until `forget`."""
        if stream in self.owners:
            self.lost.add(stream)
        outputs = list(self.outputs)
        self.outputs.clear()
        for output in outputs:
            if not (isinstance(output, Send | CloseStream) and output.stream == stream):
                self.outputs.append(output)
            elif isinstance(output, Send):
                self.counters.bytes_sent -= len(output.data)

    def forget(self, stream: int) -> StreamOwner | None:
        """Stop notifying the owner of a stream. Return the owner, or None if the stream was closed before."""
        self.lost.discard(stream)
        owner = self.owners.pop(stream, None)
        if owner is not None and not self.owners and self.on_last_closed is not None:
            self.on_last_closed()
        return owner
