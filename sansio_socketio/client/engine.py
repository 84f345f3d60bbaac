"""The Engine: an Engine.IO session, as an application uses it (JavaScript's `manager.engine`).

The class is a face of `run.session.SessionRun`. The blocking one is generated from this file.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Self

from .core.manager import ManagerCore
from .handlers.registration import HandlerRegistration
from .run.session import EngineTransport, SessionRun
from .run.unawaited import must_be_awaited


class Engine(HandlerRegistration):
    """The Engine.IO session of a connection: `manager.engine`. The next session has another object, with its own handlers.

    Its events: open(), upgrading(transport), upgrade(transport), upgrade_error(error), packet(packet),
    packet_create(packet), flush(), drain(), close(reason, details). A packet has a `type` ("open", "close", "ping",
    "pong", "message", "upgrade" or "noop") and `data`; a transport has a `name`. The events of each packet (packet,
    packet_create, flush, drain) cost nothing while they have no handlers.
    """

    def __init__(self, session: SessionRun, manager: ManagerCore) -> None:
        self._session = session
        self._manager = manager
        self._handlers = session.handlers

    def __repr__(self) -> str:
        return f"<Engine {self.id}, {self._session.session.state}, by {self.transport.name}>"

    @property
    def id(self) -> str | None:
        """The session's id; None before the handshake is done, and after the session is closed."""
        session = self._session.session
        return None if session.state == "closed" else session.sid

    @property
    def transport(self) -> EngineTransport:
        """The transport in use; it has a `name`."""
        return EngineTransport(self._session.session.transport)

    @must_be_awaited
    async def close(self) -> Self:
        """Close the session once all that was emitted has been sent, and wait for that, for at most `close_timeout`.

        The connection is lost for the reason "forced close". If `reconnection` is on, the Manager opens another session; to
        close the connection for good, close the Manager. What is emitted while the session closes is lost.
        """
        await self._manager.close_session(self._session)
        return self

    def _registering(self) -> AbstractContextManager[Any]:
        self._manager.link.check_caller()
        return self._manager.link.lock
