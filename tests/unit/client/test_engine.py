"""The Engine: one object for each session, its events and its end; and the statistics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sansio_socketio.client import Engine, EngineTransport, Manager
from sansio_socketio.client.run.session import ENGINE_EVENTS
from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.errors import DisconnectedError, OptionError
from sansio_socketio.protocol.events import EnginePacket
from sansio_socketio.protocol.states import SessionState
from tests.support.fake_runtime import URL, Cancelled, World


def run(world: World, body: Callable[[Manager], Coroutine[Any, Any, Any]], **options: Any) -> None:
    """Run a body with a Manager that reconnects after exactly one second."""
    world.run_started(body, reconnection_delay=1, randomization_factor=0, **options)


def engine_of(manager: Manager) -> Engine:
    engine = manager.engine
    assert engine is not None
    return engine


def record(engine: Engine, *names: str) -> list[Any]:
    """Return a list that records the arguments of the handlers of these events, or of all."""
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
        assert manager.engine is engine
        assert engine.id is None
        assert engine.state is SessionState.CLOSED
        assert engine.transport.name == "polling"

    manager = world.manager_class(URL)
    assert manager.engine is None
    run(world, body)


def test_the_last_engine_is_kept_until_the_next_session_and_after_the_end(world: World) -> None:
    manager = world.manager_class(URL, reconnection_delay=5, randomization_factor=0)

    async def main() -> None:
        await manager.open()
        first = engine_of(manager)
        world.server.lose()
        await world.sleep(1)
        assert manager.engine is first
        await world.sleep(5)
        second = engine_of(manager)
        assert second is not first
        await manager.close()
        assert manager.engine is second
        await second.close()
        await manager.open()
        assert manager.engine is not second
        await manager.close()

    world.run(main)


@pytest.mark.parametrize("looks_earlier", [False, True])
def test_the_engine_of_a_failed_attempt_does_not_depend_on_earlier_looks(world: World, *, looks_earlier: bool) -> None:
    world.server.accepts = False
    manager = world.manager_class(URL, reconnection_delay=1, randomization_factor=0)
    seen: list[Any] = []

    def failed(_: Exception) -> None:
        engine = engine_of(manager)
        seen.append((engine.state, manager.engine is engine, engine._session.session.number))

    manager.socket("/").on("connect_error", failed)

    async def main() -> None:
        async with manager:
            if looks_earlier:
                engine_of(manager)
            await world.sleep(0.5)
            assert engine_of(manager).state == "closed"
            await world.sleep(1)
        last = engine_of(manager)
        assert last.state == "closed"
        async with manager:
            await world.sleep(0)
            assert engine_of(manager) is not last
        await engine_of(manager).close()

    world.run(main)
    assert seen[:2] == [("closed", True, 1), ("closed", True, 2)]


def test_the_last_engine_is_kept_until_the_next_run_opens_the_connection(world: World) -> None:
    manager = world.manager_class(URL, auto_connect=False)

    async def main() -> None:
        async with manager:
            await manager.open()  # nobody looks at the engine here
        last = engine_of(manager)
        async with manager:
            assert manager.engine is last
            await last.close()
            await manager.open()
            assert manager.engine is not last

    world.run(main)


def test_there_is_an_engine_while_the_function_for_query_is_pending(world: World) -> None:
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

    run(world, body, query=query)


def test_each_session_has_its_own_engine(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        first = engine_of(manager)
        seen = record(first, "open", "close")
        world.server.lose(ConnectionResetError())
        await world.settle()
        assert manager.engine is first
        assert [(name, *args[:1]) for name, *args in seen] == [("close", "transport error")]
        await world.sleep(1.5)
        assert engine_of(manager) is not first
        assert len(seen) == 1

    run(world, body)


# ---------------------------------------------------------------------------------------------------------------------
# Events


def test_handlers_are_called_in_the_order_of_the_events(world: World) -> None:
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

    run(world, body)


def test_a_failed_upgrade_calls_the_handlers_of_upgrade_error(world: World) -> None:
    world.server.upgrades = ["websocket"]
    world.server.probe_answer = "nonsense"

    async def body(manager: Manager) -> None:
        seen = record(engine_of(manager), "upgrading", "upgrade", "upgrade_error")
        await world.sleep(1)
        ((name, error),) = seen
        assert name == "upgrade_error"
        assert "probe error" in str(error)
        assert engine_of(manager).transport.name == "polling"

    run(world, body)


def test_handlers_registered_before_the_first_await_are_called_for_what_happened_before(world: World) -> None:
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


def test_a_handler_of_open_may_register_handlers_for_later_events(world: World) -> None:
    world.server.upgrades = ["websocket"]
    seen: list[Any] = []

    async def slow() -> None:
        await world.sleep(100)

    async def body(manager: Manager) -> None:
        manager.on("open", slow)
        manager.on("open", lambda: engine_of(manager).once("upgrade", seen.append))
        await world.sleep(50)
        assert engine_of(manager).transport.name == "websocket"
        assert seen == [EngineTransport("websocket")]

    run(world, body)


def test_handlers_start_in_order_and_run_concurrently(world: World) -> None:
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
        assert seen == [("begin", a), ("begin", b), ("end", a), ("end", b)]

    run(world, body)


def test_exceptions_of_handlers_are_reported_with_the_name_of_the_event(world: World) -> None:
    reported: list[Any] = []

    async def body(manager: Manager) -> None:
        engine = engine_of(manager)
        engine.on("open", lambda: 1 / 0)
        engine.on("packet", lambda packet, more: None)
        await manager.connect()
        await world.settle()

    run(world, body, on_handler_error=lambda error, event: reported.append((type(error), event)))
    assert reported == [(TypeError, "packet"), (ZeroDivisionError, "open")]


def test_an_unknown_event_is_an_option_error(world: World) -> None:
    async def body(manager: Manager) -> None:
        with pytest.raises(OptionError, match="unknown event 'message'; the events are close, drain, flush"):
            engine_of(manager).on("message", print)

    run(world, body)


def test_a_once_handler_is_called_for_one_packet(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        engine = engine_of(manager)
        seen: list[Any] = []
        engine.once("packet", seen.append)
        world.server.ping()
        await world.settle()
        world.server.ping()
        await world.settle()
        assert seen == [EnginePacket("ping", "")]
        assert engine.listeners("packet") == []

    run(world, body)


def test_the_close_event_of_the_manager_comes_before_that_of_the_engine(world: World) -> None:
    seen: list[str] = []

    async def body(manager: Manager) -> None:
        await manager.connect()
        manager.on("close", lambda: seen.append("manager"))
        engine_of(manager).on("close", lambda: seen.append("engine"))
        world.server.lose()
        await world.settle()
        assert seen == ["manager", "engine"]

    run(world, body)


# ---------------------------------------------------------------------------------------------------------------------
# Closing


def test_close_waits_until_everything_is_sent_and_the_manager_reconnects(world: World) -> None:
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
        closing = world.spawn(engine.close)
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

    run(world, body)


def test_close_takes_no_longer_than_close_timeout(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        world.server.is_reading = False
        socket = manager.socket()
        await socket.emit("never sent")
        begun = world.time
        await engine_of(manager).close()
        assert world.time == begun + 3

    run(world, body, close_timeout=3, reconnection=False)


@pytest.mark.row("difference.engine_close")
def test_close_before_the_session_is_open_makes_the_attempt_fail(world: World) -> None:
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

    run(world, body)


def test_events_of_the_previous_session_arrive_until_it_has_ended(world: World) -> None:
    async def body(manager: Manager) -> None:
        await manager.connect()
        old = engine_of(manager)
        seen = record(old, "drain", "close")
        world.server.is_reading = False
        socket = manager.socket()
        await world.settle()
        await socket.disconnect()
        await world.sleep(1)
        assert manager.engine is old
        assert seen == []
        connecting = world.spawn(socket.connect)
        await world.settle()
        assert manager.engine is old  # the next session begins when the old one is closed
        closing = world.spawn(old.close)
        await world.settle()
        world.server.is_reading = True
        for stream in list(world.streams):
            stream.flush()
        await world.settle()
        assert closing.done
        assert [name for name, *_ in seen][-1] == "close"
        await world.sleep(1)
        assert connecting.result is socket
        assert engine_of(manager) is not old

    run(world, body)


def test_the_end_of_the_scope_ends_the_wait_for_a_close(world: World) -> None:
    waiting: list[Any] = []

    async def main() -> None:
        async with world.manager_class(URL, close_timeout=1000) as manager:
            await manager.connect()
            world.server.is_reading = False
            await manager.socket().emit("never sent")
            await world.settle()
            engine = engine_of(manager)
            waiting.append(world.spawn(engine.close))
            waiting.append(engine)
            world.cancel_main_at(1)
            await world.sleep(2)

    with pytest.raises(Cancelled):
        world.run(main)
    task, engine = waiting
    world.run_until(lambda: task.done, None)
    assert task.result is engine

    async def after() -> None:
        assert await engine.close() is engine

    world.run(after)


def test_an_internal_error_ends_the_wait_for_a_close(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[Any] = []

    async def body(manager: Manager) -> None:
        await manager.connect()
        world.server.is_reading = False
        await manager.socket().emit("never sent")
        await world.settle()
        engine = engine_of(manager)
        waiting.append(world.spawn(engine.close))
        await world.settle()
        assert not waiting[0].done

        def fail(*_: Any) -> None:
            raise RuntimeError("internal")

        monkeypatch.setattr(ClientProtocol, "tick", fail)
        await world.sleep(100)  # a timer of the state machine fires meanwhile
        assert await engine.close() is engine
        await world.settle()
        assert waiting[0].result is engine

    with pytest.raises(RuntimeError, match="internal"):
        run(world, body)


# ---------------------------------------------------------------------------------------------------------------------
# Statistics


def test_statistics_count_the_events_that_wait_for_handlers(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:

            @socket.on("slow")
            async def slow() -> None:
                await world.sleep(10)

            socket.on("concurrent", slow, concurrency=1)
            for name in ("slow", "slow", "slow"):
                world.server.emit(name)
            await world.settle()
            assert socket.io.statistics().waiting_events == 2
            await world.sleep(100)
            assert socket.io.statistics().waiting_events == 0
            world.server.emit("concurrent")
            world.server.emit("concurrent")
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
