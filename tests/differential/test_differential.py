"""The same scenarios with the JavaScript client and with each driver have equal outcomes, but for the listed differences.

Run `pytest tests/differential`. scenarios.py describes scenarios and what is compared; ours.py describes the steps. A
failure shows the difference of the two outcomes.
"""

from __future__ import annotations

from difflib import unified_diff
from typing import Any

import pytest

from tests.differential import scenarios
from tests.differential.conftest import Played
from tests.support.drivers import DRIVERS, Driver

SCENARIOS = scenarios.load()
CASES = [
    (driver, name)
    for driver in DRIVERS
    for name, what in SCENARIOS.items()
    if what.get("threads", True) or driver.name != "blocking"
]
DELIBERATE = scenarios.deliberate()


@pytest.mark.parametrize(("driver", "scenario"), CASES, ids=[f"{driver.name}: {name}" for driver, name in CASES])
@pytest.mark.filterwarnings("ignore:.*keeps its options")
def test_scenario(driver: Driver, scenario: str, reference: dict[str, Any], played: Played) -> None:
    what, theirs, ours = SCENARIOS[scenario], reference[scenario], played(driver)[scenario]
    assert "failed" not in theirs, f"the JavaScript client failed: {theirs['failed']}"
    assert "failed" not in ours, ours["failed"]
    apart = driver.name == "blocking"  # in threads there is no order among the handlers of a Manager and of its sockets
    expected, got = (scenarios.lines(what, outcome, apart=apart) for outcome in (theirs, ours))
    row = DELIBERATE[what["differs"]]["seen"] if "differs" in what else {"javascript": [], "python": []}
    assert scenarios.difference(expected, got) == row, "\n".join(
        [
            "the difference is not the listed one:",
            *unified_diff(expected, got, "javascript", "python", lineterm="", n=100),
        ]
    )


def test_each_deliberate_difference_is_shown_by_a_scenario() -> None:
    assert {what["differs"] for what in SCENARIOS.values() if "differs" in what} == set(DELIBERATE)


@pytest.mark.parametrize("row", DELIBERATE.values(), ids=DELIBERATE)
def test_each_deliberate_difference_is_explained(row: dict[str, Any]) -> None:
    assert set(row) == {"id", "javascript", "python", "why", "seen"}
    assert row["seen"]["javascript"] != row["seen"]["python"]
    assert all(row.values())
