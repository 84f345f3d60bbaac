"""The functions of the client that applications call, for drivers that must do something about all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any

from .context import EnteredOnce
from .emitter import Emitter, EventStream
from .engine import Engine
from .handlers.registration import AnyHandlerRegistration, HandlerRegistration, Registration
from .manager import Manager, ManagerBase, Socket
from .run.replies import Acknowledge
from .scopes import IO

_CLASSES = (
    Acknowledge,
    AnyHandlerRegistration,
    Emitter,
    EnteredOnce,
    Engine,
    EventStream,
    HandlerRegistration,
    IO,
    Manager,
    ManagerBase,
    Registration,
    Socket,
)


@dataclass(slots=True)
class EntryPoint:
    """A function that is called by applications, with the attribute of functions that trio's decorators use."""

    __code__: CodeType


def entry_points(classes: Sequence[type] = _CLASSES) -> Iterator[EntryPoint]:
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
