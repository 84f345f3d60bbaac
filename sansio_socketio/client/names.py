"""The names that every driver's package has, whatever its runtime: the errors, and what events are.

A driver takes them all, so that no driver lacks one:

    from sansio_socketio.client import names
    from sansio_socketio.client.names import *

    __all__ = ["Manager", "connect", ...]
    __all__ += names.__all__
"""

from __future__ import annotations

from typing import Final

from ..protocol.errors import (
    AckTimeout,
    BufferFullError,
    ConnectError,
    DisconnectedError,
    OpenTimeout,
    OptionError,
    PacketError,
    PayloadError,
    SocketIOError,
    StateError,
    TransportError,
)
from ..protocol.events import EnginePacket
from ..protocol.packets.socketio import PROTOCOL
from ..protocol.statistics import Statistics
from .dispatch import Event, InboxOverflow
from .engine import EngineTransport

protocol: Final = PROTOCOL
"""The version of the Socket.IO protocol."""

__all__ = [
    "AckTimeout",
    "BufferFullError",
    "ConnectError",
    "DisconnectedError",
    "EnginePacket",
    "EngineTransport",
    "Event",
    "InboxOverflow",
    "OpenTimeout",
    "OptionError",
    "PacketError",
    "PayloadError",
    "SocketIOError",
    "StateError",
    "Statistics",
    "TransportError",
    "protocol",
]
