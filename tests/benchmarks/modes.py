"""The table of modes: what is measured, with which clients, and the goals.

Rules of this file:

- A mode has rows, each measured in a process of its own. Usually a row is a client. In the modes of growth it is a number of
  connections, namespaces, ... of our asyncio client.
- A goal compares a row with another row of the same mode, or with a number in the unit of the mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.benchmarks.task import Task

Unit = Literal["µs", "ms", "KiB", "calls"]
FACTORS: Mapping[Unit, float] = {"µs": 1e6, "ms": 1e3, "KiB": 1 / 1024, "calls": 1}
"""By what a value of a `Result` is multiplied."""

CLIENTS: Mapping[str, str] = {
    "asyncio": "ours_asyncio.py",
    "uvloop": "ours_uvloop.py",
    "trio": "ours_trio.py",
    "anyio": "ours_anyio.py",
    "blocking": "ours_blocking.py",
    "python-socketio": "socketio_asyncio.py",
    "python-socketio-threads": "socketio_threads.py",
    "node": "javascript.js",
    "floor": "floor.py",
    "machine": "machine.py",
    "imports": "imports.py",
}
"""The files of the clients, in the order of the tables."""

OURS = ("asyncio", "uvloop", "trio", "anyio", "blocking")
OTHERS = ("python-socketio", "python-socketio-threads", "node")
ASYNC = ("asyncio", "trio", "anyio", "python-socketio", "node", "floor")


@dataclass(frozen=True)
class Goal:
    """A row is to be at most `limit` times the row `reference`; or at most `limit` more, if `is_difference`.

    Without a reference, the limit is a number in the unit of the mode.
    """

    row: str
    limit: float
    reference: str | None = None
    is_difference: bool = False


@dataclass(frozen=True)
class Row:
    """A client with its task, and further arguments of its program."""

    client: str
    task: Task
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mode:
    """What is measured.

    Attributes:
        title: What it is.
        rows: The rows by their labels.
        unit: The unit of the values.
        goals: What is to be reached.
        rounds: The most rounds that make sense, because the values hardly vary.
        timeout: How many seconds one process may take.
    """

    title: str
    rows: Mapping[str, Row]
    unit: Unit = "µs"
    goals: Sequence[Goal] = ()
    rounds: int = 1000
    timeout: float = 60

    def scaled(self, scale: float) -> Mode:
        """Return the mode with other numbers of messages."""
        return replace(
            self, rows={label: replace(row, task=_scaled(row.task, scale)) for label, row in self.rows.items()}
        )


@dataclass(frozen=True)
class _Message:
    """What one scenario's modes have in common, over WebSocket and over polling."""

    title: str
    counts: Mapping[str, int]
    unit: Unit = "µs"
    options: Mapping[str, Any] = field(default_factory=dict)


_MESSAGES = {
    "ack": _Message("emit_with_ack, one at a time", {"websocket": 4_000, "polling": 1_000}),
    "ack-100": _Message(
        "emit_with_ack, 100 in flight", {"websocket": 20_000, "polling": 10_000}, options={"in_flight": 100}
    ),
    "receive": _Message("receive a burst of 20,000", {"websocket": 20_000, "polling": 20_000}),
    "emit": _Message("emit a burst of 20,000", {"websocket": 20_000, "polling": 20_000}),
    "echo": _Message("echo 1 MiB of binary", {"websocket": 30, "polling": 30}, "ms", {"size": 1024 * 1024}),
}

_DRIVERS = (
    Goal("trio", 1.2, "asyncio"),
    Goal("anyio", 1.4, "asyncio"),
    Goal("blocking", 0.6, "python-socketio-threads"),
)
_GOALS: Mapping[str, Sequence[Goal]] = {
    "websocket-ack": (
        Goal("asyncio", 0.80, "node"),
        Goal("asyncio", 0.55, "python-socketio"),
        Goal("asyncio", 1.35, "floor"),
        *_DRIVERS,
    ),
    "websocket-ack-100": (Goal("asyncio", 0.5, "node"), Goal("asyncio", 1.25, "floor"), *_DRIVERS),
    "websocket-receive": (Goal("asyncio", 0.65, "node"), Goal("asyncio", 0.22, "python-socketio"), *_DRIVERS),
    "websocket-emit": (Goal("asyncio", 0.4, "node"), Goal("asyncio", 0.4, "python-socketio"), *_DRIVERS),
    "websocket-echo": (Goal("asyncio", 1.2, "python-socketio"), Goal("asyncio", 0.55, "node"), *_DRIVERS),
    "polling-ack": (Goal("asyncio", 0.8, "python-socketio"), *_DRIVERS),
    "polling-receive": (Goal("asyncio", 0.45, "node"),),
    "polling-emit": (Goal("asyncio", 0.65, "node"),),
}


