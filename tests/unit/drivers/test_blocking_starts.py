"""Threads that start and stop one Manager."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, ClassVar

import pytest

from sansio_socketio.client.run.state import RunState
from sansio_socketio.runtime.interface import BlockingRuntime, BlockingRuntimeScope
from sansio_socketio_blocking import Manager
from sansio_socketio_blocking._runtime import open_runtime

pytestmark = pytest.mark.timeout(60)


def test_a_thread_may_start_a_manager_that_another_one_is_closing() -> None:
    has_left, is_starting = threading.Event(), threading.Event()
    lock = threading.RLock()
    states: list[RunState] = []

    @asynccontextmanager
    async def open_slowly(lock: Any = None) -> AsyncGenerator[BlockingRuntime, None]:
        if threading.current_thread() is second:
            is_starting.set()
            has_left.wait(30)
        async with open_runtime(lock) as runtime:
            yield runtime

    class OfTwoThreads(Manager):
        make_lock = staticmethod(lambda: lock)
        runtime_scope: ClassVar[BlockingRuntimeScope] = open_slowly

    manager = OfTwoThreads("http://localhost:1", auto_connect=False)
    link = manager._core.link

    def use_second() -> None:
        with manager:
            states.append(link.status.state)

    def is_free() -> bool:
        """Return whether another thread could take the lock now."""
        taken: list[bool] = []

        def probe() -> None:
            taken.append(lock.acquire(blocking=False))
            if taken[0]:
                lock.release()

        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()
        return taken == [True]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_globals.get("__name__", "").startswith("sansio_socketio"):
            return None
        if not is_starting.is_set() and link.status.state is RunState.STOPPED and is_free():
            second.start()
            assert is_starting.wait(30)
        return trace

    def use_first() -> None:
        with manager:
            sys.settrace(trace)  # of this thread; it ends with the thread
        sys.settrace(None)
        states.append(link.status.state)
        has_left.set()

    first, second = threading.Thread(target=use_first), threading.Thread(target=use_second)
    first.start()
    first.join(30)
    second.join(30)
    assert states == [RunState.STARTING, RunState.RUNNING]
    with manager:
        states.append(link.status.state)
    assert states[2:] == [RunState.RUNNING]
