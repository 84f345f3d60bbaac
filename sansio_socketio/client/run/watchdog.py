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
        handler: The handler that is running, or None.
        event: The name of its event.
    """

    __slots__ = ("_armed", "_calls", "_limit", "_runtime", "_samples", "_seen", "_timer", "_warn", "event", "handler")

    def __init__(self, runtime: Runtime, limit: float | None, warn: Callable[[], None]) -> None:
        self.handler: RegisteredHandler | None = None
        self.event = ""
        self._runtime = runtime
        self._limit = limit
        self._warn = warn
        self._timer: Timer | None = None
        self._armed = limit is None
        self._calls = 0
        self._seen = 0
        self._samples = 0

    def started(self, handler: RegisteredHandler, event: str) -> None:
        """A call starts."""
        self.handler = handler
        self.event = event
        self._calls += 1
        if not self._armed:
            self._arm()

    def stop(self) -> None:
        """Look at nothing any more."""
        self._armed = True
        if self._timer is not None:
            self._timer.set(None)

    def _arm(self) -> None:
        self._armed = True
        self._seen = self._calls
        self._samples = 0
        if self._timer is None:
            self._timer = self._runtime.timer(self._sample)
        self._next_sample(self._timer)

    def _next_sample(self, timer: Timer) -> None:
        if self._limit is not None:
            timer.set(self._runtime.now() + self._limit / _SAMPLES)

    def _sample(self) -> None:
        if self.handler is None or self._timer is None:
            self._armed = False
            return
        if self._calls != self._seen:
            self._seen = self._calls
            self._samples = 0
        else:
            self._samples += 1
            if self._samples == _SAMPLES:
                self._warn()
        self._next_sample(self._timer)
