"""The runtime for asyncio only: eager tasks, repeated cancellations, interrupts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from sansio_socketio.protocol.errors import StateError
from sansio_socketio.runtime import Runtime, RuntimeScope
from sansio_socketio_asyncio import _runtime
from tests.support.runtimes import LoopbackServer, Recorder, connected, echo, iterations, refusing_port

pytestmark = pytest.mark.timeout(60)

open_runtime: RuntimeScope = _runtime.open_runtime

EAGER: Callable[..., Any] | None = getattr(asyncio, "eager_task_factory", None)  # new in Python 3.12


def test_eager_tasks_do_not_notify_at_once() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(EAGER)
        async with open_runtime() as runtime:
            refused = Recorder(runtime)
            runtime.open_stream("127.0.0.1", refusing_port(), refused)
            assert refused.log == []
            await refused.until_notified("failed")
            with LoopbackServer(echo) as server:
                stream, recorder = await connected(runtime, server)
                stream.write(b"hello")
                assert recorder.log == ["opened"]
                await recorder.until(lambda: recorder.data == b"hello")
                stream.abort()

    asyncio.run(main())


def test_callbacks_of_a_transport_after_the_end_are_ignored() -> None:
    async def main() -> None:
        async with _runtime.open_runtime() as runtime:
            with LoopbackServer(echo) as server:
                recorder = Recorder(runtime)
                stream = runtime.open_stream(server.host, server.port, recorder)
                await recorder.until_notified("opened")
                stream.write(b"x")
                stream.abort()
                stream.data_received(b"late")
                stream.resume_writing()
                stream.connection_lost(None)
                await iterations(runtime, 3)
                assert recorder.log == ["opened"]

    asyncio.run(main())


class Transport(asyncio.Transport):
    aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class RecordingTransport(asyncio.Transport):
    """A transport that accepts all data."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def abort(self) -> None: ...


def test_the_first_write_after_a_read_is_sent_at_once_and_the_next_ones_together() -> None:
    transport = RecordingTransport()

    async def hook(protocol_factory: Callable[[], Any], host: str, port: int) -> Any:
        protocol = protocol_factory()
        protocol.connection_made(transport)
        return transport, protocol

    async def main() -> None:
        async with _runtime.open_runtime() as runtime:
            recorder = Recorder(runtime)
            stream = runtime.open_stream("localhost", 1, recorder, hook)
            await recorder.until_notified("opened")
            stream.write(b"a")
            assert transport.written == [], "nothing was read before"
            await recorder.until(lambda: recorder.log.count("sent") == 1)
            stream.data_received(b"x")
            for data in (b"b", b"c", b"d"):
                stream.write(data)
            assert transport.written == [b"a", b"b"]
            assert recorder.log.count("sent") == 1
            await iterations(runtime, 3)
            assert transport.written == [b"a", b"b", b"cd"]
            stream.connection_lost(None)

    asyncio.run(main())


def test_a_transport_made_after_abort_is_aborted() -> None:
    async def main() -> None:
        async with _runtime.open_runtime() as runtime:
            recorder, transport = Recorder(runtime), Transport()
            stream = runtime.open_stream("127.0.0.1", 1, recorder)
            stream.abort()
            stream.connection_made(transport)
            assert transport.aborted
            stream.connection_lost(None)
            assert recorder.log == []

    asyncio.run(main())


def test_a_scope_that_is_cancelled_repeatedly_waits_for_its_tasks() -> None:
    ended: list[str] = []

    async def stubborn(cleans: asyncio.Event, may_end: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleans.set()
            await may_end.wait()
            ended.append("task")

    async def body(started: asyncio.Event, cleans: asyncio.Event, may_end: asyncio.Event) -> None:
        try:
            async with open_runtime() as runtime:
                runtime.spawn(lambda: stubborn(cleans, may_end), "stubborn")
                await iterations(runtime)
                started.set()
                raise LookupError("of the body")
        finally:
            ended.append("scope")

    async def main() -> None:
        started, cleans, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(body(started, cleans, may_end))
        await cleans.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert task.cancelled()
        assert isinstance(caught.value.__context__, LookupError)

    asyncio.run(main())
    assert ended == ["task", "scope"]


def test_a_task_spawned_while_the_scope_ends_is_cancelled() -> None:
    ended: list[str] = []

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("late")

    async def last_words(runtime: Runtime) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            runtime.spawn(late, "late")
            await asyncio.sleep(0)
            ended.append("last words")

    async def main() -> None:
        async with open_runtime() as runtime:
            runtime.spawn(lambda: last_words(runtime), "last words")
            await iterations(runtime)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert "last words" in ended


def test_a_task_may_end_the_scope() -> None:
    """The end does not wait for that task."""

    async def main() -> None:
        scope = open_runtime()
        runtime = await scope.__aenter__()
        ended = asyncio.Event()

        async def leave() -> None:
            await scope.__aexit__(None, None, None)
            ended.set()

        runtime.spawn(leave, "leaves the scope")
        await ended.wait()

    asyncio.run(main())


def test_pending_callbacks_run_before_the_scope_has_ended() -> None:
    called: list[str] = []

    async def main() -> None:
        async with open_runtime() as runtime:
            runtime.call_soon(lambda: called.append("in time"))
        assert called == ["in time"]

    asyncio.run(main())


def test_the_clock_raises_in_another_event_loop_and_after_the_loop_was_closed() -> None:
    async def now() -> float:
        return runtime.now()

    with asyncio.Runner() as other:
        with asyncio.Runner() as runner:
            scope = open_runtime()
            runtime = runner.run(scope.__aenter__())
            assert runner.run(now()) <= runtime.now()  # while no loop is running
            with pytest.raises(StateError, match="another thread or event loop"):
                other.run(now())
            runner.run(scope.__aexit__(None, None, None))
        with pytest.raises(StateError, match="the event loop in which the Manager was started has been closed"):
            runtime.now()


def test_waiting_raises_in_another_event_loop_of_the_same_thread() -> None:
    with asyncio.Runner() as runner, asyncio.Runner() as other:
        scope = open_runtime()
        runtime = runner.run(scope.__aenter__())
        future = runtime.future()
        with pytest.raises(StateError, match="another thread or event loop"):
            other.run(runtime.wait(future))
        runtime.call_soon(future.resolve)
        assert runner.run(runtime.wait(future)) is None
        runner.run(scope.__aexit__(None, None, None))


@pytest.mark.skipif(os.name == "nt", reason="os.kill() ends the process on Windows, whatever the signal")
def test_nothing_is_left_after_an_interrupt() -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            with LoopbackServer(echo) as server:
                await connected(runtime, server)
                runtime.spawn(lambda: _wait_for_ever(runtime), "waits")
                runtime.call_soon(lambda: os.kill(os.getpid(), signal.SIGINT))
                await runtime.wait(runtime.future())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())


async def _wait_for_ever(runtime: Runtime) -> None:
    await runtime.wait(runtime.future())


def test_closing_a_coroutine_while_a_handler_waits_raises_nothing() -> None:
    """This happens to the tasks of an event loop that was stopped and never ran again."""
    ended: list[str] = []

    async def handler() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("handler")

    async def main() -> None:
        async with open_runtime() as runtime:
            call: Any = runtime.call(handler)
            call.send(None)
            call.close()

    asyncio.run(main())
    assert ended == ["handler"]
