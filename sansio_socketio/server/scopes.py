"""`serve`, which each driver with a listening runtime exports.

Rules of this file:

- A driver creates a `Servers` with its `ListeningRuntimeScope`, and exports its method as a function.
- Streams are accepted from the next loop iteration on. So handlers that the body registers before its first `await` miss no
  events.
- No generator is used, so that one task can start a server and another task can end it, if the runtime allows that.
"""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Unpack

from ..protocol.errors import OptionError
from ..protocol.server import ServerOptions
from ..running.context import EnteredOnce
from ..running.ending import end_runs
from ..running.options import options_by_name
from ..runtime.calls import log_failure
from ..runtime.interface import ListeningRuntime, ListeningRuntimeScope
from .options import LocalServerOptions, ServeOptions, server_settings
from .run import ServerRun
from .server import Server

log = logging.getLogger("sansio_socketio.server")

_MAX_PORT: Final = 65535


class Servers:
    """The function `serve` of one driver.

    Args:
        runtime_scope: Creates the runtime.
    """

    def __init__(self, runtime_scope: ListeningRuntimeScope) -> None:
        self._runtime_scope = runtime_scope

    @options_by_name
    def serve(
        self, host: str = "localhost", port: int = 0, **options: Unpack[ServeOptions]
    ) -> AbstractAsyncContextManager[Server]:
        """Serve Socket.IO clients::

            async with serve("localhost", 3000) as server:

                @server.on("hello")
                async def hello(client, name):
                    await client.emit("welcome", name)

                await server.serve_forever()

        Register the handlers before the first `await`. At the end of the block the server stops: clients are disconnected,
        and their events are handled, within twice `close_timeout`.

        Args:
            host: The host name or IP address to listen on, all of its addresses. "" stands for all addresses of the machine.
            port: The TCP port, or 0 for one that the operating system chooses (`Server.port`, `Server.url`).
            options: See `ServeOptions`.

        Raises:
            OSError: The host name cannot be resolved, or the port is not available. Raised when the block is entered.
            OptionError: An argument or an option is invalid. Raised by the call itself.
        """
        if not isinstance(host, str):
            raise OptionError(f"host takes a host name or an IP address, or '' for all addresses, not {host!r}")
        if type(port) is not int or not 0 <= port <= _MAX_PORT:
            raise OptionError(f"port takes a whole number from 0 to {_MAX_PORT}, not {port!r}")
        machine, local = server_settings(options)
        return EnteredOnce(lambda: _Serving(self._runtime_scope, host, port, machine, local), "serve(host, port)")


class _Serving(AbstractAsyncContextManager[Server]):
    """The context manager of a running server."""

    def __init__(
        self,
        runtime_scope: ListeningRuntimeScope,
        host: str,
        port: int,
        machine: ServerOptions,
        local: LocalServerOptions,
    ) -> None:
        self._runtime_scope = runtime_scope()
        self._host = host
        self._port = port
        self._options = machine, local

    async def __aenter__(self) -> Server:
        self._runtime: ListeningRuntime = await self._runtime_scope.__aenter__()
        try:
            self._run = run = ServerRun(self._runtime, *self._options)
            self._runtime.failed = self._failed
            run.listener = await self._runtime.listen(self._host, self._port, run.pump.accept)
        except BaseException as error:
            await self._runtime_scope.__aexit__(type(error), error, error.__traceback__)
            raise
        server = Server(run, self._host, run.listener.port)
        log.info("serving on %s", server.url)
        return server

    def _failed(self, error: BaseException) -> None:
        log_failure(error)
        self._run.fail(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await end_runs([self._run], self._runtime, self._runtime_scope, error, lambda: None)
