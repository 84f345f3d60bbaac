"""Socket.IO client and server built on a sans-I/O state machine: the names that do not depend on a runtime.

Import `connect`, `open_io` and `Manager` from the driver package of your runtime:

- `sansio_socketio_asyncio` for asyncio
- `sansio_socketio_trio` for trio (extra `trio`)
- `sansio_socketio_anyio` for anyio, on either of its backends (extra `anyio`)
- `sansio_socketio_blocking` for threads, without `await`

All drivers export the same names; those for asyncio and trio also `serve`, which runs a server. This package exports those
that are independent of the runtime (errors, events and others), for code that works with any driver, and the TypedDicts of the
options. `sansio_socketio.server` has the classes of a server, and `sansio_socketio.protocol` is the state machine, for programs
that embed it in their own loop.

Importing this package does not import a driver. Its names are imported on first use, so that `import sansio_socketio` and
`import sansio_socketio.protocol` import no modules that do I/O.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

_OPTIONS: Final = ("IOOptions", "ManagerOptions", "Options", "SocketOptions")

if TYPE_CHECKING:
    from . import names
    from .client.options import IOOptions, ManagerOptions, Options, SocketOptions
    from .names import *  # noqa: F403

    __all__ = ["IOOptions", "ManagerOptions", "Options", "SocketOptions", "__version__"]
    __all__ += names.__all__
else:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """Import a public name on first use (PEP 562)."""
        names = import_module(".names", __name__)
        if name == "__all__":
            return [*_OPTIONS, "__version__", *names.__all__]
        if name in _OPTIONS:
            return getattr(import_module(".client.options", __name__), name)
        if name in names.__all__:
            return getattr(names, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
