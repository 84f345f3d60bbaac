"""From an event to its handlers: order, arguments, acknowledging, errors, and streams of events.

Rules of this file:

- A dispatcher is one task. It handles what is in its inbox one after the other: events, the life of the connection,
  the callbacks of acknowledgements, and what was sent.
- It begins when its gate opens, so that handlers that are registered before that miss nothing.
- Putting something into the inbox never waits, runs no code of the application, and is bounded: see `received`, `sent`.
- Who waits for something (an acknowledgement, a connection) is not woken here, so a handler may wait for anything.
- An exception of a handler ends nothing: it is reported with the event's name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any, Final, Self

from ..protocol.errors import SocketIOError, StateError
from ..protocol.events import AckId, EventReceived, EventSent
from ..runtime.interface import Future, Handler, Runtime, Task
from .hub import Waiters
from .listeners import Listener, Listeners

Report = Callable[[Exception, str], Awaitable[None]]

_BATCH: Final = 100
"""How many items are handled before other tasks get a turn."""


class InboxOverflow(SocketIOError):
    """Events came faster than their handlers took them, and the bound `inbox_events` or `inbox_bytes` was reached.

    It is the `details` of the `disconnect` event of the connection that was closed because of it. Where the events were
    ours, on their way to the listeners of outgoing events, nothing is closed: it is reported like a handler's error.
    """


class Signal:
    """An event of the connection's life.

    Attributes:
        name: The event's name.
        args: What the handlers get.
        called: Set when the handlers have been called (an async one: has come to its first wait).
        after: What must be set before they are.
    """

    __slots__ = ("after", "args", "called", "name")

    def __init__(
        self, name: str, args: tuple[Any, ...], called: Future | None = None, after: Future | None = None
    ) -> None:
        self.name = name
        self.args = args
        self.called = called
        self.after = after


class Notice:
    """An event of something that has listeners of its own, and that shares the dispatcher (the Engine).

    Attributes:
        listeners: Who may listen.
        name: The event's name.
        args: What the handlers get.
        size: About the number of bytes that it holds.
    """

    __slots__ = ("args", "listeners", "name", "size")

    def __init__(self, listeners: Listeners, name: str, args: tuple[Any, ...], size: int = 0) -> None:
        self.listeners = listeners
        self.name = name
        self.args = args
        self.size = size


class Callback:
    """The acknowledgement of an event of ours, for a handler that the application gave with it."""

    __slots__ = ("args", "listener", "name")

    def __init__(self, name: str, listener: Listener, args: Sequence[Any]) -> None:
        self.name = name
        self.listener = listener
        self.args = args


class StreamsEnd:
    """The socket is closed: its streams end here."""


class Failure:
    """Something to be reported like an error of a handler."""

    __slots__ = ("error", "name")

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self.error = error


class Reply:
    """The acknowledgement that the server wants for one event, from whoever gives it first."""

    __slots__ = ("_ack_id", "_given", "_open", "_owed", "_send")

    def __init__(self, ack_id: AckId, send: Callable[[AckId, Sequence[Any]], None]) -> None:
        self._ack_id = ack_id
        self._send = send
        self._given = False
        self._open = 1
        self._owed = True

    def give(self, values: Sequence[Any]) -> None:
        """Acknowledge, unless somebody did already. Raises PacketError where a value cannot be encoded."""
        if not self._given:
            self._send(self._ack_id, values)
            self._given = True

    def returned(self, result: Any) -> None:
        """A handler returned this."""
        if result is not None:
            self.give(result if isinstance(result, tuple) else (result,))

    def leave_it(self) -> None:
        """No empty acknowledgement is due: a handler failed, or has a function by which to give one."""
        self._owed = False

    def hold(self) -> None:
        """One more handler runs."""
        self._open += 1

    def release(self) -> None:
        """A handler is done. After the last one an empty acknowledgement goes out, if it is due."""
        self._open -= 1
        if self._open == 0 and self._owed:
            self.give(())


class Acknowledge:
    """The function by which a handler, or the consumer of a stream, acknowledges an event."""

    __slots__ = ("_called", "_reply", "_runtime")

    def __init__(self, reply: Reply | None, runtime: Runtime) -> None:
        self._reply = reply
        self._runtime = runtime
        self._called = False

    def __call__(self, *values: Any) -> None:
        """Acknowledge the event with these values. It does nothing where no acknowledgement was asked for.

        Raises:
            StateError: It was called before.
            PacketError: A value cannot be encoded.
        """
        with self._runtime.lock:
            if self._called:
                raise StateError("an event is acknowledged once; this is the second time")
            if self._reply is not None:
                self._reply.give(values)
            self._called = True


class Event:
    """An event from the server, as a stream gives it.

    Attributes:
        name: Its name.
        args: Its values.
        wants_ack: Whether the server asked for an acknowledgement.
        ack: Acknowledge it, with any number of values; once. It does nothing where none was asked for.
    """

    __slots__ = ("ack", "args", "name", "wants_ack")

    def __init__(self, name: str, args: tuple[Any, ...], ack: Acknowledge, *, wants_ack: bool) -> None:
        self.name = name
        self.args = args
        self.ack = ack
        self.wants_ack = wants_ack

    def __repr__(self) -> str:
        return f"Event({self.name!r}, {len(self.args)} values{', wants_ack' if self.wants_ack else ''})"


class EventStream:
    """The events of a namespace as a stream: a context manager that is also the iterator.

    It has the events that are dispatched while it is entered, before the handlers get them. It ends when the socket is
    closed, or nothing tries to connect it any more. Several tasks may share one: each event goes to one of them.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._ended = False
        self._arrivals = Waiters(dispatcher.runtime)

    async def __aenter__(self) -> Self:
        self._dispatcher.streams = (*self._dispatcher.streams, self)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._dispatcher.streams = tuple(stream for stream in self._dispatcher.streams if stream is not self)
        self.end()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            await self._arrivals.wait()
        event, size = self._events.popleft()
        self._bytes -= size
        return event

    def put(self, event: Event, size: int) -> None:
        """An event for the stream."""
        dispatcher = self._dispatcher
        if dispatcher.has_space(len(self._events), self._bytes, size):
            self._events.append((event, size))
            self._bytes += size
            self._arrivals.wake()
        elif not self._ended:
            self._ended = True
            dispatcher.overflow(event.name, len(self._events), self._bytes)

    def end(self) -> None:
        """No more events come."""
        self._ended = True
        self._arrivals.wake()


