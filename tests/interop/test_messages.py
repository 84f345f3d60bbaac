"""Events and acknowledgements in both directions, against the real server, on every driver and transport."""

from __future__ import annotations

import math
from array import array
from functools import partial
from typing import Any

import pytest

from sansio_socketio.protocol.errors import AckTimeout, DisconnectedError, OptionError, PacketError
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver, Queue
from tests.support.target import Target

BYTES = bytes(range(256))
PAYLOADS: list[tuple[Any, ...]] = [
    (),
    (None,),
    (True, False, 0, -1, 1.5, 2**53 - 1),
    ("", "text", "line\nbreak\x1eseparator", '"quoted" \\ '),
    ("Grüße, 世界, 🙂👩‍👩‍👧, \u2028", {"ключ": "значение", "": "empty"}),
    ([], {}, [[[]]], {"a": {"b": {"c": [1, "2", None]}}}),
    (b"", b"\x00", BYTES),
    ({"nested": [{"deep": BYTES}, BYTES[:7]], "text": "beside"}, 7, b"last"),
    ("x" * 300_000, BYTES * 400),
]
BURST = 20_000


@pytest.mark.row("socket.emit", "socket.on", "engine.transport")
async def test_events_are_sent_and_received_unchanged(driver: Driver, target: Target) -> None:
    echoed = driver.queue()
    async with target.connect(driver) as socket:
        socket.on("echo", lambda *args: echoed.put(args))
        for payload in PAYLOADS:
            await socket.emit("echo", *payload)
        for payload in PAYLOADS:
            assert await echoed.get() == payload
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("transport") == target.settled


@pytest.mark.row("socket.emit_with_ack", "difference.several_values_awaited")
async def test_emit_with_ack_returns_no_value_one_or_several(driver: Driver, target: Target) -> None:
    async with target.connect(driver) as socket:
        for payload in PAYLOADS:
            want = payload[0] if len(payload) == 1 else payload or None
            assert await socket.emit_with_ack("echo_ack", *payload) == want


async def test_values_without_a_json_form_are_converted_as_in_javascript(driver: Driver, plain_target: Target) -> None:
    async with plain_target.connect(driver) as socket:
        answer = await socket.emit_with_ack("echo_ack", math.nan, math.inf, (1, 2), bytearray(b"a"), memoryview(b"b"))
        assert answer == (None, None, [1, 2], b"a", b"b")
        with pytest.raises(PacketError):
            await socket.emit("echo", object())
        with pytest.raises(OptionError):
            await socket.emit("disconnect")


async def test_keys_typed_arrays_and_deeply_nested_values_are_sent(driver: Driver, plain_target: Target) -> None:
    deep: Any = {"innermost": BYTES}
    for _ in range(2000):
        deep = [deep]
    async with plain_target.connect(driver) as socket:
        keys = {1: "a", 2.0: "b", 1e21: "c", 1e-7: "d", None: "e"}
        assert await socket.emit_with_ack("echo_ack", keys, array("H", [1, 2])) == (
            {"1": "a", "2": "b", "1e+21": "c", "1e-7": "d", "null": "e"},
            array("H", [1, 2]).tobytes(),
        )
        back = await socket.emit_with_ack("echo_ack", deep)
        for _ in range(2000):
            (back,) = back
        assert back == {"innermost": BYTES}


async def test_equal_numbers_and_texts_name_the_same_event(driver: Driver, plain_target: Target) -> None:
    answered = driver.queue()
    async with plain_target.connect(driver) as socket:
        socket.on("answered", lambda *args: answered.put(args))
        for index, name in enumerate((1.0, "2", 1e21, 2**60, 1.5)):
            socket.on(name, partial(str, index))
        for name in (1, 2.0, 10**21, 2.0**60, 1.5):
            await socket.emit("ask", name)
        assert [await answered.get() for _ in range(5)] == [("0",), ("1",), ("2",), ("3",), ("4",)]


async def test_a_callback_among_the_values_raises_packet_error(driver: Driver, plain_target: Target) -> None:
    async with plain_target.connect(driver) as socket:
        for emit in (socket.emit, socket.emit_with_ack):
            with pytest.raises(PacketError, match=r"^value 2: a function cannot be sent; .* pass it as ack="):
                await emit("echo", 1, print)


