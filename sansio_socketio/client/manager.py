"""The Manager: a connection and the sockets on it, as an application holds it (JavaScript's Manager).

Rules of this file:

- A Manager owns a machine and, while its scope lasts, the hub that runs it.
- Its own events go through a dispatcher, as those of sockets do. Each keeps its own order, and one thing is kept among
  them: a socket's event, or a question, waits until the handlers of the Manager's event that led to it have been called,
  so that what they change takes effect. (Not so where a handler that awaits something holds those up.)
- Questions are answered by tasks of their own. What goes wrong there is an error of that attempt to connect.
- At the end whoever waits is woken, what runs is cancelled, and nothing goes on.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from types import TracebackType
from typing import Any, ClassVar, Final, Self, Unpack

from ..protocol.client import ClientProtocol
from ..protocol.engine import EngineSession
from ..protocol.errors import ConnectError, DisconnectedError, SocketIOError, StateError
from ..protocol.events import (
    Asked,
    Closed,
    EngineDrained,
    EngineOpened,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
    Event,
    Failed,
    NamespaceEvent,
    Opened,
    Pinged,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
    ReconnectFailed,
    Room,
)
from .dispatch import Dispatcher, InboxOverflow, Signal
from .hub import Hub, TLSSettings, Waiters
from .lifetime import Lifetime, lifetime
from .listeners import Listener, Listeners, Listening
from .options import Asker, ManagerOptions, SocketOptions, check_answer, manager_settings, socket_settings
from .runtime import Cell, RuntimeScope, Task
from .socket import Socket

log = logging.getLogger(__name__)

MANAGER_EVENTS: Final = frozenset(
    {
        "open",
        "error",
        "ping",
        "close",
        "reconnect",
        "reconnect_attempt",
        "reconnect_error",
        "reconnect_failed",
    }
)


class EngineTransport:
    """The transport that a session uses."""

    __slots__ = ("_session",)

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    @property
    def name(self) -> str | None:
        """Its name, such as "polling" or "websocket"."""
        return self._session.transport


class Engine:
    """The Engine.IO session beneath a connection.

    Attributes:
        transport: The transport in use, by its `name`.
    """

    __slots__ = ("_session", "transport")

    def __init__(self, session: EngineSession) -> None:
        self._session = session
        self.transport = EngineTransport(session)

    @property
    def id(self) -> str | None:
        """The session's id; None until its handshake is done."""
        return self._session.sid


