"""The option `open_stream` in every runtime: streams that are returned in time, too late, or invalid."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from sansio_socketio.protocol.errors import OptionError, StateError
from sansio_socketio.runtime import Runtime
from sansio_socketio_asyncio import _runtime as on_asyncio
from sansio_socketio_blocking import _runtime as on_threads
from tests.conftest import TLS
from tests.support.hooks import AsyncioHook, BlockingHook, Hook, hook_to
from tests.support.runtimes import Backend, Connection, LoopbackServer, Recorder, drive, echo, iterations, swallow

pytestmark = pytest.mark.timeout(60)

MEGABYTE = 1 << 20


def test_bytes_go_both_ways_and_are_reported_as_sent(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(echo) as server:
            hook, recorder = hook_to(backend, (server.host, server.port)), Recorder(runtime)
            stream = runtime.open_stream("far.test", 3000, recorder, hook.option)
            assert recorder.log == []
            await recorder.until_notified("opened")
            assert hook.wanted == [("far.test", 3000)]
            stream.write(b"hello, ")
            stream.write(b"world")
            assert recorder.log == ["opened"]
            await recorder.until(lambda: recorder.data == b"hello, world" and "sent" in recorder.log)
            assert sorted(recorder.log) == ["opened", "received", "sent"]
            data = bytes(MEGABYTE)
            stream.write(data)
            await recorder.until(lambda: len(recorder.data) == len(data) + 12)
            stream.abort()

    backend.play(scenario)


def test_closing_sends_everything_first(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(swallow) as server:
            hook, recorder = hook_to(backend, (server.host, server.port)), Recorder(runtime)
            stream = runtime.open_stream("far.test", 3000, recorder, hook.option)
            await recorder.until_notified("opened")
            stream.write(bytes(MEGABYTE))
            stream.close()
            assert len(await server.next_report(runtime)) == MEGABYTE
            assert recorder.log == ["opened"]

    backend.play(scenario)


@pytest.mark.parametrize("way", ["abort", "close"])
def test_a_stream_that_is_returned_too_late_is_closed(way: str, backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(swallow) as server:
            hook, recorder = hook_to(backend, (server.host, server.port)), Recorder(runtime)

            def give_up(made: Any) -> Any:
                with runtime.lock:
                    getattr(stream, way)()
                return made

            hook.after = give_up
            stream = runtime.open_stream("far.test", 3000, recorder, hook.option)
            assert await server.next_report(runtime) in {b"", b"reset"}
            assert recorder.log == []

    backend.play(scenario)


def test_aborting_before_the_hook_is_called(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        with LoopbackServer(swallow) as server:
            hook, recorder = hook_to(backend, (server.host, server.port)), Recorder(runtime)
            runtime.open_stream("far.test", 3000, recorder, hook.option).abort()
            await iterations(runtime, 10)
            assert recorder.log == []

    backend.play(scenario)


class ApplicationError(Exception):
    """An error of the application."""


def test_an_exception_of_the_hook_is_reported_unchanged(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        hook, recorder = hook_to(backend, ("127.0.0.1", 1)), Recorder(runtime)
        error = ApplicationError()

        def fail() -> None:
            raise error from OSError("beneath")

        hook.before = fail
        runtime.open_stream("far.test", 3000, recorder, hook.option)
        await recorder.until_notified("failed")
        assert recorder.error is error

    backend.play(scenario)


def test_an_invalid_stream_is_reported(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        async def wrong(*_: Any) -> list[int]:
            return [1]

        recorder = Recorder(runtime)
        runtime.open_stream("far.test", 3000, recorder, (lambda *_: [1]) if backend.name == "threads" else wrong)
        await recorder.until_notified("failed")
        assert isinstance(recorder.error, OptionError)
        assert "it returned a list" in str(recorder.error)

    backend.play(scenario)


def test_a_hook_that_never_returns_ends_with_the_scope(backend: Backend) -> None:
    if backend.name == "threads":
        return  # threads cannot be cancelled: see below
    ended: list[bool] = []

    async def scenario(runtime: Runtime) -> None:
        async def hang(*_: Any) -> None:
            try:
                await runtime.wait(runtime.future())
            finally:
                ended.append(True)

        runtime.open_stream("far.test", 3000, Recorder(runtime), hang)
        await iterations(runtime, 10)

    backend.play(scenario)
    assert ended == [True]


# asyncio: the transport exists before the hook returns


def play_on_asyncio(scenario: Callable[[on_asyncio.AsyncioRuntime], Any]) -> None:
    async def main() -> None:
        async with on_asyncio.open_runtime() as runtime:
            await scenario(runtime)

    asyncio.run(main())


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("timed out waiting")


def speak_first(connection: Connection) -> None:
    connection.sock.sendall(b"hello")
    connection.server.reports.put(connection.read_all())


def test_data_before_the_hook_returns_is_delivered_after_opened() -> None:
    async def scenario(runtime: on_asyncio.AsyncioRuntime) -> None:
        with LoopbackServer(speak_first) as server:
            recorder = Recorder(runtime)

            async def open_slowly(factory: Callable[[], Any], host: str, port: int) -> Any:
                made = await runtime.loop.create_connection(factory, server.host, server.port)
                await _until(lambda: bool(made[1]._early))
                assert recorder.log == []
                return made

            stream = runtime.open_stream("far.test", 3000, recorder, open_slowly)
            await recorder.until_notified("received")
            assert recorder.log == ["opened", "received"]
            assert bytes(recorder.data) == b"hello"
            stream.abort()

    play_on_asyncio(scenario)


def greet_and_close(connection: Connection) -> None:
    connection.sock.sendall(b"hello")


@pytest.mark.parametrize("way", ["raises", "is given up", "finds that the peer has left"])
def test_the_transport_of_a_hook_that_does_not_return_is_closed(way: str) -> None:
    async def scenario(runtime: on_asyncio.AsyncioRuntime) -> None:
        with LoopbackServer(greet_and_close if "left" in way else speak_first) as server:
            recorder = Recorder(runtime)
            made: list[Any] = []

            async def open_half(factory: Callable[[], Any], host: str, port: int) -> Any:
                made.extend(await runtime.loop.create_connection(factory, server.host, server.port))
                if way == "raises":
                    raise ApplicationError
                if way == "is given up":
                    stream.abort()
                await asyncio.sleep(60)

            stream = runtime.open_stream("far.test", 3000, recorder, open_half)
            if "left" not in way:
                assert await server.next_report(runtime) in {b"", b"reset"}
            else:
                await recorder.until_notified("failed")
                assert isinstance(recorder.error, ConnectionError)
            await iterations(runtime, 3)
            assert recorder.log == ([] if way == "is given up" else ["failed"])
            assert made[0].is_closing()

    play_on_asyncio(scenario)


def test_a_protocol_that_the_factory_did_not_make_is_an_error() -> None:
    async def scenario(runtime: on_asyncio.AsyncioRuntime) -> None:
        with LoopbackServer(swallow) as server:
            recorder = Recorder(runtime)
            others: list[asyncio.BaseTransport] = []

            async def open_another(factory: Callable[[], Any], host: str, port: int) -> Any:
                transport, protocol = await runtime.loop.create_connection(asyncio.Protocol, server.host, server.port)
                others.append(transport)
                return transport, protocol

            runtime.open_stream("far.test", 3000, recorder, open_another)
            await recorder.until_notified("failed")
            assert "the protocol that protocol_factory() made" in str(recorder.error)
            others[0].close()

    play_on_asyncio(scenario)


@pytest.mark.parametrize("way", ["from the start", "later"])
def test_a_transport_with_tls_is_an_error(way: str, tls: TLS) -> None:
    """asyncio's TLS may lose the end of a stream. The library's own runs over a plain transport."""

    async def scenario(runtime: on_asyncio.AsyncioRuntime) -> None:
        at_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        at_server.load_cert_chain(tls.files.cert, tls.files.key)
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", ssl=at_server)
        port = server.sockets[0].getsockname()[1]

        async def open_under_tls(factory: Callable[[], Any], host: str, _: int) -> Any:
            loop = runtime.loop
            if way == "from the start":
                return await loop.create_connection(
                    factory, "127.0.0.1", port, ssl=tls.context, server_hostname="localhost"
                )
            transport, protocol = await loop.create_connection(factory, "127.0.0.1", port)
            return await loop.start_tls(transport, protocol, tls.context, server_hostname="localhost"), protocol

        async with server:
            recorder = Recorder(runtime)
            runtime.open_stream("far.test", 3000, recorder, open_under_tls)
            await recorder.until_notified("failed")
            assert recorder.log == ["failed"]
            assert "a transport without TLS" in str(recorder.error)

    play_on_asyncio(scenario)


def test_a_cancellation_inside_the_hook_is_reported() -> None:
    async def scenario(runtime: on_asyncio.AsyncioRuntime) -> None:
        async def await_something_cancelled(*_: Any) -> None:
            task = asyncio.create_task(asyncio.sleep(60))
            task.cancel()
            await task

        recorder = Recorder(runtime)
        runtime.open_stream("far.test", 3000, recorder, await_something_cancelled)
        await recorder.until_notified("failed")
        assert isinstance(recorder.error, StateError)

    play_on_asyncio(scenario)


def test_the_stream_of_a_hook_that_swallows_its_cancellation_is_closed() -> None:
    async def scenario(runtime: on_asyncio.AsyncioRuntime) -> None:
        with LoopbackServer(swallow) as server:
            hook: Hook = AsyncioHook((server.host, server.port))
            opening, recorder = asyncio.Event(), Recorder(runtime)

            async def stubborn(factory: Callable[[], Any], host: str, port: int) -> Any:
                opening.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
                return await hook.option(factory, host, port)

            stream = runtime.open_stream("far.test", 3000, recorder, stubborn)
            await opening.wait()
            stream.abort()
            assert await server.next_report(runtime) in {b"", b"reset"}
            assert recorder.log == []

    play_on_asyncio(scenario)


# Threads: a hook cannot be cancelled


def play_on_threads(scenario: Callable[[on_threads.BlockingRuntime], Any]) -> None:
    async def main() -> None:
        async with on_threads.open_runtime() as runtime:
            with runtime.lock:
                await scenario(runtime)

    drive(main)


def test_a_socket_opened_after_the_scope_ended_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_threads, "_JOIN_TIMEOUT", 0.0)
    began, may_end = threading.Event(), threading.Event()
    opened: list[socket.socket] = []

    def open_stream(host: str, port: int) -> socket.socket:
        began.set()
        may_end.wait()
        opened.append(socket.socket())
        return opened[0]

    async def scenario(runtime: on_threads.BlockingRuntime) -> None:
        runtime.open_stream("far.test", 3000, Recorder(runtime), open_stream).abort()
        began.wait()

    play_on_threads(scenario)
    may_end.set()
    for thread in threading.enumerate():
        if thread.name.startswith("sansio-socketio"):
            thread.join()
    assert opened[0].fileno() == -1


def test_a_socket_reported_while_the_scope_ends_is_closed() -> None:
    late = socket.socket()

    async def scenario(runtime: on_threads.BlockingRuntime) -> None:
        stream = runtime.open_stream("far.test", 3000, Recorder(runtime), lambda host, port: None)
        stream.abort()
        runtime.call_soon(partial(stream._hook_returned, late))
        runtime._ended = True  # the network thread cannot have run since, because this one holds the lock

    play_on_threads(scenario)
    assert late.fileno() == -1


def test_nagles_algorithm_is_switched_off() -> None:
    """The other runtimes set the option for each TCP socket themselves."""

    async def scenario(runtime: on_threads.BlockingRuntime) -> None:
        with LoopbackServer(echo) as server:
            hook, recorder = BlockingHook((server.host, server.port)), Recorder(runtime)
            opened: list[socket.socket] = []

            def keep(sock: socket.socket) -> socket.socket:
                opened.append(sock)
                return sock

            hook.after = keep
            stream = runtime.open_stream("far.test", 3000, recorder, hook.option)
            await recorder.until_notified("opened")
            assert opened[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            stream.abort()

    play_on_threads(scenario)


def test_a_closed_socket_is_an_error() -> None:
    async def scenario(runtime: on_threads.BlockingRuntime) -> None:
        closed, recorder = socket.socket(), Recorder(runtime)
        closed.close()
        runtime.open_stream("far.test", 3000, recorder, lambda host, port: closed)
        await recorder.until_notified("failed")
        assert isinstance(recorder.error, OSError)

    play_on_threads(scenario)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exception_that_would_end_the_thread_is_reported(error: BaseException) -> None:
    async def scenario(runtime: on_threads.BlockingRuntime) -> None:
        def open_stream(host: str, port: int) -> socket.socket:
            raise error

        recorder = Recorder(runtime)
        runtime.open_stream("far.test", 3000, recorder, open_stream)
        await recorder.until_notified("failed")
        assert isinstance(recorder.error, StateError)

    play_on_threads(scenario)


def test_an_async_function_is_an_error() -> None:
    async def scenario(runtime: on_threads.BlockingRuntime) -> None:
        async def open_stream(host: str, port: int) -> None: ...

        recorder = Recorder(runtime)
        runtime.open_stream("far.test", 3000, recorder, open_stream)
        await recorder.until_notified("failed")
        assert "open_stream is an async function" in str(recorder.error)

    play_on_threads(scenario)


def test_a_socket_with_tls_is_an_error() -> None:
    context = ssl.create_default_context()
    with LoopbackServer(swallow) as server, socket.create_connection((server.host, server.port)) as plain:
        wrapped = context.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False)

        async def scenario(runtime: on_threads.BlockingRuntime) -> None:
            recorder = Recorder(runtime)
            runtime.open_stream("far.test", 3000, recorder, lambda host, port: wrapped)
            await recorder.until_notified("failed")
            assert "a connected socket.socket without TLS" in str(recorder.error)

        play_on_threads(scenario)
        wrapped.close()
