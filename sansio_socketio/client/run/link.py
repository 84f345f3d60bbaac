"""The way from the durable objects (Manager, Socket, Engine) to the current run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ...protocol.errors import DisconnectedError, StateError
from .run import Run
from .state import RunState, RunStatus


class Link:
    """Holds the current run of a Manager, if there is one.

    Args:
        url: The server's URL, for messages.
        lock: What is held while code of the client runs. All runs of a Manager share it.

    Attributes:
        status: The state of the runs.
        run: The present run, or the last one; None before the first.
        on_start: What to call when a run has been started, before anything happens in it.
    """

    __slots__ = ("_lock", "_url", "on_start", "run", "status")

    def __init__(self, url: str, lock: AbstractContextManager[Any]) -> None:
        self.status = RunStatus()
        self.run: Run | None = None
        self.on_start: list[Callable[[], None]] = []
        self._lock = lock
        self._url = url

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """What is held while code of the client runs. Raises StateError in a forked child of a process with threads."""
        return self._lock if self.run is None else self.run.runtime.lock

    @property
    def is_running(self) -> bool:
        """Whether there is a run on which the connection may be opened."""
        return self.status.state is RunState.RUNNING

    def active(self) -> Run | None:
        """Return the run, unless nothing goes in or out of it any more."""
        run = self.run
        return None if run is None or run.pump.ended else run

    def current(self) -> Run:
        """Return the run on which the connection may be opened.

        Raises:
            StateError: There was none yet, or the caller is in another thread or event loop.
            DisconnectedError: It has been stopped, or is being stopped.
        """
        run = self.sending()
        run.pump.now()
        if self.status.state is not RunState.RUNNING:
            raise DisconnectedError(
                f"the connection to {self._url} has been stopped (its scope has ended, or it was closed)"
            )
        return run

    def sending(self) -> Run:
        """Return the run on which events are sent: as `current`, but also while it is being stopped.

        It does not check the caller's thread: what follows reads the clock or waits, which does.
        """
        run = self.run
        if run is None:
            raise StateError(
                f"the Manager of {self._url} is not running: start it with `async with` (`with`), open() or run()"
            )
        if run.pump.ended:
            raise DisconnectedError(
                f"the connection to {self._url} has been stopped (its scope has ended, or it was closed)"
            )
        return run

    def check_caller(self) -> None:
        """Raise StateError if there is a run in another thread or event loop."""
        run = self.active()
        if run is not None:
            run.pump.now()
