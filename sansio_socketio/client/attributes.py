"""Errors for unknown attributes of the public classes, which say what to use instead.

Rules of this file:

- Reading or assigning an unknown attribute raises AttributeError. An assignment would have no effect otherwise.
- Subclasses that applications define may have further attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ..protocol.options import RunningOptions, snake_case
from .options import IO_OPTIONS, MANAGER_OPTIONS, SOCKET_OPTIONS

_OPTIONS: Final = (
    "the options that can be set while running are attributes of the Manager, such as `manager.transports` "
    "(`socket.io.transports`); the others are passed once"
)
_IDS: Final = "use socket.id, or socket.io.engine.id for the id of the connection"
_HINTS: Final[Mapping[str, str]] = {
    "sendBuffer": "drop_buffered() drops the events that have not been sent",
    "receiveBuffer": "received events are queued for their handlers, and cannot be dropped",
    "opts": _OPTIONS,
    "auth": "it belongs to a Socket: socket.auth",
    "backoff": "use reconnection_delay, reconnection_delay_max and randomization_factor of the Manager",
    "readyState": "use the `state` of the Engine, or `connected` and `active` of the Socket",
    "nsps": "socket(nsp) returns the socket of a namespace",
    "hasListeners": "use listeners(event)",
    "addListener": "use on(event, handler)",
    "addEventListener": "use on(event, handler)",
    "removeListener": "use off(event, handler)",
    "removeEventListener": "use off(event, handler)",
    "removeAllListeners": "use off() or off(event)",
    "call": "use timeout(60).emit_with_ack(event, ...)",
    "event": "use on('name'), with the name of the event",
    "get_sid": _IDS,
    "sid": _IDS,
    "namespaces": "each namespace has a Socket of its own: manager.socket(nsp)",
    "receive": "iterate over events(), or use wait_for(event)",
    "register_namespace": "register methods with on(), such as socket.on('message', self.message)",
    "shutdown": "use disconnect() of the Socket, or close() of the Manager",
    "transport": "use socket.io.engine.transport.name",
    "wait": "use wait_closed() of the Socket",
}
"""Attributes of the JavaScript client's objects and of python-socketio's clients that have no counterpart of the same name."""


class FixedAttributes:
    """Base class of the public classes to which applications cannot add attributes."""

    if not TYPE_CHECKING:

        def __init_subclass__(cls, **options: Any) -> None:
            super().__init_subclass__(**options)
            if not cls.__module__.startswith("sansio_socketio"):
                cls.__setattr__ = object.__setattr__

        def __getattr__(self, name: str) -> NoReturn:
            hint = "" if name.startswith("_") else _hint(type(self), name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name)

        def __setattr__(self, name: str, value: Any) -> None:
            if not name.startswith("_") and not hasattr(type(self), name):
                hint = _hint(type(self), name) or ", and none can be added, except to objects of your own subclasses"
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name)
            object.__setattr__(self, name, value)


def _hint(cls: type, name: str) -> str:
    """Return what to use instead of an attribute, for the end of a message; "" if there is nothing similar."""
    snake = snake_case(name)
    if name in _HINTS:
        return f": {_HINTS[name]}"
    if snake != name and hasattr(cls, snake):
        return f": use {snake}"
    if hasattr(RunningOptions, snake):
        return f": use socket.io.{snake}"
    if snake in MANAGER_OPTIONS | SOCKET_OPTIONS:
        return f": the option {snake} is passed once, to connect(), io(), Manager() or manager.socket()"
    if snake in IO_OPTIONS:
        return f": the option {snake} is passed once, to io()"
    similar = get_close_matches(snake, [each for each in dir(cls) if not each.startswith("_")], n=1)
    return f": did you mean {similar[0]!r}?" if similar else ""
