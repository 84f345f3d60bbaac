"""The Socket: emitting, acknowledgements, connecting and disconnecting, and which waiting callers are woken."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from sansio_socketio.client import Disconnection, EventType, Socket, SocketState
from sansio_socketio.protocol.client import HIGH_WATER
from sansio_socketio.protocol.errors import (
    AckTimeout,
    BufferFullError,
    ConnectError,
    DisconnectedError,
    OptionError,
    PacketError,
    StateError,
)
from sansio_socketio.protocol.packets.socketio import EVENT, Packet
from tests.support.fake_runtime import URL, Cancelled, FakeTask, World

SIZE: Final = re.compile(r"bytes: \d+")
FULL = "x" * (HIGH_WATER + 1)
"""What makes the connection not writable."""


# ---------------------------------------------------------------------------------------------------------------------
# Sending


def test_emit_and_send_in_all_forms(world: World) -> None:
    async def body(socket: Socket) -> None:
        await socket.emit("a", 1, {"b": b"2"})
        socket.emit_nowait("c")
        await socket.send("text", 3)
        await socket.compress(False).emit("d")
        await socket.emit(5)
        await world.settle()
        await socket.compress(True).volatile.timeout(3).emit("e")
        await world.settle()

    world.run_connected(body)
    assert world.server.events() == [["a", 1, {"b": b"2"}], ["c"], ["message", "text", 3], ["d"], [5], ["e"]]


def test_an_event_after_a_suspension_is_sent_on_a_new_connection(world: World) -> None:
    async def body(socket: Socket) -> None:
        reasons: list[str] = []
        socket.on("disconnect", reasons.append)
        world.suspend(8000)
        await socket.emit("first")
        assert not socket.connected
        assert world.server.events() == []
        await socket.wait_connected()
        await socket.emit("second")
        await world.settle()
        assert reasons == ["ping timeout"]

    world.run_connected(body)
    assert world.server.connections == 2
    assert world.server.events() == [["first"], ["second"]]


def test_flags_apply_to_one_call(world: World) -> None:
    async def body(socket: Socket) -> None:
        view = socket.volatile
        world.server.is_reading = False
        await socket.emit("first")
        await view.emit("dropped")
        await socket.emit("second")
        world.server.read_on()
        await socket.emit("third")
        await world.settle()

    world.run_connected(body)
    assert world.server.events() == [["first"], ["second"], ["third"]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda socket: socket.compress(1), "compress takes True or False"),
        (lambda socket: socket.timeout(-1), "^timeout takes"),
        (lambda socket: socket.timeout("5"), "^timeout takes"),
        (lambda socket: socket.emit_nowait("connect"), "reserved"),
        (lambda socket: socket.emit_nowait("e", ack=5), "callable"),
    ],
)
def test_invalid_arguments_are_errors_at_the_call(world: World, call: Callable[[Socket], Any], message: str) -> None:
    async def body(socket: Socket) -> None:
        with pytest.raises(OptionError, match=message):
            call(socket)

    world.run_connected(body)


def test_a_value_that_cannot_be_encoded_is_an_error_at_the_call(world: World) -> None:
    async def body(socket: Socket) -> None:
        with pytest.raises(PacketError):
            await socket.emit("e", object())
        with pytest.raises(PacketError):
            await socket.emit_with_ack("e", object())

    world.run_connected(body)


def test_events_are_buffered_offline_up_to_the_bound(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.lose()
        for number in range(3):
            await socket.emit("n", number)
        with pytest.raises(BufferFullError):
            await socket.emit("n", 3)
        await world.sleep(10)

    world.run_connected(body, max_buffered_events=3)
    assert world.server.events() == [["n", number] for number in range(3)]


def test_a_buffered_event_that_the_server_cannot_receive_is_dropped_with_a_warning(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(socket: Socket) -> None:
        world.server.lose()
        await socket.emit("large", "x" * 1000)
        waiting = world.spawn(lambda: socket.emit_with_ack("waiting", "x" * 1000))
        await socket.emit("small")
        world.server.max_payload = 100
        await world.sleep(10)
        assert isinstance(waiting.error, PacketError)
        with pytest.raises(PacketError, match="event 'large' has a message of 1014 bytes"):
            await socket.emit("large", "x" * 1000)

    world.run_connected(body)
    assert world.server.events() == [["small"]]
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        "/: an event was dropped: event 'large' has a message of 1014 bytes; the server's limit is 100"
    )


def test_emit_waits_until_writable_and_a_cancelled_one_was_not_sent(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.is_reading = False
        await socket.emit("big", FULL)
        kept = world.spawn(lambda: socket.emit("kept"))
        cancelled = world.spawn(lambda: socket.emit("cancelled"))
        await socket.volatile.emit("dropped")
        socket.emit_nowait("at once")
        await world.settle()
        assert not kept.done
        cancelled.cancel()
        await world.settle()
        assert isinstance(cancelled.error, Cancelled)
        world.server.read_on()
        await world.settle()
        assert kept.done

    world.run_connected(body)
    assert [name for name, *_ in world.server.events()] == ["big", "at once", "kept"]


def test_an_emit_that_waits_is_woken_at_the_end(world: World) -> None:
    tasks: list[FakeTask] = []

    async def body(socket: Socket) -> None:
        world.server.is_reading = False
        await socket.emit("big", FULL)
        tasks.append(world.spawn(lambda: socket.emit("waits")))
        world.cancel_main_at(1)
        await world.sleep(2)

    with pytest.raises(Cancelled):
        world.run_connected(body)
    world.run_until(lambda: tasks[0].done, None)
    assert isinstance(tasks[0].error, DisconnectedError)


def test_drop_buffered_drops_what_has_not_been_sent(world: World) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        await socket.emit("sent")
        await world.settle()
        world.server.lose()
        await socket.emit("dropped")
        waiting = world.spawn(lambda: socket.emit_with_ack("dropped"))
        await socket.timeout(5).emit("dropped", ack=lambda error: seen.append(type(error)))
        await socket.emit("dropped", ack=lambda: seen.append("never"))
        await world.settle()
        assert socket.drop_buffered() == 4
        await world.settle()
        assert isinstance(waiting.error, DisconnectedError)
        assert socket.drop_buffered() == 0
        await socket.emit("kept")
        await world.sleep(10)

    world.run_connected(body)
    assert world.server.events() == [["sent"], ["kept"]]
    assert seen == [DisconnectedError]


def test_nothing_is_buffered_without_a_run(world: World) -> None:
    socket = world.manager_class(URL).socket()
    assert socket.drop_buffered() == 0


# ---------------------------------------------------------------------------------------------------------------------
# Acknowledgements


@pytest.mark.parametrize(("values", "result"), [((), None), ((5,), 5), ((None,), None), ((1, 2), (1, 2)), (([],), [])])
def test_emit_with_ack_returns_the_values(world: World, values: tuple[Any, ...], result: Any) -> None:
    async def body(socket: Socket) -> None:
        world.server.acknowledge_with(*values)
        assert await socket.emit_with_ack("e") == result

    world.run_connected(body)


def test_emit_with_ack_raises_when_it_takes_too_long(world: World) -> None:
    async def body(socket: Socket) -> None:
        start = world.time
        with pytest.raises(AckTimeout, match=r"'e' .* 3 seconds"):
            await socket.timeout(3).emit_with_ack("e")
        with pytest.raises(AckTimeout):
            await socket.emit_with_ack("e")
        assert world.time == start + 3 + 7
        waiting = world.spawn(lambda: socket.timeout(None).emit_with_ack("e"))
        await world.sleep(100)
        assert not waiting.done
        world.server.acknowledge_with(1)
        world.server.ack(world.server.got[-1], "late")
        await world.settle()
        assert waiting.result == "late"

    world.run_connected(body, ack_timeout=7)


def test_emit_with_ack_raises_when_the_connection_is_lost(world: World) -> None:
    async def body(socket: Socket) -> None:
        waiting = world.spawn(lambda: socket.emit_with_ack("e"))
        await world.settle()
        world.server.lose()
        await world.settle()
        assert isinstance(waiting.error, DisconnectedError)

    world.run_connected(body)


def test_emit_with_ack_waits_until_writable(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.acknowledge_with(5)
        world.server.is_reading = False
        await socket.emit("big", FULL)
        waiting = world.spawn(lambda: socket.emit_with_ack("question"))
        await world.settle()
        assert socket.io.statistics().events_sent == 1
        world.server.read_on()
        assert await world.join(waiting) == 5

    world.run_connected(body)


def test_a_cancelled_emit_with_ack_is_withdrawn_or_forgotten(world: World) -> None:
    async def body(socket: Socket) -> None:
        sent = world.spawn(lambda: socket.emit_with_ack("sent"))
        await world.settle()
        sent.cancel()
        await world.settle()
        world.server.ack(world.server.got[-1], "late")
        world.server.lose()
        unsent = world.spawn(lambda: socket.emit_with_ack("unsent"))
        await world.settle()
        unsent.cancel()
        await world.sleep(10)
        assert socket.connected
        assert isinstance(sent.error, Cancelled)
        assert isinstance(unsent.error, Cancelled)

    world.run_connected(body)
    assert world.server.events() == [["sent"]]


@pytest.mark.parametrize(
    ("timeout", "values", "called"),
    [(False, (1, 2), (1, 2)), (True, (1, 2), (None, 1, 2)), (False, (), ()), (True, (), (None,))],
)
def test_a_callback_is_called_with_the_values_and_with_an_error_first_if_there_is_a_timeout(
    world: World, timeout: bool, values: tuple[Any, ...], called: tuple[Any, ...]
) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        def callback(*args: Any) -> None:
            seen.append(args)

        world.server.acknowledge_with(*values)
        emitter = socket.timeout(5) if timeout else socket
        await emitter.emit("e", ack=callback)
        await emitter.send("e", ack=callback)
        emitter.emit_nowait("e", ack=callback)
        await world.settle()

    world.run_connected(body)
    assert seen == [called] * 3


def test_a_callback_is_called_with_a_failure_only_if_there_is_a_timeout(world: World) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        await socket.timeout(5).emit("e", ack=seen.append)
        await socket.timeout(50).emit("e", ack=seen.append)
        await socket.emit("e", ack=lambda: seen.append("never"))
        await world.sleep(6)
        world.server.lose()
        await world.settle()

    world.run_connected(body)
    assert [type(error) for error in seen] == [AckTimeout, DisconnectedError]


def test_callbacks_are_called_in_order_with_the_events(world: World, caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    async def body(socket: Socket) -> None:
        @socket.on("event")
        async def slow() -> None:
            await world.sleep(1)
            log.append("event")

        async def callback() -> None:
            log.append("callback")
            raise RuntimeError("a mistake")

        def respond(packet: Packet) -> None:
            world.server.emit("event")
            world.server.ack(packet)

        world.server.on_event = respond
        await socket.emit("e", ack=callback)
        await world.sleep(2)

    world.run_connected(body)
    assert log == ["event", "callback"]
    assert "of 'e (acknowledgement)' in /" in caplog.text


def test_an_unexpected_acknowledgement_is_ignored(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.ack(Packet(EVENT, "/", [], 77))
        await world.settle()
        assert socket.connected

    world.run_connected(body)


# ---------------------------------------------------------------------------------------------------------------------
# Connecting and disconnecting


def test_the_properties_of_a_connected_socket(world: World) -> None:
    async def body(socket: Socket) -> None:
        assert (socket.nsp, socket.connected, socket.disconnected, socket.active) == ("/chat", True, False, True)
        assert (socket.id, socket.recovered) == ("s1/chat", False)
        assert repr(socket) == "<Socket /chat of http://localhost/chat, connected>"
        assert socket.io.engine is not None
        assert (socket.io.engine.id, socket.io.engine.transport.name) == ("e1", "polling")
        assert repr(socket.io) == "<Manager of http://localhost/chat, open>"
        world.server.lose()
        assert (socket.id, socket.active, socket.connected) == (None, True, False)
        assert repr(socket) == "<Socket /chat of http://localhost/chat, active>"
        assert (socket.io.engine.id, socket.io.engine.state) == (None, "closed")

    world.run_connected(body, "http://localhost/chat")


def test_disconnect_and_connect(world: World) -> None:
    log: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on("disconnect", lambda reason, details: log.append((reason, details)))
        socket.on("connect", lambda: log.append("connect"))
        assert socket.close_reason is None
        assert await socket.disconnect() is socket
        assert not socket.active
        assert socket.close_reason == Disconnection("io client disconnect", None, final=True)
        await socket.wait_closed()
        with pytest.raises(DisconnectedError, match="/ is not connected or connecting: call connect"):
            await socket.wait_connected()
        assert await socket.connect() is socket
        assert socket.id == "s2/"
        await socket.connect()
        await socket.close()
        await socket.open()
        await world.settle()

    world.run_connected(body)
    left = ("io client disconnect", None)
    assert log == ["connect", left, "connect", left, "connect", left]


def test_handlers_may_take_the_state_at_the_time_of_the_event(world: World) -> None:
    states: list[tuple[str, SocketState]] = []

    async def body(socket: Socket) -> None:
        @socket.on("connect")
        async def connected(state: SocketState) -> None:
            await world.sleep(1)  # what follows is handled late
            states.append(("connect", state))

        socket.on("disconnect", lambda reason, details, state: states.append((reason, state)))
        socket.on("connect_error", lambda error, state: states.append((error.message, state)))
        await world.settle()
        await socket.disconnect()
        await socket.connect()
        world.server.refusal["/"] = {"message": "no"}
        world.server.lose()
        await world.sleep(5)

    world.run_connected(body)
    left, refused = Disconnection("io client disconnect"), states[-1][1].close_reason
    lost = states[-2][1].close_reason
    assert lost is not None
    assert (lost.reason, lost.final) == ("transport close", False)
    assert refused is not None
    assert (refused.reason, str(refused.details), refused.final) == ("connect error", "the server refused /: no", True)
    assert [(name, state) for name, state in states] == [
        ("connect", SocketState(True, True, "s1/", False, None, "polling")),
        ("io client disconnect", SocketState(False, False, None, False, left, "polling")),
        ("connect", SocketState(True, True, "s2/", False, None, "polling")),
        ("transport close", SocketState(False, True, None, False, lost, "polling")),
        ("no", SocketState(False, False, None, False, refused, "polling")),
    ]


def test_only_handlers_that_require_the_state_receive_it(world: World) -> None:
    calls: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on("connect", lambda *args: calls.append(args))
        socket.on("connect", lambda number=1: calls.append(number))
        socket.on("disconnect", lambda *args: calls.append(args))
        socket.on("disconnect", lambda reason, details=None, more=2: calls.append((reason, more)))
        await world.settle()
        await socket.disconnect()
        await world.settle()

    world.run_connected(body)
    assert calls == [(), 1, ("io client disconnect", None), ("io client disconnect", 2)]


def test_connect_nowait_and_disconnect_nowait(world: World) -> None:
    log: list[str] = []

    async def body(socket: Socket) -> None:
        socket.on("connect", lambda: log.append("connect"))
        socket.on("disconnect", lambda: socket.connect_nowait() if len(log) < 2 else None)
        socket.on("leave", socket.disconnect_nowait)
        await world.settle()
        world.server.emit("leave")
        await world.sleep(1)
        assert socket.connected
        assert socket.disconnect_nowait() is socket
        assert not socket.active
        assert socket.connect_nowait() is socket
        assert (socket.active, socket.connected) == (True, False)
        await socket.wait_connected()

    world.run_connected(body)
    assert log[:2] == ["connect", "connect"]


def test_connect_nowait_needs_a_run(world: World) -> None:
    socket = world.manager_class(URL).socket("/")
    with pytest.raises(StateError, match="is not running"):
        socket.connect_nowait()
    assert socket.disconnect_nowait() is socket


def test_wait_connected_waits_over_failures_until_it_succeeds(world: World) -> None:
    errors: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on("connect_error", errors.append)
        world.server.accepts = False
        world.server.lose()
        world.call_at(world.time + 20, lambda: setattr(world.server, "accepts", True))
        await socket.wait_connected()
        assert world.time >= 1020
        await world.settle()

    world.run_connected(body)
    assert len(errors) >= 4
    assert all(isinstance(error, ConnectError) for error in errors)
    assert "refused" in str(errors[0])
    assert errors[0].__cause__ is not None


def test_wait_connected_raises_when_nothing_more_is_tried(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.accepts = False
        world.server.lose()
        waiting = world.spawn(socket.wait_connected)
        closing = world.spawn(socket.wait_closed)
        await world.sleep(100)
        assert isinstance(waiting.error, ConnectError)
        assert isinstance(closing.error, DisconnectedError)
        with pytest.raises(DisconnectedError, match=r"^/ could not be connected: could not connect: ") as caught:
            await socket.wait_closed()
        assert caught.value.reason == "connect error"
        assert caught.value.__cause__ is waiting.error
        assert socket.close_reason == Disconnection("connect error", waiting.error, final=True)
        assert socket.active
        with pytest.raises(ConnectError):
            await socket.wait_connected()
        world.server.accepts = True
        await socket.connect()
        assert socket.connected
        assert socket.close_reason is None

    world.run_connected(body, reconnection_attempts=2)


def test_after_disconnect_no_earlier_failure_is_raised(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.accepts = False
        world.server.lose()
        await world.sleep(3)
        await socket.disconnect()
        with pytest.raises(DisconnectedError, match=r"/ is not connected or connecting: call connect\(\)") as caught:
            await socket.wait_connected()
        assert caught.value.reason == "io client disconnect"

    world.run_connected(body)


def test_the_close_reason_of_a_socket_that_reconnects_is_not_final(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.accepts = False
        world.server.lose()
        closing = world.spawn(socket.wait_closed)
        await world.sleep(3)
        reason = socket.close_reason
        assert reason is not None
        assert (reason.reason, reason.final) == ("transport close", False)
        assert reason.why == f"transport close: {reason.details}"
        await socket.disconnect()
        await world.settle()
        assert closing.done
        assert closing.error is None
        assert socket.close_reason == Disconnection("io client disconnect", None, final=True)

    world.run_connected(body)


def test_the_end_of_the_scope_is_not_reported_as_a_loss(world: World) -> None:
    waiting: list[tuple[Socket, FakeTask]] = []

    async def body(socket: Socket) -> None:
        other = socket.io.socket("/other")
        never = socket.io.socket("/never")
        await never.disconnect()
        waiting.extend([(each, world.spawn(each.wait_closed)) for each in (socket, other, never)])
        await world.settle()
        world.server.lose()
        await world.settle()
        assert socket.close_reason is not None

    world.run_connected(body)
    assert [task.error for _, task in waiting] == [None] * 3
    reasons = [socket.close_reason for socket, _ in waiting]
    assert reasons == [Disconnection("io client disconnect", None, final=True)] * 3


def test_a_refusal_after_a_reconnection_is_final(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        world.server.refusal["/"] = {"message": "token expired"}
        world.server.lose()
        with pytest.raises(DisconnectedError, match=r"^/ could not be connected: token expired$") as caught:
            await socket.wait_closed()
        assert isinstance(caught.value.__cause__, ConnectError)
        assert socket.close_reason == Disconnection("connect error", caught.value.__cause__, final=True)
        assert not socket.active

    world.run_connected(body)
    [message] = [record.getMessage() for record in caplog.records]
    assert message == "/: cannot connect, and does not try again: token expired"


def test_switching_reconnection_off_during_the_first_attempts_is_final(world: World) -> None:
    async def body(manager: Any) -> None:
        world.server.accepts = False
        socket = manager.socket("/")
        await world.sleep(3)
        assert socket.close_reason is None
        manager.reconnection = False
        with pytest.raises(DisconnectedError, match="reconnection was set to False") as caught:
            await socket.wait_closed()
        assert caught.value.reason == "connect error"

    world.run_started(body)


def test_switching_reconnection_off_wakes_waiting_callers(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.accepts = False
        world.server.lose()
        waiting = world.spawn(socket.wait_connected)
        await world.settle()
        socket.io.reconnection = False
        await world.settle()
        assert "reconnection was set to False" in str(waiting.error)

    world.run_connected(body)


def test_a_refusal_by_the_server_raises_with_its_data(world: World) -> None:
    seen: list[Any] = []

    async def body(socket: Socket) -> None:
        world.server.refusal["/private"] = {"message": "not you", "data": {"code": 1}}
        private = socket.io.socket("/private")
        private.on("connect_error", lambda error: seen.append((error.message, error.data, private.active)))
        with pytest.raises(ConnectError, match=r"^the server refused /private: not you$") as caught:
            await private.wait_connected()
        assert (caught.value.message, caught.value.data, caught.value.namespace) == ("not you", {"code": 1}, "/private")
        await world.settle()
        with pytest.raises(ConnectError, match="not you"):
            await private.connect()
        assert socket.connected

    world.run_connected(body)
    assert seen == [("not you", {"code": 1}, False)] * 2


def test_disconnect_while_connecting_wakes_waiting_callers(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.joins = False
        slow = socket.io.socket("/slow")
        waiting = world.spawn(slow.wait_connected)
        closing = world.spawn(slow.wait_closed)
        await world.settle()
        await slow.disconnect()
        await world.settle()
        assert isinstance(waiting.error, DisconnectedError)
        assert closing.done

    world.run_connected(body)


def test_the_server_may_disconnect_it(world: World) -> None:
    log: list[str] = []

    async def body(socket: Socket) -> None:
        socket.on("disconnect", log.append)
        await world.settle()
        world.server.kick()
        with pytest.raises(DisconnectedError, match=r"^/ was disconnected: io server disconnect$") as caught:
            await socket.wait_closed()
        assert (caught.value.reason, caught.value.__cause__) == ("io server disconnect", None)
        await world.settle()
        for wait in (socket.wait_connected, partial(socket.wait_for, "e")):
            with pytest.raises(DisconnectedError, match=r"^/ was disconnected: io server disconnect$") as caught:
                await wait()
            assert caught.value.reason == "io server disconnect"
        assert socket.close_reason == Disconnection("io server disconnect", None, final=True)
        assert not socket.active
        await socket.emit("buffered")
        await socket.disconnect()
        assert socket.close_reason == Disconnection("io server disconnect", None, final=True)
        socket.connect_nowait()
        assert socket.close_reason is None
        await socket.wait_connected()
        await world.settle()
        assert world.server.events() == [["buffered"]]

    world.run_connected(body)
    assert log == ["io server disconnect", "io client disconnect"]


def test_after_the_scope_every_call_says_that_the_connection_has_been_stopped(world: World) -> None:
    sockets: list[Socket] = []

    async def body(socket: Socket) -> None:
        sockets.append(socket)

    world.run_connected(body)
    [socket] = sockets

    async def after() -> None:
        for call in (
            lambda: socket.emit("e"),
            lambda: socket.emit_with_ack("e"),
            socket.connect,
            socket.wait_connected,
        ):
            with pytest.raises(DisconnectedError, match="has been stopped"):
                await call()
        with pytest.raises(DisconnectedError, match="its scope has ended"):
            socket.events()
        with pytest.raises(DisconnectedError, match="its scope has ended"):
            socket.emit_nowait("e")
        await socket.disconnect()
        await socket.wait_closed()
        await socket.io.close()

    world.run(after)


# ---------------------------------------------------------------------------------------------------------------------
# auth


def test_auth_may_be_a_mapping_and_set_at_any_time(world: World) -> None:
    async def body(socket: Socket) -> None:
        assert socket.auth == {"token": 1}
        socket.auth = {"token": 2}
        world.server.lose()
        await world.sleep(10)
        with pytest.raises(OptionError, match="auth"):
            socket.auth = "a token"  # type: ignore[assignment]  # that is the point

    world.run_connected(body, auth={"token": 1})
    assert world.server.payloads() == [{"token": 1}, {"token": 2}]


@pytest.mark.parametrize("eager", [False, True])
def test_auth_may_be_a_function_that_is_called_each_time(world: World, eager: bool) -> None:
    world.eager = eager
    numbers = iter(range(10))

    async def get_auth() -> dict[str, int]:
        await world.sleep(1)
        return {"number": next(numbers)}

    async def body(socket: Socket) -> None:
        world.server.lose()
        await world.sleep(10)
        socket.auth = lambda: {"plain": 1}
        world.server.lose()
        await world.sleep(10)

    world.run_connected(body, auth=get_auth)
    assert world.server.payloads() == [{"number": 0}, {"number": 1}, {"plain": 1}]


@pytest.mark.parametrize("eager", [False, True])
def test_an_error_of_the_function_is_a_connect_error_that_does_not_contain_secrets(
    world: World, eager: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world.eager = eager

    def get_auth() -> dict[str, str]:
        raise KeyError("my-secret")

    async def main() -> None:
        async with world.scopes.connect(URL, auth=get_auth):
            raise AssertionError

    line = get_auth.__code__.co_firstlineno + 1
    place = re.escape(f"get_auth, {__file__}:{line})")
    with pytest.raises(ConnectError, match=rf"^the function for auth raised KeyError \([^ ]*{place}$") as caught:
        world.run(main)
    assert str(caught.value) in caplog.text
    assert isinstance(caught.value.__cause__, KeyError)
    assert "KeyError" in caplog.text
    assert "my-secret" not in caplog.text


def test_an_invalid_return_value_of_the_function_is_a_connect_error_that_does_not_contain_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with world.scopes.connect(URL, auth=lambda: "my-secret"):  # type: ignore[arg-type, return-value]
            raise AssertionError

    with pytest.raises(ConnectError, match="auth failed: the answer for auth must be a mapping, or None, not this str"):
        world.run(main)
    assert "my-secret" not in caplog.text


def test_a_handler_may_connect_while_auth_is_a_function(world: World) -> None:
    log: list[str] = []

    async def get_auth() -> dict[str, str]:
        await world.sleep(1)
        return {}

    async def body(socket: Socket) -> None:
        @socket.on("disconnect")
        async def again() -> None:
            await socket.connect()
            log.append("connected")

        await world.settle()
        world.server.kick()
        await world.sleep(5)
        socket.off()

    world.run_connected(body, auth=get_auth)
    assert log == ["connected"]


def test_a_function_that_does_not_return_is_bounded_by_timeout(world: World) -> None:
    cancelled: list[int] = []

    async def get_auth() -> dict[str, str]:
        try:
            await world.sleep(1e9)
        except Cancelled:
            cancelled.append(1)
            raise
        return {}

    async def main() -> None:
        async with world.scopes.connect(URL, auth=get_auth, timeout=5):
            raise AssertionError

    with pytest.raises(ConnectError, match="auth"):
        world.run(main)
    assert world.time < 1010
    assert cancelled == [1]


def test_a_function_that_fails_at_first_is_called_again(world: World) -> None:
    log: list[Any] = []
    tries = iter(range(3))

    async def get_auth() -> dict[str, int]:
        await world.sleep(1)
        if (number := next(tries)) < 2:
            raise LookupError(number)
        return {"token": number}

    async def main() -> None:
        async with world.manager_class(URL) as manager:
            socket = manager.socket("/chat", auth=get_auth)
            socket.on("connect_error", lambda error: log.append((str(error)[:40], error.__cause__.args, socket.active)))
            await socket.wait_connected()

    world.run(main)
    assert log == [("the function for auth raised LookupError", (number,), True) for number in (0, 1)]
    assert world.server.payloads() == [{"token": 2}]


@pytest.mark.parametrize("options", [{"reconnection": False}, {"reconnection_attempts": 2}])
def test_a_function_that_always_fails_is_given_up(world: World, options: dict[str, Any]) -> None:
    asked: list[None] = []

    def get_auth() -> dict[str, int]:
        asked.append(None)
        raise LookupError

    async def main() -> None:
        async with world.scopes.connect(URL, auth=get_auth, retry=True, **options):
            raise AssertionError

    with pytest.raises(ConnectError, match="the function for auth raised LookupError"):
        world.run(main)
    assert len(asked) == 1 + options.get("reconnection_attempts", 0)


def test_a_function_that_is_called_again_is_cancelled_first(world: World) -> None:
    asked: list[str] = []

    async def get_query() -> dict[str, str]:
        asked.append("asked")
        try:
            await world.sleep(1e9)
        except Cancelled:
            asked.append("cancelled")
            raise
        return {}

    async def main() -> None:
        async with world.scopes.connect(URL, query=get_query, timeout=5, reconnection_attempts=1, retry=True):
            raise AssertionError

    with pytest.raises(ConnectError):
        world.run(main)
    assert asked == ["asked", "cancelled", "asked", "cancelled"]


def test_a_reconnect_attempt_handler_may_replace_a_function(world: World) -> None:
    async def body(socket: Socket) -> None:
        def change() -> None:
            socket.auth = {"changed": True}

        socket.io.on("reconnect_attempt", change)
        await world.settle()
        world.server.lose()
        await world.sleep(10)

    world.run_connected(body, query=lambda: {"q": "1"}, extra_headers=dict, auth=lambda: {"changed": False})
    assert world.server.payloads() == [{"changed": False}, {"changed": True}]


def test_functions_are_called_after_the_handlers_of_reconnect_attempt(world: World) -> None:
    world.eager = True
    log: list[str] = []

    def get_query() -> dict[str, str]:
        log.append("asked")
        return {}

    async def body(socket: Socket) -> None:
        socket.io.on("reconnect_attempt", lambda: log.append("attempt"))
        await world.settle()
        world.server.lose()
        await world.sleep(10)

    world.run_connected(body, query=get_query)
    assert log == ["asked", "attempt", "asked"]


def test_auth_that_is_set_while_the_function_is_pending_is_sent(world: World) -> None:
    async def body(socket: Socket) -> None:
        other = socket.io.socket("/other", auth=lambda: {"old": 1})
        other.auth = {"new": 1}
        await other.wait_connected()

    world.run_connected(body)
    assert world.server.payloads()[-1] == {"new": 1}


# ---------------------------------------------------------------------------------------------------------------------
# The log


def test_the_log_shows_events_and_sizes_but_never_auth_or_values(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sansio_socketio")

    async def body(socket: Socket) -> None:
        world.server.acknowledge_with(1)
        await socket.emit_with_ack("question", "my-value")
        world.server.emit("news", "my-value")
        await world.settle()

    world.run_connected(body, auth={"token": "my-secret"})
    assert "/: sent 'question' (values: 1, bytes: n, acknowledgement: 0)" in SIZE.sub("bytes: n", caplog.text)
    assert "/: received acknowledgement 0 of 'question' (values: 1)" in caplog.text
    assert "/: received 'news' (values: 1, bytes: " in caplog.text
    assert "connected to http://localhost by polling" in caplog.text
    assert "my-secret" not in caplog.text
    assert "my-value" not in caplog.text
    assert {record.levelno for record in caplog.records if "connected" in record.getMessage()} == {logging.INFO}


def test_the_log_shows_what_happens_to_events_in_order(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sansio_socketio.client.socket")

    async def body(socket: Socket) -> None:
        socket.on("question", lambda: 5)
        with pytest.raises(AckTimeout):
            await socket.timeout(1).emit_with_ack("silent")
        waiting = world.spawn(lambda: socket.emit_with_ack("lost"))
        await world.settle()
        world.server.lose()
        await socket.emit("later", 1, 2)
        await socket.volatile.emit("never", "my-value")
        await socket.wait_connected()
        world.server.emit("question", "my-value", id=7)
        await world.settle()
        assert isinstance(waiting.error, DisconnectedError)

    world.run_connected(body)
    assert [SIZE.sub("bytes: n", message) for message in caplog.messages] == [
        "/: connected",
        "/: sent 'silent' (values: 0, bytes: n, acknowledgement: 0)",
        "/: no acknowledgement 0 of 'silent': event 'silent' was not acknowledged within 1 seconds",
        "/: sent 'lost' (values: 0, bytes: n, acknowledgement: 1)",
        "/: disconnected: transport close: the stream ended: None",
        "/: no acknowledgement 1 of 'lost': disconnected before the acknowledgement arrived: transport close",
        "/: buffered 'later' (values: 2, bytes: n)",
        "/: dropped 'never': it is volatile and cannot be sent now",
        "/: sent 'later' (values: 2, bytes: n)",
        "/: connected",
        "/: received 'question' (values: 1, bytes: n, acknowledgement: 7)",
        "/: acknowledging 7 (values: 1)",
        "/: disconnected: io client disconnect",
    ]


def test_the_log_shows_retries_and_names_no_key_of_a_value(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sansio_socketio.client.socket")
    values: dict[str, Any] = {"my-key": 1}

    async def body(socket: Socket) -> None:
        socket.emit_nowait("first")
        waiting = world.spawn(lambda: socket.emit_with_ack("broken", values))
        await world.settle()
        values["my-key"] = object()
        await world.sleep(7)
        assert isinstance(waiting.error, PacketError)

    world.run_connected(body, retries=1, ack_timeout=3)
    assert [SIZE.sub("bytes: n", message) for message in caplog.messages[1:-1]] == [
        "/: buffered 'first' (values: 0, bytes: n)",
        "/: sent 'first' (values: 0, bytes: n)",
        "/: buffered 'broken' (values: 1, bytes: n)",
        "/: sent 'first' (values: 0, bytes: n), try 2",
        "/: no acknowledgement of 'broken': PacketError",
    ]


def test_the_log_shows_the_delay_before_the_next_attempt(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sansio_socketio.client.manager")

    async def body(socket: Socket) -> None:
        world.server.accepts = False
        world.server.lose()
        await world.sleep(4)

    world.run_connected(body, randomization_factor=0, reconnection_delay=1.5)
    messages = [message.partition(": ")[2] for message in caplog.messages]
    assert messages[1:6] == [
        "closed: transport close",
        "next attempt in 1.5 seconds",
        "reconnection attempt 1",
        messages[4],
        "next attempt in 3 seconds",
    ]


def test_events_are_not_reported_for_a_log_that_is_off(world: World) -> None:
    async def body(socket: Socket) -> None:
        await socket.emit("e")
        socket.on_any_outgoing(print)
        socket.off_any_outgoing()
        assert not socket._core.spec.namespace.report_sent

    world.run_connected(body)


# ---------------------------------------------------------------------------------------------------------------------
# Event types


def test_an_event_type_is_the_name_of_the_event(world: World) -> None:
    seen: list[Any] = []
    move = EventType[tuple[float, float], bool]("move")

    async def body(socket: Socket) -> None:
        world.server.acknowledge_with(True)
        await socket.emit(move, 1, 2)
        socket.emit_nowait(move, 3, 4)
        assert await socket.emit_with_ack(move, 5, 6)

        @socket.on(move)
        def moved(x: float, y: float) -> bool:
            seen.append((x, y))
            return True

        assert socket.listeners(move) == socket.listeners("move") == [moved]
        waiting = world.spawn(lambda: socket.wait_for(move))
        await world.settle()
        world.server.emit("move", 7, 8, id=1)
        assert (await world.join(waiting)).args == (7, 8)
        await world.settle()
        assert socket.off(move).listeners("move") == []

    world.run_connected(body)
    assert world.server.events() == [["move", 1, 2], ["move", 3, 4], ["move", 5, 6]]
    assert world.server.acks() == [(1, [True])]
    assert seen == [(7, 8)]
    assert (str(move), repr(move)) == ("move", "'move'")


# ---------------------------------------------------------------------------------------------------------------------
# A timeout as in the blocking driver


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("emit", r"write socket\.timeout\(seconds\)\.emit\(\.\.\.\)"),
        ("emit_with_ack", r"write socket\.timeout\(seconds\)\.emit_with_ack\(\.\.\.\)"),
        ("connect", r"asyncio\.timeout\(\), trio\.fail_after\(\) or anyio\.fail_after\(\)"),
        ("wait_connected", r"asyncio\.timeout\(\)"),
    ],
)
def test_a_timeout_of_a_call_is_an_error_that_says_what_to_write(world: World, method: str, hint: str) -> None:
    async def body(socket: Socket) -> None:
        call: Any = getattr(socket, method)
        args = ["e"] if method.startswith("emit") else []
        with pytest.raises(TypeError, match=rf"^{method}\(\) of an async driver takes no timeout: .*{hint}"):
            await call(*args, timeout=5)
        with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
            await call(*args, other=print)

    world.run_connected(body)


@pytest.mark.parametrize(
    ("method", "keyword", "hint"),
    [
        ("emit", "callback", "write ack=function"),
        ("send", "callback", "write ack=function"),
        ("emit_with_ack", "callback", "it returns the acknowledgement"),
        ("emit", "namespace", "each namespace has a socket of its own"),
        ("emit", "to", "only a server can emit to a room"),
        ("emit", "room", "only a server can emit to a room"),
    ],
)
def test_a_keyword_of_python_socketio_is_an_error_that_says_what_to_write(
    world: World, method: str, keyword: str, hint: str
) -> None:
    async def body(socket: Socket) -> None:
        with pytest.raises(TypeError, match=rf"^{method}\(\) takes no {keyword}: {hint}"):
            await getattr(socket, method)("e", **{keyword: "x"})

    world.run_connected(body)


def test_callbacks_of_events_that_are_still_queued_at_the_end_get_the_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """With retries, the next event is sent when the one before it is acknowledged."""
    with_error: list[Any] = []
    without: list[Any] = []

    async def body(socket: Socket) -> None:
        for number in range(3):
            await socket.emit("e", number, ack=lambda error, *values: with_error.append(type(error)))
        await socket.timeout(None).emit("e", ack=without.append)

    world.run_connected(body, retries=1, ack_timeout=3)
    assert with_error == [DisconnectedError] * 3
    assert without == []
    assert caplog.messages == [f"{URL}: stopped with events that were not sent, or with retries not acknowledged: 4"]


def test_an_end_without_queued_events_logs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.server.on_event = lambda packet: world.server.ack(packet) if packet.id is not None else None

    async def body(socket: Socket) -> None:
        await socket.emit("e")
        await socket.emit_with_ack("e")

    world.run_connected(body, retries=1, ack_timeout=3)
    assert caplog.messages == []
