"""The rows of a Socket: its events and their reasons, its attributes and methods, and recovery after a lost connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from sansio_socketio.client import EventType
from sansio_socketio.protocol.errors import (
    AckTimeout,
    ConnectError,
    DisconnectedError,
    PacketError,
    PayloadError,
    TransportError,
)
from tests.interop.conftest import FreshTarget
from tests.support.bad_peers import refused_url
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import TRANSPORTS, Target

PATIENT: Final[dict[str, Any]] = {"reconnection": False}
"""No client reconnects by itself, so that a test can check the state between two connections."""


async def handled(socket: Any, driver: Driver) -> None:
    """Wait until the server has received everything, and everything that it has sent is handled."""
    done = driver.queue()
    socket.on("n", done.put)
    await socket.emit("burst", 1)
    await done.get()
    socket.off("n", done.put)


# ---------------------------------------------------------------------------------------------------------------------
# Events


async def kick(socket: Any) -> None:
    await socket.emit("kick")


async def leave(socket: Any) -> None:
    await socket.disconnect()


async def close_engine(socket: Any) -> None:
    await socket.emit("close_engine")


async def garble(socket: Any) -> None:
    await socket.emit("garble")


async def send_invalid_packet(socket: Any) -> None:
    await socket.emit("nonsense")


async def close_manager(socket: Any) -> None:
    await socket.io.close()


@dataclass
class Ending:
    """How to cause it, whether the socket is active afterwards and reconnects, and the details."""

    bring_about: Callable[[Any], Awaitable[None]]
    active: bool
    reconnects: bool
    details: type[Exception] | None = None


REASONS = {
    "io server disconnect": Ending(kick, active=False, reconnects=False),
    "io client disconnect": Ending(leave, active=False, reconnects=False),
    "forced close": Ending(close_manager, active=True, reconnects=False),
    "transport close": Ending(close_engine, active=True, reconnects=True, details=TransportError),
    "transport error": Ending(garble, active=True, reconnects=True, details=TransportError),
    "parse error": Ending(send_invalid_packet, active=True, reconnects=True, details=PacketError),
}


@pytest.mark.row("socket.event.connect", "socket.event.disconnect", "socket.active", "socket.connected")
@pytest.mark.row("reason.io_server_disconnect", "reason.io_client_disconnect", "reason.forced_close")
@pytest.mark.row("reason.transport_close", "reason.transport_error", "reason.parse_error")
@pytest.mark.parametrize("reason", REASONS)
async def test_disconnect_is_called_with_the_reason(reason: str, driver: Driver, plain_target: Target) -> None:
    ending = REASONS[reason]
    seen = driver.queue()
    async with plain_target.connect(driver) as socket:
        socket.on("connect", lambda: seen.put(("connect", socket.connected)))
        socket.on("disconnect", lambda why, more: seen.put((why, socket.connected, socket.active, more)))
        await plain_target.settle(driver, socket)
        assert await seen.get() == ("connect", True)
        await ending.bring_about(socket)
        *arguments, details = await seen.get()
        assert arguments == [reason, False, ending.active]
        assert details is None if ending.details is None else isinstance(details, ending.details)
        if not ending.reconnects:
            await socket.connect()
        assert await seen.get() == ("connect", True)
        assert await socket.emit_with_ack("echo_ack", "again") == "again"


@pytest.mark.row("reason.ping_timeout")
async def test_a_silent_server_disconnects_with_a_ping_timeout(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(options={"pingInterval": 300, "pingTimeout": 1200})
    seen = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: seen.put((reason, socket.active)))
        await target.settle(driver, socket)
        with target.peer.frozen():
            assert await seen.get() == ("ping timeout", True)


@pytest.mark.row("socket.event.connect_error")
async def test_connect_error_is_called_with_the_data_of_a_refusal(driver: Driver, plain_target: Target) -> None:
    errors = driver.queue()
    async with driver.manager(plain_target.peer.url, **plain_target.options) as manager:
        socket = manager.socket("/auth", auth={"token": "wrong"})
        socket.on("connect_error", lambda error: errors.put((error, socket.active)))
        error, active = await errors.get()
        assert isinstance(error, ConnectError)
        assert (error.message, error.data, active) == ("not authorized", {"code": "EAUTH", "wanted": "token"}, False)
        assert error.__cause__ is None


@pytest.mark.row("socket.event.connect_error")
async def test_connect_error_is_called_with_the_cause_of_a_failed_attempt(
    driver: Driver, transport: str, plain_fresh: FreshTarget
) -> None:
    other = "polling" if transport == "websocket" else "websocket"
    target = plain_fresh(options={"transports": [other]})
    first, second = await errors_of(driver, target.url(), **target.options)
    for error, active in (first, second):
        assert isinstance(error, ConnectError)
        assert (error.data, active) == (None, True)
        assert isinstance(error.__cause__, TransportError)
        assert error.__cause__.status == 400
        assert "Transport unknown" in (error.__cause__.body or "")


@pytest.mark.row("socket.event.connect_error")
async def test_connect_error_is_called_for_an_unreachable_server(driver: Driver, transport: str) -> None:
    first, _ = await errors_of(driver, refused_url(), transports=TRANSPORTS[transport], reconnection_delay=0.01)
    error, active = first
    assert active
    assert isinstance(error.__cause__, TransportError)
    assert isinstance(error.__cause__.__cause__, ConnectionRefusedError)


async def errors_of(driver: Driver, url: str, **options: Any) -> list[Any]:
    """Return the first two errors of connect_error, each with whether the socket was active."""
    errors = driver.queue()
    async with driver.open_io() as io:
        socket = io(url, **options)
        socket.on("connect_error", lambda error: errors.put((error, socket.active)))
        return [await errors.get(), await errors.get()]


# ---------------------------------------------------------------------------------------------------------------------
# Attributes, connecting and disconnecting


@pytest.mark.row(
    "socket.active",
    "socket.connected",
    "socket.disconnected",
    "socket.id",
    "socket.io",
    "socket.nsp",
    "socket.recovered",
)
async def test_attributes_follow_the_connection(driver: Driver, node_server: Peer) -> None:
    welcomes = driver.queue()

    def state(socket: Any) -> tuple[bool, bool, bool]:
        return socket.active, socket.connected, socket.disconnected

    async with driver.manager(node_server.url, auto_connect=False) as manager:
        socket = manager.socket("/chat")
        socket.on("welcome", welcomes.put)
        assert (socket.nsp, socket.id, socket.recovered, socket.io) == ("/chat", None, False, manager)
        assert state(socket) == (False, False, True)
        await socket.connect()
        assert state(socket) == (True, True, False)
        first = socket.id
        assert first == (await welcomes.get())["sid"]
        await socket.disconnect()
        assert state(socket) == (False, False, True)
        assert socket.id is None
        await socket.connect()
        assert socket.id not in (None, first)
        assert not socket.recovered


@pytest.mark.row("socket.auth")
async def test_auth_that_is_set_applies_from_the_next_connect(driver: Driver, node_server: Peer) -> None:
    async def asked_for() -> dict[str, str]:
        return {"name": "Cy"}

    async with driver.connect(f"{node_server.url}/chat", auth={"name": "Ada"}) as socket:
        assert socket.auth == {"name": "Ada"}
        for auth, sent in (({"name": "Ben"}, "Ben"), (driver.handler(asked_for), "Cy"), (None, None)):
            before = (await socket.emit_with_ack("handshake"))["auth"]
            socket.auth = auth
            assert callable(socket.auth) if callable(auth) else socket.auth == auth
            assert (await socket.emit_with_ack("handshake"))["auth"] == before
            await socket.disconnect()
            await socket.connect()
            assert (await socket.emit_with_ack("handshake"))["auth"].get("name") == sent


@pytest.mark.row("socket.connect", "socket.open", "socket.disconnect", "socket.close", "socket.chaining")
@pytest.mark.parametrize(("begin", "end"), [("connect", "disconnect"), ("open", "close")])
async def test_connect_and_disconnect(begin: str, end: str, driver: Driver, plain_target: Target) -> None:
    async with driver.manager(plain_target.peer.url, auto_connect=False, **plain_target.options) as manager:
        socket = manager.socket("/")
        for number in range(2):
            assert await getattr(socket, begin)() == socket
            assert await getattr(socket, begin)() == socket
            assert await socket.emit_with_ack("echo_ack", number) == number
            assert await getattr(socket, end)() == socket
            assert await getattr(socket, end)() == socket
            await socket.wait_closed()


# ---------------------------------------------------------------------------------------------------------------------
# Sending


@pytest.mark.row("socket.emit", "socket.emit_with_ack", "socket.send", "socket.compress", "socket.timeout")
async def test_events_are_sent_with_each_method_and_flag(driver: Driver, plain_target: Target) -> None:
    got = driver.queue()
    async with plain_target.connect(driver) as socket:
        socket.on("message", lambda *values: got.put(values)).on("echo", lambda *values: got.put(values))
        await socket.emit("echo", 1, b"2")
        await socket.send("three", {"four": 5})
        await socket.compress(False).emit("echo", 6)
        await socket.compress(True).timeout(5).send(7)
        assert [await got.get() for _ in range(4)] == [(1, b"2"), ("three", {"four": 5}), (6,), (7,)]
        assert await socket.emit_with_ack("echo_ack", 1, 2) == (1, 2)
        assert await socket.timeout(5).compress(False).emit_with_ack("echo_ack", "flags") == "flags"


@pytest.mark.row("option.ack_timeout", "socket.timeout", "socket.emit.ack")
async def test_ack_timeout_and_timeout_limit_the_wait_for_an_acknowledgement(
    driver: Driver, plain_target: Target
) -> None:
    got = driver.queue()
    async with plain_target.connect(driver, ack_timeout=0.05) as socket:
        with pytest.raises(AckTimeout, match=r"'silent' was not acknowledged within 0.05 seconds"):
            await socket.emit_with_ack("silent")
        await socket.emit("silent", ack=got.put)
        assert isinstance(await got.get(), AckTimeout)
        await socket.timeout(5).emit("sleep", 0.1, "late", ack=lambda error, value: got.put((error, value)))
        assert await got.get() == (None, "late")
        assert await socket.timeout(None).emit_with_ack("sleep", 0.1, "later") == "later"


@pytest.mark.row("socket.volatile")
async def test_volatile_events_are_dropped_while_not_writable(driver: Driver, plain_target: Target) -> None:
    async with driver.manager(plain_target.peer.url, auto_connect=False, **plain_target.options) as manager:
        socket = manager.socket("/")
        await socket.volatile.emit("n", "dropped")
        await socket.emit("n", 0)
        await socket.connect()
        assert await socket.emit_with_ack("count") == {"total": 1, "ordered": True}
        for _ in range(1000):  # until the transport is writable
            await socket.volatile.emit("n", 0)
            if (await socket.emit_with_ack("count"))["total"]:
                break
        else:
            raise AssertionError("none was sent")


# ---------------------------------------------------------------------------------------------------------------------
# Handlers


@pytest.mark.row("socket.on", "socket.once", "socket.off", "socket.listeners", "socket.chaining")
async def test_handlers_are_registered_called_in_order_and_removed(driver: Driver, plain_target: Target) -> None:
    seen: list[Any] = []

    def first(value: int) -> None:
        seen.append(("first", value))

    def second(value: int) -> None:
        seen.append(("second", value))

    async with plain_target.connect(driver) as socket:
        assert socket.on("echo", first).on("echo", second).once("echo", first).on("echo", first) == socket
        assert socket.listeners("echo") == [first, second, first, first]
        for number, remove in enumerate([(), ("echo", first), ("echo",), ()]):
            assert not remove or socket.off(*remove) == socket
            await socket.emit("echo", number)
            await handled(socket, driver)
        assert socket.listeners("echo") == []
        socket.on("echo", first).on("other", second).off()
        assert socket.listeners("echo") == socket.listeners("other") == []
        await socket.emit("echo", 4)
        await handled(socket, driver)
    assert seen == [
        *[("first", 0), ("second", 0), ("first", 0), ("first", 0)],
        *[("second", 1), ("first", 1)],
    ]


@pytest.mark.row("socket.on", "socket.once", "socket.on_any", "socket.on_any_outgoing")
async def test_handlers_are_registered_by_decorators(driver: Driver, node_server: Peer) -> None:
    seen: list[str] = []
    async with driver.connect(node_server.url) as socket:

        @socket.on("echo")  # type: ignore[untyped-decorator]  # of any driver
        def each() -> None:
            seen.append("each")

        @socket.once("echo")  # type: ignore[untyped-decorator]
        def one() -> None:
            seen.append("one")

        @socket.on_any  # type: ignore[untyped-decorator]
        def bare(event: str) -> None:
            seen.append(f"any {event}")

        @socket.on_any_outgoing()  # type: ignore[untyped-decorator]
        def called(event: str) -> None:
            seen.append(f"sent {event}")

        assert socket.listeners("echo") == [each, one]
        assert (socket.listeners_any(), socket.listeners_any_outgoing()) == ([bare], [called])
        await socket.emit("echo")
        await handled(socket, driver)
        await socket.emit("echo")
        await handled(socket, driver)
    received = [name for name in seen if not name.startswith("sent")]
    assert received == ["any welcome", "any echo", "each", "one", "any n", "any echo", "each", "any n"]
    assert [name for name in seen if name.startswith("sent")] == ["sent echo", "sent burst"] * 2


@pytest.mark.row("socket.on_any", "socket.prepend_any", "socket.off_any", "socket.listeners_any", "difference.on_any")
async def test_on_any_handlers_are_called_for_every_event(driver: Driver, plain_target: Target) -> None:
    seen: list[Any] = []

    def first(event: str, *values: Any) -> None:
        seen.append(("first", event, *values))

    def second(event: str, *values: Any) -> str:
        seen.append(("second", event, *values))
        return "no acknowledgement"

    async with plain_target.connect(driver) as socket:
        await handled(socket, driver)
        socket.on("question", lambda: "answer").on("answered", seen.append)
        assert socket.on_any(second) is second
        assert socket.prepend_any(first) is first
        assert socket.listeners_any() == [first, second]
        await socket.emit("ask", "question")
        await driver.until(lambda: "answer" in seen)
        assert socket.off_any(first) == socket
        await socket.emit("echo", 1)
        await handled(socket, driver)
        assert socket.off_any().listeners_any() == []
        await socket.emit("echo", 2)
        await handled(socket, driver)
    assert seen == [
        *[("first", "question"), ("second", "question")],
        *[("first", "answered", "answer"), ("second", "answered", "answer"), "answer"],
        *[("second", "echo", 1), ("second", "n", 0)],
    ]


@pytest.mark.row(
    "socket.on_any_outgoing",
    "socket.prepend_any_outgoing",
    "socket.off_any_outgoing",
    "socket.listeners_any_outgoing",
    "difference.outgoing",
)
async def test_on_any_outgoing_handlers_are_called_for_sent_events(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()

    def first(event: str, *values: Any) -> None:
        seen.put(("first", event, *values))

    async def second(event: str) -> None:
        seen.put(("second", event))

    later = driver.handler(second)
    async with driver.manager(plain_target.peer.url, auto_connect=False, **plain_target.options) as manager:
        socket = manager.socket("/")
        assert socket.on_any_outgoing(later) is later
        assert socket.prepend_any_outgoing(first) is first
        assert socket.listeners_any_outgoing() == [first, later]
        socket.on("connect", lambda: seen.put("connect")).on("question", lambda: "an acknowledgement")
        await socket.emit("echo", "buffered", b"\x00")
        await socket.volatile.emit("echo", "dropped")
        await socket.connect()
        assert [await seen.get() for _ in range(3)] == [
            ("first", "echo", "buffered", b"\x00"),
            ("second", "echo"),
            "connect",
        ]
        assert socket.off_any_outgoing(later) == socket
        await socket.emit("ask", "question")
        await socket.emit_with_ack("echo_ack", 1)
        assert [await seen.get() for _ in range(2)] == [("first", "ask", "question"), ("first", "echo_ack", 1)]
        assert socket.off_any_outgoing().listeners_any_outgoing() == []
        await socket.emit("echo", "unheard")
        await handled(socket, driver)
        seen.put("the end")
        assert await seen.get() == "the end"


@pytest.mark.row("socket.on_any_outgoing", "option.retries")
async def test_on_any_outgoing_is_called_for_each_retry(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with plain_target.connect(driver, retries=1, ack_timeout=0.05) as socket:
        socket.on_any_outgoing(lambda *event: seen.put(event))
        await socket.emit("silent", 1, ack=seen.put)
        assert [await seen.get() for _ in range(2)] == [("silent", 1)] * 2
        assert isinstance(await seen.get(), TimeoutError)


@dataclass
class Position:
    x: float
    picture: bytes = b""


@pytest.mark.row("socket.connect_nowait", "socket.disconnect_nowait")
async def test_plain_handlers_may_connect_and_disconnect(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with driver.manager(plain_target.peer.url, auto_connect=False, **plain_target.options) as manager:
        socket = manager.socket("/")
        socket.on("connect", lambda: seen.put("connect")).on("disconnect", seen.put)
        socket.once("disconnect", lambda: socket.connect_nowait())  # noqa: PLW0108  # it is called with a reason
        socket.on("echo", lambda: socket.disconnect_nowait())  # noqa: PLW0108
        assert socket.connect_nowait() == socket
        assert socket.active
        await socket.wait_connected()
        await socket.emit("kick")
        assert [await seen.get() for _ in range(3)] == ["connect", "io server disconnect", "connect"]
        await socket.emit("echo")
        assert await seen.get() == "io client disconnect"
        assert not socket.active
        await socket.connect()
        assert socket.disconnect_nowait() == socket
        assert not socket.active


@pytest.mark.row("socket.drop_buffered")
async def test_buffered_events_can_be_dropped(driver: Driver, plain_target: Target) -> None:
    async with driver.manager(plain_target.peer.url, auto_connect=False, **plain_target.options) as manager:
        socket = manager.socket("/")
        await socket.emit("n", 5)
        await socket.emit("n", 6)
        assert socket.drop_buffered() == 2
        await socket.connect()
        await socket.emit("n", 0)
        assert await socket.emit_with_ack("count") == {"total": 1, "ordered": True}


@pytest.mark.row("beyond.typed")
async def test_typed_handlers_get_converted_values(driver: Driver, plain_target: Target) -> None:
    seen, errors = driver.queue(), driver.queue()

    async def move(position: Position, times: int = 1) -> Position:
        seen.put((position, times))
        return Position(position.x * times, position.picture)

    def report(error: Exception, event: str) -> None:
        errors.put((error, event))

    async with plain_target.connect(driver, on_handler_error=report) as socket:
        socket.on("move", driver.handler(move), typed=True)
        socket.on("answered", seen.put)
        await socket.emit("ask", "move", {"x": 1, "picture": b"\xff"}, "3")
        assert await seen.get() == (Position(1.0, b"\xff"), 3)
        assert await seen.get() == {"x": 3.0, "picture": b"\xff"}
        await socket.emit("ask_timeout", 0.05, "move", {"x": "left"})
        error, event = await errors.get()
        assert isinstance(error, PayloadError)
        assert (event, error.path) == ("move", "position.x")
        assert await seen.get() == "timeout"


@pytest.mark.row("beyond.typed_acknowledgements", "beyond.event_types")
async def test_typed_acknowledgements_are_converted(driver: Driver, plain_target: Target) -> None:
    echo = EventType[tuple[dict[str, Any]], dict[str, Any]]("echo_ack")
    async with plain_target.connect(driver) as socket:
        value = {"x": "1", "picture": b"\xff"}
        assert await socket.emit_with_ack(echo, value) == value
        assert await socket.emit_with_ack(echo, value, result=Position) == Position(1.0, b"\xff")
        with pytest.raises(PayloadError, match=r"^acknowledgement of event 'echo_ack', result\.picture: "):
            await socket.emit_with_ack(echo, {"x": 1, "picture": None}, result=Position)


# ---------------------------------------------------------------------------------------------------------------------
# Connection state recovery


@pytest.mark.row("recovery.recovered", "recovery.missed_events", "recovery.offset", "socket.recovered")
async def test_missed_events_are_delivered_after_a_recovery(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(options={"connectionStateRecovery": {}})
    seen = driver.queue()
    async with target.connect(driver, auth={"name": "Ada"}, **PATIENT) as socket:
        socket.on("connect", lambda: seen.put(("connect", socket.recovered)))
        socket.on("news", seen.put)
        socket.on_any(lambda event, *values: offsets.append(values[-1]) if event == "news" else None)
        offsets: list[str] = []
        await target.settle(driver, socket)
        first = socket.id
        assert await seen.get() == ("connect", False)
        for turn in range(3):
            target.peer.control("emit", event="news", args=[("before", turn)])
            assert await seen.get() == ["before", turn]
            await cut_and_wait(driver, target, socket, turn + 1)
            for number in range(10):
                target.peer.control("emit", event="news", args=[number])
            await socket.connect()
            assert [await seen.get() for _ in range(10)] == list(range(10))
            assert await seen.get() == ("connect", True)
            assert (socket.id, socket.recovered) == (first, True)
            handshake = await socket.emit_with_ack("handshake")
            assert handshake["auth"]["name"] == "Ada"
            assert handshake["auth"]["offset"] == offsets[-11]
        assert len(set(offsets)) == 3 * 11


@pytest.mark.row("recovery.recovered")
async def test_a_session_that_cannot_be_recovered_is_replaced(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(options={"connectionStateRecovery": {}})
    async with target.connect(driver, **PATIENT) as socket:
        await target.settle(driver, socket)
        first = socket.id
        target.peer.restart()
        with pytest.raises(DisconnectedError):
            await socket.wait_closed()
        await socket.connect()
        assert (socket.id == first, socket.recovered) == (False, False)
        await socket.disconnect()
        await socket.connect()
        assert not socket.recovered


async def cut_and_wait(driver: Driver, target: Target, socket: Any, times: int) -> None:
    """Cut the connection, and wait until both sides have counted it."""
    await target.settle(driver, socket)
    await socket.emit("cut")
    with pytest.raises(DisconnectedError):
        await socket.wait_closed()
    await driver.until(lambda: len(target.peer.control("stats")["disconnections"]) == times)
