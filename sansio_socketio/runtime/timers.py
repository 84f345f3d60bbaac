"""Timers based on an event loop's `call_at`, and timers for runtimes that can only sleep."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from operator import itemgetter
from typing import Protocol

from .clock import LONGEST_WAIT, Clock


class Handle(Protocol):
    """What an event loop returns for a scheduled callback."""

    def cancel(self) -> object: ...


class Loop(Protocol):
    """An event loop that can schedule callbacks, such as asyncio's."""

    def call_at(self, when: float, callback: Callable[[], None], /) -> Handle: ...


class LoopTimer:
    """A `Timer` based on an event loop's `call_at`. `clock` is the clock of its deadlines, based on the loop's time."""

    def __init__(self, loop: Loop, clock: Clock, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._callback = callback
        self._deadline = inf
        self._handle: Handle | None = None

    def set(self, deadline: float | None) -> None:
        """Call the callback at `deadline` instead of at the previous deadline. None cancels the timer."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        if deadline is not None:
            self._deadline = deadline
            self._schedule()

    def _schedule(self) -> None:
        self._handle = self._loop.call_at(self._clock.wake_at(self._deadline), self._fire)

    def _fire(self) -> None:
        if self._clock.now() < self._deadline:
            self._schedule()
        else:
            self._callback()


class Deadlines:
    """Timers for a runtime that has none but can sleep until a given time.

    In a loop, the runtime sleeps for at most `timeout(now)` seconds and then calls `fire(now)`.

    Args:
        changed: Called when a timer was set, because the runtime may have to wake up earlier.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.armed: dict[DeadlineTimer, float] = {}

    def timer(self, callback: Callable[[], None]) -> DeadlineTimer:
        """Create a timer, whose callback is called by `fire`."""
        return DeadlineTimer(self, callback)

    def timeout(self, now: float) -> float:
        """Return how many seconds to sleep before the next call of `fire`, from 0 to `LONGEST_WAIT`."""
        return max(0.0, min(min(self.armed.values(), default=inf) - now, LONGEST_WAIT))

    def fire(self, now: float) -> None:
        """Call the callbacks of the timers that are due, in the order of their deadlines."""
        for timer, deadline in sorted(self.armed.items(), key=itemgetter(1)):
            if deadline <= now and self.armed.get(timer) == deadline:  # a callback may have set it
                del self.armed[timer]
                timer.callback()


class DeadlineTimer:
    """A `Timer` of `Deadlines`."""

    __slots__ = ("_deadlines", "callback")

    def __init__(self, deadlines: Deadlines, callback: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self.callback = callback

    def set(self, deadline: float | None) -> None:
        """Call the callback at `deadline` instead of at the previous deadline. None cancels the timer."""
        self._deadlines.armed.pop(self, None)
        if deadline is not None:
            self._deadlines.armed[self] = deadline
            self._deadlines.changed()
