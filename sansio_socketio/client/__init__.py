"""What users hold, written once over the runtime that a driver supplies.

A driver binds it to its runtime (`open_runtime`, a `runtime.RuntimeScope`):

    class Manager(client.Manager):
        runtime_scope = open_runtime

    connect = Scopes(Manager).connect
    open_io = Scopes(Manager).open_io

The blocking driver does the same with what `blocking` has under these names, over a Manager like the one above.
"""

from __future__ import annotations

from ..runtime.interface import Runtime, RuntimeScope
from .dispatch import Event, EventStream, InboxOverflow
from .engine import Engine, EngineTransport
from .manager import Manager
from .options import IOOptions, ManagerOptions, Options, SocketOptions
from .scopes import IO, Scopes
from .socket import Emitter, Socket

__all__ = [
    "IO",
    "Emitter",
    "Engine",
    "EngineTransport",
    "Event",
    "EventStream",
    "IOOptions",
    "InboxOverflow",
    "Manager",
    "ManagerOptions",
    "Options",
    "Runtime",
    "RuntimeScope",
    "Scopes",
    "Socket",
    "SocketOptions",
]
