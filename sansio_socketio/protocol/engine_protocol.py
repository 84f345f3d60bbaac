"""`EngineProtocol`: one Engine.IO session as a state machine, without namespaces and reconnection."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .engine import EngineSession, Memory
from .engine_options import check_engine_options, request_query
from .errors import OpenTimeout, OptionError, StateError
from .events import Data, DisconnectReason, EngineClosed, EngineDrained, EngineMessage, EngineOpened, EnginePing
from .machine import Machine
from .options import ASK, EngineOptions, check_option, check_type
from .packets.engineio import check_message
from .states import SessionState
from .url import parse_url


class EngineProtocol(Machine):
    """An Engine.IO client as a state machine without I/O (Engine.IO protocol 4): one session.

    `Machine` documents the inputs and outputs. The events are the subclasses of `events.EngineEvent`.

    Args:
        url: The server's scheme, host and port. A query in it replaces the `query` option.
        options: The options. The machine keeps a copy. `query` and `extra_headers` must be mappings here.
        random: The only source of randomness.

    Raises:
        OptionError: The URL or an option is invalid.
    """

    def __init__(self, url: str, options: EngineOptions | None = None, *, random: Random) -> None:
        options = EngineOptions() if options is None else options
        check_type("options", options, EngineOptions)
        check_type("random", random, Random)
        super().__init__()
        options = replace(options)
        if options.query is ASK or options.extra_headers is ASK:
            raise OptionError("query and extra_headers of EngineProtocol must be mappings, not ASK")
        check_engine_options(options)
        self._url = parse_url(url)
        self._query = request_query(self._url, options)
        self._headers = options.extra_headers
        self._timeout = 0.0
        self._session = EngineSession(
            self._url,
            options,
            self,
            memory=Memory(),
            outbox=self._outbox,
            timers=self._timers,
            random=random,
        )

    @property
    def state(self) -> SessionState:
        """The state of the session."""
        return self._session.state

    @property
    def sid(self) -> str | None:
        """The id that the server assigned, or None before the handshake."""
        return self._session.sid

    @property
    def transport(self) -> str | None:
        """The name of the transport in use."""
        return self._session.transport

    @property
    def idle(self) -> bool:
        """Whether the session is closed (or was never opened) and every stream is closed."""
        return self.state in {SessionState.NEW, SessionState.CLOSED} and not self._outbox.owners

    @property
    def buffered_bytes(self) -> int:
        """The size of the messages that are buffered or in flight: text in characters, binary in bytes."""
        return self._session.buffered_bytes

    @property
    def report_packets(self) -> bool:
        """Whether `EnginePacketReceived`, `EnginePacketCreated` and `EngineFlushed` are delivered. Can be set."""
        return self._session.report_packets

    @report_packets.setter
    def report_packets(self, value: bool) -> None:
        self._session.report_packets = value

    def open(self, now: float, *, timeout: float | None = 20.0) -> None:
        """Open the session (section "Handshake").

        Args:
            now: The time.
            timeout: The time limit for the handshake in seconds, or None.

        Raises:
            OptionError: `timeout` is invalid.
            StateError: The session was opened before.
        """
        check_option("timeout", timeout)
        self.advance(now)
        if self.state is not SessionState.NEW:
            raise StateError(f"this session is {self.state}: a session opens once; create another EngineProtocol")
        if timeout is not None:
            self._timeout = timeout
            self._timers.set(self, "open", now + timeout)
        self._session.open(now, query=self._query, headers=self._headers)

    def send(self, data: Data, now: float, *, compress: bool = True) -> None:
        """Send a message, or buffer it until the handshake is done.

        While the session is closing or closed, the message is dropped: the server may close the session at any time.

        Raises:
            PacketError: `data` is neither str nor bytes, or contains an unpaired surrogate or U+001E, which separates packets
                over polling.
            StateError: The session has not been opened.
        """
        check_message(data)
        self.advance(now)
        if self.state is SessionState.NEW:
            raise StateError("the session is not open: call open() before send()")
        self._session.send([data], now, compress=compress)

    def close(self, now: float) -> None:
        """Close when the write buffer has drained, within `close_timeout`. Afterwards `idle` is True."""
        self.advance(now)
        if self.state is not SessionState.NEW:
            self._session.close(now)

    def abort(self, now: float) -> None:
        """Close everything at once, including a close handshake in progress. Drop buffered and received messages."""
        self._outbox.drop_all_received()
        self.advance(now)
        if self.state is not SessionState.NEW:
            self._session.abort(now)
            self._cut()

    # Notifications of the session (EngineObserver)

    def on_engine_open(self, engine: EngineSession, now: float) -> None:
        self._timers.cancel(self, "open")
        self._outbox.deliver(EngineOpened(engine.sid or "", engine.transport or ""))

    def on_engine_message(self, engine: EngineSession, data: Data, now: float) -> None:
        self._outbox.deliver(EngineMessage(data))

    def on_engine_ping(self, engine: EngineSession, now: float) -> None:
        self._outbox.deliver(EnginePing())

    def on_engine_drain(self, engine: EngineSession, now: float) -> None:
        self._outbox.deliver(EngineDrained())

    def on_engine_close(
        self, engine: EngineSession, reason: DisconnectReason, details: Exception | None, now: float
    ) -> None:
        self._timers.cancel(self, "open")
        self._outbox.deliver(EngineClosed(reason, details))

    def timer_fired(self, name: str | int, now: float) -> None:
        late = f"the session with {self._url.address} was not open within {self._timeout:g} seconds"
        message = f"{late}: {self._session.progress}"
        self._session.fail(OpenTimeout(message, transport=self.transport), now)
