"""The machine: Socket.IO 5 over Engine.IO 4, without I/O, clocks or entropy of its own.

From the top of the stack to the bottom: `client` (connections and reconnection), `namespace` (one namespace on one),
`engine` (an Engine.IO session), `transports` (how its packets travel on byte streams), `packets` (the wire formats);
and below them all what they share: `machine`, `actions`, `events`, `timers`, `options`, `url`, `backoff`, `errors`.

A driver feeds inputs and carries out actions (`machine.Machine` has the contract). `ClientProtocol` is the whole client,
`EngineProtocol` is Engine.IO alone.
"""

from . import actions, errors, events
from .client import ClientProtocol
from .engine import EngineProtocol, Memory
from .machine import Machine
from .namespace import UNSET, Namespace
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
