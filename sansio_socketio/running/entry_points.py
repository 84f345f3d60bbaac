"""The functions of classes that applications call, for drivers that must do something about all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any


@dataclass(slots=True)
class EntryPoint:
    """A function that is called by applications, with the attribute of functions that trio's decorators use."""

    __code__: CodeType


def functions_of(classes: Sequence[type]) -> Iterator[EntryPoint]:
    """Yield the public methods and properties of classes, and the functions that they return."""
    for owner in classes:
        for attribute in vars(owner).values():
            for function in _functions(attribute):
                yield from map(EntryPoint, _nested(function.__code__))


def _functions(attribute: Any) -> Iterator[FunctionType]:
    if isinstance(attribute, property):
        for accessor in (attribute.fget, attribute.fset):
            if accessor is not None:
                yield from _functions(accessor)
    elif isinstance(attribute, FunctionType):
        yield attribute
        wrapped: Any = unwrap(attribute)
        if wrapped is not attribute:
            yield wrapped


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
