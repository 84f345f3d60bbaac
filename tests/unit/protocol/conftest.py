"""What the stories about the client are told with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fake_server import FakeServer, wires


@pytest.fixture
def serve() -> Iterator[type[FakeServer]]:
    """Makes a client with options, and the server that the test plays."""
    with wires():
        yield FakeServer
