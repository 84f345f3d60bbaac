"""The contract of `runtime.interface.ListeningRuntime`, checked for the drivers that have it, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from errno import EADDRINUSE, EADDRNOTAVAIL, EMFILE
from threading import Thread
from typing import Any, cast

import pytest

from sansio_socketio.runtime import ListeningRuntime, Runtime, Stream, StreamReceiver, bind, peer_name
from sansio_socketio_asyncio import _listen
from tests.support.runtimes import LISTENING, Backend, Recorder, iterations

pytestmark = pytest.mark.timeout(60)

ListeningScenario = Callable[[ListeningRuntime, "Acceptor"], Coroutine[Any, Any, Any]]


@pytest.fixture(params=LISTENING, ids=lambda backend: backend.name)
def play(request: pytest.FixtureRequest) -> Callable[[ListeningScenario], Any]:
    backend: Backend = request.param

    async def scenario(runtime: Runtime, body: ListeningScenario) -> Any:
        listening = cast("ListeningRuntime", runtime)
        return await body(listening, Acceptor(listening))

    return lambda body: backend.play(lambda runtime: scenario(runtime, body))


class Acceptor:
    """Takes the accepted streams."""

    def __init__(self, runtime: Runtime) -> None:
        self.streams: list[tuple[Stream, str, Recorder]] = []
        self._runtime = runtime

    def __call__(self, stream: Stream, peer: str) -> StreamReceiver:
        recorder = Recorder(self._runtime)
        self.streams.append((stream, peer, recorder))
        return recorder

    async def next(self) -> tuple[Stream, str, Recorder]:
        """Wait for a stream that is open."""
        while not self.streams:
            await iterations(self._runtime)
        accepted = self.streams.pop(0)
        await accepted[2].until_notified("opened")
        return accepted


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Connect to a listener, which may accept the stream later."""
    return socket.create_connection((host, port), timeout=20)


def test_an_accepted_stream_is_open_and_carries_bytes_both_ways(play: Callable[[ListeningScenario], Any]) -> None:
    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        with connect(listener.port) as client:
            client.sendall(b"hello")
            stream, peer, recorder = await acceptor.next()
            assert peer == peer_name(client.getsockname())
            await recorder.until(lambda: recorder.data == b"hello")
            assert recorder.log == ["opened", "received"]
            stream.write(b"wor")
            stream.write(b"ld")
            await recorder.until_notified("sent")
            assert await _received(runtime, client, 5) == b"world"
        await recorder.until_notified("closed")
        assert recorder.error is None

    play(scenario)


def test_all_addresses_of_a_host_have_the_same_port(play: Callable[[ListeningScenario], Any]) -> None:
    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("", 0, acceptor)
        for host in ("127.0.0.1", "::1"):
            with connect(listener.port, host) as client:
                _, peer, recorder = await acceptor.next()
                assert peer == peer_name(client.getsockname())
            await recorder.until_notified("closed")

    play(scenario)


def test_a_closed_listener_accepts_no_stream_and_leaves_the_accepted_ones_open(
    play: Callable[[ListeningScenario], Any],
) -> None:
    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        with connect(listener.port) as client:
            stream, _, recorder = await acceptor.next()
            listener.close()
            listener.close()
            await iterations(runtime, 5)
            with pytest.raises(ConnectionRefusedError):
                connect(listener.port)
            stream.write(b"still open")
            assert await _received(runtime, client, 10) == b"still open"
            stream.abort()
            assert recorder.log[0] == "opened"
        assert not acceptor.streams

    play(scenario)


async def _received(runtime: Runtime, client: socket.socket, count: int) -> bytes:
    """Read from the client's socket while the runtime continues."""
    client.setblocking(False)
    data = b""
    while len(data) < count:
        await iterations(runtime)
        try:
            data += client.recv(count - len(data))
        except BlockingIOError:
            continue
    return data


def test_a_listener_that_is_closed_at_once_accepts_nothing(play: Callable[[ListeningScenario], Any]) -> None:
    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        with connect(listener.port):
            listener.close()
            await iterations(runtime, 5)
        assert not acceptor.streams

    play(scenario)


def test_listeners_and_accepted_streams_end_with_the_scope(play: Callable[[ListeningScenario], Any]) -> None:
    clients: list[socket.socket] = []

    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> int:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        clients.append(connect(listener.port))
        await acceptor.next()
        clients.append(connect(listener.port))  # accepted while the scope ends, or not any more
        await iterations(runtime)
        return listener.port

    port = play(scenario)
    for client in clients:
        with client, suppress(ConnectionResetError):
            assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_a_port_that_is_in_use_is_reported_with_its_address(play: Callable[[ListeningScenario], Any]) -> None:
    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(OSError, match=f"127.0.0.1.*{port}"):
                await runtime.listen("127.0.0.1", port, acceptor)

    play(scenario)


