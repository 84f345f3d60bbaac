"""An emitted event, from the call of `emit` until it is acknowledged, fails or is sent."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from math import inf
from typing import Any, Final

from .errors import OptionError
from .packets.socketio import RESERVED_EVENTS

Frames = Sequence[str | bytes]
"""The Engine.IO messages of one Socket.IO packet."""


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class Emit:
    """An emitted event, from the call of `emit` until it is acknowledged, fails or is sent."""

    __slots__ = (
        "ack",
        "args",
        "compress",
        "excess",
        "frames",
        "handle",
        "queued",
        "size",
        "timeout",
        "tries",
        "wire_id",
    )

    def __init__(self, handle: int, args: list[Any], *, ack: bool, timeout: float | None, compress: bool) -> None:
        self.handle = handle
        self.args = args
        self.ack = ack
        self.timeout = timeout
        self.compress = compress
        self.frames: Frames = ()
        self.size = 0
        self.wire_id: int | None = None
        self.tries = 0
        self.queued = False
        self.excess: str | None = None  # by how much it exceeds the server's limit


def check_event(args: Sequence[Any]) -> None:
    """Raise OptionError unless the first of the arguments is a valid event name."""
    name = args[0] if args else None
    if isinstance(name, str):
        if name in RESERVED_EVENTS:
            raise OptionError(f"{name!r} is a reserved event name: choose another")
    elif isinstance(name, bool) or not isinstance(name, (int, float)) or not -inf < name < inf:
        raise OptionError(f"the name of an event must be a str or a finite number, not {name!r}")
