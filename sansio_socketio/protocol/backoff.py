"""The delay before the next attempt to connect.

Rule of this file: `min(reconnection_delay_max, reconnection_delay * 2**attempts ± jitter)`, the jitter before the cap,
attempts counted from 0, and no number of attempts overflows.
"""

from __future__ import annotations

from random import Random

from .options import ClientOptions

# 2**64 seconds is past every cap that makes sense; a float stops at 2**1023.
_LARGEST_EXPONENT = 64


class Backoff:
    """An exponential backoff with jitter.

    It reads `reconnection_delay`, `reconnection_delay_max` and `randomization_factor` of `options` for each delay, so
    that they may be changed at any time.

    Attributes:
        attempts: How many delays have been taken since the last `reset`.
    """

    __slots__ = ("_options", "_random", "attempts")

    def __init__(self, options: ClientOptions, random: Random) -> None:
        self.attempts = 0
        self._options = options
        self._random = random

    def next_delay(self) -> float:
        """Return the delay in seconds before the next attempt, and count that attempt."""
        delay = self.delay_after(self.attempts)
        self.attempts += 1
        return delay

    def delay_after(self, attempts: int) -> float:
        """Return the delay in seconds after this many attempts, for a caller that counts them itself."""
        options = self._options
        delay: float = options.reconnection_delay * 2.0 ** min(attempts, _LARGEST_EXPONENT)
        jitter = self._random.uniform(-options.randomization_factor, options.randomization_factor) * delay
        return min(options.reconnection_delay_max, max(0.0, delay + jitter))

    def reset(self) -> None:
        """Start again from the first delay."""
        self.attempts = 0
