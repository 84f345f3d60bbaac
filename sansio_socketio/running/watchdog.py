"""Detect handlers that block their queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..handlers.registry import RegisteredHandler
from ..runtime.interface import Runtime, Timer

_SAMPLES: Final = 4
"""How many times the watchdog checks for a new call within the limit. Sampling adds no cost per call, but may delay the
warning by up to a quarter of the limit."""


class Watchdog:
    """Calls `warn` once for each call of a handler that takes too long.

    Args:
        runtime: The runtime.
        limit: The time limit of a call in seconds, or None.
        warn: The function to call after that time.

    Attributes:
        handler: The running handler, or None. Set by the queue.
        event: The name of its event. Set by the queue.
        calls: The number of calls that were started. Incremented by the queue.
        armed: Whether the watchdog is sampling, or disabled. If False, the queue calls `arm` with its next call.
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
        """Stop sampling permanently."""
        self.armed = True
        if self._timer is not None:
            self._timer.set(None)

    def arm(self) -> None:
        """Start to sample, with the call that starts now."""
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