def _messages(name: str, message: _Message, transport: str) -> Mode:
    count = message.counts[transport]
    scenario = name.partition("-")[0].replace("echo", "ack")
    task = Task(scenario, transport=transport, count=count, warmup=max(count // 5, 1), **message.options)
    floor = ("floor",) if transport == "websocket" and name != "echo" else ()
    title = f"{'WebSocket' if transport == 'websocket' else 'polling'}: {message.title}"
    rows = {client: Row(client, task) for client in (*OURS, *OTHERS, *floor)}
    # python-socketio never receives more than 16 packets of one response, and then waits for ever.
    return Mode(title, rows, message.unit, _GOALS.get(f"{transport}-{name}", ()), timeout=30)


def _memory(count: int, clients: Sequence[str], goals: Sequence[Goal]) -> Mode:
    task = Task("connect", metric="memory", count=count, warmup=50)
    rows = {client: Row(client, task) for client in clients}
    return Mode(f"memory per idle connection, of {count:,}", rows, "KiB", goals, rounds=3, timeout=240)


def _imports() -> Mode:
    modules = {
        "asyncio": "sansio_socketio_asyncio",
        "trio": "sansio_socketio_trio",
        "anyio": "sansio_socketio_anyio",
        "blocking": "sansio_socketio_blocking",
        "python-socketio": "socketio",
        "trio itself": "trio",
        "anyio itself": "anyio",
        "the libraries": "asyncio h11 wsproto orjson",
    }
    rows = {label: Row("imports", Task("import"), tuple(names.split())) for label, names in modules.items()}
    goals = (Goal("asyncio", 80), Goal("blocking", 80), Goal("trio", 45, "trio itself", is_difference=True))
    return Mode("import, CPU time", rows, "ms", goals)


def _machine(scenario: str, title: str) -> Mode:
    return Mode(title, {"machine": Row("machine", Task(scenario, count=50_000, warmup=5_000))})


def _calls() -> Mode:
    tasks = {
        "machine, receive": ("machine", Task("receive")),
        "machine, emit": ("machine", Task("emit")),
        "one at a time": ("asyncio", Task("ack")),
        "100 in flight": ("asyncio", Task("ack", in_flight=100)),
        "receive": ("asyncio", Task("receive")),
        "emit": ("asyncio", Task("emit")),
    }
    rows = {
        label: Row(client, replace(task, metric="calls", count=2_000, warmup=1_000))
        for label, (client, task) in tasks.items()
    }
    return Mode("calls of Python functions per message, asyncio on WebSocket", rows, "calls", rounds=1)


def _growth(title: str, tasks: Mapping[str, Task], *, rounds: int = 1000, timeout: float = 60) -> Mode:
    """Return a mode in which each row is to cost about as much as the first one."""
    rows = {label: Row("asyncio", task) for label, task in tasks.items()}
    first, *more = rows
    goals = [Goal(label, 1.1, first) for label in more]
    return Mode(f"growth: {title}", rows, goals=goals, rounds=rounds, timeout=timeout)


_IN_FLIGHT = Task("ack", count=10_000, warmup=2_000, in_flight=100)
_ALONE = Task("idle", count=4_000, warmup=800)

MODES: Mapping[str, Mode] = {
    **{f"websocket-{name}": _messages(name, message, "websocket") for name, message in _MESSAGES.items()},
    **{f"polling-{name}": _messages(name, message, "polling") for name, message in _MESSAGES.items()},
    "connect": Mode(
        "connect, 1,000 connections one after the other",
        {client: Row(client, Task("connect", count=1_000, warmup=100)) for client in (*OURS, *OTHERS, "floor")},
        "ms",
        [Goal("asyncio", 0.8)],
    ),
    "memory-1000": _memory(
        1_000, (*OURS, *OTHERS, "floor"), [Goal("asyncio", 18), Goal("trio", 32), Goal("anyio", 48)]
    ),
    "memory-8000": _memory(8_000, ASYNC, [Goal("asyncio", 18), Goal("trio", 32), Goal("anyio", 48)]),
    "import": _imports(),
    "machine-receive": _machine("receive", "the state machine alone: receive events, 500 per read"),
    "machine-emit": _machine("emit", "the state machine alone: emit events"),
    "calls": _calls(),
    "growth-namespaces": _growth(
        "namespaces on one connection, 100 in flight",
        {f"{n:,}": replace(_IN_FLIGHT, scenario="namespaces", namespaces=n) for n in (1, 1_000)},
    ),
    "growth-acks": _growth(
        "acknowledgements that are pending, 100 in flight",
        {f"{n:,}": replace(_IN_FLIGHT, scenario="pending", pending=n) for n in (1, 100_000)},
    ),
    "growth-connections": _growth(
        "connections in a process, one at a time",
        {
            "1": _ALONE,
            "8,000, one of them used": replace(_ALONE, connections=8_000),
            "8,000, each in turn": replace(_ALONE, scenario="in_turn", connections=8_000, count=8_000, warmup=8_000),
        },
        rounds=3,
        timeout=240,
    ),
    "growth-offline": _growth(
        "events that were buffered while offline",
        {f"{n:,}": Task("offline", count=n, warmup=1_000) for n in (10_000, 100_000)},
    ),
}
"""The modes by the names that `make bench MODES=...` takes."""


def _scaled(task: Task, scale: float) -> Task:
    """Return a task with other numbers of messages, which its scenario can divide."""
    unit = task.in_flight if task.scenario != "receive" else 500
    count, warmup = (max(round(number * scale / unit), 1) * unit for number in (task.count, task.warmup))
    return replace(task, count=count, warmup=warmup)
