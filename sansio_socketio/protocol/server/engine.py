"""The Engine.IO server: its streams and sessions, which requests are accepted, and the answers to the others.

Rules of this file:

- Requests are checked in the order of the JavaScript server, and refused with its status, code and message.
- Session ids are drawn from the random source of the machine. Whoever can predict it can send in the name of others.
- There are at most `max_streams` streams and `max_sessions` sessions. A stream beyond is closed, a session refused with 503.

See https://socket.io/docs/v4/engine-io-protocol/.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from random import Random
from typing import Final

from ..actions import Outbox
from ..errors import ConnectError, OptionError
from ..packets.engineio import PROTOCOL, Handshake, encode_handshake
from ..states import transition
from ..timers import Timers
from ..transports.requests import Headers
from .events import RequestRejected, SessionQuestion
from .http import HTTPRequest, HTTPStream, RequestHandler, RequestRefused
from .options import EngineServerOptions
from .polling import ServerPolling
from .session import ServerSession, SessionObserver
from .states import SERVER_TRANSITIONS, ServerSessionState, ServerState
from .websocket import Handshake as WebSocketHandshake
from .websocket import ServerWebSocket

_ID_SIZE: Final = 15
_UNKNOWN_TRANSPORT: Final = 0
_UNKNOWN_SID: Final = 1
_BAD_METHOD: Final = 2
_BAD_REQUEST: Final = 3
_FORBIDDEN: Final = 4
_UNSUPPORTED_VERSION: Final = 5
_MESSAGES: Final = {
    _UNKNOWN_TRANSPORT: "Transport unknown",
    _UNKNOWN_SID: "Session ID unknown",
    _BAD_METHOD: "Bad handshake method",
    _BAD_REQUEST: "Bad request",
    _UNSUPPORTED_VERSION: "Unsupported protocol version",
}

Answer = Callable[[ConnectError | None, float], None]


class Questions:
    """The questions that the application has not answered."""

    __slots__ = ("_answers", "_last")

    def __init__(self) -> None:
        self._answers: dict[int, Answer] = {}
        self._last = 0

    def ask(self, answer: Answer) -> int:
        """Return the number of a new question. `answer` is called with the refusal, or None."""
        self._last += 1
        self._answers[self._last] = answer
        return self._last

    def withdraw(self, question: int) -> None:
        """Ignore the answer to a question."""
        self._answers.pop(question, None)

    def clear(self) -> None:
        """Withdraw all questions."""
        self._answers.clear()

    def answer(self, question: int, value: Exception | None, now: float) -> None:
        """Pass an answer on. Any exception but a ConnectError refuses without an explanation."""
        if value is not None and not isinstance(value, Exception):
            raise OptionError(f"an answer must be None or a ConnectError, not this {type(value).__name__}")
        answer = self._answers.get(question)
        if answer is not None:
            answer(value if value is None or isinstance(value, ConnectError) else ConnectError("Forbidden"), now)
            self.withdraw(question)  # not if a refusal cannot be encoded


class _Opening(RequestHandler):
    """The first request of a session, until the session is opened. It is the handler of the request."""

    def __init__(self, engine: EngineServer, session: ServerSession, handshake: WebSocketHandshake | None) -> None:
        self.engine = engine
        self.session = session
        self.handshake = handshake
        self.question = 0
        self._stream: HTTPStream | None = None

    def on_request(self, stream: HTTPStream, body: bytes, now: float) -> None:
        self._stream = stream
        engine = self.engine
        if not engine.asks_before_opening:
            self.answered(None, now)
            return
        self.question = engine.questions.ask(self.answered)
        session = self.session
        transport = "websocket" if self.handshake else "polling"
        engine.timers.set(self, "ask", now + engine.options.request_timeout)
        engine.outbox.deliver(
            SessionQuestion(
                session.number, self.question, transport, session.peer, session.tls, session.headers, session.query
            )
        )

    def on_lost(self, stream: HTTPStream, now: float) -> None:
        self._end()

    def timer_fired(self, name: str | int, now: float) -> None:
        self.answered(ConnectError("the question about the session was not answered in time"), now)

    def answered(self, refusal: ConnectError | None, now: float) -> None:
        """Open the session, or refuse it."""
        stream = self._stream
        assert stream is not None
        self._finish()
        if refusal is None and self.engine.is_stopping:
            refusal = ConnectError("the server is shutting down")
        if refusal is None and self.question and self.handshake is not None and stream.has_excess:
            refusal = ConnectError(f"more than {self.engine.options.max_head} bytes follow the request")
        if refusal is None:
            self.engine.open(self.session, stream, self.handshake, now)
        else:
            self._end()
            stream.reject(403, refusal.message, now, code=_FORBIDDEN)

    def _finish(self) -> None:
        self.engine.questions.withdraw(self.question)
        self.engine.timers.cancel(self, "ask")

    def _end(self) -> None:
        self._finish()
        self.session.refuse()
        self.engine.forget(self.session)


class _Preflight(RequestHandler):
    """The handler of CORS preflight requests."""

    def on_request(self, stream: HTTPStream, body: bytes, now: float) -> None:
        request = stream.request
        assert request is not None
        headers = [(b"Access-Control-Allow-Methods", b"GET, POST"), (b"Access-Control-Max-Age", b"86400")]
        wanted = request.header(b"access-control-request-headers")
        if wanted:
            headers.append((b"Access-Control-Allow-Headers", wanted))
        stream.respond(204, b"", now, headers=headers)


class EngineServer:
    """The streams and sessions of a server.

    Attributes:
        state: Whether sessions are opened.
        asks_before_opening: Whether the application is asked before a session is opened.
        sessions: The sessions by number.
    """

    def __init__(
        self,
        options: EngineServerOptions,
        observer: SessionObserver,
        outbox: Outbox,
        timers: Timers,
        random: Random,
    ) -> None:
        self.options = options
        self.outbox = outbox
        self.timers = timers
        self.questions = Questions()
        self.state = ServerState.SERVING
        self.asks_before_opening = False
        self.sessions: dict[int, ServerSession] = {}
        self._observer = observer
        self._random = random
        self._by_sid: dict[str, ServerSession] = {}
        self._paths = frozenset((options.path.rstrip("/"), options.path.rstrip("/") + "/"))
        self._last_session = 0

    @property
    def is_stopping(self) -> bool:
        """Whether no further requests are received on a stream."""
        return self.state is not ServerState.SERVING

    def new_id(self) -> str:
        """Return an id that cannot be predicted."""
        return urlsafe_b64encode(self._random.randbytes(_ID_SIZE)).decode("ascii")

    # Commands

    def accept(self, peer: str, now: float, *, tls: bool) -> int:
        """Take a stream that has been accepted. Return its number."""
        stream = HTTPStream(self, self.options, self.outbox, self.timers, peer=peer, tls=tls, now=now)
        if self.is_stopping or len(self.outbox.owners) > self.options.max_streams:
            stream.close()
        return stream.number

    def shutdown(self, now: float) -> None:
        """Close all sessions and streams, within `close_timeout`."""
        if self.state is not ServerState.SERVING:
            return
        self._change(ServerState.STOPPING)
        self.timers.set(self, "stop", now + self.options.close_timeout)
        for session in [*self.sessions.values()]:
            session.close(now, "server shutting down")
        for owner in [*self.outbox.owners.values()]:
            if isinstance(owner, HTTPStream):
                owner.stop(now)
        self.outbox.on_last_closed = self._last_closed
        self._last_closed()

    def timer_fired(self, name: str | int, now: float) -> None:
        """Abort what has not been closed in time."""
        self.abort(now)

    def abort(self, now: float) -> None:
        """Close all sessions and streams at once."""
        if self.state is ServerState.SERVING:
            self._change(ServerState.STOPPING)
        self.questions.clear()
        self._abort_sessions(now)
        for stream in [*self.outbox.owners]:
            self.outbox.close_stream(stream, abort=True)
        self._last_closed()

    def _abort_sessions(self, now: float) -> None:
        for session in [*self.sessions.values()]:
            if session.state is ServerSessionState.ASKING:
                session.refuse()
                self.forget(session)
            else:
                session.abort("server shutting down", None, now)

    def _last_closed(self) -> None:
        if self.outbox.owners:
            return
        if self.state is ServerState.STOPPING:  # no client can fetch any more what is buffered
            self._abort_sessions(self.timers.now)
        if self.state is ServerState.STOPPING and not self.sessions:
            self.timers.clear()
            self._change(ServerState.STOPPED)

    def _change(self, state: ServerState) -> None:
        self.state = transition(SERVER_TRANSITIONS, self.state, state)

    # Requests: the methods of `http.RequestRouter`

    def cors(self, request: HTTPRequest | None) -> Headers:
        allowed = self.options.cors
        if allowed == "*":
            return [(b"Access-Control-Allow-Origin", b"*")]
        origin = b"" if request is None else request.header(b"origin")
        if not origin or origin.decode("latin-1") not in allowed:
            return [(b"Vary", b"Origin")] if allowed else []
        return [
            (b"Access-Control-Allow-Origin", origin),
            (b"Access-Control-Allow-Credentials", b"true"),
            (b"Vary", b"Origin"),
        ]

    def rejected(self, stream: HTTPStream, status: int, why: str) -> None:
        self.outbox.deliver(RequestRejected(stream.number, status, why))

    def route(self, stream: HTTPStream, request: HTTPRequest, now: float) -> RequestHandler:
        if request.path not in self._paths:
            raise RequestRefused(404, "the path is not that of this server")
        if request.method == "OPTIONS":
            return _Preflight()
        query = request.query
        transport = query.get("transport")
        if transport not in self.options.transports:
            raise _refused(_UNKNOWN_TRANSPORT)
        upgrades = request.header(b"upgrade").lower() == b"websocket"
        if upgrades is not (transport == "websocket"):
            raise _refused(_BAD_REQUEST)
        sid = query.get("sid")
        if sid is None:
            return self._begin(stream, request)
        session = self._by_sid.get(sid)
        if session is None or session.state is ServerSessionState.ASKING:
            raise _refused(_UNKNOWN_SID)
        if upgrades:
            return _Upgrading(self, session, WebSocketHandshake(request))
        polling = session.polling
        if polling is None:
            raise _refused(_BAD_REQUEST)
        polling.admit(stream, request.method, now)
        return polling

    def _begin(self, stream: HTTPStream, request: HTTPRequest) -> RequestHandler:
        if request.method != "GET":
            raise _refused(_BAD_METHOD)
        if request.query.get("EIO") != str(PROTOCOL):
            raise _refused(_UNSUPPORTED_VERSION)
        if self.is_stopping or len(self.sessions) >= self.options.max_sessions:
            raise RequestRefused(503, "no more sessions are opened")
        handshake = WebSocketHandshake(request) if request.query["transport"] == "websocket" else None
        self._last_session += 1
        session = ServerSession(
            self._last_session,
            self.new_id(),
            self._observer,
            self.options,
            self.outbox,
            self.timers,
            peer=stream.peer,
            tls=stream.tls,
            headers=_readable(request),
            query=request.query,
        )
        self.sessions[session.number] = self._by_sid[session.sid] = session
        return _Opening(self, session, handshake)

    def open(
        self, session: ServerSession, stream: HTTPStream, handshake: WebSocketHandshake | None, now: float
    ) -> None:
        """Open a session that the application has accepted."""
        options = self.options
        transport: ServerPolling | ServerWebSocket
        if handshake is None:
            transport = ServerPolling(session, options, self.outbox)
            stream.hand_to(transport)
            transport.on_request(stream, b"", now)
        else:
            transport = ServerWebSocket(session, options, self.outbox, self.timers, self._random)
            transport.open(stream, handshake, now)
        can_upgrade = handshake is None and "websocket" in options.transports
        upgrades = ("websocket",) if can_upgrade else ()
        offer = Handshake(session.sid, upgrades, options.ping_interval, options.ping_timeout, options.max_payload)
        session.open(transport, encode_handshake(offer), now)

    def upgrade(self, session: ServerSession, stream: HTTPStream, handshake: WebSocketHandshake, now: float) -> None:
        """Open the WebSocket of an upgrade. Close it if the session cannot be upgraded, as the JavaScript server does."""
        probe = ServerWebSocket(session, self.options, self.outbox, self.timers, self._random)
        if session.can_upgrade:
            session.begin_upgrade(probe, now)
            probe.open(stream, handshake, now)
        else:
            probe.open(stream, handshake, now)
            probe.close(now)

    def forget(self, session: ServerSession) -> None:
        """Remove a session that has ended."""
        del self.sessions[session.number], self._by_sid[session.sid]
        if not self.sessions:
            self._last_closed()


class _Upgrading(RequestHandler):
    """The handler of the request that opens the WebSocket of an upgrade."""

    def __init__(self, engine: EngineServer, session: ServerSession, handshake: WebSocketHandshake) -> None:
        self._engine = engine
        self._session = session
        self._handshake = handshake

    def on_request(self, stream: HTTPStream, body: bytes, now: float) -> None:
        self._engine.upgrade(self._session, stream, self._handshake, now)


def _readable(request: HTTPRequest) -> dict[str, str]:
    """Return the headers of a request. Several of the same name are joined."""
    names = dict.fromkeys(name for name, _ in request.headers)
    return {name.decode("ascii"): request.header(name).decode("latin-1") for name in names}


def _refused(code: int) -> RequestRefused:
    return RequestRefused(400, _MESSAGES[code], code)
