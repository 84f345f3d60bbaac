"""The delays between attempts."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_socketio.protocol.backoff import Backoff
from sansio_socketio.protocol.options import ClientOptions


def options(delay: float, maximum: float, jitter: float) -> ClientOptions:
    return ClientOptions(reconnection_delay=delay, reconnection_delay_max=maximum, randomization_factor=jitter)


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(options(1, 5, 0), Random(1))
    assert [backoff.next_delay() for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.attempts == 5
    backoff.reset()
    assert (backoff.attempts, backoff.next_delay()) == (0, 1)


def test_thousands_of_attempts_do_not_overflow() -> None:
    backoff = Backoff(options(1, 5, 0.5), Random(1))
    assert max(backoff.next_delay() for _ in range(5000)) == 5
    backoff = Backoff(options(1e9, 1e9, 1), Random(1))
    assert all(0 <= backoff.next_delay() <= 1e9 for _ in range(5000))


def test_the_jitter_is_applied_before_the_maximum() -> None:
    backoff = Backoff(options(4, 5, 1), Random(1))
    delays: set[float] = set()
    for _ in range(200):
        backoff.reset()
        delays.add(backoff.next_delay())
    assert max(delays) == 5
    assert list(delays).count(5) == 1
    assert min(delays) < 1
    assert any(4 < delay < 5 for delay in delays)


def test_the_same_random_source_gives_the_same_delays() -> None:
    one, two = (Backoff(options(1, 100, 0.5), Random(7)) for _ in range(2))
    assert [one.next_delay() for _ in range(5)] == [two.next_delay() for _ in range(5)]


def test_changed_options_apply_from_the_next_delay() -> None:
    settings = options(1, 5, 0)
    backoff = Backoff(settings, Random(1))
    backoff.next_delay()
    settings.reconnection_delay, settings.reconnection_delay_max = 10, 15
    assert backoff.next_delay() == 15
    settings.reconnection_delay_max = 1000
    assert backoff.next_delay() == 40


@pytest.mark.parametrize("jitter", [0, 0.5, 1])
@given(delay=st.floats(0, 100), attempts=st.integers(0, 10))
def test_a_delay_deviates_at_most_by_the_randomization_factor(jitter: float, delay: float, attempts: int) -> None:
    backoff = Backoff(options(delay, 1e9, jitter), Random(3))
    backoff.attempts = attempts
    plain = delay * 2**attempts
    assert plain * (1 - jitter) * 0.999 <= backoff.next_delay() <= plain * (1 + jitter) * 1.001
