"""Doubles of both ends of a stream, for tests of what is between them: a stream that records what is written, and a receiver that
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
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.end is None
        self.written += data
        self.writes += 1

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"


class Receiver:
    """The receiver of a stream.

    Attributes:
        history: All notifications: "opened", "sent", data as bytes, and ("failed", error) or ("closed", error).
        data: All data.
        error: The error of `failed` or `closed`.
        steps: The notifications of progress.
        on_opened: Called at the end of `opened`.
        on_received: Called at the end of `received`.
    """

    def __init__(self) -> None:
        self.history: list[Any] = []
        self.data = bytearray()
        self.error: Exception | None = None
        self.steps: list[str] = []
        self.on_opened: Callable[[], None] = lambda: None
        self.on_received: Callable[[], object] = lambda: None

    @property
    def pieces(self) -> list[bytes]:
        return [entry for entry in self.history if isinstance(entry, bytes)]

    @property
    def log(self) -> list[str]:
        """The names of the notifications, without those of data."""
        return [self.name_of(entry) for entry in self.history if not isinstance(entry, bytes)]

    @staticmethod
    def name_of(entry: Any) -> str:
        """Return the name of the notification that an entry of the history is of."""
        return "received" if isinstance(entry, bytes) else str(entry[0] if isinstance(entry, tuple) else entry)

    def progress(self, progress: str) -> None:
        self.steps.append(progress)

    def opened(self) -> None:
        self.history.append("opened")
        self.on_opened()

    def failed(self, error: Exception) -> None:
        self.error = error
        self.history.append(("failed", error))

    def received(self, data: bytes | bytearray | memoryview) -> None:
        self.history.append(bytes(data))
        self.data += data
        self.on_received()

    def sent(self) -> None:
        self.history.append("sent")

    def closed(self, error: Exception | None) -> None:
        self.error = error
        self.history.append(("closed", error))
