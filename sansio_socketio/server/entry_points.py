"""The functions of the server that applications call, for drivers that must do something about all of them."""

from __future__ import annotations

from collections.abc import Iterator

from ..running.entry_points import EntryPoint, functions_of
from .remote import RemoteClient, RemoteEmitter
from .scopes import Servers
from .server import Server, ServerNamespace


def entry_points() -> Iterator[EntryPoint]:
    """Yield the functions of the server that applications call."""
    return functions_of((RemoteClient, RemoteEmitter, Server, ServerNamespace, Servers))
