"""Fixtures of the drivers' tests."""

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
    """Exclude existing objects from garbage collection, which runs after each test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Check that each test leaves no thread and no descriptor (and causes no ResourceWarning)."""
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
        with suppress(OSError):  # the descriptor of the listing itself
            found.add(f"{entry.name} {entry.readlink()}")
    return found
