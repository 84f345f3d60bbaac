"""Settings that are written in two places agree."""

from __future__ import annotations

import re
import tomllib
from typing import Final

from tests.packaging.conftest import ROOT

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_pre_commit_has_the_same_range_of_ruff_as_the_development_environment() -> None:
    (wanted,) = [each for each in PROJECT["optional-dependencies"]["dev"] if each.startswith("ruff")]
    ranges = re.findall(r'"(ruff\b[^"]*)"', (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))

    assert ranges == [wanted, wanted]
