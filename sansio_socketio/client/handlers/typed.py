"""Typed handlers: the values of an event, converted to what the annotations of its handler say (by pydantic, an extra).

Rules of this file:

- What is converted, and how, is found out once, at registration. What cannot be found out is an OptionError there.
- Converting is a part of the call: it happens where the handler runs, and its errors are reported as the handler's.
- A PayloadError says where the mismatch is and what was wanted, and shows no value: it ends up in logs, and the server
  chooses how long a value is and how secret. Whatever else is shown (a key, a name) is cut off.
"""

from __future__ import annotations

from functools import partial
from inspect import Parameter, signature, unwrap
from types import SimpleNamespace
from typing import Any, Final, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ...protocol.errors import OptionError, PayloadError
from ...runtime.calls import name_of
from .registry import Handler

_MOST_MISMATCHES: Final = 5
"""How many of the mismatches of one value the cause of a PayloadError tells."""
_LONGEST: Final = 200
"""How many characters are shown of a key, and of what pydantic says."""

_CONVERTED: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)


def converting(handler: Handler, event: str, *, manual_ack: bool) -> Handler:
    """The handler behind a function that converts its arguments; with `manual_ack` all but the last.

    Raises:
        OptionError: The handler does not tell its parameters, or nothing can be converted to what one is annotated with.
    """
    parameters = [each for each in _signature(handler) if each.kind in _CONVERTED]
    if manual_ack and parameters[-1].kind is not Parameter.VAR_POSITIONAL:
        parameters.pop()  # that one is for the function that acknowledges
    targets = [_Target(parameter, index, handler, event) for index, parameter in enumerate(parameters)]

    def call(*values: Any) -> Any:
        end = len(values) - manual_ack
        converted = [
            targets[min(index, len(targets) - 1)].convert(value, index)  # the last one may take all that are left
            for index, value in enumerate(values[:end])
        ]
        return handler(*converted, *values[end:])

    return call


class _Target:
    """A parameter that values are converted for, if it is annotated."""

    __slots__ = ("_adapter", "_event", "_index", "_name", "_takes_all")

    def __init__(self, parameter: Parameter, index: int, handler: Handler, event: str) -> None:
        self._name = parameter.name
        self._index = index
        self._takes_all = parameter.kind is Parameter.VAR_POSITIONAL
        self._event = event
        self._adapter = None if parameter.annotation is Parameter.empty else _adapter(parameter, handler)

    def convert(self, value: Any, index: int) -> Any:
        """What the handler gets for the value at `index`. Raises PayloadError."""
        if self._adapter is None:
            return value
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            place = (self._name, index - self._index) if self._takes_all else (self._name,)
            mismatch = _in_short(error, place)
            more = error.error_count() - 1
        first = mismatch.errors()[0]
        path = _path(first["loc"])
        wanted = first["msg"] + f" (and {more} more)" * bool(more)
        message = f"event {self._event!r}, {path}: {wanted}"
        raise PayloadError(message, event=self._event, path=path) from mismatch


def _signature(handler: Handler) -> list[Parameter]:
    try:
        return list(signature(handler).parameters.values())
    except (TypeError, ValueError) as error:
        raise OptionError(f"typed needs a handler that tells its parameters; {name_of(handler)} does not") from error


def _adapter(parameter: Parameter, handler: Handler) -> TypeAdapter[Any]:
    hint = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        annotation = get_type_hints(hint, _globals(handler), include_extras=True)[parameter.name]
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        if not adapter.pydantic_complete:  # something that it refers to is not there (yet)
            adapter.rebuild()
    except Exception as error:  # whatever the evaluation of an annotation may raise
        why = _cut(str(error).partition("\n")[0])
        raise OptionError(
            f"typed cannot convert to the annotation of {parameter.name} of the handler {name_of(handler)}: {why}"
        ) from error
    return adapter


def _globals(handler: Any) -> dict[str, Any]:
    """The names that the annotations of a handler are written with."""
    function = unwrap(handler)
    while isinstance(function, partial):
        function = unwrap(function.func)
    if isinstance(function, type):
        function = function.__init__  # type: ignore[misc]  # any will do: what counts is where it is defined
    elif not hasattr(function, "__globals__"):
        function = function.__call__
    return getattr(unwrap(function), "__globals__", {})


def _in_short(error: ValidationError, place: tuple[str | int, ...]) -> ValidationError:
    """The same, from the parameter on, without values, and not longer than a log can bear."""
    mismatches = [
        InitErrorDetails(
            type=PydanticCustomError(mismatch["type"], _cut(mismatch["msg"])),  # pyright: ignore[reportArgumentType]
            loc=(*place, *(key if isinstance(key, int) else _cut(key) for key in mismatch["loc"])),
            input=mismatch["input"],
        )
        for mismatch in error.errors(include_url=False)[:_MOST_MISMATCHES]
    ]
    return ValidationError.from_exception_data(_cut(error.title), mismatches, hide_input=True)


def _path(place: tuple[str | int, ...]) -> str:
    """Such as `positions[3].x`."""
    name, *keys = place
    return _cut(str(name) + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
