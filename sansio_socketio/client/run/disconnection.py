"""How a socket was disconnected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ...protocol.errors import ConnectError, DisconnectedError
from ...protocol.events import DisconnectReason


@dataclass(frozen=True, slots=True)
class Disconnection:
    """How a socket was disconnected, `socket.close_reason`.

    Attributes:
        reason: The reason of the last `disconnect` event; "connect error" if the client has given up because the server
            refused the socket or could not be reached; "io client disconnect" if the application has disconnected it.
        details: The error that caused it (for "connect error" the ConnectError), or None.
        final: Whether the client has stopped trying to connect the socket. If not, it reconnects automatically.
    """

    reason: DisconnectReason | Literal["connect error"]
    details: Exception | None = None
    final: bool = True

    @property
    def why(self) -> str:
        """The reason and the details, for messages."""
        return self.reason if self.details is None else f"{self.reason}: {self.details}"

    def error(self, name: str) -> DisconnectedError | None:
        """Return the error for the end of the namespace `name`, or None if the application has ended it."""
        if self == BY_APPLICATION or (self.reason == "forced close" and self.details is None):
            return None
        why = (
            self.details.message if isinstance(self.details, ConnectError) else self.details
        )  # it does not repeat the name
        how = f"could not be connected: {why}" if self.reason == "connect error" else f"was disconnected: {self.why}"
        error = DisconnectedError(f"{name} {how}", self.reason)
        error.__cause__ = self.details
        return error


BY_APPLICATION: Final = Disconnection("io client disconnect")
"""The application has disconnected the socket, or the block of the Manager has ended."""
