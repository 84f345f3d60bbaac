"""Futures over an event, and the errors of `wait` and `now`."""

from __future__ import annotations

import pytest

from sansio_socketio.protocol.errors import DisconnectedError, StateError
from sansio_socketio.runtime import EventFuture, runtime_ended, wrong_thread


class Event:
    def __init__(self) -> None:
        self.times_set = 0

    def set(self) -> None:
        self.times_set += 1


def test_a_future_keeps_its_first_result_and_sets_its_event_once() -> None:
    future = EventFuture(Event())
    assert not future.done
    future.resolve(1)
    future.resolve(2)
    future.fail(ValueError())
    assert future.done
    assert future.result() == 1
    assert future.event.times_set == 1


def test_a_future_that_failed_raises_its_error() -> None:
    future = EventFuture(Event())
    future.fail(ValueError("no"))
    future.fail(KeyError())
    with pytest.raises(ValueError, match="no"):
        future.result()


def test_the_errors_say_what_happened_and_what_to_do() -> None:
    assert isinstance(runtime_ended(), DisconnectedError)
    assert "its scope has ended" in str(runtime_ended())
    error = wrong_thread("loop.call_soon_threadsafe")
    assert isinstance(error, StateError)
    assert str(error).startswith("called from another thread")
    assert str(error).endswith("call them through loop.call_soon_threadsafe")
