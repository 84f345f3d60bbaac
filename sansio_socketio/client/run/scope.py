"""`Scope`: a runtime and its runs, from start to stop.

Rules of this file:

- When a scope ends, normally or with an exception, it disconnects, and received events are handled, within `close_timeout`.
  When it is cancelled or interrupted, everything ends at once.
- An exception in the body is raised unchanged. If an exception in a handler has closed a connection
  (on_handler_error="raise"), it is raised instead of no exception or an exception of this library, which may be its
  consequence.
- No generator is used, so that one task can start a scope and another task can end it, if the runtime allows that.
- A Manager belongs to the call that starts it, then to its scope, until its state is STOPPED or FAILED. Nothing else changes
  the state. This state is set together with all that follows from it, under the lock, because another thread may then start
  the Manager again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Self

from ...protocol.errors import DisconnectedError, StateError
from ...running.ending import end_runs
from ...running.waiters import wait_for
from ...runtime.calls import log_failure
from ...runtime.interface import Future, Runtime, RuntimeScope
from .blueprint import Blueprint
from .link import Link
from .run import Run
from .state import RunState, RunStatus

log = logging.getLogger("sansio_socketio.client.manager")


class Host(Enum):
    """What ends a scope."""

    BLOCK = "block"
    """`async with`: the scope ends with the block."""
    TASK = "task"
    """`await manager.run()`: the scope ends when the task is cancelled or `close` is called."""
    OPEN = "open"
    """`await manager.open()`: the scope ends when `close` is called."""


class Scope:
    """A runtime, and the runs that end together with it.

    Args:
        runtime_scope: Creates the runtime.
        host: What ends the scope.

    Attributes:
        runtime: The runtime.
        host: What ends the scope.
        stop_requested: Resolved when the scope should end, because of `close` or a failed run.
        stopped: Resolved when the scope has ended.
    """

    runtime: Runtime
    stop_requested: Future
    stopped: Future

    def __init__(self, runtime_scope: RuntimeScope, host: Host = Host.BLOCK) -> None:
        self.host = host
        self._is_ending = False
        self._until_shutdown: AsyncGenerator[None, None] | None = None
        self._runs: list[tuple[Run, Link]] = []
        self._runtime_scope = runtime_scope()

    async def __aenter__(self) -> Self:
        self.runtime = await self._runtime_scope.__aenter__()
        self.runtime.failed = self._failed
        self.stop_requested = self.runtime.future()
        self.stopped = self.runtime.future(outlives_runtime=True)
        return self

    def start(self, blueprint: Blueprint, link: Link, *, held: bool) -> Run:
        """Start a run of a Manager, within `starting`. Raise DisconnectedError if the scope is ending."""
        if self._is_ending:
            raise DisconnectedError(f"the Manager of {blueprint.url} cannot be started: its scope has ended")
        last_session = None if link.run is None else link.run.session()
        run = Run(blueprint, self.runtime, link.status, last_session, held=held, request_stop=self.request_stop)
        link.run = run
        link.status.move(RunState.RUNNING)
        self._runs.append((run, link))
        for callback in link.on_start:
            callback()
        return run

    def request_stop(self) -> None:
        """Have the owner of the scope end it."""
        self.stop_requested.resolve()

    async def end_at_shutdown(self, unclosed: Callable[[], None]) -> None:
        """End the scope when the event loop shuts down, and call `unclosed`, unless it has ended before."""
        # asyncio closes async generators at that time, when all cancelled tasks have ended.
        self._until_shutdown = generator = self._wait_for_shutdown(unclosed)
        await anext(generator)

    async def _wait_for_shutdown(self, unclosed: Callable[[], None]) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if not self.stopped.done:
                await self.end(GeneratorExit())
                unclosed()

    def _failed(self, error: BaseException) -> None:
        """End all runs, because the runtime does not work any more."""
        log_failure(error)
        for run, _ in self._runs:
            run.fail(error)
        self.request_stop()

    def stop(self) -> None:
        """Start to stop all runs."""
        for run, _ in self._runs:
            run.stop()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self.end(error)

    async def end(self, error: BaseException | None = None, *, wait: bool = True) -> bool | None:
        """End the scope, with the exception that caused it, if any.

        If another call is ending it or has ended it, do nothing; `wait`: wait until it has ended.
        """
        self.runtime.now()  # raises in another thread or event loop, which can end nothing
        with self.runtime.lock:
            is_ending, self._is_ending = self._is_ending, True
        if is_ending:
            if wait:
                await self._wait_stopped()
            return None
        return await end_runs([run for run, _ in self._runs], self.runtime, self._runtime_scope, error, self._ended)

    def _ended(self) -> None:
        for run, link in self._runs:
            link.status.move(RunState.STOPPED if run.failure is None else RunState.FAILED)
        self.stopped.resolve()

    async def close(self, *, wait: bool = True) -> None:
        """End a scope that belongs to no block, or let its task end it. `wait`: wait until it has ended."""
        if self.host is Host.OPEN:
            await self.end(wait=wait)
        else:
            self.request_stop()
            if wait:
                await self._wait_stopped()

    async def _wait_stopped(self) -> None:
        with self.runtime.lock:
            await wait_for(self.runtime, self.stopped)


@contextmanager
def starting(blueprint: Blueprint, link: Link) -> Generator[None, None, None]:
    """Return a context manager in which a scope starts a Manager. If it does not, the Manager is stopped again.

    Raises:
        StateError: The Manager is running, or an internal error has left its state machine unusable.
    """
    with link.lock:
        link.check_caller()
        if blueprint.is_broken:
            raise StateError(f"the Manager of {blueprint.url} is unusable after an internal error; create another one")
        state = link.status.state
        if state in {RunState.STARTING, RunState.RUNNING, RunState.STOPPING}:
            raise StateError(
                f"the Manager of {blueprint.url} is already {state}; it can be started again when it has stopped"
            )
        # Each run has its own object, so that what is left of an earlier run cannot change the state.
        link.status = status = RunStatus(state)
        status.move(RunState.STARTING)
    try:
        yield
    finally:
        if status.state is RunState.STARTING:
            status.move(RunState.STOPPED)
