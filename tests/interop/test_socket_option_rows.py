"""The options of a socket, against the real server, on every driver."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import AckTimeout
from tests.interop.conftest import FreshTarget
from tests.support.drivers import Driver
from tests.support.target import Target


@pytest.mark.row("option.retries")
async def test_retries_sends_unacknowledged_events_again(driver: Driver, plain_fresh: FreshTarget) -> None:
    target = plain_fresh(record=True)
    errors: list[Any] = []
    async with target.connect(driver, retries=2, ack_timeout=20) as socket:
        await target.settle(driver, socket)
        await socket.timeout(0.05).emit("silent", "given up", ack=errors.append)
        await socket.emit("n", 0)
        assert await socket.emit_with_ack("count") == {"total": 1, "ordered": True}
        await driver.until(lambda: bool(errors))  # the callback waits in the queue of the namespace
        assert [type(error) for error in errors] == [AckTimeout]
    sent = [packet["data"] for packet in target.peer.control("log") if '"silent"' in str(packet.get("data", ""))]
    assert len(sent) == 3
    assert len(set(sent)) == 3  # each try has its own id


@pytest.mark.row("option.auth")
@pytest.mark.parametrize("kind", ["mapping", "function", "async function"])
async def test_auth_accepts_a_mapping_or_a_function(kind: str, driver: Driver, target: Target) -> None:
    async def renewed() -> dict[str, Any]:
        return {"token": "secret", "kind": kind}

    auth: dict[str, Any] = {
        "mapping": {"token": "secret", "kind": kind},
        "function": lambda: {"token": "secret", "kind": kind},
        "async function": driver.handler(renewed),
    }
    async with target.connect(driver, "/auth", auth=auth[kind]) as socket:
        assert (await socket.emit_with_ack("handshake"))["auth"] == {"token": "secret", "kind": kind}
