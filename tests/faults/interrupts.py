"""Ctrl-C at random moments: real signals, in separate processes, for as many runs as you choose.

    python -m tests.faults.interrupts DRIVER RUNS [SEED]

Each run is a program that connects, emits, awaits acknowledgements and disconnects. SIGINT arrives at a random moment of it. The
run ends with a bare KeyboardInterrupt; if the signal arrived in its last moments, the interrupt is raised directly after it. Reported is everything else: other exceptions, records of the level CRITICAL, threads,
descriptors and tasks that are left, and runs that do not end (each process has a time limit).

`tests/unit/drivers/test_interrupts.py` does the same at chosen lines, without signals of the operating system.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import anyio
import trio

import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_blocking
import sansio_socketio_trio
from tests.support.peers import node_server

ROOT = Path(__file__).parents[2]
BATCH = 50
"""The number of runs of one process."""
AGAIN = 2.0
"""After how many seconds the signal is sent again, as a user would."""
OPTIONS: dict[str, Any] = {"close_timeout": 0.5}


started = threading.Event()
"""Set while the program runs. The start and the end of an event loop are not code of this library, and are not interrupted."""


def blocking(url: str, kind: int) -> None:
    if kind == 0:
        with sansio_socketio_blocking.connect(url, **OPTIONS) as socket:
            socket.on("n", lambda number: None)
            for number in range(10):
                socket.emit("burst", 3)
                socket.emit_with_ack("echo_ack", number)
    elif kind == 1:
        manager = sansio_socketio_blocking.Manager(url, **OPTIONS)
        socket = manager.socket("/")
        with manager, socket.events() as events:
            socket.emit("burst", 30)
            for _ in zip(events, range(30), strict=False):
                pass
    else:
        with sansio_socketio_blocking.open_io(url) as io:
            socket = io(**OPTIONS)
            socket.on("n", lambda number: None)
            socket.connect()
            for number in range(10):
                socket.emit_nowait("burst", 3)
                socket.emit_with_ack("echo_ack", number)


async def _program(module: Any, url: str, kind: int) -> None:
    try:
        started.set()
        await _actions(module, url, kind)
    finally:
        started.clear()


async def _actions(module: Any, url: str, kind: int) -> None:
    async def handle(number: int) -> None:
        pass

    if kind == 0:
        async with module.connect(url, **OPTIONS) as socket:
            socket.on("n", handle)
            for number in range(10):
                await socket.emit("burst", 3)
                await socket.emit_with_ack("echo_ack", number)
    elif kind == 1:
        manager = module.Manager(url, **OPTIONS)
        socket = manager.socket("/")
        async with manager, socket.events() as events:
            await socket.emit("burst", 30)
            for _ in range(30):
                await anext(events)
    else:
        async with module.open_io(url) as io:
            socket = io(**OPTIONS)
            socket.on("n", handle)
            await socket.connect()
            for number in range(10):
                socket.emit_nowait("burst", 3)
                await socket.emit_with_ack("echo_ack", number)


def _blocking(url: str, kind: int) -> None:
    started.set()
    blocking(url, kind)


PROGRAMS: dict[str, Callable[[str, int], None]] = {
    "blocking": _blocking,
    "asyncio": lambda url, kind: asyncio.run(_program(sansio_socketio_asyncio, url, kind)),
    "trio": lambda url, kind: trio.run(_program, sansio_socketio_trio, url, kind),
    "anyio-asyncio": lambda url, kind: anyio.run(_program, sansio_socketio_anyio, url, kind),
    "anyio-trio": lambda url, kind: anyio.run(_program, sansio_socketio_anyio, url, kind, backend="trio"),
}


sent: list[float] = []
"""When signals were sent in this run."""


class Records(logging.Handler):
    """Collects the log records that report an internal error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(
            f"{record.levelname} log: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}"
        )


