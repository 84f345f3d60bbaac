"""`EventType`: the name of an event, with the types of its values and of its acknowledgement for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple

Values = TypeVarTuple("Values")
"""The types of the values of an event."""
Ack = TypeVar("Ack")
"""The type of the acknowledgement of an event."""
Result = TypeVar("Result")
"""The type to which the acknowledgement of an event is converted."""
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
