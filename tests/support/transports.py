"""Transports without bytes: the test makes them call their session, and checks the calls of the session.

They implement the contract of `transports.base`, and fail the test if the session violates it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NoReturn

from sansio_socketio.protocol.actions import Outbox
from sansio_socketio.protocol.errors import TransportError
from sansio_socketio.protocol.packets.engineio import Packet, decode_frame, encode_frame
from sansio_socketio.protocol.timers import Timers
from sansio_socketio.protocol.transports.base import CloseReason, Endpoint, Session, Transport


class FakeTransport(Transport):
    """A transport with one stream. `calls` are those of the session, `sent` are the batches of packets."""

    made: ClassVar[list[FakeTransport]]

    def __init__(self, endpoint: Endpoint, session: Session, outbox: Outbox, timers: Timers) -> None:
        super().__init__(endpoint, session, outbox, timers)
        self.calls: list[str] = []
        self.sent: list[list[str | bytes]] = []
        self.stream = 0
        self.live = True
        self.breaks = False
        """Whether the next `send` fails."""
        self.made.append(self)

    # The session's calls

    def open(self, now: float) -> None:
        assert self.live
        assert not self.calls
        self.calls.append("open")
        self.stream = self.outbox.open_stream(self, "localhost", 80, tls=False, transport=self.name)

    def send(self, packets: Sequence[Packet], now: float) -> None:
        assert self.live
        assert self.writable, "sent while not writable"
        assert packets, "sent nothing"
        self.writable = False
        self.calls.append("send")
        if self.breaks:
            self.closes("transport error", now=now)
            return
        self.sent.append([encode_frame(packet) for packet in packets])

    def pause(self, now: float) -> None:
        assert self.live
        self.calls.append("pause")

    def resume(self, now: float) -> None:
        assert self.live
        self.calls.append("resume")

    def close(self, now: float) -> None:
        assert self.live
        self.calls.append("close")
        self._end()

    def abort(self) -> None:
        assert self.live
        self.calls.append("abort")
        self._end()

    def _end(self) -> None:
        self.live = self.writable = False
        self.outbox.close_stream(self.stream)

    # For the test: calls to the session

    def opens(self, now: float = 0) -> None:
        assert self.live
        self.writable = True
        self.session.on_open(self, now)

    def receives(self, *frames: str | bytes, now: float = 0) -> None:
        for frame in frames:
            if self.live:
                self.session.on_packet(self, decode_frame(frame), now)

    def drains(self, now: float = 0) -> None:
        assert self.live
        assert not self.writable
        self.writable = True
        self.session.on_drain(self, now)

    def pauses(self, now: float = 0) -> None:
        assert self.live
        self.session.on_pause(self, now)

    def closes(self, reason: CloseReason, details: TransportError | None = None, now: float = 0) -> None:
        assert self.live
        self._end()
        self.session.on_close(self, reason, details or TransportError("it ended", transport=self.name), now)

    # There are no bytes

    def stream_opened(self, stream: int, now: float) -> NoReturn:
        raise AssertionError("the test controls a fake transport, not its streams")

    def stream_failed(self, stream: int, error: Exception, now: float) -> NoReturn:
        self.stream_opened(stream, now)

    def data_received(self, stream: int, data: bytes | bytearray | memoryview, now: float) -> NoReturn:
        self.stream_opened(stream, now)

    def data_sent(self, stream: int, now: float) -> NoReturn:
        self.stream_opened(stream, now)

    def stream_closed(self, stream: int, error: Exception | None, now: float) -> NoReturn:
        self.stream_opened(stream, now)


def fake_transports(made: list[FakeTransport]) -> Mapping[str, type[Transport]]:
    """Return a table of transports to replace the real one. Those that a session makes are appended to `made`."""

    class FakePolling(FakeTransport):
        name = "polling"

    class FakeWebSocket(FakeTransport):
        name = "websocket"

    FakePolling.made = FakeWebSocket.made = made
    return {"polling": FakePolling, "websocket": FakeWebSocket}
