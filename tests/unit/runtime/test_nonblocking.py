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
        self.told: Callable[[Any], None] = lambda _: None
        self.receiver = Receiver()
        self.stream = NonblockingStream(cast("PollingRuntime", self), "several.test", 80, self.receiver)

    # The runtime

    def now(self) -> float:
        return self.time

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_blocking(self, told: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        assert args == ("several.test", 80)
        self.told = told

    def watch(self, sock: FakeSocket, ready: Ready, *, writing: bool) -> None:
        assert not sock.closed
        self.watched[sock] = (ready, writing)

    def unwatch(self, sock: FakeSocket) -> None:
        del self.watched[sock]

    # The test

    def found(self, *addresses: str) -> None:
        self.told([(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses])

    def turn(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.deadlines.fire(self.time)

    def ready(self, sock: FakeSocket, *, readable: bool = False, writable: bool = False) -> None:
        ready, writing = self.watched[sock]
        ready(readable, writable and writing)
        self.turn()

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


def test_looking_up_gives_addresses_or_the_error() -> None:
    assert [address[4] for address in look_up("127.0.0.1", 80)] == [("127.0.0.1", 80)]
    with pytest.raises((OSError, ValueError)):
        look_up("h" * 300, 80)


def test_a_name_that_is_none(world: World) -> None:
    error = OSError("no such name")
    world.told(error)
    assert world.receiver.history == [("failed", error)]


def test_it_opens_without_delays_for_small_packets(world: World) -> None:
    sock = world.connected()
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in sock.options
    assert not world.deadlines.armed


def test_a_connection_that_is_there_at_once(world: World) -> None:
    world.connects["one"] = None
    world.connected()


def test_the_next_address_is_tried_beside_one_that_hangs(world: World) -> None:
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


def test_what_is_readable_is_not_open_yet(world: World) -> None:
    world.found("one")
    _, one = world.connecting[0]
    world.ready(one, readable=True)
    assert world.receiver.history == []


@pytest.mark.parametrize("way", ["close", "abort"])
def test_giving_up_before_the_name_is_known(world: World, way: str) -> None:
    getattr(world.stream, way)()
    world.turn()
    world.found("one", "two")
    world.wait(10)
    assert world.connecting == []
    assert world.receiver.history == []


@pytest.mark.parametrize("way", ["close", "abort"])
def test_giving_up_while_connecting(world: World, way: str) -> None:
    world.found("one", "two", "three")
    world.wait(0.25)
    ready = [ready for ready, _ in world.watched.values()]
    getattr(world.stream, way)()
    for call in ready:
        call(False, True)
    world.turn()
    world.wait(10)
    assert len(world.connecting) == 2
    assert all(sock.closed for _, sock in world.connecting)
    assert world.receiver.history == []


# Open


def test_what_is_written_in_one_turn_is_sent_at_once(world: World) -> None:
    sock = world.connected()
    world.stream.write(b"one ")
    world.stream.write(bytearray(b"two"))
    assert sock.sent == b""
    assert len(world.soon) == 1
    world.turn()
    assert sock.sent == b"one two"
    assert world.receiver.history == ["opened", "sent"]


def test_what_finds_no_room_is_sent_when_there_is_some(world: World) -> None:
    sock = world.connected()
    sock.room = [3, BlockingIOError(), 100]
    world.stream.write(b"hello")
    world.turn()
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
    world.turn()
    assert sock.closed
    assert world.receiver.history == ["opened", b"last", ("closed", error)]


def test_when_writing_breaks_what_can_be_read_comes_first(world: World) -> None:
    sock, pipe = world.connected(), BrokenPipeError("pipe")
    sock.room = [3, pipe]
    sock.incoming = [b"413 Too Large", b""]
    world.stream.write(b"hello")
    world.turn()
    world.ready(sock, writable=True)
    world.ready(sock, readable=True)
    world.ready(sock, readable=True)
    assert world.receiver.history == ["opened", b"413 Too Large", ("closed", pipe)]


def test_closing_sends_what_was_written_first(world: World) -> None:
    sock = world.connected()
    sock.room = [2]
    sock.incoming = [b"ignored"]
    world.stream.write(b"hello")
    world.stream.close()
    world.turn()
    world.ready(sock, readable=True)
    assert not sock.closed
    world.ready(sock, writable=True)
    assert sock.sent == b"hello"
    assert sock.closed
    assert world.receiver.history == ["opened"]


def test_closing_ends_when_writing_breaks(world: World) -> None:
    sock = world.connected()
    sock.room = [BrokenPipeError()]
    world.stream.write(b"hello")
    world.stream.close()
    world.turn()
    assert sock.closed
    assert world.receiver.history == ["opened"]


def test_closing_when_nothing_waits(world: World) -> None:
    sock = world.connected()
    world.stream.close()
    world.turn()
    assert sock.closed
    assert world.receiver.history == ["opened"]


def test_aborting_drops_what_was_written(world: World) -> None:
    sock = world.connected()
    world.stream.write(b"hello")
    sock.room = [0]
    world.turn()
    world.stream.abort()
    world.turn()
    assert sock.closed
    assert sock.sent == b""
    assert world.receiver.history == ["opened"]
