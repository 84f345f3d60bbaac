"""Conversion of Python values to plain values, for all formats of packets.

Rules of this file:

- Plain values are dicts with keys of type str, lists, and what a format's function `leaf` returns for anything else.
- Values are converted as in JavaScript: tuples become arrays, the keys 1, 1.0, True and None become "1", "1", "true" and
  "null". `array.array` is binary, like a typed array. In addition, a dataclass becomes an object of its fields, a pydantic
  model the result of its `model_dump`, an Enum its value, a numpy scalar a number; dates, times and UUIDs become strings.
  The same applies to keys. A value without an equivalent (a set) raises PacketError.
- Nothing recurses over values: the accepted depth of nesting is `MAX_LEVELS`, whatever the Python version and the depth of
  the caller's stack. A value that contains itself exceeds it.
- The fast paths of the formats do not need this module, except for single values. `convert` is the second pass, which finds
  the path of a value that cannot be sent.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite, isnan
from numbers import Number
from reprlib import repr as short  # a peer chooses how deep and how long a value is
from typing import Any, Final

import orjson

from ..errors import PacketError

MAX_LEVELS: Final = 4001
"""The accepted levels of arrays and objects in a packet: values nested 4,000 deep, in the array of the packet."""

BINARY: Final = (bytes, bytearray, memoryview, array)
"""The types that are sent as binary data."""

_ATOMS: Final = frozenset((str, int, float, bool, type(None), bytes))
_NUMPY_KINDS: Final[dict[Any, Callable[[Any], Any]]] = {"b": bool, "i": int, "u": int, "f": float}
_MOST_STEPS: Final = 10
"""The steps of a path that are shown in a message."""


def convert(leaf: Callable[[Any], Any], data: Any, first: int | None) -> Any:
    """Return the data of a packet as a plain value.

    Args:
        leaf: Converts a value that is not a container, and the names of properties.
        data: The data of the packet.
        first: The number of the first item of the data, for messages: 0 for the name of an event, which the values 1, 2
            and so on follow, and 1 for an acknowledgement. None for the auth of a CONNECT packet.

    Raises:
        PacketError: A value cannot be sent. The message has its path.
    """
    root: list[Any] = []
    stack: list[tuple[Any, Iterator[tuple[Any, Any]]]] = [(root, iter([(None, data)]))]
    path: list[Any] = []  # the key of each container on the stack, except for `root`, and the key of `value`
    value: Any = None
    try:
        while stack:
            container, items = stack[-1]
            kind = type(container)
            for key, value in items:
                name = leaf(property_name(key)) if kind is dict else None
                path.append(key)
                contents = None
                if type(value) not in _ATOMS:
                    value = unwrap(value)  # noqa: PLW2901
                    contents = contents_of(value)
                converted = leaf(value) if contents is None else contents[0]()
                if name is None:
                    container.append(converted)
                else:
                    container[name] = converted
                # The placeholder of binary data counts as well.
                if len(stack) > MAX_LEVELS and isinstance(converted, (list, dict)):
                    raise PacketError(
                        f"a value that contains itself, or is nested too deeply (more than {MAX_LEVELS - 1} levels), "
                        "cannot be sent"
                    )
                if contents is not None:
                    stack.append((converted, iter(contents[1])))
                    break
                path.pop()
            else:
                stack.pop()
                del path[-1:]
    except Exception as error:
        is_callback = first == 0 and len(path) == 2 and callable(value) and not isinstance(value, type)
        raise PacketError(f"{_where(first, path)}: {_reason(error, value, is_callback=is_callback)}") from error
    return root[0]


def unwrap(value: Any) -> Any:
    """Return the value of an Enum, the dump of a pydantic model, and any other value as it is."""
    if callable(getattr(type(value), "model_dump", None)):
        try:
            value = value.model_dump(by_alias=True)
        except Exception as error:
            raise PacketError(
                f"a {type(value).__qualname__} cannot be sent: its model_dump() raised {type(error).__name__}"
            ) from error
    while isinstance(value, Enum):
        value = value.value
    return value


def contents_of(value: Any) -> tuple[type[list[Any] | dict[Any, Any]], Iterable[tuple[Any, Any]]] | None:
    """Return the plain type of a container and its items with their keys, or None for any other value."""
    if isinstance(value, (list, tuple)):
        return list, enumerate(value)
    if isinstance(value, Mapping):
        return dict, value.items()
    if is_dataclass(value) and not isinstance(value, type):
        return dict, ((each.name, getattr(value, each.name)) for each in fields(value))
    return None


def scalar(value: Any) -> Any:
    """Return a value that is neither binary nor a container as None, a bool, an int, a float or a str.

    Raises:
        PacketError: The type is not supported.
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return float(value)
    if getattr(value, "shape", None) == () and (kind := getattr(value.dtype, "kind", None)) in _NUMPY_KINDS:
        return _NUMPY_KINDS[kind](value)
    try:
        text = orjson.loads(orjson.dumps(value))
    except orjson.JSONEncodeError:
        text = None
    if isinstance(text, str):  # a date, a time or a UUID
        return text
    raise PacketError(f"a value of type {type(value).__qualname__} cannot be sent; {_advice(value)}")


