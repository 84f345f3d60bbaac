"""The server that applications use. It is written once, over the runtime interface with `listen`.

The layers, from the top: `scopes` (`serve`); `server` (the API); `remote` (the clients of a server, as applications see them);
`run` (the objects of a running server); `options`.

A driver binds the server to its runtime, a `runtime.ListeningRuntimeScope`:

    serve = Servers(open_listening_runtime).serve
"""

from __future__ import annotations

from ..protocol.server.options import Recovery
from .options import ServeOptions
from .remote import RemoteClient, RemoteEmitter, SessionRequest
from .scopes import Servers
from .server import Server, ServerNamespace

__all__ = [
    "Recovery",
    "RemoteClient",
    "RemoteEmitter",
    "ServeOptions",
    "Server",
    "ServerNamespace",
    "Servers",
    "SessionRequest",
]
