"""The state machine: Socket.IO protocol 5 over Engine.IO protocol 4, without I/O, clock or randomness of its own.

The layers, from the top: `client` (the connection and its reconnection), `namespace` (one namespace on it), `engine` (an
Engine.IO session), `transports` (how packets travel over byte streams), `packets` (the wire formats). They
share `machine`, `actions`, `events`, `states`, `timers`, `options`, `url`, `backoff` and `errors`.

A driver feeds inputs and carries out actions. `machine.Machine` documents the contract. `ClientProtocol` is the whole client,
`EngineProtocol` is Engine.IO alone.
"""

from . import actions, errors, events
from .client import ClientProtocol
from .emit import UNSET
from .engine import Memory
from .engine_protocol import EngineProtocol
from .machine import Machine
from .namespace import Namespace
from .options import ASK, ClientOptions, EngineOptions, NamespaceOptions

__all__ = [
    "ASK",
    "UNSET",
    "ClientOptions",
    "ClientProtocol",
    "EngineOptions",
    "EngineProtocol",
    "Machine",
    "Memory",
    "Namespace",
    "NamespaceOptions",
    "actions",
    "errors",
    "events",
]
