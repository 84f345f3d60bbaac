"""A stream over non-blocking sockets, for runtimes that report readiness: selectors, the event loop of a GUI.

Rules of this file:

- Sockets are used only in callbacks of the runtime (`call_soon`, timers, readiness). So in a runtime with several threads,
  one thread uses all of them.
- The next address of a host is tried when an attempt has failed, or after `ATTEMPT_DELAY`. Earlier attempts continue, and
  the first connection wins (happy eyeballs, RFC 8305).
- The application's hook can open the socket instead. It is called by `call_blocking`, so it may block.
- When writing fails, received data is still read, because it may explain the failure.
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
from .streams import ATTEMPT_DELAY, BaseStream, combine_errors, invalid_stream

Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]
"""The result of `socket.getaddrinfo`."""

_CHUNK = 1 << 16  # the maximum number of bytes to receive at once


def look_up(host: str, port: int) -> Addresses:
    """Return the addresses of a host. This may block for seconds."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class PollingRuntime(Runtime, Protocol):
    """A runtime that reports when sockets are ready."""

    def call_blocking(self, notify: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        """Call `function(*args)`, which may block, in a thread. Then call `notify` with its result or exception.

        `notify` is called in a later loop iteration, even after the end of the runtime, so that a socket that the
        function has returned can be closed.
        """

    def watch(
        self, sock: socket.socket, ready: Callable[[bool, bool], object], *, reading: bool = True, writing: bool
    ) -> None:
        """Call `ready(readable, writable)` whenever the socket is readable (if `reading`) or writable (if `writing`).

        This replaces an earlier `watch` of the same socket. Both may be False for a while.
        """

    def unwatch(self, sock: socket.socket) -> None:
        """Stop watching the socket. Called before the socket is closed."""


class NonblockingStream(BaseStream):
    """A stream over a non-blocking socket. While it is being opened, several sockets may be connecting."""

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
        self._unsent = memoryview(b"")  # data that the operating system has not accepted
        self._full = False  # the socket is being watched for writability
        self._is_reading = True  # the socket is being watched for readability
        self._error: OSError | None = None  # the error of a failed write
        if hook is None:
            runtime.call_blocking(self._addresses_found, look_up, host, port)
        else:
            runtime.call_blocking(self._hook_returned, hook, host, port)

    # The stream

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes, to be sent in the next loop iteration."""
        if not self._written and not self._unsent:
            self._runtime.call_soon(self._flush)
        self._written.append(data)

    def pause_reading(self) -> None:
        """Stop watching the socket for readability."""
        self._is_reading = False
        self._watch()

    def resume_reading(self) -> None:
        """Watch the socket for readability again."""
        self._is_reading = True
        self._runtime.call_soon(self._watch)

    def close(self) -> None:
        """Close when all written data has been sent, or at once if the stream is not open yet."""
        self.receiver = None
        if not self._written and not self._unsent:
            self._runtime.call_soon(self._close_sockets)

    def abort(self) -> None:
        """Close at once, even if the stream is not open yet."""
        self.receiver = None
        self._runtime.call_soon(self._close_sockets)

    # Opening

    def _addresses_found(self, found: Addresses | Exception) -> None:
        if isinstance(found, Exception):
            self.notify_failed(found)
        else:
            self._addresses.extend(found)
            self._connect()

    def _connect(self) -> None:
        """Try the next address, concurrently with earlier attempts."""
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
            self.notify_failed(combine_errors(self._errors))

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
            return  # the socket was closed earlier in this loop iteration
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

    def _hook_returned(self, sock: Any) -> None:
        """Handle the result or the exception of the application's hook."""
        if isinstance(sock, Exception):
            self.notify_failed(sock)
        elif not isinstance(sock, socket.socket) or isinstance(sock, SSLSocket):
            self.notify_failed(invalid_stream("a connected socket.socket without TLS", sock))
        elif self.receiver is None:
            sock.close()
        else:
            try:
                sock.setblocking(False)
            except OSError as error:  # the hook returned a closed socket
                self.notify_failed(error)
                return
            with suppress(OSError):  # for example a Unix domain socket
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(sock)
            self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        self._watch()
        self.notify_opened()

    # Reading and writing

    def _watch(self) -> None:
        if self._sockets:
            self._runtime.watch(self._sockets[0], self._ready, reading=self._is_reading, writing=self._full)

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
        if not self._unsent:
            self._unsent = memoryview(b"".join(self._written))
            self._written.clear()
        try:
            self._unsent = self._unsent[sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._error = error
            self._unsent = memoryview(b"")
            self._written.clear()
        full = bool(self._unsent or self._written)
        if full != self._full:
            self._full = full
            self._watch()
        if not full:
            self._all_sent()

    def _all_sent(self) -> None:
        if self.receiver is None:
            self._close_sockets()
        elif self._error is None:
            self.receiver.sent()

    # Closing

    def _end(self, error: Exception | None) -> None:
        self._close_sockets()
        self.notify_closed(error)

    def _close_sockets(self) -> None:
        self._next_address.set(None)
        while self._sockets:
            self._drop(self._sockets[0])

    def _drop(self, sock: socket.socket) -> None:
        self._sockets.remove(sock)
        self._runtime.unwatch(sock)
        sock.close()
