"""The registration and the removal of handlers, in the client and the server.

Rules of this file:

- A subclass has a `HandlerRegistry` in `_handlers`, and the lock for its changes in `_registering`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Final, Self, TypeVar

from ..protocol.errors import OptionError
from .conversion import conversions
from .event_type import EventType
from .registry import Handler, HandlerRegistry, RegisteredHandler, event_name

H = TypeVar("H", bound=Handler)

DECORATE: Final = object()
"""The default of `handler`: return a decorator. (None is an error, because it is most likely a mistake.)"""


class Registration:
    """What all objects with handlers of single events have in common."""

    _handlers: HandlerRegistry
    _allows_async: ClassVar[bool] = True

    def off(self, event: EventType[Any, Any] | str | float | None = None, handler: Handler | None = None) -> Self:
        """Remove a handler of an event, all handlers of an event, or all handlers.

        A handler that is not registered is ignored.
        """
        if event is None and handler is not None:
            raise OptionError("off() with a handler needs its event: off(event, handler)")
        with self._registering():
            self._handlers.remove(event, handler)
        return self

    def listeners(self, event: EventType[Any, Any] | str | float) -> list[Handler]:
        """Return the handlers of an event in the order in which they are called."""
        return [each.handler for each in self._handlers.get(event_name(event))]

    def _registering(self) -> AbstractContextManager[None]:
        """Return the context manager in which handlers are registered and removed."""
        return nullcontext()

    def _checked(self, handler: Handler, **options: Any) -> RegisteredHandler:
        registered = RegisteredHandler(handler, **options)
        if registered.is_async and not self._allows_async:
            raise OptionError(
                f"handler {registered.name} is an async function, which the blocking driver cannot await: use a plain function"
            )
        return registered

    def _register(
        self,
        event: object,
        handler: Any,
        *,
        manual_ack: bool,
        typed: bool,
        once: bool = False,
        concurrency: int | None = None,
    ) -> Callable[[H], H] | Self:
        name = event_name(event)
        for option, value in (("typed", typed), ("manual_ack", manual_ack)):
            if not isinstance(value, bool):
                raise OptionError(f"{option} takes True or False, not {value!r}")

        def add(handler: Handler) -> None:
            registered = self._checked(handler, once=once, concurrency=concurrency, manual_ack=manual_ack)
            if typed:
                registered.call = conversions("typed").converting(handler, name, manual_ack=manual_ack)
            with self._registering():
                self._handlers.add(name, registered)

        def register(handler: H) -> H:
            add(handler)
            return handler

        if handler is DECORATE:
            return register
        add(handler)
        return self
