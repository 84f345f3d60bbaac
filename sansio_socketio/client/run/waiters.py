"""Callers that wait for something to happen.

Rules of this file:

- Waiters are woken directly when the state machine reports what they wait for, never through a queue of handlers. So a
  handler may wait for anything.
- Every wait of the client goes through `wait_for`. There a thread's handler of the Manager counts as started.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ...runtime.interface import Future, Runtime

on_wait: ContextVar[Callable[[Runtime], None] | None] = ContextVar("on_wait", default=None)
"""What to call before the present task or thread waits, if anything. It is given the runtime, whose lock is held."""


async def wait_for(runtime: Runtime, future: Future) -> Any:
    """Wait for the future's result: return its value, or raise its error."""
    before = on_wait.get()
    if before is not None:
        before(runtime)
    return await runtime.wait(future)


class Waiters:
    """The callers that wait for the same thing."""

    __slots__ = ("_futures", "_runtime")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._futures: dict[Future, None] = {}

    def __len__(self) -> int:
        return len(self._futures)

    async def wait(self) -> None:
        """Wait until `wake` is called. Raises the error that `fail` is called with."""
        future = self._runtime.future()
        self._futures[future] = None
        try:
            await wait_for(self._runtime, future)
        finally:
            self._futures.pop(future, None)

    def wake(self) -> None:
        """Wake all of them."""
        futures, self._futures = self._futures, {}
        for future in futures:
            future.resolve()

    def fail(self, error: Exception) -> None:
        """Raise `error` in all of them."""
        futures, self._futures = self._futures, {}
        for future in futures:
            future.fail(error)