class Lane:
    """The calls of a handler that may run beside the others.

    Attributes:
        waiting: Those that wait for one of these to end.
        running: How many of these there are.
    """

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[str, Sequence[Any], Reply | None, int]] = deque()
        self.running = 0


class Dispatcher:
    """Hands what comes in to those who listen, in a task that has a copy of the maker's context.

    Args:
        name: What the task is called.
        runtime: The driver's services.
        listeners: The handlers.
        report: What to do with an exception of a handler.
        acknowledge: How to acknowledge an event.
        overflow: What to do when the inbox is full.
        bounds: How many events, and how many bytes, the inbox holds.
        finished: Called when all is done that was to be done before `finish`.
        broken: Called with an exception that no handler raised.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        listeners: Listeners,
        *,
        report: Report,
        finished: Callable[[], None],
        broken: Callable[[Exception], None],
        acknowledge: Callable[[AckId, Sequence[Any]], None] | None = None,
        overflow: Callable[[InboxOverflow], None] | None = None,
        bounds: tuple[int, int] = (1, 1),
    ) -> None:
        self.runtime = runtime
        self.streams: tuple[EventStream, ...] = ()
        self._listeners = listeners
        self._report = report
        self._acknowledge = acknowledge
        self._overflow = overflow
        self._most_events, self._most_bytes = bounds
        self._finished = finished
        self._broken = broken
        self._inbox: deque[EventReceived | EventSent | Signal | Notice | Callback | StreamsEnd | Failure] = deque()
        self._bytes = 0
        self._sent = 0  # of what is in the inbox, how many were sent, and not received
        self._sent_bytes = 0
        self._sent_overflown = False
        self._beside = 0
        self._overflown = False
        self._gate = runtime.future()
        self._wake: Future | None = None
        self._finishing = False
        self._lanes: dict[Listener, Lane] = {}
        self._tasks: dict[int, Task | None] = {}
        self._next_task = 0
        self._calling: Future | None = None
        self._handle: dict[type, Callable[[Any], Awaitable[None]]] = {
            EventReceived: self._event,
            EventSent: self._event_sent,
            Signal: self._signal,
            Notice: self._notice,
            Callback: self._callback,
            StreamsEnd: self._end_streams,
            Failure: self._failure,
        }
        self._spawn(self._run, name)

    # From outside

    @property
    def is_open(self) -> bool:
        """Whether the gate is open."""
        return self._gate.done

    @property
    def idle(self) -> bool:
        """Whether what is put into the inbox now is the next thing to be handled."""
        return self._wake is not None or not (self._gate.done or self._inbox)

    @property
    def waiting_events(self) -> int:
        """How many of the server's events wait for their handlers, or to be taken from a stream."""
        in_inbox = sum([isinstance(item, EventReceived) for item in self._inbox])
        return in_inbox + self._beside + sum([len(stream._events) for stream in self.streams])

    def wants(self, event: str) -> bool:
        """Whether anybody listens to an event, or may do so by the time that the gate opens."""
        return not self._gate.done or bool(self._listeners.get(event))

    @property
    def done(self) -> bool:
        """Whether nothing runs any more, and nothing will."""
        return self._finishing and not self._tasks

    @property
    def is_handling(self) -> bool:
        """Whether something is being handled now."""
        return self._wake is None or bool(self._lanes)

    def open_gate(self) -> None:
        """Let the handlers be called."""
        self._gate.resolve()

    def finish(self) -> None:
        """End when all that is in the inbox has been handled; at once, where the gate never opened."""
        self._finishing = True
        if not self._gate.done:
            self._forget_inbox()
            self._gate.resolve()
        self._wake_up()

    def cancel(self) -> None:
        """End whatever still runs. A thread ends when the handler that it runs does."""
        self._finishing = True
        self._forget_inbox()
        for stream in self.streams:
            stream.end()
        self._gate.resolve()
        self._wake_up()
        if self._calling is not None:
            self._calling.resolve()
        for task in list(self._tasks.values()):
            if task is not None:
                task.cancel()

    def received(self, event: EventReceived | Notice) -> None:
        """An event from the server. When the inbox is full the connection is closed, and its other events are dropped."""
        if self._overflown:
            return
        waiting = len(self._inbox) - self._sent + self._beside
        if not self.has_space(waiting, self._bytes, event.size):
            self._overflown = True
            self.overflow(event.name if isinstance(event, Notice) else str(event.args[0]), waiting, self._bytes)
            return
        self._bytes += event.size
        self._inbox.append(event)
        if self._wake is not None:
            self._wake_up()

    def sent(self, event: EventSent) -> None:
        """An event of ours has left. It is left out when too many wait to be told of: the connection is none the worse."""
        if self.has_space(self._sent, self._sent_bytes, event.size):
            self._sent += 1
            self._sent_bytes += event.size
            self.put(event)
        elif not self._sent_overflown:
            self._sent_overflown = True
            name = str(event.args[0])
            error = InboxOverflow(
                f"event {name!r} was sent while {self._sent} events of {self._sent_bytes} bytes waited for the listeners "
                "of outgoing events, which are not told of it, nor of what follows until they have caught up; make them "
                f"faster, {self._or_raise_the_bounds}"
            )
            self.put(Failure(name, error))

    def put(self, item: EventSent | Signal | Notice | Callback | StreamsEnd | Failure) -> None:
        """Something else than an event; there is always room for it."""
        self._inbox.append(item)
        self._wake_up()

    def accept_again(self) -> None:
        """There is a new connection: its events are taken, whatever became of the one before."""
        self._overflown = False

    def has_space(self, events: int, size: int, more: int) -> bool:
        """Whether an event of `more` bytes may join `events` that hold `size` bytes. A single one always may wait."""
        return events < self._most_events and (events == 0 or size + more <= self._most_bytes)

    def overflow(self, name: str, events: int, size: int) -> None:
        """There is no space left for the event `name`."""
        if self._overflow is not None:
            self._overflow(
                InboxOverflow(
                    f"event {name!r} found {events} events of {size} bytes waiting for their handlers; make the handlers "
                    f"faster (concurrency=…), {self._or_raise_the_bounds}"
                )
            )

    @property
    def _or_raise_the_bounds(self) -> str:
        return f"or raise inbox_events ({self._most_events}) or inbox_bytes ({self._most_bytes})"

    # The task

    async def _run(self) -> None:
        runtime, inbox, handle = self.runtime, self._inbox, self._handle
        await runtime.wait(self._gate)
        turns = _BATCH
        while True:
            if not inbox:
                if self._finishing:
                    return
                self._wake = cell = runtime.future()
                await runtime.wait(cell)
                turns = _BATCH
                continue
            if turns == 0:
                await self._let_others_run()
                turns = _BATCH
            turns -= 1
            item = inbox.popleft()
            await handle[type(item)](item)

    async def _let_others_run(self) -> None:
        cell = self.runtime.future()
        self.runtime.call_soon(cell.resolve)
        await self.runtime.wait(cell)

    async def _event(self, event: EventReceived) -> None:
        args = event.args
        name = args[0] if isinstance(args[0], str) else str(args[0])
        listeners = self._listeners
        handlers = listeners.get(name)
        reply = None
        if event.ack_id is not None and self._acknowledge is not None and (handlers or self.streams):
            reply = Reply(event.ack_id, self._acknowledge)
        self._bytes -= event.size
        if self.streams:
            self._stream(name, args, reply, event.size)
        for listener in listeners.any.listeners:
            await self._call(listener, name, args, None)
        values = args[1:]
        for listener in handlers:
            if listener.once:
                listeners.discard(name, listener)
            if listener.concurrency is None:
                await self._call(listener, name, values, reply)
            else:
                self._call_beside(listener, name, values, reply, event.size)
        if reply is not None:
            reply.release()

    async def _event_sent(self, event: EventSent) -> None:
        self._sent -= 1
        self._sent_bytes -= event.size
        if self._sent == 0:
            self._sent_overflown = False
        for listener in self._listeners.outgoing.listeners:
            await self._call(listener, str(event.args[0]), event.args, None)

    async def _signal(self, signal: Signal) -> None:
        if signal.after is not None and not signal.after.done:
            await self.runtime.wait(signal.after)
        self._calling = signal.called
        handlers = self._listeners.get(signal.name)
        for listener in handlers:
            if listener.once:
                self._listeners.discard(signal.name, listener)
            called = signal.called if listener is handlers[-1] else None
            await self._call(listener, signal.name, signal.args, None, called)
        if signal.called is not None:
            signal.called.resolve()

    async def _notice(self, notice: Notice) -> None:
        self._bytes -= notice.size
        for listener in notice.listeners.get(notice.name):
            if listener.once:
                notice.listeners.discard(notice.name, listener)
            if listener.concurrency is None:
                await self._call(listener, notice.name, notice.args, None)
            else:
                self._call_beside(listener, notice.name, notice.args, None, notice.size)

    async def _callback(self, callback: Callback) -> None:
        await self._call(callback.listener, callback.name, callback.args, None)

    async def _end_streams(self, _: StreamsEnd) -> None:
        for stream in self.streams:
            stream.end()

    async def _failure(self, failure: Failure) -> None:
        await self._report(failure.error, failure.name)

    def _stream(self, name: str, args: Sequence[Any], reply: Reply | None, size: int) -> None:
        values = tuple(args[1:])
        if reply is not None:
            reply.leave_it()
        for stream in self.streams:
            stream.put(Event(name, values, Acknowledge(reply, self.runtime), wants_ack=reply is not None), size)

    async def _call(
        self, listener: Listener, name: str, values: Sequence[Any], reply: Reply | None, called: Future | None = None
    ) -> None:
        """Call one handler; what it returns is an acknowledgement, what it raises is reported."""
        try:
            values = listener.fit(values)
            handler = listener.call
            if listener.manual_ack:
                values = (*values, Acknowledge(reply, self.runtime))
                if reply is not None:
                    reply.leave_it()
                await self.runtime.call(handler, *values)
            elif called is not None:
                await self.runtime.call(self._telling(handler, called), *values)
            else:
                result = await self.runtime.call(handler, *values)
                if reply is not None:
                    reply.returned(result)
        except Exception as error:
            if reply is not None:
                reply.leave_it()
            await self._report(error, name)

    def _telling(self, handler: Handler, called: Future) -> Handler:
        """The handler, such that `called` is set as soon as the call returns.

        An async handler has returned an awaitable by then, and its code up to the first wait runs in the same turn.
        """

        def call(*args: Any) -> Any:
            try:
                return handler(*args)
            finally:
                with self.runtime.lock:
                    called.resolve()

        return call

    # Handlers that run beside

    def _call_beside(
        self, listener: Listener, name: str, values: Sequence[Any], reply: Reply | None, size: int
    ) -> None:
        if reply is not None:
            reply.hold()
        lane = self._lanes.setdefault(listener, Lane())
        lane.waiting.append((name, values, reply, size))
        self._beside += 1
        self._bytes += size
        if listener.concurrency is not None and lane.running < listener.concurrency:
            lane.running += 1
            self._spawn(lambda: self._work(listener, lane), f"handler of {name!r}")

    async def _work(self, listener: Listener, lane: Lane) -> None:
        try:
            while lane.waiting:
                name, values, reply, size = lane.waiting.popleft()
                self._beside -= 1
                self._bytes -= size
                await self._call(listener, name, values, reply)
                if reply is not None:
                    reply.release()
        finally:
            lane.running -= 1
            if not lane.running:
                self._lanes.pop(listener, None)

    # Tasks

    def _spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        number = self._next_task
        self._next_task += 1

        async def run() -> None:
            _dispatching.set(self)
            try:
                await function()
            except Exception as error:
                self._broken(error)
            finally:
                del self._tasks[number]
                if self.done:
                    self._finished()

        self._tasks[number] = None
        task = self.runtime.spawn(run, name)
        if number in self._tasks:  # a task that starts eagerly may be over
            self._tasks[number] = task

    def _wake_up(self) -> None:
        cell, self._wake = self._wake, None
        if cell is not None:
            cell.resolve()

    def _forget_inbox(self) -> None:
        for item in self._inbox:
            if isinstance(item, Signal) and item.called is not None:
                item.called.resolve()
        self._inbox.clear()
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._bytes = self._beside = self._sent = self._sent_bytes = 0


_dispatching: ContextVar[Dispatcher | None] = ContextVar("dispatching", default=None)
"""The dispatcher in whose task the present code runs, or which called what started it."""


def is_handling(runtime: Runtime) -> bool:
    """Whether the caller is, or was called by, a handler that runs now on this runtime."""
    dispatcher = _dispatching.get()
    return dispatcher is not None and dispatcher.runtime is runtime and dispatcher.is_handling
