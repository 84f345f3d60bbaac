"""The blocking API is generated from the async one: the file is not stale, and nothing is missing in it."""

from __future__ import annotations

import inspect
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from sansio_socketio import client
from sansio_socketio.client import blocking

ROOT: Final = Path(__file__).parents[4]
SCRIPT: Final = ROOT / "scripts" / "generate_blocking.py"
GENERATOR: Final = runpy.run_path(str(SCRIPT))
CLASSES: Final = sorted(GENERATOR["CLASSES"])
ABSENT: Final = {("Manager", "run")}
"""Methods without a counterpart for threads: there is no task or nursery in which a Manager could run."""


def methods(cls: type) -> dict[str, Any]:
    return {name: member for name, member in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def is_async(function: Any) -> bool:
    """Return whether a method is async, also if it is decorated by `must_be_awaited`."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def async_methods() -> list[tuple[str, str]]:
    return [
        (name, method)
        for name in CLASSES
        for method, function in methods(getattr(client, name)).items()
        if is_async(function) and (name, method) not in ABSENT
    ]


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def test_the_generated_module_is_not_stale() -> None:
    result = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False, timeout=100, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr


def test_a_stale_module_is_reported(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / SCRIPT.name
    script.parent.mkdir()
    script.write_text(SCRIPT.read_text())
    for path in (ROOT / "sansio_socketio" / "client").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    engine = tmp_path / "sansio_socketio" / "client" / "engine.py"
    engine.write_text(engine.read_text().replace("async def close(self)", "async def close(self, hard: bool = False)"))
    result = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path
    )
    assert result.returncode == 1
    assert "api.py is stale: run python scripts/generate_blocking.py" in result.stderr


@pytest.mark.parametrize(("name", "method"), async_methods())
def test_an_async_method_has_a_blocking_counterpart_with_a_timeout(name: str, method: str) -> None:
    function = getattr(getattr(client, name), method)
    counterpart = getattr(getattr(blocking, name), method)
    assert not is_async(counterpart)
    expected = parameters(function)
    if (name, function.__name__) not in GENERATOR["NO_TIMEOUT"]:
        (timeout,) = [each for each in parameters(counterpart) if each[0] == "timeout"]
        assert timeout[2] is None
        expected = [*expected, timeout]
    assert sorted(parameters(counterpart), key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("name", CLASSES)
def test_other_methods_have_the_same_signature(name: str) -> None:
    own = {"events"}  # it has a timeout for each event
    for method, function in methods(getattr(client, name)).items():
        if not is_async(function) and method not in own:
            assert parameters(getattr(getattr(blocking, name), method)) == parameters(function), method


@pytest.mark.parametrize("name", CLASSES)
def test_the_docstrings_do_not_speak_of_async_code(name: str) -> None:
    cls = getattr(blocking, name)
    for member in [cls, *methods(cls).values()]:
        if member.__module__ == blocking.Socket.__module__:
            text = inspect.getdoc(member) or ""
            assert not [word for word in ("await", "cancelled", "nursery", "asyncio") if word in text], member


def test_methods_with_an_await_document_their_timeout() -> None:
    undocumented = [
        (name, method)
        for name, method in async_methods()
        if "timeout" in inspect.signature(getattr(getattr(blocking, name), method)).parameters
        and "timeout:" not in (inspect.getdoc(getattr(getattr(blocking, name), method)) or "")
    ]
    assert undocumented == [("Emitter", "send"), ("Socket", "send")]  # it is documented as another call of emit
