"""The contract between a machine and its driver: inputs and outputs.

Rules of this file:

- Every input takes `now`, in seconds on any monotonic clock, and first fires the timers that are due.
- An input for a stream that the machine has closed is ignored.
- After `stream_failed` and `stream_closed` the machine requests no action for that stream, which the driver has discarded.
- `next_output()` returns one action or event at a time, then None. Inputs and commands are legal between two calls.
- The packets of an input are handled while its outputs are taken, one at a time, so that the outputs of all of them need not
  be held in memory together.
- `data_received` and `tick` handle packets up to a cost of `_ALLOWANCE`: a thousand small ones, or a large one. The next input
  or command first handles those of them that are left, so when outputs are taken has no influence. Packets beyond the
  allowance count as not received yet, and a tick is requested for them. The end of their transport waits for them.

`EngineProtocol` and `ClientProtocol` add the commands of the application.
"""

from __future__ import annotations

from typing import Final

from .actions import Outbox, Output, SetTimer
from .options import check_type
from .timers import Timers

_ALLOWANCE: Final = 1000
"""The cost of the packets that one input handles (`actions.packet_cost`). The last packet may exceed it."""


class Machine:
    """The inputs and outputs that drivers use. Base class of `ClientProtocol` and `EngineProtocol`."""

    __slots__ = ("_allowance", "_outbox", "_timers", "_paused")

    def __init__(self) -> None:
        self._paused = False
        self._outbox = Outbox()
        self._timers = Timers()
        self._allowance = 0

    @property
    def paused(self) -> bool:
        """Whether received packets are kept without being handled. Can be set, to slow the peer down: stop reading, too.

        To continue, set it to False and call `tick`.
        """
        return self._paused

    @paused.setter
    def paused(self, value: bool) -> None:
        self._paused = value
        self._allowance = 0

    @property
    def is_behind(self) -> bool:
        """Whether received packets are still to be handled. A driver that reads meanwhile fills the machine's memory."""
        return bool(self._outbox.backlog)

    def advance(self, now: float) -> None:
        """Handle the packets of the input before, and fire the timers that are due. Every input and command does this first."""
        if self._outbox.backlog:
            self.handle_received()
        self._timers.fire_due(now)

    def handle_received(self) -> None:
        """Handle the packets of the input before."""
        outbox, timers = self._outbox, self._timers
        while outbox.backlog and self._allowance > 0:
            self._allowance -= outbox.handle_next(timers.now)

    def next_output(self) -> Output | None:
        """Return the next action to carry out or event to deliver, or None if there is none."""
        outbox = self._outbox
        outputs = outbox.outputs
        if outputs:
            return outputs.popleft()
        while outbox.backlog and self._allowance > 0:
            self._allowance -= outbox.handle_next(self._timers.now)
            if outputs:
                return outputs.popleft()
        announced = self._timers.to_announce(at_once=bool(outbox.backlog) and not self._paused)
        return None if announced is None else SetTimer(announced[0])

    def stream_progress(self, stream: int, progress: str, now: float) -> None:
        """Report how far opening the stream has come, such as "TCP is up, but the TLS handshake was not completed".

        This is optional, and for the message of an error only: of that if the connection is not open in time.
        """
        self.advance(now)
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            owner.stream_progress(stream, progress, now)

    def stream_opened(self, stream: int, now: float) -> None:
        """Report that the stream is open (TLS handshake included)."""
        self.advance(now)
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            owner.stream_opened(stream, now)

    def stream_failed(self, stream: int, error: Exception, now: float) -> None:
        """Report that the stream could not be opened, with the error. The driver has discarded the stream."""
        check_type("error", error, Exception)
        self.advance(now)
        owner = self._outbox.forget(stream)
        if owner is not None:
            owner.stream_failed(stream, error, now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        """Report bytes that were received on the stream; no bytes mean nothing. The buffer may be reused after the call."""
        self.advance(now)
        self._allow_packets()
        owner = self._outbox.owners.get(stream)
        if owner is not None and len(data):
            self._outbox.counters.bytes_received += len(data)
            owner.data_received(stream, data, now)

    def data_sent(self, stream: int, now: float) -> None:
        """Report that the write buffer of the stream is empty: the operating system has accepted all data."""
        self.advance(now)
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            owner.data_sent(stream, now)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        """Report that the peer closed the stream (`error` is None) or that it broke. The driver has discarded the stream."""
        if error is not None:
            check_type("error", error, Exception)
        self.advance(now)
        owner = self._outbox.forget(stream)
        if owner is not None:
            owner.stream_closed(stream, error, now)

    def tick(self, now: float) -> None:
        """Report that the timer fired. Early and superfluous calls are harmless."""
        self.advance(now)
        self._allow_packets()
        self._timers.ticked()

    def _allow_packets(self) -> None:
        self._allowance = 0 if self._paused else _ALLOWANCE

    def _cut(self) -> None:
        """Close all streams and cancel all timers."""
        for stream in list(self._outbox.owners):
            self._outbox.close_stream(stream, abort=True)
        self._timers.clear()
