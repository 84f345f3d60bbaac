"""One Engine.IO session of a run: its events, and the callers that wait for its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...handlers.registry import HandlerRegistry
from ...protocol import events
from ...protocol.engine import EngineSession
from ...running.waiters import Waiters
from ...runtime.interface import Runtime
from .lifecycle import LifecycleQueue


@dataclass(frozen=True, slots=True)
class EngineTransport:
    """A transport of an Engine.IO session.

    Attributes:
        name: The name of the transport, such as "polling" or "websocket"; None if the session has no transport.
    """

    name: str | None


_EVENTS: Final[Mapping[type[events.EngineEvent], tuple[str, Callable[[Any], tuple[Any, ...]]]]] = {
    events.EngineOpened: ("open", lambda _: ()),
    events.EngineUpgrading: ("upgrading", lambda event: (EngineTransport(event.transport),)),
    events.EngineUpgraded: ("upgrade", lambda event: (EngineTransport(event.transport),)),
    events.EngineUpgradeFailed: ("upgrade_error", lambda event: (event.error,)),
    events.EnginePacketReceived: ("packet", lambda event: (event.packet,)),
    events.EnginePacketCreated: ("packet_create", lambda event: (event.packet,)),
    events.EngineFlushed: ("flush", lambda _: ()),
    events.EngineDrained: ("drain", lambda _: ()),
    events.EngineClosed: ("close", lambda event: (event.reason, event.details)),
}
"""Maps the class of a session's event to the event's name and the arguments of its handlers."""

ENGINE_EVENTS: Final = frozenset(name for name, _ in _EVENTS.values())
_PER_PACKET: Final = ("packet", "packet_create", "flush", "drain")


class SessionRun:
    """One Engine.IO session and its handlers.

    Attributes:
        session: The session of the state machine.
        handlers: The handlers of its Engine.
        closings: Callers that wait until the session has ended.
    """

    def __init__(self, session: EngineSession, runtime: Runtime, queue: LifecycleQueue) -> None:
        self.session = session
        self.handlers = HandlerRegistry(ENGINE_EVENTS, changed=self._handlers_changed)
        self.closings = Waiters(runtime)
        self._queue = queue

    def route(self, event: events.EngineEvent) -> None:
        """Queue an event of the session for its handlers."""
        name, args = _EVENTS[type(event)]
        self._queue.post(self.handlers, name, *args(event))

    def _handlers_changed(self) -> None:
        # Events for each packet are created only while they have handlers.
        self.session.report_packets = any(self.handlers.get(name) for name in _PER_PACKET)