def _resources() -> set[str]:
    found = {f"thread {thread.name}" for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(f"descriptor of a {entry.readlink().name.split(':')[0]}, {entry.name}")
    return {name for name in found if "descriptor of a fd" not in name}


def worker(driver: str, url: str, seed: int) -> None:
    """Do some runs in this process. Print the result of each in JSON."""
    random, records = Random(seed), Records()
    logging.getLogger().addHandler(records)
    unraisable: list[str] = []
    sys.unraisablehook = lambda args: unraisable.append(f"unraisable: {args.exc_value!r}")
    threading.excepthook = lambda args: unraisable.append(f"exception in a thread: {args.exc_value!r}")
    program = PROGRAMS[driver]
    durations = {}
    for kind in range(3):
        program(url, kind)
        began = time.perf_counter()
        program(url, kind)
        durations[kind] = time.perf_counter() - began
    gc.collect()
    main_thread = threading.get_ident()
    for _ in range(BATCH):
        kind = random.randrange(3)
        before = _resources()
        delay, done = random.uniform(0, durations[kind] * 1.1), threading.Event()
        interrupter = threading.Thread(target=_interrupt, args=(delay, main_thread, done))
        sent.clear()
        problems: list[str] = []
        outcome = "finished"
        try:
            try:
                interrupter.start()
                program(url, kind)
            finally:
                ended = time.perf_counter()
            # The signal is on its way: wait for it here.
            while time.perf_counter() < ended + 30:
                time.sleep(0.001)
        except KeyboardInterrupt as error:
            outcome = "KeyboardInterrupt" if type(error) is KeyboardInterrupt else repr(error)
        except BaseException as error:
            problems.append(f"raised {error!r:.100}: {''.join(traceback.format_exception(error))}")
        finally:
            done.set()
        interrupter.join()
        del interrupter
        if len(sent) > 1:
            problems.append(f"did not end within {AGAIN:g} s, but after signal {len(sent)}")
        gc.collect()
        problems += [f"left: {name}" for name in sorted(_resources() - before)]
        problems += records.messages + unraisable
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            problems.append(f"handler of SIGINT is {signal.getsignal(signal.SIGINT)}")
            signal.signal(signal.SIGINT, signal.default_int_handler)
        records.messages.clear()
        unraisable.clear()
        print(json.dumps({"outcome": outcome, "problems": problems}), flush=True)


def _interrupt(delay: float, thread: int, done: threading.Event) -> None:
    started.wait()
    if not done.wait(delay) and not started.is_set():
        done.wait(0.1)  # the event loop ends
    while not done.is_set():
        sent.append(time.perf_counter())
        signal.pthread_kill(thread, signal.SIGINT)
        done.wait(AGAIN)


def main(driver: str, runs: int, seed: int) -> int:
    """Do the runs and print a summary. Return the exit status."""
    outcomes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    done = 0
    with node_server() as server:
        while done < runs:
            command = [
                sys.executable,
                "-m",
                "tests.faults.interrupts",
                "--worker",
                driver,
                server.url,
                str(seed + done),
            ]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8")
            watchdog = threading.Timer(240, process.kill)
            watchdog.start()
            assert process.stdout is not None
            count = 0
            for line in process.stdout:
                result = json.loads(line)
                count += 1
                outcomes["runs with a problem" if result["problems"] else result["outcome"]] += 1
                for problem in result["problems"]:
                    kind = problem.partition(",")[0][:90]
                    outcomes[f"  {kind}"] += 1
                    examples.setdefault(kind, problem)
            watchdog.cancel()
            if process.wait() or count < BATCH:
                outcomes["processes that ended early or hung"] += 1
            done += max(count, 1)
            print(f"{done} runs: {dict(outcomes)}", flush=True)
    for problem in examples.values():
        print(problem[-3000:], "\n")
    print(f"{driver}: {done} runs, seed {seed}")
    for outcome, number in outcomes.items():
        print(f"{number:6} {outcome}")
    return int(any(name not in {"finished", "KeyboardInterrupt"} for name in outcomes))


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        os._exit(0)
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
