"""Every queue that a peer can make grow is bounded: each test floods one, behind a handler that never returns."""

from __future__ import annotations

from typing import Any

from sansio_socketio.client import InboxOverflow
from sansio_socketio.client.run.lifecycle import MOST_CALLS
from sansio_socketio.protocol.errors import PacketError
from sansio_socketio.protocol.events import AckFailed, Closed, EventReceived
from sansio_socketio.protocol.packets.socketio import CONNECT
from sansio_socketio.protocol.transports.cookies import MAX_COOKIE_SIZE, MAX_COOKIES, MAX_PATH_SIZE, CookieJar
from sansio_socketio.running import dispatcher
from tests.support.fake_runtime import World
from tests.support.fake_server import FakeServer, wires

FLOOD = 2 * MOST_CALLS


def test_queued_pings_are_bounded(world: World) -> None:
    calls: list[None] = []

    async def body(manager: Any) -> None:
        async def slow() -> None:
            calls.append(None)
            await world.sleep(1000)

        manager.on("ping", slow)
        await manager.connect()
        for _ in range(FLOOD):
            world.server.ping()
        await world.sleep(10)
        assert len(calls) == MOST_CALLS

    reported: list[Any] = []
    world.run_started(body, on_handler_error=lambda error, event: reported.append((event, type(error))))
    assert reported == [("ping", InboxOverflow)]


def test_queued_lifecycle_events_of_a_socket_are_bounded(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatcher, "MOST_LIFECYCLE", 6)
    calls: list[Any] = []
    reported: list[Any] = []

    async def body(manager: Any) -> None:
        socket = manager.socket()
        for name in ("connect", "disconnect"):

            async def slow(*args: Any, name: str = name) -> None:
                calls.append(name)
                await world.sleep(100)

            socket.on(name, slow)
        for _ in range(2):
            await socket.wait_connected()
            for _ in range(10):
                world.server.lose()
                await socket.wait_connected()
            await world.sleep(1000)
            assert calls[-1] == "connect", "the last one in the queue is the current state"
            assert 6 <= len(calls) <= 7
            calls.clear()

    world.run_started(body, on_handler_error=lambda error, event: reported.append(type(error)))
    assert reported == [InboxOverflow] * 2


def test_events_before_the_namespace_is_accepted_are_bounded() -> None:
    with wires():
        server = FakeServer(max_message_size=1600, reconnection=False)
        server.opened()
        server.emit("early", "x" * 1000)  # one may have any size
        assert server.client.is_open
        server.emit("early")
        [closed, *_] = server.events()
        assert isinstance(closed, Closed)
        assert isinstance(closed.details, PacketError)


def test_unread_acknowledgements_are_bounded() -> None:
    with wires():
        server = FakeServer(max_buffered_bytes=10_000, reconnection=False)
        socket = server.joined()
        server.is_reading = False
        acknowledged = 0
        while server.client.is_open:
            server.emit("want", id=acknowledged)
            acknowledged += 1
            for event in server.events():
                if isinstance(event, EventReceived) and event.ack_id is not None:
                    socket.acknowledge(event.ack_id, [], server.now)
            assert acknowledged < 10_000, "each takes few bytes on the wire, but more in memory"
        assert not any(isinstance(event, AckFailed) for event in server.events())


def test_the_offset_of_a_namespace_is_bounded() -> None:
    with wires():
        server = FakeServer()
        server.joined(pid="p")
        server.emit("news", "o1")
        server.emit("news", "x" * 100_000)
        server.lose()
        server.advance(5)
        server.accept()
        [connect] = [packet for packet in server.sent() if packet.type == CONNECT]
        assert connect.data == {"pid": "p", "offset": "o1"}


def test_stored_cookies_are_bounded() -> None:
    jar = CookieJar()
    for number in range(2 * MAX_COOKIES):
        path = b"/" + b"p" * (MAX_PATH_SIZE + number)
        value = b"v" * (MAX_COOKIE_SIZE - 10)
        jar.update([(b"set-cookie", b"c%d=%s; Path=%s" % (number, value, path))], "/a/b", 0.0)
    assert jar.header("/a/b", 0.0, secure=False).count(b"=") == MAX_COOKIES, "a path that is too long is ignored"
