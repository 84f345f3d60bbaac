"""The scenarios of scenarios.py for clients without `await`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from tests.benchmarks.task import Measurement, Task

Work = Callable[[int], None]


@dataclass(frozen=True)
class Socket:
    """A connected namespace: its functions to emit, to emit and await the acknowledgement, and to register a handler."""

    emit: Callable[..., Any]
    call: Callable[..., Any]
    on: Callable[..., Any]


Open = Callable[[], Socket]
"""Opens a further connection."""


def run(open_: Open, task: Task) -> NoReturn:
    """Prepare, warm up and measure."""
    work = SCENARIOS[task.scenario](open_, task)
    work(task.warmup)
    measurement = Measurement(task)
    work(task.count)
    measurement.finish()


def ack(open_: Open, task: Task) -> Work:
    """Emit and await the acknowledgement, each of `in_flight` threads one at a time."""
    socket, payload = open_(), task.payload
    if socket.call("echo_ack", payload) != payload:
        raise RuntimeError("the server sent another value back")

    def work(count: int) -> None:
        def worker() -> None:
            for _ in range(count // task.in_flight):
                socket.call("echo_ack", payload)

        threads = [threading.Thread(target=worker) for _ in range(task.in_flight - 1)]
        for thread in threads:
            thread.start()
        worker()
        for thread in threads:
            thread.join()

    return work


def receive(open_: Open, task: Task) -> Work:
    """Receive a burst of events."""
    socket = open_()
    left = 0
    lock = threading.Lock()  # python-socketio calls each handler in its own thread
    done = threading.Event()

    def handle(_: Any) -> None:
        nonlocal left
        with lock:
            left -= 1
            if not left:
                done.set()

    def work(count: int) -> None:
        nonlocal left
        left = count
        done.clear()
        socket.emit("burst", [count, task.payload])
        done.wait()

    socket.on("n", handle)
    return work


def emit(open_: Open, task: Task) -> Work:
    """Emit a burst of events, and wait until the server has them all."""
    socket = open_()

    def work(count: int) -> None:
        for _ in range(count):
            socket.emit("n", task.payload)
        counted = socket.call("count", True)
        if counted != count:
            raise RuntimeError(f"the server got {counted} of {count} events")

    return work


def connect(open_: Open, task: Task) -> Work:
    """Open connections, one after the other, and keep them open."""
    opened: list[Socket] = []

    def work(count: int) -> None:
        opened.extend(open_() for _ in range(count))

    return work


SCENARIOS: dict[str, Callable[[Open, Task], Work]] = {
    scenario.__name__: scenario for scenario in (ack, receive, emit, connect)
}
