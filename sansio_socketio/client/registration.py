"""The methods with which applications register and remove handlers.

Rules of this file:

- A subclass has a `HandlerRegistry` in `_handlers`, and the lock for its changes in `_registering`.
- `on`, `once` and `off` return the object, so that calls can be chained. `on_any` and the methods like it return the
  handler, so that they are decorators with and without parentheses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar, overload

from ..handlers.event_type import Ack, EventType, Values
from ..handlers.registration import DECORATE, Registration
from ..handlers.registry import AnyHandlers, Handler
from .attributes import FixedAttributes

H = TypeVar("H", bound=Handler)


class HandlerRegistration(FixedAttributes, Registration):
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
