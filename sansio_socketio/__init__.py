"""Socket.IO client built on a sans-I/O state machine: the names that do not depend on a runtime.

Import `connect`, `open_io` and `Manager` from the driver package of your runtime:

- `sansio_socketio_asyncio` for asyncio
- `sansio_socketio_trio` for trio (extra `trio`)
- `sansio_socketio_anyio` for anyio, on either of its backends (extra `anyio`)
- `sansio_socketio_blocking` for threads, without `await`

All drivers export the same names. The errors and classes among them that depend on no runtime are those of this package,
for code that works with any driver. The TypedDicts of the options are here only. `sansio_socketio.protocol` is the state
machine, for programs that embed it in a loop of their own.

Importing this package loads no driver. The names below are imported when they are first used, so that `import
sansio_socketio` and `import sansio_socketio.protocol` load nothing that does I/O.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .client.options import IOOptions, ManagerOptions, Options, SocketOptions
    from .client.run.event_stream import Event, InboxOverflow
    from .client.run.session import EngineTransport
    from .protocol.errors import (
        AckTimeout,
        BufferFullError,
        ConnectError,
        DisconnectedError,
        OpenTimeout,
        OptionError,
        PacketError,
        PayloadError,
        SocketIOError,
        StateError,
        TransportError,
    )
    from .protocol.events import EnginePacket
    from .protocol.statistics import Statistics

__version__ = "0.1.0"

__all__ = [
    "AckTimeout",
    "BufferFullError",
    "ConnectError",
    "DisconnectedError",
    "EnginePacket",
    "EngineTransport",
    "Event",
    "IOOptions",
    "InboxOverflow",
    "ManagerOptions",
    "OpenTimeout",
    "OptionError",
    "Options",
    "PacketError",
    "PayloadError",
    "SocketIOError",
    "SocketOptions",
    "StateError",
    "Statistics",
    "TransportError",
    "__version__",
]

_MODULES: Final = {
    ".client.run.event_stream": ["Event", "InboxOverflow"],
    ".client.run.session": ["EngineTransport"],
    ".client.options": ["IOOptions", "ManagerOptions", "Options", "SocketOptions"],
    ".protocol.errors": [
        "AckTimeout",
        "BufferFullError",
        "ConnectError",
        "DisconnectedError",
        "OpenTimeout",
        "OptionError",
        "PacketError",
        "PayloadError",
        "SocketIOError",
        "StateError",
        "TransportError",
    ],
    ".protocol.events": ["EnginePacket"],
    ".protocol.statistics": ["Statistics"],
}
_MODULE_OF: Final = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # a type checker would accept any name otherwise

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULE_OF[name], __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
