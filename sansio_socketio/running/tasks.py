"""The tasks in which handlers run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, Protocol

from ..runtime.interface import Runtime, Task


class HandlerQueue(Protocol):
    """A queue that calls handlers: the dispatcher of a namespace, or the lifecycle queue."""

    @property
    def runtime(self) -> Runtime: ...
    @property
    def is_handling(self) -> bool:
        """Whether one of its handlers is running."""
        ...


_current_queue: ContextVar[HandlerQueue | None] = ContextVar("current_queue", default=None)
"""The queue whose task runs the current code, directly or through a task that a handler has started."""


def is_called_by_handler(runtime: Runtime) -> bool:
    """Return whether the caller is a running handler on this runtime, or was started by one."""
    queue = _current_queue.get()
    return queue is not None and queue.runtime is runtime and queue.is_handling


class HandlerTasks:
    """The tasks of one queue. Each runs in a copy of the context in which the queue was made.

    Args:
        queue: The queue.
        finished: Called when a task has ended.
        broken: Called with an unexpected exception, which no handler raised.
    """

    __slots__ = ("_broken", "_context", "_finished", "_is_cancelled", "_queue", "_tasks")

    def __init__(self, queue: HandlerQueue, finished: Callable[[], None], broken: Callable[[Exception], None]) -> None:
        self._queue = queue
        self._finished = finished
        self._broken = broken
        self._context = copy_context()
        self._tasks: dict[object, Task | None] = {}
        self._is_cancelled = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run `function()` in a task."""
        key = object()

        async def run() -> None:
            try:
                await function()
            except Exception as error:
                if not self._is_cancelled:  # otherwise the runtime has ended, which a thread notices in its next wait
                    self._broken(error)
            finally:
                del self._tasks[key]
                if not self._tasks:
                    self._tasks.clear()  # frees the memory
                self._finished()

        self._tasks[key] = None
        context = self._context.copy()
        context.run(_current_queue.set, self._queue)
        task = context.run(self._queue.runtime.spawn, run, name)
        if key in self._tasks:  # an eager task may have ended already
            self._tasks[key] = task

    def cancel(self) -> None:
        """Cancel all tasks. A thread ends when its handler returns."""
        self._is_cancelled = True
        for task in list(self._tasks.values()):
            if task is not None:
                task.cancel()
