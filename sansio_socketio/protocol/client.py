"""The Socket.IO client: namespaces on one connection, and the connection's reconnection (JavaScript's Manager).

Rules of this file:

- One session of Engine.IO at a time carries the namespaces. A session that is still draining after `close` is on its
  own: what it tells is passed on and changes nothing any more, and it does not hold up the next one.
- The connection opens when a namespace wants it, and closes when none does.
- What fails is told in the reference's order: the connection's `Failed`, the namespaces' `ConnectFailed`, and then what
  follows from it: a wait for the next attempt, or `ReconnectFailed`, and `ReconnectError`.
- Before each attempt the application is asked for what it wants to be asked for; the answers count within the `timeout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final, Literal

from .backoff import Backoff
from .engine import EngineSession, Memory, check_engine_options, check_message, request_query
from .errors import DisconnectedError, OpenTimeout, OptionError, PacketError, SocketIOError, TransportError
from .events import (
    Asked,
    Closed,
    Data,
    DisconnectReason,
    Drained,
    EngineClosed,
    EngineDrained,
    EngineFlushed,
    EngineOpened,
    EnginePacket,
    EnginePacketCreated,
    EnginePacketReceived,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
    Failed,
    Opened,
    Pinged,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
    ReconnectFailed,
)
from .machine import Machine
from .namespace import Frames, Namespace
from .options import ASK, ClientOptions, NamespaceOptions, RunningOptions, check_option
from .packets.socketio import Decoder, Encoder, JSONParser, Packet, Parser, check_namespace
from .statistics import Statistics
from .url import parse_url

ConnectionState = Literal["closed", "opening", "open"]

HIGH_WATER: Final = 512 * 1024
"""High-water mark of the write buffer, in bytes. Above it `writable` is False until the buffer has drained."""


class ClientProtocol(RunningOptions, Machine):
    """A Socket.IO client without I/O. Inputs and outputs are `Machine`'s; events are those of `events`.

    Args:
        url: Where the server is: scheme, host and port, and maybe a query. Its path is not used (the `path` option is).
        options: The options. The machine keeps a copy; those of `RunningOptions` may be set later.
        random: The only source of chance.
        memory: What outlives a session; share one to share cookies and remembered upgrades of one origin.

    Raises:
        OptionError: The URL or an option cannot be used.
    """

    def __init__(
        self, url: str, options: ClientOptions | None = None, *, random: Random, memory: Memory | None = None
    ) -> None:
        super().__init__()
        options = ClientOptions() if options is None else replace(options)
        check_engine_options(options)
        self.url = parse_url(url)
        self.options = options
        self.outbox = self._outbox
        self.timers = self._timers
        self.namespaces: dict[str, Namespace] = {}
        self.state: ConnectionState = "closed"
        self.reconnecting = False
        """Whether a connection that failed is being tried again, or waits for that."""
        self.engine: EngineSession | None = None
        """The session, while opening or open. Of its packets it tells where its `report_packets` is set."""
        parser: Parser = JSONParser() if options.parser is None else options.parser
        self._parser = parser
        self._encoder: Encoder = parser.encoder()
        self._decoder: Decoder = parser.decoder(options.max_attachments)
        self._partial_bytes = 0
        self._memory = Memory() if memory is None else memory
        self._random = random
        self._sessions: dict[int, EngineSession] = {}
        self._next_session = 1
        self._backoff = Backoff(options, random)
        self._open_limit = 0.0  # the timeout that the timer "open" was set with
        self._open_reconnects = False
        self._questions: dict[tuple[Asked, str | None], int] = {}
        self._next_question = 1
        self._answers: dict[Asked, Mapping[str, str]] = {}
        self._buffered_events = 0
        self._buffered_bytes = 0
        self._congested = False

    # The options that may be set while running (options.RunningOptions)

    def _get_option(self, name: str) -> Any:
        return getattr(self.options, name)

    def _set_option(self, name: str, value: Any) -> None:
        check_option(name, value)
        setattr(self.options, name, value)
        if name == "reconnection" and not value and self.state == "closed":
            self._stop_reconnecting()

    # State

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self.state == "open"

    @property
    def idle(self) -> bool:
        """Whether nothing is open, opening, closing or waited for any more."""
        return self.state == "closed" and not self.reconnecting and not self._outbox.owners

    @property
    def sends_at_once(self) -> bool:
        """Whether a packet sent now would leave at once. A volatile event is dropped where it would not."""
        return self.engine is not None and self.engine.sends_at_once

    @property
    def writable(self) -> bool:
        """Whether the write buffer is below the high-water mark.

        Above it, this is False until the write buffer has drained and `Drained` is delivered. While there is no
        connection it is True: what is emitted then is buffered up to `max_buffered_events` and `max_buffered_bytes`.
        """
        return not self._congested

    def statistics(self) -> Statistics:
        """What has been counted since the machine was made, and how much is pending now."""
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
            queued_bytes=self._waiting_bytes,
            transport=None if engine is None else engine.transport,
        )

    # Commands

    def namespace(self, name: str = "/", options: NamespaceOptions | None = None) -> Namespace:
        """The namespace of that name; the first call for it makes it, with these options.

        Raises:
            OptionError: The name is none.
        """
        name = namespace_name(name)
        namespace = self.namespaces.get(name)
        if namespace is None:
            options = NamespaceOptions() if options is None else options
            namespace = self.namespaces[name] = Namespace(name, options, self)
        return namespace

    def open(self, now: float, *, reconnect: bool = True) -> None:
        """Open the connection, unless it is open or opening. During a wait for the next attempt, do not wait longer.

        `reconnect=False`: a failure of this attempt starts no reconnection.
        """
        self._fire_due(now)
        if self.state != "closed":
            return
        self._timers.cancel(self, "reconnect")
        self._open_reconnects = reconnect
        self._begin(now)

    def close(self, now: float) -> None:
        """Close the connection once all that was sent has left, within `close_timeout`. Do not connect again."""
        self._fire_due(now)
        self._close(now)

    def close_session(self, number: int, now: float) -> None:
        """Close the session of that number once all that was sent has left, within `close_timeout`.

        The connection ends with "forced close", and opens again if `reconnection` is on. What is sent meanwhile is
        dropped. A session that is over, or closing, is left alone.
        """
        self._fire_due(now)
        engine = self.engine
        if engine is not None and engine.number == number:
            engine.close(now)

    def abort(self, now: float) -> None:
        """Close everything at once, also what is still saying goodbye. What has not left is lost, buffers included."""
        self._fire_due(now)
        self._close(now, abort=True)
        for namespace in list(self.namespaces.values()):
            namespace.on_aborted()
        for session in list(self._sessions.values()):
            session.abort(now)
        self._cut()

    def answer(self, question: int, value: Any, now: float) -> None:
        """Answer a `Question`. An Exception fails the attempt. An answer that comes too late is ignored."""
        self._fire_due(now)
        for (about, name), number in self._questions.items():
            if number == question:
                del self._questions[about, name]
                if name is not None:
                    self.namespaces[name].on_answer(value, now)
                else:
                    self._answered(about, value, now)
                return

    # What namespaces need (namespace.Connection)

    def encode(self, packet: Packet) -> Frames:
        """The messages of a packet. Raises PacketError, whatever the parser raises."""
        try:
            frames = self._encoder.encode(packet)
            if self.options.parser is not None:  # the protocol's own writes nothing else
                for frame in frames:
                    check_message(frame)
            return frames
        except SocketIOError:
            raise
        except Exception as error:
            # The packet is not shown: it may hold secrets, and be what cannot be shown.
            raise PacketError(f"the parser cannot encode a packet: {error!r}") from error

    def send_frames(self, frames: Frames, now: float, *, compress: bool) -> None:
        """Hand messages to the session."""
        engine = self.engine
        if engine is not None:
            engine.send(frames, now, compress=compress)
            if engine.buffered_bytes > HIGH_WATER:
                self._congested = True
                self._check_overflow(engine, now)

    def ensure_open(self, now: float) -> None:
        """Open the connection for a namespace, but not before the end of a wait for the next attempt."""
        if self.state == "closed" and not self.reconnecting:
            self._open_reconnects = True
            self._begin(now)

    def release(self, now: float) -> None:
        """A namespace became inactive: close the connection if it was the last one."""
        if not any(namespace.active for namespace in self.namespaces.values()):
            self._close(now)

    def retry_delay(self, attempts: int) -> float | None:
        """How long to wait before something is tried again that has been in vain so often; None: it is not."""
        if self.options.reconnection and attempts < self.options.reconnection_attempts:
            return self._backoff.delay_after(attempts)
        return None

    def ask(self, about: Asked, namespace: str | None) -> None:
        """Ask the application, on behalf of a namespace or of the session that is about to open."""
        question = self._next_question
        self._next_question += 1
        self._questions[about, namespace] = question
        self._outbox.deliver(Question(question, about, namespace))

    def has_space(self, size: int) -> bool:
        """Whether one more event, of `size` bytes, may wait to be sent."""
        return self.fits(self._buffered_events + 1, self._waiting_bytes + size)

    @property
    def _waiting_bytes(self) -> int:
        """What waits to leave, in namespaces or in the session."""
        engine = self.engine
        return self._buffered_bytes if engine is None else self._buffered_bytes + engine.buffered_bytes

    def fits(self, events: int, size: int) -> bool:
        """Whether a buffer may hold so much."""
        return events <= self.options.max_buffered_events and size <= self.options.max_buffered_bytes

    def buffered(self, events: int, size: int) -> None:
        """Count what waits in a namespace."""
        self._buffered_events += events
        self._buffered_bytes += size

    def protocol_error(self, error: PacketError, now: float) -> None:
        """What the server sent makes no sense: end this connection."""
        self._closed("parse error", error, now)

    # Opening

    def _begin(self, now: float) -> None:
        self.state = "opening"
        if self.options.timeout is not None:
            self._open_limit = self.options.timeout
            self._timers.set(self, "open", now + self._open_limit)
        self._answers = {}
        number = self._next_session
        self._next_session += 1
        self.engine = self._sessions[number] = EngineSession(
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

    def _answered(self, about: Asked, value: Any, now: float) -> None:
        error = _answer_error(about, value)
        if error is not None:
            self._open_failed(error, now)
            return
        self._answers[about] = dict(value)
        if not self._questions and self.engine is not None:
            self._open_engine(self.engine, now)

    def _open_engine(self, engine: EngineSession, now: float) -> None:
        query = request_query(self.url, self.options, self._answers.get("query"))
        headers = self._answers.get("extra_headers", self.options.extra_headers)
        engine.open(now, query=query, headers={} if headers is ASK else headers)

    def _open_failed(self, error: Exception, now: float) -> None:
        engine = self.engine
        self._let_go()
        self._outbox.deliver(Failed(error))
        for namespace in list(self.namespaces.values()):
            namespace.on_failed(error)
        if self.reconnecting:
            self.reconnecting = False
            self._reconnect(now)
            self._outbox.deliver(ReconnectError(error))
        elif self._open_reconnects:
            self._reconnect(now)
        if engine is not None:
            engine.abort(now)  # a goodbye would wait for an answer of a server that gave none so far

    # Reconnection

    def _reconnect(self, now: float) -> None:
        if not self.options.reconnection:
            return
        if self._backoff.attempts >= self.options.reconnection_attempts:
            self._backoff.reset()
            self._outbox.deliver(ReconnectFailed())
        else:
            self.reconnecting = True
            self._timers.set(self, "reconnect", now + self._backoff.next_delay())

    def _stop_reconnecting(self) -> None:
        self.reconnecting = False
        self._backoff.reset()
        self._timers.cancel(self, "reconnect")

    def timer_fired(self, name: str | int, now: float) -> None:
        if name == "reconnect":
            self._outbox.deliver(ReconnectAttempt(self._backoff.attempts))
            self._begin(now)
        else:  # "open"
            self._open_failed(OpenTimeout(f"the connection was not open within {self._open_limit:g} seconds"), now)

    # What the session tells (engine.EngineObserver)

    def on_engine_open(self, engine: EngineSession, now: float) -> None:
        if engine is not self.engine:
            return
        self._timers.cancel(self, "open")
        self.state = "open"
        self._outbox.deliver(Opened())
        if self.reconnecting:
            self.reconnecting = False
            self._outbox.counters.reconnects += 1
            self._outbox.deliver(Reconnected(self._backoff.attempts))
        self._outbox.deliver(EngineOpened(engine.sid or "", engine.transport or "", session=engine.number))
        self._backoff.reset()
        for namespace in list(self.namespaces.values()):
            namespace.on_open(now)

    def on_engine_message(self, engine: EngineSession, data: Data, now: float) -> None:
        if engine is not self.engine:
            return
        try:
            packet = self._decoder.feed(data)
        except PacketError as error:
            self.protocol_error(error, now)
            return
        except Exception as error:  # a parser of the user's own may raise anything
            self.protocol_error(_chained(PacketError(f"the parser cannot decode a message: {error!r}"), error), now)
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
            self._outbox.deliver(Pinged())

    def on_engine_upgrading(self, engine: EngineSession, transport: str, now: float) -> None:
        self._outbox.deliver(EngineUpgrading(transport, session=engine.number))

    def on_engine_upgrade(self, engine: EngineSession, transport: str, now: float) -> None:
        self._outbox.deliver(EngineUpgraded(transport, session=engine.number))

    def on_engine_upgrade_error(self, engine: EngineSession, error: Exception, now: float) -> None:
        self._outbox.deliver(EngineUpgradeFailed(error, session=engine.number))

    def on_engine_packet(self, engine: EngineSession, packet: EnginePacket, now: float) -> None:
        self._outbox.deliver(EnginePacketReceived(packet, session=engine.number))

    def on_engine_packet_create(self, engine: EngineSession, packet: EnginePacket, now: float) -> None:
        self._outbox.deliver(EnginePacketCreated(packet, session=engine.number))

    def on_engine_flush(self, engine: EngineSession, now: float) -> None:
        self._outbox.deliver(EngineFlushed(session=engine.number))

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
            self._session_lost(reason, details, now)
        self._outbox.deliver(EngineClosed(reason, details, session=engine.number))

    # Closing

    def _session_lost(self, reason: DisconnectReason, details: Exception | None, now: float) -> None:
        """The session that carries the namespaces is over."""
        if self.state == "opening":
            error = details or DisconnectedError(f"the server ended the session before it was open: {reason}", reason)
            self._open_failed(error, now)
            return
        if reason == "transport error" and details is not None:
            self._outbox.deliver(Failed(details))
            for namespace in list(self.namespaces.values()):
                namespace.on_failed(details)
        self._closed(reason, details, now)

    def _close(self, now: float, *, abort: bool = False) -> None:
        """The application ends the connection, or the wait for the next one."""
        was_wanted = self.state != "closed" or self.reconnecting
        self._stop_reconnecting()
        if was_wanted:
            self._end("forced close", None, now, abort=abort)

    def _closed(self, reason: DisconnectReason, details: Exception | None, now: float) -> None:
        """The connection was lost."""
        self._end(reason, details, now)
        self._reconnect(now)

    def _end(self, reason: DisconnectReason, details: Exception | None, now: float, *, abort: bool = False) -> None:
        """The connection is over, whoever ended it: let the session drain, and tell everybody."""
        engine = self.engine
        self._let_go()
        self._outbox.deliver(Closed(reason, details))
        for namespace in list(self.namespaces.values()):
            namespace.on_closed(reason, details)
        if engine is not None:
            end = engine.abort if abort else engine.close
            end(now)

    def _let_go(self) -> None:
        """Forget the session and what was asked on its behalf."""
        self.state = "closed"
        self.engine = None
        self._questions.clear()
        self._timers.cancel(self, "open")
        self._decoder.reset()
        self._partial_bytes = 0
        self._notify_drained()

    def _notify_drained(self) -> None:
        if self._congested:
            self._congested = False
            self._outbox.deliver(Drained())

    def _check_overflow(self, engine: EngineSession, now: float) -> None:
        """End a session whose server wants acknowledgements and does not read them: emits are refused long before."""
        bound = self.options.max_buffered_bytes
        if engine.buffered_bytes > 2 * bound:
            waiting = f"{engine.buffered_bytes} bytes wait to leave, over twice max_buffered_bytes ({bound})"
            engine.fail(TransportError(f"the server does not read: {waiting}", transport=engine.transport), now)

    def _count_partial(self, size: int, now: float) -> None:
        self._partial_bytes += size
        if self._partial_bytes > self.options.max_message_size:
            self.protocol_error(
                PacketError(
                    f"a packet's attachments are over max_message_size ({self.options.max_message_size} bytes)"
                ),
                now,
            )


def namespace_name(name: str) -> str:
    """The name as packets bear it: with a slash at its beginning. Raises OptionError for what can be none."""
    if not isinstance(name, str):
        raise OptionError(f"a namespace's name is a str such as '/chat', not {name!r}")
    name = name if name.startswith("/") else f"/{name}"
    try:
        check_namespace(name)
    except PacketError as error:
        raise OptionError(str(error)) from None
    return name


def _answer_error(about: Asked, value: Any) -> Exception | None:
    if isinstance(value, Exception):
        return value
    if isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        return None
    # The value is not shown: it may hold secrets.
    return OptionError(f"the answer for {about} must be a mapping of str to str; this {type(value).__name__} is none")


def _chained(error: PacketError, cause: Exception) -> PacketError:
    error.__cause__ = cause
    return error
