"""The server's side of the protocol: Socket.IO protocol 5 over Engine.IO protocol 4, without I/O, clock or randomness of its own.

The layers, from the top: `protocol` (the namespaces), `namespace` and `client` (one namespace and its clients),
`engine_protocol` (Engine.IO alone), `engine` (the streams and sessions), `session` (one session), `polling` and `websocket`
(its transports), `http` (the requests on a stream).
"""

from .engine_protocol import EngineServerProtocol
from .namespace import ServerNamespace
from .options import EngineServerOptions, Recovery, ServerOptions
from .protocol import ServerProtocol

__all__ = [
    "EngineServerOptions",
    "EngineServerProtocol",
    "Recovery",
    "ServerNamespace",
    "ServerOptions",
    "ServerProtocol",
]
