"""How long to wait before the next attempt to connect.

Rule of this file: `min(maximum, delay * 2**attempts ± jitter)`, the jitter before the cap, attempts counted from 0, and no
number of attempts overflows.
"""

from __future__ import annotations

from random import Random

# 2**64 seconds is past every cap that makes sense; a float stops at 2**1023.
_LARGEST_EXPONENT = 64


class Backoff:
    """An exponential backoff with jitter; `delay` and `maximum` in seconds, `jitter` from 0 to 1.

    The three may be changed at any time and count from the next delay on.
    """

    __slots__ = ("attempts", "delay", "jitter", "maximum", "_random")

    def __init__(self, delay: float, maximum: float, jitter: float, random: Random) -> None:
        self.delay = delay
        self.maximum = maximum
        self.jitter = jitter
        self.attempts = 0
        self._random = random

    def next_delay(self) -> float:
        """The delay before the next attempt, which it counts."""
        delay = self.delay_after(self.attempts)
        self.attempts += 1
        return delay

    def delay_after(self, attempts: int) -> float:
        """The delay after so many attempts, for one who counts them himself."""
        delay: float = self.delay * 2.0 ** min(attempts, _LARGEST_EXPONENT)
        deviation = self._random.uniform(-self.jitter, self.jitter) * delay
        return min(self.maximum, max(0.0, delay + deviation))

    def reset(self) -> None:
        """Start again from the first delay."""
        self.attempts = 0
