"""The public names: the same in every driver, and those that no driver is needed for in `sansio_socketio`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Final

import pytest

import sansio_socketio
from docs.examples import sansio_socketio_streams
from sansio_socketio import names
from sansio_socketio.client import options
from tests.support.drivers import DRIVERS

MODULES: Final = {driver.module.__name__: driver.module for driver in DRIVERS} | {"streams": sansio_socketio_streams}
OF_A_RUNTIME: Final = {"IO", "Emitter", "Engine", "EventStream", "Manager", "Socket", "connect", "open_io", "protocol"}
SERVING: Final = {"sansio_socketio_asyncio", "sansio_socketio_trio"}
OPTIONS: Final = {"IOOptions", "ManagerOptions", "Options", "SocketOptions"}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_every_driver_exports_the_same_names(module: Any) -> None:
    serves = module.__name__ in SERVING
    assert [name for name in module.__all__ if name != "serve"] == [
        name for name in DRIVERS[0].module.__all__ if name != "serve"
    ]
    assert ("serve" in module.__all__) is serves
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_names_that_depend_on_no_runtime_are_those_of_the_package(module: Any) -> None:
    shared = {*sansio_socketio.__all__} - OPTIONS - {"__version__"}

    assert {*module.__all__} - OF_A_RUNTIME - {"serve"} == shared
    assert all(getattr(module, name) is getattr(sansio_socketio, name) for name in shared)


def test_what_type_checkers_see_is_what_is_imported_at_run_time() -> None:
    assert {*sansio_socketio.__all__} == {*names.__all__} | OPTIONS | {"__version__"}
    assert all(getattr(sansio_socketio, name) is getattr(names, name) for name in names.__all__)
    assert all(getattr(sansio_socketio, name) is getattr(options, name) for name in OPTIONS)


def test_the_package_lists_its_names() -> None:
    assert {*dir(sansio_socketio)} >= {*sansio_socketio.__all__}


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sansio_socketio' has no attribute 'no_such_name'"):
        getattr(sansio_socketio, "no_such_name")  # noqa: B009  # type checkers know that it does not exist


def test_importing_the_package_imports_none_of_its_modules() -> None:
    program = (
        "import sys, sansio_socketio; print(*[name for name in sys.modules if name.startswith('sansio_socketio')])"
    )

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True).stdout

    assert loaded.split() == ["sansio_socketio"]


def test_the_state_machine_is_imported_without_the_client() -> None:
    program = (
        "import sys, sansio_socketio.protocol; print(*[name for name in sys.modules if name in {'asyncio', 'ssl'} "
        "or name.startswith('sansio_socketio.client')])"
    )

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True).stdout

    assert not loaded.split()


@pytest.mark.parametrize("module", sorted(SERVING))
def test_importing_a_driver_does_not_import_the_server(module: str) -> None:
    program = f"import sys, {module}; print([name for name in sys.modules if '.server' in name])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8")
    assert result.stdout.strip() == "[]"
