"""What a user gets who installs the wheel: the files, the public names, their types, and a program that runs.

The source tree is not on the path of any command here. Type checkers treat an installed package more strictly than sources:
it needs its py.typed, and a name counts as exported only if the package says so statically.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.packaging.conftest import ROOT, Environment
from tests.support.peers import PEERS

PACKAGES: Final = [
    "sansio_socketio",
    "sansio_socketio_asyncio",
    "sansio_socketio_trio",
    "sansio_socketio_anyio",
    "sansio_socketio_blocking",
]
NAMES: Final = """
import importlib, json, pkgutil, sys

def modules(package):
    yield package.__name__
    for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        yield each.name

packages = [importlib.import_module(name) for name in sys.argv[1:]]
found = [importlib.import_module(name) for package in packages for name in modules(package)]
print(json.dumps({
    "public": {module.__name__: sorted(module.__all__) for module in found if hasattr(module, "__all__")},
    "files": sorted({module.__file__ for module in found}),
}))
"""
"""Prints the public names of each module that has `__all__`, and where the modules were found."""

TYPED_USE: Final = """
from collections.abc import Callable
from typing import Any, assert_type

import sansio_socketio
import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_blocking
import sansio_socketio_trio
from sansio_socketio import ConnectError, IOOptions, ManagerOptions, Options, SocketOptions

URL = "http://localhost:3000"


async def of_asyncio() -> None:
    async with sansio_socketio_asyncio.connect(URL, auth={"token": "t"}, retries=3, retry=True) as socket:
        assert_type(socket, sansio_socketio_asyncio.Socket)
        assert_type(await socket.emit_with_ack("event", b"bytes"), Any)
    async with sansio_socketio_asyncio.open_io(URL) as io:
        assert_type(io, sansio_socketio_asyncio.IO)
        assert_type(io("/chat"), sansio_socketio_asyncio.Socket)
    sansio_socketio_asyncio.connect(5)  # type: ignore[arg-type]
    sansio_socketio_asyncio.connect(URL, retires=3)  # type: ignore[call-arg]
    sansio_socketio_asyncio.open_io(5)  # type: ignore[arg-type]


async def of_trio() -> None:
    async with sansio_socketio_trio.connect(URL, timeout=5) as socket:
        assert_type(socket, sansio_socketio_trio.Socket)
    async with sansio_socketio_trio.open_io() as io:
        assert_type(io(URL), sansio_socketio_trio.Socket)
    async with sansio_socketio_trio.Manager(URL) as manager:
        assert_type(manager, sansio_socketio_trio.Manager)
    sansio_socketio_trio.connect(URL, retires=3)  # type: ignore[call-arg]


async def of_anyio() -> None:
    async with sansio_socketio_anyio.connect(URL, timeout=5) as socket:
        assert_type(socket, sansio_socketio_anyio.Socket)
    async with sansio_socketio_anyio.open_io() as io:
        assert_type(io(URL), sansio_socketio_anyio.Socket)
    async with sansio_socketio_anyio.Manager(URL) as manager:
        assert_type(manager, sansio_socketio_anyio.Manager)
    sansio_socketio_anyio.connect(URL, retires=3)  # type: ignore[call-arg]


def of_threads() -> None:
    with sansio_socketio_blocking.connect(URL, timeout=5) as socket:
        assert_type(socket, sansio_socketio_blocking.Socket)
        assert_type(socket.emit_with_ack("event", timeout=5), Any)
    with sansio_socketio_blocking.open_io(URL) as io:
        assert_type(io("/chat"), sansio_socketio_blocking.Socket)
    with sansio_socketio_blocking.Manager(URL) as manager:
        assert_type(manager, sansio_socketio_blocking.Manager)
    sansio_socketio_blocking.connect(URL, retires=3)  # type: ignore[call-arg]


def the_same_class_in_every_package(error: ConnectError) -> None:
    assert_type(error.message, str)
    for_asyncio: sansio_socketio_asyncio.ConnectError = error
    for_threads: sansio_socketio_blocking.ConnectError = for_asyncio
    assert_type(for_threads, ConnectError)
    assert_type(sansio_socketio.__version__, str)
    sansio_socketio.no_such_name  # type: ignore[attr-defined]


