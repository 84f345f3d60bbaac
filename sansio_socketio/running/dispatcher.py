"""The dispatcher: queues the events of a namespace and calls their handlers.

Rules of this file:

- One task handles the items of the inbox, one at a time and in order: events, lifecycle events, callbacks of
  acknowledgements, and sent events. Only handlers that were registered with `concurrency` run concurrently.
- The task is started for the first item. If no handler was to be called, it ends; the next item starts the one that stays. So
  a namespace without handlers has no task, which takes 2 to 7 KiB.
- Handlers are held back until `release`, so that handlers that are registered before that miss no events.
- Adding an item to the inbox never waits and calls no code of the application. The inbox is bounded: see `received`,
  `sent` and `lifecycle`. The application bounds the callbacks of acknowledgements: there is one for each of its emits.
- After an exception in a handler, the dispatcher reports it with the event's name, and continues.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Final, Literal

from ..handlers.registry import HandlerRegistry, RegisteredHandler, event_name
from ..protocol.errors import DisconnectedError
from ..protocol.events import AckId, EventReceived, EventSent
from ..runtime.interface import Future, Runtime
from .backpressure import Backpressure, Reading
from .event_stream import Event, EventBuffer, InboxOverflow
from .expected import ExpectedEvents
from .replies import Acknowledge, Reply
from .tasks import HandlerTasks
from .unawaited import watch
from .watchdog import Watchdog

_LOG: Final = logging.getLogger("sansio_socketio.client.socket")

_BATCH: Final = 100
"""The number of items that are handled before other tasks get a chance to run."""
_NEARLY_FULL: Final = 0.9
"""The part of its bounds to which a queue is filled when reading pauses. What arrives in one piece still fits."""
_PROGRESS: Final = 2_000
"""The number of events that handlers must handle within a second for reading to stay paused."""
MOST_LIFECYCLE: Final = 1000
"""The maximum number of queued lifecycle events. Beyond it, the latest one replaces the one before it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a dispatcher.

    Attributes:
        events: The maximum number of queued events (`inbox_events`).
        size: The maximum size of queued events in bytes (`inbox_bytes`).
        slow: After how many seconds to warn about a handler that blocks the queue (`slow_handler_warning`), or None.
    """

    events: int
    size: int
    slow: float | None


class Lifecycle:
    """A lifecycle event of the namespace: connect, connect_error or disconnect.

    Attributes:
        name: The event's name.
        args: The arguments of its handlers.
        state: What handlers that require one more argument receive: the `SocketState`.
        after: A future to wait for before the handlers are called, or None.
    """

    __slots__ = ("after", "args", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...], state: object, after: Future | None) -> None:
        self.name = name
        self.args = args
        self.state = state
        self.after = after


class AckCallback:
    """The acknowledgement of an event that was emitted with a callback."""

    __slots__ = ("args", "callback", "name")

    def __init__(self, name: str, callback: RegisteredHandler, args: Sequence[Any]) -> None:
        self.name = name
        self.callback = callback
        self.args = args


class EndStreams:
    """The end of the event streams, or of one, queued behind the events before it. `error` is what they raise, or None."""

    __slots__ = ("error", "stream")

    def __init__(self, error: DisconnectedError | None = None, stream: EventBuffer | None = None) -> None:
        self.error = error
        self.stream = stream


class Failure:
    """An error to report like an exception in a handler."""

    __slots__ = ("error", "name")

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self.error = error


_Item = EventReceived | EventSent | Lifecycle | AckCallback | EndStreams | Failure


class _Task(Enum):
    """The state of a dispatcher that waits for an item, unless its task waits."""

    NONE = "none"
    """There is no task: it is started for the next item."""


class Lane:
    """The calls of one handler with `concurrency`.

    Attributes:
        waiting: The calls that wait until fewer are running.
        running: The number of running calls.
    """

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[str, Sequence[Any], Reply | None, int]] = deque()
        self.running = 0


class Dispatcher:
    """Calls the handlers of one namespace.

    Args:
        name: The namespace's name.
        runtime: The runtime.
        handlers: The handlers.
        limits: The bounds.
        reading: Pauses and resumes reading, or None to read on while handlers catch up.
        held: Whether to hold the handlers back until `release`.
        report: Called with the exception of a handler, the event's name and a description of the handler.
        acknowledge: Acknowledges an event.
        overflowed: Called when the inbox is full.
        finished: Called when a task of the dispatcher has ended.
        broken: Called with an unexpected exception, which no handler raised.
        log: The logger.

    Attributes:
        expected: The callers that wait for the next event of a name.
    """

    __slots__ = (
        "_acknowledge",
        "_backpressure",
        "_bytes",
        "_ends_when_idle",
        "_expected",
        "_expected_replies",
        "_handlers",
        "_idle",
        "_inbox",
        "_is_cancelled",
        "_is_finishing",
        "_is_full",
        "_is_full_of_lifecycle",
        "_is_full_of_sent",
        "_lanes",
        "_large",
        "_latest",
        "_lifecycle",
        "_limits",
        "_log",
        "_many",
        "_name",
        "_overflowed",
        "_reading",
        "_released",
        "_report",
        "_sent",
        "_sent_bytes",
        "_streams",
        "_tasks",
        "_waiting",
        "_watchdog",
        "expected",
        "runtime",
    )

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        handlers: HandlerRegistry,
        limits: Limits,
        *,
        reading: Reading | None,
        held: bool,
        report: Callable[[Exception, str, str], Awaitable[None]],
        acknowledge: Callable[[AckId, Sequence[Any]], None],
        overflowed: Callable[[InboxOverflow], None],
        finished: Callable[[], None],
        broken: Callable[[Exception], None],
        log: logging.Logger = _LOG,
    ) -> None:
        self.runtime = runtime
        self._log = log
        self._name = name
        self._handlers = handlers
        self._limits = limits
        self._report = report
        self._acknowledge = acknowledge
        self._overflowed = overflowed
        self._inbox: deque[_Item] | list[_Item] = []  # a deque while there is a task; an empty one takes 760 bytes
        self._streams: tuple[EventBuffer, ...] = ()
        self.expected = ExpectedEvents(runtime, acknowledge)
        self._expected, self._expected_replies = self.expected.futures, self.expected.replies
        self._bytes = 0
        self._sent = 0  # the number of items that are sent events
        self._sent_bytes = 0
        self._lifecycle = 0  # the number of items that are lifecycle events
        self._latest: Lifecycle | None = None  # the last one of them
        self._is_full_of_lifecycle = False
        self._waiting = 0  # the number of received events: those in the inbox, and the calls that wait in lanes
        self._many = max(1, int(limits.events * _NEARLY_FULL))  # the number and size of events at which reading pauses
        self._large = max(1, int(limits.size * _NEARLY_FULL))
        self._reading = reading
        self._backpressure: Backpressure | None = None  # created when a queue is too full for the first time
        self._is_full = False
        self._is_full_of_sent = False
        self._lanes: dict[RegisteredHandler, Lane] = {}
        self._is_finishing = self._is_cancelled = False
        self._released = runtime.future() if held else None
        self._ends_when_idle = True  # unless a handler was called; only once, because starting a task is slow
        self._idle: Future | Literal[_Task.NONE] | None = None
        self._watchdog = Watchdog(runtime, limits.slow, self._warn_of_slow_handler)
        self._tasks = HandlerTasks(self, finished, broken)
        if held:
            self._start()
        else:
            self._idle = _Task.NONE

    # State

    @property
    def is_held(self) -> bool:
        """Whether the handlers are held back."""
        return self._released is not None and not self._released.done

    @property
    def waiting_events(self) -> int:
        """The number of received events that are queued for handlers or in event streams."""
        return self._waiting + sum([len(stream) for stream in self._streams])

    @property
    def has_streams(self) -> bool:
        """Whether a stream of events is open."""
        return bool(self._streams)

    @property
    def done(self) -> bool:
        """Whether the dispatcher has ended."""
        return self._is_finishing and not self._tasks

    @property
    def is_handling(self) -> bool:
        """Whether an item is being handled, or a concurrent handler is running."""
        return self._idle is None or bool(self._lanes)

    def running(self) -> list[str]:
        """Return the names of the running handlers, for a message."""
        handler = self._watchdog.handler
        return [*([handler.name] if handler else []), *(handler.name for handler in self._lanes)]

    # Input

    def received(self, event: EventReceived) -> None:
        """Queue a received event. If the inbox is full, close the connection and drop further events."""
        if self._log.isEnabledFor(logging.DEBUG):
            wire_id = None if event.ack_id is None else event.ack_id[1]
            self._log.debug("%s: received %s", self._name, description(event.args, event.size, wire_id))
        if self._is_full:
            return
        waiting, size = self._queued() if self._streams else (self._waiting, self._bytes)
        if waiting >= self._many or size + event.size > self._large:
            if not self._fits(waiting, size, event.size):
                self._is_full = True
                self._overflow(event_name(event.args[0]), waiting, size)
                return
            self._check_backpressure()
        self._waiting += 1
        self._bytes += event.size
        self._inbox.append(event)
        if self._expected:
            self.expected.received(event)
        if self._idle is not None:
            self._wake()

    def sent(self, event: EventSent) -> None:
        """Queue a sent event. If too many are queued, drop it and report an InboxOverflow."""
        if self._fits(self._sent, self._sent_bytes, event.size):
            self._sent += 1
            self._sent_bytes += event.size
            self.put(event)
        elif not self._is_full_of_sent:
            self._is_full_of_sent = True
            name = event_name(event.args[0])
            error = InboxOverflow(
                f"on_any_outgoing handlers are too slow: notifications are dropped from event {name!r} on ({self._sent} "
                f"events of {self._sent_bytes} bytes are queued); make them faster, {self._bounds_hint}"
            )
            self.put(Failure(name, error))

    def lifecycle(self, name: str, args: tuple[Any, ...], state: object, barrier: Callable[[], Future | None]) -> None:
        """Queue a lifecycle event. If too many are queued, replace the latest one, and report an InboxOverflow.

        `barrier` returns a future to wait for before the handlers are called, or None.
        """
        latest = self._latest
        if self._lifecycle < MOST_LIFECYCLE or latest is None:
            self._lifecycle += 1
            self._latest = event = Lifecycle(name, args, state, barrier())
            self.put(event)
            return
        latest.name, latest.args, latest.state, latest.after = name, args, state, None
        if not self._is_full_of_lifecycle:
            self._is_full_of_lifecycle = True
            queued = f"{self._lifecycle} lifecycle events are queued"
            error = InboxOverflow(f"handlers are too slow: from {name!r} on, only the latest event is kept ({queued})")
            self.put(Failure(name, error))

    def put(self, item: EventSent | Lifecycle | AckCallback | EndStreams | Failure) -> None:
        """Queue an item that does not count towards the bounds."""
        self._inbox.append(item)
        if self._idle is not None:
            self._wake()

    def connection_closed(self) -> None:
        """Read again: the next connection has to open while the events of the last one are still queued."""
        if self._backpressure is not None:
            self._backpressure.stop()

    def accept(self) -> None:
        """Queue received events again after an overflow, because there is a new connection."""
        self._is_full = False

    def attach(self, stream: EventBuffer) -> None:
        """Add the events to a stream as well."""
        self._streams = (*self._streams, stream)

    def detach(self, stream: EventBuffer) -> None:
        """Stop adding the events to a stream."""
        self._streams = tuple(each for each in self._streams if each is not stream)

    def resume_reading(self) -> bool:
        """Resume reading at once if it is paused and the consumers have caught up. Return whether it was resumed."""
        return self._backpressure is not None and self._backpressure.caught_up()

    def _queued(self) -> tuple[int, int]:
        """Return the number and the size of the events that the fullest stream has when those in the inbox are added to it."""
        streams = self._streams
        events = max([len(stream) for stream in streams], default=0)
        return self._waiting + events, self._bytes + max([stream.size for stream in streams], default=0)

    def _fits(self, events: int, size: int, more: int) -> bool:
        """Return whether `events` events of `size` bytes and one of `more` bytes are within the bounds. One always is."""
        return events < self._limits.events and (events == 0 or size + more <= self._limits.size)

    def _overflow(self, name: str, events: int, size: int) -> None:
        """Report that the event `name` exceeds the bounds."""
        who, advice = "handlers are", "make the handlers faster (concurrency=…)"
        if events - self._waiting > self._waiting:  # most of them are in the stream
            who, advice = "the consumer of a stream (events()) is", "take the events faster"
        self._overflowed(
            InboxOverflow(
                f"{who} too slow: event {name!r} arrived while {events} events of {size} bytes were queued; {advice}, "
                f"{self._bounds_hint}"
            )
        )

    @property
    def _bounds_hint(self) -> str:
        return f"or raise inbox_events ({self._limits.events}) or inbox_bytes ({self._limits.size})"

    def _check_backpressure(self) -> None:
        if self._reading is None:
            return
        if self._backpressure is None:
            self._backpressure = Backpressure(self.runtime, self._reading, self._fill, _PROGRESS / self._many)
        self._backpressure.check()

    def _fill(self) -> tuple[float, float]:
        """Return how full the fullest stream is with the inbox, and the inbox alone; 1 is the fill at which reading pauses."""
        events, size = self._queued()
        return max(size / self._large, events / self._many), max(self._bytes / self._large, self._waiting / self._many)

    # From start to end

    def release(self) -> None:
        """Stop holding the handlers back."""
        if self._released is not None:
            self._released.resolve()

    def finish(self) -> None:
        """End when all items have been handled, or at once if the handlers are held back."""
        self._is_finishing = True
        if self.is_held:
            self._forget()
            self.release()
        self._wake()

    def cancel(self, error: DisconnectedError | None = None) -> None:
        """End at once. A thread ends when its handler returns, without calling another one. Streams raise `error`, if any."""
        self._is_finishing = self._is_cancelled = True
        self._forget()
        for stream in self._streams:
            stream.end(error)
        self._watchdog.stop()
        if self._backpressure is not None:
            self._backpressure.stop()
        self.release()
        self._wake()
        self._idle = None  # no task is started any more
        self._tasks.cancel()

    def _wake(self) -> None:
        idle = self._idle
        if idle is not _Task.NONE:
            self._idle = None
            if idle is not None:
                idle.resolve()
        elif self._inbox:
            self._idle = None
            self._start()

    def _start(self) -> None:
        self._inbox = inbox = deque(self._inbox)
        self._tasks.spawn(partial(self._run, inbox), f"handlers of {self._name}")

    def _forget(self) -> None:
        self._inbox.clear()
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._bytes = self._waiting = self._sent = self._sent_bytes = self._lifecycle = 0

    # The task

    async def _run(self, inbox: deque[_Item]) -> None:
        runtime, table, watchdog = self.runtime, self._TABLE, self._watchdog
        if self._released is not None:
            await runtime.wait(self._released)
        left = _BATCH
        while True:
            if not inbox:
                if self._backpressure is not None and self._backpressure.caught_up():
                    continue  # this may have brought items
                if self._is_finishing:
                    return
                if self._ends_when_idle and not watchdog.calls:
                    self._ends_when_idle = False
                    self._idle = _Task.NONE
                    self._inbox = []
                    return
                self._idle = idle = runtime.future()
                await runtime.wait(idle)
                left = _BATCH
                continue
            if left == 0:
                await self._let_others_run()
                left = _BATCH
                continue
            left -= 1
            item = inbox.popleft()
            await table[type(item)](self, item)
            watchdog.handler = None

    async def _let_others_run(self) -> None:
        future = self.runtime.future()
        self.runtime.call_soon(future.resolve)
        await self.runtime.wait(future)

    async def _handle_event(self, event: EventReceived) -> None:
        args, size = event.args, event.size
        name = args[0] if type(args[0]) is str else event_name(args[0])
        handlers = self._handlers.take(name)
        reply = None
        if event.ack_id is not None:
            if event.ack_id in self._expected_replies:
                reply = self._expected_replies.pop(event.ack_id)
            elif handlers or self._streams:
                reply = Reply(event.ack_id, self._acknowledge)
        self._waiting -= 1
        self._bytes -= size
        for stream in self._streams:
            if reply is not None:
                reply.waive()
            stream.put(
                Event(name, tuple(args[1:]), Acknowledge(reply, self.runtime), wants_ack=reply is not None), size
            )
        for handler in self._handlers.any.registered:
            await self._handle(handler, name, args, None, size)
        if handlers:
            values = args[1:]
            for handler in handlers:
                if handler.concurrency is None:
                    await self._call_in_order(handler, name, values, reply)
                else:
                    self._call_concurrently(handler, handler.concurrency, name, values, reply, size)
        if reply is not None:
            reply.release()

    async def _handle_sent(self, event: EventSent) -> None:
        self._sent -= 1
        self._sent_bytes -= event.size
        if self._sent == 0:
            self._is_full_of_sent = False
        for handler in self._handlers.outgoing.registered:
            await self._call_in_order(handler, event_name(event.args[0]), event.args, None)

    async def _handle_lifecycle(self, event: Lifecycle) -> None:
        self._lifecycle -= 1
        if self._lifecycle == 0:
            self._is_full_of_lifecycle = False
            self._latest = None
        if event.after is not None and not event.after.done:
            await self.runtime.wait(event.after)
        with_state = (*event.args, event.state)
        for handler in self._handlers.take(event.name):
            # Only handlers that require it: others with more parameters, such as `*args`, have no use for it.
            args = with_state if handler.required > len(event.args) else event.args
            await self._handle(handler, event.name, args, None, 0)

    async def _handle_callback(self, callback: AckCallback) -> None:
        await self._call_in_order(callback.callback, callback.name, callback.args, None)

    async def _handle_end(self, end: EndStreams) -> None:
        for stream in self._streams if end.stream is None else (end.stream,):
            stream.end(end.error)

    async def _handle_failure(self, failure: Failure) -> None:
        await self._report(failure.error, failure.name, f"the queue of handlers of {self._name}")

    _TABLE: ClassVar[Mapping[type, Callable[[Any, Any], Awaitable[None]]]] = {
        EventReceived: _handle_event,
        EventSent: _handle_sent,
        Lifecycle: _handle_lifecycle,
        AckCallback: _handle_callback,
        EndStreams: _handle_end,
        Failure: _handle_failure,
    }

    # Calls

    async def _handle(
        self, handler: RegisteredHandler, name: str, values: Sequence[Any], reply: Reply | None, size: int
    ) -> None:
        if handler.concurrency is None:
            await self._call_in_order(handler, name, values, reply)
        else:
            self._call_concurrently(handler, handler.concurrency, name, values, reply, size)

    async def _call_in_order(
        self, handler: RegisteredHandler, name: str, values: Sequence[Any], reply: Reply | None
    ) -> None:
        """Call a handler and wait until it is done."""
        if self._is_cancelled:
            return
        watchdog = self._watchdog
        watchdog.handler = handler
        watchdog.event = name
        watchdog.calls += 1
        if not watchdog.armed:
            watchdog.arm()
        await self._call(handler, name, values, reply)

    async def _call(self, handler: RegisteredHandler, name: str, values: Sequence[Any], reply: Reply | None) -> None:
        """Call a handler. Send its return value as the acknowledgement, and report its exception."""
        watched = watch(handler)
        call = handler.call if watched is None else watched
        try:
            if handler.accepted != len(values):
                values = handler.fit(values)
            if handler.manual_ack:
                if reply is not None:
                    reply.waive()
                await self.runtime.call(call, *values, Acknowledge(reply, self.runtime))
            else:
                result = await self.runtime.call(call, *values)
                if reply is not None:
                    reply.returned(result)
        except Exception as error:
            if reply is not None:
                reply.waive()
            await self._report(error, name, self._source(handler, name))
        if watched is not None and watched.dropped:
            await self._report(watched.error(name), name, self._source(handler, name))

    def _source(self, handler: RegisteredHandler, event: str) -> str:
        """Return a description of a handler, for a message."""
        return f"handler {handler.name} of {event!r} in {self._name}"

    def _call_concurrently(
        self,
        handler: RegisteredHandler,
        concurrency: int,
        name: str,
        values: Sequence[Any],
        reply: Reply | None,
        size: int,
    ) -> None:
        if self._is_cancelled:
            return
        if reply is not None:
            reply.hold()
        lane = self._lanes.setdefault(handler, Lane())
        lane.waiting.append((name, values, reply, size))
        self._waiting += 1
        self._bytes += size
        if lane.running < concurrency:
            lane.running += 1
            self._tasks.spawn(partial(self._serve_lane, handler, lane), f"handler of {name!r}")

    async def _serve_lane(self, handler: RegisteredHandler, lane: Lane) -> None:
        try:
            while lane.waiting:
                name, values, reply, size = lane.waiting.popleft()
                self._waiting -= 1
                self._bytes -= size
                await self._call(handler, name, values, reply)
                if reply is not None:
                    reply.release()
        finally:
            lane.running -= 1
            if not lane.running:
                self._lanes.pop(handler, None)

    def _warn_of_slow_handler(self) -> None:
        handler = self._watchdog.handler
        if handler is not None:
            self._log.warning(
                "%s: handler %s of event %r has blocked the queue of the namespace for %g seconds (slow_handler_warning); "
                "events queued for handlers: %d",
                self._name,
                handler.name,
                self._watchdog.event,
                self._limits.slow,
                len(self._inbox),
            )


def description(args: Sequence[Any], size: int, ack: int | None) -> str:
    """Return a description of an event for the log: without its values. `ack` is the id of its acknowledgement, if any."""
    requested = "" if ack is None else f", acknowledgement: {ack}"
    return f"{args[0]!r} (values: {len(args) - 1}, bytes: {size}{requested})"
