"""The client that applications use. It is written once, over the runtime interface that each driver implements.

The layers, from the top: `blocking` (the API without `await`); `scopes`, `manager`, `engine`, `emitter` (the API); `core` (the
objects behind the API, which outlive a run); `run` (the objects of one run of a Manager); `options`.

A driver binds the client to its runtime `open_runtime`, a `runtime.RuntimeScope`:

    class Manager(client.Manager):
        runtime_scope = open_runtime

    connect = Scopes(Manager).connect
    open_io = Scopes(Manager).open_io

The blocking driver does the same with the classes of `blocking`.
"""

from __future__ import annotations

from ..handlers.event_type import EventType
from ..running.event_stream import Event, InboxOverflow
from .emitter import Emitter, EventStream
from .engine import Engine
from .manager import Manager, Socket
from .options import IOOptions, ManagerOptions, Options, SocketOptions
from .run.disconnection import Disconnection
from .run.session import EngineTransport
from .run.socket_state import SocketState
from .scopes import IO, Scopes

__all__ = [
    "IO",
    "Disconnection",
    "Emitter",
    "Engine",
    "EngineTransport",
    "Event",
    "EventStream",
    "EventType",
    "IOOptions",
    "InboxOverflow",
    "Manager",
    "ManagerOptions",
    "Options",
    "Scopes",
    "Socket",
    "SocketOptions",
    "SocketState",
]
