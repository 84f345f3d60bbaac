"""The timers of a machine, multiplexed onto the single timer of the driver.

Rules of this file:

- A timer is identified by its owner and its name. Setting it again replaces its deadline.
- Timers that are due fire in the order of their deadlines. Timers with equal deadlines fire in the order in which they
  were set. A timer that is set while timers fire does not fire before the next call, so that firing always ends.
- A deadline is announced to the driver only if it is earlier than the announced one, since an early tick is harmless. So
  the timeouts of acknowledgements, most of which are cancelled, cost the driver nothing. A tick that is wanted at once is
  announced as the time of the latest input. If time has passed the announced
  deadline without a tick, the driver's timer is late, as after a suspension of the machine: the next deadline is announced.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf, nan
from typing import Protocol


class TimerOwner(Protocol):
    """An object that sets timers and is called when they fire."""

    def timer_fired(self, name: str | int, now: float) -> None: ...


_Entry = tuple[float, int, TimerOwner, str | int]


class Timers:
    """A heap of deadlines. Replaced and cancelled entries stay in the heap until they reach the top.

    Attributes:
        now: The time of the latest input.
    """

    __slots__ = ("_announced", "_changed", "_heap", "_pending", "_sequence", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[_Entry] = []
        self._pending: dict[tuple[TimerOwner, str | int], tuple[float, int]] = {}
        self._sequence = 0
        self._announced: float | None = None
        # Whether a timer was set or cancelled since the last call of `to_announce`, which runs after every input.
        self._changed = False

    def set(self, owner: TimerOwner, name: str | int, deadline: float) -> None:
        """Call `owner.timer_fired(name, now)` at `deadline`, and cancel the previous timer of this owner and name."""
        self._sequence += 1
        self._changed = True
        self._pending[owner, name] = (deadline, self._sequence)
        heappush(self._heap, (deadline, self._sequence, owner, name))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._pending):
            self._compact()

    def cancel(self, owner: TimerOwner, name: str | int) -> None:
        """Cancel a timer. Do nothing if it is not set."""
        self._pending.pop((owner, name), None)
        self._changed = True

    def clear(self) -> None:
        """Cancel all timers."""
        self._heap.clear()
        self._pending.clear()
        self._changed = True

    def fire_due(self, now: float) -> None:
        """Fire the timers that are due. Their owners may set and cancel timers while they are called."""
        try:
            if not now < inf:  # also if it is nan
                raise ValueError(f"now must be a finite number of seconds, not {now!r}")
        except TypeError:
            raise TypeError(f"now must be a number of seconds, not {now!r}") from None
        self.now = now
        if self._announced is not None and self._announced <= now:
            self._announced = nan  # neither equal to nor earlier than the next deadline, even if there is none
            self._changed = True
        heap = self._heap
        if not heap or heap[0][0] > now:
            return
        self._changed = True
        due: list[_Entry] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap))
        for deadline, sequence, owner, name in due:
            if self._pending.get((owner, name)) == (deadline, sequence):
                del self._pending[owner, name]
                owner.timer_fired(name, now)

    @property
    def next_deadline(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap and self._pending.get((heap[0][2], heap[0][3])) != (heap[0][0], heap[0][1]):
            heappop(heap)
        return heap[0][0] if heap else None

    def to_announce(self, *, at_once: bool = False) -> tuple[float | None] | None:
        """Return the deadline to announce to the driver as a 1-tuple, or None if there is nothing to announce.

        With `at_once`, a tick is wanted as soon as possible.
        """
        if at_once:
            if self._announced is not None and self._announced <= self.now:
                return None
            self._announced = self.now
            return (self.now,)
        if not self._changed:
            return None
        self._changed = False
        deadline = self.next_deadline
        announced = self._announced
        if deadline == announced or (deadline is not None and announced is not None and deadline > announced):
            return None
        self._announced = deadline
        return (deadline,)

    def ticked(self) -> None:
        """Announce the next deadline again, because the driver's timer has fired and is no longer set."""
        self._announced = None
        self._changed = True

    def _compact(self) -> None:
        self._heap = [(when, sequence, *key) for key, (when, sequence) in self._pending.items()]
        heapify(self._heap)
