"""A client of a namespace of a running server.

Rules of this file:

- The state machine has the state of the client. A command for a client that is not connected does nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..handlers.registry import HandlerRegistry
from ..protocol.emit import UNSET
from ..protocol.events import AckId
from ..protocol.server import ServerProtocol
from ..protocol.server.namespace import ServerNamespace
from ..running.dispatcher import Dispatcher
from ..running.flags import Flags
from ..running.waiters import Waiters
from .pump import ServerPump
from .remote import RemoteClient, SessionRequest


class ClientServer(Protocol):
    """The part of the server that its clients use."""

    machine: ServerProtocol
    pump: ServerPump

    async def acknowledgement(self, handle: int) -> Sequence[Any]: ...


class NamespaceSpec:
    """A namespace of a server, and its handlers.

    Attributes:
        namespace: The namespace of the state machine.
        handlers: The handlers.
        checks: The functions that are asked whether a client may join.
    """

    def __init__(self, namespace: ServerNamespace) -> None:
        self.namespace = namespace
        self.handlers = HandlerRegistry()
        self.checks: list[Callable[..., Any]] = []


class Session:
    """An Engine.IO session.

    Attributes:
        number: Its number.
        request: The request that opened it.
        transport: The name of the transport in use, or of the last one.
        drains: Callers that wait until its write buffer has drained.
    """

    def __init__(self, number: int, request: SessionRequest, drains: Waiters) -> None:
        self.number = number
        self.request = request
        self.transport = request.transport
        self.drains = drains


class ClientRun:
    """A client of a namespace: the object behind a `RemoteClient`.

    Attributes:
        id: Its id.
        auth: Its credentials.
        recovered: Whether it has recovered its previous connection.
        public: The RemoteClient.
        dispatcher: Calls the handlers of its events; None before it has joined.
        connected: Whether it is connected.
    """

    def __init__(
        self, run: ClientServer, spec: NamespaceSpec, client: str, session: Session, auth: Mapping[str, Any]
    ) -> None:
        self.id = client
        self.auth = auth
        self.recovered = False
        self.public = RemoteClient(self)
        self.dispatcher: Dispatcher | None = None
        self.connected = False
        self._run = run
        self._namespace = spec.namespace
        self._session = session

    @property
    def namespace(self) -> str:
        """The name of the namespace."""
        return self._namespace.name

    @property
    def request(self) -> SessionRequest:
        """The request that opened its session."""
        return self._session.request

    @property
    def transport(self) -> str:
        """The name of the transport in use, or of the last one."""
        return self._session.transport

    async def emit(self, args: Sequence[Any], flags: Flags) -> None:
        """Wait until the session is writable, then emit."""
        await self._writable(flags)
        self.emit_nowait(args, flags)

    def emit_nowait(self, args: Sequence[Any], flags: Flags) -> None:
        """Emit without waiting."""
        self._emit(args, flags, ack=False)
        self._run.pump.drain()

    async def emit_with_ack(self, args: Sequence[Any], flags: Flags) -> Any:
        """Wait until the session is writable, emit, and wait for the acknowledgement."""
        await self._writable(flags)
        values = await self._run.acknowledgement(self._emit(args, flags, ack=True))
        return values[0] if len(values) == 1 else tuple(values) if values else None

    def disconnect(self, *, close: bool) -> None:
        """Disconnect the client."""
        run = self._run
        self._namespace.disconnect(self.id, run.pump.now(), close=close)
        run.pump.drain()

    async def _writable(self, flags: Flags) -> None:
        while not (flags.volatile or self._run.machine.writable(self._session.number)):
            await self._session.drains.wait()

    def _emit(self, args: Sequence[Any], flags: Flags, *, ack: bool) -> int:
        timeout = None if flags.timeout is UNSET else flags.timeout
        return self._namespace.emit(
            self.id, args, self._run.pump.now(), ack=ack, timeout=timeout, volatile=flags.volatile
        )

    def acknowledge(self, ack_id: AckId, values: Sequence[Any]) -> None:
        """Acknowledge an event of the client."""
        run = self._run
        if not run.pump.ended:
            self._namespace.acknowledge(self.id, ack_id, values, run.pump.now())
            run.pump.drain()