class Manager(Listening):
    """A connection to a server, which the sockets of several namespaces share.

    It is a scope, `async with Manager(url, **options) as manager`, at whose end everything is disconnected. The
    connection is opened in the background, unless `auto_connect` is False.

    Its events: open(), error(error), close(reason, details), ping(), reconnect_attempt(number), reconnect(number),
    reconnect_error(error), reconnect_failed().

    Args:
        url: Where the server is, such as "http://localhost:3000".
        options: See `ManagerOptions`.

    Raises:
        OptionError: The URL or an option cannot be used.
    """

    runtime_scope: ClassVar[RuntimeScope]
    """Each driver's subclass has its own."""

    def __init__(self, url: str, **options: Unpack[ManagerOptions]) -> None:
        settings = manager_settings(options)
        self.url = url
        self.failure: Exception | None = None
        """What ended it from inside: an exception of a handler under on_handler_error="raise", or our own mistake."""
        self.overflow: InboxOverflow | None = None
        """Why this side closed the connection, where too many events waited for their handlers."""
        self.gated = True
        """Whether the handlers of new sockets are held back until somebody opens their gate."""
        self.options: Mapping[str, Any] = options
        self._settings = settings
        self._askers: dict[str, Asker] = settings.askers
        self._machine = ClientProtocol(url, settings.machine, random=Random())
        self._listeners = Listeners(MANAGER_EVENTS)
        self._sockets: dict[str, Socket] = {}
        self._hub: Hub | None = None
        self._scope: AbstractAsyncContextManager[None] | None = None
        self._over: Cell | None = None
        self._barrier: Cell | None = None
        self._open_error: ConnectError | None = None
        self._asking: dict[tuple[Asked, str | None], Task] = {}
        if settings.local.ssl is False:
            warnings.warn("ssl=False: the server is not verified; anybody may answer in its place", stacklevel=2)

    def __repr__(self) -> str:
        return f"<Manager of {self.url}, {self._machine.state}>"

    # The scope

    async def __aenter__(self) -> Self:
        self._scope = self.living()
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._scope is not None
        return await self._scope.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def living(self, *, gated: bool = False) -> AsyncGenerator[None, None]:
        """The scope. `gated`: the gates stay closed, to be opened by somebody else."""
        async with lifetime(type(self).runtime_scope) as life:
            with life.runtime.lock:
                self.move_in(life, gated=gated)
                if self._settings.local.auto_connect:
                    self.begin()
            yield

    def move_in(self, life: Lifetime, *, gated: bool) -> None:
        """Live in a scope from now on, until it ends."""
        if self._hub is not None:
            raise StateError("a Manager is entered once; make another")
        local, runtime = self._settings.local, life.runtime
        self._hub = Hub(
            self._machine,
            runtime,
            TLSSettings(local.ssl, local.server_hostname),
            deliver=self._deliver,
            drained=self._drained,
            broken=self.broken,
        )
        self._dispatcher = Dispatcher(
            "handlers of the Manager",
            runtime,
            self._listeners,
            report=self.report,
            finished=self.check_left,
            broken=self.broken,
        )
        self._leaving = runtime.timer(self._leaving_took_too_long)
        self._openings = Waiters(runtime)
        self._closings = Waiters(runtime)
        self._room = Waiters(runtime)
        life.tenants.append(self)
        if not gated:
            self.open_gates()

    def open_gates(self) -> None:
        """Let handlers be called, from the next turn on."""
        self.gated = False
        self._dispatcher.open_gate()
        for socket in self._sockets.values():
            socket.dispatcher.open_gate()

    def begin_leaving(self) -> None:
        """Start to disconnect; what has been received is still handled."""
        hub = self.hub
        if not hub.ended:
            self._over = hub.runtime.cell()
            self._leaving.set(hub.now() + self._machine.options.close_timeout)
            for namespace in self._machine.namespaces.values():
                namespace.disconnect(hub.now())
            self._machine.close(hub.now())
            hub.drain()
        for dispatcher in self.dispatchers():
            dispatcher.finish()
        self.check_left()

    async def left(self) -> None:
        """Wait until everything is closed and handled, at most `close_timeout`."""
        if self._over is not None:
            await self.hub.runtime.wait(self._over)

    def check_left(self) -> None:
        """Look whether that is so."""
        if self._over is not None and self._machine.idle and all(each.done for each in self.dispatchers()):
            self._over.set()

    def end(self) -> None:
        """End at once whatever is left, and wake all who wait."""
        hub = self.hub
        hub.feed(self._machine.abort)
        hub.end()
        self._leaving.set(None)
        error = DisconnectedError("the scope of the connection is over")
        error.__cause__ = self.failure
        for waiters in (self._openings, self._room):
            waiters.fail(error)
        self._closings.wake()
        for socket in self._sockets.values():
            socket.end(error)
        self._dispatcher.cancel()

    def dispatchers(self) -> list[Dispatcher]:
        """What calls the handlers of the Manager and of its sockets."""
        return [self._dispatcher, *(socket.dispatcher for socket in self._sockets.values())]

    def _leaving_took_too_long(self) -> None:
        limit = self._machine.options.close_timeout
        if not all(each.done for each in self.dispatchers()):
            log.warning("handlers still run %g seconds (close_timeout) after the end of their scope", limit)
        if self._over is not None:
            self._over.set()

    # The connection

    @property
    def dispatcher(self) -> Dispatcher:
        """What calls the Manager's own handlers."""
        return self._dispatcher

    @property
    def hub(self) -> Hub:
        """What runs the machine. Raises StateError outside a scope."""
        if self._hub is None:
            raise outside_of_scope()
        return self._hub

    @property
    def trying(self) -> bool:
        """Whether the connection is open or opening, or waits for the next attempt."""
        if self.hub.ended:
            return False
        return self._machine.state != "closed" or self._machine.reconnecting

    @property
    def engine(self) -> Engine | None:
        """The Engine.IO session beneath: its `id` and its `transport.name`; None while there is none."""
        session = self._machine.engine
        return None if session is None else Engine(session)

    def begin(self) -> None:
        """Open the connection in the background."""
        self._command_open(reconnect=True)

    async def connect(self) -> Self:
        """Open the connection and wait until it is open. A failure starts no reconnection.

        Raises:
            ConnectError: It could not be opened; the failure is its cause.
            DisconnectedError: It was closed meanwhile.
        """
        self._open_error = None
        self._command_open(reconnect=False)
        if self._open_error is not None:
            raise self._open_error
        if self._machine.state != "open":
            await self._openings.wait()
        return self

    open = connect

    async def close(self) -> Self:
        """Close the connection, and wait until all that was sent has left, at most `close_timeout`."""
        self.hub.feed(self._machine.close)
        if not self._machine.idle:
            await self._closings.wait()
        return self

    def socket(self, nsp: str = "/", **options: Unpack[SocketOptions]) -> Socket:
        """The Socket of a namespace. It connects in the background, unless `auto_connect` is False.

        The first call for a namespace makes it, with these options; later ones give the same, and connect it again if
        it is not active any more.

        Raises:
            OptionError: The name or an option cannot be used.
        """
        settings = socket_settings(options)
        hub = self._open_hub()
        namespace = self._machine.namespace(nsp, settings)
        socket = self._sockets.get(namespace.name)
        if socket is None:
            socket = Socket(self, hub, namespace, settings, options)
            self._sockets[namespace.name] = socket
            if not self.gated:
                socket.dispatcher.open_gate()
        else:
            warn_of_ignored(f"the socket of {socket.nsp}", options, socket.options)
        if self._settings.local.auto_connect and not socket.active:
            socket.begin()
        return socket

    def has_namespace(self, nsp: str) -> bool:
        """Whether there is a socket for a namespace already."""
        return nsp in self._sockets

    @property
    def has_room(self) -> bool:
        """Whether more should be sent now."""
        return self._machine.has_room

    async def wait_room(self) -> None:
        """Wait while too much is on its way."""
        while not self._machine.has_room:
            await self._room.wait()

    @property
    def inbox_bounds(self) -> tuple[int, int]:
        """How many events, and how many bytes, may wait for the handlers of a socket."""
        return self._settings.local.inbox_events, self._settings.local.inbox_bytes

    def _command_open(self, *, reconnect: bool) -> None:
        hub = self._open_hub()
        self._machine.open(hub.now(), reconnect=reconnect)
        hub.drain()

    def _open_hub(self) -> Hub:
        if self.hub.ended:
            raise DisconnectedError("the scope of the connection is over")
        return self.hub

    # The options that may be set while running

    @property
    def reconnection(self) -> bool:
        """Whether to connect again by itself. Setting it to False also ends a wait for the next attempt."""
        return self._machine.reconnection

    @reconnection.setter
    def reconnection(self, value: bool) -> None:
        self._machine.reconnection = value
        if self._hub is not None:
            self._hub.drain()
            self._settle("reconnection was switched off")

    @property
    def reconnection_attempts(self) -> float:
        """How often to try to connect again before giving up: a whole number, or `math.inf`."""
        return self._machine.reconnection_attempts

    @reconnection_attempts.setter
    def reconnection_attempts(self, value: float) -> None:
        self._machine.reconnection_attempts = value

    @property
    def reconnection_delay(self) -> float:
        """How many seconds to wait before the first attempt to connect again; each further wait is twice as long."""
        return self._machine.reconnection_delay

    @reconnection_delay.setter
    def reconnection_delay(self, value: float) -> None:
        self._machine.reconnection_delay = value

    @property
    def reconnection_delay_max(self) -> float:
        """The longest such wait, in seconds."""
        return self._machine.reconnection_delay_max

    @reconnection_delay_max.setter
    def reconnection_delay_max(self, value: float) -> None:
        self._machine.reconnection_delay_max = value

    @property
    def randomization_factor(self) -> float:
        """How far a wait may deviate from that, as a fraction of it."""
        return self._machine.randomization_factor

    @randomization_factor.setter
    def randomization_factor(self, value: float) -> None:
        self._machine.randomization_factor = value

    @property
    def timeout(self) -> float | None:
        """How many seconds opening the connection may take; None for no limit."""
        return self._machine.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._machine.timeout = value

    # Handlers

    async def report(self, error: Exception, event: str) -> None:
        """A handler raised: do what `on_handler_error` says."""
        policy = self._settings.local.on_handler_error
        if policy == "raise" and self.failure is None:
            self._fail(error)
        elif callable(policy):
            await self._tell(policy, error, event)
        else:
            log.error("a handler of %r raised", event, exc_info=error)

    async def _tell(self, policy: Any, error: Exception, event: str) -> None:
        try:
            await self.hub.runtime.call(policy, *Listener(policy).fit((error, event)))
        except Exception:
            log.exception(
                "on_handler_error raised, when it was called for a handler of %r that raised %r", event, error
            )

    def _fail(self, error: Exception) -> None:
        """End the connection; the scope raises `error` at its end."""
        self.failure = error
        self.hub.feed(self._machine.abort)

    def broken(self, error: Exception) -> None:
        """Something happened that must not: a mistake of this library."""
        if self.failure is None:
            self.failure = error
        log.critical("a mistake in sansio_socketio ends the connection; please report it", exc_info=error)
        self.end()

    def overflowed(self, error: InboxOverflow) -> None:
        """The inbox of a socket is full: close the connection, and do not connect again."""
        log.error("closing the connection: %s", error)
        self.overflow = error
        self.hub.feed(self._machine.abort)

    # What the machine tells

    @property
    def last_signal(self) -> Cell | None:
        """What is set when the handlers of the Manager's last event have been called; None if they have been."""
        barrier = self._barrier
        return None if barrier is None or barrier.done else barrier

    def _deliver(self, event: Event) -> None:
        if isinstance(event, NamespaceEvent):
            self._sockets[event.namespace].route(event)
        else:
            self._routes[type(event)](self, event)

    def _drained(self) -> None:
        if self._over is not None:
            self.check_left()
        if self._closings and self._machine.idle:
            self._closings.wake()

    def _engine_opened(self, event: EngineOpened) -> None:
        log.info("connected to %s by %s", self.url, event.transport)

    def _engine_upgraded(self, event: EngineUpgraded) -> None:
        log.info("%s: upgraded to %s", self.url, event.transport)

    def _engine_upgrading(self, event: EngineUpgrading) -> None:
        log.debug("%s: upgrading to %s", self.url, event.transport)

    def _engine_upgrade_failed(self, event: EngineUpgradeFailed) -> None:
        log.info("%s: the upgrade failed: %s", self.url, event.error)

    def _opened(self, _: Opened) -> None:
        self.overflow = None
        self._openings.wake()
        self._signal("open")

    def _failed(self, event: Failed) -> None:
        log.info("%s: %s", self.url, event.error)
        error = ConnectError(str(event.error))
        error.__cause__ = event.error
        self._open_error = error
        self._openings.fail(error)
        self._signal("error", event.error)

    def _closed(self, event: Closed) -> None:
        details = self.overflow or event.details
        log.info("%s: closed: %s", self.url, event.reason)
        self._openings.fail(DisconnectedError(f"the connection was closed: {event.reason}", event.reason))
        self._signal("close", event.reason, details)

    def _pinged(self, _: Pinged) -> None:
        self._signal("ping")

    def _reconnect_attempt(self, event: ReconnectAttempt) -> None:
        log.info("%s: attempt %d to connect again", self.url, event.attempt)
        self._signal("reconnect_attempt", event.attempt)

    def _reconnected(self, event: Reconnected) -> None:
        log.info("%s: connected again", self.url)
        self._signal("reconnect", event.attempt)

    def _reconnect_error(self, event: ReconnectError) -> None:
        self._signal("reconnect_error", event.error)

    def _reconnect_failed(self, _: ReconnectFailed) -> None:
        log.info("%s: giving up", self.url)
        self._settle("there are no more attempts to connect")
        self._signal("reconnect_failed")

    def _has_room_again(self, _: Room) -> None:
        self._room.wake()

    def _ignore(self, _: EngineDrained) -> None:
        pass

    def _settle(self, why: str) -> None:
        for socket in self._sockets.values():
            error = ConnectError(f"{socket.nsp} is not connected: {why}")
            error.__cause__ = self._open_error
            socket.settle(error)

    def _signal(self, name: str, *args: Any) -> None:
        dispatcher = self._dispatcher
        if not dispatcher.wants(name):
            return
        called = None
        if dispatcher.idle:
            called = self._barrier = self.hub.runtime.cell()
        dispatcher.put(Signal(name, args, called=called))

    # Questions

    def _asked(self, question: Question) -> None:
        before = self.last_signal if self._dispatcher.is_open else None
        earlier = self._asking.get((question.about, question.namespace))
        if earlier is not None:  # its answer is worth nothing any more
            earlier.cancel()
        self._asking[question.about, question.namespace] = self.hub.runtime.spawn(
            lambda: self._answer(question, before), f"function for {question.about}"
        )

    async def _answer(self, question: Question, before: Cell | None) -> None:
        hub = self.hub
        if before is not None:
            await hub.runtime.wait(before)
        hub.feed(self._machine.answer, question.question, await self._answer_to(question))

    async def _answer_to(self, question: Question) -> Any:
        about = question.about
        asker: Any = self._askers.get(about)
        if question.namespace is not None:
            asker = self._sockets[question.namespace].auth
            if not callable(asker):  # it was set meanwhile
                return asker
        try:
            value = await self.hub.runtime.call(asker)
            check_answer(about, value)
        except Exception as error:
            # Neither the log nor a message shows what the exception says, or its traceback: it may hold what is secret.
            log.error("the function for %s raised %s", about, type(error).__name__)  # noqa: TRY400
            failure = SocketIOError(f"the function for {about} raised {type(error).__name__}")
            failure.__cause__ = error
            return failure
        return value

    _routes: ClassVar[Mapping[type[Event], Any]] = {
        EngineOpened: _engine_opened,
        EngineUpgrading: _engine_upgrading,
        EngineUpgraded: _engine_upgraded,
        EngineUpgradeFailed: _engine_upgrade_failed,
        EngineDrained: _ignore,
        Opened: _opened,
        Failed: _failed,
        Closed: _closed,
        Pinged: _pinged,
        ReconnectAttempt: _reconnect_attempt,
        Reconnected: _reconnected,
        ReconnectError: _reconnect_error,
        ReconnectFailed: _reconnect_failed,
        Room: _has_room_again,
        Question: _asked,
    }


def outside_of_scope() -> StateError:
    """The error of a Manager that is used before its scope is entered."""
    return StateError("a Manager works in its scope: `with Manager(url) as manager`, `async with` where it is async")


def warn_of_ignored(what: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Warn of options that differ from those that something that exists already was made with."""
    ignored = sorted(name for name, value in given.items() if name not in kept or kept[name] != value)
    if ignored:
        warnings.warn(f"{what} exists already and keeps its options; ignored: {', '.join(ignored)}", stacklevel=3)
