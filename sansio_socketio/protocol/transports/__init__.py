"""The transports that carry the packets of a session, by their names in the protocol.

See `base` for the contract between a session and its transports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .base import CloseReason, Endpoint, Session, Transport
from .polling import PollingTransport
from .websocket import WebSocketTransport

__all__ = [
    "TRANSPORT_CLASSES",
    "CloseReason",
    "Endpoint",
    "PollingTransport",
    "Session",
    "Transport",
    "WebSocketTransport",
]

TRANSPORT_CLASSES: Final[Mapping[str, type[Transport]]] = {
    transport.name: transport for transport in (PollingTransport, WebSocketTransport)
}
"""The class of each transport by its name."""
