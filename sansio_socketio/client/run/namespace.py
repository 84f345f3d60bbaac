"""One namespace in one run: its dispatcher, its waiting callers and the handling of its events.

Rules of this file:

- The state machine has the state of the namespace. This module only has the callers that wait for acknowledgements, for a
  connection or for its end.
- Events of the state machine wake waiting callers directly. Events for handlers go into the dispatcher's inbox.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ...handlers.registry import Handler, RegisteredHandler, event_name
from ...protocol import events
from ...protocol.emit import UNSET
from ...protocol.errors import AckTimeout, ConnectError, DisconnectedError
from ...running.dispatcher import AckCallback, Dispatcher, EndStreams, description
from ...running.event_stream import EventBuffer
from ...running.flags import Flags
from ...running.pump import Pump
from ...running.waiters import Waiters, wait_for
from ...runtime.interface import Future, Runtime
from .blueprint import NamespaceSpec
from .disconnection import BY_APPLICATION, Disconnection
from .lifecycle import LifecycleQueue
from .socket_state import SocketState

log = logging.getLogger("sansio_socketio.client.socket")


Late = TypeVar("Late", bound=TimeoutError)


class NamespaceRun:
    """One namespace in a run.

    Args:
        spec: The namespace.
        runtime: The runtime.
        pump: The pump of the connection.
        lifecycle: The lifecycle queue of the connection.
        make_dispatcher: Creates the dispatcher, given a function that acknowledges events.
        is_trying: Returns whether the connection is open or opening, or will be opened automatically.
        cause: Returns the error for which the client has closed the connection, or None.
        transport: Returns the name of the connection's transport, or of the last one's, or None.
        progress: Returns how far the attempt to open the connection has come, for a message; "" if there is none.

    Attributes:
        failure: Why the last attempt failed; None after a success.
        is_ending: Whether the run is ending, so that no handlers of connect, connect_error and disconnect are called any more.
        connections: Callers that wait until the namespace is connected.
        first_attempts: Callers that wait until the first attempt has succeeded or failed.
        closings: Callers that wait until the namespace is disconnected and the client does not reconnect it.
    """

    def __init__(
        self,
        spec: NamespaceSpec,
        runtime: Runtime,
        pump: Pump,
        lifecycle: LifecycleQueue,
        make_dispatcher: Callable[[Callable[[events.AckId, Sequence[Any]], None]], Dispatcher],
        *,
        is_trying: Callable[[], bool],
        cause: Callable[[], Exception | None],
        transport: Callable[[], str | None],
        progress: Callable[[], str],
    ) -> None:
        self.spec = spec
        self.runtime = runtime
        self.dispatcher = make_dispatcher(self._acknowledge)
        self.failure: ConnectError | None = None
        self.is_ending = False
        self.connections = Waiters(runtime)
        self.first_attempts = Waiters(runtime)
        self.closings = Waiters(runtime)
        spec.choose_reports()  # the level of the log may have changed since the last run
        self._namespace = spec.namespace
        self._pump = pump
        self._lifecycle = lifecycle
        self._is_trying = is_trying
        self._cause = cause
        self._transport = transport
        self._progress = progress
        self._acks: dict[int, Future] = {}
        self._callbacks: dict[int, tuple[RegisteredHandler, str, bool]] = {}

    # Connecting

    @property
    def is_trying(self) -> bool:
        """Whether the namespace is connected, or will connect automatically."""
        return self._namespace.active and self._is_trying()

    @property
    def disconnection(self) -> Disconnection | None:
        """How the namespace was disconnected, or None."""
        disconnection = self.spec.disconnection
        return None if disconnection is None else replace(disconnection, final=not self.is_trying)

    @property
    def is_over(self) -> bool:
        """Whether the namespace was disconnected, and will not connect automatically."""
        return self.spec.disconnection is not None and not self.is_trying

    def not_trying(self) -> Exception:
        """Return the error for a call that waits for a connection or an event, while the client does not try to connect."""
        error = self.failure or self.lost()
        if error is None:
            reason = None if self.spec.disconnection is None else self.spec.disconnection.reason
            error = DisconnectedError(f"{self.spec.name} is not connected or connecting: call connect()", reason)
        return error

    def explained(self, late: Late) -> Late:
        """Return an error about a time limit. If the namespace is not connected, it says why, with the cause."""
        if self._namespace.connected:
            return late
        cause: Exception | None = self.failure
        if self.failure is not None:
            why = f"the last attempt failed: {self.failure}"
        elif self.spec.disconnection is not None:
            why, cause = f"it was disconnected: {self.spec.disconnection.why}", self.spec.disconnection.details
        elif self._namespace.active:
            why = self._progress() or "the server has not accepted it yet"
        else:
            why = "call connect()"
        explained = type(late)(f"{late}; {self.spec.name} is not connected: {why}")
        explained.__cause__ = cause
        return explained

    def connect(self) -> None:
        """Connect the namespace in the background."""
        now = self._pump.now()
        self.spec.wanted = False
        if not self.is_trying:
            self.spec.disconnection = None
        self.failure = None
        self._namespace.connect(now)
        self._pump.drain()

    def disconnect(self) -> None:
        """Disconnect the namespace."""
        self.failure = None
        if not self._pump.ended:
            if self.is_trying:
                self.spec.disconnection = BY_APPLICATION
            self._namespace.disconnect(self._pump.now())
            self._pump.drain()
            self.fail_unless_trying(DisconnectedError(f"disconnect() was called before {self.spec.name} was connected"))

    def suspend(self) -> None:
        """Disconnect at the end of the run, unless that is final already. The next run connects the namespace again."""
        self.spec.wanted = self.spec.wanted or self._namespace.active
        if self.is_trying:
            self.spec.disconnection = BY_APPLICATION
            self._namespace.disconnect(self._pump.now())

    def give_up(self, error: ConnectError) -> None:
        """Raise `error` in the callers that wait for a connection, if the client does not try to connect any more."""
        if not self.is_trying:
            self._lost(Disconnection("connect error", error))
            self.fail(error)

    def broken(self, error: Exception) -> None:
        """Raise `error` in the callers that wait for a connection, because an internal error ends the run."""
        self._lost(Disconnection("forced close", self._cause() or error))
        self.fail(error)

    def _lost(self, disconnection: Disconnection) -> None:
        """Record how the namespace was disconnected, unless that is known."""
        if self._namespace.active and self.spec.disconnection is None:
            self.spec.disconnection = disconnection

    def fail_unless_trying(self, error: Exception) -> None:
        """Raise `error` in the callers that wait for a connection or an event, unless the client is trying to connect."""
        if not self.is_trying:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Raise `error` in the callers that wait for a connection or an event. Wake those that wait for its end, and end the
        streams.
        """
        self.connections.fail(error)
        self.first_attempts.fail(error)
        self.dispatcher.expected.fail(error)
        lost = self.lost()
        if lost is None:
            self.closings.wake()
        else:
            self.closings.fail(lost)
        if self.dispatcher.has_streams:
            self.dispatcher.put(EndStreams(lost))

    def end_stream(self, stream: EventBuffer) -> None:
        """End a stream behind the queued events, if the namespace will not connect automatically."""
        if self.is_over:
            self.dispatcher.put(EndStreams(self.lost(), stream))

    def late_event(self) -> TimeoutError:
        """Return the error of a stream whose next event has not arrived within the time limit of the call."""
        return self.explained(TimeoutError(f"no event of {self.spec.name} arrived within the timeout of the stream"))

    def lost(self) -> DisconnectedError | None:
        """Return the error for how the namespace was disconnected, or None if the application has disconnected it."""
        disconnection = self.spec.disconnection
        return None if disconnection is None else disconnection.error(self.spec.name)

    def fail_acks(self, error: Exception) -> None:
        """Raise `error` in the callers that wait for acknowledgements. Events that have not been sent are withdrawn."""
        for future in self._acks.values():
            future.fail(error)

    def withdraw(self, error: Exception) -> None:
        """Withdraw the events whose acknowledgements a caller or a callback that takes errors waits for. These get `error`."""
        self.fail_acks(error)
        for handle, (callback, name, with_error) in list(self._callbacks.items()):
            if with_error:
                del self._callbacks[handle]
                self._namespace.forget(handle, self._pump.now())
                self.dispatcher.put(AckCallback(name, callback, [error]))

    def end(self, error: Exception) -> None:
        """End the namespace's part of the run: raise `error` in all waiting callers."""
        self.fail_unless_trying(error)
        self.fail_acks(error)
        self._acks.clear()
        self._callbacks.clear()
        self.dispatcher.cancel(self.lost())

    # Sending

    def emit(self, args: Sequence[Any], flags: Flags, ack: Handler | None) -> None:
        """Pass an event to the state machine. `ack` is called with its acknowledgement."""
        if ack is None:
            self._send(args, flags, ack=False)
        else:
            callback = RegisteredHandler(ack)
            timeout = self.spec.ack_timeout if flags.timeout is UNSET else flags.timeout
            handle = self._send(args, flags, ack=True)
            self._callbacks[handle] = (callback, f"{event_name(args[0])} (acknowledgement)", timeout is not None)
        self._pump.drain()

    async def emit_with_ack(self, args: Sequence[Any], flags: Flags) -> Any:
        """Pass an event to the state machine, and wait for its acknowledgement."""
        handle = self._send(args, flags, ack=True)
        self._acks[handle] = future = self.runtime.future()
        self._pump.drain()
        try:
            values = await wait_for(self.runtime, future)
        except BaseException:
            if self._acks.pop(handle, None) is not None and not self._pump.ended:
                self._namespace.forget(handle, self._pump.now())
                self._pump.drain()
            raise
        return values[0] if len(values) == 1 else tuple(values) if values else None

    def drop_buffered(self) -> int:
        """Drop the events that have not been sent, and return how many."""
        dropped = self._namespace.drop_buffered(self._pump.now())
        self._pump.drain()
        return dropped

    def _send(self, args: Sequence[Any], flags: Flags, *, ack: bool) -> int:
        if log.isEnabledFor(logging.DEBUG):
            self._namespace.report_sent = True
        return self._namespace.emit(
            args, self._pump.now(), ack=ack, timeout=flags.timeout, volatile=flags.volatile, compress=flags.compress
        )

    def _acknowledge(self, ack_id: events.AckId, values: Sequence[Any]) -> None:
        if not self._pump.ended:
            if log.isEnabledFor(logging.DEBUG):
                log.debug("%s: acknowledging %d (values: %d)", self.spec.name, ack_id[1], len(values))
            self._namespace.acknowledge(ack_id, values, self._pump.now())
            self._pump.drain()

    # Events of the state machine

    def sent(self, event: events.EventSent) -> None:
        if log.isEnabledFor(logging.DEBUG):
            about = description(event.args, event.size, event.id)
            log.debug("%s: sent %s%s", self.spec.name, about, f", try {event.tries}" if event.tries > 1 else "")
        if self.spec.handlers.outgoing.registered:
            self.dispatcher.sent(event)

    def buffered(self, event: events.EventBuffered) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: buffered %s", self.spec.name, description(event.args, event.size, None))

    def dropped(self, event: events.EventDropped) -> None:
        if event.error is None:
            log.debug("%s: dropped %r: it is volatile and cannot be sent now", self.spec.name, event.args[0])
        else:
            log.warning("%s: an event was dropped: %s", self.spec.name, event.error)

    def acknowledged(self, event: events.Acknowledged) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s: received acknowledgement %s of %r (values: %d)",
                self.spec.name,
                event.id,
                event.event,
                len(event.args),
            )
        future = self._acks.pop(event.handle, None)
        if future is not None:
            future.resolve(event.args)
            return
        waiting = self._callbacks.pop(event.handle, None)
        if waiting is not None:
            callback, name, with_error = waiting
            self.dispatcher.put(AckCallback(name, callback, [None, *event.args] if with_error else event.args))

    def ack_failed(self, event: events.AckFailed) -> None:
        if isinstance(event.error, AckTimeout):
            event.error = self.explained(event.error)
        if log.isEnabledFor(logging.DEBUG):
            # Other errors may name keys of values.
            error = (
                event.error if isinstance(event.error, AckTimeout | DisconnectedError) else type(event.error).__name__
            )
            number = "" if event.id is None else f" {event.id}"
            log.debug("%s: no acknowledgement%s of %r: %s", self.spec.name, number, event.event, error)
        future = self._acks.pop(event.handle, None)
        if future is not None:
            future.fail(event.error)
            return
        waiting = self._callbacks.pop(event.handle, None)
        if waiting is not None:
            callback, name, with_error = waiting
            if with_error:
                self.dispatcher.put(AckCallback(name, callback, [event.error]))

    def connected(self, event: events.Connected) -> None:
        log.info("%s: connected%s", self.spec.name, ", session recovered" * event.recovered)
        self.failure = self.spec.disconnection = None
        self.dispatcher.accept()
        self.connections.wake()
        self.first_attempts.wake()
        self._put("connect", sid=event.sid, active=True)

    def connect_failed(self, event: events.ConnectFailed) -> None:
        error = _connect_error(event.error)
        if self.is_trying:
            log.info("%s: cannot connect: %s", self.spec.name, error.message)
        else:
            log.warning("%s: cannot connect, and does not try again: %s", self.spec.name, error.message)
            self.spec.disconnection = Disconnection("connect error", error)
        self.failure = error
        self.first_attempts.fail(error)
        self.fail_unless_trying(error)
        self._put("connect_error", error, active=event.active)

    def disconnected(self, event: events.Disconnected) -> None:
        cause = self._cause()
        details = cause or event.details
        self.spec.disconnection = disconnection = Disconnection(event.reason, details)
        if self.is_trying or self.lost() is None or cause is not None:  # a cause has been logged already
            log.info("%s: disconnected: %s", self.spec.name, disconnection.why)
        else:
            log.warning("%s: disconnected, and does not reconnect: %s", self.spec.name, disconnection.why)
        error = DisconnectedError(f"{self.spec.name} was disconnected: {disconnection.why}", event.reason)
        error.__cause__ = details
        self._put("disconnect", event.reason, details, active=event.active)
        self.first_attempts.fail(_connect_error(error))
        self.fail_unless_trying(error)

    def _put(self, name: str, *args: Any, active: bool, sid: str | None = None) -> None:
        """Queue a lifecycle event. It is handled when the Manager's handlers of the events before it have started."""
        if self.is_ending:  # a task that starts eagerly would call its handlers at once
            return
        state = SocketState(
            connected=sid is not None,
            active=active,
            id=sid,
            recovered=self._namespace.recovered,
            close_reason=self.disconnection,
            transport=self._transport(),
        )
        self.dispatcher.lifecycle(name, args, state, self._lifecycle.barrier)


def _connect_error(error: Exception) -> ConnectError:
    """Return the error as a ConnectError, whose cause is the original error."""
    if isinstance(error, ConnectError):
        return error
    wrapped = ConnectError(str(error))
    wrapped.__cause__ = error
    return wrapped
