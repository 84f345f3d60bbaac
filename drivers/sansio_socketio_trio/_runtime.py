"""The runtime interface on trio.

Rules of this file:

- Client code is protected from KeyboardInterrupt, also in the application's tasks. The interrupt is raised in the
  application's code, or by a wait of the main task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from sansio_socketio.client.entry_points import entry_points
from sansio_socketio.protocol.errors import StateError
from sansio_socketio.runtime.clock import total_suspension
from sansio_socketio.runtime.structured import Library, Nursery, StructuredRuntime, open_structured

_CHUNK = 1 << 16  # the maximum number of bytes to receive at once

_TRIO = Library(
    event=trio.Event,
    cancel_scope=trio.CancelScope,
    open_nursery=trio.open_nursery,
    now=trio.current_time,
    sleep_forever=trio.sleep_forever,
    checkpoint_if_cancelled=trio.lowlevel.checkpoint_if_cancelled,
    cancelled=lambda: trio.Cancelled,
    connect=trio.open_tcp_stream,
    stream_class=trio.abc.Stream,
    stream_class_name="a trio.abc.Stream",
    send=lambda stream, data: stream.send_all(data),
    receive=lambda stream: stream.receive_some(_CHUNK),
    from_thread="trio.from_thread.run or trio.from_thread.run_sync",
)


class TrioRuntime(StructuredRuntime):
    """The runtime, which protects client code from KeyboardInterrupt."""

    @enable_ki_protection
    async def task(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run client code as the whole of a task, protected from KeyboardInterrupt."""
        await super().task(function, *args)

    @disable_ki_protection
    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, not protected from KeyboardInterrupt."""
        return await super().call(function, *args)


for _entry_point in entry_points():  # client code that runs in the application's tasks
    enable_ki_protection(_entry_point)


R = TypeVar("R", bound=TrioRuntime)


def open_runtime(*, suspension: Callable[[], float] = total_suspension) -> AbstractAsyncContextManager[TrioRuntime]:
    """Create a runtime in a nursery of its own. On exit, everything that it started ends."""
    return open_in_trio(TrioRuntime, suspension)


def open_in_trio(
    runtime_class: Callable[[Library, Nursery, Callable[[], float]], R], suspension: Callable[[], float]
) -> AbstractAsyncContextManager[R]:
    """Create a runtime of a class. Raise StateError outside of trio."""
    if not trio.lowlevel.in_trio_run():
        raise StateError("sansio_socketio_trio works in trio.run() only; with asyncio use sansio_socketio_asyncio")
    return open_structured(_TRIO, runtime_class, suspension)
