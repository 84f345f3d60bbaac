"""Convert the values of an event to the types of the handler's annotations, and an acknowledgement, with pydantic.

Rules of this file:

- Annotations are evaluated once, at registration. If that fails, registration raises OptionError.
- Values are converted in the call of the handler. Errors of the conversion are reported like exceptions in the handler.
- The message of a PayloadError has the path of the mismatch and the expected type. It omits what the server has sent, which
  may be long or secret, because messages are logged: keys that the type does not declare, and parts of pydantic's texts. Names
  in it are truncated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from inspect import Parameter, signature, unwrap
from types import SimpleNamespace
from typing import Any, Final, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, PydanticKnownError

from ..protocol.errors import OptionError, PayloadError
from ..runtime.calls import name_of
from .registry import Handler

_MOST_MISMATCHES: Final = 5
"""The maximum number of mismatches in the cause of a PayloadError."""
_LONGEST: Final = 200
"""The maximum length of names and of pydantic's messages. Longer ones are truncated."""
_HIDDEN: Final = "…"
"""What is shown instead of a key that the type does not declare."""
_DECLARED_PLACES: Final = frozenset(
    [
        "actual_length",
        "class",
        "class_name",
        "decimal_places",
        "discriminator",
        "expected",
        "expected_plural",
        "expected_schemes",
        "expected_tags",
        "expected_version",
        "field_type",
        "ge",
        "gt",
        "le",
        "lt",
        "max_digits",
        "max_length",
        "min_length",
        "multiple_of",
        "pattern",
        "whole_digits",
    ]
)
"""The fields of pydantic's templates whose values come from the type. Other values may come from the input."""

_PLACES: Final = re.compile(r"\{(\w+)\}")
_MOST_ADAPTERS: Final = 256
"""The maximum number of types of acknowledgements whose adapters are kept, because making them is slow."""

_CONVERTED: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)


def converting(handler: Handler, event: str, *, manual_ack: bool) -> Handler:
    """Return a function that converts its arguments (with `manual_ack`, all but the last) and calls the handler.

    Raises:
        OptionError: The handler has no signature, or pydantic does not support an annotation.
    """
    parameters = [each for each in _signature(handler) if each.kind in _CONVERTED]
    if manual_ack and parameters[-1].kind is not Parameter.VAR_POSITIONAL:
        parameters.pop()  # the acknowledgement function
    targets = [_Target(parameter, index, handler, event) for index, parameter in enumerate(parameters)]

    def call(*values: Any) -> Any:
        end = len(values) - manual_ack
        converted = [
            targets[min(index, len(targets) - 1)].convert(value, index)  # the last one may be *args
            for index, value in enumerate(values[:end])
        ]
        return handler(*converted, *values[end:])

    return call


class _Target:
    """Converts the values for one parameter of a handler, if it is annotated."""

    __slots__ = ("_adapter", "_event", "_index", "_name", "_takes_all")

    def __init__(self, parameter: Parameter, index: int, handler: Handler, event: str) -> None:
        self._name = parameter.name
        self._index = index
        self._takes_all = parameter.kind is Parameter.VAR_POSITIONAL
        self._event = event
        self._adapter = None if parameter.annotation is Parameter.empty else _adapter(parameter, handler)

    def convert(self, value: Any, index: int) -> Any:
        """Return the converted value of the argument at `index`. Raise PayloadError if the value does not match."""
        if self._adapter is None:
            return value
        place = (self._name, index - self._index) if self._takes_all else (self._name,)
        return _convert(value, self._adapter, place, self._event, "event")


def converting_ack(result: Any, event: str) -> Callable[[Any], Any]:
    """Return a function that converts the acknowledgement of an event to the type `result`, or raises PayloadError.

    Raises:
        OptionError: pydantic does not support the type.
    """
    try:
        adapter = _result_adapter(result)
    except TypeError:  # it cannot be hashed
        adapter = _result_adapter.__wrapped__(result)
    return lambda value: _convert(value, adapter, ("result",), event, "acknowledgement of event")


@lru_cache(maxsize=_MOST_ADAPTERS)
def _result_adapter(result: Any) -> TypeAdapter[Any]:
    try:
        return _complete(TypeAdapter(result))
    except Exception as error:  # pydantic calls code of the type
        why = _first_line(error)
        raise OptionError(f"result takes a type that pydantic supports, not {_cut(repr(result))}: {why}") from error


