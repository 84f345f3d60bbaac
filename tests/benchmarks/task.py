"""What a client process is asked to do, and how it measures itself.

Rules of this file:

- A `Task` is passed to the process as JSON. The process prints one line of JSON, its `Result`, and exits.
- A scenario prepares its connections and returns its work. The work is done once as a warm-up and once measured, so that
  neither connecting nor starting up counts.
- Counters grow. What is measured is their growth, divided by the number of messages.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypedDict

JSON_PAYLOAD = {"id": 12345, "kind": "price", "values": [1.25, 40]}


@dataclass(frozen=True)
class Task:
    """One measurement of one client.

    Attributes:
        scenario: The name of what the client does.
        url: The address of the server.
        metric: What is measured: "cpu" (seconds), "memory" (bytes) or "calls" (of functions), each per message.
        transport: "websocket" or "polling".
        count: The number of messages, or of connections if those are what is counted.
        warmup: How many are sent before the measured ones.
        in_flight: How many acknowledgements are awaited concurrently.
        size: The number of bytes of a binary payload. 0: the payload is JSON of 46 bytes.
        namespaces: How many namespaces of the connection are joined.
        pending: How many other acknowledgements are pending during the measurement; they never arrive.
        connections: How many connections are open.
    """

    scenario: str
    url: str = ""
    metric: str = "cpu"
    transport: str = "websocket"
    count: int = 1
    warmup: int = 1
    in_flight: int = 1
    size: int = 0
    namespaces: int = 1
    pending: int = 0
    connections: int = 1

    @property
    def payload(self) -> Any:
        return bytes(range(256)) * (self.size // 256) if self.size else JSON_PAYLOAD


class Result(TypedDict):
    """The growth of the counter per message, its part inside the kernel, and the messages per second."""

    value: float
    system: float
    rate: float


def task_from_arguments() -> Task:
    """Return the task that the runner has passed to this process."""
    return Task(**json.loads(sys.argv[1]))


class Measurement:
    """Measures a task from its creation until `finish`."""

    def __init__(self, task: Task) -> None:
        gc.collect()
        self._task = task
        self._counter = COUNTERS[task.metric]()
        self._start = self._counter()
        self._began = time.perf_counter()

    def finish(self) -> NoReturn:
        """Print the result and end the process at once: closing thousands of connections is not part of any task."""
        seconds = time.perf_counter() - self._began
        if self._task.metric == "memory":
            gc.collect()
        total, system = (
            (end - start) / self._task.count for start, end in zip(self._start, self._counter(), strict=True)
        )
        sys.setprofile(None)
        print(json.dumps(Result(value=total, system=system, rate=self._task.count / seconds)), flush=True)
        os._exit(0)


Counter = Callable[[], tuple[float, float]]
"""Returns the state of a counter, and which part of it belongs to the kernel."""


def _cpu_counter() -> Counter:
    import resource  # noqa: PLC0415  # not on Windows

    def cpu() -> tuple[float, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime, usage.ru_stime

    return cpu


def _memory_counter() -> Counter:
    statm = Path("/proc/self/statm")  # on Linux only
    page = os.sysconf("SC_PAGESIZE")
    return lambda: (float(statm.read_text(encoding="ascii").split()[1]) * page, 0.0)


def _call_counter() -> Counter:
    """Count the calls of Python functions, and among them those of this library."""
    total = ours = 0

    def profile(frame: Any, event: str, _: Any) -> None:
        nonlocal total, ours
        if event == "call":
            total += 1
            ours += "/sansio_socketio" in frame.f_code.co_filename

    sys.setprofile(profile)
    return lambda: (float(total), float(ours))


COUNTERS: dict[str, Callable[[], Counter]] = {"cpu": _cpu_counter, "memory": _memory_counter, "calls": _call_counter}
