"""Doubles of both ends of a stream, for what lies between them: a stream that keeps what is written, a receiver that keeps
what it is told.
"""

from __future__ import annotations

from collections.abc import Callable


class PlainStream:
    """The runtime's stream: keeps what is written."""

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
    """The hub's side: keeps what is told."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.pieces: list[bytes] = []
        self.error: Exception | None = None
        self.on_opened: Callable[[], None] = lambda: None
        self.on_received: Callable[[], None] = lambda: None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def opened(self) -> None:
        self.log.append("opened")
        self.on_opened()

    def failed(self, error: Exception) -> None:
        self.log.append("failed")
        self.error = error

    def received(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))
        self.on_received()

    def sent(self) -> None:
        self.log.append("sent")

    def closed(self, error: Exception | None) -> None:
        self.log.append("closed")
        self.error = error
