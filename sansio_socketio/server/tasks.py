"""Tasks of a limited number."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ..runtime.interface import Runtime, Task


class LimitedTasks:
    """Tasks of which at most `most` run. Beyond that the oldest one is cancelled.

    Args:
        runtime: The runtime.
        most: The maximum number of tasks.
    """

    def __init__(self, runtime: Runtime, most: int) -> None:
        self._runtime = runtime
        self._most = most
        self._last = 0
        self._tasks: dict[int, tuple[Task | None, Callable[[], object]]] = {}

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str, ended: Callable[[], object]) -> None:
        """Run `function()` in a task. It must not raise. Call `ended` when it has ended, or is cancelled."""
        self._last += 1
        number = self._last

        async def run() -> None:
            try:
                await function()
            finally:
                self._end(number)

        self._tasks[number] = None, ended
        task = self._runtime.spawn(run, name)
        if number in self._tasks:  # an eager task may have ended already
            self._tasks[number] = task, ended
        if len(self._tasks) > self._most:
            self._end(next(iter(self._tasks)))

    def cancel(self) -> None:
        """Cancel all tasks."""
        for number in list(self._tasks):
            self._end(number)

    def _end(self, number: int) -> None:
        if number in self._tasks:
            task, ended = self._tasks.pop(number)
            if task is not None:
                task.cancel()
            ended()
