"""The runtimes of all drivers, and what a test of their contract needs.

Rules of this file:

- A scenario is an `async def` that waits for futures only, like client code, so that it runs on every runtime.
- A `LoopbackServer` is a listening socket on loopback and a thread that runs a script for each connection.
- Nothing waits for time to pass: tests wait for futures, or for the other side.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Self

import anyio
import trio

import docs.examples.sansio_socketio_streams._runtime as on_streams
import sansio_socketio_anyio._runtime as on_anyio
import sansio_socketio_asyncio._listen as on_asyncio_listening
import sansio_socketio_asyncio._runtime as on_asyncio
import sansio_socketio_blocking._runtime as on_threads
import sansio_socketio_trio._listen as on_trio_listening
import sansio_socketio_trio._runtime as on_trio
from sansio_socketio.runtime.interface import Future, Runtime, RuntimeScope, Stream
from tests.support.doubles import Receiver

Scenario = Callable[[Runtime], Coroutine[Any, Any, Any]]
Main = Callable[[], Coroutine[Any, Any, Any]]


def drive(main: Main) -> Any:
    """Run a coroutine that never suspends, as in a driver for threads."""
    coroutine = main()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("it has suspended")


@dataclass(frozen=True)
class Backend:
    """A runtime's scope, and the function that runs a program in that runtime."""

    name: str
    open_runtime: RuntimeScope
    run: Callable[[Main], Any]

    def play(self, scenario: Scenario) -> Any:
        """Run a scenario inside the scope of a runtime."""

        async def main() -> Any:
            async with self.open_runtime() as runtime:
                with runtime.lock:
                    return await scenario(runtime)

        return self.run(main)


BACKENDS = [
    Backend("asyncio", on_asyncio.open_runtime, lambda main: asyncio.run(main())),
    Backend("trio", on_trio.open_runtime, trio.run),
    Backend("anyio-asyncio", on_anyio.open_runtime, lambda main: anyio.run(main, backend="asyncio")),
    Backend("anyio-trio", on_anyio.open_runtime, lambda main: anyio.run(main, backend="trio")),
    Backend("threads", on_threads.open_runtime, drive),
    Backend("streams", on_streams.open_runtime, lambda main: asyncio.run(main())),
]

LISTENING = [
    Backend("asyncio", on_asyncio_listening.open_listening_runtime, lambda main: asyncio.run(main())),
    Backend("trio", on_trio_listening.open_listening_runtime, trio.run),
]
"""Those that can accept streams."""


class Recorder(Receiver):
    """A Receiver on a runtime: a scenario can wait for its notifications."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self._future: Future | None = None

    @property
    def log(self) -> list[str]:
        """The names of the notifications. Consecutive ones of data are one "received"."""
        names = [self.name_of(entry) for entry in self.history]
        return [name for index, name in enumerate(names) if name != "received" or names[index - 1 : index] != [name]]

    def note(self, what: str) -> None:
        """Record something else."""
        self.history.append(what)
        self._wake()

    def opened(self) -> None:
        super().opened()
        self._wake()

    def failed(self, error: Exception) -> None:
        super().failed(error)
        self._wake()

    def received(self, data: bytes | bytearray | memoryview) -> None:
        super().received(data)
        self._wake()

    def sent(self) -> None:
        super().sent()
        self._wake()

    def closed(self, error: Exception | None) -> None:
        super().closed(error)
        self._wake()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true. It is evaluated after each notification."""
        while not condition():
            self._future = self.runtime.future()
            await self.runtime.wait(self._future)

    async def until_notified(self, what: str) -> None:
        """Wait until it has been notified of `what`."""
        await self.until(lambda: what in self.log)

    def _wake(self) -> None:
        if self._future is not None:
            self._future.resolve()


async def iterations(runtime: Runtime, count: int = 1) -> None:
    """Wait for some loop iterations."""
    for _ in range(count):
        future = runtime.future()
        runtime.call_soon(future.resolve)
        await runtime.wait(future)


async def connected(runtime: Runtime, server: LoopbackServer) -> tuple[Stream, Recorder]:
    """Open a stream to the server."""
    recorder = Recorder(runtime)
    stream = runtime.open_stream(server.host, server.port, recorder)
    await recorder.until_notified("opened")
    return stream, recorder


Script = Callable[["Connection"], None]


class Connection:
    """The server's end of a stream, used from the thread of its script."""

    def __init__(self, server: LoopbackServer, sock: socket.socket) -> None:
        self.sock = sock
        self.server = server

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes, or fewer if the client closes the stream."""
        data = bytearray()
        while len(data) < count and (more := self.sock.recv(min(count - len(data), 1 << 16))):
            data += more
        return bytes(data)

    def read_all(self) -> bytes:
        """Read until the client closes the stream. Returns b"reset" if it was reset."""
        data = bytearray()
        try:
            while more := self.sock.recv(1 << 16):
                data += more
        except ConnectionResetError:
            return b"reset"
        return bytes(data)

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class LoopbackServer:
    """A server on loopback that runs `script` for each connection, in its own thread.

    It ends with its `with` statement, which raises the exception of a script.

    Attributes:
        go: Set by the test when a script may continue.
        reports: What scripts report to the test.
    """

    def __init__(self, script: Script, host: str = "127.0.0.1", *, receive_buffer: int | None = None) -> None:
        self._script = script
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind((host, 0))
        self._listener.listen()
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.go = threading.Event()
        self.reports: SimpleQueue[Any] = SimpleQueue()
        self._errors: list[BaseException] = []
        self._connections: list[socket.socket] = []
        self._scripts: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="server")

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.go.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for sock in self._connections:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for script in self._scripts:
            script.join()
        if self._errors and exc_info[0] is None:
            raise self._errors[0]

    async def next_report(self, runtime: Runtime) -> Any:
        """Wait for the next report of a script, while the runtime continues."""
        while self.reports.empty():
            await iterations(runtime)
        return self.reports.get()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._connections.append(sock)
                script = threading.Thread(target=self._play, args=(sock,), name="server's script")
                self._scripts.append(script)
                script.start()

    def _play(self, sock: socket.socket) -> None:
        with sock:
            try:
                self._script(Connection(self, sock))
            except BaseException as error:
                self._errors.append(error)


def echo(connection: Connection) -> None:
    """Send received data back, until the client closes the stream."""
    with suppress(ConnectionError):
        while data := connection.sock.recv(1 << 16):
            connection.sock.sendall(data)


def greet(connection: Connection) -> None:
    """Send something, and close the stream."""
    with suppress(ConnectionError):
        connection.sock.sendall(b"hello")


def swallow(connection: Connection) -> None:
    """Read until the client closes the stream, and report the data."""
    connection.server.reports.put(connection.read_all())


@contextmanager
def deaf_address(host: str = "127.0.0.1", port: int = 0) -> Generator[int, None, None]:
    """Yield a port to which connecting hangs: its backlog is full, so the system does not respond."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
        listener.bind((host, port))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket(listener.family))
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address[1]


def refusing_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])
