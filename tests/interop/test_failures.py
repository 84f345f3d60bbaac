"""Servers that are unreachable, hang, speak another protocol or send invalid data: each gives a clear error."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, OpenTimeout, PacketError, TransportError
from tests.conftest import PeerFactory
from tests.support.bad_peers import POLLING, WEBSOCKET, hang, refused_url
from tests.support.drivers import Driver
from tests.support.target import TRANSPORTS, Target


async def fail_to_connect(driver: Driver, url: str, transport: str, **options: Any) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        async with driver.connect(url, transports=TRANSPORTS[transport], **options):
            raise AssertionError("there is nothing to connect to")
    return caught.value


async def test_a_refused_connection_raises_connect_error(driver: Driver, transport: str) -> None:
    url = refused_url()
    error = await fail_to_connect(driver, url, transport)
    assert isinstance(error.__cause__, TransportError)
    place = url.removeprefix("http://")
    assert (
        str(error) == f"could not connect to {place}: connection refused; is the server running at this host and port?"
    )


async def test_a_refused_connection_is_retried_until_reconnect_failed(driver: Driver, transport: str) -> None:
    seen = driver.queue()
    options: dict[str, Any] = {
        "transports": TRANSPORTS[transport],
        "reconnection_delay": 0.01,
        "reconnection_attempts": 2,
    }
    async with driver.manager(refused_url(), **options) as manager:
        for name in ("error", "reconnect_attempt", "reconnect_error", "reconnect_failed"):
            manager.on(name, lambda *args, name=name: seen.put(name))
        socket = manager.socket("/")
        with pytest.raises(ConnectError):
            await socket.wait_connected()
        attempt = ["reconnect_attempt", "error", "reconnect_error"]
        wanted = ["error", *attempt, *attempt, "reconnect_failed"]
        assert sorted([await seen.get() for _ in wanted]) == sorted(wanted)


@pytest.mark.row("manager.event.error")
async def test_the_client_connects_when_the_server_has_started(
    driver: Driver, transport: str, fresh_node_server: PeerFactory
) -> None:
    peer = fresh_node_server()
    target = Target(peer, transport)
    errors = driver.queue()
    peer.kill()
    async with driver.open_io() as io:
        socket = io(peer.url, **target.options)
        socket.on("connect_error", errors.put)
        await socket.emit("n", 0)
        assert isinstance(await errors.get(), ConnectError)
        peer.start()
        await socket.wait_connected()
        assert await socket.emit_with_ack("count") == {"total": 1, "ordered": True}


async def test_a_hanging_handshake_fails_after_the_timeout(
    driver: Driver, transport: str, bad_peer: Callable[..., str]
) -> None:
    url = bad_peer(hang)
    error = await fail_to_connect(driver, url, transport, timeout=0.1)
    assert isinstance(error.__cause__, OpenTimeout)
    assert str(error).startswith(f"the connection to {url.removeprefix('http://')} was not open within 0.1 seconds: ")


async def test_a_server_of_version_2_raises_connect_error(
    driver: Driver, transport: str, fresh_node_server: PeerFactory
) -> None:
    target = Target(fresh_node_server(version=2), transport)
    error = await fail_to_connect(driver, target.url(), transport)
    # Over polling its first response is invalid. Over WebSocket it sends CONNECT.
    how = "without a session id" if transport == "websocket" else "begins with the length of a packet"
    assert f"{how}, as Socket.IO 2 does; this client requires a server of version 3 or later" in str(error)


SAID = {
    "garbage": "(the HTTP response|WebSocket handshake with) .* illegal status line",
    "hang": "not open within",
    "close at once": "closed the stream",
    "cut in headers": "closed the stream",
    "endless headers": "too long|has no end",
    "cut in body": "closed the stream before its HTTP response was complete",
    "endless body": "larger than max_message_size \\(1048576 bytes\\)",
    "gzip bomb": "larger than max_message_size \\(1048576 bytes\\)",
    "broken gzip": "cannot be decompressed",
    "unknown encoding": "unsupported Content-Encoding compress",
    "empty body": "not that of a Socket.IO server: .*payload is empty",
    "no packet": "HTTP status 200, .*not that of a Socket.IO server: .* must start with a type from 0 to 6, not with '<'",
    "no handshake": "before the handshake",
    "handshake without sid": "sid .* absent",
    "text where binary is due": "a text message arrived after 0 of the 1 binary attachments",
    "wrong accept key": "Sec-WebSocket-Accept",
    "no accept key": "Sec-WebSocket-Accept",
    "window bits out of range": "server_max_window_bits.* from 8 to 15",
    "window bits of no number": "client_max_window_bits.* from 8 to 15",
    "window bits of nothing": "server_max_window_bits",
    "unknown parameter": "unknown parameter",
    "extension that was not asked for": "extension that was not offered",
    "broken extension header": "extension",
    "protocol that was not asked for": "subprotocol that was not offered",
    "hang after the upgrade": "not open within",
    "hang after the handshake": "did not answer CONNECT for / within 0.3 seconds",
    "garbage frames": "opcode",
    "masked frame": "masked",
    "oversized frame": "larger than max_message_size \\(1048576 bytes\\)",
    "length of 64 bits": "length",
    "endless message": "larger than max_message_size \\(1048576 bytes\\)",
    "deflate bomb": "larger than max_message_size \\(1048576 bytes\\)",
    "compressed without an agreement": "[Rr]eserved bit",
    "close code": "1011.*out of order",
    "binary without a header": "binary message of 2 bytes",
    "not UTF-8": "(?i)utf-?8",
    "400": "HTTP status 400",
    "404": "HTTP status 404",
    "500": "HTTP status 500",
    "502": "HTTP status 502",
}
"""Regular expressions for the messages of the errors."""
BODIES = {
    "400": '{"code":0,"message":"Transport unknown"}',
    "404": "no such page",
    "500": "<h1>Oh no</h1>",
    "502": "<h1>nobody behind me</h1>",
    "polling: empty body": "",
    "polling: no packet": "<html>welcome to the captive portal</html>",
    "polling: not UTF-8": "\ufffd\ufffd\ufffd",
}
CLOSE_CODES = {"close code": 1011, "endless message": 1009, "deflate bomb": 1009, "garbage frames": 1002}
BAD = [("polling", name) for name in POLLING] + [("websocket", name) for name in WEBSOCKET]


@pytest.mark.parametrize(("transport", "name"), BAD, ids=[f"{transport}: {name}" for transport, name in BAD])
async def test_a_misbehaving_server_gives_a_clear_error(
    transport: str, name: str, driver: Driver, bad_peer: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    url = bad_peer((POLLING if transport == "polling" else WEBSOCKET)[name])
    bounds = {"timeout": 0.3 if "hang" in name else 10, "close_timeout": 0.3, "max_message_size": 1024 * 1024}
    error = await error_of(driver, url, transports=[transport], reconnection=False, **bounds)
    assert re.search(SAID[name], str(error), re.DOTALL), str(error)
    assert len(str(error)) < 1000
    if isinstance(error, TransportError):
        assert error.status == (int(name) if name.isdigit() else error.status)
        assert error.body == BODIES.get(name, BODIES.get(f"{transport}: {name}"))
        assert error.close_code == CLOSE_CODES.get(name, error.close_code)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


async def error_of(driver: Driver, url: str, **options: Any) -> BaseException:
    """Return the cause of the error that ends an attempt to connect, or the connection soon after."""
    gone = driver.queue()
    try:
        async with driver.connect(url, **options) as socket:
            socket.on("disconnect", lambda reason, details: gone.put(details))
            with pytest.raises(DisconnectedError):
                await socket.wait_closed()
            error: BaseException = await gone.get()
    except ConnectError as failure:
        error = failure
    while not isinstance(error, TransportError | PacketError):
        assert error.__cause__ is not None, repr(error)
        error = error.__cause__
    return error
