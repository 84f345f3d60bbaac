"""Callers that wait for the next event of a name.

Rules of this file:

- Callers are woken directly when the event is received, before its handlers are called. So a handler may wait for an event.
- Each caller gets the event. It can acknowledge the event like a handler, with the same reply; the first one is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..handlers.registry import event_name
from ..protocol.events import AckId, EventReceived
from ..runtime.interface import Future, Runtime
from .event_stream import Event
from .replies import Acknowledge, Reply
from .waiters import wait_for


class ExpectedEvents:
    """The events of one namespace for which callers wait.

    Args:
        runtime: The runtime.
        acknowledge: Acknowledges an event.

    Attributes:
        futures: The futures of the callers by event name.
        replies: The replies of events that callers have received, until the handlers of these events are called.
    """

    __slots__ = ("_acknowledge", "_runtime", "futures", "replies")

    def __init__(self, runtime: Runtime, acknowledge: Callable[[AckId, Sequence[Any]], None]) -> None:
        self.futures: dict[str, list[Future]] = {}
        self.replies: dict[AckId, Reply] = {}
        self._runtime = runtime
        self._acknowledge = acknowledge

    async def wait(self, name: str, timeout: float | None) -> Event:
        """Wait for the next event of a name. Raise TimeoutError after `timeout` seconds."""
        runtime = self._runtime
        future = runtime.future()
        self.futures.setdefault(name, []).append(future)
        timer = None
        if timeout is not None:
            late = TimeoutError(f"event {name!r} did not arrive within {timeout:g} seconds")
            timer = runtime.timer(lambda: future.fail(late))
            timer.set(runtime.now() + timeout)
        try:
            event: Event = await wait_for(runtime, future)
        except BaseException:
            self._forget(name, future)
            raise
        finally:
            if timer is not None:
                timer.set(None)
        return event

    def _forget(self, name: str, future: Future) -> None:
        waiting = self.futures.get(name, [])
        if future in waiting:
            waiting.remove(future)
            if not waiting:
                del self.futures[name]

    def received(self, event: EventReceived) -> None:
        """Wake the callers that wait for this event."""
        name = event_name(event.args[0])
        futures = self.futures.pop(name, ())
        reply = None
        if futures and event.ack_id is not None:
            reply = self.replies[event.ack_id] = Reply(event.ack_id, self._acknowledge)
            reply.waive()
        for future in futures:
            acknowledge = Acknowledge(reply, self._runtime)
            future.resolve(Event(name, tuple(event.args[1:]), acknowledge, wants_ack=reply is not None))

    def fail(self, error: Exception) -> None:
        """Raise `error` in all callers."""
        for futures in self.futures.values():
            for future in futures:
                future.fail(error)
        self.futures.clear()
