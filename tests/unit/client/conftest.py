"""Fixtures of the client's tests: event loops in virtual time with a server, in which sessions use wires."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_runtime import World
from tests.support.fake_server import wires


@pytest.fixture
def world() -> Iterator[World]:
    with wires():
        yield World()


@pytest.fixture
def eager_world() -> Iterator[World]:
    """A world in which tasks run their first step when they are made (as from Python 3.12 on they may)."""
    with wires():
        yield World(eager=True)


@pytest.fixture
def threads_world() -> Iterator[World]:
    """A world in which waits block."""
    with wires():
        yield World(threads=True)
