"""The Engine: one object for each session, its events in order, its end; and what is counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sansio_socketio.client import Engine, EngineTransport, InboxOverflow, Manager
from sansio_socketio.client.run.session import ENGINE_EVENTS
from sansio_socketio.protocol.errors import DisconnectedError, OptionError
from sansio_socketio.protocol.events import EnginePacket
from tests.support.fake_runtime import Cancelled, World
from tests.unit.client.test_socket import beside

URL = "http://localhost"


def play(world: World, body: Callable[[Manager], Coroutine[Any, Any, Any]], **options: Any) -> None:
    """Run a body in the scope of a Manager, whose connection has just begun to open."""

    async def main() -> None:
        async with world.manager_class(URL, reconnection_delay=1, randomization_factor=0, **options) as manager:
            await body(manager)

    world.run(main)


def engine_of(manager: Manager) -> Engine:
    engine = manager.engine
    assert engine is not None
    return engine


def record(engine: Engine, *names: str) -> list[Any]:
    """What the handlers of these events, or of all, are called with."""
    seen: list[Any] = []

    def recorder(name: str) -> Callable[..., None]:
        return lambda *args: seen.append((name, *args))

    for name in names or sorted(ENGINE_EVENTS):
        engine.on(name, recorder(name))
    return seen


# ---------------------------------------------------------------------------------------------------------------------
# One object for each session


def test_there_is_an_engine_from_the_moment_the_session_begins_to_open(world: World) -> None:
    async def body(manager: Manager) -> None:
        engine = engine_of(manager)
        assert (engine.id, engine.transport) == (None, EngineTransport("polling"))
        assert repr(engine) == "<Engine None, opening, by polling>"
        await manager.connect()
        assert manager.engine is engine
        assert engine.id == "e1"
        await manager.close()
        assert manager.engine is None
        assert engine.id is None
        assert engine.transport.name == "polling"

    manager = world.manager_class(URL)
    assert manager.engine is None
    play(world, body)


def test_there_is_one_while_the_application_is_asked_for_what_the_session_needs(world: World) -> None:
    seen: list[Any] = []

    async def query() -> dict[str, str]:
        await world.sleep(5)
        return {}

    async def body(manager: Manager) -> None:
        engine = engine_of(manager)
        assert engine.transport.name is None
        engine.on("open", lambda: seen.append("open"))
        await manager.connect()
        await world.settle()
        assert manager.engine is engine
        assert seen == ["open"]

    play(world, body, query=query)


def test_each_session_has_one_of_its_own(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        first = engine_of(manager)
        seen = record(first, "open", "close")
        world.server.lose(ConnectionResetError())
        await world.settle()
        assert manager.engine is None
        assert [(name, *args[:1]) for name, *args in seen] == [("close", "transport error")]
        await world.sleep(1.5)
        assert engine_of(manager) is not first
        assert len(seen) == 1

    play(world, body)


# ---------------------------------------------------------------------------------------------------------------------
# Events


def test_handlers_are_called_in_the_order_of_what_happens(world: World) -> None:
    world.server.upgrades = ["websocket"]

    async def body(manager: Manager) -> None:
        seen = record(engine_of(manager))
        await manager.socket("/chat").wait_connected()
        await world.sleep(1)
        assert [(name, *[arg.type for arg in args]) for name, *args in seen[:6]] == [
            ("packet", "open"),
            ("open",),
            ("packet_create", "message"),
            ("flush",),
            ("packet", "message"),
            ("drain",),
        ]
        assert seen[2] == ("packet_create", EnginePacket("message", "0/chat,"))
        assert seen[6:] == [
            ("upgrading", EngineTransport("websocket")),
            ("upgrade", EngineTransport("websocket")),
            ("drain",),
        ]
        assert engine_of(manager).transport.name == "websocket"
        seen.clear()
        world.server.ping()
        await world.sleep(1)
        assert seen == [
            ("packet", EnginePacket("ping", "")),
            ("packet_create", EnginePacket("pong", "")),
            ("flush",),
            ("drain",),
        ]
        seen.clear()
        await manager.close()
        await world.settle()
        assert seen[-1] == ("close", "forced close", None)

    play(world, body)


def test_an_upgrade_that_fails_is_told(world: World) -> None:
    world.server.upgrades = ["websocket"]
    world.server.probe_answer = "nonsense"

    async def body(manager: Manager) -> None:
        seen = record(engine_of(manager), "upgrading", "upgrade", "upgrade_error")
        await world.sleep(1)
        ((name, error),) = seen
        assert name == "upgrade_error"
        assert "probe error" in str(error)
        assert engine_of(manager).transport.name == "polling"

    play(world, body)


def test_handlers_that_a_body_registers_at_its_start_see_what_happened_before_it(world: World) -> None:
    world.server.upgrades = ["websocket"]

    async def main() -> None:
        async with world.scopes.connect(URL) as socket:
            engine = engine_of(socket.io)
            seen = record(engine, "open", "upgrading", "upgrade")
            await world.sleep(1)
            assert [name for name, *_ in seen] == ["open", "upgrading", "upgrade"]
            late = record(engine, "open", "upgrading", "upgrade")
            await world.sleep(1)
            assert late == []

    world.run(main)


def test_a_handler_of_the_managers_open_may_register_for_what_follows(world: World) -> None:
    world.server.upgrades = ["websocket"]
    seen: list[Any] = []

    async def slow() -> None:
        await world.sleep(100)

    async def body(manager: Manager) -> None:
        manager.on("open", slow)
        manager.on("open", lambda: engine_of(manager).once("upgrade", seen.append))
        await world.sleep(50)
        assert engine_of(manager).transport.name == "websocket"
        assert seen == []
        await world.sleep(60)
        assert seen == [EngineTransport("websocket")]

    play(world, body)


def test_handlers_may_be_async_and_are_called_one_at_a_time(world: World) -> None:
    seen: list[Any] = []

    async def packet(packet: EnginePacket) -> None:
        seen.append(("begin", packet.data))
        await world.sleep(3)
        seen.append(("end", packet.data))

    async def body(manager: Manager) -> None:
        await manager.connect()
        engine_of(manager).on("packet", packet)
        world.server.emit("a")
        world.server.emit("b")
        await world.sleep(10)
        a, b = '2["a"]', '2["b"]'
        assert seen == [("begin", a), ("end", a), ("begin", b), ("end", b)]

    play(world, body)


def test_handlers_of_packets_may_run_beside_each_other(world: World) -> None:
    running: list[Any] = []

    async def packet(packet: EnginePacket) -> None:
        running.append(packet.data)
        await world.sleep(3)
        running.remove(packet.data)

    async def body(manager: Manager) -> None:
        await manager.connect()
        engine_of(manager).on("packet", packet, concurrency=2)
        for name in "abc":
            world.server.emit(name)
        await world.sleep(1)
        assert running == ['2["a"]', '2["b"]']
        await world.sleep(3)
        assert running == ['2["c"]']
        await world.sleep(3)
        assert running == []

    play(world, body)


def test_what_handlers_raise_is_reported_with_the_events_name(world: World) -> None:
    reported: list[Any] = []

    async def body(manager: Manager) -> None:
        engine = engine_of(manager)
        engine.on("open", lambda: 1 / 0)
        engine.on("packet", lambda packet, more: None)
        await manager.connect()
        await world.settle()

    play(world, body, on_handler_error=lambda error, event: reported.append((type(error), event)))
    assert reported == [(TypeError, "packet"), (ZeroDivisionError, "open")]


def test_there_are_no_other_events(world: World) -> None:
    async def body(manager: Manager) -> None:
        with pytest.raises(OptionError, match="no event 'message'"):
            engine_of(manager).on("message", print)

    play(world, body)


def test_the_machine_tells_of_packets_only_while_somebody_listens(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        engine, session = engine_of(manager), manager._connection.machine.engine
        assert session is not None
        engine.on("upgrade", print)
        assert not session.report_packets
        for name in ("packet", "packet_create", "flush", "drain"):
            engine.on(name, print)
            assert session.report_packets
            engine.off(name, print)
            assert not session.report_packets
        seen: list[Any] = []
        engine.once("packet", seen.append)
        world.server.ping()
        await world.settle()
        world.server.ping()
        await world.settle()
        assert seen == [EnginePacket("ping", "")]
        assert not session.report_packets
        assert engine.listeners("upgrade") == [print]

    play(world, body)


def test_the_manager_hears_of_the_end_before_the_engine_does(world: World) -> None:
    seen: list[str] = []

    async def body(manager: Manager) -> None:
        await manager.connect()
        manager.on("close", lambda: seen.append("manager"))
        engine_of(manager).on("close", lambda: seen.append("engine"))
        world.server.lose()
        await world.settle()
        assert seen == ["manager", "engine"]

    play(world, body)


# ---------------------------------------------------------------------------------------------------------------------
# Overflow


@pytest.mark.parametrize("options", [{"inbox_events": 3}, {"inbox_bytes": 30}])
def test_packets_that_nobody_gets_round_to_close_the_connection(world: World, options: dict[str, int]) -> None:
    closed: list[Any] = []

    async def body(manager: Manager) -> None:
        await manager.connect()
        manager.on("close", lambda reason, details: closed.append((reason, details)))

        async def slow(packet: EnginePacket) -> None:
            await world.sleep(1)

        engine = engine_of(manager)
        engine.on("packet", slow)
        for number in range(10):
            world.server.emit("e", "0123456789", number)
        await world.sleep(20)
        ((reason, details),) = closed
        assert reason == "forced close"
        assert isinstance(details, InboxOverflow)
        assert "event 'packet' found" in str(details)
        assert manager.engine is None
        await manager.connect()
        seen = record(engine_of(manager), "packet")
        world.server.emit("again")
        await world.settle()
        assert seen == [("packet", EnginePacket("message", '2["again"]'))]

    play(world, body, **options)


def test_of_two_inboxes_that_are_full_the_first_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What came in one piece can fill the inbox of the Manager, by its packets, and then a socket's by its events."""
    closed: list[Any] = []

    async def body(manager: Manager) -> None:
        socket = await manager.socket("/").connect()
        socket.on("disconnect", lambda reason, details: closed.append(str(details)))
        for name in ("packet", "e"):
            manager._connection.overflowed(InboxOverflow(name))
        await socket.wait_closed()

    play(world, body)
    assert closed == ["packet"]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "closing the connection: packet"
    ]


