"""End a runtime and what runs on it.

Rules of this file:

- At the end, normally or with an exception, the runs stop gracefully. When the end is a cancellation or an interrupt, they end at
  once.
- The exception that caused the end is raised unchanged. If an exception in a handler has ended a run
  (on_handler_error="raise"), it is raised instead of no exception or an exception of this library, which may be its
  consequence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol

from ..protocol.errors import SocketIOError
from ..runtime.interface import Runtime

log = logging.getLogger("sansio_socketio.client.manager")


class Ending(Protocol):
    """A run."""

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the run, or None."""
        ...

    def stop(self) -> None:
        """Start to stop gracefully."""

    async def finished(self) -> None:
        """Wait until it has stopped gracefully, for a bounded time."""

    def end(self) -> None:
        """End at once."""


async def end_runs(
    runs: Sequence[Ending],
    runtime: Runtime,
    runtime_scope: AbstractAsyncContextManager[Any],
    error: BaseException | None,
    ended: Callable[[], None],
) -> bool | None:
    """End the runs and then their runtime. This is the `__aexit__` of a scope.

    Args:
        runs: The runs.
        runtime: Their runtime.
        runtime_scope: The context manager of the runtime.
        error: The exception that caused the end, or None.
        ended: Called when everything has ended.
    """
    instead: BaseException | None = None
    try:
        with runtime.lock:
            await _end(runs, gracefully=error is None or isinstance(error, Exception))
    except BaseException as another:  # most likely a cancellation, which does not replace an error
        is_cancellation = not isinstance(another, (Exception, KeyboardInterrupt, SystemExit))
        instead = None if is_cancellation and isinstance(error, Exception) else another
    else:
        if error is None or isinstance(error, SocketIOError):
            instead = next((run.failure for run in runs if run.failure is not None), None)
    for run in runs:
        if run.failure is not None and run.failure not in (instead, error):
            log.error("an exception ended the connection; another one is raised", exc_info=run.failure)
    try:
        is_handled = await runtime_scope.__aexit__(*_exc_info(instead or error))
    finally:
        with runtime.lock:
            ended()
    if instead is not None:
        raise instead
    return is_handled


async def _end(runs: Sequence[Ending], *, gracefully: bool) -> None:
    try:
        if gracefully:
            for run in runs:
                run.stop()
            for run in runs:
                await run.finished()
    finally:
        for run in runs:
            run.end()


def _exc_info(
    error: BaseException | None,
) -> tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]:
    """Return the arguments for `__aexit__` with an exception or None."""
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)
