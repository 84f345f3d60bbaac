"""The whole server as a state machine: sessions, namespaces and their clients (Socket.IO protocol 5).

`machine.Machine` documents the contract.

Rules of this file:

- A session that has joined no namespace within `connect_timeout` is closed.
- A client that sends an invalid packet, or one for a namespace that it has not joined, loses its session, as with the
  JavaScript server. CONNECT for an unknown namespace is refused.
"""

from __future__ import annotations

from random import Random

from ..errors import PacketError, SocketIOError, chained, without_frames
from ..events import Data
from ..packets.bounds import BoundedDecoder
from ..packets.engineio import MESSAGE, check_message
from ..packets.engineio import Packet as EnginePacket
from ..packets.socketio import CONNECT, CONNECT_ERROR, JSONParser, Packet, Parser, check_namespace
from .client import Connection
from .engine_protocol import ServerMachine
from .events import ServerDisconnectReason
from .namespace import ServerNamespace
from .options import EXTENSION, ServerOptions
from .session import ServerSession
from .states import ClientState
from .websocket import SharedPacket

_MEMORY_FACTOR = 8
"""A packet may take this many times `max_payload` of memory when it is decoded."""


class ServerProtocol(ServerMachine):
    """A Socket.IO server as a state machine without I/O.

    Args:
        options: The options.
        random: The source of the ids. It must be unpredictable: `random.SystemRandom()`, except in tests.
    """

    def __init__(self, options: ServerOptions | None = None, *, random: Random) -> None:
        self.options = options or ServerOptions()
        super().__init__(self.options, random=random)
        self.outbox = self._outbox
        self.timers = self._timers
        self.questions = self._engine.questions
        self._parser: Parser = self.options.parser or JSONParser()
        self._encoder = self._parser.encoder()
        self._namespaces: dict[str, ServerNamespace] = {}
        self._connections: dict[int, Connection] = {}
        self._last_handle = 0

    def namespace(self, name: str = "/") -> ServerNamespace:
        """Return a namespace, which is created by the first call. Clients can join only namespaces that exist.

        Raises:
            PacketError: The name is invalid.
        """
        if name not in self._namespaces:
            check_namespace(name)
            self._namespaces[name] = ServerNamespace(name, self)
        return self._namespaces[name]

    # What the namespaces use: the methods of `namespace.NamespaceServer`

    def new_id(self) -> str:
        """Return an id that cannot be predicted."""
        return self._engine.new_id()

    def new_handle(self) -> int:
        """Return the handle of the next emit."""
        self._last_handle += 1
        return self._last_handle

    def joined(self, connection: Connection) -> None:
        """Note that a client of the connection has joined."""
        self._timers.cancel(self, connection.session.number)

    def encode(self, packet: Packet) -> list[EnginePacket]:
        """Encode a packet. Raise PacketError if that is impossible."""
        try:
            frames = self._encoder.encode(packet)
            if self.options.parser is not None:  # the built-in parser writes valid messages only
                for frame in frames:
                    check_message(frame)
        except SocketIOError:
            raise
        except Exception as error:  # a custom parser may raise anything
            raise PacketError(f"the parser cannot encode a packet: it raised {type(error).__name__}") from error
        return [SharedPacket(MESSAGE, frame) for frame in frames]

    # Notifications of the sessions

    def on_session_open(self, session: ServerSession, now: float) -> None:
        decoder = self._parser.decoder(self.options.max_attachments)
        if isinstance(decoder, BoundedDecoder):
            decoder.limit(_MEMORY_FACTOR * self.options.max_payload)
        self._connections[session.number] = Connection(session, decoder)
        self._timers.set(self, session.number, now + self.options.connect_timeout)
        super().on_session_open(session, now)

    def on_session_message(self, session: ServerSession, data: Data, now: float) -> None:
        connection = self._connections[session.number]
        try:
            packet = connection.decoder.feed(data)
            if packet is not None:
                self._take(connection, packet, now)
        except PacketError as error:
            session.abort("parse error", without_frames(error), now)
        except Exception as error:  # a custom parser may raise anything
            if self.options.parser is None:
                raise
            invalid = PacketError(f"the parser cannot decode a message: it raised {type(error).__name__}")
            session.abort("parse error", chained(invalid, error), now)

    def _take(self, connection: Connection, packet: Packet, now: float) -> None:
        """Handle a packet. Raise PacketError if the client may not send it."""
        client = connection.clients.get(packet.namespace)
        if client is None and packet.type == CONNECT:
            namespace = self._namespaces.get(packet.namespace)
            if namespace is not None:
                namespace.connect(connection, packet.data or {}, now)
            else:
                refusal = Packet(CONNECT_ERROR, packet.namespace, {"message": "Invalid namespace"})
                connection.session.send(self.encode(refusal), now)
        elif (
            client is not None and client.state is ClientState.CONNECTED and packet.type not in {CONNECT, CONNECT_ERROR}
        ):
            client.on_packet(packet, now)
        else:
            raise PacketError(f"the client sent a packet of type {packet.type}, which is not allowed now")

    def on_session_close(
        self, session: ServerSession, reason: ServerDisconnectReason, details: Exception | None, now: float
    ) -> None:
        connection = self._connections.pop(session.number, None)
        if connection is not None:
            self._timers.cancel(self, session.number)
            connection.decoder.reset()
            for client in [*connection.clients.values()]:
                client.disconnect(reason, details, now)
        super().on_session_close(session, reason, details, now)

    def timer_fired(self, name: str | int, now: float) -> None:
        """Close a session that has joined no namespace in time."""
        assert isinstance(name, int)
        if self.outbox.backlog:  # the packet that joins may be among those that are not handled yet
            self._timers.set(self, name, now + EXTENSION)
        else:
            self._connections[name].session.close(now)
