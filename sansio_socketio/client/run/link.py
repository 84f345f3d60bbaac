"""`Link`: gives the persistent objects of a Manager access to the current run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any

from ...protocol.errors import DisconnectedError, OptionError, StateError
from ...runtime.calls import name_of
from .run import Run
from .state import RunState, RunStatus


class Link:
    """Holds the current run of a Manager, if there is one.

    Args:
        url: The server's URL, for messages.
        lock: The lock that is held while client code runs. All runs of a Manager share it.
        awaits: Whether the runtime awaits functions of the application that are async.

    Attributes:
        status: The state of the current run.
        run: The current run, or the last one; None before the first run.
        on_start: Functions that are called when a run has been created, before it opens its connection.
    """

    __slots__ = ("_awaits", "_lock", "_url", "on_start", "run", "status")

    def __init__(self, url: str, lock: AbstractContextManager[Any], *, awaits: bool) -> None:
        self.status = RunStatus()
        self.run: Run | None = None
        self.on_start: list[Callable[[], None]] = []
        self._lock = lock
        self._url = url
        self._awaits = awaits

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The lock that is held while client code runs. Raises StateError in a forked child (blocking driver)."""
        return self._lock if self.run is None else self.run.runtime.lock

    def active(self) -> Run | None:
        """Return the run, or None if there is none or it has ended."""
        run = self.run
        return None if run is None or run.pump.ended else run

    def running(self) -> Run | None:
        """Return the run, or None if the Manager is not running, or is stopping."""
        return self.active() if self.status.state is RunState.RUNNING else None

    def current(self) -> Run:
        """Return the run if the Manager is running.

        Raises:
            StateError: The Manager has not been started, or the caller is in another thread or event loop.
            DisconnectedError: The Manager has been stopped, or is stopping.
        """
        run = self.sending()
        run.pump.now()
        if self.status.state is not RunState.RUNNING:
            raise DisconnectedError(
                f"the connection to {self._url} has been stopped (its scope has ended, or it was closed)"
            )
        return run

    def sending(self) -> Run:
        """Return the run if the Manager is running or stopping, to send events. Raise the same errors as `current`.

        This does not check the thread of the caller. The caller then reads the clock or waits, which checks it.
        """
        run = self.run
        if run is None:
            raise StateError(
                f"the Manager of {self._url} is not running: start it as a context manager, or with open() or run()"
            )
        if run.pump.ended:
            raise DisconnectedError(
                f"the connection to {self._url} has been stopped (its scope has ended, or it was closed)"
            ) from run.failure
        return run

    def check_function(self, name: str, value: object) -> None:
        """Raise OptionError if the value of an option is an async function, and the runtime does not await it."""
        if not self._awaits and iscoroutinefunction(value):
            raise OptionError(
                f"{name} takes a plain function, not the async function {name_of(value)}, which the blocking driver cannot "
                "await"
            )

    def check_caller(self) -> None:
        """Raise StateError if the current run is in another thread or event loop."""
        run = self.active()
        if run is not None:
            run.pump.now()
