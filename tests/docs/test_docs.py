"""The code in README.md and docs/ runs against a real server, and prints what the page shows.

Rules of this file:

- A fence of ```python is a whole program; a fence of ```python continued continues it.
- A fence of ```python socket is the body of `async with connect("http://localhost:3000") as socket:`, a fence of
  ```python scope the body of an `async def`. They run with each async driver, with its names.
- A fence of ```python server is a server, which runs until it is stopped. The programs of the README and of the quick starts
  run with it.
- A fence of ```js is a whole program for Node, with the JavaScript client installed.
- A fence of ```text after one of these is what it prints. A fence without one prints nothing.
- http://localhost:3000 is replaced with the address of tests/peers/server.js. A page that needs a server with other
  settings has a comment: <!-- server: {"options": {…}} -->.
- Other words after ```python are errors, and so are other languages than those of NOT_RUN.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import sys
import textwrap
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from textwrap import indent
from typing import Any, Final

import pytest

from tests.conftest import PeerFactory
from tests.support.drivers import DRIVERS, Driver
from tests.support.peers import Peer, run_node

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST_PAGES = [ROOT / "README.md", *(ROOT / "docs" / "quickstart").glob("*.md")]
EXAMPLES = ROOT / "docs" / "examples"
PLACEHOLDER = "http://localhost:3000"
NOT_RUN: Final = {"sh", "text"}
WHOLE: Final = ""
CONTINUED: Final = "continued"
SERVER: Final = "server"
NODE: Final = "js"
HEADS: Final = {
    "scope": "async def main():\n",
    "socket": f"async def main():\n  async with connect('{PLACEHOLDER}') as socket:\n",
}
ASYNC_DRIVERS = [driver for driver in DRIVERS if driver.name != "blocking"]
CONFIGURATION: Final = re.compile(r"^<!-- server: (?P<config>.*) -->$", re.MULTILINE)
FENCE: Final = re.compile(r"^(?P<mark>`{3,})(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=mark)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Fence:
    """Code on a page, and what it prints."""

    page: Path
    line: int
    kind: str
    code: str
    output: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def run(self, url: str, names: dict[str, Any]) -> None:
        """Execute it. A traceback shows the page and the line."""
        head = HEADS.get(self.kind, "")
        body = indent(self.code, "    ") if head else self.code
        skipped = "\n" * (self.line - head.count("\n"))
        source = (skipped + head + body).replace(PLACEHOLDER, url)
        exec(compile(source, self.page, "exec", dont_inherit=True), names)


def fences(page: Path) -> Iterator[Fence]:
    """Yield the fences of a page that are run. Raise AssertionError for an invalid fence."""
    text = page.read_text("utf-8")
    found = list(FENCE.finditer(text))
    marks = len(re.findall(r"^\s*```", text, re.MULTILINE))
    assert marks == 2 * len(found), f"{page}: a fence is not closed, or is not at the start of a line"
    followers: list[re.Match[str] | None] = [*found[1:], None]
    for fence, after in zip(found, followers, strict=False):
        language, _, kind = fence["info"].partition(" ")
        if language in ("python", NODE):
            line = text.count("\n", 0, fence.start()) + 1
            kinds = {WHOLE, CONTINUED, SERVER, *HEADS} if language == "python" else {WHOLE}
            assert kind in kinds, f"{page}:{line}: unknown word {kind!r} after ```python"
            between = text[fence.end() : after.start()].strip() if after is not None else ""
            has_output = after is not None and after["info"] == "text" and not between
            output = after["code"] if after is not None and has_output else ""
            yield Fence(page, line, kind if language == "python" else NODE, fence["code"], output)
        else:
            assert language in NOT_RUN or language.startswith("{"), f"{page}: unknown language {language!r}"


def programs(all_fences: list[Fence]) -> list[list[Fence]]:
    """Return the programs, each with its continuations."""
    found: list[list[Fence]] = []
    for fence in all_fences:
        if fence.kind == WHOLE:
            found.append([fence])
        elif fence.kind == CONTINUED:
            assert found, fence
            assert found[-1][0].page == fence.page, fence
            found[-1].append(fence)
    return found


FENCES = [fence for page in PAGES for fence in fences(page)]
PROGRAMS = programs(FENCES)
FRAGMENTS = [fence for fence in FENCES if fence.kind in HEADS]
SERVERS = [fence for fence in FENCES if fence.kind == SERVER]
FIRST_PROGRAMS = [program for program in PROGRAMS if program[0].page in FIRST_PAGES]
NODE_PROGRAMS = [fence for fence in FENCES if fence.kind == NODE]


@pytest.fixture
def server(request: pytest.FixtureRequest, node_server: Peer, fresh_node_server: PeerFactory) -> Peer:
    """The server with the settings of the page, or the shared one if the page has none."""
    fence = request.getfixturevalue("fence" if "fence" in request.fixturenames else "program")
    page = (fence if isinstance(fence, Fence) else fence[0]).page
    settings = CONFIGURATION.search(page.read_text("utf-8"))
    return node_server if settings is None else fresh_node_server(**json.loads(settings["config"]))


@contextmanager
def settings_as_at_start() -> Generator[None]:
    """Give a program the default configuration of logging. Undo its changes of that and of signal handlers afterwards."""
    root = logging.getLogger()
    ours = [logging.getLogger(f"sansio_socketio{name}") for name in ("", ".client.socket")]
    handlers, levels = root.handlers, [each.level for each in ours]
    root.handlers = []
    sigterm = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, sigterm)
        root.handlers = handlers
        for each, level in zip(ours, levels, strict=True):
            each.setLevel(level)


def assert_prints(fence: Fence, output: str) -> None:
    """Compare what a fence printed with what the page shows.

    An awaited acknowledgement may return before an earlier event is handled (docs/behaviour.md), so the order of lines does
    not count where a handler prints the server's welcome, and the block prints an acknowledgement.
    """
    if '"welcome"' in fence.code and re.search(r"print\(.*emit_with_ack", fence.code):
        assert sorted(output.splitlines()) == sorted(fence.output.splitlines()), fence
    else:
        assert output == fence.output, fence


@pytest.mark.timeout(30)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program[0]))
def test_programs_run(
    program: list[Fence], server: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    names: dict[str, Any] = {"__name__": "__main__"}

    for fence in program:
        with settings_as_at_start():
            fence.run(server.url, names)

        assert_prints(fence, capsys.readouterr().out)


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def example_server(request: pytest.FixtureRequest) -> Generator[str]:
    """A server of the documentation on a free port. Yields its URL."""
    with socket.create_server(("localhost", 0)) as sock:
        port = sock.getsockname()[1]
    code = request.param.code.replace("3000", str(port))
    with Popen([sys.executable, "-u", "-c", code], stdout=PIPE, stderr=STDOUT, encoding="utf-8") as process:
        assert process.stdout is not None
        try:
            assert "Running" in process.stdout.readline()
            yield f"http://localhost:{port}"
        finally:
            process.kill()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("program", FIRST_PROGRAMS, ids=lambda program: str(program[0]))
def test_the_first_programs_run_with_the_server_of_the_documentation(
    program: list[Fence], example_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}

    for fence in program:
        fence.run(example_server, names)

        assert_prints(fence, capsys.readouterr().out)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("driver", ASYNC_DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize("fence", FRAGMENTS, ids=str)
def test_fragments_run_with_every_async_driver(
    fence: Fence, driver: Driver, server: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    names = dict(vars(driver.module))
    fence.run(server.url, names)

    driver.run(names["main"])

    assert_prints(fence, capsys.readouterr().out)


@pytest.mark.parametrize("fence", NODE_PROGRAMS, ids=str)
def test_programs_for_node_run(fence: Fence, server: Peer) -> None:
    assert run_node(fence.code.replace(PLACEHOLDER, server.url)) == fence.output


def test_the_pages_have_code() -> None:
    pages = {fence.page.name for fence in FENCES}

    assert {"README.md", "asyncio.md", "trio.md", "anyio.md", "blocking.md", "machine.md", "behaviour.md"} <= pages


def test_the_example_of_event_types_is_type_checked() -> None:
    (block,) = [fence for fence in fences(ROOT / "docs" / "behaviour.md") if "EventType[" in fence.code]
    checked = (ROOT / "tests" / "typing" / "documented_event_types.py").read_text("utf-8")
    body = textwrap.dedent(checked.partition("async def main() -> None:\n")[2])
    assert [line for line in body.splitlines() if line] == [line for line in block.code.splitlines() if line]
