"""`EventType`: the name of an event, with the types of its values and of its acknowledgement for type checkers.

Rules of this file:

- `EventType` has, for type checkers only, a method for each kind of call that sends the event, with the call's parameters.
- The protocols (`Emits`, …) have these parameters as a ParamSpec. From a ParamSpec, mypy and pyright know the expected type of
  each value, so that they infer literals such as `{"x": 1}` as the declared types. A TypeVarTuple would not do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, TypeVarTuple

Values = TypeVarTuple("Values")
"""The types of the values of an event."""
Call = ParamSpec("Call")
"""The parameters of a call that sends an event: its values, and keyword arguments."""
Ack = TypeVar("Ack")
"""The type of the acknowledgement of an event."""
Result = TypeVar("Result")
"""The type to which the acknowledgement of an event is converted."""
_Ack_co = TypeVar("_Ack_co", covariant=True)
_Values = TypeVar("_Values", bound=tuple[Any, ...])

if TYPE_CHECKING:
    _Name = object  # so that an EventType does not match parameters of the type str
else:
    _Name = str


class EventType(Generic[_Values, Ack], _Name):  # noqa: PYI059  # for type checkers, object must be last
    """The name of an event, with the types of its values and of its acknowledgement for type checkers.

    `EventType[tuple[float, float], bool]("move")` is the event "move" with two values, whose acknowledgement has one value.
    For an event that is not acknowledged the second type is None.

    It can be passed instead of the name. Type checkers then check the values of `emit`, the parameters and the result of
    handlers, and infer the result of `emit_with_ack`. At run time it is a str: nothing is checked or converted.

    Args:
        name: The event's name.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(self, name: str) -> None: ...

        def _emits(
            self: EventType[tuple[*Values], Any], *values: *Values, ack: Callable[..., Any] | None = None
        ) -> None: ...

        def _emits_blocking(
            self: EventType[tuple[*Values], Any],
            *values: *Values,
            ack: Callable[..., Any] | None = None,
            timeout: float | None = None,
        ) -> None: ...

        def _asks(self: EventType[tuple[*Values], Ack], *values: *Values) -> Ack: ...

        def _asks_blocking(
            self: EventType[tuple[*Values], Ack], *values: *Values, timeout: float | None = None
        ) -> Ack: ...

        def _converts(self: EventType[tuple[*Values], Any], *values: *Values, result: object) -> None: ...

        def _converts_blocking(
            self: EventType[tuple[*Values], Any], *values: *Values, result: object, timeout: float | None = None
        ) -> None: ...


class Emits(Protocol[Call]):
    """An EventType, for `emit` and `emit_nowait`."""

    def _emits(self, *values: Call.args, **options: Call.kwargs) -> None: ...


class EmitsBlocking(Protocol[Call]):
    """An EventType, for the `emit` that blocks."""

    def _emits_blocking(self, *values: Call.args, **options: Call.kwargs) -> None: ...


class Asks(Protocol[Call, _Ack_co]):
    """An EventType, for `emit_with_ack`."""

    def _asks(self, *values: Call.args, **options: Call.kwargs) -> _Ack_co: ...


class AsksBlocking(Protocol[Call, _Ack_co]):
    """An EventType, for the `emit_with_ack` that blocks."""

    def _asks_blocking(self, *values: Call.args, **options: Call.kwargs) -> _Ack_co: ...


class Converts(Protocol[Call]):
    """An EventType, for `emit_with_ack` with `result`."""

    def _converts(self, *values: Call.args, **options: Call.kwargs) -> None: ...


class ConvertsBlocking(Protocol[Call]):
    """An EventType, for the `emit_with_ack` that blocks, with `result`."""

    def _converts_blocking(self, *values: Call.args, **options: Call.kwargs) -> None: ...
