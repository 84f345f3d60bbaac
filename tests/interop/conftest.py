"""The matrix: an `async def` test that takes `driver` runs on each driver, one that takes `target` on each transport.

- `target` is the shared server by http and by https; `plain_target` the same by http alone, for what is expensive.
- `bad_peer` starts a misbehaving server; its sockets belong to this process, too, so that they are not checked for leaks.
- `fresh` and `plain_fresh` start a server of the test's own, with its own configuration, and give the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from inspect import iscoroutinefunction, signature

import pytest

from tests.conftest import TLS, PeerFactory
from tests.support.bad_peers import BadPeer, Behaviour
from tests.support.drivers import DRIVERS, Driver
from tests.support.target import TRANSPORTS, Target

FreshTarget = Callable[..., Target]


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    return chosen


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def target(transport: str, scheme: str, request: pytest.FixtureRequest) -> Target:
    if scheme == "http":
        return Target(request.getfixturevalue("node_server"), transport)
    return Target(request.getfixturevalue("node_server_tls"), transport, request.getfixturevalue("tls"))


@pytest.fixture
def plain_target(transport: str, request: pytest.FixtureRequest) -> Target:
    return Target(request.getfixturevalue("node_server"), transport)


@pytest.fixture
def fresh(transport: str, scheme: str, tls: TLS, fresh_node_server: PeerFactory) -> FreshTarget:
    used = tls if scheme == "https" else None
    files = tls.files if scheme == "https" else None
    return lambda **config: Target(fresh_node_server(tls=files, **config), transport, used)


@pytest.fixture
def plain_fresh(transport: str, fresh_node_server: PeerFactory) -> FreshTarget:
    return lambda **config: Target(fresh_node_server(**config), transport)


@pytest.fixture
def bad_peer() -> Iterator[Callable[[Behaviour], str]]:
    """A function that starts a misbehaving server and returns its URL."""
    with ExitStack() as stack:
        yield lambda behaviour: stack.enter_context(BadPeer(behaviour)).url


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test on its driver."""
    if not iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = pyfuncitem.funcargs
    taken = {name: arguments[name] for name in signature(pyfuncitem.obj).parameters if name in arguments}
    driver = arguments["driver"]
    assert isinstance(driver, Driver)
    driver.run(lambda: pyfuncitem.obj(**taken), check_sockets="bad_peer" not in arguments)
    return True
