"""The real servers, as processes of the test run: started, controlled, killed, restarted, and stopped at its end.

Rules of this file:

- A `Peer` is a context manager. Its process ends when its stdin is closed, even if the test run is killed.
- Every wait is bounded, and errors show what the process has written to stderr.
- `Peer.running` is what a failing test shows the output of (see tests/conftest.py).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import IO, Any, ClassVar, Self

import pytest

PEERS = Path(__file__).parent.parent / "peers"
PATIENCE = 20.0
"""How many seconds a peer may take for anything; far more than it needs on a busy machine."""


class PeerError(Exception):
    """A peer did not start, did not answer, or has ended."""


@dataclass(frozen=True)
class TLSFiles:
    """A certificate, its key, and the authority of client certificates, by their names in a peer's configuration."""

    cert: str
    key: str
    ca: str | None = None


class Peer:
    """A server in its own process, which listens at `url` while the context is open.

    Args:
        command: What to run. The configuration is appended as an argument in JSON.
        host: Where to listen.
        tls: Makes it an https server.
        config: See tests/peers/server.js.
    """

    running: ClassVar[list[Peer]] = []

    def __init__(
        self, command: list[str], *, host: str = "127.0.0.1", tls: TLSFiles | None = None, **config: Any
    ) -> None:
        self._command = command
        self._config: dict[str, Any] = {"port": 0, **config, "host": host}
        if tls is not None:
            self._config["tls"] = {name: file for name, file in asdict(tls).items() if file is not None}
        self.scheme = "http" if tls is None else "https"
        self.host = f"[{host}]" if ":" in host else host
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        self._log: list[str] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def output(self) -> str:
        """What the process has written to stderr since `clear_output`, over all its restarts."""
        return "".join(self._log)

    def wait_for_output(self, text: str) -> None:
        """Wait until the process has written a text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            if time.monotonic() > deadline:
                raise PeerError(f"the peer did not write {text!r} in {PATIENCE:g} s; it wrote:\n{self.output}")
            time.sleep(0.01)

    def clear_output(self) -> None:
        """Forget what the process has written so far."""
        self._log.clear()

    def start(self) -> None:
        """Start the process and wait until it listens, always on the port of the first start."""
        self._answers = SimpleQueue()
        process = subprocess.Popen(
            [*self._command, json.dumps(self._config)],
            cwd=PEERS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._readers = [
            threading.Thread(target=_forward_lines, args=(lines, put), name="peer's output", daemon=True)
            for lines, put in ((process.stdout, self._answers.put), (process.stderr, self._keep))
        ]
        for reader in self._readers:
            reader.start()
        Peer.running.append(self)
        self.port = self._config["port"] = self._next_answer("start")["port"]

    def control(self, cmd: str, **args: Any) -> Any:
        """Send the server one of its COMMANDS and return the answer."""
        process = self._alive()
        assert process.stdin is not None
        process.stdin.write(json.dumps({"cmd": cmd, **args}) + "\n")
        process.stdin.flush()
        return self._next_answer(cmd)

    def stop(self) -> None:
        """End it by closing its stdin. Does nothing if it has ended."""
        self._end(kill=False)

    def kill(self) -> None:
        """Kill it, so that it cannot close its connections in an orderly way."""
        self._end(kill=True)

    def restart(self) -> None:
        """Kill it, and start it again on the same port."""
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Generator[None, None, None]:
        """Suspend it, as an overloaded machine does. Its connections stay open."""
        if os.name == "nt":
            pytest.skip("Windows has no signal that suspends a process")
        process = self._alive()
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        Peer.running.remove(self)
        with process:  # closes stdin, and with it the process
            if kill:
                process.kill()
            else:
                assert process.stdin is not None
                process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for reader in self._readers:
                reader.join()

    def _alive(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise PeerError(f"the peer {self._command} is not running")
        return self._process

    def _next_answer(self, question: str) -> Any:
        try:
            line = self._answers.get(timeout=PATIENCE)
        except Empty:
            raise PeerError(
                f"the peer did not answer {question!r} in {PATIENCE:g} s; it wrote:\n{self.output}"
            ) from None
        if line is None:
            raise PeerError(f"the peer ended during {question!r}; it wrote:\n{self.output}")
        return json.loads(line)

    def _keep(self, line: str | None) -> None:
        if line is not None:
            self._log.append(line)


def node_server(**config: Any) -> Peer:
    """The JavaScript server: `socket.io` for Node, with the behaviours of tests/peers/server.js."""
    return Peer([*node(), str(PEERS / "server.js")], **config)


def python_server(**config: Any) -> Peer:
    """The server of python-socketio, with the behaviours of tests/peers/python_server.py."""
    return Peer([sys.executable, "-W", "ignore", str(PEERS / "python_server.py")], **config)


def proxy(**config: Any) -> Peer:
    """An HTTP proxy, with the behaviours of tests/peers/proxy.js."""
    return Peer([*node(), str(PEERS / "proxy.js")], **config)


def run_node(script: str, *args: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a few lines of JavaScript with the npm packages of the tests, and return what they print."""
    done = subprocess.run(
        [*node(), "-e", script, *args],
        cwd=PEERS,
        env=None if environment is None else dict(environment),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise PeerError(f"node ended with {done.returncode}; it wrote:\n{done.stderr}")
    return done.stdout


def node() -> list[str]:
    """Return the command that runs Node. Raises PeerError if there is none."""
    node = shutil.which("node")
    if node is None:
        raise PeerError("the tests need Node.js 20 or later: `node` is not on the PATH")
    if not (PEERS / "node_modules" / "socket.io").is_dir():
        raise PeerError("the npm peers are not installed: `make test` installs them, or `npm ci` in tests/peers")
    return [node]


def _forward_lines(lines: IO[str], put: Any) -> None:
    for line in lines:
        put(line)
    put(None)
