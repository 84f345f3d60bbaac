"""The methods with which applications register and remove handlers.

Rules of this file:

- A subclass has a `HandlerRegistry` in `_handlers`, and the lock for its changes in `_registering`.
- `on`, `once` and `off` return the object, so that calls can be chained. `on_any` and the methods like it return the
  handler, so that they are decorators with and without parentheses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Final, Self, TypeVar, overload

from ...protocol.errors import OptionError
from ..attributes import FixedAttributes
from .conversion import conversions
from .event_type import Ack, EventType, Values
from .registry import AnyHandlers, Handler, HandlerRegistry, RegisteredHandler, event_name

H = TypeVar("H", bound=Handler)

DECORATE: Final = object()
"""The default of `handler`: return a decorator. (None is an error, because it is most likely a mistake.)"""


class Registration(FixedAttributes):
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


class HandlerRegistration(Registration):
    """The methods for handlers of single events."""

    @overload
    def on(
        self,
        event: EventType[tuple[*Values], Ack],
        *,
        concurrency: int | None = None,
        typed: bool = False,
    ) -> Callable[[Callable[[*Values], Ack | Awaitable[Ack]]], Callable[[*Values], Any]]: ...
    @overload
    def on(
        self,
        event: EventType[tuple[*Values], Ack],
        handler: Callable[[*Values], Ack | Awaitable[Ack]],
        *,
        concurrency: int | None = None,
        typed: bool = False,
    ) -> Self: ...
    @overload
    def on(
        self,
        event: str | float,
        *,
        concurrency: int | None = None,
        manual_ack: bool = False,
        typed: bool = False,
    ) -> Callable[[H], H]: ...
    @overload
    def on(
        self,
        event: str | float,
        handler: Handler,
        *,
        concurrency: int | None = None,
        manual_ack: bool = False,
        typed: bool = False,
    ) -> Self: ...
    def on(
        self,
        event: EventType[Any, Any] | str | float,
        handler: Any = DECORATE,
        *,
        concurrency: int | None = None,
        manual_ack: bool = False,
        typed: bool = False,
    ) -> Any:
        """Register a handler of an event. Without `handler`, return a decorator.

        The handler may be async, except with the blocking driver. It is called with as many of the event's values as it
        accepts. If the server requested an acknowledgement, the return value is sent: one value, or a tuple of several
        values. If every handler returns None, an empty acknowledgement is sent after the last one.

        Args:
            event: The event's name, or its `EventType`, with which type checkers check the handler.
            handler: The function to call.
            concurrency: The maximum number of concurrent calls of this handler. They also run concurrently with other
                handlers. By default the handlers of a namespace are called one at a time, in order. Not allowed for the
                events of a Manager or an Engine, whose handlers always run concurrently once they have started.
            manual_ack: Whether to pass an acknowledgement function as the last argument, instead of using the return
                value. It acknowledges the event with its arguments, and can be called once, at any time. It does nothing
                if the server requested no acknowledgement.
            typed: Whether to convert the values to the types of the handler's annotations, with pydantic (the extra
                `typed`). If a value does not match, the handler is not called and a PayloadError is reported.

        Raises:
            OptionError: The event or the handler is invalid, `concurrency` is not a whole number of at least 1, or
                pydantic does not support an annotation.
        """
        return self._register(event, handler, manual_ack=manual_ack, typed=typed, concurrency=concurrency)

    @overload
    def once(
        self, event: EventType[tuple[*Values], Ack], *, typed: bool = False
    ) -> Callable[[Callable[[*Values], Ack | Awaitable[Ack]]], Callable[[*Values], Any]]: ...
    @overload
    def once(
        self,
        event: EventType[tuple[*Values], Ack],
        handler: Callable[[*Values], Ack | Awaitable[Ack]],
        *,
        typed: bool = False,
    ) -> Self: ...
    @overload
    def once(self, event: str | float, *, manual_ack: bool = False, typed: bool = False) -> Callable[[H], H]: ...
    @overload
    def once(self, event: str | float, handler: Handler, *, manual_ack: bool = False, typed: bool = False) -> Self: ...
    def once(
        self,
        event: EventType[Any, Any] | str | float,
        handler: Any = DECORATE,
        *,
        manual_ack: bool = False,
        typed: bool = False,
    ) -> Any:
        """Register a handler that is called only for the next such event. Otherwise like `on`."""
        return self._register(event, handler, manual_ack=manual_ack, typed=typed, once=True)


class AnyHandlerRegistration(HandlerRegistration):
    """The methods for handlers of all received or all sent events. These do not include connect and disconnect."""

    @overload
    def on_any(self, handler: None = None, *, concurrency: int | None = None) -> Callable[[H], H]: ...
    @overload
    def on_any(self, handler: H, *, concurrency: int | None = None) -> H: ...
    def on_any(self, handler: H | None = None, *, concurrency: int | None = None) -> Callable[[H], H] | H:
        """Register a handler of all events from the server: `handler(event, *values)`, before the event's own handlers.

        The return value is not an acknowledgement.

        Args:
            handler: The function to call.
            concurrency: See `on`.

        Returns:
            The handler, or without one a decorator: both `@socket.on_any` and `@socket.on_any()` work.
        """
        return self._register_any(self._handlers.any, handler, first=False, concurrency=concurrency)

    @overload
    def prepend_any(self, handler: None = None, *, concurrency: int | None = None) -> Callable[[H], H]: ...
    @overload
    def prepend_any(self, handler: H, *, concurrency: int | None = None) -> H: ...
    def prepend_any(self, handler: H | None = None, *, concurrency: int | None = None) -> Callable[[H], H] | H:
        """Register a handler as `on_any` does, before those that are already registered."""
        return self._register_any(self._handlers.any, handler, first=True, concurrency=concurrency)

    def off_any(self, handler: Handler | None = None) -> Self:
        """Remove the first registration of a handler by `on_any` or `prepend_any`, or all of them."""
        with self._registering():
            self._handlers.any.remove(handler)
        return self

    def listeners_any(self) -> list[Handler]:
        """Return the handlers of every received event in the order in which they are called."""
        return self._handlers.any.handlers()

    @overload
    def on_any_outgoing(self, handler: None = None) -> Callable[[H], H]: ...
    @overload
    def on_any_outgoing(self, handler: H) -> H: ...
    def on_any_outgoing(self, handler: H | None = None) -> Callable[[H], H] | H:
        """Register a handler of all events that are sent to the server: `handler(event, *values)`.

        It is called after the event has been handed to the connection: not while it is buffered, not if it is dropped,
        and with `retries` for each try. It is not called for acknowledgements. The calls are queued with those of the
        other handlers. Beyond `inbox_events` or `inbox_bytes` queued calls, further ones are dropped and an
        `InboxOverflow` is reported to `on_handler_error`.

        Returns:
            The handler, or a decorator: see `on_any`.
        """
        return self._register_any(self._handlers.outgoing, handler, first=False)

    @overload
    def prepend_any_outgoing(self, handler: None = None) -> Callable[[H], H]: ...
    @overload
    def prepend_any_outgoing(self, handler: H) -> H: ...
    def prepend_any_outgoing(self, handler: H | None = None) -> Callable[[H], H] | H:
        """Register a handler as `on_any_outgoing` does, before those that are already registered."""
        return self._register_any(self._handlers.outgoing, handler, first=True)

    def off_any_outgoing(self, handler: Handler | None = None) -> Self:
        """Remove the first registration by `on_any_outgoing` or `prepend_any_outgoing`, or all of them."""
        with self._registering():
            self._handlers.outgoing.remove(handler)
        return self

    def listeners_any_outgoing(self) -> list[Handler]:
        """Return the handlers of every sent event in the order in which they are called."""
        return self._handlers.outgoing.handlers()

    def _register_any(
        self, handlers: AnyHandlers, handler: H | None, *, first: bool, concurrency: int | None = None
    ) -> Callable[[H], H] | H:
        def register(handler: H) -> H:
            registered = self._checked(handler, concurrency=concurrency)
            with self._registering():
                handlers.add(registered, first=first)
            return handler

        return register if handler is None else register(handler)
