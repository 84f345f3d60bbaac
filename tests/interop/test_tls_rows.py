"""TLS to the real server: which certificates and names the client accepts, and the certificate that it sends, on every driver."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from sansio_socketio.protocol.errors import ConnectError, TransportError
from tests.conftest import TLS
from tests.support import peers
from tests.support.drivers import Driver
from tests.support.peers import Peer, TLSFiles
from tests.support.target import Target

NAME = "named.test"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def named_server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A server whose certificate is for a name, and not for the address by which it is reached; it records its clients."""
    folder: Path = tmp_path_factory.mktemp("named")
    certificate = authority.issue_cert(NAME)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    with peers.node_server(tls=TLSFiles(str(folder / "cert.pem"), str(folder / "key.pem")), requests=True) as peer:
        yield peer


@pytest.fixture(scope="session")
def context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def refused(driver: Driver, target: Target, scheme: str = "https", **options: object) -> str:
    """Return the message of the error of an attempt that must fail."""
    url = target.url().replace("https", scheme)
    with pytest.raises(ConnectError) as caught:
        async with driver.connect(url, **target.options | options):
            raise AssertionError("the server must not be trusted")
    assert isinstance(caught.value.__cause__, TransportError)
    return str(caught.value)


@pytest.mark.row("option.ssl")
@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_ssl_accepts_a_context(
    scheme: str, driver: Driver, transport: str, node_server_tls: Peer, tls: TLS
) -> None:
    target = Target(node_server_tls, transport)
    url = target.url("/chat").replace("https", scheme)
    async with driver.connect(url, **target.options, ssl=tls.context) as socket:
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("echo_ack", "safe") == "safe"


@pytest.mark.row("option.ssl")
async def test_without_a_context_the_authorities_of_the_system_are_trusted(
    driver: Driver, transport: str, node_server_tls: Peer, tls: TLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(node_server_tls, transport)
    message = await refused(driver, target, ssl=None)
    assert "the certificate of 127.0.0.1 could not be verified" in message
    assert "pass a context that trusts it (ssl=)" in message
    monkeypatch.setenv("SSL_CERT_FILE", tls.authority)  # OpenSSL reads further authorities from there
    async with target.connect(driver, ssl=None) as socket:
        assert await socket.emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("option.ssl")
async def test_ssl_false_warns_and_does_not_verify_the_server(
    driver: Driver, transport: str, node_server_tls: Peer
) -> None:
    target = Target(node_server_tls, transport)
    with pytest.warns(UserWarning, match="the server's certificate is not verified"):
        scope = driver.manager(target.peer.url, **target.options, ssl=False)
    async with scope as manager:
        assert await manager.socket("/").emit_with_ack("echo_ack", 1) == 1


@pytest.mark.row("option.server_hostname")
@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_server_hostname_is_verified_instead_of_the_host(
    scheme: str, driver: Driver, transport: str, named_server: Peer, context: ssl.SSLContext
) -> None:
    target = Target(named_server, transport, extra={"ssl": context})
    message = await refused(driver, target, scheme)
    assert "the certificate of 127.0.0.1 could not be verified: IP address mismatch" in message
    assert "the name in the certificate (server_hostname=)" in message
    named_server.control("requests")
    async with target.connect(driver, server_hostname=NAME) as socket:
        await target.settle(driver, socket)
        assert await socket.emit_with_ack("echo_ack", 1) == 1
    requests = named_server.control("requests")["requests"]
    assert {request["tls"]["name"] for request in requests} == {NAME}
    message = await refused(driver, target, server_hostname="other.test")
    assert "the certificate of other.test could not be verified: Hostname mismatch" in message


@pytest.mark.row("option.ssl")
async def test_the_client_certificate_of_the_context_is_sent(
    driver: Driver, transport: str, tls: TLS, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    files = replace(tls.files, ca=str(tmp_path / "clients.pem"))
    trusting = ssl.create_default_context(cafile=tls.authority)
    with peers.node_server(tls=files, requests=True) as peer:
        target = Target(peer, transport, extra={"ssl": trusting})
        assert "certificate required" in (await refused(driver, target, reconnection=False)).lower().replace("_", " ")
        known = ssl.create_default_context(cafile=tls.authority)
        authority.issue_cert("ada@client.test", organization_name="Ada's").configure_cert(known)
        async with target.connect(driver, ssl=known) as socket:
            await target.settle(driver, socket)
            assert await socket.emit_with_ack("echo_ack", 1) == 1
        requests = peer.control("requests")["requests"]
        assert {request["tls"]["subject"] for request in requests} == {"Ada's"}


async def test_a_server_without_tls_raises_with_a_hint(driver: Driver, plain_target: Target) -> None:
    url = plain_target.url().replace("http", "https")
    with pytest.raises(ConnectError, match="if the server does not use TLS on this port"):
        async with driver.connect(url, **plain_target.options):
            raise AssertionError("there is no TLS")


async def test_the_settings_of_the_context_apply(
    driver: Driver, transport: str, node_server_tls: Peer, tls: TLS
) -> None:
    """Here, ciphers that the server does not support."""
    context = ssl.create_default_context(cafile=tls.authority)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    message = await refused(driver, Target(node_server_tls, transport), ssl=context)
    assert "the TLS handshake with 127.0.0.1 failed" in message
