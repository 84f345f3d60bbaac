"""All deadlines of a machine, behind the one timer that a driver has.

Rules of this file:

- A deadline belongs to an owner and has a name; setting it again moves it.
- Deadlines that are due fire in the order of their time, and in the order of their setting where times are equal. One
  that is set meanwhile waits for the next time, even if it is due, so that firing always comes to an end.
- The driver is told of a deadline only when it must wake earlier than it was told before: waking too early is
  harmless, and so an acknowledgement's timeout that is cancelled costs no call to the driver.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Protocol


class TimerOwner(Protocol):
    """Whoever sets deadlines, and is told when one has come."""

    def timer_fired(self, name: str | int, now: float) -> None: ...


_Entry = tuple[float, int, TimerOwner, str | int]


class Timers:
    """A heap of deadlines in which moved and cancelled ones are skipped when they surface."""

    __slots__ = ("_announced", "_changed", "_heap", "_live", "_sequence")

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._live: dict[tuple[TimerOwner, str | int], tuple[float, int]] = {}
        self._sequence = 0
        self._announced: float | None = None
        # Since the driver was told: it is asked about after every input, and nearly always in vain.
        self._changed = False

    def set(self, owner: TimerOwner, name: str | int, deadline: float) -> None:
        """Have `owner.timer_fired(name, now)` called at `deadline`, instead of when it was set for before."""
        self._sequence += 1
        self._changed = True
        self._live[owner, name] = (deadline, self._sequence)
        heappush(self._heap, (deadline, self._sequence, owner, name))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._live):
            self._compact()

    def cancel(self, owner: TimerOwner, name: str | int) -> None:
        """Forget a deadline; one that is not set is no error."""
        self._live.pop((owner, name), None)
        self._changed = True

    def clear(self) -> None:
        """Forget all deadlines."""
        self._heap.clear()
        self._live.clear()
        self._changed = True

    def fire_due(self, now: float) -> None:
        """Fire all that is due by now. What fires may set and cancel deadlines."""
        heap = self._heap
        if not heap or heap[0][0] > now:
            return
        self._changed = True
        due: list[_Entry] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap))
        for deadline, sequence, owner, name in due:
            if self._live.get((owner, name)) == (deadline, sequence):
                del self._live[owner, name]
                owner.timer_fired(name, now)

    @property
    def next_deadline(self) -> float | None:
        """The earliest deadline, or None where there is none."""
        heap = self._heap
        while heap and self._live.get((heap[0][2], heap[0][3])) != (heap[0][0], heap[0][1]):
            heappop(heap)
        return heap[0][0] if heap else None

    def to_announce(self) -> tuple[float | None] | None:
        """The deadline that the driver must hear of, in a tuple of one, or None where it need not hear anything."""
        if not self._changed:
            return None
        self._changed = False
        deadline = self.next_deadline
        told = self._announced
        if deadline == told or (deadline is not None and told is not None and deadline > told):
            return None
        self._announced = deadline
        return (deadline,)

    def ticked(self) -> None:
        """The driver's timer has fired, maybe early: it is not set any more, so whatever is next is announced anew."""
        self._announced = None
        self._changed = True

    def _compact(self) -> None:
        self._heap = [(when, sequence, *key) for key, (when, sequence) in self._live.items()]
        heapify(self._heap)
