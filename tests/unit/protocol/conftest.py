"""Fixtures of the tests of the client's state machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_server import FakeServer, wires


@pytest.fixture
def serve() -> Iterator[type[FakeServer]]:
    """The class that makes a client with options, and the server that the test controls."""
    with wires():
        yield FakeServer
