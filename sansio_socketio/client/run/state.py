"""The states of a Manager's run and their legal transitions."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ...protocol.states import Transitions, transition


class RunState(StrEnum):
    """The state of the run of a Manager.

    After an exception in a handler the Manager can be started again; after an internal error it cannot.
    """

    NOT_STARTED = "not started"
    """The Manager has not been started."""
    STARTING = "starting"
    """The runtime is being set up."""
    RUNNING = "running"
    """The connection can be opened and closed."""
    STOPPING = "stopping"
    """The run disconnects. Received events are still handled. The connection cannot be opened."""
    STOPPED = "stopped"
    """The run has ended, and all of its tasks, threads and streams too. The Manager can be started again."""
    FAILED = "failed"
    """The run has ended because of an exception in a handler (on_handler_error="raise") or an internal error."""


RUN_TRANSITIONS: Final[Transitions[RunState]] = {
    RunState.NOT_STARTED: frozenset({RunState.STARTING}),
    RunState.STARTING: frozenset({RunState.RUNNING, RunState.STOPPED}),
    RunState.RUNNING: frozenset({RunState.STOPPING}),
    RunState.STOPPING: frozenset({RunState.STOPPED, RunState.FAILED}),
    RunState.STOPPED: frozenset({RunState.STARTING}),
    RunState.FAILED: frozenset({RunState.STARTING}),
}
"""Maps each state to the states that may follow it."""


class RunStatus:
    """Holds the state of one run of a Manager.

    Args:
        state: The last state of the run before.

    Attributes:
        state: The state.
    """

    __slots__ = ("state",)

    def __init__(self, state: RunState = RunState.NOT_STARTED) -> None:
        self.state = state

    def move(self, state: RunState) -> None:
        """Change the state. Raise IllegalTransition if the transition is illegal."""
        self.state = transition(RUN_TRANSITIONS, self.state, state)
