"""What the two public machines share: the inputs from a driver, and the way that actions leave.

Rules of this file:

- Every input takes `now` (seconds, any monotonic scale), and first fires what is due by then.
- An input for a stream that the machine has closed is stale, and ignored.
- After `stream_failed` and `stream_closed` no action for that stream follows: the driver has let go of it.
- `next_output()` returns one action or event at a time until None; inputs and commands are legal between two of them.

`EngineProtocol` and `ClientProtocol` add the commands.
"""

from __future__ import annotations

from .actions import Outbox, Output, SetTimer
from .timers import Timers


class Machine:
    """The inputs and the output that every driver uses."""

    def __init__(self) -> None:
        self._outbox = Outbox()
        self._timers = Timers()
        self._fire_due = self._timers.fire_due

    def next_output(self) -> Output | None:
        """Return the next action to carry out or the next event to deliver, or None when there is none for now."""
        outputs = self._outbox.outputs
        if outputs:
            return outputs.popleft()
        announced = self._timers.to_announce()
        return None if announced is None else SetTimer(announced[0])

    def stream_opened(self, stream: int, now: float) -> None:
        """The byte stream asked for is open (TLS included)."""
        self._fire_due(now)
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            owner.stream_opened(stream, now)

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        """The byte stream asked for could not be opened, because of `error`. The driver lets go of it."""
        self._fire_due(now)
        owner = self._outbox.forget(stream)
        if owner is not None:
            owner.stream_failed(stream, error, now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        """Bytes arrived. They are not kept beyond the call unless copied."""
        self._fire_due(now)
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            self._outbox.counters.bytes_received += len(data)
            owner.data_received(stream, data, now)

    def data_sent(self, stream: int, now: float) -> None:
        """All that was to be sent on the stream so far has left for the network."""
        self._fire_due(now)
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            owner.data_sent(stream, now)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        """The peer closed the stream (`error` None), or it broke. The driver lets go of it."""
        self._fire_due(now)
        owner = self._outbox.forget(stream)
        if owner is not None:
            owner.stream_closed(stream, error, now)

    def tick(self, now: float) -> None:
        """The timer fired. Early and spurious ticks are harmless."""
        self._fire_due(now)
        self._timers.ticked()

    def _cut(self) -> None:
        """Close all that is open, and wait for nothing any more."""
        for stream in list(self._outbox.owners):
            self._outbox.close_stream(stream, abort=True)
        self._timers.clear()
