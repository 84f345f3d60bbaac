"""The Socket.IO client: namespaces on one connection, and the connection's reconnection (JavaScript's Manager).

Rules of this file:

- One Engine.IO session at a time carries the namespaces. A session that is still closing is detached from the
  connection: its events are delivered, but they do not change the connection.
- After the application has closed the connection or the session, the next session begins when the streams of the old one
  are closed, within `close_timeout`. So the server receives what was sent before that first. A session that has ended for
  another reason does not delay the next one: its streams may be dead.
- The connection opens when a namespace needs it, and closes when no namespace needs it.
- A failure is reported in the order of the JavaScript client: the connection's `Failed`, the namespaces' `ConnectFailed`,
  then `ReconnectFailed` if that was the last attempt, and `ReconnectError`.
- Questions are asked again for each attempt, and must be answered within the option `timeout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final

from .backoff import Backoff
from .emit import Frames
from .engine import EngineSession, Memory
from .engine_options import check_engine_options, request_query
from .errors import (
    DisconnectedError,
    OpenTimeout,
    OptionError,
    PacketError,
    SocketIOError,
    TransportError,
    chained,
    without_frames,
)
from .events import (
    Asked,
    Closed,
    Data,
    DisconnectReason,
    Drained,
    EngineClosed,
    EngineDrained,
    EngineOpened,
    Failed,
    Opened,
    Pinged,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
    ReconnectFailed,
)
from .limits import Limits
from .machine import Machine
from .namespace import Namespace
from .options import ASK, ClientOptions, NamespaceOptions, RunningOptions, answer_error, check_type
from .packets.bounds import BoundedDecoder
from .packets.engineio import check_message
from .packets.socketio import Decoder, Encoder, JSONParser, Packet, Parser, check_namespace
from .states import CONNECTION_TRANSITIONS, ConnectionState, transition
from .statistics import Statistics
from .url import parse_url

_OPEN: Final = ConnectionState.OPEN
_RECONNECTING: Final = frozenset({ConnectionState.WAITING, ConnectionState.ASKING, ConnectionState.REOPENING})

HIGH_WATER: Final = 512 * 1024
"""High-water mark of the write buffer, in bytes. Above it `writable` is False until the buffer has drained."""


_MEMORY_FACTOR: Final = 8
"""How much memory a message may use, as a multiple of `max_message_size`."""


class ClientProtocol(RunningOptions, Machine):
    """The Socket.IO client as a state machine without I/O (Socket.IO protocol 5).

    `Machine` documents the inputs and outputs, `events` the events.

    Args:
        url: The server's scheme, host and port, and optionally a query. Its path is ignored: use the option `path`.
        options: The options. The machine keeps a copy. Those of `RunningOptions` can be set while it runs.
        random: The only source of randomness.
        memory: The cookies and remembered upgrades, which outlive a session. Machines of the same origin may share one.

    Attributes:
        state: The state of the connection.
        engine: The Engine.IO session of the connection, or None if none is opening or open.
        last_engine: The current Engine.IO session, or else the last one; None before the first one.
        namespaces: The namespaces by name.
        limits: The limits of the server on the current session.
        asks_before_reconnecting: Whether an attempt to reconnect waits until `ReconnectAttempt` has been answered.

    Raises:
        OptionError: The URL or an option is invalid.
        TypeError: `options` is a dict, for example, or `random` is None.
    """

    __slots__ = (
        "_answers",
        "_attempt_question",
        "_backoff",
        "_buffered_bytes",
        "_buffered_events",
        "_congested",
        "_decoder",
        "_encoder",
        "_held_since",
        "_is_ordered",
        "_memory",
        "_next_question",
        "_next_session",
        "_open_limit",
        "_open_reconnects",
        "_parser",
        "_partial_bytes",
        "_questions",
        "_random",
        "_retry_in",
        "_sessions",
        "asks_before_reconnecting",
        "engine",
        "last_engine",
        "limits",
        "namespaces",
        "options",
        "outbox",
        "state",
        "timers",
        "url",
    )

    def __init__(
        self, url: str, options: ClientOptions | None = None, *, random: Random, memory: Memory | None = None
    ) -> None:
        if options is not None:
            check_type("options", options, ClientOptions)
        check_type("random", random, Random)
        super().__init__()
        options = ClientOptions() if options is None else replace(options)
        check_engine_options(options)
        self.url = parse_url(url)
        self.options = options
        self.outbox = self._outbox
        self.timers = self._timers
        self.namespaces: dict[str, Namespace] = {}
        self.state = ConnectionState.CLOSED
        self.engine: EngineSession | None = None
        self.last_engine: EngineSession | None = None
        self.asks_before_reconnecting = False
        self.limits = Limits()
        parser: Parser = JSONParser() if options.parser is None else options.parser
        self._parser = parser
        self._encoder: Encoder = parser.encoder()
        self._decoder: Decoder = parser.decoder(options.max_attachments)
        if isinstance(self._decoder, BoundedDecoder):
            self._decoder.limit(_MEMORY_FACTOR * options.max_message_size)
        self._partial_bytes = 0
        self._memory = Memory() if memory is None else memory
        self._random = random
        self._sessions: dict[int, EngineSession] = {}
        self._next_session = 1
        self._backoff = Backoff(options, random)
        self._outbox.on_last_closed = self._check_held
        self._is_ordered = False  # the application has closed the last session
        self._held_since: float | None = None  # since when the next session waits for the last one to end
        self._open_limit = 0.0  # the timeout that the timer "open" was set with
        self._open_reconnects = False
        self._retry_in: float | None = None  # the delay before the attempt that is waited for
        self._questions: dict[tuple[Asked, str | None], int] = {}
        self._next_question = 1
        self._attempt_question: int | None = None
        self._answers: dict[Asked, Mapping[str, str]] = {}
        self._buffered_events = 0
        self._buffered_bytes = 0
        self._congested = False

    # The options that may be set while running (options.RunningOptions)

    def _get_option(self, name: str) -> Any:
        if name == "query" and self.url.query:
            return dict(self.url.query)
        return getattr(self.options, name)

    def _set_option(self, name: str, value: Any) -> None:
        options = replace(
            self.options, **{name: value}
        )  # a copy, because the session keeps the options that it was opened with
        check_engine_options(options)
        self.handle_received()
        self.options = self._backoff.options = options
        if name == "query":
            self.url = replace(self.url, query=())
        if name == "reconnection" and not value and self.state in {ConnectionState.WAITING, ConnectionState.ASKING}:
            self._stop_attempts()
            self._change(ConnectionState.CLOSED)

    # State

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self.state is _OPEN

    @property
    def is_opening(self) -> bool:
        """Whether an attempt to open the connection is in progress."""
        return self.state is ConnectionState.OPENING or self.state is ConnectionState.REOPENING

    @property
    def reconnecting(self) -> bool:
        """Whether the client is reconnecting: waiting for the next attempt, or making one."""
        return self.state in _RECONNECTING

    @property
    def idle(self) -> bool:
        """Whether the connection is closed, no attempt is planned and every stream is closed."""
        return self.state is ConnectionState.CLOSED and not self._outbox.owners

    @property
    def sends_at_once(self) -> bool:
        """Whether a packet would be sent immediately. If not, a volatile event is dropped."""
        return self.engine is not None and self.engine.sends_at_once

    @property
    def writable(self) -> bool:
        """Whether the write buffer is below the high-water mark.

        Above it, this is False until the write buffer has drained and `Drained` is delivered. Without a connection it is
        True: events are then buffered, up to `max_buffered_events` and `max_buffered_bytes`.
        """
        return not self._congested

    def statistics(self) -> Statistics:
        """Return the counters since the machine was created, and the current sizes of its queues."""
        counters, engine = self._outbox.counters, self.engine
        return Statistics(
            bytes_received=counters.bytes_received,
            bytes_sent=counters.bytes_sent,
            packets_received=counters.packets_received,
            packets_sent=counters.packets_sent,
            events_received=counters.events_received,
            events_sent=counters.events_sent,
            reconnects=counters.reconnects,
            acks_pending=sum([namespace.acks_pending for namespace in self.namespaces.values()]),
            queued_events=self._buffered_events,
            queued_bytes=self._buffered_bytes + (0 if engine is None else engine.buffered_bytes),
            transport=None if engine is None else engine.transport,
        )

    # Commands

    def namespace(self, name: str = "/", options: NamespaceOptions | None = None) -> Namespace:
        """Return the namespace `name`. The first call creates it with these options.

        Raises:
            OptionError: The name is invalid.
        """
        name = namespace_name(name)
        namespace = self.namespaces.get(name)
        if namespace is None:
            options = NamespaceOptions() if options is None else options
            check_type("options", options, NamespaceOptions)
            namespace = self.namespaces[name] = Namespace(name, options, self)
        return namespace

    def open(self, now: float, *, reconnect: bool = True) -> None:
        """Open the connection unless it is open or opening. During a delay, the next attempt begins at once.

        Args:
            now: The time.
            reconnect: Whether the client reconnects if the first attempt fails.
        """
        self.advance(now)
        if self.state is ConnectionState.CLOSED:
            self._open_reconnects = reconnect
            self._begin(now)
        elif self.state in {ConnectionState.WAITING, ConnectionState.ASKING}:
            self._begin(now)

    def close(self, now: float) -> None:
        """Close the connection when its write buffer has drained, within `close_timeout`, and stop reconnecting."""
        self.advance(now)
        self._close(now)

    def close_session(self, number: int, now: float) -> None:
        """Close the session `number` when its write buffer has drained, within `close_timeout`.

        The connection is then lost with the reason "forced close", and opened again if `reconnection` is True. Packets
        that are sent meanwhile are dropped. Do nothing if the session is closing or closed.
        """
        self.advance(now)
        engine = self.engine
        if engine is not None and engine.number == number:
            engine.close(now)

    def abort(self, now: float) -> None:
        """Close everything at once, including close handshakes in progress. Drop buffered and received packets and events."""
        self._outbox.drop_all_received()
        self.advance(now)
        self._close(now, abort=True)
        for namespace in list(self.namespaces.values()):
            namespace.on_aborted()
        for session in list(self._sessions.values()):
            session.abort(now)
        self._cut()

    def answer(self, question: int, value: Any, now: float) -> None:
        """Answer a `Question`, or (with None) a `ReconnectAttempt` that has a question.

        An Exception as the value fails the attempt to connect or to join. A late answer is ignored.
        """
        self.advance(now)
        if question == self._attempt_question:
            self._attempt_question = None
            if isinstance(value, Exception):
                self._open_failed(value, now)
            else:
                self._create_session(now)
            return
        for (about, name), number in self._questions.items():
            if number == question:
                del self._questions[about, name]
                if name is not None:
                    self.namespaces[name].on_answer(value, now)
                else:
                    self._answered(about, value, now)
                return

    # The interface for namespaces (namespace.NamespaceConnection)

    def encode(self, packet: Packet) -> Frames:
        """Return the messages of a packet. Any exception of the parser is raised as a PacketError."""
        try:
            frames = self._encoder.encode(packet)
            if self.options.parser is not None:  # the built-in parser writes valid messages only
                for frame in frames:
                    check_message(frame)
            return frames
        except SocketIOError:
            raise
        except Exception as error:
            # The message omits the packet and the error's message, which may contain secrets and whose repr may fail.
            raise PacketError(f"the parser cannot encode a packet: it raised {type(error).__name__}") from error

    def send_frames(self, frames: Frames, now: float, *, compress: bool) -> None:
        """Send messages on the session, if there is one."""
        engine = self.engine
        if engine is not None:
            engine.send(frames, now, compress=compress)
            if engine.buffer_size > HIGH_WATER:
                self._congested = self._congested or engine.buffered_bytes > HIGH_WATER
                self._check_overflow(engine, now)

    def ensure_open(self, now: float) -> None:
        """Open the connection for a namespace. During a delay, the next attempt does not begin earlier."""
        if self.state is ConnectionState.CLOSED:
            self._open_reconnects = True
            self._begin(now)

    def release(self, now: float) -> None:
        """Close the connection if no namespace is active any more."""
        if not any(namespace.active for namespace in self.namespaces.values()):
            self._close(now)

    def join_failed(self, error: OpenTimeout, now: float) -> bool:
        """End the connection if no namespace has joined, because the attempt has failed. Return whether it was ended."""
        if self.engine is None or any(namespace.connected for namespace in self.namespaces.values()):
            return False
        self.engine.fail(error, now)
        return True

    def retry_delay(self, attempts: int) -> float | None:
        """Return the delay in seconds before the retry after `attempts` attempts, or None to give up."""
        if self.options.reconnection and attempts < self.options.reconnection_attempts:
            return self._backoff.delay_after(attempts)
        return None

    def ask(self, about: Asked, namespace: str | None) -> None:
        """Ask the application a question for a namespace, or (None) for the session that is about to open."""
        question = self._questions[about, namespace] = self._number_question()
        self._outbox.deliver(Question(question, about, namespace))

    def has_space(self, size: int) -> bool:
        """Return whether one more event of `size` bytes may be buffered."""
        engine, options = self.engine, self.options
        buffered = self._buffered_bytes + size
        if engine is not None:
            buffered += engine.buffer_size
        return self._buffered_events < options.max_buffered_events and buffered <= options.max_buffered_bytes

    def buffered(self, events: int, size: int) -> None:
        """Add to the counts of buffered events and bytes. Negative numbers subtract."""
        self._buffered_events += events
        self._buffered_bytes += size

    def protocol_error(self, error: PacketError, now: float) -> None:
        """Close the connection because of an invalid packet, and reconnect."""
        self._lost("parse error", error, now)

    # Opening

    def _change(self, state: ConnectionState) -> None:
        self.state = transition(CONNECTION_TRANSITIONS, self.state, state)

    def _begin(self, now: float) -> None:
        """Begin an attempt to open the connection."""
        self._timers.cancel(self, "reconnect")
        self._attempt_question = None
        self._start_timeout(now)
        self._create_session(now)

    def _start_timeout(self, now: float) -> None:
        limit = self.options.timeout
        if limit is None:
            self._timers.cancel(self, "open")
        else:
            self._open_limit = limit
            self._timers.set(self, "open", now + limit)

    def _create_session(self, now: float) -> None:
        is_first = self.state in {ConnectionState.CLOSED, ConnectionState.OPENING}
        self._change(ConnectionState.OPENING if is_first else ConnectionState.REOPENING)
        if self._is_ordered and (self._sessions or self._outbox.owners):
            self._held_since = now
            self._timers.cancel(self, "open")
            return
        self._answers = {}
        number = self._next_session
        self._next_session += 1
        self.engine = self.last_engine = self._sessions[number] = EngineSession(
            self.url,
            self.options,
            self,
            number=number,
            memory=self._memory,
            outbox=self._outbox,
            timers=self._timers,
            random=self._random,
        )
        if self.options.query is ASK and not self.url.query:
            self.ask("query", None)
        if self.options.extra_headers is ASK:
            self.ask("extra_headers", None)
        if not self._questions:
            self._open_engine(self.engine, now)

    def _check_held(self) -> None:
        """Begin the session that is held back, if there is one and the last session has ended, with the next input."""
        if self._held_since is not None and not (self._sessions or self._outbox.owners):
            self._timers.set(self, "begin", self._held_since)

    def _number_question(self) -> int:
        number = self._next_question
        self._next_question += 1
        return number

    def _answered(self, about: Asked, value: Any, now: float) -> None:
        error = answer_error(about, value)
        if error is not None:
            self._open_failed(error, now)
            return
        self._answers[about] = dict(value)
        if not self._questions and self.engine is not None:
            self._open_engine(self.engine, now)

    def _open_engine(self, engine: EngineSession, now: float) -> None:
        query = request_query(engine.url, engine.options, self._answers.get("query"))
        headers = self._answers.get("extra_headers", engine.options.extra_headers)
        engine.open(now, query=query, headers={} if headers is ASK else headers)

    @property
    def progress(self) -> str:
        """How far the attempt to open the connection has come, for an error if it takes too long; "" if there is none."""
        if self._attempt_question is not None:
            return "ReconnectAttempt was not answered"
        if self._questions:
            return f"the application has not provided {' and '.join(sorted(about for about, _ in self._questions))}"
        return "" if self.engine is None or self.is_open else self.engine.progress

    def _open_failed(self, error: Exception, now: float) -> None:
        engine, was_reconnecting = self.engine, self.reconnecting
        self._detach()
        gave_up = self._wait_or_close(now, retry=was_reconnecting or self._open_reconnects)
        self._outbox.deliver(Failed(error, self._retry_in))
        for namespace in list(self.namespaces.values()):
            namespace.on_failed(error)
        if gave_up:
            self._outbox.deliver(ReconnectFailed())
        if was_reconnecting:
            self._outbox.deliver(ReconnectError(error))
        if engine is not None:
            engine.abort(now)  # a server that has not responded would not complete a close handshake either

    # Reconnection

    def _wait_or_close(self, now: float, *, retry: bool) -> bool:
        """Schedule the next attempt, or close. Return True if `reconnection_attempts` are used up."""
        retry = retry and self.options.reconnection
        if retry and self._backoff.attempts < self.options.reconnection_attempts:
            self._change(ConnectionState.WAITING)
            self._retry_in = self._backoff.next_delay()
            self._timers.set(self, "reconnect", now + self._retry_in)
            return False
        self._retry_in = None
        self._change(ConnectionState.CLOSED)
        if retry:
            self._backoff.reset()
        return retry

    def _attempt_due(self, now: float) -> None:
        if self.asks_before_reconnecting:
            self._change(ConnectionState.ASKING)
            self._start_timeout(now)
            self._attempt_question = self._number_question()
            self._outbox.deliver(ReconnectAttempt(self._backoff.attempts, self._attempt_question))
        else:
            self._outbox.deliver(ReconnectAttempt(self._backoff.attempts))
            self._begin(now)

    def _stop_attempts(self) -> None:
        self._backoff.reset()
        self._retry_in = None
        self._attempt_question = None
        self._timers.cancel(self, "reconnect")
        self._timers.cancel(self, "open")

    def timer_fired(self, name: str | int, now: float) -> None:
        if name == "reconnect":
            self._attempt_due(now)
        elif name == "begin":
            self._held_since = None
            self._start_timeout(now)
            self._create_session(now)
        else:  # "open"
            late = f"the connection to {self.url.address} was not open within {self._open_limit:g} seconds"
            self._open_failed(OpenTimeout(f"{late}: {self.progress}"), now)

    # Notifications of the session (engine.EngineObserver)

    def on_engine_open(self, engine: EngineSession, now: float) -> None:
        if engine is not self.engine:
            return
        was_reconnecting = self.reconnecting
        self._timers.cancel(self, "open")
        self.limits.begin(engine)
        self._change(ConnectionState.OPEN)
        self._outbox.deliver(Opened())
        if was_reconnecting:
            self._outbox.counters.reconnects += 1
            self._outbox.deliver(Reconnected(self._backoff.attempts))
        self._outbox.deliver(EngineOpened(engine.sid or "", engine.transport or "", session=engine.number))
        for namespace in list(self.namespaces.values()):
            namespace.on_open(now)

    def on_engine_message(self, engine: EngineSession, data: Data, now: float) -> None:
        if engine is not self.engine:
            return
        try:
            packet = self._decoder.feed(data)
        except PacketError as error:
            self.protocol_error(without_frames(error), now)
            return
        except Exception as error:  # a custom parser may raise anything
            invalid = PacketError(f"the parser cannot decode a message: it raised {type(error).__name__}")
            self.protocol_error(chained(invalid, error), now)
            return
        if packet is None:
            self._count_partial(len(data), now)
            return
        self._partial_bytes = 0
        namespace = self.namespaces.get(packet.namespace)
        if namespace is not None:
            namespace.on_packet(packet, now)

    def on_engine_ping(self, engine: EngineSession, now: float) -> None:
        if engine is self.engine:
            if not engine.buffered_bytes:
                self.limits.accepted()
            self._outbox.deliver(Pinged())

    def on_engine_drain(self, engine: EngineSession, now: float) -> None:
        if engine.report_packets:
            self._outbox.deliver(EngineDrained(session=engine.number))
        if engine is self.engine:
            self._notify_drained()

    def on_engine_close(
        self, engine: EngineSession, reason: DisconnectReason, details: Exception | None, now: float
    ) -> None:
        del self._sessions[engine.number]
        if engine is self.engine:
            details = self.limits.explain(reason, details)
            self._session_lost(reason, details, now)
        self._outbox.deliver(EngineClosed(reason, details, session=engine.number))
        self._check_held()

    # Closing

    def _session_lost(self, reason: DisconnectReason, details: Exception | None, now: float) -> None:
        """Handle the end of the session that carries the namespaces."""
        if self.state is not _OPEN:
            error = details or DisconnectedError(f"the server ended the session before it was open: {reason}", reason)
            self._open_failed(error, now)
            return
        if reason == "transport error" and details is not None:
            self._outbox.deliver(Failed(details))
            for namespace in list(self.namespaces.values()):
                namespace.on_failed(details)
        self._lost(reason, details, now)

    def _close(self, now: float, *, abort: bool = False) -> None:
        """Close the connection, or cancel the next attempt, because the application asked for it."""
        if self.state is not ConnectionState.CLOSED:
            self._stop_attempts()
            self._change(ConnectionState.CLOSED)
            self._end("forced close", None, now, abort=abort)

    def _lost(self, reason: DisconnectReason, details: Exception | None, now: float) -> None:
        """Report the loss of the connection, and reconnect."""
        if not isinstance(details, OpenTimeout):  # the attempts to reconnect end when a namespace has been able to join
            self._backoff.reset()
        gave_up = self._wait_or_close(now, retry=True)
        self._end(reason, details, now)
        if gave_up:
            self._outbox.deliver(ReconnectFailed())

    def _end(self, reason: DisconnectReason, details: Exception | None, now: float, *, abort: bool = False) -> None:
        """Close the session, and report that the connection is closed."""
        engine = self.engine
        self._is_ordered = reason == "forced close"
        self._detach()
        self._outbox.deliver(Closed(reason, details, self._retry_in))
        for namespace in list(self.namespaces.values()):
            namespace.on_closed(reason, details)
        if engine is not None:
            end = engine.abort if abort else engine.close
            end(now)

    def _detach(self) -> None:
        """Detach the session from the connection, and discard its questions."""
        self.engine = None
        self.limits.end()
        self._questions.clear()
        self._attempt_question = None
        self._held_since = None
        self._timers.cancel(self, "begin")
        self._timers.cancel(self, "open")
        self._decoder.reset()
        self._partial_bytes = 0
        self._notify_drained()

    def _notify_drained(self) -> None:
        if self._congested:
            self._congested = False
            self._outbox.deliver(Drained())

    def _check_overflow(self, engine: EngineSession, now: float) -> None:
        """End a session whose server requests acknowledgements but does not read them. (Emits fail earlier.)"""
        bound = self.options.max_buffered_bytes
        if engine.buffer_size > 2 * bound:
            waiting = f"{engine.buffer_size} bytes are buffered, more than twice max_buffered_bytes ({bound})"
            engine.fail(TransportError(f"the server does not read: {waiting}", transport=engine.transport), now)

    def _count_partial(self, size: int, now: float) -> None:
        self._partial_bytes += size
        if self._partial_bytes > self.options.max_message_size:
            self.protocol_error(
                PacketError(f"a packet's attachments exceed max_message_size ({self.options.max_message_size} bytes)"),
                now,
            )


def namespace_name(name: str) -> str:
    """Return the name with a leading slash, as in packets. Raise OptionError if the name is invalid."""
    if not isinstance(name, str):
        raise OptionError(f"the name of a namespace must be a str such as '/chat', not {name!r}")
    name = name if name.startswith("/") else f"/{name}"
    try:
        check_namespace(name)
    except PacketError as error:
        raise OptionError(str(error)) from None
    return name
