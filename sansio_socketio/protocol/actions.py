"""What the machine asks of its driver.

Rules of this file:

- An action is plain data. The machine never calls its driver; the driver takes outputs from `next_output()`.
- A stream is an int that the machine chose, and that it never uses again.
- `Outbox` is where every floor of the machine leaves its actions, in the order in which they are to be carried out,
  and where it is written down which floor's object each open stream belongs to.
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
    """Open a byte stream to `host` and `port`, under TLS if `tls`. `transport` names what it is for.

    Answer with `stream_opened` or `stream_failed`.
    """

    stream: int
    host: str
    port: int
    tls: bool
    transport: str


@dataclass(slots=True)
class Send:
    """Write `data` to the stream. Consecutive ones may be joined. Answer with `data_sent` once all of it has left."""

    stream: int
    data: bytes | bytearray | memoryview


@dataclass(slots=True)
class CloseStream:
    """Close the stream: after what was sent has left, or at once if `abort`. Feed nothing more for it."""

    stream: int
    abort: bool = False


@dataclass(slots=True)
class SetTimer:
    """Call `tick` at `deadline`, on the scale of `now`; None: no timer. Replaces the one before."""

    deadline: float | None


Action = OpenStream | Send | CloseStream | SetTimer
"""What the driver carries out."""

Output = Action | MachineEvent
"""What a machine puts out: actions for the driver, and among them events for the application."""


class StreamOwner(Protocol):
    """Whoever opened a stream, and is told what happens to it."""

    def stream_opened(self, stream: int, now: float) -> None: ...
    def stream_failed(self, stream: int, error: Exception, now: float) -> None: ...
    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None: ...
    def data_sent(self, stream: int, now: float) -> None: ...
    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None: ...


class Outbox:
    """The outputs that wait for the driver, the owner of each open stream, and the counters.

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
        """Ask for a stream; `owner` is told what becomes of it until it closes it. Returns the stream's number."""
        stream = self._next_stream
        self._next_stream += 1
        self.owners[stream] = owner
        self.outputs.append(OpenStream(stream, host, port, tls, transport))
        return stream

    def send(self, stream: int, data: bytes | bytearray | memoryview) -> None:
        self.counters.bytes_sent += len(data)
        self.outputs.append(Send(stream, data))

    def close_stream(self, stream: int, *, abort: bool = False) -> None:
        """Close a stream. Its owner hears no more of it. A stream that is closed already is left alone."""
        if self.owners.pop(stream, None) is not None:
            self.outputs.append(CloseStream(stream, abort))

    def forget(self, stream: int) -> StreamOwner | None:
        """The driver has let go of a stream: what waits for it is void. Returns its owner, unless it closed it."""
        outputs = list(self.outputs)
        self.outputs.clear()
        for output in outputs:
            if not (isinstance(output, Send | CloseStream) and output.stream == stream):
                self.outputs.append(output)
            elif isinstance(output, Send):
                self.counters.bytes_sent -= len(output.data)
        return self.owners.pop(stream, None)
