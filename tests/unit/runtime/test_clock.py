"""The clock of a runtime."""

from __future__ import annotations

import sys
import time

import pytest

from sansio_socketio.runtime import LONGEST_WAIT, Clock, total_suspension


class Machine:
    """The clocks of a machine: `time` stops while it is suspended."""

    def __init__(self) -> None:
        self.time = 50.0
        self.suspended = 700.0
        self.clock = Clock(lambda: self.time, lambda: self.suspended)

    def suspend(self, seconds: float) -> None:
        self.suspended += seconds


def test_the_clock_counts_suspensions_since_its_creation() -> None:
    machine = Machine()
    assert machine.clock.now() == 50
    machine.suspend(3600)
    assert machine.clock.now() == 3650
    machine.time += 1
    machine.suspend(10)
    assert machine.clock.now() == 3661


def test_a_delay_between_reading_the_two_clocks_is_not_a_suspension() -> None:
    machine = Machine()
    for difference in (0.9, -5, 0.2):
        machine.suspend(difference)
        assert machine.clock.now() == 50
    machine.suspend(60)
    now = machine.clock.now()
    machine.suspend(-0.1)
    assert machine.clock.now() == now


def test_timers_wake_up_by_the_clock_of_the_loop() -> None:
    machine = Machine()
    assert machine.clock.wake_at(53) == 53
    machine.suspend(3600)
    assert machine.clock.wake_at(3653) == 53
    assert machine.clock.wake_at(53) == -3547
    assert machine.clock.wake_at(10_000) == 50 + LONGEST_WAIT


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has another clock, and on Windows it is not necessary")
def test_linux_has_a_clock_that_counts_suspensions() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= time.monotonic() + total_suspension() + 1
    assert time.monotonic() + total_suspension() <= time.clock_gettime(time.CLOCK_BOOTTIME)
