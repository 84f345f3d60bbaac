"""Callers that wait for something to happen.

Rules of this file:

- Waiters are woken directly by the events of the state machine, not through a queue of handlers. So a handler may wait for
  anything.
- All waiting calls of the API use `wait_for`, which notifies the lifecycle queue when a handler in a thread waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ..runtime.interface import Future, Runtime

on_wait: ContextVar[Callable[[Runtime], None] | None] = ContextVar("on_wait", default=None)
"""What to call before the present task or thread waits, if anything. It is given the runtime, whose lock is held."""


async def wait_for(runtime: Runtime, future: Future) -> Any:
    """Wait for a future. Return its value or raise its exception."""
    before = on_wait.get()
    if before is not None:
        before(runtime)
    return await runtime.wait(future)


class Waiters:
    """The callers that wait for the same thing."""

    __slots__ = ("_futures", "_runtime")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._futures: dict[Future, None] | None = None  # a dict while somebody waits

    def __len__(self) -> int:
        return len(self._futures or ())

    async def wait(self) -> None:
        """Wait until `wake` is called, or `fail`, whose error is raised."""
        future = self._runtime.future()
        if self._futures is None:
            self._futures = {}
        self._futures[future] = None
        try:
            await wait_for(self._runtime, future)
        finally:
            if self._futures is not None:
                self._futures.pop(future, None)

    def wake(self) -> None:
        """Wake all waiting callers."""
        futures, self._futures = self._futures, None
        for future in futures or ():
            future.resolve()

    def fail(self, error: Exception) -> None:
        """Raise `error` in all waiting callers."""
        futures, self._futures = self._futures, None
        for future in futures or ():
            future.fail(error)
