"""Random programs: handlers that act inside the events of a connection, and faults of the connection.

Each handler acts the first `CALLS` times that it is called. So every program ends, and when the faults are over the
connection must settle.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sansio_socketio.protocol.errors import SocketIOError, StateError

CALLS: Final = 2
ACK_TIMEOUT: Final = 3.0

PLACES: Final = (
    *(("Manager", event) for event in ("open", "close", "error", "ping", "reconnect_attempt")),
    *(("Manager", event) for event in ("reconnect", "reconnect_error", "reconnect_failed")),
    *(("Engine", event) for event in ("open", "close", "packet", "packet_create", "flush", "drain")),
    *(("Socket", event) for event in ("connect", "connect_error", "disconnect", "event", "any", "any_outgoing")),
)
"""Where handlers are registered. Those of an Engine, on every session that there is."""


class Actor(Protocol):
    """The object on which a program acts."""

    manager: Any
    socket: Any

    async def sleep(self, seconds: float) -> None: ...
    async def log_in(self) -> None:
        """Emit an event, and wait for the handler of the event that answers it."""
        ...


async def _close_engine(actor: Actor) -> None:
    engine = actor.manager.engine
    if engine is not None:
        await engine.close()


async def _raise(actor: Actor) -> None:
    raise ValueError("a mistake of the program")


async def _set_auth(actor: Actor) -> None:
    actor.socket.auth = {"changed": True}


async def _acknowledged(actor: Actor) -> None:
    await actor.socket.timeout(ACK_TIMEOUT).emit_with_ack("echo_ack")


async def _restart(actor: Actor) -> None:
    await actor.manager.close()
    await actor.manager.open()


ACTIONS: Final[dict[str, Callable[[Actor], Awaitable[Any]]]] = {
    "wait_connected": lambda actor: actor.socket.wait_connected(),
    "emit_with_ack": _acknowledged,
    "emit": lambda actor: actor.socket.emit("echo"),
    "log in": lambda actor: actor.log_in(),
    "connect": lambda actor: actor.socket.connect(),
    "disconnect": lambda actor: actor.socket.disconnect(),
    "close": lambda actor: actor.manager.close(),
    "open": lambda actor: actor.manager.open(),
    "restart": _restart,
    "close the engine": _close_engine,
    "set auth": _set_auth,
    "sleep": lambda actor: actor.sleep(0.2),
    "raise": _raise,
}
ENDING: Final = frozenset({"disconnect", "close", "restart"})
"""Actions that may leave the socket disconnected for good."""


@dataclass(frozen=True)
class ProgramHandler:
    """A handler of a program.

    Attributes:
        place: The object and the event.
        actions: What it does.
        concurrency: The option, where it applies.
        plain: Whether it is registered twice, the second time without actions.
    """

    place: tuple[str, str]
    actions: tuple[str, ...]
    concurrency: int | None = None


class Calls:
    """The calls of a program's handlers.

    Attributes:
        begun, ended: How many there were.
        unexpected: The exceptions that no action may raise.
        running: Where the handlers are that have not ended.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.unexpected: list[BaseException] = []
        self.running: dict[object, str] = {}

    def handler(self, actor: Actor, handler: ProgramHandler) -> Callable[..., Awaitable[Any]]:
        """Return the function of a handler."""
        left = CALLS

        async def act(*_: Any) -> None:
            nonlocal left
            if left == 0:
                return
            left -= 1
            key = object()
            self.begun += 1
            try:
                for action in handler.actions:
                    self.running[key] = f"{handler.place}: {action}"
                    await self._act(actor, action)
            finally:
                del self.running[key]
                self.ended += 1

        return act

    async def _act(self, actor: Actor, action: str) -> None:
        try:
            await ACTIONS[action](actor)
        except SocketIOError as error:
            if isinstance(error, StateError) and action != "restart":
                self.unexpected.append(error)
        except (ValueError, TimeoutError):
            if action != "raise":
                raise
            raise
