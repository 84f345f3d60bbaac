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
  allowance count as not received yet. A tick is requested for them, and what the peer does later waits for them.

`EngineProtocol` and `ClientProtocol` add the commands of the application.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from .actions import Outbox, Output, SetTimer, StreamOwner, WaitingInput
from .timers import Timers

_ALLOWANCE: Final = 1000
"""The cost of the packets that one input handles (`actions.packet_cost`). The last packet may exceed it."""


class Machine:
    """The inputs and outputs that drivers use. Base class of `ClientProtocol` and `EngineProtocol`.

    Attributes:
        paused: Whether to keep received packets without handling them. Can be set, to slow the peer down: stop reading, too.
            To continue, set it to False and call `tick`.
    """

    def __init__(self) -> None:
        self.paused = False
        self._outbox = Outbox()
        self._timers = Timers()
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
        announced = self._timers.to_announce(at_once=bool(outbox.backlog) and not self.paused)
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
        self.advance(now)
        self._stream_lost(stream, lambda owner, now: owner.stream_failed(stream, error, now), now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> None:
        """Report bytes that were received on the stream; no bytes mean nothing. The buffer may be reused after the call."""
        self.advance(now)
        self._allow_packets()
        outbox = self._outbox
        owner = outbox.owners.get(stream)
        if owner is None or not len(data):
            return
        outbox.counters.bytes_received += len(data)
        if outbox.backlog:
            outbox.backlog.append(WaitingInput(partial(self._notify_of_data, stream, bytes(data))))
        else:
            owner.data_received(stream, data, now)

    def data_sent(self, stream: int, now: float) -> None:
        """Report that the write buffer of the stream is empty: the operating system has accepted all data."""
        self.advance(now)
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            owner.data_sent(stream, now)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> None:
        """Report that the peer closed the stream (`error` is None) or that it broke. The driver has discarded the stream."""
        self.advance(now)
        self._stream_lost(stream, lambda owner, now: owner.stream_closed(stream, error, now), now)

    def tick(self, now: float) -> None:
        """Report that the timer fired. Early and superfluous calls are harmless."""
        self.advance(now)
        self._allow_packets()
        self._timers.ticked()

    def _allow_packets(self) -> None:
        self._allowance = 0 if self.paused else _ALLOWANCE

    def _notify_of_data(self, stream: int, data: bytes, now: float) -> None:
        """Notify the owner of a stream of data that has waited."""
        owner = self._outbox.owners.get(stream)
        if owner is not None:
            owner.data_received(stream, data, now)

    def _stream_lost(self, stream: int, notify: Callable[[StreamOwner, float], None], now: float) -> None:
        """Notify the owner of a stream that the driver has discarded, after the packets that were received before."""
        outbox = self._outbox
        outbox.lose(stream)
        if outbox.backlog:
            outbox.backlog.append(WaitingInput(partial(self._notify_last, stream, notify)))
        else:
            self._notify_last(stream, notify, now)

    def _notify_last(self, stream: int, notify: Callable[[StreamOwner, float], None], now: float) -> None:
        owner = self._outbox.forget(stream)
        if owner is not None:
            notify(owner, now)

    def _cut(self) -> None:
        """Close all streams and cancel all timers."""
        for stream in list(self._outbox.owners):
            self._outbox.close_stream(stream, abort=True)
        self._timers.clear()
