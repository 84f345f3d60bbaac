"""The options of the Engine.IO session, as the real server sees them, on every driver.

The tests check the requests and the WebSocket messages that a server for Node has recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sansio_socketio.protocol.errors import ConnectError
from tests.support import peers
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import Target

Recorded = Callable[..., Target]


@pytest.fixture(scope="session")
def recorders() -> Iterator[Callable[..., Peer]]:
    """A function that starts servers that record their requests: one for each set of server options."""
    with ExitStack() as stack:
        started: dict[str, Peer] = {}

        def start(options: dict[str, Any]) -> Peer:
            key = repr(options)
            if key not in started:
                started[key] = stack.enter_context(peers.node_server(requests=True, options=options))
            started[key].control("requests")
            return started[key]

        yield start


@pytest.fixture
def recorded(transport: str, recorders: Callable[..., Peer]) -> Recorded:
    """A function that returns such a server as a target."""
    return lambda **options: Target(recorders(options), transport)


def requests_of(target: Target) -> list[dict[str, Any]]:
    """Return the requests since the last call."""
    requests: list[dict[str, Any]] = target.peer.control("requests")["requests"]
    assert requests
    return requests


def query_of(request: Mapping[str, Any]) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(request["url"]).query, strict_parsing=True).items()}


def transport_of(request: Mapping[str, Any]) -> str:
    return query_of(request)["transport"]


async def talk(driver: Driver, target: Target, **options: Any) -> list[dict[str, Any]]:
    """Connect, settle, and exchange something. Return the requests."""
    async with target.connect(driver, **options) as socket:
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("echo_ack", "hello", b"\x00\xff") == ("hello", b"\x00\xff")
    return requests_of(target)


# The address


@pytest.mark.row("option.path")
async def test_path_is_encoded_and_ends_with_a_slash(driver: Driver, recorded: Recorded) -> None:
    target = recorded(path="/my%20own/socket")
    for path in ("/my own/socket", "/my own/socket/"):
        requests = await talk(driver, target, path=path)
        assert {urlsplit(request["url"]).path for request in requests} == {"/my%20own/socket/"}


@pytest.mark.row("option.add_trailing_slash")
async def test_add_trailing_slash_false_sends_the_path_unchanged(driver: Driver, recorded: Recorded) -> None:
    target = recorded(path="/socket", addTrailingSlash=False)
    requests = await talk(driver, target, path="/socket", add_trailing_slash=False)
    assert {urlsplit(request["url"]).path for request in requests} == {"/socket"}


# The content of each request


@pytest.mark.row("option.query")
async def test_query_is_sent_with_each_request(driver: Driver, recorded: Recorded) -> None:
    target = recorded()
    mine = {"room": "ü & 7", "empty": ""}
    for request in await talk(driver, target, query=mine):
        query = parse_qs(urlsplit(request["url"]).query, keep_blank_values=True)
        assert (query["room"], query["empty"]) == (["ü & 7"], [""])
        assert query["EIO"] == ["4"]


@pytest.mark.row("option.extra_headers")
async def test_extra_headers_are_sent(driver: Driver, recorded: Recorded) -> None:
    target = recorded()
    mine = {"X-Token": "abc", "user-agent": "mine", "Cookie": "own=1"}
    for request in await talk(driver, target, extra_headers=mine):
        headers = request["headers"]
        assert (headers["x-token"], headers["user-agent"], headers["cookie"]) == ("abc", "mine", "own=1")


@pytest.mark.row("manager.path", "manager.transports", "manager.query", "manager.extra_headers")
async def test_options_set_after_a_failed_attempt_apply_to_the_next(driver: Driver, recorded: Recorded) -> None:
    target = recorded(path="/right")
    unused = {"polling": "websocket", "websocket": "polling"}.get(target.transport, "websocket")
    wrong = {"path": "/wrong", "transports": [unused], "timeout": 0.1}  # the server does not respond
    async with driver.manager(target.url(), **{**target.options, **wrong}) as manager:
        socket = manager.socket()

        def change(error: Exception) -> None:
            manager.timeout = None
            manager.path = "/right"
            manager.transports = target.options["transports"]
            manager.query = lambda: {"token": "2"}
            manager.extra_headers = {"X-Token": "3"}

        socket.once("connect_error", change)
        await socket.wait_connected()
        await target.settle(driver, socket)
        assert (manager.path, manager.extra_headers) == ("/right", {"X-Token": "3"})
    successful = [request for request in requests_of(target) if urlsplit(request["url"]).path == "/right/"]
    assert {transport_of(request) for request in successful} == set(target.options["transports"])
    assert {query_of(request)["token"] for request in successful} == {"2"}
    assert {request["headers"]["x-token"] for request in successful} == {"3"}


@pytest.mark.row("option.timestamp_requests")
@pytest.mark.parametrize(
    ("wanted", "stamped"),
    [(None, {"polling"}), (True, {"polling", "websocket"}), (False, set[str]())],
    ids=["by default", "wanted", "not wanted"],
)
async def test_timestamp_requests_adds_unique_timestamps(
    wanted: bool | None, stamped: set[str], driver: Driver, recorded: Recorded
) -> None:
    target = recorded()
    requests = await talk(driver, target, timestamp_requests=wanted)
    for request in requests:
        assert ("t" in query_of(request)) == (transport_of(request) in stamped)
    stamps = [query_of(request)["t"] for request in requests if "t" in query_of(request)]
    assert len(stamps) == len(set(stamps))


@pytest.mark.row("option.timestamp_param")
async def test_timestamp_param_names_the_timestamp(driver: Driver, recorded: Recorded) -> None:
    target = recorded()
    for request in await talk(driver, target, timestamp_requests=True, timestamp_param="stamp"):
        assert {"stamp", "t"} & set(query_of(request)) == {"stamp"}


@pytest.mark.row("option.protocols")
async def test_protocols_are_sent_with_the_websocket_handshake(driver: Driver, recorded: Recorded) -> None:
    target = recorded()
    requests = await talk(driver, target, protocols=["chat.v2", "chat.v1"])
    for request in requests:
        wanted = "chat.v2,chat.v1" if transport_of(request) == "websocket" else None
        assert request["headers"].get("sec-websocket-protocol", "").replace(" ", "") == (wanted or "")


@pytest.mark.row("option.transport_options")
async def test_transport_options_override_the_common_options(driver: Driver, recorded: Recorded) -> None:
    target = recorded()
    own: dict[str, dict[str, Any]] = {
        "polling": {"extra_headers": {"X-By": "polling"}, "query": {"by": "polling"}},
        "websocket": {"extra_headers": {"X-By": "websocket"}, "timestamp_requests": True},
    }
    common: dict[str, Any] = {"extra_headers": {"X-By": "all", "X-All": "yes"}, "query": {"all": "yes"}}
    for request in await talk(driver, target, transport_options=own, **common):
        query, transport = query_of(request), transport_of(request)
        assert (request["headers"]["x-by"], request["headers"]["x-all"]) == (transport, "yes")
        assert query["all"] == "yes"
        assert query.get("by") == ("polling" if transport == "polling" else None)
        assert "t" in query


@pytest.mark.row("option.force_base64")
@pytest.mark.parametrize("forced", [True, False])
async def test_force_base64_sends_binary_data_as_text(forced: bool, driver: Driver, recorded: Recorded) -> None:
    target = recorded()
    async with target.connect(driver, force_base64=forced) as socket:
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("echo_ack", b"\x00\xff") == b"\x00\xff"
        assert (await socket.emit_with_ack("binary", 4))[1] == b"\x00\x01\x02\x03"
    seen = target.peer.control("requests")
    assert query_of(seen["requests"][0]).get("b64") == (
        "1" if forced else None
    )  # the server encodes its responses in the same way
    if target.settled == "polling":
        assert any("bAP8=" in request["body"] for request in seen["requests"])
    else:
        binary = [data for is_binary, data in seen["messages"] if is_binary]
        text = [data for is_binary, data in seen["messages"] if not is_binary and data.startswith("b")]
        assert (binary, text) == (([], ["bAP8="]) if forced else (["\x00\xff"], []))


# Transports


@pytest.mark.row("option.transports")
@pytest.mark.parametrize(
    ("transports", "used"),
    [
        (["polling"], ["polling"]),
        (["websocket"], ["websocket"]),
        (["polling", "websocket"], ["polling", "websocket"]),
        (("websocket", "polling"), ["websocket"]),
    ],
    ids=" ".join,
)
async def test_transports_are_opened_and_upgraded_in_order(
    transports: list[str], used: list[str], driver: Driver, recorders: Callable[..., Peer]
) -> None:
    target = Target(recorders({}), "polling")
    async with target.connect(driver, transports=transports) as socket:
        await driver.until(lambda: socket.io.engine.transport.name == used[-1])
        assert await socket.emit_with_ack("transport") == used[-1]
    order = dict.fromkeys(transport_of(request) for request in requests_of(target))
    assert list(order) == used


@pytest.mark.row("option.upgrade")
async def test_upgrade_false_stays_on_the_first_transport(driver: Driver, recorders: Callable[..., Peer]) -> None:
    target = Target(recorders({}), "upgrade")
    async with target.connect(driver, upgrade=False) as socket:
        for number in range(5):
            assert await socket.emit_with_ack("echo_ack", number) == number
        assert await socket.emit_with_ack("transport") == "polling"
    assert {transport_of(request) for request in requests_of(target)} == {"polling"}


@pytest.mark.row("option.remember_upgrade")
@pytest.mark.parametrize("remembered", [True, False])
async def test_remember_upgrade_opens_the_next_session_with_websocket(
    remembered: bool, driver: Driver, recorders: Callable[..., Peer]
) -> None:
    target = Target(recorders({}), "upgrade")
    opened = driver.queue()
    async with target.connect(driver, remember_upgrade=remembered) as socket:
        socket.on("connect", lambda: opened.put(None))
        await target.settle(driver, socket)
        first = requests_of(target)[0]
        assert transport_of(first) == "polling"
        await opened.get()
        await socket.emit("close_engine")
        await opened.get()
        opening = [request for request in requests_of(target) if "sid" not in query_of(request)]
        assert [transport_of(request) for request in opening] == ["websocket" if remembered else "polling"]
        await target.settle(driver, socket)


@pytest.mark.row("option.try_all_transports")
async def test_try_all_transports_tries_the_next_transport(driver: Driver, recorders: Callable[..., Peer]) -> None:
    target = Target(recorders({"transports": ["polling"]}), "polling")
    options: dict[str, Any] = {"transports": ["websocket", "polling"]}
    with pytest.raises(ConnectError):
        async with target.connect(driver, **options):
            raise AssertionError("the server has no WebSocket")
    requests_of(target)
    errors = driver.queue()
    async with driver.open_io() as io:
        socket = io(target.url(), **target.options | options, try_all_transports=True)
        socket.on("connect_error", errors.put)
        await socket.wait_connected()
        assert await socket.emit_with_ack("transport") == "polling"
        errors.put("no error before")
        assert await errors.get() == "no error before"
    order = dict.fromkeys(transport_of(request) for request in requests_of(target))
    assert list(order) == ["websocket", "polling"]


# Cookies


@pytest.mark.row("option.with_credentials")
@pytest.mark.parametrize("kept", [True, False])
async def test_with_credentials_sends_cookies_back(kept: bool, driver: Driver, recorded: Recorded) -> None:
    target = recorded(cookie={"name": "affinity", "path": "/"})
    requests = await talk(driver, target, with_credentials=kept)
    cookies = [request["headers"].get("cookie") for request in requests]
    assert cookies[0] is None
    if kept:
        assert all(re.fullmatch(r"affinity=[\w-]+", str(cookie)) for cookie in cookies[1:])
    else:
        assert set(cookies) == {None}


@pytest.mark.row("option.with_credentials", "difference.cookies_over_sessions")
@pytest.mark.parametrize("transport", ["polling", "upgrade"])  # this server sets none when it opens a WebSocket
async def test_cookies_are_sent_in_the_next_session(driver: Driver, recorded: Recorded) -> None:
    target = recorded(cookie={"name": "affinity", "path": "/"})
    opened = driver.queue()
    async with target.connect(driver, with_credentials=True) as socket:
        socket.on("connect", lambda: opened.put(None))
        await target.settle(driver, socket)
        first = socket.io.engine.id
        await opened.get()
        requests_of(target)
        await socket.emit("close_engine")
        await opened.get()
        opening = [request for request in requests_of(target) if "sid" not in query_of(request)]
        assert [request["headers"]["cookie"] for request in opening] == [f"affinity={first}"]
