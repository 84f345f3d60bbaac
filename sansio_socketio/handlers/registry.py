"""Handler registry: which handlers are registered for which event, and how they are called.

Rules of this file:

- A handler is called with as many positional arguments as it accepts. Its signature is inspected once, at registration.
- The handlers of an event are stored in a tuple that is replaced, not modified. So a handler may register or remove others
  during an iteration.
- An event name that is a number is equivalent to its text in JavaScript, so 1, 1.0 and "1" are one name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import Parameter, isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from math import inf
from typing import Any, Final

from ..protocol.errors import OptionError
from ..protocol.packets.values import number_text
from ..runtime.calls import name_of

Handler = Callable[..., Awaitable[Any] | Any]

LIFECYCLE_EVENTS: Final = {"connect": 1, "connect_error": 2, "disconnect": 3}
"""The events of a Socket that the client emits itself, and how many arguments their handlers receive with the `SocketState`."""

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class RegisteredHandler:
    """A registered handler and its options.

    Attributes:
        handler: The handler.
        call: The function to call: the handler, or a function that converts the arguments and calls the handler.
        required: The number of positional arguments that it requires.
        accepted: The number of positional arguments that it accepts; None for any number.
        once: Whether it is removed before its first call.
        manual_ack: Whether its last argument is the acknowledgement function.
        concurrency: The maximum number of concurrent calls; None for one call at a time, in order.
        is_async: Whether it is an async function. A plain function may return an awaitable as well.
        watched: The watched function of a plain handler (see `run.unawaited`); None before its first call.
    """

    __slots__ = ("accepted", "call", "concurrency", "handler", "is_async", "manual_ack", "once", "required", "watched")

    def __init__(
        self, handler: Handler, *, once: bool = False, concurrency: int | None = None, manual_ack: bool = False
    ) -> None:
        if concurrency is not None and not (type(concurrency) is int and concurrency >= 1):
            raise OptionError(f"concurrency takes a whole number of at least 1, or None, not {concurrency!r}")
        required, accepted = _arity(handler)
        if manual_ack:
            if accepted == 0:
                raise OptionError(f"manual_ack needs a handler that takes an argument; {name_of(handler)} takes none")
            required, accepted = max(0, required - 1), None if accepted is None else accepted - 1
        self.handler = self.call = handler
        self.required = required
        self.accepted = accepted
        self.once = once
        self.manual_ack = manual_ack
        self.concurrency = concurrency
        self.is_async = iscoroutinefunction(handler)
        self.watched: Any = None

    @property
    def name(self) -> str:
        """The name of the handler, for messages."""
        return name_of(self.handler)

    def fit(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values that the handler is called with, without the acknowledgement function.

        Raises:
            TypeError: The handler requires more values.
        """
        if len(values) < self.required:
            raise TypeError(
                f"too few values for handler {self.name}: it requires {self.required}, the event has {len(values)}"
            )
        accepted = self.accepted
        return values if accepted is None or len(values) <= accepted else values[:accepted]


class AnyHandlers:
    """The handlers of all received, or all sent, events.

    Args:
        changed: Called after each change.
    """

    __slots__ = ("_changed", "registered")

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        self.registered: tuple[RegisteredHandler, ...] = ()
        self._changed = changed

    def add(self, handler: RegisteredHandler, *, first: bool) -> None:
        """Register a handler before or after the others."""
        self._set((handler, *self.registered) if first else (*self.registered, handler))

    def remove(self, handler: Handler | None) -> None:
        """Remove the first registration of a handler, or all handlers."""
        self._set(() if handler is None else _without(self.registered, handler))

    def handlers(self) -> list[Handler]:
        """Return the handlers in the order in which they are called."""
        return [each.handler for each in self.registered]

    def _set(self, registered: tuple[RegisteredHandler, ...]) -> None:
        self.registered = registered
        if self._changed is not None:
            self._changed()


