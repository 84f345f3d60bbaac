"""Streams over non-blocking sockets, on a runtime and sockets that a test plays."""

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
    """A socket as a test wants it."""

    def __init__(self, world: World, family: int) -> None:
        self.world = world
        self.family = family
        self.error = 0
        self.closed = False
        self.incoming: list[bytes | OSError] = []
        self.room: list[int | OSError] = []
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
        self.world.connecting.append((address[0], self))
        outcome = self.world.connects.get(address[0], BlockingIOError())
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
        taken = self.room.pop(0) if self.room else len(data)
        if isinstance(taken, OSError):
            raise taken
        self.sent += data[:taken]
        return min(taken, len(data))

    def close(self) -> None:
        assert self not in self.world.watched
        self.closed = True


class World:
    """The runtime, in which turns and time pass when the test says so."""

    def __init__(self) -> None:
        self.time = 0.0
        self.soon: list[Callable[[], None]] = []
        self.deadlines = Deadlines(lambda: None)
        self.timer = self.deadlines.timer
        self.watched: dict[FakeSocket, tuple[Ready, bool]] = {}
        self.connecting: list[tuple[str, FakeSocket]] = []
        self.connects: dict[str, OSError | None] = {}
        self.notify: Callable[[Any], None] = lambda _: None
        self.receiver = Receiver()
        self.stream = NonblockingStream(cast("PollingRuntime", self), "several.test", 80, self.receiver)

    # The runtime

    def now(self) -> float:
        return self.time

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_blocking(self, notify: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        assert args == ("several.test", 80)
        self.notify = notify

    def watch(self, sock: FakeSocket, ready: Ready, *, writing: bool) -> None:
        assert not sock.closed
        self.watched[sock] = (ready, writing)

    def unwatch(self, sock: FakeSocket) -> None:
        del self.watched[sock]

    # The test

    def found(self, *addresses: str) -> None:
        self.notify([(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses])

    def run_pending(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.deadlines.fire(self.time)

    def ready(self, sock: FakeSocket, *, readable: bool = False, writable: bool = False) -> None:
        ready, writing = self.watched[sock]
        ready(readable, writable and writing)
        self.run_pending()

    def connected(self) -> FakeSocket:
        self.found("one")
        _, sock = self.connecting[0]
        self.ready(sock, writable=True)
        assert self.receiver.history == ["opened"]
        return sock


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(
        "sansio_socketio.runtime.nonblocking.socket.socket", lambda family, _kind, _protocol: FakeSocket(world, family)
    )
    return world


# Opening


def test_looking_a_host_up_returns_addresses_or_raises() -> None:
    assert [address[4] for address in look_up("127.0.0.1", 80)] == [("127.0.0.1", 80)]
    with pytest.raises((OSError, ValueError)):
        look_up("h" * 300, 80)


def test_an_unknown_host_name(world: World) -> None:
    error = OSError("no such name")
    world.notify(error)
    assert world.receiver.history == [("failed", error)]


def test_nagles_algorithm_is_off(world: World) -> None:
    sock = world.connected()
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in sock.options
    assert not world.deadlines.armed


def test_a_connection_that_is_established_at_once(world: World) -> None:
    world.connects["one"] = None
    world.connected()


def test_the_next_address_is_tried_while_one_hangs(world: World) -> None:
    world.found("one", "two", "three")
    world.wait(0.24)
    assert [place for place, _ in world.connecting] == ["one"]
    world.wait(0.02)
    assert [place for place, _ in world.connecting] == ["one", "two"]
    (_, one), (_, two) = world.connecting
    world.ready(two, writable=True)
    assert world.receiver.history == ["opened"]
    assert one.closed
    world.wait(10)
    assert len(world.connecting) == 2


def test_the_first_address_may_win_later(world: World) -> None:
    world.found("one", "two")
    world.wait(0.25)
    (_, one), (_, two) = world.connecting
    stale = world.watched[two][0]
    world.ready(one, writable=True)
    stale(True, True)
    assert world.receiver.history == ["opened"]
    assert two.closed
    assert not one.closed


def test_the_next_address_is_tried_when_one_fails(world: World) -> None:
    world.connects["one"] = OSError("no route")
    world.found("one", "two", "three")
    _, two = world.connecting[1]
    two.error = errno.ECONNREFUSED
    world.ready(two, readable=True, writable=True)
    _, three = world.connecting[2]
    world.wait(10)
    assert world.receiver.history == []
    three.error = errno.ETIMEDOUT
    world.ready(three, readable=True, writable=True)
    assert world.receiver.log == ["failed"]
    message = str(world.receiver.error)
    assert message.startswith("no route; ")
    assert "(two port 80)" in message
    assert "(three port 80)" in message


def test_a_readable_socket_is_not_connected_yet(world: World) -> None:
    world.found("one")
    _, one = world.connecting[0]
    world.ready(one, readable=True)
    assert world.receiver.history == []


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_before_the_addresses_are_known(world: World, way: str) -> None:
    getattr(world.stream, way)()
    world.run_pending()
    world.found("one", "two")
    world.wait(10)
    assert world.connecting == []
    assert world.receiver.history == []


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_while_connecting(world: World, way: str) -> None:
    world.found("one", "two", "three")
    world.wait(0.25)
    ready = [ready for ready, _ in world.watched.values()]
    getattr(world.stream, way)()
    for call in ready:
        call(False, True)
    world.run_pending()
    world.wait(10)
    assert len(world.connecting) == 2
    assert all(sock.closed for _, sock in world.connecting)
    assert world.receiver.history == []


# Open


def test_writes_of_one_loop_iteration_are_sent_in_one_piece(world: World) -> None:
    sock = world.connected()
    world.stream.write(b"one ")
    world.stream.write(bytearray(b"two"))
    assert sock.sent == b""
    assert len(world.soon) == 1
    world.run_pending()
    assert sock.sent == b"one two"
    assert world.receiver.history == ["opened", "sent"]


def test_what_the_system_does_not_accept_is_sent_when_writable(world: World) -> None:
    sock = world.connected()
    sock.room = [3, BlockingIOError(), 100]
    world.stream.write(b"hello")
    world.run_pending()
    world.stream.write(b" world")
    assert world.soon == []
    world.ready(sock, writable=True)
    world.ready(sock, writable=True)
    assert sock.sent == b"hello"
    assert world.receiver.history == ["opened"]
    world.ready(sock, writable=True)
    assert sock.sent == b"hello world"
    assert world.receiver.history == ["opened", "sent"]
    assert world.watched[sock][1] is False


def test_reading(world: World) -> None:
    sock = world.connected()
    sock.incoming = [b"one", b"two"]
    for _ in range(3):
        world.ready(sock, readable=True)
    assert world.receiver.history == ["opened", b"one", b"two"]


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_the_end(world: World, error: OSError | None) -> None:
    sock = world.connected()
    sock.incoming = [b"last", error or b""]
    world.ready(sock, readable=True)
    stale = world.watched[sock][0]
    world.ready(sock, readable=True)
    stale(True, True)
    world.stream.write(b"too late")
    world.run_pending()
    assert sock.closed
    assert world.receiver.history == ["opened", b"last", ("closed", error)]


def test_after_a_write_error_data_is_still_read(world: World) -> None:
    sock, pipe = world.connected(), BrokenPipeError("pipe")
    sock.room = [3, pipe]
    sock.incoming = [b"413 Too Large", b""]
    world.stream.write(b"hello")
    world.run_pending()
    world.ready(sock, writable=True)
    world.ready(sock, readable=True)
    world.ready(sock, readable=True)
    assert world.receiver.history == ["opened", b"413 Too Large", ("closed", pipe)]


def test_closing_sends_everything_written(world: World) -> None:
    sock = world.connected()
    sock.room = [2]
    sock.incoming = [b"ignored"]
    world.stream.write(b"hello")
    world.stream.close()
    world.run_pending()
    world.ready(sock, readable=True)
    assert not sock.closed
    world.ready(sock, writable=True)
    assert sock.sent == b"hello"
    assert sock.closed
    assert world.receiver.history == ["opened"]


def test_a_write_error_ends_closing(world: World) -> None:
    sock = world.connected()
    sock.room = [BrokenPipeError()]
    world.stream.write(b"hello")
    world.stream.close()
    world.run_pending()
    assert sock.closed
    assert world.receiver.history == ["opened"]


def test_closing_with_nothing_to_send(world: World) -> None:
    sock = world.connected()
    world.stream.close()
    world.run_pending()
    assert sock.closed
    assert world.receiver.history == ["opened"]


def test_aborting_drops_unsent_data(world: World) -> None:
    sock = world.connected()
    world.stream.write(b"hello")
    sock.room = [0]
    world.run_pending()
    world.stream.abort()
    world.run_pending()
    assert sock.closed
    assert sock.sent == b""
    assert world.receiver.history == ["opened"]
