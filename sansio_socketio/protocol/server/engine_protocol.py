"""The server's machines: what they have in common, and Engine.IO alone.

`machine.Machine` documents the contract. A server has no `OpenStream`; the driver reports the streams that it has accepted.
"""

from __future__ import annotations

from random import Random

from ..events import Data
from ..machine import Machine
from ..packets.engineio import MESSAGE, Packet, check_message
from .engine import EngineServer
from .events import ServerDisconnectReason, SessionClosed, SessionMessage, SessionOpened
from .options import EngineServerOptions
from .session import ServerSession
from .states import ServerState


class ServerMachine(Machine):
    """The inputs and commands that both machines of a server have. It is the observer of the sessions."""

    def __init__(self, options: EngineServerOptions, *, random: Random) -> None:
        super().__init__()
        self._engine = EngineServer(options, self, self._outbox, self._timers, random)

    @property
    def state(self) -> ServerState:
        """Whether sessions are opened."""
        return self._engine.state

    @property
    def sessions(self) -> list[int]:
        """The numbers of the sessions that are open, asked about or being closed."""
        return [*self._engine.sessions]

    @property
    def asks_before_opening(self) -> bool:
        """Whether `SessionQuestion` is delivered before a session is opened. Can be set."""
        return self._engine.asks_before_opening

    @asks_before_opening.setter
    def asks_before_opening(self, value: bool) -> None:
        self._engine.asks_before_opening = value

    def buffered_bytes(self, session: int) -> int:
        """The approximate memory for the packets of a session that are buffered or in flight."""
        found = self._engine.sessions.get(session)
        return 0 if found is None else found.buffered_bytes

    def writable(self, session: int) -> bool:
        """Whether the session can take more. If not, `SessionDrained` or `SessionClosed` follows. True if it has ended."""
        found = self._engine.sessions.get(session)
        return found is None or found.writable

    # Inputs

    def stream_accepted(self, now: float, *, peer: str = "", tls: bool = False) -> int:
        """Report a stream that was accepted (TLS handshake included). Return its number, which is never reused.

        Args:
            now: The time.
            peer: The address of the peer, for the application.
            tls: Whether the stream is encrypted.
        """
        self.advance(now)
        return self._engine.accept(peer, now, tls=tls)

    def answer(self, question: int, value: Exception | None, now: float) -> None:
        """Answer a question: None accepts, a ConnectError refuses with its message and data.

        Any other exception refuses without an explanation, so that nothing internal is shown to the peer.

        Raises:
            OptionError: `value` is something else.
        """
        self.advance(now)
        self._engine.questions.answer(question, value, now)

    # Commands

    def close_session(self, session: int, now: float) -> None:
        """Close a session when its write buffer has drained, within `close_timeout`. Do nothing if it has ended."""
        self.advance(now)
        found = self._engine.sessions.get(session)
        if found is not None:
            found.close(now)

    def shutdown(self, now: float) -> None:
        """Open no more sessions, close all sessions and streams within `close_timeout`. Then `state` is "stopped"."""
        self.advance(now)
        self._engine.shutdown(now)

    def abort(self, now: float) -> None:
        """Close everything at once. Drop buffered and received packets."""
        self._outbox.drop_all_received()
        self.advance(now)
        self._engine.abort(now)

    # Notifications of the sessions (session.SessionObserver)

    def on_session_open(self, session: ServerSession, now: float) -> None:
        self._outbox.deliver(
            SessionOpened(session.number, session.transport, session.peer, session.tls, session.headers, session.query)
        )

    def on_session_message(self, session: ServerSession, data: Data, now: float) -> None:
        raise NotImplementedError

    def on_session_close(
        self, session: ServerSession, reason: ServerDisconnectReason, details: Exception | None, now: float
    ) -> None:
        self._outbox.deliver(SessionClosed(session.number, reason, details))
        self._engine.forget(session)


class EngineServerProtocol(ServerMachine):
    """An Engine.IO server without namespaces, as a state machine without I/O: sessions exchange messages in order.

    Args:
        options: The options.
        random: The source of the session ids. It must be unpredictable: `random.SystemRandom()`, except in tests.
    """

    def __init__(self, options: EngineServerOptions | None = None, *, random: Random) -> None:
        super().__init__(options or EngineServerOptions(), random=random)

    def send(self, session: int, data: Data, now: float) -> None:
        """Send a message. Drop it if the session is closing or has ended: the client may end it at any time.

        Raises:
            PacketError: `data` is neither str nor bytes, or contains an unpaired surrogate or U+001E, which separates packets
                over polling.
        """
        check_message(data)
        self.advance(now)
        found = self._engine.sessions.get(session)
        if found is not None:
            found.send([Packet(MESSAGE, data)], now)

    def on_session_message(self, session: ServerSession, data: Data, now: float) -> None:
        self._outbox.deliver(SessionMessage(session.number, data))
