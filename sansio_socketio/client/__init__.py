"""What users hold, written once over the runtime that a driver supplies.

A driver binds it to its runtime (`open_runtime`, a `runtime.RuntimeScope`):

    _scopes = Scopes(open_runtime)
    connect = _scopes.connect
    open_io = _scopes.open_io

    class Manager(manager.Manager):
        runtime_scope = open_runtime

The blocking driver does the same with what `blocking` has under these names.
"""

from __future__ import annotations

from .dispatch import Event, EventStream, InboxOverflow
from .manager import Engine, Manager
from .options import IOOptions, ManagerOptions, Options, SocketOptions
from .runtime import Runtime, RuntimeScope
from .scopes import IO, Scopes
from .socket import Emitter, Socket

__all__ = [
    "IO",
    "Emitter",
    "Engine",
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
