"""A runtime and the runs on it, from start to stop.

Rules of this file:

- A scope that ends, also by an exception, disconnects and lets what has been received be handled, within `close_timeout`.
  One that is cancelled or interrupted ends everything at once, without waiting.
- An exception of the body is raised as it is. If a handler's exception ended a connection (on_handler_error="raise"), that
  one is raised, unless the body raised one that is not of this library (which may well follow from it).
- Nothing here is a generator: where the runtime allows it, one task may start a scope and another one end it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ...protocol.errors import SocketIOError, StateError
from ...runtime.interface import Future, Runtime, RuntimeScope
from .blueprint import Blueprint
from .link import Link
from .run import Run
from .state import RunState


class Scope:
    """A runtime, and the runs that end with it.

    Attributes:
        runtime: The runtime.
        stop_requested: Resolved when the scope should end: somebody asked for it, or a run has failed.
        stopped: Resolved when it has ended.
        is_ending: Whether somebody is ending it.
    """

    runtime: Runtime
    stop_requested: Future
    stopped: Future

    def __init__(self, runtime_scope: RuntimeScope) -> None:
        self.is_ending = False
        self._runs: list[tuple[Run, Link]] = []
        self._runtime_scope = runtime_scope()

    async def __aenter__(self) -> Self:
        self.runtime = await self._runtime_scope.__aenter__()
        self.stop_requested = self.runtime.future()
        self.stopped = self.runtime.future(outlives_runtime=True)
        return self

    def start(self, blueprint: Blueprint, link: Link, *, held: bool) -> Run:
        """Start a run of a Manager, whose state is STARTING."""
        run = Run(blueprint, self.runtime, link.status, held=held, request_stop=self.stop_requested.resolve)
        link.run = run
        link.status.move(RunState.RUNNING)
        self._runs.append((run, link))
        return run

    def stop(self) -> None:
        """Start to disconnect all of them for good."""
        for run, _ in self._runs:
            run.stop()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        instead: BaseException | None = None
        try:
            with self.runtime.lock:
                await self._end_runs(gracefully=error is None or isinstance(error, Exception))
        except BaseException as another:  # a cancellation, most likely
            instead = another
        else:
            if error is None or isinstance(error, SocketIOError):
                instead = next((run.failure for run, _ in self._runs if run.failure is not None), None)
        try:
            is_handled = await self._runtime_scope.__aexit__(*exc_info(instead or error))
        finally:
            for run, link in self._runs:
                link.status.move(RunState.STOPPED if run.failure is None else RunState.FAILED)
        if instead is not None:
            raise instead
        return is_handled

    async def _end_runs(self, *, gracefully: bool) -> None:
        try:
            if gracefully:
                self.stop()
                for run, _ in self._runs:
                    await run.finished()
        finally:
            for run, _ in self._runs:
                run.end()


def begin_start(blueprint: Blueprint, link: Link) -> None:
    """Let a Manager start, if it is not running.

    Raises:
        StateError: It is running, or an internal error left its state machine unusable.
    """
    if blueprint.is_broken:
        raise StateError(f"the Manager of {blueprint.url} was broken by an internal error; make another one")
    state = link.status.state
    if state in {RunState.STARTING, RunState.RUNNING, RunState.STOPPING}:
        raise StateError(f"the Manager of {blueprint.url} is {state} already; it may be started when it has stopped")
    link.status.move(RunState.STARTING)


def exc_info(
    error: BaseException | None,
) -> tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]:
    """Return the arguments of `__aexit__` for an exception."""
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)
