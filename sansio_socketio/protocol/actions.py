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


class Outbox:
    """The outputs for the driver, the owner of each open stream, and the counters.

    Attributes:
        backlog: The objects that have received packets which are not handled yet, in order.
        counters: The counters since the machine was created.
        outputs: The outputs, in order.
        owners: The owner of each stream that is open or being opened.
        on_last_closed: Called when no stream is open any more, or None.
        deliver: Append an event to the outputs. It is the deque's own method, which saves a call for each event.
    """

    __slots__ = ("_next_stream", "_waiting", "backlog", "counters", "deliver", "on_last_closed", "outputs", "owners")

    def __init__(self) -> None:
        self.backlog: list[Receiver] = []
        self.counters = Counters()
        self.outputs: deque[Output] = deque()
        self.deliver: Callable[[MachineEvent], None] = self.outputs.append
        self.owners: dict[int, StreamOwner] = {}
        self.on_last_closed: Callable[[], None] | None = None
        self._next_stream = 1
        self._waiting: dict[Receiver, Callable[[float], None]] = {}  # what happens after the packets in the backlog

    def open_stream(self, owner: StreamOwner, host: str, port: int, *, tls: bool, transport: str) -> int:
        """Request a stream, and return its number. `owner` is notified until it closes the stream."""
        stream = self.accept_stream(owner)
        self.outputs.append(OpenStream(stream, host, port, tls, transport))
        return stream

    def accept_stream(self, owner: StreamOwner) -> int:
        """Return the number of a stream that is open or about to be. `owner` is notified until it closes the stream."""
        stream = self._next_stream
        self._next_stream += 1
        self.owners[stream] = owner
        return stream

    def received(self, receiver: Receiver) -> None:
        """Have the packets that `receiver` has received handled, one at a time."""
        if receiver not in self.backlog:
            self.backlog.append(receiver)

    def after_packets(self, receiver: Receiver, action: Callable[[float], None], now: float) -> None:
        """Call `action(now)` when the packets that `receiver` has received are handled. There may be one such action."""
        if receiver in self.backlog:
            self._waiting[receiver] = action
        else:
            action(now)

    def handle_next(self, now: float) -> int:
        """Handle the next received packet, and return its cost. The backlog must not be empty."""
        receiver = self.backlog[0]
        cost = receiver.handle_next(now)
        if not cost:
            action = self._waiting.get(receiver)
            self.drop_received(receiver)
            if action is not None:
                action(now)
        return cost

    def drop_received(self, receiver: Receiver) -> None:
        """Drop the packets that `receiver` has received, and the action after them."""
        if receiver in self.backlog:
            self.backlog.remove(receiver)
            self._waiting.pop(receiver, None)

    def drop_all_received(self) -> None:
        """Drop all received packets, and the actions after them."""
        self.backlog.clear()
        self._waiting.clear()

    def send(self, stream: int, data: bytes | bytearray | memoryview) -> None:
        """Send bytes. Do nothing if the stream is closed."""
        if stream in self.owners:
            self.counters.bytes_sent += len(data)
            self.outputs.append(Send(stream, data))

    def close_stream(self, stream: int, *, abort: bool = False) -> None:
        """Close a stream, and stop notifying its owner. Do nothing if the stream is closed."""
        if self._drop(stream) is not None:
            self.outputs.append(CloseStream(stream, abort))

    def forget(self, stream: int) -> StreamOwner | None:
        """Drop the outputs for a stream that the driver has discarded. Return its owner, or None if it was closed before."""
        outputs = list(self.outputs)
        self.outputs.clear()
        for output in outputs:
            if not (isinstance(output, Send | CloseStream) and output.stream == stream):
                self.outputs.append(output)
            elif isinstance(output, Send):
                self.counters.bytes_sent -= len(output.data)
        return self._drop(stream)

    def _drop(self, stream: int) -> StreamOwner | None:
        owner = self.owners.pop(stream, None)
        if owner is not None and not self.owners and self.on_last_closed is not None:
            self.on_last_closed()
        return owner
