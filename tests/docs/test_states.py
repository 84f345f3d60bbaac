"""The page about the states matches the tables from which it is generated."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

GENERATOR = Path(__file__).parents[2] / "docs" / "generate_states.py"


@pytest.fixture
def generator() -> ModuleType:
    spec = spec_from_file_location("generate_states", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator: ModuleType) -> None:
    generator.main(["--check"])


def test_a_stale_page_fails_the_check(generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "states.md"
    page.write_text("# States\n", encoding="utf-8")
    monkeypatch.setattr(generator, "PAGE", page)
    with pytest.raises(SystemExit, match=r"^states\.md is stale"):
        generator.main(["--check"])
    assert page.read_text(encoding="utf-8") == "# States\n"
    generator.main([])
    generator.main(["--check"])


def test_every_state_of_every_machine_is_described(generator: ModuleType) -> None:
    for title, enum, table in generator.MACHINES:
        section = generator.section(title, enum, table)
        assert set(table) == set(enum)
        for state in enum:
            assert f"| `{state}` | " in section
