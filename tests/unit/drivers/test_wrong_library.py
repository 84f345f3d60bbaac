"""A driver that runs under another async library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

import sansio_socketio_asyncio
import sansio_socketio_trio
from sansio_socketio import StateError

URL = "http://127.0.0.1:1"


@pytest.mark.parametrize("call", ["Manager", "connect"])
@pytest.mark.parametrize(
    ("driver", "run", "message"),
    [
        (
            sansio_socketio_trio,
            asyncio.run,
            r"sansio_socketio_trio works in trio.run\(\) only; .*sansio_socketio_asyncio",
        ),
        (
            sansio_socketio_asyncio,
            lambda coroutine: trio.run(lambda: coroutine),
            "sansio_socketio_asyncio needs a running asyncio event loop; .*sansio_socketio_trio",
        ),
    ],
)
def test_a_driver_under_another_library_raises(
    driver: Any, run: Callable[[Coroutine[Any, Any, None]], None], message: str, call: str
) -> None:
    async def main() -> None:
        with pytest.raises(StateError, match=message):
            async with getattr(driver, call)(URL):
                raise AssertionError

    run(main())
