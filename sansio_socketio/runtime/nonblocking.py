"""A stream over non-blocking sockets, for runtimes that tell when a socket is ready: selectors, the loop of a GUI.

Rules of this file:

- Sockets are touched in the runtime's own turns only (`call_soon`, a timer, readiness), so a runtime of several threads
  touches them from one.
- Of several addresses the next is tried when the one before has failed, or is not there after a quarter of a second;
  those that are under way go on, and the first to connect wins (happy eyeballs, RFC 8305).
- The user's hook may open the socket instead; it is called where it may block. From then on it is as any.
- When writing fails, what the peer had sent before is still read: it may tell why.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from ssl import SSLSocket
from typing import Any, Protocol

from .interface import Runtime, StreamHook, StreamReceiver
from .streams import ATTEMPT_DELAY, BaseStream, combined, invalid_stream

Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]
"""What `socket.getaddrinfo` gives."""

_CHUNK = 1 << 18  # bytes read at once


def look_up(host: str, port: int) -> Addresses:
    """The addresses of a host. Blocks, for seconds if need be."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class PollingRuntime(Runtime, Protocol):
    """A runtime that tells when sockets are ready."""

    def call_blocking(self, told: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        """Call `function(*args)`, which may block, beside, and tell what it returns, or the exception, in a turn of its own.

        It is told in any case, also when the runtime has ended: somebody may have to close it.
        """

    def watch(self, sock: socket.socket, ready: Callable[[bool, bool], object], *, writing: bool) -> None:
        """Call `ready(readable, writable)` whenever the socket is readable, or, if `writing`, writable.

        Replaces what was asked for the socket before.
        """

    def unwatch(self, sock: socket.socket) -> None:
        """Do not look at the socket any more; it will be closed."""


class NonblockingStream(BaseStream):
    """A stream: the sockets that try to connect, and then the one that did."""

    def __init__(
        self, runtime: PollingRuntime, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None
    ) -> None:
        super().__init__(receiver)
        self._sockets: list[socket.socket] = []
        self._runtime = runtime
        self._addresses: deque[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]] = deque()
        self._errors: list[OSError] = []
        self._next_address = runtime.timer(self._connect)
        self._written: list[bytes | bytearray | memoryview] = []
        self._leaving = memoryview(b"")  # what the operating system has not taken yet
        self._full = False  # so we wait until it takes more
        self._error: OSError | None = None  # of writing
        if hook is None:
            runtime.call_blocking(self._looked_up, look_up, host, port)
        else:
            runtime.call_blocking(self._given, hook, host, port)

    # The hub's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes, for the runtime's next turn."""
        if not self._written and not self._leaving:
            self._runtime.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Close once all has left; while still opening, at once."""
        self.receiver = None
        if not self._written and not self._leaving:
            self._runtime.call_soon(self._shut)

    def abort(self) -> None:
        """Close at once, also while opening."""
        self.receiver = None
        self._runtime.call_soon(self._shut)

    # Opening

    def _looked_up(self, found: Addresses | Exception) -> None:
        if isinstance(found, Exception):
            self.notify_failed(found)
        else:
            self._addresses.extend(found)
            self._connect()

    def _connect(self) -> None:
        """Try the next address, beside those that are being tried."""
        while self._addresses and self.receiver is not None:
            family, kind, protocol, _, address = self._addresses.popleft()
            try:
                self._try(socket.socket(family, kind, protocol), address)
            except OSError as error:
                self._errors.append(error)
            else:
                self._next_address.set(self._runtime.now() + ATTEMPT_DELAY)
                return
        if not self._sockets:
            self.notify_failed(combined(self._errors))

    def _try(self, sock: socket.socket, address: Any) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(BlockingIOError):
                sock.connect(address)
        except OSError:
            sock.close()
            raise
        self._sockets.append(sock)
        self._runtime.watch(sock, partial(self._connected, sock, address), writing=True)

    def _connected(self, sock: socket.socket, address: Any, readable: bool, writable: bool) -> None:
        if sock not in self._sockets:
            return  # it was given up earlier in this turn
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._errors.append(OSError(code, f"{os.strerror(code)} ({address[0]} port {address[1]})"))
            self._drop(sock)
            self._connect()
        elif writable and self.receiver is not None:
            self._addresses.clear()
            self._next_address.set(None)
            for other in set(self._sockets) - {sock}:
                self._drop(other)
            self._begin(sock)

    def _given(self, sock: Any) -> None:
        """The user's hook has ended."""
        if isinstance(sock, Exception):
            self.notify_failed(sock)
        elif not isinstance(sock, socket.socket) or isinstance(sock, SSLSocket):
            self.notify_failed(invalid_stream("a connected socket.socket without TLS", sock))
        elif self.receiver is None:
            sock.close()
        else:
            try:
                sock.setblocking(False)
            except OSError as error:  # it is closed already
                self.notify_failed(error)
                return
            with suppress(OSError):  # not every kind of socket has it
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(sock)
            self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        self._runtime.watch(sock, self._ready, writing=False)
        self.notify_opened()

    # Open

    def _ready(self, readable: bool, writable: bool) -> None:
        if readable and self._sockets:
            self._read(self._sockets[0])
        if writable:
            self._flush()

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if not data:
            self._end(self._error)
        elif self.receiver is not None:
            self.receiver.received(data)

    def _flush(self) -> None:
        if not self._sockets:
            return
        sock = self._sockets[0]
        if not self._leaving:
            self._leaving = memoryview(b"".join(self._written))
            self._written.clear()
        try:
            self._leaving = self._leaving[sock.send(self._leaving) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._error = error
            self._leaving = memoryview(b"")
            self._written.clear()
        full = bool(self._leaving or self._written)
        if full != self._full:
            self._full = full
            self._runtime.watch(sock, self._ready, writing=full)
        if not full:
            self._all_left()

    def _all_left(self) -> None:
        if self.receiver is None:
            self._shut()
        elif self._error is None:
            self.receiver.sent()

    # The end

    def _end(self, error: Exception | None) -> None:
        self._shut()
        self.notify_closed(error)

    def _shut(self) -> None:
        self._next_address.set(None)
        while self._sockets:
            self._drop(self._sockets[0])

    def _drop(self, sock: socket.socket) -> None:
        self._sockets.remove(sock)
        self._runtime.unwatch(sock)
        sock.close()
