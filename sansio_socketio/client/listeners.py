"""Who listens to what: handlers, how many arguments each takes, and the methods by which they are registered.

Rules of this file:

- A handler gets as many positional arguments as it can take. How many that is, is looked up once, at registration.
- The listeners of an event are a tuple that is replaced, never changed: whoever walks over one is not disturbed by a
  handler that registers or removes others.
- A name that is a number is the same as its text, as in JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import Parameter, signature
from typing import Any, Final, Self, TypeVar, overload

from ..protocol.errors import OptionError
from ..runtime.calls import name_of
from ..runtime.interface import Handler
from .options import is_count

H = TypeVar("H", bound=Handler)

LIFECYCLE: Final = frozenset({"connect", "connect_error", "disconnect"})
"""The events of a Socket that do not come from the server's application."""

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Listener:
    """A handler as it was registered.

    Attributes:
        handler: The handler.
        call: What is called: the handler, or what converts its arguments and calls it.
        least: How many arguments it needs.
        stop: Where to cut off the arguments that it cannot take; None where it takes any number.
        once: Whether it is removed before its first call.
        manual_ack: Whether its last argument is the function that acknowledges.
        concurrency: How many calls may run beside the others; None for calls in order.
    """

    __slots__ = ("call", "concurrency", "handler", "least", "manual_ack", "once", "stop")

    def __init__(
        self, handler: Handler, *, once: bool = False, concurrency: int | None = None, manual_ack: bool = False
    ) -> None:
        least, most = _arity(handler)
        if manual_ack:
            if most == 0:
                raise OptionError(f"manual_ack needs a handler that takes an argument; {name_of(handler)} takes none")
            least, most = max(0, least - 1), None if most is None else most - 1
        self.handler = self.call = handler
        self.least = least
        self.stop = most
        self.once = once
        self.manual_ack = manual_ack
        self.concurrency = concurrency

    def fit(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values that the handler is called with (without the function that acknowledges).

        Raises:
            TypeError: It needs more.
        """
        if len(values) < self.least:
            raise TypeError(
                f"handler {name_of(self.handler)} needs at least {self.least} values, but {len(values)} came"
            )
        stop = self.stop
        return values if stop is None or len(values) <= stop else values[:stop]


class AnyListeners:
    """The listeners of whatever event.

    Args:
        changed: Called after each change.
    """

    __slots__ = ("_changed", "listeners")

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        self.listeners: tuple[Listener, ...] = ()
        self._changed = changed

    def add(self, handler: Handler, *, first: bool) -> None:
        """Register a handler, before or after the others."""
        listener = Listener(handler)
        self._set((listener, *self.listeners) if first else (*self.listeners, listener))

    def remove(self, handler: Handler | None) -> None:
        """Remove the first registration of a handler, or (without one) all there are."""
        self._set(() if handler is None else without(self.listeners, handler))

    def handlers(self) -> list[Handler]:
        """The handlers, in the order in which they are called."""
        return [listener.handler for listener in self.listeners]

    def _set(self, listeners: tuple[Listener, ...]) -> None:
        self.listeners = listeners
        if self._changed is not None:
            self._changed()


class Listeners:
    """The listeners by event, those of any event, and those of any event of ours that is sent.

    Args:
        known: The events that there are; None for any.
        outgoing_changed: Called when those who listen to what is sent have changed.
    """

    __slots__ = ("_by_event", "any", "known", "outgoing")

    def __init__(
        self, known: frozenset[str] | None = None, *, outgoing_changed: Callable[[], None] | None = None
    ) -> None:
        self.known = known
        self.any = AnyListeners()
        self.outgoing = AnyListeners(outgoing_changed)
        self._by_event: dict[str, tuple[Listener, ...]] = {}

    def get(self, event: str) -> tuple[Listener, ...]:
        """The listeners of an event, in the order of their registration."""
        return self._by_event.get(event, ())

    def add(self, event: str | float, listener: Listener) -> None:
        """Register a listener. Raises OptionError for an event that cannot be."""
        name = event_name(event)
        if self.known is not None and name not in self.known:
            raise OptionError(f"there is no event {name!r}; there are {', '.join(sorted(self.known))}")
        if self.known is not None or name in LIFECYCLE:
            if listener.manual_ack:
                raise OptionError(f"{name!r} is not acknowledged: manual_ack makes no sense for it")
            if listener.call is not listener.handler:
                raise OptionError(f"{name!r} does not come from the server's application: typed makes no sense for it")
        self._by_event[name] = (*self.get(name), listener)

    def discard(self, event: str, listener: Listener) -> None:
        """Remove one listener, if it is there."""
        self._keep(event, tuple(each for each in self.get(event) if each is not listener))

    def remove(self, event: str | float | None, handler: Handler | None) -> None:
        """Remove the first registration of a handler, all of an event, or (without an event) all that there are."""
        if event is None:
            self._by_event.clear()
        elif handler is None:
            self._by_event.pop(event_name(event), None)
        else:
            name = event_name(event)
            self._keep(name, without(self.get(name), handler))

    def _keep(self, event: str, listeners: tuple[Listener, ...]) -> None:
        if listeners:
            self._by_event[event] = listeners
        else:
            self._by_event.pop(event, None)


def without(listeners: tuple[Listener, ...], handler: Handler) -> tuple[Listener, ...]:
    """The listeners without the first registration of a handler."""
    for index, listener in enumerate(listeners):
        if listener.handler == handler:
            return listeners[:index] + listeners[index + 1 :]
    return listeners


def event_name(event: object) -> str:
    """The text of an event's name. Raises OptionError for what is neither a str nor a number."""
    if isinstance(event, str):
        return event
    if isinstance(event, (int, float)) and not isinstance(event, bool):
        return str(event)
    raise OptionError(f"an event's name is a str or a number, not {event!r}")


class Listening:
    """The methods by which handlers are registered and removed."""

    _listeners: Listeners

    @overload
    def on(
        self,
        event: str | float,
        handler: None = None,
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
        event: str | float,
        handler: Handler | None = None,
        *,
        concurrency: int | None = None,
        manual_ack: bool = False,
        typed: bool = False,
    ) -> Callable[[H], H] | Self:
        """Have `handler` called for each `event`; without a handler, a decorator that does it.

        The handler may be async (in the blocking driver it is a plain function). It gets as many of the event's values
        as it can take. What it returns is the acknowledgement, where the server asked for one: a value, or a tuple of
        several; None leaves it to the other handlers, after the last of which an empty one is sent.

        Args:
            event: The event's name.
            handler: What to call.
            concurrency: How many calls of this handler may run at a time, beside the other handlers. By default an
                event is handled when the one before it is done.
            manual_ack: Give the handler, as its last argument, a function that acknowledges with its arguments, instead
                of acknowledging with what it returns. It may be called once, at any time. Where the server asked for no
                acknowledgement it does nothing.
            typed: Convert the values to what the handler's parameters are annotated with, by pydantic (the extra
                `typed`). Where one does not fit, the handler is not called, and a PayloadError is reported.

        Raises:
            OptionError: There can be no such event or handler, `concurrency` is no whole number of at least 1, or
                nothing can be converted to what an annotation says.
        """
        if concurrency is not None and not is_count(concurrency):
            raise OptionError(f"concurrency takes a whole number of at least 1, or None, not {concurrency!r}")
        return self._register(event, handler, manual_ack=manual_ack, typed=typed, concurrency=concurrency)

    @overload
    def once(
        self, event: str | float, handler: None = None, *, manual_ack: bool = False, typed: bool = False
    ) -> Callable[[H], H]: ...
    @overload
    def once(self, event: str | float, handler: Handler, *, manual_ack: bool = False, typed: bool = False) -> Self: ...
    def once(
        self, event: str | float, handler: Handler | None = None, *, manual_ack: bool = False, typed: bool = False
    ) -> Callable[[H], H] | Self:
        """As `on`, but for the next such event only."""
        return self._register(event, handler, manual_ack=manual_ack, typed=typed, once=True)

    def off(self, event: str | float | None = None, handler: Handler | None = None) -> Self:
        """Remove a handler of an event, all handlers of an event, or all there are. One that is not there is no error."""
        if event is None and handler is not None:
            raise OptionError("off() takes the event of the handler, too")
        with self._changing():
            self._listeners.remove(event, handler)
        return self

    def listeners(self, event: str | float) -> list[Handler]:
        """The handlers of an event, in the order in which they are called."""
        return [listener.handler for listener in self._listeners.get(event_name(event))]

    def _changing(self) -> AbstractContextManager[None]:
        """What is held while the listeners change."""
        return nullcontext()

    def _register(
        self,
        event: str | float,
        handler: Handler | None,
        *,
        manual_ack: bool,
        typed: bool,
        once: bool = False,
        concurrency: int | None = None,
    ) -> Callable[[H], H] | Self:
        name = event_name(event)
        if not isinstance(typed, bool):
            raise OptionError(f"typed takes True or False, not {typed!r}")

        def add(handler: Handler) -> None:
            listener = Listener(handler, once=once, concurrency=concurrency, manual_ack=manual_ack)
            if typed:
                listener.call = _converting(handler, name, manual_ack=manual_ack)
            with self._changing():
                self._listeners.add(name, listener)

        def register(handler: H) -> H:
            add(handler)
            return handler

        if handler is None:
            return register
        add(handler)
        return self


class ListeningToAny(Listening):
    """The same for handlers of any event, received or sent (not of the connection's life).

    What registers one of these returns the handler, so that it is a decorator with and without parentheses.
    """

    @overload
    def on_any(self, handler: None = None) -> Callable[[H], H]: ...
    @overload
    def on_any(self, handler: H) -> H: ...
    def on_any(self, handler: H | None = None) -> Callable[[H], H] | H:
        """Have `handler(event, *values)` called for each event from the server, before the event's own handlers.

        What it returns is no acknowledgement.

        Returns:
            The handler; without one, a decorator. So both `@socket.on_any` and `@socket.on_any()` leave the function
            what it is.
        """
        return self._register_any(self._listeners.any, handler, first=False)

    @overload
    def prepend_any(self, handler: None = None) -> Callable[[H], H]: ...
    @overload
    def prepend_any(self, handler: H) -> H: ...
    def prepend_any(self, handler: H | None = None) -> Callable[[H], H] | H:
        """As `on_any`, but before those that are registered already."""
        return self._register_any(self._listeners.any, handler, first=True)

    def off_any(self, handler: Handler | None = None) -> Self:
        """Remove the first registration of a handler by `on_any` or `prepend_any`, or all there are."""
        with self._changing():
            self._listeners.any.remove(handler)
        return self

    def listeners_any(self) -> list[Handler]:
        """The handlers of any event, in the order in which they are called."""
        return self._listeners.any.handlers()

    @overload
    def on_any_outgoing(self, handler: None = None) -> Callable[[H], H]: ...
    @overload
    def on_any_outgoing(self, handler: H) -> H: ...
    def on_any_outgoing(self, handler: H | None = None) -> Callable[[H], H] | H:
        """Have `handler(event, *values)` called for each event that is sent to the server.

        It is called when the event has gone to the connection: not while it is buffered, not if it is dropped, and
        under `retries` at each try. Acknowledgements are no events. It takes its turn among the other handlers, so it
        cannot change what is sent; when as many wait for it as `inbox_events` or `inbox_bytes` allow, further ones are
        left out, and an `InboxOverflow` goes to `on_handler_error`.

        Returns:
            The handler, or a decorator: see `on_any`.
        """
        return self._register_any(self._listeners.outgoing, handler, first=False)

    @overload
    def prepend_any_outgoing(self, handler: None = None) -> Callable[[H], H]: ...
    @overload
    def prepend_any_outgoing(self, handler: H) -> H: ...
    def prepend_any_outgoing(self, handler: H | None = None) -> Callable[[H], H] | H:
        """As `on_any_outgoing`, but before those that are registered already."""
        return self._register_any(self._listeners.outgoing, handler, first=True)

    def off_any_outgoing(self, handler: Handler | None = None) -> Self:
        """Remove the first registration by `on_any_outgoing` or `prepend_any_outgoing`, or all there are."""
        with self._changing():
            self._listeners.outgoing.remove(handler)
        return self

    def listeners_any_outgoing(self) -> list[Handler]:
        """The handlers of what is sent, in the order in which they are called."""
        return self._listeners.outgoing.handlers()

    def _register_any(self, listeners: AnyListeners, handler: H | None, *, first: bool) -> Callable[[H], H] | H:
        def register(handler: H) -> H:
            with self._changing():
                listeners.add(handler, first=first)
            return handler

        return register if handler is None else register(handler)


def _converting(handler: Handler, event: str, *, manual_ack: bool) -> Handler:
    """The handler behind what converts its arguments. Raises OptionError where they cannot be converted."""
    try:
        from .typed import converting  # noqa: PLC0415  # an extra, which takes a while to import
    except ImportError as error:
        raise OptionError("typed needs pydantic: pip install 'sansio-socketio[typed]'") from error
    return converting(handler, event, manual_ack=manual_ack)


def _arity(handler: Handler) -> tuple[int, int | None]:
    """How many positional arguments a handler needs, and can take (None: any number).

    Raises:
        OptionError: It cannot be called with positional arguments alone.
    """
    if not callable(handler):
        raise OptionError(f"a handler must be callable; {handler!r} is not")
    try:
        parameters = signature(handler).parameters.values()
    except (TypeError, ValueError):  # some builtins do not tell
        return 0, None
    for parameter in parameters:
        if parameter.kind is Parameter.KEYWORD_ONLY and parameter.default is Parameter.empty:
            raise OptionError(f"handler {name_of(handler)} needs the keyword {parameter.name}, which no event gives")
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    least = sum(parameter.default is Parameter.empty for parameter in positional)
    takes_all = any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters)
    return least, None if takes_all else len(positional)
