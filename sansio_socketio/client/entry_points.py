"""The functions of the client that applications call, for drivers that must do something about all of them."""

from __future__ import annotations

from collections.abc import Iterator

from ..handlers.registration import Registration
from ..running.context import EnteredOnce
from ..running.entry_points import EntryPoint, functions_of
from ..running.replies import Acknowledge
from .emitter import Emitter, EventStream
from .engine import Engine
from .manager import Manager, ManagerBase, Socket
from .registration import AnyHandlerRegistration, HandlerRegistration
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


def entry_points() -> Iterator[EntryPoint]:
    """Yield the functions of the client that applications call."""
    return functions_of(_CLASSES)
