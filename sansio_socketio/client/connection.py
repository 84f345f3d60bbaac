"""A connection and all that lives on it: what a `Manager` and its sockets are faces of.

Rules of this file:

- A connection owns a machine and, while it lives, the hub that runs it. It may live several times, one after the other:
  the machine, the sockets and their handlers stay, and each life brings a hub, dispatchers and waiters of its own.
- Its own events, and those of its sessions, go through a dispatcher, as those of sockets do. Each keeps its own order,
  and one thing is kept among them: a socket's event, or a question, waits until the handlers of the Manager's event that
  led to it have been called, so that what they change takes effect. (Not so where a handler that awaits something holds
  those up.)
- Questions are answered by tasks of their own. What goes wrong there is an error of that attempt to connect.
- At the end whoever waits is woken, what runs is cancelled, and nothing goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from ..protocol.client import ClientProtocol
from ..protocol.errors import ConnectError, DisconnectedError, SocketIOError, StateError
from ..protocol.events import (
    Asked,
    Closed,
    Drained,
    EngineClosed,
    EngineDrained,
    EngineEvent,
    EngineFlushed,
    EngineOpened,
    EnginePacketCreated,
    EnginePacketReceived,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
    Failed,
    MachineEvent,
    NamespaceEvent,
    Opened,
    Pinged,
    Question,
    ReconnectAttempt,
    Reconnected,
    ReconnectError,
    ReconnectFailed,
)
from ..protocol.statistics import Statistics
from ..runtime.connect import Connector
from ..runtime.interface import Future, Task
from .dispatch import Dispatcher, InboxOverflow, Signal
from .engine import Engine
from .hub import Hub, Waiters
from .lifetime import Lifetime
from .listeners import Listener, Listeners
from .options import ManagerSettings, check_answer

if TYPE_CHECKING:
    from .socket import Socket

log = logging.getLogger(f"{__package__}.manager")  # by the name of what users hold


class Connection:
    """A machine, its hub, its sockets and its dispatcher.

    Attributes:
        url: Where the server is.
        machine: The machine.
        sockets: The sockets by namespace.
        failure: What ended it from inside: an exception of a handler under on_handler_error="raise", or our own mistake.
        overflow: Why this side closed it, where too many events waited for their handlers.
        inbox_bounds: How many events, and how many bytes, may wait for the handlers of a socket.
        moved_in: Called when a life begins, before anything happens in it.
    """

    dispatcher: Dispatcher
    """What calls the Manager's handlers, in the present life or the last one."""

    def __init__(self, url: str, settings: ManagerSettings, listeners: Listeners) -> None:
        local = settings.local
        self.url = url
        self.machine = ClientProtocol(url, settings.machine, random=Random())
        self.sockets: dict[str, Socket] = {}
        self.failure: Exception | None = None
        self.overflow: InboxOverflow | None = None
        self.inbox_bounds = (local.inbox_events, local.inbox_bytes)
        self.auto_connect = local.auto_connect
        self._connector = Connector(
            ssl=local.ssl,
            server_hostname=local.server_hostname,
            proxy=local.proxy,
            open_stream=local.open_stream,
        )
        self._policy = local.on_handler_error
        self._askers = settings.askers
        self._listeners = listeners
        self._engines: dict[int, Engine] = {}
        self.moved_in: Callable[[], None] = _nothing
        self._life: Lifetime | None = None
        self._hub: Hub | None = None
        self._gated = True
        self._is_broken = False
        self._over: Future | None = None
        self._barrier: Future | None = None
        self._open_error: ConnectError | None = None
        self._asking: dict[tuple[Asked, str | None], Task] = {}

    # Its lives

    @property
    def lives(self) -> bool:
        """Whether there is a hub that runs the machine."""
        return self._life is not None

    @property
    def hub(self) -> Hub:
        """What runs the machine, or has run it last. Raises StateError before the first life."""
        if self._hub is None:
            raise StateError(
                f"the Manager of {self.url} does not live yet: enter it (`with`, `async with`), or open() or run() it"
            )
        return self._hub

    @property
    def open_hub(self) -> Hub:
        """What runs the machine. Raises DisconnectedError when that ends, and StateError in a foreign thread or loop."""
        hub = self.hub
        if hub.ended or self._over is not None:
            raise DisconnectedError(
                f"the scope of the connection to {self.url} is over (or it was closed): there is none any more"
            )
        hub.now()
        return hub

    def check_whole(self) -> None:
        """Raise StateError if a mistake of this library has left the machine in nobody knows what state."""
        if self._is_broken:
            raise StateError(f"the Manager of {self.url} broke by a mistake in sansio_socketio; make another one")

    def check_caller(self) -> None:
        """Raise StateError if it lives, and this is a foreign thread or loop."""
        if self._hub is not None and not self._hub.ended:
            self._hub.now()

    def move_in(self, life: Lifetime, *, gated: bool) -> None:
        """Live in a scope from now on, until it ends. `gated`: the gates stay closed, to be opened by somebody else."""
        runtime = life.runtime
        self._life = life
        self._hub = hub = Hub(
            self.machine,
            runtime,
            self._connector,
            deliver=self._deliver,
            drained=self._drained,
            broken=self.broken,
        )
        self.dispatcher = Dispatcher(
            "handlers of the Manager",
            runtime,
            self._listeners,
            report=self.report,
            finished=self.check_left,
            broken=self.broken,
            overflow=self.overflowed,
            bounds=self.inbox_bounds,
        )
        self._leaving = runtime.timer(self._leaving_took_too_long)
        self._connectors = Waiters(runtime)
        self._closings = Waiters(runtime)
        self._room = Waiters(runtime)
        self._gated = True
        self._over = self._barrier = self._open_error = None
        self._asking.clear()
        self.failure = self.overflow = None
        for socket in self.sockets.values():
            socket._move_in(hub)
        life.tenants.append(self)
        self.moved_in()
        if not gated:
            self.open_gates()

    def open_gates(self) -> None:
        """Let handlers be called, from the next turn on."""
        self._gated = False
        self.dispatcher.open_gate()
        for socket in self.sockets.values():
            socket._dispatcher.open_gate()

    def begin_leaving(self) -> None:
        """Start to disconnect, unless that is done already; what has been received is still handled."""
        hub = self.hub
        if not hub.ended and self._over is None:
            self._over = hub.runtime.future()
            self._leaving.set(hub.now() + self.machine.options.close_timeout)
            self._deactivate(hub)
            self.machine.close(hub.now())
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
        if self._over is not None and self.machine.idle and all(each.done for each in self.dispatchers()):
            self._over.resolve()

    def end(self) -> None:
        """End at once whatever is left, and wake all who wait."""
        hub = self.hub
        hub.feed(self.machine.abort)
        if not hub.ended:
            self._deactivate(hub)
        hub.end()
        self._life = None
        self._leaving.set(None)
        error = DisconnectedError("the scope of the connection is over")
        error.__cause__ = self.failure
        for waiters in (self._connectors, self._room):
            waiters.fail(error)
        self._closings.wake()
        for engine in self._engines.values():
            engine._end()
        self._engines.clear()
        for socket in self._housed:
            socket._end(error)
        self.dispatcher.cancel()

    def _deactivate(self, hub: Hub) -> None:
        """No namespace wants a connection in this life any more."""
        for socket in self.sockets.values():
            socket._rest(hub)

    @property
    def _housed(self) -> list[Socket]:
        """The sockets that there were in the present life or the last one; others have no dispatcher."""
        return [socket for socket in self.sockets.values() if socket._hub is not None]

    def dispatchers(self) -> list[Dispatcher]:
        """What calls the handlers of the Manager and of its sockets."""
        return [self.dispatcher, *(socket._dispatcher for socket in self._housed)]

    def _leaving_took_too_long(self) -> None:
        limit = self.machine.options.close_timeout
        if not all(each.done for each in self.dispatchers()):
            log.warning("handlers still run %g seconds (close_timeout) after the end of their scope", limit)
        if self._over is not None:
            self._over.resolve()

    # The connection

    @property
    def trying(self) -> bool:
        """Whether it is open or opening, or waits for the next attempt."""
        machine = self.machine
        return self.lives and (machine.state != "closed" or machine.reconnecting)

    @property
    def engine(self) -> Engine | None:
        """The session that carries it, or is to carry it; the same object for the same session."""
        session = self.machine.engine
        if session is None:
            return None
        if session.number not in self._engines:
            self._engines[session.number] = Engine(session, self)
        return self._engines[session.number]

    def statistics(self) -> Statistics:
        """What has been counted, and how much is pending."""
        waiting = sum([socket._dispatcher.waiting_events for socket in self._housed])
        return replace(self.machine.statistics(), waiting_events=waiting)

    def begin(self) -> None:
        """Open it in the background, if `auto_connect` says so."""
        if self.auto_connect:
            self._open(reconnect=True)

    async def opened(self) -> None:
        """Open it and wait until it is open. A failure starts no reconnection."""
        self._open_error = None
        self._open(reconnect=False)
        if self._open_error is not None:
            raise self._open_error
        if self.machine.state != "open":
            await self._connectors.wait()

    async def closed(self) -> None:
        """Close it, and wait until all that was sent has left, or it is opened again."""
        if self.lives:
            self.hub.feed(self.machine.close)
            if not self.machine.idle:
                await self._closings.wait()

    def add(self, socket: Socket) -> None:
        """There is a new socket."""
        self.sockets[socket.nsp] = socket
        if self.lives:
            socket._move_in(self.hub)
            if not self._gated:
                socket._dispatcher.open_gate()

    async def wait_room(self) -> None:
        """Wait while too much is on its way."""
        while not self.machine.writable:
            await self._room.wait()

    def settle(self, why: str) -> None:
        """Tell those who wait for their sockets, if nothing tries to connect any more."""
        for socket in self.sockets.values():
            error = ConnectError(f"{socket.nsp} is not connected: {why}")
            error.__cause__ = self._open_error
            socket._settle(error)

    def set(self, option: str, value: Any) -> None:
        """Set an option of the machine, in its life or before."""
        self.check_caller()
        setattr(self.machine, option, value)
        if self.lives and option == "reconnection":
            self.hub.drain()
            self.settle("reconnection was switched off")

    def _open(self, *, reconnect: bool) -> None:
        hub = self.open_hub
        self.machine.open(hub.now(), reconnect=reconnect)
        for socket in self.sockets.values():
            socket._resume()
        hub.drain()

    # Errors

    async def report(self, error: Exception, event: str) -> None:
        """A handler raised: do what `on_handler_error` says."""
        is_ending = self._over is not None
        if isinstance(error, SocketIOError) and (
            self.hub.ended or (is_ending and isinstance(error, DisconnectedError))
        ):
            return  # it waited for something, or began it, and the scope ends
        policy = self._policy
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
        self.hub.feed(self.machine.abort)
        if self._life is not None:
            self._life.asked_to_end.resolve()

    def broken(self, error: Exception) -> None:
        """Something happened that must not: a mistake of this library."""
        if self.failure is None:
            self.failure = error
        log.critical("a mistake in sansio_socketio ends the connection; please report it", exc_info=error)
        self._is_broken = True
        if self._life is not None:
            self._life.asked_to_end.resolve()
        self.end()

    def overflowed(self, error: InboxOverflow) -> None:
        """An inbox is full: close the connection, and do not connect again."""
        if self.overflow is not None:
            return  # another one was full first: what came with that can fill this one as well
        log.error("closing the connection: %s", error)
        self.overflow = error
        self.hub.feed(self.machine.abort)

    # What the machine tells

    @property
    def last_signal(self) -> Future | None:
        """What is set when the handlers of the Manager's last event have been called; None if they have been."""
        barrier = self._barrier
        return None if barrier is None or barrier.done else barrier

    def _deliver(self, event: MachineEvent) -> None:
        if isinstance(event, NamespaceEvent):
            self.sockets[event.namespace]._route(event)
        else:
            self._routes[type(event)](self, event)

    def _drained(self) -> None:
        if self._over is not None:
            self.check_left()
        if self._closings and (self.machine.idle or self.trying):  # somebody may open it again meanwhile
            self._closings.wake()

    def _engine_opened(self, event: EngineOpened) -> None:
        log.info("connected to %s by %s", self.url, event.transport)
        if self.engine is not None:  # it is there from now on, so that it has what happens before somebody asks for it
            self._of_engine(event)

    def _engine_upgraded(self, event: EngineUpgraded) -> None:
        log.info("%s: upgraded to %s", self.url, event.transport)
        self._of_engine(event)

    def _engine_upgrading(self, event: EngineUpgrading) -> None:
        log.debug("%s: upgrading to %s", self.url, event.transport)
        self._of_engine(event)

    def _engine_upgrade_failed(self, event: EngineUpgradeFailed) -> None:
        log.info("%s: the upgrade failed: %s", self.url, event.error)
        self._of_engine(event)

    def _engine_closed(self, event: EngineClosed) -> None:
        self._of_engine(event)
        engine = self._engines.pop(event.session, None)
        if engine is not None:
            engine._end()

    def _of_engine(self, event: EngineEvent) -> None:
        engine = self._engines.get(event.session)
        if engine is not None:
            engine._route(event)

    def _opened(self, _: Opened) -> None:
        self.overflow = None
        self.dispatcher.accept_again()
        self._connectors.wake()
        self._signal("open")

    def _failed(self, event: Failed) -> None:
        log.info("%s: %s", self.url, event.error)
        error = ConnectError(str(event.error))
        error.__cause__ = event.error
        self._open_error = error
        self._connectors.fail(error)
        self._signal("error", event.error)

    def _closed(self, event: Closed) -> None:
        details = self.overflow or event.details
        log.info("%s: closed: %s", self.url, event.reason)
        self._connectors.fail(DisconnectedError(f"the connection was closed: {event.reason}", event.reason))
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
        self.settle("there are no more attempts to connect")
        self._signal("reconnect_failed")

    def _has_room_again(self, _: Drained) -> None:
        self._room.wake()

    def _signal(self, name: str, *args: Any) -> None:
        dispatcher = self.dispatcher
        if not dispatcher.wants(name):
            return
        called = None
        if dispatcher.idle:
            called = self._barrier = self.hub.runtime.future()
        dispatcher.put(Signal(name, args, called=called))

    # Questions

    def _asked(self, question: Question) -> None:
        before = self.last_signal if self.dispatcher.is_open else None
        earlier = self._asking.get((question.about, question.namespace))
        if earlier is not None:  # its answer is worth nothing any more
            earlier.cancel()
        self._asking[question.about, question.namespace] = self.hub.runtime.spawn(
            lambda: self._answer(question, before), f"function for {question.about}"
        )

    async def _answer(self, question: Question, before: Future | None) -> None:
        hub = self.hub
        if before is not None:
            await hub.runtime.wait(before)
        hub.feed(self.machine.answer, question.question, await self._answer_to(question))

    async def _answer_to(self, question: Question) -> Any:
        about = question.about
        asker: Any = self._askers.get(about)
        if question.namespace is not None:
            asker = self.sockets[question.namespace].auth
            if not callable(asker):  # it was set meanwhile
                return asker
        try:
            value = await self.hub.runtime.call(asker)
            check_answer(about, value)
        except Exception as error:
            # Neither the log nor a message shows what the exception says, or its traceback: it may hold what is secret.
            log.error("the function for %s raised %s", about, type(error).__name__)  # noqa: TRY400
            failure = ConnectError(f"the function for {about} raised {type(error).__name__}")
            failure.__cause__ = error
            return failure
        return value

    _routes: ClassVar[Mapping[type[MachineEvent], Any]] = {
        EngineOpened: _engine_opened,
        EngineUpgrading: _engine_upgrading,
        EngineUpgraded: _engine_upgraded,
        EngineUpgradeFailed: _engine_upgrade_failed,
        EnginePacketReceived: _of_engine,
        EnginePacketCreated: _of_engine,
        EngineFlushed: _of_engine,
        EngineDrained: _of_engine,
        EngineClosed: _engine_closed,
        Opened: _opened,
        Failed: _failed,
        Closed: _closed,
        Pinged: _pinged,
        ReconnectAttempt: _reconnect_attempt,
        Reconnected: _reconnected,
        ReconnectError: _reconnect_error,
        ReconnectFailed: _reconnect_failed,
        Drained: _has_room_again,
        Question: _asked,
    }


def _nothing() -> None:
    pass