@pytest.mark.row("socket.emit.ack", "socket.emit_nowait")
async def test_a_callback_gets_the_acknowledgement(driver: Driver, target: Target) -> None:
    called = driver.queue()
    async with target.connect(driver) as socket:
        await socket.emit("echo_ack", 1, [2], ack=lambda *args: called.put(args))
        assert await called.get() == (1, [2])
        await socket.timeout(5).emit("echo_ack", "in time", ack=lambda error, value: called.put((error, value)))
        assert await called.get() == (None, "in time")
        socket.emit_nowait("echo_ack", "at once", ack=called.put)
        assert await called.get() == "at once"


@pytest.mark.row("socket.timeout")
async def test_a_missing_acknowledgement_is_an_ack_timeout(driver: Driver, target: Target) -> None:
    called = driver.queue()
    async with target.connect(driver) as socket:
        with pytest.raises(AckTimeout) as caught:
            await socket.timeout(0.05).emit_with_ack("silent")
        assert isinstance(caught.value, TimeoutError)
        await socket.timeout(0.05).emit("silent", ack=called.put)
        assert isinstance(await called.get(), AckTimeout)
        assert await socket.emit_with_ack("echo_ack", "still there") == "still there"


@pytest.mark.row("difference.acknowledging", "difference.empty_acknowledgement")
async def test_the_return_value_of_a_handler_is_the_acknowledgement(driver: Driver, target: Target) -> None:
    answered = driver.queue()

    async def ask_back(value: Any) -> Any:
        return [await socket.emit_with_ack("echo_ack", value), BYTES]

    async with target.connect(driver) as socket:
        socket.on("answered", lambda *args: answered.put(args))
        socket.on("one", lambda value: value + 1)
        socket.on("several", lambda value: (value, BYTES))
        socket.on("none", lambda: None)
        socket.on("waits", driver.handler(ask_back))
        for question, answer in {
            ("one", 41): (42,),
            ("several", "x"): ("x", BYTES),
            ("none",): (),
            ("waits", 7): ([7, BYTES],),
        }.items():
            await socket.emit("ask", *question)
            assert await answered.get() == answer


@pytest.mark.row("beyond.manual_ack")
async def test_a_handler_with_manual_ack_acknowledges_later(driver: Driver, target: Target) -> None:
    asked, answered = driver.queue(), driver.queue()
    async with target.connect(driver) as socket:
        socket.on("answered", lambda *args: answered.put(args))
        socket.on("question", lambda value, ack: asked.put((value, ack)), manual_ack=True)
        await socket.emit("ask", "question", "now or later?")
        value, ack = await asked.get()
        assert await socket.emit_with_ack("echo_ack", "meanwhile") == "meanwhile"
        ack(value, "later")
        assert await answered.get() == ("now or later?", "later")


@pytest.mark.row("option.on_handler_error")
async def test_a_handler_that_raises_sends_no_acknowledgement(driver: Driver, plain_target: Target) -> None:
    answered, errors = driver.queue(), driver.queue()

    def report(error: Exception, event: str) -> None:
        errors.put((error, event))

    def fail() -> None:
        raise LookupError("no such thing")

    async with plain_target.connect(driver, on_handler_error=report) as socket:
        socket.on("answered", lambda *args: answered.put(args))
        socket.on("question", fail)
        await socket.emit("ask_timeout", 0.05, "question")
        error, event = await errors.get()
        assert (str(error), event) == ("no such thing", "question")
        assert await answered.get() == ("timeout",)
        assert socket.connected


async def test_binary_data_of_the_server_is_received_as_bytes(driver: Driver, target: Target) -> None:
    async with target.connect(driver) as socket:
        nested, content = await socket.emit_with_ack("binary", 1000)
        assert content == (BYTES * 4)[:1000]
        assert nested == {"bytes": content, "nested": [{"bytes": content}, "text"]}


async def test_a_hundred_concurrent_calls_get_their_own_acknowledgements(driver: Driver, target: Target) -> None:
    async with target.connect(driver) as socket:

        async def ask(number: int) -> Any:
            return await socket.emit_with_ack("echo_ack", number)

        answers = await driver.gather(*(lambda number=number: ask(number) for number in range(100)))
        assert answers == list(range(100))


@pytest.mark.row("socket.events")
async def test_events_yields_received_events(driver: Driver, target: Target) -> None:
    async with target.connect(driver) as socket, socket.events() as events:
        await socket.emit("burst", 10)
        await socket.emit("ask", "question", 1, 2)
        seen = []
        async for event in events:
            seen.append((event.name, *event.args))
            if event.name == "question":
                event.ack("three")
            if event.name == "answered":
                break
        assert seen[0][0] == "welcome"
        assert seen[1:] == [*(("n", i) for i in range(10)), ("question", 1, 2), ("answered", "three")]


