"""The delay before the next attempt to connect.

Rule of this file: the delay is `min(reconnection_delay_max, reconnection_delay * 2**attempts ± jitter)`, where `attempts`
is counted from 0. The jitter is applied before the cap. Any number of attempts is safe from overflow.
"""

from __future__ import annotations

from random import Random

from .options import ClientOptions

# 2**64 seconds exceeds every reasonable cap. A float overflows above 2**1023.
_LARGEST_EXPONENT = 64


class Backoff:
    """An exponential backoff with jitter.

    Attributes:
        options: `reconnection_delay`, `reconnection_delay_max` and `randomization_factor` are read from it for each delay.
        attempts: The number of delays that were returned by `next_delay` since the last `reset`.
    """

    __slots__ = ("_random", "attempts", "options")

    def __init__(self, options: ClientOptions, random: Random) -> None:
        self.attempts = 0
        self.options = options
        self._random = random

    def next_delay(self) -> float:
        """Return the delay in seconds before the next attempt, and count that attempt."""
        delay = self.delay_after(self.attempts)
        self.attempts += 1
        return delay

    def delay_after(self, attempts: int) -> float:
        """Return the delay in seconds after `attempts` attempts, for a caller that counts them itself."""
        options = self.options
        delay: float = options.reconnection_delay * 2.0 ** min(attempts, _LARGEST_EXPONENT)
        jitter = self._random.uniform(-options.randomization_factor, options.randomization_factor) * delay
        return min(options.reconnection_delay_max, max(0.0, delay + jitter))

    def reset(self) -> None:
        """Start again from the first delay."""
        self.attempts = 0
