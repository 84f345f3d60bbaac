"""Runs the clients: each measurement in a process of its own, against one server for all.

Rules of this file:

- The clients of a mode take turns, in every round from another one on, so that other load on the machine affects all.
- The environment of the processes is pinned. They import the installed package, since the checkout comes last on their path.
- A client that fails or takes too long is reported and left out from then on. It never ends the run.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.benchmarks.modes import CLIENTS, Mode, Row
from tests.benchmarks.task import Result

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE_MODULES = ROOT / "tests" / "peers" / "node_modules"

_START = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
_KEPT = ("HOME", "PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR")
ENVIRONMENT = {
    **{name: os.environ[name] for name in _KEPT if name in os.environ},
    "LC_ALL": "C.UTF-8",
    "NODE_PATH": str(NODE_MODULES),
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
}
"""All of it: no MALLOC_* setting, no NODE_OPTIONS and no proxy of the caller affects a client."""


@dataclass
class Outcome:
    """The results of one row, one for each round; and why it has no more."""

    results: list[Result] = field(default_factory=list)
    error: str | None = None


Outcomes = dict[str, Outcome]
"""By the labels of the rows."""


@dataclass(frozen=True)
class Server:
    """The server's process and its URL."""

    process: subprocess.Popen[str]
    url: str


@contextmanager
def node_server() -> Generator[Server]:
    """Start the server. It ends with the block."""
    server = subprocess.Popen(
        ["node", HERE / "server.js"], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        if not port:
            raise RuntimeError("the server did not start; `npm ci` in tests/peers installs its packages")
        yield Server(server, f"http://127.0.0.1:{port}")
    finally:
        with server:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def measure(mode: Mode, rounds: int, server: Server, progress: Callable[[str], None]) -> Outcomes:
    """Run the rows of a mode in turn, as often as asked. Report each process before it starts."""
    outcomes = {label: Outcome() for label in mode.rows}
    labels = list(mode.rows)
    for number in range(min(rounds, mode.rounds)):
        shift = number % len(labels)
        for label in labels[shift:] + labels[:shift]:
            outcome = outcomes[label]
            if outcome.error is None:
                progress(f"{mode.title}: round {number + 1}, {label}")
                result = run_client(mode.rows[label], server.url, mode.timeout)
                if server.process.poll() is not None:
                    raise RuntimeError(f"the server ended during {mode.title!r} of {label}")
                if isinstance(result, str):
                    outcome.error = result
                else:
                    outcome.results.append(result)
    return outcomes


def run_client(row: Row, url: str, timeout: float) -> Result | str:
    """Run one client. Return its result, or what went wrong."""
    task = json.dumps(asdict(replace(row.task, url=url)))
    try:
        done = subprocess.run(
            [*_command(row.client), task, *row.arguments],
            env=ENVIRONMENT,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no result within {timeout:g} s"
    if done.returncode:
        errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", done.stderr, re.MULTILINE)
        return str(errors[-1]) if errors else f"exit status {done.returncode}"
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def raise_file_limit() -> int:
    """Allow the server and the clients as many open files as the system permits. Return the limit."""
    import resource  # noqa: PLC0415  # not on Windows

    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


def versions() -> Mapping[str, str]:
    """Return what the results depend on: the machine, and the versions of everything that runs."""
    script = (
        "import json, platform; from importlib.metadata import distributions; "
        "print(json.dumps([platform.python_version(), {d.name: d.version for d in distributions()}]))"
    )
    python, installed = json.loads(_output(sys.executable, "-c", script))
    packages = {name: installed[name] for name in _PACKAGES if name in installed}
    node = {
        name: json.loads((NODE_MODULES / name / "package.json").read_text("utf-8"))["version"]
        for name in _NODE_PACKAGES
    }
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "open files": str(raise_file_limit()),
        "system": f"{platform.system()} {platform.release()}",
        "Python": python,
        **packages,
        "Node": _output("node", "--version").strip().removeprefix("v"),
        **{f"{name} (Node)": version for name, version in node.items()},
    }


_PACKAGES = (
    *("sansio-socketio", "h11", "wsproto", "orjson", "trio", "anyio", "uvloop"),
    *("python-socketio", "python-engineio", "aiohttp", "requests", "websocket-client"),
)
_NODE_PACKAGES = ("socket.io", "socket.io-client", "engine.io-client", "ws")


def _command(client: str) -> list[str]:
    file = CLIENTS[client]
    path = str(HERE / "clients" / file)
    if file.endswith(".js"):
        return ["node", "--expose-gc", path]
    if client == "imports":
        return [sys.executable, path]
    return [sys.executable, "-c", _START, str(ROOT), f"tests.benchmarks.clients.{file.removesuffix('.py')}"]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=30, check=True
    ).stdout
