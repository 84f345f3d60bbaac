"""Timers over an event loop's `call_at`, and timers for a runtime that can only sleep until a time."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from operator import itemgetter
from typing import Final, Protocol

LONGEST_WAIT: Final = 86_400.0
"""The longest wait in seconds to ask an operating system for: epoll takes 24.8 days at most, others even less."""


class Handle(Protocol):
    """What an event loop returns for a scheduled callback."""

    def cancel(self) -> object: ...


class Loop(Protocol):
    """An event loop that can schedule callbacks, such as asyncio's."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], None], /) -> Handle: ...


class LoopTimer:
    """A `Timer` over an event loop's `call_at`."""

    def __init__(self, loop: Loop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._deadline = self._wakes_at = inf
        self._handle: Handle | None = None

    def set(self, deadline: float | None) -> None:
        """Set the time at which to call back, replacing the previous one. None cancels."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        if deadline is not None:
            self._deadline = deadline
            self._schedule()

    def _schedule(self) -> None:
        self._wakes_at = min(self._deadline, self._loop.time() + LONGEST_WAIT)
        self._handle = self._loop.call_at(self._wakes_at, self._fire)

    def _fire(self) -> None:
        if self._wakes_at < self._deadline:
            self._schedule()
        else:
            self._callback()


class Deadlines:
    """The timers of a runtime that has none of its own but can sleep until a time.

    The runtime sleeps for at most `timeout(now)` seconds, then calls `fire(now)`, again and again.

    Args:
        changed: Called when a timer was set: the runtime may have to wake up earlier.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.armed: dict[DeadlineTimer, float] = {}

    def timer(self, callback: Callable[[], None]) -> DeadlineTimer:
        """Make a timer. `fire` calls its callback."""
        return DeadlineTimer(self, callback)

    def timeout(self, now: float) -> float:
        """Return how many seconds to sleep until `fire` is due; `LONGEST_WAIT` at most, zero at least."""
        return max(0.0, min(min(self.armed.values(), default=inf) - now, LONGEST_WAIT))

    def fire(self, now: float) -> None:
        """Call the callbacks of the timers that are due, in the order of their deadlines."""
        for timer, deadline in sorted(self.armed.items(), key=itemgetter(1)):
            if deadline <= now and self.armed.get(timer) == deadline:  # a callback may have set the timers after it
                del self.armed[timer]
                timer.callback()


class DeadlineTimer:
    """A `Timer` of `Deadlines`."""

    __slots__ = ("_deadlines", "callback")

    def __init__(self, deadlines: Deadlines, callback: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self.callback = callback

    def set(self, deadline: float | None) -> None:
        """Set the time at which to call back, replacing the previous one. None cancels."""
        self._deadlines.armed.pop(self, None)
        if deadline is not None:
            self._deadlines.armed[self] = deadline
            self._deadlines.changed()
