"""Streams of the events of a namespace."""

from __future__ import annotations

from collections import deque
from enum import Enum
from reprlib import repr as short_repr
from typing import Any, Protocol

from ..protocol.errors import DisconnectedError, SocketIOError, StateError
from ..runtime.interface import Runtime
from .replies import Acknowledge
from .waiters import Waiters


class InboxOverflow(SocketIOError):
    """Handlers are too slow: the maximum number or size of queued events was reached.

    If received events exceed `inbox_events` or `inbox_bytes`, the connection is closed, and this error is the `details` of
    the `disconnect` event. For handlers of `on_any_outgoing`, of the Manager and of the Engine, events are dropped instead,
    and this error is reported to `on_handler_error`. The same applies to `connect`, `connect_error` and `disconnect`, except
    that the latest one is kept.
    """


class Event:
    """An event from the server, as `socket.events()` yields it.

    Attributes:
        name: The name of the event.
        args: The values of the event.
        wants_ack: Whether the server requested an acknowledgement.
        ack: A function that acknowledges the event with its arguments. It can be called once, and does nothing if the
            server requested no acknowledgement.
    """

    __slots__ = ("ack", "args", "name", "wants_ack")

    def __init__(self, name: str, args: tuple[Any, ...], ack: Acknowledge, *, wants_ack: bool) -> None:
        self.name = name
        self.args = args
        self.ack = ack
        self.wants_ack = wants_ack

    def __repr__(self) -> str:
        return f"Event({self.name!r}, {short_repr(self.args)}{', wants_ack=True' if self.wants_ack else ''})"


class Inbox(Protocol):
    """The part of the dispatcher that its streams use."""

    @property
    def runtime(self) -> Runtime: ...
    def attach(self, stream: EventBuffer) -> None: ...
    def detach(self, stream: EventBuffer) -> None: ...
    def resume_reading(self) -> bool: ...


class Source(Protocol):
    """The part of the namespace that its streams use."""

    @property
    def dispatcher(self) -> Inbox: ...
    @property
    def is_over(self) -> bool: ...
    def end_stream(self, stream: EventBuffer) -> None: ...
    def late_event(self) -> TimeoutError: ...


class _State(Enum):
    """The state of a stream."""

    NEW = "new"
    OPEN = "open"
    ENDED = "ended"


class EventBuffer:
    """The buffer of a stream of events. If several tasks read it, each event is received by one of them.

    Args:
        source: The namespace whose dispatcher adds the events.
        how_to_open: How to open the stream, for an error message.
    """

    def __init__(self, source: Source, how_to_open: str) -> None:
        self._source = source
        self._inbox = inbox = source.dispatcher
        self._how_to_open = how_to_open
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._state = _State.NEW
        self._is_late = False  # it was opened after the final disconnection
        self._error: DisconnectedError | None = None
        self._arrivals = Waiters(inbox.runtime)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def size(self) -> int:
        """The size of the buffered events in bytes."""
        return self._bytes

    async def open(self) -> None:
        """Start to receive events."""
        self._state = _State.OPEN
        self._is_late = self._source.is_over
        self._inbox.attach(self)

    async def close(self) -> None:
        """Stop receiving events, and end the stream."""
        self._inbox.detach(self)
        self.end()

    def put(self, event: Event, size: int) -> None:
        """Add an event of about `size` bytes, unless the stream has ended. The inbox has counted it towards its bounds."""
        if self._state is _State.OPEN:
            self._events.append((event, size))
            self._bytes += size
            self._arrivals.wake()

    def end(self, error: DisconnectedError | None = None) -> None:
        """End the stream after the buffered events. `error` is what it raises then, if anything, unless it has ended."""
        if self._state is not _State.ENDED:
            self._error = error
        self._state = _State.ENDED
        self._arrivals.wake()

    async def next(self) -> Event | None:
        """Wait for the next event and return it. Return None at the end.

        Raises:
            DisconnectedError: The stream has ended because the connection was lost.
            StateError: The stream has not been opened.
            TimeoutError: No event has arrived within the time limit of a blocking call.
        """
        while not self._events:
            if self._state is _State.NEW:
                raise StateError(f"the stream of events is not open: {self._how_to_open}")
            if self._state is _State.ENDED:
                if self._error is not None:
                    raise self._error
                return None
            if self._inbox.resume_reading():
                continue  # this may have brought events
            if self._is_late:  # not at the opening: the application may call `connect` after it
                self._is_late = False
                self._source.end_stream(self)
            try:
                await self._arrivals.wait()
            except TimeoutError:  # the time limit of a blocking call
                late = self._source.late_event()
                raise late from late.__cause__
        event, size = self._events.popleft()
        self._bytes -= size
        return event
