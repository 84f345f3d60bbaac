"""`Engine`: the API of an Engine.IO session (JavaScript's `manager.engine`).

The class delegates to `run.session.SessionRun`. The blocking class is generated from this file.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final, Self

from ..protocol.packets import engineio
from ..protocol.states import SessionState
from ..running.unawaited import must_be_awaited
from .core.manager import ManagerCore
from .registration import HandlerRegistration
from .run.session import EngineTransport, SessionRun


class Engine(HandlerRegistration):
    """The Engine.IO session of a connection, `manager.engine`. Each session has its own object and its own handlers.

    The events of an Engine are open(), upgrading(transport), upgrade(transport), upgrade_error(error), packet(packet),
    packet_create(packet), flush(), drain(), close(reason, details). A packet has a `type` ("open", "close", "ping",
    "pong", "message", "upgrade" or "noop"), `data` and `compress`; a transport has a `name`. The events that occur for each
    packet (packet, packet_create, flush, drain) are only created while one of them has a handler.

    Attributes:
        protocol: The version of the Engine.IO protocol.
    """

    protocol: Final = engineio.PROTOCOL

    def __init__(self, session: SessionRun, manager: ManagerCore) -> None:
        self._session = session
        self._manager = manager
        self._handlers = session.handlers

    def __repr__(self) -> str:
        return f"<Engine {self.id}, {self._session.session.state}, by {self.transport.name}>"

    @property
    def id(self) -> str | None:
        """The id of the session. None before the handshake is done and after the session has ended."""
        session = self._session.session
        return None if session.state == "closed" else session.sid

    @property
    def state(self) -> SessionState:
        """The state of the session: "new", "opening", "open", "closing" or "closed", as an enum that is a str."""
        return self._session.session.state

    @property
    def transport(self) -> EngineTransport:
        """The current transport, which has a `name`."""
        return EngineTransport(self._session.session.transport)

    @must_be_awaited
    async def close(self) -> Self:
        """Send what is buffered, close the session, and wait until it is closed, for at most `close_timeout`.

        The connection is lost with the reason "forced close". If `reconnection` is True, the Manager opens a new session. To
        close the connection permanently, close the Manager. Events that are emitted while the session closes are lost.
        """
        await self._manager.close_session(self._session)
        return self

    def _registering(self) -> AbstractContextManager[Any]:
        self._manager.link.check_caller()
        return self._manager.link.lock
