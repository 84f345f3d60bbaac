"""The lifecycle queue: calls the handlers of the Manager and the Engine, none of which can block the connection.

Rules of this file:

- Handlers start in the order of their events, and for one event in the order of registration. The next handler starts when
  the previous one has *started*: it has returned, raised or suspended for the first time. In a thread, a handler has also
  started when it enters a blocking call of this library. After its start, a handler runs concurrently.
- In a thread, the starts of all handlers together may delay the queue for `START_LIMIT` seconds. After that, handlers are
  not waited for until the queue is empty.
- The consequences of an event are queued behind its handlers (`barrier`, `then`). If nothing is queued, they take effect at
  once.
- At most `MOST_CALLS` events of one kind are queued, and at most `MOST_CALLS` calls of one handler run concurrently.
  Further ones are dropped; the first dropped one is reported.
- One task at a time serves the queue. When a handler suspends, its task continues with the handler, and another task serves
  the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, Final

from ...handlers.registry import HandlerRegistry, RegisteredHandler
from ...running.event_stream import InboxOverflow
from ...running.tasks import HandlerTasks
from ...running.unawaited import Watched, watch
from ...running.waiters import on_wait
from ...runtime.interface import Future, Runtime, Timer

log = logging.getLogger("sansio_socketio.client.manager")

START_LIMIT: Final = 1.0
"""How long the queue waits for handlers in threads to start, in seconds, before it is empty again."""
MOST_CALLS: Final = 1000
"""The maximum number of concurrent calls of one handler, and of queued events of one kind."""


class _State(Enum):
    """The state of the queue."""

    HELD = "held"
    """Events are queued until `release`, because handlers are still being registered."""
    SERVING = "serving"
    """Handlers are called."""
    FINISHING = "finishing"
    """The handlers of queued events are called. Then the queue ends."""


class _QueuedEvent:
    """A queued event of the Manager or the Engine, with the registry of its handlers."""

    __slots__ = ("args", "handlers", "name")

    def __init__(self, handlers: HandlerRegistry, name: str, args: tuple[Any, ...]) -> None:
        self.handlers = handlers
        self.name = name
        self.args = args


class _Call:
    """One call of one handler."""

    __slots__ = ("args", "event", "handed_over", "handler", "watched")

    def __init__(self, handler: RegisteredHandler, event: str, args: tuple[Any, ...]) -> None:
        self.handler = handler
        self.event = event
        self.args = args
        self.watched: Watched | None = watch(handler)
        self.handed_over = False  # the handler has suspended, and another task serves the queue

    @property
    def source(self) -> str:
        """The handler and the event, for a message."""
        return f"handler {self.handler.name} of {self.event!r}"


class LifecycleQueue:
    """The queue of the Manager's and the Engine's handlers of one run.

    Args:
        runtime: The runtime.
        report: Called with the exception of a handler, the event's name and a description of the handler.
        finished: Called when a task of the queue has ended.
        broken: Called with an unexpected exception, which no handler raised.
        held: Whether to hold the handlers back until `release`.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        report: Callable[[Exception, str, str], Awaitable[None]],
        finished: Callable[[], None],
        broken: Callable[[Exception], None],
        held: bool,
    ) -> None:
        self.runtime = runtime
        self._report = report
        self._state = _State.HELD if held else _State.SERVING
        self._items: list[_QueuedEvent | Callable[[], None]] = []
        self._calls: list[_Call] = []  # calls for the current event that have not begun
        self._starting: _Call | None = None
        self._running: dict[RegisteredHandler, int] = {}
        self._queued: dict[tuple[HandlerRegistry, str], int] = {}
        self._overflowed: dict[object, None] = {}
        self._is_served = False
        self._idle: Future | None = None  # the task that serves the queue waits for this
        self._start_timer: Timer | None = None
        self._start_by: float | None = None  # when the queue stops waiting for starts; None if it is empty
        self._is_behind = False  # it has stopped
        self._tasks = HandlerTasks(self, finished, broken)

    # Input

    def post(self, handlers: HandlerRegistry, name: str, *args: Any) -> None:
        """Queue an event. Its handlers are called after those of earlier events."""
        if not (handlers.get(name) or self.is_busy or self.is_held):
            return  # if something is queued, a handler may still be registered before the event is handled
        key = (handlers, name)
        queued = self._queued.get(key, 0)
        if queued < MOST_CALLS:
            self._queued[key] = queued + 1
            self._put(_QueuedEvent(handlers, name, args))
        else:
            self._overflow(key, name, f"{queued} of these events are queued")

    def then(self, function: Callable[[], None]) -> None:
        """Call `function` when the handlers of all queued events have started. `function` must not wait.

        Call it at once if nothing is queued, or if the handlers are held back.
        """
        if self.is_busy and not self.is_held:
            self._put(function)
        else:
            function()

    def barrier(self) -> Future | None:
        """Return a future that is resolved when the handlers of all queued events have started, or None if none is queued."""
        if not self.is_busy:
            return None
        barrier = self.runtime.future()
        self._put(barrier.resolve)
        return barrier

    def release(self) -> None:
        """Stop holding the handlers back."""
        if self.is_held:
            self._state = _State.SERVING
            self.runtime.call_soon(self._begin)  # later, so that handlers that are registered now are called

    def finish(self) -> None:
        """End the queue when the handlers of queued events have been called, or at once if they are held back."""
        if self.is_held:
            self._forget()
        self._state = _State.FINISHING
        self._serve()

    def cancel(self) -> None:
        """End the queue at once. A thread ends when its handler returns."""
        self._state = _State.FINISHING
        self._forget()
        if self._start_timer is not None:
            self._start_timer.set(None)
        self._serve()
        self._tasks.cancel()

    # State

    @property
    def is_held(self) -> bool:
        """Whether the handlers are held back."""
        return self._state is _State.HELD

    @property
    def is_busy(self) -> bool:
        """Whether an event is queued, or a handler has not started."""
        return bool(self._items or self._calls or self._starting)

    @property
    def is_handling(self) -> bool:
        """Whether a handler is running."""
        return bool(self._running)

    @property
    def done(self) -> bool:
        """Whether the queue has ended."""
        return self._state is _State.FINISHING and not self._tasks

    def running(self) -> list[str]:
        """Return the names of the running handlers, for a message."""
        return [handler.name for handler in self._running]

    # The tasks

    def _put(self, item: _QueuedEvent | Callable[[], None]) -> None:
        self._items.append(item)
        if not self.is_held:
            self._serve()

    def _serve(self) -> None:
        """Ensure that a task serves the queue."""
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.resolve()
        elif not self._is_served and (self._items or self._calls):
            self._is_served = True
            self._tasks.spawn(self._run, "handlers of the Manager")

    def _begin(self) -> None:
        """Have a task serve the queue that was held, if there is a handler to call."""
        if not self._is_served:
            call = self._next_call()
            if call is not None:
                self._calls.insert(0, call)
                self._serve()

    async def _run(self) -> None:
        while True:
            call = self._next_call()
            if call is None:
                self._start_by, self._is_behind = None, False
                if self._state is _State.FINISHING:
                    self._is_served = False
                    return
                self._idle = idle = self.runtime.future()
                await self.runtime.wait(idle)
            elif await self._call(call):
                return

    def _next_call(self) -> _Call | None:
        """Return the next call, or None. Run the functions that are queued before it."""
        while not self._calls and self._items:
            item = self._items.pop(0)
            if not isinstance(item, _QueuedEvent):
                item()
                continue
            key = (item.handlers, item.name)
            self._queued[key] -= 1
            if not self._queued[key]:
                del self._queued[key]
                self._overflowed.pop(key, None)
            self._calls.extend(_Call(handler, item.name, item.args) for handler in item.handlers.take(item.name))
        return self._calls.pop(0) if self._calls else None

    async def _call(self, call: _Call) -> bool:
        """Call a handler. Return whether another task serves the queue afterwards."""
        handler, running = call.handler, self._running.get(call.handler, 0)
        if running >= MOST_CALLS:
            self._overflow(handler, call.event, f"{running} calls of its handler {handler.name} are running")
            return False
        self._running[handler] = running + 1
        self._starting = call
        self._watch_start()
        try:
            try:
                await self.runtime.call(self._starting_call(call), *handler.fit(call.args))
            except Exception as error:
                self._hand_over(call)  # `on_handler_error` may wait for anything, too
                await self._report(error, call.event, call.source)
            if call.watched is not None and call.watched.dropped:
                self._hand_over(call)
                await self._report(call.watched.error(call.event), call.event, call.source)
        except BaseException:
            self._hand_over(call)  # this task ends
            raise
        finally:
            self._ended(handler)
            self._started(call)
        return call.handed_over

    def _starting_call(self, call: _Call) -> Callable[..., Any]:
        """Return a function that calls the handler, and notifies the queue when the handler suspends."""
        function = call.handler.call if call.watched is None else call.watched

        def waits(runtime: Runtime) -> None:
            if runtime is self.runtime:
                self._hand_over(call)
            else:
                # It waits in another run, whose lock it holds. Taking a second one could deadlock with a handler of that run.
                self.runtime.call_soon(partial(self._hand_over, call))

        @wraps(call.handler.handler, assigned=["__qualname__"], updated=())  # errors show the handler's name
        def start(*args: Any) -> Any:
            on_wait.set(waits)
            try:
                result = function(*args)
                if isawaitable(result):
                    # The handler runs up to its first wait in this event loop iteration, the next task in a later one.
                    self._hand_over(call)
                return result
            finally:
                on_wait.set(None)

        return start

    def _hand_over(self, call: _Call) -> None:
        """Let another task serve the queue, because the handler has started and continues."""
        if self._starting is call:
            call.handed_over = True
            self._started(call)
            self._is_served = False
            self.runtime.call_soon(self._serve)

    def _started(self, call: _Call) -> None:
        if self._starting is call:
            self._starting = None
            if self._start_timer is not None:
                self._start_timer.set(None)

    def _ended(self, handler: RegisteredHandler) -> None:
        self._running[handler] -= 1
        if not self._running[handler]:
            del self._running[handler]
            self._overflowed.pop(handler, None)

    def _watch_start(self) -> None:
        """Start the timer that limits how long the queue waits for the start of a handler."""
        if self._start_timer is None:
            self._start_timer = self.runtime.timer(self._start_took_too_long)
        if self._start_by is None:
            self._start_by = self.runtime.now() + START_LIMIT
        self._start_timer.set(self._start_by)

    def _start_took_too_long(self) -> None:
        call = self._starting
        if call is not None:
            if not self._is_behind:
                self._is_behind = True
                log.warning(
                    "handlers of the Manager and the Engine have blocked their threads for %g second, at last %s of %r; the "
                    "next ones start at once",
                    START_LIMIT,
                    call.handler.name,
                    call.event,
                )
            self._hand_over(call)

    def _overflow(self, key: object, event: str, why: str) -> None:
        if key in self._overflowed:
            return
        self._overflowed[key] = None
        error = InboxOverflow(f"handlers of {event!r} are too slow: events are dropped from this one on ({why})")

        async def report() -> None:
            await self._report(error, event, "the queue of handlers")

        self._tasks.spawn(report, f"reports an overflow of {event!r}")

    def _forget(self) -> None:
        self._calls.clear()
        items, self._items = self._items, []
        self._queued.clear()
        for item in items:
            if not isinstance(item, _QueuedEvent):
                item()
