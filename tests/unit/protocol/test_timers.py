"""Deadlines: which fire, in which order, and when `SetTimer` is output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from sansio_socketio.protocol.timers import Timers


@dataclass(eq=False)
class Owner:
    """Records which timers fired, and may act when one does."""

    fired: list[tuple[str | int, float]] = field(default_factory=list)
    then: Callable[[str | int, float], None] = lambda name, now: None

    def timer_fired(self, name: str | int, now: float) -> None:
        self.fired.append((name, now))
        self.then(name, now)


def test_due_timers_fire_once_in_the_order_of_their_deadlines() -> None:
    timers, owner = Timers(), Owner()
    timers.set(owner, "b", 2)
    timers.set(owner, "a", 1)
    timers.set(owner, "later", 3)
    timers.fire_due(0.5)
    assert not owner.fired
    timers.fire_due(2)
    timers.fire_due(2)
    assert owner.fired == [("a", 2), ("b", 2)]
    assert timers.next_deadline == 3


def test_equal_deadlines_fire_in_the_order_in_which_they_were_set() -> None:
    timers, owner = Timers(), Owner()
    for name in (3, "x", 1, "y", 2):
        timers.set(owner, name, 1)
    timers.set(owner, 3, 1)
    timers.fire_due(1)
    assert [name for name, _ in owner.fired] == ["x", 1, "y", 2, 3]


def test_setting_again_moves_a_deadline() -> None:
    timers, owner = Timers(), Owner()
    timers.set(owner, "a", 1)
    timers.set(owner, "a", 5)
    assert timers.next_deadline == 5
    timers.fire_due(4)
    assert owner.fired == []
    timers.set(owner, "a", 3)
    timers.fire_due(4)
    timers.fire_due(6)
    assert owner.fired == [("a", 4)]


def test_cancelled_and_cleared_timers_do_not_fire() -> None:
    timers, owner, other = Timers(), Owner(), Owner()
    timers.cancel(owner, "never set")
    timers.set(owner, "a", 1)
    timers.set(other, "a", 2)
    timers.cancel(owner, "a")
    assert timers.next_deadline == 2
    timers.clear()
    assert timers.next_deadline is None
    timers.fire_due(10)
    assert owner.fired == other.fired == []


def test_a_callback_may_cancel_and_move_other_due_timers() -> None:
    timers, owner = Timers(), Owner()

    def change_timers(name: str | int, now: float) -> None:
        if name == "first":
            timers.cancel(owner, "second")
            timers.set(owner, "third", now + 1)

    owner.then = change_timers
    for when, name in enumerate(("first", "second", "third", "fourth")):
        timers.set(owner, name, when)
    timers.fire_due(10)
    assert [name for name, _ in owner.fired] == ["first", "fourth"]
    assert timers.next_deadline == 11


def test_a_callback_may_clear_all_timers() -> None:
    timers, owner = Timers(), Owner()
    owner.then = lambda name, now: timers.clear()
    timers.set(owner, "a", 1)
    timers.set(owner, "b", 1)
    timers.fire_due(1)
    assert owner.fired == [("a", 1)]


def test_a_timer_that_sets_itself_again_does_not_delay_the_others() -> None:
    timers, owner = Timers(), Owner()
    owner.then = lambda name, now: timers.set(owner, "again", now)
    timers.set(owner, "again", 1)
    timers.fire_due(1)
    assert owner.fired == [("again", 1)]
    assert timers.to_announce() == (1,)
    timers.fire_due(1)
    assert len(owner.fired) == 2


def test_set_timer_is_output_only_for_an_earlier_deadline() -> None:
    timers, owner = Timers(), Owner()
    assert timers.to_announce() is None
    timers.set(owner, "ping", 45)
    assert timers.to_announce() == (45,)
    assert timers.to_announce() is None
    timers.set(owner, "ack", 10)
    assert timers.to_announce() == (10,)
    timers.cancel(owner, "ack")
    assert timers.to_announce() is None  # waking at 10 does no harm
    timers.fire_due(10)
    timers.ticked()
    assert timers.to_announce() == (45,)
    timers.clear()
    assert timers.to_announce() == (None,)
    assert timers.to_announce() is None
    timers.set(owner, "ping", 50)
    assert timers.to_announce() == (50,)


def test_set_timer_is_output_again_for_a_missed_deadline() -> None:
    timers, owner = Timers(), Owner()
    timers.set(owner, "ping", 10)
    timers.set(owner, "later", 4000)
    assert timers.to_announce() == (10,)
    timers.fire_due(3600)
    assert owner.fired == [("ping", 3600)]
    assert timers.to_announce() == (4000,)
    timers.fire_due(3601)
    assert timers.to_announce() is None
    timers.cancel(owner, "later")
    timers.fire_due(4000)
    assert timers.to_announce() == (None,)


def test_cancelled_timers_do_not_accumulate() -> None:
    timers, owner = Timers(), Owner()
    for number in range(10_000):
        timers.set(owner, "ping", number)
        timers.set(owner, number, 20_000)
        timers.cancel(owner, number)
    assert len(timers._heap) < 100
    assert timers.next_deadline == 9_999
    timers.fire_due(30_000)
    assert owner.fired == [("ping", 30_000)]


def test_compaction_while_firing_fires_no_timer_twice() -> None:
    timers, owner = Timers(), Owner()

    def move_and_cancel(name: str | int, now: float) -> None:
        for number in range(100):
            timers.set(owner, f"new {number}", now + 1)
            timers.cancel(owner, f"new {number}")

    owner.then = move_and_cancel
    for number in range(20):
        timers.set(owner, number, number)
    timers.fire_due(100)
    assert [name for name, _ in owner.fired] == list(range(20))
    assert timers.next_deadline is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(0, 5), st.integers(0, 30)),
            st.tuples(st.just("cancel"), st.integers(0, 5), st.just(0)),
            st.tuples(st.just("pass"), st.just(0), st.integers(0, 10)),
        ),
        max_size=200,
    )
)
def test_timers_behave_like_a_dict_of_deadlines(steps: list[tuple[str, int, int]]) -> None:
    timers, owner = Timers(), Owner()
    plain: dict[int, tuple[int, int]] = {}
    now = 0
    driver: float | None = None
    for order, (step, name, value) in enumerate(steps):
        if step == "set":
            timers.set(owner, name, now + value)
            plain[name] = (now + value, order)
        elif step == "cancel":
            timers.cancel(owner, name)
            plain.pop(name, None)
        else:
            now += value
            due = sorted((key, name) for name, key in plain.items() if key[0] <= now)
            for _, gone in due:
                del plain[gone]
            owner.fired.clear()
            timers.fire_due(now)
            assert [name for name, _ in owner.fired] == [name for _, name in due]
            if driver is not None and driver <= now and order % 2:  # otherwise the driver's timer is late
                timers.ticked()
                driver = None
        announced = timers.to_announce()
        if announced is not None:
            driver = announced[0]
        first = min((key[0] for key in plain.values()), default=None)
        assert timers.next_deadline == first
        assert first is None or (driver is not None and driver <= first), "the driver would sleep too long"
        assert step != "pass" or driver is None or driver > now or driver == first, "the driver's timer may be late"