def _convert(value: Any, adapter: TypeAdapter[Any], place: tuple[str | int, ...], event: str, subject: str) -> Any:
    """Return the converted value. Raise PayloadError if it does not match; `place` is the beginning of its path."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        mismatch = _abridged(error, place, value, _declared(adapter))
        more = error.error_count() - 1
    first = mismatch.errors()[0]
    path = _path(first["loc"])
    wanted = first["msg"] + f" (and {more} more)" * bool(more)
    raise PayloadError(f"{subject} {event!r}, {path}: {wanted}", event=event, path=path) from mismatch


def _signature(handler: Handler) -> list[Parameter]:
    try:
        return list(signature(handler).parameters.values())
    except (TypeError, ValueError) as error:
        raise OptionError(f"typed needs a handler with a signature; {name_of(handler)} has none") from error


def _adapter(parameter: Parameter, handler: Handler) -> TypeAdapter[Any]:
    hint = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        annotation = get_type_hints(hint, _globals(handler), include_extras=True)[parameter.name]
        return _complete(TypeAdapter(annotation))
    except Exception as error:  # evaluating an annotation may raise any exception
        why = _first_line(error)
        raise OptionError(
            f"typed cannot use the annotation of the parameter {parameter.name} of handler {name_of(handler)}: {why}"
        ) from error


def _complete(adapter: TypeAdapter[Any]) -> TypeAdapter[Any]:
    if not adapter.pydantic_complete:  # a forward reference could not be resolved
        adapter.rebuild()
    return adapter


def _first_line(error: Exception) -> str:
    return _cut(str(error).partition("\n")[0])


def _globals(handler: Any) -> dict[str, Any]:
    """Return the globals of the module in which a handler is defined, to evaluate its annotations."""
    function = unwrap(handler)
    while isinstance(function, partial):
        function = unwrap(function.func)
    if isinstance(function, type):
        function = function.__init__  # type: ignore[misc]  # only its globals are used
    elif not hasattr(function, "__globals__"):
        function = function.__call__
    return getattr(unwrap(function), "__globals__", {})


def _abridged(
    error: ValidationError, place: tuple[str | int, ...], value: Any, declared: frozenset[str]
) -> ValidationError:
    """Return a copy of the error whose paths begin with `place`, truncated, and whose texts omit what is in the value."""
    mismatches = [
        InitErrorDetails(
            type=PydanticCustomError(
                mismatch["type"],  # pyright: ignore[reportArgumentType]
                _cut(_text(mismatch)),  # pyright: ignore[reportArgumentType]
                {"message": _cut(mismatch["msg"])},  # not shown, only for programs
            ),
            loc=(*place, *_shown(mismatch["loc"], value, declared)),
            input=mismatch["input"],
        )
        for mismatch in error.errors(include_url=False)[:_MOST_MISMATCHES]
    ]
    return ValidationError.from_exception_data(_cut(error.title), mismatches, hide_input=True)


def _text(mismatch: ErrorDetails) -> str:
    """Return pydantic's text of a mismatch, up to the first part that may come from the input."""
    kind, values = mismatch["type"], mismatch.get("ctx", {})
    if kind == "union_tag_invalid":
        return f"{values['discriminator']} should be one of the expected tags: {values['expected_tags']}"
    try:
        template = PydanticKnownError(kind, values).message_template  # type: ignore[arg-type]
    except KeyError:  # of a validator in Python code
        return f"Input is invalid ({kind})"
    if _DECLARED_PLACES.issuperset(_PLACES.findall(template)):
        return mismatch["msg"]
    return template.partition("{")[0].rstrip(" ,:")


def _shown(place: tuple[int | str, ...], value: Any, declared: frozenset[str]) -> Iterator[int | str]:
    """Yield the path of a mismatch, without keys of the value that the type does not declare."""
    for key in place:
        if isinstance(value, (list, tuple)) and isinstance(key, int):
            yield key
            value = value[key] if key < len(value) else None
        elif isinstance(value, dict) and key in value:
            yield _cut(str(key)) if key in declared else _HIDDEN
            value = value[key]
        else:  # a field that is missing, or a part of the type, such as a member of a union
            yield key if isinstance(key, int) else _cut(key)


@lru_cache(maxsize=_MOST_ADAPTERS)
def _declared(adapter: TypeAdapter[Any]) -> frozenset[str]:
    """Return the names and aliases of all fields of a type."""
    return frozenset(_names(adapter.core_schema))


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, (list, tuple)):
        for each in schema:
            yield from _names(each)
    elif isinstance(schema, dict):
        for key, each in schema.items():
            if key == "fields":
                yield from (field["name"] if isinstance(field, dict) else field for field in each)
            if key == "validation_alias":
                yield from _texts(each)
            elif key != "metadata":
                yield from _names(each)


def _texts(alias: Any) -> Iterator[str]:
    """Yield the names in an alias: a name, a path of names and indices, or several paths."""
    if isinstance(alias, str):
        yield alias
    elif isinstance(alias, list):
        for each in alias:
            yield from _texts(each)


def _path(place: tuple[str | int, ...]) -> str:
    """Return a path such as `positions[3].x`."""
    name, *keys = place
    return _cut(str(name) + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
