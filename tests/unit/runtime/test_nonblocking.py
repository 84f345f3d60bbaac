"""Streams over non-blocking sockets, with doubles of the runtime and of the sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest

from sansio_socketio.runtime import Deadlines
from sansio_socketio.runtime.nonblocking import NonblockingStream, PollingRuntime, look_up
from tests.support.doubles import Receiver

Ready = Callable[[bool, bool], object]


class FakeSocket:
    """A socket whose behaviour the test sets."""

    def __init__(self, runtime: FakePollingRuntime, family: int) -> None:
        self.runtime = runtime
        self.family = family
        self.error = 0
        self.closed = False
        self.incoming: list[bytes | OSError] = []
        self.accepts: list[int | OSError] = []
        self.sent = bytearray()
        self.options: list[tuple[int, int, int]] = []

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.options.append((level, name, value))

    def getsockopt(self, level: int, name: int) -> int:
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self.error

    def connect(self, address: Any) -> None:
        self.runtime.connecting.append((address[0], self))
        outcome = self.runtime.connects.get(address[0], BlockingIOError())
        if outcome is not None:
            raise outcome

    def recv(self, count: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        data = self.incoming.pop(0)
        if isinstance(data, OSError):
            raise data
        return data

    def send(self, data: memoryview) -> int:
        taken = self.accepts.pop(0) if self.accepts else len(data)
        if isinstance(taken, OSError):
            raise taken
        self.sent += data[:taken]
        return min(taken, len(data))

    def close(self) -> None:
        assert self not in self.runtime.watched
        self.closed = True


class FakePollingRuntime:
    """A runtime whose callbacks and time the test advances."""

    def __init__(self) -> None:
        self.time = 0.0
        self.soon: list[Callable[[], None]] = []
        self.deadlines = Deadlines(lambda: None)
        self.timer = self.deadlines.timer
        self.watched: dict[FakeSocket, tuple[Ready, bool, bool]] = {}
        self.connecting: list[tuple[str, FakeSocket]] = []
        self.connects: dict[str, OSError | None] = {}
        self.notify: Callable[[Any], None] = lambda _: None
        self.receiver = Receiver()
        self.stream = NonblockingStream(cast("PollingRuntime", self), "several.test", 80, self.receiver)

    # Called by the stream

    def now(self) -> float:
        return self.time

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_blocking(self, notify: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        assert args == ("several.test", 80)
        self.notify = notify

    def watch(self, sock: FakeSocket, ready: Ready, *, reading: bool = True, writing: bool) -> None:
        assert not sock.closed
        self.watched[sock] = (ready, reading, writing)

    def unwatch(self, sock: FakeSocket) -> None:
        del self.watched[sock]

    # Called by the test

    def found(self, *addresses: str) -> None:
        self.notify([(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses])

    def run_pending(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.deadlines.fire(self.time)

    def ready(self, sock: FakeSocket, *, readable: bool = False, writable: bool = False) -> None:
        ready, reading, writing = self.watched[sock]
        ready(readable and reading, writable and writing)
        self.run_pending()

    def connected(self) -> FakeSocket:
        self.found("one")
        _, sock = self.connecting[0]
        self.ready(sock, writable=True)
        assert self.receiver.history == ["opened"]
        return sock


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakePollingRuntime:
    runtime = FakePollingRuntime()
    monkeypatch.setattr(
        "sansio_socketio.runtime.nonblocking.socket.socket",
        lambda family, _kind, _protocol: FakeSocket(runtime, family),
    )
    return runtime


# Opening


def test_look_up_returns_addresses_or_raises() -> None:
    assert [address[4] for address in look_up("127.0.0.1", 80)] == [("127.0.0.1", 80)]
    with pytest.raises((OSError, ValueError)):
        look_up("h" * 300, 80)


def test_an_unknown_host_name_is_reported(runtime: FakePollingRuntime) -> None:
    error = OSError("no such name")
    runtime.notify(error)
    assert runtime.receiver.history == [("failed", error)]


def test_nagles_algorithm_is_off(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in sock.options
    assert not runtime.deadlines.armed


def test_a_connection_may_be_established_at_once(runtime: FakePollingRuntime) -> None:
    runtime.connects["one"] = None
    runtime.connected()


def test_the_next_address_is_tried_while_one_hangs(runtime: FakePollingRuntime) -> None:
    runtime.found("one", "two", "three")
    runtime.wait(0.24)
    assert [place for place, _ in runtime.connecting] == ["one"]
    runtime.wait(0.02)
    assert [place for place, _ in runtime.connecting] == ["one", "two"]
    (_, one), (_, two) = runtime.connecting
    runtime.ready(two, writable=True)
    assert runtime.receiver.history == ["opened"]
    assert one.closed
    runtime.wait(10)
    assert len(runtime.connecting) == 2


def test_the_first_address_may_win_later(runtime: FakePollingRuntime) -> None:
    runtime.found("one", "two")
    runtime.wait(0.25)
    (_, one), (_, two) = runtime.connecting
    stale = runtime.watched[two][0]
    runtime.ready(one, writable=True)
    stale(True, True)
    assert runtime.receiver.history == ["opened"]
    assert two.closed
    assert not one.closed


def test_the_next_address_is_tried_when_one_fails(runtime: FakePollingRuntime) -> None:
    runtime.connects["one"] = OSError("no route")
    runtime.found("one", "two", "three")
    _, two = runtime.connecting[1]
    two.error = errno.ECONNREFUSED
    runtime.ready(two, readable=True, writable=True)
    _, three = runtime.connecting[2]
    runtime.wait(10)
    assert runtime.receiver.history == []
    three.error = errno.ETIMEDOUT
    runtime.ready(three, readable=True, writable=True)
    assert runtime.receiver.log == ["failed"]
    message = str(runtime.receiver.error)
    assert message.startswith("no route; ")
    assert "(two port 80)" in message
    assert "(three port 80)" in message


def test_a_readable_socket_is_not_connected_yet(runtime: FakePollingRuntime) -> None:
    runtime.found("one")
    _, one = runtime.connecting[0]
    runtime.ready(one, readable=True)
    assert runtime.receiver.history == []


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_before_the_addresses_are_known_opens_no_socket(runtime: FakePollingRuntime, way: str) -> None:
    getattr(runtime.stream, way)()
    runtime.run_pending()
    runtime.found("one", "two")
    runtime.wait(10)
    assert runtime.connecting == []
    assert runtime.receiver.history == []


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_while_connecting_closes_all_sockets(runtime: FakePollingRuntime, way: str) -> None:
    runtime.found("one", "two", "three")
    runtime.wait(0.25)
    ready = [ready for ready, *_ in runtime.watched.values()]
    getattr(runtime.stream, way)()
    for call in ready:
        call(False, True)
    runtime.run_pending()
    runtime.wait(10)
    assert len(runtime.connecting) == 2
    assert all(sock.closed for _, sock in runtime.connecting)
    assert runtime.receiver.history == []


# Reading and writing


def test_writes_of_one_loop_iteration_are_sent_in_one_piece(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    runtime.stream.write(b"one ")
    runtime.stream.write(bytearray(b"two"))
    assert sock.sent == b""
    assert len(runtime.soon) == 1
    runtime.run_pending()
    assert sock.sent == b"one two"
    assert runtime.receiver.history == ["opened", "sent"]


def test_unaccepted_bytes_are_sent_when_the_socket_is_writable(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    sock.accepts = [3, BlockingIOError(), 100]
    runtime.stream.write(b"hello")
    runtime.run_pending()
    runtime.stream.write(b" runtime")
    assert runtime.soon == []
    runtime.ready(sock, writable=True)
    runtime.ready(sock, writable=True)
    assert sock.sent == b"hello"
    assert runtime.receiver.history == ["opened"]
    runtime.ready(sock, writable=True)
    assert sock.sent == b"hello runtime"
    assert runtime.receiver.history == ["opened", "sent"]
    assert runtime.watched[sock][1:] == (True, False)


def test_received_data_is_reported(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    sock.incoming = [b"one", b"two"]
    for _ in range(3):
        runtime.ready(sock, readable=True)
    assert runtime.receiver.history == ["opened", b"one", b"two"]


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_the_end_of_the_stream_closes_the_socket_and_is_reported(
    runtime: FakePollingRuntime, error: OSError | None
) -> None:
    sock = runtime.connected()
    sock.incoming = [b"last", error or b""]
    runtime.ready(sock, readable=True)
    stale = runtime.watched[sock][0]
    runtime.ready(sock, readable=True)
    stale(True, True)
    runtime.stream.write(b"too late")
    runtime.run_pending()
    assert sock.closed
    assert runtime.receiver.history == ["opened", b"last", ("closed", error)]


def test_reading_can_be_paused_while_writing_continues(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    sock.incoming = [b"one", b"two"]
    runtime.receiver.on_received = runtime.stream.pause_reading
    runtime.ready(sock, readable=True)
    assert runtime.watched[sock][1:] == (False, False)
    sock.accepts = [1]
    runtime.stream.write(b"ab")
    runtime.run_pending()
    assert runtime.watched[sock][1:] == (False, True)
    runtime.ready(sock, readable=True, writable=True)
    assert sock.sent == b"ab"
    assert runtime.receiver.data == b"one"
    runtime.stream.resume_reading()
    runtime.run_pending()
    assert runtime.watched[sock][1:] == (True, False)
    runtime.ready(sock, readable=True)
    assert runtime.receiver.data == b"onetwo"
    runtime.stream.resume_reading()
    runtime.stream.abort()
    runtime.stream.resume_reading()
    runtime.run_pending()
    assert sock.closed


def test_after_a_write_error_data_is_still_read(runtime: FakePollingRuntime) -> None:
    sock, pipe = runtime.connected(), BrokenPipeError("pipe")
    sock.accepts = [3, pipe]
    sock.incoming = [b"413 Too Large", b""]
    runtime.stream.write(b"hello")
    runtime.run_pending()
    runtime.ready(sock, writable=True)
    runtime.ready(sock, readable=True)
    runtime.ready(sock, readable=True)
    assert runtime.receiver.history == ["opened", b"413 Too Large", ("closed", pipe)]


def test_closing_sends_everything_written(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    sock.accepts = [2]
    sock.incoming = [b"ignored"]
    runtime.stream.write(b"hello")
    runtime.stream.close()
    runtime.run_pending()
    runtime.ready(sock, readable=True)
    assert not sock.closed
    runtime.ready(sock, writable=True)
    assert sock.sent == b"hello"
    assert sock.closed
    assert runtime.receiver.history == ["opened"]


def test_a_write_error_ends_closing(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    sock.accepts = [BrokenPipeError()]
    runtime.stream.write(b"hello")
    runtime.stream.close()
    runtime.run_pending()
    assert sock.closed
    assert runtime.receiver.history == ["opened"]


def test_closing_with_nothing_to_send_closes_the_socket(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    runtime.stream.close()
    runtime.run_pending()
    assert sock.closed
    assert runtime.receiver.history == ["opened"]


def test_aborting_drops_unsent_data(runtime: FakePollingRuntime) -> None:
    sock = runtime.connected()
    runtime.stream.write(b"hello")
    sock.accepts = [0]
    runtime.run_pending()
    runtime.stream.abort()
    runtime.run_pending()
    assert sock.closed
    assert sock.sent == b""
    assert runtime.receiver.history == ["opened"]
