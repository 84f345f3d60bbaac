"""Fixtures of the server's tests."""

from __future__ import annotations

import pytest

from tests.unit.server.world import ServerWorld


@pytest.fixture(params=[False, True], ids=["lazy", "eager"])
def world(request: pytest.FixtureRequest) -> ServerWorld:
    """An event loop, in which tasks run their first step later or when they are made."""
    return ServerWorld(eager=request.param)
