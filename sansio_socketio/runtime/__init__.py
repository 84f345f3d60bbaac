"""The interface that a driver implements, and building blocks for drivers.

- `interface`: the driver contract, as typing protocols. Drivers need not use any other module.
- `clock`, `futures`, `timers`, `streams`, `calls`: building blocks for runtimes.
- `structured`: a runtime in a nursery, for libraries with structured concurrency.
- `listening`: sockets that listen, for drivers of servers.
- `nonblocking`: a stream over non-blocking sockets, for runtimes that report readiness.
- `connect`, `tls`, `proxy`: open connections over the streams of a runtime. The client uses them; drivers do not.

This layer is independent of Socket.IO. It imports only `protocol.errors` from the rest of this package.
"""

from __future__ import annotations

from .calls import call_back, call_in_task, call_in_thread, cancelled_inside, ended_inside, log_failure, name_of
from .clock import LONGEST_WAIT, Clock, total_suspension
from .futures import EventFuture, runtime_ended, wrong_thread
from .interface import (
    BlockingRuntime,
    BlockingRuntimeScope,
    Future,
    Listener,
    ListeningRuntime,
    ListeningRuntimeScope,
    Runtime,
    RuntimeScope,
    Stream,
    StreamAcceptor,
    StreamHook,
    StreamOpener,
    StreamReceiver,
    Task,
    Timer,
)
from .listening import bind, peer_name
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
from .timers import Deadlines, DeadlineTimer, LoopTimer

__all__ = [
    "LONGEST_WAIT",
    "BaseStream",
    "BlockingRuntime",
    "BlockingRuntimeScope",
    "Clock",
    "DeadlineTimer",
    "Deadlines",
    "EventFuture",
    "Future",
    "Listener",
    "ListeningRuntime",
    "ListeningRuntimeScope",
    "LoopTimer",
    "NonblockingStream",
    "PollingRuntime",
    "Runtime",
    "RuntimeScope",
    "Stream",
    "StreamAcceptor",
    "StreamHook",
    "StreamOpener",
    "StreamReceiver",
    "Task",
    "TaskStream",
    "Timer",
    "bind",
    "call_back",
    "call_in_task",
    "call_in_thread",
    "cancelled_inside",
    "combine_errors",
    "ended_inside",
    "first_connected",
    "invalid_stream",
    "log_failure",
    "name_of",
    "peer_name",
    "runtime_ended",
    "total_suspension",
    "underlying_error",
    "unwrap_group",
    "wrong_thread",
]
