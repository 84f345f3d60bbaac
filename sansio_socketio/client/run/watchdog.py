"""Detection of a handler that blocks its queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...runtime.interface import Runtime, Timer
from ..handlers.registry import RegisteredHandler

_SAMPLES: Final = 4
"""How often the present call is looked at within the limit. Looking now and then costs nothing for each call; the warning
may come up to a quarter of the limit late."""


class Watchdog:
    """Calls back once for each call that takes too long.

    Args:
        runtime: The runtime.
        limit: How many seconds a call may take; None for no limit.
        warn: What to call then.

    Attributes:
        handler: The handler that is running, or None. The queue sets it.
        event: The name of its event.
        calls: How many calls have been started. The queue counts them.
        armed: Whether it looks at the calls. While it does not, the queue calls `arm` with its next call.
    """

    __slots__ = ("_limit", "_runtime", "_samples", "_seen", "_timer", "_warn", "armed", "calls", "event", "handler")

    def __init__(self, runtime: Runtime, limit: float | None, warn: Callable[[], None]) -> None:
        self.handler: RegisteredHandler | None = None
        self.event = ""
        self.calls = 0
        self.armed = limit is None
        self._runtime = runtime
        self._limit = limit
        self._warn = warn
        self._timer: Timer | None = None
        self._seen = 0
        self._samples = 0

    def stop(self) -> None:
        """Look at nothing any more."""
        self.armed = True
        if self._timer is not None:
            self._timer.set(None)

    def arm(self) -> None:
        """Look at the call that starts now, and at those that follow."""
        self.armed = True
        self._seen = self.calls
        self._samples = 0
        if self._timer is None:
            self._timer = self._runtime.timer(self._sample)
        self._next_sample(self._timer)

    def _next_sample(self, timer: Timer) -> None:
        if self._limit is not None:
            timer.set(self._runtime.now() + self._limit / _SAMPLES)

    def _sample(self) -> None:
        if self.handler is None or self._timer is None:
            self.armed = False
            return
        if self.calls != self._seen:
            self._seen = self.calls
            self._samples = 0
        else:
            self._samples += 1
            if self._samples == _SAMPLES:
                self._warn()
        self._next_sample(self._timer)