def test_packets_that_were_handled_make_room_for_others(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        seen = record(engine_of(manager), "packet")
        for number in range(100):
            world.server.emit("e", "0123456789", number)
            world.server.emit("e", "0123456789", number)
            await world.settle()
        assert len(seen) == 200
        assert engine_of(manager).id is not None

    play(world, body, inbox_bytes=100)


def test_what_is_rare_finds_room_always(world: World) -> None:
    seen: list[Any] = []

    async def body(manager: Manager) -> None:
        async def slow() -> None:
            await world.sleep(10)

        manager.on("open", slow)
        await manager.connect()
        record_of_end = record(engine_of(manager), "close")
        world.server.lose()
        await world.sleep(20)
        seen.extend(record_of_end)

    play(world, body, inbox_events=1, inbox_bytes=1, reconnection=False)
    assert [name for name, *_ in seen] == ["close"]


# ---------------------------------------------------------------------------------------------------------------------
# Closing


def test_close_lets_all_leave_and_the_manager_connects_again(world: World) -> None:
    seen: list[Any] = []

    async def body(manager: Manager) -> None:
        socket = manager.socket()
        await socket.wait_connected()
        engine = engine_of(manager)
        engine.on("close", lambda reason, details: seen.append(("engine", reason, details)))
        socket.on("disconnect", lambda reason: seen.append(("socket", reason, socket.active)))
        manager.on("reconnect", lambda attempt: seen.append(("reconnect", attempt)))
        world.server.is_reading = False
        await socket.emit("first")
        await socket.emit("second")
        closing = beside(world, engine.close)
        await world.sleep(0.5)
        assert not closing.done
        assert manager.engine is engine
        world.server.read_on()
        await world.settle()
        assert closing.result is engine
        assert world.server.events() == [["first"], ["second"]]
        await socket.wait_connected()
        await world.settle()
        assert set(seen) == {
            ("engine", "forced close", None),
            ("socket", "forced close", True),
            ("reconnect", 1),
        }
        assert await engine.close() is engine
        assert socket.connected

    play(world, body)


def test_close_takes_no_longer_than_close_timeout(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        world.server.is_reading = False
        socket = manager.socket()
        await socket.emit("never leaves")
        begun = world.time
        await engine_of(manager).close()
        assert world.time == begun + 3

    play(world, body, close_timeout=3, reconnection=False)


@pytest.mark.row("difference.engine_close")
def test_close_before_the_session_is_open_is_an_attempt_that_failed(world: World) -> None:
    world.server.accepts = None

    async def body(manager: Manager) -> None:
        errors: list[Exception] = []
        manager.on("error", errors.append)
        first = engine_of(manager)
        await first.close()
        world.server.accepts = True
        await world.sleep(2)
        assert engine_of(manager) is not first
        assert engine_of(manager).id == "e1"
        assert [type(error) for error in errors] == [DisconnectedError]

    play(world, body)


def test_an_old_session_is_heard_to_its_end(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        old = engine_of(manager)
        seen = record(old, "drain", "close")
        world.server.is_reading = False
        socket = manager.socket()
        await world.settle()
        await socket.disconnect()
        await world.sleep(1)
        assert manager.engine is None
        assert seen == []
        connecting = beside(world, socket.connect)
        await world.settle()
        assert engine_of(manager) is not old
        closing = beside(world, old.close)
        await world.settle()
        world.server.is_reading = True
        for stream in list(world.streams):
            stream.flush()
        await world.settle()
        assert closing.done
        assert [name for name, *_ in seen][-1] == "close"
        await world.sleep(1)
        assert connecting.result is socket

    play(world, body)


def test_the_end_of_the_scope_ends_the_wait_for_a_close(world: World) -> None:
    waiting: list[Any] = []

    async def main() -> None:
        async with world.manager_class(URL, close_timeout=1000) as manager:
            await manager.connect()
            world.server.is_reading = False
            await manager.socket().emit("never leaves")
            await world.settle()
            engine = engine_of(manager)
            waiting.append(beside(world, engine.close))
            waiting.append(engine)
            world.cancel_main_at(1)
            await world.sleep(2)

    with pytest.raises(Cancelled):
        world.run(main)
    task, engine = waiting
    assert task.result is engine

    async def after() -> None:
        assert await engine.close() is engine

    world.run(after)


def test_nobody_waits_for_a_close_that_a_mistake_of_ours_has_made_impossible(world: World) -> None:
    waiting: list[Any] = []

    async def body(manager: Manager) -> None:
        await manager.connect()
        world.server.is_reading = False
        await manager.socket().emit("never leaves")
        await world.settle()
        engine = engine_of(manager)
        waiting.append(beside(world, engine.close))
        await world.settle()
        assert not waiting[0].done
        manager._connection.hub._break(RuntimeError("a mistake"))
        assert await engine.close() is engine
        await world.settle()
        assert waiting[0].result is engine

    with pytest.raises(RuntimeError, match="a mistake"):
        play(world, body)


# ---------------------------------------------------------------------------------------------------------------------
# Statistics


def test_statistics_tell_what_waits_for_handlers(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:

            @socket.on("slow")
            async def slow() -> None:
                await world.sleep(10)

            socket.on("beside", slow, concurrency=1)
            for name in ("slow", "slow", "slow"):
                world.server.emit(name)
            await world.settle()
            assert socket.io.statistics().waiting_events == 2
            await world.sleep(100)
            assert socket.io.statistics().waiting_events == 0
            world.server.emit("beside")
            world.server.emit("beside")
            await world.settle()
            assert socket.io.statistics().waiting_events == 1
            await world.sleep(100)
            async with socket.events():
                world.server.emit("to a stream")
                await world.settle()
                assert socket.io.statistics().waiting_events == 1

    world.run(main)


def test_statistics_outlive_the_scope(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    manager = world.manager_class(URL)
    assert manager.statistics().packets_received == 0

    async def main() -> None:
        async with manager:
            await manager.socket().connect()
            now = manager.statistics()
            assert (now.transport, now.events_sent, now.reconnects) == ("polling", 0, 0)

    world.run(main)
    after = manager.statistics()
    assert (after.transport, after.waiting_events) == (None, 0)
    assert after.packets_received == 2
    assert after.bytes_received > 0
