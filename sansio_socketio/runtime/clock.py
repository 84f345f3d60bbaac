"""The clock of a runtime, which counts the time for which the machine is suspended.

Rules of this file:

- The clocks of event loops stop while the machine is suspended. A connection that was lost meanwhile would look alive, so a
  runtime's clock adds the time of suspensions to the time of the event loop.
- Timers wake up by the clock of the event loop, at least every `LONGEST_WAIT` seconds. So they are late after a suspension,
  by at most that time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from time import monotonic
from typing import Final

LONGEST_WAIT: Final = 10.0
"""The longest time in seconds that a timer waits at once, so that it notices a suspension. Operating systems also limit it:
epoll accepts 24.8 days, others less."""

_NOTICEABLE: Final = 1.0  # seconds; two clocks that are read one after the other differ without a suspension, too
_NAMES: Final = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC_RAW"}
_CLOCK: Final[int | None] = getattr(time, _NAMES.get(sys.platform, ""), None)


def total_suspension() -> float:
    """Return a number of seconds that grows by the length of each suspension of the machine.

    It is 0 where the monotonic clock counts suspensions, as on Windows, or where the system has no other clock.
    """
    return 0.0 if _CLOCK is None else time.clock_gettime(_CLOCK) - monotonic()


class Clock:
    """The time of an event loop, plus the time for which the machine has been suspended since the clock was created.

    Args:
        loop_time: Returns the time of the event loop in seconds.
        suspension: Returns a number of seconds that grows by the length of each suspension.
    """

    def __init__(self, loop_time: Callable[[], float], suspension: Callable[[], float] = total_suspension) -> None:
        self._loop_time = loop_time
        self._suspension = suspension
        self._start = suspension()
        self._suspended = 0.0

    def now(self) -> float:
        """Return the time in seconds."""
        suspended = self._suspension() - self._start
        if suspended > self._suspended + _NOTICEABLE:
            self._suspended = suspended
        return self._loop_time() + self._suspended

    def wake_at(self, deadline: float) -> float:
        """Return when to wake up for a deadline of this clock, on the clock of the event loop, to look at `now` again."""
        now = self.now()
        return min(deadline, now + LONGEST_WAIT) - self._suspended
