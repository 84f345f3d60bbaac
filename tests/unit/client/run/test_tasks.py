"""The tasks of handlers, in a runtime on threads: to cancel a task does nothing, and its next wait may raise."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from sansio_socketio.running.tasks import HandlerTasks
from sansio_socketio.runtime import Runtime


class Threads:
    """A runtime that runs a task later, and a queue that uses it."""

    is_handling = False

    def __init__(self) -> None:
        self.functions: list[Callable[[], Coroutine[Any, Any, None]]] = []

    @property
    def runtime(self) -> Runtime:
        return cast("Runtime", self)

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> Threads:
        self.functions.append(function)
        return self

    def cancel(self) -> None:
        """Do nothing: a thread ends when its next wait raises."""


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_an_exception_in_a_task_is_an_internal_error_unless_the_task_was_cancelled(is_cancelled: bool) -> None:
    async def fail() -> None:
        raise LookupError

    queue, broken, finished = Threads(), list[Exception](), list[None]()
    tasks = HandlerTasks(queue, lambda: finished.append(None), broken.append)
    tasks.spawn(fail, "fails")
    if is_cancelled:
        tasks.cancel()
    with pytest.raises(StopIteration):
        queue.functions[0]().send(None)
    assert len(broken) == (not is_cancelled)
    assert finished == [None]
    assert len(tasks) == 0
