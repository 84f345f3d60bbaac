"""Connecting, disconnecting and losing connections, against the real server, on every driver and transport."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, DisconnectedError
from tests.conftest import TLS, PeerFactory
from tests.interop.conftest import FreshTarget
from tests.support.drivers import ASYNC_DRIVERS, Driver
from tests.support.target import Target


@pytest.mark.row(
    "beyond.connect", "socket.connected", "socket.disconnected", "socket.id", "socket.event.connect", "option.auth"
)
async def test_handlers_registered_in_the_block_get_the_first_events(driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with target.connect(driver, auth={"name": "Ada"}, query={"room": "ü&7"}) as socket:
        socket.on("connect", lambda: seen.put("connect"))
        socket.on("welcome", seen.put)
        assert socket.connected
        sid = socket.id
        assert await seen.get() == "connect"
        welcome = await seen.get()
        assert (welcome["sid"], welcome["auth"], welcome["query"]["room"]) == (sid, {"name": "Ada"}, "ü&7")
    assert not socket.connected
    assert socket.id is None


@pytest.mark.row("io.multiplexing", "engine.id", "socket.disconnect", "socket.connect")
async def test_namespaces_share_a_connection(driver: Driver, target: Target) -> None:
    async with driver.open_io() as io:
        main = io(target.url("/"), **target.options)
        chat = io(target.url("/chat"), **target.options)
        assert main.io == chat.io
        await chat.wait_connected()
        await main.wait_connected()
        assert main.id != chat.id
        engines = [(await socket.emit_with_ack("handshake"))["engine"] for socket in (main, chat)]
        assert engines == [main.io.engine.id] * 2
        await chat.disconnect()
        assert await main.emit_with_ack("echo_ack", "still here") == "still here"
        await chat.connect()
        assert await chat.emit_with_ack("echo_ack", "back") == "back"


@pytest.mark.row("manager", "manager.close", "manager.event.open", "manager.socket", "difference.scopes")
async def test_a_manager_opens_and_closes_in_its_block(driver: Driver, target: Target) -> None:
    opened = driver.queue()
    async with driver.manager(target.peer.url, **target.options) as manager:
        manager.on("open", lambda: opened.put("open"))
        admitted = manager.socket("/auth", auth={"token": "secret"})
        assert manager.socket("/auth") == admitted
        await admitted.wait_connected()
        assert await opened.get() == "open"
        assert (await admitted.emit_with_ack("handshake"))["auth"] == {"token": "secret"}
        await manager.close()
        assert not admitted.connected


@pytest.mark.row("option.auth")
async def test_functions_for_auth_are_called(driver: Driver, target: Target) -> None:
    async def renewed_token() -> dict[str, str]:
        return {"token": "secret"}

    for auth in (lambda: {"token": "secret"}, driver.handler(renewed_token)):
        async with target.connect(driver, "/auth", auth=auth) as socket:
            assert (await socket.emit_with_ack("handshake"))["auth"] == {"token": "secret"}


@pytest.mark.row("beyond.connect")
async def test_a_refusal_raises_connect_error_with_message_and_data(driver: Driver, target: Target) -> None:
    with pytest.raises(ConnectError) as caught:
        async with target.connect(driver, "/auth", auth={"token": "wrong"}):
            raise AssertionError("the server must refuse")
    assert caught.value.message == "not authorized"
    assert caught.value.data == {"code": "EAUTH", "wanted": "token"}


@pytest.mark.row("socket.event.connect_error", "socket.auth", "socket.active")
async def test_a_refusal_does_not_affect_the_other_namespace(driver: Driver, target: Target) -> None:
    errors = driver.queue()
    async with driver.manager(target.peer.url, **target.options) as manager:
        main, guarded = manager.socket("/"), manager.socket("/auth")
        guarded.on("connect_error", errors.put)
        await main.wait_connected()
        error = await errors.get()
        assert (error.message, error.data["code"], guarded.active) == ("not authorized", "EAUTH", False)
        guarded.auth = {"token": "secret"}
        await guarded.connect()
        assert await guarded.emit_with_ack("echo_ack", "in") == "in"
        assert main.connected


async def test_an_unknown_namespace_raises_connect_error(driver: Driver, plain_target: Target) -> None:
    with pytest.raises(ConnectError, match="Invalid namespace"):
        async with plain_target.connect(driver, "/nowhere"):
            raise AssertionError("there is no such namespace")


@pytest.mark.row("reason.io_server_disconnect", "socket.event.disconnect", "socket.wait_closed", "socket.close_reason")
@pytest.mark.parametrize("close", [False, True], ids=["the namespace", "the connection"])
async def test_a_socket_that_the_server_disconnected_can_connect_again(
    close: bool, driver: Driver, target: Target
) -> None:
    gone = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: gone.put((reason, socket.active)))
        await target.settle(driver, socket)
        await socket.emit("kick", close)
        assert await gone.get() == ("io server disconnect", False)
        with pytest.raises(DisconnectedError) as caught:
            await socket.wait_closed()
        assert caught.value.reason == "io server disconnect"
        assert (socket.close_reason.reason, socket.close_reason.final) == ("io server disconnect", True)
        with pytest.raises(DisconnectedError):
            await socket.wait_connected()
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("beyond.state_at_the_event", "manager.engine")
async def test_a_handler_takes_the_state_at_the_time_of_its_event(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with plain_target.connect(driver) as socket:
        socket.on("connect", lambda state: seen.put((state.id, state.connected, state.active)))
        socket.on("disconnect", lambda reason, details, state: seen.put((reason, state.connected, state.active)))
        first, engine = socket.id, socket.io.engine
        await socket.disconnect()
        assert socket.io.engine == engine
        await socket.connect()
        assert await seen.get() == (first, True, True)
        assert await seen.get() == ("io client disconnect", False, False)
        assert await seen.get() == (socket.id, True, True)


@pytest.mark.row("reason.io_client_disconnect")
async def test_disconnect_is_received_by_the_server(driver: Driver, fresh: FreshTarget) -> None:
    target = fresh()
    gone = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: gone.put(reason))
        await target.settle(driver, socket)
        await socket.disconnect()
        assert not socket.active
        await socket.wait_closed()
        assert (socket.close_reason.reason, socket.close_reason.final) == ("io client disconnect", True)
        assert await gone.get() == "io client disconnect"
        await driver.until(lambda: target.peer.control("stats")["clients"] == 0)
        assert target.peer.control("stats")["disconnections"] == ["client namespace disconnect"]


async def test_the_end_of_the_block_sends_events_and_disconnects(driver: Driver, fresh: FreshTarget) -> None:
    target = fresh()
    for count in (1, 2):
        async with target.connect(driver) as socket:
            await socket.emit("echo", "the last word is delivered")
        await driver.until(lambda: target.peer.control("stats")["clients"] == 0)
        assert target.peer.control("stats")["disconnections"] == ["client namespace disconnect"] * count


async def test_emit_with_ack_raises_when_connection_is_lost(driver: Driver, target: Target) -> None:
    async with target.connect(driver, reconnection=False) as socket:
        await target.settle(driver, socket)
        with pytest.raises(DisconnectedError) as caught:
            await socket.emit_with_ack("kick", True)
        assert caught.value.reason == "io server disconnect"


@pytest.mark.row("reason.transport_close", "manager.event.reconnect", "socket.wait_connected")
async def test_server_closes_engine(driver: Driver, target: Target) -> None:
    seen = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: seen.put((reason, socket.active)))
        socket.io.on("reconnect", lambda attempt: seen.put(("reconnect", attempt)))
        await target.settle(driver, socket)
        first = socket.id
        await socket.emit("close_engine")
        assert await seen.get() == ("transport close", True)
        assert await seen.get() == ("reconnect", 1)
        await socket.wait_connected()
        assert socket.id != first
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_the_client_reconnects_after_a_network_failure(reset: bool, driver: Driver, fresh: FreshTarget) -> None:
    target = fresh()
    gone = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: gone.put((reason, details)))
        await target.settle(driver, socket)
        await socket.emit("cut", reset)
        reason, details = await gone.get()
        assert reason in {"transport close", "transport error"}
        assert details is not None
        await socket.wait_connected()
        assert await socket.emit_with_ack("echo_ack", "again") == "again"


@pytest.mark.row("option.reconnection")
async def test_buffered_events_are_sent_after_a_server_restart(driver: Driver, fresh: FreshTarget) -> None:
    target = fresh()
    seen = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("connect", lambda: seen.put("connect"))
        socket.on("disconnect", lambda reason, details: seen.put("disconnect"))
        await target.settle(driver, socket)
        assert await seen.get() == "connect"
        target.peer.kill()
        assert await seen.get() == "disconnect"
        for number in range(100):
            await socket.emit("n", number)
        target.peer.start()
        assert await seen.get() == "connect"
        assert await socket.emit_with_ack("count") == {"total": 100, "ordered": True}


@pytest.mark.row("reason.ping_timeout")
async def test_the_client_reconnects_after_a_ping_timeout(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(options={"pingInterval": 200, "pingTimeout": 1000})
    gone = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("disconnect", lambda reason, details: gone.put(reason))
        await target.settle(driver, socket)
        with target.peer.frozen():
            assert await gone.get() == "ping timeout"
        await socket.wait_connected()
        assert await socket.emit_with_ack("echo_ack", "awake") == "awake"


@pytest.mark.row("difference.order_of_sessions")
async def test_events_of_a_closed_connection_arrive_before_those_of_the_next(
    driver: Driver, plain_target: Target
) -> None:
    client = f"{driver.name} {plain_target.transport}"
    async with plain_target.connect(driver) as socket:
        for number in range(300):
            socket.emit_nowait("record", client, number, "x" * 50_000)
        await socket.disconnect()
        await socket.connect()
        await socket.emit_with_ack("record", client, 300)
        numbers = plain_target.peer.control("recorded", client=client)
        # The server drops events that it reads together with the disconnection.
        assert numbers == [*range(len(numbers) - 1), 300]
        assert len(numbers) > 250


@pytest.mark.row("reason.ping_timeout")
async def test_an_event_after_a_suspension_is_sent_on_a_new_connection(driver: Driver, plain_target: Target) -> None:
    seen, suspended = driver.queue(), 0.0
    async with driver.manager(plain_target.peer.url, suspension=lambda: suspended, **plain_target.options) as manager:
        socket = manager.socket("/")
        await plain_target.settle(driver, socket)
        socket.on("disconnect", seen.put)
        first = socket.id
        suspended = 3600.0
        await socket.emit("n", 0)
        assert not socket.connected
        assert await seen.get() == "ping timeout"
        await socket.wait_connected()
        assert await socket.emit_with_ack("count") == {"total": 1, "ordered": True}
        assert socket.id != first


@pytest.mark.row("manager.event.ping")
async def test_pings_keep_an_idle_connection_open(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(options={"pingInterval": 30, "pingTimeout": 2000})
    pings = driver.queue()
    async with target.connect(driver) as socket:
        socket.io.on("ping", lambda: pings.put(None))
        await target.settle(driver, socket)
        first = socket.id
        for _ in range(5):
            await pings.get()
        assert socket.id == first


async def test_cancelling_the_block_closes_the_connection(driver: Driver, fresh: FreshTarget) -> None:
    target = fresh()

    async def wait_for_ever(ready: Any) -> None:
        async with target.connect(driver) as socket:
            await socket.emit_with_ack("echo_ack", 1)
            ready()
            await socket.emit_with_ack("silent")

    await driver.cancelled(wait_for_ever)
    await driver.until(lambda: target.peer.control("stats")["sockets"] == 0)


@pytest.mark.parametrize("moment", ["before a stream is open", "before the server answers"])
async def test_cancelling_an_attempt_closes_its_connection(
    moment: str, driver: Driver, plain_fresh: FreshTarget
) -> None:
    target = plain_fresh()

    async def connect(ready: Any) -> None:
        async with driver.manager(target.peer.url, **target.options) as manager:
            manager.socket("/")
            if moment == "before the server answers":
                await driver.sleep(0.05)
            ready()
            await driver.sleep(30)

    with target.peer.frozen():
        await driver.cancelled(connect)
    await driver.until(lambda: target.peer.control("stats")["sockets"] == 0)


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
async def test_cancelling_an_auth_function_closes_the_connection(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    asked = driver.queue()

    async def auth() -> None:
        asked.put(None)
        await driver.sleep(30)

    async def connect(ready: Any) -> None:
        async with driver.manager(target.peer.url, **target.options) as manager:
            manager.socket("/", auth=auth)
            await asked.get()
            ready()
            await driver.sleep(30)

    await driver.cancelled(connect)
    await driver.until(lambda: target.peer.control("stats")["sockets"] == 0)


async def test_an_exception_of_the_body_is_raised_unchanged(driver: Driver, target: Target) -> None:
    class ApplicationError(Exception):
        pass

    async def raise_when_connected() -> None:
        async with target.connect(driver) as socket:
            await socket.emit("echo", 1)
            raise ApplicationError

    async def raise_while_connecting() -> None:
        async with driver.open_io() as io:
            io(target.url(), **target.options)
            raise ApplicationError

    for body in (raise_when_connected, raise_while_connecting):
        with pytest.raises(ApplicationError):
            await body()


@pytest.mark.row("io.ipv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_hosts_may_be_names_or_addresses(
    host: str, driver: Driver, scheme: str, tls: TLS, fresh_node_server: PeerFactory
) -> None:
    used = tls if scheme == "https" else None
    peer = fresh_node_server(host=host, tls=tls.files if used else None)
    async with Target(peer, "upgrade", used).connect(driver) as socket:
        assert (await socket.emit_with_ack("handshake"))["headers"]["host"] == peer.url.partition("//")[2]


async def test_an_untrusted_certificate_raises_connect_error(
    driver: Driver, transport: str, node_server_tls: Any
) -> None:
    with pytest.raises(ConnectError, match=r"(?i)certificate"):
        async with Target(node_server_tls, transport).connect(driver):
            raise AssertionError("the certificate must not be trusted")


async def test_a_namespace_is_left_and_joined_again_on_a_shared_connection(driver: Driver, target: Target) -> None:
    closed = driver.queue()
    async with driver.manager(target.peer.url, **target.options) as manager:
        main, chat = manager.socket("/"), manager.socket("/chat")
        await target.settle(driver, main)
        manager.on("close", closed.put)
        engine = manager.engine.id
        for _ in range(20):
            await chat.wait_connected()
            await chat.disconnect()
            chat.connect_nowait()
        await chat.wait_connected()
        assert await chat.emit_with_ack("echo_ack", 1) == 1
        assert manager.engine.id == engine
