"""One namespace of a server: its clients, events to one or all of them, recovery.

Rules of this file:

- A packet for all clients is encoded once, and so is its WebSocket frame.
- A command for a client that is not connected does nothing, because the client may leave at any time. With recovery, events
  are kept for clients that may recover. An acknowledgement that was requested fails at once.
- At most `max_sessions` clients that may recover are kept. Beyond that the oldest cannot recover any more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from ..actions import Outbox
from ..emit import check_event
from ..errors import ConnectError, DisconnectedError
from ..events import AckId
from ..options import check_option
from ..packets.engineio import Packet as EnginePacket
from ..packets.socketio import ACK, CONNECT, CONNECT_ERROR, EVENT, Packet
from ..timers import Timers
from .client import Connection, ServerClient
from .engine import Questions
from .events import ClientAckFailed, ConnectQuestion
from .options import ServerOptions
from .recovery import History, Offsets
from .states import ClientState


class NamespaceServer(Protocol):
    """The part of the server that its namespaces use."""

    options: ServerOptions
    outbox: Outbox
    timers: Timers
    questions: Questions

    def advance(self, now: float) -> None: ...
    def encode(self, packet: Packet) -> list[EnginePacket]: ...
    def new_id(self) -> str: ...
    def new_handle(self) -> int: ...
    def joined(self, connection: Connection) -> None: ...


class ServerNamespace:
    """One namespace of a `ServerProtocol`, created by `ServerProtocol.namespace`.

    Attributes:
        name: The name of the namespace, such as `"/"` or `"/chat"`.
        asks_before_connecting: Whether `ConnectQuestion` is delivered before a client joins. Clients that recover join
            without a question.
    """

    def __init__(self, name: str, server: NamespaceServer) -> None:
        self.name = name
        self.asks_before_connecting = False
        self.outbox = server.outbox
        self.timers = server.timers
        self._server = server
        self._clients: dict[str, ServerClient] = {}
        self._recoverable: dict[str, ServerClient] = {}  # by private id, the oldest first
        self._offsets = Offsets(server.new_id())

    @property
    def clients(self) -> list[str]:
        """The ids of the clients that are connected."""
        return [client.id for client in self._clients.values() if client.state is ClientState.CONNECTED]

    # Commands

    def emit(
        self,
        client: str,
        args: Sequence[Any],
        now: float,
        *,
        ack: bool = False,
        timeout: float | None = None,
        volatile: bool = False,
    ) -> int:
        """Send an event to a client.

        Args:
            client: The id of the client.
            args: The event's name (a str or a number) and its values.
            now: The time.
            ack: Whether to request an acknowledgement. Its outcome is delivered as `ClientAcknowledged` or `ClientAckFailed`.
            timeout: The time limit for the acknowledgement in seconds, or None.
            volatile: Whether to drop the event if it cannot be sent at once.

        Returns:
            A handle, by which `ClientAcknowledged` and `ClientAckFailed` refer to this emit.

        Raises:
            OptionError: The name is reserved or missing, or the timeout is invalid.
            PacketError: A value cannot be encoded.
        """
        self._server.advance(now)
        check_option("timeout", timeout)
        handle = self._server.new_handle()
        packets = self._event(args, handle if ack else None, volatile=volatile)
        found = self._clients.get(client)
        if found is None or (ack and found.state is not ClientState.CONNECTED):
            if ack:
                error = DisconnectedError("the client is not connected")
                self.outbox.deliver(ClientAckFailed(self.name, client, handle, error))
            return handle
        if ack:
            found.await_ack(handle, args[0], timeout, now)
        self._send(found, packets, now, volatile=volatile, keeps=not (ack or volatile))
        return handle

    def broadcast(
        self, args: Sequence[Any], now: float, *, except_: Collection[str] = (), volatile: bool = False
    ) -> None:
        """Send an event to all clients, except those with the given ids. It is encoded once.

        Raises:
            OptionError: The name is reserved or missing.
            PacketError: A value cannot be encoded.
        """
        self._server.advance(now)
        packets = self._event(args, None, volatile=volatile)
        for client in [*self._clients.values()]:
            if client.id not in except_:
                self._send(client, packets, now, volatile=volatile, keeps=not volatile)

    def acknowledge(self, client: str, ack_id: AckId, args: Sequence[Any], now: float) -> None:
        """Acknowledge an event. The acknowledgement is dropped if the connection of the event has ended.

        Raises:
            PacketError: A value cannot be encoded.
        """
        self._server.advance(now)
        session, number = ack_id
        packets = self.encode(Packet(ACK, self.name, list(args), number))
        found = self._clients.get(client)
        if found is not None and found.connection.session.number == session:
            found.send(packets, now)

    def disconnect(self, client: str, now: float, *, close: bool = False) -> None:
        """Disconnect a client, with `close` also the other clients of its session and the session itself."""
        self._server.advance(now)
        found = self._clients.get(client)
        if found is None or found.state is not ClientState.CONNECTED:
            return
        connection = found.connection
        for each in [*connection.clients.values()] if close else [found]:
            each.leave(now)
        if close:
            connection.session.close(now)

    # Joining

    def connect(self, connection: Connection, auth: dict[str, Any], now: float) -> None:
        """Handle the CONNECT packet of a client."""
        if self._recover(connection, auth, now):
            return
        server = self._server
        recovery = server.options.recovery
        history = None if recovery is None else History(recovery, self._offsets.last)
        pid = None if recovery is None else server.new_id()
        client = ServerClient(self, server.new_id(), pid, history, connection, auth)
        connection.clients[self.name] = client
        if not self.asks_before_connecting:
            self._join(client, None, now)
            return
        client.question = server.questions.ask(lambda refusal, now: self._join(client, refusal, now))
        self.timers.set(client, "ask", now + server.options.connect_timeout)
        session = connection.session.number
        self.outbox.deliver(ConnectQuestion(client.question, self.name, client.id, session, auth))

    def _join(self, client: ServerClient, refusal: ConnectError | None, now: float) -> None:
        """Let a client join, or refuse it. Raise PacketError if the refusal cannot be encoded."""
        if refusal is None:
            self.timers.cancel(client, "ask")
            client.join(self._welcome(client), now, recovered=False)
            return
        data = {"message": refusal.message}
        if refusal.data is not None:
            data["data"] = refusal.data
        packets = self.encode(Packet(CONNECT_ERROR, self.name, data))
        client.disconnect("server namespace disconnect", None, now)
        client.connection.session.send(packets, now)

    def ask_timed_out(self, client: ServerClient, now: float) -> None:
        """Refuse a client, because the question about it was not answered in time."""
        self._join(client, ConnectError("the question about the client was not answered in time"), now)

    def _welcome(self, client: ServerClient) -> list[EnginePacket]:
        data = {"sid": client.id} if client.pid is None else {"sid": client.id, "pid": client.pid}
        return self.encode(Packet(CONNECT, self.name, data))

    def _recover(self, connection: Connection, auth: dict[str, Any], now: float) -> bool:
        """Let a client recover its previous connection. Return False if that is impossible."""
        pid, offset = auth.get("pid"), auth.get("offset")
        client = self._recoverable.get(pid) if isinstance(pid, str) else None
        if client is None or client.history is None:
            return False
        number = self._offsets.number(offset)
        missed = None if number is None and offset is not None else client.history.after(number)
        if missed is None:
            return False
        self.timers.cancel(client, "expire")
        client.connection, client.auth = connection, auth
        connection.clients[self.name] = client
        client.join([*self._welcome(client), *missed], now, recovered=True)
        return True

    # Notifications of the clients

    def joined(self, client: ServerClient) -> None:
        """Add a client that has joined."""
        self._clients[client.id] = client
        if client.pid is not None:
            self._recoverable.pop(client.pid, None)
        self._server.joined(client.connection)

    def left(self, client: ServerClient, now: float) -> None:
        """Remove a client that has left, or keep it while it may recover."""
        recovery = self._server.options.recovery
        self._server.questions.withdraw(client.question)
        if client.state is not ClientState.RECOVERABLE or client.pid is None or recovery is None:
            self._clients.pop(client.id, None)
            self._recoverable.pop(client.pid or "", None)
            return
        self._recoverable[client.pid] = client
        self.timers.set(client, "expire", now + recovery.max_age)
        if len(self._recoverable) > self._server.options.max_sessions:
            oldest = next(iter(self._recoverable.values()))
            oldest.expire()
            self.left(oldest, now)

    # Packets

    def encode(self, packet: Packet) -> list[EnginePacket]:
        """Encode a packet. Raise PacketError if that is impossible."""
        return self._server.encode(packet)

    def _event(self, args: Sequence[Any], number: int | None, *, volatile: bool) -> list[EnginePacket]:
        args = list(args)
        check_event(args)
        if self._server.options.recovery is not None and number is None and not volatile:
            args.append(self._offsets.next())
        return self.encode(Packet(EVENT, self.name, args, number))

    def _send(
        self, client: ServerClient, packets: list[EnginePacket], now: float, *, volatile: bool, keeps: bool
    ) -> None:
        if keeps and client.history is not None:
            client.history.append(self._offsets.last, packets, now)
        if volatile and not client.connection.session.sends_at_once:
            return
        self.outbox.counters.events_sent += client.state is ClientState.CONNECTED
        client.send(packets, now)
