"""Fixtures of all tests: the servers, the certificate, and the servers' output when a test fails."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trustme

from tests.support import peers
from tests.support.peers import Peer, TLSFiles

PeerFactory = Callable[..., Peer]
FAR_HOST: Final = "socketio.test"
"""A name that cannot be resolved (RFC 6761), for servers that are reached through a proxy."""


@dataclass(frozen=True)
class TLS:
    """A certificate for the loopback addresses and FAR_HOST, a client's context that trusts it, and its authority's file."""

    files: TLSFiles
    context: ssl.SSLContext
    authority: str


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1", FAR_HOST)
    folder: Path = tmp_path_factory.mktemp("tls")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    with (folder / "cert.pem").open("wb") as chain:
        for blob in certificate.cert_chain_pems:
            chain.write(blob.bytes())
    authority.cert_pem.write_to_path(folder / "authority.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return TLS(TLSFiles(str(folder / "cert.pem"), str(folder / "key.pem")), context, str(folder / "authority.pem"))


@pytest.fixture(scope="session")
def node_server() -> Iterator[Peer]:
    """A server for Node that the tests share. A test must not change its state."""
    with peers.node_server() as peer:
        yield peer


@pytest.fixture(scope="session")
def node_server_tls(tls: TLS) -> Iterator[Peer]:
    """The same under TLS."""
    with peers.node_server(tls=tls.files) as peer:
        yield peer


@pytest.fixture(scope="session")
def python_server() -> Iterator[Peer]:
    """A server of python-socketio that the tests share."""
    with peers.python_server() as peer:
        yield peer


@pytest.fixture(scope="session")
def python_server_tls(tls: TLS) -> Iterator[Peer]:
    """The same under TLS."""
    with peers.python_server(tls=tls.files) as peer:
        yield peer


@pytest.fixture
def fresh_node_server() -> Iterator[PeerFactory]:
    """A function that starts a server for one test, with its own configuration."""
    with ExitStack() as stack:
        yield partial(_start, stack, peers.node_server)


@pytest.fixture
def fresh_python_server() -> Iterator[PeerFactory]:
    """The same with python-socketio."""
    with ExitStack() as stack:
        yield partial(_start, stack, peers.python_server)


def _start(stack: ExitStack, make: PeerFactory, **config: object) -> Peer:
    return stack.enter_context(make(**config))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    for peer in Peer.running:
        peer.clear_output()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the output of the servers during a test that failed."""
    report = yield
    if report.failed:
        for peer in Peer.running:
            if peer.output:
                report.sections.append((f"{peer.url} wrote", peer.output))
    return report
