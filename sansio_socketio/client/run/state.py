"""The states of a Manager's run, and which transitions are legal."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ...protocol.states import Transitions, transition


class RunState(StrEnum):
    """How far the run of a Manager has got."""

    NOT_STARTED = "not started"
    """There has been no run yet."""
    STARTING = "starting"
    """The runtime is being set up."""
    RUNNING = "running"
    """There is a runtime; the connection may be opened and closed."""
    STOPPING = "stopping"
    """It disconnects for good. What has been received is still handled; nothing connects any more."""
    STOPPED = "stopped"
    """It has ended and left nothing behind. Another run may be started."""
    FAILED = "failed"
    """As STOPPED, but an error ended it: of a handler under on_handler_error="raise", or an internal one."""


RUN_TRANSITIONS: Final[Transitions[RunState]] = {
    RunState.NOT_STARTED: frozenset({RunState.STARTING}),
    RunState.STARTING: frozenset({RunState.RUNNING, RunState.STOPPED}),
    RunState.RUNNING: frozenset({RunState.STOPPING}),
    RunState.STOPPING: frozenset({RunState.STOPPED, RunState.FAILED}),
    RunState.STOPPED: frozenset({RunState.STARTING}),
    RunState.FAILED: frozenset({RunState.STARTING}),
}
"""The legal transitions."""


class RunStatus:
    """The state of a Manager's run. It outlives each run.

    Attributes:
        state: The state.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = RunState.NOT_STARTED

    def move(self, state: RunState) -> None:
        """Perform a transition."""
        self.state = transition(RUN_TRANSITIONS, self.state, state)