def test_nagles_algorithm_is_off_for_accepted_streams(
    play: Callable[[ListeningScenario], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[tuple[Any, ...]] = []
    set_option = socket.socket.setsockopt

    def note(sock: socket.socket, *args: Any) -> None:
        options.append((sock.getsockname()[1], *args))
        set_option(sock, *args)

    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        monkeypatch.setattr(socket.socket, "setsockopt", note)
        with connect(listener.port):
            stream, _, _ = await acceptor.next()
            monkeypatch.undo()
            assert (listener.port, socket.IPPROTO_TCP, socket.TCP_NODELAY, True) in options
            stream.abort()

    play(scenario)


def test_closing_an_accepted_stream_sends_everything_written(play: Callable[[ListeningScenario], Any]) -> None:
    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        with connect(listener.port) as client:
            stream, _, _ = await acceptor.next()
            stream.write(b"x" * (1 << 22))
            stream.close()
            assert len(await _received(runtime, client, 1 << 22)) == 1 << 22

    play(scenario)


def test_a_stream_that_its_peer_has_closed_already_is_reported_as_closed_or_not_at_all(
    play: Callable[[ListeningScenario], Any],
) -> None:
    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        with connect(listener.port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with RST
        with connect(listener.port) as client:
            while not any(peer == peer_name(client.getsockname()) for _, peer, _ in acceptor.streams):
                await iterations(runtime)
        for _, _, recorder in acceptor.streams:
            await recorder.until_notified("closed")

    play(scenario)


def test_what_was_written_is_reported_as_sent_before_the_response_to_it(
    play: Callable[[ListeningScenario], Any],
) -> None:
    def respond(port: int) -> None:
        with connect(port) as client:
            while data := client.recv(1000):
                client.sendall(data)

    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        thread = Thread(target=respond, args=(listener.port,))
        thread.start()
        stream, _, recorder = await acceptor.next()
        orders = set()
        for _ in range(300):
            recorder.history.clear()
            stream.write(b"x")
            await recorder.until(lambda: len(recorder.log) == 2)
            orders.add(tuple(recorder.log))
        stream.abort()
        while thread.is_alive():
            await iterations(runtime)
        assert orders == {("sent", "received")}

    play(scenario)


# What is special about asyncio


@pytest.fixture(params=["readers", "no readers"])
def asyncio_play(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[ListeningScenario], Any]:
    """Run a scenario on asyncio; without readers as on Windows."""

    def add_reader(*_: object) -> None:
        raise NotImplementedError

    if request.param == "no readers":
        monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", add_reader)
    return lambda body: LISTENING[0].play(lambda runtime: body(cast("ListeningRuntime", runtime), Acceptor(runtime)))


def test_a_stream_that_cannot_be_accepted_is_accepted_later(
    asyncio_play: Callable[[ListeningScenario], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [ConnectionAbortedError("aborted"), OSError(EMFILE, "too many open files")]
    accept = socket.socket.accept

    def fail(sock: socket.socket) -> Any:
        if errors:
            raise errors.pop(0)
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", fail)
    monkeypatch.setattr(_listen, "_RETRY", 0.001)

    async def scenario(runtime: ListeningRuntime, acceptor: Acceptor) -> None:
        listener = await runtime.listen("127.0.0.1", 0, acceptor)
        with connect(listener.port) as client:
            stream, _, _ = await acceptor.next()
            stream.write(b"hello")
            assert await _received(runtime, client, 5) == b"hello"
        listener.close()

    asyncio_play(scenario)
    assert "too many open files" in caplog.text


def test_a_stream_that_breaks_while_it_is_accepted_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_loop: object, _factory: object, sock: socket.socket) -> None:
        sock.close()
        raise OSError("broken")

    monkeypatch.setattr(asyncio.SelectorEventLoop, "connect_accepted_socket", fail)

    async def scenario(runtime: Runtime) -> None:
        listener = await cast("ListeningRuntime", runtime).listen("127.0.0.1", 0, Acceptor(runtime))
        with connect(listener.port):
            while "broken" not in caplog.text:
                await iterations(runtime)

    LISTENING[0].play(scenario)


def test_a_listener_that_is_closed_while_it_waits_for_descriptors_does_not_accept_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: socket.socket) -> Any:
        raise OSError(EMFILE, "too many open files")

    monkeypatch.setattr(socket.socket, "accept", fail)
    monkeypatch.setattr(_listen, "_RETRY", 0.0)

    async def scenario(runtime: Runtime) -> None:
        acceptor = Acceptor(runtime)
        listener = await cast("ListeningRuntime", runtime).listen("127.0.0.1", 0, acceptor)
        with connect(listener.port):
            while "too many" not in caplog.text:
                await iterations(runtime)
            listener.close()
            await iterations(runtime, 3)
            assert not acceptor.streams

    LISTENING[0].play(scenario)


# Binding


def _address(host: str, port: int = 0) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return (family, socket.SOCK_STREAM, 6, "", (host, port, 0, 0) if ":" in host else (host, port))


def test_addresses_that_the_machine_does_not_have_are_left_out() -> None:
    sockets = bind([_address("192.0.2.1"), _address("127.0.0.1")])
    assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1"]
    sockets[0].close()
    with pytest.raises(OSError, match=r"192\.0\.2\.1") as caught:
        bind([_address("192.0.2.1")])
    assert caught.value.errno == EADDRNOTAVAIL


def test_another_port_is_tried_if_one_is_in_use_on_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server
    failures = 3

    def create_server(address: Any, **options: Any) -> socket.socket:
        nonlocal failures
        if address[0] == "::1" and failures:
            failures -= 1
            raise OSError(EADDRINUSE, "in use")
        return create(address, **options)

    monkeypatch.setattr(socket, "create_server", create_server)
    addresses = [_address("127.0.0.1"), _address("::1")]
    sockets = bind(addresses)
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    for sock in sockets:
        assert not sock.getblocking()
        sock.close()
    failures = 10
    with pytest.raises(OSError, match="in use"):
        bind(addresses)


@pytest.mark.parametrize(
    ("address", "name"),
    [(("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 80, 0, 0), "[::1]:80"), (None, ""), ("", "")],
)
def test_the_name_of_a_peer(address: Any, name: str) -> None:
    assert peer_name(address) == name
