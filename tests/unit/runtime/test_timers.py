"""Timers over a loop's `call_at`, and those of a runtime that sleeps until a time."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from sansio_socketio.runtime import LONGEST_WAIT, Clock, Deadlines, LoopTimer

DAY = 86_400.0


def test_deadlines_fire_in_the_order_of_their_time() -> None:
    changes, fired = [], list[str]()
    deadlines = Deadlines(lambda: changes.append(deadlines.timeout(0)))
    late, early, never = (
        deadlines.timer(lambda name=name: fired.append(name))  # type: ignore[misc]  # mypy wants its type
        for name in ("late", "early", "never")
    )
    assert deadlines.timeout(0) == LONGEST_WAIT
    late.set(3)
    early.set(2)
    never.set(1)
    never.set(None)
    assert changes == [3, 2, 1]
    assert deadlines.timeout(0) == 2
    deadlines.fire(1.9)
    assert fired == []
    deadlines.fire(3)
    assert fired == ["early", "late"]
    assert deadlines.timeout(0) == LONGEST_WAIT


def test_a_callback_may_set_other_timers_that_are_due() -> None:
    fired: list[str] = []
    deadlines = Deadlines(lambda: None)
    second = deadlines.timer(lambda: fired.append("second"))
    third = deadlines.timer(lambda: fired.append("third"))

    def move() -> None:
        second.set(9)
        third.set(None)

    first = deadlines.timer(move)
    for timer in (first, second, third):
        timer.set(1)
    deadlines.fire(1)
    assert fired == []
    assert deadlines.timeout(0) == 9


def test_a_far_deadline_is_waited_for_in_several_steps() -> None:
    """epoll, for one, takes no timeout beyond 24.8 days."""
    fired: list[bool] = []
    deadlines = Deadlines(lambda: None)
    timer = deadlines.timer(lambda: fired.append(True))
    timer.set(30 * DAY)
    now, steps = 0.0, 0
    while not fired:
        timeout = deadlines.timeout(now)
        assert 0 < timeout <= LONGEST_WAIT
        now += timeout
        steps += 1
        deadlines.fire(now)
    assert now == 30 * DAY
    assert steps > 1
    timer.set(inf)
    assert deadlines.timeout(now) == LONGEST_WAIT


def test_a_deadline_that_has_passed_is_due_at_once() -> None:
    deadlines = Deadlines(lambda: None)
    deadlines.timer(lambda: None).set(1)
    assert deadlines.timeout(5) == 0


# LoopTimer


class FakeHandle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[float, Callable[[], None], FakeHandle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeHandle:
        self.calls.append((when, callback, FakeHandle()))
        return self.calls[-1][2]


def test_a_timer_of_a_loop_has_one_deadline() -> None:
    loop, fired = FakeLoop(), list[bool]()
    timer = LoopTimer(loop, Clock(loop.time), lambda: fired.append(True))
    timer.set(None)
    timer.set(5)
    timer.set(3)
    assert [(when, handle.cancelled) for when, _, handle in loop.calls] == [(5, True), (3, False)]
    loop.now = 3
    loop.calls[1][1]()
    assert fired == [True]
    timer.set(4)
    timer.set(None)
    assert loop.calls[2][2].cancelled


def test_a_loop_is_never_given_a_far_deadline() -> None:
    """asyncio and uvloop accept any deadline, but the loop of a GUI may count milliseconds in 32 bits."""
    loop, fired = FakeLoop(), list[bool]()
    timer = LoopTimer(loop, Clock(loop.time), lambda: fired.append(True))
    timer.set(30 * DAY)
    while not fired:
        when, callback, _ = loop.calls[-1]
        assert loop.now < when <= loop.now + LONGEST_WAIT
        loop.now = when
        callback()
    assert loop.now == 30 * DAY
    assert len(loop.calls) > 1
    timer.set(inf)
    loop.calls[-1][1]()
    timer.set(None)
    assert loop.calls[-1][2].cancelled
    assert fired == [True]


def test_a_timer_of_a_loop_notices_a_suspension_when_it_wakes_up() -> None:
    loop, fired, suspended = FakeLoop(), list[bool](), 0.0
    timer = LoopTimer(loop, Clock(loop.time, lambda: suspended), lambda: fired.append(True))
    timer.set(3615)
    suspended = 3600.0
    for expected in (LONGEST_WAIT, 15):
        assert fired == []
        loop.now, callback, _ = loop.calls[-1]
        assert loop.now == expected
        callback()
    assert fired == [True]


def test_a_timer_of_a_loop_that_is_woken_early_continues_to_wait() -> None:
    loop, fired = FakeLoop(), list[bool]()
    LoopTimer(loop, Clock(loop.time), lambda: fired.append(True)).set(5)
    for loop.now in (4.999, 5):
        assert fired == []
        loop.calls[-1][1]()
    assert fired == [True]
