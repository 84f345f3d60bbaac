"""Doubles of both ends of a stream, for what is between them: a stream that records what is written, and a receiver that
records what it is notified of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class PlainStream:
    """The runtime's stream."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.writes = 0
        self.end: str | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.end is None
        self.written += data
        self.writes += 1

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"


class Receiver:
    """The receiver of a stream.

    Attributes:
        history: All notifications: "opened", "sent", data as bytes, and ("failed", error) or ("closed", error).
        on_opened: Called at the end of `opened`.
        on_received: Called at the end of `received`.
    """

    def __init__(self) -> None:
        self.history: list[Any] = []
        self.error: Exception | None = None
        self.on_opened: Callable[[], None] = lambda: None
        self.on_received: Callable[[], object] = lambda: None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def pieces(self) -> list[bytes]:
        return [entry for entry in self.history if isinstance(entry, bytes)]

    @property
    def log(self) -> list[str]:
        """The names of the notifications, without those of data."""
        names = (entry[0] if isinstance(entry, tuple) else entry for entry in self.history)
        return [name for name in names if isinstance(name, str)]

    def opened(self) -> None:
        self.history.append("opened")
        self.on_opened()

    def failed(self, error: Exception) -> None:
        self.error = error
        self.history.append(("failed", error))

    def received(self, data: bytes | bytearray | memoryview) -> None:
        self.history.append(bytes(data))
        self.on_received()

    def sent(self) -> None:
        self.history.append("sent")

    def closed(self, error: Exception | None) -> None:
        self.error = error
        self.history.append(("closed", error))
