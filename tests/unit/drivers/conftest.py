"""What the tests of the drivers share."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.runtimes import BACKENDS, Backend


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture(scope="package", autouse=True)
def quick_collections() -> Iterator[None]:
    """Looking for what a test left need not look at all that was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test: no thread and no descriptor that was not there before (and no ResourceWarning)."""
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    gc.collect()
    left = {thread.name for thread in set(threading.enumerate()) - threads if not thread.name.startswith("Trio thread")}
    assert not left
    assert _descriptors() <= descriptors


def _descriptors() -> set[str]:
    folder = Path("/dev/fd")
    found = set()
    for entry in folder.iterdir() if folder.is_dir() else ():  # Windows has no such folder
        with suppress(OSError):  # it was the one for listing them
            found.add(f"{entry.name} {entry.readlink()}")
    return found
