"""Embed the state machine in a program with its own loop, such as a game: call `poll()` once per frame.

Like a driver, this code opens streams, transfers bytes, keeps one timer and delivers events. For brevity it has no TLS,
name resolution blocks, and a stream is closed after one attempt to send the rest of its data. "Write a driver" shows how to leave both to the library.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from random import SystemRandom
from time import monotonic

from sansio_socketio.protocol import actions, events
from sansio_socketio.protocol.client import ClientProtocol


class FrameClient:
    """A Socket.IO client that does its work in `poll`, and never blocks."""

    def __init__(self, url: str) -> None:
        self.machine = ClientProtocol(url, random=SystemRandom())
        self._sockets: dict[int, socket.socket] = {}
        self._opening: set[int] = set()
        self._unsent: dict[int, bytearray] = {}
        self._deadline: float | None = None

    def poll(self) -> Iterator[events.MachineEvent]:
        """Transfer the bytes that are ready and fire the timer if it is due. Yield the events."""
        if self._deadline is not None and monotonic() >= self._deadline:
            self.machine.tick(monotonic())
        yield from self._carry_out()
        by_socket = {sock: stream for stream, sock in self._sockets.items()}
        readers = [] if self.machine.is_behind else [s for s in by_socket if by_socket[s] not in self._opening]
        busy = [self._sockets[stream] for stream in self._sockets if stream in self._opening or self._unsent[stream]]
        readable, writable, _ = select.select(readers, busy, [], 0)
        for sock in writable:
            self._write(by_socket[sock], sock)
        for sock in readable:
            self._read(by_socket[sock], sock)
        yield from self._carry_out()

    def close(self) -> None:
        """Close the connection at once."""
        self.machine.abort(monotonic())
        for _ in self._carry_out():
            pass

    def _carry_out(self) -> Iterator[events.MachineEvent]:
        while (output := self.machine.next_output()) is not None:
            match output:
                case events.MachineEvent():
                    yield output
                case actions.Send(stream, data):
                    self._unsent[stream] += data
                case actions.SetTimer(deadline):
                    self._deadline = deadline
                case actions.OpenStream(stream, host, port):
                    self._open(stream, host, port)
                case actions.CloseStream(stream, abort):
                    self._close(stream, flush=not abort)

    def _open(self, stream: int, host: str, port: int) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex((host, port))
        self._sockets[stream], self._unsent[stream] = sock, bytearray()
        self._opening.add(stream)

    def _write(self, stream: int, sock: socket.socket) -> None:
        try:
            if stream in self._opening:
                self._opening.remove(stream)
                if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._forget(stream)
                    self.machine.stream_failed(stream, OSError(error, "cannot connect"), monotonic())
                else:
                    self.machine.stream_opened(stream, monotonic())
                return
            del self._unsent[stream][: sock.send(self._unsent[stream])]
        except OSError as error:
            self._forget(stream)
            self.machine.stream_closed(stream, error, monotonic())
        else:
            if not self._unsent[stream]:
                self.machine.data_sent(stream, monotonic())

    def _read(self, stream: int, sock: socket.socket) -> None:
        if stream not in self._sockets:
            return
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._forget(stream)
            self.machine.stream_closed(stream, error, monotonic())
            return
        if data:
            self.machine.data_received(stream, data, monotonic())
        else:
            self._forget(stream)
            self.machine.stream_closed(stream, None, monotonic())

    def _close(self, stream: int, *, flush: bool) -> None:
        if flush:
            with suppress(OSError):
                self._sockets[stream].send(self._unsent[stream])
        self._forget(stream)

    def _forget(self, stream: int) -> None:
        self._opening.discard(stream)
        del self._unsent[stream]
        self._sockets.pop(stream).close()


def ask(url: str, event: str, *values: object) -> list[object]:
    """Connect, emit one event, and return the values of its acknowledgement."""
    client = FrameClient(url)
    namespace = client.machine.namespace("/")
    namespace.connect(monotonic())
    namespace.emit([event, *values], monotonic(), ack=True)
    try:
        while True:
            for happened in client.poll():
                match happened:
                    case events.Acknowledged(args=args):
                        return args
                    case events.ConnectFailed(error=error) | events.AckFailed(error=error):
                        raise error
                    case _:
                        pass
            select.select([], [], [], 0.005)  # the rest of the frame: a game draws here
    finally:
        client.close()