class HandlerRegistry:
    """The handlers of one object: by event, of all received events, and of all sent events.

    Args:
        known: The names of the existing events; None if any name is allowed.
        changed: Called after each change.
    """

    __slots__ = ("_by_event", "_changed", "any", "known", "outgoing")

    def __init__(self, known: frozenset[str] | None = None, *, changed: Callable[[], None] | None = None) -> None:
        self.known = known
        self.any = AnyHandlers()
        self.outgoing = AnyHandlers(changed)
        self._changed = changed
        self._by_event: dict[str, tuple[RegisteredHandler, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_event or self.any.registered or self.outgoing.registered)

    def get(self, event: str) -> tuple[RegisteredHandler, ...]:
        """Return the handlers of an event in the order of registration."""
        return self._by_event.get(event, ())

    def take(self, event: str) -> tuple[RegisteredHandler, ...]:
        """Return the handlers to call for an event, and remove those that were registered by `once`."""
        handlers = self._by_event.get(event, ())
        for each in handlers:
            if each.once:
                self._keep(event, tuple(other for other in self.get(event) if other is not each))
        return handlers

    def add(self, event: object, handler: RegisteredHandler) -> None:
        """Register a handler.

        Raises:
            OptionError: The event does not exist, or the handler's options do not apply to it.
        """
        name = event_name(event)
        if self.known is None:
            check_wildcard(name)
        else:
            if name not in self.known:
                raise OptionError(f"unknown event {name!r}; the events are {', '.join(sorted(self.known))}")
            if handler.concurrency is not None:
                raise OptionError(
                    f"concurrency does not apply to {name!r}: its handlers run concurrently once they have started"
                )
        if handler.required > LIFECYCLE_EVENTS.get(name, handler.required):
            raise OptionError(
                f"handler {handler.name} requires {handler.required} arguments; handlers of {name!r} receive at most "
                f"{LIFECYCLE_EVENTS[name]}, the last of which is the SocketState"
            )
        if self.known is not None or name in LIFECYCLE_EVENTS:
            if handler.manual_ack:
                raise OptionError(f"manual_ack does not apply to {name!r}: it is not acknowledged")
            if handler.call is not handler.handler:
                raise OptionError(f"typed does not apply to {name!r}: the server's application does not emit it")
        self._keep(name, (*self.get(name), handler))

    def remove(self, event: object, handler: Handler | None) -> None:
        """Remove the first registration of a handler, all handlers of an event, or all handlers of all events."""
        if event is None:
            for name in list(self._by_event):
                self._keep(name, ())
        else:
            name = event_name(event)
            self._keep(name, () if handler is None else _without(self.get(name), handler))

    def _keep(self, event: str, handlers: tuple[RegisteredHandler, ...]) -> None:
        if handlers:
            self._by_event[event] = handlers
        else:
            self._by_event.pop(event, None)
        if self._changed is not None:
            self._changed()


def event_name(event: object) -> str:
    """Return the name of an event as a str. Raise OptionError unless it is a str or a number."""
    if isinstance(event, str):
        return event
    if isinstance(event, (int, float)) and not isinstance(event, bool):
        try:
            return number_text(float(event))
        except OverflowError:  # JavaScript reads such a number as infinite
            return number_text(inf if event > 0 else -inf)
    if callable(event):
        name = name_of(event)
        raise OptionError(
            f"the event's name comes first, not the function {name}: write `@socket.on('name')` or on('name', f)"
        )
    raise OptionError(f"the name of an event must be a str or a number, not {event!r}")


def check_wildcard(name: str) -> None:
    """Raise OptionError for "*", which is a wildcard in python-socketio."""
    if name == "*":
        raise OptionError(
            "'*' is no wildcard: register the handler with on_any(), which passes it all events with their names"
        )


def _without(registered: tuple[RegisteredHandler, ...], handler: Handler) -> tuple[RegisteredHandler, ...]:
    for index, each in enumerate(registered):
        if each.handler == handler:
            return registered[:index] + registered[index + 1 :]
    return registered


def _arity(handler: Handler) -> tuple[int, int | None]:
    """Return how many positional arguments a handler requires and accepts (None: any number).

    Raises:
        OptionError: The handler is not callable, is a generator function, or requires a keyword argument.
    """
    if not callable(handler):
        raise OptionError(f"a handler must be callable; {handler!r} is not")
    if isgeneratorfunction(handler) or isasyncgenfunction(handler):
        raise OptionError(
            f"handler {name_of(handler)} is a generator function, whose body would not run: it contains yield"
        )
    try:
        parameters = signature(handler).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return 0, None
    for parameter in parameters:
        if parameter.kind is Parameter.KEYWORD_ONLY and parameter.default is Parameter.empty:
            raise OptionError(
                f"handler {name_of(handler)} requires the keyword argument {parameter.name}, which handlers do not receive"
            )
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    required = sum(parameter.default is Parameter.empty for parameter in positional)
    accepts_all = any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters)
    return required, None if accepts_all else len(positional)
