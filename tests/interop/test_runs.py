"""A Manager without a context manager: opened and closed by calls, or run in a nursery or task group of the caller."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from random import Random
from typing import Any

import anyio
import pytest
import trio

import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_blocking
import sansio_socketio_trio
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, SocketIOError, StateError
from tests.conftest import PeerFactory
from tests.interop.conftest import FreshTarget
from tests.support.drivers import ASYNC_DRIVERS, AsyncioDriver, BlockingDriver, Driver
from tests.support.peers import Peer
from tests.support.runtimes import refusing_port
from tests.support.target import Target

HOLDING: list[Driver] = [AsyncioDriver(), BlockingDriver()]
holding = pytest.mark.parametrize("driver", HOLDING, ids=lambda driver: driver.name)


# ---------------------------------------------------------------------------------------------------------------------
# On every driver


@pytest.mark.row("manager.without_context_manager")
async def test_manager_opened_and_closed_without_context_manager(driver: Driver, plain_target: Target) -> None:
    target = plain_target
    seen = driver.queue()
    manager = driver.manager(target.peer.url, **target.options)
    socket = manager.socket("/chat", auth={"name": "Ada"})
    socket.on("welcome", lambda about: seen.put(about["auth"]))
    socket.on("disconnect", seen.put)
    for _ in range(2):
        async with driver.running(manager):
            await target.settle(driver, socket)
            assert await seen.get() == {"name": "Ada"}
            assert await socket.emit_with_ack("echo_ack", 1) == 1
        assert await seen.get() == "forced close"
        assert (socket.connected, socket.active) == (False, True)
        with pytest.raises(DisconnectedError):
            await socket.emit("e")


async def test_events_emitted_before_close_are_delivered(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    manager = driver.manager(target.peer.url, **target.options)
    for count in (1, 2):
        socket = manager.socket("/")
        async with driver.running(manager):
            await socket.wait_connected()
            await socket.emit("echo", "the last word")
        await driver.until(lambda: target.peer.control("stats")["clients"] == 0)
        assert target.peer.control("stats")["disconnections"] == ["client namespace disconnect"] * count


async def test_a_manager_without_context_manager_reconnects(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    seen = driver.queue()
    manager = driver.manager(target.peer.url, **target.options)
    manager.on("reconnect", seen.put)
    socket = manager.socket("/")
    async with driver.running(manager):
        await target.settle(driver, socket)
        await socket.emit("close_engine")
        assert await seen.get() == 1
        await socket.wait_connected()


async def test_a_handler_may_close_the_manager(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()
    manager = driver.manager(plain_target.peer.url, **plain_target.options)
    socket = manager.socket("/")

    async def close() -> None:
        await manager.close()
        seen.put("closed")

    socket.on("echo", driver.handler(close))
    async with driver.running(manager):
        await socket.wait_connected()
        await socket.emit("echo")
        assert await seen.get() == "closed"
        await socket.wait_closed()
    if isinstance(driver, BlockingDriver):  # its own thread ends last
        await driver.until(lambda: not any("closes" in thread.name for thread in threading.enumerate()))


async def test_a_manager_that_was_cancelled_can_be_started_again(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh()
    manager = driver.manager(target.peer.url, **target.options)
    socket = manager.socket("/")

    async def talk(ready: Any) -> None:
        async with manager:
            await socket.emit_with_ack("echo_ack", 1)
            ready()
            await socket.emit_with_ack("silent")

    await driver.cancelled(talk)
    await driver.until(lambda: target.peer.control("stats")["sockets"] == 0)
    async with driver.running(manager):
        await socket.wait_connected()


# ---------------------------------------------------------------------------------------------------------------------
# Opened and closed by calls


@holding
async def test_a_failed_open_leaves_nothing_running_and_can_be_repeated(
    driver: Driver, plain_fresh: FreshTarget
) -> None:
    target = plain_fresh()
    manager = driver.manager(target.peer.url, **target.options)
    socket = manager.socket("/")
    target.peer.kill()
    for _ in range(2):
        with pytest.raises(ConnectError):
            await manager.open()
        _nothing_runs(driver)
    target.peer.start()
    await manager.open()
    await socket.wait_connected()
    await manager.close()
    _nothing_runs(driver)


@holding
async def test_an_interrupted_open_leaves_nothing_running_and_can_be_repeated(
    driver: Driver, plain_fresh: FreshTarget
) -> None:
    target = plain_fresh()
    manager = driver.manager(target.peer.url, **target.options)

    async def open_it(ready: Any) -> None:
        manager.on("error", print)
        if isinstance(driver, BlockingDriver):
            with pytest.raises(TimeoutError):
                await manager.open(timeout=0.1)
        ready()
        await manager.open()

    with target.peer.frozen():
        await driver.cancelled(open_it)
    _nothing_runs(driver)
    await manager.open()
    await manager.close()


@holding
async def test_close_may_be_called_at_any_time(driver: Driver, plain_target: Target) -> None:
    manager = driver.manager(plain_target.peer.url, **plain_target.options)
    assert await manager.close() == manager
    await manager.open()
    closers = await driver.gather(*[manager.close] * 5)
    assert closers == [manager] * 5
    await driver.until(lambda: not _running(driver))
    await manager.close()
    await manager.open()
    await manager.close()
    _nothing_runs(driver)


def _running(driver: Driver) -> list[str]:
    if isinstance(driver, BlockingDriver):
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("sansio-socketio")]
    return [task.get_name() for task in asyncio.all_tasks() if "Manager" in task.get_name()]


def _nothing_runs(driver: Driver) -> None:
    assert _running(driver) == []


def test_threads_may_open_and_close_a_manager_for_each_other(node_server: Peer) -> None:
    manager = sansio_socketio_blocking.Manager(node_server.url)
    socket = manager.socket("/")
    seen: list[Any] = []

    def in_thread(function: Callable[[], Any]) -> None:
        thread = threading.Thread(target=lambda: seen.append(function()))
        thread.start()
        thread.join(10)

    def main() -> Any:
        async def body() -> None:
            in_thread(manager.open)
            in_thread(lambda: socket.emit_with_ack("echo_ack", "from a thread"))
            assert socket.emit_with_ack("echo_ack", "from another") == "from another"
            in_thread(manager.close)
            assert seen == [manager, "from a thread", manager]

        return body()

    BlockingDriver().run(main)


def test_concurrent_calls_in_several_threads_leave_nothing_running(node_server: Peer) -> None:
    manager = sansio_socketio_blocking.Manager(node_server.url, transports=["websocket"])
    socket = manager.socket("/")
    socket.on("echo", manager.close)
    mistakes: list[BaseException] = []
    calls: list[Callable[[], Any]] = [
        lambda: manager.open(timeout=5),
        lambda: socket.connect(timeout=1),
        manager.close,
        socket.disconnect,
        lambda: socket.emit("n", 0),
        lambda: socket.emit("echo"),
    ]

    def work(seed: int) -> None:
        chance = Random(seed)
        for _ in range(60):
            try:
                chance.choice(calls)()
            except (SocketIOError, TimeoutError):
                pass
            except BaseException as error:
                mistakes.append(error)

    async def body() -> None:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        manager.close()
        assert mistakes == []
        manager.open()
        socket.connect(timeout=10)
        assert socket.emit_with_ack("echo_ack", "unharmed") == "unharmed"
        manager.close()
        driver = BlockingDriver()
        await driver.until(lambda: not _running(driver))

    BlockingDriver().run(body)


def test_a_close_that_times_out_ends_the_run(fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server()

    async def main() -> None:
        manager = sansio_socketio_blocking.Manager(peer.url, transports=["websocket"])
        manager.open()
        with peer.frozen(), pytest.raises(TimeoutError):
            manager.close(timeout=0.05)
        with pytest.raises(DisconnectedError):
            manager.socket("/").emit("e")

    BlockingDriver().run(main)


# ---------------------------------------------------------------------------------------------------------------------
# asyncio


def test_open_and_close_may_run_in_different_tasks(node_server: Peer) -> None:
    async def fixture() -> AsyncGenerator[Any]:
        manager = sansio_socketio_asyncio.Manager(node_server.url)
        await manager.open()
        yield manager
        await manager.close()

    async def main() -> None:
        generator = fixture()
        manager = await asyncio.create_task(anext(generator))
        socket = manager.socket("/")
        assert await asyncio.create_task(socket.emit_with_ack("echo_ack", 1)) == 1
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(anext(generator))

    AsyncioDriver().run(main)


def test_a_manager_stays_usable_between_runs_of_its_loop(node_server: Peer) -> None:
    def main() -> None:
        with asyncio.Runner() as runner:
            manager = sansio_socketio_asyncio.Manager(node_server.url)
            runner.run(manager.open())
            socket = manager.socket("/")
            seen: list[Any] = []
            socket.on("echo", seen.append)
            socket.emit_nowait("echo", "before")
            assert runner.run(socket.emit_with_ack("echo_ack", 1)) == 1
            assert seen == ["before"]
            runner.run(manager.close())

    async def body() -> None:
        await asyncio.to_thread(main)

    AsyncioDriver().run(body)


@pytest.mark.filterwarnings("default::ResourceWarning")
def test_a_manager_that_is_never_closed_is_stopped_with_its_loop_and_can_be_opened_in_another(
    node_server: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    manager = sansio_socketio_asyncio.Manager(node_server.url)
    socket = manager.socket("/")

    async def leave_open() -> None:
        await manager.open()
        await socket.wait_connected()

    async def use() -> None:
        async with asyncio.timeout(30):
            await manager.open()
            assert await socket.emit_with_ack("echo_ack", 1) == 1
            await manager.close()

    for _ in range(2):
        with pytest.warns(ResourceWarning, match="unclosed Manager"):
            asyncio.run(leave_open())
        assert str(manager) == f"<Manager of {node_server.url}, closed>"
        asyncio.run(manager.close())
    asyncio.run(use())
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_task_that_the_loop_cancels_at_its_end_can_close_a_manager(node_server: Peer) -> None:
    async def service(manager: sansio_socketio_asyncio.Manager, ready: asyncio.Event) -> None:
        try:
            await manager.open()
            ready.set()
            await asyncio.sleep(100)
        finally:
            await manager.close()

    async def main() -> None:
        manager = sansio_socketio_asyncio.Manager(node_server.url)
        ready = asyncio.Event()
        services.append(asyncio.create_task(service(manager, ready)))
        await ready.wait()

    services: list[asyncio.Task[None]] = []
    asyncio.run(main())  # a ResourceWarning would be an error
    assert services[0].cancelled()


def test_an_open_manager_that_nothing_refers_to_keeps_running(node_server: Peer) -> None:
    welcomes: list[Any] = []

    async def start() -> None:
        manager = sansio_socketio_asyncio.Manager(node_server.url)
        manager.socket("/").on("welcome", lambda *_: welcomed(manager))
        gc.collect()
        await manager.open()

    async def main() -> None:
        await start()
        gc.collect()
        await asyncio.wait_for(arrived.wait(), 30)
        await welcomes[0].close()

    def welcomed(manager: sansio_socketio_asyncio.Manager) -> None:
        welcomes.append(manager)
        arrived.set()

    arrived = asyncio.Event()
    asyncio.run(main())


def test_the_event_loop_is_closed_while_a_manager_is_open(node_server: Peer) -> None:
    program = f"""
