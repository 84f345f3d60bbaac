"""Bounds, on every driver: exceeding one fails with an error that names it, and has no other effect."""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack
from typing import Any

import pytest

from sansio_socketio.client import InboxOverflow
from sansio_socketio.protocol.errors import BufferFullError, DisconnectedError, PacketError
from tests.conftest import PeerFactory
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import Target


@pytest.mark.row("option.max_message_size")
async def test_a_message_larger_than_max_message_size_closes_the_connection(
    driver: Driver, plain_target: Target
) -> None:
    gone = driver.queue()
    async with plain_target.connect(driver, max_message_size=50_000) as socket:
        socket.on("disconnect", lambda reason, details: gone.put((reason, str(details))))
        await plain_target.settle(driver, socket)
        assert len((await socket.emit_with_ack("binary", 10_000))[1]) == 10_000
        await socket.emit("binary", 100_000, ack=lambda *values: gone.put(values))
        reason, details = await gone.get()
        assert reason in {"transport error", "parse error"}
        assert "max_message_size" in details
        await socket.wait_connected()
        assert await socket.emit_with_ack("echo_ack", "small") == "small"


@pytest.mark.parametrize("server", ["node", "python"])
@pytest.mark.parametrize("content", ["x" * 2000, b"x" * 2000], ids=["text", "binary"])
async def test_an_event_above_max_payload_fails_alone(
    content: str | bytes,
    server: str,
    driver: Driver,
    transport: str,
    fresh_node_server: PeerFactory,
    fresh_python_server: PeerFactory,
) -> None:
    if server == "node":
        target = Target(fresh_node_server(options={"maxHttpBufferSize": 1000}), transport)
    else:
        target = Target(fresh_python_server(options={"max_http_buffer_size": 1000}), transport)
    gone = driver.queue()
    async with target.connect(driver, retries=20, reconnection_delay=0.01) as socket:
        other = socket.io.socket("/chat")
        await other.wait_connected()
        await target.settle(driver, socket)
        other.on("disconnect", lambda reason, details: gone.put((reason, str(details))))
        if target.settled == "polling":
            with pytest.raises(PacketError, match=r"event 'echo_ack' has a message of .* limit is 1000 \(maxPayload"):
                await socket.emit("echo_ack", content)
        else:
            await socket.emit("echo_ack", content)
            reason, details = await gone.get()
            assert reason == "transport close"
            assert re.search(
                r"with code 1009.*: event 'echo_ack' has a message of 20\d\d bytes; .* limit is 1000", details
            )
        assert await socket.emit_with_ack("echo_ack", "small") == "small"
        await other.wait_connected()
        assert await other.emit_with_ack("echo_ack", "small") == "small"
        assert target.settled == "polling" or socket.io.statistics().reconnects == 1


