"""The generated pages match the sources from which they are generated."""

from __future__ import annotations

from dataclasses import fields
from math import inf
from pathlib import Path
from types import ModuleType

import pytest

from docs import generate_options, generate_states
from sansio_socketio.client.options import IOOptions, LocalOptions
from sansio_socketio.protocol.options import ClientOptions, NamespaceOptions
from sansio_socketio.protocol.server import ServerOptions
from sansio_socketio.server.options import LocalServerOptions, ServeOptions

GENERATORS = pytest.mark.parametrize("generator", [generate_options, generate_states], ids=lambda each: each.__name__)


@GENERATORS
def test_the_page_is_up_to_date(generator: ModuleType) -> None:
    generator.main(["--check"])


@GENERATORS
def test_a_stale_page_fails_the_check(generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = generator.PAGE.read_text("utf-8").replace("| `", "| Stale `", 1)
    page = tmp_path / generator.PAGE.name
    page.write_text(stale, encoding="utf-8")
    monkeypatch.setattr(generator, "PAGE", page)
    with pytest.raises(SystemExit, match=rf"^{page.name} is stale"):
        generator.main(["--check"])
    assert page.read_text("utf-8") == stale
    generator.main([])
    generator.main(["--check"])


def test_every_state_of_every_machine_is_described() -> None:
    for title, enum, table in generate_states.MACHINES:
        section = generate_states.section(title, enum, table)
        assert set(table) == set(enum)
        for state in enum:
            assert f"| `{state}` | " in section


def test_the_page_has_the_default_of_every_option() -> None:
    rows = {
        cells[1].strip("` "): cells[3].strip()
        for line in generate_options.PAGE.read_text("utf-8").splitlines()
        if line.startswith("| `")
        for cells in [line.replace(r"\|", "/").split("|")]
    }
    assert set(rows) == IOOptions.__optional_keys__
    for option in (*fields(ClientOptions), *fields(NamespaceOptions), *fields(LocalOptions)):
        if isinstance(option.default, bool | str):
            assert rows[option.name] == f"`{option.default!r}`"
        elif isinstance(option.default, int | float):
            sizes = {"no limit": inf, "32 MiB": 32 << 20, "128 MiB": 128 << 20}
            shown = rows[option.name]
            assert sizes.get(shown) == option.default or float(shown.strip("`")) == option.default


def test_the_page_of_servers_has_every_option() -> None:
    lines = generate_options.SERVER_PAGE.read_text("utf-8").splitlines()
    names = {line.split("`")[1] for line in lines if line.startswith("| `")}
    assert names == ServeOptions.__optional_keys__
    assert names == {option.name for kind in (ServerOptions, LocalServerOptions) for option in fields(kind)}
    assert any(line.startswith("| `max_payload` | `int` | `1000000` |") for line in lines)
    assert any(line.startswith("| `inbox_bytes` | `int` | 16 MiB |") for line in lines)
