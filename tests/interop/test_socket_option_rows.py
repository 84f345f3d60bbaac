"""The options of a socket, against the real server, on every driver."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import AckTimeout
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver
from tests.support.target import Target


@pytest.mark.row("option.retries")
async def test_what_is_not_acknowledged_is_sent_again(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(record=True)
    told: list[Any] = []
    async with target.connect(driver, retries=2, ack_timeout=20) as socket:
        await target.settle(driver, socket)
        await socket.timeout(0.05).emit("silent", "given up", ack=told.append)
        await socket.emit("n", 0)
        assert await socket.emit_with_ack("count") == {"total": 1, "ordered": True}
        await driver.until(lambda: bool(told))  # the callback has its turn in the queue of the namespace
        assert [type(error) for error in told] == [AckTimeout]
    sent = [packet["data"] for packet in target.peer.control("log") if '"silent"' in str(packet.get("data", ""))]
    assert len(sent) == 3
    assert len(set(sent)) == 3  # each try has an id of its own


@pytest.mark.row("option.auth")
@pytest.mark.parametrize("kind", ["mapping", "function", "async function"])
async def test_auth_of_each_kind(kind: str, driver: Driver, target: Target) -> None:
    async def renewed() -> dict[str, Any]:
        return {"token": "secret", "kind": kind}

    auth: dict[str, Any] = {
        "mapping": {"token": "secret", "kind": kind},
        "function": lambda: {"token": "secret", "kind": kind},
        "async function": driver.handler(renewed),
    }
    async with target.connect(driver, "/auth", auth=auth[kind]) as socket:
        assert (await socket.emit_with_ack("handshake"))["auth"] == {"token": "secret", "kind": kind}
