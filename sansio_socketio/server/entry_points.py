"""The classes of the server that applications call, for drivers that must do something about all of their functions."""

from __future__ import annotations

from typing import Final

from .remote import RemoteClient, RemoteEmitter
from .scopes import Servers
from .server import Server, ServerNamespace

ENTRY_CLASSES: Final[tuple[type, ...]] = (RemoteClient, RemoteEmitter, Server, ServerNamespace, Servers)
"""The argument for `client.entry_points.entry_points`."""
