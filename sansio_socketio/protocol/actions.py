"""The actions that a machine requests of its driver.

Rules of this file:

- An action is plain data. The machine never calls its driver; the driver takes outputs from `next_output()`.
- A stream is an int that the machine chooses and never uses again.
- Every layer of the machine appends its outputs to the `Outbox`, in the order in which they are to be carried out. It
  also records which object owns each open stream.
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
    """Open a byte stream to `host` and `port`, with TLS if `tls`. `transport` is the name of the transport it is for.

    Then call `stream_opened` or `stream_failed`.
    """

    stream: int
    host: str
    port: int
    tls: bool
    transport: str


@dataclass(slots=True)
class Send:
    """Write `data` to the stream. Consecutive writes may be joined. Call `data_sent` when the write buffer is empty."""

    stream: int
    data: bytes | bytearray | memoryview


@dataclass(slots=True)
class CloseStream:
    """Close the stream when its write buffer is empty, or at once if `abort`. Feed no more inputs for it."""

    stream: int
    abort: bool = False


@dataclass(slots=True)
class SetTimer:
    """Call `tick` at `deadline`, which is on the clock of `now`. It replaces the previous deadline; None is no timer."""

    deadline: float | None


Action = OpenStream | Send | CloseStream | SetTimer
"""What the driver carries out."""

Output = Action | MachineEvent
"""What a machine puts out: actions for the driver, and among them events for the application."""


class StreamOwner(Protocol):
    """The object that opened a stream and is notified of what happens to it."""

    def stream_opened(self, stream: int, now: float) -> None: ...
    def stream_failed(self, stream: int, error: Exception, now: float) -> None: ...
    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None: ...
    def data_sent(self, stream: int, now: float) -> None: ...
    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None: ...


class Outbox:
    """The outputs for the driver, the owner of each open stream, and the counters.

    Attributes:
        counters: What has been counted since the machine was made.
        outputs: The outputs, in order.
        owners: The owner of each stream that is open or opening.
        deliver: Append an event to the outputs. (A method of the deque: the message path calls it for each event.)
    """

    __slots__ = ("_next_stream", "counters", "deliver", "outputs", "owners")

    def __init__(self) -> None:
        self.counters = Counters()
        self.outputs: deque[Output] = deque()
        self.deliver: Callable[[MachineEvent], None] = self.outputs.append
        self.owners: dict[int, StreamOwner] = {}
        self._next_stream = 1

    def open_stream(self, owner: StreamOwner, host: str, port: int, *, tls: bool, transport: str) -> int:
        """Request a stream. `owner` is notified until it closes the stream. Return the stream's number."""
        stream = self._next_stream
        self._next_stream += 1
        self.owners[stream] = owner
        self.outputs.append(OpenStream(stream, host, port, tls, transport))
        return stream

    def send(self, stream: int, data: bytes | bytearray | memoryview) -> None:
        self.counters.bytes_sent += len(data)
        self.outputs.append(Send(stream, data))

    def close_stream(self, stream: int, *, abort: bool = False) -> None:
        """Close a stream. Its owner is notified no more. Nothing happens if the stream is closed."""
        if self.owners.pop(stream, None) is not None:
            self.outputs.append(CloseStream(stream, abort))

    def forget(self, stream: int) -> StreamOwner | None:
        """Drop the outputs for a stream that the driver has discarded. Return its owner, or None if that closed it."""
        outputs = list(self.outputs)
        self.outputs.clear()
        for output in outputs:
            if not (isinstance(output, Send | CloseStream) and output.stream == stream):
                self.outputs.append(output)
            elif isinstance(output, Send):
                self.counters.bytes_sent -= len(output.data)
        return self.owners.pop(stream, None)
