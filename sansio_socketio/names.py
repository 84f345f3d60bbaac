"""The public names that do not depend on a runtime. Every package of this library exports them."""

from __future__ import annotations

from .client.run.event_stream import Event, InboxOverflow
from .client.run.session import EngineTransport
from .protocol.errors import (
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
from .protocol.events import EnginePacket
from .protocol.statistics import Statistics

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
]
