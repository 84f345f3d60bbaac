"""How errors describe what a peer has sent.

Rules of this file:

- Errors are logged, and packets have the data of users. So an error about a packet shows what kind of data was found, its
  size and the position of the fault, never its contents. There are two exceptions: the first character of a packet, which is
  its type, and numbers in the fields that the protocol defines.
"""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as short
from typing import Any, Final

_KINDS: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    bytes: "binary data",
    list: "an array",
    dict: "an object",
}


def kind_of(value: Any) -> str:
    """Return what kind of data a decoded value is, such as "an object"."""
    return "an empty string" if value == "" else _KINDS.get(type(value), f"a {type(value).__name__}")


def field_value(value: Any) -> str:
    """Return a number in a field of the protocol as it is, or the kind of any other value."""
    return short(value) if type(value) in (int, float) else kind_of(value)
