"""The client: what applications use, written once over the runtime interface that a driver implements.

From the top to the bottom: `blocking` (the API without `await`), `scopes`, `manager`, `engine`, `emitter` (the API), `core`
(the durable objects behind it), `run` (what exists while a Manager is running), `handlers`, `options`.

A driver binds it to its runtime, `open_runtime`, which is a `runtime.RuntimeScope`:

    class Manager(client.Manager):
        runtime_scope = open_runtime

    connect = Scopes(Manager).connect
    open_io = Scopes(Manager).open_io

The blocking driver does the same with the classes of `blocking`.
"""

from __future__ import annotations

from .emitter import Emitter, EventStream
from .engine import Engine
from .manager import Manager, Socket
from .options import IOOptions, ManagerOptions, Options, SocketOptions
from .run.event_stream import Event, InboxOverflow
from .run.session import EngineTransport
from .scopes import IO, Scopes

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
    "Scopes",
    "Socket",
    "SocketOptions",
]
