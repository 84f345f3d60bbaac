"""What a driver provides, and the building blocks that it may be made of.

- `interface`: the contract of a driver, as protocols. Everything else here is optional.
- `futures`, `timers`, `streams`, `calls`: building blocks for the parts of a runtime.
- `structured`: a runtime over a nursery, for libraries of structured concurrency.
- `nonblocking`: a stream over non-blocking sockets, for runtimes that report readiness.
- `connect`, `tls`, `proxy`: how the client opens a connection over the streams of a runtime. No driver needs them.

This layer knows nothing of Socket.IO. Of this package it imports only `protocol.errors`.
"""

from __future__ import annotations

from .calls import call_in_task, call_in_thread, cancelled_inside, name_of
from .futures import EventFuture, runtime_ended, wrong_thread
from .interface import (
    BlockingRuntime,
    BlockingRuntimeScope,
    Future,
    Runtime,
    RuntimeScope,
    Stream,
    StreamHook,
    StreamOpener,
    StreamReceiver,
    Task,
    Timer,
)
from .nonblocking import NonblockingStream, PollingRuntime
from .streams import (
    BaseStream,
    TaskStream,
    combine_errors,
    first_connected,
    invalid_stream,
    underlying_error,
    unwrap_group,
)
from .timers import LONGEST_WAIT, Deadlines, DeadlineTimer, LoopTimer

__all__ = [
    "LONGEST_WAIT",
    "BaseStream",
    "BlockingRuntime",
    "BlockingRuntimeScope",
    "DeadlineTimer",
    "Deadlines",
    "EventFuture",
    "Future",
    "LoopTimer",
    "NonblockingStream",
    "PollingRuntime",
    "Runtime",
    "RuntimeScope",
    "Stream",
    "StreamHook",
    "StreamOpener",
    "StreamReceiver",
    "Task",
    "TaskStream",
    "Timer",
    "call_in_task",
    "call_in_thread",
    "cancelled_inside",
    "combine_errors",
    "first_connected",
    "invalid_stream",
    "name_of",
    "runtime_ended",
    "underlying_error",
    "unwrap_group",
    "wrong_thread",
]
