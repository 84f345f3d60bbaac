"""One client of a namespace, and the connection that carries the clients of one session (Socket.IO protocol 5).

Rules of this file:

- A client is identified by its id, which is sent to it in CONNECT. With recovery it also gets a private id, by which it can
  recover: then it keeps both.
- After a disconnection, deliver `ClientDisconnected` first, then `ClientAckFailed` for each acknowledgement that was awaited.
- The id of an acknowledgement on the wire is the handle of the emit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ..actions import Outbox
from ..errors import AckTimeout, DisconnectedError
from ..packets.engineio import Packet as EnginePacket
from ..packets.socketio import ACK, DISCONNECT, EVENT, Decoder, Packet
from ..states import transition
from ..timers import Timers
from .events import (
    ClientAckFailed,
    ClientAcknowledged,
    ClientConnected,
    ClientDisconnected,
    ClientEmitted,
    ServerDisconnectReason,
)
from .recovery import History
from .session import ServerSession
from .states import CLIENT_TRANSITIONS, ClientState

_CONNECTED: Final = ClientState.CONNECTED
_RECOVERABLE: Final = frozenset({"transport close", "transport error", "ping timeout", "forced server close"})
"""The reasons of a disconnection after which a client may recover."""


class Connection:
    """What the clients of one session share.

    Attributes:
        session: The session.
        decoder: The decoder of the packets.
        clients: The clients by namespace.
    """

    __slots__ = ("clients", "decoder", "session")

    def __init__(self, session: ServerSession, decoder: Decoder) -> None:
        self.session = session
        self.decoder = decoder
        self.clients: dict[str, ServerClient] = {}


class ClientNamespace(Protocol):
    """The part of its namespace that a client uses."""

    name: str
    outbox: Outbox
    timers: Timers

    def encode(self, packet: Packet) -> list[EnginePacket]: ...
    def ask_timed_out(self, client: ServerClient, now: float) -> None: ...
    def joined(self, client: ServerClient) -> None: ...
    def left(self, client: ServerClient, now: float) -> None: ...


class ServerClient:
    """A client of a namespace.

    Attributes:
        id: The id that the client was told.
        pid: The private id for recovery, or None.
        state: The state of the client.
        connection: The connection that carries it. After a disconnection, the last one.
        auth: The credentials of its last CONNECT.
        question: The number of the question about it, or 0.
        history: The events that are kept for recovery, or None.
    """

    def __init__(
        self,
        namespace: ClientNamespace,
        id: str,  # noqa: A002
        pid: str | None,
        history: History | None,
        connection: Connection,
        auth: Mapping[str, Any],
    ) -> None:
        self.id = id
        self.pid = pid
        self.state = ClientState.ASKING
        self.connection = connection
        self.auth = auth
        self.question = 0
        self.history = history
        self._namespace = namespace
        self._awaited: dict[int, tuple[Any, float | None]] = {}  # the event's name and the timeout, by handle

    def join(self, packets: Sequence[EnginePacket], now: float, *, recovered: bool) -> None:
        """Deliver `ClientConnected`, and send the response to CONNECT with what the client has missed."""
        namespace = self._namespace
        self._change(_CONNECTED)
        namespace.joined(self)
        namespace.outbox.deliver(
            ClientConnected(namespace.name, self.id, self.connection.session.number, self.auth, recovered)
        )
        self.send(packets, now)

    def send(self, packets: Sequence[EnginePacket], now: float) -> None:
        """Send packets, or drop them if the client is not connected."""
        if self.state is _CONNECTED:
            self.connection.session.send(packets, now)

    def await_ack(self, handle: int, event: Any, timeout: float | None, now: float) -> None:
        """Await the acknowledgement of an event that is about to be sent."""
        self._awaited[handle] = event, timeout
        if timeout is not None:
            self._namespace.timers.set(self, handle, now + timeout)

    def leave(self, now: float) -> None:
        """Disconnect the client, because the application wants it."""
        session = self.connection.session
        if self.state is _CONNECTED:
            session.send(self._namespace.encode(Packet(DISCONNECT, self._namespace.name)), now)
        if self.state is not ClientState.DISCONNECTED:
            self.disconnect("server namespace disconnect", None, now)

    def disconnect(self, reason: ServerDisconnectReason, details: Exception | None, now: float) -> None:
        """Deliver the end of the connection, unless it was not connected."""
        was_connected = self.state is _CONNECTED
        may_recover = was_connected and self.history is not None and reason in _RECOVERABLE
        self._change(ClientState.RECOVERABLE if may_recover else ClientState.DISCONNECTED)
        self.connection.clients.pop(self._namespace.name, None)
        self._namespace.timers.cancel(self, "ask")
        self._namespace.left(self, now)
        if not was_connected:
            return
        namespace = self._namespace
        namespace.outbox.deliver(ClientDisconnected(namespace.name, self.id, reason, details))
        error = DisconnectedError(f"disconnected before the acknowledgement arrived: {reason}", reason)
        awaited, self._awaited = self._awaited, {}
        for handle in awaited:
            namespace.timers.cancel(self, handle)
            namespace.outbox.deliver(ClientAckFailed(namespace.name, self.id, handle, error))

    def expire(self) -> None:
        """End the time in which the client may recover."""
        self._change(ClientState.DISCONNECTED)
        self._namespace.timers.cancel(self, "expire")

    def on_packet(self, packet: Packet, now: float) -> None:
        """Handle a packet of the connected client."""
        namespace = self._namespace
        if packet.type == EVENT:
            ack_id = None if packet.id is None else (self.connection.session.number, packet.id)
            namespace.outbox.counters.events_received += 1
            namespace.outbox.deliver(ClientEmitted(namespace.name, self.id, packet.data, ack_id, packet.size))
        elif packet.type == ACK:
            if packet.id is not None and self._awaited.pop(packet.id, None) is not None:
                namespace.timers.cancel(self, packet.id)
                namespace.outbox.deliver(ClientAcknowledged(namespace.name, self.id, packet.id, packet.data))
        elif packet.type == DISCONNECT:
            self.disconnect("client namespace disconnect", None, now)

    def timer_fired(self, name: str | int, now: float) -> None:
        if isinstance(name, int):
            event, timeout = self._awaited.pop(name)
            error = AckTimeout(f"event {event!r} was not acknowledged within {timeout:g} seconds")
            self._namespace.outbox.deliver(ClientAckFailed(self._namespace.name, self.id, name, error))
        elif name == "ask":
            self._namespace.ask_timed_out(self, now)
        else:
            self.expire()
            self._namespace.left(self, now)

    def _change(self, state: ClientState) -> None:
        self.state = transition(CLIENT_TRANSITIONS, self.state, state)
