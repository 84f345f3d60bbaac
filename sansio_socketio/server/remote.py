"""`RemoteClient`: a client of a server, as handlers see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..protocol.options import check_option
from ..running.flags import PLAIN, Flags
from ..running.unawaited import must_be_awaited


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """The request that opens a session.

    Attributes:
        transport: The name of the transport.
        peer: The address of the peer, such as "127.0.0.1:50000". Behind a proxy it is that of the proxy.
        headers: The headers, with names in lower case.
        query: The query parameters.
    """

    transport: str
    peer: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)


class RemoteCore(Protocol):
    """The object behind a RemoteClient."""

    id: str
    auth: Mapping[str, Any]
    recovered: bool

    @property
    def namespace(self) -> str: ...
    @property
    def connected(self) -> bool: ...
    @property
    def request(self) -> SessionRequest: ...
    @property
    def transport(self) -> str: ...
    async def emit(self, args: Sequence[Any], flags: Flags) -> None: ...
    def emit_nowait(self, args: Sequence[Any], flags: Flags) -> None: ...
    async def emit_with_ack(self, args: Sequence[Any], flags: Flags) -> Any: ...
    def disconnect(self, *, close: bool) -> None: ...


class RemoteEmitter:
    """Base class of objects that emit events to a client: a RemoteClient, or a view of it with flags."""

    __slots__ = ("_core", "_flags")

    def __init__(self, core: RemoteCore, flags: Flags = PLAIN) -> None:
        self._core = core
        self._flags = flags

    @property
    def volatile(self) -> RemoteEmitter:
        """A view of the client to which events are dropped if they cannot be sent immediately."""
        return RemoteEmitter(self._core, self._flags.replace(volatile=True))

    def timeout(self, seconds: float | None) -> RemoteEmitter:
        """Return a view of the client with a time limit for acknowledgements, in seconds; None for no limit."""
        check_option("timeout", seconds)
        return RemoteEmitter(self._core, self._flags.replace(timeout=seconds))

    @must_be_awaited
    async def emit(self, event: str | float, *values: Any) -> None:
        """Emit an event to this client.

        Waits while the client does not read what was sent to it. The event is dropped if the client is not connected,
        because it may leave at any time. With the option `recovery` it is kept for a client that may come back.

        Args:
            event: The event's name.
            values: Values that JSON can represent, dataclasses, pydantic models, and bytes, bytearray and memoryview, at
                any depth.

        Raises:
            OptionError: The name of the event is invalid or reserved.
            PacketError: A value cannot be encoded.
        """
        await self._core.emit((event, *values), self._flags)

    def emit_nowait(self, event: str | float, *values: Any) -> None:
        """Emit an event like `emit`, but without waiting.

        A client that does not read is disconnected when `max_buffered_bytes` are buffered for it.
        """
        self._core.emit_nowait((event, *values), self._flags)

    @must_be_awaited
    async def emit_with_ack(self, event: str | float, *values: Any) -> Any:
        """Emit an event to this client and wait for its acknowledgement.

        Args:
            event: The event's name.
            values: As in `emit`.

        Returns:
            The value of the acknowledgement: None if there is none, a tuple if there are several.

        Raises:
            AckTimeout: The acknowledgement did not arrive in time (`timeout()`).
            DisconnectedError: The client is not connected, or left before it acknowledged the event.
            OptionError, PacketError: As in `emit`.
        """
        return await self._core.emit_with_ack((event, *values), self._flags)


class RemoteClient(RemoteEmitter):
    """A client of a namespace of this server. The first argument of handlers.

    Attributes:
        data: Data of the application about this client.
    """

    __slots__ = ("__weakref__", "data")

    def __init__(self, core: RemoteCore) -> None:
        super().__init__(core)
        self.data: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<RemoteClient {self.id} of {self.namespace}>"

    @property
    def id(self) -> str:
        """The id of the client, which it also knows as `socket.id`."""
        return self._core.id

    @property
    def namespace(self) -> str:
        """The name of the namespace."""
        return self._core.namespace

    @property
    def auth(self) -> Mapping[str, Any]:
        """The credentials that the client has sent; empty if there are none."""
        return self._core.auth

    @property
    def connected(self) -> bool:
        """Whether the client is connected."""
        return self._core.connected

    @property
    def recovered(self) -> bool:
        """Whether the client has recovered its previous connection, with its id and the events that it had missed.

        It is another RemoteClient, whose `data` is empty.
        """
        return self._core.recovered

    @property
    def request(self) -> SessionRequest:
        """The request that opened the session of the client."""
        return self._core.request

    @property
    def transport(self) -> str:
        """The name of the transport in use, or of the last one."""
        return self._core.transport

    def disconnect(self, *, close: bool = False) -> None:
        """Disconnect the client from this namespace.

        Args:
            close: Whether to close its session, and so to disconnect it from all namespaces.
        """
        self._core.disconnect(close=close)
