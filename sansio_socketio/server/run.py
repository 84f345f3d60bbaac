"""A running server: the state machine on a runtime, and the clients of its namespaces.

Rules of this file:

- Each client of a namespace has a dispatcher, so that a slow handler of one client does not delay the others. Its handlers run one
  at a time, from `connect` to `disconnect`.
- Nothing grows without a bound that the options set: clients, streams and what is buffered for them are bounded by the state
  machine, received events by `inbox_events` and `inbox_bytes` of each client. At most `max_sessions` clients that have left
  are still handled, and as many questions; beyond that the oldest is cancelled.
- At the end the server stops gracefully in at most twice `close_timeout`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import Random, SystemRandom
from typing import Any, ClassVar, Final

from ..protocol.errors import ConnectError, DisconnectedError, PacketError
from ..protocol.events import EventReceived
from ..protocol.server import ServerOptions, ServerProtocol, events
from ..protocol.server.states import ServerState
from ..running.dispatcher import Dispatcher, Limits
from ..running.event_stream import InboxOverflow
from ..running.reporting import report_error
from ..running.waiters import Waiters, wait_for
from ..runtime.calls import name_of
from ..runtime.interface import Future, Listener, ListeningRuntime, Timer
from .client import ClientRun, NamespaceSpec, Session
from .options import LocalServerOptions
from .pump import ServerPump
from .remote import RemoteClient, SessionRequest
from .tasks import LimitedTasks

log = logging.getLogger("sansio_socketio.server")

_RANDOM: Final = SystemRandom()
"""Ids must be unpredictable, because a request that contains the id of a session is accepted as one of its client."""


class ServerRun:
    """A running server.

    Args:
        runtime: The runtime.
        options: The options of the state machine.
        local: The other options.
        random: The source of ids.

    Attributes:
        failure: The error that ended the server: an exception in a handler with on_handler_error="raise", or an internal error.
        listener: The listening sockets. Set by the scope.
    """

    listener: Listener | None = None

    def __init__(
        self,
        runtime: ListeningRuntime,
        options: ServerOptions,
        local: LocalServerOptions,
        *,
        random: Random = _RANDOM,
    ) -> None:
        self.runtime = runtime
        self.failure: BaseException | None = None
        self.machine = ServerProtocol(options, random=random)
        self.machine.asks_before_opening = local.allow_request is not None
        self.pump = ServerPump(self.machine, runtime, None, routes=self._ROUTES, owner=self, broken=self._broken)
        self._local = local
        self._limits = Limits(local.inbox_events, local.inbox_bytes, None)
        self._namespaces: dict[str, NamespaceSpec] = {}
        self._sessions: dict[int, Session] = {}
        self._asking: dict[tuple[str, str], ClientRun] = {}  # by namespace and id, as the next two
        self._clients: dict[tuple[str, str], ClientRun] = {}
        self._leaving: dict[Dispatcher, None] = {}  # the dispatchers of clients that have left, the oldest first
        self._questions = LimitedTasks(runtime, options.max_sessions)
        self._acks: dict[int, Future] = {}
        self._stopping: Future = runtime.future()
        self._finished: Future | None = None  # resolved when all is closed and handled, or after close_timeout
        self._stop_timer: Timer | None = None

    def of(self, name: str) -> NamespaceSpec:
        """Return a namespace, which is created by the first call. Raise PacketError if its name is invalid."""
        if name not in self._namespaces:
            self._namespaces[name] = NamespaceSpec(self.machine.namespace(name))
        return self._namespaces[name]

    def clients(self, namespace: str) -> Iterable[RemoteClient]:
        """Return the connected clients of a namespace."""
        return [client.public for (name, _), client in self._clients.items() if name == namespace]

    async def acknowledgement(self, handle: int) -> Sequence[Any]:
        """Wait for the acknowledgement of an emit, whose outputs have not been taken."""
        if self.pump.ended:
            raise DisconnectedError("the server has been stopped")
        self._acks[handle] = future = self.runtime.future()
        self.pump.drain()
        try:
            values: Sequence[Any] = await wait_for(self.runtime, future)
        finally:
            self._acks.pop(handle, None)
        return values

    # From start to end

    async def stopping(self) -> None:
        """Wait until the server is stopping. Raise the error that has stopped it, if any."""
        await wait_for(self.runtime, self._stopping)
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Start to stop: close the sockets and the sessions, and handle the received events."""
        if self._finished is not None:
            return
        self._finished = self.runtime.future()
        self._stopping.resolve()
        self._close_listener()
        self._stop_timer = self.runtime.timer(self._stop_took_too_long)
        self._stop_timer.set(self.pump.now() + 2 * self.machine.options.close_timeout)
        self.pump.after_drain = self._check_finished
        self.pump.feed(self.machine.shutdown)
        self._check_finished()

    async def finished(self) -> None:
        """Wait until everything is closed and handled, for at most twice `close_timeout`."""
        if self._finished is not None:
            await self.runtime.wait(self._finished)

    def end(self) -> None:
        """End at once, and wake all waiting callers."""
        self._close_listener()
        self._stopping.resolve()
        self.pump.feed(self.machine.abort)
        self.pump.end()
        if self._stop_timer is not None:
            self._stop_timer.set(None)
        self._questions.cancel()
        for dispatcher in self._dispatchers():
            dispatcher.cancel()
        error = DisconnectedError("the server has been stopped")
        error.__cause__ = self.failure
        for future in self._acks.values():
            future.fail(error)
        for session in self._sessions.values():
            session.drains.wake()

    def fail(self, error: BaseException) -> None:
        """End at once, because of an error that the scope raises."""
        if self.failure is None:
            self.failure = error
        self.end()

    def _close_listener(self) -> None:
        if self.listener is not None:
            self.listener.close()

    def _dispatchers(self) -> list[Dispatcher]:
        present = [client.dispatcher for client in self._clients.values() if client.dispatcher is not None]
        return [*self._leaving, *present]

    def _handled(self, client: ClientRun) -> None:
        """Forget a client that has left if its events are handled."""
        if client.dispatcher is not None and client.dispatcher.done:
            self._leaving.pop(client.dispatcher, None)
            self._check_finished()

    def _check_finished(self) -> None:
        if self._finished is not None and self.machine.state is ServerState.STOPPED and not self._leaving:
            self._finished.resolve()

    def _stop_took_too_long(self) -> None:
        running = [name for dispatcher in self._dispatchers() for name in dispatcher.running()]
        if running:
            log.warning("handlers are still running when the server ends: %s", ", ".join(sorted(set(running))))
        if self._finished is not None:
            self._finished.resolve()

    def _broken(self, error: Exception) -> None:
        log.critical("internal error in sansio_socketio; the server has ended; please report it", exc_info=error)
        self.fail(error)

    async def report(self, error: Exception, event: str, source: str) -> None:
        """Handle an exception according to `on_handler_error`. `source` is the function that raised it, for a message."""
        if self._stopping.done and isinstance(error, DisconnectedError):
            return  # a call of the handler failed only because the server ends
        if self._local.on_handler_error == "raise" and self.failure is None:
            self.failure = error
            self.stop()
        else:
            await report_error(self.runtime, self._local.on_handler_error, error, event, source)

    # Sessions

    def _session_opened(self, event: events.SessionOpened) -> None:
        log.debug("session %d of %s: opened on %s", event.session, event.peer, event.transport)
        self._sessions[event.session] = Session(event.session, _request_of(event), Waiters(self.runtime))

    def _session_upgraded(self, event: events.SessionUpgraded) -> None:
        log.debug("session %d: upgraded to %s", event.session, event.transport)
        self._sessions[event.session].transport = event.transport

    def _session_closed(self, event: events.SessionClosed) -> None:
        log.debug("session %d: closed: %s", event.session, event.details or event.reason)
        session = self._sessions.pop(event.session, None)
        if session is not None:
            session.drains.wake()

    # Questions

    def _session_asked(self, event: events.SessionQuestion) -> None:
        checks = () if self._local.allow_request is None else (self._local.allow_request,)
        self._answer_later(event.question, checks, _request_of(event), "allow_request")

    def _client_asked(self, event: events.ConnectQuestion) -> None:
        spec = self._namespaces[event.namespace]
        key = event.namespace, event.client
        client = ClientRun(self, spec, event.client, self._sessions[event.session], event.auth)
        self._asking[key] = client
        self._answer_later(
            event.question, tuple(spec.checks), client.public, "use", lambda: self._asking.pop(key, None)
        )

    def _answer_later(
        self,
        question: int,
        checks: Sequence[Callable[..., Any]],
        about: object,
        what: str,
        answered: Callable[[], object] = lambda: None,
    ) -> None:
        """Answer a question in a task. Call `answered` afterwards, when the client has joined if it may."""

        async def answer() -> None:
            await self._answer(question, await self._ask(checks, about, what))

        self._questions.spawn(answer, f"answer a question ({what})", partial(self._later, answered))

    def _later(self, callback: Callable[[], object]) -> None:
        """Call `callback` in a later iteration, when the outputs have been taken that may just be taken."""

        def call() -> None:
            callback()

        self.runtime.call_soon(call)

    async def _ask(self, checks: Sequence[Callable[..., Any]], about: object, what: str) -> Exception | None:
        """Call functions of the application. Return the exception with which one refuses, or None."""
        for check in checks:
            try:
                await self.runtime.call(check, about)
            except ConnectError as refusal:
                return refusal
            except Exception as error:
                await self.report(error, what, f"{name_of(check)} ({what})")
                return error
        return None

    async def _answer(self, question: int, refusal: Exception | None) -> None:
        if self.pump.ended:
            return
        try:
            self.machine.answer(question, refusal, self.pump.now())
        except PacketError as error:  # the data of the refusal cannot be encoded
            self.machine.answer(question, error, self.pump.now())
            await self.report(error, "connect", "the data of a ConnectError")
        self.pump.drain()

    # Clients

    def _connected(self, event: events.ClientConnected) -> None:
        log.info("%s: client %s connected%s", event.namespace, event.client, ", recovered" * event.recovered)
        key = event.namespace, event.client
        spec = self._namespaces[event.namespace]
        client = self._asking.pop(key, None)
        if client is None:
            client = ClientRun(self, spec, event.client, self._sessions[event.session], event.auth)
        self._clients[key] = client
        client.connected = True
        client.recovered = event.recovered
        client.dispatcher = dispatcher = Dispatcher(
            f"{event.namespace} (client {event.client})",
            self.runtime,
            spec.handlers,
            self._limits,
            reading=None,
            held=False,
            report=self.report,
            acknowledge=client.acknowledge,
            overflowed=partial(self._overflowed, client),
            finished=partial(self._handled, client),
            broken=self._broken,
            log=log,
        )
        dispatcher.lifecycle("connect", (client.public,), None, lambda: None)

    def _disconnected(self, event: events.ClientDisconnected) -> None:
        log.info("%s: client %s disconnected: %s", event.namespace, event.client, event.details or event.reason)
        client = self._clients.pop((event.namespace, event.client))
        client.connected = False
        dispatcher = client.dispatcher
        assert dispatcher is not None
        self._leaving[dispatcher] = None
        dispatcher.lifecycle("disconnect", (client.public, event.reason, event.details), None, lambda: None)
        dispatcher.finish()
        if len(self._leaving) > self.machine.options.max_sessions:
            oldest = next(iter(self._leaving))
            del self._leaving[oldest]
            oldest.cancel()

    def _emitted(self, event: events.ClientEmitted) -> None:
        client = self._clients[event.namespace, event.client]
        assert client.dispatcher is not None
        event.args.insert(1, client.public)  # the first argument of handlers
        client.dispatcher.received(EventReceived(event.namespace, event.args, event.ack_id, event.size))

    def _acknowledged(self, event: events.ClientAcknowledged) -> None:
        future = self._acks.get(event.handle)
        if future is not None:
            future.resolve(event.args)

    def _ack_failed(self, event: events.ClientAckFailed) -> None:
        future = self._acks.get(event.handle)
        if future is not None:
            future.fail(event.error)

    def _overflowed(self, client: ClientRun, error: InboxOverflow) -> None:
        log.warning("%s: disconnecting client %s: %s", client.namespace, client.id, error)
        client.disconnect(close=True)

    def _rejected(self, event: events.RequestRejected) -> None:
        log.info("stream %d: rejected a request with status %d: %s", event.stream, event.status, event.why)

    _ROUTES: ClassVar[Mapping[type, Callable[[Any, Any], None]]] = {
        events.ClientEmitted: _emitted,
        events.ClientAcknowledged: _acknowledged,
        events.ClientAckFailed: _ack_failed,
        events.ClientConnected: _connected,
        events.ClientDisconnected: _disconnected,
        events.ConnectQuestion: _client_asked,
        events.SessionQuestion: _session_asked,
        events.SessionOpened: _session_opened,
        events.SessionUpgraded: _session_upgraded,
        events.SessionDrained: lambda self, event: self._sessions[event.session].drains.wake(),
        events.SessionClosed: _session_closed,
        events.RequestRejected: _rejected,
    }


def _request_of(event: events.SessionOpened | events.SessionQuestion) -> SessionRequest:
    return SessionRequest(event.transport, event.peer, event.headers, event.query)
