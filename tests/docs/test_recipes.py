"""Recipes of the pages for long-running clients, with a server that restarts and refuses."""

from __future__ import annotations

import ast
import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError, DisconnectedError
from tests.conftest import PeerFactory
from tests.docs.test_docs import ASYNC_DRIVERS, FENCES
from tests.support.drivers import AsyncioDriver, Driver

FAST = {"reconnection_delay": 0.01, "reconnection_delay_max": 0.05}


def definitions(page: str, name: str, driver: Driver) -> dict[str, Any]:
    """Return the names that the code of a page defines that defines `name`, without running its last statement."""
    [code] = [each.code for each in FENCES if each.page.name == page and f" {name}" in each.code]
    names = dict(vars(driver.module))
    statements = ast.parse(code).body[:-1]
    exec(compile(ast.Module(statements, []), page, "exec"), names)
    return names


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
def test_credentials_are_renewed_whenever_a_server_that_restarts_refuses_them(
    driver: Driver, fresh_node_server: PeerFactory
) -> None:
    server = fresh_node_server()
    credentials = definitions("authenticate.md", "Credentials", driver)["Credentials"]()

    async def main() -> None:
        unreachable, connections = driver.queue(), driver.queue()
        async with driver.open_io() as io:
            socket = io(f"{server.url}/auth", auth=credentials.auth, **FAST)
            credentials.watch(socket)
            socket.on("connect", lambda: connections.put(credentials.token))
            socket.on("connect_error", lambda error, state: unreachable.put(error) if state.active else None)
            assert await connections.get() == "secret"
            for _ in range(3):
                credentials.token = "expired"
                server.kill()
                assert (await unreachable.get()).data is None
                server.start()
                assert await connections.get() == "secret"

    driver.run(main)


@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
def test_credentials_that_are_refused_twice_are_given_up(driver: Driver, fresh_node_server: PeerFactory) -> None:
    server = fresh_node_server()
    names = definitions("authenticate.md", "Credentials", driver)
    asked: list[None] = []

    async def new_token() -> str:
        asked.append(None)
        return "revoked"

    names["new_token"] = new_token

    async def main() -> None:
        errors = driver.queue()
        credentials = names["Credentials"]("expired")
        async with driver.open_io() as io:
            socket = io(f"{server.url}/auth", auth=credentials.auth, **FAST)
            credentials.watch(socket)
            socket.on("connect_error", errors.put)
            assert [(await errors.get()).message for _ in range(2)] == ["not authorized"] * 2
            with pytest.raises(DisconnectedError, match="not authorized"):
                await socket.wait_closed()
            with pytest.raises(ConnectError):
                await socket.connect()
            assert len(asked) == 2

    driver.run(main)


def test_a_worker_stays_connected_until_the_server_disconnects_it(
    fresh_node_server: PeerFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    server, driver = fresh_node_server(), AsyncioDriver()
    names = definitions("from-python-socketio.md", "keep_connected", driver)
    names["asyncio"] = SimpleNamespace(sleep=lambda _: asyncio.sleep(0.01))
    tokens = ["secret"]

    async def main() -> None:
        connections, unreachable = driver.queue(), driver.queue()
        async with driver.open_io() as io:
            socket = io(f"{server.url}/auth", auth=lambda: {"token": tokens[0]}, **FAST)
            socket.on("connect", lambda: connections.put(None))
            socket.on("connect_error", unreachable.put)
            worker = asyncio.ensure_future(names["keep_connected"](socket))
            await connections.get()
            for _ in range(2):
                tokens[0] = "expired"
                server.kill()
                await unreachable.get()
                server.start()
                await driver.until(lambda: capsys.readouterr().out.count("cannot connect: not authorized") > 0)
                tokens[0] = "secret"
                await connections.get()
            await socket.emit("kick")
            with pytest.raises(DisconnectedError, match="io server disconnect"):
                await asyncio.wait_for(worker, 10)
            await socket.connect()
            worker = asyncio.ensure_future(names["keep_connected"](socket))
            await socket.disconnect()
            await asyncio.wait_for(worker, 10)

    driver.run(main)
