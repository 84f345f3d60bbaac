"""One run of a Manager, created at the start and discarded at the end.

Rules of this file:

- A run is created from a blueprint, on a runtime. It has a pump, a lifecycle queue, and a `NamespaceRun` for each namespace,
  which is created on first use.
- A table routes the events of the state machine to waiting callers, to the lifecycle queue and to the namespaces.
- Tasks answer the questions of the state machine. If such a task fails, the attempt to connect fails.
- At the end, waiting callers are woken with an error, and running tasks are cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from ...protocol import events
from ...protocol.errors import ConnectError, DisconnectedError, SocketIOError
from ...protocol.limits import LimitExceeded
from ...protocol.statistics import Statistics
from ...running.dispatcher import Dispatcher, Limits
from ...running.event_stream import InboxOverflow
from ...running.pump import Pump
from ...running.reporting import report_error
from ...running.waiters import Waiters
from ...runtime.calls import CannotAwait, place_of
from ...runtime.interface import Future, Runtime, Task, Timer
from .blueprint import Blueprint, NamespaceSpec
from .lifecycle import LifecycleQueue
from .namespace import NamespaceRun
from .session import SessionRun
from .state import RunState, RunStatus

log = logging.getLogger("sansio_socketio.client.manager")


class Run:
    """One run of a Manager.

    Args:
        blueprint: The persistent part of the Manager.
        runtime: The runtime.
        status: The state of the Manager's runs.
        last_session: The last session of the run before, or None.
        held: Whether to hold the handlers back until `release_handlers`.
        request_stop: Called when the run has failed, so that its scope ends.

    Attributes:
        failure: The error that ended the run: an exception in a handler with on_handler_error="raise", or an internal error.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        runtime: Runtime,
        status: RunStatus,
        last_session: SessionRun | None,
        *,
        held: bool,
        request_stop: Callable[[], None],
    ) -> None:
        self.runtime = runtime
        self.machine = machine = blueprint.machine
        self.failure: BaseException | None = None
        self._blueprint = blueprint
        self._status = status
        self._is_held = held
        self._request_stop = request_stop
        self._limits = Limits(
            blueprint.options.inbox_events, blueprint.options.inbox_bytes, blueprint.options.slow_handler_warning
        )
        self.lifecycle = LifecycleQueue(
            runtime, report=self.report, finished=self._check_finished, broken=self._broken, held=held
        )
        self.pump = Pump(
            machine,
            runtime,
            blueprint.connector,
            routes=self._ROUTES,
            owner=self,
            broken=self._broken,
        )
        self._namespaces = _Namespaces(self._make_namespace)
        self._sessions: dict[int, SessionRun] = {}
        self._last_session = last_session
        self._overflow: InboxOverflow | None = None
        self._open_error: ConnectError | None = None
        self._is_unreached = True  # the connection has not been open, and that has not been logged
        self._openings = Waiters(runtime)
        self._closings = Waiters(runtime)
        self._drains = Waiters(runtime)
        self._answering: dict[tuple[events.Asked, str | None], Task] = {}
        self._finished: Future | None = None  # resolved when the run has disconnected and all events are handled
        self._stop_timer: Timer | None = None
        machine.asks_before_reconnecting = True
        for spec in blueprint.namespaces.values():
            self.of(spec)

    def of(self, spec: NamespaceSpec) -> NamespaceRun:
        """Return the `NamespaceRun` of a namespace."""
        return self._namespaces[spec.name]

    def release_handlers(self) -> None:
        """Stop holding the handlers back. They are called from the next event loop iteration on."""
        self._is_held = False
        self.lifecycle.release()
        for namespace in self._namespaces.values():
            namespace.dispatcher.release()

    # The connection

    @property
    def is_trying(self) -> bool:
        """Whether the connection is open or opening, or will be opened automatically."""
        return self._is_trying()

    def _is_trying(self) -> bool:
        machine = self.machine
        return not self.pump.ended and (machine.state != "closed" or machine.reconnecting)

    def open(self, *, reconnect: bool) -> None:
        """Open the connection in the background. `reconnect`: whether to retry if the first attempt fails."""
        self.machine.open(self.pump.now(), reconnect=reconnect)
        for namespace in list(self._namespaces.values()):
            if namespace.spec.wanted:
                namespace.connect()
        self.pump.drain()

    async def opened(self) -> None:
        """Open the connection and wait until it is open. If the attempt fails, do not retry."""
        self._open_error = None
        self.open(reconnect=False)
        if self._open_error is not None:
            raise self._open_error
        if self.machine.state != "open":
            try:
                await self._openings.wait()
            except TimeoutError:  # the time limit of a blocking call
                why = self.machine.progress or "no attempt is in progress"
                raise TimeoutError(
                    f"the connection to {self._blueprint.url} was not open within the timeout of the call: {why}"
                ) from None

    async def closed(self) -> None:
        """Close the connection, and wait until it is closed or is opened again."""
        self.pump.after_drain = self._after_drain
        self.pump.feed(self.machine.close)
        if not (self.machine.idle or self.pump.ended):
            await self._closings.wait()

    def force_close(self) -> None:
        """Disconnect the sockets with the reason "forced close", before `stop`. They stay active."""
        for spec in self._blueprint.namespaces.values():
            self.pump.feed(spec.namespace.announce_close)
        self.pump.feed(self.machine.close)

    async def drained(self) -> None:
        """Wait until the connection is writable."""
        while not self.machine.writable:
            await self._drains.wait()
        if self.pump.ended:  # the end of the run has discarded the write buffer
            raise DisconnectedError(f"the connection to {self._blueprint.url} has been stopped")

    def session(self) -> SessionRun | None:
        """Return the current Engine.IO session, open or opening, or else the last one. None before the first one."""
        session, last = self.machine.last_engine, self._last_session
        if session is not None and (last is None or last.session is not session):
            last = self._last_session = SessionRun(session, self.runtime, self.lifecycle)
            if session.state != "closed":
                self._sessions[session.number] = last
        return last

    def _transport(self) -> str | None:
        """Return the name of the transport of the current or the last session, or None."""
        session = self.session()
        return None if session is None else session.session.transport

    async def close_session(self, session: SessionRun) -> None:
        """Close a session, and wait until it is closed."""
        self.pump.feed(self.machine.close_session, session.session.number)
        if session.session.state != "closed" and not self.pump.ended:
            await session.closings.wait()

    def fail_unless_trying(self, why: str) -> None:
        """Raise a ConnectError in callers that wait for a connection, unless the client is trying to connect."""
        for namespace in self._namespaces.values():
            error = ConnectError(f"{namespace.spec.name} is not connected: {why}")
            error.__cause__ = self._open_error
            namespace.give_up(error)

    def statistics(self) -> Statistics:
        """Return the counters, and the current sizes of the queues."""
        waiting = sum([namespace.dispatcher.waiting_events for namespace in self._namespaces.values()])
        return replace(self.machine.statistics(), waiting_events=waiting)

    # From stopping to the end

    def stop(self) -> None:
        """Start to stop the run: disconnect, and handle the received events."""
        if self._status.state is RunState.RUNNING:
            self._status.move(RunState.STOPPING)
            self._finished = self.runtime.future()
            self.pump.after_drain = self._after_drain
            now = self.pump.now()
            self._stop_timer = self.runtime.timer(self._stop_took_too_long)
            self._stop_timer.set(now + self.machine.options.close_timeout)
            self._suspend()
            self.machine.close(now)
            self.pump.drain()
            if queued := self.machine.statistics().queued_events:
                log.warning(
                    "%s: stopped with events that were not sent, or with retries not acknowledged: %d",
                    self._blueprint.url,
                    queued,
                )
            for namespace in self._namespaces.values():
                # Those of queued events would only arrive in the next run.
                namespace.withdraw(self._stopped_error())
        self.lifecycle.finish()
        for namespace in self._namespaces.values():
            namespace.dispatcher.finish()
        self._check_finished()

    async def finished(self) -> None:
        """Wait until the run has disconnected and all events are handled, for at most `close_timeout`."""
        if self._finished is not None:
            await self.runtime.wait(self._finished)

    def end(self) -> None:
        """End the run at once, and wake all waiting callers."""
        if self._status.state is RunState.RUNNING:
            self._status.move(RunState.STOPPING)
        for namespace in self._namespaces.values():
            namespace.is_ending = True
        self.pump.feed(self.machine.abort)
        if not self.pump.ended:
            self._suspend()
        self.pump.end()
        if self._stop_timer is not None:
            self._stop_timer.set(None)
        error = self._stopped_error()
        self._openings.fail(error)
        self._drains.fail(error)
        self._closings.wake()
        for session in self._sessions.values():
            session.closings.wake()
        for namespace in self._namespaces.values():
            namespace.end(error)
        self.lifecycle.cancel()

    def _stopped_error(self) -> DisconnectedError:
        error = DisconnectedError(f"the connection to {self._blueprint.url} has been stopped")
        error.__cause__ = self.failure
        return error

    def _suspend(self) -> None:
        for namespace in self._namespaces.values():
            namespace.suspend()

    def _queues(self) -> Sequence[LifecycleQueue | Dispatcher]:
        return [self.lifecycle, *(namespace.dispatcher for namespace in self._namespaces.values())]

    def _check_finished(self) -> None:
        if self._finished is not None and self.machine.idle and all(queue.done for queue in self._queues()):
            self._finished.resolve()

    def _stop_took_too_long(self) -> None:
        running = [name for queue in self._queues() for name in queue.running()]
        if running:
            log.warning(
                "handlers are still running %g seconds (close_timeout) after the connection was stopped: %s",
                self.machine.options.close_timeout,
                ", ".join(running),
            )
        if self._finished is not None:
            self._finished.resolve()

    # Errors

    async def report(self, error: Exception, event: str, source: str) -> None:
        """Handle an exception according to `on_handler_error`. `source` is the handler that raised it, for a message."""
        is_stopping = self._status.state is not RunState.RUNNING
        if isinstance(error, SocketIOError) and (
            self.pump.ended or (is_stopping and isinstance(error, DisconnectedError))
        ):
            return  # a call of the handler failed only because the run ends
        policy = self._blueprint.options.on_handler_error
        if policy == "raise" and self.failure is None:
            self.failure = error
            self.pump.feed(self.machine.abort)
            self._request_stop()
        else:
            await report_error(self.runtime, policy, error, event, source)

    def _broken(self, error: Exception) -> None:
        """End the run because of an internal error, which may have left the state machine unusable."""
        log.critical("internal error in sansio_socketio; the connection is closed; please report it", exc_info=error)
        self._blueprint.is_broken = True
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the run at once, because of an error that the scope raises."""
        if self.failure is None:
            self.failure = error
        self._request_stop()
        stopped = self._stopped_error()
        self._openings.fail(stopped)  # before the end of the connection, whose errors do not have the cause
        self._drains.fail(stopped)
        for namespace in self._namespaces.values():
            namespace.broken(stopped)
            namespace.fail_acks(stopped)
        self.end()

    def _cause(self) -> Exception | None:
        """Return the error for which the client has closed the connection, or None."""
        return self._overflow or (self.failure if isinstance(self.failure, Exception) else None)

    def _overflowed(self, error: InboxOverflow) -> None:
        """Close the connection permanently, because an inbox is full."""
        if self._overflow is None:  # several inboxes can overflow at once; the first one is reported
            log.error("closing the connection: %s", error)
            self._overflow = error
            self.pump.feed(self.machine.abort)

    # Events of the state machine

    def _after_drain(self) -> None:
        self._check_finished()
        if self._closings and (self.machine.idle or self.is_trying):  # the connection may have been opened again
            self._closings.wake()

    def _post(self, name: str, *args: Any) -> None:
        self.lifecycle.post(self._blueprint.handlers, name, *args)

    def _opened(self, _: events.Opened) -> None:
        self._overflow = None
        self._is_unreached = False
        self._openings.wake()
        self._post("open")

    def _failed(self, event: events.Failed) -> None:
        is_awaited = self._openings or any(each.first_attempts for each in self._namespaces.values())
        if self._is_unreached and event.retry_in is not None and not is_awaited:  # most likely a wrong URL
            self._is_unreached = False
            log.warning("%s: cannot connect, and tries again: %s", self._blueprint.url, event.error)
        else:
            log.info("%s: %s", self._blueprint.url, event.error)
        self._log_delay(event.retry_in)
        error = ConnectError(str(event.error))
        error.__cause__ = event.error
        self._open_error = error
        self._openings.fail(error)
        self._post("error", event.error)

    def _closed(self, event: events.Closed) -> None:
        if isinstance(event.details, LimitExceeded):
            log.warning("%s: closed: %s: %s", self._blueprint.url, event.reason, event.details)
        else:
            by = " by this client" if event.reason == "forced close" else ""
            log.info("%s: closed%s: %s", self._blueprint.url, by, event.reason)
        self._log_delay(event.retry_in)
        self._openings.fail(DisconnectedError(f"the connection was closed: {event.reason}", event.reason))
        for namespace in self._namespaces.values():
            namespace.dispatcher.connection_closed()
        self._post("close", event.reason, self._overflow or event.details)

    def _log_delay(self, seconds: float | None) -> None:
        if seconds is not None:
            log.debug("%s: next attempt in %.3g seconds", self._blueprint.url, seconds)

    def _reconnect_attempt(self, event: events.ReconnectAttempt) -> None:
        log.info("%s: reconnection attempt %d", self._blueprint.url, event.attempt)
        self._post("reconnect_attempt", event.attempt)
        # The attempt begins when the handlers have started, so that options that they set take effect on it.
        self.lifecycle.then(partial(self.pump.feed, self.machine.answer, event.question, None))

    def _reconnected(self, event: events.Reconnected) -> None:
        log.info("%s: reconnected", self._blueprint.url)
        self._post("reconnect", event.attempt)

    def _reconnect_failed(self, _: events.ReconnectFailed) -> None:
        log.info("%s: giving up: all reconnection attempts have failed", self._blueprint.url)
        self.fail_unless_trying("no reconnection attempts are left")
        self._post("reconnect_failed")

    def _engine_opened(self, event: events.EngineOpened) -> None:
        log.info("connected to %s by %s", self._blueprint.url, event.transport)
        self.session()  # create it now: handlers of the Manager's "open" may register handlers on it
        self._of_engine(event)

    def _engine_upgrading(self, event: events.EngineUpgrading) -> None:
        log.debug("%s: upgrading to %s", self._blueprint.url, event.transport)
        self._of_engine(event)

    def _engine_upgraded(self, event: events.EngineUpgraded) -> None:
        log.info("%s: upgraded to %s", self._blueprint.url, event.transport)
        self._of_engine(event)

    def _engine_upgrade_failed(self, event: events.EngineUpgradeFailed) -> None:
        log.info("%s: the upgrade failed: %s", self._blueprint.url, event.error)
        self._of_engine(event)

    def _engine_closed(self, event: events.EngineClosed) -> None:
        self._of_engine(event)
        session = self._sessions.pop(event.session, None)
        if session is not None:
            session.closings.wake()

    def _of_engine(self, event: events.EngineEvent) -> None:
        session = self._sessions.get(event.session)
        if session is not None:
            session.route(event)

    # Questions

    def _asked(self, question: events.Question) -> None:
        earlier = self._answering.get((question.about, question.namespace))
        if earlier is not None:  # its answer is obsolete
            earlier.cancel()
        self.lifecycle.then(partial(self._start_answer, question))

    def _start_answer(self, question: events.Question) -> None:
        if not self.pump.ended:
            self._answering[question.about, question.namespace] = self.runtime.spawn(
                partial(self._answer, question), f"function for {question.about}"
            )

    async def _answer(self, question: events.Question) -> None:
        self.pump.feed(self.machine.answer, question.question, await self._answer_to(question))

    async def _answer_to(self, question: events.Question) -> Any:
        about = question.about
        name = question.namespace
        function = self._blueprint.option(about) if name is None else self._blueprint.namespaces[name].auth
        if not callable(function):  # a mapping was set after the question was asked
            return function
        try:
            return await self.runtime.call(function)
        except Exception as error:
            if isinstance(error, CannotAwait):
                what = f"the function for {about} cannot be used: {error}"
            else:  # the message of the exception may contain secrets
                what = f"the function for {about} raised {type(error).__name__} ({place_of(function, error)})"
            log.error("%s", what)  # noqa: TRY400
            failure = ConnectError(what)
            failure.__cause__ = error
            return failure

    # Namespaces

    def _make_namespace(self, name: str) -> NamespaceRun:
        spec = self._blueprint.namespaces[name]
        namespace = NamespaceRun(
            spec,
            self.runtime,
            self.pump,
            self.lifecycle,
            partial(self._make_dispatcher, spec),
            is_trying=self._is_trying,
            cause=self._cause,
            transport=self._transport,
            progress=lambda: self.machine.progress,
        )
        if self._finished is not None:
            namespace.dispatcher.finish()  # `stop` has done so for those that existed
        return namespace

    def _make_dispatcher(
        self, spec: NamespaceSpec, acknowledge: Callable[[events.AckId, Sequence[Any]], None]
    ) -> Dispatcher:
        return Dispatcher(
            spec.name,
            self.runtime,
            spec.handlers,
            self._limits,
            reading=self.pump,
            held=self._is_held,
            report=self.report,
            acknowledge=acknowledge,
            overflowed=self._overflowed,
            finished=self._check_finished,
            broken=self._broken,
        )

    _ROUTES: ClassVar[Mapping[type, Callable[[Any, Any], None]]] = {
        events.EventReceived: lambda self, event: self._namespaces[event.namespace].dispatcher.received(event),
        events.EventSent: lambda self, event: self._namespaces[event.namespace].sent(event),
        events.EventBuffered: lambda self, event: self._namespaces[event.namespace].buffered(event),
        events.EventDropped: lambda self, event: self._namespaces[event.namespace].dropped(event),
        events.Acknowledged: lambda self, event: self._namespaces[event.namespace].acknowledged(event),
        events.AckFailed: lambda self, event: self._namespaces[event.namespace].ack_failed(event),
        events.Connected: lambda self, event: self._namespaces[event.namespace].connected(event),
        events.ConnectFailed: lambda self, event: self._namespaces[event.namespace].connect_failed(event),
        events.Disconnected: lambda self, event: self._namespaces[event.namespace].disconnected(event),
        events.Opened: _opened,
        events.Failed: _failed,
        events.Closed: _closed,
        events.Pinged: lambda self, _: self._post("ping"),
        events.Drained: lambda self, _: self._drains.wake(),
        events.Question: _asked,
        events.ReconnectAttempt: _reconnect_attempt,
        events.Reconnected: _reconnected,
        events.ReconnectError: lambda self, event: self._post("reconnect_error", event.error),
        events.ReconnectFailed: _reconnect_failed,
        events.EngineOpened: _engine_opened,
        events.EngineUpgrading: _engine_upgrading,
        events.EngineUpgraded: _engine_upgraded,
        events.EngineUpgradeFailed: _engine_upgrade_failed,
        events.EnginePacketReceived: _of_engine,
        events.EnginePacketCreated: _of_engine,
        events.EngineFlushed: _of_engine,
        events.EngineDrained: _of_engine,
        events.EngineClosed: _engine_closed,
    }


class _Namespaces(dict[str, NamespaceRun]):
    """The namespaces of a run by name. A missing one is created."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[str], NamespaceRun]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> NamespaceRun:
        namespace = self[name] = self._make(name)
        return namespace
