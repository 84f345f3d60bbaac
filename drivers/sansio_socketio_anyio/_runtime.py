"""The runtime interface on anyio, with any backend.

Rules of this file:

- The nursery is a task group of anyio, because a native task group of asyncio in a cancelled scope of anyio would be woken
  repeatedly until its last task is done.
- On trio, client code is protected from KeyboardInterrupt, as in the driver for trio. asyncio cancels the main task instead.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ByteReceiveStream, ByteStream

from sansio_socketio.client.entry_points import entry_points
from sansio_socketio.runtime import cancelled_inside
from sansio_socketio.runtime.clock import total_suspension
from sansio_socketio.runtime.structured import Library, StructuredRuntime, open_structured

_CHUNK = 1 << 16  # the maximum number of bytes to receive at once


async def _receive(stream: ByteReceiveStream) -> bytes:
    try:
        return await stream.receive(_CHUNK)
    except anyio.EndOfStream:
        return b""


_ANYIO = Library(
    event=anyio.Event,
    cancel_scope=anyio.CancelScope,
    open_nursery=anyio.create_task_group,
    now=anyio.current_time,
    sleep_forever=anyio.sleep_forever,
    checkpoint_if_cancelled=anyio.lowlevel.checkpoint_if_cancelled,
    cancelled=anyio.get_cancelled_exc_class,
    connect=anyio.connect_tcp,
    stream_class=ByteStream,
    stream_class_name="an anyio.abc.ByteStream",
    send=lambda stream, data: stream.send(data),
    receive=_receive,
    from_thread="anyio.from_thread.run or anyio.from_thread.run_sync",
)


class AnyioRuntime(StructuredRuntime):
    """The runtime, which protects client code from KeyboardInterrupt."""

    async def task(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run client code as the whole of a task, protected from KeyboardInterrupt on trio."""
        await super().task(function, *args)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code, and await what it returns."""
        try:
            return await super().call(function, *args)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -inf:
                raise
            raise cancelled_inside(function) from error


@cache
def _protect_on_trio() -> None:
    from trio.lowlevel import disable_ki_protection, enable_ki_protection  # noqa: PLC0415  # trio may not be installed

    disable_ki_protection(AnyioRuntime.call)
    enable_ki_protection(AnyioRuntime.task)
    for entry_point in entry_points():
        enable_ki_protection(entry_point)


def open_runtime(*, suspension: Callable[[], float] = total_suspension) -> AbstractAsyncContextManager[AnyioRuntime]:
    """Create a runtime in a task group of its own. On exit, everything that it started ends."""
    if "trio" in sys.modules:  # pragma: no branch
        _protect_on_trio()
    return open_structured(_ANYIO, AnyioRuntime, suspension)