import asyncio
from sansio_socketio_asyncio import Manager, StateError

manager = Manager({node_server.url!r})
socket = manager.socket()
loop = asyncio.new_event_loop()
loop.run_until_complete(manager.open())
loop.close()

async def main():
    for call in (manager.close, manager.open, manager.run, manager.__aenter__, socket.connect, lambda: socket.emit("e")):
        try:
            await asyncio.wait_for(call(), 30)
        except StateError as error:
            print(error)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    error = (
        "the event loop in which the Manager was started has been closed before the Manager was stopped: create another "
        "Manager"
    )
    assert done.stdout.splitlines() == 6 * [error]


def test_a_manager_of_a_loop_that_is_not_running_cannot_be_used_in_another_one(node_server: Peer) -> None:
    manager = sansio_socketio_asyncio.Manager(node_server.url)
    with asyncio.Runner() as runner, asyncio.Runner() as other:
        runner.run(manager.__aenter__())
        for call in (manager.open, manager.close, manager.__aenter__, lambda: manager.__aexit__(None, None, None)):
            with pytest.raises(StateError, match="another thread or event loop"):
                other.run(asyncio.wait_for(call(), 30))
        runner.run(manager.__aexit__(None, None, None))


def test_a_program_that_never_closes_its_manager_is_warned(node_server: Peer) -> None:
    program = f"""
import asyncio
from sansio_socketio_asyncio import Manager

async def main():
    manager = Manager({node_server.url!r})
    await manager.open()
    await manager.socket().wait_connected()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    [warning] = [line for line in done.stderr.splitlines() if "unclosed" in line]
    assert f"ResourceWarning: unclosed Manager of {node_server.url}: open() was called, close() was not" in warning
    gc.collect()


# ---------------------------------------------------------------------------------------------------------------------
# trio and anyio


@pytest.mark.row("manager.without_context_manager")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_can_be_started_in_a_task_group(backend: str, node_server: Peer) -> None:
    async def main() -> None:
        manager = sansio_socketio_anyio.Manager(node_server.url)
        socket = manager.socket("/")
        with pytest.raises(StateError, match=r"run it|manager\.run"):
            await manager.open()
        async with anyio.create_task_group() as group:
            assert await group.start(manager.run) is manager
            assert await socket.emit_with_ack("echo_ack", 1) == 1
            with pytest.raises(StateError, match="is already running"):
                await manager.run()
            await manager.close()
            assert await group.start(manager.run) is manager
            assert await socket.emit_with_ack("echo_ack", 2) == 2
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)


@pytest.mark.row("manager.without_context_manager")
def test_run_can_be_started_in_a_nursery(node_server: Peer) -> None:
    async def main() -> None:
        manager = sansio_socketio_trio.Manager(node_server.url)
        socket = manager.socket("/")
        with pytest.raises(StateError, match=r"nursery\.start\(manager\.run\)"):
            await manager.open()
        async with trio.open_nursery() as nursery:
            assert await nursery.start(manager.run) is manager
            assert await socket.emit_with_ack("echo_ack", 1) == 1
            await manager.close()
        joined = trio.Event()
        socket.on("connect", joined.set)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.run)
            with trio.fail_after(10):
                await joined.wait()
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_an_exception_of_a_handler_is_raised_by_the_nursery(node_server: Peer) -> None:
    async def main() -> None:
        manager = sansio_socketio_trio.Manager(node_server.url, on_handler_error="raise")
        socket = manager.socket("/")
        socket.on("echo", lambda: 1 / 0)
        async with trio.open_nursery() as nursery:
            await nursery.start(manager.run)
            await socket.emit("echo")
            await trio.sleep(10)

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(ZeroDivisionError)


def test_a_run_that_does_not_reach_the_server_can_be_cancelled() -> None:
    async def main() -> None:
        manager = sansio_socketio_trio.Manager(f"http://127.0.0.1:{refusing_port()}", reconnection_delay=0.01)
        seen = trio.Event()
        manager.on("reconnect_attempt", seen.set)
        async with trio.open_nursery() as nursery:
            await nursery.start(manager.run)
            with trio.fail_after(10):
                await seen.wait()
            nursery.cancel_scope.cancel()

    trio.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Other threads and event loops

INSTEAD = {
    "asyncio": r"loop\.call_soon_threadsafe or asyncio\.run_coroutine_threadsafe",
    "trio": r"trio\.from_thread\.run",
    "anyio-asyncio": r"anyio\.from_thread\.run",
    "anyio-trio": r"anyio\.from_thread\.run",
}


@pytest.mark.row("beyond.threads")
@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
async def test_call_from_another_thread_raises_state_error_with_hint(
    driver: Driver, plain_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with plain_target.connect(driver) as socket:
        manager = socket.io
        await plain_target.settle(driver, socket)
        calls: list[Callable[[], Any]] = [
            lambda: socket.emit_nowait("echo"),
            lambda: socket.emit("echo").send(None),
            lambda: socket.emit_with_ack("echo_ack").send(None),
            lambda: socket.disconnect().send(None),
            lambda: socket.connect().send(None),
            lambda: socket.wait_closed().send(None),
            lambda: socket.on("echo", print),
            lambda: manager.on("close", print),
            lambda: manager.socket("/chat"),
            lambda: manager.open().send(None),
            lambda: manager.close().send(None),
            lambda: setattr(manager, "reconnection", False),
        ]
        errors = _in_thread(calls)
        assert [type(error) for error in errors] == [StateError] * len(calls)
        for error in errors:
            assert re.search(INSTEAD[driver.name], str(error))
        assert await socket.emit_with_ack("echo_ack", "unharmed") == "unharmed"
    assert caplog.records == []


def _in_thread(calls: list[Callable[[], Any]]) -> list[Exception | None]:
    """Return what the calls raise in another thread."""
    errors: list[Exception | None] = []

    def call_all() -> None:
        for call in calls:
            try:
                call()
            except Exception as error:
                errors.append(error)
            else:
                errors.append(None)

    thread = threading.Thread(target=call_all)
    thread.start()
    thread.join(10)
    return errors


def test_call_from_another_loop_of_the_same_thread_raises_state_error(node_server: Peer) -> None:
    def main() -> None:
        with asyncio.Runner() as runner, asyncio.Runner() as other:
            manager = sansio_socketio_asyncio.Manager(node_server.url)
            runner.run(manager.open())
            socket = manager.socket("/")
            runner.run(socket.wait_connected())
            with pytest.raises(StateError, match="run_coroutine_threadsafe"):
                other.run(socket.emit_with_ack("echo_ack", 1))
            assert runner.run(socket.emit_with_ack("echo_ack", 1)) == 1
            runner.run(manager.close())

    async def body() -> None:
        await asyncio.to_thread(main)

    AsyncioDriver().run(body)


def test_the_suggested_calls_from_another_thread_work(node_server: Peer) -> None:
    async def main() -> None:
        async with sansio_socketio_asyncio.connect(node_server.url) as socket:
            loop = asyncio.get_running_loop()

            def in_thread() -> Any:
                return asyncio.run_coroutine_threadsafe(socket.emit_with_ack("echo_ack", 1), loop).result(10)

            assert await asyncio.to_thread(in_thread) == 1

    async def in_trio() -> None:
        async with sansio_socketio_trio.connect(node_server.url) as socket:

            def in_thread() -> Any:
                return trio.from_thread.run(socket.emit_with_ack, "echo_ack", 1)

            assert await trio.to_thread.run_sync(in_thread) == 1

    AsyncioDriver().run(main)
    trio.run(in_trio)
