"""The events of a namespace as a stream."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any, Protocol

from ...protocol.errors import SocketIOError, StateError
from ...runtime.interface import Runtime
from .replies import Acknowledge
from .waiters import Waiters


class InboxOverflow(SocketIOError):
    """Events arrived faster than their handlers took them, and a bound was reached.

    If the bound is `inbox_events` or `inbox_bytes`, the connection is closed, and this is the `details` of its
    `disconnect` event. Nothing is closed where the events were sent ones, on their way to the handlers of
    `on_any_outgoing`, or events of a Manager or an Engine: then this is reported like an exception of a handler.
    """


class Event:
    """An event from the server, as a stream yields it.

    Attributes:
        name: Its name.
        args: Its values.
        wants_ack: Whether the server asked for an acknowledgement.
        ack: Acknowledge it with any number of values, once. Does nothing if the server asked for no acknowledgement.
    """

    __slots__ = ("ack", "args", "name", "wants_ack")

    def __init__(self, name: str, args: tuple[Any, ...], ack: Acknowledge, *, wants_ack: bool) -> None:
        self.name = name
        self.args = args
        self.ack = ack
        self.wants_ack = wants_ack

    def __repr__(self) -> str:
        return f"Event({self.name!r}, {len(self.args)} values{', wants_ack' if self.wants_ack else ''})"


class Inbox(Protocol):
    """What a stream needs of the dispatcher that fills it."""

    @property
    def runtime(self) -> Runtime: ...
    def attach(self, stream: EventBuffer) -> None: ...
    def detach(self, stream: EventBuffer) -> None: ...
    def fits(self, events: int, size: int, more: int) -> bool: ...
    def overflow(self, name: str, events: int, size: int) -> None: ...


class _State(Enum):
    """How far a stream has got."""

    NEW = "new"
    OPEN = "open"
    ENDED = "ended"


class EventBuffer:
    """The buffer behind a stream of events. Several tasks may read it; each event goes to one of them.

    Args:
        inbox: The dispatcher that fills it.
        how_to_open: What to write to open the stream, for a message.
    """

    def __init__(self, inbox: Inbox, how_to_open: str) -> None:
        self._inbox = inbox
        self._how_to_open = how_to_open
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._state = _State.NEW
        self._arrivals = Waiters(inbox.runtime)

    def __len__(self) -> int:
        return len(self._events)

    async def open(self) -> None:
        """Receive events from now on."""
        self._state = _State.OPEN
        self._inbox.attach(self)

    async def close(self) -> None:
        """Receive no more events, and end."""
        self._inbox.detach(self)
        self.end()

    def put(self, event: Event, size: int) -> None:
        """Add an event of about `size` bytes."""
        if self._inbox.fits(len(self._events), self._bytes, size):
            self._events.append((event, size))
            self._bytes += size
            self._arrivals.wake()
        elif self._state is _State.OPEN:
            self._state = _State.ENDED
            self._inbox.overflow(event.name, len(self._events), self._bytes)

    def end(self) -> None:
        """End after the events that are already in it."""
        self._state = _State.ENDED
        self._arrivals.wake()

    async def next(self) -> Event | None:
        """Wait for the next event, and return it; None at the end.

        Raises:
            StateError: The stream was not opened.
        """
        while not self._events:
            if self._state is _State.NEW:
                raise StateError(f"the stream of events is not open: {self._how_to_open}")
            if self._state is _State.ENDED:
                return None
            await self._arrivals.wait()
        event, size = self._events.popleft()
        self._bytes -= size
        return event
