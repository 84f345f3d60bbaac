"""The reference has everything that the drivers export, with all public members."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from sansio_socketio.server import RemoteClient, Server
from tests.support.drivers import DRIVERS, Driver

REFERENCE: Final = Path(__file__).parent.parent.parent / "docs" / "reference"
ENTRY: Final = re.compile(
    r"^\.\. (?P<kind>currentmodule|auto\w+):: (?P<name>[\w.]+)\n(?P<options>(?:   :.*\n)*)", re.MULTILINE
)
NOT_FOR_USERS: Final = {"can_be_held", "counterpart", "make_lock", "runtime_scope", "shield"}
"""Public members for authors of drivers."""


def entries(page: str) -> dict[str, str]:
    """Return the qualified names that a page documents, each with its options."""
    found: dict[str, str] = {}
    module = ""
    for entry in ENTRY.finditer((REFERENCE / page).read_text("utf-8")):
        name = entry["name"]
        if entry["kind"] == "currentmodule":
            module = name
        else:
            found[name if name.startswith("sansio_socketio") else f"{module}.{name}"] = entry["options"]
    return found


def page_of(driver: Driver) -> str:
    return "blocking.md" if driver.name == "blocking" else "drivers.md"


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_every_export_of_a_driver_has_an_entry(driver: Driver) -> None:
    shown = {*entries("drivers.md"), *entries("errors.md"), *entries("server.md"), *entries(page_of(driver))}
    names = {name.rpartition(".")[2] for name in shown}
    whole_modules = {name for name in shown if name.startswith("sansio_socketio.protocol.errors")}
    missing = [
        name
        for name in driver.module.__all__
        if name not in names and getattr(driver.module, name).__module__ not in whole_modules
    ]

    assert not missing


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize("name", ["Manager", "Engine", "Socket"])
def test_the_entry_of_a_class_has_all_public_members(name: str, driver: Driver) -> None:
    kind: Any = getattr(driver.module, name)
    options = next(each for entry, each in entries(page_of(driver)).items() if entry.endswith(f".{name}"))
    members = re.search(r":members: (.*)", options)

    assert members is not None
    public = {member for member in dir(kind) if not member.startswith("_")} - NOT_FOR_USERS
    assert set(members[1].split(", ")) == public


@pytest.mark.parametrize("kind", [Server, RemoteClient])
def test_the_entry_of_a_class_of_servers_has_all_public_members(kind: type) -> None:
    members = re.search(r":members: (.*)", entries("server.md")[f"sansio_socketio.server.{kind.__name__}"])

    assert members is not None
    assert set(members[1].split(", ")) == {member for member in dir(kind) if not member.startswith("_")}
