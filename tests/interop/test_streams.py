"""Streams that a function of the application opens, such as Unix domain sockets, to the real server, on every driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from sansio_socketio.protocol.errors import ConnectError, OptionError, TransportError
from tests.conftest import FAR_HOST, TLS
from tests.interop.conftest import FreshTarget
from tests.support import peers
from tests.support.bad_peers import refused_url
from tests.support.drivers import ASYNC_DRIVERS, Driver
from tests.support.hooks import hook_to
from tests.support.peers import Peer
from tests.support.target import TRANSPORTS, Target

FAR_URL = f"http://{FAR_HOST}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.name == "nt":
        pytest.skip("Python has no Unix domain sockets on Windows")
    return tmp_path_factory.mktemp("unix")


@pytest.fixture(scope="session")
def unix_server(folder: Path) -> Iterator[Peer]:
    with peers.node_server(socket=str(folder / "http")) as peer:
        yield peer


@pytest.fixture(scope="session")
def unix_server_tls(folder: Path, tls: TLS) -> Iterator[Peer]:
    with peers.node_server(socket=str(folder / "https"), tls=tls.files) as peer:
        yield peer


@pytest.mark.row("option.open_stream")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_open_stream_can_use_unix_domain_sockets(
    scheme: str, driver: Driver, transport: str, folder: Path, tls: TLS, request: pytest.FixtureRequest
) -> None:
    peer: Peer = request.getfixturevalue("unix_server" if scheme == "http" else "unix_server_tls")
    target = Target(peer, transport, tls)
    hook = hook_to(driver, str(folder / scheme))
    url = f"{scheme}://{FAR_HOST}/chat"
    async with driver.connect(url, **target.options, open_stream=hook.option) as socket:
        await target.settle(driver, socket)
        bulk = bytes(range(256)) * 1000
        assert await socket.emit_with_ack("echo_ack", "over a path", bulk) == ("over a path", bulk)
        assert (await socket.emit_with_ack("handshake"))["headers"]["host"] == FAR_HOST
    assert set(hook.wanted) == {(FAR_HOST, 80 if scheme == "http" else 443)}


@pytest.mark.row("option.open_stream")
async def test_proxies_of_the_environment_do_not_apply_to_open_stream(
    driver: Driver, plain_target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", refused_url())
    hook = hook_to(driver, ("127.0.0.1", plain_target.peer.port))
    async with driver.connect(FAR_URL, **plain_target.options, open_stream=hook.option) as socket:
        assert await socket.emit_with_ack("echo_ack", 1) == 1
    assert set(hook.wanted) == {(FAR_HOST, 80)}


@pytest.mark.row("option.open_stream")
async def test_an_explicit_proxy_is_reached_by_open_stream(driver: Driver, target: Target, tls: TLS) -> None:
    with peers.proxy(hosts={FAR_HOST: "127.0.0.1"}) as proxy:
        hook = hook_to(driver, ("127.0.0.1", proxy.port))
        options = target.options | {"proxy": "http://proxy.test:3128", "open_stream": hook.option}
        url = f"{target.peer.scheme}://{FAR_HOST}:{target.peer.port}"
        async with driver.connect(url, **options) as socket:
            assert await socket.emit_with_ack("echo_ack", 1) == 1
        assert set(hook.wanted) == {("proxy.test", 3128)}
        assert proxy.control("requests")


async def with_trio(target: Target, tls: TLS, host: str, port: int) -> Any:
    plain = await trio.open_tcp_stream("127.0.0.1", target.peer.port)
    return trio.SSLStream(plain, tls.context, server_hostname=host, https_compatible=True)


async def with_anyio(target: Target, tls: TLS, host: str, port: int) -> Any:
    return await anyio.connect_tcp("127.0.0.1", target.peer.port, ssl_context=tls.context, tls_hostname=host)


WITH_TLS: dict[str, Callable[..., Any]] = {
    "trio": with_trio,
    "anyio-asyncio": with_anyio,
    "anyio-trio": with_anyio,
}


@pytest.mark.parametrize(
    "driver", [each for each in ASYNC_DRIVERS if each.name in WITH_TLS], ids=lambda each: each.name
)
async def test_open_stream_may_return_a_stream_with_tls(
    driver: Driver, transport: str, node_server_tls: Peer, tls: TLS
) -> None:
    target = Target(node_server_tls, transport)
    open_stream = partial(WITH_TLS[driver.name], target, tls)
    async with driver.connect(FAR_URL, **target.options, open_stream=open_stream) as socket:
        await target.settle(driver, socket)
        bulk = bytes(range(256)) * 1000
        assert await socket.emit_with_ack("echo_ack", bulk) == bulk


async def failure_of(driver: Driver, transport: str, open_stream: Any, **options: Any) -> BaseException | None:
    """Return the cause of the transport error of an attempt to connect with the function."""
    with pytest.raises(ConnectError, match=f"could not connect to {FAR_HOST}") as caught:
        async with driver.connect(FAR_URL, transports=TRANSPORTS[transport], open_stream=open_stream, **options):
            raise AssertionError("there is nothing to connect to")
    assert isinstance(caught.value.__cause__, TransportError)
    return caught.value.__cause__.__cause__


class ApplicationError(Exception):
    """An error of the application."""


async def test_an_exception_of_open_stream_is_the_cause_of_the_failure(
    driver: Driver, transport: str, folder: Path
) -> None:
    hook = hook_to(driver, str(folder / "nobody"))
    assert isinstance(await failure_of(driver, transport, hook.option), FileNotFoundError)

    def fail() -> None:
        raise ApplicationError("no way") from OSError("beneath")

    hook.before = fail
    assert isinstance(await failure_of(driver, transport, hook.option), ApplicationError)


async def test_open_stream_is_called_again_for_the_next_attempt(driver: Driver, plain_target: Target) -> None:
    hook = hook_to(driver, ("127.0.0.1", plain_target.peer.port))

    def fail_at_first() -> None:
        if len(hook.wanted) < 3:
            raise ApplicationError

    hook.before = fail_at_first
    options = plain_target.options | {"open_stream": hook.option}
    async with driver.connect(FAR_URL, retry=True, **options) as socket:
        assert await socket.emit_with_ack("echo_ack", 1) == 1
    assert len(hook.wanted) >= 3


RETURNS = {
    "asyncio": "a transport without TLS, and the protocol",
    "trio": "a trio.abc.Stream",
    "anyio-asyncio": "an anyio.abc.ByteStream",
    "anyio-trio": "an anyio.abc.ByteStream",
    "blocking": "a connected socket.socket",
}


@pytest.mark.parametrize("wrong", [None, (1, 2), "stream"])
async def test_an_invalid_return_value_of_open_stream_fails_the_attempt(
    wrong: Any, driver: Driver, transport: str, unix_server: Peer, folder: Path
) -> None:
    async def give() -> Any:
        return wrong

    give_it = driver.handler(give)
    error = await failure_of(driver, transport, lambda *_: give_it())
    assert isinstance(error, OptionError)
    assert f"open_stream must return {RETURNS[driver.name]}" in str(error)
    assert f"it returned a {type(wrong).__name__}" in str(error)


async def test_a_stream_of_the_wrong_type_is_left_to_the_application(driver: Driver, plain_fresh: FreshTarget) -> None:
    """The application opened it, and must close it: the library does not know its type."""
    target = plain_fresh()
    hook = hook_to(driver, ("127.0.0.1", target.peer.port))
    opened: list[Any] = []

    def in_a_box(stream: Any) -> Any:
        opened.append(stream)
        return [stream]

    hook.after = in_a_box
    assert isinstance(await failure_of(driver, target.transport, hook.option), OptionError)
    if driver.name == "asyncio":
        await driver.until(
            lambda: target.peer.control("stats")["sockets"] == 0
        )  # the stream had a protocol of this library
    for stream in opened:
        if driver.name == "blocking":
            stream.close()
        elif driver.name != "asyncio":
            await stream.aclose()


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
async def test_cancelling_the_block_cancels_open_stream(driver: Driver, transport: str) -> None:
    began, ended = driver.queue(), driver.queue()

    async def hang(*_: Any) -> None:
        began.put(None)
        try:
            await driver.sleep(60)
        finally:
            ended.put(None)

    async def connect(ready: Any) -> None:
        async with driver.manager(FAR_URL, transports=TRANSPORTS[transport], open_stream=hang) as manager:
            manager.socket("/")
            await began.get()
            ready()
            await driver.sleep(60)

    await driver.cancelled(connect)
    await ended.get()


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
async def test_the_timeout_cancels_open_stream(driver: Driver, transport: str) -> None:
    ended = driver.queue()

    async def hang(*_: Any) -> None:
        try:
            await driver.sleep(60)
        finally:
            ended.put(None)

    with pytest.raises(ConnectError, match="not open within"):
        async with driver.connect(FAR_URL, transports=TRANSPORTS[transport], open_stream=hang, timeout=0.05):
            raise AssertionError("it must not be waited for")
    await ended.get()


@pytest.mark.row("option.open_stream")
async def test_sockets_of_one_block_may_use_different_functions(
    driver: Driver, plain_target: Target, unix_server: Peer, folder: Path
) -> None:
    hook = hook_to(driver, str(folder / "http"))
    async with driver.open_io() as io:
        near = io(plain_target.url(), **plain_target.options)
        far = io(FAR_URL, **plain_target.options, open_stream=hook.option)
        await near.wait_connected()
        await far.wait_connected()
        assert (await far.emit_with_ack("handshake"))["headers"]["host"] == FAR_HOST
        assert (await near.emit_with_ack("handshake"))["headers"]["host"] != FAR_HOST