@pytest.mark.parametrize("ack", [False, True])
async def test_an_event_above_max_payload_without_retries_is_logged_and_takes_what_follows_with_it(
    ack: bool, driver: Driver, fresh_node_server: PeerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    target = Target(fresh_node_server(options={"maxHttpBufferSize": 1000}), "websocket")
    gone = driver.queue()
    async with target.connect(driver, reconnection_delay=0.01) as socket:
        socket.on("disconnect", lambda *args: gone.put(args[0]))
        for event, values in (("n", [0]), ("large", ["x" * 2000]), ("larger", ["x" * 3000]), ("n", [1])):
            socket.emit_nowait(event, *values, **({"ack": print} if ack else {}))
        assert await gone.get() == "transport close"
        await socket.wait_connected()
        assert (await socket.emit_with_ack("count"))["total"] <= 1
    [message] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert re.search(
        r": closed: transport close: .* code 1009.*: event 'large' has a message of 20\d\d bytes;", message
    )


async def test_more_attachments_than_the_server_accepts_are_named_as_the_likely_cause(
    driver: Driver, plain_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    gone = driver.queue()
    async with plain_target.connect(driver) as socket:
        await plain_target.settle(driver, socket)
        socket.on("disconnect", lambda reason, details: gone.put((reason, str(details))))
        await socket.emit("echo", *[b"x"] * 11)
        reason, details = await gone.get()
        assert reason == "transport close"
        assert "; likely cause: event 'echo' has 11 attachments; servers accept at most 10" in details
    [message] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert details in message


@pytest.mark.row("option.max_payload_packets")
async def test_more_packets_than_max_payload_packets_close_the_connection(driver: Driver, plain_target: Target) -> None:
    gone = driver.queue()
    async with plain_target.connect(driver, transports=["polling"], max_payload_packets=50) as socket:
        socket.on("disconnect", lambda reason, details: gone.put((reason, str(details))))
        await socket.emit("burst", 500)
        reason, details = await gone.get()
        assert reason == "transport error"
        assert "at most 50 (max_payload_packets) are accepted" in details


@pytest.mark.row("option.max_attachments")
async def test_more_attachments_than_max_attachments_close_the_connection(driver: Driver, plain_target: Target) -> None:
    gone = driver.queue()
    async with plain_target.connect(driver, max_attachments=2) as socket:
        socket.on("disconnect", lambda reason, details: gone.put((reason, str(details))))
        await plain_target.settle(driver, socket)
        assert await socket.emit_with_ack("echo_ack", b"1", b"2") == (b"1", b"2")
        await socket.emit("echo", b"1", b"2", b"3")
        reason, details = await gone.get()
        assert reason == "parse error"
        assert "3 attachments" in details
        assert "max_attachments" in details


@pytest.mark.row("option.max_buffered_events", "option.max_buffered_bytes")
@pytest.mark.parametrize(
    "bound", [{"max_buffered_events": 3}, {"max_buffered_bytes": 3 * 1000}], ids=lambda each: next(iter(each))
)
async def test_send_buffer_is_bounded(bound: dict[str, Any], driver: Driver, plain_target: Target) -> None:
    options = {**plain_target.options, "auto_connect": False, **bound}
    async with driver.manager(plain_target.peer.url, **options) as manager:
        socket = manager.socket()
        for number in range(3):
            await socket.emit("n", number, "x" * 900)
        with pytest.raises(BufferFullError, match="max_buffered"):
            await socket.emit("n", 3, "x" * 900)
        with pytest.raises(BufferFullError):
            socket.emit_nowait("n", 3, "x" * 900)
        await socket.connect()
        assert await socket.emit_with_ack("count") == {"total": 3, "ordered": True}


@pytest.mark.row("option.inbox_events", "option.inbox_bytes", "difference.bounds")
@pytest.mark.parametrize("bound", [{"inbox_events": 10}, {"inbox_bytes": 200}], ids=lambda each: next(iter(each)))
async def test_events_that_wait_for_handlers_are_bounded(
    bound: dict[str, Any], driver: Driver, plain_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    gone = driver.queue()
    numbers: list[int] = []

    async def slow(number: int) -> None:
        numbers.append(number)
        if number == 0:
            await driver.until(lambda: not socket.connected)

    async with plain_target.connect(driver, **bound) as socket:
        socket.on("n", driver.handler(slow))
        socket.on("disconnect", lambda reason, details: gone.put((reason, type(details).__name__, str(details))))
        await plain_target.settle(driver, socket)
        await socket.emit("burst", 100)
        reason, kind, details = await gone.get()
        assert (reason, kind) == ("forced close", "InboxOverflow")
        assert "'n'" in details
        assert next(iter(bound)) in details
        with pytest.raises(DisconnectedError) as caught:
            await socket.wait_closed()
        assert isinstance(caught.value.__cause__, InboxOverflow)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) < 100
        assert "closing the connection" in caplog.text


@pytest.mark.row("difference.bounds")
@pytest.mark.parametrize(
    ("kind", "transport", "bound", "count"),
    [
        ("handlers", "websocket", 100_000, 130_000),
        ("handlers", "polling", 10_000, 130_000),  # in a few responses
        ("stream", "websocket", 40_000, 60_000),
    ],
    ids=["handlers", "handlers-polling", "stream"],
)
async def test_a_burst_larger_than_the_inbox_is_handled_in_order(
    kind: str, transport: str, bound: int, count: int, driver: Driver, node_server: Peer
) -> None:
    numbers: list[int] = []
    caught: list[int] = []

    async def handle(number: int) -> None:
        numbers.append(number)

    def catch(event: str, *values: Any) -> None:
        if event == "n":
            caught.append(values[0])

    async with Target(node_server, transport).connect(driver, inbox_events=bound) as socket:
        if kind == "stream":
            async with socket.events() as events:
                await socket.emit("burst", count)
                async for event in events:
                    catch(event.name, *event.args)
                    if len(caught) == count:
                        break
        else:
            socket.on("n", driver.handler(handle))
            socket.on_any(catch)
            await driver.registered(socket)
            await socket.emit("burst", count)
            await driver.until(lambda: len(numbers) == count or not socket.connected, patience=60)
            assert numbers == list(range(count))
        assert caught == list(range(count))
        assert await socket.emit_with_ack("echo_ack", "still here") == "still here"


@pytest.mark.row("option.close_timeout", "difference.closing")
async def test_the_block_ends_although_the_server_is_silent(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    with ExitStack() as stack:
        async with target.connect(driver, close_timeout=0.05) as socket:
            await target.settle(driver, socket)
            stack.enter_context(target.peer.frozen())
        assert not socket.connected
    await driver.until(lambda: target.peer.control("stats")["sockets"] == 0)
