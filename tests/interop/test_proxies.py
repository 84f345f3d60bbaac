"""Through an HTTP proxy to the real server, on every driver and transport: one that accepts, refuses, hangs or breaks."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, OpenTimeout, OptionError, TransportError
from tests.conftest import FAR_HOST, TLS
from tests.interop.conftest import FreshTarget
from tests.support import peers
from tests.support.bad_peers import refused_url
from tests.support.drivers import Driver
from tests.support.peers import Peer
from tests.support.target import Target

HOSTS = {FAR_HOST: "127.0.0.1"}
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SECRET = "p@ss:wörd"
ESCAPED = "p%40ss%3Aw%C3%B6rd"


@pytest.fixture(scope="session")
def http_proxy() -> Iterator[Peer]:
    with peers.proxy(hosts=HOSTS) as peer:
        yield peer


@pytest.fixture(scope="session")
def https_proxy(tls: TLS) -> Iterator[Peer]:
    with peers.proxy(hosts=HOSTS, tls=tls.files) as peer:
        yield peer


@pytest.fixture
def proxy(http_proxy: Peer) -> Peer:
    http_proxy.control("behave")
    return http_proxy


@pytest.fixture(autouse=True)
def no_proxies_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def far_url(target: Target, namespace: str = "/") -> str:
    """Return the address of the target with a host name that only the proxy can resolve."""
    return f"{target.peer.scheme}://{FAR_HOST}:{target.peer.port}{namespace}"


def with_user(proxy: Peer, user: str) -> str:
    return f"{proxy.scheme}://{user}@{proxy.host}:{proxy.port}"


@pytest.mark.row("option.proxy", "option.agent")
@pytest.mark.parametrize("kind", ["http", "https"])
async def test_all_streams_go_through_the_proxy(
    kind: str, driver: Driver, target: Target, tls: TLS, request: pytest.FixtureRequest
) -> None:
    proxy: Peer = request.getfixturevalue(f"{kind}_proxy")
    proxy.control("behave")
    async with driver.connect(far_url(target), **target.options | {"proxy": proxy.url, "ssl": tls.context}) as sock:
        await target.settle(driver, sock)
        bulk = bytes(range(256)) * 1000
        assert await sock.emit_with_ack("echo_ack", "through", bulk) == ("through", bulk)
        assert (await sock.emit_with_ack("handshake"))["headers"]["host"] == f"{FAR_HOST}:{target.peer.port}"
    requests = proxy.control("requests")
    assert {request["target"] for request in requests} == {f"{FAR_HOST}:{target.peer.port}"}
    assert not any("proxy-authorization" in request["headers"] for request in requests)
    await driver.until(lambda: proxy.control("tunnels") == 0)


@pytest.mark.row("option.proxy")
async def test_credentials_are_sent_to_the_proxy_and_not_logged(
    driver: Driver, plain_target: Target, proxy: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sansio_socketio")
    proxy.control("behave", credentials=f"Ada:{SECRET}")
    options = plain_target.options | {"proxy": with_user(proxy, f"Ada:{ESCAPED}")}
    async with driver.connect(far_url(plain_target), **options) as sock:
        await plain_target.settle(driver, sock)
        assert await sock.emit_with_ack("echo_ack", 1) == 1
    assert f"through {proxy.url}" in caplog.text
    for secret in (SECRET, ESCAPED, "Ada"):
        assert secret not in caplog.text


async def refused(driver: Driver, target: Target, proxy: str, **options: Any) -> TransportError:
    """Return the error of a failed attempt to connect through a proxy."""
    with pytest.raises(ConnectError) as caught:
        async with driver.connect(far_url(target), **target.options | {"proxy": proxy} | options):
            raise AssertionError("the proxy must not agree")
    failure = caught.value.__cause__
    assert isinstance(failure, TransportError)
    assert f"could not connect to {FAR_HOST}" in str(caught.value)
    return failure


@pytest.mark.parametrize(
    ("user", "hint"), [("", "requires a user and a password"), ("Ada:wrong@", "rejected the user and password")]
)
async def test_missing_or_wrong_credentials_raise_with_a_hint(
    user: str, hint: str, driver: Driver, plain_target: Target, proxy: Peer
) -> None:
    proxy.control("behave", credentials="Ada:right")
    failure = await refused(driver, plain_target, with_user(proxy, user.removesuffix("@")) if user else proxy.url)
    assert (failure.status, failure.body) == (407, "who is it?")
    assert hint in str(failure)
    assert f"the proxy {proxy.url} responded to CONNECT" in str(failure)
    assert "wrong" not in str(failure)


REFUSALS = {
    "forbidden": ("HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nnot you!", 403, "not you!"),
    "no gateway": ("HTTP/1.1 502 Bad Gateway\r\n\r\nnobody is there", 502, "nobody is there"),
    "an endless page": ("HTTP/1.1 503 Busy\r\nContent-Length: 9000\r\n\r\n" + "b" * 9000, 503, "b" * 4096),
    "garbage": ("what do you want?\r\n\r\n", None, None),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_of_the_proxy_raises_with_status_and_body(
    refusal: str, driver: Driver, plain_target: Target, proxy: Peer
) -> None:
    response, status, body = REFUSALS[refusal]
    proxy.control("behave", refusal=response)
    failure = await refused(driver, plain_target, proxy.url)
    assert (failure.status, failure.body) == (status, body)
    assert f"the proxy {proxy.url}" in str(failure)
    assert "to CONNECT" in str(failure)
    await driver.until(lambda: proxy.control("tunnels") == 0)


async def test_a_proxy_that_closes_without_a_response_raises_connect_error(
    driver: Driver, plain_target: Target, proxy: Peer
) -> None:
    proxy.control("behave", vanishes=True)
    failure = await refused(driver, plain_target, proxy.url)
    assert f"the proxy {proxy.url}" in str(failure)
    assert "before it responded to CONNECT" in str(failure)


async def test_an_unreachable_proxy_raises_connect_error(driver: Driver, plain_target: Target) -> None:
    url = refused_url()
    failure = await refused(driver, plain_target, url)
    assert f"could not connect to the proxy {url}" in str(failure)


async def test_an_untrusted_certificate_of_the_proxy_raises_connect_error(
    driver: Driver, plain_target: Target, https_proxy: Peer
) -> None:
    failure = await refused(driver, plain_target, https_proxy.url, ssl=None)
    assert f"could not connect to the proxy {https_proxy.url}: the certificate of 127.0.0.1 could not be" in str(
        failure
    )


async def test_a_proxy_that_does_not_respond_fails_after_the_timeout(
    driver: Driver, plain_target: Target, proxy: Peer
) -> None:
    proxy.control("behave", delay=60_000)
    with pytest.raises(ConnectError) as caught:
        async with driver.connect(far_url(plain_target), **plain_target.options | {"proxy": proxy.url, "timeout": 0.1}):
            raise AssertionError("the proxy must not answer")
    assert isinstance(caught.value.__cause__, OpenTimeout)


async def test_a_slow_proxy_is_waited_for(driver: Driver, plain_target: Target, proxy: Peer) -> None:
    proxy.control("behave", delay=50)
    async with driver.connect(far_url(plain_target), **plain_target.options | {"proxy": proxy.url}) as sock:
        await plain_target.settle(driver, sock)
        assert await sock.emit_with_ack("echo_ack", 1) == 1


async def test_broken_tunnels_are_reopened(driver: Driver, plain_fresh: FreshTarget, proxy: Peer) -> None:
    target = plain_fresh()
    gone = driver.queue()
    async with driver.connect(far_url(target), **target.options | {"proxy": proxy.url}) as sock:
        sock.on("disconnect", lambda reason, details: gone.put(reason))
        await target.settle(driver, sock)
        assert proxy.control("requests")
        proxy.control("cut")
        assert await gone.get() in {"transport close", "transport error"}
        await sock.wait_connected()
        assert await sock.emit_with_ack("echo_ack", "again") == "again"
        assert proxy.control("requests")


# The environment's


@pytest.mark.row("option.proxy")
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_the_proxy_of_the_environment_is_used(
    variable: str,
    driver: Driver,
    transport: str,
    tls: TLS,
    proxy: Peer,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    server = "node_server_tls" if variable.lower() == "https_proxy" else "node_server"
    target = Target(request.getfixturevalue(server), transport, tls)
    monkeypatch.setenv(variable, proxy.url)
    async with driver.connect(far_url(target), **target.options) as sock:
        await target.settle(driver, sock)
        assert await sock.emit_with_ack("echo_ack", 1) == 1
    assert proxy.control("requests")


@pytest.mark.row("option.proxy", "difference.proxies")
async def test_loopback_hosts_bypass_the_proxy_of_the_environment(
    driver: Driver, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, refused_url())
    async with target.connect(driver) as sock:
        assert await sock.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("option.proxy")
@pytest.mark.parametrize("way", ["NO_PROXY", "proxy=None"])
async def test_exempt_hosts_bypass_the_proxy(
    way: str, driver: Driver, plain_target: Target, proxy: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *args, **kwargs: look_up("127.0.0.1" if FAR_HOST in str(host) else host, *args, **kwargs),
    )
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "other.example, .test" if way == "NO_PROXY" else "")
    options = plain_target.options | ({"proxy": None} if way == "proxy=None" else {})
    async with driver.connect(far_url(plain_target), **options) as sock:
        assert await sock.emit_with_ack("echo_ack", 1) == 1
    assert proxy.control("requests") == []


async def test_an_explicit_proxy_applies_to_loopback_hosts(driver: Driver, plain_target: Target, proxy: Peer) -> None:
    async with plain_target.connect(driver, proxy=proxy.url) as sock:
        assert await sock.emit_with_ack("echo_ack", 1) == 1
    assert proxy.control("requests")


async def test_an_unsupported_proxy_of_the_environment_raises_connect_error(
    driver: Driver, plain_target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://Ada:{ESCAPED}@127.0.0.1:1080")
    with pytest.raises(
        ConnectError, match=r"environment variable ALL_PROXY has the scheme .socks5.*proxy=None"
    ) as caught:
        async with driver.connect(far_url(plain_target), **plain_target.options):
            raise AssertionError("there is no way")
    assert ESCAPED not in str(caught.value)


async def test_an_invalid_proxy_option_raises_at_the_call(driver: Driver) -> None:
    for proxy in (f"socks5://Ada:{ESCAPED}@127.0.0.1:1080", "http://", 5):
        for make in (driver.connect, driver.manager):
            with pytest.raises(OptionError, match=r"^proxy ") as caught:
                make("http://127.0.0.1:1", proxy=proxy)
            assert ESCAPED not in str(caught.value)
