"""Read the answers that decide about a join: the application's about `auth`, and the server's to CONNECT."""

from __future__ import annotations

from typing import Any, Final

from .errors import ConnectError, chained
from .options import answer_error
from .packets.engineio import VERSION_2
from .packets.socketio import Packet

V2_SERVER: Final = f"the server accepted the namespace without a session id, {VERSION_2}"
"""The error if the server accepts a namespace without an id of the socket."""


def auth_error(value: Any) -> ConnectError | None:
    """Return the error of an invalid answer for `auth`, or None. A ConnectError of the application is returned unchanged."""
    error = answer_error("auth", value)
    if error is None or isinstance(error, ConnectError):
        return error
    return chained(ConnectError(f"auth failed: {error}"), error)


def session_id(packet: Packet) -> str | None:
    """Return the id of the socket in a CONNECT packet, or None (as from a server of Socket.IO 2)."""
    sid = packet.data.get("sid") if isinstance(packet.data, dict) else None
    return sid if isinstance(sid, str) and sid else None


def refusal(namespace: str, data: Any) -> ConnectError:
    """Return the error for a CONNECT_ERROR, whose payload is an object or (from older servers) a string."""
    if isinstance(data, dict):
        return ConnectError(str(data.get("message", "")), data.get("data"), namespace=namespace)
    return ConnectError(str(data), namespace=namespace)
