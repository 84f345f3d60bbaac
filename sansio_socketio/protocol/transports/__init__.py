"""The transports that carry the packets of an Engine.IO session.

`base` documents the contract between a session and its transports.
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
"""Maps the name of a built-in transport to its class."""
