"""Connection state recovery: the events that are kept for a client, and their offsets.

Rules of this file:

- An offset is appended to the arguments of each event that requests no acknowledgement and is not volatile. The client sends
  the last one when it recovers. Offsets of a namespace grow, so a client is recovered if none of the events after its offset
  has been dropped.
- An offset begins with a text that is unique to the server, so that it is not confused with another value of an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from ..packets.engineio import Packet
from .options import Recovery

_MAX_OFFSET: Final = 64


class Offsets:
    """The offsets of the events of a namespace.

    Attributes:
        last: The number of the last offset.
    """

    __slots__ = ("_prefix", "last")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix + "."
        self.last = 0

    def next(self) -> str:
        """Return the offset of the next event."""
        self.last += 1
        return f"{self._prefix}{self.last}"

    def number(self, offset: Any) -> int | None:
        """Return the number of an offset that a client has sent, or None if it is invalid."""
        if not isinstance(offset, str) or not offset.startswith(self._prefix) or len(offset) > _MAX_OFFSET:
            return None
        digits = offset.removeprefix(self._prefix)
        number = int(digits) if digits.isascii() and digits.isdigit() else 0
        return number if 0 < number <= self.last else None


class History:
    """The last events that were emitted to a client, within the bounds of `Recovery`."""

    __slots__ = ("_bytes", "_dropped", "_events", "_first", "_options")

    def __init__(self, options: Recovery, last: int) -> None:
        """`last` is the number of the last offset before."""
        self._options = options
        self._first = last
        self._events: deque[tuple[int, Sequence[Packet], int, float]] = deque()
        self._bytes = 0
        self._dropped = last

    def append(self, number: int, packets: Sequence[Packet], now: float) -> None:
        """Keep an event. Drop the oldest ones beyond the bounds."""
        size = sum([len(packet.data) for packet in packets])
        self._events.append((number, packets, size, now))
        self._bytes += size
        options = self._options
        while self._events and (
            len(self._events) > options.max_packets
            or self._bytes > options.max_bytes
            or self._events[0][3] < now - options.max_age
        ):
            self._dropped, _, size, _ = self._events.popleft()
            self._bytes -= size

    def after(self, number: int | None) -> list[Packet] | None:
        """Return the packets of the events after an offset, or None if some of them have been dropped.

        Without an offset, the client has received no event.
        """
        if number is None:
            number = self._first
        if number < self._dropped:
            return None
        return [packet for event, packets, _, _ in self._events if event > number for packet in packets]