@pytest.mark.row("socket.wait_for")
async def test_wait_for_returns_the_next_event(driver: Driver, target: Target) -> None:
    seen = driver.queue()

    async def wait() -> None:
        event = await socket.wait_for("question", timeout=30)
        event.ack("three")
        seen.put((event.name, event.args, event.wants_ack))

    async def wait_for_another() -> None:
        seen.put((await socket.wait_for("question")).args)

    async with target.connect(driver) as socket, driver.background() as start:
        start(wait)
        start(wait_for_another)
        await driver.until(lambda: len(futures_of(socket)) == 2)
        await socket.emit("ask", "question", 1, 2)
        assert {await seen.get(), await seen.get()} == {("question", (1, 2), True), (1, 2)}
        with pytest.raises(TimeoutError, match=r"'question' did not arrive within 0\.01 seconds"):
            await socket.wait_for("question", timeout=0.01)
        start(lambda: wait_and_fail(socket, seen))
        await driver.until(lambda: len(futures_of(socket)) == 1)
        await socket.emit("kick")
        assert await seen.get() is DisconnectedError


async def test_wait_for_raises_at_the_end_of_the_scope(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    async with driver.background() as start:
        async with plain_target.connect(driver) as socket:
            start(lambda: wait_and_fail(socket, seen))
            await driver.until(lambda: len(futures_of(socket)) == 1)
        assert await seen.get() is DisconnectedError


def futures_of(socket: Any) -> Any:
    """Return the callers of `wait_for`, to know that they wait."""
    core: Any = socket._core
    return core.link.run.of(core.spec).dispatcher.expected.futures.get("question", [])


async def wait_and_fail(socket: Any, seen: Queue) -> None:
    try:
        await socket.wait_for("question", timeout=30)
    except DisconnectedError as error:
        seen.put(type(error))


async def test_a_burst_from_the_server_arrives_in_order(driver: Driver, plain_target: Target) -> None:
    numbers: list[int] = []
    done = driver.queue()

    def count(number: int) -> None:
        numbers.append(number)
        if number == BURST - 1:
            done.put(None)

    async with plain_target.connect(driver) as socket:
        socket.on("n", count)
        await socket.emit("burst", BURST)
        await done.get()
        assert numbers == list(range(BURST))


async def test_a_burst_to_the_server_arrives_in_order(driver: Driver, plain_target: Target) -> None:
    async with plain_target.connect(driver) as socket:
        for number in range(BURST):
            await socket.emit("n", number)
        assert await socket.emit_with_ack("count") == {"total": BURST, "ordered": True}


async def test_five_mebibytes_are_sent_and_received(driver: Driver, plain_fresh: FreshTarget) -> None:
    content = BYTES * (5 * 1024 * 4)
    target = plain_fresh(options={"maxHttpBufferSize": 16 * 1024 * 1024})
    async with target.connect(driver) as socket:
        assert await socket.emit_with_ack("echo_ack", content) == content
        assert socket.connected


@pytest.mark.row("socket.compress", "option.per_message_deflate")
async def test_compressed_messages_are_sent_and_received(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(options={"perMessageDeflate": {"threshold": 100}, "httpCompression": {"threshold": 100}})
    async with target.connect(driver, per_message_deflate=100) as socket:
        await target.settle(driver, socket)
        for size in (10, 1000, 300_000):
            text = "all work and no play " * (size // 20)
            assert await socket.emit_with_ack("echo_ack", text, BYTES) == (text, BYTES)
            assert await socket.compress(False).emit_with_ack("echo_ack", text) == text


@pytest.mark.row("beyond.concurrency")
async def test_handlers_with_concurrency_overlap(driver: Driver, plain_target: Target) -> None:
    running: set[int] = set()
    most = 0

    async def meet(number: int) -> None:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await driver.until(lambda: most == 3)
        running.discard(number)

    async with plain_target.connect(driver) as socket:
        socket.on("n", driver.handler(meet), concurrency=3)
        await socket.emit("burst", 12)
        await driver.until(lambda: most == 3 and not running)
        assert await socket.emit_with_ack("echo_ack", 1) == 1
    assert most == 3
