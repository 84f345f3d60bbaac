"""Functions for `auth`, `query` and `extra_headers`: called before each attempt, so that expired credentials are renewed."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

import sansio_socketio_blocking
from sansio_socketio.protocol.errors import ConnectError
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver
from tests.support.target import Target


def quick(target: Target) -> dict[str, Any]:
    return {**target.options, "reconnection_delay": 0.01}


@pytest.mark.row("difference.auth_errors", "option.auth")
async def test_auth_function_is_called_again_after_failures(driver: Driver, target: Target) -> None:
    seen = driver.queue()
    tries = iter(range(3))

    async def get_auth() -> dict[str, Any]:
        await driver.sleep(0.001)
        if (number := next(tries)) < 2:
            raise LookupError(f"the issuer of tokens is down, {number}")
        return {"token": "secret"}

    async with driver.manager(target.peer.url, **quick(target)) as manager:
        socket = manager.socket("/auth", auth=driver.handler(get_auth))
        socket.on("connect_error", lambda error: seen.put((repr(error.__cause__), socket.active)))
        for number in range(2):
            assert await seen.get() == (f"LookupError('the issuer of tokens is down, {number}')", True)
        await socket.wait_connected()
        assert (await socket.emit_with_ack("handshake"))["auth"] == {"token": "secret"}


async def test_auth_function_is_called_again_after_the_server_closed_the_connection(
    driver: Driver, plain_fresh: FreshTarget
) -> None:
    target = plain_fresh(options={"connectTimeout": 300})
    seen = driver.queue()
    tries = count()

    def get_auth() -> Any:
        if next(tries) == 0:
            raise LookupError
        return {"token": "secret"}

    # The server closes a connection without a namespace long before auth is called again.
    options = {**target.options, "reconnection_delay": 1, "randomization_factor": 0}
    async with driver.manager(target.peer.url, **options) as manager:
        socket = manager.socket("/auth", auth=get_auth)
        socket.on("disconnect", lambda reason, details: seen.put(socket.active))
        assert await seen.get() is True
        await socket.wait_connected()
        assert await socket.emit_with_ack("echo_ack", "in") == "in"


async def test_connect_with_retry_waits_until_the_auth_function_succeeds(driver: Driver, plain_target: Target) -> None:
    answers = iter([None, "not a mapping", {"token": "secret"}])

    def get_auth() -> Any:
        answer = next(answers)
        if answer is None:
            raise LookupError
        return answer

    async with plain_target.connect(driver, "/auth", auth=get_auth, retry=True, reconnection_delay=0.01) as socket:
        assert await socket.emit_with_ack("echo_ack", "in") == "in"


async def test_connect_without_retry_raises_the_first_failure(driver: Driver, plain_target: Target) -> None:
    async def get_auth() -> Any:
        raise LookupError("no token")

    with pytest.raises(ConnectError, match="the function for auth raised LookupError") as caught:
        async with plain_target.connect(driver, "/auth", auth=driver.handler(get_auth)):
            raise AssertionError("there is no token")
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_function_that_returns_a_coroutine_fails_with_the_blocking_driver(plain_target: Target) -> None:
    async def token() -> dict[str, str]:
        return {"token": "secret"}

    what = r"the function for auth cannot be used: .*<lambda> \(.*\) is an async function, .*: use a plain function$"
    options: dict[str, Any] = {**plain_target.options, "auth": lambda *_: token()}
    with pytest.raises(ConnectError, match=what), sansio_socketio_blocking.connect(plain_target.peer.url, **options):
        raise AssertionError("there is no token")


async def test_auth_function_is_given_up_after_reconnection_attempts(driver: Driver, plain_target: Target) -> None:
    seen = driver.queue()

    def get_auth() -> Any:
        raise LookupError

    async with driver.manager(plain_target.peer.url, **quick(plain_target), reconnection_attempts=2) as manager:
        main, socket = manager.socket("/"), manager.socket("/auth", auth=get_auth)
        socket.on("connect_error", lambda error: seen.put(socket.active))
        with pytest.raises(ConnectError, match="the function for auth raised LookupError"):
            await socket.wait_connected()
        assert [await seen.get() for _ in range(3)] == [True, True, False]
        await main.wait_connected()
        socket.auth = {"token": "secret"}
        await socket.connect()
        assert await socket.emit_with_ack("echo_ack", "in") == "in"


@pytest.mark.row("beyond.async_callables")
async def test_all_functions_are_called_again_on_reconnection(driver: Driver, target: Target) -> None:
    tokens = iter(range(100))

    async def get_auth() -> dict[str, Any]:
        await driver.sleep(0.001)
        return {"token": "secret", "number": next(tokens)}

    async def get_query() -> dict[str, str]:
        return {"number": str(next(tokens))}

    def get_headers() -> dict[str, str]:
        return {"X-Number": str(next(tokens))}

    asked = {"auth": driver.handler(get_auth), "query": driver.handler(get_query), "extra_headers": get_headers}
    async with target.connect(driver, "/auth", **asked) as socket:
        for count in range(3):
            await target.settle(driver, socket)
            handshake = await socket.emit_with_ack("handshake")
            numbers = [handshake["query"]["number"], handshake["headers"]["x-number"], handshake["auth"]["number"]]
            assert sorted(map(int, numbers)) == [3 * count, 3 * count + 1, 3 * count + 2]
            await socket.emit("cut")
            await driver.until(lambda: not socket.connected)
            await socket.wait_connected()


@pytest.mark.parametrize("about", ["query", "extra_headers"])
async def test_query_and_header_functions_are_called_again_after_failures(
    about: str, driver: Driver, plain_target: Target
) -> None:
    seen, attempts = driver.queue(), driver.queue()
    tries = iter(range(3))

    async def ask() -> dict[str, str]:
        if (number := next(tries)) < 2:
            raise LookupError
        return {"x-number": str(number)}

    options = {**quick(plain_target), about: driver.handler(ask), "auto_connect": False}
    async with driver.manager(plain_target.peer.url, **options) as manager:
        manager.on("reconnect", attempts.put)
        socket = manager.socket("/")
        socket.on("connect_error", lambda error: seen.put((str(error).partition(" (")[0], socket.active)))
        await socket.connect()
        for _ in range(2):
            assert await seen.get() == (f"the function for {about} raised LookupError", True)
        assert await attempts.get() == 2
        handshake = await socket.emit_with_ack("handshake")
        place = "query" if about == "query" else "headers"
        assert handshake[place]["x-number"] == "2"
