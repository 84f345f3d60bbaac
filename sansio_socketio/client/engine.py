"""The Engine: a session of Engine.IO as an application holds it (JavaScript's `manager.engine`).

Rules of this file:

- There is one object for a session, from its beginning on. The next session has another one, with handlers of its own.
- Its handlers are called by the Manager's dispatcher, in one order with those of the Manager. So a handler of the
  Manager's "open" may register for what comes after it, and misses nothing.
- What there may be much of is asked of the machine only while somebody listens to it, and counts against the bounds of
  the inbox. The rest finds room always: it is a handful for each session.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from ..protocol.engine import EngineSession
from ..protocol.events import (
    EngineClosed,
    EngineDrained,
    EngineEvent,
    EngineFlushed,
    EngineOpened,
    EnginePacketCreated,
    EnginePacketReceived,
    EngineUpgraded,
    EngineUpgradeFailed,
    EngineUpgrading,
)
from .dispatch import Notice
from .hub import Waiters
from .listeners import Listeners, Listening

if TYPE_CHECKING:
    from .connection import Connection


@dataclass(frozen=True, slots=True)
class EngineTransport:
    """A transport of a session.

    Attributes:
        name: Such as "polling" or "websocket"; None while the session has none yet.
    """

    name: str | None


_NOTICES: Final[Mapping[type[EngineEvent], tuple[str, Callable[[Any], tuple[Any, ...]]]]] = {
    EngineOpened: ("open", lambda _: ()),
    EngineUpgrading: ("upgrading", lambda event: (EngineTransport(event.transport),)),
    EngineUpgraded: ("upgrade", lambda event: (EngineTransport(event.transport),)),
    EngineUpgradeFailed: ("upgrade_error", lambda event: (event.error,)),
    EnginePacketReceived: ("packet", lambda event: (event.packet,)),
    EnginePacketCreated: ("packet_create", lambda event: (event.packet,)),
    EngineFlushed: ("flush", lambda _: ()),
    EngineDrained: ("drain", lambda _: ()),
    EngineClosed: ("close", lambda event: (event.reason, event.details)),
}
"""What an application calls the events of a session, and what the handlers get."""

ENGINE_EVENTS: Final = frozenset(name for name, _ in _NOTICES.values())
_FREQUENT: Final = frozenset({"packet", "packet_create", "flush", "drain"})


class Engine(Listening):
    """The Engine.IO session beneath a connection. The Manager has it: `manager.engine`.

    Its events: open(), upgrading(transport), upgrade(transport), upgrade_error(error), packet(packet),
    packet_create(packet), flush(), drain(), close(reason, details). A packet has a `type` ("open", "close", "ping",
    "pong", "message", "upgrade" or "noop") and `data`; a transport has a `name`. Those that come or go with each packet
    (packet, packet_create, flush, drain) cost nothing as long as nobody listens to them.
    """

    def __init__(self, session: EngineSession, connection: Connection) -> None:
        self._session = session
        self._connection = connection
        self._listeners = Listeners(ENGINE_EVENTS)
        self._closings = Waiters(connection.hub.runtime)

    def __repr__(self) -> str:
        return f"<Engine {self.id}, {self._session.state}, by {self.transport.name}>"

    @property
    def id(self) -> str | None:
        """The session's id; None before its handshake is done, and when it is closed."""
        return None if self._session.state == "closed" else self._session.sid

    @property
    def transport(self) -> EngineTransport:
        """The transport in use, by its `name`."""
        return EngineTransport(self._session.transport)

    async def close(self) -> Self:
        """Close the session once all that was sent has left, and wait for that, at most `close_timeout`.

        The connection ends for the reason "forced close". If `reconnection` is on, the Manager opens another one; to
        close it for good, close the Manager. What is sent while the session closes is lost.
        """
        hub = self._connection.hub
        hub.feed(self._connection.machine.close_session, self._session.number)
        if self._session.state != "closed" and not hub.ended:
            await self._closings.wait()
        return self

    def _route(self, event: EngineEvent) -> None:
        """Put what the machine tells of the session where its handlers are called."""
        name, values = _NOTICES[type(event)]
        dispatcher = self._connection.dispatcher
        is_heard = bool(self._listeners.get(name))
        if name not in _FREQUENT:
            # Whoever is called before this one's turn may still register for it.
            if is_heard or not (dispatcher.is_open and dispatcher.idle):
                dispatcher.put(Notice(self._listeners, name, values(event)))
        elif is_heard:
            packet = getattr(event, "packet", None)
            dispatcher.received(Notice(self._listeners, name, values(event), 0 if packet is None else len(packet.data)))
        else:
            self._watch()

    def _end(self) -> None:
        """The session is over: wake who waits for that."""
        self._closings.wake()

    def _watch(self) -> None:
        """Have the machine tell what somebody listens to, and no more."""
        self._session.report_packets = any(self._listeners.get(name) for name in _FREQUENT)

    @contextmanager
    def _changing(self) -> Generator[None, None, None]:
        self._connection.check_caller()
        yield
        self._watch()