def property_name(key: Any) -> str:
    """Return the name of the JavaScript property for a key of a dict: that of the key as a value, as a string."""
    if isinstance(key, str) and not isinstance(key, Enum):
        return key
    try:
        name = scalar(unwrap(key))
        if name is None:
            return "null"
        if isinstance(name, bool):
            return "true" if name else "false"
        return name if isinstance(name, str) else number_text(name)
    except PacketError:
        raise PacketError(
            "a key of a dict must be a str, a number, a bool, None, an Enum, a date, a time or a UUID, "
            f"not a {type(key).__qualname__}; convert it to a str"
        ) from None
    except ValueError as error:  # thousands of digits
        raise PacketError(f"a key of a dict cannot be sent: {error}") from None


def number_text(number: float) -> str:
    """Return a number as `String(number)` of JavaScript does, except that ints keep all their digits."""
    if isinstance(number, int):
        return int.__repr__(number)
    if not isfinite(number):
        return "NaN" if isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    text = float.__repr__(number).removesuffix(".0")
    if 1e-6 <= abs(number) < 1e21:
        return format(Decimal(text), "f")
    return text.replace("e-0", "e-")


def flatten(pieces: Callable[[Any], Iterator[Any]], container: Any) -> list[Any]:
    """Return what `pieces` yields for a plain container. A container among that is replaced by its own pieces."""
    flat: list[Any] = []
    stack = [pieces(container)]
    while stack:
        for piece in stack[-1]:
            if type(piece) in (list, dict):
                stack.append(pieces(piece))
                break
            flat.append(piece)
        else:
            stack.pop()
    return flat


# ---------------------------------------------------------------------------------------------------------------------
# Messages


def _where(first: int | None, path: Sequence[Any]) -> str:
    """Describe the place of a value: "value 2, ['user']['tags']". `path[0]` is not shown."""
    steps = path[1:]
    place = "auth" if first is None else "the values"
    if first is not None and steps:
        place = f"value {steps[0] + first}"
        steps = steps[1:]
    shown = [f"[{short(step)}]" for step in steps]
    if len(shown) > _MOST_STEPS:
        shown[_MOST_STEPS // 2 : -_MOST_STEPS // 2] = ["…"]
    return ", ".join(filter(None, (place, "".join(shown))))


def _reason(error: Exception, value: Any, *, is_callback: bool) -> str:
    if is_callback:
        return "a function cannot be sent; to receive the acknowledgement, pass it as ack=, or call emit_with_ack()"
    if isinstance(error, PacketError):
        return str(error)
    return f"a value of type {type(value).__qualname__} cannot be sent: {type(error).__name__}: {error}"


def _advice(value: Any) -> str:
    """Return what to do about a value of an unsupported type."""
    if isinstance(value, Awaitable):
        return "await it first"
    if getattr(value, "shape", None) and callable(getattr(value, "tobytes", None)):  # an array of numpy
        return "send its tolist(), or its tobytes() as binary data"
    if isinstance(value, Iterable):
        return "send a list of its items, list(value)"
    if isinstance(value, Number) and not isinstance(value, complex):
        return "send it as a float or as a str"
    if isinstance(value, timedelta):
        return "send its total_seconds()"
    if callable(getattr(value, "__fspath__", None)):
        return "send it as a str"
    return "supported are the types of JSON, dataclasses, pydantic models, bytes, bytearray, memoryview and array.array"
