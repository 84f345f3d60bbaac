"""Backpressure: reading pauses while handlers catch up with the received events.

Rules of this file:

- Reading pauses when a queue is nearly full, and goes on when about half of it is handled.
- A pause lasts only while handlers make progress. Otherwise reading goes on after a second (`_PATIENCE` samples), and pauses
  again only when the queue has been half empty. So a handler may wait for data that has not been read, and handlers that do
  not keep up fill the queue.
- What was sent after a burst is read when the handlers have caught up, pings and acknowledgements included.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final, Protocol

from ..runtime.interface import Runtime, Timer

_SAMPLE: Final = 0.01
"""The interval in seconds at which the queues are looked at during a pause."""
_PATIENCE: Final = 100
"""After how many samples without progress a pause ends."""
_LOW: Final = 0.5
"""The fill at which a pause ends."""


class Reading(Protocol):
    """The part of the pump that pauses reading."""

    def pause_reading(self, holder: object) -> None: ...
    def resume_reading(self, holder: object) -> None: ...


class _State(Enum):
    READING = "reading"
    PAUSED = "paused"
    IMPATIENT = "impatient"
    """Reading, because the handlers made no progress in a pause."""


class Backpressure:
    """Pauses reading while the queues of one dispatcher are too full.

    Args:
        runtime: The runtime.
        reading: Pauses and resumes reading.
        fill: Returns how full the queues are altogether, and how full the first one is; 1 is the fill at which reading pauses.
        progress: By how much their sum must fall within `_PATIENCE` samples to count as progress. So it is also progress when
            the first queue is emptied into the others.
    """

    __slots__ = ("_fill", "_goal", "_patience", "_progress", "_reading", "_runtime", "_state", "_timer")

    def __init__(
        self, runtime: Runtime, reading: Reading, fill: Callable[[], tuple[float, float]], progress: float
    ) -> None:
        self._runtime = runtime
        self._reading = reading
        self._fill = fill
        self._progress = progress
        self._timer: Timer | None = None
        self._state = _State.READING
        self._goal = 0.0  # the sum that counts as progress
        self._patience = 0

    def check(self) -> None:
        """Pause reading if the queues are too full. Call this when the fill has reached 1."""
        if self._state is _State.READING and self._fill()[0] >= 1:
            self._state = _State.PAUSED
            self._expect_progress(inf)  # events may still be queued: the first sample is what counts
            self._set_timer()
            self._reading.pause_reading(self)

    def caught_up(self) -> bool:
        """Resume reading at once if it is paused and the handlers have caught up. Return whether it was resumed.

        The samples alone would let a small queue be empty for most of the time.
        """
        is_due = self._state is _State.PAUSED and self._fill()[0] <= _LOW
        if is_due:
            self.stop()
        return is_due

    def stop(self) -> None:
        """Resume reading."""
        if self._timer is not None:
            self._timer.set(None)
        self._enter(_State.READING)

    def _enter(self, state: _State) -> None:
        was_paused, self._state = self._state is _State.PAUSED, state
        if was_paused:
            self._reading.resume_reading(self)  # this may bring events that pause it again

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = self._runtime.timer(self._sample)
        self._timer.set(self._runtime.now() + _SAMPLE)

    def _expect_progress(self, left: float) -> None:
        self._goal = left - self._progress
        self._patience = _PATIENCE

    def _sample(self) -> None:
        fill, first = self._fill()
        if fill <= _LOW:
            self.stop()
            return
        self._set_timer()
        self._patience -= 1
        if fill + first <= self._goal:
            self._expect_progress(fill + first)
        elif self._patience == 0:
            self._enter(_State.IMPATIENT)
