"""The public names that are independent of the runtime. `sansio_socketio` and every driver export them."""

from __future__ import annotations

from .client.run.disconnection import Disconnection
from .client.run.session import EngineTransport
from .client.run.socket_state import SocketState
from .handlers.event_type import EventType
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
from .running.event_stream import Event, InboxOverflow

__all__ = [
    "AckTimeout",
    "BufferFullError",
    "ConnectError",
    "DisconnectedError",
    "Disconnection",
    "EnginePacket",
    "EngineTransport",
    "Event",
    "EventType",
    "InboxOverflow",
    "OpenTimeout",
    "OptionError",
    "PacketError",
    "PayloadError",
    "SocketIOError",
    "SocketState",
    "StateError",
    "Statistics",
    "TransportError",
]
