"""The Manager in a block: its connection, sockets, events, and the options that may be set while running."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sansio_socketio.client import Socket
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, OpenTimeout, OptionError
from tests.support.fake_runtime import URL, World


def test_a_manager_opens_and_its_sockets_connect(world: World) -> None:
    async def body(manager: Any) -> None:
        await world.settle()
        assert manager.engine.id == "e1"
        admin = manager.socket("/admin", auth={"token": 1})
        await admin.wait_connected()
        assert manager.socket("/admin") is admin
        with pytest.warns(UserWarning, match="the socket of /admin already exists .* ignored: auth"):
            manager.socket("/admin", auth={"token": 2})
        await admin.disconnect()
        assert manager.socket("/admin") is admin
        await admin.wait_connected()
        assert manager.socket("plain").nsp == "/plain"

    world.run_started(body)


def test_without_auto_connect_open_opens_the_connection(world: World) -> None:
    async def body(manager: Any) -> None:
        socket = manager.socket("/")
        await world.sleep(1)
        assert world.server.connections == 0
        assert await manager.open() is manager
        assert world.server.connections == 1
        await manager.connect()
        await socket.connect()

    world.run_started(body, auto_connect=False)


@pytest.mark.row("difference.awaited")
def test_open_raises_the_failure_and_starts_no_reconnection(world: World) -> None:
    async def body(manager: Any) -> None:
        world.server.accepts = False
        with pytest.raises(ConnectError, match="refused"):
            await manager.open()
        await world.sleep(100)
        assert world.server.connections == 1

    world.run_started(body, auto_connect=False)


def test_sockets_are_notified_of_a_first_attempt_that_fails_at_once(world: World) -> None:
    world.server.accepts = None
    seen: list[Any] = []

    async def watch(socket: Any) -> None:
        socket.on("connect_error", seen.append)
        await world.sleep(0.1)
        assert [type(error.__cause__) for error in seen] == [OpenTimeout]
        seen.clear()

    async def main() -> None:
        manager = world.manager_class(URL, timeout=0)
        socket = manager.socket("/")
        async with manager:
            await watch(socket)
        async with world.scopes.open_io(URL) as io:
            await watch(io("/", timeout=0))

    world.run(main)


@pytest.mark.parametrize("eager", [False, True])
def test_open_raises_when_a_function_fails(world: World, eager: bool) -> None:
    world.eager = eager

    async def body(manager: Any) -> None:
        with pytest.raises(ConnectError, match="the function for query raised ZeroDivisionError"):
            await manager.open()

    world.run_started(body, auto_connect=False, query=lambda: 1 / 0)


def test_open_raises_when_the_connection_is_closed_meanwhile(world: World) -> None:
    async def body(manager: Any) -> None:
        world.server.accepts = None
        opening = world.spawn(manager.open)
        await world.sleep(1)
        await manager.close()
        with pytest.raises(DisconnectedError, match="forced close"):
            await world.join(opening)

    world.run_started(body, auto_connect=False)


def test_close_waits_until_everything_is_sent_and_connect_opens_again(world: World) -> None:
    log: list[Any] = []

    async def body(manager: Any) -> None:
        socket = manager.socket("/")
        manager.on("close", log.append)
        socket.on("disconnect", lambda reason: log.append(("socket", reason)))
        await socket.wait_connected()
        await socket.emit("last")
        await manager.close()
        assert world.server.events() == [["last"]]
        assert manager.engine.state == "closed"
        await socket.wait_closed()
        await manager.close()
        await socket.connect()
        assert socket.connected

    world.run_started(body)
    assert log[:2] == ["forced close", ("socket", "forced close")]


def test_close_stops_waiting_when_the_connection_is_opened_again(world: World) -> None:
    async def body(manager: Any) -> None:
        socket = await manager.socket("/").connect()
        socket.once("disconnect", socket.connect)
        world.server.is_reading = False
        world.call_at(world.time + 1, world.server.read_on)
        began = world.time
        await manager.close()
        assert world.time == began
        await socket.wait_connected()
        assert world.server.connections == 2

    world.run_started(body)


def test_a_manager_emits_its_events_in_order(world: World) -> None:
    log: list[Any] = []

    async def body(manager: Any) -> None:
        for name in ("open", "ping", "reconnect", "reconnect_attempt", "reconnect_failed", "close"):
            manager.on(name, lambda *values, name=name: log.append((name, *values)))
        for name in ("error", "reconnect_error"):
            manager.on(name, lambda error, name=name: log.append((name, type(error).__name__)))
        socket = manager.socket("/")
        socket.on("connect", lambda: log.append("socket connect"))
        socket.on("connect_error", lambda: log.append("socket connect_error"))
        socket.on("disconnect", lambda: log.append("socket disconnect"))
        await socket.wait_connected()
        world.server.ping()
        await world.settle()
        world.server.accepts = False
        world.server.lose()
        world.call_at(world.time + 2, lambda: setattr(world.server, "accepts", True))
        await socket.wait_connected()
        await world.settle()
        log.append("---")
        world.server.accepts = False
        world.server.lose()
        await world.sleep(100)

    world.run_started(body, reconnection_attempts=2, randomization_factor=0)
    failed_attempt = [("error", "TransportError"), ("reconnect_error", "TransportError"), "socket connect_error"]
    lost = [log[log.index("socket disconnect") - 1], "socket disconnect"]
    assert lost[0][:2] == ("close", "transport close")
    assert log[: log.index("---")] == [
        ("open",),
        "socket connect",
        ("ping",),
        *lost,
        ("reconnect_attempt", 1),
        *failed_attempt,
        ("reconnect_attempt", 2),
        ("open",),
        ("reconnect", 2),
        "socket connect",
    ]
    assert [item[0] for item in log[log.index("---") + 1 :] if isinstance(item, tuple)] == [
        "close",
        "reconnect_attempt",
        "error",
        "reconnect_error",
        "reconnect_attempt",
        "error",
        "reconnect_failed",
        "reconnect_error",
    ]


def test_the_options_that_may_be_set_while_running(world: World) -> None:
    async def body(manager: Any) -> None:
        for name, value in {
            "reconnection_attempts": 3,
            "reconnection_delay": 0.5,
            "reconnection_delay_max": 7,
            "randomization_factor": 0.1,
            "timeout": 9,
            "reconnection": False,
        }.items():
            setattr(manager, name, value)
            assert getattr(manager, name) == value
            with pytest.raises(OptionError, match=name):
                setattr(manager, name, "nonsense")

    world.run_started(body)


def test_a_manager_can_be_configured_before_its_block(world: World) -> None:
    manager = world.manager_class(URL)
    manager.reconnection = False
    assert manager.engine is None
    assert repr(manager) == f"<Manager of {URL}, closed>"
    seen: list[str] = []
    manager.on("open", lambda: seen.append("open"))

    async def main() -> None:
        async with manager:
            await manager.socket("/").wait_connected()
            await world.settle()

    world.run(main)
    assert seen == ["open"]


@pytest.mark.row("manager.event.packet")
def test_an_unknown_event_of_a_manager_is_an_error(world: World) -> None:
    manager = world.manager_class(URL)
    with pytest.raises(OptionError, match="unknown event 'reconnected'; the events are close, error, open"):
        manager.on("reconnected", print)


def test_disabling_the_verification_of_certificates_warns(world: World) -> None:
    with pytest.warns(UserWarning, match="the server's certificate is not verified"):
        world.manager_class(URL, ssl=False)


def test_sockets_are_of_the_socket_class_of_the_driver(world: World) -> None:
    async def body(manager: Any) -> None:
        assert isinstance(manager.socket("/"), Socket)

    world.run_started(body)


def test_the_first_failed_attempt_is_logged_at_warning_if_nothing_else_reports_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return found

    async def body(manager: Any) -> None:
        world.server.accepts = False
        socket = manager.socket("/")
        await world.sleep(20)
        [message] = warnings()
        assert message.startswith(f"{URL}: cannot connect, and tries again: could not connect: ")
        world.server.accepts = True
        await socket.wait_connected()
        world.server.accepts = False
        world.server.lose()
        await world.sleep(20)
        assert warnings() == []
        with pytest.raises(ConnectError):
            await manager.open()

    async def main() -> None:
        async with world.scopes.connect(URL):
            raise AssertionError

    world.run_started(body)
    world.server.accepts = False
    with pytest.raises(ConnectError):
        world.run(main)
    assert warnings() == []