def options(event: sansio_socketio.Event, answer: Callable[..., None]) -> None:
    of_socket: SocketOptions = {"auth": {"token": "t"}, "retries": 3}
    of_manager: ManagerOptions = {"timeout": 5, "reconnection": False}
    of_io: IOOptions = {"timeout": 5, "force_new": True}
    of_connect: Options = {**of_socket, **of_manager}
    sansio_socketio_asyncio.connect(URL, **of_connect)
    sansio_socketio_trio.Manager(URL, **of_manager).socket("/chat", **of_socket)
    print(of_io, event.name)
"""
"""What a type checker must know of the installed packages. An ignored error that is none is an error itself."""

PROGRAM: Final = """
import importlib, sys
from importlib.metadata import version

import sansio_socketio

assert sansio_socketio.__version__ == version("sansio-socketio"), sansio_socketio.__version__
for name in sys.argv[1:]:
    driver = importlib.import_module(name)
    try:
        driver.connect("http://localhost:3000", retires=3)
    except sansio_socketio.OptionError as error:
        print(f"{name}: {error}")
    print(repr(driver.Manager("http://localhost:3000/")))
"""


@pytest.fixture(scope="module")
def public(installed: Environment) -> dict[str, list[str]]:
    """The public names of every module that has `__all__`, as the installed wheel has them."""
    found = json.loads(installed.output_of(installed.python, "-I", "-c", NAMES, *PACKAGES))
    strays = [file for file in found["files"] if not Path(file).is_relative_to(installed.site_packages)]
    assert not strays, "the modules must be those of the wheel"
    public: dict[str, list[str]] = found["public"]
    return public


@pytest.fixture(scope="module")
def sample(public: dict[str, list[str]], installed: Environment) -> Path:
    """A module that imports every public name, and uses some of them."""
    lines = [
        f"from {module} import {name} as imported_{number}_{name}"
        for number, (module, names) in enumerate(public.items())
        for name in names
    ]
    file = installed.folder / "sample.py"
    file.write_text("\n".join([*lines, TYPED_USE]), "utf-8")
    return file


def test_the_wheel_has_every_package_with_its_types_and_nothing_else(installed: Environment) -> None:
    metadata = {path.name for path in installed.site_packages.glob("*.dist-info")}
    others = {path.name for path in installed.site_packages.iterdir()} - metadata - {"dependencies.pth", "__pycache__"}

    assert others == set(PACKAGES)
    for package in PACKAGES:
        assert (installed.site_packages / package / "py.typed").is_file()


def test_the_sdist_has_what_the_tests_need(sdist: Path) -> None:
    wanted = {
        path.relative_to(ROOT)
        for folder in ["sansio_socketio", "drivers", "tests", "docs", "fuzz", "scripts"]
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"node_modules", "__pycache__", "_build", "work"} & {*path.relative_to(ROOT).parts}
    }
    wanted |= {Path(name) for name in [".pre-commit-config.yaml", "Makefile", "pyproject.toml", "LICENSE"]}
    wanted |= {path.relative_to(ROOT) for path in ROOT.glob("*.md")}
    there = {path.relative_to(sdist) for path in sdist.rglob("*") if path.is_file()}

    assert not wanted - there
    assert not any("node_modules" in path.parts for path in there)


def test_every_package_has_public_names(public: dict[str, list[str]]) -> None:
    assert public.keys() >= set(PACKAGES)


def test_mypy_accepts_the_documented_imports(sample: Path, installed: Environment) -> None:
    settings = ["--strict", "--config-file=", f"--cache-dir={installed.folder / 'cache'}"]

    checked = installed.run(sys.executable, "-m", "mypy", *settings, "--python-executable", installed.python, sample)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_pyright_accepts_the_documented_imports(sample: Path, installed: Environment) -> None:
    settings = {
        "include": [sample.name],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": True,
        "reportUnusedImport": False,
        "reportUnusedExpression": False,
        "reportUnusedCallResult": False,
    }
    (installed.folder / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")

    checked = installed.run(*pyright(), "--pythonpath", installed.python, "--project", installed.folder)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_program_runs_with_the_wheel(installed: Environment) -> None:
    drivers = PACKAGES[1:]

    printed = installed.output_of(installed.python, "-I", "-W", "error", "-c", PROGRAM, *drivers).splitlines()

    assert len(printed) == 2 * len(drivers)
    for driver, error, shown in zip(drivers, printed[::2], printed[1::2], strict=True):
        assert error.startswith(f"{driver}: ")
        assert "retires" in error
        assert "http://localhost:3000" in shown


def pyright() -> list[str | Path]:
    node = shutil.which("node")
    assert node is not None
    return [node, PEERS / "node_modules" / "pyright" / "index.js"]
