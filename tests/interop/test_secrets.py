"""Secrets are in no log record of any level, no repr and no error."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from sansio_socketio.protocol.errors import ConnectError
from tests.interop.conftest import FreshTarget
from tests.support.bad_peers import refused_url
from tests.support.drivers import Driver
from tests.support.target import Target

SECRETS: dict[str, Any] = {
    "auth": {"token": "s3cret"},
    "extra_headers": {"Authorization": "Bearer s3cret", "Cookie": "session=s3cret"},
    "transport_options": {"polling": {"query": {"key": "s3cret"}}},
    "protocols": ["s3cret"],
    "with_credentials": True,
}


async def test_a_connection_shows_no_secrets(
    driver: Driver, plain_fresh: FreshTarget, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    target = plain_fresh(options={"cookie": {"name": "affinity"}})
    shown: list[str] = []
    async with target.connect(driver, "/?token=s3cret", **SECRETS) as socket:
        await target.settle(driver, socket)
        handshake = await socket.emit_with_ack("handshake")
        assert (handshake["auth"], handshake["query"]["token"]) == ({"token": "s3cret"}, "s3cret")
        cookie = f"affinity={socket.io.engine.id}"
        shown += map(repr, (socket, socket.io, socket.io.engine, socket.io.statistics()))
        await socket.emit("say", "s3cret")
        await socket.emit_with_ack("echo_ack", "s3cret")
    shown.append(caplog.text)
    assert "connected to" in caplog.text
    assert "s3cret" not in "".join(shown)
    assert cookie not in "".join(shown)


@pytest.mark.parametrize("how", ["refused", "not found"])
async def test_a_failed_attempt_shows_no_secrets(
    how: str, driver: Driver, plain_target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = refused_url() if how == "refused" else plain_target.url("")
    with pytest.raises(ConnectError) as caught:
        async with driver.connect(f"{url}/?token=s3cret", **plain_target.options | SECRETS, path="/nothing"):
            raise AssertionError
    assert "s3cret" not in caplog.text
    assert "s3cret" not in "".join([*traceback.format_exception_only(caught.value), repr(caught.value.__cause__)])
