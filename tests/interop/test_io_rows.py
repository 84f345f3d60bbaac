"""The rows of `io`: the parts of a URL, and which sockets share a connection, on every driver."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from sansio_socketio.protocol.errors import OptionError
from tests.conftest import TLS, PeerFactory
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import Target


async def engine_of(socket: Any) -> Any:
    """The id of the session that the socket's connection has, as the server knows it."""
    await socket.wait_connected()
    return (await socket.emit_with_ack("handshake"))["engine"]


@pytest.mark.row("io", "io.multiplexing", "option.path", "socket.io")
async def test_sockets_of_one_origin_and_path_share_a_connection(
    driver: Driver, node_server: Peer, fresh_node_server: PeerFactory
) -> None:
    other = fresh_node_server(options={"path": "/elsewhere"})
    async with driver.open_io() as io:
        main, chat = io(node_server.url), io(f"{node_server.url}/chat")
        there, there_too = io(other.url, path="/elsewhere"), io(f"{other.url}/chat", path="/elsewhere/")
        by_name = io(node_server.url.replace("127.0.0.1", "localhost"))
        assert main.io == chat.io
        assert len({main.io, there.io, there_too.io, by_name.io}) == 4
        assert await engine_of(main) == await engine_of(chat) == main.io.engine.id
        engines = [await engine_of(socket) for socket in (main, there, there_too, by_name)]
        assert len(set(engines)) == 4


@pytest.mark.row("io.default_url", "io.connect", "io.protocol", "io.Manager", "io.Socket")
async def test_io_uses_the_url_of_open_io(driver: Driver, plain_target: Target) -> None:
    async with driver.open_io(plain_target.peer.url) as io:
        assert (io.protocol, driver.module.protocol) == (5, 5)
        main, chat = io(**plain_target.options), io.connect("/chat")
        assert (main.nsp, chat.nsp, main.io == chat.io) == ("/", "/chat", True)
        for socket in (main, chat):
            await socket.wait_connected()
        assert await engine_of(main) == await engine_of(chat)
        assert (io.Manager, io.Socket) == (driver.module.Manager, driver.module.Socket)
        alone = io.Manager(plain_target.peer.url, **plain_target.options)
        assert isinstance(alone.socket("/"), io.Socket)


@pytest.mark.row("io.default_url")
async def test_without_a_url_io_raises_for_a_path(driver: Driver) -> None:
    async with driver.open_io() as io:
        for url in (None, "/chat"):
            with pytest.raises(OptionError, match=r"pass the server's URL to io\(\) or to open_io\(\)"):
                io(url)


@pytest.mark.row("io.namespace", "io.url_query")
async def test_the_url_gives_the_namespace_and_the_query(driver: Driver, plain_target: Target) -> None:
    async with driver.open_io() as io:
        url = plain_target.url("/chat?room=a%20b&user=%C3%BC")
        socket = io(url, query={"room": "ignored"}, **plain_target.options)
        await plain_target.settle(driver, socket)
        query = (await socket.emit_with_ack("handshake"))["query"]
        assert (socket.nsp, query["room"], query["user"]) == ("/chat", "a b", "ü")
        assert query["transport"] == plain_target.options["transports"][0]


@pytest.mark.row("option.force_new", "option.multiplex")
@pytest.mark.parametrize("option", [{"force_new": True}, {"multiplex": False}], ids=["force_new", "multiplex"])
async def test_options_open_a_separate_connection(option: dict[str, bool], driver: Driver, node_server: Peer) -> None:
    async with driver.open_io() as io:
        first = io(node_server.url)
        alone = io(f"{node_server.url}/chat", **option)
        shared = io(f"{node_server.url}/chat")
        assert (first.io == alone.io, first.io == shared.io) == (False, True)
        assert len({await engine_of(socket) for socket in (first, alone, shared)}) == 2


@pytest.mark.row("io.same_namespace")
async def test_a_repeated_namespace_opens_a_separate_connection(driver: Driver, node_server: Peer) -> None:
    async with driver.open_io() as io:
        first, second = io(node_server.url), io(node_server.url)
        chat, chat_again = io(f"{node_server.url}/chat"), io(f"{node_server.url}/chat")
        assert chat.io == first.io
        assert len({first.io, second.io, chat_again.io}) == 3
        assert len({await engine_of(socket) for socket in (first, second, chat_again)}) == 3
        assert len({socket.id for socket in (first, second, chat, chat_again)}) == 4


@pytest.mark.row("io.websocket_url")
async def test_ws_and_wss_urls_are_accepted(driver: Driver, node_server: Peer, node_server_tls: Peer, tls: TLS) -> None:
    async with driver.open_io() as io:
        plain = io(f"ws://{node_server.host}:{node_server.port}", transports=["polling"])
        secure = io(f"wss://{node_server_tls.host}:{node_server_tls.port}", transports=["polling"], ssl=tls.context)
        assert plain.io != io(f"{node_server.url}/chat").io
        for socket in (plain, secure):
            await socket.wait_connected()
            assert await socket.emit_with_ack("transport") == "polling"


@pytest.mark.row("io.no_scheme")
async def test_a_url_without_a_scheme_uses_https(driver: Driver, node_server_tls: Peer, tls: TLS) -> None:
    async with driver.open_io() as io:
        socket = io(f"{node_server_tls.host}:{node_server_tls.port}/chat", ssl=tls.context)
        await socket.wait_connected()
        assert (socket.nsp, await socket.emit_with_ack("echo_ack", 1)) == ("/chat", 1)


@pytest.mark.row("io.ipv6")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_ipv6_addresses_are_accepted(
    scheme: str, driver: Driver, tls: TLS, fresh_node_server: PeerFactory
) -> None:
    files = tls.files if scheme == "https" else None
    peer = fresh_node_server(host="::1", tls=files)
    async with driver.open_io() as io:
        socket = io(f"{scheme}://[::1]:{peer.port}/chat", ssl=tls.context)
        await socket.wait_connected()
        handshake = await socket.emit_with_ack("handshake")
        assert (socket.nsp, handshake["headers"]["host"]) == ("/chat", f"[::1]:{peer.port}")


@pytest.mark.row("difference.ignored_options")
async def test_an_existing_connection_does_not_change_its_options(driver: Driver, node_server: Peer) -> None:
    async with driver.open_io() as io:
        first = io(node_server.url, query={"which": "first"})
        with pytest.warns(UserWarning, match="keeps its options; ignored: query"):
            second = io(f"{node_server.url}/chat", query={"which": "second"})
        with warnings.catch_warnings(action="error"):
            io(f"{node_server.url}/auth", auth={"token": "secret"}, query={"which": "first"})
        for socket in (first, second):
            await socket.wait_connected()
            assert (await socket.emit_with_ack("handshake"))["query"]["which"] == "first"
